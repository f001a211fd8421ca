//! Bugs between the log and its files: a file system that does what it is asked,
//! but for one thing.

mod content;
mod order;
mod syncs;

use merkql::env::{Access, DirEntry, File, FileSystem, Lock};
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use content::Written;

/// Which thing is done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    JournalSyncSwallowed,
    PartitionSyncSwallowed,
    SegmentNameNotSynced,
    JournalNameNotSynced,
    JournalSyncDelayed,
    FailedSyncRetried,
    DirtyHandleClosed,
    SlotSyncDropped,
    JournalReusedEarly,
    ManifestBeforeFiles,
    SegmentRemovedEarly,
    BitFlipped,
    ZeroesBehindBadBlock,
}

impl Bug {
    /// The file system with this bug in it, as one process sees it. What was
    /// `written` to the journal is remembered from one process to the next.
    pub(crate) fn around(
        self,
        inner: Arc<dyn FileSystem>,
        written: &Arc<Written>,
    ) -> Arc<dyn FileSystem> {
        use syncs::Swallow;
        let flaw: Arc<dyn Flaw> = match self {
            Self::JournalSyncSwallowed => Arc::new(Swallow::Data(Role::Journal)),
            Self::PartitionSyncSwallowed => Arc::new(Swallow::Data(Role::Partition)),
            Self::JournalNameNotSynced => Arc::new(Swallow::Names(Role::Journal)),
            Self::SegmentNameNotSynced => Arc::new(Swallow::Names(Role::Partition)),
            Self::JournalSyncDelayed => Arc::<syncs::Delay>::default(),
            Self::FailedSyncRetried => Arc::new(syncs::Retry),
            Self::DirtyHandleClosed => Arc::new(syncs::LoseError),
            Self::SlotSyncDropped => Arc::<syncs::DropBetweenSlots>::default(),
            Self::JournalReusedEarly => Arc::<order::ReuseEarly>::default(),
            Self::ManifestBeforeFiles => Arc::<order::ManifestFirst>::default(),
            Self::SegmentRemovedEarly => Arc::new(order::RemoveEarly),
            Self::BitFlipped => Arc::<content::FlipBit>::default(),
            Self::ZeroesBehindBadBlock => Arc::clone(written) as Arc<dyn Flaw>,
        };
        Arc::new(Flawed { inner, flaw })
    }
}

/// What a file or a directory is to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The journal's folder, or a file in it.
    Journal,
    /// A partition's folder, or its records or hashes. Indexes are none of them.
    Partition,
    /// A slot of the manifest.
    Slot,
    Other,
}

fn role_of(path: &Path) -> Role {
    let names: Vec<&str> = path.iter().filter_map(|name| name.to_str()).collect();
    match names.as_slice() {
        [.., "journal"] | [.., "journal", _] => Role::Journal,
        [.., "manifest.a" | "manifest.b"] => Role::Slot,
        [.., "topics", _, _] => Role::Partition,
        [.., "topics", _, _, _] if path.extension().is_none_or(|kind| kind == "log") => {
            Role::Partition
        }
        _ => Role::Other,
    }
}

/// An operation is passed on unless the flaw is in it.
trait Flaw: Debug + Send + Sync {
    fn created(&self, _path: &Path) {}

    fn write_at(&self, file: &FlawedFile, buf: &[u8], position: u64) -> io::Result<usize> {
        file.inner.write_at(buf, position)
    }

    fn read_at(&self, file: &FlawedFile, buf: &mut [u8], position: u64) -> io::Result<usize> {
        file.inner.read_at(buf, position)
    }

    fn sync_data(&self, file: &FlawedFile) -> io::Result<()> {
        file.inner.sync_data()
    }

    fn sync_dir(&self, inner: &dyn FileSystem, path: &Path) -> io::Result<()> {
        inner.sync_dir(path)
    }

    fn remove_file(&self, inner: &dyn FileSystem, path: &Path) -> io::Result<()> {
        inner.remove_file(path)
    }
}

#[derive(Debug)]
struct Flawed {
    inner: Arc<dyn FileSystem>,
    flaw: Arc<dyn Flaw>,
}

#[derive(Debug)]
struct FlawedFile {
    path: PathBuf,
    role: Role,
    inner: Arc<dyn File>,
    disk: Arc<dyn FileSystem>,
    flaw: Arc<dyn Flaw>,
}

impl Flawed {
    fn file(&self, path: &Path, inner: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(FlawedFile {
            path: path.to_owned(),
            role: role_of(path),
            inner,
            disk: Arc::clone(&self.inner),
            flaw: Arc::clone(&self.flaw),
        })
    }
}

impl FileSystem for Flawed {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = self.inner.create_new(path)?;
        self.flaw.created(path);
        Ok(self.file(path, file))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        self.inner.open(path, access).map(|file| self.file(path, file))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.list(dir)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.flaw.remove_file(&*self.inner, path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.flaw.sync_dir(&*self.inner, path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.inner.try_lock(path)
    }
}

impl File for FlawedFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn is_empty(&self) -> io::Result<bool> {
        self.inner.is_empty()
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.flaw.read_at(self, buf, position)
    }

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<usize> {
        self.flaw.write_at(self, buf, position)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.inner.allocate(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.flaw.sync_data(self)
    }
}

/// Syncs that were promised and are still to be done.
#[derive(Debug, Default)]
struct Owed(Mutex<Vec<Arc<dyn File>>>);

impl Owed {
    fn owe(&self, file: &FlawedFile) {
        state(&self.0).push(Arc::clone(&file.inner));
    }

    fn settle(&self) -> io::Result<()> {
        let owed = std::mem::take(&mut *state(&self.0));
        owed.iter().try_for_each(|file| file.sync_data())
    }
}

fn state<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
