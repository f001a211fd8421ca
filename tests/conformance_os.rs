//! The operating system behind the seams does what the log relies on.
#![cfg(feature = "conformance")]
#![allow(
    clippy::disallowed_methods,
    reason = "what is checked here is the operating system itself"
)]

use merkql::env::os::{OsClock, OsEntropy, OsFileSystem};
use merkql::env::{FileSystem, conformance};
use std::io::ErrorKind;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn the_file_system_of_the_operating_system_conforms() {
    let root = tempfile::tempdir().unwrap();
    conformance::all(Arc::new(OsFileSystem), root.path());
}

#[test]
fn the_file_system_of_the_operating_system_conforms_under_threads() {
    let root = tempfile::tempdir().unwrap();
    conformance::threaded(Arc::new(OsFileSystem), root.path());
}

#[test]
fn the_clock_of_the_operating_system_conforms() {
    conformance::clock(&OsClock);
    conformance::clock_threaded(&OsClock);
}

#[test]
fn the_randomness_of_the_operating_system_conforms() {
    conformance::entropy(&OsEntropy);
}

#[test]
fn a_released_lock_is_free_even_while_other_threads_start_processes() {
    // A child has a copy of every handle until it runs its own program, so a
    // lock that only goes with the last handle is released late now and then.
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("lock");
    let done = AtomicBool::new(false);
    let refusals = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let this = std::env::current_exe().unwrap();
                let child = Command::new(this).arg("--list").output();
                assert!(child.unwrap().status.success());
            }
        });
        let until = Instant::now() + Duration::from_millis(500);
        let mut refusals = 0;
        while Instant::now() < until {
            refusals += u32::from(OsFileSystem.try_lock(&path).is_err());
        }
        done.store(true, Ordering::Relaxed);
        refusals
    });
    assert_eq!(refusals, 0, "a lock that was dropped should be free");
}

#[test]
fn an_allocation_that_no_file_can_have_is_refused_before_the_disk_is_full() {
    // Not in the suite: an implementation without the check would fill the disk.
    let root = tempfile::tempdir().unwrap();
    let file = OsFileSystem.create_new(&root.path().join("file")).unwrap();
    for len in [u64::MAX, i64::MAX.unsigned_abs() + 1] {
        let error = file.allocate(len).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(file.is_empty().unwrap());
    }
}
