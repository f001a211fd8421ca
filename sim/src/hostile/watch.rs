//! The file system of a case: counts what is asked of it, and ends what does not end.

use merkql::env::{Access, DirEntry, File, FileSystem, Lock};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What was asked of a file system, and how much may be.
#[derive(Debug)]
pub(crate) struct Meter {
    operations: AtomicU64,
    limit: u64,
    largest_read: AtomicU64,
}

impl Meter {
    /// Lets so many operations go through, and fails all that follow.
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            operations: AtomicU64::default(),
            limit,
            largest_read: AtomicU64::default(),
        })
    }

    pub(crate) fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    /// Whether more was asked than may be: something goes round in circles.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.operations() > self.limit
    }

    /// The largest buffer that was to be filled at once.
    pub(crate) fn largest_read(&self) -> u64 {
        self.largest_read.load(Ordering::Relaxed)
    }

    fn step(&self) -> io::Result<()> {
        if self.operations.fetch_add(1, Ordering::Relaxed) < self.limit {
            return Ok(());
        }
        Err(io::Error::other("more operations than any log of this size needs"))
    }
}

/// A file system that is metered.
#[derive(Debug)]
pub(crate) struct Metered<F> {
    inner: F,
    meter: Arc<Meter>,
}

impl<F: FileSystem> Metered<F> {
    pub(crate) fn new(inner: F, meter: &Arc<Meter>) -> Self {
        Self { inner, meter: Arc::clone(meter) }
    }

    fn file(&self, inner: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(MeteredFile { inner, meter: Arc::clone(&self.meter) })
    }
}

impl<F: FileSystem> FileSystem for Metered<F> {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.meter.step()?;
        self.inner.create_new(path).map(|file| self.file(file))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        self.meter.step()?;
        self.inner.open(path, access).map(|file| self.file(file))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.meter.step()?;
        self.inner.list(dir)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.meter.step()?;
        self.inner.create_dir(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.meter.step()?;
        self.inner.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.meter.step()?;
        self.inner.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.meter.step()?;
        self.inner.sync_dir(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.meter.step()?;
        self.inner.try_lock(path)
    }
}

#[derive(Debug)]
struct MeteredFile {
    inner: Arc<dyn File>,
    meter: Arc<Meter>,
}

impl File for MeteredFile {
    fn len(&self) -> io::Result<u64> {
        self.meter.step()?;
        self.inner.len()
    }

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.meter.step()?;
        self.meter.largest_read.fetch_max(buf.len() as u64, Ordering::Relaxed);
        self.inner.read_at(buf, position)
    }

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<usize> {
        self.meter.step()?;
        self.inner.write_at(buf, position)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.meter.step()?;
        self.inner.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.meter.step()?;
        self.inner.allocate(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.meter.step()?;
        self.inner.sync_data()
    }
}
