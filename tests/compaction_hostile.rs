//! Gap frames that somebody made up, with checksums that hold: they are refused or
//! told as damage, whatever they claim, and take no records of other segments along.

mod support_compaction;

use merkql::Error;
use merkql::broker::{Broker, BrokerRef};
use merkql::compression::Compression;
use merkql_sim::disk::Damage;
use std::collections::BTreeMap;
use support_compaction::*;

const HEADER: usize = 17;
const KIND_GAP: u8 = 3;
const SENT: usize = 60;

fn crc32c(seed: u32, parts: &[&[u8]]) -> u32 {
    let algorithm = crc_fast::CrcAlgorithm::Crc32Iscsi;
    let mut digest = crc_fast::Digest::new_with_init_state(algorithm, u64::from(seed));
    for part in parts {
        digest.update(part);
    }
    u32::try_from(digest.finalize()).unwrap()
}

/// What the checksums of partition 0 of the first topic begin with.
fn seed(world: &World) -> u32 {
    let slot = world.disk.content("/log/.merkql/manifest.a").unwrap();
    crc32c(0, &[&slot[32..48], &1_u64.to_le_bytes(), &0_u32.to_le_bytes()])
}

fn frame(seed: u32, offset: u64, kind: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_le_bytes();
    let crc = crc32c(seed, &[&len, &offset.to_le_bytes(), &[kind], payload]);
    [&len[..], &crc.to_le_bytes(), &offset.to_le_bytes(), &[kind], payload].concat()
}

/// Where the first gap frame stands in a segment, and its length.
fn find_gap(content: &[u8]) -> (usize, usize) {
    let mut at = 0;
    loop {
        let len = u32::from_le_bytes(content[at..at + 4].try_into().unwrap()) as usize + HEADER;
        if content[at + 16] == KIND_GAP {
            return (at, len);
        }
        at += len;
    }
}

/// A closed log: the first key, a gap of thirty records or so, others.
fn compacted_world() -> World {
    let world = World::new(Compression::None, 1024);
    let broker = world.open_with_topic();
    let mut sent = vec![pair("first", 0)];
    sent.extend((1..40).map(|number| pair("filling", number)));
    sent.extend((40..SENT).map(|number| pair(&format!("key {number}"), number)));
    send_each(&broker, &sent);
    broker.maintain().unwrap();
    Broker::close(&broker).unwrap();
    world
}

/// Every use of the log gives an answer, or tells damage.
fn use_all(broker: &BrokerRef, whole: &BTreeMap<u64, Pair>, from: u64) {
    fn check<T>(outcome: Result<T, Error>) -> Option<T> {
        match outcome {
            Ok(found) => Some(found),
            Err(Error::Corrupt(_)) => None,
            Err(other) => panic!("{other:?}"),
        }
    }
    let partition = partition(broker);
    for offset in 0..partition.next_offset() + 2 {
        let read = check(partition.read_bytes(offset)).flatten();
        assert!(read.is_none() || whole.contains_key(&offset) || offset >= SENT as u64);
        assert!(read.is_some() || offset < from || !whole.contains_key(&offset), "{offset}");
        check(partition.proof(offset));
        check(partition.consistency_proof(offset));
        check(partition.root_at(offset));
    }
    check(partition.read_range_bytes(0, u64::MAX));
    check(partition.offset_for_timestamp(chrono::DateTime::UNIX_EPOCH));
    check(broker.maintain());
    send(broker, &[pair("later", 1)]);
}

#[test]
fn a_made_up_gap_is_told_as_damage_or_hides_no_more_than_its_segment() {
    let original = compacted_world();
    let path = original.files(".log").remove(0);
    let next = original.bases()[1];
    let content = original.disk.content(&path).unwrap();
    let whole = shown(&partition(&original.fork().open()));
    let (at, len) = find_gap(&content);
    let roots = &content[at + HEADER + 8..at + len];
    let offset = u64::from_le_bytes(content[at + 8..at + 16].try_into().unwrap());
    let seed = seed(&original);
    let real = u64::from_le_bytes(content[at + HEADER..at + HEADER + 8].try_into().unwrap());
    assert_eq!(
        frame(seed, offset, KIND_GAP, &content[at + HEADER..at + len]),
        content[at..at + len]
    );
    let one = [0x5A; 32];
    let payload = |count: u64, roots: &[u8]| [&count.to_le_bytes()[..], roots].concat();
    let mut payloads: Vec<Vec<u8>> = (0..200).map(|count| payload(count, roots)).collect();
    for count in [1 << 40, (1 << 48) - offset, 1 << 48, u64::MAX - offset, u64::MAX] {
        payloads.push(payload(count, roots));
        payloads.push(payload(count, &one.repeat(roots.len() / 32)));
    }
    payloads.push(payload(real, &one.repeat(roots.len() / 32)));
    for (number, made_up) in payloads.iter().enumerate() {
        for lost in [None, Some("/hashes"), Some(".idx")] {
            let world = original.fork();
            let mut changed = content.clone();
            changed[at..at + len].copy_from_slice(&frame(seed, offset, KIND_GAP, made_up));
            for (position, byte) in changed.iter().enumerate() {
                let bits = byte ^ content[position];
                for bit in (0..8).filter(|bit| bits >> bit & 1 == 1) {
                    let position = position as u64;
                    world.disk.damage(&path, &Damage::FlipBit { position, bit }).unwrap();
                }
            }
            assert_eq!(world.disk.content(&path).unwrap(), changed);
            for file in lost.into_iter().flat_map(|ending| world.files(ending)) {
                world.disk.damage(file, &Damage::Delete).unwrap();
            }
            println!("payload {number} of {real}, without {lost:?}");
            let broker = world.open();
            use_all(&broker, &whole, next);
            Broker::close(&broker).unwrap();
            drop(broker);
            use_all(&world.open(), &whole, next);
        }
    }
}

#[test]
fn a_gap_that_nothing_knows_is_no_leftover() {
    let world = compacted_world();
    let next = partition(&world.fork().open()).next_offset();
    let payload = [&1_u64.to_le_bytes()[..], &[7; 32]].concat();
    for (offset, refused) in [(next - 1, false), (next, true)] {
        let world = world.fork();
        let process = world.disk.process();
        let dir = "/log/.merkql/topics/t.1/0";
        let path = format!("{dir}/{offset:020}.0000009999.log");
        let file = merkql::env::FileSystem::create_new(&process, path.as_ref()).unwrap();
        file.write_at(&frame(seed(&world), offset, KIND_GAP, &payload), 0).unwrap();
        drop(file);
        let opened = Broker::open(world.config());
        assert_eq!(matches!(opened, Err(Error::Corrupt(_))), refused, "{opened:?}");
        assert_eq!(world.disk.files().contains(&path), refused);
    }
}
