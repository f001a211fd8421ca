//! The values of the functions that Jepsen doesn't have: what a history says about roots, proofs, commits and damage.

use super::datum::Datum;
use super::operation::Key;
use crate::merkle::Hash;

/// Keys, each with an offset.
pub type OffsetMap = Vec<(Key, u64)>;

/// Keys, each with ranges of offsets.
pub type SpanMap = Vec<(Key, Vec<Span>)>;

/// Keys, each with offsets and the hashes of the records there.
pub type RecordHashMap = Vec<(Key, Vec<(u64, Hash)>)>;

/// Keys, each with what compaction knows its records by.
pub type RecordKeyMap = Vec<(Key, Vec<RecordKey>)>;

/// Fields of a value that no checker reads, kept for conversion.
pub type Rest = Vec<(Datum, Datum)>;

/// A range of offsets, the end not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The first offset in it.
    pub from: u64,
    /// The first offset behind it.
    pub to: u64,
}

impl Span {
    /// Every offset there is.
    pub const ALL: Self = Self { from: 0, to: u64::MAX };

    /// The range of one offset.
    pub fn one(offset: u64) -> Self {
        Self { from: offset, to: offset.saturating_add(1) }
    }

    /// Whether the offset lies in it.
    pub fn contains(self, offset: u64) -> bool {
        self.from <= offset && offset < self.to
    }
}

/// What compaction knows a record by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordKey {
    /// The record.
    pub record: Datum,
    /// Its own key: of all records with the same one, compaction keeps the last.
    pub key: Datum,
    /// Whether it only says that there is nothing under its key any more.
    pub is_tombstone: bool,
}

/// What the log promises, as declared by the one who opened it. Nothing is promised unless it says so.
#[expect(clippy::struct_excessive_bools, reason = "each is a promise of its own")]
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Declarations {
    /// Each partition's offsets follow each other without gaps.
    pub dense_offsets: bool,
    /// The records of one operation stand next to each other and become visible together.
    pub atomic_batches: bool,
    /// The history records every change in who owns which partition.
    pub rebalances: bool,
    /// Every record in the log was sent in this history.
    pub all_sends: bool,
    /// Other fields.
    pub rest: Rest,
}

/// Committed offsets of a group: written by `commit`, read by `committed`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Commit {
    /// The consumer group.
    pub group: Datum,
    /// For each key the next offset to read; none means that there is no committed offset.
    pub offsets: Vec<(Key, Option<u64>)>,
    /// Other fields.
    pub rest: Rest,
}

/// A root that was handed out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Root {
    /// The partition.
    pub key: Key,
    /// The tree's size and root, in the answer.
    pub answer: Option<TreeHead>,
    /// Other fields.
    pub rest: Rest,
}

/// A tree's size together with its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TreeHead {
    /// How many records the tree holds.
    pub size: u64,
    /// Its root.
    pub root: Hash,
}

/// An inclusion proof that was handed out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InclusionProof {
    /// The partition.
    pub key: Key,
    /// Which record is proved.
    pub index: u64,
    /// The proof itself, in the answer.
    pub answer: Option<Inclusion>,
    /// Other fields.
    pub rest: Rest,
}

/// What an inclusion proof consists of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Inclusion {
    /// The tree that the record is in.
    pub head: TreeHead,
    /// The record's hash, from which the leaf is made.
    pub record: Hash,
    /// The sibling hashes from the leaf up.
    pub path: Vec<Hash>,
}

/// A consistency proof that was handed out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConsistencyProof {
    /// The partition.
    pub key: Key,
    /// The size of the older tree.
    pub old_size: u64,
    /// The size of the newer tree.
    pub new_size: u64,
    /// The proof itself, in the answer.
    pub answer: Option<Consistency>,
    /// Other fields.
    pub rest: Rest,
}

/// What a consistency proof consists of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Consistency {
    /// The root that was handed out for the old size.
    pub old_root: Hash,
    /// The root of the new size.
    pub new_root: Hash,
    /// The hashes that lead to both.
    pub path: Vec<Hash>,
}

/// Whether a log must survive a fault or only notice it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultClass {
    /// `R`: recoverable. Nothing that was acknowledged may be lost.
    Recoverable,
    /// `D`: to be detected. It may cost records, but never in silence.
    Detected,
}

/// Something at rest was damaged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Damage {
    /// Its number, to which `detected` and `healed` refer.
    pub id: u64,
    /// What is expected of the log.
    pub class: FaultClass,
    /// What it covers. Absent: something that belongs to the whole log. A key without ranges: all of that partition.
    pub spans: Option<SpanMap>,
    /// Other fields.
    pub rest: Rest,
}

/// A typed error named something as damaged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Detected {
    /// The damage it comes from, where that is known.
    pub damage: Option<u64>,
    /// The records that the error covers. A key without ranges: all of that partition.
    pub spans: SpanMap,
    /// Other fields.
    pub rest: Rest,
}

/// Damage was made good.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Healed {
    /// Which.
    pub damage: u64,
    /// Other fields.
    pub rest: Rest,
}

/// A consumer was told which keys it gains and loses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rebalance {
    /// The consumer group.
    pub group: Datum,
    /// Keys that it owns from now on.
    pub assigned: Vec<Key>,
    /// Keys that it owns no longer.
    pub revoked: Vec<Key>,
    /// Other fields.
    pub rest: Rest,
}

/// Nothing is broken any more from here on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FaultsEnd {
    /// Within how much virtual time every call must be answered, and something must get done.
    pub bound_ns: u64,
    /// Other fields.
    pub rest: Rest,
}
