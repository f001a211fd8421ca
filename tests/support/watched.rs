//! The operating system's files behind a window: every change is noted, and a
//! rule can refuse any call.

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::env::os::OsFileSystem;
use merkql::env::{Access, DirEntry, File, FileSystem, Lock};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What was asked of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Create,
    Open,
    List,
    CreateDir,
    Remove,
    SyncDir,
    Lock,
    /// Noted, and up to the rule, only by a window that looks at reads too.
    Read,
    Write,
    SetLen,
    Allocate,
    Sync,
}

impl Op {
    /// Whether it makes something durable.
    pub(crate) fn is_sync(self) -> bool {
        matches!(self, Self::Sync | Self::SyncDir)
    }

    /// Whether it is seen on the disk afterwards.
    pub(crate) fn is_change(self) -> bool {
        !matches!(self, Self::Open | Self::List | Self::Lock | Self::Read)
    }
}

/// One call that went through the seam.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) op: Op,
    pub(crate) path: PathBuf,
    /// Whether it needs more room on the disk.
    pub(crate) grows: bool,
}

impl Call {
    /// Whether it concerns a file of the journal.
    pub(crate) fn is_on_journal_file(&self) -> bool {
        self.path.extension().is_some_and(|extension| extension == "wal")
    }
}

/// Says of a call whether it is refused, and how.
pub(crate) type Rule = Box<dyn FnMut(&Call) -> Option<io::Error> + Send>;

/// What happens before the next call of which the first says so.
type Meanwhile = (Box<dyn Fn(&Call) -> bool + Send>, Box<dyn FnOnce() + Send>);

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    open_files: usize,
    /// Syncs are noted, and not passed on.
    swift: bool,
    /// Reads are noted too, and the rule decides on them.
    sees_reads: bool,
    /// How many bytes they asked for.
    bytes_read: usize,
    rule: Option<Rule>,
    meanwhile: Option<Meanwhile>,
}

/// A window onto the operating system's files. Clones look through the same one.
#[derive(Clone, Default)]
pub(crate) struct Watched(Arc<Mutex<State>>);

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watched")
    }
}

impl Watched {
    /// A window that takes no time for syncs: for tests with thousands of them
    /// in which no power fails.
    pub(crate) fn swift() -> Self {
        let window = Self::default();
        window.state().swift = true;
        window
    }

    /// The same window, through which reads are seen too.
    pub(crate) fn seeing_reads(self) -> Self {
        self.state().sees_reads = true;
        self
    }

    /// A configuration whose files are seen through this window.
    pub(crate) fn config(&self, dir: &Path) -> BrokerConfig {
        BrokerConfig { file_system: Arc::new(self.clone()), ..BrokerConfig::new(dir) }
    }

    /// A broker whose files are seen through this window.
    pub(crate) fn open(&self, dir: &Path) -> BrokerRef {
        Broker::open(self.config(dir)).unwrap()
    }

