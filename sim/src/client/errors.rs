//! What the log's errors mean to a client, and how they stand in a history.

use super::names::key_of;
use merkql::Error;
use merkql_jepsen::history::{Datum, Detected, Key, Kind, Span};
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

/// What an error says is damaged, if it names a partition.
pub(crate) fn detected(error: &Error) -> Option<Detected> {
    let (key, span) = match error {
        Error::Corrupt(corruption) => {
            let key = key_of(corruption.topic.as_ref()?, corruption.partition?);
            (key, corruption.offset.map(Span::one))
        }
        Error::Io { path, .. } => (key_of_path(path)?, None),
        _ => return None,
    };
    let spans = vec![(key, span.into_iter().collect())];
    Some(Detected { damage: None, spans, rest: Vec::new() })
}

/// The partition that a file belongs to: `…/topics/<topic>.<life>/<partition>/<file>`.
pub(crate) fn place_of_path(path: &Path) -> Option<(String, u32)> {
    let names: Vec<&str> = path.iter().filter_map(|name| name.to_str()).collect();
    let at = names.iter().rposition(|name| *name == "topics")?;
    let (topic, _) = names.get(at + 1)?.rsplit_once('.')?;
    let partition = names.get(at + 2)?.parse().ok()?;
    Some((topic.to_owned(), partition))
}

/// The key of that partition.
pub(crate) fn key_of_path(path: &Path) -> Option<Key> {
    place_of_path(path).map(|(topic, partition)| key_of(&topic, partition))
}

/// The error of a call whose answer nobody waited for.
pub(crate) fn given_up() -> Datum {
    Datum::str("given-up")
}
