//! What the machine itself can do: the floors.

use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

const FILE_BYTES: u64 = 16 << 20;
const PAGE_BYTES: u64 = 4096;

/// A file written with zeroes, to append to in place and sync.
#[derive(Debug)]
pub(crate) struct SyncFloor {
    file: File,
    position: u64,
}

impl SyncFloor {
    pub(crate) fn new(dir: &Path) -> Self {
        let path = dir.join("floor");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path);
        let file = file.expect("the floor's file can be created");
        let zeroes = vec![0; usize::try_from(FILE_BYTES).expect("16 MiB fit")];
        file.write_all_at(&zeroes, 0).expect("there is room for the floor's file");
        file.sync_all().expect("the disk syncs");
        Self { file, position: 0 }
    }

    /// One append of `bytes` and `fdatasync`.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Duration {
        let len = (bytes.len() as u64).next_multiple_of(PAGE_BYTES);
        if self.position + len > FILE_BYTES {
            self.position = 0;
        }
        let start = Instant::now();
        self.file.write_all_at(bytes, self.position).expect("the floor's file takes a write");
        self.file.sync_data().expect("the disk syncs");
        self.position += len;
        start.elapsed()
    }
}

/// SHA-256 of what the log hashes for one record: its canonical bytes, its
/// leaf, and one inner node.
pub(crate) fn hash_records(canonical_bytes: usize, records: usize) -> Duration {
    let (record, leaf, node) = (vec![b'x'; canonical_bytes], [1_u8; 33], [2_u8; 65]);
    let start = Instant::now();
    for _ in 0..records {
        std::hint::black_box(Sha256::digest(&record));
        std::hint::black_box(Sha256::digest(leaf));
        std::hint::black_box(Sha256::digest(node));
    }
    start.elapsed()
}

/// Gives the page cache memory that was used before. The first touch of a
/// virtual machine's memory costs more than anything that a log does with it.
pub(crate) fn touch_memory(dir: &Path) {
    let path = dir.join("touched");
    let zeroes = vec![0; 16 << 20];
    let file = File::create(&path).expect("a file can be created");
    for index in 0..64 {
        file.write_all_at(&zeroes, index * (16 << 20)).expect("there is 1 GiB of room");
    }
    drop(file);
    std::fs::remove_file(path).expect("a file can be removed");
}
