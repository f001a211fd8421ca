//! Random programs against a model in memory: appends, batches, numbered sends
//! and their repetition, reads, groups, retention, checkpoints, reopening after
//! a clean close and after a crash, all with sizes so small that files roll all
//! the time.
//!
//! A crash is a copy of the directory, made while the log is open.

mod numbered;
mod ops;
mod partition;
#[path = "../support_crash/mod.rs"]
mod support_crash;

use merkql::Error;
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::compression::Compression;
use merkql::consumer::{Consumer, ConsumerConfig, OffsetReset};
use merkql::env::{FileSystem, Probe};
use merkql::partition::Partition;
use merkql::record::{ProducerRecord, Record};
use merkql::topic::RetentionConfig;
use merkql::tree::MerkleTree;
use ops::{Op, ops};
use partition::PartitionModel;
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestRunner};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support_crash::fault_fs::FaultFs;
use support_crash::ledger::{Unit, records_of};
use support_crash::{Rng, copy_dir, memory_dir, small_config};
use tempfile::TempDir;

/// Names, partitions, and how many records are retained.
const TOPICS: [(&str, u32, Option<u64>); 3] =
    [("plain", 2, None), ("other", 1, None), ("short", 1, Some(6))];
const PRODUCERS: u64 = 2;
const GROUP: &str = "group";
const MEMBERS_MAX: usize = 3;
/// Without `PROPTEST_CASES`.
const CASES: u32 = 64;

