//! Open files within a budget.
//!
//! A log with a thousand partitions has thousands of files, a process perhaps a
//! thousand handles. So the log holds [`PooledFile`]s, which open their file
//! when it is needed, and a [`FilePool`] closes the least recently used ones. A
//! file with unsynced writes is synced before its handle goes: an error of its
//! writeback could otherwise be lost with the handle. A file that is *given up*,
//! because the journal says that nothing in it is needed any more, is exempt: it
//! is closed at once, so that its room is free when its name goes, whoever still
//! holds the [`PooledFile`].

use super::latch::Latch;
use crate::env::exact::{read_exact_at, read_up_to, write_all_at};
use crate::env::{Access, File, FileSystem};
use crate::error::{Error, IoContext, Result};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard, lock};
use std::path::{Path, PathBuf};
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

    fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    /// Opens `newcomer` with `open`, after making room for its handle.
    fn admit(
        &self,
        newcomer: &Arc<PooledFile>,
        purpose: Purpose,
        open: impl FnOnce() -> Result<Arc<dyn File>>,
    ) -> Result<Arc<dyn File>> {
        let mut files = self.make_room(purpose)?;
        // Under the lock, so that nothing is opened or created behind a close.
        self.check_open()?;
        let mut slot = lock(&newcomer.handle);
        newcomer.check_wanted()?;
        if let Some(handle) = &*slot {
            return Ok(Arc::clone(handle));
        }
        let handle = open()?;
        *slot = Some(Arc::clone(&handle));
        files.push(Arc::downgrade(newcomer));
        Ok(handle)
    }

    /// Makes room for one more handle, as far as `purpose` allows.
    fn make_room(&self, purpose: Purpose) -> Result<MutexGuard<'_, Vec<Weak<PooledFile>>>> {
        // Each can be made dirty again while it is synced, but not for ever.
        for _ in 0..self.open_max {
            let (files, dirty) = self.close_clean();
            let Some(file) = dirty.filter(|_| purpose == Purpose::Write) else { return Ok(files) };
            // Readers who need a handle don't wait for the disk.
            drop(files);
            file.sync()?;
        }
        Ok(self.close_clean().0)
    }

    /// Closes the longest unused files until there is room for one more, or nothing more can
    /// be closed; ends with the first that has to be synced before.
    fn close_clean(&self) -> (MutexGuard<'_, Vec<Weak<PooledFile>>>, Option<Arc<PooledFile>>) {
        let mut files = lock(&self.open);
        files.retain(|file| file.upgrade().is_some_and(|file| lock(&file.handle).is_some()));
        while files.len() >= self.open_max {
            match self.evict_one(&mut files) {
                Eviction::Closed => {}
                Eviction::IsDirty(file) => return (files, Some(file)),
                Eviction::None => break,
            }
        }
        (files, None)
    }

    /// Closes the longest unused file; clean ones go before dirty ones, which
    /// have to be synced first.
    fn evict_one(&self, files: &mut Vec<Weak<PooledFile>>) -> Eviction {
        let candidates = files.iter().enumerate().filter_map(|(index, file)| {
            let file = file.upgrade()?;
            (file.pins.load(Ordering::Acquire) == 0).then(|| (file.eviction_rank(), index, file))
        });
        let Some((_, index, file)) = candidates.min_by_key(|(rank, index, _)| (*rank, *index))
        else {
            return Eviction::None;
        };
        let mut slot = lock(&file.handle);
        // A writer takes its handle under this lock, and is seen here.
        if file.is_dirty() && self.latch.check().is_ok() {
            drop(slot);
            return Eviction::IsDirty(file);
        }
        *slot = None;
        drop(slot);
        files.swap_remove(index);
        Eviction::Closed
    }
}

/// What came of an attempt to close a file.
enum Eviction {
    Closed,
    IsDirty(Arc<PooledFile>),
    None,
}

/// A file of the log, open or not.
#[derive(Debug)]
pub(crate) struct PooledFile {
    path: PathBuf,
    handle: Mutex<Option<Arc<dyn File>>>,
    /// Counts changes, before and after each. What a sync covers is what was
    /// counted when it began.
    changes: AtomicU64,
    synced_changes: AtomicU64,
    /// How many commits rely on the handle.
    pins: AtomicU64,
    last_use: AtomicU64,
    /// Nothing in it is needed any more; it is never opened again.
    given_up: AtomicBool,
    pool: Arc<FilePool>,
}

