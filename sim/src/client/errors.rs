//! What the log's errors mean to a client, and how they stand in a history.

use super::names::key_of;
use crate::disk::UNREADABLE;
use merkql::Error;
use merkql_jepsen::history::{Datum, Detected, Kind, Span};
use std::path::Path;

/// The word for an error.
pub(crate) fn name_of(error: &Error) -> &'static str {
    match error {
        Error::Io { .. } => "io",
        Error::DiskFull { .. } => "disk-full",
        Error::TooManyOpenFiles { .. } => "too-many-open-files",
        Error::AlreadyOpen { .. } => "already-open",
        Error::Closed => "closed",
        Error::NeedsReopen { .. } => "needs-reopen",
        Error::Corrupt(_) => "corrupt",
        Error::UnsupportedVersion { .. } => "unsupported-version",
        Error::NotALog { .. } => "not-a-log",
        Error::PredecessorFormat { .. } => "predecessor-format",
        Error::UnknownTopic { .. } => "unknown-topic",
        Error::UnknownProducer { .. } => "unknown-producer",
        Error::SequenceOutOfOrder { .. } => "sequence-out-of-order",
        Error::NotAssigned { .. } => "not-assigned",
        Error::NotSubscribed => "not-subscribed",
        Error::RecordTooLarge { .. } => "record-too-large",
        Error::BatchTooLarge { .. } => "batch-too-large",
        Error::PartitionCountMismatch { .. } => "partition-count-mismatch",
        Error::NotText { .. } => "not-text",
        _ => "invalid",
    }
}

/// An error as it stands in a history.
pub(crate) fn datum_of(error: &Error) -> Datum {
    Datum::seq(vec![Datum::str(name_of(error)), Datum::str(&error.to_string())])
}

/// Whether a call that ended with this error, after its records were handed over,
/// can have taken effect.
pub(crate) fn kind_of(error: &Error) -> Kind {
    match error {
        // The first two may be anybody's failed write or sync. A closed log may
        // have taken the records before it closed.
        Error::Io { .. } | Error::NeedsReopen { .. } | Error::Closed => Kind::Info,
        _ => Kind::Fail,
    }
}

/// What an error says is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damaged {
    pub(crate) topic: String,
    pub(crate) partition: u32,
    /// The record, if it says which.
    offset: Option<u64>,
}

impl Damaged {
    /// What a history has of it.
    pub(crate) fn detected(&self) -> Detected {
        let span = self.offset.map(Span::one);
        let spans = vec![(key_of(&self.topic, self.partition), span.into_iter().collect())];
        Detected { damage: None, spans, rest: Vec::new() }
    }

    /// Where a reader goes on who stands at `position`.
    pub(crate) fn behind(&self, position: u64) -> u64 {
        self.offset.unwrap_or(position).max(position) + 1
    }
}

/// Whether an I/O error comes from a sector that cannot be read. Others pass.
pub(crate) fn is_unreadable(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.to_string() == UNREADABLE)
}

/// What an error says is damaged, if it says so and names a partition.
pub(crate) fn damaged(error: &Error) -> Option<Damaged> {
    match error {
        Error::Corrupt(corruption) => Some(Damaged {
            topic: corruption.topic.clone()?,
            partition: corruption.partition?,
            offset: corruption.offset,
        }),
        Error::Io { path, .. } if is_unreadable(error) => {
            let (topic, partition) = place_of_path(path)?;
            Some(Damaged { topic, partition, offset: None })
        }
        _ => None,
    }
}

/// The partition that a file belongs to: `…/topics/<topic>.<life>/<partition>/<file>`.
pub(crate) fn place_of_path(path: &Path) -> Option<(String, u32)> {
    let names: Vec<&str> = path.iter().filter_map(|name| name.to_str()).collect();
    let at = names.iter().rposition(|name| *name == "topics")?;
    let (topic, _) = names.get(at + 1)?.rsplit_once('.')?;
    let partition = names.get(at + 2)?.parse().ok()?;
    Some((topic.to_owned(), partition))
}

/// The error of a call whose answer nobody waited for.
pub(crate) fn given_up() -> Datum {
    Datum::str("given-up")
}
