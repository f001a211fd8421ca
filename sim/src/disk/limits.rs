//! How much the disk and the process can hold.

use super::InodeId;
use super::file_node::FileNode;
use super::state::{Node, State};
use std::io::{self, ErrorKind};

/// The piece in which space is taken.
const BLOCK_BYTES: u64 = 4096;

/// Limits, none by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// How many bytes of files the disk holds, counted in blocks of 4,096 that
    /// were written to (R11).
    pub disk_bytes: Option<u64>,
    /// How many handles and locks the process can hold (R15).
    pub open_files: Option<u64>,
}

/// The blocks that a range lies in.
fn blocks_of(position: u64, len: u64) -> impl Iterator<Item = usize> {
    let blocks = position / BLOCK_BYTES..(position + len).div_ceil(BLOCK_BYTES);
    blocks.filter_map(|block| usize::try_from(block).ok())
}

impl FileNode {
    fn has_block(&self, block: usize) -> bool {
        self.blocks.get(block).copied().unwrap_or(false)
    }

    /// Takes space for a range.
    pub(crate) fn take_blocks(&mut self, position: u64, len: u64) {
        for block in blocks_of(position, len) {
            if self.blocks.len() <= block {
                self.blocks.resize(block + 1, false);
            }
            if let Some(taken) = self.blocks.get_mut(block) {
                *taken = true;
            }
        }
    }

    /// Gives back the space behind the end.
    pub(crate) fn drop_blocks(&mut self, len: u64) {
        self.blocks.truncate(usize::try_from(len.div_ceil(BLOCK_BYTES)).unwrap_or(usize::MAX));
    }

    fn bytes_taken(&self) -> u64 {
        self.blocks.iter().filter(|taken| **taken).count() as u64 * BLOCK_BYTES
    }
}

impl State {
    /// How many bytes of a write have room.
    pub(crate) fn room_for(&self, inode: InodeId, position: u64, len: u64) -> io::Result<u64> {
        let Some(limit) = self.limits.disk_bytes else { return Ok(len) };
        let mut room = limit.saturating_sub(self.bytes_taken());
        let Some(Node::File(file)) = self.nodes.get(&inode) else { return Ok(len) };
        for block in blocks_of(position, len) {
            if file.has_block(block) {
                continue;
            }
            if room < BLOCK_BYTES {
                let fits = (block as u64 * BLOCK_BYTES).saturating_sub(position);
                return if fits == 0 { Err(ErrorKind::StorageFull.into()) } else { Ok(fits) };
            }
            room -= BLOCK_BYTES;
        }
        Ok(len)
    }

    /// Bytes of the files that have a name or a handle.
    pub(crate) fn bytes_taken(&self) -> u64 {
        let visible = self.visible();
        let files = self.nodes.iter().filter(|(id, _)| visible.contains(id));
        files
            .map(|(_, node)| if let Node::File(file) = node { file.bytes_taken() } else { 0 })
            .sum()
    }

    /// Refuses a handle more than the process can hold.
    pub(crate) fn room_for_handle(&self) -> io::Result<()> {
        match self.limits.open_files {
            Some(limit) if self.handles() >= limit => Err(too_many_open_files()),
            _ => Ok(()),
        }
    }
}

/// `std` has no name for it: `EMFILE`, and what Windows has in its place.
pub(crate) fn too_many_open_files() -> io::Error {
    io::Error::from_raw_os_error(if cfg!(windows) { 4 } else { 24 })
}
