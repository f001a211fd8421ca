//! The journal's reading side: which blocks follow the manifest, and whether
//! anything is missing.
//!
//! A block *continues the chain* if it stands where the last one ended, in the
//! same generation, or first in another file, in a later generation that names
//! the last one's nonce. The second form is how the journal moves from file to
//! file, and how recovery puts the last block on firm ground: there the block
//! is found twice and counts once.
//!
//! Where nothing continues the chain, either it ends, perhaps with a block that
//! was torn before anybody was told of it, or a block that was acknowledged is
//! damaged. Block n+1 is written only after block n was synced, so any valid
//! block behind the end proves the second. Nothing is changed here.

use super::block::{BLOCK_HEADER_BYTES, BlockHeader, BlockPlace, NoBlock, PAGE, PAGE_BYTES};
use super::codec::NUMBERS_AHEAD_MAX;
use super::journal::{JournalContext, JournalStart, parse_file_name};
use crate::env::exact::read_up_to;
use crate::env::{Access, EntryKind, File};
use crate::error::{Error, IoContext, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// How much of a file is looked through at once.
const SCAN_BYTES: usize = 1 << 20;

/// A block of the chain.
#[derive(Debug)]
pub(crate) struct ChainBlock {
    pub(crate) sequence: u64,
    pub(crate) entries: u32,
    pub(crate) body: Vec<u8>,
    /// The nonce of the generation that the block before it stands in.
    pub(crate) link_nonce: u64,
    /// Where it stands, for messages.
    pub(crate) path: PathBuf,
    pub(crate) position: u64,
}

/// What the journal says behind the manifest.
#[derive(Debug)]
pub(crate) struct Chain {
    /// To be replayed, in this order, sequences without a gap.
    pub(crate) blocks: Vec<ChainBlock>,
    /// No generation above it was ever begun.
    pub(crate) generation_max: u64,
    /// No file number above it is taken.
    pub(crate) number_max: u64,
    /// The files found, to tell what is left over.
    pub(crate) numbers: Vec<u64>,
    /// Those of them that recoveries have begun and not finished: all that they hold is a
    /// copy of the last block, of which there are others.
    pub(crate) superseded: BTreeSet<u64>,
    /// Whether a write was begun behind the end, and not finished.
    pub(crate) torn: bool,
}

/// Reads the chain from `start` on. Fails with [`Error::Corrupt`] where a block
/// that was acknowledged is missing.
pub(crate) fn read_chain(context: &JournalContext, start: &JournalStart) -> Result<Chain> {
    let files = list_files(context)?;
    let mut reader = ChainReader {
        context,
        files: &files,
        file: start.file,
        position: start.position,
        generation: start.generation,
        nonce: start.nonce,
        nonces: BTreeSet::from([start.nonce]),
        next_sequence: start.sequence,
        opened: None,
        blocks: Vec::new(),
        covered: BTreeMap::new(),
        torn: false,
    };
    reader.require_file(start.file, start.file_len)?;
    while reader.step()? {}
    let Strays { generation_max, superseded } = reader.refuse_strays(start)?;
    Ok(Chain {
        generation_max,
        number_max: number_max(&files, start.file),
        numbers: files.keys().copied().collect(),
        superseded,
        torn: reader.torn,
        blocks: reader.blocks,
    })
}

/// The greatest number in use. A stranger's is left out of account, or it would
/// be the end of all numbers.
fn number_max(files: &BTreeMap<u64, u64>, known: u64) -> u64 {
    let in_use = files.range(..=known.saturating_add(NUMBERS_AHEAD_MAX));
    in_use.map(|(number, _)| *number).max().unwrap_or_default()
}

/// Whether any file of the journal holds what looks like a block: then the
/// directory was in use, and no log is created over it.
pub(crate) fn holds_any_block(context: &JournalContext) -> Result<bool> {
    for (number, len) in list_files(context)? {
        let mut found = false;
        each_header(context, number, len, |_, _| {
            found = true;
            false
        })?;
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The journal's files and their lengths, by number.
fn list_files(context: &JournalContext) -> Result<BTreeMap<u64, u64>> {
    let mut files = BTreeMap::new();
    let listed = context.file_system.list(&context.dir).at("list", &context.dir);
    let listed = listed.map_err(|error| match error {
        error if error.is_not_found() => {
            Error::corrupt(&context.dir, 0, "the journal's folder is missing")
        }
        other => other,
    })?;
    for entry in listed {
        let number = parse_file_name(&entry.name).filter(|_| entry.kind == EntryKind::File);
        let Some(number) = number else { continue };
        let len = open(context, number)?.len().at("read the length of", &context.path(number))?;
        files.insert(number, len);
    }
    Ok(files)
}

/// Files are opened one at a time: after many crashes there may be many.
fn open(context: &JournalContext, number: u64) -> Result<Arc<dyn File>> {
    let path = context.path(number);
    context.file_system.open(&path, Access::Read).at("open", &path)
}

/// Calls `visit` with everything at a page boundary that looks like a header,
/// until it returns `false`.
fn each_header(
    context: &JournalContext,
    number: u64,
    len: u64,
    mut visit: impl FnMut(u64, BlockHeader) -> bool,
) -> Result<()> {
    let path = context.path(number);
    let file = open(context, number)?;
    let mut buffer = vec![0; SCAN_BYTES.min(usize::try_from(len).unwrap_or(SCAN_BYTES))];
    let mut position = 0;
    while position < len {
        let read = read_up_to(&*file, &mut buffer, position).at("read", &path)?;
        if read == 0 {
            break;
        }
        for (at, bytes) in (position..).step_by(PAGE).zip(buffer[..read].chunks(PAGE)) {
            let header = BlockHeader::parse(bytes).ok();
            if header.is_some_and(|(header, _)| !visit(at, header)) {
                return Ok(());
            }
        }
        position += read as u64;
    }
    Ok(())
}

type Block = (BlockHeader, Vec<u8>);

fn read_block(
    file: &dyn File,
    file_len: u64,
    place: &BlockPlace,
) -> std::io::Result<Result<Block, NoBlock>> {
    let mut front = [0; BLOCK_HEADER_BYTES];
    if read_up_to(file, &mut front, place.position)? < BLOCK_HEADER_BYTES {
        return Ok(Err(NoBlock::NoHeader));
    }
    let (header, crc) = match BlockHeader::parse(&front) {
        Ok(parsed) => parsed,
        Err(reason) => return Ok(Err(reason)),
    };
    let len = header.block_len();
    if place.position.checked_add(len).is_none_or(|end| end > file_len) {
        return Ok(Err(NoBlock::Torn(header)));
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(std::io::Error::other)?];
    let read = read_up_to(file, &mut bytes, place.position)?;
    // What was read first may have been wrong, and what the checksum covers is
    // right: only the header that is part of it counts.
    let same = BlockHeader::parse(&bytes).is_ok_and(|parsed| parsed == (header, crc));
    if read < bytes.len() || !same || !header.holds(place, crc, &bytes) {
        return Ok(Err(NoBlock::Torn(header)));
    }
    bytes.truncate(BLOCK_HEADER_BYTES + header.body_len as usize);
    bytes.drain(..BLOCK_HEADER_BYTES);
    Ok(Ok((header, bytes)))
}

struct ChainReader<'a> {
    context: &'a JournalContext,
    /// Every file's length.
    files: &'a BTreeMap<u64, u64>,
    /// The file that was read last, kept open.
    opened: Option<(u64, Arc<dyn File>)>,
    file: u64,
    position: u64,
    generation: u64,
    nonce: u64,
    /// Those of all generations that the chain has passed.
    nonces: BTreeSet<u64>,
    next_sequence: u64,
    blocks: Vec<ChainBlock>,
    /// Where the chain's blocks lie: by file and position, where each ends.
    covered: BTreeMap<(u64, u64), u64>,
    torn: bool,
}

/// What stands beside the chain.
struct Strays {
    /// The greatest generation in use, the chain's included.
    generation_max: u64,
    /// See [`Chain::superseded`].
    superseded: BTreeSet<u64>,
}

impl ChainReader<'_> {
    fn require_file(&self, number: u64, len: u64) -> Result<u64> {
        let path = self.context.path(number);
        match self.files.get(&number) {
            None => Err(Error::corrupt(&path, 0, "the journal goes on in a file that is missing")),
            Some(found) if *found < len => {
                let reason = format!("the journal file had {len} bytes and was cut to {found}");
                Err(Error::corrupt(&path, *found, reason))
            }
            Some(found) => Ok(*found),
        }
    }

    /// The block at a place; looked at twice, the second time through a fresh
    /// handle, before it is said that there is none.
    fn block_at(&mut self, number: u64, position: u64) -> Result<Result<Block, NoBlock>> {
        let path = self.context.path(number);
        let len = self.require_file(number, 0)?;
        let place = self.context.place(number, position);
        let file = match self.opened.take() {
            Some((opened, file)) if opened == number => file,
            _ => open(self.context, number)?,
        };
        let found = read_block(&*file, len, &place).at("read", &path)?;
        self.opened = Some((number, file));
        if found.is_ok() {
            return Ok(found);
        }
        read_block(&*open(self.context, number)?, len, &place).at("read", &path)
    }

    /// Takes the next block, if there is one.
    fn step(&mut self) -> Result<bool> {
        match self.block_at(self.file, self.position)? {
            Ok((header, body)) if self.is_next(&header) => {
                self.take(self.file, self.position, &header, body)?;
                return Ok(true);
            }
            Err(NoBlock::Version(found)) => {
                return Err(Error::UnsupportedVersion {
                    path: self.context.path(self.file),
                    found,
                    supported: super::block::JOURNAL_VERSION,
                });
            }
            Err(NoBlock::Torn(header)) if header.generation >= self.generation => self.torn = true,
            _ => {}
        }
        self.follow_link()
    }

    fn is_next(&self, header: &BlockHeader) -> bool {
        header.generation == self.generation
            && header.nonce == self.nonce
            && header.sequence == self.next_sequence
    }

    /// Looks for a generation that goes on from here in another file.
    fn follow_link(&mut self) -> Result<bool> {
        let mut next: Option<(u64, Block)> = None;
        for number in self.files.keys() {
            let Ok((header, body)) = self.block_at(*number, 0)? else { continue };
            let known = [self.next_sequence, self.next_sequence.saturating_sub(1)];
            let continues = header.generation > self.generation
                && header.previous_nonce == self.nonce
                && known.contains(&header.sequence);
            let later =
                next.as_ref().is_none_or(|(_, (best, _))| header.generation > best.generation);
            if continues && later {
                next = Some((*number, (header, body)));
            }
        }
        let Some((number, (header, body))) = next else { return Ok(false) };
        self.take(number, 0, &header, body)?;
        Ok(true)
    }

    fn take(
        &mut self,
        number: u64,
        position: u64,
        header: &BlockHeader,
        body: Vec<u8>,
    ) -> Result<()> {
        self.require_file(number, header.file_len)?;
        if header.successor != 0 {
            self.require_file(header.successor, PAGE_BYTES)?;
        }
        if header.sequence == self.next_sequence {
            self.blocks.push(ChainBlock {
                sequence: header.sequence,
                entries: header.entries,
                body,
                link_nonce: self.nonce,
                path: self.context.path(number),
                position,
            });
            self.next_sequence += 1;
        } else {
            self.context.probe.mark("recovery.block_found_twice");
        }
        self.file = number;
        self.position = position + header.block_len();
        self.covered.insert((number, position), self.position);
        self.generation = header.generation;
        self.nonce = header.nonce;
        self.nonces.insert(header.nonce);
        self.torn = false;
        Ok(())
    }

    /// A valid block behind the end of the chain is proof that one which was
    /// acknowledged is missing.
    fn refuse_strays(&mut self, start: &JournalStart) -> Result<Strays> {
        let mut generation_max = self.generation;
        let mut copies = BTreeMap::new();
        let forgives = self.context.probe.canary("cut-at-first-bad-block");
        for (number, len) in self.files {
            let mut found = Vec::new();
            each_header(self.context, *number, *len, |position, header| {
                if header.generation >= start.generation && !self.covers(*number, position) {
                    found.push((position, header));
                }
                true
            })?;
            for (position, header) in found {
                // A value may hold any number of headers, but it knows no nonce: their
                // blocks are not read. A header may have been read wrong once.
                let is_ours = self.is_of_this_log(&header)
                    || self.is_of_this_log(&self.header_again(*number, position, header)?);
                if !is_ours {
                    continue;
                }
                // The header of the look through counts for nothing by itself.
                let Ok((header, _)) = self.block_at(*number, position)? else { continue };
                if header.generation < start.generation || !self.is_of_this_log(&header) {
                    continue;
                }
                generation_max = generation_max.max(header.generation);
                let is_last = header.sequence.saturating_add(1) == self.next_sequence;
                if is_last && position == 0 && *number != start.file {
                    copies.insert(header.generation, *number);
                }
                if header.sequence >= self.next_sequence && !forgives {
                    let reason = format!(
                        "block {} of the journal is valid, but block {} before it is not",
                        header.sequence, self.next_sequence
                    );
                    return Err(Error::corrupt(&self.context.path(*number), position, reason));
                }
            }
        }
        // The first copy may be where the block was written, and named by one that an
        // older slot leads to.
        let superseded = copies.into_values().skip(1).collect();
        Ok(Strays { generation_max, superseded })
    }

    /// The header at a place once more, through a fresh handle; `first` if there is none.
    fn header_again(&self, number: u64, position: u64, first: BlockHeader) -> Result<BlockHeader> {
        let path = self.context.path(number);
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        let read = read_up_to(&*open(self.context, number)?, &mut bytes, position);
        let read = read.at("read", &path)?;
        let again = BlockHeader::parse(bytes.get(..read).unwrap_or_default());
        Ok(again.map_or(first, |(header, _)| header))
    }

    /// Whether the block is of a generation of the chain, or of the next. All
    /// that follow the manifest are, because the journal moves on only once the
    /// checkpoint before is complete; what a copy of the log has written is not,
    /// also where a record that holds an image of it once stood.
    fn is_of_this_log(&self, header: &BlockHeader) -> bool {
        [header.nonce, header.previous_nonce].iter().any(|nonce| self.nonces.contains(nonce))
    }

    /// Whether a block of the chain lies over the place: what a record holds
    /// there is nobody's block.
    fn covers(&self, number: u64, position: u64) -> bool {
        let before = self.covered.range((number, 0)..=(number, position)).next_back();
        before.is_some_and(|(_, end)| position < *end)
    }
}
