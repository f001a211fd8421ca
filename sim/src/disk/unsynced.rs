//! What a power cut puts at stake.

use super::dir_node::NameChange;
use super::file_node::FileChange;
use super::state::{Node, State};
use super::{InodeId, OpId};
use serde::Serialize;
use std::collections::BTreeMap;

/// The changes that no sync has covered, in the order in which they were made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Unsynced {
    /// The changes.
    pub changes: Vec<Change>,
    /// How long the files among them are on the disk.
    pub durable_len: BTreeMap<InodeId, u64>,
}

/// A change that no sync has covered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The operation that made it.
    pub op: OpId,
    /// The file, or the directory whose names were changed.
    pub inode: InodeId,
    /// Its path, for people to read; that of the name for changes of names.
    pub path: String,
    /// What was changed.
    pub what: What,
}

/// What was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Bytes were written.
    Write {
        /// Where.
        position: u64,
        /// How many.
        len: u64,
        /// Whether the file became longer by it.
        grows: bool,
    },
    /// The length was set.
    Length {
        /// The length before.
        from: u64,
        /// The length after.
        to: u64,
    },
    /// A name was created.
    NameAdded,
    /// A name was removed.
    NameRemoved,
}

impl State {
    pub(crate) fn unsynced(&self) -> Unsynced {
        let mut unsynced = Unsynced::default();
        let paths = self.paths();
        for (inode, node) in &self.nodes {
            let path = paths.get(inode).cloned().unwrap_or_default();
            match node {
                Node::File(file) => {
                    if !file.pending.is_empty() {
                        unsynced.durable_len.insert(*inode, file.durable.len() as u64);
                    }
                    unsynced.changes.extend(file.pending.iter().map(|pending| {
                        let what = match &pending.change {
                            FileChange::Write { position, bytes } => What::Write {
                                position: *position,
                                len: bytes.len() as u64,
                                grows: pending.len_after > pending.len_before,
                            },
                            FileChange::SetLen { len } => {
                                What::Length { from: pending.len_before, to: *len }
                            }
                        };
                        Change { op: pending.id, inode: *inode, path: path.clone(), what }
                    }));
                }
                Node::Dir(dir) => unsynced.changes.extend(dir.pending.iter().map(|pending| {
                    let what = match &pending.change {
                        NameChange::Added { .. } => What::NameAdded,
                        NameChange::Removed { .. } => What::NameRemoved,
                    };
                    let path = format!("{path}/{}", pending.change.name());
                    Change { op: pending.id, inode: *inode, path, what }
                })),
            }
        }
        unsynced.changes.sort_by_key(|change| change.op);
        unsynced
    }
}
