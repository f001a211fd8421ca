//! What can go wrong, as types.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that a call of this crate can fail with.
///
/// Errors are cheap to clone, because one failed sync fails every caller whose
/// records were in it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused an operation. Before the commit point this
    /// changed nothing and the call may be repeated.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb: "read", "sync".
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        source: Arc<io::Error>,
    },
    /// The disk, or the quota, is full. Nothing was changed: free space and
    /// call again, without reopening.
    #[error("no space left to {operation} {}", path.display())]
    DiskFull {
        /// What was tried.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
    },
    /// The process has no file handle left. Nothing was changed.
    #[error("too many open files to {operation} {} (lower `max_open_files` or raise the process's limit)", path.display())]
    TooManyOpenFiles {
        /// What was tried.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
    },
    /// Another broker, in this process or another, has the directory open.
    #[error("{} is already open in another broker, in this process or another", path.display())]
    AlreadyOpen {
        /// The data directory.
        path: PathBuf,
    },
    /// The broker was closed.
    #[error("the broker, or the consumer, is closed")]
    Closed,
    /// A write or a sync failed earlier, so the broker takes no more writes:
    /// drop it and open the directory again, which recovers. Reads of what was
    /// acknowledged go on working, except for records that the failure has taken
    /// out of the page cache: they get this error, too. A call that was under way
    /// when it happened may or may not have taken effect.
    #[error("the log takes no writes until it is reopened: {reason}")]
    NeedsReopen {
        /// The failure that caused it.
        reason: Arc<str>,
    },
    /// Bytes on disk are not what was written. What they covered is not served.
    #[error("{0}")]
    Corrupt(Arc<Corruption>),
    /// The directory was written by a format version that this crate cannot read.
    #[error("{} has format version {found}; this version of merkql reads {supported}", path.display())]
    UnsupportedVersion {
        /// The file that says so.
        path: PathBuf,
        /// The version found.
        found: u32,
        /// The version that can be read.
        supported: u32,
    },
    /// The directory holds a log of merkql 0.1 or 0.2, whose format this crate
    /// does not read.
    #[error("{} holds a log written by merkql 0.2 or earlier, which this version cannot read: consume it with that version and produce its records into a new directory", path.display())]
    PredecessorFormat {
        /// The `.merkql` directory.
        path: PathBuf,
    },
    /// The directory is no log, and is not empty either, so none is created in it.
    #[error("{} is not a log: {reason}", path.display())]
    NotALog {
        /// The `.merkql` directory.
        path: PathBuf,
        /// What was found or missed.
        reason: String,
    },
    /// An option's value is out of its range.
    #[error("option `{option}`: {reason}")]
    InvalidOption {
        /// The field of [`crate::broker::BrokerConfig`] or of a call's options.
        option: &'static str,
        /// The rule that it breaks.
        reason: String,
    },
    /// A topic's name breaks Kafka's rule: 1 to 249 of `a-z A-Z 0-9 . _ -`, and
    /// neither `.` nor `..`.
    #[error("invalid topic name {name:?}: {reason}")]
    InvalidTopicName {
        /// The name, shortened if it is very long.
        name: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// The topic does not exist, and was not to be created.
    #[error("unknown topic {topic:?}")]
    UnknownTopic {
        /// Its name.
        topic: String,
    },
    /// The topic has no such partition.
    #[error("topic {topic:?} has no partition {partition}")]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The partition asked for.
        partition: u32,
    },
    /// A topic must have between 1 and 100,000 partitions.
    #[error("topic {topic:?} cannot have {partitions} partitions: 1 to {max} are possible")]
    InvalidPartitionCount {
        /// The topic.
        topic: String,
        /// The count asked for.
        partitions: u32,
        /// The greatest count possible.
        max: u32,
    },
    /// The topic exists with another number of partitions.
    #[error("topic {topic:?} exists with {existing} partitions, not {requested}")]
    PartitionCountMismatch {
        /// The topic.
        topic: String,
        /// How many it has.
        existing: u32,
        /// How many were asked for.
        requested: u32,
    },
    /// A record is larger than `max_record_bytes`.
    #[error(
        "a record of {size_bytes} bytes for topic {topic:?} exceeds the limit of {limit_bytes}"
    )]
    RecordTooLarge {
        /// The topic.
        topic: String,
        /// Key, value and headers together.
        size_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// A batch is larger than 64 MiB.
    #[error("a batch of {size_bytes} bytes exceeds the limit of {limit_bytes}")]
    BatchTooLarge {
        /// All its records as they would stand on disk.
        size_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// A timestamp lies outside the years 1678 to 2261.
    #[error("timestamp {timestamp} cannot be stored: 1678 to 2261 are possible")]
    InvalidTimestamp {
        /// The timestamp.
        timestamp: chrono::DateTime<chrono::Utc>,
    },
    /// A record's key or value is not UTF-8, or its value is null, so it cannot
    /// be returned as text. The consumer stays in front of it and may seek past it.
    /// (Kafka: `RecordDeserializationException`.)
    #[error(
        "the {part} of {topic}/{partition} at offset {offset} is not text: read it in bytes, or seek past it"
    )]
    NotText {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The record's offset.
        offset: u64,
        /// "key", "value" or "header".
        part: &'static str,
    },
    /// The bytes are no serialized record.
    #[error("not a serialized record: expected {reason} at byte {position}")]
    InvalidRecord {
        /// What was expected.
        reason: &'static str,
        /// Where.
        position: usize,
    },
    /// The log remembers nothing of this producer id, or has forgotten it, and
    /// the sequence is not a first one. (Kafka: `UNKNOWN_PRODUCER_ID`.)
    #[error(
        "producer {producer_id} is unknown here, so sequence {sequence} cannot be checked against what it sent before; a new id starts at 0"
    )]
    UnknownProducer {
        /// The producer id.
        producer_id: u64,
        /// The sequence that was to be sent.
        sequence: u64,
    },
    /// The sequence is not the next one, and not one that is remembered.
    /// (Kafka: `OUT_OF_ORDER_SEQUENCE_NUMBER`, `DUPLICATE_SEQUENCE_NUMBER`.)
    #[error(
        "producer {producer_id} sent sequence {sequence}; the next is {next_sequence}, and the last {remembered} are remembered"
    )]
    SequenceOutOfOrder {
        /// The producer id.
        producer_id: u64,
        /// The sequence that was to be sent.
        sequence: u64,
        /// The next sequence of this id.
        next_sequence: u64,
        /// How many earlier ones can be retried.
        remembered: usize,
    },
    /// The consumer does not own the partition: it was never assigned, or a
    /// rebalance has given it to another member; or the consumer chose it by
    /// [`assign`](crate::consumer::Consumer::assign) and would commit what a live
    /// member of the group owns. (Kafka: `CommitFailedException`,
    /// `IllegalStateException`.)
    #[error(
        "{topic}/{partition} is not assigned to this consumer, or another member of its group owns it"
    )]
    NotAssigned {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
    },
    /// The topic was deleted while it was read, or written. One that was created
    /// under its name since is another topic.
    #[error("topic {topic:?} was deleted")]
    TopicDeleted {
        /// Its name.
        topic: String,
    },
    /// A record without a key was sent to a compacted topic, which keeps the last
    /// record of each key. (Kafka: `InvalidRecordException`.)
    #[error("topic {topic:?} is compacted, so its records need keys")]
    KeyRequired {
        /// The topic.
        topic: String,
    },
    /// An offset lies outside what a call can take.
    /// (Kafka: `OFFSET_OUT_OF_RANGE`.)
    #[error("offset {offset} of {topic}/{partition} is not within {start} to {end}")]
    OffsetOutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The offset asked for.
        offset: u64,
        /// The first offset that is possible.
        start: u64,
        /// The last offset that is possible.
        end: u64,
    },
    /// A consumer was woken by [`crate::consumer::WakeupHandle::wakeup`] before there was
    /// anything to return. (Kafka: `WakeupException`.)
    #[error("the consumer was woken up")]
    Wakeup,
    /// `subscribe` and `assign` were mixed: a consumer either shares partitions with
    /// its group or takes its own. `unsubscribe` comes in between.
    #[error("the consumer has {present}, so it cannot {requested}; unsubscribe first")]
    SubscriptionConflict {
        /// What it has: "subscribed to topics", "been assigned partitions".
        present: &'static str,
        /// What was asked for: "subscribe to topics", "be assigned partitions".
        requested: &'static str,
    },
    /// The group has live members, and the call is for groups without.
    /// (Kafka: `GROUP_NOT_EMPTY`.)
    #[error("group {group:?} has live members: {members}")]
    GroupNotEmpty {
        /// The group.
        group: String,
        /// How many.
        members: usize,
    },
    /// The group has neither members nor committed offsets.
    /// (Kafka: `GROUP_ID_NOT_FOUND`.)
    #[error("unknown group {group:?}")]
    UnknownGroup {
        /// The group.
        group: String,
    },
    /// A rebalance listener called what changes its consumer's assignment, while it
    /// was told of a change. (Kafka: `IllegalStateException`.)
    #[error("a rebalance listener cannot call `{call}` of its consumer")]
    InListener {
        /// The method.
        call: &'static str,
    },
    /// The consumer has neither subscribed to topics nor been assigned partitions.
    #[error("the consumer is not subscribed to any topic, nor assigned any partition")]
    NotSubscribed,
    /// A group id is longer than 249 bytes.
    #[error("a group id of {size_bytes} bytes exceeds the limit of {limit_bytes}")]
    GroupIdTooLong {
        /// Its length.
        size_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
}

