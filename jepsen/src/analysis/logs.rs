//! Each key's log as the history shows it: which record stood at which offset.

use rustc_hash::FxHashMap;

use super::effects::{Effects, KeyId, RecordId, Touch};
use crate::history::{History, Kind};

/// One offset of a key at which a record was seen.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    /// The record that was seen there first.
    pub(crate) record: RecordId,
    /// All records that were seen there, if there are several.
    pub(crate) conflict: Option<Vec<Sighting>>,
}

/// When a record was seen at an offset.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sighting {
    pub(crate) record: RecordId,
    offset: u64,
    /// The first operation that saw it there.
    pub(crate) first: usize,
    /// The last one.
    pub(crate) last: usize,
}

/// Where a record stands in its key's log. An index counts the offsets at which any record was seen, so that gaps in the offsets
/// don't count.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    /// The index at which it stands in the version order: the last one at which it was the record seen first.
    index: Option<u32>,
    /// The first and the last index at which it was seen at all.
    bounds: Option<(u32, u32)>,
    /// The first operation that saw it at an offset.
    pub(crate) first_seen: Option<usize>,
}

impl Place {
    /// The index at which it stands in the version order.
    pub(crate) fn index(self) -> Option<usize> {
        self.index.map(|index| index as usize)
    }

    /// The first index at which it was seen at all.
    pub(crate) fn first_index(self) -> Option<usize> {
        self.bounds.map(|(first, _)| first as usize)
    }

    /// The last index at which it was seen at all.
    pub(crate) fn last_index(self) -> Option<usize> {
        self.bounds.map(|(_, last)| last as usize)
    }
}

/// All logs.
#[derive(Debug)]
pub(crate) struct Logs {
    by_key: Vec<Vec<Entry>>,
    places: Vec<Place>,
    /// Whether each operation's sends count: it is `ok`, or `info` and something that it sent was polled.
    committed: Vec<bool>,
}

/// Everything that was seen, once for each record and offset.
struct Sightings {
    by_key: Vec<Vec<Sighting>>,
    /// For each record, where in its key's sightings the first one is. Nearly all records are seen at one offset only.
    at: Vec<Option<u32>>,
    /// The same for its other offsets.
    elsewhere: FxHashMap<(RecordId, u64), usize>,
}

impl Sightings {
    fn note(&mut self, touch: Touch, by: usize) {
        let Some(offset) = touch.offset() else { return };
        let sightings = &mut self.by_key[touch.key.number()];
        let new = Sighting { record: touch.record, offset, first: by, last: by };
        let at = &mut self.at[touch.record.number()];
        let Some(main) = at.map(|at| at as usize) else {
            *at = u32::try_from(sightings.len()).ok();
            sightings.push(new);
            return;
        };
        let known = if sightings[main].offset == offset {
            main
        } else {
            let next = sightings.len();
            *self.elsewhere.entry((touch.record, offset)).or_insert(next)
        };
        match sightings.get_mut(known) {
            Some(sighting) => sighting.last = by,
            None => sightings.push(new),
        }
    }
}

impl Logs {
    /// Version orders come from all polls, for polls may never return what isn't safe, and from sends only where they are visible.
    pub(crate) fn new(history: &History, effects: &Effects<'_>) -> Self {
        let committed: Vec<bool> = (0..history.len())
            .map(|position| must_have_committed(history, effects, position))
            .collect();
        let records = effects.records().count();
        let mut sightings = Sightings {
            by_key: vec![Vec::new(); effects.key_count()],
            at: vec![None; records],
            elsewhere: FxHashMap::default(),
        };
        for (position, committed) in committed.iter().enumerate() {
            let writes = if *committed { effects.writes(position) } else { &[] };
            for touch in writes.iter().chain(effects.reads(position)) {
                sightings.note(*touch, position);
            }
        }
        let mut places = vec![Place::default(); records];
        let logs = sightings.by_key.into_iter().map(|sightings| log(sightings, &mut places));
        Self { by_key: logs.collect(), places, committed }
    }

    /// The offsets of a key at which records were seen, in order.
    pub(crate) fn log(&self, key: KeyId) -> &[Entry] {
        &self.by_key[key.number()]
    }

    pub(crate) fn place(&self, record: RecordId) -> Place {
        self.places[record.number()]
    }

    /// By how much a record stands behind another in the log, as Jepsen counts: one if either's place is unknown.
    pub(crate) fn distance(&self, from: RecordId, to: RecordId) -> i64 {
        match (self.place(from).index, self.place(to).index) {
            (Some(from), Some(to)) => i64::from(to) - i64::from(from),
            _ => 1,
        }
    }

    /// Whether what the operation sent is known to be in the log.
    pub(crate) fn committed(&self, position: usize) -> bool {
        self.committed[position]
    }

    /// The index of the entry at an offset, or else of the first one behind it.
    pub(crate) fn index_at(&self, key: KeyId, offset: u64) -> Result<usize, usize> {
        self.log(key).binary_search_by_key(&offset, |entry| entry.offset)
    }
}

/// A crashed transaction of which one record was polled has committed as a whole.
fn must_have_committed(history: &History, effects: &Effects<'_>, position: usize) -> bool {
    match history.operations()[position].kind {
        Kind::Ok => true,
        Kind::Info => effects
            .writes(position)
            .iter()
            .any(|touch| effects.record(touch.record).ok_reader.is_some()),
        Kind::Invoke | Kind::Fail => false,
    }
}

/// Sorts what was seen of a key into a log, and notes each record's place in it.
fn log(mut sightings: Vec<Sighting>, places: &mut [Place]) -> Vec<Entry> {
    // Mostly in order, which the sort makes use of.
    sightings.sort_by_key(|sighting| (sighting.offset, sighting.first));
    let mut log: Vec<Entry> = Vec::with_capacity(sightings.len());
    for at_offset in sightings.chunk_by(|left, right| left.offset == right.offset) {
        let Some(first) = at_offset.first() else { continue };
        let index = u32::try_from(log.len()).ok();
        for sighting in at_offset {
            let place = &mut places[sighting.record.number()];
            let first_index = place.bounds.map(|(first, _)| first).or(index);
            place.bounds = first_index.zip(index);
            let first_seen =
                place.first_seen.map_or(sighting.first, |seen| seen.min(sighting.first));
            place.first_seen = Some(first_seen);
        }
        places[first.record.number()].index = index;
        log.push(Entry {
            offset: first.offset,
            record: first.record,
            conflict: (at_offset.len() > 1).then(|| at_offset.to_vec()),
        });
    }
    log
}
