//! What an operation does: its function together with its value, so that no value can be of the wrong shape.

use super::datum::Datum;
use super::evidence::{
    Commit, ConsistencyProof, Damage, Declarations, Detected, FaultsEnd, Healed, InclusionProof,
    OffsetMap, Rebalance, Root, SpanMap,
};
use super::operation::Key;

/// A function and its value. The [module's table](super) says what each means and who reads it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    /// Records sent, as one transaction where the log has transactions.
    Send(Vec<MicroOp>),
    /// Records polled.
    Poll(Vec<MicroOp>),
    /// Both, as one transaction.
    Txn(Vec<MicroOp>),
    /// The consumer takes exactly these keys.
    Assign(Vec<Key>),
    /// The consumer shares the topics of these keys with its group.
    Subscribe(Vec<Key>),
    /// A client or, by the nemesis, the log was torn down.
    Crash(Datum),
    /// Jepsen's look at the log's own view of itself; ignored.
    DebugTopicPartitions(Datum),
    /// The log was opened.
    Open(Declarations),
    /// A client or the log was closed.
    Close(Datum),
    /// A group's offsets were committed.
    Commit(Box<Commit>),
    /// A group's committed offsets were read.
    Committed(Box<Commit>),
    /// The consumer's position was moved.
    Seek(OffsetMap),
    /// A root was handed out.
    Root(Box<Root>),
    /// An inclusion proof was handed out.
    Proof(Box<InclusionProof>),
    /// A consistency proof was handed out.
    Consistency(Box<ConsistencyProof>),
    /// Retention moved the start of these logs.
    Retain(OffsetMap),
    /// Compaction may have removed these records.
    Compact(SpanMap),
    /// These records are gone for good.
    Removed(SpanMap),
    /// These partitions were deleted with their topic.
    Delete(Vec<Key>),
    /// The nemesis damaged something at rest.
    Damage(Box<Damage>),
    /// A typed error said that something is damaged.
    Detected(Box<Detected>),
    /// Damage was made good.
    Healed(Box<Healed>),
    /// The log refused to open because of damage.
    Refused(Datum),
    /// What was acknowledged at or behind these offsets may be gone, and no log could tell.
    UndecidableTail(OffsetMap),
    /// The consumer was told which keys it gains and loses.
    Rebalance(Box<Rebalance>),
    /// From here on nothing is broken any more.
    FaultsEnd(Box<FaultsEnd>),
    /// A reader has gone through these logs from start to end.
    FinalPolls(FinalPolls),
    /// Something panicked.
    Panic(Datum),
    /// A function that no checker knows.
    Other {
        /// Its name.
        function: Box<str>,
        /// Its value.
        value: Datum,
    },
}

/// One step of a send, a poll or a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MicroOp {
    /// `["send", key, value]`, or `["send", key, [offset, value]]` once the log has answered.
    Send {
        /// The partition.
        key: Key,
        /// Where the record went, if that is known.
        offset: Option<u64>,
        /// The record.
        value: Datum,
    },
    /// `["poll"]`, or `["poll", {key: [[offset, value], …]}]` once the log has answered.
    Poll(Option<PolledMap>),
}

impl MicroOp {
    /// A send as it is invoked.
    pub fn send(key: Key, value: Datum) -> Self {
        Self::Send { key, offset: None, value }
    }

    /// A send that went to an offset.
    pub fn sent(key: Key, offset: u64, value: Datum) -> Self {
        Self::Send { key, offset: Some(offset), value }
    }

    /// The key that a send goes to; none for a poll.
    pub fn sent_key(&self) -> Option<&Key> {
        match self {
            Self::Send { key, .. } => Some(key),
            Self::Poll(_) => None,
        }
    }

    /// A poll as it is invoked.
    pub fn poll() -> Self {
        Self::Poll(None)
    }
}

/// Keys, each with the records that a poll returned of it.
pub type PolledMap = Vec<(Key, Vec<Polled>)>;

/// A record that a poll returned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Polled {
    /// Where it stood, if that is known.
    pub offset: Option<u64>,
    /// The record.
    pub value: Datum,
}

/// The keys of a full read, and in the answer the end of each log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FinalPolls {
    /// As invoked: the keys that were polled from their start.
    Asked(Vec<Key>),
    /// The answer: each key was read up to this end offset, and there it ends.
    Done(OffsetMap),
}

impl Action {
    /// The function's name in a history.
    pub fn function(&self) -> &str {
        match self {
            Self::Send(_) => "send",
            Self::Poll(_) => "poll",
            Self::Txn(_) => "txn",
            Self::Assign(_) => "assign",
            Self::Subscribe(_) => "subscribe",
            Self::Crash(_) => "crash",
            Self::DebugTopicPartitions(_) => "debug-topic-partitions",
            Self::Open(_) => "open",
            Self::Close(_) => "close",
            Self::Commit(_) => "commit",
            Self::Committed(_) => "committed",
            Self::Seek(_) => "seek",
            Self::Root(_) => "root",
            Self::Proof(_) => "proof",
            Self::Consistency(_) => "consistency",
            Self::Retain(_) => "retain",
            Self::Compact(_) => "compact",
            Self::Removed(_) => "removed",
            Self::Delete(_) => "delete",
            Self::Damage(_) => "damage",
            Self::Detected(_) => "detected",
            Self::Healed(_) => "healed",
            Self::Refused(_) => "refused",
            Self::UndecidableTail(_) => "undecidable-tail",
            Self::Rebalance(_) => "rebalance",
            Self::FaultsEnd(_) => "faults-end",
            Self::FinalPolls(_) => "final-polls",
            Self::Panic(_) => "panic",
            Self::Other { function, .. } => function,
        }
    }

    /// The steps of a send, poll or transaction; nothing for any other function.
    pub fn micro_ops(&self) -> &[MicroOp] {
        match self {
            Self::Send(steps) | Self::Poll(steps) | Self::Txn(steps) => steps,
            _ => &[],
        }
    }

    /// Whether both calls are of one function, so that one can complete the other.
    pub fn same_function(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
            && self.function() == other.function()
    }
}
