//! A week of real events through the whole log: loaded, consumed by a group with
//! commits and a reopened broker in between, compared byte for byte, and proved.
//!
//! `cargo run --release --example earthquakes [FILE]`

#![allow(clippy::disallowed_methods, reason = "an example is not part of the log")]

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::consumer::{ConsumerConfig, OffsetReset};
use merkql::record::{ProducerRecord, Record};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

const TOPIC: &str = "earthquakes";
const PARTITIONS: u32 = 4;
const BATCH_EVENTS: usize = 100;
/// Small enough that the events take several polls.
const POLL_BYTES: u64 = 256 << 10;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/earthquakes.ndjson");
    let file = std::env::args().nth(1).unwrap_or_else(|| default.to_owned());
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
    let lines: Vec<&str> = text.lines().collect();
    let dir = tempfile::tempdir()?;
    println!("{} events from {file}", lines.len());

    let mut times = Vec::new();
    let broker = timed(&mut times, "open a new log", || open(dir.path()))?;
    timed(&mut times, "load the events", || load(&broker, &lines))?;
    let mut records =
        timed(&mut times, "consume the first half", || consume(&broker, lines.len() / 2))?;
    timed(&mut times, "close", || Ok(Broker::close(&broker)?))?;
    drop(broker);
    let broker = timed(&mut times, "reopen", || open(dir.path()))?;
    let rest = timed(&mut times, "consume the rest", || consume(&broker, usize::MAX))?;
    records.extend(rest);
    timed(&mut times, "compare with the file", || compare(&lines, &records))?;
    let roots = timed(&mut times, "prove every record", || prove(&broker, &records))?;
    timed(&mut times, "close again", || Ok(Broker::close(&broker)?))?;
    drop(broker);

    summarise(&records, &roots, bytes_below(dir.path())?, &times);
    Ok(())
}

fn timed<T>(
    times: &mut Vec<(&'static str, Duration)>,
    step: &'static str,
    run: impl FnOnce() -> Outcome<T>,
) -> Outcome<T> {
    let start = Instant::now();
    let result = run();
    times.push((step, start.elapsed()));
    result
}

fn open(dir: &Path) -> Outcome<BrokerRef> {
    let config = BrokerConfig { max_poll_bytes: POLL_BYTES, ..BrokerConfig::new(dir) };
    Ok(Broker::open(config)?)
}

fn load(broker: &BrokerRef, lines: &[&str]) -> Outcome<()> {
    broker.create_topic(TOPIC, PARTITIONS)?;
    let producer = Broker::producer(broker);
    for batch in lines.chunks(BATCH_EVENTS) {
        let records = batch
            .iter()
            .map(|line| Ok(ProducerRecord::new(TOPIC, Some(network(line)?), *line)))
            .collect::<Outcome<Vec<_>>>()?;
        producer.send_batch(&records)?;
    }
    Ok(())
}

/// The code of the network that reported the event: `properties.net`.
fn network(line: &str) -> Outcome<String> {
    let event: serde_json::Value = serde_json::from_str(line)?;
    let network = event["properties"]["net"].as_str();
    Ok(network.ok_or_else(|| format!("an event without a network: {line}"))?.to_owned())
}

/// Polls until `enough` records are there or no more come; commits each poll.
fn consume(broker: &BrokerRef, enough: usize) -> Outcome<Vec<Record>> {
    let config = ConsumerConfig {
        group_id: "seismologists".into(),
        auto_commit: false,
        offset_reset: OffsetReset::Earliest,
    };
    let mut consumer = Broker::consumer(broker, config);
    consumer.subscribe(&[TOPIC])?;
    let mut records = Vec::new();
    while records.len() < enough {
        let polled = consumer.poll(Duration::ZERO)?;
        if polled.is_empty() {
            break;
        }
        records.extend(polled);
        consumer.commit_sync()?;
    }
    consumer.close()?;
    Ok(records)
}

/// Every line must have come exactly once, and those of one network, which
/// share a key and so a partition, in the order of the file.
fn compare(lines: &[&str], records: &[Record]) -> Outcome<()> {
    let mut expected: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for line in lines {
        expected.entry(network(line)?).or_default().push(line);
    }
    let mut received: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for record in records {
        let key = record.key.clone().ok_or("a record without its key")?;
        received.entry(key).or_default().push(&record.value);
    }
    if expected == received {
        return Ok(());
    }
    Err(format!("sent {} events, received {}, and they differ", lines.len(), records.len()).into())
}

/// Proves each record against its partition's root, and returns the roots.
fn prove(broker: &BrokerRef, records: &[Record]) -> Outcome<BTreeMap<u32, String>> {
    let topic = broker.topic(TOPIC).ok_or("the topic is gone")?;
    let mut roots = BTreeMap::new();
    for number in topic.partition_ids() {
        let partition = topic.partition(number).ok_or("a partition is gone")?.read()?;
        let Some(root) = partition.merkle_root()? else { continue };
        for record in records.iter().filter(|record| record.partition == number) {
            let proof = partition.proof(record.offset)?.ok_or("a record has no proof")?;
            if !proof.proves(&record.hash(), &root) || !partition.verify_proof(&proof)? {
                return Err(format!("the proof of {number}/{} fails", record.offset).into());
            }
        }
        roots.insert(number, root.to_hex());
    }
    Ok(roots)
}

fn bytes_below(path: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

fn summarise(
    records: &[Record],
    roots: &BTreeMap<u32, String>,
    disk_bytes: u64,
    times: &[(&str, Duration)],
) {
    let mut networks: BTreeMap<&str, usize> = BTreeMap::new();
    let mut partitions: BTreeMap<u32, usize> = BTreeMap::new();
    for record in records {
        *networks.entry(record.key.as_deref().unwrap_or_default()).or_default() += 1;
        *partitions.entry(record.partition).or_default() += 1;
    }
    println!("\nevents per network");
    for (network, events) in &networks {
        println!("  {network:<4} {events:>6}");
    }
    println!("\nevents per partition, and its root");
    for (partition, events) in &partitions {
        let root = roots.get(partition).map_or("-", String::as_str);
        println!("  {partition:<4} {events:>6}  {root}");
    }
    let events = records.len().max(1) as u64;
    let payload_bytes: u64 = records.iter().map(|record| record.value.len() as u64).sum();
    println!(
        "\nbytes on disk per event {}, of which its own {}",
        disk_bytes / events,
        payload_bytes / events
    );
    println!("\ntime per step");
    for (step, time) in times {
        println!("  {step:<24} {:>9.3} ms", time.as_secs_f64() * 1e3);
    }
    println!("\nall {events} events came back byte for byte, and every proof holds");
}
