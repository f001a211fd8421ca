//! A directory to try things in, and the assertions that the cases share.

use crate::env::exact::{read_up_to, write_all_at};
use crate::env::{Access, DirEntry, EntryKind, File, FileSystem};
use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;

/// A new directory of the file system under test, for one case.
#[derive(Debug)]
pub struct Scratch {
    file_system: Arc<dyn FileSystem>,
    dir: PathBuf,
}

impl Scratch {
    /// Creates the directory `dir`, whose parent must exist.
    ///
    /// # Panics
    ///
    /// If it cannot be created.
    pub fn new(file_system: Arc<dyn FileSystem>, dir: PathBuf) -> Self {
        succeeds(file_system.create_dir(&dir), "creating the case's directory");
        Self { file_system, dir }
    }

    pub(super) fn fs(&self) -> &dyn FileSystem {
        self.file_system.as_ref()
    }

    /// The path of a name, or of several joined by `/`, in the directory.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        name.split('/').fold(self.dir.clone(), |path, part| path.join(part))
    }

    /// Creates an empty file.
    #[track_caller]
    pub(super) fn create(&self, name: &str) -> Arc<dyn File> {
        succeeds(self.fs().create_new(&self.path(name)), "creating a file under a free name")
    }

    /// Creates a file with the given content.
    #[track_caller]
    pub(super) fn create_with(&self, name: &str, content: &[u8]) -> Arc<dyn File> {
        let file = self.create(name);
        write(&file, content, 0);
        file
    }

    /// Opens a file for reading and writing.
    #[track_caller]
    pub(super) fn open(&self, name: &str) -> Arc<dyn File> {
        succeeds(self.fs().open(&self.path(name), Access::ReadWrite), "opening an existing file")
    }

    /// Creates a directory.
    #[track_caller]
    pub(super) fn create_dir(&self, name: &str) {
        succeeds(self.fs().create_dir(&self.path(name)), "creating a directory under a free name");
    }

    /// Checks that the directory has exactly these entries.
    #[track_caller]
    pub(super) fn lists(&self, expected: &[(&str, EntryKind)], when: &str) {
        let expected: Vec<DirEntry> =
            expected.iter().map(|&(name, kind)| DirEntry { name: name.to_owned(), kind }).collect();
        let found = succeeds(self.fs().list(&self.dir), "listing a directory");
        assert_eq!(found, expected, "{when}: found (left), expected (right)");
    }
}

/// The value of a call that has to succeed.
#[track_caller]
pub(super) fn succeeds<T>(result: io::Result<T>, what: &str) -> T {
    result.unwrap_or_else(|error| panic!("{what} should succeed, but failed with {error:?}"))
}

/// Checks that a call fails, with whatever error.
#[track_caller]
pub(super) fn fails<T: Debug>(result: io::Result<T>, what: &str) {
    if let Ok(value) = result {
        panic!("{what} should fail, but gave {value:?}");
    }
}

/// Checks that a call fails with an error of this kind.
#[track_caller]
pub(super) fn fails_with<T: Debug>(result: io::Result<T>, kind: ErrorKind, what: &str) {
    match result {
        Ok(value) => panic!("{what} should fail with {kind:?}, but gave {value:?}"),
        Err(error) => assert_eq!(
            error.kind(),
            kind,
            "{what}: the error's kind (left) should be the right one; it is {error:?}"
        ),
    }
}

/// Writes all of `bytes`.
#[track_caller]
pub(super) fn write(file: &Arc<dyn File>, bytes: &[u8], position: u64) {
    succeeds(write_all_at(file.as_ref(), bytes, position), "writing to a file");
}

/// Reads until `len` bytes are there or the file ends.
#[track_caller]
pub(super) fn read(file: &Arc<dyn File>, len: usize, position: u64) -> Vec<u8> {
    // Not zeroes: bytes that are claimed but not delivered must not look like a gap.
    let mut buf = vec![0xA5; len];
    let count = succeeds(read_up_to(file.as_ref(), &mut buf, position), "reading a file");
    assert!(
        count <= len,
        "a read into {len} bytes should give at most as many, but claims {count}"
    );
    buf.truncate(count);
    buf
}

/// One call of [`File::read_at`], made again if it was interrupted.
pub(super) fn read_once(file: &Arc<dyn File>, buf: &mut [u8], position: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buf, position) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// One call of [`File::write_at`], made again if it was interrupted.
pub(super) fn write_once(file: &Arc<dyn File>, buf: &[u8], position: u64) -> io::Result<usize> {
    loop {
        match file.write_at(buf, position) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Checks the length and every byte of a file.
#[track_caller]
pub(super) fn holds(file: &Arc<dyn File>, expected: &[u8], when: &str) {
    let len = succeeds(file.len(), "asking for a length");
    assert_eq!(len, expected.len() as u64, "{when}: the length (left) should be the right one");
    let is_empty = succeeds(file.is_empty(), "asking whether a file is empty");
    assert_eq!(
        is_empty,
        expected.is_empty(),
        "{when}: is_empty (left) should agree with the length"
    );
    // A byte more than there should be, so that one too many is seen.
    same_bytes(&read(file, expected.len() + 1, 0), expected, when);
}

/// Compares bytes, and names the first that differs rather than showing all.
#[track_caller]
pub(super) fn same_bytes(found: &[u8], expected: &[u8], when: &str) {
    let differs = found.iter().zip(expected).position(|(a, b)| a != b);
    if let Some(at) = differs {
        panic!("{when}: byte {at} should be {:?}, but is {:?}", expected.get(at), found.get(at));
    }
    assert_eq!(
        found.len(),
        expected.len(),
        "{when}: the number of bytes read (left) should be the right one"
    );
}

/// Bytes none of which is zero, and whose period divides no power of two.
pub(super) fn pattern(len: usize) -> Vec<u8> {
    (1..=251).cycle().take(len).collect()
}
