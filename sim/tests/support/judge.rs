//! The judge: is a log that was reopened what the model says it is?

use super::model::{Model, Offsets, Place, Unit};
use merkql::broker::{Broker, BrokerRef};
use merkql::consumer::{ConsumerConfig, OffsetReset};
use merkql::record::Record;
use std::collections::BTreeMap;
use std::time::Duration;

type Verdict = Result<(), String>;

fn failed<E: std::fmt::Display>(what: &str) -> impl Fn(E) -> String + '_ {
    move |error| format!("{what}: {error}")
}

/// Compares the log with the model. What was open is settled by it: found or
/// not, from here on it has to stay so.
pub(crate) fn judge(broker: &BrokerRef, model: &mut Model) -> Verdict {
    judge_topics(broker, model)?;
    let found = judge_records(broker, model)?;
    settle_units(broker, model, found)?;
    judge_trees(broker, model)?;
    judge_commits(broker, model)?;
    judge_sequences(broker, model)
}

fn judge_topics(broker: &BrokerRef, model: &mut Model) -> Verdict {
    if let Some((name, topic)) = model.open_topic.take()
        && broker.topic(&name).is_some()
    {
        model.topic_created(&name, topic);
    }
    let names: Vec<&String> = model.topics.keys().collect();
    let found = broker.topics();
    if found.iter().collect::<Vec<_>>() != names {
        return Err(format!("topics {found:?}, not {names:?}"));
    }
    for (name, expected) in &model.topics {
        let topic = broker.topic(name).ok_or("a topic is listed and not found")?;
        if topic.num_partitions() != expected.partitions
            || topic.retention().max_records != expected.retention
        {
            return Err(format!("topic {name} is {topic:?}, not {expected:?}"));
        }
    }
    Ok(())
}

/// Checks the acknowledged records; returns those behind them.
fn judge_records(
    broker: &BrokerRef,
    model: &Model,
) -> Result<BTreeMap<Place, Vec<Record>>, String> {
    let mut behind = BTreeMap::new();
    for (place, log) in &model.logs {
        let topic = broker.topic(&place.0).ok_or("a topic is gone")?;
        let handle = topic.partition(place.1).ok_or("a partition is gone")?;
        let partition = handle.read().map_err(failed("partition"))?;
        let (start, next) = (partition.min_valid_offset(), partition.next_offset());
        let acknowledged = log.records.len() as u64;
        if next < acknowledged {
            return Err(format!("{place:?} ends at {next}, {acknowledged} were acknowledged"));
        }
        let retention = model.topics.get(&place.0).and_then(|topic| topic.retention);
        let expected_start = retention.map_or(0, |kept| next.saturating_sub(kept));
        if start != expected_start {
            return Err(format!("{place:?} of {next} begins at {start}, not {expected_start}"));
        }
        let records = partition.read_range(0, u64::MAX).map_err(failed("read_range"))?;
        let offsets: Vec<u64> = records.iter().map(|record| record.offset).collect();
        if offsets != (start..next).collect::<Vec<_>>() {
            return Err(format!("{place:?} {start}..{next} holds offsets {offsets:?}"));
        }
        for record in &records {
            let index = usize::try_from(record.offset).unwrap_or(usize::MAX);
            match log.records.get(index) {
                Some(known) if known != record => {
                    return Err(format!("{place:?}: {record:?} stands where {known:?} was"));
                }
                Some(_) => {}
                None => behind.entry(place.clone()).or_insert_with(Vec::new).push(record.clone()),
            }
        }
        // One by one, too: that is another path.
        for offset in [start, u64::midpoint(start, next), next.saturating_sub(1), next] {
            let single = partition.read(offset).map_err(failed("read"))?;
            let expected = offset.checked_sub(start).and_then(|index| {
                records.get(usize::try_from(index).unwrap_or(usize::MAX)).cloned()
            });
            if single != expected {
                return Err(format!("{place:?} {offset}: {single:?} alone, {expected:?} in range"));
            }
        }
    }
    Ok(behind)
}

/// Every record that was not acknowledged belongs to a send without an answer,
/// and each of those is there whole and once, or not at all.
fn settle_units(
    broker: &BrokerRef,
    model: &mut Model,
    mut behind: BTreeMap<Place, Vec<Record>>,
) -> Verdict {
    for unit in std::mem::take(&mut model.open_units) {
        let stored = take_unit(&mut behind, &unit);
        if stored.is_empty() {
            if let Some((id, sequence)) = unit.sent {
                let next = Broker::idempotent_producer(broker, id).next_sequence();
                if next != sequence {
                    return Err(format!("producer {id} is at {next} without the send {sequence}"));
                }
            }
            continue;
        }
        if stored.len() != unit.records.len() {
            let (found, sent) = (stored.len(), unit.records.len());
            return Err(format!("{found} records of a send of {sent} are there: {stored:?}"));
        }
        model.stored(stored, unit.sent)?;
    }
    match behind.values().flatten().next() {
        None => Ok(()),
        Some(record) => Err(format!("{record:?} is there, and nothing that is open explains it")),
    }
}

