//! A file system that changes nothing, and reads what it can.
//!
//! Where the disk refuses a part of a partition's file, zeroes stand for its sectors, so
//! that damage takes what it covers and the rest is judged. The journal is read as opening
//! reads it, which gives up there.

use crate::env::exact::read_sectors_up_to;
use crate::env::{Access, DirEntry, File, FileSystem, Lock};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

/// Reads through another file system, and refuses every change.
#[derive(Debug)]
pub(super) struct ReadOnly {
    pub(super) inner: Arc<dyn FileSystem>,
    /// Whether zeroes stand for what cannot be read.
    pub(super) fills: bool,
}

fn refused<T>() -> io::Result<T> {
    Err(ErrorKind::ReadOnlyFilesystem.into())
}

impl FileSystem for ReadOnly {
    fn create_new(&self, _path: &Path) -> io::Result<Arc<dyn File>> {
        refused()
    }

    fn open(&self, path: &Path, _access: Access) -> io::Result<Arc<dyn File>> {
        let file = self.inner.open(path, Access::Read)?;
        Ok(Arc::new(ReadOnlyFile { file, fills: self.fills }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.list(dir)
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
        self.inner.try_lock(path)
    }
}

#[derive(Debug)]
struct ReadOnlyFile {
    file: Arc<dyn File>,
    fills: bool,
}

impl File for ReadOnlyFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn is_empty(&self) -> io::Result<bool> {
        self.file.is_empty()
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        match self.file.read_at(buf, position) {
            Err(error) if self.fills && error.kind() != ErrorKind::Interrupted => {
                read_sectors_up_to(&*self.file, buf, position)
            }
            read => read,
        }
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
