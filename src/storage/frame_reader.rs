//! Walking over the frames of a segment.
//!
//! Reading starts at an index point and checks every frame it passes, so it
//! always knows which offset comes next. A frame that fails its check is read
//! once more through a fresh handle. If it is really damaged, the search for a
//! later frame goes on byte by byte: the damage takes the records it covers and
//! no others.

use super::frame::{FRAME_HEADER_BYTES, Frame, FrameHeader, records_max};
use super::frame_search::{FrameSearch, LONG_FRAME_BYTES};
use super::index::IndexPoint;
use super::segment::Segment;
use crate::env::exact::read_up_to;
use crate::error::{IoContext, Result};

/// How much of a segment is read at once when many records are wanted. More gains
/// nothing, and costs a reader who wants a few of them dearly.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;
/// How far behind a frame that may be misplaced a better one is looked for.
const RESYNC_BYTES: u64 = 256 << 10;
/// A frame, and where it stands.
pub(crate) struct PlacedFrame<'a> {
    pub(crate) position: u64,
    pub(crate) frame: Frame<'a>,
}

/// What making an index learns of a frame.
pub(crate) struct PassedFrame {
    pub(crate) offset: u64,
    pub(crate) position: u64,
    pub(crate) timestamp_max_ns: i64,
    /// Whether what stands in front of it is damaged.
    pub(crate) behind_damage: bool,
}

/// Walks over the frames of a segment.
pub(crate) struct FrameReader<'s> {
    segment: &'s Segment,
    /// The position of the next frame.
    position: u64,
    /// The least offset that the next frame can have.
    pub(crate) expected: u64,
    /// Where the walk ends.
    pub(crate) end: u64,
    /// No record of interest lies behind it.
    end_offset: u64,
    search: FrameSearch,
    chunk_bytes: usize,
    buffer: Vec<u8>,
    buffer_position: u64,
}

impl<'s> FrameReader<'s> {
    pub(crate) fn new(
        segment: &'s Segment,
        start: IndexPoint,
        end_offset: u64,
        chunk_bytes: usize,
    ) -> Self {
        Self {
            segment,
            position: start.position,
            expected: start.offset,
            end: segment.len(),
            end_offset,
            search: FrameSearch::new(segment.name.seed, start.position, segment.len()),
            chunk_bytes: chunk_bytes.max(FRAME_HEADER_BYTES),
            buffer: Vec::new(),
            buffer_position: start.position,
        }
    }

