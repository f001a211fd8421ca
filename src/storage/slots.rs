//! The two slots that the manifest is written to, in turn.
//!
//! A write may be torn, so the only good slot is never written over: an invalid
//! one goes first, else the one with the higher number. A crash between the two
//! may have left that one in the cache alone, while the other is surely on disk.
//! Two of one number tell nothing: so the other one is synced before the first is
//! written, unless this process has synced both.

use super::latch::Latch;
use super::manifest::{Manifest, SLOT_HEADER_BYTES, SlotContent};
use super::store::Env;
use crate::env::exact::{read_up_to, write_all_at};
use crate::env::{Access, File, FileSystem, Probe};
use crate::error::{Error, IoContext, Result};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The names of the slots.
pub(crate) const SLOT_NAMES: [&str; 2] = ["manifest.a", "manifest.b"];
/// The longest slot that is read.
const SLOT_BYTES_MAX: u64 = 1 << 30;
const PAGE_BYTES: u64 = 4096;

/// The slots of a log.
#[derive(Debug)]
pub(crate) struct Slots {
    dir: PathBuf,
    file_system: Arc<dyn FileSystem>,
    latch: Arc<Latch>,
    probe: Arc<dyn Probe>,
    /// The checkpoint that each holds, if it is valid.
    checkpoints: [Option<u64>; 2],
    /// Both are surely on the disk: this process has synced them.
    are_firm: bool,
}

/// The state found in the slots.
#[derive(Debug)]
pub(crate) struct FoundManifest {
    pub(crate) manifest: Manifest,
    /// Whether the other slot holds the same.
    pub(crate) both_agree: bool,
}

impl Slots {
    pub(crate) fn new(dir: &Path, env: &Env, latch: Arc<Latch>) -> Self {
        let (file_system, probe) = (Arc::clone(&env.file_system), Arc::clone(&env.probe));
        Self {
            dir: dir.to_owned(),
            file_system,
            latch,
            probe,
            checkpoints: [None, None],
            are_firm: false,
        }
    }

    fn path(&self, slot: usize) -> PathBuf {
        self.dir.join(SLOT_NAMES.get(slot).copied().unwrap_or_default())
    }

    /// Reads both slots and returns the later state; `None` if neither is valid.
    pub(crate) fn read(&mut self) -> Result<Option<FoundManifest>> {
        let mut found: Vec<(u64, Manifest)> = Vec::new();
        for slot in 0..SLOT_NAMES.len() {
            match self.read_slot(slot)? {
                SlotContent::Valid(checkpoint, manifest) => {
                    self.checkpoints[slot] = Some(checkpoint);
                    found.push((checkpoint, *manifest));
                }
                SlotContent::UnknownVersion(found) => {
                    let supported = super::manifest::MANIFEST_VERSION;
                    return Err(Error::UnsupportedVersion {
                        path: self.path(slot),
                        found,
                        supported,
                    });
                }
                SlotContent::Invalid => {}
            }
        }
        let both_agree = matches!(found.as_slice(), [a, b] if a == b);
        let latest = found.into_iter().max_by_key(|(checkpoint, _)| *checkpoint);
        Ok(latest.map(|(_, manifest)| FoundManifest { manifest, both_agree }))
    }

    /// The slots that were read and found invalid.
    pub(crate) fn invalid_paths(&self) -> impl Iterator<Item = PathBuf> {
        let slots = (0..).zip(&self.checkpoints);
        slots.filter(|(_, checkpoint)| checkpoint.is_none()).map(|(slot, _)| self.path(slot))
    }

