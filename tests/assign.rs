//! Consumers that choose their partitions themselves.

mod support;

use merkql::Error;
use merkql::broker::{Broker, BrokerRef};
use merkql::consumer::OffsetReset;
use std::path::Path;
use support::*;

fn with_records(dir: &Path) -> BrokerRef {
    let broker = open(dir);
    broker.create_topic("t", 2).unwrap();
    send_numbered(&Broker::producer(&broker), "t", "v", 4);
    broker
}

#[test]
fn an_assigned_consumer_reads_what_it_chose_whoever_else_does() {
    let dir = scratch();
    let broker = with_records(dir.path());
    let mut member = subscribed(&broker, "g", "t");
    let (mut first, mut second) = (consumer(&broker, "g"), consumer(&broker, "g"));
    for alone in [&mut first, &mut second] {
        alone.assign(&[("t", 1)]).unwrap();
        assert_eq!(alone.assignment(), [("t".to_owned(), 1)]);
        assert!(alone.subscription().is_empty());
        assert_eq!(places(&alone.poll(NOW).unwrap()), [(1, 0), (1, 1)]);
    }
    // The member owns everything, as if they were not there.
    assert_eq!(member.poll(NOW).unwrap().len(), 4);
    assert_eq!(member.assignment().len(), 2);
}

#[test]
fn a_partition_to_be_assigned_has_to_exist() {
    let dir = scratch();
    let broker = with_records(dir.path());
    let mut alone = consumer(&broker, "g");
    alone.assign(&[("t", 0)]).unwrap();
    for unknown in [("t", 2), ("u", 0)] {
        let refused = alone.assign(&[("t", 1), unknown]).unwrap_err();
        match refused {
            Error::UnknownPartition { topic, partition: 2 } => assert_eq!(topic, "t"),
            Error::UnknownTopic { topic } => assert_eq!(topic, "u"),
            other => panic!("{other}"),
        }
    }
    assert_eq!(alone.assignment(), [("t".to_owned(), 0)], "as it was");
}

#[test]
fn another_assignment_takes_the_place_of_the_first_and_positions_stay() {
    let dir = scratch();
    let broker = with_records(dir.path());
    let mut alone = consumer(&broker, "g");
    alone.assign(&[("t", 0)]).unwrap();
    assert_eq!(places(&alone.poll(NOW).unwrap()), [(0, 0), (0, 1)]);
    alone.assign(&[("t", 1), ("t", 0), ("t", 1)]).unwrap();
    assert_eq!(places(&alone.poll(NOW).unwrap()), [(1, 0), (1, 1)]);
    alone.assign(&[("t", 1)]).unwrap();
    assert!(matches!(alone.position("t", 0), Err(Error::NotAssigned { .. })));
    alone.assign(&[]).unwrap();
    assert!(matches!(alone.poll(NOW), Err(Error::NotSubscribed)));
}

#[test]
fn an_assigned_consumer_begins_where_its_group_has_committed_or_by_the_policy() {
    let dir = scratch();
    let broker = with_records(dir.path());
    let mut alone = consumer_from(&broker, "g", OffsetReset::Latest);
    alone.assign(&[("t", 0), ("t", 1)]).unwrap();
    assert!(alone.poll(NOW).unwrap().is_empty());
    alone.seek("t", 0, 1).unwrap();
    assert_eq!(places(&alone.poll(NOW).unwrap()), [(0, 1)]);
    alone.commit_sync().unwrap();
    alone.commit_sync_offsets(&[(("t", 1), 1)]).unwrap();
    // The next one is a member, and finds what was committed.
    let member = subscribed(&broker, "g", "t");
    assert_eq!(member.position("t", 0).unwrap(), 2);
    assert_eq!(member.position("t", 1).unwrap(), 1);
}

#[test]
fn an_assigned_consumer_commits_nothing_that_a_live_member_owns() {
    let dir = scratch();
    let broker = with_records(dir.path());
    let mut member = subscribed(&broker, "g", "t");
    let mut alone = consumer(&broker, "g");
    alone.assign(&[("t", 0)]).unwrap();
    assert_eq!(alone.poll(NOW).unwrap().len(), 2);
    for refused in [alone.commit_sync(), alone.commit_sync_offsets(&[(("t", 0), 1)])] {
        assert!(matches!(refused, Err(Error::NotAssigned { partition: 0, .. })), "{refused:?}");
    }
    let unknown = alone.commit_sync_offsets(&[(("t", 2), 0)]);
    assert!(matches!(unknown, Err(Error::UnknownPartition { .. })), "{unknown:?}");
    assert_eq!(alone.committed("t", 0).unwrap(), None);
    member.close().unwrap();
    alone.commit_sync().unwrap();
    assert_eq!(alone.committed("t", 0).unwrap(), Some(2));
}

#[test]
fn subscriptions_and_assignments_do_not_mix() {
    let dir = scratch();
    let broker = with_records(dir.path());
    let mut consumer = consumer(&broker, "g");
    consumer.subscribe(&["t"]).unwrap();
    let conflict = consumer.assign(&[("t", 0)]).unwrap_err();
    assert_eq!(
        conflict.to_string(),
        "the consumer has subscribed to topics, so it cannot be assigned partitions; \
         unsubscribe first"
    );
    consumer.unsubscribe().unwrap();
    consumer.assign(&[("t", 0)]).unwrap();
    assert!(matches!(consumer.subscribe(&["t"]), Err(Error::SubscriptionConflict { .. })));
    assert_eq!(consumer.assignment(), [("t".to_owned(), 0)], "as it was");
    consumer.unsubscribe().unwrap();
    consumer.subscribe(&["t"]).unwrap();
    assert_eq!(consumer.poll(NOW).unwrap().len(), 4);
}

#[test]
fn an_assigned_consumer_commits_at_close_if_it_is_to() {
    let dir = scratch();
    let broker = with_records(dir.path());
    let config = merkql::consumer::ConsumerConfig {
        group_id: "g".to_owned(),
        auto_commit: true,
        offset_reset: OffsetReset::Earliest,
    };
    let mut alone = Broker::consumer(&broker, config);
    alone.assign(&[("t", 1)]).unwrap();
    assert_eq!(alone.poll(NOW).unwrap().len(), 2);
    alone.close().unwrap();
    assert_eq!(places(&subscribed(&broker, "g", "t").poll(NOW).unwrap()), [(0, 0), (0, 1)]);
}
