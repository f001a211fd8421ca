//! The programs that somebody who knows Kafka writes first, as they would write them.

#![allow(clippy::disallowed_methods, reason = "services have threads")]

mod support;

use chrono::{DateTime, TimeDelta};
use merkql::Error;
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::consumer::{Consumer, ConsumerConfig, ConsumerOptions, OffsetReset, RebalanceListener};
use merkql::record::{BytesProducerRecord, BytesRecord, Header};
use merkql::topic::{Compaction, TopicConfig};
use merkql::tree::Proof;
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;
use support::*;

/// Bills what it polls, and is cut off before its last commit if it is to die.
fn bill(broker: &BrokerRef, dies: bool) -> Result<usize, Error> {
    let mut orders = subscribed(broker, "billing", "orders");
    let polled = orders.poll(NOW)?;
    let mut transaction = broker.transaction();
    for order in &polled {
        let bill = format!("bill for {}", order.value);
        transaction.send(&keyed("bills", order.key.as_deref().unwrap_or("-"), bill))?;
    }
    transaction.send_offsets(&mut orders)?;
    if !dies {
        transaction.commit()?;
    }
    Ok(polled.len())
}

#[test]
fn each_order_is_billed_once_although_the_service_died_before_its_commit() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    producer.send_batch(&[keyed("orders", "ann", "tea"), keyed("orders", "bob", "rum")]).unwrap();
    assert_eq!(bill(&broker, true).unwrap(), 2);
    drop((producer, broker));
    let broker = open(dir.path());
    assert_eq!(bill(&broker, false).unwrap(), 2, "delivered again");
    assert_eq!(bill(&broker, false).unwrap(), 0, "not again");
    let bills = poll_values(&mut subscribed(&broker, "reader", "bills"));
    assert_eq!(bills, ["bill for tea", "bill for rum"]);
}

/// What is in a topic, by key, as of now.
fn table(broker: &BrokerRef, topic: &str) -> BTreeMap<String, Vec<u8>> {
    let mut restorer = consumer(broker, "");
    let ids = broker.topic(topic).unwrap().partition_ids();
    let partitions: Vec<_> = ids.into_iter().map(|partition| (topic, partition)).collect();
    restorer.assign(&partitions).unwrap();
    restorer.seek_to_beginning(&[]).unwrap();
    let mut table = BTreeMap::new();
    while partitions.iter().any(|(topic, number)| restorer.lag(topic, *number).unwrap() > 0) {
        for record in restorer.poll_bytes(NOW).unwrap() {
            let key = String::from_utf8(record.key.unwrap()).unwrap();
            match record.value {
                Some(value) => table.insert(key, value),
                None => table.remove(&key),
            };
        }
    }
    table
}

#[test]
fn a_table_is_restored_from_a_compacted_topic_when_the_service_starts() {
    let dir = scratch();
    let broker = open(dir.path());
    let compaction = Some(Compaction { tombstone_retention: Duration::ZERO });
    let config =
        TopicConfig { partitions: 2, compaction, segment_bytes: Some(4096), ..Default::default() };
    broker.create_topic_with("users", &config).unwrap();
    let producer = Broker::producer(&broker);
    for round in 0..500 {
        let user = format!("user-{}", round % 7);
        producer.send(&keyed("users", &user, format!("round {round}"))).unwrap();
    }
    producer.send_bytes(&BytesProducerRecord::tombstone("users", "user-3")).unwrap();
    let before = table(&broker, "users");
    broker.maintain().unwrap();
    assert_eq!(table(&broker, "users"), before);
    assert_eq!(before.len(), 6);
    assert_eq!(before["user-2"], b"round 499");
    let kept = subscribed(&broker, "count", "users").poll_bytes(NOW).unwrap().len();
    assert!(kept < 400, "{kept} of 501 records are left");
}

/// A record that is not to be lost, although nobody can read it.
fn dead_letter(
    broker: &BrokerRef,
    topic: &str,
    partition: u32,
    offset: u64,
) -> BytesProducerRecord {
    let topic = broker.topic(topic).unwrap();
    let partition = topic.partition(partition).unwrap().read().unwrap();
    let BytesRecord { key, value, headers, timestamp, .. } =
        partition.read_bytes(offset).unwrap().unwrap();
    let letter = BytesProducerRecord {
        topic: format!("{}.dead", topic.name()),
        partition: None,
        key,
        value,
        headers,
        timestamp: Some(timestamp),
    };
    letter.with_header(Header::new("offset", offset.to_string()))
}