    /// The calls since the last look.
    pub(crate) fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.state().calls)
    }

    /// How many syncs, of files and folders, there were since the last look.
    pub(crate) fn take_syncs(&self) -> usize {
        self.take().iter().filter(|call| call.op.is_sync()).count()
    }

    /// How many files are open now.
    pub(crate) fn open_files(&self) -> usize {
        self.state().open_files
    }

    /// How many reads there were since the last look.
    pub(crate) fn take_reads(&self) -> usize {
        self.take().iter().filter(|call| call.op == Op::Read).count()
    }

    /// How many bytes were asked for by reads since the last look.
    pub(crate) fn take_bytes_read(&self) -> usize {
        std::mem::take(&mut self.state().bytes_read)
    }

    /// The call with this number, from now on, meets its `fate`; the others pass.
    pub(crate) fn strike(&self, number: usize, fate: fn() -> io::Error) -> Arc<AtomicBool> {
        let struck = Arc::new(AtomicBool::default());
        let strikes = Arc::clone(&struck);
        let mut count = 0;
        self.refuse(move |_| {
            count += 1;
            let hit = count == number + 1;
            strikes.fetch_or(hit, Ordering::Relaxed);
            hit.then(fate)
        });
        struck
    }

    /// From now on the rule decides.
    pub(crate) fn refuse(&self, rule: impl FnMut(&Call) -> Option<io::Error> + Send + 'static) {
        self.state().rule = Some(Box::new(rule));
    }

    /// Before the next call that is `wanted`, `run` happens, as on another thread that is
    /// just in time.
    pub(crate) fn meanwhile(
        &self,
        wanted: impl Fn(&Call) -> bool + Send + 'static,
        run: impl FnOnce() + Send + 'static,
    ) {
        self.state().meanwhile = Some((Box::new(wanted), Box::new(run)));
    }

    /// The disk has no room left: whatever needs more is refused.
    pub(crate) fn fill_disk(&self) {
        self.refuse(|call| call.grows.then(|| ErrorKind::StorageFull.into()));
    }

    /// The process has no handle left: no file can be created or opened.
    pub(crate) fn exhaust_handles(&self) {
        let needs_handle =
            |op| matches!(op, Op::Create | Op::Open | Op::List | Op::Lock | Op::SyncDir);
        self.refuse(move |call| needs_handle(call.op).then(|| io::Error::from_raw_os_error(24)));
    }

    /// Everything is permitted again.
    pub(crate) fn permit(&self) {
        self.state().rule = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the call, unless it is refused or fails: what fails changes nothing.
    fn call<T>(
        &self,
        (op, path, grows): (Op, &Path, bool),
        run: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let call = Call { op, path: path.to_owned(), grows };
        let meanwhile = self.state().meanwhile.take_if(|(wanted, _)| wanted(&call));
        if let Some((_, happen)) = meanwhile {
            happen();
        }
        let refusal = self.state().rule.as_mut().and_then(|rule| rule(&call));
        let done = refusal.map_or_else(run, Err)?;
        self.state().calls.push(call);
        Ok(done)
    }

    fn wrap(&self, path: &Path, file: Arc<dyn File>) -> Arc<dyn File> {
        self.state().open_files += 1;
        Arc::new(WatchedFile { window: self.clone(), path: path.to_owned(), file })
    }
}

impl FileSystem for Watched {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = self.call((Op::Create, path, true), || OsFileSystem.create_new(path))?;
        Ok(self.wrap(path, file))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        let file = self.call((Op::Open, path, false), || OsFileSystem.open(path, access))?;
        Ok(self.wrap(path, file))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.call((Op::List, dir, false), || OsFileSystem.list(dir))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.call((Op::CreateDir, path, true), || OsFileSystem.create_dir(path))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call((Op::Remove, path, false), || OsFileSystem.remove_file(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.call((Op::Remove, path, false), || OsFileSystem.remove_dir(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let swift = self.state().swift;
        let sync = || if swift { Ok(()) } else { OsFileSystem.sync_dir(path) };
        self.call((Op::SyncDir, path, false), sync)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.call((Op::Lock, path, false), || OsFileSystem.try_lock(path))
    }
}

#[derive(Debug)]
struct WatchedFile {
    window: Watched,
    path: PathBuf,
    file: Arc<dyn File>,
}

impl WatchedFile {
    /// A call that leaves the file at least `end` bytes long.
    fn call<T>(&self, op: Op, end: u64, run: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let grows = end > self.file.len()?;
        self.window.call((op, &self.path, grows), run)
    }
}

impl Drop for WatchedFile {
    fn drop(&mut self) {
        self.window.state().open_files -= 1;
    }
}

impl File for WatchedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn is_empty(&self) -> io::Result<bool> {
        self.file.is_empty()
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        if !self.window.state().sees_reads {
            return self.file.read_at(buf, position);
        }
        self.window.state().bytes_read += buf.len();
        self.window.call((Op::Read, &self.path, false), || self.file.read_at(buf, position))
    }

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<usize> {
        let end = position + buf.len() as u64;
        self.call(Op::Write, end, || self.file.write_at(buf, position))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.call(Op::SetLen, len, || self.file.set_len(len))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.call(Op::Allocate, len, || self.file.allocate(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        let swift = self.window.state().swift;
        self.call(Op::Sync, 0, || if swift { Ok(()) } else { self.file.sync_data() })
    }
}
