//! Repair of logs whose files are damaged at random, several at a time: a log comes
//! out that opens, shows no record but those that were sent, each at its offset, and
//! misses none that was not told to be lost, but at its end.

mod support_compaction;

use merkql::broker::Broker;
use merkql::compression::Compression;
use merkql::repair::{GivenUp, RepairOptions, Report};
use merkql::{repair, verify};
use merkql_sim::disk::{Damage, Survivors};
use merkql_sim::random::{Stream, stream};
use rand::RngExt;
use std::collections::{BTreeMap, BTreeSet};
use support_compaction::*;

const APPLY: RepairOptions = RepairOptions { apply: true };
const RECORDS: usize = 60;

/// A compacted log, closed or as a power cut leaves it, and what was sent to it.
fn prepared(closed: bool, compression: Compression) -> (World, Vec<Pair>) {
    let world = World::new(compression, 1024);
    let broker = world.open_with_topic();
    let sent: Vec<Pair> =
        (0..RECORDS).map(|number| pair(&format!("key {}", number % 23), number)).collect();
    let (first, last) = sent.split_at(RECORDS * 2 / 3);
    first.chunks(3).for_each(|batch| send(&broker, batch));
    broker.maintain().unwrap();
    last.chunks(2).for_each(|batch| send(&broker, batch));
    if closed {
        Broker::close(&broker).unwrap();
    } else {
        world.disk.power_cut(&Survivors::all(&world.disk.unsynced()));
    }
    drop(broker);
    (world, sent)
}

/// Something done to one file.
fn damage(world: &World, random: &mut Stream) -> String {
    let files: Vec<String> =
        world.disk.files().into_iter().filter(|path| !path.ends_with("LOCK")).collect();
    let mut below = |bound: usize| random.random_range(0..bound);
    let path = files[below(files.len())].clone();
    let len = world.disk.content(&path).unwrap().len().max(1);
    let at = below(len) as u64;
    let until = at + 1 + below(700) as u64;
    let damage = match below(8) {
        0..4 => Damage::FlipBit { position: at, bit: 3 },
        4 => Damage::Zero { range: (at, until.min(len as u64)) },
        5 => Damage::Unreadable { range: (at, until.min(len as u64)) },
        6 => Damage::Cut { len: at },
        _ => Damage::Delete,
    };
    drop(world.disk.damage(&path, &damage));
    format!("{path}: {damage:?}")
}

fn lost(report: &Report) -> BTreeSet<u64> {
    report.lost.iter().flat_map(|lost| lost.start..lost.end).collect()
}

fn check(world: &World, whole: &BTreeMap<u64, Pair>, sent: &[Pair], told: &Report, what: &str) {
    let broker = world.open();
    if broker.topic("t").is_none() {
        // Nothing was left that bore its name.
        assert!(world.files(".log").is_empty(), "{what}");
        return;
    }
    let partition = partition(&broker);
    let (start, end) = (partition.min_valid_offset(), partition.next_offset());
    let found = shown(&partition);
    for (offset, pair) in &found {
        assert_eq!(&sent[usize::try_from(*offset).unwrap()], pair, "{what}");
        let proof = partition.proof(*offset).unwrap().unwrap();
        assert!(partition.verify_proof(&proof).unwrap(), "{what}: {offset}");
    }
    let lost = lost(told);
    let start_unknown = told.given_up.iter().any(|one| matches!(one, GivenUp::LogStart { .. }));
    for offset in whole.keys().filter(|offset| !lost.contains(offset)) {
        let untold = *offset >= end || start_unknown && *offset < start;
        assert!(found.contains_key(offset) || untold, "{what}: {offset} of {start}..{end}");
    }
    send(&broker, &[pair("more", 99)]);
    assert_eq!(support_compaction::partition(&broker).next_offset(), end + 1, "{what}");
    Broker::close(&broker).unwrap();
}

fn run(seed: u64) {
    let mut random = stream(seed, "damage");
    let closed = seed.is_multiple_of(2);
    let compression = if seed.is_multiple_of(3) { Compression::Lz4 } else { Compression::None };
    let (world, sent) = prepared(closed, compression);
    let whole = shown(&partition(&world.fork().open()));
    let damages = 1 + seed % 4;
    let done: Vec<String> = (0..damages).map(|_| damage(&world, &mut random)).collect();
    let what = format!("seed {seed}, closed: {closed}, {compression:?}: {done:#?}");
    let told = repair(&world.config(), &RepairOptions::default());
    let told = told.unwrap_or_else(|error| panic!("{what}: {error}"));
    let report = repair(&world.config(), &APPLY);
    let report = report.unwrap_or_else(|error| panic!("{what}: {error}"));
    let what = format!("{what}\n{report}");
    assert_eq!(report.lost, told.lost, "{what}\n{told}");
    assert_eq!((&report.given_up, &report.mended), (&told.given_up, &told.mended), "{what}");
    check(&world, &whole, &sent, &report, &what);
    assert_eq!(verify(&world.config()).unwrap().findings, [], "{what}");
    let again = repair(&world.config(), &APPLY).unwrap();
    assert!(again.nothing_to_do(), "{what}\nagain: {again}");
}

#[test]
fn whatever_is_damaged_what_is_left_is_a_log_without_a_false_record() {
    let seeds = std::env::var("MERKQL_REPAIR_SEEDS").ok().and_then(|count| count.parse().ok());
    (0..seeds.unwrap_or(150)).for_each(run);
}
