//! Counts what goes through the file-system seam.

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::env::os::OsFileSystem;
use merkql::env::{Access, DirEntry, File, FileSystem, Lock};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
struct Counters {
    syncs: AtomicU64,
    writes: AtomicU64,
    opens: AtomicU64,
}

/// How often something was asked of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Counts {
    pub(crate) syncs: u64,
    pub(crate) writes: u64,
    /// Of files, creations included.
    pub(crate) opens: u64,
}

/// The operating system's files, counted. Clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counted(Arc<Counters>);

impl Counted {
    /// A log whose files are counted.
    pub(crate) fn open(&self, dir: &Path) -> BrokerRef {
        let file_system = Arc::new(self.clone());
        Broker::open(BrokerConfig { file_system, ..BrokerConfig::new(dir) }).expect("the log opens")
    }

    /// The counts since the last look.
    pub(crate) fn take(&self) -> Counts {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        let Counters { syncs, writes, opens } = &*self.0;
        Counts { syncs: take(syncs), writes: take(writes), opens: take(opens) }
    }

    fn wrap(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        self.0.opens.fetch_add(1, Ordering::Relaxed);
        Arc::new(CountedFile { counters: Arc::clone(&self.0), file })
    }
}

impl FileSystem for Counted {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        OsFileSystem.create_new(path).map(|file| self.wrap(file))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        OsFileSystem.open(path, access).map(|file| self.wrap(file))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        OsFileSystem.list(dir)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        OsFileSystem.create_dir(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        OsFileSystem.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        OsFileSystem.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.syncs.fetch_add(1, Ordering::Relaxed);
        OsFileSystem.sync_dir(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        OsFileSystem.try_lock(path)
    }
}

#[derive(Debug)]
struct CountedFile {
    counters: Arc<Counters>,
    file: Arc<dyn File>,
}

impl File for CountedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn is_empty(&self) -> io::Result<bool> {
        self.file.is_empty()
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buf, position)
    }

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<usize> {
        self.counters.writes.fetch_add(1, Ordering::Relaxed);
        self.file.write_at(buf, position)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        self.file.sync_data()
    }
}
