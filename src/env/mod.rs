//! The seams between the log and the world: files, time, randomness, probes.
//!
//! The log touches nothing outside these traits. [`crate::broker::BrokerConfig`]
//! carries one of each and defaults to the operating system's ([`os`]).
//!
//! # The crash model
//!
//! What the log relies on, and nothing more:
//!
//! * **Writes that were not synced** may survive a power cut in any order and
//!   in any subset, torn at any sector. Bytes that were *not written* keep
//!   their value, even beside written ones in the same sector ("powersafe
//!   overwrite" in `SQLite`'s terms).
//! * **[`File::sync_data`]** makes earlier writes to the file and its length
//!   durable, not its name.
//! * **A created or removed name** is visible at once and durable after
//!   [`FileSystem::sync_dir`] of its parent directory.
//! * **A failed sync** means that nothing it covered may be counted on, ever:
//!   the page cache may show bytes that the disk does not have, and a second
//!   sync may report success without having written them (Rebello et al., "Can
//!   Applications Recover from fsync Failures?", ATC 2020). The log never
//!   retries one, and never closes a dirty file before a successful sync.
//! * **A lock** dies with its process.
//! * A killed process loses nothing that a completed write handed over.

pub(crate) mod exact;
pub mod os;
mod signal;

#[cfg(feature = "conformance")]
pub mod conformance;

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use signal::{Registration, Signal};

/// How a file is to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// For reading alone; a write through the handle fails.
    Read,
    /// For reading and writing.
    ReadWrite,
}

/// What a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else: a link, a socket, a device.
    Other,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name, without its directory. Bytes that are no UTF-8 are replaced,
    /// which is harmless: the log gives no such name to anything.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
}

/// The directory operations that the log uses.
///
/// Nothing is retried in an implementation, nothing replaced atomically, and
/// there is no rename: the log never gives a name a second meaning.
pub trait FileSystem: Debug + Send + Sync {
    /// Creates an empty file, open for reading and writing.
    ///
    /// Fails with `AlreadyExists` if the name is taken, `NotFound` if its
    /// directory does not exist.
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens an existing file. Fails with `NotFound` if there is none, and with
    /// `IsADirectory` if the name is a directory's.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>>;

    /// The entries of a directory, sorted by name. Fails with `NotFound`, or
    /// with `NotADirectory` if the name is a file's.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;

    /// Creates one directory. Fails with `AlreadyExists` if the name is taken,
    /// `NotFound` if its parent does not exist.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Removes a file's name, which is free for a new file at once. Open handles
    /// go on working, on the old one. Fails with `NotFound` if there is none,
    /// and in some way if the name is a directory's.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory. Fails with `DirectoryNotEmpty` if it has names
    /// in it (open handles to removed files don't count), with `NotFound` if
    /// there is none, and in some way if the name is a file's.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes the directory's present set of names durable. Fails with `NotFound`
    /// if there is no such directory.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Takes the exclusive lock on a file, which is created empty if it is not
    /// there; its content stays. Fails with `WouldBlock` while anyone holds it,
    /// in this process or another, and in some way if its directory does not
    /// exist. The lock is released when the returned guard is dropped, and when
    /// the process dies, but not when another handle to the file is closed.
    /// While it is held, reads and writes of the file may fail.
    fn try_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
}

/// A held lock: dropping it releases it.
pub trait Lock: Debug + Send + Sync {}

/// An open file. All I/O names its position; a handle has no cursor, and what it
/// changes every other handle to the file sees at once.
///
/// Calls from several threads don't disturb each other where their ranges don't
/// overlap. No file ends past `i64::MAX`: a write or a length that would is
/// refused and changes nothing, and a read there fails or gives 0. A handle
/// opened with [`Access::Read`] refuses every change.
pub trait File: Debug + Send + Sync {
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool>;

    /// Reads at most `buf.len()` bytes at `position` and returns how many: 0
    /// only at or past the end, or for an empty buffer. May be short, and may
    /// fail with `Interrupted`; both are carried on by the log.
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize>;

    /// Writes at most `buf.len()` bytes at `position` and returns how many.
    /// Past the end, the gap reads as zeroes; 0 only for an empty buffer, which
    /// changes nothing. May be short, and may fail with `Interrupted`; both are
    /// carried on by the log.
    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<usize>;

    /// Cuts the file, or lengthens it with zeroes (which reserves no space).
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes the file at least `len` bytes long *by writing zeroes* behind its
    /// present end, so that space is really taken and later writes below `len`
    /// need none. Existing bytes stay. On failure the file may have any length
    /// between the old one and `len`.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Makes the file's earlier writes and its length durable.
    fn sync_data(&self) -> io::Result<()>;
}

/// Time, and the one way to wait for it.
pub trait Clock: Debug + Send + Sync {
    /// Time since the Unix epoch, for record timestamps and for retention by
    /// age. May jump, in either direction.
    fn wall(&self) -> Duration;

    /// Time since an arbitrary origin; never goes back.
    fn monotonic(&self) -> Duration;

    /// Waits until `signal` has counted past `seen` or [`Clock::monotonic`]
    /// reaches `deadline`, whichever is first, and returns whether the signal
    /// moved. A simulated clock advances its time to the deadline and returns.
    fn wait(&self, signal: &Signal, seen: u64, deadline: Duration) -> bool;
}

/// Random bytes: the log's identity, the nonces of journal generations.
pub trait Entropy: Debug + Send + Sync {
    /// Fills `buf` with bytes that nobody can foresee.
    fn fill(&self, buf: &mut [u8]) -> io::Result<()>;
}

/// Where the log tells its tests that a rare path was taken, and where they can
/// plant a bug in it. Does nothing in production ([`NoProbe`]).
#[doc(hidden)]
pub trait Probe: Debug + Send + Sync {
    /// A recovery path or a rare branch was reached.
    fn mark(&self, name: &'static str);

    /// Whether the bug of this name is to be present.
    fn canary(&self, name: &'static str) -> bool;
}

/// All that the log can [mark](Probe::mark), in the order of the alphabet.
#[doc(hidden)]
pub const MARKS: &[&str] = &[
    "abandon.folder_kept",
    "abandon.space_kept",
    "checkpoint.complete",
    "checkpoint.put_off",
    "compaction.segments_replaced",
    "creation.begun_again",
    "index.not_written",
    "journal.link_block",
    "journal.oversized_removed",
    "journal.recycled",
    "open.segment_is_short",
    "producer.repeated_send",
    "recovery.begun",
    "recovery.block_found_twice",
    "recovery.block_replayed",
    "recovery.complete",
    "recovery.folder_replaced",
    "recovery.hashes_rebuilt",
    "recovery.segment_is_short",
    "recovery.topic_deleted",
    "recovery.torn_block_dropped",
    "removal.folder_kept",
];

/// The probe of production: notes nothing, plants nothing.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProbe;

impl Probe for NoProbe {
    fn mark(&self, _name: &'static str) {}

    fn canary(&self, _name: &'static str) -> bool {
        false
    }
}
