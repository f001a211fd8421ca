//! Where a consumer's calls meet each other: bounds and busy partitions, positions
//! outside the log, topics that come back, members that were silent.

mod support;

use merkql::Error;
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::consumer::RebalanceListener;
use merkql::consumer::{Consumer, ConsumerConfig, ConsumerOptions, OffsetReset};
use merkql::producer::Producer;
use merkql::record::BytesProducerRecord;
use merkql_sim::clock::SimClock;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::*;

fn to_partition(partition: u32, value: impl Into<Vec<u8>>) -> BytesProducerRecord {
    BytesProducerRecord::without_key("t", value).with_partition(partition)
}

fn with_partitions(dir: &Path, partitions: u32) -> BrokerRef {
    let broker = open(dir);
    broker.create_topic("t", partitions).unwrap();
    broker
}

fn earliest(group: &str) -> ConsumerConfig {
    ConsumerConfig {
        group_id: group.to_owned(),
        auto_commit: false,
        offset_reset: OffsetReset::Earliest,
    }
}

#[test]
fn a_partition_that_gets_a_record_for_each_bounded_poll_keeps_no_other_waiting() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 2);
    let producer = Broker::producer(&broker);
    producer.send_bytes_batch(&vec![to_partition(1, "old"); 9]).unwrap();
    let options = ConsumerOptions { max_poll_records: Some(1), ..ConsumerOptions::default() };
    let mut bounded = Broker::consumer_with(&broker, earliest("g"), options);
    bounded.subscribe(&["t"]).unwrap();
    let mut served = [0; 2];
    for _ in 0..6 {
        producer.send_bytes(&to_partition(0, "new")).unwrap();
        let polled = bounded.poll(NOW).unwrap();
        served[polled[0].partition as usize] += polled.len();
    }
    assert_eq!(served, [3, 3]);
}

#[test]
fn a_record_that_is_no_text_is_told_however_busy_other_partitions_are() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 2);
    let producer = Broker::producer(&broker);
    producer.send_bytes(&to_partition(0, [0xff])).unwrap();
    producer.send_bytes(&to_partition(0, "behind it")).unwrap();
    let mut reader = subscribed(&broker, "g", "t");
    let mut told = 0;
    for _ in 0..4 {
        producer.send_bytes(&to_partition(1, "busy")).unwrap();
        match reader.poll(NOW) {
            Ok(records) => assert!(records.iter().all(|record| record.partition == 1)),
            Err(Error::NotText { partition: 0, offset: 0, .. }) => told += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(told, 2, "every second poll: what is good comes in between");
    reader.seek("t", 0, 1).unwrap();
    assert_eq!(poll_values(&mut reader), ["behind it", "busy"]);
}

#[test]
fn a_failure_of_a_partition_that_was_paused_or_lost_is_told_no_more() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 2);
    let producer = Broker::producer(&broker);
    producer.send_bytes(&to_partition(0, [0xff])).unwrap();
    let mut reader = subscribed(&broker, "g", "t");
    producer.send_bytes(&to_partition(1, "first")).unwrap();
    assert_eq!(poll_values(&mut reader), ["first"]);
    reader.pause(&[("t", 0)]).unwrap();
    producer.send_bytes(&to_partition(1, "second")).unwrap();
    assert_eq!(poll_values(&mut reader), ["second"]);
    assert!(reader.poll(NOW).unwrap().is_empty());
}

#[test]
fn a_position_past_the_end_waits_for_its_offset_and_can_be_committed() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 1);
    let producer = Broker::producer(&broker);
    send_numbered(&producer, "t", "v", 2);
    let mut reader = subscribed(&broker, "g", "t");
    reader.seek("t", 0, 4).unwrap();
    send_numbered(&producer, "t", "w", 2);
    assert!(reader.poll(NOW).unwrap().is_empty());
    assert_eq!(reader.lag("t", 0).unwrap(), 0);
    assert_eq!(reader.position("t", 0).unwrap(), 4);
    send_numbered(&producer, "t", "x", 1);
    assert_eq!(poll_values(&mut reader), ["x0"]);
    reader.seek("t", 0, u64::MAX).unwrap();
    assert!(reader.poll(NOW).unwrap().is_empty());
    reader.commit_sync().unwrap();
    drop((reader, producer, broker));
    let broker = open(dir.path());
    let mut heir = subscribed(&broker, "g", "t");
    assert!(heir.poll(NOW).unwrap().is_empty());
    assert_eq!(heir.committed("t", 0).unwrap(), Some(u64::MAX));
    assert_eq!((heir.lag("t", 0).unwrap(), heir.position("t", 0).unwrap()), (0, u64::MAX));
}

