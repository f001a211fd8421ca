//! The journal's writing side.
//!
//! ```text
//! journal/0000000001.wal   | block | block | block | ... | link |     full
//! journal/0000000002.wal   | block | block | zeroes or older generations ...
//! ```
//!
//! Files are written with zeroes before their first use, so that a commit
//! changes no metadata and its sync is one write to the disk. They start small,
//! grow with use up to a bound, and are used again under their names once the
//! checkpoint behind them is complete.
//!
//! The last page of a file is kept for a *link*: an empty block that names the
//! successor, written only where the last block could not name it yet. So the
//! journal never goes on in a file that nothing durable points to.

use super::block::{BlockBuffer, BlockHeader, BlockPlace, PAGE_BYTES, block_len};
use super::codec::NUMBER_MAX;
use super::latch::Latch;
use super::options::JournalSizes;
use crate::env::exact::write_all_at;
use crate::env::{Access, Entropy, File, FileSystem, Probe};
use crate::error::{Error, IoContext, Result};
use std::path::PathBuf;
use std::sync::Arc;

/// Zeroes written to a file under preparation are synced in pieces of this size.
const PREPARE_SYNC_BYTES: u64 = 1 << 20;
/// At least so many zeroes are written with a commit while a file is prepared.
const PREPARE_STEP_BYTES: u64 = 64 << 10;

/// Where replay begins: behind everything that the manifest holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JournalStart {
    /// The file's number.
    pub(crate) file: u64,
    /// The position of the first block to be replayed.
    pub(crate) position: u64,
    /// The least length that the file has.
    pub(crate) file_len: u64,
    /// The generation and the nonce of the block at `position`.
    pub(crate) generation: u64,
    pub(crate) nonce: u64,
    /// Its sequence.
    pub(crate) sequence: u64,
}

/// The name of a journal file, below the journal's directory.
pub(crate) fn file_name(number: u64) -> String {
    format!("{number:010}.wal")
}

/// The number in a journal file's name.
pub(crate) fn parse_file_name(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".wal")?.parse().ok()?;
    ((1..=NUMBER_MAX).contains(&number) && file_name(number) == name).then_some(number)
}

/// A journal file that is open.
#[derive(Debug, Clone)]
struct JournalFile {
    number: u64,
    path: PathBuf,
    file: Arc<dyn File>,
    len: u64,
}

impl JournalFile {
    fn sync(&self, latch: &Latch) -> Result<()> {
        let synced = self.file.sync_data().at("sync", &self.path);
        synced.inspect_err(|error| latch.set(error))
    }
}

/// The file that will continue the journal, while it is made ready.
#[derive(Debug)]
struct Successor {
    file: JournalFile,
    target_len: u64,
    unsynced_bytes: u64,
    name_is_durable: bool,
}

impl Successor {
    fn is_ready(&self) -> bool {
        self.file.len >= self.target_len && self.unsynced_bytes == 0 && self.name_is_durable
    }
}

/// What the journal works with.
#[derive(Debug, Clone)]
pub(crate) struct JournalContext {
    pub(crate) dir: PathBuf,
    pub(crate) log_id: [u8; 16],
    pub(crate) file_system: Arc<dyn FileSystem>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) probe: Arc<dyn Probe>,
    pub(crate) latch: Arc<Latch>,
    pub(crate) sizes: JournalSizes,
}

impl JournalContext {
    pub(crate) fn place(&self, file: u64, position: u64) -> BlockPlace {
        BlockPlace { log_id: self.log_id, file, position }
    }

    pub(crate) fn path(&self, number: u64) -> PathBuf {
        self.dir.join(file_name(number))
    }

    pub(crate) fn random_nonce(&self) -> Result<u64> {
        let mut nonce = [0; 8];
        self.entropy.fill(&mut nonce).at("draw random bytes for", &self.dir)?;
        Ok(u64::from_le_bytes(nonce))
    }
}

/// The journal, open for writing.
#[derive(Debug)]
pub(crate) struct Journal {
    context: JournalContext,
    current: JournalFile,
    position: u64,
    generation: u64,
    nonce: u64,
    /// What the next block names as the nonce before its own.
    previous_nonce: u64,
    next_sequence: u64,
    /// The successor that the last block written to the current file names.
    named_successor: u64,
    successor: Option<Successor>,
    /// Filled, and needed until the checkpoint behind them is complete.
    behind: Vec<JournalFile>,
    /// Ready to be used again.
    free: Vec<JournalFile>,
    next_number: u64,
}

