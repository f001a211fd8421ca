//! The process dies, or the power is cut, at every operation of a repair: repairing
//! again gives a good log, and loses nothing more than was told before the first.

mod support_compaction;

use merkql::broker::{Broker, BrokerConfig};
use merkql::compression::Compression;
use merkql::hash::Hash;
use merkql::repair::{RepairOptions, Report};
use merkql::{repair, verify};
use merkql_sim::disk::{CrashPhase, CrashPoint, Damage, Survivors};
use merkql_sim::profile::Profile;
use merkql_sim::random::{Stream, stream};
use std::collections::{BTreeMap, BTreeSet};
use support_compaction::*;

const APPLY: RepairOptions = RepairOptions { apply: true };

/// A compacted log of a few segments, with records behind its last checkpoint.
fn prepared(closed: bool) -> World {
    let world = World::new(Compression::None, 1024);
    let broker = world.open_with_topic();
    let sent: Vec<Pair> =
        (0..30).map(|number| pair(&format!("key {}", number % 20), number)).collect();
    send_each(&broker, &sent);
    broker.maintain().unwrap();
    let more: Vec<Pair> = (30..40).map(|number| pair(&format!("key {number}"), number)).collect();
    send_each(&broker, &more);
    if closed {
        Broker::close(&broker).unwrap();
    } else {
        // What only the cache has is nobody's to save.
        world.disk.power_cut(&Survivors::all(&world.disk.unsynced()));
    }
    drop(broker);
    world
}

/// What is there before the damage.
struct Whole {
    shown: BTreeMap<u64, Pair>,
    root: Hash,
    size: u64,
}

fn whole(prepared: &World) -> Whole {
    let world = prepared.fork();
    let broker = world.open();
    let partition = partition(&broker);
    let root = partition.merkle_root().unwrap().unwrap();
    Whole { shown: shown(&partition), root, size: partition.next_offset() }
}

fn content(world: &World, path: &str) -> Vec<u8> {
    world.disk.content(path).unwrap()
}

/// Inverts a bit of the byte at `position`.
fn flip(world: &World, path: &str, position: usize) {
    let damage = Damage::FlipBit { position: position as u64, bit: 4 };
    world.disk.damage(path, &damage).unwrap();
}

/// Inverts a bit of the record of this number, wherever it stands below a folder.
fn damage_record(world: &World, folder: &str, number: usize) {
    let text = format!("value {number:0>4}");
    let mut found = 0;
    for path in world.disk.files() {
        let bytes = content(world, &path);
        let at = bytes.windows(text.len()).position(|window| window == text.as_bytes());
        if let Some(at) = at.filter(|_| path.contains(folder)) {
            flip(world, &path, at);
            found += 1;
        }
    }
    assert!(found > 0, "{number} in {folder}: {:?}", world.disk.files());
}

fn lost(report: &Report) -> BTreeSet<u64> {
    report.lost.iter().flat_map(|lost| lost.start..lost.end).collect()
}

/// Everything that was not told to be lost is there, and proved.
fn check(world: &World, whole: &Whole, told: &Report, what: &str) {
    let broker = world.open();
    let partition = partition(&broker);
    let found = shown(&partition);
    let lost = lost(told);
    let stays = whole.shown.iter().filter(|(offset, _)| !lost.contains(offset));
    let stays: BTreeMap<u64, Pair> = stays.map(|(offset, pair)| (*offset, pair.clone())).collect();
    assert_eq!(found, stays, "{what}");
    if partition.next_offset() == whole.size {
        assert_eq!(partition.merkle_root().unwrap(), Some(whole.root), "{what}");
    }
    for offset in found.keys() {
        let proof = partition.proof(*offset).unwrap().unwrap();
        assert!(partition.verify_proof(&proof).unwrap(), "{what}: {offset}");
    }
    let next = partition.next_offset();
    send(&broker, &[pair("more", 99)]);
    assert_eq!(support_compaction::partition(&broker).next_offset(), next + 1, "{what}");
    Broker::close(&broker).unwrap();
}

