//! Group commit without threads.
//!
//! Callers stage operations. The first to wait becomes the leader: it commits
//! everything that is staged, as one block, while the others wait for it. What
//! is staged in the meantime is the next leader's. Whoever stages and never
//! waits is served by any later leader, by flush, or by close.

use super::draft::StagedRecords;
use super::entry::{Commit, Placement};
use super::latch::Latch;
use super::partition::PartitionLog;
use super::producers::Sent;
use super::settings::TopicSettings;
use super::tables::TopicLog;
use crate::error::{Error, Result};
use crate::sync::{Condvar, Mutex, lock, yield_now};
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

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
    /// A topic's end.
    DeleteTopic { name: String },
    /// More partitions for a topic: so many in all.
    AddPartitions { name: String, partitions: u32 },
    /// The end of a partition's records below an offset.
    DeleteRecords { partition: Arc<PartitionLog>, before_offset: u64 },
    /// The end of everything that a group has committed.
    ForgetGroup { group: String },
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
            _ => ENTRY_BYTES as u64,
        }
    }

    /// Whether it has a block for itself.
    fn is_alone(&self) -> bool {
        !matches!(self, Self::Write { .. } | Self::CreateTopic { .. })
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
    /// The topic that it was about, as it is now, or was.
    Topic(Arc<TopicLog>),
}

/// A claim on the outcome of a staged operation.
#[derive(Debug, Default)]
pub(crate) struct Ticket {
    outcome: Mutex<Option<Result<Outcome>>>,
    settled: Condvar,
}

impl Ticket {
    fn outcome(&self) -> Option<Result<Outcome>> {
        lock(&self.outcome).clone()
    }

    pub(crate) fn settle(&self, outcome: Result<Outcome>) {
        lock(&self.outcome).get_or_insert(outcome);
        self.settled.notify_all();
    }

    /// Waits for a log that is being closed: closing commits or fails whatever
    /// is staged.
    pub(crate) fn wait_for_close(&self) -> Result<Outcome> {
        let mut outcome = lock(&self.outcome);
        loop {
            if let Some(outcome) = &*outcome {
                return outcome.clone();
            }
            outcome = self.settled.wait(outcome).unwrap_or_else(PoisonError::into_inner);
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
            let mut state = lock(&self.state);
            // Looked at under the lock, so that no turn is missed.
            if let Some(outcome) = ticket.outcome() {
                return outcome;
            }
            if state.leading {
                drop(self.turned.wait(state).unwrap_or_else(PoisonError::into_inner));
                continue;
            }
            if state.staged.is_empty() {
                // Nobody leads and it is not staged: its leader panicked.
                return Err(latch.check().err().unwrap_or(Error::Closed));
            }
            state.leading = true;
            drop(state);
            self.lead(latch, &mut commit);
        }
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
            let alone = staged.operation.is_alone();
            if count > 0 && (alone || bytes > GROUP_BYTES_MAX) {
                break;
            }
            count += 1;
            if alone {
                break;
            }
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
        drop(state);
        self.queue.turned.notify_all();
    }
}
