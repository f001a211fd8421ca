//! Removing names, and what remains of a file whose name is gone.

use super::scratch::{Scratch, fails, fails_with, holds, succeeds, write};
use crate::env::{Access, EntryKind};
use std::io::ErrorKind;

#[track_caller]
fn remove_file(scratch: &Scratch, name: &str) {
    succeeds(scratch.fs().remove_file(&scratch.path(name)), "removing a file");
}

#[track_caller]
fn remove_dir(scratch: &Scratch, name: &str) {
    succeeds(scratch.fs().remove_dir(&scratch.path(name)), "removing an empty directory");
}

pub(super) fn a_removed_file_is_gone_and_its_neighbours_stay(scratch: &Scratch) {
    scratch.create_with("a", b"first");
    scratch.create_with("b", b"second");
    remove_file(scratch, "a");
    fails_with(
        scratch.fs().open(&scratch.path("a"), Access::Read),
        ErrorKind::NotFound,
        "opening a removed file",
    );
    scratch.lists(&[("b", EntryKind::File)], "after a removal");
    holds(&scratch.open("b"), b"second", "a removed file's neighbour");
}

pub(super) fn removing_a_missing_file_fails(scratch: &Scratch) {
    fails_with(
        scratch.fs().remove_file(&scratch.path("missing")),
        ErrorKind::NotFound,
        "removing a missing file",
    );
    scratch.create("file");
    remove_file(scratch, "file");
    fails_with(
        scratch.fs().remove_file(&scratch.path("file")),
        ErrorKind::NotFound,
        "removing a file a second time",
    );
}

pub(super) fn removing_a_directory_as_a_file_fails(scratch: &Scratch) {
    scratch.create_dir("directory");
    fails(scratch.fs().remove_file(&scratch.path("directory")), "removing a directory as a file");
    scratch.lists(&[("directory", EntryKind::Directory)], "after a refused removal");
}

pub(super) fn an_open_handle_outlives_its_name(scratch: &Scratch) {
    let writer = scratch.create_with("file", b"text");
    let reader = succeeds(
        scratch.fs().open(&scratch.path("file"), Access::Read),
        "opening an existing file",
    );
    remove_file(scratch, "file");
    scratch.lists(&[], "after the removal of an open file");

    holds(&reader, b"text", "a removed file");
    write(&writer, b"texts", 0);
    holds(&reader, b"texts", "a removed file after a write");
    succeeds(writer.set_len(2), "cutting a removed file");
    succeeds(writer.allocate(4), "lengthening a removed file");
    succeeds(writer.sync_data(), "syncing a removed file");
    holds(&reader, b"te\0\0", "a removed file after a change of length");
    drop(writer);
    holds(&reader, b"te\0\0", "a removed file with one handle left");
}

pub(super) fn a_removed_name_is_free_for_a_new_file(scratch: &Scratch) {
    let old = scratch.create_with("file", b"old content");
    remove_file(scratch, "file");
    let new = scratch.create("file");
    holds(&new, b"", "a new file under a removed name");
    holds(&old, b"old content", "the removed file");

    write(&new, b"new", 0);
    write(&old, b"OLD", 0);
    holds(&new, b"new", "the new file after writes to both");
    holds(&old, b"OLD content", "the removed file after writes to both");
    holds(&scratch.open("file"), b"new", "the name, opened again");
    scratch.lists(&[("file", EntryKind::File)], "after a removal and a creation");

    drop(old);
    holds(&new, b"new", "the new file after the old one was closed");
}

pub(super) fn an_empty_directory_can_be_removed_and_made_again(scratch: &Scratch) {
    scratch.create_dir("directory");
    scratch.create("directory/file");
    remove_file(scratch, "directory/file");
    remove_dir(scratch, "directory");
    scratch.lists(&[], "after the removal of a directory");
    fails_with(
        scratch.fs().list(&scratch.path("directory")),
        ErrorKind::NotFound,
        "listing a removed directory",
    );
    fails_with(
        scratch.fs().create_new(&scratch.path("directory/file")),
        ErrorKind::NotFound,
        "creating a file in a removed directory",
    );

    scratch.create_dir("directory");
    let entries =
        succeeds(scratch.fs().list(&scratch.path("directory")), "listing a directory made again");
    assert!(entries.is_empty(), "a directory made again should be empty, but has {entries:?}");
}

pub(super) fn a_directory_with_names_in_it_is_not_removed(scratch: &Scratch) {
    scratch.create_dir("files");
    scratch.create_with("files/file", b"text");
    scratch.create_dir("directories");
    scratch.create_dir("directories/directory");
    for name in ["files", "directories"] {
        fails_with(
            scratch.fs().remove_dir(&scratch.path(name)),
            ErrorKind::DirectoryNotEmpty,
            "removing a directory with a name in it",
        );
    }
    holds(&scratch.open("files/file"), b"text", "a file in a directory whose removal was refused");
    remove_dir(scratch, "directories/directory");
    remove_dir(scratch, "directories");
    scratch.lists(&[("files", EntryKind::Directory)], "after the removal of one directory");
}

pub(super) fn removing_a_missing_directory_fails(scratch: &Scratch) {
    fails_with(
        scratch.fs().remove_dir(&scratch.path("missing")),
        ErrorKind::NotFound,
        "removing a missing directory",
    );
}

pub(super) fn removing_a_file_as_a_directory_fails(scratch: &Scratch) {
    let file = scratch.create_with("file", b"text");
    fails(scratch.fs().remove_dir(&scratch.path("file")), "removing a file as a directory");
    scratch.lists(&[("file", EntryKind::File)], "after a refused removal");
    holds(&file, b"text", "after a refused removal");
}

pub(super) fn open_handles_do_not_keep_a_directory_from_removal(scratch: &Scratch) {
    scratch.create_dir("directory");
    let file = scratch.create_with("directory/file", b"text");
    remove_file(scratch, "directory/file");
    remove_dir(scratch, "directory");
    holds(&file, b"text", "a removed file of a removed directory");
}
