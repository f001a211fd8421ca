//! Positional reads and writes, and what several handles see of each other.

use super::scratch::{
    Scratch, fails, holds, pattern, read, read_once, same_bytes, succeeds, write, write_once,
};
use crate::env::Access;

/// Positions at which no file can hold eight bytes, from the first to the last.
const UNREACHABLE: [u64; 5] = [
    i64::MAX.unsigned_abs() - 7,
    i64::MAX.unsigned_abs(),
    i64::MAX.unsigned_abs() + 1,
    u64::MAX - 1,
    u64::MAX,
];

pub(super) fn reading_at_or_past_the_end_gives_nothing(scratch: &Scratch) {
    let empty = scratch.create("empty");
    let file = scratch.create_with("file", b"text");
    let mut buf = [0; 8];
    for (file, len) in [(&empty, 0), (&file, 4)] {
        for distance in [0, 1, 511, 4096, 1 << 32, 1 << 40] {
            let count =
                succeeds(read_once(file, &mut buf, len + distance), "reading at or past the end");
            assert_eq!(
                count, 0,
                "a read {distance} bytes past the end of {len} should give 0 (right)"
            );
        }
    }
    holds(&empty, b"", "after reads past the end");
    holds(&file, b"text", "after reads past the end");
}

pub(super) fn reading_into_an_empty_buffer_gives_nothing(scratch: &Scratch) {
    let file = scratch.create_with("file", b"text");
    for position in [0, 2, 4, 100] {
        let count = succeeds(read_once(&file, &mut [], position), "reading into an empty buffer");
        assert_eq!(count, 0, "a read of nothing at {position} should give 0 (right)");
    }
}

pub(super) fn reading_over_the_end_gives_what_is_there(scratch: &Scratch) {
    let content = pattern(5000);
    let file = scratch.create_with("file", &content);
    for position in [0, 1, 4095, 4096, 4990, 4999, 5000] {
        let rest = content.get(position..).unwrap_or_default();
        let found = read(&file, 6000, position as u64);
        same_bytes(&found, rest, &format!("a read from {position} to the end"));
    }
}

pub(super) fn reads_and_writes_go_where_they_are_told(scratch: &Scratch) {
    // Backwards, so that a handle with a cursor of its own is found out.
    let content = pattern(300);
    let file = scratch.create("file");
    for (position, &byte) in content.iter().enumerate().rev() {
        write(&file, &[byte], position as u64);
    }
    for (position, &byte) in content.iter().enumerate().rev() {
        let when = format!("the byte at {position}");
        same_bytes(&read(&file, 1, position as u64), &[byte], &when);
    }
    holds(&file, &content, "a file written byte by byte");
    holds(&file, &content, "the same file read again");
}

pub(super) fn a_count_is_neither_zero_nor_more_than_asked(scratch: &Scratch) {
    let file = scratch.create("file");
    let content = pattern(10_000);
    let written = succeeds(write_once(&file, &content, 0), "writing to a file");
    assert!(
        (1..=content.len()).contains(&written),
        "a write of {} bytes should count from 1 to as many, but counts {written}",
        content.len()
    );
    let expected = content.get(..written).unwrap_or_default();
    holds(&file, expected, "a file after one write, maybe a short one");

    write(&file, &content, 0);
    let mut buf = vec![0; 20_000];
    let count = succeeds(read_once(&file, &mut buf, 4000), "reading a file");
    assert!(
        (1..=6000).contains(&count),
        "a read with 6000 bytes left should count from 1 to 6000, but counts {count}"
    );
    let end = 4000 + count;
    same_bytes(
        buf.get(..count).unwrap_or_default(),
        content.get(4000..end).unwrap_or_default(),
        "one read, maybe a short one",
    );
}

pub(super) fn writing_past_the_end_leaves_a_gap_of_zeroes(scratch: &Scratch) {
    for (front, gap) in [(0, 1), (0, 5000), (3, 1), (511, 2), (4096, 4096), (1, 70_001)] {
        let file = scratch.create(&format!("gap-{front}-{gap}"));
        let mut expected = pattern(front);
        write(&file, &expected, 0);
        expected.resize(front + gap, 0);
        write(&file, b"end", expected.len() as u64);
        expected.extend(b"end");
        let when = format!("a write {gap} bytes past the end of {front}");
        holds(&file, &expected, &when);
    }
}

