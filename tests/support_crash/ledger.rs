//! What the log has promised, and whether it keeps it.
//!
//! Every send is a *unit* with a number of its own. Values and keys follow from
//! the unit and the record's index in it, so a record that is read tells what
//! its bytes must be without asking whoever wrote it. The ledger notes what was
//! acknowledged, what failed for sure, every root and every committed offset;
//! [`Ledger::check`] holds an open log against all of it:
//!
//! * an acknowledged record is at its offset, with its bytes;
//! * a unit is there whole or not at all, once, and not if it failed for sure;
//! * what was once read stays, unless retention has taken it;
//! * offsets are dense, the root is that of the records' hashes, and every root
//!   ever seen is a prefix of it, by recomputation and by consistency proof;
//! * inclusion proofs verify;
//! * committed offsets are where they were left.

use super::Rng;
use merkql::broker::{Broker, BrokerRef};
use merkql::consumer::{ConsumerConfig, OffsetReset};
use merkql::hash::{Hash, leaf_hash};
use merkql::partition::Partition;
use merkql::record::{ProducerRecord, Record};
use merkql::tree::{CompactRange, MerkleTree};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// Identifies a send.
pub(crate) type Unit = u64;

/// A partition of a topic.
pub(crate) type PartitionId = (String, u32);

/// A record's place: topic, partition, offset.
type Place = (String, u32, u64);

/// How many inclusion proofs of a partition are looked at by each check.
const PROOFS_A_CHECK: u64 = 6;
/// How many of the roots known before are proved again by each check.
const OLD_ROOTS_A_CHECK: u64 = 6;

/// The value of record `index` of `count` in a unit.
pub(crate) fn value_of(unit: Unit, index: u32, count: u32) -> String {
    let mut value = format!("{unit:016x}:{index}:{count}:");
    let mut random = Rng(unit ^ u64::from(index) << 32);
    let len = match random.below(8) {
        0 => 0,
        7 => random.below(900),
        _ => random.below(120),
    };
    // Half of it repeats itself, so that compression has something to do.
    let repeats = random.one_in(2);
    let mut letter = b'a';
    for _ in 0..len {
        if !repeats || random.one_in(16) {
            letter = b'a' + u8::try_from(random.below(26)).unwrap();
        }
        value.push(char::from(letter));
    }
    value
}

/// The key of record `index` in a unit; every third unit has none.
pub(crate) fn key_of(unit: Unit, index: u32) -> Option<String> {
    (!unit.is_multiple_of(3)).then(|| format!("key-{}", (unit + u64::from(index)) % 13))
}

/// The records of a unit, one for each topic named.
pub(crate) fn records_of(unit: Unit, topics: &[&str]) -> Vec<ProducerRecord> {
    let count = u32::try_from(topics.len()).unwrap();
    let record = |(index, topic): (u32, &&str)| {
        ProducerRecord::new(*topic, key_of(unit, index), value_of(unit, index, count))
    };
    (0..).zip(topics).map(record).collect()
}

/// The unit, the index and the count in a value.
pub(crate) fn parse_value(value: &str) -> Option<(Unit, u32, u32)> {
    let mut parts = value.splitn(4, ':');
    let unit = u64::from_str_radix(parts.next()?, 16).ok()?;
    let index = parts.next()?.parse().ok()?;
    let count = parts.next()?.parse().ok()?;
    parts.next()?;
    Some((unit, index, count))
}

#[derive(Debug, Default)]
struct PartitionLedger {
    /// The hash of each record that was acknowledged or read.
    hashes: BTreeMap<u64, Hash>,
    /// The root at each size at which one was seen.
    roots: BTreeMap<u64, Hash>,
    /// Sizes of roots that no check has proved yet.
    unproved: BTreeSet<u64>,
    start: u64,
}

#[derive(Debug, Default)]
struct UnitLedger {
    places: BTreeMap<u32, Place>,
    count: u32,
    /// The log said that it changed nothing.
    failed: bool,
}

/// A group's committed offset in one partition.
#[derive(Debug, Default)]
struct Committed {
    sure: u64,
    /// Commits that were begun after it and have no answer.
    maybe: BTreeSet<u64>,
}

/// What the log has promised.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    partitions: BTreeMap<PartitionId, PartitionLedger>,
    units: HashMap<Unit, UnitLedger>,
    commits: BTreeMap<(String, PartitionId), Committed>,
    /// What was noted and what was checked, to be shown.
    pub(crate) counts: Counts,
}

/// How much was promised, and how much was looked at.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) acks: u64,
    pub(crate) roots: u64,
    pub(crate) commits: u64,
    pub(crate) checks: u64,
    pub(crate) records_read: u64,
    pub(crate) roots_recomputed: u64,
    pub(crate) consistency_proofs: u64,
    pub(crate) inclusion_proofs: u64,
}

