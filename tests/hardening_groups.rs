//! Groups whose members wait: they give up what is meant for others at once,
//! they count as alive, and whoever comes to an empty group begins by its own
//! policy.

mod support;

use merkql::broker::{Broker, BrokerConfig};
use merkql::consumer::{Consumer, OffsetReset};
use std::thread;
use std::time::{Duration, Instant};
use support::*;

/// Which of the two partitions the consumer has.
fn owned(consumer: &mut Consumer) -> Vec<u32> {
    (0..2).filter(|partition| consumer.seek("t", *partition, 0).is_ok()).collect()
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a member blocks in real time")]
fn a_member_that_waits_gives_up_its_share_as_soon_as_another_comes() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("t", 2).unwrap();
    let mut waiting = subscribed(&broker, "g", "t");
    let mut newcomer = consumer(&broker, "g");
    thread::scope(|scope| {
        let polled = scope.spawn(|| waiting.poll(Duration::from_secs(30)).unwrap());
        thread::sleep(Duration::from_millis(50));
        newcomer.subscribe(&["t"]).unwrap();
        let begun = Instant::now();
        while owned(&mut newcomer).is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(5), "nothing is given up");
            assert_eq!(newcomer.poll(Duration::from_millis(20)).unwrap(), []);
        }
        assert!(!polled.is_finished(), "it waits on");
        let sent = Broker::producer(&broker).send_batch(&numbered("t", "v", 2)).unwrap();
        let [kept, given] = [polled.join().unwrap(), newcomer.poll(NOW).unwrap()];
        assert_eq!((kept.len(), given.len()), (1, 1));
        assert!(sent.contains(&kept[0]) && sent.contains(&given[0]) && kept != given);
    });
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a member blocks in real time")]
fn a_member_that_waits_longer_than_the_poll_interval_stays_one() {
    let dir = scratch();
    let max_poll_interval = Duration::from_millis(1500);
    let config = BrokerConfig { max_poll_interval, ..BrokerConfig::new(dir.path()) };
    let broker = Broker::open(config).unwrap();
    broker.create_topic("t", 2).unwrap();
    let mut waiting = subscribed(&broker, "g", "t");
    let mut other = subscribed(&broker, "g", "t");
    for _ in 0..2 {
        waiting.poll(NOW).unwrap();
        other.poll(NOW).unwrap();
    }
    assert_eq!((owned(&mut waiting).len(), owned(&mut other).len()), (1, 1));
    thread::scope(|scope| {
        let polled = scope.spawn(|| waiting.poll(Duration::from_secs(4)).unwrap());
        while !polled.is_finished() {
            // Unlike a poll of the other, sleeping here wakes nobody.
            thread::sleep(Duration::from_millis(20));
            assert_eq!(other.poll(NOW).unwrap(), []);
            assert_eq!(owned(&mut other).len(), 1, "the one that waits is taken for dead");
        }
        assert_eq!(polled.join().unwrap(), []);
    });
    waiting.commit_sync().unwrap();
    assert_eq!(owned(&mut waiting).len(), 1);
}

#[test]
fn whoever_comes_to_an_empty_group_begins_by_its_own_policy() {
    for commits in [false, true] {
        let dir = scratch();
        let broker = open(dir.path());
        let producer = Broker::producer(&broker);
        send_numbered(&producer, "t", "early ", 2);
        let mut latest = consumer_from(&broker, "g", OffsetReset::Latest);
        latest.subscribe(&["t"]).unwrap();
        assert_eq!(poll_values(&mut latest), [""; 0]);
        send_numbered(&producer, "t", "late ", 1);
        assert_eq!(poll_values(&mut latest), ["late 0"]);
        if commits {
            latest.commit_sync().unwrap();
        }
        latest.close().unwrap();
        let mut earliest = subscribed(&broker, "g", "t");
        let expected: &[&str] = if commits { &[] } else { &["early 0", "early 1", "late 0"] };
        assert_eq!(poll_values(&mut earliest), expected);
        drop(earliest);
        // And the other way round.
        let mut latest = consumer_from(&broker, "h", OffsetReset::Latest);
        drop(subscribed(&broker, "h", "t"));
        latest.subscribe(&["t"]).unwrap();
        assert_eq!(poll_values(&mut latest), [""; 0]);
    }
}
