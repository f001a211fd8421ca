//! The names of all anomalies, with their definitions and examples.

use std::fmt;
use std::str::FromStr;

/// Makes the enumeration and its tables from one list, so that none of them can lack a name. The definitions and the examples
/// are files of their own, which the docs and the command show alike.
macro_rules! anomalies {
    ($($variant:ident $name:literal $title:literal)*) => {
        /// An anomaly's name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Name {
            $(
                #[doc = include_str!(concat!("../anomalies/", $name, ".md"))]
                $variant,
            )*
        }

        impl Name {
            /// All names: first Jepsen's, then those of logs that prove their records.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name as histories, verdicts and the command line write it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The anomaly in one line.
            pub fn title(self) -> &'static str {
                match self {
                    $(Self::$variant => $title,)*
                }
            }

            /// What exactly it is.
            pub fn definition(self) -> &'static str {
                match self {
                    $(Self::$variant => include_str!(concat!("../anomalies/", $name, ".md")),)*
                }
            }

            /// A smallest history that has it, as JSON lines.
            pub fn example(self) -> &'static str {
                match self {
                    $(Self::$variant => include_str!(concat!("../anomalies/", $name, ".jsonl")),)*
                }
            }

            /// A history that nearly has it, as JSON lines.
            pub fn near_miss(self) -> &'static str {
                match self {
                    $(Self::$variant => include_str!(concat!("../anomalies/", $name, ".near-miss.jsonl")),)*
                }
            }
        }
    };
}

anomalies! {
    InconsistentOffsets "inconsistent-offsets" "two records at one offset"
    Duplicate "duplicate" "one record at two offsets"
    LostWrite "lost-write" "a committed record that no reader saw, though one read past it"
    Unseen "unseen" "an acknowledged record that was never polled"
    AbortedRead "aborted-read" "a record polled although its send failed (G1a)"
    PrecommittedRead "precommitted-read" "a transaction polled its own uncommitted record"
    IntPollSkip "int-poll-skip" "one operation polled past a record"
    IntNonmonotonicPoll "int-nonmonotonic-poll" "one operation polled backwards"
    PollSkip "poll-skip" "a consumer's next poll went past a record"
    NonmonotonicPoll "nonmonotonic-poll" "a consumer's next poll went backwards"
    IntSendSkip "int-send-skip" "another record stands between two of one operation"
    IntNonmonotonicSend "int-nonmonotonic-send" "one operation's records stand in the log in another order"
    NonmonotonicSend "nonmonotonic-send" "a producer's next record stands before its last one"
    OffsetGap "offset-gap" "an offset without a record in a log that promises none"
    RealtimeOrder "realtime-order" "sent after another was acknowledged, but placed before it"
    OffsetReuse "offset-reuse" "after a crash an offset holds another record"
    VanishedRead "vanished-read" "a polled record is gone after a crash"
    LostCommit "lost-commit" "an acknowledged commit is not there"
    CommitRegression "commit-regression" "a committed offset went back"
    DoubleDelivery "double-delivery" "a group got a record again after committing past it"
    TornTransaction "torn-transaction" "part of a transaction is visible, part is not"
    DoubleOwner "double-owner" "two live members of a group own one partition"
    ProofInvalid "proof-invalid" "a proof that proves nothing"
    RootRegression "root-regression" "a later tree doesn't extend an earlier one"
    InconsistentRoots "inconsistent-roots" "two roots for one tree size"
    SilentCorruption "silent-corruption" "wrong bytes served as right"
    UndetectedDamage "undetected-damage" "damaged records vanished without a word"
    Undeleted "undeleted" "a record was served that was gone for good"
    Unavailable "unavailable" "a fault of one partition took others down"
    Stuck "stuck" "nothing gets done though nothing is broken any more"
    Panic "panic" "a call panicked"
}

impl Name {
    /// Anomalies that every history with this one has as well, because their definitions say so.
    pub fn comes_with(self) -> &'static [Self] {
        match self {
            Self::OffsetReuse => &[Self::InconsistentOffsets],
            _ => &[],
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// No anomaly has that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no anomaly is named {0:?}; `merkql-jepsen explain` lists them")]
pub struct UnknownName(pub String);

impl FromStr for Name {
    type Err = UnknownName;

    /// Jepsen's name for aborted reads, `G1a`, is understood too.
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        if name == "G1a" {
            return Ok(Self::AbortedRead);
        }
        let found = Self::ALL.iter().find(|known| known.as_str() == name);
        found.copied().ok_or_else(|| UnknownName(name.to_owned()))
    }
}
