//! In a compacted topic the last record of each key stays where it was, older ones
//! go, and what was ever said of any of them can still be proved.

mod support_compaction;

use merkql::Error;
use merkql::broker::{Broker, BrokerConfig};
use merkql::compression::Compression;
use merkql::consumer::{ConsumerConfig, OffsetReset};
use merkql::partition::Partition;
use merkql::record::{BytesProducerRecord, ProducerRecord};
use merkql_sim::disk::{Damage, Limits};
use std::collections::BTreeMap;
use std::time::Duration;
use support_compaction::*;

const BOTH: [Compression; 2] = [Compression::None, Compression::Lz4];

/// Forty records of five keys, of which all but the last few are overwritten.
fn overwritten() -> Vec<Pair> {
    (0..40).map(|number| pair(&format!("key {}", number % 5), number)).collect()
}

fn world() -> World {
    World::new(Compression::None, 1024)
}

/// Replaces one byte of the file where `bytes` stand.
fn damage(world: &World, path: &str, bytes: &[u8]) {
    let content = world.disk.content(path).unwrap();
    let position = content.windows(bytes.len()).position(|window| window == bytes).unwrap() as u64;
    world.disk.damage(path, &Damage::FlipBit { position, bit: 4 }).unwrap();
}

fn corrupt_offset(error: &Error) -> Option<u64> {
    match error {
        Error::Corrupt(corruption) => corruption.offset,
        other => panic!("{other}"),
    }
}

#[test]
fn the_last_record_of_each_key_stays_at_its_offset_and_the_disk_is_freed() {
    for compression in BOTH {
        let world = World::new(compression, 1024);
        let broker = world.open_with_topic();
        let sent = overwritten();
        let mut roots = BTreeMap::new();
        for batch in sent.chunks(4) {
            send(&broker, batch);
            let partition = partition(&broker);
            roots.insert(partition.next_offset(), partition.merkle_root().unwrap().unwrap());
        }
        let bytes = world.log_bytes();
        broker.maintain().unwrap();
        let active = *world.bases().last().unwrap();
        let expected = last_of_each(&sent, active);
        assert!(active > 20 && expected.len() < 12, "{expected:?}");
        assert!(world.log_bytes() < bytes, "{compression:?}: {bytes} bytes");
        for _ in 0..2 {
            let partition = partition(&broker);
            assert_eq!(shown(&partition), expected);
            for offset in 0..40 {
                let read = partition.read_bytes(offset).unwrap().map(|record| record.offset);
                assert_eq!(read, expected.contains_key(&offset).then_some(offset));
            }
            assert_proved(&partition, &roots);
            broker.maintain().unwrap();
        }
        Broker::close(&broker).unwrap();
        drop(broker);
        let broker = world.open();
        assert_eq!(shown(&partition(&broker)), expected);
        assert_proved(&partition(&broker), &roots);
    }
}

#[test]
fn small_segments_are_joined_and_a_second_pass_writes_nothing() {
    let world = world();
    let broker = world.open_with_topic();
    send_each(&broker, &overwritten());
    assert!(world.bases().len() > 3);
    broker.maintain().unwrap();
    assert_eq!(world.bases().len(), 2);
    let changes = world.disk.changes();
    broker.maintain().unwrap();
    assert_eq!(world.disk.changes(), changes);
    Broker::close(&broker).unwrap();
    drop(broker);
    let broker = world.open();
    let changes = world.disk.changes();
    broker.maintain().unwrap();
    assert_eq!(world.disk.changes(), changes);
}

#[test]
fn what_cannot_be_compacted_is_left_alone() {
    let world = world();
    let broker = world.open_with_topic();
    let sent: Vec<Pair> = (0..40).map(|number| pair(&format!("key {number}"), number)).collect();
    send_each(&broker, &sent);
    broker.maintain().unwrap();
    let files = world.disk.files();
    broker.maintain().unwrap();
    assert_eq!(world.disk.files(), files);
    assert_eq!(shown(&partition(&broker)).len(), 40);
}

