//! The decoders, against bytes that nobody of ours wrote.
//!
//! For each format: bytes at random, and the files of `tests/data/corpus` changed at
//! random, half of them with a checksum made right again so that what lies behind it
//! is reached. No decoder may panic or take memory beyond a multiple of its input,
//! and what one accepts must be the same after it is written and read again.
//!
//! `PROPTEST_CASES` says how many. The corpus is written anew by
//!
//! ```sh
//! MERKQL_REGENERATE_CORPUS=1 cargo test --lib corpus
//! ```

mod corpus;
mod round_trips;
mod targets;

use allocation_counter::measure;
use proptest::prelude::*;
use proptest::sample::Index;
use targets::{TARGETS, Target};

/// What every decoder may take whatever its input.
const MEMORY_MIN: u64 = 4 << 10;

/// A change of bytes.
#[derive(Debug, Clone)]
enum Edit {
    Flip(Index, u8),
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    Number(Index, u64),
    Splice(Index, Index, usize),
    Cut(Index),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let number = prop_oneof![
        Just(0),
        Just(1),
        Just(u64::MAX),
        Just(1 << 62),
        Just(1 << 63),
        Just(u64::from(u32::MAX)),
        any::<u64>(),
    ];
    let edit = prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        (any::<Index>(), prop::collection::vec(any::<u8>(), 1..12))
            .prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (any::<Index>(), 1..40_usize).prop_map(|(at, len)| Edit::Remove(at, len)),
        (any::<Index>(), 1..40_usize).prop_map(|(at, len)| Edit::Repeat(at, len)),
        (any::<Index>(), number).prop_map(|(at, number)| Edit::Number(at, number)),
        (any::<Index>(), any::<Index>(), 1..200_usize)
            .prop_map(|(at, from, len)| Edit::Splice(at, from, len)),
        any::<Index>().prop_map(Edit::Cut),
    ];
    prop::collection::vec(edit, 1..6)
}

fn apply(edit: &Edit, bytes: &mut Vec<u8>, other: &[u8]) {
    let size = bytes.len().max(1);
    let range = |at: usize, len: usize, of: usize| at.min(of)..(at + len).min(of);
    match edit {
        Edit::Flip(at, bit) => {
            if let Some(byte) = bytes.get_mut(at.index(size)) {
                *byte ^= 1 << bit;
            }
        }
        Edit::Set(at, value) => {
            if let Some(byte) = bytes.get_mut(at.index(size)) {
                *byte = *value;
            }
        }
        Edit::Insert(at, new) => {
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..at, new.iter().copied());
        }
        Edit::Remove(at, len) => drop(bytes.drain(range(at.index(size), *len, bytes.len()))),
        Edit::Repeat(at, len) => {
            let range = range(at.index(size), *len, bytes.len());
            let again = bytes[range.clone()].to_vec();
            bytes.splice(range.end..range.end, again);
        }
        Edit::Number(at, number) => {
            let range = range(at.index(size), 8, bytes.len());
            let len = range.len();
            bytes[range].copy_from_slice(&number.to_le_bytes()[..len]);
        }
        Edit::Splice(at, from, len) => {
            let from = range(from.index(other.len().max(1)), *len, other.len());
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..at, other[from].iter().copied());
        }
        Edit::Cut(at) => bytes.truncate(at.index(size)),
    }
}

/// Decodes bytes, and holds what every decoder promises.
fn hold(target: &Target, bytes: &[u8]) -> Result<(), TestCaseError> {
    let mut decoded = None;
    let memory = measure(|| decoded = (target.decode)(bytes)).bytes_max;
    let allowed = bytes.len() as u64 * target.memory_factor + MEMORY_MIN;
    prop_assert!(memory <= allowed, "{}: {memory} bytes for {}", target.name, bytes.len());
    if let Some(written) = decoded {
        if target.is_canonical {
            prop_assert_eq!(&written, bytes, "{}: two ways to write the same", target.name);
        }
        let again = (target.decode)(&written);
        prop_assert_eq!(again.as_deref(), Some(&*written), "{}: not the same again", target.name);
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for target in &TARGETS {
            hold(target, &bytes)?;
            let mut sealed = bytes.clone();
            (target.seal)(&mut sealed);
            hold(target, &sealed)?;
        }
    }

    #[test]
    fn changed_files_are_decoded_or_refused(
        at in any::<Index>(),
        other in any::<Index>(),
        edits in edits(),
        seals in any::<bool>(),
    ) {
        for (target, files) in TARGETS.iter().zip(corpus::all()) {
            let mut bytes = at.get(files).clone();
            let other: &Vec<u8> = other.get(files);
            for edit in &edits {
                apply(edit, &mut bytes, other);
            }
            if seals {
                (target.seal)(&mut bytes);
            }
            hold(target, &bytes)?;
        }
    }
}

#[test]
fn every_file_of_the_corpus_is_decoded_to_what_was_written() {
    for target in &TARGETS {
        for bytes in corpus::files(target) {
            assert_eq!((target.decode)(&bytes).as_ref(), Some(&bytes), "{}", target.name);
        }
    }
}
