//! The fields of an operation beyond Jepsen's six: evidence for the checkers, and whatever else was there.

use super::datum::Datum;
use super::evidence::{Commit, OffsetMap, RecordHashMap, RecordKeyMap, Rest};
use super::operation::Key;

/// Further fields of an operation. The [module's table](super) says what each means and who reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Attachments {
    /// `hashes`: the hash of each record's canonical bytes, by key and offset.
    pub hashes: RecordHashMap,
    /// `record-keys`: the keys by which compaction knows the records that were sent.
    pub record_keys: RecordKeyMap,
    /// `ends`: the end offset of each log that a poll read to its end.
    pub ends: OffsetMap,
    /// `commits`: offsets committed as part of the operation.
    pub commits: Option<Box<Commit>>,
    /// `rebalance-log`: rebalances that happened during the operation.
    pub rebalance_log: Option<Vec<RebalanceEvent>>,
    /// `group`: the consumer group of a subscribe or assign.
    pub group: Option<Datum>,
    /// `seek-to-beginning?`: an assign also moves to the start of each key.
    pub seek_to_beginning: bool,
    /// `error`: why the operation didn't end well.
    pub error: Option<Datum>,
    /// All other fields, kept for conversion.
    pub rest: Rest,
}

/// One entry of a rebalance log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RebalanceEvent {
    /// The keys that it touches.
    pub keys: Vec<Key>,
    /// Other fields.
    pub rest: Rest,
}

impl Attachments {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The kind of error, such as `corrupt`: the error itself, or the first item of a list.
    pub fn error_kind(&self) -> Option<&str> {
        let error = self.error.as_ref()?;
        error.name().or_else(|| error.items()?.first()?.name())
    }
}
