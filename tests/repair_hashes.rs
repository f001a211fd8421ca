//! Repair where stored hashes are wrong, alone or beside lost records: whatever still
//! hashes to the tree of the manifest is used, so no more is given up than has to be.

#![allow(clippy::disallowed_methods, reason = "the tests damage files behind the log's back")]

mod support;
mod support_crash;

use merkql::broker::{Broker, BrokerConfig};
use merkql::hash::Hash;
use merkql::record::Record;
use merkql::repair::{GivenUp, LostOffsets, Mended, Reason, RepairOptions, Report};
use merkql::topic::TopicConfig;
use merkql::{repair, verify};
use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use support::forge::forge_frame;
use support::*;
use support_crash::{Rng, copy_dir, memory_dir};
use tempfile::TempDir;

const RECORDS: u64 = 60;
/// So that segments end everywhere in the tree.
const SEGMENT_BYTES: [u64; 4] = [512, 1024, 1100, 1200];
const APPLY: RepairOptions = RepairOptions { apply: true };

fn value(number: u64) -> String {
    format!("value {number:0>4} {}", "x".repeat(80))
}

fn config(dir: &Path, segment_bytes: u64) -> BrokerConfig {
    BrokerConfig { segment_bytes, index_interval_bytes: 128, ..BrokerConfig::new(dir) }
}

/// A closed log of one partition, and what it shows.
struct Image {
    dir: TempDir,
    records: Vec<Record>,
    root: Hash,
}

impl Image {
    /// Sixty records, in segments of at most so many bytes.
    fn of(segment_bytes: u64) -> Self {
        Self::with(segment_bytes, &TopicConfig::default())
    }

    /// Sixty, of which the last ten are retained.
    fn of_few() -> Self {
        Self::with(1024, &TopicConfig { retention_records: Some(10), ..TopicConfig::default() })
    }

    fn with(segment_bytes: u64, topic: &TopicConfig) -> Self {
        let dir = memory_dir();
        let broker = Broker::open(config(dir.path(), segment_bytes)).unwrap();
        broker.create_topic_with("t", topic).unwrap();
        let producer = Broker::producer(&broker);
        for number in 0..RECORDS {
            producer.send(&keyless("t", value(number))).unwrap();
        }
        broker.maintain().unwrap();
        Broker::close(&broker).unwrap();
        Self::found(dir)
    }

    fn found(dir: TempDir) -> Self {
        let broker = Broker::open(config(dir.path(), 1024)).unwrap();
        let view = partition(&broker, "t", 0);
        let records = view.read_range(0, RECORDS).unwrap();
        Self { dir, records, root: view.merkle_root().unwrap().unwrap() }
    }

    fn copy(&self) -> TempDir {
        let copy = memory_dir();
        copy_dir(self.dir.path(), copy.path());
        copy
    }

    /// The offsets of each segment.
    fn segments(&self) -> Vec<Range<u64>> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        let base = |path: &PathBuf| name(path).split('.').next().unwrap().parse().unwrap();
        let bases: Vec<u64> = files(self.dir.path(), ".log").iter().map(base).collect();
        let ends = bases.iter().skip(1).chain([&RECORDS]);
        bases.iter().zip(ends).map(|(base, end)| *base..*end).collect()
    }
}

/// Where the node stands in the file of stored hashes.
fn slot(level: u32, index: u64) -> usize {
    let leaf = ((index + 1) << level) - 1;
    let nodes = 2 * leaf - u64::from(leaf.count_ones()) + u64::from(level);
    usize::try_from(nodes).unwrap() * 32
}

/// The levels of all nodes over a record.
fn levels_over(number: u64) -> Vec<u32> {
    (1..6).filter(|level| ((number >> level) + 1) << level <= RECORDS).collect()
}

fn damage_record(dir: &Path, number: u64) {
    let text = value(number);
    let holds = |path: &PathBuf| {
        fs::read(path).unwrap().windows(text.len()).any(|window| window == text.as_bytes())
    };
    let path = files(dir, ".log").into_iter().find(holds).unwrap();
    damage_text(&path, &text);
}

