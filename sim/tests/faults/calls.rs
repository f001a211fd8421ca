//! Faults that strike one operation.

use super::{arm, content, counted, read_all, synced_file};
use merkql::env::{Access, Clock, FileSystem};
use merkql_sim::clock::SimClock;
use merkql_sim::disk::{Limits, SimDisk, Survivors};
use merkql_sim::fault::{Arm, Fault, FaultKind, LyingSync, OpKind, SyncFailure};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn a_failed_sync_leaves_the_cache_in_one_of_three_ways() {
    for (mode, kind, in_cache, after_another_sync) in [
        (SyncFailure::KeptClean, FaultKind::FailedSyncKeptClean, 8, 7),
        (SyncFailure::Reverted, FaultKind::FailedSyncReverted, 7, 7),
        (SyncFailure::ReportedOnce, FaultKind::FailedSyncReportedOnce, 8, 8),
    ] {
        let disk = SimDisk::new();
        let (_, file) = synced_file(&disk);
        file.write_at(&[8; 4096], 0).unwrap();
        arm(&disk, Fault::FailedSync(mode), OpKind::SyncData);
        assert!(file.sync_data().is_err());
        counted(&disk, kind, 1, 1);
        assert_eq!(content(&disk), [in_cache; 4096]);
        file.sync_data().unwrap();
        disk.power_cut(&Survivors::none());
        assert_eq!(content(&disk), [after_another_sync; 4096], "{mode:?}");
    }
}

#[test]
fn a_sync_of_a_directory_fails_in_the_same_ways() {
    for (mode, in_cache, after_another_sync) in [
        (SyncFailure::KeptClean, true, false),
        (SyncFailure::Reverted, false, false),
        (SyncFailure::ReportedOnce, true, true),
    ] {
        let disk = SimDisk::new();
        let process = disk.process();
        process.create_dir(Path::new("/dir")).unwrap();
        disk.arm(Arm::first(Fault::FailedSync(mode), OpKind::SyncDir, "/")).unwrap();
        assert!(process.sync_dir(Path::new("/")).is_err());
        let is_there = || !disk.process().list(Path::new("/")).unwrap().is_empty();
        assert_eq!(is_there(), in_cache);
        process.sync_dir(Path::new("/")).unwrap();
        disk.power_cut(&Survivors::none());
        assert_eq!(is_there(), after_another_sync, "{mode:?}");
    }
}

#[test]
fn a_lying_sync_shows_after_the_power_was_cut() {
    for (lie, kind, after_another_sync) in [
        (LyingSync::Lost, FaultKind::LyingSync, 7),
        (LyingSync::Delayed, FaultKind::DelayedSync, 8),
        (LyingSync::ErrorAtNext, FaultKind::SyncErrorAtNext, 7),
    ] {
        let disk = SimDisk::new();
        let (_, file) = synced_file(&disk);
        file.write_at(&[8; 4096], 0).unwrap();
        arm(&disk, Fault::LyingSync(lie), OpKind::SyncData);
        file.sync_data().unwrap();
        assert_eq!(content(&disk), [8; 4096]);
        let fork = disk.fork();
        fork.power_cut(&Survivors::none());
        assert_eq!(read_all(&fork).unwrap(), [7; 4096]);
        counted(&fork, kind, 1, 1);
        assert_eq!(file.sync_data().is_err(), lie == LyingSync::ErrorAtNext);
        file.sync_data().unwrap();
        disk.power_cut(&Survivors::none());
        assert_eq!(content(&disk), [after_another_sync; 4096], "{lie:?}");
    }
}

#[test]
fn short_and_interrupted_calls_do_a_part_or_nothing() {
    let disk = SimDisk::new();
    let (_, file) = synced_file(&disk);
    arm(&disk, Fault::Short(3), OpKind::ReadAt);
    arm(&disk, Fault::Short(0), OpKind::WriteAt);
    assert_eq!(file.read_at(&mut [0; 10], 0).unwrap(), 3);
    assert_eq!(file.write_at(&[8; 10], 0).unwrap(), 1, "never 0, which would mean no room");
    counted(&disk, FaultKind::ShortRead, 1, 1);
    counted(&disk, FaultKind::ShortWrite, 1, 1);
    for on in [OpKind::ReadAt, OpKind::WriteAt] {
        arm(&disk, Fault::Interrupted, on);
    }
    let kind = ErrorKind::Interrupted;
    assert_eq!(file.read_at(&mut [0; 10], 0).unwrap_err().kind(), kind);
    assert_eq!(file.write_at(&[9; 10], 0).unwrap_err().kind(), kind);
    counted(&disk, FaultKind::Interrupted, 2, 2);
    assert_eq!(content(&disk)[..2], [8, 7]);
}

