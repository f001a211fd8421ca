//! Cutting, growing and allocating.

use super::scratch::{Scratch, fails, holds, pattern, read, same_bytes, succeeds, write};
use crate::env::File;
use std::sync::Arc;

/// Lengths in the middle, at and around the borders of sectors and pages.
const LENGTHS: [usize; 8] = [0, 1, 511, 512, 4095, 4096, 4097, 10_000];

#[track_caller]
fn set_len(file: &Arc<dyn File>, len: usize) {
    succeeds(file.set_len(len as u64), "setting a length");
}

#[track_caller]
fn allocate(file: &Arc<dyn File>, len: usize) {
    succeeds(file.allocate(len as u64), "allocating");
}

pub(super) fn cutting_keeps_the_front(scratch: &Scratch) {
    let content = pattern(10_000);
    let file = scratch.create_with("file", &content);
    for len in LENGTHS.into_iter().rev() {
        set_len(&file, len);
        let when = format!("a file cut to {len}");
        holds(&file, content.get(..len).unwrap_or_default(), &when);
    }
}

pub(super) fn growing_shows_zeroes(scratch: &Scratch) {
    let mut expected = b"text".to_vec();
    let file = scratch.create_with("file", &expected);
    for len in [5, 512, 513, 4096, 9000, 200_001] {
        set_len(&file, len);
        expected.resize(len, 0);
        holds(&file, &expected, &format!("a file lengthened to {len}"));
    }
    write(&file, b"middle", 4500);
    expected.splice(4500..4506, *b"middle");
    holds(&file, &expected, "a lengthened file after a write in it");
}

pub(super) fn growing_after_a_cut_never_shows_old_bytes(scratch: &Scratch) {
    type Grow = fn(&Arc<dyn File>, usize);
    let ways: [(&str, Grow); 3] = [
        ("set_len", set_len),
        ("allocate", allocate),
        ("write", |file, len| write(file, &[0], len as u64 - 1)),
    ];
    let content = pattern(10_000);
    for (way, grow) in ways {
        let file = scratch.create_with(way, &content);
        for len in LENGTHS.into_iter().rev() {
            set_len(&file, len);
            grow(&file, 12_000);
            let mut expected = content.get(..len).unwrap_or_default().to_vec();
            expected.resize(12_000, 0);
            let when = format!("a file cut to {len}, then lengthened by {way}");
            holds(&file, &expected, &when);
        }
    }
}

pub(super) fn setting_the_same_length_changes_nothing(scratch: &Scratch) {
    for len in LENGTHS {
        let content = pattern(len);
        let file = scratch.create_with(&len.to_string(), &content);
        set_len(&file, len);
        holds(&file, &content, &format!("a file set to its length {len}"));
    }
}

pub(super) fn a_length_that_no_file_can_have_is_refused(scratch: &Scratch) {
    let file = scratch.create_with("file", b"text");
    for len in [i64::MAX.unsigned_abs() + 1, u64::MAX] {
        fails(file.set_len(len), &format!("setting the length {len}"));
        holds(&file, b"text", "after a refused length");
    }
}

pub(super) fn allocating_lengthens_with_zeroes_and_keeps_the_front(scratch: &Scratch) {
    // Both ends odd and even, near to and far over several times 64 KiB.
    for front in [0, 1, 511, 4096, 65_535, 65_536, 65_537] {
        let file = scratch.create(&format!("from-{front}"));
        let mut expected = pattern(front);
        write(&file, &expected, 0);
        for more in [1, 511, 65_536, 3 * 65_536 + 7] {
            expected.resize(expected.len() + more, 0);
            allocate(&file, expected.len());
            let when = format!("a file of {front}, allocated to {}", expected.len());
            holds(&file, &expected, &when);
        }
    }
}

pub(super) fn allocating_below_the_length_changes_nothing(scratch: &Scratch) {
    let content = pattern(5000);
    let file = scratch.create_with("file", &content);
    for len in [0, 1, 4096, 4999, 5000] {
        allocate(&file, len);
        let when = format!("a file of 5000, allocated to {len}");
        holds(&file, &content, &when);
    }
}

pub(super) fn allocated_space_can_be_overwritten(scratch: &Scratch) {
    let file = scratch.create("file");
    let mut expected = vec![0; 100_000];
    allocate(&file, expected.len());
    for (start, text) in [(0, b"front"), (65_534, b"midst"), (99_995, b"final")] {
        write(&file, text, start as u64);
        expected.splice(start..start + text.len(), *text);
        let when = format!("an allocated file after a write at {start}");
        holds(&file, &expected, &when);
    }
}

/// Several hundred calls, the same in every run, through two handles and beside
/// a vector that is the model.
pub(super) fn a_long_mixture_of_calls_matches_a_model(scratch: &Scratch) {
    let handles = [scratch.create("file"), scratch.open("file")];
    let [first, second] = &handles;
    let mut model: Vec<u8> = Vec::new();
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    for step in 0..600 {
        let file = if numbers.below(2) == 0 { first } else { second };
        apply_one(file, &mut model, &mut numbers);

        let start = numbers.below(12_000);
        let len = numbers.below(5000);
        let end = model.len().min(start + len);
        let expected = model.get(start..end).unwrap_or_default();
        for file in &handles {
            let when = format!("step {step}, reading {len} bytes at {start}");
            same_bytes(&read(file, len, start as u64), expected, &when);
        }
        if step % 20 == 0 {
            holds(file, &model, &format!("step {step}"));
        }
    }
    for file in &handles {
        holds(file, &model, "after the last step");
    }
}

fn apply_one(file: &Arc<dyn File>, model: &mut Vec<u8>, numbers: &mut Numbers) {
    match numbers.below(8) {
        0..4 => {
            let start = numbers.below(11_000);
            let skipped = numbers.below(251);
            let len = 1 + numbers.below(3000);
            let bytes: Vec<u8> = pattern(skipped + len).split_off(skipped);
            write(file, &bytes, start as u64);
            model.resize(model.len().max(start + len), 0);
            model.splice(start..start + len, bytes);
        }
        4..6 => {
            let len = numbers.below(12_000);
            set_len(file, len);
            model.resize(len, 0);
        }
        6 => {
            let len = numbers.below(14_000);
            allocate(file, len);
            model.resize(model.len().max(len), 0);
        }
        _ => succeeds(file.sync_data(), "syncing a file"),
    }
}

/// Marsaglia's xorshift: fixed numbers without a pattern, good enough to mix calls.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap_or(0)
    }
}
