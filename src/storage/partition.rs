//! A partition's log: its segments, its stored hashes, and what readers see.
//!
//! Readers take a [`View`], which never changes; the commit that adds records
//! puts a new one in its place, after its journal block was synced.

use super::entry::PartitionKey;
use super::files::{FilePool, PooledFile};
use super::frame::{Body, frame_seed};
use super::hashes::{HashFile, hashes_len};
use super::manifest::{NO_HORIZON_NS, PartitionState, SegmentState};
use super::options::StorageOptions;
use super::segment::{PartitionName, Segment, SegmentMeta};
use super::settings::TopicSettings;
use crate::env::{EntryKind, Probe};
use crate::error::{Error, IoContext, Result};
use crate::merkle::{CompactRange, Hash, leaf_hash};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard, RwLock, lock};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

/// The name of the file of stored hashes.
pub(crate) const HASHES_FILE: &str = "hashes";
/// Log and hash files are written ahead of use by at most this.
const AHEAD_BYTES_MAX: u64 = 1 << 20;
const PAGE_BYTES: u64 = 4096;
/// How much of a topic's name its folder's name shows.
const TOPIC_DIR_NAME_CHARS: usize = 200;

/// What readers of a partition see.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// The tree over all records ever appended; its size is the next offset.
    pub(crate) range: CompactRange,
    /// Ascending by base offset; the last one is appended to.
    pub(crate) segments: Vec<Arc<Segment>>,
}

impl View {
    pub(crate) fn next_offset(&self) -> u64 {
        self.range.size()
    }
}

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

/// One partition of one life of a topic.
#[derive(Debug)]
pub(crate) struct PartitionLog {
    pub(crate) key: PartitionKey,
    pub(crate) name: PartitionName,
    pub(crate) hashes: HashFile,
    dir: PathBuf,
    settings: TopicSettings,
    pool: Arc<FilePool>,
    options: StorageOptions,
    pub(crate) probe: Arc<dyn Probe>,
    view: RwLock<Arc<View>>,
    /// Records below it are gone, or are to go.
    log_start: AtomicU64,
    head: Mutex<Head>,
}

/// Everything that a partition is made of.
#[derive(Debug, Clone)]
pub(crate) struct PartitionContext {
    pub(crate) pool: Arc<FilePool>,
    pub(crate) options: StorageOptions,
    pub(crate) log_id: [u8; 16],
    pub(crate) probe: Arc<dyn Probe>,
    /// The directory of all topics.
    pub(crate) topics_dir: PathBuf,
}

/// The folder of one life of a topic.
pub(crate) fn topic_dir_name(name: &str, incarnation: u64) -> String {
    // A name may be 249 long, a folder's mostly 255; the incarnation tells them apart.
    let front: String = name.chars().take(TOPIC_DIR_NAME_CHARS).collect();
    format!("{front}.{incarnation}")
}

impl PartitionLog {
    /// The partition as the manifest has it. Touches no file.
    pub(crate) fn new(
        context: &PartitionContext,
        topic: &Arc<str>,
        key: PartitionKey,
        settings: TopicSettings,
        state: PartitionState,
    ) -> Self {
        let topic_dir = context.topics_dir.join(topic_dir_name(topic, key.incarnation));
        let dir = topic_dir.join(key.partition.to_string());
        let name = PartitionName {
            topic: Arc::clone(topic),
            partition: key.partition,
            seed: frame_seed(&context.log_id, key.incarnation, key.partition),
        };
        let segment = |state: SegmentState| {
            let base_offset = state.base_range.size();
            let path = Segment::path_in(&dir, base_offset, state.generation);
            let meta = SegmentMeta {
                base_offset,
                generation: state.generation,
                len: state.len,
                timestamp_max_ns: state.timestamp_max_ns,
                created_ns: state.created_ns,
                delete_horizon_ns: state.delete_horizon_ns,
                base_range: state.base_range,
            };
            let file = PooledFile::existing(&context.pool, path);
            let interval_bytes = context.options.index_interval_bytes;
            Arc::new(Segment::new(name.clone(), meta, file, interval_bytes))
        };
        let generation_max = state.segments.iter().map(|segment| segment.generation).max();
        let segments: Vec<_> = state.segments.into_iter().map(segment).collect();
        let head = Head {
            log_allocated: segments.last().map_or(0, |segment| segment.len()),
            hashes_allocated: None,
            next_generation: generation_max.unwrap_or_default() + 1,
            active_is_damaged: false,
        };
        let hashes = PooledFile::existing(&context.pool, dir.join(HASHES_FILE));
        Self {
            key,
            name,
            hashes: HashFile::new(hashes),
            dir,
            settings,
            pool: Arc::clone(&context.pool),
            probe: Arc::clone(&context.probe),
            options: context.options,
            view: RwLock::new(Arc::new(View { range: state.range, segments })),
            log_start: AtomicU64::new(state.log_start),
            head: Mutex::new(head),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_view(&self, view: View) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }

    /// The first offset that can be read.
    pub(crate) fn log_start(&self) -> u64 {
        self.log_start.load(Ordering::Acquire)
    }

    pub(crate) fn head(&self) -> MutexGuard<'_, Head> {
        lock(&self.head)
    }

