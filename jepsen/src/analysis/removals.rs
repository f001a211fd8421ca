//! What may lawfully be missing from a log: records that retention, compaction or deletion took, that a typed error named as
//! damaged, or that were lost where no log could have known.

use std::cmp::Reverse;

use rustc_hash::FxHashMap;

use super::effects::{Effects, KeyId, RecordId};
use super::logs::{Entry, Logs};
use super::next_tree::NextTree;
use super::record_keys::RecordKeys;
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
    /// Where anything at all may have been lost without a trace, in order.
    undecidable: Vec<usize>,
    /// Where each key was deleted first.
    deleted: FxHashMap<Key, usize>,
}

/// One call that let a range go, or named it as damaged.
#[derive(Debug, Clone, Copy)]
struct Call {
    span: Span,
    since: usize,
    /// Where it ended, if that is known: what was sent later it can't have reached.
    ended: Option<usize>,
}

impl Call {
    fn reaches(&self, sent_from: Option<usize>) -> bool {
        self.ended.is_none_or(|ended| sent_from.is_none_or(|sent| sent < ended))
    }

    fn end(&self) -> usize {
        self.ended.unwrap_or(usize::MAX)
    }
}

/// Calls, and what they reach.
#[derive(Debug, Default)]
struct Reach {
    /// Calls with ranges that aren't empty, in order.
    calls: Vec<Call>,
    /// For each entry of the log the first call that covers it, and the one of them that ended last; empty where nothing was
    /// removed.
    first: Vec<Option<Call>>,
    last: Vec<Option<Call>>,
}

impl Reach {
    fn finish(&mut self, log: &[Entry]) {
        let mut by_end = self.calls.clone();
        by_end.sort_by_key(|call| Reverse(call.end()));
        self.first = cover(log, &self.calls);
        self.last = cover(log, &by_end);
    }

    /// Since when a record may be missing from an entry that calls could reach only from a position on.
    fn since_at(&self, index: usize, reachable_from: Option<usize>) -> Option<usize> {
        let call = |calls: &[Option<Call>]| {
            calls.get(index).copied().flatten().filter(|call| call.reaches(reachable_from))
        };
        // Where the first call came too early and a later one didn't, any in between may have been the one.
        let later = || call(&self.last).map(|last| reachable_from.unwrap_or(last.since));
        call(&self.first).map(|first| first.since).or_else(later)
    }
}

#[derive(Debug, Default)]
struct KeyRemovals {
    /// Retention, deletion, and errors that named damage.
    told: Reach,
    compacted: Reach,
    /// For each entry since when compaction may remove it, if it may; empty where the history tells no record's key.
    superseded: Vec<Option<usize>>,
    /// Where calls ended, in order, each with the earliest beginning of those that ended there or later.
    since: Vec<(usize, usize)>,
    /// The ranges removed, merged and in order.
    ranges: Vec<Span>,
    /// In order.
    tails: Vec<UndecidableTail>,
    /// How much of the log each of the tails covers, so that one that reaches an offset is found without a walk.
    tail_reaches: NextTree<u64>,
}

impl KeyRemovals {
    fn finish(&mut self, log: &[Entry]) {
        self.tails.sort_by_key(|tail| tail.at);
        self.tail_reaches = NextTree::new(self.tails.iter().map(|tail| reach(tail.from)));
        self.told.finish(log);
        self.compacted.finish(log);
        let mut by_end: Vec<Call> = self.calls().copied().collect();
        by_end.sort_by_key(|call| Reverse(call.end()));
        let mut earliest = usize::MAX;
        for call in &by_end {
            earliest = earliest.min(call.since);
            self.since.push((call.end(), earliest));
        }
        self.since.reverse();
        self.ranges = by_end.iter().map(|call| call.span).collect();
        merge(&mut self.ranges);
    }

    /// Since when a record that was sent from a position on may be missing from an entry.
    fn since_at(&self, index: usize, sent_from: Option<usize>) -> Option<usize> {
        let told = self.told.since_at(index, sent_from);
        let compacted = match self.superseded.get(index) {
            None => self.compacted.since_at(index, sent_from),
            Some(None) => None,
            Some(superseded) => self.compacted.since_at(index, sent_from.max(*superseded)),
        };
        told.into_iter().chain(compacted).min()
    }

    fn calls(&self) -> impl Iterator<Item = &Call> {
        self.told.calls.iter().chain(&self.compacted.calls)
    }

    /// The first tail behind a position that the offset belongs to, and where it was lost.
    fn tail_with(&self, offset: u64, after: usize) -> Option<usize> {
        let from = self.tails.partition_point(|tail| tail.at <= after);
        let next = self.tail_reaches.next(from, reach(offset))?;
        self.tails.get(next).map(|tail| tail.at)
    }

    /// The first tail behind a position: a record of which nobody knows the offset may have stood in it.
    fn tail_after(&self, after: usize) -> Option<usize> {
        let next = self.tails.partition_point(|tail| tail.at <= after);
        self.tails.get(next).map(|tail| tail.at)
    }

    /// Since when a record may be missing of which nobody knows the offset: any call may have covered it.
    fn since_anywhere(&self, sent_from: Option<usize>) -> Option<usize> {
        let reaching =
            sent_from.map_or(0, |sent| self.since.partition_point(|(end, _)| *end <= sent));
        self.since.get(reaching).map(|(_, earliest)| *earliest)
    }
}

/// How many offsets there are behind one: a tail covers an offset if it has as many.
fn reach(offset: u64) -> u64 {
    u64::MAX - offset
}

