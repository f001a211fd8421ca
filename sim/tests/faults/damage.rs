//! Damage that is done while nobody runs.

use super::{content, counted, read_all, synced_file};
use merkql::env::{Access, FileSystem};
use merkql_sim::disk::{Damage, SimDisk, Survivors};
use merkql_sim::fault::FaultKind;
use std::io::ErrorKind;
use std::path::Path;

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
