//! Damage between runs: what a disk must not do, or what somebody did to it.

use super::file_node::{FileNode, put, resize};
use super::state::{Node, State};
use super::{InodeId, SimDisk};
use crate::fault::{FaultId, FaultKind};
use crate::random::garbage;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::Path;

/// Something done to a file while nobody runs. It is durable at once, and what
/// of the file was not synced becomes durable with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Damage {
    /// D1: one bit is flipped.
    FlipBit {
        /// The byte.
        position: u64,
        /// The bit in it, 0 to 7.
        bit: u8,
    },
    /// D1: a range reads as zeroes.
    Zero {
        /// From and up to which position.
        range: (u64, u64),
    },
    /// D1: a range cannot be read until it is written.
    Unreadable {
        /// From and up to which position.
        range: (u64, u64),
    },
    /// R8 and D2: a range holds [`garbage`] of this number.
    Garbage {
        /// From and up to which position.
        range: (u64, u64),
        /// The number.
        seed: u64,
    },
    /// D6: the tail is cut off.
    Cut {
        /// The new length.
        len: u64,
    },
    /// D6: a range in the middle is a hole.
    Hole {
        /// From and up to which position.
        range: (u64, u64),
    },
    /// R8, D2 and D8: bytes are written over, or appended.
    Overwrite {
        /// Where.
        position: u64,
        /// With what.
        bytes: Vec<u8>,
        /// Which row of the catalogue it is meant for.
        kind: FaultKind,
    },
    /// D7: the file is gone.
    Delete,
    /// D7: the file is there a second time, under another name, in the place of
    /// what had it.
    Duplicate {
        /// The path of the copy.
        to: String,
    },
    /// D7: the file has changed places with another.
    Swap {
        /// The other's path.
        with: String,
    },
}

impl Damage {
    /// The kind in the catalogue.
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::FlipBit { .. } => FaultKind::BitFlip,
            Self::Zero { .. } => FaultKind::ZeroedSector,
            Self::Unreadable { .. } => FaultKind::UnreadableSector,
            Self::Garbage { .. } => FaultKind::PrimaryDamaged,
            Self::Cut { .. } => FaultKind::TailCut,
            Self::Hole { .. } => FaultKind::Hole,
            Self::Overwrite { kind, .. } => *kind,
            Self::Delete => FaultKind::FileDeleted,
            Self::Duplicate { .. } => FaultKind::FileDuplicated,
            Self::Swap { .. } => FaultKind::FilesSwapped,
        }
    }
}

/// A disk as it was at one moment, to go back to (D5).
#[derive(Debug, Clone)]
pub struct Image(BTreeMap<InodeId, Node>);

/// Access of the harness. None of it is an operation of the process: it fails
/// at nothing but paths that name nothing, and no crash happens in it.
impl SimDisk {
    /// The content of a file, as the process would see it.
    pub fn content(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        let state = self.shared.state();
        let inode = state.lookup(path.as_ref())?;
        Ok(state.file(inode)?.cached.clone())
    }

    /// Which file or directory a path names.
    pub fn inode_of(&self, path: impl AsRef<Path>) -> Option<InodeId> {
        self.shared.state().lookup(path.as_ref()).ok()
    }

    /// How many bytes of the disk are taken, in whole blocks.
    pub fn bytes_taken(&self) -> u64 {
        self.shared.state().bytes_taken()
    }

    /// The paths of all files that can be found, in order.
    pub fn files(&self) -> Vec<String> {
        let state = self.shared.state();
        let mut files = Vec::new();
        let mut to_visit = vec![(super::state::ROOT, String::new())];
        while let Some((inode, path)) = to_visit.pop() {
            match state.nodes.get(&inode) {
                Some(Node::File(_)) => files.push(path),
                Some(Node::Dir(dir)) => {
                    let children = dir.cached.iter();
                    to_visit
                        .extend(children.map(|(name, child)| (*child, format!("{path}/{name}"))));
                }
                None => {}
            }
        }
        files.sort();
        files
    }

    /// Damages a file.
    pub fn damage(&self, path: impl AsRef<Path>, damage: &Damage) -> io::Result<FaultId> {
        self.damage_as(path, damage, damage.kind())
    }

    /// Damages a file, counted as a fault of this kind: what counts as a bit flip
    /// in a record is a bad derived file in an index.
    pub fn damage_as(
        &self,
        path: impl AsRef<Path>,
        damage: &Damage,
        kind: FaultKind,
    ) -> io::Result<FaultId> {
        self.shared.state().damage(path.as_ref(), damage, kind)
    }