impl Journal {
    /// Creates the first file of a new log.
    pub(crate) fn create(context: JournalContext) -> Result<Self> {
        let len = context.sizes.initial_bytes;
        let nonce = context.random_nonce()?;
        let current = create_file(&context, 1)?;
        let start =
            JournalStart { file: 1, position: 0, file_len: len, generation: 1, nonce, sequence: 1 };
        make_ready(&context, &current, len)?;
        Ok(Self::at(context, JournalFile { len, ..current }, start, nonce, 2))
    }

    /// Opens the journal to go on at `start`, which nothing was written behind.
    pub(crate) fn open(
        context: JournalContext,
        start: JournalStart,
        next_number: u64,
    ) -> Result<Self> {
        let path = context.path(start.file);
        let file = context.file_system.open(&path, Access::ReadWrite).at("open", &path)?;
        let len = file.len().at("read the length of", &path)?;
        let current = JournalFile { number: start.file, path, file, len };
        Ok(Self::at(context, current, start, start.nonce, next_number))
    }

    /// Begins a new generation in a new file, with the block that recovery
    /// found last, if any, as its first: a kill or a failed sync may have left
    /// that block in the cache alone. `sequence` is that of the generation's first
    /// block, and `previous_nonce` that of the generation which it follows: where
    /// the slots' syncs were lies, an old slot still leads here.
    pub(crate) fn begin_generation(
        context: JournalContext,
        number: u64,
        generation: u64,
        sequence: u64,
        previous_nonce: u64,
        last: Option<&mut BlockBuffer>,
    ) -> Result<Self> {
        let room_bytes = last.as_ref().map_or(0, |block| block_len(block.body_len()));
        let mut journal = Self::begin_with_room(context, number, generation, sequence, room_bytes)?;
        journal.previous_nonce = previous_nonce;
        let Some(block) = last else { return Ok(journal) };
        let anchored = journal.write(block).and_then(|()| {
            if journal.context.probe.canary("anchor-not-synced") { Ok(()) } else { journal.sync() }
        });
        if let Err(error) = anchored {
            // The block stands where it was found, and nothing was built upon this copy.
            let path = &journal.current.path;
            journal.context.file_system.remove_file(path).at("remove", path)?;
            return Err(error);
        }
        Ok(journal)
    }

    /// Begins a new generation in a new file that has room for blocks of so many
    /// bytes, and that nothing points to.
    pub(crate) fn begin_with_room(
        context: JournalContext,
        number: u64,
        generation: u64,
        sequence: u64,
        room_bytes: u64,
    ) -> Result<Self> {
        let nonce = context.random_nonce()?;
        let len = context.sizes.initial_bytes.max(room_bytes + PAGE_BYTES);
        let file = create_file(&context, number)?;
        if let Err(error) = make_ready(&context, &file, len) {
            // Nothing points to it, and a full disk may bring us here again.
            context.file_system.remove_file(&file.path).at("remove", &file.path)?;
            return Err(error);
        }
        let current = JournalFile { len, ..file };
        let start =
            JournalStart { file: number, position: 0, file_len: len, generation, nonce, sequence };
        Ok(Self::at(context, current, start, nonce, number + 1))
    }

    fn at(
        context: JournalContext,
        current: JournalFile,
        start: JournalStart,
        previous_nonce: u64,
        next_number: u64,
    ) -> Self {
        Self {
            context,
            current,
            position: start.position,
            generation: start.generation,
            nonce: start.nonce,
            previous_nonce,
            next_sequence: start.sequence,
            named_successor: 0,
            successor: None,
            behind: Vec::new(),
            free: Vec::new(),
            next_number,
        }
    }

    /// The path of the file with this number.
    pub(crate) fn path_of(&self, number: u64) -> PathBuf {
        self.context.path(number)
    }

    /// Where the next block will stand.
    pub(crate) fn start(&self) -> JournalStart {
        JournalStart {
            file: self.current.number,
            position: self.position,
            file_len: self.current.len,
            generation: self.generation,
            nonce: self.nonce,
            sequence: self.next_sequence,
        }
    }

    /// How full the current file is, in thousandths.
    pub(crate) fn fill_permille(&self) -> u64 {
        self.position.saturating_mul(1000) / self.current.len.max(1)
    }

    /// Whether a block with such a body has room in the current file.
    pub(crate) fn has_room(&self, body_len: usize) -> bool {
        self.position + block_len(body_len) + PAGE_BYTES <= self.current.len
    }

