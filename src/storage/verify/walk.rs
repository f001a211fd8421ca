//! Walking over a whole segment, damage included.

use crate::error::{Error, Result};
use crate::storage::frame::Body;
use crate::storage::frame_reader::{CHUNK_BYTES, FrameReader};
use crate::storage::gap::Gap;
use crate::storage::index::IndexPoint;
use crate::storage::segment::Segment;
use std::ops::Range;

/// Who is told what a segment holds, from left to right, every offset once.
pub(super) trait Visitor {
    /// A whole frame begins, behind records whose greatest timestamp is the point's, as
    /// far as they are there.
    fn frame(&mut self, point: IndexPoint);
    /// A record.
    fn record(&mut self, offset: u64, body: &Body<'_>) -> Result<()>;
    /// Records that were removed.
    fn gap(&mut self, gap: &Gap<'_>) -> Result<()>;
    /// Offsets that should be there, and whose frames are damaged or gone.
    fn lost(&mut self, offsets: Range<u64>, position: u64, reason: String) -> Result<()>;
    /// A frame whose records are all there, and that is malformed all the same.
    fn malformed(&mut self, offsets: Range<u64>, position: u64, reason: String);
    /// So many bytes of the segment were read.
    fn read(&mut self, position: u64);
}

/// Visits the offsets of the segment up to `end`.
pub(super) fn walk(segment: &Segment, end: u64, visitor: &mut dyn Visitor) -> Result<()> {
    let mut frames = FrameReader::new(segment, segment.first_point(), end, CHUNK_BYTES);
    let mut timestamp_max_ns = i64::MIN;
    while frames.expected < end {
        let expected = frames.expected;
        let position = frames.position();
        let placed = match frames.next(expected) {
            Ok(placed) => placed,
            Err(error) => {
                // What is whole goes on at a later offset, or nowhere.
                let next = if frames.expected > expected { frames.expected.min(end) } else { end };
                visitor.lost(expected..next, position, reason(error)?)?;
                if next == end {
                    break;
                }
                continue;
            }
        };
        let Some(placed) = placed else { break };
        let (frame, position) = (placed.frame, placed.position);
        visitor.frame(IndexPoint {
            offset: frame.offset,
            position,
            timestamp_before_ns: timestamp_max_ns,
        });
        let mut next = expected;
        let mut outcome = Ok(());
        let mut dense = true;
        let decoded = frame.records(|offset, _, body| {
            dense &= offset == next;
            if !dense || offset >= end {
                return false;
            }
            outcome = visitor.record(offset, &body);
            timestamp_max_ns = timestamp_max_ns.max(body.timestamp_ns);
            next = offset + 1;
            outcome.is_ok()
        });
        outcome?;
        match frame.gap() {
            Ok(Some(gap)) if gap.end <= end => {
                visitor.gap(&gap)?;
                next = gap.end;
            }
            _ => {}
        }
        // A frame whose checksum holds and whose content does not: forged, or a flaw.
        let malformed = decoded.err().map(|malformed| malformed.reason());
        let malformed = malformed.or_else(|| {
            (!dense || next == expected).then(|| "offsets that are not dense".to_owned())
        });
        frames.expected = next;
        if let Some(malformed) = malformed {
            let after = if frames.follow()? { frames.expected.min(end) } else { end };
            frames.expected = after;
            if next < after {
                visitor.lost(next..after, position, malformed)?;
            } else {
                // Even if nothing is missing behind it, somebody has been at the frame.
                visitor.malformed(expected..next, position, malformed);
            }
        }
        visitor.read(frames.position());
    }
    Ok(())
}

/// What an error says of the damage; whatever is none is passed on.
fn reason(error: Error) -> Result<String> {
    match error {
        Error::Corrupt(corruption) => Ok(corruption.reason.clone()),
        error if error.is_not_found() => Ok("the segment's file is missing".to_owned()),
        error => Err(error),
    }
}
