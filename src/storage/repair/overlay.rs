//! A file system for a dry run: it shows another one, and keeps every change to itself.
//!
//! ```text
//! read   page changed? ── yes ─► the page in memory
//!                      └─ no ──► the file below, as far as it was not cut
//! write  the pages that it touches, in memory
//! ```
//!
//! So a dry run is the repair itself, and cannot tell anything else. It takes the
//! memory of what it changes, which is bounded by the journal, not by the log.

use crate::env::exact::read_up_to;
use crate::env::{Access, DirEntry, EntryKind, File, FileSystem, Lock};
use crate::sync::{Mutex, MutexGuard, lock};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const PAGE_BYTES: u64 = 4096;
const PAGE: usize = 4096;

/// What became of a name.
#[derive(Debug, Clone)]
enum Node {
    Removed,
    Directory,
    File(Arc<Pages>),
}

/// Shows what is below, with the changes that were made through it.
#[derive(Debug)]
pub(super) struct Overlay {
    below: Arc<dyn FileSystem>,
    nodes: Mutex<BTreeMap<PathBuf, Node>>,
}

impl Overlay {
    pub(super) fn new(below: Arc<dyn FileSystem>) -> Self {
        Self { below, nodes: Mutex::default() }
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Node>> {
        lock(&self.nodes)
    }

    /// What the name stands for, changes included.
    fn kind(&self, path: &Path) -> io::Result<EntryKind> {
        match self.nodes().get(path) {
            Some(Node::Removed) => return Err(ErrorKind::NotFound.into()),
            Some(Node::Directory) => return Ok(EntryKind::Directory),
            Some(Node::File(_)) => return Ok(EntryKind::File),
            None => {}
        }
        let (dir, name) = (parent(path), path.file_name().and_then(OsStr::to_str));
        if matches!(self.nodes().get(dir), Some(Node::Removed | Node::Directory)) {
            return Err(ErrorKind::NotFound.into());
        }
        let entries = self.below.list(dir)?;
        let found = entries.iter().find(|entry| Some(entry.name.as_str()) == name);
        found.map(|entry| entry.kind).ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// Refuses a name that is taken, and one in no directory.
    fn require_free(&self, path: &Path) -> io::Result<()> {
        match self.kind(path) {
            Ok(_) => return Err(ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.list(parent(path)).map(drop)
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl FileSystem for Overlay {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.require_free(path)?;
        let pages = Arc::new(Pages::default());
        self.nodes().insert(path.to_owned(), Node::File(Arc::clone(&pages)));
        Ok(Arc::new(Handle { pages, access: Access::ReadWrite }))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        let mut nodes = self.nodes();
        let pages = match nodes.get(path) {
            Some(Node::Removed) => return Err(ErrorKind::NotFound.into()),
            Some(Node::Directory) => return Err(ErrorKind::IsADirectory.into()),
            Some(Node::File(pages)) => Arc::clone(pages),
            None if access == Access::Read => return self.below.open(path, access),
            None => {
                let below = self.below.open(path, Access::Read)?;
                let pages = Arc::new(Pages::over(below)?);
                nodes.insert(path.to_owned(), Node::File(Arc::clone(&pages)));
                pages
            }
        };
        Ok(Arc::new(Handle { pages, access }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let nodes = self.nodes();
        let below = match nodes.get(dir) {
            Some(Node::Removed) => return Err(ErrorKind::NotFound.into()),
            Some(Node::File(_)) => return Err(ErrorKind::NotADirectory.into()),
            Some(Node::Directory) => Vec::new(),
            None => self.below.list(dir)?,
        };
        let mut entries: BTreeMap<String, EntryKind> =
            below.into_iter().map(|entry| (entry.name, entry.kind)).collect();
        for (path, node) in nodes.iter().filter(|(path, _)| parent(path) == dir) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match node {
                Node::Removed => entries.remove(&name),
                Node::Directory => entries.insert(name, EntryKind::Directory),
                Node::File(_) => entries.insert(name, EntryKind::File),
            };
        }
        Ok(entries.into_iter().map(|(name, kind)| DirEntry { name, kind }).collect())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.require_free(path)?;
        self.nodes().insert(path.to_owned(), Node::Directory);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        if self.kind(path)? == EntryKind::Directory {
            return Err(ErrorKind::IsADirectory.into());
        }
        self.nodes().insert(path.to_owned(), Node::Removed);
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        if !self.list(path)?.is_empty() {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        self.nodes().insert(path.to_owned(), Node::Removed);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.list(path).map(drop)
    }

    /// The lock is taken for real. Where its file is gone it would have to be made:
    /// then nobody can have it.
    fn try_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        match self.kind(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Box::new(NoLock)),
            _ => self.below.try_lock(path),
        }
    }
}

/// In the place of a lock whose file does not exist.
#[derive(Debug)]
struct NoLock;

impl Lock for NoLock {}

/// A file that is changed.
#[derive(Debug, Default)]
struct Pages(Mutex<PagesState>);

#[derive(Debug, Default)]
struct PagesState {
    below: Option<Arc<dyn File>>,
    /// How much of the file below still shows.
    below_len: u64,
    len: u64,
    changed: BTreeMap<u64, Vec<u8>>,
}

impl Pages {
    fn over(below: Arc<dyn File>) -> io::Result<Self> {
        let len = below.len()?;
        let state =
            PagesState { below: Some(below), below_len: len, len, changed: BTreeMap::new() };
        Ok(Self(Mutex::new(state)))
    }
}

impl PagesState {
    /// What shows of a page, and zeroes behind it.
    fn page(&self, number: u64) -> io::Result<Vec<u8>> {
        if let Some(page) = self.changed.get(&number) {
            return Ok(page.clone());
        }
        let mut page = vec![0; PAGE];
        let position = number * PAGE_BYTES;
        let shown = self.below_len.saturating_sub(position).min(PAGE_BYTES);
        let shown = usize::try_from(shown).unwrap_or_default();
        if let (Some(below), Some(bytes)) = (&self.below, page.get_mut(..shown)) {
            read_up_to(&**below, bytes, position)?;
        }
        Ok(page)
    }

    fn read(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(position)).unwrap_or(usize::MAX);
        let count = buf.len().min(left);
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..count).filter(|rest| !rest.is_empty()) {
            let at = position + done as u64;
            let page = self.page(at / PAGE_BYTES)?;
            let start = usize::try_from(at % PAGE_BYTES).unwrap_or_default();
            let piece = page.get(start..).unwrap_or_default();
            let step = piece.len().min(rest.len());
            for (to, from) in rest.iter_mut().zip(piece) {
                *to = *from;
            }
            done += step;
        }
        Ok(count)
    }

    fn write(&mut self, buf: &[u8], position: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buf.get(done..).filter(|rest| !rest.is_empty()) {
            let at = position + done as u64;
            let mut page = self.page(at / PAGE_BYTES)?;
            let start = usize::try_from(at % PAGE_BYTES).unwrap_or_default();
            let room = page.get_mut(start..).unwrap_or_default();
            let step = room.len().min(rest.len());
            for (to, from) in room.iter_mut().zip(rest) {
                *to = *from;
            }
            self.changed.insert(at / PAGE_BYTES, page);
            done += step;
        }
        self.len = self.len.max(position + buf.len() as u64);
        Ok(buf.len())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        if len < self.len {
            let number = len / PAGE_BYTES;
            let mut page = self.page(number)?;
            let kept = usize::try_from(len % PAGE_BYTES).unwrap_or_default();
            page.iter_mut().skip(kept).for_each(|byte| *byte = 0);
            self.changed.retain(|at, _| *at < number);
            self.changed.insert(number, page);
            self.below_len = self.below_len.min(len);
        }
        self.len = len;
        Ok(())
    }
}

#[derive(Debug)]
struct Handle {
    pages: Arc<Pages>,
    access: Access,
}

impl Handle {
    fn change(&self) -> io::Result<MutexGuard<'_, PagesState>> {
        match self.access {
            Access::Read => Err(ErrorKind::PermissionDenied.into()),
            Access::ReadWrite => Ok(lock(&self.pages.0)),
        }
    }
}

impl File for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.pages.0).len)
    }

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        lock(&self.pages.0).read(buf, position)
    }

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<usize> {
        self.change()?.write(buf, position)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change()?.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut pages = self.change()?;
        pages.len = pages.len.max(len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}
