//! What can still follow a partition's log, and what cannot.
//!
//! ```text
//! manifest ──────► 40                        what it says ends here
//! journal            40 41 42       46       frames in whole blocks
//! files                 41 42 43    46 47    frames behind the manifest's lengths
//! salvaged           40 41 42 43             up to the first that is nowhere
//! lost                           44 .. 47
//! ```
//!
//! A record reaches its file only after its block was synced, so mostly the files have
//! what the journal has lost.

use super::frames::{Window, find_spans};
use super::told::Frames;
use crate::error::{IoContext, Result};
use crate::storage::files::{FilePool, PooledFile};
use crate::storage::frame::{FRAME_HEADER_BYTES, records_max};
use crate::storage::manifest::PartitionState;
use crate::storage::segment::parse_segment_file_name;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Records that follow a partition's log.
#[derive(Debug)]
pub(super) struct Salvaged {
    /// The frames, in pieces of at most so many bytes as were asked for: base offset,
    /// records, bytes.
    pub(super) pieces: Vec<(u64, u64, Vec<u8>)>,
    /// The next offset.
    pub(super) end: u64,
    /// The offsets of records that were seen, or must have been there, and cannot follow.
    pub(super) lost: Range<u64>,
    /// Files that hold something behind what the manifest says, and how much of them
    /// the manifest knows; nothing of those that it does not name.
    pub(super) longer: Vec<(PathBuf, Option<u64>)>,
}

impl Salvaged {
    /// Looks in the partition's folder for what the journal's frames do not have.
    pub(super) fn of(
        pool: &Arc<FilePool>,
        dir: &Path,
        seed: u32,
        state: &PartitionState,
        mut frames: Frames,
        piece_bytes: usize,
    ) -> Result<Self> {
        let next = state.next_offset();
        let mut longer = Vec::new();
        for name in log_files(pool, dir)? {
            let Some((base, generation, _)) = parse_segment_file_name(&name) else { continue };
            let path = dir.join(&name);
            let known = state
                .segments
                .iter()
                .find(|known| (known.base_range.size(), known.generation) == (base, generation));
            let from = known.map_or(0, |known| known.len);
            let file = PooledFile::existing(pool, path.clone());
            let len = file.len()?;
            if len > from {
                collect(&file, seed, from..len, next, &mut frames)?;
            }
            if known.is_none() || len > from {
                longer.push((path, known.map(|known| known.len)));
            }
        }
        let greatest = frames.values().map(|(end, _)| *end).max().unwrap_or(next);
        let mut salvaged = Self { pieces: Vec::new(), end: next, lost: 0..0, longer };
        while let Some((end, bytes)) = frames.remove(&salvaged.end) {
            salvaged.push(end, bytes, piece_bytes);
        }
        salvaged.lost = salvaged.end..greatest.max(salvaged.end);
        Ok(salvaged)
    }

    fn push(&mut self, end: u64, bytes: Vec<u8>, piece_bytes: usize) {
        let records = end - self.end;
        match self.pieces.last_mut() {
            Some((_, count, piece)) if piece.len() + bytes.len() <= piece_bytes => {
                *count += records;
                piece.extend_from_slice(&bytes);
            }
            _ => self.pieces.push((self.end, records, bytes)),
        }
        self.end = end;
    }
}

/// Adds the whole frames of a file from offset `next` on.
fn collect(
    file: &Arc<PooledFile>,
    seed: u32,
    within: Range<u64>,
    next: u64,
    frames: &mut Frames,
) -> Result<()> {
    let len = within.end;
    let offsets = next..next.saturating_add(records_max(len));
    let mut window = Window::new(Arc::clone(file));
    for span in find_spans(file, seed, within, &offsets)?.found {
        if span.is_gap {
            continue;
        }
        if let Some(frame) = window.frame(seed, span.position, len)? {
            let mut bytes = Vec::with_capacity(FRAME_HEADER_BYTES);
            frame.append_to(seed, &mut bytes);
            frames.entry(span.offset).or_insert((span.end, bytes));
        }
    }
    Ok(())
}

/// The names of the files with records in a folder, which may be gone.
pub(super) fn log_files(pool: &FilePool, dir: &Path) -> Result<Vec<String>> {
    let entries = match pool.file_system().list(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.at("list", dir)?,
    };
    let is_log = |name: &String| {
        parse_segment_file_name(name).is_some_and(|(_, _, extension)| extension == "log")
    };
    Ok(entries.into_iter().map(|entry| entry.name).filter(is_log).collect())
}
