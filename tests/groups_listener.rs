//! Rebalance listeners: what they are told and when, and what they may do.

mod support;

use merkql::Error;
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::consumer::{Consumer, ConsumerConfig, ConsumerOptions, OffsetReset, RebalanceListener};
use merkql_sim::clock::SimClock;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::*;

const INTERVAL: Duration = Duration::from_secs(10);

/// What listeners were told, in order.
type Told = Arc<Mutex<Vec<String>>>;

/// What a listener does when partitions are revoked.
type OnRevoked = fn(&mut Consumer);

/// Writes down what it is told.
struct Scribe {
    told: Told,
    on_revoked: OnRevoked,
}

impl Scribe {
    fn note(&self, what: &str, consumer: &Consumer, partitions: &[(String, u32)]) {
        let partitions: Vec<String> =
            partitions.iter().map(|(topic, partition)| format!("{topic}{partition}")).collect();
        let owned = consumer.assignment().len();
        let note = format!("{what} {} of {owned}", partitions.join(" "));
        self.told.lock().unwrap().push(note);
    }
}

impl RebalanceListener for Scribe {
    fn on_partitions_revoked(&mut self, consumer: &mut Consumer, partitions: &[(String, u32)]) {
        self.note("revoked", consumer, partitions);
        (self.on_revoked)(consumer);
    }

    fn on_partitions_assigned(&mut self, consumer: &mut Consumer, partitions: &[(String, u32)]) {
        self.note("assigned", consumer, partitions);
    }

    fn on_partitions_lost(&mut self, consumer: &mut Consumer, partitions: &[(String, u32)]) {
        self.note("lost", consumer, partitions);
    }
}

fn broker(dir: &Path, clock: &Arc<SimClock>) -> BrokerRef {
    let config = BrokerConfig {
        clock: clock.clone(),
        max_poll_interval: INTERVAL,
        ..BrokerConfig::new(dir)
    };
    let broker = Broker::open(config).unwrap();
    broker.create_topic("t", 2).unwrap();
    send_numbered(&Broker::producer(&broker), "t", "v", 4);
    broker
}

fn listening(broker: &BrokerRef, auto_commit: bool, on_revoked: OnRevoked) -> (Consumer, Told) {
    let told = Told::default();
    let scribe = Scribe { told: Arc::clone(&told), on_revoked };
    let options = ConsumerOptions {
        rebalance_listener: Some(Box::new(scribe)),
        auto_commit_interval: Some(INTERVAL * 100),
        ..ConsumerOptions::default()
    };
    let group_id = "g".to_owned();
    let config = ConsumerConfig { group_id, auto_commit, offset_reset: OffsetReset::Earliest };
    let mut consumer = Broker::consumer_with(broker, config, options);
    consumer.subscribe(&["t"]).unwrap();
    (consumer, told)
}

fn take(told: &Told) -> Vec<String> {
    std::mem::take(&mut told.lock().unwrap())
}

#[test]
fn a_listener_hears_of_each_change_once_and_of_nothing_else() {
    let (dir, clock) = (scratch(), Arc::new(SimClock::new()));
    let broker = broker(dir.path(), &clock);
    let (mut first, told) = listening(&broker, false, |_| {});
    assert_eq!(take(&told), ["assigned t0 t1 of 2"]);
    first.poll(NOW).unwrap();
    assert!(take(&told).is_empty());
    let (mut second, told_second) = listening(&broker, false, |_| {});
    assert!(take(&told_second).is_empty(), "nothing is free yet");
    first.poll(NOW).unwrap();
    assert_eq!(take(&told), ["revoked t1 of 2"]);
    second.poll(NOW).unwrap();
    assert_eq!(take(&told_second), ["assigned t1 of 1"]);
    second.close().unwrap();
    assert_eq!(take(&told_second), ["revoked t1 of 1"]);
    first.poll(NOW).unwrap();
    assert_eq!(take(&told), ["assigned t1 of 2"]);
    first.unsubscribe().unwrap();
    assert_eq!(take(&told), ["revoked t0 t1 of 2"]);
    first.close().unwrap();
    assert!(take(&told).is_empty());
}

#[test]
fn what_is_revoked_can_still_be_committed_and_is_not_delivered_again() {
    let (dir, clock) = (scratch(), Arc::new(SimClock::new()));
    let broker = broker(dir.path(), &clock);
    let (mut first, told) = listening(&broker, false, |consumer| consumer.commit_sync().unwrap());
    assert_eq!(first.poll(NOW).unwrap().len(), 4);
    let mut second = subscribed(&broker, "g", "t");
    first.poll(NOW).unwrap();
    assert_eq!(take(&told).len(), 2);
    assert!(second.poll(NOW).unwrap().is_empty());
    assert_eq!(second.assignment().len(), 1);
    // Nothing was taken from it behind its back.
    first.commit_sync().unwrap();
}

