//! A crash at every operation of one life in which everything meets: compaction,
//! deletions of records and topics, retention by bytes and age, transactions, a
//! clean close in the middle. What is recovered is what was there before the
//! interrupted call or after it, and nothing is left over.

mod support_compaction;

use merkql::Error;
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::compression::Compression;
use merkql::consumer::{ConsumerConfig, OffsetReset};
use merkql::env::FileSystem;
use merkql::hash::Hash;
use merkql::record::BytesProducerRecord;
use merkql::topic::TopicConfig;
use merkql_sim::disk::{CrashPhase, CrashPoint, IoEvent};
use merkql_sim::fault::{Arm, Fault, OpKind, SyncFailure};
use merkql_sim::profile::Profile;
use merkql_sim::random::stream;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;
use support_compaction::{TOMBSTONES_STAY, World, compacted, pair};

const PRODUCER_ID: u64 = 7;
const AGE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
enum Step {
    Create(&'static str),
    /// Single sends, as many; each fifth deletes its key.
    Send(&'static str, usize),
    /// A transaction of this sequence, which commits what it read.
    Transact(u64, &'static str),
    DeleteRecords(&'static str, u64),
    Delete(&'static str),
    Grow(&'static str, u32),
    Advance(Duration),
    Maintain,
    Reopen,
}

const SCRIPT: [Step; 38] = {
    use Step::*;
    [
        Create("keys"),
        Send("keys", 16),
        Create("in"),
        Send("in", 4),
        Create("few"),
        Send("few", 14),
        Transact(0, "keys"),
        Maintain,
        Send("keys", 3),
        DeleteRecords("keys", 9),
        Transact(1, "few"),
        Advance(TOMBSTONES_STAY),
        Send("few", 6),
        Maintain,
        Delete("few"),
        Create("few"),
        Send("few", 9),
        Create("aged"),
        Send("aged", 9),
        Advance(AGE),
        Send("aged", 3),
        Advance(AGE),
        // Retention rides along with the transaction.
        Transact(2, "aged"),
        DeleteRecords("few", 6),
        Reopen,
        Maintain,
        Send("keys", 8),
        DeleteRecords("keys", 29),
        Maintain,
        Grow("keys", 2),
        Send("keys", 7),
        Transact(3, "keys"),
        Delete("in"),
        Maintain,
        Advance(TOMBSTONES_STAY),
        Delete("few"),
        Send("keys", 2),
        Maintain,
    ]
};

fn config(topic: &str) -> TopicConfig {
    match topic {
        "keys" => compacted(),
        "few" => TopicConfig { retention_bytes: Some(700), ..compacted() },
        "aged" => TopicConfig {
            retention_age: Some(AGE),
            segment_age: Some(AGE / 2),
            ..TopicConfig::default()
        },
        _ => TopicConfig::default(),
    }
}

fn open(world: &World) -> merkql::Result<BrokerRef> {
    Broker::open(BrokerConfig {
        journal_initial_bytes: 32 << 10,
        journal_max_bytes: 32 << 10,
        ..world.config()
    })
}

fn record(topic: &str, number: usize) -> BytesProducerRecord {
    let (key, value) = pair(&format!("key {}", number % 4), number);
    if number % 5 == 4 {
        return BytesProducerRecord::tombstone(topic, key.as_bytes());
    }
    BytesProducerRecord::new(topic, key.as_bytes(), value.unwrap().as_bytes())
}

fn transact(broker: &BrokerRef, sequence: u64, topic: &str) -> merkql::Result<()> {
    let config = ConsumerConfig {
        group_id: "g".into(),
        auto_commit: false,
        offset_reset: OffsetReset::Earliest,
    };
    let mut consumer = Broker::consumer(broker, config);
    consumer.subscribe(&["in"])?;
    consumer.poll_bytes(Duration::ZERO)?;
    let producer = Broker::idempotent_producer(broker, PRODUCER_ID);
    let mut transaction = producer.transaction(sequence);
    for number in 0..3 {
        transaction.send_bytes(&record(topic, 100 + number))?;
    }
    transaction.send_offsets_of(&mut consumer, &[(("in", 0), sequence + 1)])?;
    transaction.commit().map(drop)
}

/// What can be seen of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    start: u64,
    next: u64,
    root: Option<Hash>,
    records: BTreeMap<u64, (Vec<u8>, Option<Vec<u8>>)>,
}

/// What can be seen of the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Seen {
    parts: BTreeMap<(String, u32), Part>,
    committed: BTreeMap<String, u64>,
    next_sequence: u64,
}

fn observe(broker: &BrokerRef) -> Seen {
    let mut seen = Seen::default();
    for name in broker.topics() {
        for described in broker.describe_topic(&name).unwrap().partitions {
            let topic = broker.topic(&name).unwrap();
            let partition = topic.partition(described.partition).unwrap().read().unwrap();
            let records = partition.read_range_bytes(0, u64::MAX).unwrap();
            let part = Part {
                start: described.log_start,
                next: described.next_offset,
                root: described.root,
                records: records
                    .into_iter()
                    .map(|r| (r.offset, (r.key.unwrap(), r.value)))
                    .collect(),
            };
            assert!(part.records.keys().all(|offset| (part.start..part.next).contains(offset)));
            seen.parts.insert((name.clone(), described.partition), part);
        }
    }
    if let Ok(group) = broker.describe_group("g") {
        seen.committed.extend(group.offsets.into_iter().map(|of| (of.topic, of.committed)));
    }
    seen.next_sequence = Broker::idempotent_producer(broker, PRODUCER_ID).next_sequence();
    seen
}

/// Carries out a step behind which `sent` records will have been sent.
fn carry_out(world: &World, broker: &mut BrokerRef, sent: usize, step: Step) -> merkql::Result<()> {
    match step {
        Step::Create(topic) => broker.create_topic_with(topic, &config(topic)),
        Step::Send(topic, count) => {
            // One block: a crash in it leaves all or nothing.
            let records: Vec<_> = (sent - count..sent).map(|n| record(topic, n)).collect();
            Broker::producer(broker).send_bytes_batch(&records).map(drop)
        }
        Step::Transact(sequence, topic) => transact(broker, sequence, topic),
        Step::DeleteRecords(topic, before) => broker.delete_records(topic, 0, before),
        Step::Delete(topic) => broker.delete_topic(topic),
        Step::Grow(topic, total) => broker.add_partitions(topic, total),
        Step::Advance(time) => {
            world.clock.advance(time);
            Ok(())
        }
        Step::Maintain => broker.maintain(),
        Step::Reopen => Broker::close(broker).and_then(|()| {
            *broker = open(world)?;
            Ok(())
        }),
    }
}

/// Carries out steps until one fails twice, and says which; `each` sees the log
/// after each.
fn run(world: &World, mut each: impl FnMut(&BrokerRef)) -> usize {
    let Ok(mut broker) = open(world) else { return 0 };
    let mut sent = 0;
    for (index, step) in SCRIPT.into_iter().enumerate() {
        sent += if let Step::Send(_, count) = step { count } else { 0 };
        if let Err(error) = carry_out(world, &mut broker, sent, step) {
            // What did not latch the log promises to have changed nothing.
            let again = carry_out(world, &mut broker, sent, step);
            if let Err(again) = again {
                let may_end = matches!(again, Error::NeedsReopen { .. })
                    || matches!(step, Step::Reopen)
                    || world.disk.is_dead();
                assert!(may_end, "{step:?}: {error}, {again}");
                return index;
            }
        }
        each(&broker);
    }
    SCRIPT.len()
}

/// Which life of the topic it is after the step.
fn life(topic: &str, step: usize) -> usize {
    let front = SCRIPT.iter().take(step);
    front.filter(|step| matches!(step, Step::Create(name) if *name == topic)).count()
}

/// Whether this may be found where the step of this number was interrupted.
fn is_between(seen: &Seen, before: &Seen, after: &Seen, step: usize) -> bool {
    if seen == before || seen == after {
        return true;
    }
    // Only this does several things: passes over partitions, then retention.
    let rest = (&seen.committed, seen.next_sequence) == (&after.committed, after.next_sequence);
    let parts = || seen.parts.iter().zip(&before.parts).zip(&after.parts);
    matches!(SCRIPT.get(step), Some(Step::Maintain))
        && rest
        && seen.parts.len() == before.parts.len()
        && parts().all(|(((name, seen), (_, before)), (same, after))| {
            let contains = |a: &Part, b: &Part| {
                b.records.iter().all(|(at, record)| a.records.get(at) == Some(record))
            };
            name == same
                && [before.start, after.start].contains(&seen.start)
                && (seen.next, seen.root) == (after.next, after.root)
                && contains(before, seen)
                && contains(seen, after)
        })
}

/// Every tree that was acknowledged is a prefix of what is there, which is proved.
fn check_proofs(broker: &BrokerRef, snapshots: &[Seen], step: usize) {
    for name in broker.topics() {
        let topic = broker.topic(&name).unwrap();
        for number in topic.partition_ids() {
            let partition = topic.partition(number).unwrap().read().unwrap();
            for offset in 0..partition.next_offset() {
                let proof = partition.proof(offset).unwrap().unwrap();
                assert!(partition.verify_proof(&proof).unwrap(), "{name} {number}: {offset}");
            }
            let same = (1..=step).filter(|at| life(&name, *at) == life(&name, step));
            let known = same.filter_map(|at| snapshots[at].parts.get(&(name.clone(), number)));
            for part in known.filter(|part| part.next > 0 && part.next <= partition.next_offset()) {
                let proof = partition.consistency_proof(part.next).unwrap().unwrap();
                assert!(Some(proof.old_root) == part.root && proof.is_valid(), "{name} {number}");
            }
        }
    }
}

/// No file and no folder is there that does not belong to something.
fn check_nothing_left(world: &World, broker: &BrokerRef) {
    let described = broker.topics().into_iter().map(|name| broker.describe_topic(&name).unwrap());
    let described: Vec<_> = described.flat_map(|topic| topic.partitions).collect();
    let expected: usize = described.iter().map(|partition| partition.segments).sum();
    let files = world.disk.files();
    let stems = |ending| {
        let found = files.iter().filter_map(move |file| file.strip_suffix(ending));
        found.map(str::to_owned).collect::<BTreeSet<String>>()
    };
    assert_eq!(stems(".log").len(), expected, "{files:#?}");
    assert!(stems(".idx").is_subset(&stems(".log")), "{files:#?}");
    let process = world.disk.process();
    let dir = Path::new("/log/.merkql/topics");
    let folders = process.list(dir).unwrap();
    assert_eq!(folders.len(), broker.topics().len(), "{folders:?}");
    let partitions =
        folders.iter().map(|folder| process.list(&dir.join(&folder.name)).unwrap().len());
    assert_eq!(partitions.sum::<usize>(), described.len());
}

/// Recovers what a death left, judges it, and goes on with it.
fn judge(world: &World, snapshots: &[Seen], step: usize) {
    let broker = open(world).unwrap();
    let seen = observe(&broker);
    let (before, after) = (&snapshots[step], snapshots.get(step + 1).unwrap_or(&snapshots[step]));
    assert!(
        is_between(&seen, before, after, step),
        "{seen:#?}\nis not {before:#?}\nnor {after:#?}"
    );
    let reached = if seen == *before { step } else { step + 1 };
    check_proofs(&broker, snapshots, reached);
    broker.maintain().unwrap();
    check_nothing_left(world, &broker);
    for name in broker.topics() {
        let records: Vec<_> = (200..206).map(|number| record(&name, number)).collect();
        Broker::producer(&broker).send_bytes_batch(&records).unwrap();
    }
    broker.maintain().unwrap();
    check_proofs(&broker, snapshots, reached);
    let rested = observe(&broker);
    Broker::close(&broker).unwrap();
    drop(broker);
    world.disk.record_trace();
    world.disk.take_trace();
    let broker = open(world).unwrap();
    // A lock, and folders that are there: a clean opening changes nothing.
    let opening = world.disk.take_trace();
    let changes = opening.iter().any(|event| event.on == OpKind::WriteAt);
    // One in which nothing ever was is made again.
    assert!(!changes || rested == Seen::default(), "it was not closed cleanly: {opening:#?}");
    assert_eq!(observe(&broker), rested);
    check_nothing_left(world, &broker);
    check_proofs(&broker, snapshots, reached);
}

fn crash_at(event: &IoEvent, compression: Compression, snapshots: &[Seen]) -> u64 {
    let change = event.change.unwrap();
    let mut phases = vec![CrashPhase::After];
    if matches!(event.on, OpKind::SyncData | OpKind::SyncDir) {
        phases.push(CrashPhase::Before);
    }
    if event.on == OpKind::WriteAt {
        phases.push(CrashPhase::Partly(change * 37 % event.len.max(512)));
    }
    let mut states = 0;
    for phase in phases {
        let world = World::new(compression, 512);
        world.disk.crash_at(CrashPoint { change, phase });
        let step = run(&world, |_| {});
        assert!(world.disk.is_dead(), "{event}");
        for death in [None, Some(Profile::Strict), Some(Profile::Ext4), Some(Profile::Posix)] {
            let world = world.fork();
            match death {
                None => world.disk.kill(),
                Some(profile) => {
                    let mut random = stream(change, &format!("{phase:?}"));
                    let survivors = profile.draw(&world.disk.unsynced(), &mut random);
                    world.disk.power_cut(&survivors);
                }
            }
            println!("{phase:?} {death:?}: {event} in step {step}, {:?}", SCRIPT.get(step));
            judge(&world, snapshots, step);
            states += 1;
        }
    }
    states
}

fn sweep(compression: Compression) {
    let world = World::new(compression, 512);
    world.disk.record_trace();
    let mut snapshots = vec![Seen::default()];
    assert_eq!(run(&world, |broker| snapshots.push(observe(broker))), SCRIPT.len());
    let events = world.disk.take_trace();
    judge(&world, &snapshots, SCRIPT.len());
    let gone = snapshots.windows(2).filter(|pair| {
        let held = |seen: &Seen| seen.parts.values().map(|part| part.records.len()).sum::<usize>();
        held(&pair[1]) < held(&pair[0])
    });
    assert!(gone.count() >= 9, "passes, deletions and retention have something to do");
    let changes = events.iter().filter(|event| event.change.is_some());
    let states: u64 = changes.map(|event| crash_at(event, compression, &snapshots)).sum();
    assert!(states > 1000, "{states} states");
}

#[test]
fn a_crash_at_any_operation_leaves_the_log_as_before_or_after_the_call() {
    sweep(Compression::None);
}

#[test]
fn a_crash_at_any_operation_where_records_are_packed() {
    sweep(Compression::Lz4);
}

/// Lets the operation of this kind fail before which `skip` others succeed.
fn fail_at(on: OpKind, skip: u64, fault: &Fault, snapshots: &[Seen]) {
    let world = World::new(Compression::None, 512);
    let armed = world.disk.arm(Arm::nth(fault.clone(), on, "*", skip));
    let step = run(&world, |_| {});
    println!("{fault:?} of {on:?} {skip}: {armed:?}, step {step}, {:?}", SCRIPT.get(step));
    for death in [None, Some(Profile::Ext4), Some(Profile::Posix)] {
        let world = world.fork();
        world.disk.disarm_all();
        if let Some(profile) = death {
            let survivors = profile.draw(&world.disk.unsynced(), &mut stream(skip, "fault"));
            world.disk.power_cut(&survivors);
        } else {
            world.disk.kill();
        }
        judge(&world, snapshots, step);
    }
}

#[test]
fn an_operation_that_fails_leaves_the_log_as_before_or_after_the_call() {
    let world = World::new(Compression::None, 512);
    world.disk.record_trace();
    let mut snapshots = vec![Seen::default()];
    run(&world, |broker| snapshots.push(observe(broker)));
    let mut counts = BTreeMap::new();
    for event in world.disk.take_trace() {
        *counts.entry(event.on).or_insert(0) += 1;
    }
    for (on, count) in counts {
        use SyncFailure::{KeptClean, Reverted};
        let faults = match on {
            OpKind::SyncData | OpKind::SyncDir => {
                [KeptClean, Reverted].map(Fault::FailedSync).to_vec()
            }
            OpKind::TryLock => Vec::new(),
            OpKind::WriteAt | OpKind::Allocate => vec![Fault::IoError { after_bytes: 100 }],
            _ => vec![Fault::IoError { after_bytes: 0 }],
        };
        for fault in faults {
            (0..count).for_each(|skip| fail_at(on, skip, &fault, &snapshots));
        }
    }
}
