//! Faults that wait for their moment, and the count of what became of them.

use super::kind::FaultKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::Duration;

/// A fault that was armed or done, by its number on its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FaultId(pub u64);

/// An operation of a file system or of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "named as the calls are")]
pub enum OpKind {
    CreateNew,
    Open,
    List,
    CreateDir,
    RemoveFile,
    RemoveDir,
    SyncDir,
    TryLock,
    Len,
    ReadAt,
    WriteAt,
    SetLen,
    Allocate,
    SyncData,
}

impl OpKind {
    /// Whether the operation can leave the disk, or the view that others have of
    /// it, different: a crash at any other is the same as one at the next that can.
    pub fn changes(self) -> bool {
        !matches!(self, Self::Open | Self::List | Self::Len | Self::ReadAt)
    }
}

/// What becomes of what a failed sync should have written.
///
/// The three are what file systems were seen to do (Rebello et al., "Can
/// Applications Recover from fsync Failures?", ATC 2020).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyncFailure {
    /// The cache keeps the new content and calls it clean: reads see it, no
    /// later sync writes it, a power cut takes it away.
    KeptClean,
    /// The cache shows again what the disk has.
    Reverted,
    /// The content stays dirty, the error is told once, and the next sync
    /// succeeds and is honest.
    ReportedOnce,
}

/// In which way a successful sync was none (D4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LyingSync {
    /// What it should have written never reaches the disk.
    Lost,
    /// It is as if there had been no sync: a later one may write it.
    Delayed,
    /// As `Lost`, and the next sync of the file fails.
    ErrorAtNext,
}

/// What is to happen to one operation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Fault {
    /// R10: a read or a write of at most so many bytes (at least one).
    Short(u64),
    /// R10: the call does nothing, and says it was interrupted.
    Interrupted,
    /// R11: the disk is full. A write or an allocation has taken so many bytes.
    DiskFull {
        /// Bytes that were written before.
        after_bytes: u64,
    },
    /// R11: an I/O error. A write or an allocation has taken so many bytes.
    IoError {
        /// Bytes that were written before.
        after_bytes: u64,
    },
    /// R12: the sync fails.
    FailedSync(SyncFailure),
    /// R13: the operation takes so long, in milliseconds.
    Stall(u64),
    /// R15: no file handle is left.
    TooManyOpenFiles,
    /// R15: somebody else holds the lock.
    LockHeld,
    /// D3: the write lands at another position, in the same file or in another.
    MisdirectedWrite {
        /// The file that it lands in; the same if `None`.
        path: Option<String>,
        /// Where it lands.
        position: u64,
    },
    /// D4: the sync succeeds and is none.
    LyingSync(LyingSync),
    /// D9: one bit of what is read is wrong, this once.
    ReadWrongOnce {
        /// Which bit, modulo how many are read.
        bit: u64,
    },
}

impl Fault {
    /// The kind in the catalogue.
    pub fn kind(&self, on: OpKind) -> FaultKind {
        match self {
            Self::Short(_) if on == OpKind::ReadAt => FaultKind::ShortRead,
            Self::Short(_) => FaultKind::ShortWrite,
            Self::Interrupted => FaultKind::Interrupted,
            Self::DiskFull { .. } => FaultKind::DiskFull,
            Self::IoError { .. } => FaultKind::IoError,
            Self::FailedSync(SyncFailure::KeptClean) => FaultKind::FailedSyncKeptClean,
            Self::FailedSync(SyncFailure::Reverted) => FaultKind::FailedSyncReverted,
            Self::FailedSync(SyncFailure::ReportedOnce) => FaultKind::FailedSyncReportedOnce,
            Self::Stall(_) => FaultKind::Stall,
            Self::TooManyOpenFiles => FaultKind::TooManyOpenFiles,
            Self::LockHeld => FaultKind::LockHeld,
            Self::MisdirectedWrite { .. } => FaultKind::MisdirectedWrite,
            Self::LyingSync(LyingSync::Lost) => FaultKind::LyingSync,
            Self::LyingSync(LyingSync::Delayed) => FaultKind::DelayedSync,
            Self::LyingSync(LyingSync::ErrorAtNext) => FaultKind::SyncErrorAtNext,
            Self::ReadWrongOnce { .. } => FaultKind::ReadWrongOnce,
        }
    }

