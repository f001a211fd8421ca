//! One operation: who did what, when, and how it ended.

use std::fmt;

use super::action::Action;
use super::attachments::Attachments;
use super::datum::Datum;

/// One line of a history: the invocation or the completion of a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Operation {
    /// The operation's own number. A history read without numbers gets them by position.
    pub index: u64,
    /// Virtual time in nanoseconds since the run began, where it was recorded.
    pub time_ns: Option<i64>,
    /// Who did it.
    pub process: Process,
    /// Whether it began, or how it ended.
    pub kind: Kind,
    /// The function and its value.
    pub action: Action,
    /// The fields beyond those: evidence, and whatever else was there. Most operations have none.
    pub attachments: Option<Box<Attachments>>,
}

impl Operation {
    /// An operation without number, time or evidence; pushing it to a [`History`](super::History) numbers it.
    pub fn new(process: Process, kind: Kind, action: Action) -> Self {
        Self { index: 0, time_ns: None, process, kind, action, attachments: None }
    }

    /// The same at a time.
    #[must_use]
    pub fn at(mut self, time_ns: i64) -> Self {
        self.time_ns = Some(time_ns);
        self
    }

    /// The same with these further fields.
    #[must_use]
    pub fn with(mut self, attachments: Attachments) -> Self {
        self.attachments = (!attachments.is_empty()).then(|| Box::new(attachments));
        self
    }

    /// Whether it ended well, or may have: `ok` or `info`.
    pub fn may_have_happened(&self) -> bool {
        matches!(self.kind, Kind::Ok | Kind::Info)
    }
}

/// Who did an operation: a client's process by number, or another party by name, such as the nemesis.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Process {
    /// A client. A client that lost its state goes on under a new number, as Jepsen's do.
    Client(i64),
    /// Any other party, for instance `nemesis`.
    Named(Box<str>),
}

impl Process {
    /// The party that breaks things.
    pub fn nemesis() -> Self {
        Self::Named("nemesis".into())
    }

    /// Whether this is a client.
    pub fn is_client(&self) -> bool {
        matches!(self, Self::Client(_))
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(number) => write!(f, "process {number}"),
            Self::Named(name) => write!(f, "process {name}"),
        }
    }
}

/// Whether an operation began, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The call began.
    Invoke,
    /// It ended well: what it says has happened.
    Ok,
    /// It ended badly: it has not happened.
    Fail,
    /// Nobody knows: it may have happened, or may still.
    Info,
}

impl Kind {
    /// All of them, in the order of a call's life.
    pub const ALL: [Self; 4] = [Self::Invoke, Self::Ok, Self::Fail, Self::Info];

    /// The name in a history.
    pub fn name(self) -> &'static str {
        match self {
            Self::Invoke => "invoke",
            Self::Ok => "ok",
            Self::Fail => "fail",
            Self::Info => "info",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What stands for one partition: a number in most histories, a keyword or a string in some.
///
/// A string that looks like a whole number is that number, as the keys of JSON objects can be nothing but strings.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Datum);

impl Key {
    /// The key that the datum names.
    pub fn new(datum: Datum) -> Self {
        Self(datum.integer_if_it_looks_so())
    }

    /// The key as a datum.
    pub fn datum(&self) -> &Datum {
        &self.0
    }
}

impl From<i64> for Key {
    fn from(number: i64) -> Self {
        Self(Datum::Int(number))
    }
}

impl From<&str> for Key {
    fn from(name: &str) -> Self {
        Self::new(Datum::str(name))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
