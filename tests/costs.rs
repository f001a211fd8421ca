//! What the log costs, counted at the seam: syncs, writes, files, bytes.

mod support;

use merkql::broker::{Broker, BrokerConfig};
use std::path::Path;
use support::watched::{Call, Op, Watched};
use support::*;

/// The syncs of one commit, apart from those of the checkpoint and of the
/// preparation of journal files that it may have carried as well.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
struct Syncs {
    /// Syncs of a journal file right after a block was written to it.
    commits: usize,
    /// Syncs of a journal file that zeroes were written to, and of its name.
    preparations: usize,
    /// Syncs of everything else: partition files, indexes, manifest slots.
    checkpoints: usize,
}

impl Syncs {
    fn of(calls: &[Call]) -> Self {
        let mut syncs = Self::default();
        for (index, call) in calls.iter().enumerate().filter(|(_, call)| call.op.is_sync()) {
            let before = calls[..index].iter().rev().find(|before| {
                before.path == call.path && matches!(before.op, Op::Write | Op::Allocate | Op::Sync)
            });
            let wrote = before.map(|before| before.op);
            if call.is_on_journal_file() && wrote == Some(Op::Write) {
                syncs.commits += 1;
            } else if call.is_on_journal_file() || call.path.ends_with("journal") {
                syncs.preparations += 1;
            } else {
                syncs.checkpoints += 1;
            }
        }
        syncs
    }

    fn total(self) -> usize {
        self.commits + self.preparations + self.checkpoints
    }
}

/// A broker with a topic that was written to, so that its files are there.
fn warm(window: &Watched, config: BrokerConfig, partitions: u32) -> merkql::broker::BrokerRef {
    let broker = Broker::open(config).unwrap();
    broker.create_topic("t", partitions).unwrap();
    send_numbered(&Broker::producer(&broker), "t", "warm", 2 * partitions as usize);
    window.take();
    broker
}

#[test]
fn a_send_is_one_sync() {
    let dir = scratch();
    let window = Watched::default();
    let broker = warm(&window, window.config(dir.path()), 1);
    let producer = Broker::producer(&broker);
    for _ in 0..5 {
        producer.send(&keyless("t", "v")).unwrap();
        let calls = window.take();
        assert_eq!(calls.iter().filter(|call| call.op.is_sync()).count(), 1, "{calls:?}");
        assert_eq!(Syncs::of(&calls).commits, 1);
    }
}

#[test]
fn a_batch_is_one_sync_whatever_partitions_and_topics_it_touches() {
    let dir = scratch();
    let window = Watched::default();
    let broker = warm(&window, window.config(dir.path()), 12);
    let producer = Broker::producer(&broker);
    producer.send(&keyless("u", "v")).unwrap();
    window.take();
    let mut batch = numbered("t", "v", 24);
    batch.push(keyless("u", "v"));
    producer.send_batch(&batch).unwrap();
    assert_eq!(window.take_syncs(), 1);
}

#[test]
fn pending_sends_and_commits_share_a_sync() {
    let dir = scratch();
    let window = Watched::default();
    let broker = warm(&window, window.config(dir.path()), 3);
    let producer = Broker::producer(&broker);
    let pending: Vec<_> =
        (0..10).map(|_| producer.enqueue(&numbered("t", "v", 6)).unwrap()).collect();
    assert_eq!(window.take_syncs(), 0, "nothing is written before somebody waits");
    for pending in pending {
        pending.wait().unwrap();
    }
    assert_eq!(window.take_syncs(), 1);
    let mut consumer = subscribed(&broker, "g", "t");
    consumer.poll(NOW).unwrap();
    consumer.commit_sync().unwrap();
    assert_eq!(window.take_syncs(), 1, "a commit over three partitions");
}

