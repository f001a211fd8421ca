//! Without faults the simulated disk and the real one cannot be told apart: the
//! same random operations give the same results, error kinds and contents.

use merkql::env::os::OsFileSystem;
use merkql::env::{Access, DirEntry, File, FileSystem, Lock};
use merkql_sim::disk::SimDisk;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Names of files and directories, some of them below others.
const PATHS: [&str; 7] = ["a", "b", "a/x", "a/y", "b/x", "b/x/z", "missing/x"];
const HANDLES: usize = 4;

#[derive(Debug, Clone)]
enum Op {
    Create { path: usize, handle: usize },
    Open { path: usize, handle: usize, access: Access },
    Close { handle: usize },
    List { path: usize },
    CreateDir { path: usize },
    RemoveFile { path: usize },
    RemoveDir { path: usize },
    SyncDir { path: usize },
    Lock { path: usize },
    Unlock { path: usize },
    Len { handle: usize },
    Read { handle: usize, position: u64, len: usize },
    Write { handle: usize, position: u64, len: usize, byte: u8 },
    SetLen { handle: usize, len: u64 },
    Allocate { handle: usize, len: u64 },
    Sync { handle: usize },
}

fn op() -> impl Strategy<Value = Op> {
    let path = 0..PATHS.len();
    let handle = 0..HANDLES;
    let position = prop_oneof![0..600u64, 3500..9000u64, Just(70_000u64)];
    let access = prop_oneof![Just(Access::Read), Just(Access::ReadWrite)];
    prop_oneof![
        3 => (path.clone(), handle.clone()).prop_map(|(path, handle)| Op::Create { path, handle }),
        3 => (path.clone(), handle.clone(), access)
            .prop_map(|(path, handle, access)| Op::Open { path, handle, access }),
        1 => handle.clone().prop_map(|handle| Op::Close { handle }),
        2 => path.clone().prop_map(|path| Op::List { path }),
        3 => path.clone().prop_map(|path| Op::CreateDir { path }),
        2 => path.clone().prop_map(|path| Op::RemoveFile { path }),
        1 => path.clone().prop_map(|path| Op::RemoveDir { path }),
        1 => path.clone().prop_map(|path| Op::SyncDir { path }),
        1 => path.clone().prop_map(|path| Op::Lock { path }),
        1 => path.prop_map(|path| Op::Unlock { path }),
        1 => handle.clone().prop_map(|handle| Op::Len { handle }),
        4 => (handle.clone(), position.clone(), 0..6000usize)
            .prop_map(|(handle, position, len)| Op::Read { handle, position, len }),
        4 => (handle.clone(), position.clone(), 0..6000usize, 1..=255u8)
            .prop_map(|(handle, position, len, byte)| Op::Write { handle, position, len, byte }),
        2 => (handle.clone(), position.clone())
            .prop_map(|(handle, len)| Op::SetLen { handle, len }),
        1 => (handle.clone(), position).prop_map(|(handle, len)| Op::Allocate { handle, len }),
        1 => handle.prop_map(|handle| Op::Sync { handle }),
    ]
}

/// What an operation gives, in a form that can be compared.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Done,
    Number(u64),
    Bytes(Vec<u8>),
    Entries(Vec<DirEntry>),
    Failed(ErrorKind),
    /// Systems differ in how they say that a name is the wrong kind of thing, or
    /// that a handle is for reading alone; that it fails is what counts.
    Refused,
    NoHandle,
}

fn answer<T>(result: io::Result<T>, shown: impl FnOnce(T) -> Answer) -> Answer {
    match result {
        Ok(value) => shown(value),
        Err(error) => match error.kind() {
            kind @ (ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::WouldBlock
            | ErrorKind::DirectoryNotEmpty) => Answer::Failed(kind),
            _ => Answer::Refused,
        },
    }
}

/// A file system under test, with what is open on it.
struct Subject {
    file_system: Arc<dyn FileSystem>,
    root: PathBuf,
    handles: BTreeMap<usize, Arc<dyn File>>,
    locks: BTreeMap<usize, Box<dyn Lock>>,
}

impl Subject {
    fn new(file_system: Arc<dyn FileSystem>, root: &Path) -> Self {
        let (handles, locks) = (BTreeMap::new(), BTreeMap::new());
        Self { file_system, root: root.to_owned(), handles, locks }
    }