fn crash_and_check(
    damaged: &World,
    whole: &Whole,
    told: &Report,
    point: CrashPoint,
    death: Option<Profile>,
    random: &mut Stream,
) {
    let what = format!("{point:?}, {death:?}");
    let world = damaged.fork();
    world.disk.crash_at(point);
    drop(repair(&world.config(), &APPLY));
    assert!(world.disk.is_dead(), "{what} was not reached");
    match death {
        None => world.disk.kill(),
        Some(profile) => {
            let survivors = profile.draw(&world.disk.unsynced(), random);
            world.disk.power_cut(&survivors);
        }
    }
    let again = repair(&world.config(), &APPLY).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(lost(&again).is_subset(&lost(told)), "{what}: {again}");
    check(&world, whole, told, &what);
    let last = repair(&world.config(), &APPLY).unwrap();
    assert!(last.nothing_to_do(), "{what}: {last}");
    assert_eq!(verify(&world.config()).unwrap().findings, [], "{what}");
}

fn sweep(closed: bool, damage: impl FnOnce(&World)) -> Report {
    let prepared = prepared(closed);
    let whole = whole(&prepared);
    damage(&prepared);
    let damaged = prepared.fork();
    let world = damaged.fork();
    let files = |world: &World| {
        let paths = world.disk.files().into_iter();
        paths.map(|path| (content(world, &path), path)).collect::<Vec<_>>()
    };
    let before = files(&world);
    let told = repair(&world.config(), &RepairOptions::default()).unwrap();
    assert_eq!(files(&world), before, "a dry run changes nothing");
    let done = repair(&world.config(), &APPLY).unwrap();
    assert_eq!((&done.lost, &done.given_up), (&told.lost, &told.given_up));
    check(&world, &whole, &told, "without a crash");
    let world = damaged.fork();
    let first = world.disk.changes();
    repair(&world.config(), &APPLY).unwrap();
    let changes = first..world.disk.changes();
    assert!(changes.end - changes.start > 20, "{changes:?}");
    let mut random = stream(1, "repair");
    for change in changes {
        let partly = CrashPhase::Partly(1 + change * 37 % 600);
        for phase in [CrashPhase::Before, partly, CrashPhase::After] {
            let point = CrashPoint { change, phase };
            for death in [None].into_iter().chain(Profile::HONEST.map(Some)) {
                crash_and_check(&damaged, &whole, &told, point, death, &mut random);
            }
        }
    }
    told
}

#[test]
fn a_crash_while_damaged_segments_and_hashes_are_replaced() {
    let told = sweep(true, |world| {
        damage_record(world, "/topics/", 12);
        damage_record(world, "/topics/", 33);
        let hashes = world.files("hashes");
        flip(world, &hashes[0], 5);
    });
    assert_eq!(lost(&told), BTreeSet::from([12, 33]));
}

#[test]
fn a_crash_while_a_segment_without_hashes_is_given_up_with_all_before_it() {
    let told = sweep(true, |world| {
        let segments = world.files(".log");
        world.disk.damage(&segments[1], &Damage::Delete).unwrap();
        let hashes = world.files("hashes");
        world.disk.damage(&hashes[0], &Damage::Delete).unwrap();
    });
    assert!(lost(&told).len() > 8, "{told}");
}

#[test]
fn a_crash_while_a_damaged_journal_is_replaced() {
    let told = sweep(false, |world| {
        damage_record(world, "/journal/", 33);
        damage_record(world, "/topics/", 33);
    });
    assert_eq!(lost(&told), (33..40).collect());
    let told = sweep(false, |world| damage_record(world, "/journal/", 35));
    assert_eq!(lost(&told), BTreeSet::new());
}

#[test]
fn a_crash_while_lost_slots_are_replaced() {
    for closed in [true, false] {
        let told = sweep(closed, |world| {
            damage_record(world, "/topics/", 12);
            for slot in ["manifest.a", "manifest.b"] {
                world.disk.damage(format!("/log/.merkql/{slot}"), &Damage::Delete).unwrap();
            }
        });
        assert_eq!(lost(&told), BTreeSet::from([12]));
    }
}

#[test]
fn a_repair_takes_the_files_of_a_log_wherever_they_are() {
    let world = prepared(true);
    let elsewhere = BrokerConfig { data_dir: "/other".into(), ..world.config() };
    assert!(repair(&elsewhere, &RepairOptions::default()).is_err());
    assert!(repair(&world.config(), &RepairOptions::default()).unwrap().nothing_to_do());
}
