//! How a consumer is made.

use super::listener::RebalanceListener;
use crate::error::{Error, Result};
use std::fmt;
use std::time::Duration;

/// The longest id of a group, in bytes.
const GROUP_ID_BYTES_MAX: usize = 249;

/// Where a group begins in a partition for which it has committed nothing.
/// (Kafka: `auto.offset.reset`.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OffsetReset {
    /// At the first record that is there.
    Earliest,
    /// Behind the last record that is there when the partition is assigned.
    /// Topics and partitions that are created later are read from their start.
    Latest,
}

/// How a consumer is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerConfig {
    /// The group, which shares partitions and committed offsets. 249 bytes at
    /// most. (Kafka: `group.id`.)
    pub group_id: String,
    /// Whether what was polled is committed before partitions are given up: by
    /// [`super::Consumer::close`], [`super::Consumer::unsubscribe`],
    /// [`super::Consumer::assign`] and for a rebalance; and by polls, if there is an
    /// [`ConsumerOptions::auto_commit_interval`]. Dropping a consumer commits nothing.
    /// (Kafka: `enable.auto.commit`.)
    pub auto_commit: bool,
    /// Where to begin without a committed offset, and where to go on when
    /// retention has overtaken the position.
    pub offset_reset: OffsetReset,
}

/// What else a consumer can be told; see [`crate::broker::Broker::consumer_with`].
///
/// ```
/// use merkql::consumer::ConsumerOptions;
///
/// let options = ConsumerOptions { max_poll_records: Some(500), ..ConsumerOptions::default() };
/// assert_eq!(options.max_poll_bytes, None);
/// ```
#[derive(Default)]
pub struct ConsumerOptions {
    /// How many records one poll returns at most, and at least 1. Default: as many
    /// as its bytes permit. (Kafka: `max.poll.records`.)
    pub max_poll_records: Option<usize>,
    /// How many bytes of keys, values and headers one poll returns at most, unless
    /// its first record alone is larger. Default: the broker's
    /// [`max_poll_bytes`](crate::broker::BrokerConfig::max_poll_bytes).
    /// (Kafka: `fetch.max.bytes`.)
    pub max_poll_bytes: Option<u64>,
    /// A consumer that does not poll for so long loses its partitions. Default: the
    /// broker's [`max_poll_interval`](crate::broker::BrokerConfig::max_poll_interval).
    /// (Kafka: `max.poll.interval.ms`.)
    pub max_poll_interval: Option<Duration>,
    /// If [`ConsumerConfig::auto_commit`] is set: how often a poll, before it returns
    /// anything new, commits what the polls before it returned. A commit that fails is
    /// the poll's error, once an interval, and neither records nor positions are lost
    /// by it. Default: polls commit only what a rebalance takes away. (Kafka:
    /// `auto.commit.interval.ms`.)
    pub auto_commit_interval: Option<Duration>,
    /// Is told when partitions change hands.
    pub rebalance_listener: Option<Box<dyn RebalanceListener>>,
}

impl fmt::Debug for ConsumerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerOptions")
            .field("max_poll_records", &self.max_poll_records)
            .field("max_poll_bytes", &self.max_poll_bytes)
            .field("max_poll_interval", &self.max_poll_interval)
            .field("auto_commit_interval", &self.auto_commit_interval)
            .field("rebalance_listener", &self.rebalance_listener.is_some())
            .finish()
    }
}

/// What a consumer goes by, after the broker's defaults were filled in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) poll_records_max: usize,
    pub(super) poll_bytes_max: u64,
    pub(super) poll_interval_max: Duration,
    pub(super) auto_commit_interval: Option<Duration>,
}

/// Checks a group's id against the limit.
pub(crate) fn check_group_id(group_id: &str) -> Result<()> {
    let (size_bytes, limit_bytes) = (group_id.len() as u64, GROUP_ID_BYTES_MAX as u64);
    if size_bytes > limit_bytes {
        return Err(Error::GroupIdTooLong { size_bytes, limit_bytes });
    }
    Ok(())
}
