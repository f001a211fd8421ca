//! Everything that an open log serves: each record in both ways, each root, each
//! proof, each committed offset, and each error in their place.

use super::truth::{Place, Truth};
use merkql::broker::{Broker, BrokerRef};
use merkql::consumer::{ConsumerConfig, ConsumerOptions, OffsetReset};
use merkql::error::Error;
use merkql::hash::Hash;
use merkql::partition::Partition;
use merkql::record::BytesRecord;
use std::collections::BTreeMap;
use std::time::Duration;

/// So many offsets behind the true end are asked for; a forged end may be anywhere.
const BEYOND: u64 = 8;
/// So many errors in a row are stepped over.
const ERRORS_MAX: usize = 400;

/// What was answered for one offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Record(Box<BytesRecord>),
    Nothing,
    Failed(String),
}

/// What a partition served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) log_start: u64,
    pub(crate) next_offset: u64,
    /// By offset, from the log's start on.
    pub(crate) records: BTreeMap<u64, Answer>,
    /// What polling brought; an error stands where it was stepped over.
    pub(crate) polled: BTreeMap<u64, Answer>,
    /// Polling met an error that names no place, or too many.
    pub(crate) poll_gave_up: Option<String>,
    pub(crate) root: Option<Hash>,
    /// By size.
    pub(crate) roots: BTreeMap<u64, Result<Hash, String>>,
    /// By offset: whether the proof is about what was acknowledged.
    pub(crate) proofs: BTreeMap<u64, Result<bool, String>>,
}

/// What a log served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sight {
    pub(crate) partitions: BTreeMap<Place, Seen>,
    pub(crate) commits: BTreeMap<(String, String, u32), u64>,
    /// What could not even be listed.
    pub(crate) errors: Vec<String>,
}

/// Reads everything, and proves everything.
pub(crate) fn observe(broker: &BrokerRef, truth: &Truth) -> Sight {
    let mut sight = Sight::default();
    for name in broker.topics() {
        let Some(topic) = broker.topic(&name) else { continue };
        for number in topic.partition_ids().into_iter().take(64) {
            let Some(handle) = topic.partition(number) else { continue };
            let place = (name.clone(), number);
            match handle.read() {
                Ok(partition) => {
                    let seen = look_at(&partition, &place, truth);
                    sight.partitions.insert(place, seen);
                }
                Err(error) => sight.errors.push(error.to_string()),
            }
        }
    }
    for (place, seen) in &mut sight.partitions {
        poll(broker, place, seen);
    }
    for group in broker.groups() {
        match broker.describe_group(&group) {
            Ok(described) => {
                for offset in described.offsets {
                    let key = (group.clone(), offset.topic, offset.partition);
                    sight.commits.insert(key, offset.committed);
                }
            }
            Err(error) => sight.errors.push(error.to_string()),
        }
    }
    sight
}

fn look_at(partition: &Partition, place: &Place, truth: &Truth) -> Seen {
    let truth = truth.partitions.get(place);
    let true_end = truth.map_or(0, super::truth::PartitionTruth::next_offset);
    let (log_start, next_offset) = (partition.min_valid_offset(), partition.next_offset());
    let end = next_offset.min(true_end + BEYOND);
    let mut seen = Seen { log_start, next_offset, ..Seen::default() };
    for offset in log_start..end {
        let answer = match partition.read_bytes(offset) {
            Ok(Some(record)) => Answer::Record(Box::new(record)),
            Ok(None) => Answer::Nothing,
            Err(error) => Answer::Failed(error.to_string()),
        };
        seen.records.insert(offset, answer);
    }
    seen.root = partition.merkle_root().ok().flatten();
    for size in 1..=end {
        let root = partition.root_at(size).map_err(|error| error.to_string());
        let root = root.and_then(|root| root.ok_or_else(|| "no root".to_owned()));
        seen.roots.insert(size, root);
    }
    for offset in 0..end {
        let proof = partition.proof(offset).map_err(|error| error.to_string());
        let proof = proof.and_then(|proof| proof.ok_or_else(|| "no proof".to_owned()));
        let about_truth = proof.map(|proof| {
            let hash = truth.and_then(|truth| truth.hashes.get(usize::try_from(offset).ok()?));
            let root = truth.and_then(|truth| truth.root(proof.siblings.tree_size));
            hash.zip(root).is_none_or(|(hash, root)| proof.proves(hash, &root))
        });
        seen.proofs.insert(offset, about_truth);
    }
    seen
}

/// Polls a partition to its end, past whatever is damaged.
fn poll(broker: &BrokerRef, (topic, number): &Place, seen: &mut Seen) {
    let config = ConsumerConfig {
        group_id: "hostile-reader".to_owned(),
        auto_commit: false,
        offset_reset: OffsetReset::Earliest,
    };
    let options = ConsumerOptions { max_poll_records: Some(64), ..ConsumerOptions::default() };
    let mut consumer = Broker::consumer_with(broker, config, options);
    let begun = consumer
        .assign(&[(topic, *number)])
        .and_then(|()| consumer.seek(topic, *number, seen.log_start));
    if let Err(error) = begun {
        seen.poll_gave_up = Some(error.to_string());
        return;
    }
    let mut errors = 0;
    loop {
        match consumer.poll_bytes(Duration::ZERO) {
            Ok(records) if records.is_empty() => return,
            Ok(records) => {
                for record in records {
                    seen.polled.insert(record.offset, Answer::Record(Box::new(record)));
                }
            }
            Err(Error::Corrupt(damage)) if damage.offset.is_some() && errors < ERRORS_MAX => {
                errors += 1;
                let offset = damage.offset.unwrap_or_default();
                seen.polled.insert(offset, Answer::Failed(damage.to_string()));
                if let Err(error) = consumer.seek(topic, *number, offset + 1) {
                    seen.poll_gave_up = Some(error.to_string());
                    return;
                }
            }
            Err(error) => {
                seen.poll_gave_up = Some(error.to_string());
                return;
            }
        }
    }
}