/// Where bytes on disk are wrong, and in what way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corruption {
    /// The file.
    pub path: PathBuf,
    /// The byte in the file at which it begins.
    pub position: u64,
    /// The topic, where one is concerned.
    pub topic: Option<String>,
    /// The partition, where one is concerned.
    pub partition: Option<u32>,
    /// The offset of the record, where one is concerned.
    pub offset: Option<u64>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "damaged: {} at byte {} of {}", self.reason, self.position, self.path.display())?;
        if let (Some(topic), Some(partition)) = (&self.topic, self.partition) {
            write!(f, " ({topic}/{partition}")?;
            if let Some(offset) = self.offset {
                write!(f, " offset {offset}")?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl Error {
    /// Wraps an answer of the file system, with what was tried on which path.
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { operation, path }
            }
            _ if is_handle_limit(&source) => Self::TooManyOpenFiles { operation, path },
            _ => Self::Io { operation, path, source: Arc::new(source) },
        }
    }

    /// Damage that concerns a whole file rather than a partition's record.
    pub(crate) fn corrupt(path: &Path, position: u64, reason: impl Into<String>) -> Self {
        Self::Corrupt(Arc::new(Corruption {
            path: path.to_owned(),
            position,
            topic: None,
            partition: None,
            offset: None,
            reason: reason.into(),
        }))
    }

    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether the disk refused to read.
    pub(crate) fn is_failed_read(&self) -> bool {
        matches!(self, Self::Io { operation: "read", .. })
    }

    /// Whether this is damage on disk, as opposed to a refusal or a wrong call.
    pub fn is_corruption(&self) -> bool {
        matches!(self, Self::Corrupt(_))
    }
}

/// `std` has no stable name for it: 24 is `EMFILE`, 23 `ENFILE` on every Unix;
/// on Windows 4 is `ERROR_TOO_MANY_OPEN_FILES`.
fn is_handle_limit(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    if cfg!(windows) { code == Some(4) } else { matches!(code, Some(23 | 24)) }
}

/// Turns an answer of the file system into an [`Error`] that names the path.
pub(crate) trait IoContext<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::io(operation, path, source))
    }
}
