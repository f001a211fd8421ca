//! What there is, told; what groups have committed, changed from outside.

mod support;

use merkql::Error;
use merkql::broker::{Broker, BrokerRef};
use merkql::consumer::OffsetReset;
use merkql::topic::TopicConfig;
use std::path::Path;
use std::time::Duration;
use support::*;

/// A topic `t` with ten records in each of two partitions.
fn with_records(dir: &Path) -> BrokerRef {
    let broker = open(dir);
    broker.create_topic("t", 2).unwrap();
    send_numbered(&Broker::producer(&broker), "t", "v", 20);
    broker
}

#[test]
fn a_topic_is_described_as_it_is() {
    let dir = scratch();
    let broker = open(dir.path());
    let config = TopicConfig {
        partitions: 3,
        retention_bytes: Some(1 << 30),
        retention_age: Some(Duration::from_secs(60)),
        ..TopicConfig::default()
    };
    broker.create_topic_with("t", &config).unwrap();
    send_numbered(&Broker::producer(&broker), "t", "v", 2);
    broker.delete_records("t", 1, 1).unwrap();
    let described = broker.describe_topic("t").unwrap();
    assert_eq!((described.name.as_str(), &described.config), ("t", &config));
    assert_eq!(broker.topic("t").unwrap().config(), config);
    let places: Vec<_> = described
        .partitions
        .iter()
        .map(|of| (of.partition, of.log_start, of.next_offset, of.segments))
        .collect();
    assert_eq!(places, [(0, 0, 1, 1), (1, 1, 1, 0), (2, 0, 0, 0)]);
    for of in &described.partitions {
        assert_eq!(of.root, partition(&broker, "t", of.partition).merkle_root().unwrap());
    }
    assert!(described.partitions[0].bytes > 32);
    assert_eq!((described.partitions[1].bytes, described.partitions[2].bytes), (32, 0));
    assert!(matches!(broker.describe_topic("u"), Err(Error::UnknownTopic { .. })));
    let grown = TopicConfig { partitions: 5, ..config };
    broker.add_partitions("t", 5).unwrap();
    assert_eq!(broker.describe_topic("t").unwrap().config, grown);
    drop(broker);
    assert_eq!(open(dir.path()).describe_topic("t").unwrap().config, grown);
}

#[test]
fn a_group_is_described_with_its_members_and_its_lag() {
    let dir = scratch();
    let broker = with_records(dir.path());
    assert!(broker.groups().is_empty());
    assert!(matches!(broker.describe_group("g"), Err(Error::UnknownGroup { .. })));
    let mut first = subscribed(&broker, "g", "t");
    let mut second = subscribed(&broker, "g", "t");
    for _ in 0..2 {
        first.poll(NOW).unwrap();
        second.poll(NOW).unwrap();
    }
    let members = broker.describe_group("g").unwrap().members;
    let owned: Vec<_> = members.into_iter().map(|member| member.partitions).collect();
    assert_eq!(owned, [first.assignment(), second.assignment()]);
    first.commit_sync().unwrap();
    second.commit_sync().unwrap();
    send_numbered(&Broker::producer(&broker), "t", "w", 3);
    drop((first, second));
    let group = broker.describe_group("g").unwrap();
    assert!(group.members.is_empty());
    let offsets: Vec<_> = group
        .offsets
        .iter()
        .map(|of| (of.topic.as_str(), of.partition, of.committed, of.next_offset, of.lag))
        .collect();
    assert_eq!(offsets, [("t", 0, 10, 12, 2), ("t", 1, 10, 11, 1)]);
    let _live = subscribed(&broker, "alive", "t");
    assert_eq!(broker.groups(), ["alive", "g"]);
}

