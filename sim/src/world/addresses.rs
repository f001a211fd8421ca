//! Which operation an address means in a run, and the other way round.

use super::paths::{pattern, role};
use crate::disk::{Change, InodeId, IoEvent, Kept, OpId, Survivors, Unsynced, What};
use crate::fault::{FaultId, OpKind, matches};
use crate::scenario::{Address, During, KeptPart};

/// The operations of a run so far, by stretch.
pub(crate) struct Addresses<'a> {
    events: &'a [IoEvent],
    stretches: &'a [(During, u64)],
}

impl<'a> Addresses<'a> {
    pub(crate) fn new(events: &'a [IoEvent], stretches: &'a [(During, u64)]) -> Self {
        Self { events, stretches }
    }

    /// From which operation on a stretch goes.
    fn start_of(&self, during: During) -> Option<u64> {
        self.stretches.iter().find(|(of, _)| *of == during).map(|(_, from)| *from)
    }

    /// The stretch that an operation lies in, and where that begins.
    fn stretch_of(&self, index: u64) -> Option<(During, u64)> {
        let behind = self.stretches.partition_point(|(_, from)| *from <= index);
        self.stretches.get(behind.checked_sub(1)?).copied()
    }

    /// The operation that an address means.
    fn find(&self, address: &Address) -> Option<&IoEvent> {
        let from = self.start_of(address.during)?;
        let pattern = pattern(&address.file);
        let fits = |event: &&IoEvent| {
            let kind = address.on.map_or(event.change.is_some(), |on| on == event.on);
            event.index >= from && kind && matches(&pattern, &event.path)
        };
        self.events.iter().filter(fits).nth(usize::try_from(address.nth).ok()?)
    }

    /// The address of an operation.
    pub(crate) fn of(&self, event: &IoEvent) -> Option<Address> {
        let file = role(&event.path);
        // A path outside the log's directory has no pattern of its own.
        let file = if file.starts_with('/') { "*".to_owned() } else { file };
        self.of_file(event, file)
    }

    /// The address of an operation, counted among those on files that match.
    pub(crate) fn of_file(&self, event: &IoEvent, file: String) -> Option<Address> {
        let (during, from) = self.stretch_of(event.index)?;
        let pattern = pattern(&file);
        let before = self.events.iter().filter(|other| {
            (from..event.index).contains(&other.index)
                && other.on == event.on
                && matches(&pattern, &other.path)
        });
        Some(Address { during, on: Some(event.on), nth: before.count() as u64, file })
    }

    /// The operation at which the process died of this crash: the last one before
    /// the recovery from it.
    pub(crate) fn death(&self, id: u32) -> Option<&'a IoEvent> {
        let last = self.start_of(During::RecoveryFrom(id))?.checked_sub(1)?;
        self.events.iter().find(|event| event.index == last)
    }

    /// The first operation that a fault happened to.
    pub(crate) fn struck_by(&self, fault: FaultId) -> Option<&'a IoEvent> {
        self.events.iter().find(|event| event.fault == Some(fault))
    }

    /// The operation of a change.
    fn event_of(&self, op: OpId) -> Option<&IoEvent> {
        self.events.iter().find(|event| event.change == Some(op.0))
    }

    /// The paths of the files at stake, as they were when they were written to: one
    /// that was removed since may be there again after a power cut.
    fn files(&self, unsynced: &Unsynced) -> Vec<(InodeId, String)> {
        let written = unsynced.changes.iter();
        let written = written
            .filter(|change| matches!(change.what, What::Write { .. } | What::Length { .. }));
        let path = |change: &Change| {
            // A misdirected write says where it was meant to go.
            let event = self.event_of(change.op).filter(|event| event.fault.is_none());
            event.map_or(&change.path, |event| &event.path).clone()
        };
        written.map(|change| (change.inode, path(change))).collect()
    }

    /// What a list of survivors means.
    pub(crate) fn parts(&self, survivors: &Survivors, unsynced: &Unsynced) -> Vec<KeptPart> {
        let files = self.files(unsynced);
        let address = |op: OpId| self.of(self.event_of(op)?);
        let part = |kept: &Kept| {
            Some(match kept {
                Kept::Write { op, ranges, grows } => {
                    let event = self.event_of(*op)?;
                    let start = origin(event);
                    let bytes: Vec<(u64, u64)> = ranges
                        .iter()
                        .map(|(from, to)| (from.saturating_sub(start), to.saturating_sub(start)))
                        .collect();
                    let is_whole = whole(event).is_some_and(|all| bytes == [all]);
                    let bytes = (!is_whole).then_some(bytes);
                    KeptPart::Write { of: self.of(event)?, bytes, grows: *grows }
                }
                Kept::Length { op } => KeptPart::Length { of: address(*op)? },
                Kept::Name { op } => KeptPart::Name { of: address(*op)? },
                Kept::Fill { file, range, with } => {
                    let (_, path) = files.iter().find(|(inode, _)| inode == file)?;
                    let file = path.strip_prefix(super::paths::LOG)?.to_owned();
                    KeptPart::Fill { file, range: *range, with: *with }
                }
            })
        };
        survivors.kept.iter().filter_map(part).collect()
    }

    /// What parts mean in this run. One whose operation is not there is left out.
    pub(crate) fn survivors(&self, parts: &[KeptPart], unsynced: &Unsynced) -> Survivors {
        let files = self.files(unsynced);
        let op = |address: &Address| {
            let event = self.find(address)?;
            Some((event, event.change?))
        };
        let kept = |part: &KeptPart| {
            Some(match part {
                KeptPart::Write { of, bytes, grows } => {
                    let (event, change) = op(of)?;
                    let start = origin(event);
                    let all = [whole(event).unwrap_or_default()];
                    let ranges = bytes.as_deref().unwrap_or(&all);
                    let ranges = ranges.iter().map(|(from, to)| (start + from, start + to));
                    Kept::Write { op: OpId(change), ranges: ranges.collect(), grows: *grows }
                }
                KeptPart::Length { of } => Kept::Length { op: OpId(op(of)?.1) },
                KeptPart::Name { of } => Kept::Name { op: OpId(op(of)?.1) },
                KeptPart::Fill { file, range, with } => {
                    let path = format!("{}{file}", super::paths::LOG);
                    let (file, _) = files.iter().find(|(_, of)| *of == path)?;
                    Kept::Fill { file: *file, range: *range, with: *with }
                }
            })
        };
        Survivors { kept: parts.iter().filter_map(kept).collect() }
    }
}

/// From where the ranges of a write are counted: its first byte, where the event
/// says which that is. An allocation writes from the old end on, and a write that
/// met a fault perhaps elsewhere: theirs are counted from the file's start.
fn origin(event: &IoEvent) -> u64 {
    if event.on == OpKind::Allocate || event.fault.is_some() { 0 } else { event.position }
}

/// All bytes of a write, counted so, if that is known.
fn whole(event: &IoEvent) -> Option<(u64, u64)> {
    let written = event.outcome.ok()?;
    (event.on == OpKind::WriteAt && event.fault.is_none()).then_some((0, written))
}