#[test]
fn a_tombstone_stays_for_its_time_after_the_pass_that_met_it_and_then_goes() {
    let world = world();
    let broker = world.open_with_topic();
    let mut sent = vec![pair("gone", 0), pair("stays", 1), tombstone("gone")];
    sent.extend((3..30).map(|number| pair("filling", number)));
    send_each(&broker, &sent);
    // Before the first pass its time does not run.
    world.clock.advance(10 * TOMBSTONES_STAY);
    broker.maintain().unwrap();
    let keys = |partition: &Partition| -> Vec<u64> { shown(partition).into_keys().collect() };
    assert_eq!(keys(&partition(&broker))[..2], [1, 2]);
    let last = Duration::from_millis(1);
    world.clock.advance(TOMBSTONES_STAY.saturating_sub(last));
    Broker::close(&broker).unwrap();
    drop(broker);
    let broker = world.open();
    broker.maintain().unwrap();
    assert_eq!(keys(&partition(&broker))[..2], [1, 2]);
    world.clock.advance(last);
    broker.maintain().unwrap();
    let shown = shown(&partition(&broker));
    assert_eq!(shown.first_key_value(), Some((&1, &sent[1])));
    assert!(shown.values().all(|(key, _)| key != "gone"));
    assert_proved(&partition(&broker), &BTreeMap::new());
}

#[test]
fn a_tombstone_that_is_joined_with_an_older_one_stays_for_its_own_time() {
    let world = world();
    let broker = world.open_with_topic();
    let fill = |from: usize| {
        let filling: Vec<Pair> = (from..from + 12).map(|number| pair("filling", number)).collect();
        send_each(&broker, &filling);
    };
    send(&broker, &[tombstone("older")]);
    fill(1);
    broker.maintain().unwrap();
    world.clock.advance(TOMBSTONES_STAY * 2 / 3);
    let younger = partition(&broker).next_offset();
    send(&broker, &[tombstone("younger")]);
    fill(20);
    broker.maintain().unwrap();
    assert_eq!(world.bases()[0], 0);
    assert!(world.bases()[1] > younger, "both are in one segment");
    // The time of the older one is over, that of the younger one is not.
    world.clock.advance(TOMBSTONES_STAY * 2 / 3);
    broker.maintain().unwrap();
    assert!(shown(&partition(&broker)).contains_key(&younger));
    world.clock.advance(TOMBSTONES_STAY);
    broker.maintain().unwrap();
    let left = shown(&partition(&broker));
    assert!(!left.contains_key(&younger) && !left.contains_key(&0));
}

#[test]
fn a_reader_with_an_old_view_goes_on_in_the_files_that_came_instead() {
    let world = world();
    let broker = Broker::open(BrokerConfig { max_open_files: 4, ..world.config() }).unwrap();
    broker.create_topic_with("t", &compacted()).unwrap();
    broker.create_topic("other", 8).unwrap();
    let sent = overwritten();
    send_each(&broker, &sent);
    let before = partition(&broker);
    assert_eq!(shown(&before).len(), 40);
    broker.maintain().unwrap();
    let after = partition(&broker);
    // Others need the handles of the files that are gone.
    let producer = Broker::producer(&broker);
    for number in 0..16 {
        producer.send(&ProducerRecord::new("other", None, number.to_string())).unwrap();
    }
    send(&broker, &[pair("key 0", 40)]);
    let expected = last_of_each(&sent, *world.bases().last().unwrap());
    assert_eq!(shown(&before), expected);
    assert_eq!(shown(&after), expected);
    assert_eq!(before.next_offset(), 40);
    assert_eq!(before.merkle_root().unwrap(), after.merkle_root().unwrap());
    assert_proved(&before, &BTreeMap::new());
}

#[test]
fn a_consumer_goes_on_behind_what_was_removed() {
    let world = world();
    let broker = world.open_with_topic();
    let sent = overwritten();
    send_each(&broker, &sent);
    let config = ConsumerConfig {
        group_id: "g".to_owned(),
        auto_commit: false,
        offset_reset: OffsetReset::Earliest,
    };
    let mut consumer = Broker::consumer(&broker, config);
    consumer.subscribe(&["t"]).unwrap();
    consumer.poll(Duration::ZERO).unwrap();
    consumer.seek("t", 0, 7).unwrap();
    broker.maintain().unwrap();
    let polled = consumer.poll(Duration::ZERO).unwrap();
    let offsets: Vec<u64> = polled.iter().map(|record| record.offset).collect();
    let expected = last_of_each(&sent, *world.bases().last().unwrap());
    assert_eq!(offsets, expected.into_keys().collect::<Vec<u64>>());
}

