//! Names: creating, opening and listing them, and making them durable.

use super::scratch::{Scratch, fails_with, holds, succeeds, write};
use crate::env::{Access, EntryKind};
use std::io::ErrorKind;

const BOTH: [Access; 2] = [Access::Read, Access::ReadWrite];

pub(super) fn a_created_file_is_empty_and_open_for_reading_and_writing(scratch: &Scratch) {
    let file = scratch.create("file");
    holds(&file, b"", "a new file");
    write(&file, b"text", 0);
    holds(&file, b"text", "a new file after a write");
}

pub(super) fn creating_a_taken_name_fails_and_changes_nothing(scratch: &Scratch) {
    let file = scratch.create_with("file", b"text");
    scratch.create_dir("directory");
    fails_with(
        scratch.fs().create_new(&scratch.path("file")),
        ErrorKind::AlreadyExists,
        "creating a file under a file's name",
    );
    fails_with(
        scratch.fs().create_new(&scratch.path("directory")),
        ErrorKind::AlreadyExists,
        "creating a file under a directory's name",
    );
    holds(&file, b"text", "after a refused creation, its old handle");
    holds(&scratch.open("file"), b"text", "after a refused creation");
    scratch.lists(
        &[("directory", EntryKind::Directory), ("file", EntryKind::File)],
        "after refused creations",
    );
}

pub(super) fn creating_in_a_missing_directory_fails(scratch: &Scratch) {
    fails_with(
        scratch.fs().create_new(&scratch.path("missing/file")),
        ErrorKind::NotFound,
        "creating a file in a missing directory",
    );
    fails_with(
        scratch.fs().create_dir(&scratch.path("missing/directory")),
        ErrorKind::NotFound,
        "creating a directory in a missing directory",
    );
    scratch.lists(&[], "after refused creations");
}

pub(super) fn opening_a_missing_file_fails_and_creates_nothing(scratch: &Scratch) {
    for access in BOTH {
        fails_with(
            scratch.fs().open(&scratch.path("missing"), access),
            ErrorKind::NotFound,
            "opening a missing file",
        );
        fails_with(
            scratch.fs().open(&scratch.path("missing/file"), access),
            ErrorKind::NotFound,
            "opening a file in a missing directory",
        );
    }
    scratch.lists(&[], "after refused openings");
}

pub(super) fn opening_a_directory_as_a_file_fails(scratch: &Scratch) {
    scratch.create_dir("directory");
    for access in BOTH {
        fails_with(
            scratch.fs().open(&scratch.path("directory"), access),
            ErrorKind::IsADirectory,
            &format!("opening a directory as a file ({access:?})"),
        );
    }
}

pub(super) fn an_opened_file_has_the_content_that_was_written(scratch: &Scratch) {
    drop(scratch.create_with("file", b"text"));
    for access in BOTH {
        let file =
            succeeds(scratch.fs().open(&scratch.path("file"), access), "opening an existing file");
        holds(&file, b"text", "an opened file");
    }
    write(&scratch.open("file"), b"s", 4);
    holds(&scratch.open("file"), b"texts", "a file opened again");
}

pub(super) fn a_listing_is_sorted_and_tells_kinds(scratch: &Scratch) {
    // Neither the order of creation nor that of numbers or dictionaries.
    for name in ["b", "9", "a.b", "Z", "10"] {
        scratch.create(name);
    }
    for name in ["c", "a"] {
        scratch.create_dir(name);
    }
    scratch.create("a/inside");
    scratch.lists(
        &[
            ("10", EntryKind::File),
            ("9", EntryKind::File),
            ("Z", EntryKind::File),
            ("a", EntryKind::Directory),
            ("a.b", EntryKind::File),
            ("b", EntryKind::File),
            ("c", EntryKind::Directory),
        ],
        "a listing in the order of the names' bytes",
    );
}

pub(super) fn a_listing_of_an_empty_directory_is_empty(scratch: &Scratch) {
    scratch.lists(&[], "an empty directory");
}

pub(super) fn listing_a_missing_directory_fails(scratch: &Scratch) {
    fails_with(
        scratch.fs().list(&scratch.path("missing")),
        ErrorKind::NotFound,
        "listing a missing directory",
    );
}

pub(super) fn listing_a_file_fails(scratch: &Scratch) {
    scratch.create("file");
    fails_with(
        scratch.fs().list(&scratch.path("file")),
        ErrorKind::NotADirectory,
        "listing a file",
    );
}

pub(super) fn creating_a_taken_directory_fails_and_changes_nothing(scratch: &Scratch) {
    scratch.create_dir("directory");
    scratch.create_with("directory/inside", b"in");
    scratch.create_with("file", b"text");
    for (name, what) in [
        ("directory", "creating a directory under a directory's name"),
        ("file", "creating a directory under a file's name"),
    ] {
        let path = scratch.path(name);
        fails_with(scratch.fs().create_dir(&path), ErrorKind::AlreadyExists, what);
    }
    holds(&scratch.open("directory/inside"), b"in", "a file in a directory");
    holds(&scratch.open("file"), b"text", "a file");
}

pub(super) fn one_name_in_two_directories_is_two_files(scratch: &Scratch) {
    scratch.create_dir("a");
    scratch.create_dir("b");
    let first = scratch.create_with("a/file", b"first");
    let second = scratch.create_with("b/file", b"second");
    holds(&first, b"first", "a file in one directory");
    holds(&second, b"second", "its namesake in another");
    holds(&scratch.open("a/file"), b"first", "the first file, opened again");
    holds(&scratch.open("b/file"), b"second", "its namesake, opened again");
}

pub(super) fn syncing_a_directory_changes_nothing_visible(scratch: &Scratch) {
    let file = scratch.create_with("file", b"text");
    scratch.create("removed");
    scratch.create_dir("directory");
    succeeds(scratch.fs().remove_file(&scratch.path("removed")), "removing a file");
    for when in ["after a sync of the directory", "after a second one"] {
        for name in ["", "directory"] {
            succeeds(scratch.fs().sync_dir(&scratch.path(name)), "syncing a directory");
        }
        scratch.lists(&[("directory", EntryKind::Directory), ("file", EntryKind::File)], when);
        holds(&file, b"text", when);
    }
}

pub(super) fn syncing_a_missing_directory_fails(scratch: &Scratch) {
    fails_with(
        scratch.fs().sync_dir(&scratch.path("missing")),
        ErrorKind::NotFound,
        "syncing a missing directory",
    );
}
