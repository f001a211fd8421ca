//! The operating system's file system with faults: the n-th operation of a kind
//! fails, the disk fills up, reads and writes are short or interrupted.
//!
//! Nothing is really synced, which makes sweeps quick: the process lives on, so
//! the page cache stays. A sync that is to fail can take back what it covered.

use super::Rng;
use merkql::env::os::OsFileSystem;
use merkql::env::{Access, DirEntry, File, FileSystem, Lock};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Create,
    Open,
    List,
    CreateDir,
    Remove,
    SyncDir,
    Lock,
    Len,
    Read,
    Write,
    SetLen,
    Allocate,
    Sync,
}

/// Operations that change something, and opening, which may fail at any time.
pub(crate) const FALLIBLE: [Kind; 9] = [
    Kind::Create,
    Kind::Open,
    Kind::CreateDir,
    Kind::Remove,
    Kind::SyncDir,
    Kind::Write,
    Kind::SetLen,
    Kind::Allocate,
    Kind::Sync,
];

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// With nothing done.
    Clean,
    /// With half of it done: half of a write or of an allocation, all of the rest.
    Torn,
    /// With everything since the file's last sync taken back: a failed sync that
    /// throws the pages away. On other operations, as [`Manner::Clean`].
    Reverted,
}

/// Which operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Counts from 0; of all in [`FALLIBLE`] together where `kind` is `None`.
    pub(crate) number: u64,
    pub(crate) kind: Option<Kind>,
    pub(crate) manner: Manner,
    /// Whether all later operations of the kind fail too.
    pub(crate) stays: bool,
}

/// What a write was before, and the length of the file then.
#[derive(Debug)]
struct Undo {
    position: u64,
    bytes: Vec<u8>,
    len: u64,
}

#[derive(Debug, Default)]
struct State {
    counts: BTreeMap<Kind, u64>,
    count: u64,
    fault: Option<Fault>,
    fired: u64,
    short: Option<Rng>,
    /// How many bytes files may take together, and how many they take.
    room: Option<u64>,
    taken: u64,
    undo: BTreeMap<PathBuf, Vec<Undo>>,
}

/// A file system that does as it is told.
#[derive(Debug, Clone, Default)]
pub(crate) struct FaultFs {
    state: Arc<Mutex<State>>,
}

impl FaultFs {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Lets this fault happen, counting operations from now on.
    pub(crate) fn arm(&self, fault: Fault) {
        let mut state = self.state();
        state.counts.clear();
        state.count = 0;
        state.fault = Some(fault);
    }

    /// From now on nothing fails.
    pub(crate) fn heal(&self) {
        self.state().fault = None;
    }

    /// Reads and writes are short, or interrupted, as the seed has it.
    pub(crate) fn chop(&self, seed: u64) {
        self.state().short = Some(Rng(seed));
    }

    /// Gives the files this much room together.
    pub(crate) fn set_room(&self, bytes: Option<u64>) {
        self.state().room = bytes;
    }

    /// How much room the files take.
    pub(crate) fn taken(&self) -> u64 {
        self.state().taken
    }

    /// How many operations have failed.
    pub(crate) fn fired(&self) -> u64 {
        self.state().fired
    }

    /// How many operations of a kind there were since the arming, or of all.
    pub(crate) fn count(&self, kind: Option<Kind>) -> u64 {
        let state = self.state();
        kind.map_or(state.count, |kind| state.counts.get(&kind).copied().unwrap_or_default())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an operation; the manner in which it is to fail, if it is.
    fn enter(&self, kind: Kind) -> Option<Manner> {
        let mut state = self.state();
        let of_all = state.count;
        state.count += u64::from(FALLIBLE.contains(&kind));
        let of_kind = state.counts.entry(kind).or_default();
        let number = *of_kind;
        *of_kind += 1;
        let concerns = |fault: &Fault| match fault.kind {
            Some(of) => of == kind,
            None => FALLIBLE.contains(&kind),
        };
        let fault = state.fault.filter(concerns)?;
        let number = if fault.kind.is_some() { number } else { of_all };
        let fails = number == fault.number || fault.stays && number > fault.number;
        state.fired += u64::from(fails);
        fails.then_some(fault.manner)
    }

    fn refuse(&self, kind: Kind) -> io::Result<()> {
        self.enter(kind).map_or(Ok(()), |_| Err(broken()))
    }

    fn file(&self, path: &Path, inner: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(FaultFile { fs: self.clone(), path: path.to_owned(), inner })
    }
}

fn broken() -> io::Error {
    // What Linux calls EIO.
    io::Error::from_raw_os_error(5)
}

impl FileSystem for FaultFs {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        match self.enter(Kind::Create) {
            Some(Manner::Torn) => OsFileSystem.create_new(path).and(Err(broken())),
            Some(_) => Err(broken()),
            None => Ok(self.file(path, OsFileSystem.create_new(path)?)),
        }
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        self.refuse(Kind::Open)?;
        Ok(self.file(path, OsFileSystem.open(path, access)?))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.refuse(Kind::List)?;
        OsFileSystem.list(dir)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match self.enter(Kind::CreateDir) {
            Some(Manner::Torn) => OsFileSystem.create_dir(path).and(Err(broken())),
            Some(_) => Err(broken()),
            None => OsFileSystem.create_dir(path),
        }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let manner = self.enter(Kind::Remove);
        if matches!(manner, Some(Manner::Clean | Manner::Reverted)) {
            return Err(broken());
        }
        let len = OsFileSystem.open(path, Access::Read)?.len()?;
        OsFileSystem.remove_file(path)?;
        let mut state = self.state();
        state.undo.remove(path);
        state.taken = state.taken.saturating_sub(len);
        manner.map_or(Ok(()), |_| Err(broken()))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.refuse(Kind::Remove)?;
        OsFileSystem.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.refuse(Kind::SyncDir)?;
        OsFileSystem.list(path).map(drop)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.refuse(Kind::Lock)?;
        OsFileSystem.try_lock(path)
    }
}