#[test]
fn what_cannot_be_decoded_goes_to_a_dead_letter_topic_and_the_rest_is_read() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    producer.send(&keyless("orders", "first")).unwrap();
    producer.send_bytes(&BytesProducerRecord::new("orders", "k", [0xff, 0xfe])).unwrap();
    producer.send(&keyless("orders", "last")).unwrap();
    let mut orders = subscribed(&broker, "billing", "orders");
    let mut handled = Vec::new();
    while orders.lag("orders", 0).unwrap() > 0 {
        match orders.poll(NOW) {
            Ok(records) => handled.extend(records.into_iter().map(|record| record.value)),
            Err(Error::NotText { topic, partition, offset, .. }) => {
                let letter = dead_letter(&broker, &topic, partition, offset);
                producer.send_bytes(&letter).unwrap();
                orders.seek(&topic, partition, offset + 1).unwrap();
            }
            Err(other) => panic!("{other}"),
        }
    }
    orders.commit_sync().unwrap();
    assert_eq!(handled, ["first", "last"]);
    let letters = subscribed(&broker, "support", "orders.dead").poll_bytes(NOW).unwrap();
    assert_eq!(letters[0].value.as_deref(), Some(&[0xff, 0xfe][..]));
    assert_eq!(letters[0].headers, [Header::new("offset", "1")]);
}

#[test]
fn everything_since_yesterday_is_replayed() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("events", 2).unwrap();
    let noon = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    for hours in (0..72).rev() {
        let value = format!("{hours} hours ago");
        let event = BytesProducerRecord::without_key("events", value)
            .with_timestamp(noon - TimeDelta::hours(hours));
        Broker::producer(&broker).send_bytes(&event).unwrap();
    }
    let mut replay = subscribed(&broker, "replay", "events");
    replay.seek_to_timestamp(&[], noon - TimeDelta::days(1)).unwrap();
    let mut replayed = replay.poll(NOW).unwrap();
    replayed.sort_by_key(|event| event.timestamp);
    assert_eq!(replayed.len(), 25);
    assert_eq!(replayed[0].value, "24 hours ago");
}

#[test]
fn two_services_with_groups_of_their_own_each_get_everything() {
    let dir = scratch();
    let broker = open(dir.path());
    send_numbered(&Broker::producer(&broker), "orders", "order ", 3);
    let (mut billing, mut shipping) =
        (subscribed(&broker, "billing", "orders"), subscribed(&broker, "shipping", "orders"));
    assert_eq!(poll_values(&mut billing).len(), 3);
    billing.commit_sync().unwrap();
    billing.close().unwrap();
    assert_eq!(poll_values(&mut shipping).len(), 3);
    assert_eq!(shipping.committed("orders", 0).unwrap(), None);
    assert_eq!(broker.groups(), ["billing", "shipping"]);
    assert!(poll_values(&mut subscribed(&broker, "billing", "orders")).is_empty());
}

#[test]
fn a_service_is_shut_down_from_another_thread_and_loses_nothing() {
    let dir = scratch();
    let broker = open(dir.path());
    let mut service = subscribed(&broker, "g", "orders");
    let shutdown = service.wakeup_handle();
    let serving = thread::spawn(move || {
        let mut handled = 0;
        loop {
            match service.poll(Duration::from_secs(60)) {
                Ok(records) => handled += records.len(),
                Err(Error::Wakeup) => break,
                Err(other) => return Err(other),
            }
            service.commit_sync()?;
        }
        service.close()?;
        Ok(handled)
    });
    send_numbered(&Broker::producer(&broker), "orders", "order ", 5);
    while broker.describe_group("g").unwrap().offsets.first().is_none_or(|of| of.lag > 0) {
        thread::yield_now();
    }
    shutdown.wakeup();
    assert_eq!(serving.join().unwrap().unwrap(), 5);
    assert_eq!(broker.describe_group("g").unwrap().members.len(), 0);
}

