//! Open files within a budget.
//!
//! A log with a thousand partitions has thousands of files, a process perhaps a
//! thousand handles. So the log holds [`PooledFile`]s, which open their file
//! when it is needed, and a [`FilePool`] closes the least recently used ones. A
//! file with unsynced writes is synced before its handle goes: an error of its
//! writeback could otherwise be lost with the handle.

use super::latch::Latch;
use crate::env::exact::{read_exact_at, read_up_to, write_all_at};
use crate::env::{Access, File, FileSystem};
use crate::error::{Error, IoContext, Result};
use crate::sync::{Mutex, lock};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// Opens and closes the files of a log.
#[derive(Debug)]
pub(crate) struct FilePool {
    file_system: Arc<dyn FileSystem>,
    open_max: usize,
    open: Mutex<Vec<Weak<PooledFile>>>,
    clock: AtomicU64,
    /// Set once the broker is closed: the directory may have a new owner.
    closed: AtomicBool,
    latch: Arc<Latch>,
}

/// Who needs a handle, and so what may be done to get one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// A reader only closes clean files. Where there is none, it goes over the
    /// budget rather than sync in the middle of somebody's commit.
    Read,
    /// The committing caller, of which there is one at a time.
    Write,
}

impl FilePool {
    pub(crate) fn new(
        file_system: Arc<dyn FileSystem>,
        open_max: usize,
        latch: Arc<Latch>,
    ) -> Arc<Self> {
        Arc::new(Self {
            file_system,
            open_max,
            open: Mutex::default(),
            clock: AtomicU64::default(),
            closed: AtomicBool::default(),
            latch,
        })
    }

    pub(crate) fn file_system(&self) -> &dyn FileSystem {
        &*self.file_system
    }

    pub(crate) fn latch(&self) -> &Latch {
        &self.latch
    }

    /// From here on every use of a file fails with [`Error::Closed`].
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for file in lock(&self.open).drain(..).filter_map(|file| file.upgrade()) {
            *lock(&file.handle) = None;
        }
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes room for one more handle, and notes whose it is.
    fn admit(&self, newcomer: &Arc<PooledFile>, purpose: Purpose) -> Result<()> {
        let mut open = lock(&self.open);
        open.retain(|file| file.upgrade().is_some_and(|file| lock(&file.handle).is_some()));
        while open.len() >= self.open_max {
            let files: Vec<_> = open.iter().filter_map(Weak::upgrade).collect();
            let oldest = files.iter().enumerate().min_by_key(|(_, file)| file.eviction_rank());
            let Some((index, file)) = oldest else { break };
            if file.is_dirty() && self.latch.check().is_ok() {
                if purpose == Purpose::Read {
                    break;
                }
                file.sync()?;
            }
            *lock(&file.handle) = None;
            open.swap_remove(index);
        }
        open.push(Arc::downgrade(newcomer));
        Ok(())
    }
}

/// A file of the log, open or not.
#[derive(Debug)]
pub(crate) struct PooledFile {
    path: PathBuf,
    handle: Mutex<Option<Arc<dyn File>>>,
    dirty: AtomicBool,
    last_use: AtomicU64,
    pool: Arc<FilePool>,
}

