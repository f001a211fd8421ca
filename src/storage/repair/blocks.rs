//! The whole blocks of a damaged journal, wherever they stand.
//!
//! A block's checksum is seeded by the log, the file and the place, so a whole one was
//! written there by this log. Which of them count:
//!
//! ```text
//! generation  of the manifest's, or linked to it by nonces
//! sequence    from the manifest's on; of several of one sequence, the last generation's
//! ```

use super::frames::Window;
use crate::error::{IoContext, Result};
use crate::storage::block::{BLOCK_HEADER_BYTES, BlockHeader, PAGE_BYTES};
use crate::storage::codec::COUNTER_MAX;
use crate::storage::files::{FilePool, PooledFile};
use crate::storage::journal::{JournalContext, JournalStart, parse_file_name};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::Arc;

/// A whole block.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) header: BlockHeader,
    pub(super) body: Vec<u8>,
}

/// What is left of a journal.
#[derive(Debug, Default)]
pub(super) struct Remains {
    found: Vec<Found>,
    /// The greatest number of a file, and the greatest generation of a block.
    pub(super) number_max: u64,
    pub(super) generation_max: u64,
}

impl Remains {
    /// Looks through all files of the journal.
    pub(super) fn of(context: &JournalContext, pool: &Arc<FilePool>) -> Result<Self> {
        let mut remains = Self::default();
        let entries = match context.file_system.list(&context.dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(remains),
            listed => listed.at("list", &context.dir)?,
        };
        for number in entries.iter().filter_map(|entry| parse_file_name(&entry.name)) {
            // A stranger's would be the end of all numbers.
            if number < COUNTER_MAX {
                remains.number_max = remains.number_max.max(number);
            }
            let file = PooledFile::existing(pool, context.path(number));
            let len = file.len()?;
            remains.look_through(context, number, &mut Window::new(file), len)?;
        }
        Ok(remains)
    }

    fn look_through(
        &mut self,
        context: &JournalContext,
        number: u64,
        window: &mut Window,
        len: u64,
    ) -> Result<()> {
        let mut position = 0;
        while position < len {
            let Some(found) = block_at(context, number, position, window, len)? else {
                position += PAGE_BYTES;
                continue;
            };
            position += found.header.block_len();
            self.generation_max = self.generation_max.max(found.header.generation);
            self.found.push(found);
        }
        Ok(())
    }

    /// The blocks that count behind `start`, by sequence; all, without one.
    pub(super) fn behind(self, start: Option<&JournalStart>) -> BTreeMap<u64, Found> {
        let mut found = self.found;
        found.sort_by_key(|block| (block.header.generation, block.header.sequence));
        let mut nonces: BTreeSet<u64> = start.iter().map(|start| start.nonce).collect();
        let mut blocks: BTreeMap<u64, Found> = BTreeMap::new();
        for block in found {
            let BlockHeader { generation, nonce, previous_nonce, sequence, .. } = block.header;
            if let Some(start) = start {
                let ours = nonces.contains(&nonce) || nonces.contains(&previous_nonce);
                if generation < start.generation || sequence < start.sequence || !ours {
                    continue;
                }
                nonces.insert(nonce);
            }
            blocks.insert(sequence, block);
        }
        blocks
    }
}

fn block_at(
    context: &JournalContext,
    number: u64,
    position: u64,
    window: &mut Window,
    len: u64,
) -> Result<Option<Found>> {
    let Ok((header, crc)) = BlockHeader::parse(window.bytes(position, BLOCK_HEADER_BYTES)?) else {
        return Ok(None);
    };
    if header.block_len() > len - position {
        return Ok(None);
    }
    let block_len = usize::try_from(header.block_len()).unwrap_or(usize::MAX);
    let bytes = window.bytes(position, block_len)?;
    if !header.holds(&context.place(number, position), crc, bytes) {
        return Ok(None);
    }
    let body = bytes.get(BLOCK_HEADER_BYTES..BLOCK_HEADER_BYTES + header.body_len as usize);
    Ok(body.map(|body| Found { header, body: body.to_vec() }))
}