impl PooledFile {
    /// A file that exists; it is opened at its first use.
    pub(crate) fn existing(pool: &Arc<FilePool>, path: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            path,
            handle: Mutex::default(),
            changes: AtomicU64::default(),
            synced_changes: AtomicU64::default(),
            pins: AtomicU64::default(),
            last_use: AtomicU64::default(),
            given_up: AtomicBool::default(),
            pool: Arc::clone(pool),
        })
    }

    /// Creates the file. Its name is durable only after a sync of its directory.
    pub(crate) fn create(pool: &Arc<FilePool>, path: PathBuf) -> Result<Arc<Self>> {
        let file = Self::existing(pool, path);
        file.create_handle(Purpose::Write)?;
        Ok(file)
    }

    /// Closes the file for good: what it holds was deleted.
    pub(crate) fn give_up(&self) {
        // Set first: whoever takes the lock next opens it no more.
        self.given_up.store(true, Ordering::Release);
        *lock(&self.handle) = None;
    }

    fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    fn check_wanted(&self) -> Result<()> {
        let gone = || Error::io("open", &self.path, std::io::ErrorKind::NotFound.into());
        if self.is_given_up() { Err(gone()) } else { Ok(()) }
    }

    fn create_handle(self: &Arc<Self>, purpose: Purpose) -> Result<Arc<dyn File>> {
        let create = || self.pool.file_system.create_new(&self.path).at("create", &self.path);
        self.pool.admit(self, purpose, create)
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
            Err(error) if error.is_not_found() => self.create_handle(Purpose::Write).map(|_| true),
            Err(error) => Err(error),
        }
    }

    /// Keeps the file open for a commit, which may no longer fail for want of a
    /// handle.
    pub(crate) fn pin(self: &Arc<Self>) -> Result<Pin> {
        // Pinned first: a reader must not close it in between.
        self.pins.fetch_add(1, Ordering::AcqRel);
        let pin = Pin(Arc::clone(self));
        self.handle(Purpose::Write).map(|_| pin)
    }

    fn handle(self: &Arc<Self>, purpose: Purpose) -> Result<Arc<dyn File>> {
        self.pool.check_open()?;
        self.last_use.store(self.pool.tick(), Ordering::Relaxed);
        if let Some(handle) = &*lock(&self.handle) {
            return Ok(Arc::clone(handle));
        }
        let open = || self.pool.file_system.open(&self.path, Access::ReadWrite);
        self.pool.admit(self, purpose, || open().at("open", &self.path))
    }

    /// Changes the file: from the first moment on it counts as dirty.
    fn change<T>(
        self: &Arc<Self>,
        purpose: Purpose,
        change: impl FnOnce(&dyn File) -> Result<T>,
    ) -> Result<T> {
        self.changes.fetch_add(1, Ordering::AcqRel);
        let handle = self.handle(purpose).inspect_err(|_| {
            self.changes.fetch_sub(1, Ordering::AcqRel);
        })?;
        let changed = change(&*handle);
        self.changes.fetch_add(1, Ordering::AcqRel);
        changed
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
        self.write_as(Purpose::Write, bytes, position)
    }

    /// Writes from a reader's thread what is derived from the log.
    pub(crate) fn write_derived(self: &Arc<Self>, bytes: &[u8], position: u64) -> Result<()> {
        self.pool.latch.check()?;
        self.write_as(Purpose::Read, bytes, position)
    }

    fn write_as(self: &Arc<Self>, purpose: Purpose, bytes: &[u8], position: u64) -> Result<()> {
        let write = |file: &dyn File| write_all_at(file, bytes, position).at("write", &self.path);
        self.change(purpose, write)
    }

    pub(crate) fn allocate(self: &Arc<Self>, len: u64) -> Result<()> {
        let allocate = |file: &dyn File| file.allocate(len).at("allocate space for", &self.path);
        self.change(Purpose::Write, allocate)
    }

    pub(crate) fn set_len(self: &Arc<Self>, len: u64) -> Result<()> {
        self.change(Purpose::Write, |file| file.set_len(len).at("cut", &self.path))
    }

    /// Makes everything written so far durable. A failure must latch the log:
    /// what the sync covered is lost for good, and no second sync can tell.
    pub(crate) fn sync(self: &Arc<Self>) -> Result<()> {
        if self.is_given_up() {
            return Ok(());
        }
        let handle = self.handle(Purpose::Write)?;
        let covered = self.changes.load(Ordering::Acquire);
        let synced = handle.sync_data().at("sync", &self.path);
        synced.inspect_err(|error| self.pool.latch.set(error))?;
        self.synced_changes.fetch_max(covered, Ordering::AcqRel);
        Ok(())
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.synced_changes.load(Ordering::Acquire) < self.changes.load(Ordering::Acquire)
            && !self.is_given_up()
    }

    /// Clean files are closed before dirty ones, then the longest unused first.
    fn eviction_rank(&self) -> (bool, u64) {
        (self.is_dirty(), self.last_use.load(Ordering::Relaxed))
    }
}

/// Keeps a file open as long as it lives.
#[derive(Debug)]
pub(crate) struct Pin(Arc<PooledFile>);

impl Drop for Pin {
    fn drop(&mut self) {
        self.0.pins.fetch_sub(1, Ordering::AcqRel);
    }
}
