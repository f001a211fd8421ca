//! Rebalances among many members: fast to settle, even, and moving no more than
//! they have to.

mod support;

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::consumer::{Consumer, ConsumerOptions};
use merkql_sim::clock::SimClock;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use support::*;

type Owned = BTreeSet<(String, u32)>;

fn owned(members: &[Consumer]) -> Vec<Owned> {
    members.iter().map(|member| member.assignment().into_iter().collect()).collect()
}

fn poll_all(members: &mut [Consumer]) {
    for member in members {
        member.poll(NOW).unwrap();
    }
}

fn loads(members: &[Consumer]) -> Vec<usize> {
    owned(members).iter().map(BTreeSet::len).collect()
}

fn subscribed_to(broker: &BrokerRef, topics: &[&str]) -> Consumer {
    let mut member = consumer(broker, "g");
    member.subscribe(topics).unwrap();
    member
}

#[test]
fn a_hundred_members_over_a_thousand_partitions_settle_within_two_polls_each() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("t", 1000).unwrap();
    let mut members: Vec<Consumer> = (0..100).map(|_| subscribed(&broker, "g", "t")).collect();
    poll_all(&mut members);
    poll_all(&mut members);
    assert_eq!(loads(&members), [10; 100]);

    let before = owned(&members[1..]);
    members.remove(0);
    poll_all(&mut members);
    let after = owned(&members);
    assert!(after.iter().zip(&before).all(|(after, before)| after.is_superset(before)));
    assert_eq!(after.iter().map(BTreeSet::len).sum::<usize>(), 1000);
    assert!(loads(&members).iter().all(|load| (10..=11).contains(load)));

    members.push(subscribed(&broker, "g", "t"));
    poll_all(&mut members);
    poll_all(&mut members);
    assert_eq!(loads(&members), [10; 100]);
    let moved = owned(&members)
        .iter()
        .zip(&after)
        .map(|(now, before)| before.difference(now).count())
        .sum::<usize>();
    assert_eq!(moved, 10, "only what the new one gets");
}

#[test]
fn members_with_different_subscriptions_share_as_evenly_as_these_permit() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("x", 4).unwrap();
    broker.create_topic("y", 2).unwrap();
    // The first two may have what the third can't, and the third what the first can't.
    let mut members = vec![
        subscribed_to(&broker, &["x"]),
        subscribed_to(&broker, &["x", "y"]),
        subscribed_to(&broker, &["y"]),
    ];
    for _ in 0..2 {
        poll_all(&mut members);
    }
    assert_eq!(loads(&members), [2, 2, 2]);
    let settled = owned(&members);
    poll_all(&mut members);
    assert_eq!(owned(&members), settled);
}

#[test]
fn topics_that_come_later_are_shared_without_moving_what_was_there() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("x", 6).unwrap();
    let mut members: Vec<Consumer> = (0..3).map(|_| subscribed_to(&broker, &["x", "y"])).collect();
    poll_all(&mut members);
    poll_all(&mut members);
    let before = owned(&members);
    broker.create_topic("nobody's", 5).unwrap_err();
    broker.create_topic("nobodys", 5).unwrap();
    poll_all(&mut members);
    assert_eq!(owned(&members), before);
    broker.create_topic("y", 3).unwrap();
    poll_all(&mut members);
    assert_eq!(loads(&members), [3, 3, 3]);
    assert!(owned(&members).iter().zip(&before).all(|(now, before)| now.is_superset(before)));
}

#[test]
fn a_member_gives_up_the_topics_that_it_no_longer_reads() {
    let dir = scratch();
    let broker = open(dir.path());
    for topic in ["x", "y"] {
        broker.create_topic(topic, 2).unwrap();
        send_numbered(&Broker::producer(&broker), topic, topic, 2);
    }
    let mut member = subscribed_to(&broker, &["x", "y"]);
    assert_eq!(member.poll(NOW).unwrap().len(), 4);
    member.subscribe(&["y"]).unwrap();
    assert_eq!(loads(&[member]), [2]);
}

#[test]
fn each_member_has_a_patience_of_its_own() {
    let (dir, clock) = (scratch(), Arc::new(SimClock::new()));
    let config = BrokerConfig { clock: clock.clone(), ..BrokerConfig::new(dir.path()) };
    let broker = Broker::open(config).unwrap();
    broker.create_topic("t", 2).unwrap();
    let mut members = Vec::new();
    for seconds in [1, 100] {
        let options = ConsumerOptions {
            max_poll_interval: Some(Duration::from_secs(seconds)),
            ..ConsumerOptions::default()
        };
        let config = merkql::consumer::ConsumerConfig {
            group_id: "g".to_owned(),
            auto_commit: false,
            offset_reset: merkql::consumer::OffsetReset::Earliest,
        };
        let mut member = Broker::consumer_with(&broker, config, options);
        member.subscribe(&["t"]).unwrap();
        members.push(member);
    }
    poll_all(&mut members);
    poll_all(&mut members);
    assert_eq!(loads(&members), [1, 1]);
    clock.advance(Duration::from_secs(1));
    members[1].poll(NOW).unwrap();
    assert_eq!(loads(&members), [1, 1], "its time is not over yet");
    clock.advance(Duration::from_secs(1));
    members[1].poll(NOW).unwrap();
    assert_eq!(loads(&members), [0, 2]);
    clock.advance(Duration::from_secs(90));
    members[0].poll(NOW).unwrap();
    members[1].poll(NOW).unwrap();
    members[0].poll(NOW).unwrap();
    assert_eq!(loads(&members), [1, 1]);
}

#[test]
fn whatever_members_do_each_partition_has_one_owner_and_each_record_one_delivery() {
    let dir = scratch();
    let broker = open(dir.path());
    for topic in ["x", "y", "z"] {
        broker.create_topic(topic, 3).unwrap();
    }
    let producer = Broker::producer(&broker);
    let subscriptions = [&["x", "y"][..], &["y", "z"], &["x", "y", "z"], &["z"]];
    let mut members: Vec<Consumer> = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    // One that wants everything stays throughout.
    members.push(subscribed_to(&broker, &["x", "y", "z"]));
    for round in 0..60_usize {
        for topic in ["x", "y", "z"] {
            send_numbered(&producer, topic, &format!("{topic}{round}-"), 3);
        }
        match round % 5 {
            0 | 2 => members.push(subscribed_to(&broker, subscriptions[round % 4])),
            1 if members.len() > 2 => drop(members.remove(1 + round % (members.len() - 1))),
            3 => {
                let last = members.len() - 1;
                if last > 0 {
                    members[last].subscribe(subscriptions[(round + 1) % 4]).unwrap();
                }
            }
            _ => {}
        }
        for index in 0..members.len() {
            let index = (index * 7 + round) % members.len();
            for value in poll_values(&mut members[index]) {
                *seen.entry(value).or_default() += 1;
            }
            members[index].commit_sync().unwrap();
        }
        let owned = owned(&members);
        let distinct: BTreeSet<&(String, u32)> = owned.iter().flatten().collect();
        assert_eq!(distinct.len(), owned.iter().map(BTreeSet::len).sum::<usize>(), "two owners");
    }
    members.truncate(1);
    for value in poll_values(&mut members[0]) {
        *seen.entry(value).or_default() += 1;
    }
    assert_eq!(seen.len(), 60 * 9, "skipped");
    assert!(seen.values().all(|times| *times == 1), "repeated: {seen:?}");
}
