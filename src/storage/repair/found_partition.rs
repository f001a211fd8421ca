//! A partition as its files show it, where no manifest tells of it.
//!
//! ```text
//! files      0.1 [0 .. 40)   40.2 [40 .. 80)    what one segment each holds
//!            0.7 [0 .. 80)                      what compaction made of both
//! chosen     those that do not overlap and hold the most; of equals, the fewest
//! tree       records and gaps, hashed one after the other; for what is missing in
//!            between, and in front of the first, the stored hashes stand in
//! ```
//!
//! Stored hashes are believed if the tree that they complete is the one whose peaks they
//! hold at the end. If not, zeroes stand for what is missing, so that offsets and records
//! stay; the partition's tree is then another than it was, and that is told.

use super::frames::{Span, Window, find_spans};
use super::nodes::Place;
use super::salvage::log_files;
use crate::error::Result;
use crate::merkle::{CompactRange, Hash, MAX_LEAVES, leaf_hash, stored_index, subtree_levels};
use crate::storage::canonical::RecordHasher;
use crate::storage::files::{FilePool, PooledFile};
use crate::storage::hashes::SLOT_BYTES;
use crate::storage::manifest::{NO_HORIZON_NS, PartitionState, SegmentState};
use crate::storage::partition::HASHES_FILE;
use crate::storage::segment::{PartitionName, parse_segment_file_name};
use std::cmp::Reverse;
use std::path::Path;
use std::sync::Arc;

/// In the place of a hash that nothing tells.
const UNKNOWN: Hash = Hash([0; Hash::SIZE]);

/// A file with records.
struct Candidate {
    base: u64,
    generation: u64,
    file: Arc<PooledFile>,
    spans: Vec<Span>,
    /// The offset behind the last record.
    end: u64,
    /// How many offsets it covers.
    covered: u64,
}

/// What was found of a partition.
pub(super) struct FoundPartition {
    pub(super) state: PartitionState,
    /// Whether the tree is the one that it was.
    pub(super) tree_holds: bool,
    name: PartitionName,
    hashes: Arc<PooledFile>,
    /// It had at least so many records.
    least_end: u64,
    chosen: Vec<Candidate>,
}

impl FoundPartition {
    pub(super) fn of(
        pool: &Arc<FilePool>,
        dir: &Path,
        name: PartitionName,
        least_end: u64,
        now_ns: i64,
    ) -> Result<Self> {
        let chosen = choose(candidates(pool, dir, name.seed)?);
        let hashes = PooledFile::existing(pool, dir.join(HASHES_FILE));
        let state = PartitionState::default();
        let mut found = Self { state, tree_holds: true, name, hashes, least_end, chosen };
        let file = Arc::clone(&found.hashes);
        let mut known = |place| stored(&file, place).unwrap_or(UNKNOWN);
        let told = found.compute(now_ns, &mut known, &mut |_, _| Ok(()))?;
        found.least_end = least_end.max(found.hashed_end(told.range));
        let mut complete = true;
        let mut needed = false;
        let state = found.compute(
            now_ns,
            &mut |place| {
                needed = true;
                let node = stored(&file, place);
                complete &= node.is_some();
                node.unwrap_or(UNKNOWN)
            },
            &mut |_, _| Ok(()),
        )?;
        found.state = state;
        if needed && !(complete && found.peaks_are_stored()) {
            found.tree_holds = false;
            found.state = found.compute(now_ns, &mut |_| UNKNOWN, &mut |_, _| Ok(()))?;
        }
        Ok(found)
    }

    /// How many records the partition had as far as the stored hashes tell: those of a
    /// tree that was put together from files, and leaves behind it whose nodes are there.
    fn hashed_end(&self, mut range: CompactRange) -> u64 {
        let mut end = range.size();
        while let Some(leaf) = stored(&self.hashes, (0, end)) {
            let mut holds = true;
            let mut level = 0;
            range.push(leaf, &mut |node| {
                holds &= stored(&self.hashes, (level, end >> level)) == Some(node);
                level += 1;
            });
            if !holds {
                break;
            }
            end = range.size();
        }
        end
    }

    /// Writes the stored hashes of a tree that is not the one that it was.
    pub(super) fn write_hashes(&self) -> Result<()> {
        if self.tree_holds {
            return Ok(());
        }
        self.hashes.ensure_exists()?;
        let mut write = |(level, index): Place, hash: Hash| {
            self.hashes.write(&hash.0, stored_index(level, index).saturating_mul(SLOT_BYTES))
        };
        self.compute(0, &mut |_| UNKNOWN, &mut write)?;
        self.hashes.sync()
    }

    pub(super) fn hashes_path(&self) -> &Path {
        self.hashes.path()
    }

    fn peaks_are_stored(&self) -> bool {
        let range = &self.state.range;
        let levels = (0..64_u8).rev().filter(|level| range.size() >> level & 1 == 1);
        levels.zip(range.peaks()).all(|(level, peak)| {
            stored(&self.hashes, (level, (range.size() >> level) - 1)) == Some(*peak)
        })
    }