    /// The partition's state for the manifest.
    pub(crate) fn state(&self) -> PartitionState {
        let view = self.view();
        let segment = |segment: &Arc<Segment>| SegmentState {
            generation: segment.generation,
            len: segment.len(),
            timestamp_max_ns: segment.timestamp_max_ns(),
            created_ns: segment.created_ns,
            delete_horizon_ns: segment.delete_horizon_ns,
            base_range: segment.base_range.clone(),
        };
        PartitionState {
            log_start: self.log_start(),
            range: view.range.clone(),
            segments: view.segments.iter().map(segment).collect(),
        }
    }

    /// Shows readers the log up to `range`, in segments of which `new` are new.
    pub(crate) fn publish(&self, range: CompactRange, new: &[Arc<Segment>]) {
        let mut segments = self.view().segments.clone();
        segments.extend(new.iter().cloned());
        let kept = u64::from(self.probe.canary("retention-keeps-one"));
        let log_start =
            self.settings.log_start(self.log_start(), range.size().saturating_sub(kept));
        self.set_view(View { range, segments });
        self.log_start.store(log_start, Ordering::Release);
        if !new.is_empty() {
            self.head().active_is_damaged = false;
        }
    }

    /// Takes the segments that lie wholly below the log's start out of the
    /// view; their files may go once no manifest slot names them.
    pub(crate) fn drop_segments_below_start(&self) -> Vec<Arc<Segment>> {
        let view = self.view();
        let log_start = self.log_start();
        let next_bases = view.segments.iter().skip(1).map(|segment| segment.base_offset);
        let count = next_bases.take_while(|next_base| *next_base <= log_start).count();
        if count == 0 {
            return Vec::new();
        }
        let (dropped, kept) = view.segments.split_at(count);
        self.set_view(View { range: view.range.clone(), segments: kept.to_vec() });
        dropped.to_vec()
    }

    /// Files with writes that no sync has made durable yet.
    pub(crate) fn dirty_files(&self) -> Vec<Arc<PooledFile>> {
        let view = self.view();
        let segments = view.segments.iter().map(|segment| &segment.file);
        let files = segments.chain(std::iter::once(&self.hashes.file));
        files.filter(|file| file.is_dirty()).cloned().collect()
    }

