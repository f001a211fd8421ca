//! How a segment's index is loaded, made anew, used and written.

use super::files::{FilePool, PooledFile};
use super::frame_reader::{CHUNK_BYTES, FrameReader};
use super::index::{IndexFile, IndexPoint, PointChooser};
use super::segment::Segment;
use crate::error::{Error, Result};
use std::path::PathBuf;
use std::sync::Arc;

/// The longest index file that is read: 2^22 points.
const INDEX_BYTES_MAX: u64 = 96 << 20;

impl Segment {
    pub(crate) fn index_path(&self) -> PathBuf {
        self.file.path().with_extension("idx")
    }

    /// The segment's files.
    pub(crate) fn file_paths(&self) -> [PathBuf; 2] {
        [self.file.path().to_owned(), self.index_path()]
    }

    /// The segment's first frame.
    pub(crate) fn first_point(&self) -> IndexPoint {
        IndexPoint { offset: self.base_offset, position: 0, timestamp_before_ns: i64::MIN }
    }

    /// A frame at or before the first record whose timestamp is at least
    /// `timestamp_ns`; the first one where the index cannot tell, because the
    /// segment's file is gone: whoever reads on from there is told.
    pub(crate) fn locate_time(&self, timestamp_ns: i64) -> IndexPoint {
        let found = self.index().before_time(timestamp_ns);
        let found = found.or_else(|not_loaded| {
            self.load_index().map_err(|_| not_loaded)?;
            self.index().before_time(timestamp_ns)
        });
        found.ok().flatten().unwrap_or(self.first_point())
    }

    /// A frame at or before the record `offset`.
    pub(crate) fn locate(&self, offset: u64) -> Result<IndexPoint> {
        let start = self.first_point();
        let found = self.index().floor(offset);
        if let Ok(point) = found {
            Ok(point.unwrap_or(start))
        } else {
            self.load_index()?;
            Ok(self.index().floor(offset).ok().flatten().unwrap_or(start))
        }
    }

    /// Loads the index of the part that stood on disk when the segment was
    /// opened; what no valid index file covers is looked through.
    pub(crate) fn load_index(&self) -> Result<()> {
        let opened_len = self.index().opened_len();
        let file = self.usable_index_file().filter(|file| file.covered_len <= opened_len);
        let is_whole = file.as_ref().is_some_and(|file| file.covered_len == opened_len);
        let mut points = file.map(|file| file.points).unwrap_or_default();
        let start = points.last().copied().unwrap_or(self.first_point());
        if !is_whole {
            let last = points.last().map(|point| point.position);
            let mut chooser = PointChooser::new(self.index_interval_bytes(), last);
            let mut timestamp_before_ns = start.timestamp_before_ns;
            let mut frames = FrameReader::new(self, start, start.offset, CHUNK_BYTES);
            frames.end = opened_len;
            while let Some(passed) = frames.pass()? {
                if passed.behind_damage {
                    // Nobody knows the timestamps that were there.
                    timestamp_before_ns = i64::MAX;
                }
                let (offset, position) = (passed.offset, passed.position);
                if chooser.wants(position) {
                    points.push(IndexPoint { offset, position, timestamp_before_ns });
                }
                timestamp_before_ns = timestamp_before_ns.max(passed.timestamp_max_ns);
            }
        }
        self.index().set_head(points);
        Ok(())
    }

    fn index_covers(&self, opened_len: u64) -> bool {
        self.usable_index_file().is_some_and(|file| file.covered_len == opened_len)
    }

    /// Any failure only means that the segment is looked through instead.
    fn usable_index_file(&self) -> Option<IndexFile> {
        self.decode_index_file().ok().flatten()
    }

    /// The index file, if it is this segment's.
    pub(crate) fn decode_index_file(&self) -> Result<Option<IndexFile>> {
        let file = PooledFile::existing(self.file.pool(), self.index_path());
        let len = Some(file.len()?).filter(|len| *len <= INDEX_BYTES_MAX);
        let Some(len) = len.and_then(|len| usize::try_from(len).ok()) else { return Ok(None) };
        let mut bytes = vec![0; len];
        file.read_exact(&mut bytes, 0)?;
        let index = IndexFile::decode(self.name.seed, &bytes).ok();
        Ok(index.filter(|index| {
            index.base_offset == self.base_offset && index.generation == self.generation
        }))
    }

    /// Writes the index file of what was published, if all points are known.
    pub(crate) fn write_index(&self, pool: &Arc<FilePool>) -> Result<()> {
        let covered_len = self.len();
        let (opened_len, points) = {
            let index = self.index();
            (index.opened_len(), index.all())
        };
        let Some(points) = points else { return Ok(()) };
        if covered_len == opened_len && self.index_covers(opened_len) {
            self.set_indexed();
            return Ok(());
        }
        let index = IndexFile {
            base_offset: self.base_offset,
            generation: self.generation,
            covered_len,
            points,
        };
        let bytes = index.encode(self.name.seed);
        let path = self.index_path();
        let file = match PooledFile::create(pool, path.clone()) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {
                PooledFile::existing(pool, path)
            }
            created => created?,
        };
        file.write(&bytes, 0)?;
        file.set_len(bytes.len() as u64)?;
        file.sync()?;
        self.set_indexed();
        Ok(())
    }
}
