//! Live consumers of a group share the partitions: one owner each, even, sticky,
//! and whatever changes hands, nothing is skipped.

#![allow(clippy::disallowed_methods, reason = "a member that stops polling does so in real time")]

mod support;

use merkql::Error;
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::consumer::{Consumer, OffsetReset};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use support::*;

fn with_partitions(dir: &Path, partitions: u32) -> BrokerRef {
    let broker = open(dir);
    broker.create_topic("t", partitions).unwrap();
    broker
}

/// The partitions that the consumer may seek in, which are those it owns.
fn owned(consumer: &mut Consumer, partitions: u32) -> BTreeSet<u32> {
    consumer.poll(NOW).unwrap();
    (0..partitions).filter(|number| consumer.seek("t", *number, 0).is_ok()).collect()
}

/// Lets every member poll often enough that all has changed hands.
fn settle(members: &mut [Consumer], partitions: u32) -> Vec<BTreeSet<u32>> {
    for _ in 0..2 {
        for member in members.iter_mut() {
            member.poll(NOW).unwrap();
        }
    }
    members.iter_mut().map(|member| owned(member, partitions)).collect()
}

fn assert_shared(shares: &[BTreeSet<u32>], partitions: u32) {
    let owned: Vec<u32> = shares.iter().flatten().copied().collect();
    let distinct: BTreeSet<u32> = owned.iter().copied().collect();
    assert_eq!(owned.len(), distinct.len(), "two owners: {shares:?}");
    assert_eq!(distinct, (0..partitions).collect(), "without an owner: {shares:?}");
    let sizes = shares.iter().map(BTreeSet::len);
    let (least, most) = (sizes.clone().min().unwrap(), sizes.max().unwrap());
    assert!(most - least <= 1, "uneven: {shares:?}");
}

#[test]
fn members_share_the_partitions_evenly_with_one_owner_each() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 7);
    let mut members = Vec::new();
    for _ in 0..4 {
        members.push(subscribed(&broker, "g", "t"));
        let shares = settle(&mut members, 7);
        assert_shared(&shares, 7);
    }
    // Of the others nobody knows.
    let mut stranger = subscribed(&broker, "h", "t");
    assert_eq!(owned(&mut stranger, 7).len(), 7);
}

#[test]
fn more_members_than_partitions_leave_some_idle_and_ready() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 2);
    let mut members: Vec<_> = (0..3).map(|_| subscribed(&broker, "g", "t")).collect();
    assert_shared(&settle(&mut members, 2), 2);
    members.remove(0);
    assert_shared(&settle(&mut members, 2), 2);
}

#[test]
fn a_member_keeps_what_it_need_not_give_up() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 6);
    let mut members: Vec<_> = (0..2).map(|_| subscribed(&broker, "g", "t")).collect();
    let before = settle(&mut members, 6);
    members.push(subscribed(&broker, "g", "t"));
    let after = settle(&mut members, 6);
    assert_shared(&after, 6);
    for (before, after) in before.iter().zip(&after) {
        assert!(after.is_subset(before), "{after:?} of {before:?}: moved without need");
    }
    members.pop();
    let last = settle(&mut members, 6);
    assert_shared(&last, 6);
    for (after, last) in after.iter().zip(&last) {
        assert!(after.is_subset(last), "{last:?} from {after:?}: moved without need");
    }
}

#[test]
fn a_member_leaves_by_close_and_by_drop() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 4);
    for leave in [|mut member: Consumer| member.close().unwrap(), drop] {
        let mut members: Vec<_> = (0..2).map(|_| subscribed(&broker, "g", "t")).collect();
        assert_shared(&settle(&mut members, 4), 4);
        leave(members.pop().unwrap());
        assert_eq!(owned(&mut members[0], 4).len(), 4, "at the very next poll");
    }
}

#[test]
fn a_member_that_waits_is_woken_when_it_may_take_over() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 1);
    let holder = subscribed(&broker, "g", "t");
    Broker::producer(&broker).send(&keyless("t", "v")).unwrap();
    let mut waiting = subscribed(&broker, "g", "t");
    let records = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(50));
            drop(holder);
        });
        waiting.poll(Duration::from_secs(20)).unwrap()
    });
    assert_eq!(values(&records), ["v"]);
}

#[test]
fn nothing_is_skipped_or_repeated_when_members_commit_before_they_poll() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 5);
    let producer = Broker::producer(&broker);
    let mut members: Vec<Consumer> = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut poll = |members: &mut Vec<Consumer>| {
        for member in members {
            for value in poll_values(member) {
                *seen.entry(value).or_default() += 1;
            }
            member.commit_sync().unwrap();
        }
    };
    for round in 0..30 {
        match round % 6 {
            0..=2 => members.push(subscribed(&broker, "g", "t")),
            3 => members.remove(0).close().unwrap(),
            4 => drop(members.pop()),
            _ => {}
        }
        send_numbered(&producer, "t", &format!("{round}-"), 9);
        poll(&mut members);
    }
    poll(&mut members);
    poll(&mut members);
    assert_eq!(seen.len(), 30 * 9, "skipped");
    assert!(seen.values().all(|times| *times == 1), "repeated: {seen:?}");
}