#[test]
fn a_full_disk_takes_what_fits_and_gives_room_back() {
    let disk = SimDisk::new();
    let (process, file) = synced_file(&disk);
    disk.set_limits(Limits { disk_bytes: Some(3 * 4096), open_files: None });
    assert_eq!(file.write_at(&[8; 10_000], 4096).unwrap(), 8192);
    let full = ErrorKind::StorageFull;
    assert_eq!(file.write_at(&[8; 10], 12_288).unwrap_err().kind(), full);
    assert_eq!(file.allocate(20_000).unwrap_err().kind(), full);
    file.write_at(&[9; 10], 100).unwrap();
    let other = process.create_new(Path::new("/other")).unwrap();
    assert_eq!(other.write_at(&[1], 0).unwrap_err().kind(), full);
    other.set_len(1 << 20).unwrap();
    file.set_len(8192).unwrap();
    assert_eq!(other.write_at(&[1; 5000], 0).unwrap(), 4096);
    drop(other);
    process.remove_file(Path::new("/other")).unwrap();
    file.allocate(12_288).unwrap();

    arm(&disk, Fault::DiskFull { after_bytes: 0 }, OpKind::WriteAt);
    assert_eq!(file.write_at(&[1], 0).unwrap_err().kind(), full);
    counted(&disk, FaultKind::DiskFull, 1, 1);
}

#[test]
fn an_io_error_comes_after_a_part_of_the_work() {
    let disk = SimDisk::new();
    let (_, file) = synced_file(&disk);
    arm(&disk, Fault::IoError { after_bytes: 5 }, OpKind::WriteAt);
    assert!(file.write_at(&[8; 10], 0).is_err());
    counted(&disk, FaultKind::IoError, 1, 1);
    assert_eq!(content(&disk)[4..6], [8, 7]);
}

#[test]
fn a_stall_lets_time_pass() {
    let disk = SimDisk::new();
    let clock = Arc::new(SimClock::new());
    disk.set_clock(Arc::clone(&clock));
    let (_, file) = synced_file(&disk);
    arm(&disk, Fault::Stall(250), OpKind::SyncData);
    file.sync_data().unwrap();
    assert_eq!(clock.monotonic(), Duration::from_millis(250));
    counted(&disk, FaultKind::Stall, 1, 1);
}

#[test]
fn handles_and_locks_run_out() {
    let disk = SimDisk::new();
    let (process, file) = synced_file(&disk);
    disk.set_limits(Limits { disk_bytes: None, open_files: Some(2) });
    let lock = process.try_lock(Path::new("/lock")).unwrap();
    assert_eq!(disk.open_handles(), 2);
    let refused = process.open(Path::new("/file"), Access::Read).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(if cfg!(windows) { 4 } else { 24 }));
    assert!(process.create_new(Path::new("/new")).is_err());
    assert_eq!(process.list(Path::new("/")).unwrap().len(), 2, "nothing was created");
    drop((file, lock));
    arm(&disk, Fault::TooManyOpenFiles, OpKind::Open);
    assert!(process.open(Path::new("/file"), Access::Read).is_err());
    counted(&disk, FaultKind::TooManyOpenFiles, 1, 1);
    disk.arm(Arm::first(Fault::LockHeld, OpKind::TryLock, "/lock")).unwrap();
    let held = process.try_lock(Path::new("/lock")).unwrap_err();
    assert_eq!(held.kind(), ErrorKind::WouldBlock);
    counted(&disk, FaultKind::LockHeld, 1, 1);
}

#[test]
fn a_misdirected_write_lands_elsewhere() {
    let disk = SimDisk::new();
    let (process, file) = synced_file(&disk);
    let other = process.create_new(Path::new("/other")).unwrap();
    other.write_at(&[5; 10], 0).unwrap();
    let fault = Fault::MisdirectedWrite { path: Some("/other".to_owned()), position: 4 };
    arm(&disk, fault, OpKind::WriteAt);
    assert_eq!(file.write_at(&[8; 2], 0).unwrap(), 2);
    assert_eq!(content(&disk), [7; 4096]);
    assert_eq!(disk.content("/other").unwrap(), [5, 5, 5, 5, 8, 8, 5, 5, 5, 5]);
    counted(&disk, FaultKind::MisdirectedWrite, 1, 1);
}

#[test]
fn a_read_that_is_wrong_once_is_right_the_next_time() {
    let disk = SimDisk::new();
    let (_, file) = synced_file(&disk);
    arm(&disk, Fault::ReadWrongOnce { bit: 8 }, OpKind::ReadAt);
    let mut buf = [0; 3];
    file.read_at(&mut buf, 0).unwrap();
    assert_eq!(buf, [7, 6, 7]);
    file.read_at(&mut buf, 0).unwrap();
    assert_eq!(buf, [7, 7, 7]);
    counted(&disk, FaultKind::ReadWrongOnce, 1, 1);
}

#[test]
fn a_client_within_a_sync_sees_what_was_there_before_it() {
    let disk = SimDisk::new();
    let (_, file) = synced_file(&disk);
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (within, log) = (disk.clone(), Arc::clone(&seen));
    disk.set_hook(move |point| {
        // What it reads is an operation too, and does not call the hook again.
        let first = read_all(&within).unwrap()[0];
        log.lock().unwrap().push((point.on, first, within.unsynced().changes.len()));
    });
    file.write_at(&[8], 0).unwrap();
    file.sync_data().unwrap();
    disk.clear_hook();
    file.sync_data().unwrap();
    let expected = [(OpKind::WriteAt, 7, 0), (OpKind::SyncData, 8, 1)];
    assert_eq!(*seen.lock().unwrap(), expected);
}