/// Takes the records of a unit from the front of what was found.
fn take_unit(behind: &mut BTreeMap<Place, Vec<Record>>, unit: &Unit) -> Vec<Record> {
    let mut stored = Vec::new();
    for sent in &unit.records {
        let mut logs = behind.iter_mut().filter(|(place, _)| place.0 == sent.topic);
        let found = logs.find_map(|(_, records)| {
            let first = records.first()?;
            (first.value == sent.value && first.key == sent.key).then(|| records.remove(0))
        });
        stored.extend(found);
    }
    stored
}

fn judge_trees(broker: &BrokerRef, model: &Model) -> Verdict {
    for (place, log) in &model.logs {
        let topic = broker.topic(&place.0).ok_or("a topic is gone")?;
        let handle = topic.partition(place.1).ok_or("a partition is gone")?;
        let partition = handle.read().map_err(failed("partition"))?;
        let root = partition.merkle_root().map_err(failed("merkle_root"))?;
        let size = log.records.len();
        let expected = (size > 0).then(|| log.root(size));
        if root != expected {
            return Err(format!("{place:?} has root {root:?} at {size}, not {expected:?}"));
        }
        let Some(root) = root else { continue };
        for (_, old_size, old_root) in model.roots.iter().filter(|(of, ..)| of == place) {
            let again = partition.root_at(*old_size).map_err(failed("root_at"))?;
            if again != Some(*old_root) {
                return Err(format!("{place:?} at {old_size}: root {again:?}, was {old_root:?}"));
            }
            let proof = partition.consistency_proof(*old_size).map_err(failed("consistency"))?;
            if !proof.is_some_and(|proof| proof.proves(old_root, &root)) {
                return Err(format!("{place:?}: no proof from {old_size} to {size}"));
            }
        }
        for (_, offset, proof) in model.proofs.iter().filter(|(of, ..)| of == place) {
            let holds = partition.verify_proof(proof).map_err(failed("verify_proof"))?;
            let record = log.records.get(usize::try_from(*offset).unwrap_or(usize::MAX));
            let proves = record.is_some_and(|record| proof.proves(&record.hash(), &proof.root));
            if !holds || !proves {
                return Err(format!("{place:?}: the proof of {offset} does not hold any more"));
            }
        }
        for offset in [0, size as u64 / 2, size as u64 - 1] {
            let proof = partition.proof(offset).map_err(failed("proof"))?;
            let record = log.records.get(usize::try_from(offset).unwrap_or(usize::MAX));
            let proves =
                proof.zip(record).is_some_and(|(p, record)| p.proves(&record.hash(), &root));
            if !proves {
                return Err(format!("{place:?}: no proof of {offset}"));
            }
        }
    }
    Ok(())
}

/// Where each group goes on.
fn judge_commits(broker: &BrokerRef, model: &mut Model) -> Verdict {
    let open = model.open_commit.take();
    let mut groups: BTreeMap<String, Vec<Offsets>> = BTreeMap::new();
    for (group, offsets) in &model.committed {
        groups.insert(group.clone(), vec![offsets.clone()]);
    }
    if let Some((group, offsets)) = open {
        groups.entry(group).or_insert_with(|| vec![Offsets::new()]).push(offsets);
    }
    for (group, possible) in groups {
        let found = positions(broker, model, &group)?;
        let as_seen = |offsets: &Offsets| -> Offsets {
            let place = |place: &Place| {
                let start = broker.topic(&place.0).map_or(0, |topic| {
                    let partition = topic.partition(place.1).and_then(|p| p.read().ok());
                    partition.map_or(0, |partition| partition.min_valid_offset())
                });
                (place.clone(), offsets.get(place).copied().unwrap_or_default().max(start))
            };
            model.logs.keys().map(place).collect()
        };
        let Some(held) = possible.iter().find(|offsets| as_seen(offsets) == found) else {
            let expected: Vec<Offsets> = possible.iter().map(as_seen).collect();
            return Err(format!("group {group} is at {found:?}, none of {expected:?}"));
        };
        model.committed.insert(group, held.clone());
    }
    Ok(())
}

fn positions(broker: &BrokerRef, model: &Model, group: &str) -> Result<Offsets, String> {
    let config = ConsumerConfig {
        group_id: group.to_owned(),
        auto_commit: false,
        offset_reset: OffsetReset::Earliest,
    };
    let mut consumer = Broker::consumer(broker, config);
    let topics: Vec<&str> = model.topics.keys().map(String::as_str).collect();
    consumer.subscribe(&topics).map_err(failed("subscribe"))?;
    let mut found: Offsets = Offsets::new();
    loop {
        let records = if topics.is_empty() {
            Vec::new()
        } else {
            consumer.poll(Duration::ZERO).map_err(failed("poll"))?
        };
        if records.is_empty() {
            break;
        }
        for record in records {
            found.entry((record.topic, record.partition)).or_insert(record.offset);
        }
    }
    // Where nothing was left to read, the group stands at the end.
    for (place, log) in &model.logs {
        found.entry(place.clone()).or_insert(log.records.len() as u64);
    }
    Ok(found)
}

fn judge_sequences(broker: &BrokerRef, model: &Model) -> Verdict {
    for (id, expected) in &model.sequences {
        let next = Broker::idempotent_producer(broker, *id).next_sequence();
        if next != *expected {
            return Err(format!("producer {id} is at sequence {next}, not {expected}"));
        }
    }
    Ok(())
}
