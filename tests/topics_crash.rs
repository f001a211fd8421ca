//! Crash at every operation while topics come, grow, lose their records and go:
//! what is recovered is what was there before or after the interrupted call, and
//! nothing is left over.

use merkql::Error;
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::env::FileSystem;
use merkql::hash::Hash;
use merkql::record::ProducerRecord;
use merkql::topic::TopicConfig;
use merkql_sim::clock::SimClock;
use merkql_sim::disk::{CrashPhase, CrashPoint, IoEvent, SimDisk};
use merkql_sim::entropy::SimEntropy;
use merkql_sim::fault::{Arm, Fault, OpKind, SyncFailure};
use merkql_sim::profile::Profile;
use merkql_sim::random::stream;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const AGE: Duration = Duration::from_secs(10);

/// One call, or a moment.
#[derive(Debug, Clone, Copy)]
enum Step {
    Create(&'static str, u32),
    Append(&'static str, usize),
    Grow(&'static str, u32),
    Delete(&'static str),
    DeleteRecords(&'static str, u32, u64),
    Commit(&'static str, u64),
    Forget,
    Advance,
    Maintain,
}

/// Everything happens at least once within one unreplayed journal, and once
/// with a checkpoint in between.
const SCRIPT: [Step; 33] = {
    use Step::*;
    [
        Create("a", 1),
        Append("a", 12),
        Commit("a", 5),
        Create("b", 2),
        Append("b", 5),
        DeleteRecords("a", 0, 7),
        Grow("a", 3),
        Append("a", 9),
        Delete("b"),
        Create("b", 1),
        Append("b", 20),
        DeleteRecords("b", 0, 20),
        Append("b", 3),
        Maintain,
        Delete("a"),
        Create("a", 2),
        Grow("a", 3),
        Append("a", 6),
        Commit("b", 21),
        Forget,
        Delete("a"),
        Create("aged", 1),
        Append("aged", 14),
        Commit("aged", 3),
        Advance,
        Maintain,
        Append("aged", 4),
        Grow("aged", 2),
        DeleteRecords("b", 0, 23),
        Maintain,
        Grow("aged", 3),
        Delete("aged"),
        Append("b", 2),
    ]
};

/// What a partition holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Part {
    start: u64,
    /// All values ever sent.
    values: Vec<String>,
}

/// What the log holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Model {
    topics: BTreeMap<String, Vec<Part>>,
    turns: BTreeMap<String, usize>,
    committed: BTreeMap<String, u64>,
    /// Up to where the records of `aged` are too old.
    old: Vec<u64>,
    sent: usize,
}

impl Model {
    fn part(&mut self, topic: &str, partition: usize) -> &mut Part {
        &mut self.topics.get_mut(topic).unwrap()[partition]
    }

    /// What can be seen of it in the log.
    fn content(&self) -> (&BTreeMap<String, Vec<Part>>, &BTreeMap<String, u64>) {
        (&self.topics, &self.committed)
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Create(topic, partitions) => {
                self.topics.insert(topic.into(), vec![Part::default(); partitions as usize]);
                self.turns.insert(topic.into(), 0);
            }
            Step::Append(topic, count) => {
                for value in values(self.sent, count) {
                    let turn = self.turns.get_mut(topic).unwrap();
                    let partition = *turn % self.topics[topic].len();
                    *turn += 1;
                    self.part(topic, partition).values.push(value);
                }
                self.sent += count;
            }
            Step::Grow(topic, total) => {
                self.topics.get_mut(topic).unwrap().resize(total as usize, Part::default());
            }
            Step::Delete(topic) => {
                self.topics.remove(topic);
                self.committed.remove(topic);
            }
            Step::DeleteRecords(topic, partition, before) => {
                self.part(topic, partition as usize).start = before;
            }
            Step::Commit(topic, offset) => drop(self.committed.insert(topic.into(), offset)),
            Step::Forget => self.committed.clear(),
            Step::Advance => {
                self.old =
                    self.topics["aged"].iter().map(|part| part.values.len() as u64).collect();
            }
            Step::Maintain => {
                let parts = self.topics.get_mut("aged").into_iter().flatten();
                parts.zip(&self.old).for_each(|(part, old)| part.start = *old);
            }
        }
    }
}

fn values(sent: usize, count: usize) -> impl Iterator<Item = String> {
    (sent..sent + count).map(|number| format!("{number:0>90}"))
}

#[derive(Clone)]
struct World {
    disk: SimDisk,
    clock: Arc<SimClock>,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(SimClock::new());
        clock.set_wall(Duration::from_secs(1_700_000_000));
        Self { disk: SimDisk::new(), clock }
    }

    fn open(&self) -> merkql::Result<BrokerRef> {
        Broker::open(BrokerConfig {
            file_system: Arc::new(self.disk.process()),
            clock: self.clock.clone(),
            entropy: Arc::new(SimEntropy::new(self.disk.io_ops())),
            journal_initial_bytes: 32 << 10,
            journal_max_bytes: 32 << 10,
            segment_bytes: 512,
            ..BrokerConfig::new("/log")
        })
    }
}

fn carry_out(world: &World, broker: &BrokerRef, sent: usize, step: Step) -> merkql::Result<()> {
    match step {
        Step::Create("aged", _) => {
            let config = TopicConfig { retention_age: Some(AGE), ..TopicConfig::default() };
            broker.create_topic_with("aged", &config)
        }
        Step::Create(topic, partitions) => broker.create_topic(topic, partitions),
        Step::Append(topic, count) => {
            let records: Vec<_> =
                values(sent, count).map(|value| ProducerRecord::new(topic, None, value)).collect();
            Broker::producer(broker).send_batch(&records).map(drop)
        }
        Step::Grow(topic, total) => broker.add_partitions(topic, total),
        Step::Delete(topic) => broker.delete_topic(topic),
        Step::DeleteRecords(topic, partition, before) => {
            broker.delete_records(topic, partition, before)
        }
        Step::Commit(topic, offset) => broker.reset_group_offsets("g", &[((topic, 0), offset)]),
        Step::Forget => broker.delete_group("g"),
        Step::Advance => {
            world.clock.advance(2 * AGE);
            Ok(())
        }
        Step::Maintain => broker.maintain(),
    }
}

/// The roots of trees that were acknowledged: the first value names the life.
type Roots = BTreeMap<(String, u64), Hash>;

/// Runs the script until something fails; returns the states before and after
/// the step that did, or twice the last one.
fn run(world: &World, roots: &mut Roots) -> (Model, Model) {
    let mut before = Model::default();
    let Ok(broker) = world.open() else { return (before.clone(), before) };
    for step in SCRIPT {
        let mut after = before.clone();
        after.apply(step);
        if let Err(error) = carry_out(world, &broker, before.sent, step) {
            if world.disk.is_dead() {
                return (before, after);
            }
            // What did not latch the log promises to have changed nothing.
            if let Err(again) = carry_out(world, &broker, before.sent, step) {
                assert!(matches!(again, Error::NeedsReopen { .. }), "{step:?}: {error}, {again}");
                return (before, after);
            }
        }
        before = after;
        for (topic, parts) in &before.topics {
            let topic = broker.topic(topic).unwrap();
            for (partition, part) in topic.partition_ids().into_iter().zip(parts) {
                let partition = topic.partition(partition).unwrap().read().unwrap();
                let root = partition.merkle_root().unwrap();
                let key = part.values.first().cloned().zip(root);
                roots.extend(key.map(|(life, root)| ((life, part.values.len() as u64), root)));
            }
        }
    }
    drop(broker);
    (before.clone(), before)
}

/// What the log holds; the values below the start are taken from `known`.
fn observe(broker: &BrokerRef, known: &Model) -> Model {
    let mut seen = Model::default();
    for name in broker.topics() {
        let topic = broker.topic(&name).unwrap();
        let mut parts = Vec::new();
        for number in topic.partition_ids() {
            let partition = topic.partition(number).unwrap().read().unwrap();
            let start = partition.min_valid_offset();
            let known = known.topics.get(&name).and_then(|parts| parts.get(number as usize));
            let gone =
                known.map(|part| part.values.iter().take(usize::try_from(start).unwrap()).cloned());
            let mut values: Vec<String> = gone.into_iter().flatten().collect();
            let records = partition.read_range(0, u64::MAX).unwrap();
            assert_eq!(start + records.len() as u64, partition.next_offset());
            values.extend(records.into_iter().map(|record| record.value));
            parts.push(Part { start, values });
        }
        seen.topics.insert(name, parts);
    }
    if let Ok(group) = broker.describe_group("g") {
        seen.committed.extend(group.offsets.into_iter().map(|of| (of.topic, of.committed)));
    }
    seen
}

/// Every tree that was acknowledged is a prefix of what is there, and what is
/// there can be proved.
fn check_proofs(broker: &BrokerRef, model: &Model, roots: &Roots) {
    for (name, parts) in &model.topics {
        let topic = broker.topic(name).unwrap();
        for (number, part) in topic.partition_ids().into_iter().zip(parts) {
            let partition = topic.partition(number).unwrap().read().unwrap();
            for offset in [0, part.start, partition.next_offset().saturating_sub(1)] {
                let proof = partition.proof(offset).unwrap();
                assert_eq!(proof.is_some(), offset < partition.next_offset());
                assert!(proof.is_none_or(|proof| partition.verify_proof(&proof).unwrap()));
            }
            let Some(life) = part.values.first() else { continue };
            for ((_, size), root) in roots.range((life.clone(), 0)..=(life.clone(), u64::MAX)) {
                let proof = partition.consistency_proof(*size).unwrap();
                assert!(proof.is_some_and(|proof| proof.old_root == *root && proof.is_valid()));
            }
        }
    }
}

/// No folder and no file is there that does not belong to something.
fn check_nothing_left(world: &World, broker: &BrokerRef) {
    let mut expected = 0;
    for name in broker.topics() {
        for partition in broker.describe_topic(&name).unwrap().partitions {
            expected += partition.segments;
        }
    }
    let files = world.disk.files();
    let logs: Vec<_> = files.iter().filter(|file| file.contains(".log")).collect();
    assert_eq!(logs.len(), expected, "{logs:#?}");
    let process = world.disk.process();
    let dir = "/log/.merkql/topics".as_ref();
    let mut folders: Vec<String> =
        process.list(dir).unwrap().into_iter().map(|entry| entry.name).collect();
    for folder in &mut folders {
        let (name, _) = folder.rsplit_once('.').unwrap();
        let partitions = process.list(&std::path::Path::new(dir).join(&*folder)).unwrap().len();
        let topic = broker.topic(name).unwrap();
        assert_eq!(partitions, topic.num_partitions() as usize, "{folder}");
        *folder = name.to_owned();
    }
    folders.sort();
    assert_eq!(folders, broker.topics());
}

/// Recovers what a death left, and judges it.
fn judge(world: &World, before: &Model, after: &Model, roots: &Roots) {
    let broker = world.open().unwrap();
    let mut known = after.clone();
    known.topics.extend(before.topics.clone());
    let seen = observe(&broker, &known);
    let content = seen.content();
    assert!(
        content == before.content() || content == after.content(),
        "{seen:#?}\nis neither\n{before:#?}\nnor {after:#?}"
    );
    check_proofs(&broker, &seen, roots);
    broker.maintain().unwrap();
    check_nothing_left(world, &broker);
    // Retention may have moved a start by now; from here on nothing moves.
    let rested = observe(&broker, &seen);
    for step in [Step::Create("new", 1), Step::Append("new", 3), Step::Delete("new")] {
        carry_out(world, &broker, 0, step).unwrap();
    }
    drop(broker);
    let broker = world.open().unwrap();
    assert_eq!(observe(&broker, &rested).content(), rested.content());
    check_nothing_left(world, &broker);
}

fn crash_at(event: &IoEvent, draws: u64) -> u64 {
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
        let world = World::new();
        world.disk.crash_at(CrashPoint { change, phase });
        let mut roots = Roots::new();
        let (before, after) = run(&world, &mut roots);
        assert!(world.disk.is_dead(), "{event}");
        for death in [None, Some(Profile::Strict), Some(Profile::Ext4), Some(Profile::Posix)] {
            for draw in 0..if death.is_some() { draws } else { 1 } {
                let world = World { disk: world.disk.fork(), clock: world.clock.clone() };
                match death {
                    None => world.disk.kill(),
                    Some(profile) => {
                        let mut random = stream(change ^ draw << 32, &format!("{phase:?}"));
                        let survivors = profile.draw(&world.disk.unsynced(), &mut random);
                        world.disk.power_cut(&survivors);
                    }
                }
                println!("{phase:?} {death:?}, draw {draw}: {event}");
                judge(&world, &before, &after, &roots);
                states += 1;
            }
        }
    }
    states
}

#[test]
fn a_crash_at_any_operation_leaves_topics_as_before_or_after_the_call() {
    let draws = std::env::var("MERKQL_SWEEP_DRAWS").ok().and_then(|text| text.parse().ok());
    let world = World::new();
    world.disk.record_trace();
    let mut roots = Roots::new();
    let (last, _) = run(&world, &mut roots);
    assert_eq!(last.sent, 75, "the script runs to its end");
    let events = world.disk.take_trace();
    judge(&world, &last, &last, &roots);
    let changes = events.iter().filter(|event| event.change.is_some());
    let states: u64 = changes.map(|event| crash_at(event, draws.unwrap_or(1))).sum();
    assert!(states > 1000, "{states} states");
}

/// Lets the operation of this kind fail before which `skip` others succeed.
fn fail_at(on: OpKind, skip: u64, fault: &Fault) {
    let world = World::new();
    let armed = world.disk.arm(Arm::nth(fault.clone(), on, "*", skip));
    let mut roots = Roots::new();
    let (before, after) = run(&world, &mut roots);
    println!("{fault:?} of {on:?} {skip}: {armed:?}");
    for death in [None, Some(Profile::Ext4), Some(Profile::Posix)] {
        let world = World { disk: world.disk.fork(), clock: world.clock.clone() };
        world.disk.disarm_all();
        if let Some(profile) = death {
            let survivors = profile.draw(&world.disk.unsynced(), &mut stream(skip, "fault"));
            world.disk.power_cut(&survivors);
        }
        judge(&world, &before, &after, &roots);
    }
}

#[test]
fn an_operation_that_fails_leaves_topics_as_before_or_after_the_call() {
    let world = World::new();
    world.disk.record_trace();
    run(&world, &mut Roots::new());
    let mut counts = BTreeMap::new();
    for event in world.disk.take_trace() {
        *counts.entry(event.on).or_insert(0) += 1;
    }
    for (on, count) in counts {
        use SyncFailure::{KeptClean, ReportedOnce, Reverted};
        let faults = match on {
            OpKind::SyncData | OpKind::SyncDir => {
                [KeptClean, Reverted, ReportedOnce].map(Fault::FailedSync).to_vec()
            }
            OpKind::TryLock => Vec::new(),
            OpKind::WriteAt | OpKind::Allocate => {
                [0, 100].map(|after_bytes| Fault::IoError { after_bytes }).to_vec()
            }
            _ => vec![Fault::IoError { after_bytes: 0 }],
        };
        for fault in faults {
            (0..count).for_each(|skip| fail_at(on, skip, &fault));
        }
    }
}