    /// Puts the chosen files together, and hands every node to `emit`. What is missing
    /// comes from `missing`.
    fn compute(
        &self,
        now_ns: i64,
        missing: &mut dyn FnMut(Place) -> Hash,
        emit: &mut dyn FnMut(Place, Hash) -> Result<()>,
    ) -> Result<PartitionState> {
        let mut tree = Tree { range: CompactRange::new(), emit };
        let mut hasher = RecordHasher::default();
        let mut segments = Vec::new();
        for chosen in &self.chosen {
            tree.fill(chosen.base, missing)?;
            let mut segment = SegmentState {
                generation: chosen.generation,
                len: 0,
                timestamp_max_ns: i64::MIN,
                created_ns: now_ns,
                delete_horizon_ns: NO_HORIZON_NS,
                base_range: tree.range.clone(),
            };
            let mut window = Window::new(Arc::clone(&chosen.file));
            for span in &chosen.spans {
                let end = span.position + span.len;
                let Some(frame) = window.frame(self.name.seed, span.position, end)? else {
                    continue;
                };
                tree.fill(span.offset, missing)?;
                segment.len = segment.len.max(end);
                if let Ok(Some(gap)) = frame.gap() {
                    gap.subtrees().try_for_each(|(level, root)| tree.push(level, root))?;
                    continue;
                }
                let mut pushed = Ok(());
                let decoded = frame.records(|offset, _, body| {
                    segment.timestamp_max_ns = segment.timestamp_max_ns.max(body.timestamp_ns);
                    let topic = &self.name.topic;
                    let hash = hasher.hash(topic, self.name.partition, offset, &body);
                    pushed = hash.map_or(Ok(()), |hash| tree.push(0, leaf_hash(&hash)));
                    pushed.is_ok()
                });
                pushed?;
                // One that cannot be hashed is as good as missing.
                let _ = decoded;
                tree.fill(span.end, missing)?;
            }
            segments.push(segment);
        }
        tree.fill(self.least_end, missing)?;
        let log_start = self.chosen.first().map_or(tree.range.size(), |first| first.base);
        Ok(PartitionState { log_start, range: tree.range, segments })
    }
}

/// A tree that grows.
struct Tree<'a> {
    range: CompactRange,
    emit: &'a mut dyn FnMut(Place, Hash) -> Result<()>,
}

impl Tree<'_> {
    fn push(&mut self, level: u8, root: Hash) -> Result<()> {
        let first = self.range.size() >> level;
        let mut nodes = Vec::new();
        self.range.push_subtree(level, root, &mut |node| nodes.push(node));
        let places = (0_u8..).map(|above| (level + above, first >> above));
        places.zip(nodes).try_for_each(|(place, node)| (self.emit)(place, node))
    }

    /// Grows to `end` leaves by what is missing.
    fn fill(&mut self, end: u64, missing: &mut dyn FnMut(Place) -> Hash) -> Result<()> {
        for level in subtree_levels(self.range.size(), end).collect::<Vec<_>>() {
            let root = missing((level, self.range.size() >> level));
            self.push(level, root)?;
        }
        Ok(())
    }
}

fn stored(file: &Arc<PooledFile>, (level, index): Place) -> Option<Hash> {
    let mut hash = UNKNOWN;
    let position = stored_index(level, index).saturating_mul(SLOT_BYTES);
    // Written ahead of use are zeroes.
    file.read_exact(&mut hash.0, position).ok().map(|()| hash).filter(|hash| *hash != UNKNOWN)
}

fn candidates(pool: &Arc<FilePool>, dir: &Path, seed: u32) -> Result<Vec<Candidate>> {
    let mut candidates = Vec::new();
    for name in log_files(pool, dir)? {
        let Some((base, generation, _)) = parse_segment_file_name(&name) else { continue };
        let file = PooledFile::existing(pool, dir.join(&name));
        let spans = find_spans(&file, seed, 0..file.len()?, &(base..MAX_LEAVES))?.found;
        let Some(end) = spans.last().map(|span| span.end) else { continue };
        let covered = spans.iter().map(|span| span.end - span.offset).sum();
        candidates.push(Candidate { base, generation, file, spans, end, covered });
    }
    Ok(candidates)
}

/// How good a choice of files is: what they cover, how few they are, their generations.
type Score = (u64, Reverse<usize>, u64);

/// The candidates that do not overlap and cover the most; of equals the fewest, and the
/// latest generations.
fn choose(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    candidates.sort_by_key(|one| (one.end, one.base, one.generation));
    // For as many of the first: how good a choice can be, and the last that is taken.
    let mut best: Vec<(Score, Option<usize>)> = vec![(Score::default(), None)];
    for (index, one) in candidates.iter().enumerate() {
        let before = candidates.partition_point(|other| other.end <= one.base).min(index);
        let without = best.last().copied().unwrap_or_default();
        let ((covered, Reverse(files), generations), _) =
            best.get(before).copied().unwrap_or_default();
        let with =
            (covered + one.covered, Reverse(files + 1), generations.saturating_add(one.generation));
        let taken = if with > without.0 { (with, Some(index)) } else { without };
        best.push(taken);
    }
    let mut taken = Vec::new();
    let mut last = best.last().and_then(|(_, last)| *last);
    while let Some(index) = last {
        taken.push(index);
        let base = candidates.get(index).map_or(0, |one| one.base);
        let before = candidates.partition_point(|other| other.end <= base).min(index);
        last = best.get(before).and_then(|(_, last)| *last);
    }
    let mut index = 0;
    candidates.retain(|_| {
        index += 1;
        taken.contains(&(index - 1))
    });
    candidates
}
