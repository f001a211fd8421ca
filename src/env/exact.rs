//! Whole reads and writes over [`File`], whose own may be short or interrupted.

use super::File;
use std::io::{self, ErrorKind};

/// Fills `buf` from `position`, or fails; `UnexpectedEof` if the file ends first.
pub(crate) fn read_exact_at(file: &dyn File, buf: &mut [u8], position: u64) -> io::Result<()> {
    let filled = read_up_to(file, buf, position)?;
    if filled == buf.len() { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

/// Reads from `position` until `buf` is full or the file ends; returns how many bytes.
pub(crate) fn read_up_to(file: &dyn File, buf: &mut [u8], position: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, position + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reads as [`read_up_to`] does, sector by sector: zeroes stand for those that the disk
/// refuses, so that each is lost alone and not with all that was asked for. Fails only if
/// the file does not tell its length.
pub(crate) fn read_sectors_up_to(
    file: &dyn File,
    buf: &mut [u8],
    position: u64,
) -> io::Result<usize> {
    const SECTOR_BYTES: u64 = 512;
    let end = file.len()?.min(position.saturating_add(buf.len() as u64));
    let mut filled = 0;
    while position + (filled as u64) < end {
        let at = position + filled as u64;
        let next = end.min((at + 1).next_multiple_of(SECTOR_BYTES));
        let count = usize::try_from(next - at).unwrap_or_default();
        let Some(sector) = buf.get_mut(filled..filled + count) else { break };
        if read_exact_at(file, sector, at).is_err() {
            sector.fill(0);
        }
        filled += count;
    }
    Ok(filled)
}

/// Writes all of `buf` at `position`, or fails.
pub(crate) fn write_all_at(file: &dyn File, buf: &[u8], position: u64) -> io::Result<()> {
    let mut written = 0;
    while let Some(rest) = buf.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write_at(rest, position + written as u64) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
