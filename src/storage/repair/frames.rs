//! The whole frames of a damaged segment, wherever in its file they stand.
//!
//! ```text
//! file     | 0 | 1 |  ...damage...  | 4 | 2 | 5 |       2 stands in a wrong place
//! spans      0   1   2                  4     5         sorted by offset, 3 is missing
//! ```
//!
//! A frame carries its offset, and its checksum says whose it is: so the first whole
//! one of an offset is that record, and its place in the file tells only whether
//! readers would find it. Whole frames are stepped over, so what a record's value
//! holds is never taken for a frame; damage is stepped over byte by byte.

use crate::error::Result;
use crate::storage::files::PooledFile;
use crate::storage::frame::{FRAME_HEADER_BYTES, Frame, FrameHeader};
use crate::storage::frame_search::{FrameSearch, LONG_FRAME_BYTES};
use crate::storage::judge::read_readable;
use std::ops::Range;
use std::sync::Arc;

/// How much of a file is read at once.
const WINDOW_BYTES: usize = 1 << 20;

/// Where a whole frame stands, and what it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) position: u64,
    pub(super) len: u64,
    pub(super) offset: u64,
    /// The offset behind its last record, or behind the gap that it is.
    pub(super) end: u64,
    pub(super) is_gap: bool,
}

/// What was found in a file.
#[derive(Debug, Default)]
pub(super) struct Spans {
    /// By offset, none over another.
    pub(super) found: Vec<Span>,
    /// Whether they stand one behind the other from the first byte on, with nothing
    /// in between, and cover all offsets.
    pub(super) in_order: bool,
    /// Whether the file is gone.
    pub(super) is_missing: bool,
}

/// A file, read a piece at a time.
pub(super) struct Window {
    file: Arc<PooledFile>,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    pub(super) fn new(file: Arc<PooledFile>) -> Self {
        Self { file, start: 0, bytes: Vec::new() }
    }

    /// The bytes at a position, fewer where the file ends. Zeroes stand for a sector
    /// that the disk does not give.
    pub(super) fn bytes(&mut self, position: u64, len: usize) -> Result<&[u8]> {
        let inside = position.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        let held = inside.filter(|at| at.saturating_add(len) <= self.bytes.len());
        let at = if let Some(at) = held {
            at
        } else {
            self.start = position;
            let left = self.file.len()?.saturating_sub(position);
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            self.bytes.resize(len.max(WINDOW_BYTES).min(left), 0);
            let read = read_readable(&self.file, &mut self.bytes, position)?;
            self.bytes.truncate(read);
            0
        };
        let end = at.saturating_add(len).min(self.bytes.len());
        Ok(self.bytes.get(at..end).unwrap_or_default())
    }

    /// The whole frame at a position.
    pub(super) fn frame(
        &mut self,
        seed: u32,
        position: u64,
        end: u64,
    ) -> Result<Option<Frame<'_>>> {
        let header = FrameHeader::parse(self.bytes(position, FRAME_HEADER_BYTES)?);
        let Some(header) = header else { return Ok(None) };
        if position.saturating_add(header.frame_len() as u64) > end {
            return Ok(None);
        }
        Ok(Frame::parse(seed, self.bytes(position, header.frame_len())?))
    }
}

/// Finds the whole frames in the bytes `within` of a file that cover none but
/// `offsets`. A file that is gone has none.
pub(super) fn find_spans(
    file: &Arc<PooledFile>,
    seed: u32,
    within: Range<u64>,
    offsets: &Range<u64>,
) -> Result<Spans> {
    let len = match file.len() {
        Err(error) if error.is_not_found() => {
            return Ok(Spans { is_missing: true, ..Spans::default() });
        }
        len => len?,
    };
    let end = within.end.min(len);
    let mut window = Window::new(Arc::clone(file));
    let mut search = FrameSearch::new(seed, within.start, end);
    let mut found: Vec<Span> = Vec::new();
    let mut position = within.start;
    let mut next = Some(offsets.start);
    while position.saturating_add(FRAME_HEADER_BYTES as u64) <= end {
        let header = FrameHeader::parse(window.bytes(position, FRAME_HEADER_BYTES)?);
        let header = header.filter(|header| offsets.contains(&header.offset));
        let possible = match header {
            Some(header) if header.frame_len() > LONG_FRAME_BYTES => {
                search.holds(position, &header, &mut |buf, at| read_readable(file, buf, at))?
            }
            header => header.is_some(),
        };
        let frame = if possible { window.frame(seed, position, end)? } else { None };
        let Some(frame) = frame else {
            next = None;
            position += 1;
            continue;
        };
        let covered = frame_end(&frame).filter(|behind| *behind <= offsets.end);
        next = covered.filter(|_| next == Some(frame.offset));
        let (offset, len, is_gap) = (frame.offset, frame.frame_len() as u64, frame.is_gap());
        found.extend(covered.map(|end| Span { position, len, offset, end, is_gap }));
        position += len;
    }
    let in_order = position == within.end && next == Some(offsets.end);
    // Stable: of several of one offset the first in the file counts.
    found.sort_by_key(|span| span.offset);
    let mut spans: Vec<Span> = Vec::new();
    for span in found {
        if spans.last().is_none_or(|last| last.end <= span.offset) {
            spans.push(span);
        }
    }
    Ok(Spans { found: spans, in_order, is_missing: false })
}

/// The offset behind what a frame covers; `None` if it cannot be decoded.
pub(super) fn frame_end(frame: &Frame<'_>) -> Option<u64> {
    if let Some(gap) = frame.gap().ok()? {
        return Some(gap.end);
    }
    let mut end = frame.offset;
    let decoded = frame.records(|offset, _, _| {
        end = offset + 1;
        true
    });
    decoded.ok().filter(|()| end > frame.offset).map(|()| end)
}