    /// Whether the fault can happen to such an operation at all.
    pub fn fits(&self, on: OpKind) -> bool {
        use OpKind::{Allocate, CreateNew, Open, ReadAt, SyncData, SyncDir, TryLock, WriteAt};
        match self {
            Self::Short(_) | Self::Interrupted => matches!(on, ReadAt | WriteAt),
            Self::DiskFull { .. } => {
                matches!(on, WriteAt | Allocate | CreateNew | OpKind::CreateDir | OpKind::SetLen)
            }
            Self::IoError { .. } => !matches!(on, SyncData | SyncDir),
            Self::FailedSync(_) | Self::LyingSync(_) => matches!(on, SyncData | SyncDir),
            Self::Stall(_) => true,
            Self::TooManyOpenFiles => matches!(on, CreateNew | Open | TryLock),
            Self::LockHeld => on == TryLock,
            Self::MisdirectedWrite { .. } => on == WriteAt,
            Self::ReadWrongOnce { .. } => on == ReadAt,
        }
    }

    /// The kind of error that the program gets, where it gets one at once.
    pub(crate) fn error_kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Interrupted => Some(ErrorKind::Interrupted),
            Self::DiskFull { .. } => Some(ErrorKind::StorageFull),
            Self::IoError { .. } | Self::FailedSync(_) => Some(ErrorKind::Other),
            Self::LockHeld => Some(ErrorKind::WouldBlock),
            _ => None,
        }
    }

    /// How long the operation is held up.
    pub(crate) fn stall(&self) -> Option<Duration> {
        if let Self::Stall(ms) = self { Some(Duration::from_millis(*ms)) } else { None }
    }
}

/// A fault and the operation that it waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arm {
    /// What is to happen.
    pub fault: Fault,
    /// To which operation.
    pub on: OpKind,
    /// On which path: `*` stands for any characters, also none.
    pub path: String,
    /// To how many of such operations nothing happens before.
    pub skip: u64,
    /// To how many it happens then, one after the other.
    pub times: u64,
}

impl Arm {
    /// The first `on` of a path that matches has the fault.
    pub fn first(fault: Fault, on: OpKind, path: &str) -> Self {
        Self::nth(fault, on, path, 0)
    }

    /// The one after `skip` others has it.
    pub fn nth(fault: Fault, on: OpKind, path: &str, skip: u64) -> Self {
        Self { fault, on, path: path.to_owned(), skip, times: 1 }
    }

    /// All from the first on have it.
    pub fn always(fault: Fault, on: OpKind, path: &str) -> Self {
        Self { times: u64::MAX, ..Self::first(fault, on, path) }
    }
}

/// What became of the faults of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// How many were made ready.
    pub armed: u64,
    /// How many happened.
    pub fired: u64,
    /// How many of those the program met.
    pub mattered: u64,
}

/// The faults of a disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct FaultPlan {
    armed: Vec<(FaultId, Arm)>,
    /// Every fault so far: its kind, whether it fired, whether it mattered.
    all: Vec<(FaultKind, bool, bool)>,
}

impl FaultPlan {
    /// Makes a fault ready; returns nothing if it cannot happen to such operations.
    pub(crate) fn arm(&mut self, arm: Arm) -> Option<FaultId> {
        if !arm.fault.fits(arm.on) {
            return None;
        }
        let id = self.register(arm.fault.kind(arm.on));
        self.armed.push((id, arm));
        Some(id)
    }

    pub(crate) fn disarm_all(&mut self) {
        self.armed.clear();
    }

    fn register(&mut self, kind: FaultKind) -> FaultId {
        self.all.push((kind, false, false));
        FaultId(self.all.len() as u64 - 1)
    }

