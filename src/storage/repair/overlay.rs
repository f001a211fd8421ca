//! A file system for a dry run: it shows another one, and keeps every change to itself.
//!
//! ```text
//! read   written through it? ── yes ─► what was written, in memory
//!                            └─ no ──► the file below, as far as it was not cut
//! write  kept in memory
//! ```
//!
//! So a dry run is the repair itself, and cannot tell anything else. It takes the
//! memory of what it changes: about what the journal holds, and the stored hashes of a
//! partition that has lost them.

use crate::env::exact::read_up_to;
use crate::env::{Access, DirEntry, EntryKind, File, FileSystem, Lock};
use crate::sync::{Mutex, MutexGuard, lock};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What became of a name.
#[derive(Debug, Clone)]
enum Node {
    Removed,
    Directory,
    File(Arc<Changed>),
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
        let name = path.file_name().and_then(OsStr::to_str);
        let entries = self.list(parent(path))?;
        if entries.iter().any(|entry| Some(entry.name.as_str()) == name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        Ok(())
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl FileSystem for Overlay {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.require_free(path)?;
        let content = Arc::new(Changed::default());
        self.nodes().insert(path.to_owned(), Node::File(Arc::clone(&content)));
        Ok(Arc::new(Handle { content, access: Access::ReadWrite }))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        let mut nodes = self.nodes();
        let content = match nodes.get(path) {
            Some(Node::Removed) => return Err(ErrorKind::NotFound.into()),
            Some(Node::Directory) => return Err(ErrorKind::IsADirectory.into()),
            Some(Node::File(content)) => Arc::clone(content),
            None if access == Access::Read => return self.below.open(path, access),
            None => {
                let below = self.below.open(path, Access::Read)?;
                let content = Arc::new(Changed::over(below)?);
                nodes.insert(path.to_owned(), Node::File(Arc::clone(&content)));
                content
            }
        };
        Ok(Arc::new(Handle { content, access }))
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
struct Changed(Mutex<Content>);

#[derive(Debug, Default)]
struct Content {
    below: Option<Arc<dyn File>>,
    /// How much of the file below still shows.
    below_len: u64,
    len: u64,
    /// What was written, by position; none over another.
    pieces: BTreeMap<u64, Vec<u8>>,
}

impl Changed {
    fn over(below: Arc<dyn File>) -> io::Result<Self> {
        let len = below.len()?;
        let content = Content { below: Some(below), below_len: len, len, pieces: BTreeMap::new() };
        Ok(Self(Mutex::new(content)))
    }
}

impl Content {
    /// Fills `buf` with what still shows of the file below, and zeroes behind it.
    fn read_below(&self, buf: &mut [u8], position: u64) -> io::Result<()> {
        let shown = distance(position, self.below_len);
        let (front, behind) = buf.split_at_mut(shown.min(buf.len()));
        behind.fill(0);
        match &self.below {
            Some(below) => read_up_to(&**below, front, position).map(drop),
            None => Ok(()),
        }
    }

    /// What was written at a position, as far as it goes on.
    fn piece_at(&self, position: u64) -> Option<&[u8]> {
        let (start, piece) = self.pieces.range(..=position).next_back()?;
        piece.get(distance(*start, position)..).filter(|rest| !rest.is_empty())
    }

    fn read(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let count = buf.len().min(distance(position, self.len));
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..count).filter(|rest| !rest.is_empty()) {
            let at = position + done as u64;
            if let Some(piece) = self.piece_at(at) {
                done += piece.len().min(rest.len());
                rest.iter_mut().zip(piece).for_each(|(to, from)| *to = *from);
                continue;
            }
            // As it was asked for: a sector that fails takes no other with it.
            let next = self.pieces.range(at..).next();
            let step = next.map_or(usize::MAX, |(start, _)| distance(at, *start)).min(rest.len());
            let (front, _) = rest.split_at_mut(step);
            self.read_below(front, at)?;
            done += step;
        }
        Ok(count)
    }

    /// Forgets what was written between two positions.
    fn carve(&mut self, start: u64, end: u64) {
        let first = self.pieces.range(..start).next_back().map(|(first, _)| *first);
        let over = self.pieces.range(start..end).map(|(at, _)| *at);
        for at in first.into_iter().chain(over).collect::<Vec<_>>() {
            let Some(mut piece) = self.pieces.remove(&at) else { continue };
            if let Some(behind) = piece.get(distance(at, end)..).filter(|rest| !rest.is_empty()) {
                self.pieces.insert(end, behind.to_vec());
            }
            piece.truncate(distance(at, start));
            if !piece.is_empty() {
                self.pieces.insert(at, piece);
            }
        }
    }

    fn write(&mut self, buf: &[u8], position: u64) -> usize {
        let end = position + buf.len() as u64;
        self.carve(position, end);
        if !buf.is_empty() {
            self.pieces.insert(position, buf.to_vec());
        }
        self.len = self.len.max(end);
        buf.len()
    }

    fn set_len(&mut self, len: u64) {
        self.carve(len, u64::MAX);
        self.below_len = self.below_len.min(len);
        self.len = len;
    }
}

/// From one position to a later one; 0 to an earlier one.
fn distance(from: u64, to: u64) -> usize {
    usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX)
}

#[derive(Debug)]
struct Handle {
    content: Arc<Changed>,
    access: Access,
}

impl Handle {
    fn change(&self) -> io::Result<MutexGuard<'_, Content>> {
        match self.access {
            Access::Read => Err(ErrorKind::PermissionDenied.into()),
            Access::ReadWrite => Ok(lock(&self.content.0)),
        }
    }
}

impl File for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.content.0).len)
    }

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        lock(&self.content.0).read(buf, position)
    }

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<usize> {
        Ok(self.change()?.write(buf, position))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change()?.set_len(len);
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut content = self.change()?;
        content.len = content.len.max(len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}