#[test]
fn a_rebalance_fails_no_commit_of_what_is_still_owned() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 2);
    send_numbered(&Broker::producer(&broker), "t", "v", 4);
    let mut first = subscribed(&broker, "g", "t");
    assert_eq!(first.poll(NOW).unwrap().len(), 4);
    let mut second = subscribed(&broker, "g", "t");
    assert!(second.poll(NOW).unwrap().is_empty(), "all is still the first one's");
    // The work at hand can be finished: what is taken away goes at the next poll.
    first.commit_sync().unwrap();
    first.poll(NOW).unwrap();
    assert!(second.poll(NOW).unwrap().is_empty(), "it was committed");
    assert_eq!(owned(&mut second, 2).len(), 1);
}

#[test]
fn the_commit_of_a_partition_that_was_given_up_is_refused() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 2);
    send_numbered(&Broker::producer(&broker), "t", "v", 4);
    let mut first = subscribed(&broker, "g", "t");
    assert_eq!(first.poll(NOW).unwrap().len(), 4);
    let mut second = subscribed(&broker, "g", "t");
    // Polls on without a commit, and so gives up what was never committed.
    assert!(first.poll(NOW).unwrap().is_empty());
    let again = second.poll(NOW).unwrap();
    assert_eq!(again.len(), 2, "what was not committed is delivered again");
    let lost = again[0].partition;
    match first.commit_sync() {
        Err(Error::NotAssigned { topic, partition }) => {
            assert_eq!((topic.as_str(), partition), ("t", lost));
        }
        other => panic!("{other:?}"),
    }
    // It is told once; the rest was committed, and the lost one was not.
    first.commit_sync().unwrap();
    drop((first, second));
    let rest = subscribed(&broker, "g", "t").poll(NOW).unwrap();
    assert_eq!(rest, again);
}

#[test]
fn a_member_that_stops_polling_loses_its_partitions_and_cannot_commit_them() {
    let dir = scratch();
    let broker = Broker::open(BrokerConfig {
        max_poll_interval: Duration::from_millis(40),
        ..BrokerConfig::new(dir.path())
    })
    .unwrap();
    send_numbered(&Broker::producer(&broker), "t", "v", 3);
    let mut stuck = subscribed(&broker, "g", "t");
    assert_eq!(stuck.poll(NOW).unwrap().len(), 3);
    thread::sleep(Duration::from_millis(80));
    let mut other = subscribed(&broker, "g", "t");
    assert_eq!(poll_values(&mut other), ["v0", "v1", "v2"]);
    let refused = stuck.commit_sync().unwrap_err();
    assert!(matches!(refused, Error::NotAssigned { partition: 0, .. }), "{refused}");
    assert!(refused.to_string().starts_with("t/0 is not assigned to this consumer"), "{refused}");
    other.commit_sync().unwrap();
    // Polling again, it is a member like any other.
    thread::sleep(Duration::from_millis(80));
    assert!(poll_values(&mut stuck).is_empty());
    stuck.seek("t", 0, 1).unwrap();
    assert_eq!(poll_values(&mut stuck), ["v1", "v2"]);
    stuck.commit_sync().unwrap();
}

#[test]
fn latest_skips_nothing_when_a_partition_changes_hands() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 2);
    let producer = Broker::producer(&broker);
    send_numbered(&producer, "t", "old", 4);
    let mut first = consumer_from(&broker, "g", OffsetReset::Latest);
    first.subscribe(&["t"]).unwrap();
    // Nobody has committed anything when the partitions move.
    send_numbered(&producer, "t", "new", 4);
    let mut second = consumer_from(&broker, "g", OffsetReset::Latest);
    second.subscribe(&["t"]).unwrap();
    let mut found: Vec<String> = poll_values(&mut first);
    found.extend(poll_values(&mut second));
    found.sort();
    assert_eq!(found, ["new0", "new1", "new2", "new3"]);
}

#[test]
fn positions_are_not_shared_but_commits_are() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 1);
    send_numbered(&Broker::producer(&broker), "t", "v", 5);
    let mut first = subscribed(&broker, "g", "t");
    assert_eq!(poll_values(&mut first).len(), 5);
    first.seek("t", 0, 2).unwrap();
    first.commit_sync().unwrap();
    assert_eq!(poll_values(&mut first), ["v2", "v3", "v4"]);
    drop(first);
    assert_eq!(poll_values(&mut subscribed(&broker, "g", "t")), ["v2", "v3", "v4"]);
}

