//! Logs of every format version, committed as they are on disk.
//!
//! `golden/v1/closed` is as a clean close leaves it, `golden/v1/crashed` as a
//! crash does, with a journal to be replayed. Two things are held: today's code
//! writes these very bytes, given the same clock and the same random bytes, and
//! it reads from them what the literals below say.
//!
//! When a change of the bytes is meant, it is a new format version: add a
//! folder, keep the old ones, and let this write the new one:
//!
//! ```sh
//! MERKQL_REGENERATE_GOLDEN=1 cargo test --test golden todays -- --nocapture
//! ```
//!
//! It prints what the new logs say, to be read and put in place of the literals.
//! (Compressed bytes are those of the `lz4_flex` in `Cargo.lock`; another version of
//! it may compress otherwise, and the log is as readable as before.)
//! As long as no version was released, `v1` itself may be written again.

#![allow(clippy::disallowed_methods, reason = "fixtures are plain files")]

mod support_crash;

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::compression::Compression;
use merkql::consumer::{Consumer, ConsumerConfig, OffsetReset};
use merkql::env::{Clock, Entropy, Signal};
use merkql::hash::leaf_hash;
use merkql::record::ProducerRecord;
use merkql::topic::RetentionConfig;
use merkql::tree::{CompactRange, MerkleTree};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support_crash::{Rng, copy_dir};

const REGENERATE: &str = "MERKQL_REGENERATE_GOLDEN";
/// 2023-11-14T22:13:20Z.
const BEGIN: Duration = Duration::from_secs(1_700_000_000);
const PRODUCER_ID: u64 = 42;
const GROUP: &str = "readers";
const FIXTURE_BYTES_MAX: usize = 100 << 10;

/// What `closed` holds: each partition with its retained range and its root,
/// then its records; where the group goes on; what the producer sends next.
const CLOSED: &str = r#"events/0 0..5 keeps None root 60491cf31c0308b22a26da3c385874af56b87f68eefdbb1dba01c638c22794e1
  0 2023-11-14T22:13:23+00:00 Some("user-1") "{\"n\":1,\"text\":\"événement\"}"
  1 2023-11-14T22:13:24.500+00:00 None "{\"n\":2,\"text\":\"événement\"}"
  2 2023-11-14T22:13:27.500+00:00 Some("user-1") "{\"n\":4,\"text\":\"événement\"}"
  3 2023-11-14T22:13:32+00:00 Some("user-1") "{\"n\":7,\"text\":\"événement\"}"
  4 2023-11-14T22:13:56.500+00:00 None "{\"n\":8,\"text\":\"événement\"}"
events/1 0..5 keeps None root 1f9326e513d1b82a0c1aba0fdce98642f42d6a628d6381b80c51c15d6378fcc6
  0 2023-11-14T22:13:21.500+00:00 Some("user-0") "{\"n\":0,\"text\":\"événement\"}"
  1 2023-11-14T22:13:26+00:00 Some("user-0") "{\"n\":3,\"text\":\"événement\"}"
  2 2023-11-14T22:13:29+00:00 None "{\"n\":5,\"text\":\"événement\"}"
  3 2023-11-14T22:13:30.500+00:00 Some("user-0") "{\"n\":6,\"text\":\"événement\"}"
  4 2023-11-14T22:13:56.500+00:00 Some("user-0") "{\"n\":9,\"text\":\"événement\"}"
numbered/0 0..3 keeps None root af77248b410ba3b52a2e78e382dfefd32c7ee56952afb1fd1cb4420f50047638
  0 2023-11-14T22:13:33+00:00 Some("k") "numbered 0"
  1 2023-11-14T22:13:33+00:00 Some("k") "numbered 1"
  2 2023-11-14T22:13:34+00:00 Some("k") "numbered 2"