    /// Moves on to the next file, so that a block with such a body has room.
    /// The file left behind is kept until [`Journal::release_behind`].
    pub(crate) fn roll(&mut self, body_len: usize) -> Result<()> {
        let least_len = block_len(body_len) + PAGE_BYTES;
        let prepared = self.prepare_successor(least_len, u64::MAX);
        prepared.or_else(|error| self.make_do(least_len, error))?;
        let nonce = self.context.random_nonce()?;
        if let Some(ready) = self.successor.as_ref().map(|successor| successor.file.number)
            && self.named_successor != ready
        {
            self.context.probe.mark("journal.link_block");
            self.append(&mut BlockBuffer::new())?;
        }
        if let Some(successor) = self.successor.take() {
            self.behind.push(std::mem::replace(&mut self.current, successor.file));
        }
        self.position = 0;
        self.previous_nonce = self.nonce;
        if !self.context.probe.canary("reuse-generation") {
            self.generation += 1;
            self.nonce = nonce;
        }
        self.named_successor = 0;
        Ok(())
    }

    /// Writes the block and syncs it: when this returns, it is durable. A
    /// failure latches the log, because nobody can say what the disk holds.
    pub(crate) fn append(&mut self, block: &mut BlockBuffer) -> Result<()> {
        self.write(block)?;
        self.sync()
    }

    /// Writes the block. Nothing may be built upon it before [`Journal::sync`].
    pub(crate) fn write(&mut self, block: &mut BlockBuffer) -> Result<()> {
        let successor = self.successor.as_ref().filter(|successor| successor.is_ready());
        let successor = successor.map_or(0, |successor| successor.file.number);
        #[expect(clippy::cast_possible_truncation, reason = "a body is bounded by its maker")]
        let header = BlockHeader {
            generation: self.generation,
            nonce: self.nonce,
            previous_nonce: self.previous_nonce,
            sequence: self.next_sequence,
            file_len: self.current.len,
            successor,
            body_len: block.body_len() as u32,
            entries: block.entries(),
        };
        let len = header.block_len();
        let place = self.context.place(self.current.number, self.position);
        let bytes = block.seal(&place, &header);
        let written = write_all_at(&*self.current.file, bytes, self.position);
        written
            .at("write", &self.current.path)
            .inspect_err(|error| self.context.latch.set(error))?;
        self.position += len;
        self.next_sequence += 1;
        self.named_successor = successor;
        Ok(())
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&mut self) -> Result<()> {
        if self.context.probe.canary("trust-cache-after-failed-sync") {
            // The cache shows what was to be synced, whatever the disk has.
            drop(self.current.file.sync_data());
            return Ok(());
        }
        self.current.sync(&self.context.latch)
    }

    /// Makes the next file ready, a piece with each commit, so that no single
    /// one pays for all of it. Begins when the current file is half full.
    pub(crate) fn prepare_ahead(&mut self, block_bytes: u64) -> Result<()> {
        if self.fill_permille() < 500 {
            return Ok(());
        }
        let step = PREPARE_STEP_BYTES.max(block_bytes.saturating_mul(8));
        self.prepare_successor(0, step)
    }

    /// Writes at most `step` zeroes to the successor, which is to be at least
    /// `least_len` long. What a failure has made longer is cut again, so that
    /// a block that has no room leaves none taken.
    fn prepare_successor(&mut self, least_len: u64, step: u64) -> Result<()> {
        let grown = (self.current.len.saturating_mul(4)).min(self.context.sizes.max_bytes);
        let mut successor = match self.successor.take() {
            Some(successor) => successor,
            None => self.take_file()?,
        };
        let (old_target_len, old_len) = (successor.target_len, successor.file.len);
        let old_unsynced_bytes = successor.unsynced_bytes;
        let least_len = least_len.next_multiple_of(PAGE_BYTES);
        successor.target_len = old_target_len.max(grown).max(least_len);
        let extended = self.extend(&mut successor, step);
        if extended.is_err() && self.context.latch.check().is_ok() {
            let cut = successor.file.file.set_len(old_len).at("cut", &successor.file.path);
            successor.file.len = old_len;
            successor.target_len = old_target_len;
            successor.unsynced_bytes = old_unsynced_bytes;
            self.successor = Some(successor);
            return extended.and(cut);
        }
        self.successor = Some(successor);
        extended
    }

