//! One schedule: its world, its history, and how it ends.

use super::explore::Tally;
use super::members::Member;
use super::recorder::{Recorder, key};
use super::snapshots::Snapshots;
use super::world::World;
use merkql::Error;
use merkql::broker::{Broker, BrokerRef};
use merkql::record::Record;
use merkql_jepsen::history::{Action, Datum, Declarations, Key, Kind, Process};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// The offsets that each group was delivered, by topic.
type Delivered = BTreeMap<(String, Key), BTreeSet<u64>>;

/// Everything that the clients of a schedule share.
pub(crate) struct Run {
    pub(crate) world: World,
    pub(crate) recorder: Recorder,
    pub(crate) tally: Arc<Tally>,
    /// Whether members tell of every rebalance.
    pub(crate) rebalances: bool,
    delivered: Mutex<Delivered>,
}

impl Run {
    pub(crate) fn new(world: World, tally: &Arc<Tally>) -> Self {
        let (recorder, tally) = (Recorder::default(), Arc::clone(tally));
        Self { world, recorder, tally, rebalances: false, delivered: Mutex::default() }
    }

    /// One whose members never wait in a poll, and so can tell of every rebalance.
    pub(crate) fn telling_rebalances(world: World, tally: &Arc<Tally>) -> Self {
        Self { rebalances: true, ..Self::new(world, tally) }
    }

    /// Opens the log, which never fails here: whatever a crash leaves is recovered.
    pub(crate) fn open(&self) -> BrokerRef {
        let opener = Process::Named("opener".into());
        self.recorder.note(&opener, Kind::Invoke, Action::Open(Declarations::default()));
        let broker = Broker::open(self.world.config()).expect("the log opens");
        let promises = Declarations {
            dense_offsets: true,
            atomic_batches: true,
            all_sends: true,
            rebalances: self.rebalances,
            rest: Vec::new(),
        };
        self.recorder.note(&opener, Kind::Ok, Action::Open(promises));
        broker
    }

    /// How a call ended. A closed broker has not begun it; a commit of a member
    /// that has lost partitions has done the rest; after a crash nobody knows; and
    /// nothing else can go wrong.
    pub(crate) fn kind<T>(&self, result: &merkql::Result<T>) -> Kind {
        match result {
            Ok(_) => {
                self.tally.count("answered");
                Kind::Ok
            }
            Err(Error::NotAssigned { .. }) => {
                self.tally.count("told of lost partitions");
                Kind::Info
            }
            Err(Error::Closed) => {
                self.tally.count("refused as closed");
                Kind::Fail
            }
            Err(error) => {
                assert!(self.world.disk.is_dead(), "without a crash: {error}");
                self.tally.count("unknown after a crash");
                Kind::Info
            }
        }
    }

    /// Cuts the power under the broker, if there still is one, opens the log again, reads everything, and
    /// judges. `groups` are those that have committed something.
    pub(crate) fn end(self, broker: impl Into<Option<BrokerRef>>, groups: &[&str]) {
        let what = if self.world.disk.is_dead() { "crashed" } else { "lived to the end" };
        self.tally.count(what);
        self.world.cut_power();
        self.recorder.note(&Process::nemesis(), Kind::Info, Action::Crash(Datum::Nil));
        // What it still tries at its end meets a dead process.
        drop(broker.into());
        let broker = self.open();
        let topics = broker.topics();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        for group in groups {
            Member::join(&self, &broker, group, &topics).read_on(&topics);
        }
        self.audit(&broker, &topics);
        drop(broker);
        self.recorder.judge();
    }

    /// Reads every topic from its start to its end, with roots and proofs.
    fn audit(&self, broker: &BrokerRef, topics: &[&str]) {
        let auditor = self.recorder.new_process();
        Member::audit(self, broker, topics, &auditor);
        for topic in topics {
            Snapshots::new(self, broker, topic).take();
        }
    }

    /// A member of the group was given the record.
    pub(crate) fn delivered(&self, group: &str, record: &Record) {
        let mut delivered = self.delivered.lock().unwrap_or_else(PoisonError::into_inner);
        let offsets = delivered.entry((group.to_owned(), key(&record.topic))).or_default();
        offsets.insert(record.offset);
    }

    /// Nothing that the group commits past may be unknown to all of its members.
    /// The checker excuses what consumers skip that share topics.
    pub(crate) fn must_be_delivered(&self, group: &str, key: &Key, end: u64) {
        let delivered = self.delivered.lock().unwrap_or_else(PoisonError::into_inner);
        let offsets = delivered.get(&(group.to_owned(), key.clone()));
        let count = offsets.map_or(0, |offsets| offsets.range(..end).count());
        assert_eq!(count as u64, end, "group {group} commits {end} in {key}: {offsets:?}");
    }

    /// The end of a topic.
    pub(crate) fn end_offset(broker: &BrokerRef, topic: &str) -> u64 {
        let topic = broker.topic(topic).expect("the topic is there");
        let partition = topic.partition(0).expect("it has a partition");
        partition.read().expect("looking at it cannot fail").next_offset()
    }

    /// Both halves of a call that changes nothing in the log.
    pub(crate) fn note_call(&self, process: &Process, action: &Action) {
        self.recorder.note(process, Kind::Invoke, action.clone());
        self.recorder.note(process, Kind::Ok, action.clone());
    }
}

/// The keys of topics.
pub(crate) fn keys(topics: &[&str]) -> Vec<Key> {
    topics.iter().map(|topic| key(topic)).collect()
}