packed/0 4..7 keeps Some(3) root 11a4354c1eb0a278932f3041b4b6f8776ce662096edd1fe99fb3c7ff528f5cc6
  4 2023-11-14T22:13:56.500+00:00 Some("même clé") "4 lz4 lz4 lz4 lz4 lz4 lz4 lz4 lz4 lz4 lz4 lz4 lz4 "
  5 2023-11-14T22:13:56.500+00:00 None "5 lz4 lz4 lz4 lz4 lz4 lz4 lz4 lz4 lz4 lz4 lz4 lz4 "
  6 2023-11-14T22:13:58+00:00 None "plain again"
short/0 11..14 keeps Some(3) root ab132339c410f0a1e1640c164dc0f14f26727d00c31169f1189114d5390da2ec
  11 2023-11-14T22:13:52+00:00 None "11: short of breath, short of breath, short of breath, short of breath, short of breath, short of breath, short of breath, short of breath, "
  12 2023-11-14T22:13:53.500+00:00 None "12: short of breath, short of breath, short of breath, short of breath, short of breath, short of breath, "
  13 2023-11-14T22:13:55+00:00 None "13: short of breath, short of breath, short of breath, short of breath, short of breath, short of breath, short of breath, "
readers reads events/0 from 4
readers reads events/1 from 4
readers reads numbered/0 from 0
readers reads packed/0 from 6
readers reads short/0 from 11
producer 42 sends 2 next
"#;

/// What `crashed` holds, after recovery.
const CRASHED: &str = r#"events/0 0..7 keeps None root 2a695d795dd9a4b5ba2ae40b2812a3375392e91e51c60a5d68195090af1f463d
  0 2023-11-14T22:13:23+00:00 Some("user-1") "{\"n\":1,\"text\":\"événement\"}"
  1 2023-11-14T22:13:24.500+00:00 None "{\"n\":2,\"text\":\"événement\"}"
  2 2023-11-14T22:13:27.500+00:00 Some("user-1") "{\"n\":4,\"text\":\"événement\"}"
  3 2023-11-14T22:13:32+00:00 Some("user-1") "{\"n\":7,\"text\":\"événement\"}"
  4 2023-11-14T22:13:56.500+00:00 None "{\"n\":8,\"text\":\"événement\"}"
  5 2023-11-14T22:13:59.500+00:00 Some("user-1") "{\"n\":10,\"text\":\"événement\"}"
  6 2023-11-14T22:13:59.500+00:00 None "{\"n\":11,\"text\":\"événement\"}"
events/1 0..6 keeps None root f3a9518f6bda2313dba79a43ccf91e6ae6bfbdb33064ce127bfdea6c415719dc
  0 2023-11-14T22:13:21.500+00:00 Some("user-0") "{\"n\":0,\"text\":\"événement\"}"
  1 2023-11-14T22:13:26+00:00 Some("user-0") "{\"n\":3,\"text\":\"événement\"}"
  2 2023-11-14T22:13:29+00:00 None "{\"n\":5,\"text\":\"événement\"}"
  3 2023-11-14T22:13:30.500+00:00 Some("user-0") "{\"n\":6,\"text\":\"événement\"}"
  4 2023-11-14T22:13:56.500+00:00 Some("user-0") "{\"n\":9,\"text\":\"événement\"}"
  5 2023-11-14T22:14:02+00:00 Some("user-0") "{\"n\":12,\"text\":\"événement\"}"
late/0 0..1 keeps None root acf0e97c38beec6b89c9d83c31a84405012a00338928840db27b64eff185e9a4
  0 2023-11-14T22:14:01+00:00 None "known to the journal alone"
numbered/0 0..4 keeps None root ed4eab832d6b8246185b08aad8a96832b396d8187cb84457118c31fb0b2deafc
  0 2023-11-14T22:13:33+00:00 Some("k") "numbered 0"
  1 2023-11-14T22:13:33+00:00 Some("k") "numbered 1"
  2 2023-11-14T22:13:34+00:00 Some("k") "numbered 2"
  3 2023-11-14T22:14:02+00:00 Some("k") "numbered 3"
