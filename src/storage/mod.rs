//! The bytes on disk: the only code that knows them.
//!
//! ```text
//! <dir>/.merkql/
//!   LOCK                              never removed
//!   manifest.a  manifest.b            the state at the last checkpoint ([`slots`], [`manifest`])
//!   journal/<number>.wal              every change since, in blocks ([`journal`], [`block`], [`entry`])
//!   topics/<topic>.<incarnation>/<partition>/
//!     <base offset>.<generation>.log  records, in frames ([`segment`], [`frame`], [`body`])
//!     <base offset>.<generation>.idx  where to start reading ([`index`]): derived
//!     hashes                          the Merkle tree's nodes ([`hashes`])
//! ```
//!
//! A change is staged ([`commit`]), drafted ([`write`], [`draft`]), made durable
//! by one journal block and one sync ([`journal`]), applied to its partitions
//! without a sync ([`partition`]), published, and acknowledged. In the
//! background of later commits a [`checkpoint`] makes the partitions durable and
//! the journal free. Topics and partitions come and go by [`structure`], old
//! records by [`retention`], and their files by [`removal`]. On request [`compaction`]
//! writes segments anew, with a [`gap`] where records went. [`open`] finds what a
//! crash left, [`chain`] and [`judge`]
//! say what it means, [`recovery`] makes it whole. [`verify`] reads all of it and
//! changes nothing. What is damaged beyond that, [`repair`] replaces by what is left of
//! it, on request.

pub(crate) mod block;
pub(crate) mod body;
pub(crate) mod canonical;
pub(crate) mod chain;
pub(crate) mod checkpoint;
pub(crate) mod codec;
pub(crate) mod commit;
pub(crate) mod compaction;
pub(crate) mod draft;
pub(crate) mod entry;
pub(crate) mod files;
pub(crate) mod frame;
pub(crate) mod frame_reader;
pub(crate) mod frame_search;
#[cfg(test)]
mod fuzz;
pub(crate) mod gap;
pub(crate) mod hashes;
pub(crate) mod head;
pub(crate) mod index;
pub(crate) mod journal;
pub(crate) mod judge;
pub(crate) mod judge_folders;
pub(crate) mod latch;
pub(crate) mod manifest;
pub(crate) mod open;
pub(crate) mod options;
pub(crate) mod partition;
pub(crate) mod producers;
pub(crate) mod rebuild;
pub(crate) mod recovery;
pub(crate) mod removal;
pub(crate) mod repair;
pub(crate) mod retention;
pub(crate) mod segment;
pub(crate) mod segment_index;
pub(crate) mod settings;
pub(crate) mod slots;
pub(crate) mod store;
pub(crate) mod structure;
pub(crate) mod tables;
pub(crate) mod verify;
pub(crate) mod write;
