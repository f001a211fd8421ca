//! Verifying a log: every byte that it stands on is read and judged, and nothing
//! is written.
//!
//! ```
//! use merkql::broker::{Broker, BrokerConfig};
//! use merkql::record::ProducerRecord;
//!
//! # fn main() -> merkql::error::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! let config = BrokerConfig::new(dir.path());
//! let broker = Broker::open(config.clone())?;
//! Broker::producer(&broker).send(&ProducerRecord::new("events", None, "it happened"))?;
//! Broker::close(&broker)?;
//!
//! let report = merkql::verify(&config)?;
//! assert!(report.findings.is_empty() && !report.recovery_is_pending);
//! assert_eq!(report.checked.records, 1);
//! # Ok(())
//! # }
//! ```

use crate::broker::BrokerConfig;
use crate::error::{Corruption, Result};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// Verifies the log in `config.data_dir`, which no broker may have open.
///
/// Checked are both manifest slots, the journal behind them, every frame of every
/// segment with its records, every record's hash against the tree, every stored node
/// against its children, every tree against the manifest's roots, indexes, committed
/// offsets, and which files nothing names. Each part of a file is read once, and once
/// more through a fresh handle before it is called damaged.
///
/// Nothing is written, so a log that was not closed is judged as it will be recovered:
/// by its last checkpoint and the journal since.
///
/// Fails where there is nothing to be judged: with
/// [`Error::NotALog`](crate::Error::NotALog) if the directory holds no log,
/// [`Error::AlreadyOpen`](crate::Error::AlreadyOpen) while a broker has it open,
/// [`Error::UnsupportedVersion`](crate::Error::UnsupportedVersion) and
/// [`Error::PredecessorFormat`](crate::Error::PredecessorFormat) for what this version
/// cannot read, [`Error::Io`](crate::Error::Io) where the file system refuses to list
/// or to open. Sectors that it cannot read are findings.
pub fn verify(config: &BrokerConfig) -> Result<Report> {
    verify_with_progress(config, &mut |_| {})
}

/// As [`verify`], and calls `progress` now and then, about once for each mebibyte read.
pub fn verify_with_progress(
    config: &BrokerConfig,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Report> {
    crate::storage::verify::verify(
        &config.env(),
        config.storage_options(),
        &config.data_dir,
        progress,
    )
}

/// How far a verification is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The topic at hand.
    pub topic: String,
    /// Its partition.
    pub partition: u32,
    /// Bytes of segments and stored hashes read so far, in all partitions.
    pub done_bytes: u64,
    /// Bytes to be read in all.
    pub total_bytes: u64,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Report {
    /// Everything that is wrong; empty for a sound log. In the order of the
    /// directory: slots, journal, then topic by topic.
    pub findings: Vec<Finding>,
    /// Whether the next opening has work to do, mostly because the log was not closed.
    /// That is no finding: what was acknowledged is there.
    pub recovery_is_pending: bool,
    /// Files and folders of the log that nothing names, as a crash leaves them behind:
    /// the next opening removes them.
    pub leftovers: Vec<PathBuf>,
    /// How much was looked at.
    pub checked: Checked,
}

/// How much a verification looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Checked {
    /// Topics.
    pub topics: u64,
    /// Partitions.
    pub partitions: u64,
    /// Files of records.
    pub segments: u64,
    /// Records that are there, and whole.
    pub records: u64,
    /// Offsets whose records were removed by compaction or given up by a repair.
    pub removed: u64,
    /// Stored hashes.
    pub hashes: u64,
    /// Stored hashes of removed records that a repair has given up: roots of the sizes
    /// that need them cannot be told any more.
    pub hashes_given_up: u64,
    /// Bytes of segments and stored hashes.
    pub bytes: u64,
    /// Blocks of the journal behind the last checkpoint.
    pub journal_blocks: u64,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What is concerned.
    pub kind: FindingKind,
    /// The file, or the folder.
    pub path: PathBuf,
    /// The byte in it at which it begins.
    pub position: u64,
    /// How many bytes from there on; 0 where that is not known.
    pub len_bytes: u64,
    /// The topic, where one is concerned.
    pub topic: Option<String>,
    /// The partition, where one is concerned.
    pub partition: Option<u32>,
    /// The first offset concerned, where records are.
    pub offset: Option<u64>,
    /// The offset behind the last one concerned.
    pub offset_end: Option<u64>,
    /// What is wrong.
    pub reason: String,
}

