//! The broker: a log directory, opened.

use crate::compression::Compression;
use crate::consumer::{Consumer, ConsumerConfig, ConsumerOptions};
use crate::env::os::{OsClock, OsEntropy, OsFileSystem};
use crate::env::{Clock, Entropy, FileSystem, NoProbe, Probe};
use crate::error::{Error, Result};
use crate::group::Groups;
use crate::producer::{IdempotentProducer, Producer, ProducerOptions, Transaction};
use crate::storage::commit::{Operation, Outcome};
use crate::storage::options::{JournalSizes, StorageOptions};
use crate::storage::settings::TopicSettings;
use crate::storage::store::{Env, Store};
use crate::storage::tables::TopicLog;
use crate::topic::{RetentionConfig, Topic, TopicConfig, check_name, check_partitions};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A broker, shared. Producers and consumers hold one each; when the last is
/// dropped, the broker is closed and the directory's lock released.
pub type BrokerRef = Arc<Broker>;

/// How a log is opened. Written as `BrokerConfig { .., ..BrokerConfig::new(dir) }`.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// The directory that holds the log, in its subdirectory `.merkql`. Created
    /// if it is not there.
    pub data_dir: PathBuf,
    /// How many partitions a topic gets that is created by a send. Default 1.
    pub default_partitions: u32,
    /// Whether a send to a topic that does not exist creates it. Default `true`.
    pub auto_create_topics: bool,
    /// How records that are sent through this broker are stored. Default none.
    pub compression: Compression,
    /// What topics retain that are created through this broker; it is kept with
    /// them. Default: everything.
    pub default_retention: RetentionConfig,
    /// The largest record, in bytes of key, value and headers together.
    /// Default 16 MiB. (Kafka: `max.message.bytes`.)
    pub max_record_bytes: u64,
    /// How many bytes of keys, values and headers one poll returns at most, unless
    /// its first record alone is larger. Default 64 MiB. (Kafka: `fetch.max.bytes`.)
    pub max_poll_bytes: u64,
    /// A member of a group that does not poll for so long loses its partitions.
    /// Default five minutes. (Kafka: `max.poll.interval.ms`.)
    pub max_poll_interval: Duration,
    /// A partition's file is sealed before an append would take it past so many
    /// bytes; retention frees whole files. Default 64 MiB. (Kafka: `segment.bytes`.)
    pub segment_bytes: u64,
    /// How many bytes of a segment share one entry of its index. Smaller makes
    /// single reads faster and takes more memory. Default 1 KiB. (Kafka:
    /// `index.interval.bytes`.)
    pub index_interval_bytes: u64,
    /// The size of the first journal file, and of what is left of the journal
    /// after a clean close. A multiple of 4,096. Default 64 KiB.
    pub journal_initial_bytes: u64,
    /// The bound up to which journal files grow with use. Two are in use at a
    /// time, and recovery reads at most those. A multiple of 4,096. Default 16 MiB.
    pub journal_max_bytes: u64,
    /// How many partition files are held open at once. Default 512.
    pub max_open_files: usize,
    /// How many producer ids are remembered; the longest unused is forgotten
    /// first. Default 10,000.
    pub max_producers: usize,
    /// The file system. Default the operating system's.
    pub file_system: Arc<dyn FileSystem>,
    /// The clock. Default the operating system's.
    pub clock: Arc<dyn Clock>,
    /// The source of random bytes. Default the operating system's.
    pub entropy: Arc<dyn Entropy>,
    /// For tests of the log itself.
    #[doc(hidden)]
    pub probe: Arc<dyn Probe>,
}

