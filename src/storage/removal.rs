//! Removing what nothing names any more: files, and the folders of deleted topics.
//!
//! ```text
//! garbage     what the next checkpoint's slots will not name
//!    │ switch
//! pending     what the slots that are being written do not name
//!    │ both slots are durable
//! removable   may go: files at once, folders a few with each commit
//! ```

use super::store::{Store, Writer};
use crate::env::EntryKind;
use crate::error::{IoContext, Result};
use std::path::{Path, PathBuf};

/// How many folders of deleted topics one commit removes.
const FOLDERS_PER_COMMIT: usize = 4;

impl Store {
    /// Removes files that nothing names. One that cannot be removed now is
    /// tried again after the next checkpoint.
    pub(crate) fn remove_files(&self, paths: Vec<PathBuf>, writer: &mut Writer) {
        for path in paths {
            match self.env.file_system.remove_file(&path).at("remove", &path) {
                Err(error) if !error.is_not_found() => writer.garbage.push(path),
                _ => {}
            }
        }
    }

    /// Removes a few of the folders that nothing names: the part of one commit.
    pub(crate) fn remove_some_folders(&self, writer: &mut Writer) {
        let count = writer.removable.len().min(FOLDERS_PER_COMMIT);
        let some = writer.removable.drain(..count).collect();
        self.remove_folders_now(some, writer);
    }

    /// Removes all folders that nothing names.
    pub(crate) fn remove_all_folders(&self, writer: &mut Writer) {
        let all = writer.removable.drain(..).collect();
        self.remove_folders_now(all, writer);
    }

    fn remove_folders_now(&self, dirs: Vec<PathBuf>, writer: &mut Writer) {
        for dir in dirs {
            match self.remove_folder(&dir) {
                Err(error) if !error.is_not_found() => {
                    self.env.probe.mark("removal.folder_kept");
                    writer.garbage_folders.push(dir);
                }
                _ => {}
            }
        }
    }

    /// Removes a folder and what is in it: a partition's, or a topic's.
    pub(crate) fn remove_folder(&self, dir: &Path) -> Result<()> {
        let file_system = &self.env.file_system;
        for entry in file_system.list(dir).at("list", dir)? {
            let path = dir.join(&entry.name);
            if entry.kind == EntryKind::Directory {
                self.remove_folder(&path)?;
            } else {
                file_system.remove_file(&path).at("remove", &path)?;
            }
        }
        file_system.remove_dir(dir).at("remove", dir)
    }
}