impl Removals {
    pub(crate) fn new(
        history: &History,
        timeline: &Timeline,
        effects: &Effects<'_>,
        logs: &Logs,
        record_keys: &RecordKeys<'_>,
    ) -> Self {
        let mut removals = Self {
            keys: (0..effects.key_count()).map(|_| KeyRemovals::default()).collect(),
            ..Self::default()
        };
        for (position, operation) in history.operations().iter().enumerate() {
            // An invocation counts for itself only where nobody knows how it ended.
            let counted_at_the_end =
                operation.kind == Kind::Invoke && timeline.completion(position).is_some();
            if operation.kind == Kind::Fail || counted_at_the_end {
                continue;
            }
            let since = timeline.start(position);
            let is_over =
                operation.kind == Kind::Ok || matches!(operation.action, Action::Detected(_));
            let ended = is_over.then_some(position);
            for (key, span) in spans(&operation.action, operation.kind) {
                if let Some(key) = effects.key_id(key).filter(|_| span.from < span.to) {
                    let removals = &mut removals.keys[key.number()];
                    let reach = match operation.action {
                        Action::Compact(_) => &mut removals.compacted,
                        _ => &mut removals.told,
                    };
                    reach.calls.push(Call { span, since, ended });
                }
            }
            removals.note_others(&operation.action, operation.kind, since, effects);
        }
        for (key, removed) in removals.keys.iter_mut().enumerate() {
            let key = KeyId::new(key);
            if !removed.compacted.calls.is_empty() {
                removed.superseded = record_keys.superseded(effects, logs, key);
            }
            removed.finish(logs.log(key));
        }
        removals.undecidable.sort_unstable();
        removals
    }

    fn note_others(&mut self, action: &Action, kind: Kind, position: usize, effects: &Effects<'_>) {
        match action {
            Action::Delete(keys) => {
                for key in keys {
                    let first = self.deleted.entry(key.clone()).or_insert(position);
                    *first = position.min(*first);
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

    /// Why and since when the record may be missing.
    pub(crate) fn of(
        &self,
        effects: &Effects<'_>,
        logs: &Logs,
        record: RecordId,
    ) -> Option<Removal> {
        let sent_from = effects.record(record).sent_from;
        let key = &self.keys[effects.record(record).key.number()];
        let place = logs.place(record);
        let told = |since| Removal { since, reason: Reason::Told };
        let index = place.last_index();
        if let Some(since) = index.and_then(|index| key.since_at(index, sent_from)) {
            return Some(told(since));
        }
        let (Some(index), Some(seen)) = (index, place.first_seen) else {
            let lost = || key.tail_after(sent_from?);
            let lost = || lost().map(|since| Removal { since, reason: Reason::UndecidableTail });
            return key.since_anywhere(sent_from).map(told).or_else(lost);
        };
        let offset = logs.log(effects.record(record).key).get(index)?.offset;
        let since = key.tail_with(offset, seen)?;
        Some(Removal { since, reason: Reason::UndecidableTail })
    }

    /// Whether the key has a tail that records may have been lost with.
    pub(crate) fn has_tails(&self, key: KeyId) -> bool {
        !self.keys[key.number()].tails.is_empty()
    }

    /// Whether any record of the key may be missing at some time.
    pub(crate) fn any(&self, key: KeyId) -> bool {
        let key = &self.keys[key.number()];
        key.calls().next().is_some() || !key.tails.is_empty()
    }

    /// Whether the key was compacted at any time between two positions.
    pub(crate) fn compacted_between(&self, key: KeyId, from: usize, to: usize) -> bool {
        let calls = &self.keys[key.number()].compacted.calls;
        calls.iter().any(|call| call.since < to && from < call.end())
    }

    /// Whether the key was ever compacted.
    pub(crate) fn is_compacted(&self, key: KeyId) -> bool {
        !self.keys[key.number()].compacted.calls.is_empty()
    }

    /// Whether all of the range may be missing at some time.
    pub(crate) fn cover(&self, key: KeyId, span: Span) -> bool {
        let key = &self.keys[key.number()];
        let after = key.ranges.partition_point(|range| range.from <= span.from);
        after.checked_sub(1).is_some_and(|at| key.ranges[at].to >= span.to)
    }

    /// Whether what stood at the offset before a position may have been replaced by something else up to another position.
    pub(crate) fn undecidable(&self, key: KeyId, offset: u64, between: (usize, usize)) -> bool {
        let tail = self.keys[key.number()].tail_with(offset, between.0);
        tail.is_some_and(|at| at < between.1)
    }

    /// Whether anything at all may have been lost without a trace between two positions.
    pub(crate) fn undecidable_between(&self, from: usize, to: usize) -> bool {
        let after = self.undecidable.partition_point(|at| *at <= from);
        self.undecidable.get(after).is_some_and(|at| *at < to)
    }

    /// Whether the key was deleted before a position.
    pub(crate) fn deleted_before(&self, key: &Key, position: usize) -> bool {
        self.deleted.get(key).is_some_and(|at| *at < position)
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
        Action::Delete(keys) => keys.iter().map(|key| (key, Span::ALL)).collect(),
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

/// For each entry of a log the first of the calls that covers it.
fn cover(log: &[Entry], calls: &[Call]) -> Vec<Option<Call>> {
    if calls.is_empty() {
        return Vec::new();
    }
    let mut covering = vec![None; log.len()];
    // For each entry, the next one at or behind it that no call has reached: every entry is visited once.
    let mut unreached: Vec<usize> = (0..=log.len()).collect();
    for call in calls {
        let from = log.partition_point(|entry| entry.offset < call.span.from);
        let mut index = next_unreached(&mut unreached, from);
        while log.get(index).is_some_and(|entry| call.span.contains(entry.offset)) {
            covering[index] = Some(*call);
            unreached[index] = index + 1;
            index = next_unreached(&mut unreached, index + 1);
        }
    }
    covering
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