    fn path(&self, path: usize) -> PathBuf {
        self.root.join(PATHS[path])
    }

    fn keep(&mut self, handle: usize, opened: io::Result<Arc<dyn File>>) -> Answer {
        answer(opened, |file| {
            self.handles.insert(handle, file);
            Answer::Done
        })
    }

    fn with(&self, handle: usize, call: impl FnOnce(&dyn File) -> Answer) -> Answer {
        self.handles.get(&handle).map_or(Answer::NoHandle, |file| call(&**file))
    }

    fn apply(&mut self, op: &Op) -> Answer {
        let done = |result: io::Result<()>| answer(result, |()| Answer::Done);
        let fs = Arc::clone(&self.file_system);
        match *op {
            Op::Create { path, handle } => {
                let created = fs.create_new(&self.path(path));
                self.keep(handle, created)
            }
            Op::Open { path, handle, access } => {
                let opened = fs.open(&self.path(path), access);
                self.keep(handle, opened)
            }
            Op::Close { handle } => {
                self.handles.remove(&handle);
                Answer::Done
            }
            Op::List { path } => answer(fs.list(&self.path(path)), Answer::Entries),
            Op::CreateDir { path } => done(fs.create_dir(&self.path(path))),
            Op::RemoveFile { path } => done(fs.remove_file(&self.path(path))),
            Op::RemoveDir { path } => done(fs.remove_dir(&self.path(path))),
            // Unix syncs a file by that call too; nobody is to rely on it.
            Op::SyncDir { path } => match fs.open(&self.path(path), Access::Read) {
                Ok(_) => Answer::Refused,
                Err(_) => done(fs.sync_dir(&self.path(path))),
            },
            Op::Lock { path } => answer(fs.try_lock(&self.path(path)), |lock| {
                self.locks.insert(path, lock);
                Answer::Done
            }),
            Op::Unlock { path } => {
                self.locks.remove(&path);
                Answer::Done
            }
            Op::Len { handle } => self.with(handle, |file| answer(file.len(), Answer::Number)),
            Op::Read { handle, position, len } => self.with(handle, |file| {
                let mut buf = vec![0; len];
                answer(file.read_at(&mut buf, position), |count| {
                    buf.truncate(count);
                    Answer::Bytes(buf)
                })
            }),
            Op::Write { handle, position, len, byte } => self.with(handle, |file| {
                let written = file.write_at(&vec![byte; len], position);
                answer(written, |count| Answer::Number(count as u64))
            }),
            Op::SetLen { handle, len } => self.with(handle, |file| done(file.set_len(len))),
            Op::Allocate { handle, len } => self.with(handle, |file| done(file.allocate(len))),
            Op::Sync { handle } => self.with(handle, |file| done(file.sync_data())),
        }
    }

    /// Everything that is there.
    fn tree(&self, dir: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
        let mut found = Vec::new();
        for entry in self.file_system.list(dir).unwrap() {
            let path = dir.join(&entry.name);
            let name = path.strip_prefix(&self.root).unwrap().to_owned();
            if let Ok(file) = self.file_system.open(&path, Access::Read) {
                let mut content = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
                let count = file.read_at(&mut content, 0).unwrap();
                assert_eq!(count, content.len());
                found.push((name, Some(content)));
            } else {
                found.push((name, None));
                found.extend(self.tree(&path));
            }
        }
        found
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn without_faults_the_simulated_disk_and_the_real_one_agree(
        ops in proptest::collection::vec(op(), 1..60),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let disk = SimDisk::new();
        let mut real = Subject::new(Arc::new(OsFileSystem), dir.path());
        let mut simulated = Subject::new(Arc::new(disk.process()), Path::new("/"));
        for (index, op) in ops.iter().enumerate() {
            let (expected, found) = (real.apply(op), simulated.apply(op));
            prop_assert_eq!(found, expected, "operation {}: {:?}", index, op);
        }
        let expected = real.tree(dir.path());
        prop_assert_eq!(simulated.tree(Path::new("/")), expected.clone());
        // A process that is killed has lost nothing of it either.
        drop(simulated);
        disk.kill();
        let after = Subject::new(Arc::new(disk.process()), Path::new("/"));
        prop_assert_eq!(after.tree(Path::new("/")), expected);
    }
}
