//! Which acknowledged records a log may lose without being able to know.
//!
//! When the journal itself was damaged, cut, rolled back or lied about, its last
//! blocks can be gone whole. A log can only notice that by what it had already
//! carried over into the partitions' files, and by a later block that is whole. So
//! of each partition is undecidable what lies behind the last record that its
//! files kept whole and behind those of the last whole block and of all before
//! it, and nothing else.

use super::blocks::{blocks, log_id};
use super::paths::LOG;
use crate::client::names::{key_of, value_of};
use crate::disk::SimDisk;
use merkql_jepsen::history::{Action, Datum, Key, Kind, MicroOp, Operation};
use std::collections::BTreeMap;

/// How much beside a record's value must be as it was for the record to be whole.
const MARGIN_BYTES: usize = 128;

/// The files of the journal, the manifest and all partitions, as they were.
pub(crate) type Contents = BTreeMap<String, Vec<u8>>;

/// What those files hold now.
pub(crate) fn contents(disk: &SimDisk) -> Contents {
    let files = disk.files().into_iter().filter(|path| path.starts_with(LOG));
    files
        .filter(|path| !super::harm::is_derived(path))
        .filter_map(|path| Some((path.clone(), disk.content(&path).ok()?)))
        .collect()
}

/// The records that were acknowledged, by key and offset.
fn acknowledged(operations: &[Operation]) -> BTreeMap<Key, BTreeMap<u64, String>> {
    let mut records: BTreeMap<Key, BTreeMap<u64, String>> = BTreeMap::new();
    for operation in operations.iter().filter(|operation| operation.kind == Kind::Ok) {
        let Action::Send(steps) = &operation.action else { continue };
        for step in steps {
            if let MicroOp::Send { key, offset: Some(offset), value: Datum::Str(tag) } = step {
                records.entry(key.clone()).or_default().insert(*offset, tag.to_string());
            }
        }
    }
    records
}

/// From which offset on each partition's records may be gone, given what its
/// files held before and hold now.
pub(crate) fn tails(
    operations: &[Operation],
    topics: &[(String, u32)],
    before: &Contents,
    after: &Contents,
) -> Vec<(Key, u64)> {
    let acknowledged = acknowledged(operations);
    let whole = log_id(after).and_then(|id| {
        let whole = blocks(after).filter(|block| block.is_whole(id));
        whole.map(|block| block.sequence).max()
    });
    let missed: Vec<_> = blocks(before).filter(|block| Some(block.sequence) <= whole).collect();
    let mut tails = Vec::new();
    for (topic, partitions) in topics {
        for number in 0..*partitions {
            let key = key_of(topic, number);
            let records = acknowledged.get(&key);
            let folder = |path: &str| {
                path.strip_prefix(LOG)
                    .and_then(|path| path.strip_prefix("topics/"))
                    .and_then(|path| path.strip_prefix(topic.as_str()))
                    .is_some_and(|path| {
                        path.starts_with('.') && path.contains(&format!("/{number}/"))
                    })
            };
            let kept = |tag: &str| {
                let files = after.iter().filter(|(path, _)| folder(path));
                files.into_iter().any(|(path, now)| is_whole(tag, before.get(path), now))
            };
            let missed = |tag: &str| missed.iter().any(|block| block.holds(tag));
            let is_decidable = |tag: &str| kept(tag) || missed(tag);
            let last =
                records.and_then(|records| records.iter().rev().find(|(_, tag)| is_decidable(tag)));
            // Where no record can be gone, a committed offset can.
            tails.push((key, last.map_or(0, |(offset, _)| offset + 1)));
        }
    }
    tails
}

/// Whether a record stands in a file now as it did before, with what is around it.
fn is_whole(tag: &str, before: Option<&Vec<u8>>, now: &[u8]) -> bool {
    let Some(before) = before else { return false };
    let Some((Ok(step), Ok(place))) = tag.split_once('.').map(|(s, p)| (s.parse(), p.parse()))
    else {
        return false;
    };
    let start = value_of(step, place, 0);
    let found = now.windows(start.len()).position(|at| at == start.as_bytes());
    found.is_some_and(|at| {
        let from = at.saturating_sub(MARGIN_BYTES);
        let letters =
            now.iter().skip(at + start.len()).take_while(|byte| byte.is_ascii_lowercase());
        let to = at + start.len() + letters.count() + MARGIN_BYTES;
        let range = |bytes: &'_ [u8]| bytes.get(from..to.min(bytes.len())).map(<[u8]>::to_vec);
        range(before).is_some() && range(before) == range(now)
    })
}
