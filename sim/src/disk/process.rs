//! The disk as a process sees it.

use super::Shared;
use super::dir_node::DirNode;
use super::file_node::FileNode;
use super::gate::Request;
use super::handle::{SimFile, SimLock};
use super::state::Node;
use super::syncs::sync_dir;
use crate::fault::OpKind;
use merkql::env::{Access, DirEntry, EntryKind, File, FileSystem, Lock};
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

/// The file system of one process. From its crash on every call fails.
#[derive(Clone)]
pub struct SimProcess {
    pub(crate) shared: Arc<Shared>,
    pub(crate) incarnation: u64,
}

impl fmt::Debug for SimProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimProcess").field("incarnation", &self.incarnation).finish_non_exhaustive()
    }
}

impl SimProcess {
    fn handle(&self, path: &str, inode: super::InodeId, access: Access) -> Arc<dyn File> {
        Arc::new(SimFile { process: self.clone(), inode, path: path.into(), access })
    }
}

impl FileSystem for SimProcess {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let name = path.to_string_lossy();
        let request = Request::new(OpKind::CreateNew, &name);
        let inode = self.shared.io(self.incarnation, &request, |state, _| {
            state.room_for_handle()?;
            let inode = state.create(path, Node::File(FileNode::default()))?;
            state.opened(inode);
            Ok(inode)
        })?;
        Ok(self.handle(&name, inode, Access::ReadWrite))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        let name = path.to_string_lossy();
        let request = Request::new(OpKind::Open, &name);
        let inode = self.shared.io(self.incarnation, &request, |state, _| {
            state.meet_name_faults(path);
            let inode = state.lookup(path)?;
            state.file(inode)?;
            state.room_for_handle()?;
            state.opened(inode);
            Ok(inode)
        })?;
        Ok(self.handle(&name, inode, access))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let name = dir.to_string_lossy();
        self.shared.io(self.incarnation, &Request::new(OpKind::List, &name), |state, _| {
            let inode = state.lookup(dir)?;
            let entries = state.dir(inode)?.cached.iter();
            let entries = entries.map(|(name, child)| {
                let kind = match state.nodes.get(child) {
                    Some(Node::File(_)) => EntryKind::File,
                    Some(Node::Dir(_)) => EntryKind::Directory,
                    None => EntryKind::Other,
                };
                DirEntry { name: name.clone(), kind }
            });
            let entries = entries.collect();
            state.meet_dir_faults(inode);
            Ok(entries)
        })
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let name = path.to_string_lossy();
        self.shared.io(self.incarnation, &Request::new(OpKind::CreateDir, &name), |state, _| {
            state.create(path, Node::Dir(DirNode::default())).map(drop)
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let name = path.to_string_lossy();
        let request = Request::new(OpKind::RemoveFile, &name);
        self.shared.io(self.incarnation, &request, |state, _| state.remove(path, false))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let name = path.to_string_lossy();
        let request = Request::new(OpKind::RemoveDir, &name);
        self.shared.io(self.incarnation, &request, |state, _| state.remove(path, true))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let name = path.to_string_lossy();
        let request = Request::new(OpKind::SyncDir, &name);
        self.shared.io(self.incarnation, &request, |state, go| {
            let inode = state.lookup(path)?;
            sync_dir(state, inode, go)
        })
    }

    fn try_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let name = path.to_string_lossy();
        let request = Request::new(OpKind::TryLock, &name);
        let inode = self.shared.io(self.incarnation, &request, |state, _| {
            let inode = match state.lookup(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    state.create(path, Node::File(FileNode::default()))?
                }
                found => found?,
            };
            state.file(inode)?;
            if state.locks.contains(&inode) {
                return Err(ErrorKind::WouldBlock.into());
            }
            state.room_for_handle()?;
            state.locks.insert(inode);
            Ok(inode)
        })?;
        Ok(Box::new(SimLock { process: self.clone(), inode }))
    }
}
