//! Which completion belongs to which invocation, and where the log was restarted.

use rustc_hash::FxHashMap;

use crate::history::{Action, History, Kind, Process};

/// Calls as pairs, and crashes.
#[derive(Debug)]
pub(crate) struct Timeline {
    /// For each operation the other half of its call: the invocation's completion, or the completion's invocation.
    partners: Vec<Option<usize>>,
    /// Where something crashed or the log was opened again, in order.
    crashes: Vec<usize>,
    /// Where the log was opened, in order.
    opens: Vec<usize>,
}

impl Timeline {
    pub(crate) fn new(history: &History) -> Self {
        let operations = history.operations();
        let mut partners = vec![None; operations.len()];
        let mut pending: FxHashMap<&Process, usize> = FxHashMap::default();
        let mut crashes = Vec::new();
        let mut opens = Vec::new();
        for (position, operation) in operations.iter().enumerate() {
            if operation.kind == Kind::Invoke {
                pending.insert(&operation.process, position);
            } else if let Some(invocation) = pending.get(&operation.process).copied()
                && operations[invocation].action.same_function(&operation.action)
            {
                pending.remove(&operation.process);
                partners[position] = Some(invocation);
                partners[invocation] = Some(position);
            }
            let opened = matches!(operation.action, Action::Open(_)) && operation.kind == Kind::Ok;
            if opened {
                opens.push(position);
            }
            // A log that is opened was closed before, and perhaps by a crash that nobody wrote down.
            if opened
                || matches!(operation.action, Action::Crash(_)) && operation.kind != Kind::Fail
            {
                crashes.push(position);
            }
        }
        Self { partners, crashes, opens }
    }

    /// Where the call that ended here began, if the history says so.
    pub(crate) fn invocation(&self, completion: usize) -> Option<usize> {
        self.partners[completion].filter(|invocation| *invocation < completion)
    }

    /// Where the call that began here ended, if it did.
    pub(crate) fn completion(&self, invocation: usize) -> Option<usize> {
        self.partners[invocation].filter(|completion| *completion > invocation)
    }

    /// Where a call may have begun to take effect: its invocation, or the operation itself where it stands alone.
    pub(crate) fn start(&self, position: usize) -> usize {
        self.invocation(position).unwrap_or(position)
    }

    /// The last crash before a position.
    pub(crate) fn last_crash_before(&self, position: usize) -> Option<usize> {
        last_before(&self.crashes, position)
    }

    /// The last time before a position that the log was opened.
    pub(crate) fn last_open_before(&self, position: usize) -> Option<usize> {
        last_before(&self.opens, position)
    }

    /// The first crash after `from` and before `to`.
    pub(crate) fn crash_between(&self, from: usize, to: usize) -> Option<usize> {
        let after = self.crashes.partition_point(|crash| *crash <= from);
        self.crashes.get(after).copied().filter(|crash| *crash < to)
    }
}

fn last_before(positions: &[usize], position: usize) -> Option<usize> {
    let before = positions.partition_point(|at| *at < position);
    before.checked_sub(1).map(|last| positions[last])
}
