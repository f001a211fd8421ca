//! A client of the perfect log: what it may be doing, and where it stands.

use std::collections::{BTreeMap, BTreeSet};

/// One step of a send, poll or transaction.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Send { key: usize, value: i64 },
    Poll,
}

/// A call that was invoked and not yet answered.
#[derive(Debug, Clone)]
pub(super) enum Call {
    Work(Vec<Step>),
    Assign { keys: Vec<usize>, from_start: bool },
    Subscribe(Vec<usize>),
    Commit(BTreeMap<usize, u64>),
    Committed(Vec<usize>),
    Seek { key: usize, offset: u64 },
    Root { key: usize },
    Proof { key: usize, index: u64 },
    Consistency { key: usize, old_size: u64, new_size: u64 },
}

/// How a client gets its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Mode {
    #[default]
    Idle,
    Assigned,
    Subscribed,
}

/// A client, which is also a producer and a consumer.
#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) process: i64,
    pub(super) call: Option<Call>,
    pub(super) mode: Mode,
    /// The next offset to read of each key that it has.
    pub(super) positions: BTreeMap<usize, u64>,
}

impl Client {
    pub(super) fn new(process: i64) -> Self {
        Self { process, ..Self::default() }
    }

    /// The keys that it owns as a member of the group.
    pub(super) fn owned(&self) -> BTreeSet<usize> {
        match self.mode {
            Mode::Subscribed => self.positions.keys().copied().collect(),
            Mode::Idle | Mode::Assigned => BTreeSet::new(),
        }
    }
}