#[test]
fn what_changes_nothing_writes_nothing() {
    let dir = scratch();
    let window = Watched::default();
    let broker = warm(&window, window.config(dir.path()), 2);
    let producer = Broker::producer(&broker);
    let mut consumer = subscribed(&broker, "g", "t");
    consumer.poll(NOW).unwrap();
    consumer.commit_sync().unwrap();
    let mut nobody = subscribed(&broker, "h", "not-there");
    window.take();

    assert!(consumer.poll(NOW).unwrap().is_empty());
    consumer.commit_sync().unwrap();
    assert!(nobody.poll(NOW).unwrap().is_empty());
    nobody.commit_sync().unwrap();
    assert!(producer.send_batch(&[]).unwrap().is_empty());
    producer.flush().unwrap();
    broker.create_topic("t", 2).unwrap();
    broker.ensure_topic("t").unwrap();
    consumer.close().unwrap();
    let changes: Vec<_> = window.take().into_iter().filter(|call| call.op.is_change()).collect();
    assert_eq!(changes, []);
}

/// A journal and segments so small that a thousand sends pass many of them.
fn small(window: &Watched, dir: &Path) -> BrokerConfig {
    BrokerConfig {
        journal_initial_bytes: 64 << 10,
        journal_max_bytes: 256 << 10,
        segment_bytes: 32 << 10,
        ..window.config(dir)
    }
}

#[test]
fn a_thousand_sends_are_a_thousand_syncs_and_those_of_checkpoints() {
    let dir = scratch();
    let window = Watched::default();
    let broker = warm(&window, small(&window, dir.path()), 1);
    let producer = Broker::producer(&broker);
    let value = "v".repeat(200);
    let mut all = Vec::new();
    let mut most = 0;
    for _ in 0..1000 {
        producer.send(&keyless("t", value.as_str())).unwrap();
        let calls = window.take();
        most = most.max(Syncs::of(&calls).total());
        all.extend(calls);
    }
    let syncs = Syncs::of(&all);
    let blocks =
        all.iter().filter(|call| call.op == Op::Write && call.is_on_journal_file()).count();
    assert_eq!(syncs.commits, blocks, "each block is synced, and once");
    // Blocks take a page each. A link block may end a file that does not name its successor.
    let rolls = 1000 * 4096 / (64 << 10);
    assert!((1000..1000 + rolls).contains(&blocks), "{blocks} blocks");
    assert!(syncs.checkpoints > 0 && syncs.preparations > 0, "the journal was to roll: {syncs:?}");
    assert!(syncs.checkpoints + syncs.preparations < 250, "{syncs:?}");
    assert!(most < 24, "{most} syncs with one send");
}

#[test]
fn the_cost_of_a_send_does_not_grow_with_the_log() {
    let dir = scratch();
    let window = Watched::default();
    let broker = warm(&window, small(&window, dir.path()), 1);
    let producer = Broker::producer(&broker);
    let value = "v".repeat(200);
    let cost = || {
        window.take();
        for _ in 0..200 {
            producer.send(&keyless("t", value.as_str())).unwrap();
        }
        let calls = window.take();
        let changes = calls.iter().filter(|call| call.op.is_change()).count();
        (changes, Syncs::of(&calls).total())
    };
    cost();
    let (early, early_syncs) = cost();
    for _ in 0..40 {
        send_numbered(&producer, "t", "fill", 1000);
    }
    cost();
    let (late, late_syncs) = cost();
    assert!(late <= early + early / 4, "{early} calls at first, {late} at 40,000 records");
    assert!(late_syncs <= early_syncs + early_syncs / 4, "{early_syncs} then {late_syncs}");
}

#[test]
fn the_journal_is_recycled_and_stays_within_its_bound() {
    let dir = scratch();
    let window = Watched::default();
    let broker = warm(&window, small(&window, dir.path()), 1);
    let producer = Broker::producer(&broker);
    let mut created = 0;
    for round in 0..4 {
        for _ in 0..250 {
            producer.send(&keyless("t", "v")).unwrap();
        }
        let journal: u64 =
            files(dir.path(), ".wal").iter().map(|path| path.metadata().unwrap().len()).sum();
        assert!(journal <= 4 * (256 << 10), "{journal} bytes of journal");
        let calls = window.take();
        created = calls.iter().filter(|c| c.op == Op::Create && c.is_on_journal_file()).count();
        assert!(created <= 3, "{created} journal files created in round {round}");
    }
    assert_eq!(created, 0, "in the end, files that are there are used again");
}

