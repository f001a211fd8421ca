//! A writer process is killed with SIGKILL, again and again, over one directory.
//!
//! The writer is this test binary, started once more with the name of its
//! hidden test. It sends, commits, creates topics and checkpoints from several
//! threads and says on its standard output what was acknowledged. After each
//! kill, or a few, the log is opened here and held against all of it. Some of
//! the kills come so early that they hit the recovery after the last one.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, reason = "processes, threads and time are what this is about")]

mod support_crash;

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::compression::Compression;
use merkql::consumer::{ConsumerConfig, OffsetReset};
use merkql::env::Probe;
use merkql::hash::Hash;
use merkql::record::Record;
use merkql::topic::RetentionConfig;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;
use support_crash::ledger::{Ledger, Unit, key_of, records_of, value_of};
use support_crash::{Rng, number_from_env, seed, small_config};

/// Where the writer finds its directory; set for nobody else.
const DIR: &str = "MERKQL_KILL_DIR";
/// The number of the writer's run.
const RUN: &str = "MERKQL_KILL_RUN";
/// The next sequence of the producer that numbers its sends.
const NEXT_SEQUENCE: &str = "MERKQL_KILL_NEXT_SEQUENCE";

const PRODUCER_ID: u64 = 77;
/// Units of the numbered producer have this bit, and their sequence below it.
const NUMBERED: Unit = 1 << 63;
const GROUP: &str = "workers";
/// Records that the topic with retention keeps of each partition. More than
/// the writers send between two checks, so that every record is seen once.
const RETAINED: u64 = 400;
const SENT_TO_RETAINED_A_RUN: u64 = 120;
/// How long a writer may work at least and at most, in milliseconds.
const WORK_MS_MIN: u64 = 25;
const WORK_MS_MAX: u64 = 320;
/// A kill meant for recovery comes so long after its beginning at the latest.
const RECOVERY_MS_MAX: u64 = 20;
const PATIENCE: Duration = Duration::from_secs(60);
/// So many kills have to hit all that [`Parent::lacks`] asks for.
const KILLS_OF_A_LONG_RUN: u64 = 50;

/// When a writer is to be killed.
#[derive(Clone, Copy)]
enum Moment {
    AfterStart(Duration),
    /// After the recovery of the last kill has begun, or the log is open.
    AfterRecoveryBegan(Duration),
}

// ---------------------------------------------------------------- the parent

#[test]
fn what_was_acknowledged_survives_every_kill() {
    let kills_wanted = number_from_env("MERKQL_KILLS").unwrap_or(KILLS_OF_A_LONG_RUN);
    let seed = seed();
    println!("MERKQL_SEED={seed} MERKQL_KILLS={kills_wanted}");
    let mut random = Rng(seed);
    let dir = tempfile::tempdir().unwrap();
    create_topics(dir.path());
    let mut parent = Parent::default();
    // Some hit nothing that is asked for in the end: how long what they are to hit takes is
    // up to the disk.
    let is_long = kills_wanted >= KILLS_OF_A_LONG_RUN;
    while parent.kills < kills_wanted
        || (is_long && parent.lacks().is_some() && parent.kills < 10 * kills_wanted)
    {
        let mut up_to_ms = |ms: u64| Duration::from_micros(random.below(1000 * ms));
        let at_work = Duration::from_millis(WORK_MS_MIN) + up_to_ms(WORK_MS_MAX - WORK_MS_MIN);
        parent.kill_one(dir.path(), Moment::AfterStart(at_work));
        // Nobody recovers in between: these kills hit the recovery of the last.
        let early = up_to_ms(RECOVERY_MS_MAX);
        match random.below(4) {
            0 => {}
            1 => parent.kill_one(dir.path(), Moment::AfterStart(early)),
            more => {
                for part in 1..more {
                    let early = early / u32::try_from(part).unwrap();
                    parent.kill_one(dir.path(), Moment::AfterRecoveryBegan(early));
                }
            }
        }
        parent.check(dir.path());
    }
    parent.report_and_judge(kills_wanted);
}

/// The topic with retention gets it from the broker that creates it.
fn create_topics(dir: &Path) {
    let retained = RetentionConfig { max_records: Some(RETAINED) };
    let broker =
        Broker::open(BrokerConfig { default_retention: retained, ..small_config(dir) }).unwrap();
    broker.create_topic("short", 2).unwrap();
}

