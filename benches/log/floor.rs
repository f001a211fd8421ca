//! What the machine itself can do: the floors.

use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

const FILE_BYTES: u64 = 16 << 20;
const PAGE_BYTES: u64 = 4096;
/// What is read at once, as the log does.
const READ_BYTES: usize = 64 << 10;

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

/// Reads all files below `dir` with this extension, from the cache, and returns
/// their bytes and the time.
pub(crate) fn read_files(dir: &Path, extension: &str) -> (u64, Duration) {
    let (mut bytes, mut time) = (0, Duration::ZERO);
    let mut buffer = vec![0; READ_BYTES];
    for entry in std::fs::read_dir(dir).expect("the folder is readable") {
        let path = entry.expect("the folder is readable").path();
        if path.is_dir() {
            let (more, longer) = read_files(&path, extension);
            bytes += more;
            time += longer;
        } else if path.extension().is_some_and(|found| found == extension) {
            let file = File::open(&path).expect("the file is readable");
            let start = Instant::now();
            let mut position = 0;
            while let read @ 1.. = file.read_at(&mut buffer, position).expect("readable") {
                position += read as u64;
            }
            time += start.elapsed();
            bytes += position;
        }
    }
    (bytes, time)
}

/// Reads records from the cache as a poll has to: chunks of a file, and one copy of
/// each record's value in memory of its own.
#[derive(Debug)]
pub(crate) struct CopyFloor {
    file: File,
    position: u64,
    buffer: Vec<u8>,
}

impl CopyFloor {
    pub(crate) fn new(dir: &Path) -> Self {
        let file = SyncFloor::new(dir).file;
        Self { file, position: 0, buffer: vec![0; READ_BYTES] }
    }

    /// The time of `records` records, each of `frame_bytes` in the file.
    pub(crate) fn poll(
        &mut self,
        records: usize,
        frame_bytes: usize,
        value_bytes: usize,
    ) -> Duration {
        let start = Instant::now();
        let mut copies = Vec::new();
        while copies.len() < records {
            if self.position + READ_BYTES as u64 > FILE_BYTES {
                self.position = 0;
            }
            self.file.read_exact_at(&mut self.buffer, self.position).expect("readable");
            self.position += READ_BYTES as u64;
            let frames = self.buffer.chunks_exact(frame_bytes).take(records - copies.len());
            copies.extend(frames.map(|frame| frame[..value_bytes].to_vec()));
        }
        drop(std::hint::black_box(copies));
        start.elapsed()
    }
}