#[test]
fn damage_of_a_record_that_stayed_is_told_and_others_are_served() {
    let world = world();
    let broker = world.open_with_topic();
    let mut sent = vec![pair("first", 0), pair("second", 1)];
    sent.extend((2..30).map(|number| pair("filling", number)));
    send_each(&broker, &sent);
    broker.maintain().unwrap();
    Broker::close(&broker).unwrap();
    drop(broker);
    damage(&world, &world.files(".log")[0], b"value 0001");
    let broker = world.open();
    let partition = partition(&broker);
    assert_eq!(partition.read_bytes(0).unwrap().map(|record| record.offset), Some(0));
    assert_eq!(corrupt_offset(&partition.read_bytes(1).unwrap_err()), Some(1));
    let active = *world.bases().last().unwrap();
    assert!(partition.read_range_bytes(active, u64::MAX).is_ok());
}

#[test]
fn a_damaged_gap_is_told_because_a_record_might_have_been_there() {
    let world = world();
    let broker = world.open_with_topic();
    let mut sent = vec![pair("first", 0)];
    sent.extend((1..30).map(|number| pair("filling", number)));
    send_each(&broker, &sent);
    broker.maintain().unwrap();
    let leaf = partition(&broker).proof(1).unwrap().unwrap().leaf_hash;
    let active = *world.bases().last().unwrap();
    Broker::close(&broker).unwrap();
    drop(broker);
    // The gap begins at offset 1, so its first root is the leaf of that record.
    damage(&world, &world.files(".log")[0], &leaf.0);
    let broker = world.open();
    let partition = partition(&broker);
    assert_eq!(partition.read_bytes(0).unwrap().map(|record| record.offset), Some(0));
    assert_eq!(corrupt_offset(&partition.read_range_bytes(0, u64::MAX).unwrap_err()), Some(1));
    assert_eq!(corrupt_offset(&partition.read_bytes(3).unwrap_err()), Some(3));
    assert!(partition.read_range_bytes(active, u64::MAX).is_ok());
}

#[test]
fn a_record_behind_a_damaged_gap_is_found_however_many_were_removed() {
    let world = World::new(Compression::None, 64 << 10);
    let broker = world.open_with_topic();
    let filling: Vec<Pair> = vec![("filling".to_owned(), Some(String::new())); 1000];
    send(&broker, &[pair("first", 0)]);
    (0..80).for_each(|_| send(&broker, &filling));
    let stays = partition(&broker).next_offset();
    // What stays is in a segment with the gap, and seals it.
    send_each(&broker, &[pair("stays", 1), pair("filling", 2)]);
    let sealing: Vec<Pair> = (0..800).map(|number| pair("sealing", number)).collect();
    sealing.chunks(50).for_each(|batch| send(&broker, batch));
    broker.maintain().unwrap();
    let leaf = partition(&broker).proof(1).unwrap().unwrap().leaf_hash;
    Broker::close(&broker).unwrap();
    drop(broker);
    let path = &world.files(".log")[0];
    assert!(world.disk.content(path).unwrap().len() < 2000 && world.bases()[1] > stays);
    damage(&world, path, &leaf.0);
    // With its index the record is found without a look at the gap.
    for index in world.files(".idx") {
        world.disk.damage(index, &Damage::Delete).unwrap();
    }
    let broker = world.open();
    let partition = partition(&broker);
    assert_eq!(partition.read_bytes(stays).unwrap().map(|record| record.offset), Some(stays));
    assert_eq!(corrupt_offset(&partition.read_bytes(3).unwrap_err()), Some(3));
}

#[test]
fn hashes_that_are_lost_come_back_for_all_that_stayed() {
    for compression in BOTH {
        let world = World::new(compression, 1024);
        let broker = world.open_with_topic();
        let sent = overwritten();
        sent.chunks(3).for_each(|batch| send(&broker, batch));
        let root = partition(&broker).merkle_root().unwrap();
        broker.maintain().unwrap();
        let stayed = shown(&partition(&broker));
        Broker::close(&broker).unwrap();
        drop(broker);
        let hashes = world.files("/hashes");
        world.disk.damage(&hashes[0], &Damage::Delete).unwrap();
        let broker = world.open();
        let partition = partition(&broker);
        assert_eq!(partition.merkle_root().unwrap(), root);
        for offset in stayed.keys() {
            let proof = partition.proof(*offset).unwrap().unwrap();
            assert!(partition.verify_proof(&proof).unwrap(), "offset {offset}");
        }
        // Of what was removed there may be the hash, or not; never a wrong proof.
        let mut lost = 0;
        for offset in (0..40).filter(|offset| !stayed.contains_key(offset)) {
            match partition.proof(offset) {
                Ok(proof) => assert!(proof.unwrap().is_valid()),
                Err(error) => {
                    assert!(error.is_corruption(), "{error}");
                    lost += 1;
                }
            }
        }
        assert!(lost > 0);
        send(&broker, &[pair("key 0", 40)]);
        broker.maintain().unwrap();
        assert!(!shown(&partition).contains_key(&0));
    }
}

