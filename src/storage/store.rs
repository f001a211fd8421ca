//! The log as a whole: what the broker talks to.

use super::block::BlockBuffer;
use super::canonical::RecordHasher;
use super::checkpoint::PendingCheckpoint;
use super::commit::{Operation, Outcome, Queue, Staged, Ticket};
use super::entry::PartitionKey;
use super::files::FilePool;
use super::journal::Journal;
use super::latch::Latch;
use super::options::StorageOptions;
use super::partition::{PartitionContext, PartitionLog};
use super::removal::Removable;
use super::slots::Slots;
use super::tables::Tables;
use super::write::BlockDraft;
use crate::env::{Clock, Entropy, FileSystem, Lock, Probe, Signal};
use crate::error::{Error, Result};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard, lock};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

/// The seams, together.
#[derive(Debug, Clone)]
pub(crate) struct Env {
    pub(crate) file_system: Arc<dyn FileSystem>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) probe: Arc<dyn Probe>,
}

impl Env {
    /// The wall clock as record timestamps have it: whole milliseconds, in
    /// nanoseconds. A clock beyond the year 2261 is read as that year.
    pub(crate) fn now_ns(&self) -> i64 {
        const NS_PER_MS: i64 = 1_000_000;
        let ms = i64::try_from(self.clock.wall().as_millis()).unwrap_or(i64::MAX);
        ms.min(i64::MAX / NS_PER_MS) * NS_PER_MS
    }
}

/// What an open log stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Footing {
    /// The directory is as a clean close left it, as far as can be seen: what
    /// was seen may be in the cache alone, if a last sync failed. Before the
    /// first change it is written and synced again.
    Clean,
    /// Everything that the log stands on was synced by this broker. Nothing
    /// was changed since a clean close, or the creation, if nothing was touched.
    Firm,
    /// Something was changed.
    Changed,
}

/// What only the committing caller works with.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) journal: Journal,
    pub(crate) block: BlockBuffer,
    pub(crate) hasher: RecordHasher,
    pub(crate) slots: Slots,
    pub(crate) checkpoint: Option<PendingCheckpoint>,
    /// Partitions written to since the last checkpoint began.
    pub(crate) touched: BTreeMap<PartitionKey, Arc<PartitionLog>>,
    /// Files that nothing names any more, to be removed after the next checkpoint.
    pub(crate) garbage: Vec<PathBuf>,
    /// Folders of deleted topics, to be removed after the next checkpoint.
    pub(crate) garbage_folders: Vec<PathBuf>,
    /// What no slot names: some of it goes with each commit.
    pub(crate) removable: Removable,
    /// When retention was looked at last, by the monotonic clock.
    pub(crate) retained_at: Duration,
    /// What may be taken for durable.
    pub(crate) footing: Footing,
    /// The incarnation that the next topic gets, above every name on disk.
    pub(crate) next_incarnation: u64,
}

/// An open log.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) env: Env,
    pub(crate) options: StorageOptions,
    pub(crate) context: PartitionContext,
    pub(crate) latch: Arc<Latch>,
    pub(crate) pool: Arc<FilePool>,
    pub(crate) queue: Queue,
    pub(crate) writer: Mutex<Writer>,
    /// Counts blocks that became readable.
    pub(crate) appended: Signal,
    tables: RwLock<Tables>,
    /// That of the tables, to be looked at without their lock.
    topics_version: AtomicU64,
    lock: Mutex<Option<Box<dyn Lock>>>,
    closed: AtomicBool,
    /// Set once the log is whole; until then there is nothing to be closed.
    serving: AtomicBool,
}

impl Store {
    pub(crate) fn new(
        env: Env,
        context: PartitionContext,
        latch: Arc<Latch>,
        tables: Tables,
        writer: Writer,
        lock: Box<dyn Lock>,
    ) -> Self {
        Self {
            env,
            options: context.options,
            pool: Arc::clone(&context.pool),
            context,
            latch,
            queue: Queue::default(),
            writer: Mutex::new(writer),
            appended: Signal::new(),
            topics_version: AtomicU64::new(tables.version),
            tables: RwLock::new(tables),
            lock: Mutex::new(Some(lock)),
            closed: AtomicBool::default(),
            serving: AtomicBool::default(),
        }
    }

    /// The log is whole, and is to be left whole.
    pub(crate) fn serve(&self) {
        self.serving.store(true, Ordering::Release);
    }

