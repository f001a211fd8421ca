//! Which acknowledged records a log may lose without being able to know.
//!
//! When the journal itself was damaged, cut, rolled back or lied about, its last
//! blocks can be gone whole. A log can only notice that by what it had already
//! carried over into the partitions' files, and by a later block that is whole. So
//! of each partition is undecidable what lies behind the last record that its
//! files kept whole and behind those of the last whole block and of all before
//! it, and nothing else.

use super::blocks::{Block, blocks, log_id};
use super::harmed;
use super::paths::LOG;
use crate::client::names::key_of;
use crate::disk::SimDisk;
use merkql_jepsen::history::{Action, Datum, Key, Kind, MicroOp, Operation};
use std::collections::BTreeMap;

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
    // A page can begin as an old block does, and go on as another that has gone astray.
    let was_whole = |block: &Block<'_>| log_id(before).is_some_and(|id| block.is_whole(id));
    let missed = blocks(before).filter(|block| Some(block.sequence) <= whole);
    let missed: Vec<_> = missed.filter(was_whole).collect();
    let mut tails = Vec::new();
    for (topic, partitions) in topics {
        for number in 0..*partitions {
            let key = key_of(topic, number);
            let records = acknowledged.get(&key);
            let kept = harmed::whole(after, topic, number);
            let kept = |offset: u64| kept.iter().any(|s| (s.from..s.to).contains(&offset));
            let missed = |tag: &str| missed.iter().any(|block| block.holds(tag));
            let is_decidable = |offset: &u64, tag: &str| kept(*offset) || missed(tag);
            let last = records.and_then(|records| {
                records.iter().rev().find(|(offset, tag)| is_decidable(offset, tag))
            });
            // Where no record can be gone, a committed offset can.
            tails.push((key, last.map_or(0, |(offset, _)| offset + 1)));
        }
    }
    tails
}