#[test]
fn a_lag_counts_no_records_that_are_gone() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 1);
    send_numbered(&Broker::producer(&broker), "t", "v", 10);
    let mut reader = subscribed(&broker, "g", "t");
    reader.seek("t", 0, 1).unwrap();
    reader.commit_sync().unwrap();
    broker.delete_records("t", 0, 7).unwrap();
    assert_eq!(reader.lag("t", 0).unwrap(), 3);
    assert_eq!(broker.describe_group("g").unwrap().offsets[0].lag, 3);
}

#[test]
fn a_group_has_committed_nothing_for_a_topic_that_was_created_again() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 1);
    send_numbered(&Broker::producer(&broker), "t", "v", 3);
    let mut reader = subscribed(&broker, "g", "t");
    assert_eq!(reader.poll(NOW).unwrap().len(), 3);
    reader.commit_sync().unwrap();
    broker.delete_topic("t").unwrap();
    assert!(matches!(reader.committed("t", 0), Err(Error::UnknownTopic { .. })));
    // The consumer still stands in the topic that is gone: nothing to commit for.
    let refused = reader.commit_sync_offsets(&[(("t", 0), 1)]).unwrap_err();
    assert!(matches!(refused, Error::TopicDeleted { .. }), "{refused}");
    broker.create_topic("t", 1).unwrap();
    send_numbered(&Broker::producer(&broker), "t", "w", 1);
    let refused = reader.commit_sync_offsets(&[(("t", 0), 1)]).unwrap_err();
    assert!(matches!(refused, Error::TopicDeleted { .. }), "{refused}");
    assert_eq!(reader.committed("t", 0).unwrap(), None);
    assert_eq!(poll_values(&mut reader), ["w0"]);
    reader.commit_sync_offsets(&[(("t", 0), 1)]).unwrap();
    assert_eq!(reader.committed("t", 0).unwrap(), Some(1));
}

#[test]
fn an_offset_in_a_gap_is_committed_as_it_is() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 1);
    send_numbered(&Broker::producer(&broker), "t", "v", 5);
    let mut reader = subscribed(&broker, "g", "t");
    broker.delete_records("t", 0, 3).unwrap();
    reader.commit_sync_offsets(&[(("t", 0), 2)]).unwrap();
    assert_eq!(reader.committed("t", 0).unwrap(), Some(2));
    drop(reader);
    assert_eq!(poll_values(&mut subscribed(&broker, "g", "t")), ["v3", "v4"]);
}

#[test]
fn a_consumer_that_chose_a_partition_is_told_that_a_member_owns_it() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 1);
    send_numbered(&Broker::producer(&broker), "t", "v", 1);
    let _member = subscribed(&broker, "g", "t");
    let mut alone = consumer(&broker, "g");
    alone.assign(&[("t", 0)]).unwrap();
    assert_eq!(alone.poll(NOW).unwrap().len(), 1);
    let refused = alone.commit_sync().unwrap_err().to_string();
    assert!(refused.contains("another member"), "{refused}");
}

#[test]
fn a_wait_without_an_end_is_ended_by_a_wakeup() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 1);
    let options =
        ConsumerOptions { max_poll_interval: Some(Duration::MAX), ..ConsumerOptions::default() };
    let mut reader = Broker::consumer_with(&broker, earliest("g"), options);
    reader.subscribe(&["t"]).unwrap();
    let handle = reader.wakeup_handle();
    std::thread::scope(|scope| {
        scope.spawn(move || handle.wakeup());
        assert!(matches!(reader.poll(Duration::MAX), Err(Error::Wakeup)));
    });
}