impl Ledger {
    /// A record was acknowledged with this hash.
    pub(crate) fn ack(&mut self, unit: Unit, index: u32, count: u32, place: Place, hash: Hash) {
        self.counts.acks += 1;
        self.note_record(unit, index, count, place, hash);
        self.units.entry(unit).or_default().failed = false;
    }

    /// The records that a send of `unit` returned.
    pub(crate) fn ack_records(&mut self, unit: Unit, records: &[Record]) {
        let count = u32::try_from(records.len()).unwrap();
        for (index, record) in (0..).zip(records) {
            assert_eq!(record.value, value_of(unit, index, count), "another value was returned");
            assert_eq!(record.key, key_of(unit, index), "another key was returned");
            let place = (record.topic.clone(), record.partition, record.offset);
            self.ack(unit, index, count, place, record.hash());
        }
    }

    /// The send of `unit` failed and changed nothing.
    pub(crate) fn fail(&mut self, unit: Unit) {
        self.units.entry(unit).or_default().failed = true;
    }

    /// Whether any record of the unit was acknowledged or read.
    pub(crate) fn has(&self, unit: Unit) -> bool {
        self.units.get(&unit).is_some_and(|unit| !unit.places.is_empty())
    }

    /// A root was handed out.
    pub(crate) fn root(&mut self, id: &PartitionId, size: u64, root: Hash) {
        self.counts.roots += 1;
        let known = self.partitions.entry(id.clone()).or_default();
        let before = known.roots.insert(size, root);
        assert!(before.is_none_or(|before| before == root), "two roots of {id:?} at {size}");
        if before.is_none() {
            known.unproved.insert(size);
        }
    }

    /// A commit was begun.
    pub(crate) fn begin_commit(&mut self, group: &str, partition: PartitionId, offset: u64) {
        let committed = self.commits.entry((group.to_owned(), partition)).or_default();
        committed.maybe.insert(offset);
    }

    /// A commit was acknowledged.
    pub(crate) fn commit(&mut self, group: &str, partition: PartitionId, offset: u64) {
        self.counts.commits += 1;
        let committed = Committed { sure: offset, maybe: BTreeSet::new() };
        self.commits.insert((group.to_owned(), partition), committed);
    }

    fn note_record(&mut self, unit: Unit, index: u32, count: u32, place: Place, hash: Hash) {
        let noted = self.units.entry(unit).or_default();
        noted.count = count;
        let before = noted.places.entry(index).or_insert_with(|| place.clone());
        assert_eq!(*before, place, "record {index} of unit {unit:x} is there twice");
        let (topic, partition, offset) = place;
        let known = self.partitions.entry((topic.clone(), partition)).or_default();
        let before = *known.hashes.entry(offset).or_insert(hash);
        assert_eq!(
            before, hash,
            "{topic}/{partition} has another record at {offset} than it had, of unit {unit:x}"
        );
    }

    /// Holds an open log against everything that was promised.
    pub(crate) fn check(&mut self, broker: &BrokerRef) {
        self.counts.checks += 1;
        let promised: Vec<PartitionId> = self.partitions.keys().cloned().collect();
        for (topic, partition) in promised {
            let found = broker.topic(&topic).unwrap_or_else(|| panic!("topic {topic} is gone"));
            assert!(partition < found.num_partitions(), "{topic}/{partition} is gone");
        }
        for name in broker.topics() {
            let topic = broker.topic(&name).unwrap();
            for partition in topic.partition_ids() {
                let view = topic.partition(partition).unwrap().read().unwrap();
                self.check_partition(&(name.clone(), partition), &view);
            }
        }
        for (unit, noted) in &self.units {
            let found = noted.places.len();
            assert!(!noted.failed || found == 0, "unit {unit:x} failed, and is there all the same");
            assert!(
                found == 0 || found == noted.count as usize,
                "{found} of {} records of unit {unit:x} are there: {:?}",
                noted.count,
                noted.places
            );
        }
    }

    fn check_partition(&mut self, id: &PartitionId, view: &Partition) {
        let (start, end) = (view.min_valid_offset(), view.next_offset());
        let known = self.partitions.entry(id.clone()).or_default();
        assert!(start >= known.start, "the log start of {id:?} went back to {start}");
        known.start = start;
        let records =
            view.read_range(0, u64::MAX).unwrap_or_else(|error| panic!("{id:?}: {error}"));
        self.counts.records_read += records.len() as u64;
        let offsets: Vec<u64> = records.iter().map(|record| record.offset).collect();
        assert_eq!(offsets, (start..end).collect::<Vec<_>>(), "offsets of {id:?} are not dense");
        for record in &records {
            assert_eq!((&record.topic, record.partition), (&id.0, id.1));
            let parsed = parse_value(&record.value);
            let (unit, index, count) =
                parsed.unwrap_or_else(|| panic!("{id:?} serves what nobody sent: {record:?}"));
            assert_eq!(record.value, value_of(unit, index, count), "{id:?} serves other bytes");
            assert_eq!(record.key, key_of(unit, index), "{id:?} serves another key");
            let place = (id.0.clone(), id.1, record.offset);
            self.note_record(unit, index, count, place, record.hash());
        }
        self.check_tree(id, view, &records);
    }

