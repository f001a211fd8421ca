//! The manifest's slots: their fields, and what of the state is needed to say what
//! a log can still know.

use super::layout::{SLOT_HEADER, Unit, UnitKind, Walker, crc32c, little_endian};
use std::collections::BTreeMap;

/// What a slot says, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct State {
    pub(crate) checkpoint: u64,
    /// The sequence of the first block that it does not hold.
    pub(crate) sequence: u64,
    /// Each partition's next offset, by incarnation and number.
    pub(crate) next_offsets: BTreeMap<(u64, u32), u64>,
}

/// The fields of a slot, and its state; the fields end where they cannot be made
/// out, and then there is no state.
pub(crate) fn unit(bytes: &[u8]) -> Option<(Unit, Option<State>)> {
    let len = usize::try_from(little_endian(bytes.get(24..SLOT_HEADER)?)).ok()?;
    let end = SLOT_HEADER.checked_add(len).filter(|end| *end <= bytes.len())?;
    let mut walker = Walker::new(bytes, 0..end);
    let state = walk(&mut walker);
    Some((Unit { kind: UnitKind::Slot, range: 0..end, fields: walker.fields }, state))
}

/// The state of a slot that is whole.
pub(crate) fn whole(bytes: &[u8]) -> Option<State> {
    let (unit, state) = unit(bytes)?;
    let slot = bytes.get(unit.range)?;
    let crc = crc32c(0, &[slot.get(..12)?, slot.get(16..)?]);
    (slot.starts_with(b"MqlState") && u64::from(crc) == little_endian(slot.get(12..16)?))
        .then_some(state)?
}

fn walk(walker: &mut Walker<'_>) -> Option<State> {
    walker.fixed("slot magic", 8)?;
    walker.fixed("slot version", 4)?;
    walker.fixed("slot crc", 4)?;
    let mut state = State { checkpoint: walker.fixed("checkpoint", 8)?, ..State::default() };
    walker.fixed("slot length", 8)?;
    walker.bytes("log id", 16)?;
    for name in ["start file", "start position", "start length", "start generation", "start nonce"]
    {
        walker.fixed(name, 8)?;
    }
    state.sequence = walker.fixed("start sequence", 8)?;
    walker.fixed("next incarnation", 8)?;
    for _ in 0..walker.varint("topic count")? {
        topic(walker, &mut state)?;
    }
    for _ in 0..walker.varint("group count")? {
        walker.blob("group name")?;
        for _ in 0..walker.varint("commit count")? {
            for name in ["commit incarnation", "commit partition", "commit offset"] {
                walker.varint(name)?;
            }
        }
    }
    for _ in 0..walker.varint("producer count")? {
        walker.fixed("producer id", 8)?;
        walker.varint("producer sequence")?;
        walker.varint("producer last use")?;
        for _ in 0..walker.varint("producer sends")? {
            sent(walker)?;
        }
    }
    walker.is_at_end().then_some(state)
}

fn topic(walker: &mut Walker<'_>, state: &mut State) -> Option<()> {
    walker.blob("topic name")?;
    let incarnation = walker.varint("topic incarnation")?;
    settings(walker)?;
    let partitions = walker.varint("partition count")?;
    for partition in 0..u32::try_from(partitions).ok()? {
        walker.varint("log start")?;
        let next_offset = range(walker, "next offset")?;
        state.next_offsets.insert((incarnation, partition), next_offset);
        for _ in 0..walker.varint("segment count")? {
            range(walker, "segment base")?;
            walker.varint("segment generation")?;
            walker.varint("segment length")?;
            for name in ["segment timestamp", "segment creation", "segment horizon"] {
                walker.fixed(name, 8)?;
            }
        }
    }
    Some(())
}

pub(crate) fn settings(walker: &mut Walker<'_>) -> Option<()> {
    for _ in 0..walker.varint("setting count")? {
        walker.fixed("setting id", 1)?;
        walker.varint("setting value")?;
    }
    Some(())
}

fn range(walker: &mut Walker<'_>, name: &'static str) -> Option<u64> {
    let size = walker.varint(name)?;
    for _ in 0..size.count_ones() {
        walker.bytes("peak", 32)?;
    }
    Some(size)
}

pub(crate) fn sent(walker: &mut Walker<'_>) -> Option<()> {
    walker.varint("sent sequence")?;
    walker.fixed("sent timestamp", 8)?;
    for _ in 0..walker.varint("placement count")? {
        for name in ["placement incarnation", "placement partition"] {
            walker.varint(name)?;
        }
        walker.varint("placement offset")?;
        walker.varint("placement records")?;
    }
    Some(())
}