packed/0 4..7 keeps Some(3) root 11a4354c1eb0a278932f3041b4b6f8776ce662096edd1fe99fb3c7ff528f5cc6
  4 2023-11-14T22:13:56.500+00:00 Some("même clé") "4 lz4 lz4 lz4 lz4 lz4 lz4 lz4 lz4 lz4 lz4 lz4 lz4 "
  5 2023-11-14T22:13:56.500+00:00 None "5 lz4 lz4 lz4 lz4 lz4 lz4 lz4 lz4 lz4 lz4 lz4 lz4 "
  6 2023-11-14T22:13:58+00:00 None "plain again"
short/0 12..15 keeps Some(3) root 2888b855698987cacf30ee2f64276b69680e697e0db61740c95959edb48a6a3b
  12 2023-11-14T22:13:53.500+00:00 None "12: short of breath, short of breath, short of breath, short of breath, short of breath, short of breath, "
  13 2023-11-14T22:13:55+00:00 None "13: short of breath, short of breath, short of breath, short of breath, short of breath, short of breath, short of breath, "
  14 2023-11-14T22:13:59.500+00:00 None ""
readers reads events/0 from 4
readers reads events/1 from 4
readers reads numbered/0 from 0
readers reads short/0 from 12
producer 42 sends 3 next
"#;

/// A clock that stands still until the test moves it.
#[derive(Debug)]
struct FixedClock(Mutex<Duration>);

impl Clock for FixedClock {
    fn wall(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn wait(&self, _signal: &Signal, _seen: u64, _deadline: Duration) -> bool {
        panic!("nothing waits here");
    }
}

/// Random bytes that are the same each time.
#[derive(Debug)]
struct FixedEntropy(Mutex<Rng>);

impl Entropy for FixedEntropy {
    fn fill(&self, buf: &mut [u8]) -> std::io::Result<()> {
        let mut random = self.0.lock().unwrap();
        for byte in buf {
            *byte = random.next().to_le_bytes()[0];
        }
        Ok(())
    }
}

struct Maker {
    dir: PathBuf,
    clock: Arc<FixedClock>,
    entropy: Arc<FixedEntropy>,
}

impl Maker {
    fn new(dir: &Path) -> Self {
        let clock = Arc::new(FixedClock(Mutex::new(BEGIN)));
        let entropy = Arc::new(FixedEntropy(Mutex::new(Rng(1))));
        Self { dir: dir.to_owned(), clock, entropy }
    }

    fn config(&self) -> BrokerConfig {
        BrokerConfig {
            journal_initial_bytes: 8 << 10,
            journal_max_bytes: 16 << 10,
            segment_bytes: 512,
            index_interval_bytes: 128,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            entropy: Arc::clone(&self.entropy) as Arc<dyn Entropy>,
            ..BrokerConfig::new(&self.dir)
        }
    }

    fn send(&self, broker: &BrokerRef, records: &[ProducerRecord]) {
        *self.clock.0.lock().unwrap() += Duration::from_millis(1_500);
        Broker::producer(broker).send_batch(records).unwrap();
    }

    fn send_numbered(&self, broker: &BrokerRef, sequence: u64, records: &[ProducerRecord]) {
        *self.clock.0.lock().unwrap() += Duration::from_secs(1);
        let producer = Broker::idempotent_producer(broker, PRODUCER_ID);
        producer.send_batch(sequence, records).unwrap();
    }

