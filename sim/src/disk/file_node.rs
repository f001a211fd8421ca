//! A file without its name: what the disk has of it, what the cache shows of it,
//! and what lies between the two.

use super::OpId;
use crate::fault::FaultId;
use std::ops::Range;

/// The longest file that the simulation keeps. A log that wants more has read a
/// hostile length, and gets `FileTooLarge`.
pub(crate) const LEN_MAX: u64 = 1 << 28;

/// A change of a file that was not synced.
#[derive(Debug, Clone)]
pub(crate) struct PendingChange {
    pub(crate) id: OpId,
    pub(crate) change: FileChange,
    /// The length before the change, and after it.
    pub(crate) len_before: u64,
    pub(crate) len_after: u64,
}

/// What was changed.
#[derive(Debug, Clone)]
pub(crate) enum FileChange {
    Write { position: u64, bytes: Vec<u8> },
    SetLen { len: u64 },
}

/// A range whose content a fault has spoiled, until it is written anew.
#[derive(Debug, Clone)]
pub(crate) struct Taint {
    pub(crate) range: Range<u64>,
    pub(crate) fault: FaultId,
}

/// A file.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileNode {
    /// What a power cut would leave if it kept nothing.
    pub(crate) durable: Vec<u8>,
    /// What every read sees.
    pub(crate) cached: Vec<u8>,
    /// Changes that are in `cached` and may or may not reach `durable`, in order.
    pub(crate) pending: Vec<PendingChange>,
    /// Ranges whose sectors cannot be read (D1).
    pub(crate) unreadable: Vec<Range<u64>>,
    /// Which blocks of 4,096 bytes take space.
    pub(crate) blocks: Vec<bool>,
    pub(crate) taints: Vec<Taint>,
    /// Ranges that a sync has lied about (D4): spoiled once the cache is gone.
    pub(crate) lies: Vec<Taint>,
    /// A sync has lied, and the next one tells (D4).
    pub(crate) error_at_next_sync: Option<FaultId>,
}

impl FileNode {
    pub(crate) fn len(&self) -> u64 {
        self.cached.len() as u64
    }

    /// The ranges of what is pending.
    pub(crate) fn pending_ranges(&self) -> Vec<Range<u64>> {
        let range = |pending: &PendingChange| match &pending.change {
            FileChange::Write { position, bytes } => *position..*position + bytes.len() as u64,
            FileChange::SetLen { .. } => {
                pending.len_before.min(pending.len_after)..pending.len_before.max(pending.len_after)
            }
        };
        self.pending.iter().map(range).collect()
    }

    /// Notes that a sync has lied about what is pending.
    pub(crate) fn lie(&mut self, fault: FaultId) {
        let ranges = self.pending_ranges().into_iter();
        self.lies.extend(ranges.map(|range| Taint { range, fault }));
    }

    /// Reads what the cache shows; returns how many bytes.
    pub(crate) fn read(&self, buf: &mut [u8], position: u64) -> usize {
        let rest = usize::try_from(position).ok().and_then(|start| self.cached.get(start..));
        let rest = rest.unwrap_or_default();
        let count = rest.len().min(buf.len());
        for (to, from) in buf.iter_mut().zip(rest) {
            *to = *from;
        }
        count
    }

    /// Writes to the cache, and notes the change as not synced.
    pub(crate) fn write(&mut self, id: OpId, position: u64, bytes: &[u8]) {
        let len_before = self.len();
        put(&mut self.cached, position, bytes);
        self.take_blocks(position, bytes.len() as u64);
        let range = position..position + bytes.len() as u64;
        self.heal(&range);
        let change = FileChange::Write { position, bytes: bytes.to_vec() };
        self.note(id, change, len_before);
    }

    /// Sets the length in the cache, and notes the change as not synced.
    pub(crate) fn set_len(&mut self, id: OpId, len: u64) {
        let len_before = self.len();
        resize(&mut self.cached, len);
        self.drop_blocks(len);
        self.heal(&(len..u64::MAX));
        self.note(id, FileChange::SetLen { len }, len_before);
    }