    /// Where a larger successor finds no room, takes it as long as it is: otherwise
    /// no checkpoint could free any.
    fn make_do(&mut self, least_len: u64, error: Error) -> Result<()> {
        let fits = |successor: &&mut Successor| {
            successor.file.len >= least_len && successor.name_is_durable
        };
        match self.successor.as_mut().filter(fits) {
            Some(successor) if matches!(error, Error::DiskFull { .. }) => {
                successor.file.sync(&self.context.latch)?;
                successor.unsynced_bytes = 0;
                successor.target_len = successor.file.len;
                Ok(())
            }
            _ => Err(error),
        }
    }

    fn extend(&self, successor: &mut Successor, step: u64) -> Result<()> {
        let Successor { file, target_len, unsynced_bytes, name_is_durable } = successor;
        let goal = file.len.saturating_add(step).min(*target_len);
        while file.len < goal {
            let len = file.len.saturating_add(PREPARE_SYNC_BYTES - *unsynced_bytes).min(goal);
            file.file.allocate(len).at("allocate space for", &file.path)?;
            *unsynced_bytes += len - file.len;
            file.len = len;
            if *unsynced_bytes >= PREPARE_SYNC_BYTES || file.len >= *target_len {
                file.sync(&self.context.latch)?;
                *unsynced_bytes = 0;
            }
        }
        if file.len >= *target_len && !*name_is_durable {
            let dir = &self.context.dir;
            let synced = self.context.file_system.sync_dir(dir).at("sync", dir);
            synced.inspect_err(|error| self.context.latch.set(error))?;
            *name_is_durable = true;
        }
        Ok(())
    }

    /// A file to be made the successor: a used one, else a new one.
    fn take_file(&mut self) -> Result<Successor> {
        if let Some(file) = self.free.pop() {
            self.context.probe.mark("journal.recycled");
            let target_len = file.len;
            return Ok(Successor { file, target_len, unsynced_bytes: 0, name_is_durable: true });
        }
        // Counted first: a creation that failed may have left the name behind.
        let number = self.next_number;
        self.next_number += 1;
        let file = create_file(&self.context, number)?;
        Ok(Successor { file, target_len: 0, unsynced_bytes: 0, name_is_durable: false })
    }

    /// Frees the files that a complete checkpoint has made superfluous. Those
    /// of an uncommon size are removed rather than kept.
    pub(crate) fn release_behind(&mut self) -> Result<()> {
        let context = &self.context;
        for file in std::mem::take(&mut self.behind) {
            if file.len <= context.sizes.max_bytes {
                self.free.push(file);
            } else {
                context.probe.mark("journal.oversized_removed");
                context.file_system.remove_file(&file.path).at("remove", &file.path)?;
            }
        }
        Ok(())
    }

    /// A start in a generation that has no block yet, in the current file, to
    /// be named by the manifest of a clean close.
    pub(crate) fn closing_start(&self) -> Result<JournalStart> {
        Ok(JournalStart {
            position: 0,
            file_len: self.current.len.min(self.context.sizes.initial_bytes),
            generation: self.generation + 1,
            nonce: self.context.random_nonce()?,
            ..self.start()
        })
    }

    /// Cuts the journal to its starting size. Both manifest slots must name
    /// [`Journal::closing_start`] and be durable.
    pub(crate) fn trim(&mut self) -> Result<()> {
        let context = &self.context;
        if self.current.len > context.sizes.initial_bytes {
            let cut = self.current.file.set_len(context.sizes.initial_bytes);
            cut.at("cut", &self.current.path)?;
            self.current.sync(&context.latch)?;
        }
        let successor = self.successor.take().map(|successor| successor.file);
        for file in self.behind.drain(..).chain(self.free.drain(..)).chain(successor) {
            context.file_system.remove_file(&file.path).at("remove", &file.path)?;
        }
        Ok(())
    }
}

fn create_file(context: &JournalContext, number: u64) -> Result<JournalFile> {
    let path = context.path(number);
    let file = context.file_system.create_new(&path).at("create", &path)?;
    Ok(JournalFile { number, path, file, len: 0 })
}

/// Writes the file with zeroes and makes its length and its name durable. Only
/// then it takes a block: one whose file is shorter than it says is damage.
fn make_ready(context: &JournalContext, file: &JournalFile, len: u64) -> Result<()> {
    file.file.allocate(len).at("allocate space for", &file.path)?;
    file.sync(&context.latch)?;
    context.file_system.sync_dir(&context.dir).at("sync", &context.dir)
}
