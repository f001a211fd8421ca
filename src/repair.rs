//! Repair: a log that opens and verifies again, at a price that is told first.
//!
//! Nothing of a log is repaired behind anybody's back: [`Broker::open`] refuses a
//! directory whose journal or manifest is damaged, and reads name each record that
//! is. [`repair`] says what it would cost to go on without what is lost, and with
//! [`RepairOptions::apply`] does it:
//!
//! ```
//! use merkql::broker::{Broker, BrokerConfig};
//! use merkql::repair::RepairOptions;
//!
//! # fn main() -> merkql::error::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! let config = BrokerConfig::new(dir.path());
//! # merkql::broker::Broker::open(config.clone())?.ensure_topic("t")?;
//! let report = merkql::repair(&config, &RepairOptions::default())?;
//! if !report.nothing_to_do() {
//!     println!("{report}");
//!     merkql::repair(&config, &RepairOptions { apply: true })?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What is lost stays lost: no record is made up, and none gets another offset. A
//! read passes over lost offsets as it does over those that compaction has removed,
//! and their proofs stay wherever the tree is kept. What a repair replaces is kept in
//! a folder beside the log.
//!
//! [`Broker::open`]: crate::broker::Broker::open

use crate::broker::BrokerConfig;
use crate::error::Result;
use std::fmt;
use std::path::PathBuf;

/// How a log is repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RepairOptions {
    /// Whether anything is changed. Default `false`: what a repair would do is told,
    /// and not a byte is written.
    pub apply: bool,
}

/// What a repair costs, and what it mends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Report {
    /// Whether it was carried out.
    pub applied: bool,
    /// The offsets whose records are lost, by topic, partition and offset. Where a
    /// compacted segment is damaged, some of them may have been removed before: nothing
    /// tells any more.
    pub lost: Vec<LostOffsets>,
    /// What else is given up.
    pub given_up: Vec<GivenUp>,
    /// What is written anew.
    pub mended: Vec<Mended>,
    /// The folder with copies of what was replaced or removed, under the paths that
    /// it had below `.merkql`. `None` in a dry run, and where nothing was replaced.
    pub kept: Option<PathBuf>,
}

impl Report {
    /// Whether the log needs no repair.
    pub fn nothing_to_do(&self) -> bool {
        self.lost.is_empty() && self.given_up.is_empty() && self.mended.is_empty()
    }
}

/// Records that are lost: all offsets from `start` up to, but not including, `end`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LostOffsets {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The first lost offset.
    pub start: u64,
    /// The offset behind the last lost one.
    pub end: u64,
    /// Why.
    pub reason: Reason,
}

/// Why records are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// Their bytes are not what was written.
    Damaged,
    /// The file that held them is gone.
    FileMissing,
    /// They are whole, but not the records that the tree was made of.
    NotInTree,
    /// They are whole, but stand beside lost ones, and the hashes that would part
    /// the tree between them are lost, too.
    HashesLost,
    /// They stand in front of lost ones, and nothing is left that tells the tree there.
    TreeUnknown,
    /// The journal has lost records before them, or them, so they cannot follow.
    JournalDamaged,
    /// Nothing tells the name of their topic.
    TopicUnknown,
}

/// Something beside records that is given up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum GivenUp {
    /// Blocks of the journal are lost: what they said of committed offsets, producers,
    /// topics and settings is not known.
    JournalBlocks {
        /// The first lost block.
        first: u64,
        /// The last one that must have been there; `None` where nothing tells.
        last: Option<u64>,
    },
    /// What groups have committed is known only as far as the journal still tells.
    CommittedOffsets,
    /// A group had committed an offset behind the log's end. It is moved back, so
    /// that the group skips nothing of what is written there next.
    CommittedOffset {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// What was committed.
        from: u64,
        /// Where it is moved.
        to: u64,
    },
    /// What producers with an id have sent is known only as far as the journal still tells.
    Producers,
    /// A producer's last sends are lost. It is forgotten, so that it is not told that
    /// they are there.
    Producer {
        /// The producer's id.
        producer_id: u64,
    },
    /// A topic's settings are lost; it gets those of a topic without any.
    TopicSettings {
        /// The topic.
        topic: String,
    },
    /// A topic's name is lost, and with it the topic.
    TopicName {
        /// The folder that it was in.
        folder: String,
    },
    /// A topic that lives no more, because another one has its name.
    Topic {
        /// The folder that it was in.
        folder: String,
    },
    /// Topics that had been deleted may be there again, records below a log's start
    /// readable again.
    Deletions,
    /// The files with a partition's first records are gone. Whether they were let go
    /// before, by retention or on request, or are lost, nothing tells.
    LogStart {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The first offset that is left.
        offset: u64,
    },
    /// A partition's tree cannot be computed, nor is it stored. It goes on, but its
    /// roots prove nothing that was proved before.
    Tree {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
    },
    /// Stored hashes of records that were removed are wrong, and nothing else has them:
    /// roots and consistency proofs that need them are refused for good.
    RemovedHashes {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
    },
    /// The log's identity, which only the log itself uses, is made anew.
    Identity,
}