#[test]
fn an_empty_broker_takes_little_room() {
    let dir = scratch();
    let broker = open(dir.path());
    assert!(disk_bytes(dir.path()) <= 256 << 10, "{} bytes", disk_bytes(dir.path()));
    broker.create_topic("t", 1).unwrap();
    drop(broker);
    assert!(disk_bytes(dir.path()) <= 256 << 10, "{} bytes", disk_bytes(dir.path()));
}

#[test]
fn a_closed_log_takes_hardly_more_than_its_records() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    let batch: Vec<_> = (0..1000).map(|number| keyless("t", format!("{number:0>256}"))).collect();
    for _ in 0..20 {
        producer.send_batch(&batch).unwrap();
    }
    drop((broker, producer));
    let payload = 20 * 1000 * 256;
    let used = disk_bytes(dir.path());
    assert!(used * 10 <= payload * 15, "{used} bytes for {payload}");
}

#[test]
fn opening_and_closing_what_was_closed_writes_nothing() {
    let dir = scratch();
    {
        let broker = open(dir.path());
        broker.create_topic("t", 3).unwrap();
        send_numbered(&Broker::producer(&broker), "t", "v", 300);
        let mut consumer = subscribed(&broker, "g", "t");
        consumer.poll(NOW).unwrap();
        consumer.commit_sync().unwrap();
    }
    let before = snapshot(dir.path());
    let window = Watched::default();
    let broker = window.open(dir.path());
    assert_eq!(partition(&broker, "t", 1).read_range(0, 1000).unwrap().len(), 100);
    drop(broker);
    let changes: Vec<_> = window.take().into_iter().filter(|call| call.op.is_change()).collect();
    assert_eq!(changes, []);
    assert!(snapshot(dir.path()) == before);
}

#[test]
fn opening_reads_no_records() {
    let opens = |records: usize| {
        let dir = scratch();
        let broker = open(dir.path());
        for _ in 0..records / 1000 {
            send_numbered(&Broker::producer(&broker), "t", "v", 1000);
        }
        drop(broker);
        let window = Watched::default();
        let broker = window.open(dir.path());
        let opened = window.take().iter().filter(|call| call.op == Op::Open).count();
        drop(broker);
        opened
    };
    assert!(opens(50_000) <= opens(1000));
}

#[test]
fn a_checkpoint_on_demand_leaves_nothing_to_replay() {
    let dir = scratch();
    let window = Watched::default();
    let broker = warm(&window, window.config(dir.path()), 2);
    broker.maintain().unwrap();
    let calls = window.take();
    let syncs_of =
        |name: &str| calls.iter().filter(|c| c.op == Op::Sync && c.path.ends_with(name)).count();
    // Slot b stands for both while a is written. A process that was killed may have left
    // it in the cache alone, so the first checkpoint of a life syncs it before.
    assert_eq!((syncs_of("manifest.a"), syncs_of("manifest.b")), (1, 2));
    let slot =
        |name| calls.iter().position(|c| c.op == Op::Sync && c.path.ends_with(name)).unwrap();
    let log = calls
        .iter()
        .rposition(|c| c.op == Op::Sync && !c.path.to_string_lossy().contains("manifest"));
    assert!(
        log.unwrap() < slot("manifest.a").min(slot("manifest.b")),
        "what is named is durable first"
    );
    broker.maintain().unwrap();
    assert_eq!(window.take_syncs(), 0, "nothing has changed since");
}

#[test]
fn hundreds_of_partitions_fit_into_a_handful_of_handles() {
    let dir = scratch();
    let window = Watched::default();
    let broker =
        Broker::open(BrokerConfig { max_open_files: 8, ..window.config(dir.path()) }).unwrap();
    broker.create_topic("t", 300).unwrap();
    let producer = Broker::producer(&broker);
    let mut most = 0;
    send_numbered(&producer, "t", "batch", 600);
    for _ in 0..20 {
        producer.send(&keyless("t", "single")).unwrap();
        most = most.max(window.open_files());
    }
    let mut consumer = subscribed(&broker, "g", "t");
    assert_eq!(consumer.poll(NOW).unwrap().len(), 620);
    // Eight for partitions, and those of the journal.
    most = most.max(window.open_files());
    assert!((4..=12).contains(&most), "{most} handles");
    drop((consumer, producer, broker));
    assert_eq!(window.open_files(), 0);
}