#[test]
fn an_interval_commits_what_a_rebalance_takes_away() {
    let (dir, clock) = (scratch(), Arc::new(SimClock::new()));
    let broker = broker(dir.path(), &clock);
    let (mut first, _) = listening(&broker, true, |_| {});
    assert_eq!(first.poll(NOW).unwrap().len(), 4);
    let mut second = subscribed(&broker, "g", "t");
    first.poll(NOW).unwrap();
    assert!(second.poll(NOW).unwrap().is_empty());
    assert_eq!(second.assignment().len(), 1);
}

/// Another member, for a listener that can hold nothing.
static OTHER: Mutex<Option<Consumer>> = Mutex::new(None);

#[test]
fn nobody_takes_a_partition_over_before_the_listener_has_returned() {
    let (dir, clock) = (scratch(), Arc::new(SimClock::new()));
    let broker = broker(dir.path(), &clock);
    let (mut first, told) = listening(&broker, false, |_| {
        if let Some(other) = &mut *OTHER.lock().unwrap() {
            assert!(other.poll(NOW).unwrap().is_empty());
            assert!(other.assignment().is_empty(), "two owners");
        }
    });
    *OTHER.lock().unwrap() = Some(subscribed(&broker, "g", "t"));
    first.poll(NOW).unwrap();
    assert_eq!(take(&told).len(), 2);
    let mut other = OTHER.lock().unwrap().take().unwrap();
    assert_eq!(other.poll(NOW).unwrap().len(), 2);
    assert_eq!(other.assignment().len(), 1);
}

#[test]
fn who_was_silent_for_too_long_hears_of_a_loss_and_is_refused_its_commit() {
    let (dir, clock) = (scratch(), Arc::new(SimClock::new()));
    let broker = broker(dir.path(), &clock);
    let (mut first, told) = listening(&broker, false, |_| {});
    assert_eq!(first.poll(NOW).unwrap().len(), 4);
    clock.advance(INTERVAL * 2);
    let mut second = subscribed(&broker, "g", "t");
    assert_eq!(second.assignment().len(), 2);
    assert!(matches!(first.commit_sync(), Err(Error::NotAssigned { .. })));
    assert_eq!(take(&told), ["assigned t0 t1 of 2"], "it has not polled");
    first.poll(NOW).unwrap();
    assert_eq!(take(&told), ["lost t0 t1 of 0"]);
    // It has come back, and gets its share.
    second.poll(NOW).unwrap();
    assert_eq!(first.poll(NOW).unwrap().len(), 2);
    assert_eq!(take(&told).len(), 1);
}

#[test]
fn what_a_member_lost_and_got_back_at_once_is_delivered_again() {
    let (dir, clock) = (scratch(), Arc::new(SimClock::new()));
    let broker = broker(dir.path(), &clock);
    let (mut first, told) = listening(&broker, false, |_| {});
    assert_eq!(first.poll(NOW).unwrap().len(), 4);
    clock.advance(INTERVAL * 2);
    drop(subscribed(&broker, "g", "t"));
    assert_eq!(first.poll(NOW).unwrap().len(), 4, "somebody else may have done it");
    assert_eq!(take(&told)[1..], ["lost t0 t1 of 0", "assigned t0 t1 of 2"]);
    first.commit_sync().unwrap();
}

#[test]
fn a_listener_cannot_poll_or_change_the_assignment() {
    let (dir, clock) = (scratch(), Arc::new(SimClock::new()));
    let broker = broker(dir.path(), &clock);
    let (mut first, told) = listening(&broker, false, |consumer| {
        let refused = [
            consumer.poll(NOW).map(drop),
            consumer.poll_bytes(NOW).map(drop),
            consumer.subscribe(&["t"]),
            consumer.unsubscribe(),
            consumer.assign(&[("t", 0)]),
            consumer.close(),
        ];
        for outcome in refused {
            let refused = outcome.unwrap_err();
            assert!(matches!(refused, Error::InListener { .. }), "{refused}");
        }
        // What it may do is seek, for one.
        consumer.seek_to_beginning(&[]).unwrap();
    });
    first.unsubscribe().unwrap();
    assert_eq!(take(&told).len(), 2);
    first.subscribe(&["t"]).unwrap();
    assert_eq!(first.poll(NOW).unwrap().len(), 4);
}

#[test]
fn a_panic_of_a_listener_leaves_the_group_whole() {
    let (dir, clock) = (scratch(), Arc::new(SimClock::new()));
    let broker = broker(dir.path(), &clock);
    let (mut first, told) = listening(&broker, false, |_| panic!("a listener's own"));
    assert_eq!(first.poll(NOW).unwrap().len(), 4);
    let mut second = subscribed(&broker, "g", "t");
    for _ in 0..2 {
        let panicked = catch_unwind(AssertUnwindSafe(|| drop(first.poll(NOW))));
        assert!(panicked.is_err());
        assert_eq!(first.assignment().len(), 2, "it still owns what it was to give up");
        assert!(second.poll(NOW).unwrap().is_empty());
        assert!(second.assignment().is_empty());
    }
    assert_eq!(take(&told).len(), 3);
    first.commit_sync().unwrap();
    drop(first);
    assert!(second.poll(NOW).unwrap().is_empty());
    assert_eq!(second.assignment().len(), 2);
}
