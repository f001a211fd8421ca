//! What the pages in `docs/` name is there, and what is there is named.

use merkql::Error;
use merkql::broker::{Broker, BrokerConfig};
use merkql::compression::Compression;
use merkql::consumer::{
    Consumer, ConsumerConfig, ConsumerOptions, OffsetReset, RebalanceListener, WakeupHandle,
};
use merkql::partition::Partition;
use merkql::producer::{IdempotentProducer, PendingSend, Producer, ProducerOptions, Transaction};
use merkql::record::{BytesProducerRecord, BytesRecord, ProducerRecord, Record, RecordMetadata};
use merkql::topic::{Compaction, Topic, TopicConfig};
use merkql::tree::Proof;
use std::collections::BTreeSet;

/// The names of functions and constructors, which the compiler has looked up.
macro_rules! paths {
    ($($of:ident::{$($name:ident),* $(,)?}),* $(,)?) => {
        vec![$($({ let _ = $of::$name; concat!(stringify!($of), "::", stringify!($name)) }),*),*]
    };
}

/// The names of fields.
macro_rules! fields {
    ($($of:ident::{$($name:ident),* $(,)?}),* $(,)?) => {
        vec![$($({
            let _ = |of: &$of| { let _ = &of.$name; };
            concat!(stringify!($of), "::", stringify!($name))
        }),*),*]
    };
}

/// The names of types, and the errors that have fields.
macro_rules! types {
    ($($name:ty),* $(,)?) => {
        vec![$({ let _ = size_of::<$name>(); stringify!($name) }),*]
    };
}

macro_rules! errors {
    ($($name:ident),* $(,)?) => {
        vec![$({
            let _ = |error: &Error| matches!(error, Error::$name { .. });
            concat!("Error::", stringify!($name))
        }),*]
    };
}

fn consuming() -> Vec<&'static str> {
    paths![Consumer::{
        subscribe, unsubscribe, subscription, assign, assignment, poll, poll_bytes, poll_async,
        poll_bytes_async, seek, seek_to_beginning, seek_to_end, seek_to_timestamp, position,
        committed, offsets_for_times, beginning_offsets, end_offsets, lag, pause, resume, paused,
        commit_sync, commit_sync_offsets, wakeup_handle, close,
    }]
}

fn producing() -> Vec<&'static str> {
    paths![
        Producer::{
            send, send_bytes, send_batch, send_bytes_batch, enqueue, enqueue_bytes, flush,
        },
        IdempotentProducer::{send_batch, transaction},
        Transaction::{send, send_offsets, commit, abort},
        BytesProducerRecord::{with_partition},
        Compression::{None, Lz4},
    ]
}

fn administering() -> Vec<&'static str> {
    paths![
        Broker::{
            topic, topics, create_topic, create_topic_with, ensure_topic, delete_topic,
            add_partitions, delete_records, describe_topic, groups, describe_group,
            reset_group_offsets, delete_group, maintain, transaction, idempotent_producer,
        },
        Topic::{partition_of_key, partition_ids, config},
        Partition::{merkle_root, proof, consistency_proof},
        Proof::{proves},
        OffsetReset::{Earliest, Latest},
    ]
}

fn settings() -> Vec<&'static str> {
    fields![
        BrokerConfig::{
            auto_create_topics, default_partitions, max_record_bytes, max_poll_interval,
            index_interval_bytes, compression,
        },
        ProducerOptions::{flush_interval, compression},
        ConsumerConfig::{auto_commit},
        ConsumerOptions::{
            max_poll_records, max_poll_bytes, max_poll_interval, auto_commit_interval,
        },
        TopicConfig::{
            retention_records, retention_bytes, retention_age, segment_bytes, segment_age,
            compaction,
        },
        Compaction::{tombstone_retention},
    ]
}

fn ours() -> Vec<&'static str> {
    let _ = size_of::<Box<dyn RebalanceListener>>();
    let _ = PendingSend::<Record>::wait;
    let mut ours = vec!["RebalanceListener", "PendingSend::wait"];
    ours.extend(types![
        Broker,
        Producer,
        PendingSend,
        ProducerRecord,
        Record,
        BytesProducerRecord,
        BytesRecord,
        RecordMetadata,
        Consumer,
        WakeupHandle,
        TopicConfig,
    ]);
    ours.extend(errors![
        AlreadyOpen,
        NotAssigned,
        SubscriptionConflict,
        NotText,
        TopicDeleted,
        KeyRequired,
    ]);
    ours.extend([consuming(), producing(), administering(), settings()].concat());
    ours
}

/// What stands between backticks.
fn spans(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The spans of our columns, and of the text beside the tables' rows.
fn of_ours(page: &str) -> BTreeSet<&str> {
    let rows = page.lines().skip_while(|line| !line.starts_with("##"));
    rows.flat_map(|line| match line.strip_prefix("| ") {
        Some(row) => spans(row.split_once(" | ").map_or("", |(_, ours)| ours)),
        None => spans(line),
    })
    .collect()
}

#[test]
fn the_comparison_with_kafka_names_what_is_there_and_all_of_it() {
    let page = include_str!("../docs/kafka.md");
    let ours = ours();
    // Of Kafka, of Rust, and of rules.
    let others = [
        "acks=all",
        "initTransactions",
        "offsetsForTimes",
        "auto.offset.reset",
        "none",
        "by_duration",
        "read_committed",
        "&mut self",
        ".await",
        "a-z A-Z 0-9 . _ -",
    ];
    let named = of_ours(page);
    let is_called = |path: &str, name: &str| {
        path == name || path.rsplit_once("::").is_some_and(|(_, last)| last == name)
    };
    let unknown = named
        .iter()
        .filter(|name| !others.contains(name) && !ours.iter().any(|path| is_called(path, name)));
    assert_eq!(unknown.collect::<Vec<_>>(), Vec::<&&str>::new(), "named, and not there");
    let missing = ours.iter().filter(|path| !named.iter().any(|name| is_called(path, name)));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&&str>::new(), "there, and not named");
}

#[test]
fn every_call_of_a_consumer_has_its_row() {
    let ours = consuming();
    let sources = [
        include_str!("../src/consumer/commits.rs"),
        include_str!("../src/consumer/future.rs"),
        include_str!("../src/consumer/membership.rs"),
        include_str!("../src/consumer/mod.rs"),
        include_str!("../src/consumer/offsets.rs"),
        include_str!("../src/consumer/positions.rs"),
    ];
    let calls = sources.iter().flat_map(|source| source.lines());
    let calls = calls.filter_map(|line| line.strip_prefix("    pub fn ")?.split('(').next());
    let calls: BTreeSet<String> = calls.map(|name| format!("Consumer::{name}")).collect();
    let listed: BTreeSet<String> = ours.iter().map(|path| (*path).to_owned()).collect();
    assert_eq!(calls, listed);
}

#[test]
fn the_pages_are_found_from_the_front_page() {
    let front = include_str!("../README.md");
    for page in ["docs/kafka.md", "docs/from-0.2.md"] {
        assert!(front.contains(&format!("({page})")), "{page}");
    }
}
