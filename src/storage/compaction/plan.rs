//! What goes, and which segments are written anew for it.

use crate::error::Result;
use crate::merkle::Hash;
use crate::storage::frame::{Body, FRAME_HEADER_BYTES};
use crate::storage::manifest::NO_HORIZON_NS;
use crate::storage::partition::{PartitionLog, View};
use crate::storage::segment::{Part, Segment};
use std::collections::HashMap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// What a gap takes: most are short.
const GAP_BYTES: u64 = 64;

/// In the place of a key: the first half of its SHA-256. That two keys of a log
/// share it takes 2^64 of them.
type KeyHash = [u8; 16];

/// Decides what stays.
#[derive(Debug)]
pub(crate) struct Rule {
    last_offsets: HashMap<KeyHash, u64>,
    log_start: u64,
    now_ns: i64,
    /// What a tombstone's segment gets for a horizon that has none.
    horizon_ns: i64,
}

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It stays.
    Stays,
    /// It is a tombstone, and stays until this time.
    StaysUntil(i64),
    /// It goes.
    Goes,
    /// It can't be read any more, and goes if its segment is written anew.
    Unreadable,
}

impl Verdict {
    pub(crate) fn stays(self) -> bool {
        matches!(self, Self::Stays | Self::StaysUntil(_))
    }
}

fn key_hash(key: &[u8]) -> KeyHash {
    let mut front = KeyHash::default();
    front.copy_from_slice(&Hash::digest(key).0[..size_of::<KeyHash>()]);
    front
}

impl Rule {
    /// Reads all of the view's records, and notes the last offset of each key.
    pub(crate) fn survey(log: &PartitionLog, view: &View, now_ns: i64) -> Result<Self> {
        const NS_PER_MS: i64 = 1_000_000;
        let retention_ms = log.settings().compaction_tombstone_ms.unwrap_or(u64::MAX);
        let stays_ns = i64::try_from(retention_ms).unwrap_or(i64::MAX).saturating_mul(NS_PER_MS);
        let log_start = log.log_start();
        let mut last_offsets = HashMap::new();
        let keeps_first = log.probe.canary("compaction-keeps-the-first");
        for (index, segment) in view.segments.iter().enumerate() {
            let next_base = view.segments.get(index + 1).map(|next| next.base_offset);
            let end = next_base.unwrap_or(view.next_offset());
            if end <= log_start {
                continue;
            }
            segment.read(segment.base_offset, end, usize::MAX, &mut |offset, body| {
                if let Some(key) = body.key {
                    let noted = last_offsets.entry(key_hash(key)).or_insert(offset);
                    if !keeps_first {
                        *noted = offset;
                    }
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        // The greatest time stands for none.
        let horizon_ns = now_ns.saturating_add(stays_ns).min(NO_HORIZON_NS - 1);
        Ok(Self { last_offsets, log_start, now_ns, horizon_ns })
    }

    /// What becomes of a record of `segment`.
    pub(crate) fn judge(&self, segment: &Segment, offset: u64, body: &Body<'_>) -> Verdict {
        if offset < self.log_start {
            return Verdict::Unreadable;
        }
        // Records without a key were refused, unless the topic was another then.
        let Some(key) = body.key else { return Verdict::Stays };
        if self.last_offsets.get(&key_hash(key)).is_some_and(|last| *last != offset) {
            return Verdict::Goes;
        }
        match (body.value, segment.delete_horizon_ns()) {
            (Some(_), _) => Verdict::Stays,
            (None, NO_HORIZON_NS) => Verdict::StaysUntil(self.horizon_ns),
            (None, horizon_ns) if self.now_ns < horizon_ns => Verdict::StaysUntil(horizon_ns),
            (None, _) => Verdict::Goes,
        }
    }
}

/// What is to be done with the sealed segments.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Those with readable records, and behind them the one that is appended to,
    /// which stays as it is.
    pub(crate) sealed: Vec<Arc<Segment>>,
    /// Which of them become one.
    pub(crate) groups: Vec<Range<usize>>,
    /// Horizons that those get which stay as they are.
    pub(crate) horizons: Vec<(usize, i64)>,
}

/// What compaction leaves of a segment.
#[derive(Debug, Default)]
struct Prospect {
    /// An estimate: LZ4 blocks of which something goes are packed again.
    bytes: u64,
    goes: bool,
    horizon_ns: Option<i64>,
}

impl Plan {
    pub(crate) fn make(log: &PartitionLog, view: &View, rule: &Rule) -> Result<Self> {
        let bases = view.segments.iter().skip(1).map(|next| next.base_offset);
        let first = bases.take_while(|next_base| *next_base <= rule.log_start).count();
        let sealed: Vec<_> = view.segments.iter().skip(first).cloned().collect();
        let mut prospects = Vec::new();
        for (segment, next) in sealed.iter().zip(sealed.iter().skip(1)) {
            prospects.push(Prospect::of(segment, next.base_offset, rule)?);
        }
        let groups = groups(&prospects, log.segment_bytes());
        let stay = |index: &usize| !groups.iter().any(|group| group.contains(index));
        let horizons = prospects.iter().enumerate().filter(|(index, _)| stay(index));
        let horizons = horizons.filter_map(|(index, prospect)| {
            let known = sealed.get(index)?.delete_horizon_ns();
            prospect.horizon_ns.filter(|horizon| *horizon != known).map(|horizon| (index, horizon))
        });
        let horizons = horizons.collect();
        Ok(Self { sealed, groups, horizons })
    }
}

impl Prospect {
    fn of(segment: &Segment, end: u64, rule: &Rule) -> Result<Self> {
        let mut prospect = Self::default();
        let mut in_gap = false;
        segment.walk(segment.base_offset, end, usize::MAX, &mut |part| {
            let verdict = match part {
                Part::Record(offset, body) => {
                    let verdict = rule.judge(segment, offset, &body);
                    if verdict.stays() {
                        prospect.bytes += (FRAME_HEADER_BYTES + body.encoded_len_max()) as u64;
                    }
                    verdict
                }
                Part::Gap(_) => Verdict::Unreadable,
            };
            prospect.goes |= verdict == Verdict::Goes;
            if let Verdict::StaysUntil(horizon_ns) = verdict {
                prospect.horizon_ns = prospect.horizon_ns.max(Some(horizon_ns));
            }
            if !verdict.stays() && !in_gap {
                prospect.bytes += GAP_BYTES;
            }
            in_gap = !verdict.stays();
            Ok(ControlFlow::Continue(()))
        })?;
        // As it stands, a segment may be packed.
        if !prospect.goes {
            prospect.bytes = segment.len();
        }
        Ok(prospect)
    }
}

/// Neighbours that fit into one segment, where something goes. Where nothing does,
/// nothing would be saved, and the next pass would find the same.
fn groups(prospects: &[Prospect], segment_bytes: u64) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut bytes = 0_u64;
    for (index, prospect) in prospects.iter().enumerate() {
        bytes = bytes.saturating_add(prospect.bytes);
        match groups.last_mut() {
            Some(group) if bytes <= segment_bytes => group.end = index + 1,
            _ => {
                groups.push(index..index + 1);
                bytes = prospect.bytes;
            }
        }
    }
    let goes = |range: &Range<usize>| {
        prospects.get(range.clone()).is_some_and(|group| group.iter().any(|one| one.goes))
    };
    groups.retain(goes);
    groups
}
