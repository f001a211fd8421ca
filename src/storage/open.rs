//! Opening a directory: a new log, a log that was closed, or one to be recovered.

use super::block::BlockBuffer;
use super::canonical::RecordHasher;
use super::chain::{Chain, holds_any_block, read_chain};
use super::files::FilePool;
use super::journal::{Journal, JournalContext};
use super::judge::{Length, judge};
use super::latch::Latch;
use super::manifest::Manifest;
use super::options::StorageOptions;
use super::partition::PartitionContext;
use super::recovery::anchor;
use super::removal::Removable;
use super::slots::{FoundManifest, SLOT_NAMES, Slots};
use super::store::{Env, Footing, Store, Writer};
use super::tables::Tables;
use crate::env::{DirEntry, EntryKind, Lock};
use crate::error::{Error, IoContext, Result};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(super) const LOG_DIR: &str = ".merkql";
pub(super) const LOCK_FILE: &str = "LOCK";
pub(super) const JOURNAL_DIR: &str = "journal";
pub(super) const TOPICS_DIR: &str = "topics";
/// In the place of the identity of a log that has no manifest.
const UNKNOWN_LOG_ID: [u8; 16] = [0; 16];

/// What is needed to open a log.
pub(super) struct Opener {
    env: Env,
    options: StorageOptions,
    data_dir: PathBuf,
    dir: PathBuf,
    latch: Arc<Latch>,
}

impl Store {
    /// Opens the log in `data_dir`, which is created if there is none.
    pub(crate) fn open(env: Env, options: StorageOptions, data_dir: &Path) -> Result<Self> {
        options.validate()?;
        Opener::new(env, options, data_dir).open()
    }
}

impl Opener {
    pub(super) fn new(env: Env, options: StorageOptions, data_dir: &Path) -> Self {
        Self {
            env,
            options,
            data_dir: data_dir.to_owned(),
            dir: data_dir.join(LOG_DIR),
            latch: Arc::default(),
        }
    }

