//! The side folder: copies of what a repair replaces or removes.
//!
//! ```text
//! <data dir>/.merkql-repair/<n>/      n counts repairs
//!   manifest.a  journal/...  topics/...   under the paths that they had in the log
//! ```
//!
//! Each copy is synced, and its name, before anything is changed.

use crate::env::exact::{read_sectors_up_to, read_up_to, write_all_at};
use crate::env::{Access, EntryKind, FileSystem};
use crate::error::{Error, IoContext, Result};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Below the data directory.
const SIDE_DIR: &str = ".merkql-repair";
const CHUNK_BYTES: usize = 1 << 20;

/// Copies files to the side folder; nothing in a dry run.
#[derive(Debug)]
pub(super) struct Keep {
    file_system: Arc<dyn FileSystem>,
    /// The folder of all repairs, and that of the log.
    side_dir: PathBuf,
    log_dir: PathBuf,
    copies: bool,
    /// This repair's folder, once there is something in it.
    dir: Option<PathBuf>,
    kept: BTreeSet<PathBuf>,
}

impl Keep {
    pub(super) fn new(
        file_system: &Arc<dyn FileSystem>,
        data_dir: &Path,
        log_dir: &Path,
        copies: bool,
    ) -> Self {
        Self {
            file_system: Arc::clone(file_system),
            side_dir: data_dir.join(SIDE_DIR),
            log_dir: log_dir.to_owned(),
            copies,
            dir: None,
            kept: BTreeSet::new(),
        }
    }

    /// Where the copies are, if there are any.
    pub(super) fn into_dir(self) -> Option<PathBuf> {
        self.dir
    }

    /// Copies a file of the log; one that is gone is none.
    pub(super) fn file(&mut self, path: &Path) -> Result<()> {
        if !self.copies || !self.kept.insert(path.to_owned()) {
            return Ok(());
        }
        let source = match self.file_system.open(path, Access::Read) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            opened => opened.at("open", path)?,
        };
        let inside = path.strip_prefix(&self.log_dir).unwrap_or(path);
        let target_path = self.numbered_dir()?.join(inside);
        let parent = target_path.parent().unwrap_or(&target_path).to_owned();
        self.ensure_dir(&parent)?;
        let target = self.file_system.create_new(&target_path).at("create", &target_path)?;
        let len = source.len().at("read the length of", path)?;
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut position = 0;
        while position < len {
            let read = read_up_to(&*source, &mut buffer, position)
                .or_else(|_| read_sectors_up_to(&*source, &mut buffer, position))
                .at("read", path)?;
            if read == 0 {
                break;
            }
            let bytes = buffer.get(..read).unwrap_or_default();
            write_all_at(&*target, bytes, position).at("write", &target_path)?;
            position += read as u64;
        }
        target.sync_data().at("sync", &target_path)?;
        self.file_system.sync_dir(&parent).at("sync", &parent)
    }

    /// Copies all files below a folder of the log.
    pub(super) fn folder(&mut self, dir: &Path) -> Result<()> {
        let entries = match self.file_system.list(dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            listed => listed.at("list", dir)?,
        };
        for entry in entries {
            let path = dir.join(&entry.name);
            match entry.kind {
                EntryKind::File => self.file(&path)?,
                EntryKind::Directory => self.folder(&path)?,
                EntryKind::Other => {}
            }
        }
        Ok(())
    }

    /// This repair's folder, under the first number that is free.
    fn numbered_dir(&mut self) -> Result<PathBuf> {
        if let Some(dir) = &self.dir {
            return Ok(dir.clone());
        }
        self.ensure_dir(&self.side_dir)?;
        let taken = self.file_system.list(&self.side_dir).at("list", &self.side_dir)?;
        let greatest = taken.iter().filter_map(|entry| entry.name.parse::<u64>().ok()).max();
        let number = greatest.unwrap_or_default().saturating_add(1);
        let dir = self.side_dir.join(number.to_string());
        self.ensure_dir(&dir)?;
        self.dir = Some(dir.clone());
        Ok(dir)
    }

    /// Creates a folder and those above it, their names durable.
    fn ensure_dir(&self, dir: &Path) -> Result<()> {
        match self.file_system.create_dir(dir) {
            // The name may be from a repair that came no further.
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
                let parent = parent.ok_or_else(|| Error::io("create", dir, error))?;
                self.ensure_dir(parent)?;
                self.file_system.create_dir(dir).at("create", dir)?;
            }
            Err(error) => return Err(Error::io("create", dir, error)),
        }
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        self.file_system.sync_dir(parent).at("sync", parent)
    }
}
