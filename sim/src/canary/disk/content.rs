//! Bytes that are not those that were written.

use super::{Flaw, FlawedFile, Role, state};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// One write in so many is spoiled.
const SPOILED_ONE_IN: u64 = 8;
const PAGE_BYTES: usize = 4096;

/// Flips a bit in what goes to a partition's records, whose checksum was taken
/// before.
#[derive(Debug, Default)]
pub(super) struct FlipBit(Mutex<u64>);

impl Flaw for FlipBit {
    fn write_at(&self, file: &FlawedFile, buf: &[u8], position: u64) -> io::Result<usize> {
        let is_log = file.path.extension().is_some_and(|extension| extension == "log");
        if file.role != Role::Partition || !is_log {
            return file.inner.write_at(buf, position);
        }
        let number = {
            let mut writes = state(&self.0);
            *writes += 1;
            *writes
        };
        let mut bytes = buf.to_vec();
        if let Some(byte) = bytes.get_mut(buf.len() / 2).filter(|_| number % SPOILED_ONE_IN == 0) {
            *byte ^= 1;
        }
        file.inner.write_at(&bytes, position)
    }
}

/// What was written to the journal, in order to know which of its pages are not
/// as they were: behind the first of a file, the file reads as zeroes. So nobody
/// who looks further finds anything there.
#[derive(Debug, Default)]
pub(crate) struct Written(Mutex<BTreeMap<PathBuf, Vec<u8>>>);

impl Written {
    /// Where the first page ends that is not as it was written.
    fn first_bad_end(&self, file: &FlawedFile) -> io::Result<Option<usize>> {
        let written = state(&self.0).get(&file.path).cloned().unwrap_or_default();
        let mut now = vec![0; written.len()];
        let mut read = 0;
        while let Some(rest) = now.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match file.inner.read_at(rest, read as u64)? {
                0 => break,
                more => read += more,
            }
        }
        let pages = written.chunks(PAGE_BYTES).zip(now.chunks(PAGE_BYTES));
        let bad = pages.into_iter().position(|(written, now)| written != now);
        Ok(bad.map(|page| (page + 1) * PAGE_BYTES))
    }
}

impl Flaw for Written {
    fn created(&self, path: &Path) {
        state(&self.0).remove(path);
    }

    fn write_at(&self, file: &FlawedFile, buf: &[u8], position: u64) -> io::Result<usize> {
        let count = file.inner.write_at(buf, position)?;
        if file.role == Role::Journal {
            let start = usize::try_from(position).unwrap_or_default();
            let mut files = state(&self.0);
            let content = files.entry(file.path.clone()).or_default();
            content.resize(content.len().max(start + count), 0);
            content.splice(start..start + count, buf.iter().copied().take(count));
        }
        Ok(count)
    }

    fn read_at(&self, file: &FlawedFile, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let count = file.inner.read_at(buf, position)?;
        if file.role == Role::Journal
            && let Some(end) = self.first_bad_end(file)?
        {
            let start = usize::try_from(position).unwrap_or_default();
            let shown = end.saturating_sub(start).min(count);
            if let Some(hidden) = buf.get_mut(shown..count) {
                hidden.fill(0);
            }
        }
        Ok(count)
    }
}
