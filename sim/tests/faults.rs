//! Each kind of fault, alone, on the simulated disk: it does what it says, and it
//! is counted when it fires and when somebody meets it.

use merkql::env::{Access, Clock, File, FileSystem};
use merkql_sim::clock::SimClock;
use merkql_sim::disk::{
    CrashPhase, CrashPoint, Damage, Filling, Kept, Limits, OpId, SimDisk, SimProcess, Survivors,
    What,
};
use merkql_sim::fault::{Arm, Fault, FaultKind, LyingSync, OpKind, SyncFailure};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A file of 4,096 sevens, synced with its name, and its process.
fn synced_file(disk: &SimDisk) -> (SimProcess, Arc<dyn File>) {
    let process = disk.process();
    let file = process.create_new(Path::new("/file")).unwrap();
    file.write_at(&[7; 4096], 0).unwrap();
    file.sync_data().unwrap();
    process.sync_dir(Path::new("/")).unwrap();
    (process, file)
}

fn content(disk: &SimDisk) -> Vec<u8> {
    disk.content("/file").unwrap()
}

#[track_caller]
fn counted(disk: &SimDisk, kind: FaultKind, fired: u64, mattered: u64) {
    let counts = disk.fault_counts().get(&kind).copied().unwrap_or_default();
    assert_eq!((counts.fired, counts.mattered), (fired, mattered), "{kind:?}: {counts:?}");
}

/// A reader of the whole file, in whatever process runs now.
fn read_all(disk: &SimDisk) -> std::io::Result<Vec<u8>> {
    let file = disk.process().open(Path::new("/file"), Access::Read)?;
    let mut buf = vec![0; usize::try_from(file.len()?).unwrap()];
    let count = file.read_at(&mut buf, 0)?;
    buf.truncate(count);
    Ok(buf)
}

fn arm(disk: &SimDisk, fault: Fault, on: OpKind) {
    disk.arm(Arm::first(fault, on, "/file")).unwrap();
}

#[test]
fn a_killed_process_loses_nothing_and_can_do_nothing_more() {
    let disk = SimDisk::new();
    let (process, file) = synced_file(&disk);
    file.write_at(&[8; 10], 0).unwrap();
    let lock = process.try_lock(Path::new("/lock")).unwrap();
    disk.kill();
    assert!(file.read_at(&mut [0; 1], 0).is_err());
    assert!(file.write_at(&[9], 0).is_err());
    assert!(process.list(Path::new("/")).is_err());
    counted(&disk, FaultKind::ProcessKill, 1, 0);
    assert_eq!(read_all(&disk).unwrap()[..11], [8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 7]);
    counted(&disk, FaultKind::ProcessKill, 1, 1);
    // The lock went with it, and letting go of it later frees nobody else's.
    let mine = disk.process().try_lock(Path::new("/lock")).unwrap();
    drop(lock);
    assert!(disk.process().try_lock(Path::new("/lock")).is_err());
    drop(mine);
}

