//! A directory as data: what a case changes, and what it is compared with.

use crate::disk::SimDisk;
use merkql::env::{Access, EntryKind, FileSystem};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

/// The log's directory, and what it is made in.
pub(crate) const DATA_DIR: &str = "/log";
/// What the log keeps in there.
pub(crate) const LOG: &str = "/log/.merkql";

/// All files and folders of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Folder {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) dirs: BTreeSet<String>,
}

impl Folder {
    /// What is on the disk now, as a process sees it.
    pub(crate) fn of(disk: &SimDisk) -> Self {
        let process = disk.process();
        let mut folder = Self::default();
        let mut to_visit = vec![DATA_DIR.to_owned()];
        while let Some(dir) = to_visit.pop() {
            for entry in process.list(Path::new(&dir)).unwrap_or_default() {
                let path = format!("{dir}/{}", entry.name);
                if entry.kind == EntryKind::Directory {
                    to_visit.push(path);
                } else if let Ok(content) = disk.content(&path) {
                    folder.files.insert(path, content);
                }
            }
            folder.dirs.insert(dir);
        }
        folder
    }

    /// How many bytes the files have.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.values().map(|content| content.len() as u64).sum()
    }

    /// A disk that holds this, all of it durable, made from one that holds `before`.
    pub(crate) fn on(&self, base: &SimDisk, before: &Self) -> io::Result<SimDisk> {
        let disk = base.fork();
        let process = disk.process();
        for path in before.files.keys().filter(|path| !self.files.contains_key(*path)) {
            process.remove_file(Path::new(path))?;
        }
        for path in before.dirs.iter().rev().filter(|path| !self.dirs.contains(*path)) {
            process.remove_dir(Path::new(path))?;
        }
        for path in self.dirs.iter().filter(|path| !before.dirs.contains(*path)) {
            process.create_dir(Path::new(path))?;
        }
        for (path, content) in &self.files {
            let old = before.files.get(path);
            if old == Some(content) {
                continue;
            }
            let path = Path::new(path);
            let file = match old {
                Some(_) => process.open(path, Access::ReadWrite)?,
                None => process.create_new(path)?,
            };
            file.set_len(0)?;
            file.write_at(content, 0)?;
            file.sync_data()?;
        }
        for dir in &self.dirs {
            process.sync_dir(Path::new(dir))?;
        }
        Ok(disk)
    }

    /// Removes a folder and all that is in it.
    pub(crate) fn remove_dir(&mut self, dir: &str) {
        let below = format!("{dir}/");
        self.files.retain(|path, _| !path.starts_with(&below));
        self.dirs.retain(|path| path != dir && !path.starts_with(&below));
    }

    /// Whether everything in which this differs from `before` is the same in `now`.
    pub(crate) fn is_still_in(&self, now: &Self, before: &Self) -> bool {
        let paths = self.files.keys().chain(before.files.keys());
        let mut changed = paths.filter(|path| self.files.get(*path) != before.files.get(*path));
        changed.all(|path| now.files.get(path) == self.files.get(path))
    }

    /// What differs from `other`, in words; nothing if they are the same but for
    /// `LOCK`, which opening may make.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let lock = format!("{LOG}/LOCK");
        let paths: BTreeSet<&String> = self.files.keys().chain(other.files.keys()).collect();
        for path in paths.into_iter().filter(|path| **path != lock) {
            match (self.files.get(path), other.files.get(path)) {
                (Some(a), Some(b)) if a == b => {}
                (Some(a), Some(b)) => {
                    let at = a.iter().zip(b).take_while(|(a, b)| a == b).count();
                    let (a, b) = (a.len(), b.len());
                    return Some(format!("{path} differs at byte {at} (of {a} and of {b})"));
                }
                (Some(_), None) => return Some(format!("{path} is gone")),
                (None, _) => return Some(format!("{path} is new")),
            }
        }
        let dir = self.dirs.symmetric_difference(&other.dirs).next();
        dir.map(|dir| format!("{dir} is in one alone"))
    }
}

/// What a path of the log is of, by its name and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum FileKind {
    Slot,
    Journal,
    Log,
    Index,
    Hashes,
    Lock,
    Other,
}

impl FileKind {
    pub(crate) fn of(path: &str) -> Self {
        let name = path.rsplit('/').next().unwrap_or_default();
        let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
        match (name, extension) {
            ("LOCK", _) => Self::Lock,
            ("manifest.a" | "manifest.b", _) => Self::Slot,
            ("hashes", _) => Self::Hashes,
            (_, Some("wal")) => Self::Journal,
            (_, Some("log")) => Self::Log,
            (_, Some("idx")) => Self::Index,
            _ => Self::Other,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Slot => "slot",
            Self::Journal => "journal",
            Self::Log => "log",
            Self::Index => "index",
            Self::Hashes => "hashes",
            Self::Lock => "lock",
            Self::Other => "other",
        }
    }
}

/// The topic's incarnation and the partition's number in a path below `topics/`.
pub(crate) fn place_of(path: &str) -> Option<(u64, u32)> {
    let rest = path.strip_prefix(LOG)?.strip_prefix("/topics/")?;
    let mut parts = rest.split('/');
    let (_, incarnation) = parts.next()?.rsplit_once('.')?;
    Some((incarnation.parse().ok()?, parts.next()?.parse().ok()?))
}
