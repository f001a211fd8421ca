//! Each kind of fault, alone, on the simulated disk: it does what it says, and it
//! is counted when it fires and when somebody meets it.

mod calls;
mod crashes;
mod damage;

use merkql::env::{Access, File, FileSystem};
use merkql_sim::disk::{SimDisk, SimProcess};
use merkql_sim::fault::{Arm, Fault, FaultKind, OpKind};
use std::path::Path;
use std::sync::Arc;

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