    fn check_tree(&mut self, id: &PartitionId, view: &Partition, records: &[Record]) {
        let end = view.next_offset();
        let known = self.partitions.entry(id.clone()).or_default();
        let last = known.hashes.last_key_value().map_or(0, |(offset, _)| offset + 1);
        assert!(last <= end, "{id:?} ends at {end}, and {} was acknowledged", last.wrapping_sub(1));
        let dense = known.hashes.keys().copied().eq(0..end);
        assert!(dense, "not all records of {id:?} up to {end} were ever seen");
        // Every root ever handed out is that of a prefix.
        let mut range = CompactRange::new();
        for hash in known.hashes.values() {
            range.push(leaf_hash(hash), &mut |_| {});
            if let Some(root) = known.roots.get(&range.size()) {
                self.counts.roots_recomputed += 1;
                let at = range.size();
                assert_eq!(*root, range.root(), "the root of {id:?} at {at} is no prefix");
            }
        }
        let largest = known.roots.last_key_value().map_or(0, |(size, _)| *size);
        assert!(largest <= end, "{id:?} ends at {end}, and a root of {largest} was handed out");
        let root = view.merkle_root().unwrap();
        assert_eq!(root, (end > 0).then(|| range.root()), "the root of {id:?} is not its records'");
        let Some(root) = root else { return };
        // The log's own proofs agree: of all new roots, and of some old ones.
        let mut random = Rng(end ^ self.counts.checks << 32);
        let mut sizes = std::mem::take(&mut known.unproved);
        let all: Vec<u64> = known.roots.keys().copied().collect();
        if !all.is_empty() {
            let old = (0..OLD_ROOTS_A_CHECK).map(|_| random.below(all.len() as u64));
            sizes.extend(old.map(|index| all[usize::try_from(index).unwrap()]));
        }
        for size in sizes {
            self.counts.consistency_proofs += 1;
            let old = known.roots[&size];
            assert_eq!(view.root_at(size).unwrap(), Some(old), "root_at({size}) of {id:?}");
            let proof = view.consistency_proof(size).unwrap().unwrap();
            assert!(proof.proves(&old, &root), "the proof of {id:?} from {size} is wrong");
        }
        known.roots.insert(end, root);
        // Inclusion: the ends, and some in between, retained or not.
        let mut offsets = BTreeSet::from([0, end - 1]);
        offsets.extend(records.first().map(|record| record.offset));
        offsets.extend((0..PROOFS_A_CHECK).map(|_| random.below(end)));
        for offset in offsets {
            self.counts.inclusion_proofs += 1;
            let proof = view.proof(offset).unwrap().unwrap();
            let hash = &known.hashes[&offset];
            assert!(proof.proves(hash, &root), "the proof of {id:?} at {offset} is wrong");
            assert!(MerkleTree::verify_proof(&proof, view.store()).unwrap());
        }
    }

    /// Whether every group goes on where it committed. Joins the groups, so it
    /// is for a log that was just opened.
    pub(crate) fn check_commits(&mut self, broker: &BrokerRef) {
        let groups: BTreeSet<String> =
            self.commits.keys().map(|(group, _)| group.clone()).collect();
        for group in groups {
            let of_group = self.commits.keys().filter(|(of, _)| *of == group);
            let topics: BTreeSet<String> = of_group.map(|(_, id)| id.0.clone()).collect();
            let first = first_offsets(broker, &group, &topics);
            for ((of, id), committed) in &mut self.commits {
                if *of != group {
                    continue;
                }
                let topic = broker.topic(&id.0).unwrap();
                let view = topic.partition(id.1).unwrap().read().unwrap();
                let (start, end) = (view.min_valid_offset(), view.next_offset());
                let found = first.get(id).copied().unwrap_or(end);
                let mut possible = committed.maybe.clone();
                possible.insert(committed.sure);
                assert!(
                    possible.iter().any(|offset| found == (*offset).max(start)),
                    "group {group} committed {possible:?} in {id:?} and goes on at {found}"
                );
                // What is found now is settled, except where the start hides it.
                if found > start || possible.len() == 1 {
                    *committed = Committed { sure: found, maybe: BTreeSet::new() };
                }
            }
        }
    }
}

/// Where a group goes on in each partition that has something to return.
fn first_offsets(
    broker: &BrokerRef,
    group: &str,
    topics: &BTreeSet<String>,
) -> BTreeMap<PartitionId, u64> {
    let config = ConsumerConfig {
        group_id: group.to_owned(),
        auto_commit: false,
        offset_reset: OffsetReset::Earliest,
    };
    let mut consumer = Broker::consumer(broker, config);
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics).unwrap();
    let mut first = BTreeMap::new();
    for record in consumer.poll(Duration::ZERO).unwrap() {
        first.entry((record.topic, record.partition)).or_insert(record.offset);
    }
    first
}
