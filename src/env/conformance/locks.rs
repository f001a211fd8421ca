//! The exclusive lock.

use super::scratch::{Scratch, fails, fails_with, holds, succeeds, write};
use crate::env::{Access, EntryKind, Lock};
use std::io::ErrorKind;

#[track_caller]
fn lock(scratch: &Scratch, name: &str) -> Box<dyn Lock> {
    succeeds(scratch.fs().try_lock(&scratch.path(name)), "taking a lock that nobody holds")
}

#[track_caller]
fn is_refused(scratch: &Scratch, name: &str, what: &str) {
    fails_with(scratch.fs().try_lock(&scratch.path(name)), ErrorKind::WouldBlock, what);
}

pub(super) fn a_held_lock_is_refused_to_others(scratch: &Scratch) {
    let held = lock(scratch, "lock");
    is_refused(scratch, "lock", "taking a held lock");
    drop(held);
}

pub(super) fn dropping_a_lock_releases_it(scratch: &Scratch) {
    for _ in 0..10 {
        let held = lock(scratch, "lock");
        is_refused(scratch, "lock", "taking a held lock");
        drop(held);
    }
}

pub(super) fn a_refused_attempt_leaves_the_lock_held(scratch: &Scratch) {
    let held = lock(scratch, "lock");
    for _ in 0..3 {
        is_refused(scratch, "lock", "taking a held lock again after a refusal");
    }
    drop(held);
    drop(lock(scratch, "lock"));
}

pub(super) fn opening_and_closing_a_locked_file_leaves_the_lock_held(scratch: &Scratch) {
    // Locks of the kind that POSIX's `fcntl` takes are lost when any handle to
    // the file is closed by their process.
    let held = lock(scratch, "lock");
    for access in [Access::Read, Access::ReadWrite] {
        drop(succeeds(scratch.fs().open(&scratch.path("lock"), access), "opening a locked file"));
        is_refused(scratch, "lock", "taking a held lock after its file was opened and closed");
    }
    drop(held);
}

pub(super) fn locking_creates_an_empty_file_that_is_listed(scratch: &Scratch) {
    let held = lock(scratch, "lock");
    scratch.lists(&[("lock", EntryKind::File)], "while a lock is held");
    drop(held);
    scratch.lists(&[("lock", EntryKind::File)], "after a lock was released");
    holds(&scratch.open("lock"), b"", "a file created by locking");
}

pub(super) fn locking_leaves_the_content_alone(scratch: &Scratch) {
    drop(scratch.create_with("file", b"text"));
    for _ in 0..2 {
        let held = lock(scratch, "file");
        is_refused(scratch, "file", "taking a held lock on a file with content");
        drop(held);
        // Only now: some systems refuse to read what is locked.
        holds(&scratch.open("file"), b"text", "a file that was locked");
    }
}

pub(super) fn an_open_handle_is_no_lock(scratch: &Scratch) {
    let file = scratch.create_with("file", b"text");
    drop(lock(scratch, "file"));
    write(&file, b"T", 0);
    holds(&file, b"Text", "a file that was open while it was locked");
}

pub(super) fn locks_of_two_files_are_independent(scratch: &Scratch) {
    let first = lock(scratch, "a");
    let second = lock(scratch, "b");
    drop(first);
    is_refused(scratch, "b", "taking a held lock after another's release");
    drop(lock(scratch, "a"));
    drop(second);
}

pub(super) fn locking_in_a_missing_directory_fails(scratch: &Scratch) {
    fails(
        scratch.fs().try_lock(&scratch.path("missing/lock")),
        "taking a lock in a missing directory",
    );
    scratch.lists(&[], "after a refused lock");
}