    pub(crate) fn tables(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tables_mut(&self) -> RwLockWriteGuard<'_, Tables> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts changes of the set of topics and partitions. Who sees a number here
    /// sees in the tables at least what it stands for.
    pub(crate) fn topics_version(&self) -> u64 {
        self.topics_version.load(Ordering::Acquire)
    }

    /// Notes the tables' version; called under their lock.
    pub(crate) fn note_topics_version(&self, tables: &Tables) {
        self.topics_version.store(tables.version, Ordering::Release);
    }

    /// Stages an operation; nothing is written yet.
    pub(crate) fn stage(&self, operation: Operation) -> Result<Arc<Ticket>> {
        self.latch.check()?;
        self.queue.stage(operation)
    }

    /// Waits until a staged operation is durable, or has failed.
    pub(crate) fn wait(&self, ticket: &Ticket) -> Result<Outcome> {
        self.queue.wait(ticket, &self.latch, |group, settled| self.commit_group(group, settled))
    }

    /// Whether a staged operation is durable, or has failed; writes it if nobody
    /// else does, and otherwise has the waker woken.
    pub(crate) fn poll(&self, ticket: &Ticket, waker: &Waker) -> Poll<Result<Outcome>> {
        let commit = |group: &[Staged], settled: &dyn Fn()| self.commit_group(group, settled);
        self.queue.poll(ticket, waker, &self.latch, commit)
    }

    /// Stages an operation and waits for it.
    pub(crate) fn execute(&self, operation: Operation) -> Result<Outcome> {
        let ticket = self.stage(operation)?;
        self.wait(&ticket)
    }

    /// Commits everything that is staged.
    pub(crate) fn flush(&self) {
        self.queue.drain(&self.latch, |group, settled| self.commit_group(group, settled));
    }

    /// Commits a group of operations as one block, settles their tickets, and
    /// then does a piece of the checkpoint's work.
    fn commit_group(&self, group: &[Staged], settled: &dyn Fn()) {
        let mut writer = lock(&self.writer);
        let outcomes = self.commit_outcomes(&mut writer, group);
        for (staged, outcome) in group.iter().zip(outcomes) {
            staged.ticket.settle(outcome);
        }
        settled();
        if self.env.probe.canary("acknowledge-before-sync") {
            // Too late for anybody to be told; a failure has latched the log.
            drop(writer.journal.sync());
        }
        if self.latch.check().is_ok() {
            self.advance(&mut writer);
        }
    }

    fn commit_outcomes(&self, writer: &mut Writer, group: &[Staged]) -> Vec<Result<Outcome>> {
        let ready = self.latch.check();
        if let Err(error) = ready {
            return group.iter().map(|_| Err(error.clone())).collect();
        }
        let mut draft = BlockDraft::default();
        let prepare = |staged: &Staged| self.prepare(writer, &mut draft, &staged.operation);
        let outcomes: Vec<_> = group.iter().map(prepare).collect();
        self.draft_retention(writer, &mut draft);
        match self.commit_block(writer, draft) {
            Ok(()) => outcomes,
            Err(error) => {
                let error = self.latch.told(error);
                let failed = |outcome: Result<Outcome>| outcome.and(Err(error.clone()));
                outcomes.into_iter().map(failed).collect()
            }
        }
    }

    fn close_if_whole(&self, writer: &mut Writer) -> Result<()> {
        if self.serving.load(Ordering::Acquire) { self.close_cleanly(writer) } else { Ok(()) }
    }

    /// Compacts, and completes a checkpoint of everything that is committed.
    pub(crate) fn maintain(&self) -> Result<()> {
        self.check_open()?;
        self.flush();
        let compacted = self.compact();
        let checkpointed = self.checkpoint();
        compacted.and(checkpointed)
    }

    fn checkpoint(&self) -> Result<()> {
        let mut writer = lock(&self.writer);
        // Closing may have come first: then the directory is somebody else's.
        self.check_open()?;
        self.latch.check()?;
        let guard = self.latch.guard("a checkpoint panicked");
        let done = self.retain_now(&mut writer).and_then(|()| self.checkpoint_now(&mut writer));
        guard.passed();
        done.map_err(|error| self.latch.told(error))
    }

    /// Moves logs' starts as far as retention lets them, in a block of its own.
    fn retain_now(&self, writer: &mut Writer) -> Result<()> {
        let mut draft = BlockDraft::default();
        self.draft_all_starts(&mut draft);
        if draft.is_empty() { Ok(()) } else { self.commit_block(writer, draft) }
    }

    /// Whether [`Store::close`] was called.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.is_closed() { Err(Error::Closed) } else { Ok(()) }
    }

    /// Commits what is staged, leaves nothing to replay, and gives the
    /// directory free, whatever fails. A second call does nothing.
    pub(crate) fn close(&self) -> Result<()> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.queue.close();
        self.flush();
        let closed = {
            let mut writer = lock(&self.writer);
            let guard = self.latch.guard("closing panicked");
            let closed = self.latch.check().and_then(|()| self.close_if_whole(&mut writer));
            guard.passed();
            // What is dirty now stays so, and is recovered at the next open.
            closed
                .inspect_err(|error| self.latch.set(error))
                .map_err(|error| self.latch.told(error))
        };
        self.pool.close();
        self.appended.notify();
        lock(&self.lock).take();
        closed
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Nobody is left to be told; what failed is recovered at the next open.
        let _ = self.close();
    }
}
