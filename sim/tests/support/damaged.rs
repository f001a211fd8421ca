//! The judge of a damaged log: nothing wrong is served, nothing is dropped in
//! silence, and what was not touched is there.
//!
//! That holds for records, committed offsets and producers' sequences, and for the
//! latter only as long as the journal's last block holds records that are in their
//! file: a block without any leaves nothing that could miss it. The workloads that are
//! judged here end with such a send.

use super::model::{Model, Offsets, Place};
use merkql::Error;
use merkql::broker::{Broker, BrokerRef};
use merkql::consumer::{ConsumerConfig, OffsetReset};
use merkql::partition::Partition;
use std::time::Duration;

/// What was found out about a fault.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Findings {
    /// How many calls said that something is damaged.
    pub(crate) detected: u64,
}

impl Findings {
    /// An error must be typed damage, or what the disk has said.
    fn error(&mut self, error: &Error, what: &str) -> Result<(), String> {
        match error {
            Error::Corrupt(_) | Error::Io { .. } => {
                self.detected += 1;
                Ok(())
            }
            error => Err(format!("{what}: {error:?}")),
        }
    }
}

/// Checks every record, root and proof, and says how much was refused. A
/// partition that is not `touched` may refuse nothing.
pub(crate) fn judge_damaged(
    broker: &BrokerRef,
    model: &Model,
    touched: impl Fn(&Place) -> bool,
) -> Result<Findings, String> {
    let mut sum = Findings::default();
    if broker.topics() != model.topics.keys().cloned().collect::<Vec<_>>() {
        return Err(format!("topics {:?}, not {:?}", broker.topics(), model.topics.keys()));
    }
    for (place, log) in &model.logs {
        let mut findings = Findings::default();
        let topic = broker.topic(&place.0).ok_or("a topic is gone")?;
        let partition = topic.partition(place.1).ok_or("a partition is gone")?;
        let partition = partition.read().map_err(|error| error.to_string())?;
        let next = partition.next_offset();
        if next != log.records.len() as u64 {
            return Err(format!("{place:?} ends at {next}, not {}", log.records.len()));
        }
        judge_reads(place, model, &partition, &mut findings)?;
        judge_tree(place, model, &partition, &mut findings)?;
        if findings.detected > 0 && !touched(place) {
            return Err(format!("{place:?} was not touched, and refuses"));
        }
        sum.detected += findings.detected;
    }
    judge_poll(broker, model, &mut sum)?;
    judge_state(broker, model)?;
    Ok(sum)
}

/// What groups have committed, and which sequence each producer is at: no damage of a
/// partition's file takes that away, and none of the journal or a slot without a word.
fn judge_state(broker: &BrokerRef, model: &Model) -> Result<(), String> {
    // A member that stands in front of what retention took goes on behind it.
    let as_seen = |place: &Place, offsets: &Offsets| {
        let partition = broker.topic(&place.0)?.partition(place.1)?.read().ok()?;
        Some(offsets.get(place).copied().unwrap_or(0).max(partition.min_valid_offset()))
    };
    for (group, expected) in &model.committed {
        let described = broker.describe_group(group).map_err(|error| error.to_string())?;
        let found = described.offsets.into_iter();
        let found: Offsets =
            found.map(|offset| ((offset.topic, offset.partition), offset.committed)).collect();
        if model.logs.keys().any(|place| as_seen(place, &found) != as_seen(place, expected)) {
            return Err(format!("group {group} has committed {found:?}, not {expected:?}"));
        }
    }
    for (id, expected) in &model.sequences {
        let next = Broker::idempotent_producer(broker, *id).next_sequence();
        if next != *expected {
            return Err(format!("producer {id} is at sequence {next}, not {expected}"));
        }
    }
    Ok(())
}

fn judge_reads(
    place: &Place,
    model: &Model,
    partition: &Partition,
    findings: &mut Findings,
) -> Result<(), String> {
    let log = &model.logs[place];
    let start = partition.min_valid_offset();
    let retention = model.topics.get(&place.0).and_then(|topic| topic.retention);
    let next = log.records.len() as u64;
    if start > retention.map_or(0, |kept| next.saturating_sub(kept)) {
        return Err(format!("{place:?} begins at {start} of {next}"));
    }
    for (offset, known) in (0..).zip(&log.records).skip(usize::try_from(start).unwrap_or(0)) {
        match partition.read(offset) {
            Ok(Some(found)) if found == *known => {}
            Ok(found) => return Err(format!("{place:?} {offset}: {found:?}, not {known:?}")),
            Err(error) => findings.error(&error, "read")?,
        }
    }
    match partition.read_range(0, u64::MAX) {
        Ok(found) if found == log.records[usize::try_from(start).unwrap_or(0)..] => {}
        Ok(found) => return Err(format!("{place:?}: the range {found:?}")),
        Err(error) => findings.error(&error, "read_range")?,
    }
    Ok(())
}

fn judge_tree(
    place: &Place,
    model: &Model,
    partition: &Partition,
    findings: &mut Findings,
) -> Result<(), String> {
    let log = &model.logs[place];
    let size = log.records.len();
    let root = (size > 0).then(|| log.root(size));
    match partition.merkle_root() {
        Ok(found) if found == root => {}
        Ok(found) => return Err(format!("{place:?}: root {found:?}, not {root:?}")),
        Err(error) => findings.error(&error, "merkle_root")?,
    }
    let Some(root) = root else { return Ok(()) };
    for (_, old_size, old_root) in model.roots.iter().filter(|(of, ..)| of == place) {
        match partition.root_at(*old_size) {
            Ok(found) if found == Some(*old_root) => {}
            Ok(found) => {
                return Err(format!("{place:?} at {old_size}: {found:?}, was {old_root:?}"));
            }
            Err(error) => findings.error(&error, "root_at")?,
        }
        match partition.consistency_proof(*old_size) {
            Ok(Some(proof)) if proof.proves(old_root, &root) => {}
            Ok(proof) => return Err(format!("{place:?} from {old_size}: {proof:?}")),
            Err(error) => findings.error(&error, "consistency_proof")?,
        }
    }
    for (offset, record) in (0..).zip(&log.records) {
        match partition.proof(offset) {
            Ok(Some(proof)) if proof.proves(&record.hash(), &root) => {}
            Ok(proof) => return Err(format!("{place:?} {offset}: {proof:?}")),
            Err(error) => findings.error(&error, "proof")?,
        }
    }
    Ok(())
}

/// A consumer gets what is there, in order, and an error in front of damage.
fn judge_poll(broker: &BrokerRef, model: &Model, findings: &mut Findings) -> Result<(), String> {
    let config = ConsumerConfig {
        group_id: "judge".to_owned(),
        auto_commit: false,
        offset_reset: OffsetReset::Earliest,
    };
    let mut consumer = Broker::consumer(broker, config);
    let topics: Vec<&str> = model.topics.keys().map(String::as_str).collect();
    if topics.is_empty() {
        return Ok(());
    }
    consumer.subscribe(&topics).map_err(|error| error.to_string())?;
    loop {
        match consumer.poll(Duration::ZERO) {
            Ok(records) if records.is_empty() => return Ok(()),
            Ok(records) => {
                for record in records {
                    let place = (record.topic.clone(), record.partition);
                    let offset = usize::try_from(record.offset).unwrap_or(usize::MAX);
                    let known = model.logs.get(&place).and_then(|log| log.records.get(offset));
                    if known != Some(&record) {
                        return Err(format!("polled {record:?}, not {known:?}"));
                    }
                }
            }
            Err(error) => return findings.error(&error, "poll"),
        }
    }
}