    /// The next frame that is whole, or `None` at the end of the segment. Where
    /// damage covers offset `from` or a later one below the end offset, fails.
    pub(crate) fn next(&mut self, from: u64) -> Result<Option<PlacedFrame<'_>>> {
        let end_offset = self.end_offset;
        if self.position >= self.end {
            // Readers were promised records up to here.
            let missing = self.expected.max(from);
            if missing < end_offset {
                let reason = "the segment ends before this record";
                return Err(self.segment.corrupt(missing, self.position, reason));
            }
            return Ok(None);
        }
        if !self.frame_holds()? {
            let damaged = self.position;
            let wanted = self.expected.max(from);
            if !self.resync(wanted)? || self.expected > wanted {
                if wanted >= end_offset {
                    return Ok(None);
                }
                let reason = "a record that is not the one that was written";
                return Err(self.segment.corrupt(wanted, damaged, reason));
            }
        }
        let position = self.position;
        let bytes = self.buffer.get(self.in_buffer(position)..).unwrap_or(&[]);
        let Some(frame) = Frame::of_checked(bytes) else {
            return Err(self.segment.corrupt(self.expected, position, "a frame cut short"));
        };
        self.position += frame.frame_len() as u64;
        Ok(Some(PlacedFrame { position, frame }))
    }

    /// The next whole frame, whatever is damaged in between.
    pub(crate) fn pass(&mut self) -> Result<Option<PassedFrame>> {
        if self.position >= self.end {
            return Ok(None);
        }
        let behind_damage = !self.frame_holds()?;
        if behind_damage && !self.resync(self.expected)? {
            return Ok(None);
        }
        let position = self.position;
        let bytes = self.buffer.get(self.in_buffer(position)..).unwrap_or(&[]);
        let Some(frame) = Frame::of_checked(bytes) else { return Ok(None) };
        let mut next = frame.offset + 1;
        let mut timestamp_max_ns = i64::MIN;
        let decoded = frame.records(|offset, _, body| {
            next = offset + 1;
            timestamp_max_ns = timestamp_max_ns.max(body.timestamp_ns);
            true
        });
        let gap = frame.gap();
        match &gap {
            Ok(Some(gap)) => next = gap.end,
            Ok(None) if decoded.is_ok() => {}
            // Whatever it holds, nobody can read it.
            _ => timestamp_max_ns = i64::MAX,
        }
        let offset = frame.offset;
        self.position += frame.frame_len() as u64;
        self.expected = next;
        Ok(Some(PassedFrame { offset, position, timestamp_max_ns, behind_damage }))
    }

    /// Where the next frame is expected.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Goes on with the next whole frame behind one whose content is malformed, so
    /// that nobody knows which offset comes next; `false` if there is none.
    pub(crate) fn follow(&mut self) -> Result<bool> {
        let mut position = self.position;
        let found = self.frame_at_or_after(&mut position, self.expected)?;
        if let Some(offset) = found {
            self.move_to(position, offset)?;
        }
        Ok(found.is_some())
    }

    fn in_buffer(&self, position: u64) -> usize {
        usize::try_from(position - self.buffer_position).unwrap_or(usize::MAX)
    }

    /// Whether the next frame stands at the position, whole.
    fn frame_holds(&mut self) -> Result<bool> {
        if self.parse_here(false)? {
            return Ok(true);
        }
        self.buffer.clear();
        self.parse_here(true)
    }

    fn parse_here(&mut self, fresh: bool) -> Result<bool> {
        self.fill(FRAME_HEADER_BYTES, fresh)?;
        let start = self.in_buffer(self.position);
        let Some(header) = FrameHeader::parse(self.buffer.get(start..).unwrap_or(&[])) else {
            return Ok(false);
        };
        if header.offset != self.expected || self.position + header.frame_len() as u64 > self.end {
            return Ok(false);
        }
        self.fill(header.frame_len(), fresh)?;
        let start = self.in_buffer(self.position);
        let bytes = self.buffer.get(start..).unwrap_or(&[]);
        Ok(Frame::parse(self.segment.name.seed, bytes).is_some())
    }

    /// Sees to it that `count` bytes from the position on are in the buffer, as
    /// far as the segment has them.
    fn fill(&mut self, count: usize, fresh: bool) -> Result<()> {
        let start = self.in_buffer(self.position);
        if self.buffer.len() >= start.saturating_add(count) {
            return Ok(());
        }
        let left = self.end.saturating_sub(self.position);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let wanted = count.max(self.chunk_bytes).min(left);
        self.buffer.drain(..start.min(self.buffer.len()));
        self.buffer_position = self.position;
        let kept = self.buffer.len();
        self.buffer.resize(wanted.max(kept), 0);
        let unread = &mut self.buffer[kept..];
        let at = self.position + kept as u64;
        let file = &self.segment.file;
        let read = if fresh {
            read_up_to(&*file.fresh_handle()?, unread, at).at("read", file.path())?
        } else {
            file.read_up_to(unread, at)?
        };
        self.buffer.truncate(kept + read);
        Ok(())
    }

    /// Looks behind the position, byte by byte, for a whole frame from which the
    /// record `wanted` can be reached, and moves there; `false` if there is
    /// none. A frame of a later record may have been put in the wrong place: it
    /// is taken only if none that is better follows within [`RESYNC_BYTES`].
    fn resync(&mut self, wanted: u64) -> Result<bool> {
        let expected = self.expected;
        let mut beyond: Option<(u64, u64)> = None;
        let mut position = self.position + 1;
        while let Some(offset) = self.frame_at_or_after(&mut position, expected)? {
            if offset <= wanted {
                self.move_to(position, offset)?;
                return Ok(true);
            }
            let (first, _) = *beyond.get_or_insert((position, offset));
            if position - first > RESYNC_BYTES {
                break;
            }
            position += 1;
        }
        if let Some((position, offset)) = beyond {
            self.move_to(position, offset)?;
        }
        Ok(beyond.is_some())
    }

    /// Goes on with the whole frame at a position, and reads it.
    fn move_to(&mut self, position: u64, offset: u64) -> Result<()> {
        if position < self.buffer_position {
            self.buffer.clear();
            self.buffer_position = position;
        }
        self.position = position;
        self.expected = offset;
        self.parse_here(false).map(drop)
    }

    /// Advances `position` to the first whole frame at or behind it whose offset
    /// is at least `least`, and returns that offset.
    fn frame_at_or_after(&mut self, position: &mut u64, least: u64) -> Result<Option<u64>> {
        // An offset is at most as far ahead as records could lie in between; gaps
        // may put it further ahead, within what the segment covers.
        let possible = least..least.saturating_add(records_max(self.end)).max(self.end_offset);
        while position.saturating_add(FRAME_HEADER_BYTES as u64) <= self.end {
            self.position = *position;
            self.fill(FRAME_HEADER_BYTES, false)?;
            let start = self.in_buffer(*position);
            let bytes = self.buffer.get(start..).unwrap_or(&[]);
            if bytes.len() < FRAME_HEADER_BYTES {
                // The file ends before the segment does.
                break;
            }
            let header = FrameHeader::parse(bytes).filter(|header| {
                let fits = position.saturating_add(header.frame_len() as u64) <= self.end;
                possible.contains(&header.offset) && fits
            });
            if let Some(header) = header
                && self.is_whole(*position, &header)?
            {
                return Ok(Some(header.offset));
            }
            *position += 1;
        }
        Ok(None)
    }

    /// Whether the frame that `header` announces stands whole at the position.
    fn is_whole(&mut self, position: u64, header: &FrameHeader) -> Result<bool> {
        if header.frame_len() > LONG_FRAME_BYTES {
            let file = &self.segment.file;
            return self.search.holds(position, header, &mut |buf, at| file.read_up_to(buf, at));
        }
        self.fill(header.frame_len(), false)?;
        let bytes = self.buffer.get(self.in_buffer(position)..).unwrap_or(&[]);
        Ok(Frame::parse(self.segment.name.seed, bytes).is_some())
    }
}
