//! Deaths of the process, and power cuts.

use super::{content, counted, read_all, synced_file};
use merkql::env::FileSystem;
use merkql_sim::disk::{CrashPhase, CrashPoint, Filling, Kept, OpId, SimDisk, Survivors, What};
use merkql_sim::fault::FaultKind;
use std::path::Path;

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