#[test]
fn compaction_needs_no_stored_hashes() {
    let world = world();
    let broker = world.open_with_topic();
    let sent = overwritten();
    send_each(&broker, &sent);
    Broker::close(&broker).unwrap();
    drop(broker);
    let len = world.disk.content(&world.files("/hashes")[0]).unwrap().len() as u64;
    world.disk.damage(&world.files("/hashes")[0], &Damage::Zero { range: (0, len) }).unwrap();
    let broker = world.open();
    broker.maintain().unwrap();
    let expected = last_of_each(&sent, *world.bases().last().unwrap());
    assert_eq!(shown(&partition(&broker)), expected);
    let proof = partition(&broker).proof(39).unwrap().unwrap();
    assert!(proof.is_valid());
}

#[test]
fn damage_in_one_partition_is_told_and_keeps_no_other_from_being_compacted() {
    let world = world();
    let broker = world.open();
    broker
        .create_topic_with("t", &merkql::topic::TopicConfig { partitions: 2, ..compacted() })
        .unwrap();
    let producer = Broker::producer(&broker);
    for number in 0..60 {
        let (key, value) = pair("key", number);
        let record = BytesProducerRecord::new("t", key, value.unwrap());
        producer.send_bytes(&record.with_partition(u32::from(number % 2 == 1))).unwrap();
    }
    Broker::close(&broker).unwrap();
    drop(broker);
    damage(&world, &world.files(".log")[0], b"value 0004");
    let broker = world.open();
    assert_eq!(corrupt_offset(&broker.maintain().unwrap_err()), Some(2));
    let topic = broker.topic("t").unwrap();
    let records = |number: u32| topic.partition(number).unwrap().read().unwrap().read_bytes(0);
    assert!(records(0).unwrap().is_some());
    assert!(records(1).unwrap().is_none());
    // The log goes on, and so do checkpoints.
    producer_of(&broker).send_bytes(&BytesProducerRecord::new("t", b"key", b"more")).unwrap();
    assert!(broker.maintain().unwrap_err().is_corruption());
    Broker::close(&broker).unwrap();
}

fn producer_of(broker: &merkql::broker::BrokerRef) -> merkql::producer::Producer {
    Broker::producer(broker)
}

#[test]
fn a_full_disk_leaves_all_as_it_was_and_the_pass_can_be_repeated() {
    let world = world();
    let broker = world.open_with_topic();
    let sent = overwritten();
    send_each(&broker, &sent);
    let (files, taken) = (world.files(".log"), world.disk.bytes_taken());
    world.disk.set_limits(Limits { disk_bytes: Some(taken), ..Limits::default() });
    let error = broker.maintain().unwrap_err();
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");
    assert_eq!(world.files(".log"), files);
    assert_eq!(shown(&partition(&broker)).len(), 40);
    world.disk.set_limits(Limits::default());
    broker.maintain().unwrap();
    let expected = last_of_each(&sent, *world.bases().last().unwrap());
    assert_eq!(shown(&partition(&broker)), expected);
}

#[test]
fn other_topics_keep_every_record_of_a_key() {
    let world = world();
    let broker = world.open();
    broker.create_topic("t", 1).unwrap();
    send_each(&broker, &overwritten());
    broker.maintain().unwrap();
    assert_eq!(shown(&partition(&broker)).len(), 40);
}

#[test]
fn a_compacted_topic_takes_no_record_without_a_key() {
    let world = world();
    let broker = world.open_with_topic();
    let producer = Broker::producer(&broker);
    let error = producer.send(&ProducerRecord::new("t", None, "value")).unwrap_err();
    assert!(matches!(&error, Error::KeyRequired { topic } if topic == "t"), "{error}");
    assert_eq!(partition(&broker).next_offset(), 0);
}
