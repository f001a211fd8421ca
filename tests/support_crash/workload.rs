//! A small workload for a log whose disk fails: each step is tried, and after a
//! failure tried again in the same process, or, where the log asks for it, in a
//! log that was opened anew.

use super::fault_fs::{FaultFs, Manner};
use super::ledger::{Ledger, Unit, records_of};
use super::small_config;
use merkql::Error;
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::compression::Compression;
use merkql::consumer::{Consumer, ConsumerConfig, OffsetReset};
use merkql::topic::RetentionConfig;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const PRODUCER_ID: u64 = 5;
const GROUP: &str = "group";
/// More than any one send brings to a partition, so that nothing goes unseen.
const RETAINED: u64 = 12;
const NUMBERED: Unit = 1 << 63;

/// One thing that a program does.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Create(&'static str, u32),
    Send(Unit, Vec<&'static str>),
    /// A send under a sequence.
    Numbered(u64, Vec<&'static str>),
    /// Polls, and commits what came.
    Consume,
    Maintain,
}

/// Enough of everything to fill journal files and segments several times.
pub(crate) fn steps(rounds: u64) -> Vec<Step> {
    let mut steps = vec![Step::Create("kept", 2), Step::Send(1, vec!["kept"; 3])];
    for round in 0..rounds {
        let unit = 100 * (round + 1);
        steps.push(Step::Send(unit, vec!["kept"]));
        steps.push(Step::Numbered(round, vec!["kept", "numbered", "kept"]));
        steps.push(Step::Send(unit + 1, vec!["short", "kept", "short", "other", "short"]));
        if round % 2 == 0 {
            steps.push(Step::Consume);
        }
        if round % 3 == 2 {
            steps.push(Step::Send(unit + 2, vec!["kept"; 20]));
            steps.push(Step::Maintain);
        }
        if round == 4 {
            steps.push(Step::Create("late", 3));
            steps.push(Step::Send(unit + 3, vec!["late"; 4]));
        }
    }
    steps
}

/// What went wrong on the way.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Calls that failed.
    pub(crate) failures: u64,
    /// Of these, with [`Error::DiskFull`].
    pub(crate) disk_full: u64,
    /// How often the log took no more writes, and was opened anew for it.
    pub(crate) latched: u64,
    /// Steps that succeeded when tried again in the same process.
    pub(crate) retried: u64,
}

struct Open {
    broker: BrokerRef,
    consumer: Consumer,
}

/// A log on a file system with faults, and what it has promised.
pub(crate) struct World<'a> {
    dir: &'a Path,
    fs: Arc<FaultFs>,
    /// `None` only while it is opened anew.
    open: Option<Open>,
    pub(crate) ledger: Ledger,
    pub(crate) outcome: Outcome,
    /// Whether published records can be read after a failure.
    reads_go_on: bool,
}

pub(crate) fn config(dir: &Path, fs: &Arc<FaultFs>) -> BrokerConfig {
    BrokerConfig {
        segment_bytes: 2 << 10,
        journal_max_bytes: 32 << 10,
        compression: Compression::Lz4,
        default_retention: RetentionConfig { max_records: None },
        file_system: Arc::clone(fs) as Arc<dyn merkql::env::FileSystem>,
        ..small_config(dir)
    }
}

/// Nothing but the typed errors of a failing disk, naming where it was.
pub(crate) fn assert_typed(error: &Error) {
    let expected =
        matches!(error, Error::Io { .. } | Error::DiskFull { .. } | Error::NeedsReopen { .. });
    assert!(expected, "a failing disk is answered with {error:?}");
}

fn open(dir: &Path, fs: &Arc<FaultFs>) -> (BrokerRef, Consumer, Outcome) {
    let mut outcome = Outcome::default();
    let broker = Broker::open(config(dir, fs)).unwrap_or_else(|error| {
        assert_typed(&error);
        outcome.failures += 1;
        outcome.disk_full += u64::from(matches!(error, Error::DiskFull { .. }));
        fs.heal();
        fs.set_room(None);
        Broker::open(config(dir, fs)).unwrap()
    });
    let consumer = consumer(&broker);
    (broker, consumer, outcome)
}

fn consumer(broker: &BrokerRef) -> Consumer {
    let config = ConsumerConfig {
        group_id: GROUP.to_owned(),
        auto_commit: false,
        offset_reset: OffsetReset::Earliest,
    };
    let mut consumer = Broker::consumer(broker, config);
    consumer.subscribe(&["kept", "numbered", "other"]).unwrap();
    consumer
}

/// Makes a log with a topic that keeps only a few records.
pub(crate) fn prepare(dir: &Path) {
    let retained = RetentionConfig { max_records: Some(RETAINED) };
    let config = BrokerConfig { default_retention: retained, ..config(dir, &FaultFs::new()) };
    Broker::open(config).unwrap().create_topic("short", 1).unwrap();
}

