//! Group commit without threads.
//!
//! Callers stage operations. The first to wait becomes the leader: it commits
//! everything that is staged, as one block, while the others wait for it. What
//! is staged in the meantime is the next leader's. Whoever stages and never
//! waits is served by any later leader, by flush, or by close.
//!
//! A future does the same: it leads when it is polled and nobody else does, and
//! otherwise leaves its waker in its ticket. A leader wakes whoever it has served
//! and, at its end, whoever is still staged, because one of those must lead next.

use super::draft::StagedRecords;
use super::entry::{Commit, Placement};
use super::latch::Latch;
use super::producers::Sent;
use super::settings::TopicSettings;
use super::tables::TopicLog;
use crate::error::{Error, Result};
use crate::sync::{Condvar, Mutex, MutexGuard, lock, yield_now};
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::task::{Poll, Waker};

/// Staged operations of more than this go into the next block.
const GROUP_BYTES_MAX: u64 = 8 << 20;
/// An upper bound of what one item of an entry takes beside records.
const ENTRY_BYTES: usize = 320;
/// How often a leader lets other threads run so that they can join its group.
const GATHER_YIELDS: usize = 8;

/// What a producer with an id calls a send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbered {
    pub(crate) producer_id: u64,
    pub(crate) sequence: u64,
    /// The timestamp of its records.
    pub(crate) timestamp_ns: i64,
}

/// What a caller wants changed. All of it happens, or nothing.
#[derive(Debug)]
pub(crate) enum Operation {
    /// Records, committed offsets, or both.
    Write {
        records: Vec<StagedRecords>,
        commits: Option<(String, Vec<Commit>)>,
        /// What a producer with an id calls the send.
        sent: Option<Numbered>,
    },
    /// A new topic.
    CreateTopic { name: String, partitions: u32, settings: TopicSettings },
}

impl Operation {
    fn bytes(&self) -> u64 {
        match self {
            Self::Write { records, commits, sent } => {
                let frames: u64 = records.iter().map(StagedRecords::frames_len).sum();
                let commits = commits.as_ref().map_or(0, |(_, commits)| commits.len());
                let placements = if sent.is_some() { records.len() } else { 0 };
                frames + ((records.len() + commits + placements) * ENTRY_BYTES) as u64
            }
            Self::CreateTopic { .. } => ENTRY_BYTES as u64,
        }
    }
}

/// What came of it.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// Where the records stand: one placement for each of the operation's
    /// partitions, in its order.
    Written(Vec<Placement>),
    /// The send was made before.
    Repeated(Sent),
    /// The topic, new or not.
    Topic(Arc<TopicLog>),
}

/// A claim on the outcome of a staged operation.
#[derive(Debug, Default)]
pub(crate) struct Ticket {
    state: Mutex<TicketState>,
    settled: Condvar,
}

#[derive(Debug, Default)]
struct TicketState {
    outcome: Option<Result<Outcome>>,
    /// Of the future that waits for it, if one does.
    waker: Option<Waker>,
}

impl Ticket {
    fn outcome(&self) -> Option<Result<Outcome>> {
        lock(&self.state).outcome.clone()
    }

    pub(crate) fn settle(&self, outcome: Result<Outcome>) {
        let mut state = lock(&self.state);
        state.outcome.get_or_insert(outcome);
        let waker = state.waker.take();
        drop(state);
        self.settled.notify_all();
        waker.into_iter().for_each(Waker::wake);
    }

    /// The outcome, or a wakeup once there is one, or once somebody has to lead.
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<Result<Outcome>> {
        let mut state = lock(&self.state);
        if let Some(outcome) = &state.outcome {
            return Poll::Ready(outcome.clone());
        }
        match &mut state.waker {
            Some(present) => present.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        Poll::Pending
    }

    fn take_waker(&self) -> Option<Waker> {
        lock(&self.state).waker.take()
    }

    /// Waits for a log that is being closed: closing commits or fails whatever
    /// is staged.
    pub(crate) fn wait_for_close(&self) -> Result<Outcome> {
        let mut state = lock(&self.state);
        loop {
            if let Some(outcome) = &state.outcome {
                return outcome.clone();
            }
            state = self.settled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// An operation and the claim on it.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) operation: Operation,
    pub(crate) ticket: Arc<Ticket>,
}

#[derive(Debug, Default)]
struct QueueState {
    staged: VecDeque<Staged>,
    leading: bool,
    /// How many operations the last block held.
    last_group: usize,
    /// How many were ever staged, and how many of those were committed or failed.
    staged_ever: u64,
    settled_ever: u64,
    closed: bool,
}

/// The operations that wait for a leader.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<QueueState>,
    turned: Condvar,
}

impl Queue {
    /// Stages an operation.
    pub(crate) fn stage(&self, operation: Operation) -> Result<Arc<Ticket>> {
        let ticket = Arc::new(Ticket::default());
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Error::Closed);
        }
        state.staged.push_back(Staged { operation, ticket: Arc::clone(&ticket) });
        state.staged_ever += 1;
        Ok(ticket)
    }

