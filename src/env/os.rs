//! The operating system behind the seams: the only user of `std::fs`, of the
//! real clock and of the system's randomness.

#![allow(
    clippy::disallowed_methods,
    reason = "this file is where the seams meet the operating system"
)]

use super::{Access, Clock, DirEntry, Entropy, EntryKind, File, FileSystem, Lock, Signal};
use std::fs::{self, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How many zeroes one write of [`File::allocate`] carries.
const ZEROES_BYTES: usize = 1 << 16;
static ZEROES: [u8; ZEROES_BYTES] = [0; ZEROES_BYTES];

/// Where a file ends at the latest: the systems take positions as signed, and
/// Windows reads two of the negative ones as "at the end" and "at the cursor".
const LEN_MAX: u64 = i64::MAX.unsigned_abs();

/// The file system of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsFileSystem;

impl FileSystem for OsFileSystem {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(OsFile(file)))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        let opened = OpenOptions::new().read(true).write(access == Access::ReadWrite).open(path);
        // Opening a directory for reading succeeds on Unix, and is refused on
        // Windows with an error that says nothing of directories.
        let is_dir = match &opened {
            Ok(file) => file.metadata()?.is_dir(),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                fs::metadata(path).is_ok_and(|metadata| metadata.is_dir())
            }
            Err(_) => false,
        };
        if is_dir {
            return Err(ErrorKind::IsADirectory.into());
        }
        Ok(Arc::new(OsFile(opened?)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let kind = match entry.file_type() {
                Ok(kind) if kind.is_file() => EntryKind::File,
                Ok(kind) if kind.is_dir() => EntryKind::Directory,
                Ok(_) => EntryKind::Other,
                // Removed since the directory was read, on a file system that
                // keeps no types there; `NotFound` would mean the directory.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let name = entry.file_name().to_string_lossy().into_owned();
            entries.push(DirEntry { name, kind });
        }
        entries.sort();
        Ok(entries)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    #[cfg(unix)]
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    /// Windows has no call for it: NTFS journals its names by itself.
    #[cfg(not(unix))]
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::metadata(path).map(drop)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let mut options = OpenOptions::new();
        let options = options.read(true);
        let file = match options.clone().write(true).create(true).truncate(false).open(path) {
            // Who may only read can still see to it that nobody writes.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                options.open(path)?
            }
            opened => opened?,
        };
        match file.try_lock() {
            Ok(()) => Ok(Box::new(OsLock(file))),
            Err(TryLockError::WouldBlock) => Err(ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// A locked file.
#[derive(Debug)]
struct OsLock(fs::File);

impl Lock for OsLock {}

impl Drop for OsLock {
    /// Unlocks, and does not leave it to the closing of the file: a child that
    /// another thread is just starting has a copy of the handle until it runs
    /// its own program, and Windows unlocks a closed file when it gets to it.
    fn drop(&mut self) {
        // If this fails, the lock still goes with the last handle.
        let _ = self.0.unlock();
    }
}

/// A file of the operating system.
#[derive(Debug)]
struct OsFile(fs::File);

impl OsFile {
    #[cfg(unix)]
    fn system_read(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.0, buf, position)
    }

    #[cfg(windows)]
    fn system_read(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(&self.0, buf, position)
    }

    #[cfg(unix)]
    fn system_write(&self, buf: &[u8], position: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::write_at(&self.0, buf, position)
    }

    #[cfg(windows)]
    fn system_write(&self, buf: &[u8], position: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_write(&self.0, buf, position)
    }
}

impl File for OsFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let room = LEN_MAX.saturating_sub(position);
        let count = usize::try_from(room).map_or(buf.len(), |room| room.min(buf.len()));
        match buf.get_mut(..count) {
            Some(buf) if !buf.is_empty() => self.system_read(buf, position),
            _ => Ok(0),
        }
    }

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<usize> {
        refuse_past_max(position.saturating_add(buf.len() as u64))?;
        self.system_write(buf, position)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        refuse_past_max(len)?;
        self.0.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        refuse_past_max(len)?;
        let mut position = self.len()?;
        while position < len {
            let count = ZEROES_BYTES.min(usize::try_from(len - position).unwrap_or(ZEROES_BYTES));
            let zeroes = ZEROES.get(..count).unwrap_or(&ZEROES);
            super::exact::write_all_at(self, zeroes, position)?;
            position += count as u64;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

fn refuse_past_max(end: u64) -> io::Result<()> {
    if end > LEN_MAX {
        return Err(io::Error::new(ErrorKind::InvalidInput, "no file can be that long"));
    }
    Ok(())
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsClock;

impl Clock for OsClock {
    fn wall(&self) -> Duration {
        // A clock set before 1970 is read as 1970.
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn monotonic(&self) -> Duration {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        ORIGIN.get_or_init(Instant::now).elapsed()
    }

    fn wait(&self, signal: &Signal, seen: u64, deadline: Duration) -> bool {
        signal.block(seen, deadline.saturating_sub(self.monotonic()))
    }
}

/// The random source of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, buf: &mut [u8]) -> io::Result<()> {
        getrandom::fill(buf).map_err(io::Error::other)
    }
}