#[test]
fn a_crash_comes_at_the_operation_that_was_named() {
    for (phase, expected) in [
        (CrashPhase::Before, [7, 7, 7]),
        (CrashPhase::Partly(2), [8, 8, 7]),
        (CrashPhase::After, [8, 8, 8]),
    ] {
        let disk = SimDisk::new();
        let (_, file) = synced_file(&disk);
        disk.crash_at(CrashPoint { change: disk.changes(), phase });
        assert!(!disk.is_dead());
        assert!(file.read_at(&mut [0; 1], 0).is_ok());
        assert!(file.write_at(&[8; 3], 0).is_err());
        assert!(disk.is_dead());
        assert!(file.read_at(&mut [0; 1], 0).is_err());
        disk.kill();
        assert_eq!(content(&disk)[..3], expected);
    }
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_what_is_chosen() {
    let disk = SimDisk::new();
    let (_, file) = synced_file(&disk);
    file.write_at(&[8; 1024], 0).unwrap();
    file.write_at(&[9; 1024], 4096).unwrap();
    let first = disk.unsynced().changes[0].op;
    disk.power_cut(&Survivors {
        kept: vec![Kept::Write { op: first, ranges: vec![(512, 1024)], grows: false }],
    });
    let found = read_all(&disk).unwrap();
    assert_eq!(found.len(), 4096);
    assert_eq!((found[0], found[512], found[1024]), (7, 8, 7));
    counted(&disk, FaultKind::PowerCutSubset, 1, 1);
    counted(&disk, FaultKind::TornWrite, 1, 1);
    disk.power_cut(&Survivors::none());
    counted(&disk, FaultKind::PowerCutAllLost, 1, 0);
}

#[test]
fn a_length_can_survive_its_data_and_the_new_part_be_anything() {
    for (with, expected) in [(Filling::Zeroes, 0), (Filling::Stale(0), 3)] {
        let disk = SimDisk::new();
        let (process, file) = synced_file(&disk);
        let old = process.create_new(Path::new("/old")).unwrap();
        old.write_at(&[3; 100], 0).unwrap();
        process.remove_file(Path::new("/old")).unwrap();
        file.write_at(&[8; 100], 4096).unwrap();
        let unsynced = disk.unsynced();
        let growth = unsynced.changes.last().unwrap();
        assert_eq!(growth.what, What::Write { position: 4096, len: 100, grows: true });
        disk.power_cut(&Survivors {
            kept: vec![
                Kept::Write { op: growth.op, ranges: vec![], grows: true },
                Kept::Fill { file: growth.inode, range: (4096, 4196), with },
            ],
        });
        let found = read_all(&disk).unwrap();
        assert_eq!((found.len(), found[4096], found[4195]), (4196, expected, expected));
        counted(&disk, FaultKind::SizeBeforeData, 1, 1);
        counted(&disk, FaultKind::TrashedRange, 1, 1);
    }
}

#[test]
fn names_survive_or_not_apart_from_what_they_name() {
    let disk = SimDisk::new();
    let (process, _file) = synced_file(&disk);
    process.create_new(Path::new("/new")).unwrap().sync_data().unwrap();
    process.remove_file(Path::new("/file")).unwrap();
    disk.power_cut(&Survivors::none());
    let names = disk.process().list(Path::new("/")).unwrap();
    assert_eq!(names.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["file"]);
    assert_eq!(content(&disk), [7; 4096]);
    counted(&disk, FaultKind::MetadataLost, 1, 1);
}

#[test]
fn what_survives_can_be_written_down_and_used_again() {
    let disk = SimDisk::new();
    let (_, file) = synced_file(&disk);
    file.write_at(&[8; 600], 0).unwrap();
    let survivors = Survivors {
        kept: vec![
            Kept::Write { op: disk.unsynced().changes[0].op, ranges: vec![(0, 77)], grows: false },
            Kept::Name { op: OpId(9) },
        ],
    };
    let text = serde_json::to_string(&survivors).unwrap();
    let again: Survivors = serde_json::from_str(&text).unwrap();
    assert_eq!(again, survivors);
    let fork = disk.fork();
    disk.power_cut(&survivors);
    fork.power_cut(&again);
    assert_eq!(content(&disk), content(&fork));
}

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
fn damage_changes_what_it_names_and_matters_once_it_is_read() {
    let overwrite = |kind| Damage::Overwrite { position: 0, bytes: vec![255; 4], kind };
    for damage in [
        Damage::FlipBit { position: 0, bit: 3 },
        Damage::Zero { range: (0, 512) },
        Damage::Garbage { range: (0, 512), seed: 1 },
        Damage::Hole { range: (0, 100) },
        Damage::Cut { len: 100 },
        overwrite(FaultKind::DerivedFileBad),
        overwrite(FaultKind::HostileField),
    ] {
        let disk = SimDisk::new();
        synced_file(&disk);
        disk.damage("/file", &damage).unwrap();
        assert_ne!(content(&disk), [7; 4096], "{damage:?}");
        counted(&disk, damage.kind(), 1, 0);
        read_all(&disk).unwrap();
        counted(&disk, damage.kind(), 1, 1);
        // It is on the disk, not in the cache alone.
        let before = content(&disk);
        disk.power_cut(&Survivors::none());
        assert_eq!(content(&disk), before);
    }
}

#[test]
fn an_unreadable_sector_is_readable_once_it_is_written() {
    let disk = SimDisk::new();
    let (_, file) = synced_file(&disk);
    disk.damage("/file", &Damage::Unreadable { range: (512, 1024) }).unwrap();
    assert!(read_all(&disk).is_err());
    counted(&disk, FaultKind::UnreadableSector, 1, 1);
    assert!(file.read_at(&mut [0; 512], 0).is_ok());
    file.write_at(&[1; 512], 512).unwrap();
    assert!(read_all(&disk).is_ok());
}

#[test]
fn files_go_double_and_change_places() {
    let disk = SimDisk::new();
    let (process, _) = synced_file(&disk);
    process.create_new(Path::new("/other")).unwrap().write_at(&[5], 0).unwrap();
    disk.damage("/file", &Damage::Swap { with: "/other".to_owned() }).unwrap();
    assert_eq!(read_all(&disk).unwrap(), [5]);
    counted(&disk, FaultKind::FilesSwapped, 1, 1);
    disk.damage("/file", &Damage::Duplicate { to: "/other".to_owned() }).unwrap();
    assert_eq!(disk.content("/other").unwrap(), [5]);
    process.open(Path::new("/other"), Access::Read).unwrap().len().unwrap();
    counted(&disk, FaultKind::FileDuplicated, 1, 1);
    disk.damage("/file", &Damage::Delete).unwrap();
    assert_eq!(read_all(&disk).unwrap_err().kind(), ErrorKind::NotFound);
    counted(&disk, FaultKind::FileDeleted, 1, 1);
    assert_eq!(disk.files(), ["/other"]);
}

#[test]
fn a_file_or_the_whole_disk_goes_back_to_what_it_was() {
    let disk = SimDisk::new();
    let (process, file) = synced_file(&disk);
    let image = disk.image();
    file.write_at(&[8; 5000], 0).unwrap();
    file.sync_data().unwrap();
    process.create_new(Path::new("/new")).unwrap();
    disk.roll_back_file(&image, "/file").unwrap();
    assert_eq!(read_all(&disk).unwrap(), [7; 4096]);
    counted(&disk, FaultKind::FileRollback, 1, 1);
    assert_eq!(disk.files(), ["/file", "/new"]);
    disk.roll_back(&image);
    assert_eq!(disk.files(), ["/file"]);
    read_all(&disk).unwrap();
    counted(&disk, FaultKind::DiskRollback, 1, 1);
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