    /// Waits for the ticket's outcome; leads with `commit` if nobody else does.
    pub(crate) fn wait(
        &self,
        ticket: &Ticket,
        latch: &Latch,
        mut commit: impl FnMut(&[Staged], &dyn Fn()),
    ) -> Result<Outcome> {
        loop {
            let state = lock(&self.state);
            // Looked at under the lock, so that no turn is missed.
            if let Some(outcome) = ticket.outcome() {
                return outcome;
            }
            if state.leading {
                drop(self.turned.wait(state).unwrap_or_else(PoisonError::into_inner));
                continue;
            }
            self.take_turn(state, latch, &mut commit)?;
        }
    }

    /// As [`Queue::wait`], but while somebody else leads the ticket keeps the
    /// waker, which is woken wherever waiting threads are.
    pub(crate) fn poll(
        &self,
        ticket: &Ticket,
        waker: &Waker,
        latch: &Latch,
        mut commit: impl FnMut(&[Staged], &dyn Fn()),
    ) -> Poll<Result<Outcome>> {
        loop {
            let state = lock(&self.state);
            if state.leading {
                // Kept under the lock, so that the leader finds it at its end.
                return ticket.poll(waker);
            }
            if let Some(outcome) = ticket.outcome() {
                return Poll::Ready(outcome);
            }
            if let Err(error) = self.take_turn(state, latch, &mut commit) {
                return Poll::Ready(Err(error));
            }
        }
    }

    /// Leads, for somebody whose ticket is not settled while nobody leads.
    fn take_turn(
        &self,
        mut state: MutexGuard<'_, QueueState>,
        latch: &Latch,
        commit: &mut impl FnMut(&[Staged], &dyn Fn()),
    ) -> Result<()> {
        if state.staged.is_empty() {
            // Nobody leads and it is not staged: its leader panicked.
            return Err(latch.check().err().unwrap_or(Error::Closed));
        }
        state.leading = true;
        drop(state);
        self.lead(latch, commit);
        Ok(())
    }

    /// Commits what is staged now. What comes later is for others.
    pub(crate) fn drain(&self, latch: &Latch, mut commit: impl FnMut(&[Staged], &dyn Fn())) {
        let staged_ever = lock(&self.state).staged_ever;
        loop {
            let mut state = lock(&self.state);
            if state.settled_ever >= staged_ever {
                return;
            }
            if state.leading {
                drop(self.turned.wait(state).unwrap_or_else(PoisonError::into_inner));
                continue;
            }
            state.leading = true;
            drop(state);
            self.lead(latch, &mut commit);
        }
    }

    /// Nothing can be staged from here on.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
    }

    fn lead(&self, latch: &Latch, commit: &mut impl FnMut(&[Staged], &dyn Fn())) {
        self.gather();
        let mut leader = Leader { queue: self, latch, group: self.take_group(), done: false };
        commit(&leader.group, &|| self.turned.notify_all());
        leader.done = true;
    }

    /// Lets the callers of the last group come back before the block is closed.
    fn gather(&self) {
        for _ in 0..GATHER_YIELDS {
            let state = lock(&self.state);
            if state.staged.len() >= state.last_group {
                return;
            }
            drop(state);
            yield_now();
        }
    }

    fn take_group(&self) -> Vec<Staged> {
        let mut state = lock(&self.state);
        let mut bytes = 0;
        let mut count = 0;
        for staged in &state.staged {
            bytes += staged.operation.bytes();
            if count > 0 && bytes > GROUP_BYTES_MAX {
                break;
            }
            count += 1;
        }
        state.last_group = count;
        state.staged.drain(..count).collect()
    }
}

/// Gives up the lead when dropped, and fails the group if its commit panicked.
struct Leader<'a> {
    queue: &'a Queue,
    latch: &'a Latch,
    group: Vec<Staged>,
    done: bool,
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.latch.set(&Error::NeedsReopen { reason: "a commit panicked".into() });
        }
        for staged in &self.group {
            // Nothing is left unsettled but by a panic.
            let error = self.latch.check().err().unwrap_or(Error::Closed);
            staged.ticket.settle(Err(error));
        }
        let mut state = lock(&self.queue.state);
        state.leading = false;
        state.settled_ever += self.group.len() as u64;
        // Whoever is still staged has to lead, or finds another leader.
        let wakers: Vec<_> =
            state.staged.iter().filter_map(|staged| staged.ticket.take_waker()).collect();
        drop(state);
        self.queue.turned.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }
}