/// Writes down what it hears of losses.
struct Losses(Arc<Mutex<Vec<(String, u32)>>>);

impl RebalanceListener for Losses {
    fn on_partitions_lost(&mut self, _: &mut Consumer, partitions: &[(String, u32)]) {
        self.0.lock().unwrap().extend_from_slice(partitions);
    }
}

#[test]
fn who_was_silent_for_too_long_hears_of_its_loss_when_it_closes_too() {
    let (dir, clock) = (scratch(), Arc::new(SimClock::default()));
    let config = BrokerConfig { clock: clock.clone(), ..BrokerConfig::new(dir.path()) };
    let broker = Broker::open(config).unwrap();
    broker.create_topic("t", 1).unwrap();
    let lost = Arc::default();
    let listener: Box<dyn RebalanceListener> = Box::new(Losses(Arc::clone(&lost)));
    let options =
        ConsumerOptions { rebalance_listener: Some(listener), ..ConsumerOptions::default() };
    let mut silent = Broker::consumer_with(&broker, earliest("g"), options);
    silent.subscribe(&["t"]).unwrap();
    clock.advance(Duration::from_secs(600));
    let heir = subscribed(&broker, "g", "t");
    assert_eq!(heir.assignment().len(), 1);
    silent.close().unwrap();
    assert_eq!(*lost.lock().unwrap(), [("t".to_owned(), 0)]);
    assert_eq!(heir.assignment().len(), 1);
}

#[test]
fn a_commit_is_written_although_another_consumer_has_committed_less_since() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 1);
    send_numbered(&Broker::producer(&broker), "t", "v", 5);
    let (mut ahead, mut behind) = (consumer(&broker, "g"), consumer(&broker, "g"));
    for alone in [&mut ahead, &mut behind] {
        alone.assign(&[("t", 0)]).unwrap();
    }
    assert_eq!(ahead.poll(NOW).unwrap().len(), 5);
    ahead.commit_sync().unwrap();
    behind.seek("t", 0, 2).unwrap();
    behind.commit_sync().unwrap();
    assert_eq!(ahead.committed("t", 0).unwrap(), Some(2));
    ahead.commit_sync().unwrap();
    assert_eq!(ahead.committed("t", 0).unwrap(), Some(5));
    broker.delete_group("g").unwrap();
    ahead.commit_sync().unwrap();
    assert_eq!(ahead.committed("t", 0).unwrap(), Some(5));
}

#[test]
fn a_member_that_commits_by_itself_does_so_before_it_gives_a_partition_up() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 2);
    send_numbered(&Broker::producer(&broker), "t", "v", 4);
    let config = ConsumerConfig { auto_commit: true, ..earliest("g") };
    let mut first = Broker::consumer(&broker, config);
    first.subscribe(&["t"]).unwrap();
    assert_eq!(first.poll(NOW).unwrap().len(), 4);
    let mut second = subscribed(&broker, "g", "t");
    assert!(first.poll(NOW).unwrap().is_empty());
    assert!(second.poll(NOW).unwrap().is_empty(), "no record is delivered again");
    assert_eq!(second.assignment().len(), 1);
}

#[test]
fn a_consumer_that_commits_by_itself_does_so_before_it_is_assigned_other_partitions() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 2);
    send_numbered(&Broker::producer(&broker), "t", "v", 4);
    let config = ConsumerConfig { auto_commit: true, ..earliest("g") };
    let mut alone = Broker::consumer(&broker, config);
    alone.assign(&[("t", 0)]).unwrap();
    assert_eq!(alone.poll(NOW).unwrap().len(), 2);
    alone.assign(&[("t", 1)]).unwrap();
    assert_eq!(alone.committed("t", 0).unwrap(), Some(2));
}

