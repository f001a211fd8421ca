//! What may lawfully be missing from a log: records that retention, compaction or deletion took, that a typed error named as
//! damaged, or that were lost where no log could have known.

use super::effects::{Effects, KeyId, RecordId};
use super::logs::Logs;
use super::timeline::Timeline;
use crate::history::{Action, History, Key, Kind, Span};

/// Why a record may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Somebody asked for it, or an error said so.
    Told,
    /// It stood in a tail that may be lost without a trace.
    UndecidableTail,
}

/// From when on a record may be missing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Removal {
    pub(crate) since: usize,
    pub(crate) reason: Reason,
}

/// A tail of which no log could tell whether it is complete.
#[derive(Debug, Clone, Copy)]
struct UndecidableTail {
    from: u64,
    at: usize,
}

/// What may be missing, by key.
#[derive(Debug, Default)]
pub(crate) struct Removals {
    keys: Vec<KeyRemovals>,
    undecidable: Vec<usize>,
    deleted: Vec<(Key, usize)>,
}

#[derive(Debug, Default)]
struct KeyRemovals {
    /// For each entry of the log the first removal that covers it; empty where nothing was removed.
    entries: Vec<Option<usize>>,
    /// The ranges removed, merged and in order.
    ranges: Vec<Span>,
    /// Since when anything may be missing.
    first: Option<usize>,
    deleted: Option<usize>,
    tails: Vec<UndecidableTail>,
}

impl Removals {
    pub(crate) fn new(
        history: &History,
        timeline: &Timeline,
        effects: &Effects<'_>,
        logs: &Logs,
    ) -> Self {
        let mut removals = Self {
            keys: (0..effects.key_count()).map(|_| KeyRemovals::default()).collect(),
            ..Self::default()
        };
        // In each key's log, the next entry at or behind an index that no removal has reached: every entry is visited once.
        let mut unreached: Vec<Vec<usize>> = vec![Vec::new(); effects.key_count()];
        for (position, operation) in history.operations().iter().enumerate() {
            // An invocation counts for itself only where nobody knows how it ended.
            let counted_at_the_end =
                operation.kind == Kind::Invoke && timeline.completion(position).is_some();
            if operation.kind == Kind::Fail || counted_at_the_end {
                continue;
            }
            let since = timeline.start(position);
            for (key, span) in spans(&operation.action, operation.kind) {
                if let Some(key) = effects.key_id(key) {
                    removals.keys[key.number()].ranges.push(span);
                    removals.keys[key.number()].first.get_or_insert(since);
                    removals.reach(key, span, since, logs, &mut unreached[key.number()]);
                }
            }
            removals.note_others(&operation.action, operation.kind, since, effects);
        }
        for key in &mut removals.keys {
            merge(&mut key.ranges);
        }
        removals
    }

    fn note_others(&mut self, action: &Action, kind: Kind, position: usize, effects: &Effects<'_>) {
        match action {
            Action::Delete(keys) => {
                for key in keys {
                    self.deleted.push((key.clone(), position));
                    if let Some(key) = effects.key_id(key) {
                        self.keys[key.number()].deleted.get_or_insert(position);
                    }
                }
            }
            Action::UndecidableTail(tails) if kind != Kind::Invoke => {
                self.undecidable.push(position);
                for (key, from) in tails {
                    if let Some(key) = effects.key_id(key) {
                        self.keys[key.number()]
                            .tails
                            .push(UndecidableTail { from: *from, at: position });
                    }
                }
            }
            _ => {}
        }
    }

    fn reach(
        &mut self,
        key: KeyId,
        span: Span,
        since: usize,
        logs: &Logs,
        unreached: &mut Vec<usize>,
    ) {
        let log = logs.log(key);
        let entries = &mut self.keys[key.number()].entries;
        if entries.is_empty() {
            entries.resize(log.len(), None);
            unreached.extend(0..=log.len());
        }
        let mut index =
            next_unreached(unreached, logs.index_at(key, span.from).unwrap_or_else(|index| index));
        while log.get(index).is_some_and(|entry| span.contains(entry.offset)) {
            entries[index] = Some(since);
            unreached[index] = index + 1;
            index = next_unreached(unreached, index + 1);
        }
    }