/// Something that is written anew.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Mended {
    /// A file of a partition's log.
    Segment {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The file's first offset.
        base_offset: u64,
    },
    /// A segment's index: removed, and made anew when it is needed.
    Index {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The segment's first offset.
        base_offset: u64,
    },
    /// The stored hashes of a partition.
    Hashes {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
    },
    /// The journal.
    Journal,
    /// The manifest.
    Manifest,
}

/// Repairs the log in `config.data_dir`, which no broker has open; or, by default,
/// says what that would cost. The log is opened as [`Broker::open`] does it, so if it
/// was not closed it is recovered, and its damaged records, files, journal or
/// manifest are replaced by what is left of them. Afterwards it opens, and verifies.
///
/// It reads the whole log. A crash at any moment leaves a directory that can be
/// repaired by calling this again. A repair takes the room of what it replaces twice:
/// once for a copy, once for what is written anew.
///
/// Fails with [`Error::AlreadyOpen`] while a broker has the directory, and with
/// [`Error::NotALog`] where there is none.
///
/// [`Broker::open`]: crate::broker::Broker::open
/// [`Error::AlreadyOpen`]: crate::Error::AlreadyOpen
/// [`Error::NotALog`]: crate::Error::NotALog
pub fn repair(config: &BrokerConfig, options: &RepairOptions) -> Result<Report> {
    crate::storage::repair::repair(
        config.env(),
        config.storage_options(),
        &config.data_dir,
        options.apply,
    )
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nothing_to_do() {
            return writeln!(f, "nothing to repair");
        }
        let will = if self.applied { "was" } else { "would be" };
        if self.lost.is_empty() {
            writeln!(f, "no record {will} lost")?;
        }
        for lost in &self.lost {
            writeln!(f, "lost: {lost}")?;
        }
        for given_up in &self.given_up {
            writeln!(f, "given up: {given_up}")?;
        }
        for mended in &self.mended {
            writeln!(f, "written anew: {mended}")?;
        }
        match &self.kept {
            Some(kept) => writeln!(f, "what was replaced is in {}", kept.display()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for LostOffsets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, start, end, reason } = self;
        match end.saturating_sub(*start) {
            1 => write!(f, "{topic}/{partition} offset {start}: {reason}"),
            count => {
                let last = end.saturating_sub(1);
                write!(f, "{topic}/{partition} offsets {start} to {last} ({count}): {reason}")
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Damaged => "damaged",
            Self::FileMissing => "their file is missing",
            Self::NotInTree => "not the records that the tree was made of",
            Self::HashesLost => "beside lost records, and hashes between them are lost, too",
            Self::TreeUnknown => "in front of lost records, and nothing tells the tree there",
            Self::JournalDamaged => "the journal has lost records before them, or them",
            Self::TopicUnknown => "nothing tells the name of their topic",
        })
    }
}

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JournalBlocks { first, last: Some(last) } => {
                write!(f, "what blocks {first} to {last} of the journal said beside records")
            }
            Self::JournalBlocks { first, last: None } => {
                write!(f, "what the journal said from block {first} on beside records")
            }
            Self::CommittedOffsets => {
                f.write_str("committed offsets that the journal does not tell")
            }
            Self::CommittedOffset { group, topic, partition, from, to } => write!(
                f,
                "offset {from} that group {group:?} had committed for {topic}/{partition}, moved back to {to}"
            ),
            Self::Producers => f.write_str("sequences of producers that the journal does not tell"),
            Self::Producer { producer_id } => {
                write!(f, "the sequence of producer {producer_id}, whose last sends are lost")
            }
            Self::TopicSettings { topic } => write!(f, "the settings of topic {topic:?}"),
            Self::TopicName { folder } => {
                write!(f, "the topic in folder {folder:?}, whose name nothing tells")
            }
            Self::Topic { folder } => {
                write!(f, "the topic in folder {folder:?}, because a later one has its name")
            }
            Self::Deletions => {
                f.write_str("deletions: topics and records that were deleted may be there again")
            }
            Self::LogStart { topic, partition, offset } => write!(
                f,
                "what lay below offset {offset} of {topic}/{partition}, unless it was let go before"
            ),
            Self::Tree { topic, partition } => {
                write!(f, "the tree of {topic}/{partition}: its earlier roots prove nothing now")
            }
            Self::RemovedHashes { topic, partition } => {
                write!(f, "stored hashes of removed records of {topic}/{partition}")
            }
            Self::Identity => f.write_str("the log's identity, made anew"),
        }
    }
}

impl fmt::Display for Mended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment { topic, partition, base_offset } => {
                write!(f, "the file of {topic}/{partition} that begins at offset {base_offset}")
            }
            Self::Index { topic, partition, base_offset } => {
                write!(f, "the index of {topic}/{partition} at offset {base_offset}")
            }
            Self::Hashes { topic, partition } => {
                write!(f, "the stored hashes of {topic}/{partition}")
            }
            Self::Journal => f.write_str("the journal"),
            Self::Manifest => f.write_str("the manifest"),
        }
    }
}
