//! A file system used by several threads at once.

use super::scratch::{Scratch, holds, pattern, read, same_bytes, succeeds, write};
use super::{Part, at_once};
use crate::env::{EntryKind, File};
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

const THREADS: usize = 4;

pub(super) fn writes_and_reads_of_disjoint_ranges_do_not_disturb_each_other(scratch: &Scratch) {
    // Each thread owns every fourth piece; a piece ends where no sector does.
    const PIECE: usize = 700;
    let expected = pattern(PIECE * 100 * THREADS);
    let shared = scratch.create("file");
    let own_pieces = |owner: usize, file: &Arc<dyn File>| {
        for (at, piece) in expected.chunks(PIECE).enumerate() {
            if at % THREADS == owner {
                let position = (at * PIECE) as u64;
                write(file, piece, position);
                let when = "a thread's own bytes, read back while others write";
                same_bytes(&read(file, PIECE, position), piece, when);
            }
        }
    };
    at_once((0..THREADS).map(|owner| -> Part {
        // Two threads share a handle, the others have one each.
        let file = match owner % 2 {
            0 => Arc::clone(&shared),
            _ => scratch.open("file"),
        };
        Box::new(move || own_pieces(owner, &file))
    }));
    holds(&shared, &expected, "a file written by several threads");
}

pub(super) fn readers_of_old_bytes_are_not_disturbed_by_growth(scratch: &Scratch) {
    let front = pattern(5000);
    let file = scratch.create_with("file", &front);
    let read_front = || {
        for _ in 0..200 {
            let found = read(&file, front.len(), 0);
            same_bytes(&found, &front, "old bytes, read while the file grows");
        }
    };
    let grow = || {
        for piece in 0..200 {
            write(&file, &[0xEE; 997], 5000 + piece * 997);
        }
    };
    at_once([Box::new(grow) as Part, Box::new(read_front), Box::new(read_front)]);
    let mut expected = front.clone();
    expected.resize(5000 + 200 * 997, 0xEE);
    holds(&file, &expected, "a file that grew while it was read");
}

pub(super) fn one_of_many_creators_wins(scratch: &Scratch) {
    for round in 0..20 {
        let path = scratch.path(&format!("file-{round}"));
        let winners = AtomicUsize::new(0);
        let create = || match scratch.fs().create_new(&path) {
            Ok(_) => {
                winners.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => assert_eq!(
                error.kind(),
                ErrorKind::AlreadyExists,
                "the error (left) of a creator that comes late should be the right one"
            ),
        };
        at_once((0..THREADS).map(|_| Box::new(create) as Part));
        assert_eq!(
            winners.into_inner(),
            1,
            "of {THREADS} threads that create one file, one (right) should succeed"
        );
    }
}

pub(super) fn names_created_at_once_are_all_listed(scratch: &Scratch) {
    at_once((0..THREADS).map(|owner| -> Part {
        Box::new(move || {
            for number in 0..10 {
                scratch.create(&format!("file-{owner}-{number}"));
            }
        })
    }));
    let names: Vec<String> = (0..THREADS)
        .flat_map(|owner| (0..10).map(move |number| format!("file-{owner}-{number}")))
        .collect();
    let expected: Vec<(&str, EntryKind)> =
        names.iter().map(|name| (name.as_str(), EntryKind::File)).collect();
    scratch.lists(&expected, "after creations by several threads");
}

pub(super) fn one_of_many_threads_holds_a_lock(scratch: &Scratch) {
    let path = scratch.path("lock");
    let held = AtomicBool::new(false);
    let taken = AtomicUsize::new(0);
    let contend = || {
        for _ in 0..200 {
            match scratch.fs().try_lock(&path) {
                Ok(lock) => {
                    let twice = held.swap(true, Ordering::AcqRel);
                    assert!(!twice, "a lock should have one holder, but has two");
                    taken.fetch_add(1, Ordering::Relaxed);
                    thread::yield_now();
                    held.store(false, Ordering::Release);
                    drop(lock);
                }
                Err(error) => assert_eq!(
                    error.kind(),
                    ErrorKind::WouldBlock,
                    "the error (left) of a thread that comes late should be the right one"
                ),
            }
        }
    };
    at_once((0..THREADS).map(|_| Box::new(contend) as Part));
    assert!(taken.into_inner() > 0, "one of the threads should have got the lock");
}

pub(super) fn a_lock_can_be_released_by_another_thread(scratch: &Scratch) {
    let path = scratch.path("lock");
    let take = || succeeds(scratch.fs().try_lock(&path), "taking a free lock");
    let lock = take();
    at_once([Box::new(move || drop(lock)) as Part]);
    drop(take());
}
