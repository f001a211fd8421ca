//! All canaries.

use super::{Bug, Canary, Hunted, disk};
use crate::client::tamper;
use crate::profile::Profile;
use merkql_jepsen::Name;

/// What a block shows by that was acknowledged and is gone: its offsets are given
/// out again, unless the log notices by what a partition's file has of its records
/// that the power cut spared.
const LOST_BLOCK: &[Name] = &[Name::OffsetReuse, Name::Unavailable];

/// What was read is gone: its offset is empty after a crash, or holds another
/// record; or what a partition's file has of it tells the log that its journal has
/// lost it.
const SHOWN_EARLY: &[Name] = &[Name::VanishedRead, Name::OffsetReuse, Name::Unavailable];

/// A record is gone that was acknowledged, and in most runs read before that.
const LOST_RECORD: &[Name] = &[Name::VanishedRead, Name::LostWrite, Name::IntPollSkip];

/// Records stand there twice; where recovery was cut short behind the second, the
/// log itself finds records that no journal knows.
const DOUBLED: &[Name] = &[Name::Duplicate, Name::Unavailable];

/// Nobody speaks of the damage, and the offsets of what it took are given out
/// again.
const MISSED_DAMAGE: &[Name] = &[Name::UndetectedDamage, Name::OffsetReuse];

