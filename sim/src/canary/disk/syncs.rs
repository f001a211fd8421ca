//! Syncs that are left out, come too late, or whose failure is forgotten.

use super::{Flaw, FlawedFile, Owed, Role, role_of, state};
use merkql::env::{Access, FileSystem};
use std::io;
use std::path::Path;
use std::sync::Mutex;

/// Reports a sync that is never done.
#[derive(Debug)]
pub(super) enum Swallow {
    /// Of the files of this role.
    Data(Role),
    /// Of their names.
    Names(Role),
}

impl Flaw for Swallow {
    fn sync_data(&self, file: &FlawedFile) -> io::Result<()> {
        match self {
            Self::Data(role) if *role == file.role => Ok(()),
            _ => file.inner.sync_data(),
        }
    }

    fn sync_dir(&self, inner: &dyn FileSystem, path: &Path) -> io::Result<()> {
        match self {
            Self::Names(role) if *role == role_of(path) => Ok(()),
            _ => inner.sync_dir(path),
        }
    }
}

/// Reports a sync of the journal at once, and does it before the journal is
/// written to the next time: by then somebody relies on it.
#[derive(Debug, Default)]
pub(super) struct Delay(Owed);

impl Flaw for Delay {
    fn write_at(&self, file: &FlawedFile, buf: &[u8], position: u64) -> io::Result<usize> {
        if file.role == Role::Journal {
            self.0.settle()?;
        }
        file.inner.write_at(buf, position)
    }

    fn sync_data(&self, file: &FlawedFile) -> io::Result<()> {
        if file.role != Role::Journal {
            return file.inner.sync_data();
        }
        self.0.owe(file);
        Ok(())
    }
}

/// Tries a failed sync of the journal once more, and believes what that reports.
#[derive(Debug)]
pub(super) struct Retry;

impl Flaw for Retry {
    fn sync_data(&self, file: &FlawedFile) -> io::Result<()> {
        match file.inner.sync_data() {
            Err(_) if file.role == Role::Journal => file.inner.sync_data(),
            synced => synced,
        }
    }
}

/// Closes a partition's file when its sync fails, and the error goes with the
/// handle: a sync through a new one knows nothing of it.
#[derive(Debug)]
pub(super) struct LoseError;

impl Flaw for LoseError {
    fn sync_data(&self, file: &FlawedFile) -> io::Result<()> {
        match file.inner.sync_data() {
            Err(_) if file.role == Role::Partition => {
                file.disk.open(&file.path, Access::ReadWrite)?.sync_data()
            }
            synced => synced,
        }
    }
}

/// Leaves out the sync of the slot that is written first, so that both are in
/// flight at once.
#[derive(Debug, Default)]
pub(super) struct DropBetweenSlots(Mutex<bool>);

impl Flaw for DropBetweenSlots {
    fn sync_data(&self, file: &FlawedFile) -> io::Result<()> {
        if file.role != Role::Slot {
            return file.inner.sync_data();
        }
        let mut is_second = state(&self.0);
        let syncs = *is_second;
        *is_second = !syncs;
        drop(is_second);
        if syncs { file.inner.sync_data() } else { Ok(()) }
    }
}