pub(super) fn overwriting_leaves_the_neighbours_alone(scratch: &Scratch) {
    let mut expected = pattern(20_000);
    let file = scratch.create_with("file", &expected);
    for (start, end) in [(0, 1), (5, 6), (510, 514), (4090, 8200), (19_999, 20_000)] {
        let replacement = vec![0xEE; end - start];
        write(&file, &replacement, start as u64);
        expected.splice(start..end, replacement);
        let when = format!("after an overwrite of {start}..{end}");
        holds(&file, &expected, &when);
    }
    write(&file, &[0xDD; 100], 19_950);
    expected.truncate(19_950);
    expected.extend([0xDD; 100]);
    holds(&file, &expected, "after a write across the end");
}

pub(super) fn writing_nothing_changes_nothing(scratch: &Scratch) {
    let file = scratch.create_with("file", b"text");
    for position in [0, 2, 4, 100] {
        let count = succeeds(write_once(&file, &[], position), "writing nothing");
        assert_eq!(count, 0, "a write of nothing at {position} should give 0 (right)");
        let when = format!("after a write of nothing at {position}");
        holds(&file, b"text", &when);
    }
}

pub(super) fn large_content_comes_back(scratch: &Scratch) {
    let content = pattern(400_003);
    let file = scratch.create_with("file", &content);
    holds(&file, &content, "a large file");
    let mut found = Vec::new();
    while found.len() < content.len() {
        let piece = read(&file, 1009, found.len() as u64);
        assert!(!piece.is_empty(), "a read before the end should give bytes");
        found.extend(piece);
    }
    same_bytes(&found, &content, "a large file read in pieces");
}

pub(super) fn two_handles_see_each_others_writes_and_lengths(scratch: &Scratch) {
    let first = scratch.create_with("file", b"text");
    let second = scratch.open("file");
    let reader = succeeds(
        scratch.fs().open(&scratch.path("file"), Access::Read),
        "opening an existing file",
    );
    let all_hold = |expected: &[u8], when: &str| {
        for file in [&first, &second, &reader] {
            holds(file, expected, when);
        }
    };
    all_hold(b"text", "before any change");
    write(&second, b"T", 0);
    all_hold(b"Text", "after an overwrite through one handle");
    write(&first, b"s", 4);
    all_hold(b"Texts", "after growth through another handle");
    succeeds(second.set_len(2), "cutting a file");
    all_hold(b"Te", "after a cut through one handle");
    succeeds(first.allocate(4), "allocating");
    all_hold(b"Te\0\0", "after an allocation through another handle");
    drop(first);
    holds(&second, b"Te\0\0", "after a handle was closed");
    holds(&reader, b"Te\0\0", "after a handle was closed");
}

pub(super) fn two_files_do_not_share_content(scratch: &Scratch) {
    let first = scratch.create_with("a", b"first");
    let second = scratch.create_with("b", b"second");
    write(&first, b"F", 0);
    succeeds(second.set_len(3), "cutting a file");
    holds(&first, b"First", "a file");
    holds(&second, b"sec", "its neighbour");
}

pub(super) fn a_handle_for_reading_refuses_changes(scratch: &Scratch) {
    drop(scratch.create_with("file", b"text"));
    let file = succeeds(
        scratch.fs().open(&scratch.path("file"), Access::Read),
        "opening a file for reading",
    );
    for position in [0, 2, 4, 100] {
        fails(write_once(&file, b"more", position), "a write through a handle for reading");
    }
    for len in [0, 2, 100] {
        fails(file.set_len(len), "set_len through a handle for reading");
    }
    fails(file.allocate(100), "allocate through a handle for reading");
    holds(&file, b"text", "after refused changes");
}

pub(super) fn positions_that_no_file_can_have_are_refused(scratch: &Scratch) {
    let file = scratch.create_with("file", b"text");
    for position in UNREACHABLE {
        if let Ok(count) = read_once(&file, &mut [0; 8], position) {
            assert_eq!(count, 0, "a read at {position} should fail or give 0 (right)");
        }
        fails(write_once(&file, b"far away", position), &format!("a write at {position}"));
        let when = format!("after a refused write at {position}");
        holds(&file, b"text", &when);
    }
}

pub(super) fn syncing_a_file_changes_nothing_visible(scratch: &Scratch) {
    let file = scratch.create("file");
    succeeds(file.sync_data(), "syncing an empty file");
    holds(&file, b"", "an empty file after a sync");
    write(&file, b"text", 0);
    for when in ["a file after a sync", "a file after a second sync"] {
        succeeds(file.sync_data(), "syncing a file");
        holds(&file, b"text", when);
        holds(&scratch.open("file"), b"text", when);
    }
    write(&file, b"T", 0);
    succeeds(file.set_len(3), "cutting a synced file");
    succeeds(file.sync_data(), "syncing a cut file");
    holds(&file, b"Tex", "a file cut and synced again");
}
