//! The conformance suite finds what it is there to find: implementations with
//! one flaw each fail the case that is about it, and one that is only as
//! awkward as the seams allow passes.
#![cfg(feature = "conformance")]

use merkql::env::conformance::{self, Case, Scratch};
use merkql::env::os::{OsClock, OsEntropy, OsFileSystem};
use merkql::env::{Access, Clock, DirEntry, Entropy, File, FileSystem, Lock, Signal};
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What is wrong with a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    /// None: reads and writes are short, and every third one is interrupted.
    Choppy,
    CreationTakesOver,
    OpeningCreates,
    ListingUnsorted,
    RemovalOfAnything,
    SyncOfAnything,
    ReadersWrite,
    LocksShared,
    LocksKept,
    LockingEmpties,
    ReadsFailPastTheEnd,
    ReadsFillUp,
    WritesCloseGaps,
    WritesFillPages,
    FarPositionsWrap,
    GrowthIsDirty,
    AllocationStartsOver,
    AllocationCuts,
    SyncsEmptyTheFile,
}

#[derive(Debug)]
struct FlawedFileSystem(Flaw);

impl FlawedFileSystem {
    fn file(&self, inner: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(FlawedFile { flaw: self.0, inner, calls: AtomicU64::new(0) })
    }
}

impl FileSystem for FlawedFileSystem {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let created = OsFileSystem.create_new(path);
        if self.0 == Flaw::CreationTakesOver && created.is_err() {
            return OsFileSystem.open(path, Access::ReadWrite);
        }
        created.map(|file| self.file(file))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        if self.0 == Flaw::OpeningCreates {
            drop(OsFileSystem.create_new(path));
        }
        let access = match self.0 {
            Flaw::ReadersWrite => Access::ReadWrite,
            _ => access,
        };
        OsFileSystem.open(path, access).map(|file| self.file(file))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = OsFileSystem.list(dir)?;
        if self.0 == Flaw::ListingUnsorted {
            entries.reverse();
        }
        Ok(entries)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        OsFileSystem.create_dir(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let removed = OsFileSystem.remove_file(path);
        if self.0 == Flaw::RemovalOfAnything {
            return Ok(());
        }
        removed
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        OsFileSystem.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let synced = OsFileSystem.sync_dir(path);
        if self.0 == Flaw::SyncOfAnything {
            return Ok(());
        }
        synced
    }

    fn try_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        #[derive(Debug)]
        struct NoLock;
        impl Lock for NoLock {}

        let lock = OsFileSystem.try_lock(path);
        match self.0 {
            Flaw::LocksShared => Ok(Box::new(NoLock)),
            Flaw::LocksKept => {
                std::mem::forget(lock?);
                Ok(Box::new(NoLock))
            }
            Flaw::LockingEmpties => {
                OsFileSystem.open(path, Access::ReadWrite)?.set_len(0)?;
                lock
            }
            _ => lock,
        }
    }
}

#[derive(Debug)]
struct FlawedFile {
    flaw: Flaw,
    inner: Arc<dyn File>,
    calls: AtomicU64,
}

impl FlawedFile {
    /// How many bytes a call may move.
    fn portion(&self, len: usize) -> io::Result<usize> {
        if self.flaw != Flaw::Choppy {
            return Ok(len);
        }
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if call.is_multiple_of(3) {
            return Err(ErrorKind::Interrupted.into());
        }
        Ok(len.min(1021))
    }
}

impl File for FlawedFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn is_empty(&self) -> io::Result<bool> {
        self.inner.is_empty()
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let count = self.portion(buf.len())?;
        let found = self.inner.read_at(&mut buf[..count], position)?;
        match self.flaw {
            Flaw::ReadsFailPastTheEnd if found == 0 => Err(ErrorKind::UnexpectedEof.into()),
            Flaw::ReadsFillUp => Ok(count),
            _ => Ok(found),
        }
    }

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<usize> {
        let count = self.portion(buf.len())?;
        let position = match self.flaw {
            Flaw::WritesCloseGaps => position.min(self.len()?),
            Flaw::FarPositionsWrap => position & 0xFFFF_FFFF,
            _ => position,
        };
        let written = self.inner.write_at(&buf[..count], position)?;
        let end = position + written as u64;
        if self.flaw == Flaw::WritesFillPages && end < self.len()? {
            self.inner.write_at(&[0], end)?;
        }
        Ok(written)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let old = self.len()?;
        self.inner.set_len(len)?;
        if self.flaw == Flaw::GrowthIsDirty && len > old {
            self.inner.write_at(&[0xFF], old)?;
        }
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match self.flaw {
            Flaw::AllocationStartsOver if len > self.len()? => self.inner.set_len(0)?,
            Flaw::AllocationCuts => self.inner.set_len(len)?,
            _ => {}
        }
        self.inner.allocate(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.flaw == Flaw::SyncsEmptyTheFile {
            self.inner.set_len(0)?;
        }
        self.inner.sync_data()
    }
}

/// What is wrong with a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FlawedClock {
    RunsBackwards,
    IgnoresSignals,
    ReturnsEarly,
    ForgetsWhatMoved,
}

impl Clock for FlawedClock {
    fn wall(&self) -> Duration {
        OsClock.wall()
    }

