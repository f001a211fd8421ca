//! Where the history says how far a log reached: full reads, and polls that came to a log's end.

use rustc_hash::{FxHashMap, FxHashSet};

use super::effects::{Effects, KeyId, RecordId};
use super::timeline::Timeline;
use crate::history::{Action, FinalPolls, History, Key, Kind, Process};

/// A log read from its start to its end: from an assign that sought to the beginning up to a `final-polls`. A seek in between
/// doesn't end it, for a reader must get past what an error named as damaged.
#[derive(Debug)]
pub(crate) struct FullRead {
    pub(crate) key: KeyId,
    pub(crate) began: usize,
    pub(crate) ended: usize,
    /// The end offset that was reached.
    pub(crate) end: u64,
    /// The offsets at which it read records.
    pub(crate) offsets: FxHashSet<u64>,
    /// The records that it read.
    pub(crate) records: FxHashSet<RecordId>,
}

/// A log's end, as an operation saw it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EndSeen {
    pub(crate) key: KeyId,
    /// The offset behind the last record.
    pub(crate) end: u64,
    /// Where the call that saw it began, and where it ended.
    pub(crate) call: (usize, usize),
}

/// A full read under way.
#[derive(Debug)]
struct Reading {
    began: usize,
    keys: FxHashSet<KeyId>,
    /// What the process has polled since.
    polls: Vec<usize>,
}

/// All that is known about ends.
#[derive(Debug, Default)]
pub(crate) struct FullReads {
    pub(crate) reads: Vec<FullRead>,
    pub(crate) ends: Vec<EndSeen>,
}

impl FullReads {
    pub(crate) fn new(history: &History, timeline: &Timeline, effects: &Effects<'_>) -> Self {
        let mut found = Self::default();
        let mut reading: FxHashMap<&Process, Reading> = FxHashMap::default();
        for (position, operation) in history.operations().iter().enumerate() {
            match (&operation.action, operation.kind) {
                (Action::Assign(keys), Kind::Ok | Kind::Info) => {
                    let sought = operation
                        .attachments
                        .as_ref()
                        .is_some_and(|attachments| attachments.seek_to_beginning);
                    if sought && operation.kind == Kind::Ok {
                        reading.insert(
                            &operation.process,
                            Reading {
                                began: timeline.start(position),
                                keys: keys.iter().filter_map(|key| effects.key_id(key)).collect(),
                                polls: Vec::new(),
                            },
                        );
                    } else {
                        reading.remove(&operation.process);
                    }
                }
                (Action::Subscribe(_), Kind::Ok | Kind::Info) => {
                    reading.remove(&operation.process);
                }
                (Action::FinalPolls(FinalPolls::Done(ends)), Kind::Ok) => {
                    if let Some(reading) = reading.get(&operation.process) {
                        found.finish(effects, reading, position, ends);
                    }
                    found.note_ends(effects, (timeline.start(position), position), ends);
                }
                (Action::Poll(_) | Action::Txn(_), Kind::Ok) => {
                    if let Some(reading) = reading.get_mut(&operation.process) {
                        reading.polls.push(position);
                    }
                    if let Some(attachments) = &operation.attachments {
                        found.note_ends(
                            effects,
                            (timeline.start(position), position),
                            &attachments.ends,
                        );
                    }
                }
                _ => {}
            }
        }
        found
    }

    fn note_ends(&mut self, effects: &Effects<'_>, call: (usize, usize), ends: &[(Key, u64)]) {
        for (key, end) in ends {
            if let Some(key) = effects.key_id(key) {
                self.ends.push(EndSeen { key, end: *end, call });
            }
        }
    }

    fn finish(
        &mut self,
        effects: &Effects<'_>,
        reading: &Reading,
        ended: usize,
        ends: &[(Key, u64)],
    ) {
        let mut read: FxHashMap<KeyId, (FxHashSet<u64>, FxHashSet<RecordId>)> =
            FxHashMap::default();
        for touch in reading.polls.iter().flat_map(|position| effects.reads(*position)) {
            let (offsets, records) = read.entry(touch.key).or_default();
            offsets.extend(touch.offset());
            records.insert(touch.record);
        }
        for (key, end) in ends {
            let Some(key) = effects.key_id(key).filter(|key| reading.keys.contains(key)) else {
                continue;
            };
            let (offsets, records) = read.remove(&key).unwrap_or_default();
            self.reads.push(FullRead {
                key,
                began: reading.began,
                ended,
                end: *end,
                offsets,
                records,
            });
        }
    }
}
