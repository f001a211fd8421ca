//! Compaction: of each key only the last record stays.
//!
//! ```text
//! survey   all records are read; the last offset of each key is noted
//! plan     which records of the sealed segments go, and which segments are
//!          written anew, neighbours together while they fit into one ([`plan`])
//! rewrite  new files, synced, that nothing names yet ([`rewrite`])
//! swap     under the writer's lock readers get the new segments; the old files
//!          go once a checkpoint's slots name the new ones
//! ```
//!
//! Offsets never change, and neither does the tree: a [`gap`](super::gap) with the
//! roots of what was removed stands in for it, so that each offset is still covered
//! by a checksum, and the tree can still be computed from the log. What is written
//! is checked against the tree before it is shown to anybody.
//!
//! A crash before the checkpoint recovers to the old segments, of which nothing was
//! removed yet, and the new files are leftovers. So no journal entry is needed.
//!
//! The segment that is appended to is never rewritten. A tombstone, a record
//! without a value, stays for a while although it is the last of its key, so that
//! readers learn of it: the first pass that meets one notes in its segment the time
//! from which on tombstones may go (KIP-534).
//!
//! A pass takes about 70 bytes of memory for each key, and room on disk for what
//! stays. All that a pass removes is shown to be gone at once: a tombstone never
//! goes before the records that it is there for.

mod output;
mod plan;
mod rewrite;

use super::partition::{PartitionLog, View};
use super::segment::Segment;
use super::store::{Footing, Store};
use crate::error::Result;
use crate::sync::lock;
pub(crate) use output::Output;
use plan::{Plan, Rule};
use rewrite::rewrite;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// What the last pass over a partition saw: another one is of use only once
/// something has changed.
#[derive(Debug, Default)]
pub(crate) struct LastPass {
    next_offset: u64,
    /// The first moment at which a tombstone may go.
    due_ns: i64,
}

/// A segment that was written, and which of the sealed segments it replaces.
type Replacement = (Range<usize>, Arc<Segment>);

impl Store {
    /// Compacts the partitions whose topics want it. What fails in one keeps no
    /// other from it; the first failure is told.
    pub(crate) fn compact(&self) -> Result<()> {
        let topics: Vec<_> = self.tables().topics.values().cloned().collect();
        let compacted = topics.iter().filter(|topic| topic.settings.is_compacted());
        let mut outcome = Ok(());
        for partition in compacted.flat_map(|topic| &topic.partitions) {
            self.check_open()?;
            outcome = outcome.and(self.compact_partition(partition));
        }
        outcome
    }

    fn compact_partition(&self, log: &Arc<PartitionLog>) -> Result<()> {
        self.latch.check()?;
        let mut last_pass = lock(&log.last_pass);
        let view = log.view();
        let now_ns = self.env.now_ns();
        let nothing_new = last_pass.next_offset == view.next_offset() && now_ns < last_pass.due_ns;
        if view.segments.len() < 2 || nothing_new {
            return Ok(());
        }
        match self.compact_view(log, &view, now_ns) {
            Ok(Some(due_ns)) => {
                *last_pass = LastPass { next_offset: view.next_offset(), due_ns };
                Ok(())
            }
            // Retention, or the topic's end, came first: there is nothing to be told.
            Ok(None) => Ok(()),
            Err(error) if error.is_corruption() && !log.is_current(&view) => Ok(()),
            Err(_) if log.is_deleted() => Ok(()),
            Err(error) => Err(self.latch.told(error)),
        }
    }

    /// Compacts what `view` shows, and returns when a tombstone may go next;
    /// `None` if readers were shown something else meanwhile.
    fn compact_view(
        &self,
        log: &Arc<PartitionLog>,
        view: &View,
        now_ns: i64,
    ) -> Result<Option<i64>> {
        let rule = Rule::survey(log, view, now_ns)?;
        let plan = Plan::make(log, view, &rule)?;
        let mut made = Vec::new();
        let shown = self.write_and_show(log, &plan, &rule, &mut made);
        if !matches!(shown, Ok(true)) {
            self.discard(made);
        }
        if !shown? {
            return Ok(None);
        }
        let horizons = log.view().segments.iter().map(|s| s.delete_horizon_ns()).min();
        Ok(Some(horizons.unwrap_or(i64::MAX)))
    }

    /// Writes what the plan wants, and shows it to readers; `false` as in
    /// [`Store::show`]. Notes in `made` the files that it made.
    fn write_and_show(
        &self,
        log: &Arc<PartitionLog>,
        plan: &Plan,
        rule: &Rule,
        made: &mut Vec<PathBuf>,
    ) -> Result<bool> {
        let mut outputs: Vec<Replacement> = Vec::new();
        for group in &plan.groups {
            outputs.push((group.clone(), rewrite(log, &plan.sealed, group, rule, made)?));
        }
        if !outputs.is_empty() {
            log.sync_dir()?;
        }
        self.show(log, plan, &outputs)
    }

    /// Removes files that were written in vain. What stays is removed by the next
    /// recovery, and so does everything once the log is latched, or closed: then the
    /// directory is somebody else's.
    fn discard(&self, made: Vec<PathBuf>) {
        let mut writer = lock(&self.writer);
        if self.check_open().and_then(|()| self.latch.check()).is_ok() {
            self.remove_files(made, &mut writer);
        }
    }

    /// Shows readers the outputs; `false` if the partition has other segments now,
    /// or is gone.
    fn show(&self, log: &Arc<PartitionLog>, plan: &Plan, outputs: &[Replacement]) -> Result<bool> {
        if outputs.is_empty() && plan.horizons.is_empty() {
            return Ok(true);
        }
        let mut writer = lock(&self.writer);
        // Closing may have come first: then the directory is somebody else's.
        self.check_open()?;
        self.latch.check()?;
        if log.is_deleted() {
            return Ok(false);
        }
        let guard = self.latch.guard("a compaction panicked");
        let firm = self.make_firm(&mut writer);
        let replaced =
            firm.as_ref().ok().and_then(|()| log.replace_segments(&plan.sealed, outputs));
        guard.passed();
        firm?;
        let Some(replaced) = replaced else { return Ok(false) };
        for (index, horizon_ns) in &plan.horizons {
            if let Some(segment) = plan.sealed.get(*index) {
                segment.set_delete_horizon(*horizon_ns);
            }
        }
        self.env.probe.mark("compaction.segments_replaced");
        let replaced = replaced.iter().flat_map(|segment| segment.file_paths());
        if self.env.probe.canary("compacted-removed-early") {
            self.remove_files(replaced.collect(), &mut writer);
        } else {
            writer.garbage.extend(replaced);
        }
        writer.touched.insert(log.key, Arc::clone(log));
        writer.footing = Footing::Changed;
        Ok(true)
    }
}
