//! Removing what nothing names any more: files, and the folders of deleted topics.
//!
//! ```text
//! garbage     what the next checkpoint's slots will not name
//!    │ switch
//! pending     what the slots that are being written do not name
//!    │ both slots are durable
//! removable   may go: some with each commit, so that no append pays for all
//! ```

use super::store::{Store, Writer};
use crate::env::{EntryKind, FileSystem};
use crate::error::{IoContext, Result};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// How many files one commit removes at most.
const FILES_PER_COMMIT: usize = 16;
/// How many folders of deleted topics one commit removes at most.
const FOLDERS_PER_COMMIT: usize = 4;

/// What no slot names any more.
#[derive(Debug, Default)]
pub(crate) struct Removable {
    pub(crate) files: VecDeque<PathBuf>,
    /// Each in front of the one that it lies in.
    pub(crate) folders: VecDeque<PathBuf>,
}

impl Store {
    /// Removes some of what nothing names: the part of one commit.
    pub(crate) fn remove_some(&self, writer: &mut Writer) {
        self.remove_up_to(FILES_PER_COMMIT, FOLDERS_PER_COMMIT, writer);
    }

    /// Removes all that nothing names.
    pub(crate) fn remove_all(&self, writer: &mut Writer) {
        self.remove_up_to(usize::MAX, usize::MAX, writer);
    }

    fn remove_up_to(&self, files: usize, folders: usize, writer: &mut Writer) {
        let removable = &mut writer.removable;
        let files = removable.files.drain(..files.min(removable.files.len())).collect();
        // Emptied first: a folder goes at once, with all that is in it.
        let folders = if removable.files.is_empty() { folders } else { 0 };
        let folders = removable.folders.drain(..folders.min(removable.folders.len())).collect();
        self.remove_files(files, writer);
        self.remove_folders_now(folders, writer);
    }

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

    /// Removes folders that nothing names, with all that is in them. One that cannot
    /// be removed now is tried again after the next checkpoint.
    pub(crate) fn remove_folders_now(&self, dirs: Vec<PathBuf>, writer: &mut Writer) {
        for dir in dirs {
            match remove_folder(&*self.env.file_system, &dir) {
                Err(error) if !error.is_not_found() => {
                    self.env.probe.mark("removal.folder_kept");
                    writer.garbage_folders.push(dir);
                }
                _ => {}
            }
        }
    }
}

/// Removes a folder and what is in it: a partition's, or a topic's.
pub(crate) fn remove_folder(file_system: &dyn FileSystem, dir: &Path) -> Result<()> {
    for entry in file_system.list(dir).at("list", dir)? {
        let path = dir.join(&entry.name);
        if entry.kind == EntryKind::Directory {
            remove_folder(file_system, &path)?;
        } else {
            file_system.remove_file(&path).at("remove", &path)?;
        }
    }
    file_system.remove_dir(dir).at("remove", dir)
}