/// What an auditor does, who has the root from elsewhere and never sees the log.
fn is_in_the_log(record: &[u8], proof: &[u8], root: &str) -> bool {
    let (Ok(record), Ok(proof)) = (BytesRecord::deserialize(record), Proof::from_bytes(proof))
    else {
        return false;
    };
    let root = merkql::hash::Hash::from_hex(root).unwrap();
    proof.proves(&record.hash(), &root) && proof.siblings.leaf_index == record.offset
}

#[test]
fn an_auditor_checks_a_record_in_bytes_with_nothing_but_record_proof_and_root() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    send_numbered(&producer, "payments", "before", 5);
    let payment = BytesProducerRecord::new("payments", "iban", [0xca, 0xfe])
        .with_header(Header::new("approved-by", "ann"))
        .with_header(Header::new("approved-by", "bob"));
    let payment = producer.send_bytes(&payment).unwrap();
    send_numbered(&producer, "payments", "after", 5);
    let payments = partition(&broker, "payments", payment.partition);
    let proof = payments.proof(payment.offset).unwrap().unwrap().to_bytes();
    let root = payments.merkle_root().unwrap().unwrap().to_hex();

    assert!(is_in_the_log(&payment.serialize(), &proof, &root));
    let mut forged = payment.clone();
    forged.headers[1] = Header::new("approved-by", "eve");
    assert!(!is_in_the_log(&forged.serialize(), &proof, &root));
    let elsewhere = BytesRecord { offset: 4, ..payment };
    assert!(!is_in_the_log(&elsewhere.serialize(), &proof, &root));
}

#[test]
fn a_log_on_a_small_device_keeps_within_the_bytes_that_it_was_given() {
    let dir = scratch();
    let config = BrokerConfig { journal_max_bytes: 64 << 10, ..BrokerConfig::new(dir.path()) };
    let broker = Broker::open(config).unwrap();
    let retention = TopicConfig {
        retention_bytes: Some(256 << 10),
        segment_bytes: Some(64 << 10),
        ..TopicConfig::default()
    };
    broker.create_topic_with("readings", &retention).unwrap();
    let producer = Broker::producer(&broker);
    let mut largest = 0;
    for _ in 0..100 {
        let readings = vec![keyless("readings", "x".repeat(4000)); 10];
        producer.send_batch(&readings).unwrap();
        largest = largest.max(disk_bytes(dir.path()));
    }
    // What is kept, the segments that are about to go, the journal, and the tree.
    assert!(largest < 700 << 10, "{largest} bytes, of 4 MB that were sent");
    let readings = partition(&broker, "readings", 0);
    let kept = readings.next_offset() - readings.min_valid_offset();
    assert!((60..=85).contains(&kept), "{kept} readings are left");
    // What is gone can be proved all the same.
    assert!(readings.verify_proof(&readings.proof(0).unwrap().unwrap()).unwrap());
}

/// Commits what was done before a partition goes to another member.
struct CommitFirst;

impl RebalanceListener for CommitFirst {
    fn on_partitions_revoked(&mut self, consumer: &mut Consumer, _: &[(String, u32)]) {
        consumer.commit_sync().unwrap();
    }
}