#[test]
fn a_group_without_members_begins_where_its_offsets_are_reset_to() {
    let dir = scratch();
    let broker = with_records(dir.path());
    broker.delete_records("t", 0, 4).unwrap();
    let mut consumer = subscribed(&broker, "g", "t");
    assert_eq!(consumer.poll(NOW).unwrap().len(), 16);
    consumer.commit_sync().unwrap();
    let reset = |offsets: &[((&str, u32), u64)]| broker.reset_group_offsets("g", offsets);
    assert!(matches!(reset(&[(("t", 0), 5)]), Err(Error::GroupNotEmpty { members: 1, .. })));
    drop(consumer);
    let out_of_range = [(("t", 1), 7), (("t", 0), 3)];
    assert!(matches!(
        reset(&out_of_range),
        Err(Error::OffsetOutOfRange { offset: 3, start: 4, end: 10, .. })
    ));
    assert!(matches!(reset(&[(("t", 1), 11)]), Err(Error::OffsetOutOfRange { .. })));
    assert!(matches!(reset(&[(("t", 2), 0)]), Err(Error::UnknownPartition { .. })));
    assert!(matches!(reset(&[(("u", 0), 0)]), Err(Error::UnknownTopic { .. })));
    let long = "g".repeat(250);
    assert!(matches!(
        broker.reset_group_offsets(&long, &[(("t", 0), 4)]),
        Err(Error::GroupIdTooLong { .. })
    ));
    assert!(poll_values(&mut subscribed(&broker, "g", "t")).is_empty(), "nothing was changed");

    reset(&[(("t", 0), 9), (("t", 1), 8)]).unwrap();
    drop(broker);
    let broker = open(dir.path());
    let mut consumer = subscribed(&broker, "g", "t");
    assert_eq!(places(&consumer.poll(NOW).unwrap()), [(0, 9), (1, 8), (1, 9)]);
    // A group that nobody has heard of begins there, too.
    broker.reset_group_offsets("new", &[(("t", 0), 10), (("t", 1), 9)]).unwrap();
    assert_eq!(places(&subscribed(&broker, "new", "t").poll(NOW).unwrap()), [(1, 9)]);
}

#[test]
fn a_deleted_group_begins_by_its_own_policy_and_not_where_it_began_before() {
    let dir = scratch();
    let broker = with_records(dir.path());
    let mut consumer = subscribed(&broker, "g", "t");
    assert!(matches!(broker.delete_group("g"), Err(Error::GroupNotEmpty { .. })));
    consumer.poll(NOW).unwrap();
    consumer.commit_sync().unwrap();
    drop(consumer);
    broker.delete_group("g").unwrap();
    assert!(broker.groups().is_empty());
    assert!(matches!(broker.delete_group("g"), Err(Error::UnknownGroup { .. })));
    let mut latest = consumer_from(&broker, "g", OffsetReset::Latest);
    latest.subscribe(&["t"]).unwrap();
    assert!(poll_values(&mut latest).is_empty());
    drop(latest);
    assert_eq!(subscribed(&broker, "g", "t").poll(NOW).unwrap().len(), 20);
    drop(broker);
    assert!(open(dir.path()).groups().is_empty());
}

#[test]
fn a_member_that_stopped_polling_does_not_count_as_live() {
    let dir = scratch();
    let clock = std::sync::Arc::new(merkql_sim::clock::SimClock::new());
    let config = merkql::broker::BrokerConfig {
        clock: clock.clone(),
        ..merkql::broker::BrokerConfig::new(dir.path())
    };
    let broker = Broker::open(config).unwrap();
    send_numbered(&Broker::producer(&broker), "t", "v", 5);
    let mut stuck = subscribed(&broker, "g", "t");
    stuck.poll(NOW).unwrap();
    stuck.commit_sync().unwrap();
    clock.advance(Duration::from_secs(301));
    assert!(broker.describe_group("g").unwrap().members.is_empty());
    broker.reset_group_offsets("g", &[(("t", 0), 2)]).unwrap();
    // It begins again where the group was put.
    assert_eq!(poll_values(&mut stuck), ["v2", "v3", "v4"]);
}

#[test]
fn a_closed_broker_administers_nothing() {
    let dir = scratch();
    let broker = with_records(dir.path());
    Broker::close(&broker).unwrap();
    assert!(matches!(broker.delete_topic("t"), Err(Error::Closed)));
    assert!(matches!(broker.add_partitions("t", 3), Err(Error::Closed)));
    assert!(matches!(broker.delete_records("t", 0, 1), Err(Error::Closed)));
    assert!(matches!(broker.describe_topic("t"), Err(Error::Closed)));
    assert!(matches!(broker.describe_group("g"), Err(Error::Closed)));
    assert!(matches!(broker.delete_group("g"), Err(Error::Closed)));
    assert!(matches!(broker.reset_group_offsets("g", &[]), Err(Error::Closed)));
}
