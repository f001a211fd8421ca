//! The files that are changed: each format in its usual and its unusual shapes.

#![allow(clippy::disallowed_methods, reason = "fixtures are plain files")]

use super::targets::{PLACE, SEED, TARGETS, Target};
use crate::merkle::{
    CompactRange, ConsistencyProof, Hash, Proof, Siblings, SubtreeRoots, leaf_hash_of,
};
use crate::record::{BytesRecord, Header};
use crate::storage::block::{BlockBuffer, BlockHeader};
use crate::storage::body::{Body, Headers};
use crate::storage::entry::{Commit, Entry, PartitionKey, Placement};
use crate::storage::frame::{Payload, encode_gap_frame};
use crate::storage::index::{IndexFile, IndexPoint};
use crate::storage::journal::JournalStart;
use crate::storage::manifest::{Manifest, NO_HORIZON_NS, PartitionState, SegmentState, TopicState};
use crate::storage::producers::{Producers, Sent};
use crate::storage::settings::TopicSettings;
use chrono::DateTime;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

const REGENERATE: &str = "MERKQL_REGENERATE_CORPUS";
const BYTES_MAX: usize = 100 << 10;

fn folder(target: &Target) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/corpus").join(target.name)
}

/// The files of each target, read once.
pub(super) fn all() -> &'static [Vec<Vec<u8>>] {
    static ALL: LazyLock<Vec<Vec<Vec<u8>>>> = LazyLock::new(|| TARGETS.iter().map(files).collect());
    &ALL
}

/// The files of a target, in the order of their names.
pub(super) fn files(target: &Target) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder(target)).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort_unstable();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn the_corpus_is_what_todays_code_writes() {
    let mut bytes = 0;
    for target in &TARGETS {
        let samples = samples(target.name);
        if std::env::var_os(REGENERATE).is_some() {
            let folder = folder(target);
            drop(std::fs::remove_dir_all(&folder));
            std::fs::create_dir_all(&folder).unwrap();
            for (number, sample) in samples.iter().enumerate() {
                std::fs::write(folder.join(format!("{number:02}.bin")), sample).unwrap();
            }
        }
        assert!(!samples.is_empty(), "{}", target.name);
        assert_eq!(files(target), samples, "{}", target.name);
        bytes += samples.iter().map(Vec::len).sum::<usize>();
    }
    assert!(bytes <= BYTES_MAX, "{bytes} bytes");
}

fn samples(name: &str) -> Vec<Vec<u8>> {
    match name {
        "slot" => manifests().iter().zip(1..).map(|(m, number)| m.encode_slot(number)).collect(),
        "block" => vec![block(&[]), block(&entries()[..1]), block(&entries())],
        "frame" => frames(),
        "body" => bodies(),
        "headers" => vec![Vec::new(), headers(1), headers(5)],
        "index" => [0, 1, 40].map(|points| index(points).encode(SEED)).into(),
        "settings" => {
            settings().iter().map(|settings| encoded(|out| settings.encode(out))).collect()
        }
        "proof" => [1, 7, 100].map(|size| inclusion(size).to_bytes()).into(),
        "consistency" => [1, 7, 100].map(|size| consistency(size).to_bytes()).into(),
        "record" => records().iter().map(BytesRecord::serialize).collect(),
        _ => Vec::new(),
    }
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes);
    bytes
}

fn range(size: u8) -> CompactRange {
    let mut range = CompactRange::new();
    (0..size).for_each(|leaf| range.push(leaf_hash_of(&[leaf]), &mut |_| ()));
    range
}

fn key(incarnation: u64, partition: u32) -> PartitionKey {
    PartitionKey { incarnation, partition }
}

fn settings() -> [TopicSettings; 3] {
    let all = TopicSettings {
        retention_records: Some(1000),
        retention_bytes: Some(1 << 40),
        retention_ms: Some(604_800_000),
        segment_bytes: Some(512),
        segment_ms: Some(1),
        compaction_tombstone_ms: Some(0),
    };
    [TopicSettings::default(), all, TopicSettings { segment_ms: None, retention_ms: None, ..all }]
}

fn manifests() -> Vec<Manifest> {
    let empty = Manifest {
        log_id: [7; 16],
        start: JournalStart {
            file: 1,
            position: 0,
            file_len: 65_536,
            generation: 1,
            nonce: u64::MAX,
            sequence: 1,
        },
        next_incarnation: 1,
        topics: Vec::new(),
        groups: BTreeMap::new(),
        producers: Producers::default(),
    };
    let segment = |base: u8, generation| SegmentState {
        generation,
        len: 1234,
        timestamp_max_ns: i64::MIN,
        created_ns: 1_700_000_000_000_000_000,
        delete_horizon_ns: NO_HORIZON_NS,
        base_range: range(base),
    };
    let partition =
        |segments: Vec<SegmentState>| PartitionState { log_start: 3, range: range(100), segments };
    let topics = settings().map(|settings| TopicState {
        name: "events".to_owned(),
        incarnation: 2,
        settings,
        partitions: vec![
            PartitionState::default(),
            partition(Vec::new()),
            partition(vec![segment(0, 1), segment(63, 1), segment(100, 9)]),
        ],
    });
    let mut producers = Producers::default();
    (0..10).for_each(|sequence| producers.record(42, sent(sequence), sequence, 10));
    let commits =
        vec![Commit { key: key(2, 0), offset: 0 }, Commit { key: key(2, 2), offset: u64::MAX }];
    let groups = [("", Vec::new()), ("readers", commits)];
    let groups = groups.map(|(group, commits)| (group.to_owned(), commits));
    let full = Manifest {
        next_incarnation: 9,
        topics: topics.into(),
        groups: groups.into(),
        producers,
        ..empty.clone()
    };
    vec![empty, full]
}

