//! What only the committing caller knows of a partition: how far its files are
//! written ahead of use, and which name the next one gets.

use super::files::PooledFile;
use super::hashes::hashes_len;
use super::manifest::NO_HORIZON_NS;
use super::partition::PartitionLog;
use super::segment::{Segment, SegmentMeta};
use crate::error::{IoContext, Result};
use crate::merkle::CompactRange;
use std::sync::Arc;

/// Log and hash files are written ahead of use by at most this.
const AHEAD_BYTES_MAX: u64 = 1 << 20;
const PAGE_BYTES: u64 = 4096;

/// What only the committing caller knows.
#[derive(Debug)]
pub(crate) struct Head {
    /// How far the active segment's file is written ahead.
    log_allocated: u64,
    /// How far the file of stored hashes is written ahead.
    hashes_allocated: Option<u64>,
    /// Above that of every name in the folder.
    next_generation: u64,
    /// The active segment is shorter on disk than it was, so it must not grow.
    active_is_damaged: bool,
}

impl Head {
    /// Of a partition whose active segment has `log_len` bytes, and whose files
    /// have generations up to `generation_max`.
    pub(crate) fn new(log_len: u64, generation_max: u64) -> Self {
        Self {
            log_allocated: log_len,
            hashes_allocated: None,
            next_generation: generation_max + 1,
            active_is_damaged: false,
        }
    }

    /// The active segment is a new one.
    pub(crate) fn set_active_new(&mut self) {
        self.active_is_damaged = false;
    }

    /// A generation for a new file's name. Counted at once: a creation that
    /// fails may leave the name behind.
    pub(crate) fn take_generation(&mut self) -> u64 {
        let generation = self.next_generation;
        self.next_generation += 1;
        generation
    }

    /// The next segment's file gets a generation above `generation`.
    pub(crate) fn raise_generation(&mut self, generation: u64) {
        self.next_generation = self.next_generation.max(generation.saturating_add(1));
    }

    /// Nothing more is appended to the present segment.
    pub(crate) fn set_active_damaged(&mut self) {
        self.active_is_damaged = true;
    }

    /// Whether nothing may be appended to the present segment.
    pub(crate) fn active_is_damaged(&self) -> bool {
        self.active_is_damaged
    }

    /// Forgets how far files were written ahead, after they were cut.
    pub(crate) fn set_cut(&mut self, log_len: u64) {
        self.log_allocated = log_len;
        self.hashes_allocated = None;
    }

    /// Cuts off what was written ahead of use behind `len`.
    pub(crate) fn trim_log(&mut self, segment: &Segment, len: u64) -> Result<()> {
        if self.log_allocated > len {
            segment.file.set_len(len)?;
            self.log_allocated = len;
        }
        Ok(())
    }

    /// Sees to it that the segment has room up to `needed` bytes.
    pub(crate) fn reserve_log(
        &mut self,
        segment: &Segment,
        needed: u64,
        segment_bytes: u64,
    ) -> Result<()> {
        if needed > self.log_allocated {
            let ahead = ahead(needed).min(segment_bytes.max(needed));
            segment.file.allocate(ahead)?;
            self.log_allocated = ahead;
        }
        Ok(())
    }

    /// Sees to it that the file of stored hashes exists, and has room for a
    /// tree of `size` leaves.
    pub(crate) fn reserve_hashes(&mut self, log: &PartitionLog, size: u64) -> Result<()> {
        let file = &log.hashes.file;
        let needed = hashes_len(size);
        let allocated = if let Some(allocated) = self.hashes_allocated {
            allocated
        } else {
            log.ensure_hashes_exist()?;
            file.len()?
        };
        self.hashes_allocated = Some(allocated);
        if needed > allocated {
            let ahead = ahead(needed);
            file.allocate(ahead)?;
            self.hashes_allocated = Some(ahead);
        }
        Ok(())
    }

    /// A new, empty segment that begins at `range`'s size, its name durable.
    pub(crate) fn new_segment(
        &mut self,
        log: &PartitionLog,
        range: &CompactRange,
        now_ns: i64,
    ) -> Result<Arc<Segment>> {
        let base_offset = range.size();
        let generation = self.take_generation();
        let path = Segment::path_in(log.dir(), base_offset, generation);
        let file = PooledFile::create(log.pool(), path)?;
        log.sync_dir()?;
        let meta = SegmentMeta {
            base_offset,
            generation,
            len: 0,
            timestamp_max_ns: i64::MIN,
            created_ns: now_ns,
            delete_horizon_ns: NO_HORIZON_NS,
            base_range: range.clone(),
        };
        let interval_bytes = log.index_interval_bytes();
        self.log_allocated = 0;
        Ok(Arc::new(Segment::new(log.name.clone(), meta, file, interval_bytes)))
    }
}

impl PartitionLog {
    /// Gives back the space of records that were not committed after all.
    pub(crate) fn abandon(&self) -> Result<()> {
        if let Some(active) = self.view().segments.last() {
            self.head().log_allocated = active.file.len()?;
        }
        self.trim()
    }

    /// Cuts off what was written ahead of use.
    pub(crate) fn trim(&self) -> Result<()> {
        let view = self.view();
        let mut head = self.head();
        if let Some(active) = view.segments.last() {
            head.trim_log(active, active.len())?;
        }
        let hashes_len = hashes_len(view.next_offset());
        if head.hashes_allocated.is_some_and(|allocated| allocated > hashes_len) {
            self.hashes.file.set_len(hashes_len)?;
            head.hashes_allocated = Some(hashes_len);
        }
        Ok(())
    }

    /// Creates the file of stored hashes if it is not there, its name durable.
    pub(crate) fn ensure_hashes_exist(&self) -> Result<()> {
        if !self.hashes.file.ensure_exists()? {
            return Ok(());
        }
        // The cache may show the name for good and the disk never have it. Taken
        // back, it is made anew once the log is reopened.
        let path = self.hashes.file.path();
        self.sync_dir().inspect_err(|_| drop(self.pool().file_system().remove_file(path)))
    }

    /// Makes the names in the partition's folder durable. A failure latches: a
    /// name that was to be durable may not be. That of a deleted topic was to be
    /// nothing any more; its folder may be gone.
    pub(crate) fn sync_dir(&self) -> Result<()> {
        let synced = self.pool().file_system().sync_dir(self.dir()).at("sync", self.dir());
        synced.or_else(|error| {
            self.check_living()?;
            self.pool().latch().set(&error);
            Err(error)
        })
    }
}

/// How far a file is written that is needed up to `needed` bytes.
fn ahead(needed: u64) -> u64 {
    needed.saturating_add(needed.clamp(1, AHEAD_BYTES_MAX)).next_multiple_of(PAGE_BYTES)
}