    /// Why and since when the record may be missing.
    pub(crate) fn of(
        &self,
        effects: &Effects<'_>,
        logs: &Logs,
        record: RecordId,
    ) -> Option<Removal> {
        let key = &self.keys[effects.record(record).key.number()];
        let place = logs.place(record);
        let told = |since| Removal { since, reason: Reason::Told };
        let index = place.last_index();
        if let Some(since) = index.and_then(|index| key.entries.get(index).copied().flatten()) {
            return Some(told(since));
        }
        if let Some(since) = key.deleted {
            return Some(told(since));
        }
        let (Some(index), Some(seen)) = (index, place.first_seen) else {
            // Where nobody knows its offset, any removal may have covered it.
            return key.first.map(told);
        };
        let offset = logs.log(effects.record(record).key).get(index)?.offset;
        let tail = key.tails.iter().find(|tail| tail.from <= offset && seen < tail.at)?;
        Some(Removal { since: tail.at, reason: Reason::UndecidableTail })
    }

    /// Whether any record of the key may be missing at some time.
    pub(crate) fn any(&self, key: KeyId) -> bool {
        let key = &self.keys[key.number()];
        key.first.is_some() || key.deleted.is_some() || !key.tails.is_empty()
    }

    /// Whether all of the range may be missing at some time.
    pub(crate) fn cover(&self, key: KeyId, span: Span) -> bool {
        let key = &self.keys[key.number()];
        let after = key.ranges.partition_point(|range| range.from <= span.from);
        let covered = after.checked_sub(1).is_some_and(|at| key.ranges[at].to >= span.to);
        covered || key.deleted.is_some()
    }

    /// Whether what stood at the offset before a position may have been replaced by something else up to another position.
    pub(crate) fn undecidable(&self, key: KeyId, offset: u64, between: (usize, usize)) -> bool {
        let within = |tail: &UndecidableTail| {
            tail.from <= offset && between.0 < tail.at && tail.at < between.1
        };
        self.keys[key.number()].tails.iter().any(within)
    }

    /// Whether anything at all may have been lost without a trace between two positions.
    pub(crate) fn undecidable_between(&self, from: usize, to: usize) -> bool {
        let after = self.undecidable.partition_point(|at| *at <= from);
        self.undecidable.get(after).is_some_and(|at| *at < to)
    }

    /// Whether the key was deleted before a position.
    pub(crate) fn deleted_before(&self, key: &Key, position: usize) -> bool {
        self.deleted.iter().any(|(deleted, at)| deleted == key && *at < position)
    }
}

/// The ranges that an operation lets go, or names as damaged.
fn spans(action: &Action, kind: Kind) -> Vec<(&Key, Span)> {
    match action {
        Action::Retain(starts) => {
            starts.iter().map(|(key, start)| (key, Span { from: 0, to: *start })).collect()
        }
        Action::Compact(spans) => spans
            .iter()
            .flat_map(|(key, spans)| spans.iter().map(move |span| (key, *span)))
            .collect(),
        Action::Detected(detected) if kind != Kind::Invoke => flatten(&detected.spans),
        _ => Vec::new(),
    }
}

/// Keys with ranges as pairs; a key without ranges is covered wholly.
pub(crate) fn flatten(spans: &[(Key, Vec<Span>)]) -> Vec<(&Key, Span)> {
    let mut pairs = Vec::new();
    for (key, spans) in spans {
        if spans.is_empty() {
            pairs.push((key, Span::ALL));
        }
        pairs.extend(spans.iter().map(|span| (key, *span)));
    }
    pairs
}

fn next_unreached(unreached: &mut [usize], from: usize) -> usize {
    let mut index = from;
    while unreached[index] != index {
        // Halving the path keeps later walks short.
        unreached[index] = unreached[unreached[index]];
        index = unreached[index];
    }
    index
}

fn merge(ranges: &mut Vec<Span>) {
    ranges.sort_unstable();
    let mut merged: Vec<Span> = Vec::new();
    for range in ranges.drain(..) {
        match merged.last_mut() {
            Some(last) if range.from <= last.to => last.to = last.to.max(range.to),
            _ => merged.push(range),
        }
    }
    *ranges = merged;
}