    /// Opens the log three times and closes it each time.
    fn make_closed(&self) {
        let broker = Broker::open(self.config()).unwrap();
        broker.create_topic("events", 2).unwrap();
        for number in 0..8 {
            self.send(&broker, &[event(number)]);
        }
        self.send_numbered(&broker, 0, &[numbered(0), numbered(1)]);
        self.send_numbered(&broker, 1, &[numbered(2)]);
        commit_all(&broker, &["events"]);
        Broker::close(&broker).unwrap();
        drop(broker);

        let broker = Broker::open(BrokerConfig {
            compression: Compression::Lz4,
            default_retention: RetentionConfig { max_records: Some(3) },
            ..self.config()
        })
        .unwrap();
        for number in 0..14 {
            let value = format!("{number}: {}", "short of breath, ".repeat(6 + number % 3));
            self.send(&broker, &[ProducerRecord::new("short", None, value)]);
        }
        broker.maintain().unwrap();
        let packed = |number: u64| {
            let key = number.is_multiple_of(2).then(|| "même clé".to_owned());
            ProducerRecord::new("packed", key, format!("{number} {}", "lz4 ".repeat(12)))
        };
        let batch: Vec<_> = (0..6).map(packed).chain((8..10).map(event)).collect();
        self.send(&broker, &batch);
        commit_all(&broker, &["packed"]);
        Broker::close(&broker).unwrap();
        drop(broker);

        // Plain records behind compressed ones.
        let broker = Broker::open(self.config()).unwrap();
        self.send(&broker, &[ProducerRecord::new("packed", None, "plain again")]);
        Broker::close(&broker).unwrap();
    }