    /// A slot's content; one that seems invalid is read again through a fresh handle.
    fn read_slot(&self, slot: usize) -> Result<SlotContent> {
        let path = self.path(slot);
        for _ in 0..2 {
            let file = match self.file_system.open(&path, Access::Read) {
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                opened => opened.at("open", &path)?,
            };
            let len = slot_len(&*file).at("read", &path)?.min(SLOT_BYTES_MAX);
            let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
            // A slot that the disk cannot read is as bad as a torn one: the other decides.
            let read = read_up_to(&*file, &mut bytes, 0).unwrap_or_default();
            bytes.truncate(read);
            match Manifest::decode_slot(&bytes) {
                SlotContent::Invalid => {}
                content => return Ok(content),
            }
        }
        Ok(SlotContent::Invalid)
    }

    /// The number of the last checkpoint.
    pub(crate) fn last_checkpoint(&self) -> u64 {
        self.checkpoints.iter().flatten().copied().max().unwrap_or_default()
    }

    /// Writes and syncs one slot, then the other. Fails without harm if there
    /// is no room; any later failure latches.
    pub(crate) fn write(&mut self, manifest: &Manifest) -> Result<()> {
        let checkpoint = self.last_checkpoint() + 1;
        let bytes = manifest.encode_slot(checkpoint);
        let needed = (bytes.len() as u64).next_multiple_of(PAGE_BYTES);
        let order = self.write_order();
        let mut files = Vec::new();
        for slot in order {
            let file = self.open_for_write(slot)?;
            file.allocate(needed).at("allocate space for", &self.path(slot))?;
            files.push((slot, file));
        }
        // A process that was killed may have left what is seen in the other in the
        // cache alone. It stands for both while the first is written.
        if let Some((slot, other)) = files.last().filter(|_| !self.are_firm) {
            let synced = other.sync_data().at("sync", &self.path(*slot));
            synced.inspect_err(|error| self.latch.set(error))?;
        }
        self.are_firm = false;
        for (slot, file) in files {
            let path = self.path(slot);
            let written = write_all_at(&*file, &bytes, 0).at("write", &path);
            let synced = written.and_then(|()| file.sync_data().at("sync", &path));
            synced.inspect_err(|error| self.latch.set(error))?;
            self.checkpoints[slot] = Some(checkpoint);
        }
        self.are_firm = true;
        Ok(())
    }

    /// Writes one slot of a log that is being created.
    pub(crate) fn create(&mut self, slot: usize, manifest: &Manifest) -> Result<()> {
        let path = self.path(slot);
        let bytes = manifest.encode_slot(1);
        let file = self.open_for_write(slot)?;
        write_all_at(&*file, &bytes, 0).at("write", &path)?;
        file.sync_data().at("sync", &path)?;
        self.checkpoints[slot] = Some(1);
        self.file_system.sync_dir(&self.dir).at("sync", &self.dir)
    }

    /// A missing slot is made anew, its name durable.
    fn open_for_write(&self, slot: usize) -> Result<Arc<dyn File>> {
        let path = self.path(slot);
        match self.file_system.open(&path, Access::ReadWrite) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let file = self.file_system.create_new(&path).at("create", &path)?;
                let synced = self.file_system.sync_dir(&self.dir).at("sync", &self.dir);
                synced.inspect_err(|error| {
                    self.latch.set(error);
                    // The cache may show the name for good and the disk never
                    // have it. Taken back, it is made anew after reopening.
                    drop(self.file_system.remove_file(&path));
                })?;
                Ok(file)
            }
            opened => opened.at("open", &path),
        }
    }

    fn write_order(&self) -> [usize; 2] {
        match self.checkpoints {
            _ if self.probe.canary("slots-in-one-order") => [0, 1],
            [Some(a), Some(b)] if b > a => [1, 0],
            [Some(_), None] => [1, 0],
            _ => [0, 1],
        }
    }
}

/// How long the slot is by its own account, which its file must have room for.
fn slot_len(file: &dyn File) -> std::io::Result<u64> {
    let mut front = [0; SLOT_HEADER_BYTES];
    let read = read_up_to(file, &mut front, 0).unwrap_or_default();
    let len = Manifest::slot_len(front.get(..read).unwrap_or(&[]));
    Ok(len.unwrap_or_default().min(file.len()?))
}