    /// Notes a fault that happens without having waited: a crash, damage.
    pub(crate) fn happened(&mut self, kind: FaultKind) -> FaultId {
        let id = self.register(kind);
        self.fired(id);
        id
    }

    fn entry(&mut self, id: FaultId) -> Option<&mut (FaultKind, bool, bool)> {
        self.all.get_mut(usize::try_from(id.0).ok()?)
    }

    fn fired(&mut self, id: FaultId) {
        if let Some((_, fired, _)) = self.entry(id) {
            *fired = true;
        }
    }

    /// Notes that the program has met the effect of a fault.
    pub(crate) fn mattered(&mut self, id: FaultId) {
        if let Some((_, _, mattered)) = self.entry(id) {
            *mattered = true;
        }
    }

    /// The fault that is to happen to this operation, if one is.
    pub(crate) fn take(&mut self, on: OpKind, path: &str) -> Option<(FaultId, Fault)> {
        let mut due = None;
        for (id, arm) in &mut self.armed {
            if arm.on != on || !matches(&arm.path, path) {
                continue;
            }
            // Each counts what it waits for, whether or not another happens.
            if arm.skip > 0 {
                arm.skip -= 1;
            } else if due.is_none() && arm.times > 0 {
                arm.times -= 1;
                due = Some((*id, arm.fault.clone()));
            }
        }
        self.armed.retain(|(_, arm)| arm.times > 0);
        if let Some((id, _)) = due {
            self.fired(id);
        }
        due
    }

    pub(crate) fn counts(&self) -> BTreeMap<FaultKind, Counts> {
        let mut counts: BTreeMap<FaultKind, Counts> = BTreeMap::new();
        for (kind, fired, mattered) in &self.all {
            let count = counts.entry(*kind).or_default();
            count.armed += 1;
            count.fired += u64::from(*fired);
            count.mattered += u64::from(*mattered);
        }
        counts
    }
}

/// Whether a path matches a pattern in which `*` stands for any characters.
fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((front, rest)) => {
            let Some(path) = path.strip_prefix(front) else { return false };
            // Char boundaries only, so that no slice is cut in a character.
            let ends = path.char_indices().map(|(at, _)| at).chain([path.len()]);
            ends.into_iter().any(|at| path.get(at..).is_some_and(|path| matches(rest, path)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, path, fits) in [
            ("*", "/log/LOCK", true),
            ("*/LOCK", "/log/LOCK", true),
            ("/log/*/x", "/log/a/b/x", true),
            ("/log/*.wal", "/log/1.wal2", false),
            ("/log", "/log/", false),
            ("*ä*", "/ö/ä", true),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern, path), fits, "{pattern} {path}");
        }
    }

    #[test]
    fn an_armed_fault_waits_for_its_occurrence_and_happens_once() {
        let mut plan = FaultPlan::default();
        let arm = Arm::nth(Fault::Interrupted, OpKind::ReadAt, "*.wal", 1);
        assert!(plan.arm(arm).is_some());
        assert!(plan.take(OpKind::ReadAt, "a.log").is_none());
        assert!(plan.take(OpKind::ReadAt, "a.wal").is_none());
        assert!(plan.take(OpKind::WriteAt, "a.wal").is_none());
        assert!(plan.take(OpKind::ReadAt, "b.wal").is_some());
        assert!(plan.take(OpKind::ReadAt, "b.wal").is_none());
        let counts = plan.counts();
        let expected = Counts { armed: 1, fired: 1, mattered: 0 };
        assert_eq!(counts.get(&FaultKind::Interrupted), Some(&expected));
    }

    #[test]
    fn a_fault_that_cannot_happen_to_an_operation_is_not_armed() {
        let mut plan = FaultPlan::default();
        let arm = Arm::first(Fault::Interrupted, OpKind::SyncData, "*");
        assert!(plan.arm(arm).is_none());
    }
}
