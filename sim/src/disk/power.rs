//! The power cut: what the disk is afterwards.

use super::InodeId;
use super::OpId;
use super::dir_node::{DirNode, apply};
use super::file_node::{FileChange, FileNode, PendingChange, put, resize};
use super::state::{Node, State};
use super::survivors::{Filling, Kept, Survivors};
use crate::fault::{FaultId, FaultKind};
use crate::random::garbage;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

/// The kinds of fault that one power cut consists of, each registered once.
#[derive(Debug, Default)]
struct Kinds(BTreeMap<FaultKind, FaultId>);

impl Kinds {
    fn get(&mut self, state: &mut State, kind: FaultKind) -> FaultId {
        *self.0.entry(kind).or_insert_with(|| state.plan.happened(kind))
    }
}

impl State {
    /// Cuts the power: the disk is what it was at the last syncs, and what
    /// survived of the changes since.
    pub(crate) fn power_cut(&mut self, survivors: &Survivors) {
        self.kill();
        let mut kinds = Kinds::default();
        let inodes: Vec<InodeId> = self.nodes.keys().copied().collect();
        let general = if survivors.kept.is_empty() {
            FaultKind::PowerCutAllLost
        } else {
            FaultKind::PowerCutSubset
        };
        kinds.get(self, general);
        for inode in inodes {
            match self.nodes.remove(&inode) {
                Some(Node::File(file)) => {
                    let file = self.cut_file(inode, file, survivors, general, &mut kinds);
                    self.nodes.insert(inode, Node::File(file));
                }
                Some(Node::Dir(dir)) => {
                    let dir = self.cut_dir(dir, survivors, &mut kinds);
                    self.nodes.insert(inode, Node::Dir(dir));
                }
                None => {}
            }
        }
        let reachable = self.reachable();
        self.nodes.retain(|inode, _| reachable.contains(inode));
    }

    fn cut_file(
        &mut self,
        inode: InodeId,
        mut file: FileNode,
        survivors: &Survivors,
        general: FaultKind,
        kinds: &mut Kinds,
    ) -> FileNode {
        let is_filled = |kept: &Kept| matches!(kept, Kept::Fill { file, .. } if *file == inode);
        let is_still = file.pending.is_empty() && file.lies.is_empty();
        if is_still && file.cached == file.durable && !survivors.kept.iter().any(is_filled) {
            file.error_at_next_sync = None;
            return file;
        }
        let before = std::mem::take(&mut file.cached);
        let mut met = BTreeSet::from([general]);
        let content = self.surviving(inode, &file, survivors, &mut met);
        let len = content.len() as u64;
        file.overwrite(content);
        file.drop_blocks(0);
        file.take_blocks(0, len);
        let differs = difference(&before, &file.cached);
        if let Some(range) = differs {
            for kind in met {
                let id = kinds.get(self, kind);
                file.taint(range.clone(), id);
            }
            for lie in std::mem::take(&mut file.lies) {
                let from = lie.range.start.max(range.start);
                file.taint(from..lie.range.end.min(range.end), lie.fault);
            }
        }
        file.lies.clear();
        file.error_at_next_sync = None;
        file
    }

    /// What the disk had of a file, and what survived of the changes since; notes
    /// which kinds of fault that meets.
    fn surviving(
        &self,
        inode: InodeId,
        file: &FileNode,
        survivors: &Survivors,
        met: &mut BTreeSet<FaultKind>,
    ) -> Vec<u8> {
        let mut content = file.durable.clone();
        let mut len = content.len() as u64;
        for kept in &survivors.kept {
            match kept {
                Kept::Write { op, ranges, grows } => {
                    let Some(FileChange::Write { position, bytes }) = change_of(file, *op) else {
                        continue;
                    };
                    let end = position + bytes.len() as u64;
                    let kept_bytes: u64 = ranges.iter().map(|(from, to)| to - from).sum();
                    if kept_bytes < bytes.len() as u64 {
                        met.insert(if *grows {
                            FaultKind::SizeBeforeData
                        } else {
                            FaultKind::TornWrite
                        });
                    }
                    for &(from, to) in ranges {
                        put_part(&mut content, *position, bytes, from..to);
                    }
                    if *grows {
                        len = len.max(end);
                    }
                }
                Kept::Length { op } => {
                    if let Some(FileChange::SetLen { len: set }) = change_of(file, *op) {
                        resize(&mut content, *set);
                        len = *set;
                    }
                }
                Kept::Fill { file: of, range: (from, to), with } if *of == inode => {
                    met.insert(FaultKind::TrashedRange);
                    put(&mut content, *from, &self.filling(*with, to.saturating_sub(*from)));
                }
                Kept::Fill { .. } | Kept::Name { .. } => {}
            }
        }
        resize(&mut content, len);
        content
    }

