//! What is written is what is read, whatever it is.

use super::targets::SEED;
use crate::storage::body::{Body, Header, Headers};
use crate::storage::codec::COUNTER_MAX;
use crate::storage::entry::{Commit, Entry, PartitionKey, Placement};
use crate::storage::frame::{Frame, Payload};
use crate::storage::index::{IndexFile, IndexPoint};
use crate::storage::producers::Sent;
use crate::storage::settings::TopicSettings;
use proptest::prelude::*;

type Bytes = Vec<u8>;

/// A record's fields, owned.
type Fields = (i64, Option<Bytes>, Option<Bytes>, Vec<(Bytes, Option<Bytes>)>);

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..60)
}

fn fields() -> impl Strategy<Value = Fields> {
    let headers = prop::collection::vec((bytes(), prop::option::of(bytes())), 0..4);
    (any::<i64>(), prop::option::of(bytes()), prop::option::of(bytes()), headers)
}

fn encoded((timestamp_ns, key, value, headers): &Fields) -> Bytes {
    let mut buffer = Vec::new();
    let headers = headers.iter().map(|(name, value)| (&**name, value.as_deref()));
    let headers: Vec<Header<'_>> = headers.collect();
    let headers = Headers::encode(headers.into_iter(), &mut buffer);
    let (key, value) = (key.as_deref(), value.as_deref());
    let mut body = Vec::new();
    Body { timestamp_ns: *timestamp_ns, key, value, headers }.encode(&mut body);
    body
}

fn decoded(body: &Body<'_>) -> Fields {
    let headers = body.headers.decode().unwrap().into_iter();
    let headers = headers.map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec)));
    let [key, value] = [body.key, body.value].map(|bytes| bytes.map(<[u8]>::to_vec));
    (body.timestamp_ns, key, value, headers.collect())
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..300_u64, 0..=COUNTER_MAX]
}

fn key() -> impl Strategy<Value = PartitionKey> {
    (number(), any::<u32>())
        .prop_map(|(incarnation, partition)| PartitionKey { incarnation, partition })
}

fn settings() -> impl Strategy<Value = TopicSettings> {
    prop::array::uniform6(prop::option::of(any::<u64>())).prop_map(|values| {
        let [records, bytes, ms, segment_bytes, segment_ms, tombstone_ms] = values;
        TopicSettings {
            retention_records: records,
            retention_bytes: bytes,
            retention_ms: ms,
            segment_bytes,
            segment_ms,
            compaction_tombstone_ms: tombstone_ms,
        }
    })
}

fn entry<'a>(text: &'a str, frames: &'a [u8]) -> impl Strategy<Value = Entry<'a>> {
    let commit = (key(), any::<u64>()).prop_map(|(key, offset)| Commit { key, offset });
    let placement = (key(), number(), number()).prop_map(|(key, base_offset, records)| Placement {
        key,
        base_offset,
        records,
    });
    let sent = (number(), any::<i64>(), prop::collection::vec(placement, 0..4)).prop_map(
        |(sequence, timestamp_ns, placements)| Sent { sequence, timestamp_ns, placements },
    );
    prop_oneof![
        (key(), number(), number()).prop_map(move |(key, base_offset, records)| Entry::Append {
            key,
            base_offset,
            records,
            frames
        }),
        (number(), 1..=100_000_u32, settings()).prop_map(
            move |(incarnation, partitions, settings)| Entry::Create {
                name: text,
                incarnation,
                partitions,
                settings
            }
        ),
        prop::collection::vec(commit, 0..4)
            .prop_map(move |commits| Entry::Commit { group: text, commits }),
        (any::<u64>(), sent).prop_map(|(producer_id, sent)| Entry::Sent { producer_id, sent }),
        number().prop_map(|incarnation| Entry::Delete { incarnation }),
        (number(), 1..=100_000_u32)
            .prop_map(|(incarnation, partitions)| Entry::Grow { incarnation, partitions }),
        (key(), number()).prop_map(|(key, offset)| Entry::Start { key, offset }),
        Just(Entry::Forget { group: text }),
    ]
}

proptest! {
    #[test]
    fn a_record_is_the_same_behind_a_frame_of_its_own(fields in fields(), offset in 0..1_u64 << 40) {
        let body = encoded(&fields);
        let mut frame = Vec::new();
        Payload::record(&body).encode_frame(SEED, offset, &mut frame);
        let mut seen = Vec::new();
        let parsed = Frame::parse(SEED, &frame).unwrap();
        parsed.records(|at, _, body| { seen.push((at, decoded(&body))); true }).unwrap();
        prop_assert_eq!(seen, vec![(offset, fields)]);
    }

    #[test]
    fn records_are_the_same_behind_a_compressed_frame(
        all in prop::collection::vec(fields(), 1..20),
        offset in 0..1_u64 << 40,
    ) {
        // Often enough the same ones that compression saves something.
        let all: Vec<Fields> = all.iter().cycle().take(all.len() * 4).cloned().collect();
        let bodies: Vec<Bytes> = all.iter().map(encoded).collect();
        if let Some(payload) = Payload::lz4(bodies.iter().map(Vec::as_slice)) {
            let mut frame = Vec::new();
            payload.encode_frame(SEED, offset, &mut frame);
            let mut seen = Vec::new();
            let parsed = Frame::parse(SEED, &frame).unwrap();
            parsed.records(|at, _, body| { seen.push((at, decoded(&body))); true }).unwrap();
            let expected: Vec<(u64, Fields)> = (offset..).zip(all).collect();
            prop_assert_eq!(seen, expected);
        }
    }

    #[test]
    fn entries_are_the_same_in_a_block_s_body(
        entries in prop::collection::vec(entry("a name", b"some frames"), 0..12),
    ) {
        let mut body = Vec::new();
        for entry in &entries {
            entry.encode(&mut body);
        }
        let count = u32::try_from(entries.len()).unwrap();
        prop_assert_eq!(Entry::decode_all(&body, count), Ok(entries));
        prop_assert!(Entry::decode_all(&body, count + 1).is_err());
    }

    #[test]
    fn an_index_is_the_same_from_its_file(
        base_offset in any::<u64>(),
        offsets in prop::collection::btree_set(number(), 20),
        positions in prop::collection::btree_set(number(), 20),
        times in prop::collection::vec(any::<i64>(), 0..20),
    ) {
        // Points stand in order, by offset and by position.
        let points = offsets.into_iter().zip(positions).zip(times);
        let point = |((offset, position), timestamp_before_ns)| {
            IndexPoint { offset, position, timestamp_before_ns }
        };
        let points = points.map(point).collect();
        let index = IndexFile { base_offset, generation: 7, covered_len: base_offset / 2, points };
        prop_assert_eq!(IndexFile::decode(SEED, &index.encode(SEED)), Ok(index));
    }
}