    fn note(&mut self, id: OpId, change: FileChange, len_before: u64) {
        let len_after = self.len();
        self.pending.push(PendingChange { id, change, len_before, len_after });
    }

    /// Makes everything pending durable.
    pub(crate) fn sync(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            match pending.change {
                FileChange::Write { position, bytes } => put(&mut self.durable, position, &bytes),
                FileChange::SetLen { len } => resize(&mut self.durable, len),
            }
        }
    }

    /// Forgets that anything is pending, without making it durable: the cache
    /// shows it, and the disk will never have it.
    pub(crate) fn forget_pending(&mut self) {
        self.pending.clear();
    }

    /// Shows again what the disk has.
    pub(crate) fn revert(&mut self) {
        self.pending.clear();
        self.cached.clone_from(&self.durable);
    }

    /// Replaces the content, in the cache and on the disk: what was damaged
    /// while nobody ran.
    pub(crate) fn overwrite(&mut self, content: Vec<u8>) {
        self.pending.clear();
        self.durable.clone_from(&content);
        self.cached = content;
    }

    /// Notes that a fault has spoiled a range.
    pub(crate) fn taint(&mut self, range: Range<u64>, fault: FaultId) {
        if range.start < range.end {
            self.taints.push(Taint { range, fault });
        }
    }

    /// The faults whose effect a read of the range meets.
    pub(crate) fn faults_in(&self, range: &Range<u64>) -> Vec<FaultId> {
        let met = self.taints.iter().filter(|taint| overlap(&taint.range, range));
        met.map(|taint| taint.fault).collect()
    }

    /// Whether a read of the range meets a sector that cannot be read.
    pub(crate) fn is_unreadable(&self, range: &Range<u64>) -> bool {
        self.unreadable.iter().any(|bad| overlap(bad, range))
    }

    /// What is written anew is neither spoiled nor unreadable any more.
    fn heal(&mut self, written: &Range<u64>) {
        let taints = std::mem::take(&mut self.taints).into_iter();
        self.taints = taints
            .flat_map(|taint| {
                let fault = taint.fault;
                without(&taint.range, written).map(move |range| Taint { range, fault })
            })
            .collect();
        let unreadable = std::mem::take(&mut self.unreadable);
        self.unreadable = unreadable.iter().flat_map(|bad| without(bad, written)).collect();
    }
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

/// What is left of a range without another.
fn without(range: &Range<u64>, taken: &Range<u64>) -> impl Iterator<Item = Range<u64>> + use<> {
    let before = range.start..range.end.min(taken.start);
    let after = range.start.max(taken.end)..range.end;
    [before, after].into_iter().filter(|rest| rest.start < rest.end)
}

/// Writes into a content, which grows with zeroes where that is needed.
pub(crate) fn put(content: &mut Vec<u8>, position: u64, bytes: &[u8]) {
    let Ok(start) = usize::try_from(position) else { return };
    let end = start + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    if let Some(to) = content.get_mut(start..end) {
        to.copy_from_slice(bytes);
    }
}

/// Cuts a content, or lengthens it with zeroes.
pub(crate) fn resize(content: &mut Vec<u8>, len: u64) {
    if let Ok(len) = usize::try_from(len) {
        content.resize(len, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewritten_part_of_a_spoiled_range_is_spoiled_no_more() {
        let mut file = FileNode::default();
        file.write(OpId(1), 0, &[1; 100]);
        file.taint(10..90, FaultId(0));
        file.write(OpId(2), 40, &[2; 10]);
        assert!(file.faults_in(&(40..50)).is_empty());
        assert_eq!(file.faults_in(&(39..50)), [FaultId(0)]);
        assert_eq!(file.faults_in(&(50..51)), [FaultId(0)]);
        file.set_len(OpId(3), 20);
        assert!(file.faults_in(&(20..100)).is_empty());
    }
}