#[derive(Debug)]
struct FaultFile {
    fs: FaultFs,
    path: PathBuf,
    inner: Arc<dyn File>,
}

impl FaultFile {
    /// How much of a change that ends at `end` there is room for.
    fn room_up_to(&self, end: u64) -> io::Result<u64> {
        let len = self.inner.len()?;
        let mut state = self.fs.state();
        let growth = end.saturating_sub(len);
        let free = state.room.map_or(u64::MAX, |room| room.saturating_sub(state.taken));
        let granted = growth.min(free);
        state.taken += granted;
        Ok(end - (growth - granted))
    }

    fn note_undo(&self, position: u64, count: usize) -> io::Result<()> {
        let mut bytes = vec![0; count];
        let read = self.inner.read_at(&mut bytes, position)?;
        bytes.truncate(read);
        let undo = Undo { position, bytes, len: self.inner.len()? };
        self.fs.state().undo.entry(self.path.clone()).or_default().push(undo);
        Ok(())
    }

    fn write_fully(&self, buf: &[u8], position: u64) -> io::Result<usize> {
        let end = position + buf.len() as u64;
        let possible = self.room_up_to(end)?;
        let count = usize::try_from(possible.saturating_sub(position)).unwrap();
        if count == 0 && !buf.is_empty() {
            return Err(ErrorKind::StorageFull.into());
        }
        self.note_undo(position, count)?;
        self.inner.write_at(&buf[..count], position)
    }

    fn revert(&self) -> io::Result<()> {
        let undos = self.fs.state().undo.remove(&self.path).unwrap_or_default();
        for undo in undos.into_iter().rev() {
            self.inner.write_at(&undo.bytes, undo.position)?;
            self.inner.set_len(undo.len)?;
        }
        Ok(())
    }
}

impl File for FaultFile {
    fn len(&self) -> io::Result<u64> {
        self.fs.refuse(Kind::Len)?;
        self.inner.len()
    }

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.fs.refuse(Kind::Read)?;
        let count = self.fs.state().chopped(buf.len())?;
        self.inner.read_at(&mut buf[..count], position)
    }

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<usize> {
        match self.fs.enter(Kind::Write) {
            Some(Manner::Torn) => {
                self.write_fully(&buf[..buf.len() / 2], position)?;
                Err(broken())
            }
            Some(_) => Err(broken()),
            None => {
                let count = self.fs.state().chopped(buf.len())?;
                self.write_fully(&buf[..count], position)
            }
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let manner = self.fs.enter(Kind::SetLen);
        if matches!(manner, Some(Manner::Clean | Manner::Reverted)) {
            return Err(broken());
        }
        let before = self.inner.len()?;
        let cut = usize::try_from(before.saturating_sub(len)).unwrap();
        self.note_undo(len.min(before), cut)?;
        self.inner.set_len(len)?;
        let mut state = self.fs.state();
        state.taken = (state.taken + len).saturating_sub(before);
        manner.map_or(Ok(()), |_| Err(broken()))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let manner = self.fs.enter(Kind::Allocate);
        let present = self.inner.len()?;
        let goal = match manner {
            None => len,
            Some(Manner::Torn) => present + len.saturating_sub(present) / 2,
            Some(_) => return Err(broken()),
        };
        if goal > present {
            let possible = self.room_up_to(goal)?;
            self.note_undo(present, 0)?;
            self.inner.allocate(possible)?;
            if possible < goal {
                return Err(ErrorKind::StorageFull.into());
            }
        }
        manner.map_or(Ok(()), |_| Err(broken()))
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.fs.enter(Kind::Sync) {
            Some(Manner::Reverted) => self.revert().and(Err(broken())),
            Some(_) => Err(broken()),
            None => {
                self.fs.state().undo.remove(&self.path);
                Ok(())
            }
        }
    }
}

impl State {
    /// How many of `count` bytes the next transfer moves.
    fn chopped(&mut self, count: usize) -> io::Result<usize> {
        let Some(random) = self.short.as_mut().filter(|_| count > 0) else { return Ok(count) };
        match random.below(4) {
            0 => Err(ErrorKind::Interrupted.into()),
            1 => Ok(count),
            _ => Ok(1 + usize::try_from(random.below(count as u64)).unwrap()),
        }
    }
}