fn damage_node(dir: &Path, level: u32, index: u64) {
    flip_bit(&only_file(dir, "hashes"), slot(level, index));
}

fn lost(offsets: Range<u64>, reason: Reason) -> LostOffsets {
    let Range { start, end } = offsets;
    LostOffsets { topic: "t".to_owned(), partition: 0, start, end, reason }
}

fn hashes() -> Mended {
    Mended::Hashes { topic: "t".to_owned(), partition: 0 }
}

/// Repairs the log, and sees to everything that is promised: the dry run tells it all,
/// nothing is found any more, and all that was not lost is there, at its offset, proved.
fn repaired(dir: &Path, image: &Image) -> Report {
    let config = config(dir, 1024);
    let told = changes_nothing(dir, || repair(&config, &RepairOptions::default()).unwrap());
    let done = repair(&config, &APPLY).unwrap();
    assert_eq!(
        (&done.lost, &done.given_up, &done.mended),
        (&told.lost, &told.given_up, &told.mended)
    );
    assert_eq!(verify(&config).unwrap().findings, [], "{done}");
    let lost: BTreeSet<u64> = done.lost.iter().flat_map(|lost| lost.start..lost.end).collect();
    let broker = Broker::open(config.clone()).unwrap();
    let view = partition(&broker, "t", 0);
    assert_eq!(view.merkle_root().unwrap(), Some(image.root));
    let left = view.read_range(0, RECORDS).unwrap();
    let stay = image.records.iter().filter(|record| !lost.contains(&record.offset));
    assert!(left.iter().eq(stay), "{done}");
    for record in &left {
        let proof = view.proof(record.offset).unwrap().unwrap();
        assert!(proof.proves(&record.hash(), &image.root), "{}", record.offset);
    }
    Broker::close(&broker).unwrap();
    drop(broker);
    assert!(repair(&config, &APPLY).unwrap().nothing_to_do());
    done
}

#[test]
fn a_lost_record_is_lost_alone_though_stored_nodes_above_it_are_wrong() {
    let image = Image::of(64 << 20);
    let cases = levels_over(26).into_iter().map(|level| vec![level]);
    for wrong in cases.chain([levels_over(26)]) {
        let dir = image.copy();
        damage_record(dir.path(), 26);
        for level in &wrong {
            damage_node(dir.path(), *level, 26 >> level);
        }
        let report = repaired(dir.path(), &image);
        assert_eq!(report.lost, [lost(26..27, Reason::Damaged)], "levels {wrong:?}");
        assert!(report.mended.contains(&hashes()), "{report}");
    }
}

#[test]
fn a_wrong_node_that_begins_in_front_of_the_segment_takes_nothing_either() {
    for segment_bytes in SEGMENT_BYTES {
        let image = Image::of(segment_bytes);
        for segment in &image.segments() {
            for number in [segment.start, segment.end - 1] {
                let dir = image.copy();
                damage_record(dir.path(), number);
                for level in levels_over(number) {
                    damage_node(dir.path(), level, number >> level);
                }
                let report = repaired(dir.path(), &image);
                let expected = [lost(number..number + 1, Reason::Damaged)];
                assert_eq!(report.lost, expected, "{segment:?}, {number}");
            }
        }
    }
}

#[test]
fn the_node_over_a_lost_leaf_is_used_though_nodes_above_it_are_wrong() {
    let image = Image::of(64 << 20);
    for wrong in [&[2][..], &[2, 3], &[3, 4], &[2, 3, 4]] {
        let dir = image.copy();
        damage_record(dir.path(), 26);
        damage_record(dir.path(), 50);
        damage_node(dir.path(), 0, 26);
        for level in wrong {
            damage_node(dir.path(), *level, 26 >> level);
        }
        let report = repaired(dir.path(), &image);
        let expected = [
            lost(26..27, Reason::Damaged),
            lost(27..28, Reason::HashesLost),
            lost(50..51, Reason::Damaged),
        ];
        assert_eq!(report.lost, expected, "levels {wrong:?}");
    }
}

