//! A file system that changes nothing, and reads what it can.
//!
//! Where the disk refuses a part, zeroes stand for its sectors, so that damage takes
//! what it covers and the rest is judged.

use crate::env::{Access, DirEntry, File, FileSystem, Lock};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

const SECTOR_BYTES: usize = 512;

/// Reads through another file system, and refuses every change.
#[derive(Debug)]
pub(crate) struct ReadOnly(pub(crate) Arc<dyn FileSystem>);

fn refused<T>() -> io::Result<T> {
    Err(ErrorKind::ReadOnlyFilesystem.into())
}

impl FileSystem for ReadOnly {
    fn create_new(&self, _path: &Path) -> io::Result<Arc<dyn File>> {
        refused()
    }

    fn open(&self, path: &Path, _access: Access) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(ReadOnlyFile(self.0.open(path, Access::Read)?)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.0.list(dir)
    }

    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    fn remove_file(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    fn remove_dir(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    /// Taken for real: a lock file that is there is not changed by it.
    fn try_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.0.try_lock(path)
    }
}

#[derive(Debug)]
struct ReadOnlyFile(Arc<dyn File>);

impl File for ReadOnlyFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn is_empty(&self) -> io::Result<bool> {
        self.0.is_empty()
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        match self.0.read_at(buf, position) {
            Err(error) if error.kind() != ErrorKind::Interrupted => {}
            read => return read,
        }
        let len = self.0.len()?;
        let mut filled = 0;
        // Up to the next boundary first, then sector by sector.
        while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let at = position + filled as u64;
            let left = usize::try_from(len.saturating_sub(at)).unwrap_or(usize::MAX);
            let into_sector = usize::try_from(at % SECTOR_BYTES as u64).unwrap_or_default();
            let count = (SECTOR_BYTES - into_sector).min(rest.len()).min(left);
            let Some(sector) = rest.get_mut(..count).filter(|sector| !sector.is_empty()) else {
                break;
            };
            if crate::env::exact::read_exact_at(&*self.0, sector, at).is_err() {
                sector.fill(0);
            }
            filled += count;
        }
        Ok(filled)
    }

    fn write_at(&self, _buf: &[u8], _position: u64) -> io::Result<usize> {
        refused()
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        refused()
    }

    fn allocate(&self, _len: u64) -> io::Result<()> {
        refused()
    }

    fn sync_data(&self) -> io::Result<()> {
        refused()
    }
}
