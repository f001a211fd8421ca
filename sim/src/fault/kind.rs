//! The catalogue of faults.

use serde::{Deserialize, Serialize};

/// What the log owes after a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// Recoverable: nothing acknowledged is lost, and recovery needs no help.
    R,
    /// Detected: never served wrong, never dropped in silence.
    D,
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident = $class:ident $code:literal $name:literal;)+) => {
        /// A kind of fault.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum FaultKind {
            $($(#[doc = $doc])+ $kind,)+
        }

        impl FaultKind {
            /// All kinds, in the order of the catalogue.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// The row of the catalogue that the kind belongs to: `R4`, `D1`.
            pub fn code(self) -> &'static str {
                match self { $(Self::$kind => concat!(stringify!($class), $code),)+ }
            }

            /// The kind's name, as scenarios write it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }

            /// What the log owes after it.
            pub fn class(self) -> Class {
                match self { $(Self::$kind => Class::$class,)+ }
            }

            /// What it is, in a sentence or two.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$kind => concat!($($doc),+).trim_start(),)+ }
            }
        }
    };
}

kinds! {
    /// The process is killed at an I/O operation. Every completed write stays.
    ProcessKill = R "1" "process-kill";
    /// The power fails, and nothing that was not synced is left.
    PowerCutAllLost = R "2" "power-cut-all-lost";
    /// The power fails, and some of what was not synced is left.
    PowerCutSubset = R "3" "power-cut-subset";
    /// A write survives a power cut in part.
    TornWrite = R "4" "torn-write";
    /// A range that was being written holds garbage after a power cut.
    TrashedRange = R "5" "trashed-range";
    /// A file is longer after a power cut, and its new part is not what was written.
    SizeBeforeData = R "6" "size-before-data";
    /// A created or a removed name did not survive a power cut.
    MetadataLost = R "7" "metadata-lost";
    /// A file that can be derived from others, or one of two copies, is bad.
    DerivedFileBad = R "8" "derived-file-bad";
    /// The machine dies again while the log recovers.
    CrashInRecovery = R "9" "crash-in-recovery";
    /// A read gives fewer bytes than asked for.
    ShortRead = R "10" "short-read";
    /// A write takes fewer bytes than offered.
    ShortWrite = R "10" "short-write";
    /// A call is interrupted by a signal.
    Interrupted = R "10" "interrupted";
    /// The disk is full.
    DiskFull = R "11" "disk-full";
    /// An operation fails with an I/O error, having done a part of its work.
    IoError = R "11" "io-error";
    /// A sync fails; the cache goes on showing what the disk does not have, as
    /// if it were clean.
    FailedSyncKeptClean = R "12" "failed-sync-kept-clean";
    /// A sync fails, and the cache shows the old content again.
    FailedSyncReverted = R "12" "failed-sync-reverted";
    /// A sync fails once, and the next one succeeds, and is honest.
    FailedSyncReportedOnce = R "12" "failed-sync-reported-once";
    /// An operation takes long.
    Stall = R "13" "stall";
    /// The wall clock jumps, or runs faster or slower.
    ClockJump = R "13" "clock-jump";
    /// A send has had no answer, and is repeated under its producer's sequence.
    AmbiguousAcknowledgement = R "14" "ambiguous-acknowledgement";
    /// The process has no file handle left.
    TooManyOpenFiles = R "15" "too-many-open-files";
    /// Somebody else holds the lock.
    LockHeld = R "15" "lock-held";
    /// A bit of a synced byte is flipped.
    BitFlip = D "1" "bit-flip";
    /// A synced sector reads as zeroes.
    ZeroedSector = D "1" "zeroed-sector";
    /// A synced sector cannot be read.
    UnreadableSector = D "1" "unreadable-sector";
    /// What the log cannot do without is damaged: both manifest slots, the
    /// durable part of the journal, kept hashes.
    PrimaryDamaged = D "2" "primary-damaged";
    /// A write lands somewhere else.
    MisdirectedWrite = D "3" "misdirected-write";
    /// A sync says it has written what will never be on the disk.
    LyingSync = D "4" "lying-sync";
    /// A sync says it has written what still waits in the cache.
    DelayedSync = D "4" "delayed-sync";
    /// A sync succeeds, and its error is reported by the next one.
    SyncErrorAtNext = D "4" "sync-error-at-next";
    /// A file is restored to an older state that is consistent in itself.
    FileRollback = D "5" "file-rollback";
    /// The whole disk is restored to an older state.
    DiskRollback = D "5" "disk-rollback";
    /// The synced tail of a file is cut off.
    TailCut = D "6" "tail-cut";
    /// A range in the middle of a file reads as zeroes.
    Hole = D "6" "hole";
    /// A file is gone.
    FileDeleted = D "7" "file-deleted";
    /// A file is there a second time, in the place of another or beside it.
    FileDuplicated = D "7" "file-duplicated";
    /// Two files have changed places.
    FilesSwapped = D "7" "files-swapped";
    /// A length, a count or an offset in a file is hostile.
    HostileField = D "8" "hostile-field";
    /// A read is wrong once, and right when it is made again.
    ReadWrongOnce = D "9" "read-wrong-once";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_row_of_the_catalogue_has_a_kind() {
        let rows: BTreeSet<&str> = FaultKind::ALL.iter().map(|kind| kind.code()).collect();
        let expected: BTreeSet<String> = (1..=15)
            .map(|row| format!("R{row}"))
            .chain((1..=9).map(|row| format!("D{row}")))
            .collect();
        assert_eq!(rows, expected.iter().map(String::as_str).collect());
    }

    #[test]
    fn names_are_unique_and_meanings_are_sentences() {
        let names: BTreeSet<&str> = FaultKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), FaultKind::ALL.len());
        for kind in FaultKind::ALL {
            assert!(kind.meaning().ends_with('.'), "{kind:?}: {}", kind.meaning());
            assert!(kind.meaning().starts_with(|first: char| first.is_uppercase()));
            let as_written = serde_json::to_string(kind).unwrap();
            assert_eq!(as_written, format!("\"{}\"", kind.name()));
        }
    }
}
