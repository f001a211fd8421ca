//! The process dies, or the power is cut, at every operation of a compaction: what
//! is found afterwards is what was there before it, or what is there after it, and
//! no file is left over.

mod support_compaction;

use merkql::broker::{Broker, BrokerRef};
use merkql::compression::Compression;
use merkql::hash::Hash;
use merkql_sim::disk::{CrashPhase, CrashPoint};
use merkql_sim::profile::Profile;
use merkql_sim::random::{Stream, stream};
use std::collections::{BTreeMap, BTreeSet};
use support_compaction::*;

/// What is sent before the pass in the process that dies; nothing, where the log
/// was only opened.
#[derive(Debug, Clone, Copy)]
enum Before {
    Opened,
    Sends,
}

/// A log with sealed segments, in which there is much to be removed, and with
/// tombstones whose time is over.
fn prepared(compression: Compression) -> (World, Vec<Pair>) {
    let world = World::new(compression, 1024);
    let broker = world.open_with_topic();
    let mut sent: Vec<Pair> = vec![tombstone("gone"), pair("stays", 1)];
    sent.extend((2..14).map(|number| pair("key a", number)));
    send_each(&broker, &sent);
    broker.maintain().unwrap();
    world.clock.advance(TOMBSTONES_STAY);
    let more: Vec<Pair> =
        (14..30).map(|number| pair(&format!("key {}", number % 3), number)).collect();
    more.chunks(3).for_each(|batch| send(&broker, batch));
    sent.extend(more);
    Broker::close(&broker).unwrap();
    (world, sent)
}

/// Opens the log and does what comes before the pass.
fn begin(world: &World, before: Before) -> merkql::Result<BrokerRef> {
    let broker = Broker::open(world.config())?;
    if matches!(before, Before::Sends) {
        let later: Vec<Pair> = (30..42).map(|number| pair("key 0", number)).collect();
        send_each(&broker, &later);
    }
    Ok(broker)
}

/// What there is before and after a pass without a crash.
struct Expected {
    shown: [BTreeMap<u64, Pair>; 2],
    bases: [Vec<u64>; 2],
    root: Option<Hash>,
    /// The numbers of the pass's operations.
    changes: std::ops::Range<u64>,
}

fn expected(prepared: &World, before: Before) -> Expected {
    let world = prepared.fork();
    let broker = begin(&world, before).unwrap();
    let shown_before = shown(&partition(&broker));
    let bases_before = world.bases();
    let first = world.disk.changes();
    broker.maintain().unwrap();
    Expected {
        shown: [shown_before, shown(&partition(&broker))],
        bases: [bases_before, world.bases()],
        root: partition(&broker).merkle_root().unwrap(),
        changes: first..world.disk.changes(),
    }
}

fn check(world: &World, broker: &BrokerRef, expected: &Expected, what: &str) {
    let partition = partition(broker);
    let found = shown(&partition);
    assert!(expected.shown.contains(&found), "{what}: {found:?}");
    assert_eq!(partition.merkle_root().unwrap(), expected.root, "{what}");
    assert_proved(&partition, &BTreeMap::new());
    let bases = world.bases();
    let distinct: BTreeSet<u64> = bases.iter().copied().collect();
    assert_eq!(distinct.len(), bases.len(), "{what}: a segment is left over");
    assert!(expected.bases.contains(&bases), "{what}: {bases:?}");
}

fn crash_and_check(
    prepared: &World,
    before: Before,
    expected: &Expected,
    point: CrashPoint,
    death: Option<Profile>,
    random: &mut Stream,
) {
    let what = format!("{before:?}, {point:?}, {death:?}");
    let world = prepared.fork();
    let broker = begin(&world, before).unwrap();
    world.disk.crash_at(point);
    drop(broker.maintain());
    assert!(world.disk.is_dead(), "{what} was not reached");
    match death {
        None => world.disk.kill(),
        Some(profile) => {
            let survivors = profile.draw(&world.disk.unsynced(), random);
            world.disk.power_cut(&survivors);
        }
    }
    drop(broker);
    let broker = world.open();
    check(&world, &broker, expected, &what);
    Broker::close(&broker).unwrap();
    drop(broker);
    let broker = world.open();
    check(&world, &broker, expected, &what);
    broker.maintain().unwrap();
    assert_eq!(shown(&partition(&broker)), expected.shown[1], "{what}");
    assert_eq!(world.bases(), expected.bases[1], "{what}");
    Broker::close(&broker).unwrap();
    drop(broker);
    // A power cut may have taken an index; it must not leave one over.
    for index in world.files(".idx") {
        let log = index.replace(".idx", ".log");
        assert!(world.files(".log").contains(&log), "{what}: {index} is left over");
    }
    let broker = world.open();
    assert_eq!(shown(&partition(&broker)), expected.shown[1], "{what}");
    assert_proved(&partition(&broker), &BTreeMap::new());
}

fn sweep(compression: Compression, before: Before) {
    let (prepared, _) = prepared(compression);
    let expected = expected(&prepared, before);
    assert!(expected.shown[0].len() > expected.shown[1].len() + 8);
    assert!(expected.changes.end - expected.changes.start > 10);
    let mut random = stream(1, &format!("{compression:?}{before:?}"));
    for change in expected.changes.clone() {
        let phases =
            [CrashPhase::Before, CrashPhase::Partly(1 + change * 37 % 600), CrashPhase::After];
        for phase in phases {
            let point = CrashPoint { change, phase };
            for death in [None].into_iter().chain(Profile::HONEST.map(Some)) {
                crash_and_check(&prepared, before, &expected, point, death, &mut random);
            }
        }
    }
}

#[test]
fn a_crash_in_the_first_thing_that_an_opened_log_does() {
    sweep(Compression::None, Before::Opened);
}

#[test]
fn a_crash_after_sends_of_the_same_process() {
    sweep(Compression::None, Before::Sends);
}

#[test]
fn a_crash_where_records_are_packed() {
    sweep(Compression::Lz4, Before::Sends);
}