/// What a finding concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FindingKind {
    /// One manifest slot is not as it was written; the other one is.
    Slot,
    /// Neither slot holds a state that can be used: the log does not open.
    Manifest,
    /// The journal has lost what was acknowledged: the log does not open.
    Journal,
    /// Records are lost, or are not those whose hashes the tree was made of.
    Record,
    /// The tree cannot be computed: records are lost and their hashes as well, or
    /// neither give the root that the manifest has.
    Tree,
    /// Stored hashes are wrong that follow from the records. The log makes them anew when
    /// a proof needs them, as long as the records are there; a repair does it now.
    Hash,
    /// Stored hashes of records are wrong that were removed: nothing else has them.
    RemovedHash,
    /// An index file does not describe its segment, which is looked through instead.
    Index,
    /// A group has committed an offset that its partition never reached, or in a
    /// partition that is not there.
    Commit,
    /// Nothing names the file or the folder, and the log never made it.
    Unnamed,
}

/// What puts a finding right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Remedy {
    /// The log itself, at its next opening or when it next needs what is damaged.
    Automatic,
    /// [`repair`](crate::repair()), which says what has to be given up, if anything.
    Repair,
    /// Somebody who knows how it came there.
    ByHand,
}

impl FindingKind {
    /// The name in texts and in JSON: `removed-hash`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Slot => "slot",
            Self::Manifest => "manifest",
            Self::Journal => "journal",
            Self::Record => "record",
            Self::Tree => "tree",
            Self::Hash => "hash",
            Self::RemovedHash => "removed-hash",
            Self::Index => "index",
            Self::Commit => "commit",
            Self::Unnamed => "unnamed",
        }
    }

    /// What puts it right.
    pub fn remedy(self) -> Remedy {
        match self {
            Self::Slot | Self::Index => Remedy::Automatic,
            Self::Manifest
            | Self::Journal
            | Self::Record
            | Self::Tree
            | Self::Hash
            | Self::RemovedHash => Remedy::Repair,
            Self::Commit | Self::Unnamed => Remedy::ByHand,
        }
    }
}

impl Remedy {
    /// The name in texts and in JSON: `by-hand`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Repair => "repair",
            Self::ByHand => "by-hand",
        }
    }
}

impl Finding {
    /// A finding that concerns a file as a whole.
    pub(crate) fn of_file(
        kind: FindingKind,
        path: impl Into<PathBuf>,
        position: u64,
        reason: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            path: path.into(),
            position,
            len_bytes: 0,
            topic: None,
            partition: None,
            offset: None,
            offset_end: None,
            reason: reason.into(),
        }
    }

    /// The same, of these offsets.
    pub(crate) fn offsets(self, offsets: Range<u64>) -> Self {
        Self { offset: Some(offsets.start), offset_end: Some(offsets.end), ..self }
    }

    /// Damage as an error tells it.
    pub(crate) fn of_corruption(kind: FindingKind, corruption: &Corruption) -> Self {
        let Corruption { path, position, topic, partition, offset, reason } = corruption.clone();
        let offset_end = offset.map(|offset| offset.saturating_add(1));
        let len_bytes = 0;
        Self { kind, path, position, len_bytes, topic, partition, offset, offset_end, reason }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.kind.name())?;
        if let (Some(topic), Some(partition)) = (&self.topic, self.partition) {
            write!(f, "{topic}/{partition} ")?;
            match (self.offset, self.offset_end) {
                (Some(offset), Some(end)) if end > offset.saturating_add(1) => {
                    write!(f, "offsets {offset} to {} ", end - 1)?;
                }
                (Some(offset), _) => write!(f, "offset {offset} ")?,
                _ => {}
            }
        }
        write!(f, "{} (byte {} of {})", self.reason, self.position, self.path.display())
    }
}
