//! Everything that a disk and its process are at one moment.

use super::dir_node::{DirNode, NameChange};
use super::file_node::FileNode;
use super::gate::{CrashArm, CrashPoint};
use super::limits::Limits;
use super::trace::Trace;
use super::{InodeId, OpId};
use crate::clock::SimClock;
use crate::fault::{FaultId, FaultPlan};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Component, Path};
use std::sync::Arc;

/// The root directory.
pub(crate) const ROOT: InodeId = InodeId(0);

/// How much of removed files is kept, to turn up again in new ones.
const GRAVEYARD_BYTES: usize = 16 << 10;

#[derive(Debug, Clone)]
pub(crate) enum Node {
    File(FileNode),
    Dir(DirNode),
}

#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) nodes: BTreeMap<InodeId, Node>,
    next_inode: u64,
    pub(crate) io_ops: u64,
    pub(crate) changes: u64,
    /// Processes so far; handles and locks belong to one.
    pub(crate) incarnation: u64,
    /// The process has crashed, and nobody has said yet in what way.
    pub(crate) dead: bool,
    pub(crate) open: BTreeMap<InodeId, u64>,
    pub(crate) locks: BTreeSet<InodeId>,
    pub(crate) limits: Limits,
    pub(crate) crash: Option<CrashPoint>,
    pub(crate) crash_arms: Vec<CrashArm>,
    /// Which of them the process has died by.
    pub(crate) died_by: Option<u32>,
    /// The fault that the operation under way has met.
    pub(crate) struck: Option<FaultId>,
    pub(crate) plan: FaultPlan,
    /// Faults that whatever is done next meets.
    pub(crate) to_be_met: Vec<FaultId>,
    pub(crate) trace: Trace,
    pub(crate) clock: Option<Arc<SimClock>>,
    /// Content of files that were removed or cut, the last of it.
    pub(crate) graveyard: Vec<u8>,
    /// A hook is running, which is not to be run again by what it does.
    pub(crate) in_hook: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            nodes: BTreeMap::from([(ROOT, Node::Dir(DirNode::default()))]),
            next_inode: 1,
            io_ops: 0,
            changes: 0,
            incarnation: 1,
            dead: false,
            open: BTreeMap::new(),
            locks: BTreeSet::new(),
            limits: Limits::default(),
            crash: None,
            crash_arms: Vec::new(),
            died_by: None,
            struck: None,
            plan: FaultPlan::default(),
            to_be_met: Vec::new(),
            trace: Trace::default(),
            clock: None,
            graveyard: Vec::new(),
            in_hook: false,
        }
    }
}