impl PooledFile {
    /// A file that exists; it is opened at its first use.
    pub(crate) fn existing(pool: &Arc<FilePool>, path: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            path,
            handle: Mutex::default(),
            dirty: AtomicBool::default(),
            last_use: AtomicU64::default(),
            pool: Arc::clone(pool),
        })
    }

    /// Creates the file. Its name is durable only after a sync of its directory.
    pub(crate) fn create(pool: &Arc<FilePool>, path: PathBuf) -> Result<Arc<Self>> {
        let file = Self::existing(pool, path);
        pool.admit(&file, Purpose::Write)?;
        let handle = pool.file_system.create_new(&file.path).at("create", &file.path)?;
        *lock(&file.handle) = Some(handle);
        Ok(file)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn pool(&self) -> &Arc<FilePool> {
        &self.pool
    }

    /// Creates the file if it is not there; returns whether it was created.
    pub(crate) fn ensure_exists(self: &Arc<Self>) -> Result<bool> {
        match self.handle(Purpose::Write) {
            Ok(_) => Ok(false),
            Err(error) if error.is_not_found() => {
                let created = self.pool.file_system.create_new(&self.path);
                *lock(&self.handle) = Some(created.at("create", &self.path)?);
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// Keeps a handle open for a commit, which may no longer fail for want of one.
    pub(crate) fn pin(self: &Arc<Self>) -> Result<Pin> {
        self.handle(Purpose::Write).map(Pin)
    }

    fn handle(self: &Arc<Self>, purpose: Purpose) -> Result<Arc<dyn File>> {
        if self.pool.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        self.last_use.store(self.pool.tick(), Ordering::Relaxed);
        if let Some(handle) = &*lock(&self.handle) {
            return Ok(Arc::clone(handle));
        }
        self.pool.admit(self, purpose)?;
        let opened = self.pool.file_system.open(&self.path, Access::ReadWrite);
        let opened = opened.at("open", &self.path)?;
        Ok(Arc::clone(lock(&self.handle).get_or_insert(opened)))
    }

    /// A second handle, for a look at the file that no cache of the first can spoil.
    pub(crate) fn fresh_handle(&self) -> Result<Arc<dyn File>> {
        self.pool.file_system.open(&self.path, Access::Read).at("open", &self.path)
    }

    pub(crate) fn len(self: &Arc<Self>) -> Result<u64> {
        self.handle(Purpose::Read)?.len().at("read the length of", &self.path)
    }

    pub(crate) fn read_exact(self: &Arc<Self>, buf: &mut [u8], position: u64) -> Result<()> {
        read_exact_at(&*self.handle(Purpose::Read)?, buf, position).at("read", &self.path)
    }

    pub(crate) fn read_up_to(self: &Arc<Self>, buf: &mut [u8], position: u64) -> Result<usize> {
        read_up_to(&*self.handle(Purpose::Read)?, buf, position).at("read", &self.path)
    }

    pub(crate) fn write(self: &Arc<Self>, bytes: &[u8], position: u64) -> Result<()> {
        let handle = self.handle(Purpose::Write)?;
        self.dirty.store(true, Ordering::Release);
        let written = write_all_at(&*handle, bytes, position).at("write", &self.path);
        // Again: a reader's look at the flag may have come before the write.
        self.dirty.store(true, Ordering::Release);
        written
    }

    pub(crate) fn allocate(self: &Arc<Self>, len: u64) -> Result<()> {
        let handle = self.handle(Purpose::Write)?;
        self.dirty.store(true, Ordering::Release);
        handle.allocate(len).at("allocate space for", &self.path)
    }

    pub(crate) fn set_len(self: &Arc<Self>, len: u64) -> Result<()> {
        let handle = self.handle(Purpose::Write)?;
        self.dirty.store(true, Ordering::Release);
        handle.set_len(len).at("cut", &self.path)
    }

    /// Makes everything written so far durable. A failure must latch the log:
    /// what the sync covered is lost for good, and no second sync can tell.
    pub(crate) fn sync(self: &Arc<Self>) -> Result<()> {
        let handle = self.handle(Purpose::Write)?;
        self.dirty.store(false, Ordering::Release);
        let synced = handle.sync_data().at("sync", &self.path);
        synced.inspect_err(|error| self.pool.latch.set(error))
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Acquire)
    }

    /// Clean files are closed before dirty ones, then the longest unused first.
    fn eviction_rank(&self) -> (bool, u64) {
        (self.is_dirty(), self.last_use.load(Ordering::Relaxed))
    }
}

/// Keeps a file open as long as it lives.
#[derive(Debug)]
pub(crate) struct Pin(#[expect(dead_code, reason = "held, never used")] Arc<dyn File>);
