//! Compaction under drawn workloads: whatever keys, tombstones, batches, segment
//! sizes, deaths and passes come in whatever order, what the log shows is what was
//! sent, less what compaction may remove, and all of it can be proved.

mod support_compaction;

use merkql::broker::{Broker, BrokerRef};
use merkql::compression::Compression;
use merkql::hash::Hash;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;
use support_compaction::*;

#[derive(Debug, Clone)]
enum Step {
    /// A batch: for each record the key, and how long the value is, if there is one.
    Send(Vec<(u8, Option<usize>)>),
    Maintain,
    Advance(u64),
    Reopen,
    Kill,
    LoseIndexes,
}

fn step() -> impl Strategy<Value = Step> {
    let record = (0..8_u8, prop::option::weighted(0.8, 0..200_usize));
    prop_oneof![
        8 => prop::collection::vec(record, 1..10).prop_map(Step::Send),
        3 => Just(Step::Maintain),
        1 => (1..90_u64).prop_map(Step::Advance),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
        1 => Just(Step::LoseIndexes),
    ]
}

struct Run {
    world: World,
    broker: Option<BrokerRef>,
    sent: Vec<Pair>,
    /// What is to be seen: all that was sent, but for what a pass removed.
    seen: BTreeMap<u64, Pair>,
    roots: BTreeMap<u64, Hash>,
}

impl Run {
    fn new(world: World) -> Self {
        let broker = Some(world.open_with_topic());
        let (sent, seen, roots) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        Self { world, broker, sent, seen, roots }
    }

    fn broker(&self) -> &BrokerRef {
        self.broker.as_ref().unwrap()
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Send(records) => self.send(records),
            Step::Maintain => {
                self.broker().maintain().unwrap();
                self.check_pass();
            }
            Step::Advance(seconds) => self.world.clock.advance(Duration::from_secs(*seconds)),
            Step::Reopen => {
                Broker::close(self.broker()).unwrap();
                self.reopen();
            }
            Step::Kill => {
                self.world.disk.kill();
                self.reopen();
            }
            Step::LoseIndexes => {
                Broker::close(self.broker()).unwrap();
                for path in self.world.files(".idx") {
                    let gone = merkql_sim::disk::Damage::Delete;
                    self.world.disk.damage(path, &gone).unwrap();
                }
                self.reopen();
            }
        }
        assert_eq!(shown(&partition(self.broker())), self.seen);
    }

    fn reopen(&mut self) {
        drop(self.broker.take());
        self.broker = Some(self.world.open());
    }

    fn send(&mut self, records: &[(u8, Option<usize>)]) {
        let mut batch = Vec::new();
        for (key, len) in records {
            let number = self.sent.len() + batch.len();
            let value = len.map(|len| format!("value {number} {}", "x".repeat(len)));
            batch.push((format!("key {key}"), value));
        }
        send(self.broker(), &batch);
        self.seen.extend((self.sent.len() as u64..).zip(batch.iter().cloned()));
        self.sent.extend(batch);
        let partition = partition(self.broker());
        self.roots.insert(partition.next_offset(), partition.merkle_root().unwrap().unwrap());
    }

    /// Right after a pass: the last of each key is there and no other, only
    /// tombstones may have gone too.
    fn check_pass(&mut self) {
        let active = self.world.bases().last().copied().unwrap_or_default();
        let last = last_of_each(&self.sent, active);
        let shown = shown(&partition(self.broker()));
        for (offset, pair) in &shown {
            assert_eq!(last.get(offset), Some(pair), "offset {offset} should be gone");
        }
        for (offset, pair) in &last {
            let may_go = pair.1.is_none() && *offset < active;
            let is_there = shown.contains_key(offset);
            assert!(is_there || may_go, "offset {offset}: {pair:?} is gone");
            assert!(is_there || self.seen_before(*offset), "offset {offset} has gone too soon");
        }
        self.seen = shown;
    }

    /// A tombstone goes at the earliest in the second pass, so in one pass with
    /// what it stands for it is still there.
    fn seen_before(&self, offset: u64) -> bool {
        let (key, _) = &self.sent[usize::try_from(offset).unwrap()];
        let older = self.seen.range(..offset).filter(|(_, (other, _))| other == key);
        older.count() == 0
    }

    /// Every point of the partition can be asked for.
    fn check_each(&self) {
        let partition = partition(self.broker());
        for offset in 0..partition.next_offset() + 2 {
            let read = partition.read_bytes(offset).unwrap().map(|record| record.offset);
            assert_eq!(read, self.seen.contains_key(&offset).then_some(offset));
        }
        for from in 0..partition.next_offset() {
            let first = partition.read_range_bytes(from, from + 3).unwrap();
            let first: Vec<u64> = first.into_iter().map(|record| record.offset).collect();
            let expected: Vec<u64> = self.seen.range(from..from + 3).map(|(at, _)| *at).collect();
            assert_eq!(first, expected);
        }
        assert_proved(&partition, &self.roots);
    }

    /// All records by their times, as the index has them after a pass, too.
    fn check_times(&self) {
        let partition = partition(self.broker());
        let records = partition.read_range_bytes(0, u64::MAX).unwrap();
        for record in &records {
            let expected = records.iter().find(|other| other.timestamp >= record.timestamp);
            let found = partition.offset_for_timestamp(record.timestamp).unwrap();
            assert_eq!(found, expected.map(|record| record.offset));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn exactly_the_last_record_of_each_key_stays_and_everything_is_proved(
        steps in prop::collection::vec(step(), 1..40),
        lz4 in any::<bool>(),
        segment_bytes in 512..3000_u64,
    ) {
        let compression = if lz4 { Compression::Lz4 } else { Compression::None };
        let mut run = Run::new(World::new(compression, segment_bytes));
        for step in &steps {
            run.step(step);
        }
        run.check_each();
        // Once its time is over, the next pass but one removes every tombstone.
        run.step(&Step::Maintain);
        run.world.clock.advance(TOMBSTONES_STAY);
        run.step(&Step::Maintain);
        let active = run.world.bases().last().copied().unwrap_or_default();
        assert!(run.seen.range(..active).all(|(_, (_, value))| value.is_some()));
        let changes = run.world.disk.changes();
        run.step(&Step::Maintain);
        assert_eq!(run.world.disk.changes(), changes, "there was nothing to be done");
        run.check_each();
        run.check_times();
        run.step(&Step::Reopen);
        run.check_each();
    }
}