/// All canaries: those of the disk, those of the clients, those of the log's code.
pub const ALL: &[Canary] = &[
    Canary {
        name: "journal-sync-swallowed",
        bug: Bug::Disk(disk::Bug::JournalSyncSwallowed),
        hunted: Hunted::Honest(Profile::Strict),
        expected_by: LOST_BLOCK,
        meaning: "The journal's sync is reported and never done.",
    },
    Canary {
        name: "journal-sync-delayed",
        bug: Bug::Disk(disk::Bug::JournalSyncDelayed),
        hunted: Hunted::Honest(Profile::Strict),
        expected_by: LOST_BLOCK,
        meaning: "The journal's sync is reported at once, and done when the next block is written.",
    },
    Canary {
        name: "failed-sync-retried",
        bug: Bug::Disk(disk::Bug::FailedSyncRetried),
        hunted: Hunted::Honest(Profile::Posix),
        expected_by: LOST_BLOCK,
        meaning: "A failed sync of the journal is tried again, and the success of that believed.",
    },
    Canary {
        name: "partition-sync-swallowed",
        bug: Bug::Disk(disk::Bug::PartitionSyncSwallowed),
        hunted: Hunted::Honest(Profile::Posix),
        expected_by: &[Name::Unavailable],
        meaning: "A checkpoint's sync of a partition's file is reported and never done.",
    },
    Canary {
        name: "segment-name-not-synced",
        bug: Bug::Disk(disk::Bug::SegmentNameNotSynced),
        hunted: Hunted::Honest(Profile::Posix),
        expected_by: &[Name::Unavailable],
        meaning: "The sync of a partition's folder, with the name of a new segment, is reported and never done.",
    },
    Canary {
        name: "journal-name-not-synced",
        bug: Bug::Disk(disk::Bug::JournalNameNotSynced),
        hunted: Hunted::Honest(Profile::Posix),
        expected_by: &[Name::Unavailable],
        meaning: "The sync of the journal's folder, with the name of a new file, is reported and never done.",
    },
    Canary {
        name: "dirty-handle-closed",
        bug: Bug::Disk(disk::Bug::DirtyHandleClosed),
        hunted: Hunted::Honest(Profile::Posix),
        expected_by: &[Name::Unavailable],
        meaning: "A partition's file is closed with unsynced writes, and the error of their sync goes with the handle.",
    },
    Canary {
        name: "slot-sync-dropped",
        bug: Bug::Disk(disk::Bug::SlotSyncDropped),
        hunted: Hunted::Honest(Profile::Posix),
        expected_by: &[Name::Unavailable],
        meaning: "Of the two slots of the manifest, the first is not synced before the second is written.",
    },
    Canary {
        name: "manifest-before-files",
        bug: Bug::Disk(disk::Bug::ManifestBeforeFiles),
        hunted: Hunted::Honest(Profile::Posix),
        expected_by: &[Name::Unavailable],
        meaning: "The manifest reaches the disk before the files that it describes.",
    },
    Canary {
        name: "journal-reused-early",
        bug: Bug::Disk(disk::Bug::JournalReusedEarly),
        hunted: Hunted::Honest(Profile::Posix),
        expected_by: &[Name::Unavailable],
        meaning: "A journal file is written to again before the checkpoint behind it is complete.",
    },
    Canary {
        name: "segment-removed-early",
        bug: Bug::Disk(disk::Bug::SegmentRemovedEarly),
        hunted: Hunted::Honest(Profile::Posix),
        expected_by: &[Name::Unavailable],
        meaning: "A segment is removed one checkpoint before retention has passed it.",
    },
    Canary {
        name: "bit-flipped-after-checksum",
        bug: Bug::Disk(disk::Bug::BitFlipped),
        hunted: Hunted::Honest(Profile::Posix),
        expected_by: &[Name::Unavailable],
        meaning: "A bit of a record changes after its checksum was taken.",
    },
    Canary {
        name: "zeroes-behind-bad-block",
        bug: Bug::Disk(disk::Bug::ZeroesBehindBadBlock),
        hunted: Hunted::Damaged,
        expected_by: MISSED_DAMAGE,
        meaning: "Behind the first bad block the journal reads as zeroes, so that a damaged block looks like its end.",
    },
    Canary {
        name: "last-record-dropped",
        bug: Bug::Client(tamper::Bug::LastRecordDropped),
        hunted: Hunted::Anywhere,
        expected_by: &[Name::Unseen],
        meaning: "The last record of a batch is acknowledged with the others, and the log never gets it.",
    },
    Canary {
        name: "half-a-batch-shown",
        bug: Bug::Client(tamper::Bug::HalfABatchShown),
        hunted: Hunted::Anywhere,
        expected_by: &[Name::TornTransaction],
        meaning: "Of a batch for several partitions only the first half becomes visible.",
    },
    Canary {
        name: "records-swapped",
        bug: Bug::Client(tamper::Bug::RecordsSwapped),
        hunted: Hunted::Anywhere,
        expected_by: &[Name::IntNonmonotonicPoll],
        meaning: "A poll returns two records in the wrong order.",
    },
    Canary {
        name: "second-owner",
        bug: Bug::Client(tamper::Bug::SecondOwner),
        hunted: Hunted::Anywhere,
        expected_by: &[Name::DoubleOwner],
        meaning: "A member of a group goes on as the owner of a partition that another one was given.",
    },
    Canary {
        name: "last-read-committed",
        bug: Bug::Client(tamper::Bug::LastReadCommitted),
        hunted: Hunted::Anywhere,
        expected_by: &[Name::CommitRegression],
        meaning: "The offset of the last record that was read is committed in place of the next.",
    },
    Canary {
        name: "commit-forgotten-on-reopen",
        bug: Bug::Client(tamper::Bug::CommitForgotten),
        hunted: Hunted::Anywhere,
        expected_by: &[Name::LostCommit],
        meaning: "A committed offset is forgotten when the log is opened again.",
    },
    Canary {
        name: "redelivered-after-commit",
        bug: Bug::Client(tamper::Bug::RedeliveredAfterCommit),
        hunted: Hunted::Anywhere,
        expected_by: &[Name::DoubleDelivery],
        meaning: "A record is delivered again after its group has committed past it.",
    },
    Canary {
        name: "leaf-without-prefix",
        bug: Bug::Client(tamper::Bug::LeafWithoutPrefix),
        hunted: Hunted::Anywhere,
        expected_by: &[Name::ProofInvalid],
        meaning: "A proof's leaf is hashed without the byte that tells a leaf from a node.",
    },
    Canary {
        name: "root-of-one-less",
        bug: Bug::Client(tamper::Bug::RootOfOneLess),
        hunted: Hunted::Anywhere,
        expected_by: &[Name::InconsistentRoots],
        meaning: "The root of a tree is given out that lacks the last record.",
    },
    Canary {
        name: "offsets-committed-first",
        bug: Bug::Client(tamper::Bug::OffsetsCommittedFirst),
        hunted: Hunted::Honest(Profile::Strict),
        expected_by: &[Name::TornTransaction],
        meaning: "A transaction's offsets are committed in a block before that of its records.",
    },
    Canary {
        name: "offsets-committed-last",
        bug: Bug::Client(tamper::Bug::OffsetsCommittedLast),
        hunted: Hunted::Honest(Profile::Strict),
        expected_by: &[Name::Duplicate],
        meaning: "A transaction's offsets are committed in a block behind that of its records.",
    },
    Canary {
        name: "publish-before-sync",
        bug: Bug::Core,
        hunted: Hunted::Honest(Profile::Strict),
        expected_by: SHOWN_EARLY,
        meaning: "A block's records are shown to readers before its sync.",
    },
    Canary {
        name: "acknowledge-before-sync",
        bug: Bug::Core,
        hunted: Hunted::Honest(Profile::Strict),
        expected_by: LOST_BLOCK,
        meaning: "A block's records are acknowledged before its sync.",
    },
    Canary {
        name: "read-past-watermark",
        bug: Bug::Core,
        hunted: Hunted::Anywhere,
        expected_by: &[Name::TornTransaction],
        meaning: "A partition's records are served before the block that they belong to is there as a whole.",
    },
    Canary {
        name: "replay-twice",
        bug: Bug::Core,
        hunted: Hunted::Anywhere,
        expected_by: DOUBLED,
        meaning: "Recovery applies the records of a block a second time, at new offsets.",
    },
    Canary {
        name: "cut-at-first-bad-block",
        bug: Bug::Core,
        hunted: Hunted::Damaged,
        expected_by: MISSED_DAMAGE,
        meaning: "Recovery cuts the journal at the first bad block, without a look at what lies behind.",
    },
    Canary {
        name: "trust-cache-after-failed-sync",
        bug: Bug::Core,
        hunted: Hunted::Honest(Profile::Posix),
        expected_by: LOST_BLOCK,
        meaning: "After a failed sync the log goes on with what the cache shows.",
    },
    Canary {
        name: "reuse-generation",
        bug: Bug::Core,
        hunted: Hunted::Honest(Profile::Posix),
        expected_by: &[Name::Unavailable],
        meaning: "The journal's next file begins with the generation and the nonce of the last.",
    },
    Canary {
        name: "retention-keeps-one",
        bug: Bug::Core,
        hunted: Hunted::Anywhere,
        expected_by: &[Name::Undeleted],
        meaning: "Retention keeps one record more than it was asked to.",
    },
    Canary {
        name: "start-not-replayed",
        bug: Bug::Core,
        hunted: Hunted::Honest(Profile::Strict),
        expected_by: &[Name::Undeleted],
        meaning: "Recovery forgets that records were deleted.",
    },
    Canary {
        name: "compaction-keeps-the-first",
        bug: Bug::Core,
        hunted: Hunted::Honest(Profile::Strict),
        expected_by: LOST_RECORD,
        meaning: "Compaction keeps the first record of a key in place of the last.",
    },
    Canary {
        name: "compacted-removed-early",
        bug: Bug::Core,
        hunted: Hunted::Honest(Profile::Strict),
        expected_by: &[Name::Unavailable],
        meaning: "Compaction removes the files that it has replaced before a checkpoint names the others.",
    },
    Canary {
        name: "unknown-records-forgiven",
        bug: Bug::Core,
        hunted: Hunted::Damaged,
        expected_by: MISSED_DAMAGE,
        meaning: "Recovery overlooks records in the partitions' files that the journal has lost.",
    },
    Canary {
        name: "slots-in-one-order",
        bug: Bug::Core,
        hunted: Hunted::Honest(Profile::Posix),
        expected_by: &[Name::Unavailable],
        meaning: "The two slots of the manifest are always written in one order, though the second may be the torn one.",
    },
    Canary {
        name: "anchor-not-synced",
        bug: Bug::Core,
        hunted: Hunted::Honest(Profile::Posix),
        expected_by: &[Name::Unavailable],
        meaning: "The block that recovery writes again is not synced before its records are put where they belong.",
    },
    Canary {
        name: "journal-freed-early",
        bug: Bug::Core,
        hunted: Hunted::Honest(Profile::Posix),
        expected_by: &[Name::Unavailable],
        meaning: "The journal behind a checkpoint is free before the slots of the manifest are written.",
    },
];
