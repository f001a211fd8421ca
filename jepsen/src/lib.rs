//! Judges histories of event logs.
//!
//! A [`history`] says who did what to a log, when, and how it ended. [`check`] finds the anomalies in it: all that Jepsen's
//! Kafka workload knows, with its meaning, and those of logs that prove their records with Merkle trees. Each comes with a sentence
//! that says what happened and with the operations that prove it. What a history doesn't tell is not judged, so that any log's
//! history can be.
//!
//! The crate knows nothing of any log. Its proof checks are written from RFC 9162, so that a log's own code is held against
//! another's.
//!
//! ```
//! use merkql_jepsen::history::History;
//! use merkql_jepsen::notation::Format;
//! use merkql_jepsen::{Name, check};
//!
//! let history = r#"
//! {"process": 0, "type": "invoke", "f": "send", "value": [["send", 1, "a"]]}
//! {"process": 0, "type": "fail",   "f": "send", "value": [["send", 1, "a"]]}
//! {"process": 1, "type": "invoke", "f": "poll", "value": [["poll"]]}
//! {"process": 1, "type": "ok",     "f": "poll", "value": [["poll", {"1": [[0, "a"]]}]]}
//! "#;
//! let verdict = check(&History::parse(history, Format::JsonLines)?);
//! assert_eq!(verdict.names(), [Name::AbortedRead]);
//! assert_eq!(
//!     verdict.of(Name::AbortedRead)[0].sentence,
//!     "\"a\" was polled from key 1 (operation 3), but the operation that sent it had failed (operation 1)"
//! );
//! # Ok::<(), merkql_jepsen::notation::ReadError>(())
//! ```
//!
//! The command `merkql-jepsen` does the same for files; its `explain` defines each anomaly. [`generate`] makes clean histories, and
//! puts anomalies into them.

#![deny(missing_docs)]

mod analysis;
mod anomaly;
mod checkers;
pub mod generate;
pub mod history;
pub mod merkle;
pub mod notation;
mod verdict;

pub use anomaly::{Name, UnknownName};
pub use checkers::{check, check_only};
pub use verdict::{UNDECIDABLE_TAIL, Verdict, Witness};
