//! A directory: names apart from what they name.

use super::{InodeId, OpId};
use crate::fault::FaultId;
use std::collections::BTreeMap;

/// A change of a directory's names that was not synced.
#[derive(Debug, Clone)]
pub(crate) struct PendingName {
    pub(crate) id: OpId,
    pub(crate) change: NameChange,
}

/// What was changed.
#[derive(Debug, Clone)]
pub(crate) enum NameChange {
    Added { name: String, inode: InodeId },
    Removed { name: String, inode: InodeId },
}

impl NameChange {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Added { name, .. } | Self::Removed { name, .. } => name,
        }
    }
}

/// The names of a directory.
pub(crate) type Names = BTreeMap<String, InodeId>;

/// A directory.
#[derive(Debug, Clone, Default)]
pub(crate) struct DirNode {
    /// What a power cut would leave if it kept nothing.
    pub(crate) durable: Names,
    /// What everybody sees.
    pub(crate) cached: Names,
    /// Changes that are in `cached` and may or may not reach `durable`, in order.
    pub(crate) pending: Vec<PendingName>,
    /// Faults that have changed the set of names, until somebody looks.
    pub(crate) taints: Vec<FaultId>,
    /// Syncs that have lied (D4).
    pub(crate) lies: Vec<FaultId>,
    /// A sync has lied, and the next one tells (D4).
    pub(crate) error_at_next_sync: Option<FaultId>,
}

impl DirNode {
    /// Adds a name, not synced.
    pub(crate) fn add(&mut self, id: OpId, name: &str, inode: InodeId) {
        self.cached.insert(name.to_owned(), inode);
        let change = NameChange::Added { name: name.to_owned(), inode };
        self.pending.push(PendingName { id, change });
    }

    /// Removes a name, not synced.
    pub(crate) fn remove(&mut self, id: OpId, name: &str, inode: InodeId) {
        self.cached.remove(name);
        let change = NameChange::Removed { name: name.to_owned(), inode };
        self.pending.push(PendingName { id, change });
    }

    /// Makes everything pending durable.
    pub(crate) fn sync(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            apply(&mut self.durable, &pending.change);
        }
    }

    /// Forgets that anything is pending, without making it durable.
    pub(crate) fn forget_pending(&mut self) {
        self.pending.clear();
    }

    /// Shows again what the disk has.
    pub(crate) fn revert(&mut self) {
        self.pending.clear();
        self.cached.clone_from(&self.durable);
    }
}

/// Carries out a change of names.
pub(crate) fn apply(names: &mut Names, change: &NameChange) {
    match change {
        NameChange::Added { name, inode } => {
            names.insert(name.clone(), *inode);
        }
        NameChange::Removed { name, .. } => {
            names.remove(name);
        }
    }
}
