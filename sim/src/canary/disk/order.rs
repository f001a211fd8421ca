//! Things that are done in the wrong order.

use super::{Flaw, FlawedFile, Owed, Role, role_of, state};
use merkql::env::{File, FileSystem};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Takes the journal's file into use again that was just left, although nothing
/// that it holds has been carried over yet. Which file comes next is the log's to
/// say, so the block goes where it belongs, too; what is in the file left behind
/// is gone as it would be.
#[derive(Debug, Default)]
pub(super) struct ReuseEarly(Mutex<Option<(PathBuf, Arc<dyn File>)>>);

impl Flaw for ReuseEarly {
    fn write_at(&self, file: &FlawedFile, buf: &[u8], position: u64) -> io::Result<usize> {
        if file.role == Role::Journal {
            let here = (file.path.clone(), Arc::clone(&file.inner));
            let left = state(&self.0).replace(here).filter(|(path, _)| *path != file.path);
            if let Some((_, left)) = left.filter(|_| position == 0) {
                left.write_at(buf, 0)?;
                left.sync_data()?;
            }
        }
        file.inner.write_at(buf, position)
    }
}

/// Syncs partitions' files only after the manifest that describes them.
#[derive(Debug, Default)]
pub(super) struct ManifestFirst {
    owed: Owed,
    manifest_is_durable: Mutex<bool>,
}

impl Flaw for ManifestFirst {
    fn write_at(&self, file: &FlawedFile, buf: &[u8], position: u64) -> io::Result<usize> {
        if file.role == Role::Journal && std::mem::take(&mut *state(&self.manifest_is_durable)) {
            self.owed.settle()?;
        }
        file.inner.write_at(buf, position)
    }

    fn sync_data(&self, file: &FlawedFile) -> io::Result<()> {
        match file.role {
            Role::Partition => {
                self.owed.owe(file);
                return Ok(());
            }
            Role::Slot => *state(&self.manifest_is_durable) = true,
            Role::Journal | Role::Other => {}
        }
        file.inner.sync_data()
    }
}

/// Removes a segment one checkpoint too early: together with the one before it.
/// A file system cannot tell when retention has passed a segment, and one that is
/// removed between that and its checkpoint is missed by nobody, since replaying
/// the journal passes it again; so this takes one that is still to be read.
#[derive(Debug)]
pub(super) struct RemoveEarly;

impl Flaw for RemoveEarly {
    fn remove_file(&self, inner: &dyn FileSystem, path: &Path) -> io::Result<()> {
        inner.remove_file(path)?;
        let is_segment = |path: &Path| path.extension().is_some_and(|kind| kind == "log");
        let is_in_partition = role_of(path) == Role::Partition && is_segment(path);
        let Some(dir) = path.parent().filter(|_| is_in_partition) else { return Ok(()) };
        let mut segments = inner.list(dir)?;
        segments.retain(|entry| is_segment(Path::new(&entry.name)));
        match segments.as_slice() {
            // The last one is being written to.
            [next, _, ..] => inner.remove_file(&dir.join(&next.name)),
            _ => Ok(()),
        }
    }
}
