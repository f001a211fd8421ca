//! A partition's log: its segments, its stored hashes, and what readers see.
//!
//! Readers take a [`View`], which never changes; the commit that adds records
//! puts a new one in its place, after its journal block was synced.

use super::compaction::LastPass;
use super::entry::PartitionKey;
use super::files::{FilePool, PooledFile};
use super::frame::{Body, frame_seed};
use super::hashes::HashFile;
use super::head::Head;
use super::manifest::{PartitionState, SegmentState};
use super::options::StorageOptions;
use super::segment::{PartitionName, Segment, SegmentMeta};
use super::settings::TopicSettings;
use crate::env::Probe;
use crate::error::{Error, Result};
use crate::merkle::CompactRange;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard, RwLock, lock};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

/// The name of the file of stored hashes.
pub(crate) const HASHES_FILE: &str = "hashes";
/// How much is read at once where a record is looked for by its time: it stands
/// before the next index point, if nothing in between is below the log's start.
const CHUNK_BYTES_FOR_TIME: usize = 16 << 10;
/// How much of a topic's name its folder's name shows.
pub(crate) const TOPIC_DIR_NAME_CHARS: usize = 200;

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
    /// Its topic is gone.
    deleted: AtomicBool,
    head: Mutex<Head>,
    /// Held while the partition is compacted.
    pub(crate) last_pass: Mutex<LastPass>,
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
        let log_len = segments.last().map_or(0, |segment| segment.len());
        let head = Head::new(log_len, generation_max.unwrap_or_default());
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
            deleted: AtomicBool::default(),
            head: Mutex::new(head),
            last_pass: Mutex::default(),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn pool(&self) -> &Arc<FilePool> {
        &self.pool
    }

    pub(crate) fn settings(&self) -> TopicSettings {
        self.settings
    }

    /// What one segment holds at most, unless a single record is larger.
    pub(crate) fn segment_bytes(&self) -> u64 {
        self.settings.segment_bytes.unwrap_or(self.options.segment_bytes)
    }

    pub(crate) fn index_interval_bytes(&self) -> u64 {
        self.options.index_interval_bytes
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
            delete_horizon_ns: segment.delete_horizon_ns(),
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
            self.head().set_active_new();
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
        self.check_living()?;
        let end_offset = end_offset.min(view.next_offset());
        let mut newer: Option<Arc<View>> = None;
        let mut from = from;
        let mut refused = false;
        loop {
            let shown = newer.as_deref().unwrap_or(view);
            let mut next = from;
            let read = self.read_view(shown, from, end_offset, chunk_bytes, &mut |offset, body| {
                let flow = visit(offset, body).inspect_err(|_| refused = true)?;
                next = offset + 1;
                Ok(flow)
            });
            if read.is_ok() || refused || self.is_current(shown) {
                return read;
            }
            // Compaction put other files in the place of those that were read.
            newer = Some(self.view());
            from = next;
        }
    }

    /// Whether readers still see the view's segments.
    pub(crate) fn is_current(&self, view: &View) -> bool {
        let current = self.view();
        view.segments.iter().all(|segment| {
            let found =
                current.segments.binary_search_by_key(&segment.base_offset, |s| s.base_offset);
            let found = found.ok().and_then(|index| current.segments.get(index));
            found.is_some_and(|found| Arc::ptr_eq(found, segment))
        })
    }

    /// Shows readers `outputs` in the place of those segments from `inputs` whose
    /// offsets they cover, and returns these; `None` if readers do not see all of
    /// `inputs` any more, and nothing is changed.
    pub(crate) fn replace_segments(
        &self,
        inputs: &[Arc<Segment>],
        outputs: &[(Range<usize>, Arc<Segment>)],
    ) -> Option<Vec<Arc<Segment>>> {
        let view = self.view();
        let first = inputs.first()?;
        let start = view.segments.iter().position(|segment| Arc::ptr_eq(segment, first))?;
        let shown = view.segments.get(start..start + inputs.len())?;
        if !shown.iter().zip(inputs).all(|(shown, input)| Arc::ptr_eq(shown, input)) {
            return None;
        }
        let mut segments = view.segments.clone();
        let mut replaced = Vec::new();
        // From the back, so that the indexes in front stay right.
        for (range, output) in outputs.iter().rev() {
            let range = start + range.start..start + range.end;
            replaced.extend(segments.splice(range, [Arc::clone(output)]));
        }
        self.set_view(View { range: view.range.clone(), segments });
        Some(replaced)
    }

    fn read_view(
        &self,
        view: &View,
        from: u64,
        end_offset: u64,
        chunk_bytes: usize,
        visit: &mut dyn FnMut(u64, Body<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
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
                // The topic was deleted while it was read.
                Err(_) if self.is_deleted() => return self.check_living(),
                // Retention took the segment away while it was read.
                Err(error) if error.is_corruption() && segment_end <= self.log_start() => {}
                read => read?,
            }
            from = segment_end;
        }
        Ok(())
    }

    /// The first record at or above the log's start whose timestamp is at least
    /// `timestamp_ns`: its offset and its timestamp. Timestamps need not ascend.
    pub(crate) fn offset_for_time(
        &self,
        view: &View,
        timestamp_ns: i64,
    ) -> Result<Option<(u64, i64)>> {
        let mut found = None;
        for (index, segment) in view.segments.iter().enumerate() {
            let next_base = view.segments.get(index + 1).map(|next| next.base_offset);
            let end = next_base.unwrap_or(view.next_offset());
            if end <= self.log_start() || segment.timestamp_max_ns() < timestamp_ns {
                continue;
            }
            let from = segment.locate_time(timestamp_ns).offset;
            self.read(view, from, end, CHUNK_BYTES_FOR_TIME, &mut |offset, body| {
                let meets = body.timestamp_ns >= timestamp_ns;
                found = meets.then_some((offset, body.timestamp_ns));
                Ok(if meets { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
            if found.is_some() {
                break;
            }
        }
        Ok(found)
    }
}

/// The end of records, and of the topic.
impl PartitionLog {
    /// What lies below `offset` is gone. Returns the segments that leave the view
    /// with it: all of them, once nothing is left to be read; what lies below the
    /// start otherwise goes at a checkpoint. No draft may be under way.
    pub(crate) fn move_start(&self, offset: u64) -> Vec<Arc<Segment>> {
        let view = self.view();
        self.log_start.fetch_max(offset.min(view.next_offset()), Ordering::AcqRel);
        if self.log_start() < view.next_offset() {
            return Vec::new();
        }
        self.set_view(View { range: view.range.clone(), segments: Vec::new() });
        self.head().set_active_new();
        view.segments.clone()
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    pub(crate) fn check_living(&self) -> Result<()> {
        let topic = || self.name.topic.to_string();
        if self.is_deleted() { Err(Error::TopicDeleted { topic: topic() }) } else { Ok(()) }
    }

    /// Its topic is gone. Its files are closed, whoever still reads them.
    pub(crate) fn delete(&self) {
        self.deleted.store(true, Ordering::Release);
        for segment in &self.view().segments {
            segment.file.give_up();
        }
        self.hashes.file.give_up();
    }
}