    /// Goes on where the closed log ends, and copies the files while it is open.
    fn make_crashed(&self, to: &Path) {
        let broker = Broker::open(self.config()).unwrap();
        self.send(&broker, &[event(10), event(11), ProducerRecord::new("short", None, "")]);
        // The journal's first file is full, and what follows is in no manifest.
        broker.create_topic("late", 1).unwrap();
        self.send(&broker, &[ProducerRecord::new("late", None, "known to the journal alone")]);
        self.send_numbered(&broker, 2, &[numbered(3), event(12)]);
        commit_all(&broker, &["late", "packed"]);
        copy_dir(&self.dir, to);
    }
}

fn event(number: u64) -> ProducerRecord {
    let key = (number % 3 != 2).then(|| format!("user-{}", number % 3));
    ProducerRecord::new("events", key, format!(r#"{{"n":{number},"text":"événement"}}"#))
}

fn numbered(number: u64) -> ProducerRecord {
    ProducerRecord::new("numbered", Some("k".to_owned()), format!("numbered {number}"))
}

fn consumer(broker: &BrokerRef, topics: &[&str]) -> Consumer {
    let config = ConsumerConfig {
        group_id: GROUP.to_owned(),
        auto_commit: false,
        offset_reset: OffsetReset::Earliest,
    };
    let mut consumer = Broker::consumer(broker, config);
    consumer.subscribe(topics).unwrap();
    consumer
}

fn commit_all(broker: &BrokerRef, topics: &[&str]) {
    let mut consumer = consumer(broker, topics);
    assert!(!consumer.poll(Duration::ZERO).unwrap().is_empty());
    consumer.commit_sync().unwrap();
}

/// Everything that a log says, as text.
fn describe(broker: &BrokerRef) -> String {
    let mut text = String::new();
    let topics = broker.topics();
    for name in &topics {
        let topic = broker.topic(name).unwrap();
        for partition in topic.partition_ids() {
            let view = topic.partition(partition).unwrap().read().unwrap();
            let (start, end) = (view.min_valid_offset(), view.next_offset());
            let root = view.merkle_root().unwrap().map_or("none".to_owned(), |root| root.to_hex());
            let kept = topic.retention().max_records;
            writeln!(text, "{name}/{partition} {start}..{end} keeps {kept:?} root {root}").unwrap();
            for record in view.read_range(0, end).unwrap() {
                let (key, value) = (&record.key, &record.value);
                let (offset, time) = (record.offset, record.timestamp.to_rfc3339());
                writeln!(text, "  {offset} {time} {key:?} {value:?}").unwrap();
                let proof = view.proof(offset).unwrap().unwrap();
                assert!(proof.proves(&record.hash(), &view.merkle_root().unwrap().unwrap()));
            }
            let records = view.read_range(0, end).unwrap();
            if start == 0 {
                let mut range = CompactRange::new();
                for record in &records {
                    range.push(leaf_hash(&record.hash()), &mut |_| {});
                }
                assert_eq!(range.root().to_hex(), root, "the root of {name}/{partition}");
            }
            for offset in 0..end {
                let proof = view.proof(offset).unwrap().unwrap();
                assert!(MerkleTree::verify_proof(&proof, view.store()).unwrap());
            }
        }
    }
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut first = BTreeMap::new();
    for record in consumer(broker, &topics).poll(Duration::ZERO).unwrap() {
        first.entry((record.topic, record.partition)).or_insert(record.offset);
    }
    for ((topic, partition), offset) in first {
        writeln!(text, "{GROUP} reads {topic}/{partition} from {offset}").unwrap();
    }
    let producer = Broker::idempotent_producer(broker, PRODUCER_ID);
    writeln!(text, "producer {PRODUCER_ID} sends {} next", producer.next_sequence()).unwrap();
    let again = producer.send_batch(1, &[numbered(2)]).unwrap();
    assert_eq!((again.len(), again[0].offset), (1, 2), "a repeated send is where it was");
    text
}

/// Paths below `dir`, and contents.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn collect(root: &Path, dir: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(root, &path, files);
            } else {
                let name = path.strip_prefix(root).unwrap().to_owned();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(dir, dir, &mut found);
    found
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1").join(name)
}

/// What a copy of the directory says of itself.
fn described_copy(dir: &Path) -> String {
    let copy = tempfile::tempdir().unwrap();
    copy_dir(dir, copy.path());
    let broker = Broker::open(Maker::new(copy.path()).config()).unwrap();
    describe(&broker)
}

fn make(dir: &Path) -> [(&'static str, PathBuf); 2] {
    let (working, closed, crashed) = (dir.join("log"), dir.join("closed"), dir.join("crashed"));
    let maker = Maker::new(&working);
    maker.make_closed();
    copy_dir(&working, &closed);
    maker.make_crashed(&crashed);
    [("closed", closed), ("crashed", crashed)]
}

#[test]
fn todays_code_writes_the_committed_bytes() {
    let dir = tempfile::tempdir().unwrap();
    for (name, made) in make(dir.path()) {
        if std::env::var_os(REGENERATE).is_some() {
            let _ = std::fs::remove_dir_all(fixture(name));
            copy_dir(&made, &fixture(name));
            println!("{name} was written anew; it says:\n{}", described_copy(&made));
        }
        let (made, committed) = (files(&made), files(&fixture(name)));
        let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&made), names(&committed), "{name} has other files");
        for (path, bytes) in &committed {
            let differs = made[path].iter().zip(bytes).position(|(made, kept)| made != kept);
            assert_eq!(differs, None, "{name}: {} differs at this byte", path.display());
            assert_eq!(made[path].len(), bytes.len(), "the length of {}", path.display());
        }
        let size: usize = committed.values().map(Vec::len).sum();
        assert!(size <= FIXTURE_BYTES_MAX, "{name} has {size} bytes");
        println!("{name}: {} files, {size} bytes", committed.len());
    }
}

#[test]
fn a_closed_log_of_version_1_is_read_as_it_was() {
    assert_eq!(described_copy(&fixture("closed")), CLOSED);
}

#[test]
fn a_crashed_log_of_version_1_is_recovered_as_it_was() {
    assert_eq!(described_copy(&fixture("crashed")), CRASHED);
    // It is worth its place only while the journal holds what the manifest doesn't.
    assert!(CRASHED.contains("known to the journal alone"));
    for slot in ["manifest.a", "manifest.b"] {
        let manifest = std::fs::read(fixture("crashed").join(".merkql").join(slot)).unwrap();
        assert!(!manifest.windows(4).any(|bytes| bytes == b"late"), "{slot} knows it all");
    }
}