#[derive(Default)]
struct Parent {
    ledger: Ledger,
    kills: u64,
    /// Kills that found the log not open yet, and of those in recovery's work.
    kills_before_open: u64,
    kills_in_recovery: u64,
    recoveries: u64,
    marks: BTreeMap<String, u64>,
    next_sequence: u64,
}

impl Parent {
    /// Starts a writer, kills it, and notes what it said.
    fn kill_one(&mut self, dir: &Path, moment: Moment) {
        let mut child = KilledOnDrop(start_writer(dir, self.kills, self.next_sequence));
        let output = child.0.stdout.take().unwrap();
        let (sender, receiver) = mpsc::channel();
        let reader = thread::spawn(move || read_lines(output, &sender));
        let mut lines: Vec<String> = Vec::new();
        match moment {
            Moment::AfterStart(delay) => thread::sleep(delay),
            Moment::AfterRecoveryBegan(delay) => {
                let begun = ["@M recovery.begun", "@O"];
                while lines.last().is_none_or(|line| !begun.contains(&line.as_str())) {
                    lines.push(receiver.recv_timeout(PATIENCE).expect("the writer says nothing"));
                }
                thread::sleep(delay);
            }
        }
        let ended = child.0.try_wait().unwrap();
        child.0.kill().unwrap();
        child.0.wait().unwrap();
        reader.join().unwrap();
        lines.extend(receiver.iter());
        let last: Vec<_> = lines.iter().rev().take(5).collect();
        assert!(ended.is_none(), "the writer ended by itself, {ended:?}: {last:?}");
        self.kills += 1;
        let said = |what: &str| lines.iter().any(|line| line == what);
        let (begun, complete) = (said("@M recovery.begun"), said("@M recovery.complete"));
        self.kills_before_open += u64::from(!said("@O"));
        self.kills_in_recovery += u64::from(begun && !complete);
        self.recoveries += u64::from(complete);
        for line in &lines {
            if let Some(line) = line.strip_prefix('@') {
                self.note(line);
            }
        }
    }

    fn note(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |index: usize| -> u64 { words[index].parse().unwrap() };
        let small = |index: usize| u32::try_from(number(index)).unwrap();
        let id = |index: usize| (words[index].to_owned(), small(index + 1));
        match words[0] {
            // unit index count topic partition offset hash
            "A" => {
                let unit = number(1);
                let (topic, partition) = id(4);
                let hash = Hash::from_hex(words[7]).unwrap();
                let place = (topic, partition, number(6));
                self.ledger.ack(unit, small(2), small(3), place, hash);
                if unit & NUMBERED != 0 {
                    self.next_sequence = self.next_sequence.max((unit ^ NUMBERED) + 1);
                }
            }
            "R" => self.ledger.root(&id(1), number(3), Hash::from_hex(words[4]).unwrap()),
            "W" => self.ledger.begin_commit(GROUP, id(1), number(3)),
            "C" => self.ledger.commit(GROUP, id(1), number(3)),
            "M" => *self.marks.entry(words[1].to_owned()).or_default() += 1,
            "O" => {}
            _ => panic!("the writer says {line:?}"),
        }
    }

    /// Opens the log here and holds it against everything that was said.
    fn check(&mut self, dir: &Path) {
        let broker = Broker::open(small_config(dir)).unwrap();
        self.ledger.check(&broker);
        self.ledger.check_commits(&broker);
        let next = Broker::idempotent_producer(&broker, PRODUCER_ID).next_sequence();
        let sent = self.next_sequence;
        assert!(next == sent || next == sent + 1, "sequence {sent} was next, the log says {next}");
        Broker::close(&broker).unwrap();
    }

    fn report_and_judge(&self, kills_wanted: u64) {
        let counts = self.ledger.counts;
        println!(
            "{} kills, {} before the log was open, {} of these within recovery; {} recoveries",
            self.kills, self.kills_before_open, self.kills_in_recovery, self.recoveries
        );
        println!("{counts:#?}");
        println!("{:#?}", self.marks);
        assert!(self.kills >= kills_wanted);
        // A run in which nothing happened proves nothing.
        let at_least = |what: &str, found: u64, a_kill: u64| {
            let wanted = self.kills * a_kill;
            assert!(found >= wanted, "only {found} {what} for {} kills", self.kills);
        };
        at_least("acknowledgements", counts.acks, 10);
        at_least("roots", counts.roots, 2);
        at_least("records read", counts.records_read, 100);
        if kills_wanted >= KILLS_OF_A_LONG_RUN {
            assert_eq!(self.lacks(), None, "this never happened");
        }
    }