#[test]
fn a_transaction_with_an_offset_of_a_topic_that_was_deleted_is_refused_whole() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 1);
    send_numbered(&Broker::producer(&broker), "t", "v", 1);
    let mut reader = subscribed(&broker, "g", "t");
    assert_eq!(reader.poll(NOW).unwrap().len(), 1);
    broker.delete_topic("t").unwrap();
    let mut transaction = broker.transaction();
    transaction.send(&keyless("out", "made from it")).unwrap();
    transaction.send_offsets_of(&mut reader, &[(("t", 0), 1)]).unwrap();
    let refused = transaction.commit().unwrap_err();
    assert!(matches!(refused, Error::TopicDeleted { .. }), "{refused}");
    assert!(broker.topic("out").is_none());
    // Positions of what is gone are left out: there is nothing to read again.
    let mut transaction = broker.transaction();
    transaction.send(&keyless("out", "made from it")).unwrap();
    transaction.send_offsets(&mut reader).unwrap();
    assert_eq!(transaction.commit().unwrap().len(), 1);
}

#[test]
fn a_repeated_send_to_a_topic_that_was_deleted_is_answered_and_creates_nothing() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 1);
    let producer = Broker::idempotent_producer(&broker, 7);
    let sent = producer.send_batch(0, &[keyless("t", "v")]).unwrap();
    broker.delete_topic("t").unwrap();
    let repeated = producer.send_batch(0, &[keyless("t", "v")]);
    assert!(broker.topic("t").is_none());
    assert!(repeated.is_ok_and(|repeated| repeated.is_empty() || repeated == sent));
    // The next one is another send, to another topic.
    assert_eq!(producer.send_batch(1, &[keyless("t", "w")]).unwrap()[0].offset, 0);
}

/// Takes longer to give up than a member may, and lets another poll meanwhile.
struct Dawdler {
    clock: Arc<SimClock>,
    producer: Producer,
    heir: Arc<Mutex<Consumer>>,
    told: Arc<Mutex<Vec<String>>>,
}

impl RebalanceListener for Dawdler {
    fn on_partitions_revoked(&mut self, consumer: &mut Consumer, partitions: &[(String, u32)]) {
        self.clock.advance(Duration::from_secs(600));
        assert_eq!(self.heir.lock().unwrap().poll(NOW).unwrap().len(), 4, "all is its own now");
        send_numbered(&self.producer, "t", "new", 2);
        let refused = consumer.commit_sync();
        self.told.lock().unwrap().push(format!("revoked {}", partitions.len()));
        assert!(matches!(refused, Err(Error::NotAssigned { .. })));
    }

    fn on_partitions_lost(&mut self, _: &mut Consumer, partitions: &[(String, u32)]) {
        self.told.lock().unwrap().push(format!("lost {}", partitions.len()));
    }
}

#[test]
fn a_member_that_takes_too_long_to_give_up_loses_the_rest_as_well() {
    let (dir, clock) = (scratch(), Arc::new(SimClock::new()));
    let config = BrokerConfig { clock: clock.clone(), ..BrokerConfig::new(dir.path()) };
    let broker = Broker::open(config).unwrap();
    broker.create_topic("t", 2).unwrap();
    send_numbered(&Broker::producer(&broker), "t", "v", 4);
    let (heir, told) = (Arc::new(Mutex::new(consumer(&broker, "g"))), Arc::default());
    let producer = Broker::producer(&broker);
    let dawdler = Dawdler { clock, producer, heir: Arc::clone(&heir), told: Arc::clone(&told) };
    let options = ConsumerOptions {
        rebalance_listener: Some(Box::new(dawdler)),
        ..ConsumerOptions::default()
    };
    let mut slow = Broker::consumer_with(&broker, earliest("g"), options);
    slow.subscribe(&["t"]).unwrap();
    assert_eq!(slow.poll(NOW).unwrap().len(), 4);
    heir.lock().unwrap().subscribe(&["t"]).unwrap();
    assert!(slow.poll(NOW).unwrap().is_empty(), "nothing of what is not its own");
    assert!(slow.assignment().is_empty());
    slow.poll(NOW).unwrap();
    assert_eq!(*told.lock().unwrap(), ["revoked 1", "lost 1"]);
    heir.lock().unwrap().commit_sync_offsets(&[(("t", 0), 2), (("t", 1), 2)]).unwrap();
}