fn sent(sequence: u64) -> Sent {
    let placement = Placement { key: key(2, 1), base_offset: 7 * sequence, records: 7 };
    Sent { sequence, timestamp_ns: -1, placements: vec![placement; 2] }
}

fn entries() -> Vec<Entry<'static>> {
    vec![
        Entry::Append { key: key(2, 1), base_offset: 300, records: 2, frames: b"no frames" },
        Entry::Create { name: "events", incarnation: 3, partitions: 100, settings: settings()[1] },
        Entry::Commit {
            group: "readers",
            commits: vec![Commit { key: key(2, 1), offset: 301 }; 3],
        },
        Entry::Sent { producer_id: u64::MAX, sent: sent(5) },
        Entry::Delete { incarnation: 2 },
        Entry::Grow { incarnation: 3, partitions: 100_000 },
        Entry::Start { key: key(3, 99), offset: 1 << 40 },
        Entry::Forget { group: "" },
    ]
}

fn block(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut block = BlockBuffer::new();
    for entry in entries {
        block.push(|out| entry.encode(out));
    }
    let header = BlockHeader {
        generation: 5,
        nonce: 0xdead_beef,
        previous_nonce: 1,
        sequence: 77,
        file_len: 65_536,
        successor: 4,
        body_len: u32::try_from(block.body_len()).unwrap(),
        entries: block.entries(),
    };
    block.seal(&PLACE, &header).to_vec()
}

fn headers(count: usize) -> Vec<u8> {
    let all: [(&[u8], Option<&[u8]>); 5] = [
        (b"trace", Some(b"4711")),
        (b"trace", None),
        (b"", Some(b"")),
        (&[0xff], Some(&[0; 200])),
        (b"last", None),
    ];
    let mut bytes = Vec::new();
    let _: Headers<'_> = Headers::encode(all[..count].iter().copied(), &mut bytes);
    bytes
}

/// Key, value and encoded headers.
type Shape<'a> = (Option<&'a [u8]>, Option<&'a [u8]>, &'a [u8]);

fn bodies() -> Vec<Vec<u8>> {
    let headers = headers(5);
    let long = [b'v'; 300];
    let shapes: [Shape<'_>; 5] = [
        (None, None, &[]),
        (Some(b""), Some(b""), &[]),
        (Some(b"key"), Some(&long), &[]),
        (Some(b"key"), None, &headers),
        (None, Some(b"value"), &headers),
    ];
    let bodies = shapes.into_iter().zip([0, 1, -1, i64::MAX, i64::MIN]);
    let encode = |((key, value, headers), timestamp_ns)| {
        let body = Body { timestamp_ns, key, value, headers: Headers::new(headers).unwrap() };
        encoded(|out| body.encode(out))
    };
    bodies.map(encode).collect()
}

fn frames() -> Vec<Vec<u8>> {
    let bodies = bodies();
    let mut frames: Vec<Vec<u8>> = bodies
        .iter()
        .map(|body| encoded(|out| Payload::record(body).encode_frame(SEED, 41, out)))
        .collect();
    for count in [2, 200] {
        let packed = Payload::lz4(bodies.iter().cycle().skip(2).take(count).map(Vec::as_slice));
        frames.extend(packed.map(|packed| encoded(|out| packed.encode_frame(SEED, 300, out))));
    }
    for end in [6, 18] {
        let mut removed = SubtreeRoots::new(5);
        (5..end).for_each(|leaf| removed.push(0, leaf_hash_of(&[leaf])));
        frames.push(encoded(|out| encode_gap_frame(SEED, &removed, out)));
    }
    frames
}

fn index(points: u64) -> IndexFile {
    let point = |number| IndexPoint {
        offset: 100 + 3 * number,
        position: 1024 * number,
        timestamp_before_ns: if number == 0 { i64::MIN } else { 7 },
    };
    let points = (0..points).map(point).collect();
    IndexFile { base_offset: 100, generation: 2, covered_len: 40_960, points }
}

fn hashes(count: u8) -> Vec<Hash> {
    (0..count).map(|leaf| leaf_hash_of(&[leaf])).collect()
}

fn inclusion(size: u64) -> Proof {
    let [leaf_hash, root] = [leaf_hash_of(b"leaf"), leaf_hash_of(b"root")];
    let path = hashes(u8::try_from(size.ilog2()).unwrap());
    Proof { leaf_hash, siblings: Siblings { leaf_index: size / 2, tree_size: size, path }, root }
}

fn consistency(size: u64) -> ConsistencyProof {
    let [old_root, new_root] = [leaf_hash_of(b"old"), leaf_hash_of(b"new")];
    let path = hashes(u8::try_from(size.ilog2()).unwrap() + 1);
    ConsistencyProof { old_size: size, new_size: size * 3, old_root, new_root, path }
}

fn records() -> [BytesRecord; 3] {
    let record = BytesRecord {
        key: Some(b"key".to_vec()),
        value: Some(b"value".to_vec()),
        headers: Vec::new(),
        topic: "events".into(),
        partition: 1,
        offset: 7,
        timestamp: DateTime::from_timestamp_nanos(1_700_000_000_123_000_000),
    };
    let header = Header { name: "trace".to_owned(), value: None };
    let headers = vec![Header::new("trace", b"1"), header];
    let tombstone = BytesRecord { value: None, headers, ..record.clone() };
    let empty = BytesRecord {
        key: None,
        value: Some(Vec::new()),
        timestamp: DateTime::from_timestamp_nanos(i64::MIN),
        ..record.clone()
    };
    [record, tombstone, empty]
}