    /// What has to happen in a run of many kills, and has not happened yet.
    fn lacks(&self) -> Option<&'static str> {
        let marks = ["checkpoint.complete", "journal.recycled", "recovery.block_replayed"];
        let mark = marks.into_iter().find(|mark| !self.marks.contains_key(*mark));
        let recovery = (self.kills_in_recovery == 0).then_some("a kill in a recovery");
        let commit = (self.ledger.counts.commits == 0).then_some("a commit");
        mark.or(recovery).or(commit)
    }
}

/// Kills the writer if the test fails first.
struct KilledOnDrop(Child);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_writer(dir: &Path, run: u64, next_sequence: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer_process", "--ignored", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(RUN, run.to_string())
        .env(NEXT_SEQUENCE, next_sequence.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Whole lines only: what a kill has cut off was not said.
fn read_lines(output: impl Read, lines: &mpsc::Sender<String>) {
    let mut output = BufReader::new(output);
    let mut line = String::new();
    while output.read_line(&mut line).unwrap() > 0 {
        if let Some(whole) = line.strip_suffix('\n') {
            lines.send(whole.to_owned()).unwrap();
        }
        line.clear();
    }
}

// ---------------------------------------------------------------- the writer

#[test]
#[ignore = "the process that the other test starts and kills"]
fn writer_process() {
    let Ok(dir) = std::env::var(DIR) else {
        println!("SKIPPED: {DIR} is not set, so nobody is there to kill this");
        return;
    };
    let run = number_from_env(RUN).unwrap();
    let voice = Arc::new(Voice(Mutex::new(std::io::stdout())));
    // The harness has begun a line of its own.
    voice.say(&"\n");
    let compression = if run % 2 == 1 { Compression::Lz4 } else { Compression::None };
    let broker = Broker::open(BrokerConfig {
        compression,
        probe: Arc::clone(&voice) as Arc<dyn Probe>,
        ..small_config(Path::new(&dir))
    })
    .unwrap();
    voice.say(&"@O\n");
    let writer = Writer { broker, voice, run };
    let threads: [fn(&Writer); 7] = [
        Writer::send_one_by_one,
        Writer::send_batches,
        Writer::send_numbered,
        Writer::consume_and_commit,
        Writer::send_to_topic_with_retention,
        Writer::create_topics,
        Writer::maintain_and_show_roots,
    ];
    thread::scope(|scope| {
        for work in threads {
            let writer = &writer;
            scope.spawn(move || {
                // A thread that fails must not be waited for by the others.
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(writer))).is_err()
                {
                    std::process::exit(3);
                }
            });
        }
    });
}

/// Standard output, line by line, each handed to the system before the next.
#[derive(Debug)]
struct Voice(Mutex<std::io::Stdout>);

impl Voice {
    fn say(&self, text: &dyn std::fmt::Display) {
        let mut output = self.0.lock().unwrap();
        output.write_all(text.to_string().as_bytes()).unwrap();
        output.flush().unwrap();
    }
}

impl Probe for Voice {
    fn mark(&self, name: &'static str) {
        self.say(&format!("@M {name}\n"));
    }

    fn canary(&self, _name: &'static str) -> bool {
        false
    }
}

struct Writer {
    broker: BrokerRef,
    voice: Arc<Voice>,
    run: u64,
}

impl Writer {
    fn unit(&self, thread: u64, number: u64) -> Unit {
        self.run << 32 | thread << 24 | number
    }

    fn say_acks(&self, unit: Unit, records: &[Record]) {
        let mut text = String::new();
        let count = u32::try_from(records.len()).unwrap();
        for (index, record) in (0..).zip(records) {
            assert_eq!(record.value, value_of(unit, index, count));
            assert_eq!(record.key, key_of(unit, index));
            let Record { topic, partition, offset, .. } = record;
            let hash = record.hash();
            writeln!(text, "@A {unit} {index} {count} {topic} {partition} {offset} {hash}")
                .unwrap();
        }
        self.voice.say(&text);
    }