impl BrokerConfig {
    /// The defaults, for the log in `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            default_partitions: 1,
            auto_create_topics: true,
            compression: Compression::None,
            default_retention: RetentionConfig::default(),
            max_record_bytes: 16 << 20,
            max_poll_bytes: 64 << 20,
            max_poll_interval: Duration::from_secs(300),
            segment_bytes: 64 << 20,
            index_interval_bytes: 1 << 10,
            journal_initial_bytes: 64 << 10,
            journal_max_bytes: 16 << 20,
            max_open_files: 512,
            max_producers: 10_000,
            file_system: Arc::new(OsFileSystem),
            clock: Arc::new(OsClock),
            entropy: Arc::new(OsEntropy),
            probe: Arc::new(NoProbe),
        }
    }

    pub(crate) fn storage_options(&self) -> StorageOptions {
        StorageOptions {
            journal: JournalSizes {
                initial_bytes: self.journal_initial_bytes,
                max_bytes: self.journal_max_bytes,
            },
            segment_bytes: self.segment_bytes,
            index_interval_bytes: self.index_interval_bytes,
            open_files_max: self.max_open_files,
            record_bytes_max: self.max_record_bytes,
            producers_max: self.max_producers,
        }
    }

    pub(crate) fn env(&self) -> Env {
        Env {
            file_system: Arc::clone(&self.file_system),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            probe: Arc::clone(&self.probe),
        }
    }
}

/// An open log.
#[derive(Debug)]
pub struct Broker {
    pub(crate) store: Store,
    pub(crate) config: BrokerConfig,
    pub(crate) groups: Groups,
}

impl Broker {
    /// Opens the log in `config.data_dir`, creating it if there is none, and
    /// recovering it if it was not closed. One broker at a time has a directory
    /// open; others get [`Error::AlreadyOpen`].
    ///
    /// Fails with [`Error::Corrupt`], having changed nothing, where the journal
    /// or both manifest slots are damaged.
    pub fn open(config: BrokerConfig) -> Result<BrokerRef> {
        if config.default_partitions == 0 {
            let reason = "at least 1 is needed".to_owned();
            return Err(Error::InvalidOption { option: "default_partitions", reason });
        }
        let store = Store::open(config.env(), config.storage_options(), &config.data_dir)?;
        Ok(Arc::new(Self { store, config, groups: Groups::default() }))
    }

    /// A producer.
    pub fn producer(broker: &BrokerRef) -> Producer {
        Self::producer_with(broker, ProducerOptions::default())
    }

    /// A producer that compresses, or flushes, in its own way.
    pub fn producer_with(broker: &BrokerRef, options: ProducerOptions) -> Producer {
        Producer::new(Arc::clone(broker), options)
    }