    /// What the disk is now.
    pub fn image(&self) -> Image {
        Image(self.shared.state().nodes.clone())
    }

    /// D5: the whole disk is what it was. Kills the process.
    pub fn roll_back(&self, image: &Image) -> FaultId {
        let mut state = self.shared.state();
        state.nodes.clone_from(&image.0);
        state.kill();
        let id = state.plan.happened(FaultKind::DiskRollback);
        let inodes: Vec<InodeId> = state.nodes.keys().copied().collect();
        for inode in inodes {
            match state.nodes.get_mut(&inode) {
                Some(Node::File(file)) => file.taint(0..u64::MAX, id),
                Some(Node::Dir(dir)) => dir.taints.push(id),
                None => {}
            }
        }
        id
    }

    /// D5: one file is what it was.
    pub fn roll_back_file(&self, image: &Image, path: impl AsRef<Path>) -> io::Result<FaultId> {
        let mut state = self.shared.state();
        let inode = state.lookup(path.as_ref())?;
        let Some(Node::File(old)) = image.0.get(&inode) else {
            return Err(ErrorKind::NotFound.into());
        };
        let content = old.cached.clone();
        let id = state.plan.happened(FaultKind::FileRollback);
        let file = state.file_mut(inode)?;
        file.overwrite(content);
        file.taint(0..u64::MAX, id);
        Ok(id)
    }
}

impl State {
    fn damage(&mut self, path: &Path, damage: &Damage, kind: FaultKind) -> io::Result<FaultId> {
        let inode = self.lookup(path)?;
        self.file(inode)?;
        let id = self.plan.happened(kind);
        match damage {
            Damage::Delete => self.set_name(path, None, id)?,
            Damage::Duplicate { to } => {
                let mut copy = FileNode::default();
                copy.overwrite(self.file(inode)?.cached.clone());
                copy.taint(0..u64::MAX, id);
                let copy = self.add_node(Node::File(copy));
                self.set_name(to.as_ref(), Some(copy), id)?;
            }
            Damage::Swap { with } => {
                let other = self.lookup(with.as_ref())?;
                for inode in [inode, other] {
                    self.file_mut(inode)?.taint(0..u64::MAX, id);
                }
                self.set_name(path, Some(other), id)?;
                self.set_name(with.as_ref(), Some(inode), id)?;
            }
            _ => damage_content(self.file_mut(inode)?, damage, id),
        }
        Ok(id)
    }

    /// Gives a name another meaning, or none, on the disk and in the cache.
    fn set_name(&mut self, path: &Path, to: Option<InodeId>, id: FaultId) -> io::Result<()> {
        let (dir, name) = self.lookup_parent(path)?;
        let dir = self.dir_mut(dir)?;
        dir.pending.retain(|pending| pending.change.name() != name);
        for names in [&mut dir.durable, &mut dir.cached] {
            match to {
                Some(inode) => names.insert(name.clone(), inode),
                None => names.remove(&name),
            };
        }
        dir.taints.push(id);
        Ok(())
    }
}

/// Changes what a file holds, on the disk and in the cache.
fn damage_content(file: &mut FileNode, damage: &Damage, id: FaultId) {
    let mut content = file.cached.clone();
    let len = content.len() as u64;
    let within = |(from, to): (u64, u64)| -> Range<u64> { from.min(len)..to.min(len) };
    let range = match damage {
        Damage::FlipBit { position, bit } => {
            let byte = usize::try_from(*position).ok().and_then(|at| content.get_mut(at));
            if let Some(byte) = byte {
                *byte ^= 1 << (bit % 8);
            }
            *position..*position + 1
        }
        Damage::Zero { range } | Damage::Hole { range } => {
            let range = within(*range);
            put(&mut content, range.start, &vec![0; size_of(&range)]);
            range
        }
        Damage::Garbage { range, seed } => {
            let range = within(*range);
            put(&mut content, range.start, &garbage(*seed, size_of(&range)));
            range
        }
        Damage::Unreadable { range } => {
            file.unreadable.push(range.0..range.1);
            range.0..range.1
        }
        Damage::Cut { len: to } => {
            resize(&mut content, (*to).min(len));
            *to..u64::MAX
        }
        Damage::Overwrite { position, bytes, .. } => {
            put(&mut content, *position, bytes);
            *position..*position + bytes.len() as u64
        }
        Damage::Delete | Damage::Duplicate { .. } | Damage::Swap { .. } => return,
    };
    file.overwrite(content);
    file.taint(range, id);
}

fn size_of(range: &Range<u64>) -> usize {
    usize::try_from(range.end - range.start).unwrap_or_default()
}