    fn monotonic(&self) -> Duration {
        match self {
            Self::RunsBackwards => Duration::from_secs(1 << 20).saturating_sub(OsClock.monotonic()),
            _ => OsClock.monotonic(),
        }
    }

    fn wait(&self, signal: &Signal, seen: u64, deadline: Duration) -> bool {
        match self {
            Self::ReturnsEarly => signal.count() > seen,
            Self::IgnoresSignals => false,
            Self::ForgetsWhatMoved => deadline > self.monotonic() && signal.count() > seen,
            Self::RunsBackwards => OsClock.wait(signal, seen, deadline),
        }
    }
}

/// What is wrong with a random source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FlawedEntropy {
    LeavesTheRest,
    Repeats,
}

impl Entropy for FlawedEntropy {
    fn fill(&self, buf: &mut [u8]) -> io::Result<()> {
        match self {
            Self::LeavesTheRest => {
                let whole = buf.len() / 32 * 32;
                OsEntropy.fill(&mut buf[..whole])
            }
            Self::Repeats => {
                buf.fill(7);
                Ok(())
            }
        }
    }
}

/// Checks that the case of this name fails on the subject, and says its name.
fn case_fails<S: ?Sized>(cases: &[Case<S>], name: &str, subject: &S) {
    let case = cases.iter().find(|case| case.name() == name);
    let case = case.unwrap_or_else(|| panic!("no case is called {name}"));
    let panic = catch_unwind(AssertUnwindSafe(|| case.run(subject)))
        .expect_err(&format!("{name} should have failed"));
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains(name), "{message}");
}

#[test]
fn short_and_interrupted_reads_and_writes_conform() {
    let root = tempfile::tempdir().unwrap();
    conformance::all(Arc::new(FlawedFileSystem(Flaw::Choppy)), root.path());
    let root = tempfile::tempdir().unwrap();
    conformance::threaded(Arc::new(FlawedFileSystem(Flaw::Choppy)), root.path());
}

#[test]
fn every_flaw_of_a_file_system_fails_the_case_about_it() {
    use Flaw::*;
    let root = tempfile::tempdir().unwrap();
    for (flaw, name) in [
        (CreationTakesOver, "creating_a_taken_name_fails_and_changes_nothing"),
        (OpeningCreates, "opening_a_missing_file_fails_and_creates_nothing"),
        (ListingUnsorted, "a_listing_is_sorted_and_tells_kinds"),
        (RemovalOfAnything, "removing_a_missing_file_fails"),
        (SyncOfAnything, "syncing_a_missing_directory_fails"),
        (ReadersWrite, "a_handle_for_reading_refuses_changes"),
        (LocksShared, "a_held_lock_is_refused_to_others"),
        (LocksKept, "dropping_a_lock_releases_it"),
        (LockingEmpties, "locking_leaves_the_content_alone"),
        (ReadsFailPastTheEnd, "reading_at_or_past_the_end_gives_nothing"),
        (ReadsFillUp, "reading_over_the_end_gives_what_is_there"),
        (WritesCloseGaps, "writing_past_the_end_leaves_a_gap_of_zeroes"),
        (WritesFillPages, "overwriting_leaves_the_neighbours_alone"),
        (FarPositionsWrap, "positions_that_no_file_can_have_are_refused"),
        (GrowthIsDirty, "growing_after_a_cut_never_shows_old_bytes"),
        (AllocationStartsOver, "allocating_lengthens_with_zeroes_and_keeps_the_front"),
        (AllocationCuts, "allocating_below_the_length_changes_nothing"),
        (SyncsEmptyTheFile, "syncing_a_file_changes_nothing_visible"),
    ] {
        let dir = root.path().join(format!("{flaw:?}"));
        let scratch = Scratch::new(Arc::new(FlawedFileSystem(flaw)), dir);
        case_fails(conformance::CASES, name, &scratch);
    }
}

#[test]
fn every_flaw_of_a_clock_fails_the_case_about_it() {
    use FlawedClock::*;
    for (clock, name) in [
        (RunsBackwards, "monotonic_time_never_goes_back"),
        (IgnoresSignals, "a_signal_that_has_moved_ends_the_wait_at_once"),
        (ReturnsEarly, "a_wait_ends_at_its_deadline"),
        (ForgetsWhatMoved, "a_deadline_in_the_past_ends_the_wait_at_once"),
    ] {
        case_fails(conformance::CLOCK, name, &clock as &dyn Clock);
    }
}

#[test]
fn every_flaw_of_a_random_source_fails_the_case_about_it() {
    for (entropy, name) in [
        (FlawedEntropy::LeavesTheRest, "a_filled_buffer_is_filled_whole"),
        (FlawedEntropy::Repeats, "two_fills_differ"),
    ] {
        case_fails(conformance::ENTROPY, name, &entropy as &dyn Entropy);
    }
}

#[test]
fn a_run_of_all_cases_names_every_one_that_failed() {
    let root = tempfile::tempdir().unwrap();
    let flawed = Arc::new(FlawedFileSystem(Flaw::LocksShared));
    let panic = catch_unwind(|| conformance::all(flawed, root.path())).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("case a_held_lock_is_refused_to_others: "), "{message}");
    assert!(message.contains("case dropping_a_lock_releases_it: "), "{message}");
    assert!(message.contains("should fail with WouldBlock"), "{message}");
    assert!(!message.contains("case a_listing_is_sorted"), "{message}");
}