    /// A transaction: records to any topics and the offsets of a consumer, all or
    /// nothing. One that can be repeated after an error is
    /// [`IdempotentProducer::transaction`]. (Kafka: `beginTransaction`.)
    pub fn transaction(self: &Arc<Self>) -> Transaction<'_> {
        Transaction::new(self, None)
    }

    /// A producer whose sends can be repeated without being stored twice. Its
    /// id is chosen by the caller, who keeps it across restarts; no two
    /// producers use one at the same time.
    pub fn idempotent_producer(broker: &BrokerRef, producer_id: u64) -> IdempotentProducer {
        IdempotentProducer::new(Arc::clone(broker), producer_id)
    }

    /// A consumer. It joins its group when it subscribes.
    pub fn consumer(broker: &BrokerRef, config: ConsumerConfig) -> Consumer {
        Self::consumer_with(broker, config, ConsumerOptions::default())
    }

    /// A consumer with options beyond its configuration.
    pub fn consumer_with(
        broker: &BrokerRef,
        config: ConsumerConfig,
        options: ConsumerOptions,
    ) -> Consumer {
        Consumer::new(Arc::clone(broker), config, options)
    }

    /// The topic of this name, if it exists.
    pub fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topic_log(name).map(|log| Arc::new(Topic::new(log)))
    }

    /// The names of all topics, in order.
    pub fn topics(&self) -> Vec<String> {
        self.store.tables().topics.keys().cloned().collect()
    }

    /// Creates the topic with `default_partitions` unless it exists, with
    /// whatever number of partitions.
    pub fn ensure_topic(&self, name: &str) -> Result<()> {
        self.ensure_topic_log(name).map(drop)
    }

    /// Creates a topic. One that exists with the same number of partitions is
    /// fine, with another it is [`Error::PartitionCountMismatch`].
    pub fn create_topic(&self, name: &str, partitions: u32) -> Result<()> {
        let settings = self.config.default_retention.settings();
        self.create_topic_log(name, partitions, settings).map(drop)
    }

    /// Creates a topic with settings of its own, in place of the broker's defaults.
    /// One that exists with the same number of partitions is fine and keeps the
    /// settings it has, with another it is [`Error::PartitionCountMismatch`]. A
    /// setting that is out of its range is [`Error::InvalidOption`].
    pub fn create_topic_with(&self, name: &str, config: &TopicConfig) -> Result<()> {
        let settings = config.settings();
        settings.validate()?;
        self.create_topic_log(name, config.partitions, settings).map(drop)
    }

    /// Writes and syncs what is pending, lets go what retention does not keep,
    /// compacts the topics that want it, and completes a checkpoint: afterwards
    /// nothing would have to be replayed, and what was deleted takes no room.
    ///
    /// Appends do all but the compaction by themselves, a piece at a time; call this
    /// to choose the moment. They never compact, so that no append pays for it: that
    /// is done here alone, so call it now and then where topics are compacted
    /// ([`crate::topic::TopicConfig::compaction`]). All files of a partition but
    /// the one that is appended to are read, and those written anew in which
    /// something goes, while sends and reads go on. It takes about 70 bytes of
    /// memory for each key of the partition at hand, and room on disk for what
    /// stays. Damage in one partition keeps no other from it, and is told.
    pub fn maintain(&self) -> Result<()> {
        self.store.maintain()
    }

    /// Commits what is pending and closes the log, so that the next open has
    /// nothing to recover. Every later call on it fails with [`Error::Closed`];
    /// closing again is fine. Dropping the last reference does the same, with
    /// nobody to tell of a failure.
    pub fn close(broker: &BrokerRef) -> Result<()> {
        broker.store.close()
    }

    pub(crate) fn topic_log(&self, name: &str) -> Option<Arc<TopicLog>> {
        self.store.tables().topics.get(name).cloned()
    }

    fn ensure_topic_log(&self, name: &str) -> Result<Arc<TopicLog>> {
        if let Some(log) = self.topic_log(name) {
            return Ok(log);
        }
        let settings = self.config.default_retention.settings();
        match self.create_topic_log(name, self.config.default_partitions, settings) {
            // Somebody else was faster, with another number.
            Err(Error::PartitionCountMismatch { topic, .. }) => {
                self.topic_log(&topic).ok_or(Error::UnknownTopic { topic })
            }
            created => created,
        }
    }

    /// The topic that a send goes to.
    pub(crate) fn topic_for_send(&self, name: &str) -> Result<Arc<TopicLog>> {
        match self.topic_log(name) {
            Some(log) => Ok(log),
            None if self.config.auto_create_topics => self.ensure_topic_log(name),
            None => Err(Error::UnknownTopic { topic: name.to_owned() }),
        }
    }

    fn create_topic_log(
        &self,
        name: &str,
        partitions: u32,
        settings: TopicSettings,
    ) -> Result<Arc<TopicLog>> {
        check_name(name)?;
        check_partitions(name, partitions)?;
        self.store.check_open()?;
        let operation = Operation::CreateTopic { name: name.to_owned(), partitions, settings };
        match self.store.execute(operation)? {
            Outcome::Topic(topic) => Ok(topic),
            Outcome::Written(_) | Outcome::Repeated(_) => {
                Err(Error::UnknownTopic { topic: name.to_owned() })
            }
        }
    }
}
