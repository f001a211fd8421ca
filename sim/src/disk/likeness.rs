//! Whether two disks are alike to whoever uses them from here on.

use super::dir_node::{NameChange, Names};
use super::file_node::FileChange;
use super::state::{Node, State};
use super::{Digest, InodeId, SimDisk};
use std::collections::BTreeMap;

impl SimDisk {
    /// A number that follows from what is on the disk, what the cache shows and
    /// what is not synced; not from how all of that came to be.
    pub fn likeness(&self) -> u64 {
        self.shared.state().likeness()
    }
}

impl State {
    fn likeness(&self) -> u64 {
        // How many files there were before is of no matter, their order is.
        let ranks: BTreeMap<InodeId, u64> = self.nodes.keys().copied().zip(0..).collect();
        let rank = |inode: &InodeId| ranks.get(inode).copied().unwrap_or_default();
        let mut digest = Digest::new();
        for node in self.nodes.values() {
            match node {
                Node::File(file) => {
                    digest.bytes(&file.durable);
                    digest.number(file.pending.len() as u64);
                    for pending in &file.pending {
                        match &pending.change {
                            FileChange::Write { position, bytes } => {
                                digest.number(*position);
                                digest.bytes(bytes);
                            }
                            FileChange::SetLen { len } => digest.number(!*len),
                        }
                    }
                    if !file.pending.is_empty() || file.cached.len() != file.durable.len() {
                        digest.bytes(&file.cached);
                    }
                    digest.bytes(format!("{:?}", file.unreadable).as_bytes());
                }
                Node::Dir(dir) => {
                    add_names(&mut digest, &dir.durable, &rank);
                    add_names(&mut digest, &dir.cached, &rank);
                    for pending in &dir.pending {
                        let (NameChange::Added { name, inode }
                        | NameChange::Removed { name, inode }) = &pending.change;
                        let is_new = matches!(pending.change, NameChange::Added { .. });
                        digest.bytes(name.as_bytes());
                        digest.number(rank(inode) * 2 + u64::from(is_new));
                    }
                }
            }
        }
        digest.value()
    }
}

fn add_names(digest: &mut Digest, names: &Names, rank: &impl Fn(&InodeId) -> u64) {
    digest.number(names.len() as u64);
    for (name, inode) in names {
        digest.bytes(name.as_bytes());
        digest.number(rank(inode));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Survivors;
    use merkql::env::{Access, FileSystem};
    use std::path::Path;

    /// A disk with one synced file, made after another one came and went.
    fn disk(has_past: bool) -> SimDisk {
        let disk = SimDisk::new();
        if has_past {
            let process = disk.process();
            process.create_new(Path::new("/gone")).unwrap();
            process.remove_file(Path::new("/gone")).unwrap();
            process.sync_dir(Path::new("/")).unwrap();
            disk.power_cut(&Survivors::none());
        }
        let process = disk.process();
        let file = process.create_new(Path::new("/file")).unwrap();
        process.sync_dir(Path::new("/")).unwrap();
        file.write_at(b"synced", 0).unwrap();
        file.sync_data().unwrap();
        disk
    }

    #[test]
    fn disks_are_alike_whatever_was_on_them_before() {
        assert_eq!(disk(false).likeness(), disk(true).likeness());
    }

    #[test]
    fn what_is_not_synced_tells_disks_apart() {
        let (synced, other) = (disk(false), disk(false));
        let file = other.process().open(Path::new("/file"), Access::ReadWrite).unwrap();
        file.write_at(b"s", 0).unwrap();
        assert_ne!(synced.likeness(), other.likeness());
        other.power_cut(&Survivors::none());
        assert_eq!(synced.likeness(), other.likeness());
    }
}
