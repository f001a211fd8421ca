//! What happens to an operation of the program that a fault hits.

use super::kind::FaultKind;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::time::Duration;

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

    /// Whether the disk can hold something else from then on than it was told, or
    /// after the next power cut. A read that is wrong once leaves nothing behind.
    pub(crate) fn leaves_damage(&self) -> bool {
        matches!(self, Self::MisdirectedWrite { .. } | Self::LyingSync(_))
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