    /// How much to read at once for a single record: what lies between two
    /// index points, and a record of usual size.
    pub(crate) fn single_read_bytes(&self) -> usize {
        const USUAL_RECORD_BYTES: u64 = 512;
        let bytes = self.options.index_interval_bytes.saturating_add(USUAL_RECORD_BYTES);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Visits the records from `from` on, below `end_offset` and the view's end.
    pub(crate) fn read(
        &self,
        view: &View,
        from: u64,
        end_offset: u64,
        chunk_bytes: usize,
        visit: &mut dyn FnMut(u64, Body<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let end_offset = end_offset.min(view.next_offset());
        let mut from = from.max(self.log_start());
        let first = view.segments.partition_point(|segment| segment.base_offset <= from);
        let first = first.saturating_sub(1);
        let mut stopped = false;
        for (index, segment) in view.segments.iter().enumerate().skip(first) {
            if stopped || from >= end_offset {
                break;
            }
            let next_base = view.segments.get(index + 1).map(|next| next.base_offset);
            let segment_end = next_base.unwrap_or(end_offset).min(end_offset);
            let read = segment.read(from, segment_end, chunk_bytes, &mut |offset, body| {
                let flow = visit(offset, body)?;
                stopped = flow.is_break();
                Ok(flow)
            });
            match read {
                // Retention took the segment away while it was read.
                Err(error) if error.is_corruption() && segment_end <= self.log_start() => {}
                read => read?,
            }
            from = segment_end;
        }
        Ok(())
    }

    /// Computes the tree anew from the log and writes the file of stored hashes
    /// again, if the records hash to the tree that the manifest knows. What
    /// retention has removed can't be computed; there the peaks at the log's
    /// first segment stand in for it.
    pub(crate) fn rebuild_hashes(&self) -> Result<()> {
        self.pool.latch().check()?;
        let view = self.view();
        let start = view.segments.first().map(|segment| segment.base_range.clone());
        let start = start.unwrap_or_default();
        let computed = self.compute_tree(&view, start.clone(), &mut |_, _| Ok(()))?;
        if computed != view.range {
            let reason = "the records do not hash to the tree of the manifest";
            return Err(Error::corrupt(self.hashes.file.path(), 0, reason));
        }
        self.ensure_hashes_exist()?;
        self.write_peaks(&start)?;
        let write =
            &mut |size, slots: &[u8]| self.hashes.file.write_derived(slots, hashes_len(size));
        self.compute_tree(&view, start, write)?;
        self.hashes.forget();
        Ok(())
    }

    /// Hashes the view's records onto `range`; hands the stored hashes to
    /// `write` in pieces, each with the size of the tree before it.
    fn compute_tree(
        &self,
        view: &View,
        mut range: CompactRange,
        write: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<CompactRange> {
        let mut hasher = super::canonical::RecordHasher::default();
        let mut slots = Vec::new();
        let mut size = range.size();
        for (index, segment) in view.segments.iter().enumerate() {
            let next_base = view.segments.get(index + 1).map(|next| next.base_offset);
            let end = next_base.unwrap_or(view.next_offset());
            segment.read(segment.base_offset, end, usize::MAX, &mut |offset, body| {
                let hash = hasher.hash(&self.name.topic, self.name.partition, offset, &body);
                let hash = hash.map_err(|m| Error::corrupt(segment.file.path(), 0, m.reason()))?;
                range.push(leaf_hash(&hash), &mut |node: Hash| slots.extend_from_slice(&node.0));
                if slots.len() as u64 >= AHEAD_BYTES_MAX {
                    write(size, &slots)?;
                    slots.clear();
                    size = range.size();
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        write(size, &slots)?;
        Ok(range)
    }

    fn write_peaks(&self, range: &CompactRange) -> Result<()> {
        let mut first_leaf = 0;
        for (level, peak) in
            (0..u64::BITS).rev().filter(|bit| range.size() >> bit & 1 == 1).zip(range.peaks())
        {
            #[expect(clippy::cast_possible_truncation, reason = "below 64")]
            let slot = crate::merkle::stored_index(level as u8, first_leaf >> level);
            self.hashes.file.write_derived(&peak.0, slot * super::hashes::SLOT_BYTES)?;
            first_leaf += 1 << level;
        }
        Ok(())
    }

    /// The files in the partition's folder, if there is one.
    pub(crate) fn file_names(&self) -> Result<Option<Vec<String>>> {
        match self.pool.file_system().list(&self.dir).at("list", &self.dir) {
            Ok(entries) => {
                let files = entries.into_iter().filter(|entry| entry.kind == EntryKind::File);
                Ok(Some(files.map(|entry| entry.name).collect()))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Head {
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
        let generation = self.next_generation;
        // Counted first: a creation that failed may have left the name behind.
        self.next_generation += 1;
        let path = Segment::path_in(&log.dir, base_offset, generation);
        let file = PooledFile::create(&log.pool, path)?;
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
        let interval_bytes = log.options.index_interval_bytes;
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
    fn ensure_hashes_exist(&self) -> Result<()> {
        if !self.hashes.file.ensure_exists()? {
            return Ok(());
        }
        // The cache may show the name for good and the disk never have it. Taken
        // back, it is made anew once the log is reopened.
        let path = self.hashes.file.path();
        self.sync_dir().inspect_err(|_| drop(self.pool.file_system().remove_file(path)))
    }

    /// Makes the names in the partition's folder durable. A failure latches:
    /// a name that was to be durable may not be.
    fn sync_dir(&self) -> Result<()> {
        let synced = self.pool.file_system().sync_dir(&self.dir).at("sync", &self.dir);
        synced.inspect_err(|error| self.pool.latch().set(error))
    }
}

/// How far a file is written that is needed up to `needed` bytes.
fn ahead(needed: u64) -> u64 {
    needed.saturating_add(needed.clamp(1, AHEAD_BYTES_MAX)).next_multiple_of(PAGE_BYTES)
}