impl<'a> World<'a> {
    /// Opens the log, twice if the fault hits the first time.
    pub(crate) fn open(dir: &'a Path, fs: &Arc<FaultFs>, manner: Manner) -> Self {
        let (broker, consumer, outcome) = open(dir, fs);
        let reads_go_on = manner != Manner::Reverted;
        let fs = Arc::clone(fs);
        let open = Some(Open { broker, consumer });
        Self { dir, fs, open, ledger: Ledger::default(), outcome, reads_go_on }
    }

    fn broker(&self) -> &BrokerRef {
        &self.open.as_ref().expect("the log is open").broker
    }

    fn consumer(&mut self) -> &mut Consumer {
        &mut self.open.as_mut().expect("the log is open").consumer
    }

    fn check(&mut self) {
        let broker = Arc::clone(self.broker());
        self.ledger.check(&broker);
    }

    /// Takes every step, after a failure again.
    pub(crate) fn run(&mut self, steps: &[Step]) {
        for step in steps {
            let Err(error) = self.take(step) else { continue };
            self.outcome.disk_full += u64::from(matches!(error, Error::DiskFull { .. }));
            self.outcome.failures += 1;
            assert_typed(&error);
            self.fs.heal();
            self.fs.set_room(None);
            if self.reads_go_on {
                self.check();
            }
            match self.take(step) {
                Ok(()) => self.outcome.retried += 1,
                Err(Error::NeedsReopen { .. }) => self.reopen_and_take(step),
                // The system threw away pages that only the journal has now:
                // a read says so, and serves nothing wrong.
                Err(Error::Corrupt(_)) if !self.reads_go_on => self.reopen_and_take(step),
                Err(other) => panic!("{step:?} again: {other}; first it was {error}"),
            }
        }
    }

    /// As a program does that was told to: it opens the log anew, looks whether
    /// the send is there, and makes it if not.
    fn reopen_and_take(&mut self, step: &Step) {
        self.outcome.latched += 1;
        self.reopen();
        match step {
            Step::Send(unit, _) if self.ledger.has(*unit) => {}
            _ => self.take(step).unwrap(),
        }
    }

    /// Lets go of the log and opens it again, with a disk that works.
    pub(crate) fn reopen(&mut self) {
        // The last references go here; what that fails with, nobody hears.
        self.open = None;
        self.fs.heal();
        self.fs.set_room(None);
        let (broker, consumer, outcome) = open(self.dir, &self.fs);
        assert_eq!(outcome, Outcome::default(), "a disk that works is refused");
        self.open = Some(Open { broker, consumer });
        self.check();
        self.check_commits();
    }

    /// The group has one member while this looks where it goes on.
    fn check_commits(&mut self) {
        let broker = Arc::clone(self.broker());
        self.consumer().close().unwrap();
        self.ledger.check_commits(&broker);
        *self.consumer() = consumer(&broker);
    }

    /// Closes the log, with whatever the disk does, opens it, and holds it
    /// against everything; then once more after a clean close.
    pub(crate) fn finish(&mut self, last_unit: Unit) {
        if let Err(error) = Broker::close(self.broker()) {
            assert_typed(&error);
            self.outcome.failures += 1;
            self.outcome.disk_full += u64::from(matches!(error, Error::DiskFull { .. }));
        }
        self.reopen();
        self.take(&Step::Send(last_unit, vec!["kept", "other"])).unwrap();
        Broker::close(self.broker()).unwrap();
        self.reopen();
    }

    fn take(&mut self, step: &Step) -> merkql::Result<()> {
        match step {
            Step::Create(name, partitions) => self.broker().create_topic(name, *partitions),
            Step::Send(unit, topics) => {
                let records = records_of(*unit, topics);
                let sent = Broker::producer(self.broker()).send_batch(&records)?;
                self.ledger.ack_records(*unit, &sent);
                self.note_roots(topics);
                Ok(())
            }
            Step::Numbered(sequence, topics) => {
                let unit = NUMBERED | sequence;
                let producer = Broker::idempotent_producer(self.broker(), PRODUCER_ID);
                let sent = producer.send_batch(*sequence, &records_of(unit, topics))?;
                self.ledger.ack_records(unit, &sent);
                assert_eq!(producer.next_sequence(), sequence + 1);
                Ok(())
            }
            Step::Consume => self.consume(),
            Step::Maintain => self.broker().maintain(),
        }
    }

    fn note_roots(&mut self, topics: &[&str]) {
        let topic = self.broker().topic(topics[0]).unwrap();
        for partition in topic.partition_ids() {
            let view = topic.partition(partition).unwrap().read().unwrap();
            if let Some(root) = view.merkle_root().unwrap() {
                let id = (topic.name().to_owned(), partition);
                self.ledger.root(&id, view.next_offset(), root);
            }
        }
    }

    fn consume(&mut self) -> merkql::Result<()> {
        let mut positions = BTreeMap::new();
        for record in self.consumer().poll(Duration::ZERO)? {
            positions.insert((record.topic, record.partition), record.offset + 1);
        }
        for (id, offset) in &positions {
            self.ledger.begin_commit(GROUP, id.clone(), *offset);
        }
        self.consumer().commit_sync()?;
        for (id, offset) in positions {
            self.ledger.commit(GROUP, id, offset);
        }
        Ok(())
    }
}