    fn cut_dir(&mut self, mut dir: DirNode, survivors: &Survivors, kinds: &mut Kinds) -> DirNode {
        for kept in &survivors.kept {
            let Kept::Name { op } = kept else { continue };
            if let Some(pending) = dir.pending.iter().find(|pending| pending.id == *op) {
                apply(&mut dir.durable, &pending.change);
            }
        }
        dir.pending.clear();
        if dir.cached != dir.durable {
            dir.taints.push(kinds.get(self, FaultKind::MetadataLost));
            dir.taints.append(&mut dir.lies);
            dir.cached.clone_from(&dir.durable);
        }
        dir.lies.clear();
        dir.error_at_next_sync = None;
        dir
    }

    /// What stands where nobody has written.
    fn filling(&self, with: Filling, len: u64) -> Vec<u8> {
        let len = usize::try_from(len).unwrap_or_default();
        match with {
            Filling::Zeroes => vec![0; len],
            Filling::Garbage(seed) => garbage(seed, len),
            Filling::Stale(_) if self.graveyard.is_empty() => vec![0; len],
            Filling::Stale(start) => {
                let start = usize::try_from(start).unwrap_or_default() % self.graveyard.len();
                self.graveyard.iter().copied().cycle().skip(start).take(len).collect()
            }
        }
    }

    /// A read of the range has met the faults that spoiled it.
    pub(crate) fn meet_faults(&mut self, inode: InodeId, range: &Range<u64>) {
        let met = self.file(inode).map(|file| file.faults_in(range)).unwrap_or_default();
        for fault in met {
            self.plan.mattered(fault);
        }
    }

    /// A listing has met the faults that changed a directory's names.
    pub(crate) fn meet_dir_faults(&mut self, inode: InodeId) {
        let met = self.dir_mut(inode).map(|dir| std::mem::take(&mut dir.taints));
        for fault in met.unwrap_or_default() {
            self.plan.mattered(fault);
        }
    }

    /// So has an attempt to open one of them.
    pub(crate) fn meet_name_faults(&mut self, path: &Path) {
        if let Ok((dir, _)) = self.lookup_parent(path) {
            self.meet_dir_faults(dir);
        }
    }
}

fn change_of(file: &FileNode, op: OpId) -> Option<&FileChange> {
    let pending: Option<&PendingChange> = file.pending.iter().find(|pending| pending.id == op);
    pending.map(|pending| &pending.change)
}

/// Writes those of `bytes`, which belong at `position`, that lie in `range`.
fn put_part(content: &mut Vec<u8>, position: u64, bytes: &[u8], range: Range<u64>) {
    let from = range.start.max(position);
    let to = range.end.min(position + bytes.len() as u64);
    let part = usize::try_from(from - position)
        .ok()
        .zip(usize::try_from(to.saturating_sub(position)).ok())
        .and_then(|(from, to)| bytes.get(from..to));
    if let Some(part) = part {
        put(content, from, part);
    }
}

/// The range outside of which two contents agree.
fn difference(a: &[u8], b: &[u8]) -> Option<Range<u64>> {
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    if same == a.len() && same == b.len() {
        return None;
    }
    if a.len() != b.len() {
        return Some(same as u64..a.len().max(b.len()) as u64);
    }
    let same_at_end = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    Some(same as u64..(a.len() - same_at_end) as u64)
}