#[test]
fn a_stored_leaf_that_is_wrong_is_not_believed() {
    let image = Image::of(64 << 20);
    let dir = image.copy();
    damage_record(dir.path(), 24);
    for level in 0..3 {
        damage_node(dir.path(), level, 24 >> level);
    }
    let report = repaired(dir.path(), &image);
    // The node of level 3 is the lowest that is left.
    assert_eq!(report.lost, [lost(24..25, Reason::Damaged), lost(25..32, Reason::HashesLost)]);
}

#[test]
fn a_record_of_another_content_is_lost_alone_though_nodes_above_it_are_wrong() {
    let image = Image::of(64 << 20);
    let dir = image.copy();
    let path = only_file(dir.path(), ".log");
    forge_frame(dir.path(), &path, find_in_file(&path, &value(26)), b"VALUE");
    damage_node(dir.path(), 2, 26 >> 2);
    damage_node(dir.path(), 3, 26 >> 3);
    let report = repaired(dir.path(), &image);
    assert_eq!(report.lost, [lost(26..27, Reason::NotInTree)]);
}

#[test]
fn a_node_that_the_last_record_of_a_segment_completed_is_mended_when_that_is_lost() {
    let mut cases = 0;
    for segment_bytes in SEGMENT_BYTES {
        let image = Image::of(segment_bytes);
        for last in image.segments().iter().map(|segment| segment.end - 1) {
            for level in 1..=last.trailing_ones() {
                let dir = image.copy();
                damage_record(dir.path(), last);
                damage_node(dir.path(), level, last >> level);
                let report = repaired(dir.path(), &image);
                assert_eq!(report.lost, [lost(last..last + 1, Reason::Damaged)], "{level}");
                assert!(report.mended.contains(&hashes()), "{report}");
                cases += 1;
            }
        }
    }
    assert!(cases > 10, "{cases}");
}

/// Lost records and wrong stored nodes, as they can be told from outside.
struct Harm {
    records: BTreeSet<u64>,
    nodes: BTreeSet<(u32, u64)>,
}

impl Harm {
    /// Around one place, so that they meet.
    fn draw(random: &mut Rng) -> Self {
        let near = random.below(RECORDS - 12);
        let records = (0..=random.below(3)).map(|_| near + random.below(12)).collect();
        let mut nodes = BTreeSet::new();
        for _ in 0..random.below(9) {
            let number = near + random.below(12);
            let level = u32::try_from(random.below(1 + levels_over(number).len() as u64)).unwrap();
            nodes.insert((level, number >> level));
        }
        Self { records, nodes }
    }

    /// Whether something tells the node: itself, its record, or both its halves.
    fn is_told(&self, level: u32, index: u64) -> bool {
        !self.nodes.contains(&(level, index))
            || level == 0 && !self.records.contains(&index)
            || level > 0
                && self.is_told(level - 1, index * 2)
                && self.is_told(level - 1, index * 2 + 1)
    }

    /// What has to be given up of a subtree whose root is known.
    fn cost(&self, level: u32, index: u64) -> Vec<u64> {
        let offsets: Vec<u64> = (index << level..(index + 1) << level).collect();
        let lost = offsets.iter().filter(|offset| self.records.contains(offset)).count();
        if lost == 0 || lost == offsets.len() {
            return if lost == 0 { Vec::new() } else { offsets };
        }
        let halves = [index * 2, index * 2 + 1].map(|half| (level - 1, half));
        if !halves.iter().all(|(below, half)| self.is_told(*below, *half)) {
            return offsets;
        }
        halves.map(|(below, half)| self.cost(below, half)).concat()
    }
}