impl State {
    pub(crate) fn file(&self, inode: InodeId) -> io::Result<&FileNode> {
        match self.nodes.get(&inode) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Dir(_)) => Err(ErrorKind::IsADirectory.into()),
            None => Err(stale()),
        }
    }

    pub(crate) fn file_mut(&mut self, inode: InodeId) -> io::Result<&mut FileNode> {
        match self.nodes.get_mut(&inode) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Dir(_)) => Err(ErrorKind::IsADirectory.into()),
            None => Err(stale()),
        }
    }

    pub(crate) fn dir(&self, inode: InodeId) -> io::Result<&DirNode> {
        match self.nodes.get(&inode) {
            Some(Node::Dir(dir)) => Ok(dir),
            Some(Node::File(_)) => Err(ErrorKind::NotADirectory.into()),
            None => Err(stale()),
        }
    }

    pub(crate) fn dir_mut(&mut self, inode: InodeId) -> io::Result<&mut DirNode> {
        match self.nodes.get_mut(&inode) {
            Some(Node::Dir(dir)) => Ok(dir),
            Some(Node::File(_)) => Err(ErrorKind::NotADirectory.into()),
            None => Err(stale()),
        }
    }

    /// What a path names.
    pub(crate) fn lookup(&self, path: &Path) -> io::Result<InodeId> {
        names_of(path)?.iter().try_fold(ROOT, |dir, name| {
            self.dir(dir)?.cached.get(name).copied().ok_or_else(|| ErrorKind::NotFound.into())
        })
    }

    /// The directory in which a path's last name stands or would stand, and the name.
    pub(crate) fn lookup_parent(&self, path: &Path) -> io::Result<(InodeId, String)> {
        let mut names = names_of(path)?;
        // The root itself: taken, and not to be removed.
        let Some(last) = names.pop() else { return Err(ErrorKind::AlreadyExists.into()) };
        let dir = names.iter().try_fold(ROOT, |dir, name| {
            let found = self.dir(dir)?.cached.get(name).copied();
            found.ok_or_else(|| io::Error::from(ErrorKind::NotFound))
        })?;
        self.dir(dir)?;
        Ok((dir, last))
    }

    /// The number of the change that is being made.
    pub(crate) fn change_id(&self) -> OpId {
        OpId(self.changes)
    }

    /// Makes a file or a directory under a free name.
    pub(crate) fn create(&mut self, path: &Path, node: Node) -> io::Result<InodeId> {
        let (dir, name) = self.lookup_parent(path)?;
        if self.dir(dir)?.cached.contains_key(&name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let inode = self.add_node(node);
        let id = self.change_id();
        self.dir_mut(dir)?.add(id, &name, inode);
        Ok(inode)
    }

    pub(crate) fn add_node(&mut self, node: Node) -> InodeId {
        let inode = InodeId(self.next_inode);
        self.next_inode += 1;
        self.nodes.insert(inode, node);
        inode
    }

    /// Removes a name.
    pub(crate) fn remove(&mut self, path: &Path, is_dir: bool) -> io::Result<()> {
        let (dir, name) = self.lookup_parent(path)?;
        let inode = self.dir(dir)?.cached.get(&name).copied().ok_or(ErrorKind::NotFound)?;
        match self.nodes.get(&inode) {
            Some(Node::Dir(_)) if !is_dir => return Err(ErrorKind::IsADirectory.into()),
            Some(Node::File(_)) if is_dir => return Err(ErrorKind::NotADirectory.into()),
            Some(Node::Dir(dir)) if !dir.cached.is_empty() => {
                return Err(ErrorKind::DirectoryNotEmpty.into());
            }
            Some(Node::File(file)) => {
                let content = file.cached.clone();
                self.bury(&content);
            }
            _ => {}
        }
        let id = self.change_id();
        self.dir_mut(dir)?.remove(id, &name, inode);
        Ok(())
    }

    /// Lets no sync tell of an earlier one.
    pub(crate) fn forget_errors_to_tell(&mut self) {
        for node in self.nodes.values_mut() {
            match node {
                Node::File(file) => file.error_at_next_sync = None,
                Node::Dir(dir) => dir.error_at_next_sync = None,
            }
        }
    }

    /// Keeps content that is given up, for [`super::Filling::Stale`].
    pub(crate) fn bury(&mut self, content: &[u8]) {
        self.graveyard.extend(content);
        let surplus = self.graveyard.len().saturating_sub(GRAVEYARD_BYTES);
        self.graveyard.drain(..surplus);
    }

    pub(crate) fn handles(&self) -> u64 {
        self.open.values().sum::<u64>() + self.locks.len() as u64
    }

    pub(crate) fn opened(&mut self, inode: InodeId) {
        *self.open.entry(inode).or_default() += 1;
    }

    pub(crate) fn closed(&mut self, inode: InodeId) {
        if let Some(count) = self.open.get_mut(&inode) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&inode);
            }
        }
    }

    /// Ends the process: its handles and locks are gone, the cache stays.
    pub(crate) fn kill(&mut self) {
        self.incarnation += 1;
        self.dead = false;
        self.crash = None;
        self.open.clear();
        self.locks.clear();
        self.in_hook = false;
        let reachable = self.reachable();
        self.nodes.retain(|inode, _| reachable.contains(inode));
    }

    /// What has a name, in the cache or on the disk or waiting for a sync, or a handle.
    pub(crate) fn reachable(&self) -> BTreeSet<InodeId> {
        self.reachable_by(|dir| {
            let changed = dir.pending.iter().map(|pending| match &pending.change {
                NameChange::Added { inode, .. } | NameChange::Removed { inode, .. } => *inode,
            });
            dir.durable.values().chain(dir.cached.values()).copied().chain(changed).collect()
        })
    }

    /// What has a name that the process sees, or a handle.
    pub(crate) fn visible(&self) -> BTreeSet<InodeId> {
        self.reachable_by(|dir| dir.cached.values().copied().collect())
    }

    fn reachable_by(&self, children: impl Fn(&DirNode) -> Vec<InodeId>) -> BTreeSet<InodeId> {
        let mut found = BTreeSet::new();
        let mut to_visit: Vec<InodeId> = self.open.keys().copied().collect();
        to_visit.push(ROOT);
        while let Some(inode) = to_visit.pop() {
            if !found.insert(inode) {
                continue;
            }
            if let Some(Node::Dir(dir)) = self.nodes.get(&inode) {
                to_visit.extend(children(dir));
            }
        }
        found
    }

    /// The path of a file or a directory, for people to read.
    pub(crate) fn paths(&self) -> BTreeMap<InodeId, String> {
        let mut paths = BTreeMap::from([(ROOT, String::new())]);
        let mut to_visit = vec![ROOT];
        while let Some(inode) = to_visit.pop() {
            let Some(Node::Dir(dir)) = self.nodes.get(&inode) else { continue };
            let base = paths.get(&inode).cloned().unwrap_or_default();
            let changed = dir.pending.iter().map(|pending| match &pending.change {
                NameChange::Added { name, inode } | NameChange::Removed { name, inode } => {
                    (name, inode)
                }
            });
            for (name, child) in dir.cached.iter().chain(&dir.durable).chain(changed) {
                if !paths.contains_key(child) {
                    paths.insert(*child, format!("{base}/{name}"));
                    to_visit.push(*child);
                }
            }
        }
        paths
    }
}

/// The names that a path consists of, from the root on.
fn names_of(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => match name.to_str() {
                Some(name) => names.push(name.to_owned()),
                None => return Err(ErrorKind::InvalidInput.into()),
            },
            Component::ParentDir => {
                names.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Ok(names)
}

/// A handle to what is no more, which only damage between runs explains.
fn stale() -> io::Error {
    ErrorKind::StaleNetworkFileHandle.into()
}