type Id = (&'static str, u32);

struct Member {
    consumer: Consumer,
    /// Where it goes on, as far as polls and seeks have shown.
    positions: BTreeMap<Id, u64>,
    /// Whether it has been the only one since it joined.
    alone: bool,
}

struct Model {
    // Dropped in this order: the log is closed while its directory is there.
    members: Vec<Member>,
    broker: BrokerRef,
    dir: TempDir,
    met: Arc<Marks>,
    fs: Arc<FaultFs>,
    lz4: bool,
    partitions: BTreeMap<Id, PartitionModel>,
    keys: BTreeMap<(&'static str, String), u32>,
    /// What each producer sent, by sequence.
    sent: BTreeMap<u64, Vec<Vec<Record>>>,
    /// Where the group may go on. More than one only after a commit of a member
    /// that may have lost the partition.
    committed: BTreeMap<Id, BTreeSet<u64>>,
    units: Unit,
    random: Rng,
}

/// The rare paths that were taken.
#[derive(Debug, Default)]
struct Marks(Mutex<BTreeSet<&'static str>>);

impl Probe for Marks {
    fn mark(&self, name: &'static str) {
        self.0.lock().unwrap().insert(name);
    }

    fn canary(&self, _name: &'static str) -> bool {
        false
    }
}

fn config(dir: &TempDir, fs: &Arc<FaultFs>, lz4: bool) -> BrokerConfig {
    BrokerConfig {
        journal_max_bytes: 16 << 10,
        segment_bytes: 512,
        index_interval_bytes: 64,
        max_open_files: 6,
        compression: if lz4 { Compression::Lz4 } else { Compression::None },
        file_system: Arc::clone(fs) as Arc<dyn FileSystem>,
        ..small_config(dir.path())
    }
}

impl Model {
    fn new(met: &Arc<Marks>) -> Self {
        let dir = memory_dir();
        let fs = FaultFs::new();
        let mut partitions = BTreeMap::new();
        for (name, count, retained) in TOPICS {
            let default_retention = RetentionConfig { max_records: retained };
            let config = BrokerConfig { default_retention, ..config(&dir, &fs, false) };
            Broker::open(config).unwrap().create_topic(name, count).unwrap();
            for partition in 0..count {
                let model = PartitionModel { retained, ..PartitionModel::default() };
                partitions.insert((name, partition), model);
            }
        }
        let probe = Arc::clone(met) as Arc<dyn Probe>;
        let broker = Broker::open(BrokerConfig { probe, ..config(&dir, &fs, false) }).unwrap();
        Self {
            dir,
            met: Arc::clone(met),
            fs,
            broker,
            lz4: false,
            partitions,
            keys: BTreeMap::new(),
            sent: BTreeMap::new(),
            committed: BTreeMap::new(),
            members: Vec::new(),
            units: 0,
            random: Rng(7),
        }
    }

    fn config(&self, dir: &TempDir, lz4: bool) -> BrokerConfig {
        let probe = Arc::clone(&self.met) as Arc<dyn Probe>;
        BrokerConfig { probe, ..config(dir, &self.fs, lz4) }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Send(topics) => {
                let records = self.new_records(topics);
                let sent = Broker::producer(&self.broker).send_batch(&records).unwrap();
                self.note_sent(&records, &sent);
            }
            Op::Enqueue(first, second) => self.enqueue(first, second),
            Op::Numbered { producer, batches } => {
                for topics in batches {
                    self.numbered(*producer, topics);
                }
            }
            Op::Repeat { producer, back } => self.repeat(*producer, *back),
            Op::TooEarly { producer } => self.too_early(*producer),
            Op::Read { partition, offset } => {
                let id = self.id(*partition);
                let expected = self.partitions[&id].slice(*offset, offset + 1).first();
                let expected = expected.filter(|record| record.offset == *offset);
                assert_eq!(self.view(id).read(*offset).unwrap().as_ref(), expected);
            }
            Op::ReadRange { partition, from, to } => {
                let id = self.id(*partition);
                let read = self.view(id).read_range(*from, *to).unwrap();
                assert_eq!(read, self.partitions[&id].slice(*from, *to));
            }
            Op::Join => self.join(),
            Op::Leave { member } => {
                if let Some(member) = self.member(*member) {
                    self.members.remove(member);
                }
            }
            Op::Poll { member } => {
                if let Some(member) = self.member(*member) {
                    self.poll(member);
                }
            }
            Op::Seek { member, partition, offset } => self.seek(*member, *partition, *offset),
            Op::Commit { member } => self.commit(*member),
            Op::Maintain => self.broker.maintain().unwrap(),
            Op::Reopen { lz4 } => self.reopen(*lz4),
            Op::Crash { lz4 } => self.crash(*lz4),
        }
    }

    fn id(&self, index: usize) -> Id {
        *self.partitions.keys().nth(index % self.partitions.len()).unwrap()
    }

    fn view(&self, id: Id) -> Partition {
        self.broker.topic(id.0).unwrap().partition(id.1).unwrap().read().unwrap()
    }

    fn member(&self, index: usize) -> Option<usize> {
        (!self.members.is_empty()).then(|| index % self.members.len())
    }

    // ------------------------------------------------------------- producing

    fn new_records(&mut self, topics: &[usize]) -> Vec<ProducerRecord> {
        self.units += 1;
        let topics: Vec<&str> = topics.iter().map(|topic| TOPICS[*topic].0).collect();
        records_of(self.units, &topics)
    }

    /// What a send returned is what was sent, at the next offsets.
    fn note_sent(&mut self, records: &[ProducerRecord], sent: &[Record]) {
        assert_eq!(records.len(), sent.len());
        for (record, sent) in records.iter().zip(sent) {
            let name = TOPICS.iter().find(|(name, ..)| *name == record.topic).unwrap().0;
            assert_eq!((&sent.topic, &sent.key), (&record.topic, &record.key));
            assert_eq!(sent.value, record.value);
            let model = self.partitions.get_mut(&(name, sent.partition)).expect("a partition");
            model.append(sent);
            if let Some(key) = &record.key {
                let home = self.keys.entry((name, key.clone())).or_insert(sent.partition);
                assert_eq!(*home, sent.partition, "{key} has moved");
            }
        }
        self.partitions.values_mut().for_each(PartitionModel::retain);
    }

    fn enqueue(&mut self, first: &[usize], second: &[usize]) {
        let producer = Broker::producer(&self.broker);
        let records = [self.new_records(first), self.new_records(second)];
        let pending = records.each_ref().map(|records| producer.enqueue(records).unwrap());
        // Nothing is there before somebody has waited.
        for (id, model) in &self.partitions {
            assert_eq!(self.view(*id).next_offset(), model.end());
        }
        let [first, second] = pending;
        // The second wait writes both, in the order in which they were handed over.
        let second = second.wait().unwrap();
        let first = first.wait().unwrap();
        self.note_sent(&records[0], &first);
        self.note_sent(&records[1], &second);
    }

    // ------------------------------------------------------------- consuming

    fn join(&mut self) {
        if self.members.len() == MEMBERS_MAX {
            return;
        }
        let config = ConsumerConfig {
            group_id: GROUP.to_owned(),
            auto_commit: false,
            offset_reset: OffsetReset::Earliest,
        };
        let mut consumer = Broker::consumer(&self.broker, config);
        consumer.subscribe(&TOPICS.map(|(name, ..)| name)).unwrap();
        let alone = self.members.is_empty();
        self.members.iter_mut().for_each(|member| member.alone = false);
        self.members.push(Member { consumer, positions: BTreeMap::new(), alone });
    }

    /// Where the group may go on in a partition.
    fn may_begin(&self, id: Id) -> BTreeSet<u64> {
        self.committed.get(&id).cloned().unwrap_or_else(|| BTreeSet::from([0]))
    }

    fn poll(&mut self, index: usize) {
        let mut returned: BTreeMap<Id, Vec<Record>> = BTreeMap::new();
        for record in self.members[index].consumer.poll(Duration::ZERO).unwrap() {
            let name = TOPICS.iter().find(|(name, ..)| *name == record.topic).unwrap().0;
            returned.entry((name, record.partition)).or_default().push(record);
        }
        for (id, model) in &self.partitions {
            let member = &self.members[index];
            let mut possible = self.may_begin(*id);
            match member.positions.get(id) {
                // It was never taken away, so it goes on where it was.
                Some(position) if member.alone => possible = BTreeSet::from([*position]),
                position => possible.extend(position),
            }
            let possible: BTreeSet<u64> = possible.iter().map(|at| model.clamp(*at)).collect();
            let Some(records) = returned.get(id) else {
                let nothing = possible.iter().any(|at| *at >= model.end());
                assert!(nothing || !member.alone, "{id:?} was left out: {possible:?}");
                continue;
            };
            let first = records[0].offset;
            assert!(possible.contains(&first), "{id:?} from {first}, not {possible:?}");
            assert_eq!(records, model.slice(first, u64::MAX), "{id:?}");
            self.members[index].positions.insert(*id, model.end());
        }
    }

    fn seek(&mut self, member: usize, partition: usize, offset: u64) {
        let Some(index) = self.member(member) else { return };
        let id = self.id(partition);
        let member = &mut self.members[index];
        match member.consumer.seek(id.0, id.1, offset) {
            Ok(()) => drop(member.positions.insert(id, offset)),
            Err(Error::NotAssigned { .. }) if !member.alone => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn commit(&mut self, member: usize) {
        let Some(index) = self.member(member) else { return };
        let alone = self.members[index].alone;
        match self.members[index].consumer.commit_sync() {
            Ok(()) => {}
            Err(Error::NotAssigned { .. }) if !alone => {}
            Err(error) => panic!("{error}"),
        }
        for (id, position) in self.members[index].positions.clone() {
            let mut possible = self.may_begin(id);
            if alone {
                possible.clear();
            }
            possible.insert(position);
            self.committed.insert(id, possible);
        }
    }

    // ------------------------------------------------------------- reopening

    fn reopen(&mut self, lz4: bool) {
        self.members.clear();
        Broker::close(&self.broker).unwrap();
        let again = Broker::open(self.config(&self.dir, lz4)).unwrap();
        (self.broker, self.lz4) = (again, lz4);
        self.check_whole();
    }

    fn crash(&mut self, lz4: bool) {
        self.members.clear();
        let copy = memory_dir();
        copy_dir(self.dir.path(), copy.path());
        self.broker = Broker::open(self.config(&copy, lz4)).unwrap();
        (self.dir, self.lz4) = (copy, lz4);
        self.check_whole();
    }

    // -------------------------------------------------------------- checking

    /// Ends, roots and a few proofs of every partition.
    fn check(&mut self) {
        for (id, model) in &self.partitions {
            let view = self.view(*id);
            assert_eq!((view.min_valid_offset(), view.next_offset()), (model.start, model.end()));
            assert_eq!(view.merkle_root().unwrap(), model.roots.last().copied(), "{id:?}");
            if model.end() == 0 {
                continue;
            }
            for _ in 0..2 {
                check_size(&view, model, 1 + self.random.below(model.end()));
                check_proof(&view, model, self.random.below(model.end()));
            }
        }
    }

    /// Every record, every root, every proof.
    fn check_whole(&mut self) {
        for (id, model) in &self.partitions {
            let view = self.view(*id);
            assert_eq!(view.read_range(0, u64::MAX).unwrap(), model.slice(0, u64::MAX), "{id:?}");
            for size in 1..=model.end() {
                check_size(&view, model, size);
                check_proof(&view, model, size - 1);
                let offset = size - 1;
                let retained = (offset >= model.start).then(|| &model.slice(offset, size)[0]);
                assert_eq!(view.read(offset).unwrap().as_ref(), retained);
            }
        }
        for (producer, sent) in &self.sent {
            let handle = Broker::idempotent_producer(&self.broker, *producer);
            assert_eq!(handle.next_sequence(), sent.len() as u64);
        }
        self.check();
    }
}

fn check_size(view: &Partition, model: &PartitionModel, size: u64) {
    let old = model.roots[usize::try_from(size).unwrap() - 1];
    let root = *model.roots.last().unwrap();
    assert_eq!(view.root_at(size).unwrap(), Some(old), "the root at {size}");
    let proof = view.consistency_proof(size).unwrap().unwrap();
    assert!(proof.proves(&old, &root), "consistency from {size}");
}

fn check_proof(view: &Partition, model: &PartitionModel, offset: u64) {
    let record = &model.records[usize::try_from(offset).unwrap()];
    let proof = view.proof(offset).unwrap().unwrap();
    assert!(proof.proves(&record.hash(), model.roots.last().unwrap()), "inclusion of {offset}");
    assert!(MerkleTree::verify_proof(&proof, view.store()).unwrap());
}

fn run(ops: &[Op], met: &Arc<Marks>) {
    let mut model = Model::new(met);
    for op in ops {
        model.apply(op);
        model.check();
    }
    // Whatever the program did, the log can be closed, crashed and reopened.
    model.crash(!model.lz4);
    model.join();
    model.poll(0);
    model.reopen(!model.lz4);
    model.join();
    model.poll(0);
    model.commit(0);
    model.poll(0);
}

fn cases() -> ProptestConfig {
    let failures = FileFailurePersistence::Direct("tests/model/main.proptest-regressions");
    let mut config = ProptestConfig {
        max_shrink_iters: 4_000,
        failure_persistence: Some(Box::new(failures)),
        ..ProptestConfig::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    config
}

/// What random programs must have met, or they show nothing. Each has to be met by
/// a third of them or more (count before adding one): then all of [`CASES`] miss it
/// once in 10^11 runs.
const MARKS: [&str; 8] = [
    "checkpoint.complete",
    "journal.recycled",
    "journal.link_block",
    "journal.oversized_removed",
    numbered::FORGOTTEN,
    "producer.repeated_send",
    "recovery.block_replayed",
    "recovery.complete",
];

#[test]
fn the_log_does_what_the_model_does() {
    let met = Arc::new(Marks::default());
    let config = cases();
    let enough = config.cases >= CASES;
    let outcome = TestRunner::new(config).run(&ops(), |ops| {
        run(&ops, &met);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let met = met.0.lock().unwrap();
    for mark in MARKS {
        assert!(!enough || met.contains(mark), "no program met {mark}, but {met:?}");
    }
    // Nothing that the log could do failed, and was passed over.
    assert!(!met.contains("index.not_written"), "{met:?}");
    assert!(!met.contains("checkpoint.put_off"), "{met:?}");
}

#[test]
fn a_topic_that_only_the_journal_knows_is_recovered() {
    // Its folders hold files, and its creation is in no manifest.
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(small_config(dir.path())).unwrap();
    broker.create_topic("new", 2).unwrap();
    let producer = Broker::producer(&broker);
    let sent = producer.send_batch(&records_of(1, &["new", "new", "new"])).unwrap();
    let copy = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), copy.path());
    let recovered = Broker::open(small_config(copy.path())).unwrap();
    let topic = recovered.topic("new").unwrap();
    for record in sent {
        let view = topic.partition(record.partition).unwrap().read().unwrap();
        assert_eq!(view.read(record.offset).unwrap(), Some(record));
    }
}