    /// The directory `.merkql`.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    fn open(&self) -> Result<Store> {
        // Looked at before the lock, which would leave a file in a stranger's folder.
        self.refuse_strangers(&self.entries()?)?;
        self.ensure_dir(&self.dir)?;
        let lock = self.lock()?;
        let entries = self.entries()?;
        let mut slots = self.slots();
        match slots.read()? {
            Some(found) if self.is_unused(&found.manifest, &entries)? => {
                self.env.probe.mark("creation.begun_again");
                self.create(&entries, lock)
            }
            Some(found) => self.load(slots, &found, lock),
            None if self.is_unfinished(&entries)? => self.create(&entries, lock),
            None => Err(self.no_manifest(&entries)),
        }
    }

    pub(super) fn slots(&self) -> Slots {
        Slots::new(&self.dir, &self.env, Arc::clone(&self.latch))
    }

    pub(super) fn entries(&self) -> Result<Vec<DirEntry>> {
        match self.env.file_system.list(&self.dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) if error.kind() == ErrorKind::NotADirectory => Err(Error::NotALog {
                path: self.data_dir.clone(),
                reason: "a file stands in the place of the directory".to_owned(),
            }),
            listed => listed.at("list", &self.dir),
        }
    }

    /// Refuses the predecessor's logs, and folders that are somebody else's.
    pub(super) fn refuse_strangers(&self, entries: &[DirEntry]) -> Result<()> {
        let has = |name: &str| entries.iter().any(|entry| entry.name == name);
        if SLOT_NAMES.iter().any(|slot| has(slot)) {
            return Ok(());
        }
        if has("config.bin") || has("groups") || self.holds_predecessor_topic() {
            return Err(Error::PredecessorFormat { path: self.dir.clone() });
        }
        let ours = [LOCK_FILE, JOURNAL_DIR, TOPICS_DIR];
        match entries.iter().find(|entry| !ours.contains(&entry.name.as_str())) {
            None => Ok(()),
            Some(stranger) => Err(Error::NotALog {
                path: self.dir.clone(),
                reason: format!("it holds {:?} and no manifest", stranger.name),
            }),
        }
    }

    fn holds_predecessor_topic(&self) -> bool {
        let topics_dir = self.dir.join(TOPICS_DIR);
        let topics = self.env.file_system.list(&topics_dir).unwrap_or_default();
        topics.iter().any(|topic| {
            let files = self.env.file_system.list(&topics_dir.join(&topic.name));
            files.unwrap_or_default().iter().any(|file| file.name == "meta.bin")
        })
    }

    /// Whether a creation was begun here and not finished: nothing was ever
    /// acknowledged, and it may begin again.
    pub(super) fn is_unfinished(&self, entries: &[DirEntry]) -> Result<bool> {
        let has = |name: &str| entries.iter().any(|entry| entry.name == name);
        let [_, second_slot] = SLOT_NAMES;
        if has(second_slot) || has(TOPICS_DIR) {
            return Ok(false);
        }
        Ok(!has(JOURNAL_DIR) || !holds_any_block(&self.journal_context(UNKNOWN_LOG_ID))?)
    }

    /// Whether nothing was ever acknowledged here. Creation may then have ended
    /// at any point, with anything of it in the cache alone: a kill before a
    /// sync, or a failed one, leaves a directory that looks whole and is not. So
    /// it is made again, which puts all of it on the disk.
    pub(super) fn is_unused(&self, manifest: &Manifest, entries: &[DirEntry]) -> Result<bool> {
        // Looked at first: every log in use ends here, without a look at its journal.
        if !manifest.is_initial() {
            return Ok(false);
        }
        let topics_dir = self.dir.join(TOPICS_DIR);
        let no_topics = match self.env.file_system.list(&topics_dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => true,
            listed => listed.at("list", &topics_dir)?.is_empty(),
        };
        let has = |name: &str| entries.iter().any(|entry| entry.name == name);
        let [_, second_slot] = SLOT_NAMES;
        let no_blocks = if has(JOURNAL_DIR) {
            !holds_any_block(&self.journal_context(UNKNOWN_LOG_ID))?
        } else {
            // Gone while creation began again, which removes slot b before.
            !has(second_slot)
        };
        Ok(no_topics && no_blocks)
    }

    pub(super) fn no_manifest(&self, entries: &[DirEntry]) -> Error {
        let slots =
            entries.iter().filter(|entry| SLOT_NAMES.contains(&entry.name.as_str())).count();
        let reason = match slots {
            0 => "both manifest slots are missing",
            1 => "one manifest slot is missing and the other is damaged",
            _ => "both manifest slots are damaged",
        };
        Error::corrupt(&self.dir.join(SLOT_NAMES[0]), 0, reason)
    }

    pub(super) fn lock(&self) -> Result<Box<dyn Lock>> {
        let path = self.dir.join(LOCK_FILE);
        match self.env.file_system.try_lock(&path) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                Err(Error::AlreadyOpen { path: self.data_dir.clone() })
            }
            locked => locked.at("lock", &path),
        }
    }

    pub(super) fn journal_context(&self, log_id: [u8; 16]) -> JournalContext {
        JournalContext {
            dir: self.dir.join(JOURNAL_DIR),
            log_id,
            file_system: Arc::clone(&self.env.file_system),
            entropy: Arc::clone(&self.env.entropy),
            probe: Arc::clone(&self.env.probe),
            latch: Arc::clone(&self.latch),
            sizes: self.options.journal,
        }
    }

    pub(super) fn partition_context(&self, log_id: [u8; 16]) -> PartitionContext {
        let file_system = Arc::clone(&self.env.file_system);
        PartitionContext {
            pool: FilePool::new(file_system, self.options.open_files_max, Arc::clone(&self.latch)),
            options: self.options,
            log_id,
            probe: Arc::clone(&self.env.probe),
            topics_dir: self.dir.join(TOPICS_DIR),
        }
    }

    /// Makes a new log: journal and slot a with their names, then slot b, then
    /// the topics' folder, so that an unfinished creation can be told.
    fn create(&self, entries: &[DirEntry], lock: Box<dyn Lock>) -> Result<Store> {
        let file_system = &self.env.file_system;
        self.sync_folders_above()?;
        self.clear_unfinished(entries)?;
        let mut slots = self.slots();
        let mut log_id = [0; 16];
        self.env.entropy.fill(&mut log_id).at("draw random bytes for", &self.dir)?;
        let journal_dir = self.dir.join(JOURNAL_DIR);
        self.ensure_dir(&journal_dir)?;
        let journal = Journal::create(self.journal_context(log_id))?;
        let manifest = Manifest {
            log_id,
            start: journal.start(),
            next_incarnation: 1,
            topics: Vec::new(),
            groups: BTreeMap::new(),
            producers: std::iter::empty().collect(),
        };
        slots.create(0, &manifest)?;
        slots.create(1, &manifest)?;
        let topics_dir = self.dir.join(TOPICS_DIR);
        file_system.create_dir(&topics_dir).at("create", &topics_dir)?;
        file_system.sync_dir(&self.dir).at("sync", &self.dir)?;
        let context = self.partition_context(log_id);
        let tables = Tables::from_manifest(&context, &manifest);
        let writer = writer(journal, slots, Footing::Firm, 1);
        let store = self.store(context, tables, writer, lock);
        store.serve();
        Ok(store)
    }

    fn clear_unfinished(&self, entries: &[DirEntry]) -> Result<()> {
        let file_system = &self.env.file_system;
        let begun = |name: &str| entries.iter().any(|entry| entry.name == name);
        // In the reverse order of their creation, so that what a power cut
        // leaves of the removal is an unfinished creation too.
        let [_, second_slot] = SLOT_NAMES;
        if begun(TOPICS_DIR) {
            let path = self.dir.join(TOPICS_DIR);
            file_system.remove_dir(&path).at("remove", &path)?;
        }
        if begun(second_slot) {
            let path = self.dir.join(second_slot);
            file_system.remove_file(&path).at("remove", &path)?;
        }
        if begun(TOPICS_DIR) || begun(second_slot) {
            file_system.sync_dir(&self.dir).at("sync", &self.dir)?;
        }
        if begun(SLOT_NAMES[0]) {
            let path = self.dir.join(SLOT_NAMES[0]);
            file_system.remove_file(&path).at("remove", &path)?;
        }
        if begun(JOURNAL_DIR) {
            let journal_dir = self.dir.join(JOURNAL_DIR);
            for file in file_system.list(&journal_dir).at("list", &journal_dir)? {
                let path = journal_dir.join(&file.name);
                file_system.remove_file(&path).at("remove", &path)?;
            }
            file_system.remove_dir(&journal_dir).at("remove", &journal_dir)?;
        }
        Ok(())
    }

    /// Opens a log that is there, recovering it where a crash left work.
    fn load(&self, slots: Slots, found: &FoundManifest, lock: Box<dyn Lock>) -> Result<Store> {
        let manifest = &found.manifest;
        let context = self.partition_context(manifest.log_id);
        let tables = Tables::from_manifest(&context, manifest);
        let chain = read_chain(&self.journal_context(manifest.log_id), &manifest.start)?;
        let findings = judge(&context, manifest, &tables, &chain)?;
        let clean = was_closed(found, &chain) && findings.is_clean();
        let next_incarnation = findings.next_incarnation;
        // A creation may have ended just before it.
        self.ensure_dir(&context.topics_dir)?;
        if clean {
            for short in findings.partitions.iter().filter(|found| found.log == Length::Shorter) {
                self.env.probe.mark("open.segment_is_short");
                short.partition.head().set_active_damaged();
            }
            for found in &findings.partitions {
                found.partition.head().raise_generation(found.generation_max.saturating_add(1));
            }
            let next_number = chain.number_max.saturating_add(1);
            let journal =
                Journal::open(self.journal_context(manifest.log_id), manifest.start, next_number)?;
            let writer = writer(journal, slots, Footing::Clean, next_incarnation);
            let store = self.store(context, tables, writer, lock);
            store.serve();
            return Ok(store);
        }
        let journal = anchor(self.journal_context(manifest.log_id), &manifest.start, &chain)?;
        let writer = writer(journal, slots, Footing::Changed, next_incarnation);
        let store = self.store(context, tables, writer, lock);
        store.recover(&mut crate::sync::lock(&store.writer), &chain, findings)?;
        store.serve();
        Ok(store)
    }

    fn store(
        &self,
        context: PartitionContext,
        tables: Tables,
        writer: Writer,
        lock: Box<dyn Lock>,
    ) -> Store {
        Store::new(self.env.clone(), context, Arc::clone(&self.latch), tables, writer, lock)
    }

    /// Makes the names of all folders above durable: an earlier attempt may have
    /// created them and not come to it.
    fn sync_folders_above(&self) -> Result<()> {
        let file_system = &self.env.file_system;
        for folder in self.data_dir.ancestors() {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            match file_system.sync_dir(folder) {
                // A folder that we may not read is not one that we made.
                Err(error)
                    if error.kind() == ErrorKind::PermissionDenied && folder != self.data_dir => {}
                synced => synced.at("sync", folder)?,
            }
        }
        Ok(())
    }

    /// Creates a folder and those above it, their names durable.
    fn ensure_dir(&self, dir: &Path) -> Result<()> {
        let file_system = &self.env.file_system;
        match file_system.create_dir(dir) {
            Ok(()) => {
                let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
                let parent = parent.unwrap_or(Path::new("."));
                let synced = file_system.sync_dir(parent).at("sync", parent);
                // The cache may show the name for good and the disk never have
                // it. Taken back, it is made anew by the next attempt.
                synced.inspect_err(|_| drop(file_system.remove_dir(dir)))
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => self.require_dir(dir),
            Err(error) if error.kind() == ErrorKind::NotFound => match dir.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => {
                    self.ensure_dir(parent)?;
                    self.ensure_dir(dir)
                }
                _ => Err(Error::io("create", dir, error)),
            },
            Err(error) => Err(Error::io("create", dir, error)),
        }
    }

    fn require_dir(&self, dir: &Path) -> Result<()> {
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        let listed = self.env.file_system.list(parent.unwrap_or(Path::new(".")));
        let is_file = listed.unwrap_or_default().iter().any(|entry| {
            entry.kind == EntryKind::File
                && dir.file_name().is_some_and(|name| name == entry.name.as_str())
        });
        if is_file {
            let reason = "a file stands in the place of the directory".to_owned();
            return Err(Error::NotALog { path: dir.to_owned(), reason });
        }
        Ok(())
    }
}

/// Whether slots and journal are just as a clean close leaves them.
pub(super) fn was_closed(found: &FoundManifest, chain: &Chain) -> bool {
    let start = &found.manifest.start;
    found.both_agree
        && chain.blocks.is_empty()
        && !chain.torn
        && chain.generation_max == start.generation
        && chain.numbers == [start.file]
}

fn writer(journal: Journal, slots: Slots, footing: Footing, next_incarnation: u64) -> Writer {
    Writer {
        journal,
        block: BlockBuffer::new(),
        hasher: RecordHasher::default(),
        slots,
        checkpoint: None,
        touched: BTreeMap::new(),
        garbage: Vec::new(),
        garbage_folders: Vec::new(),
        removable: Removable::default(),
        retained_at: Duration::ZERO,
        footing,
        next_incarnation,
    }
}