    fn send_one_by_one(&self) {
        let producer = Broker::producer(&self.broker);
        self.broker.create_topic("single", 2).unwrap();
        for number in 0.. {
            let unit = self.unit(1, number);
            let records = records_of(unit, &["single"]);
            let sent = if number % 4 == 3 {
                producer.enqueue(&records).unwrap().wait().unwrap()
            } else {
                vec![producer.send(&records[0]).unwrap()]
            };
            self.say_acks(unit, &sent);
        }
    }

    fn send_batches(&self) {
        let producer = Broker::producer(&self.broker);
        self.broker.create_topic("left", 3).unwrap();
        self.broker.create_topic("right", 2).unwrap();
        for number in 0.. {
            let unit = self.unit(2, number);
            let count = if number % 16 == 15 { 24 } else { 2 + number % 5 };
            let topics: Vec<&str> =
                (0..count).map(|index| ["left", "right"][usize::from(index % 3 == 2)]).collect();
            self.say_acks(unit, &producer.send_batch(&records_of(unit, &topics)).unwrap());
        }
    }

    /// Goes on after what was acknowledged last, as a producer does that got no
    /// answer: that send may have been made or not.
    fn send_numbered(&self) {
        self.broker.create_topic("numbered", 2).unwrap();
        let producer = Broker::idempotent_producer(&self.broker, PRODUCER_ID);
        let send = |sequence: u64| {
            let unit = NUMBERED | sequence;
            let topics = vec!["numbered"; 1 + usize::try_from(sequence % 3).unwrap()];
            self.say_acks(
                unit,
                &producer.send_batch(sequence, &records_of(unit, &topics)).unwrap(),
            );
        };
        for sequence in number_from_env(NEXT_SEQUENCE).unwrap().. {
            send(sequence);
            if sequence % 4 == 0 {
                // Seven before it are remembered.
                send(sequence.saturating_sub(sequence % 8));
            }
        }
    }

    fn consume_and_commit(&self) {
        let config = ConsumerConfig {
            group_id: GROUP.to_owned(),
            auto_commit: false,
            offset_reset: OffsetReset::Earliest,
        };
        let mut consumer = Broker::consumer(&self.broker, config);
        consumer.subscribe(&["left", "single", "numbered"]).unwrap();
        loop {
            let mut positions = BTreeMap::new();
            for record in consumer.poll(Duration::from_millis(20)).unwrap() {
                positions.insert((record.topic, record.partition), record.offset + 1);
            }
            let lines = |kind: char| {
                let line = |((topic, partition), offset): (&(String, u32), &u64)| {
                    format!("@{kind} {topic} {partition} {offset}\n")
                };
                positions.iter().map(line).collect::<String>()
            };
            self.voice.say(&lines('W'));
            consumer.commit_sync().unwrap();
            self.voice.say(&lines('C'));
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn send_to_topic_with_retention(&self) {
        let producer = Broker::producer(&self.broker);
        for number in 0..SENT_TO_RETAINED_A_RUN {
            let unit = self.unit(5, number);
            self.say_acks(unit, &producer.send_batch(&records_of(unit, &["short"])).unwrap());
        }
    }

    fn create_topics(&self) {
        let producer = Broker::producer(&self.broker);
        for number in 0..2 {
            let (unit, name) = (self.unit(6, number), format!("run-{}.{number}", self.run));
            self.broker.create_topic(&name, 1 + u32::try_from(number).unwrap() * 2).unwrap();
            self.say_acks(unit, &producer.send_batch(&records_of(unit, &[&name, &name])).unwrap());
            thread::sleep(Duration::from_millis(70));
        }
    }

    fn maintain_and_show_roots(&self) {
        loop {
            thread::sleep(Duration::from_millis(3));
            for name in ["single", "left", "right", "numbered", "short"] {
                let Some(topic) = self.broker.topic(name) else { continue };
                for partition in topic.partition_ids() {
                    let view = topic.partition(partition).unwrap().read().unwrap();
                    if let Some(root) = view.merkle_root().unwrap() {
                        let size = view.next_offset();
                        self.voice.say(&format!("@R {name} {partition} {size} {root}\n"));
                    }
                }
            }
            self.broker.maintain().unwrap();
            thread::sleep(Duration::from_millis(13));
        }
    }
}
