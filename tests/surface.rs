//! Programs written against merkql 0.1 and 0.2 compile and run unchanged: the
//! program of the front page word for word, and every item with its exact type.

mod support;

use merkql::Error;
use merkql::admin::{
    GroupDescription, GroupOffset, MemberDescription, PartitionDescription, TopicDescription,
};
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::compression::Compression;
use merkql::consumer::{
    Consumer, ConsumerConfig, ConsumerOptions, OffsetAndTimestamp, OffsetReset, PollFuture,
    RebalanceListener, WakeupHandle,
};
use merkql::hash::Hash;
use merkql::partition::Partition;
use merkql::producer::{
    IdempotentProducer, PendingSend, Producer, ProducerOptions, SendFuture, Transaction,
};
use merkql::record::{
    BytesProducerRecord, BytesRecord, Header, ProducerRecord, Record, RecordMetadata,
};
use merkql::topic::{Compaction, RetentionConfig, Topic, TopicConfig};
use merkql::tree::{ConsistencyProof, MerkleTree, Proof};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use support::scratch;

fn is_send<T: Send>() {}
fn is_sync<T: Sync>() {}
fn is_clone<T: Clone>() {}

#[test]
fn the_program_of_the_front_page_runs_as_it_stands() {
    let dir = scratch();
    let path = dir.path().join("my-log");

    let broker = Broker::open(BrokerConfig::new(&path)).unwrap();
    let producer = Broker::producer(&broker);
    producer
        .send(&ProducerRecord::new("events", Some("user-1".into()), r#"{"action":"login"}"#))
        .unwrap();

    let mut consumer = Broker::consumer(
        &broker,
        ConsumerConfig {
            group_id: "my-service".into(),
            auto_commit: false,
            offset_reset: OffsetReset::Earliest,
        },
    );
    consumer.subscribe(&["events"]).unwrap();
    let records = consumer.poll(Duration::from_millis(100)).unwrap();
    consumer.commit_sync().unwrap();

    let topic = broker.topic("events").unwrap();
    let partition = topic.partition(0).unwrap().read().unwrap();
    let proof = partition.proof(0).unwrap().unwrap();
    assert!(MerkleTree::verify_proof(&proof, partition.store()).unwrap());

    assert_eq!(records.len(), 1);
    assert_eq!(records[0].key.as_deref(), Some("user-1"));
    assert_eq!(records[0].value, r#"{"action":"login"}"#);
}

#[test]
fn a_partition_is_a_reference_whose_read_gives_a_guard() {
    let dir = scratch();
    let broker = support::open(dir.path());
    broker.create_topic("t", 2).unwrap();
    let topic = broker.topic("t").unwrap();

    // Both forms that programs use must satisfy the borrow checker.
    let p = topic.partition(0).unwrap();
    let guard = p.read().unwrap();
    assert_eq!(guard.next_offset(), 0);
    drop(guard);
    #[allow(dropping_references, clippy::drop_non_drop, reason = "programs in the wild do")]
    drop(p);
    let next_offset =
        broker.topic("t").unwrap().partition(1).unwrap().read().unwrap().next_offset();

    assert_eq!(next_offset, 0);
    assert!(topic.partition(2).is_none());
    assert!(topic.partition(u32::MAX).is_none());
}

#[test]
fn the_broker_has_its_items() {
    let dir = scratch();
    let config: BrokerConfig = BrokerConfig {
        data_dir: dir.path().to_owned(),
        default_partitions: 3u32,
        auto_create_topics: false,
        compression: Compression::None,
        default_retention: RetentionConfig { max_records: None },
        ..BrokerConfig::new(PathBuf::from("elsewhere"))
    };
    is_clone::<BrokerConfig>();
    let broker: merkql::error::Result<BrokerRef> = Broker::open(config.clone());
    let broker: Arc<Broker> = broker.unwrap();
    broker.ensure_topic("ensured").unwrap();
    broker.create_topic("created", 2u32).unwrap();
    broker.create_topic("created", 2).unwrap();
    broker.create_topic("created", 5).unwrap_err();
    broker.ensure_topic("created").unwrap();
    let created: Option<Arc<Topic>> = broker.topic("created");
    let closed: merkql::Result<()> = Broker::close(&broker);

    assert_eq!(broker.topic("ensured").unwrap().num_partitions(), 3);
    assert_eq!(created.unwrap().num_partitions(), 2);
    assert!(broker.topic("never").is_none());
    closed.unwrap();
    Broker::close(&broker).unwrap();
}

#[test]
fn the_configuration_has_the_defaults_of_before() {
    let config = BrokerConfig::new("somewhere");
    assert_eq!(config.data_dir, PathBuf::from("somewhere"));
    assert_eq!(config.default_partitions, 1);
    assert!(config.auto_create_topics);
    assert_eq!(config.compression, Compression::None);
    assert_eq!(Compression::default(), Compression::None);
    assert_eq!(config.default_retention.max_records, None);
    assert_eq!(RetentionConfig::default().max_records, None);
}

#[test]
fn producers_and_consumers_have_their_items() {
    is_send::<Producer>();
    is_sync::<Producer>();
    is_clone::<Producer>();
    is_send::<Consumer>();
    is_clone::<ConsumerConfig>();
    is_send::<BrokerRef>();
    is_sync::<BrokerRef>();

    let dir = scratch();
    let broker = support::open(dir.path());
    let producer: Producer = Broker::producer(&broker);
    let producer: &Producer = &producer;
    let sent: merkql::Result<Record> = producer.send(&ProducerRecord::new("t", None, "one"));
    let batch: merkql::Result<Vec<Record>> = producer.send_batch(&[ProducerRecord::new(
        String::from("t"),
        Some("k".into()),
        String::from("two"),
    )]);
    let none = producer.send_batch(&[]).unwrap();
    let config = ConsumerConfig {
        group_id: String::from("g"),
        auto_commit: true,
        offset_reset: OffsetReset::Latest,
    };
    let mut consumer: Consumer = Broker::consumer(&broker, config.clone());
    let subscribed: merkql::Result<()> = consumer.subscribe(&["t"]);
    let polled: merkql::Result<Vec<Record>> = consumer.poll(Duration::ZERO);
    let committed: merkql::Result<()> = consumer.commit_sync();
    let closed: merkql::Result<()> = consumer.close();

    assert_eq!(sent.unwrap().value, "one");
    assert_eq!(batch.unwrap()[0].offset, 1);
    assert!(none.is_empty());
    assert!(polled.unwrap().is_empty());
    subscribed.and(committed).and(closed).unwrap();
}

/// What an item can be used for: asserted by being called.
fn is_debug<T: std::fmt::Debug>() {}
fn is_shared<T: Send + Sync + std::fmt::Debug>() {}
fn is_value<T: Send + Sync + Clone + PartialEq + std::fmt::Debug>() {}

#[test]
fn what_is_public_can_be_sent_shared_cloned_and_printed_where_that_makes_sense() {
    is_shared::<Broker>();
    is_shared::<Producer>();
    is_shared::<IdempotentProducer>();
    is_clone::<IdempotentProducer>();
    is_shared::<Transaction<'_>>();
    is_shared::<PendingSend>();
    is_shared::<PendingSend<BytesRecord>>();
    is_shared::<SendFuture<BytesRecord>>();
    is_shared::<Consumer>();
    is_shared::<PollFuture<'_, Record>>();
    is_shared::<WakeupHandle>();
    is_clone::<WakeupHandle>();
    is_send::<ConsumerOptions>();
    is_debug::<ConsumerOptions>();
    is_send::<Box<dyn RebalanceListener>>();
    is_shared::<Topic>();
    is_shared::<Partition>();
    is_clone::<Partition>();
    is_shared::<BrokerConfig>();
    is_shared::<Error>();
    is_clone::<Error>();
    let _: fn(Error) -> Box<dyn std::error::Error + Send + Sync> = |error| Box::new(error);

    is_value::<ConsumerConfig>();
    is_value::<OffsetReset>();
    is_value::<OffsetAndTimestamp>();
    is_value::<ProducerOptions>();
    is_value::<(Record, ProducerRecord, BytesRecord, BytesProducerRecord, Header)>();
    is_value::<RecordMetadata>();
    is_value::<(TopicConfig, Compaction, RetentionConfig, Compression)>();
    is_value::<(TopicDescription, PartitionDescription)>();
    is_value::<(GroupDescription, MemberDescription, GroupOffset)>();
    is_value::<(Proof, ConsistencyProof, Hash)>();
}

#[test]
fn what_programs_take_apart_has_these_parts_and_no_more() {
    let config = ConsumerConfig {
        group_id: "g".to_owned(),
        auto_commit: false,
        offset_reset: OffsetReset::Latest,
    };
    let ConsumerConfig { group_id, auto_commit, offset_reset } = config;
    let begins_at = match offset_reset {
        OffsetReset::Earliest => "the start",
        OffsetReset::Latest => "the end",
    };
    let stores = match Compression::default() {
        Compression::None => "as it is",
        Compression::Lz4 => "compressed",
    };
    let RetentionConfig { max_records } = RetentionConfig::default();
    let Record { key, value, topic, partition, offset, timestamp } = golden();
    assert_eq!((group_id.as_str(), auto_commit, begins_at), ("g", false, "the end"));
    assert_eq!((stores, max_records), ("as it is", None));
    assert_eq!((key.as_deref(), value.as_str()), (Some("golden-key"), r#"{"n":42}"#));
    assert_eq!((topic.as_str(), partition, offset), ("golden", 1, 7));
    assert_eq!(timestamp.timestamp(), 1_700_000_000);
}

#[test]
fn topics_and_partitions_have_their_items() {
    let dir = scratch();
    let broker = support::open(dir.path());
    broker.create_topic("t", 2).unwrap();
    let empty = support::partition(&broker, "t", 0);
    assert_eq!(empty.merkle_root().unwrap(), None);
    assert!(empty.proof(0).unwrap().is_none());
    assert!(empty.read(0).unwrap().is_none());
    support::send_numbered(&Broker::producer(&broker), "t", "v", 8);

    let topic = broker.topic("t").unwrap();
    let ids: Vec<u32> = topic.partition_ids();
    let partition = topic.partition(1).unwrap().read().unwrap();
    let record: merkql::Result<Option<Record>> = partition.read(2u64);
    let range: merkql::Result<Vec<Record>> = partition.read_range(1u64, 99u64);
    let (next, first): (u64, u64) = (partition.next_offset(), partition.min_valid_offset());
    let root: merkql::Result<Option<Hash>> = partition.merkle_root();
    let proof: merkql::Result<Option<Proof>> = partition.proof(3u64);
    let Proof { leaf_hash, siblings, root: proved } = proof.unwrap().unwrap();
    let proof = Proof { leaf_hash, siblings: siblings.clone(), root: proved };
    is_clone::<Proof>();
    let verified: merkql::Result<bool> = partition.verify_proof(&proof);

    assert_eq!(ids, [0, 1]);
    assert_eq!(record.unwrap().unwrap().value, "v5");
    assert_eq!(support::values(&range.unwrap()), ["v3", "v5", "v7"]);
    assert_eq!((next, first), (4, 0));
    assert_eq!(root.unwrap(), Some(proof.root));
    assert!(verified.unwrap());
    assert!(partition.read(4).unwrap().is_none());
    assert!(partition.read_range(3, 1).unwrap().is_empty());
    assert!(partition.read_range(4, u64::MAX).unwrap().is_empty());
}

#[test]
fn hashes_have_their_items() {
    is_clone::<Hash>();
    let hash: Hash = Hash::digest(b"abc");
    let Hash(bytes) = hash;
    let copied: [u8; 32] = bytes;
    assert_eq!(Hash(copied), hash);
    let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(hash.to_hex(), hex);
    assert_eq!(format!("{hash}"), hex);
    assert_eq!(Hash::from_hex(hex).unwrap(), hash);
    Hash::from_hex("abc").unwrap_err();
    Hash::from_hex(&hex.replace('b', "g")).unwrap_err();
}

/// The record of the golden bytes, written literally: it has just these fields.
fn golden() -> Record {
    Record {
        key: Some("golden-key".to_owned()),
        value: r#"{"n":42}"#.to_owned(),
        topic: "golden".to_owned(),
        partition: 1u32,
        offset: 7u64,
        timestamp: chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
    }
}

#[test]
fn the_canonical_bytes_of_a_record_are_those_of_ever() {
    let bytes = golden().serialize();
    let hex = |byte: &u8| format!("{byte:02x}");
    assert_eq!(bytes.len(), 89);
    assert_eq!(
        bytes.iter().map(hex).collect::<Vec<_>>().concat(),
        "010a00000000000000676f6c64656e2d6b657908000000000000007b226e223a34327d0600000000000000676f6c64656e\
         0100000007000000000000001400000000000000323032332d31312d31345432323a31333a32305a"
    );
    let hash = "1acc6b28eef646fde3348f1eea22a50895605e60a49d929333abdca695b16787";
    assert_eq!(golden().hash().to_hex(), hash);
    assert_eq!(golden().hash(), Hash::digest(&bytes));
}

#[test]
fn canonical_bytes_lead_back_to_their_record_and_to_no_other() {
    let without_key = Record { key: None, ..golden() };
    let empty_key = Record { key: Some(String::new()), ..golden() };
    let with_fraction = Record {
        timestamp: chrono::DateTime::from_timestamp(1_700_000_000, 5_000_000).unwrap(),
        ..golden()
    };
    assert!(String::from_utf8_lossy(&with_fraction.serialize()).ends_with("22:13:20.005Z"));
    for record in [golden(), without_key, empty_key, with_fraction] {
        let bytes = record.serialize();
        assert_eq!(Record::deserialize(&bytes).unwrap(), record);
        for len in 0..bytes.len() {
            assert!(Record::deserialize(&bytes[..len]).is_err(), "cut to {len}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(Record::deserialize(&longer).is_err());
    }
    // A length that no memory holds is refused before memory is asked for.
    let mut huge = golden().serialize();
    huge[1..9].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(Record::deserialize(&huge).is_err());
}

#[test]
fn a_stored_record_hashes_to_its_leaf() {
    let dir = scratch();
    let broker = support::open(dir.path());
    let sent = Broker::producer(&broker).send(&support::keyed("t", "k", "v")).unwrap();
    let partition = support::partition(&broker, "t", 0);
    let stored = partition.read(0).unwrap().unwrap();
    assert_eq!(stored, sent, "what is returned by a send is what is stored");
    assert_eq!(
        partition.proof(0).unwrap().unwrap().leaf_hash,
        merkql::hash::leaf_hash(&stored.hash())
    );
}