#[test]
fn no_more_is_given_up_than_what_nothing_tells_the_hashes_of() {
    let image = Image::of(64 << 20);
    let mut random = Rng(7);
    for case in 0..150 {
        let harm = Harm::draw(&mut random);
        let dir = image.copy();
        for number in &harm.records {
            damage_record(dir.path(), *number);
        }
        for (level, index) in &harm.nodes {
            damage_node(dir.path(), *level, *index);
        }
        let report = repaired(dir.path(), &image);
        let found: Vec<u64> = report.lost.iter().flat_map(|lost| lost.start..lost.end).collect();
        let costs = peaks(RECORDS).into_iter().map(|(level, index)| harm.cost(level, index));
        let expected: Vec<u64> = costs.flatten().collect();
        assert_eq!(found, expected, "{case}: {:?}, {:?}", harm.records, harm.nodes);
    }
}

/// The slots of the roots that stand for the tree's first `size` records.
fn peaks(size: u64) -> Vec<(u32, u64)> {
    let levels = (0..u64::BITS).rev().filter(|level| size >> level & 1 == 1);
    levels.map(|level| (level, (size >> level) - 1)).collect()
}

#[test]
fn roots_in_front_of_the_first_segment_are_mended() {
    let image = Image::of_few();
    let base = image.segments()[0].start;
    assert!(peaks(base).len() > 1, "{base}");
    for (level, index) in peaks(base) {
        let dir = image.copy();
        damage_node(dir.path(), level, index);
        let report = repaired(dir.path(), &image);
        assert_eq!((report.lost, report.mended), (vec![], vec![hashes()]), "level {level}");
        // Beside a damaged record, too, which is judged in another way.
        let dir = image.copy();
        damage_node(dir.path(), level, index);
        damage_record(dir.path(), RECORDS - 1);
        let report = repaired(dir.path(), &image);
        assert_eq!(report.lost, [lost(RECORDS - 1..RECORDS, Reason::Damaged)], "level {level}");
    }
}

#[test]
fn a_sector_of_hashes_in_front_of_the_first_segment_costs_those_of_removed_records_alone() {
    let image = Image::of_few();
    let dir = image.copy();
    let path = only_file(dir.path(), "hashes");
    let mut content = fs::read(&path).unwrap();
    let (level, index) = *peaks(image.segments()[0].start).last().unwrap();
    let end = slot(level, index) + 32;
    content[end - 512..end].fill(0);
    fs::write(&path, content).unwrap();
    let report = repaired(dir.path(), &image);
    let given_up = GivenUp::RemovedHashes { topic: "t".to_owned(), partition: 0 };
    assert_eq!((report.lost, report.given_up), (vec![], vec![given_up]));
    assert_eq!(report.mended, [hashes()]);
    let given_up = fs::read(path).unwrap().chunks(32).filter(|hash| **hash == [0xff; 32]).count();
    assert!((2..16).contains(&given_up), "{given_up} of the sector's 16");
    let checked = verify(&config(dir.path(), 1024)).unwrap().checked;
    assert_eq!(checked.hashes_given_up, given_up as u64);
}

#[test]
fn the_roots_of_a_partition_without_segments_are_mended() {
    let image = Image::of(1024);
    let broker = Broker::open(config(image.dir.path(), 1024)).unwrap();
    broker.delete_records("t", 0, RECORDS).unwrap();
    broker.maintain().unwrap();
    Broker::close(&broker).unwrap();
    drop(broker);
    let image = Image::found(image.dir);
    assert!(image.segments().is_empty());
    for (level, index) in peaks(RECORDS) {
        let dir = image.copy();
        damage_node(dir.path(), level, index);
        let report = repaired(dir.path(), &image);
        assert_eq!((report.lost, report.mended), (vec![], vec![hashes()]), "level {level}");
    }
}

#[test]
fn a_lost_record_is_lost_alone_though_no_stored_hash_of_the_sound_ones_holds() {
    let image = Image::of(64 << 20);
    let dir = image.copy();
    damage_record(dir.path(), 50);
    let hashes = only_file(dir.path(), "hashes");
    let mut content = fs::read(&hashes).unwrap();
    // All nodes over the first 32 records.
    content[..slot(0, 32)].fill(0x55);
    fs::write(&hashes, content).unwrap();
    let report = repaired(dir.path(), &image);
    assert_eq!(report.lost, [lost(50..51, Reason::Damaged)]);
}