#[test]
fn a_seek_moves_only_the_partition_that_it_names() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 2);
    send_numbered(&Broker::producer(&broker), "t", "v", 6);
    let mut consumer = subscribed(&broker, "g", "t");
    let first = consumer.poll(NOW).unwrap();
    consumer.seek("t", 1, 1).unwrap();
    assert_eq!(places(&consumer.poll(NOW).unwrap()), [(1, 1), (1, 2)]);
    consumer.seek("t", 0, 0).unwrap();
    consumer.seek("t", 1, 0).unwrap();
    assert_eq!(consumer.poll(NOW).unwrap(), first);
    consumer.seek("t", 0, 99).unwrap();
    assert!(consumer.poll(NOW).unwrap().is_empty(), "nothing there yet");
    for (topic, number) in [("t", 2), ("u", 0)] {
        let refused = consumer.seek(topic, number, 0).unwrap_err();
        assert!(matches!(refused, Error::NotAssigned { .. }), "{refused}");
    }
}

#[test]
fn members_may_want_different_topics() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    for topic in ["a", "b", "c"] {
        producer.send(&keyless(topic, topic)).unwrap();
    }
    let mut first = consumer(&broker, "g");
    let mut second = consumer(&broker, "g");
    first.subscribe(&["a", "b"]).unwrap();
    second.subscribe(&["b", "c"]).unwrap();
    let (mut found_first, mut found_second) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        found_first.extend(poll_values(&mut first));
        first.commit_sync().unwrap();
        found_second.extend(poll_values(&mut second));
        second.commit_sync().unwrap();
    }
    assert!(!found_first.contains(&"c".to_owned()));
    assert!(!found_second.contains(&"a".to_owned()));
    found_first.extend(found_second);
    found_first.sort();
    assert_eq!(found_first, ["a", "b", "c"]);
}

#[test]
fn members_on_threads_read_each_record_once() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 8);
    let done = AtomicBool::new(false);
    let work = || {
        let mut member = subscribed(&broker, "g", "t");
        let mut read = Vec::new();
        loop {
            let ends = done.load(Ordering::Acquire);
            let records = member.poll(Duration::from_millis(5)).unwrap();
            member.commit_sync().unwrap();
            read.extend(places(&records));
            if ends && records.is_empty() {
                return read;
            }
        }
    };
    let mut read = thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        let producer = Broker::producer(&broker);
        for _ in 0..50 {
            send_numbered(&producer, "t", "v", 16);
        }
        done.store(true, Ordering::Release);
        let read = workers.into_iter().flat_map(|worker| worker.join().unwrap());
        read.collect::<Vec<_>>()
    });
    // What the last ones to leave were about to hand over to each other.
    read.extend(places(&subscribed(&broker, "g", "t").poll(NOW).unwrap()));
    let distinct: BTreeSet<_> = read.iter().copied().collect();
    assert_eq!(distinct.len(), 800, "skipped");
    assert_eq!(read.len(), 800, "repeated");
}

#[test]
fn a_member_tells_what_it_owns_where_it_stands_and_what_its_group_has_committed() {
    let dir = scratch();
    let broker = with_partitions(dir.path(), 2);
    let topic = broker.topic("t").unwrap();
    let key =
        (0..1000).map(|n| format!("k{n}")).find(|key| topic.partition_of_key(key) == 1).unwrap();
    for value in ["a", "b"] {
        let sent = Broker::producer(&broker).send(&keyed("t", &key, value)).unwrap();
        assert_eq!(sent.partition, 1);
    }
    let mut consumer = subscribed(&broker, "g", "t");
    assert_eq!(consumer.assignment(), [("t".to_owned(), 0), ("t".to_owned(), 1)]);
    assert_eq!(consumer.position("t", 1).unwrap(), 0);
    assert_eq!(consumer.committed("t", 1).unwrap(), None);

    consumer.poll(NOW).unwrap();
    assert_eq!(consumer.position("t", 1).unwrap(), 2);
    assert_eq!(consumer.committed("t", 1).unwrap(), None);
    consumer.commit_sync().unwrap();
    assert_eq!(consumer.committed("t", 1).unwrap(), Some(2));
    assert_eq!(consumer.committed("t", 0).unwrap(), Some(0));

    assert!(matches!(consumer.position("t", 2), Err(Error::NotAssigned { .. })));
    assert!(matches!(consumer.committed("t", 2), Err(Error::UnknownPartition { .. })));
    assert!(matches!(consumer.committed("other", 0), Err(Error::UnknownTopic { .. })));
    consumer.close().unwrap();
    assert!(consumer.assignment().is_empty());
    assert!(matches!(consumer.position("t", 1), Err(Error::Closed)));
}

#[test]
fn what_a_member_lost_by_silence_is_not_in_its_assignment() {
    let dir = scratch();
    let config = BrokerConfig {
        max_poll_interval: Duration::from_millis(20),
        ..BrokerConfig::new(dir.path())
    };
    let broker = Broker::open(config).unwrap();
    broker.create_topic("t", 1).unwrap();
    let silent = subscribed(&broker, "g", "t");
    assert_eq!(silent.assignment().len(), 1);
    thread::sleep(Duration::from_millis(40));
    let other = subscribed(&broker, "g", "t");
    assert_eq!(other.assignment().len(), 1);
    assert!(silent.assignment().is_empty());
}