#[test]
fn a_member_that_commits_before_it_gives_up_leaves_nothing_to_be_done_twice() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("orders", 4).unwrap();
    send_numbered(&Broker::producer(&broker), "orders", "order ", 8);
    let config = ConsumerConfig {
        group_id: "g".into(),
        auto_commit: false,
        offset_reset: OffsetReset::Earliest,
    };
    let options = ConsumerOptions {
        rebalance_listener: Some(Box::new(CommitFirst)),
        ..ConsumerOptions::default()
    };
    let mut first = Broker::consumer_with(&broker, config, options);
    first.subscribe(&["orders"]).unwrap();
    assert_eq!(first.poll(NOW).unwrap().len(), 8);
    let mut second = subscribed(&broker, "g", "orders");
    for member in [&mut first, &mut second] {
        assert!(member.poll(NOW).unwrap().is_empty(), "nothing twice");
    }
    assert_eq!((first.assignment().len(), second.assignment().len()), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_and_a_consumer_are_tasks_of_an_async_runtime() {
    let dir = scratch();
    let broker = open(dir.path());
    let mut orders = subscribed(&broker, "g", "orders");
    let consuming = tokio::spawn(async move {
        let mut seen = Vec::new();
        while seen.len() < 10 {
            seen.extend(orders.poll_async().await?.into_iter().map(|record| record.value));
            tokio::task::block_in_place(|| orders.commit_sync())?;
        }
        Ok::<_, Error>(seen)
    });
    let producer = Broker::producer(&broker);
    for number in 0..10 {
        let sent = producer.enqueue(&[keyless("orders", number.to_string())]).unwrap();
        assert_eq!(sent.await.unwrap()[0].offset, number);
    }
    let seen = consuming.await.unwrap().unwrap();
    assert_eq!(seen, (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_topic_is_deleted_and_created_again_while_services_read_it() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    for topic in ["t", "u"] {
        send_numbered(&producer, topic, topic, 2);
    }
    let (mut member, mut alone) = (consumer(&broker, "g"), consumer(&broker, "h"));
    member.subscribe(&["t", "u"]).unwrap();
    alone.assign(&[("t", 0), ("u", 0)]).unwrap();
    assert_eq!((member.poll(NOW).unwrap().len(), alone.poll(NOW).unwrap().len()), (4, 4));
    broker.delete_topic("t").unwrap();
    send_numbered(&producer, "u", "more", 1);
    assert_eq!(poll_values(&mut member), ["more0"]);
    assert_eq!(poll_values(&mut alone), ["more0"]);
    // A member reads what there is; who named the partition is told.
    assert!(member.poll(NOW).unwrap().is_empty());
    assert!(matches!(alone.poll(NOW), Err(Error::TopicDeleted { .. })));
    member.commit_sync().unwrap();

    send_numbered(&producer, "t", "again", 1);
    assert_eq!(poll_values(&mut member), ["again0"]);
    assert!(matches!(alone.poll(NOW), Err(Error::TopicDeleted { .. })));
    alone.assign(&[("t", 0), ("u", 0)]).unwrap();
    assert_eq!(poll_values(&mut alone), ["again0"]);
}

#[test]
fn partitions_that_are_added_are_shared_and_read_from_their_start() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("orders", 2).unwrap();
    let mut members = [(); 2].map(|()| {
        let mut member = consumer_from(&broker, "g", OffsetReset::Latest);
        member.subscribe(&["orders"]).unwrap();
        member
    });
    broker.add_partitions("orders", 6).unwrap();
    send_numbered(&Broker::producer(&broker), "orders", "order ", 12);
    let mut read = Vec::new();
    for _ in 0..3 {
        for member in &mut members {
            read.extend(member.poll(NOW).unwrap().into_iter().map(|r| (r.partition, r.offset)));
            member.commit_sync().unwrap();
        }
    }
    read.sort_unstable();
    let all: Vec<_> = (0..6).flat_map(|partition| [(partition, 0), (partition, 1)]).collect();
    assert_eq!(read, all, "each once");
    assert_eq!(members.map(|member| member.assignment().len()), [3, 3]);
}

#[test]
fn a_consumer_has_no_lag_once_it_has_read_what_is_left() {
    let dir = scratch();
    let broker = open(dir.path());
    let compaction = Some(Compaction { tombstone_retention: Duration::ZERO });
    let config = TopicConfig { compaction, segment_bytes: Some(4096), ..TopicConfig::default() };
    broker.create_topic_with("users", &config).unwrap();
    let producer = Broker::producer(&broker);
    for _ in 0..300 {
        producer.send(&keyed("users", "ann", "here")).unwrap();
    }
    let mut reader = subscribed(&broker, "g", "users");
    assert_eq!(reader.lag("users", 0).unwrap(), 300);
    broker.maintain().unwrap();
    assert!(reader.poll(NOW).unwrap().len() < 300);
    assert_eq!((reader.lag("users", 0).unwrap(), reader.position("users", 0).unwrap()), (0, 300));
    // Nor has one in front of records that are all gone.
    reader.seek("users", 0, 0).unwrap();
    broker.delete_records("users", 0, 300).unwrap();
    assert_eq!(reader.lag("users", 0).unwrap(), 0);
    assert!(reader.poll(NOW).unwrap().is_empty());
}
