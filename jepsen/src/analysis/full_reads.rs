//! Where the history says how far a log reached: full reads, and polls that came to a log's end.

use rustc_hash::FxHashMap;

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
    /// The end offset that the same reader had reached before, since the same assign.
    pub(crate) end_before: u64,
    /// Which of [`FullReads::met`] has what it read.
    met: usize,
}

/// What a reader polled of a key since its assign. A reader that comes to the end more than once adds to it, so each record has the
/// poll that met it first.
#[derive(Debug, Default)]
struct Met {
    offsets: FxHashMap<u64, usize>,
    records: FxHashMap<RecordId, usize>,
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
    keys: FxHashMap<KeyId, Progress>,
    /// What the process has polled since, as far as nobody has looked at it yet.
    polls: Vec<usize>,
}

/// How far a reader has come with a key.
#[derive(Debug, Default)]
struct Progress {
    /// Which of [`FullReads::met`] has what it polled, once somebody asked.
    met: Option<usize>,
    /// The highest end that it reached.
    end: u64,
}

/// All that is known about ends.
#[derive(Debug, Default)]
pub(crate) struct FullReads {
    pub(crate) reads: Vec<FullRead>,
    pub(crate) ends: Vec<EndSeen>,
    met: Vec<Met>,
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
                                keys: keys
                                    .iter()
                                    .filter_map(|key| {
                                        Some((effects.key_id(key)?, Progress::default()))
                                    })
                                    .collect(),
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
                    if let Some(reading) = reading.get_mut(&operation.process) {
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
        reading: &mut Reading,
        ended: usize,
        ends: &[(Key, u64)],
    ) {
        for position in reading.polls.drain(..) {
            for touch in effects.reads(position) {
                let Some(progress) = reading.keys.get_mut(&touch.key) else { continue };
                let met = self.met_by(progress);
                let met = &mut self.met[met];
                if let Some(offset) = touch.offset() {
                    met.offsets.entry(offset).or_insert(position);
                }
                met.records.entry(touch.record).or_insert(position);
            }
        }
        for (key, end) in ends {
            let Some(key) = effects.key_id(key) else { continue };
            let Some(progress) = reading.keys.get_mut(&key) else { continue };
            let read = FullRead {
                key,
                began: reading.began,
                ended,
                end: *end,
                end_before: progress.end,
                met: self.met_by(progress),
            };
            progress.end = progress.end.max(*end);
            self.reads.push(read);
        }
    }

    /// Which of `met` has what the reader polled of the key.
    fn met_by(&mut self, progress: &mut Progress) -> usize {
        *progress.met.get_or_insert_with(|| {
            self.met.push(Met::default());
            self.met.len() - 1
        })
    }

    /// Whether the full read returned the record.
    pub(crate) fn returned(&self, read: &FullRead, record: RecordId) -> bool {
        self.met[read.met].records.get(&record).is_some_and(|at| *at < read.ended)
    }

    /// Whether the full read returned anything at the offset.
    pub(crate) fn returned_at(&self, read: &FullRead, offset: u64) -> bool {
        self.met[read.met].offsets.get(&offset).is_some_and(|at| *at < read.ended)
    }
}
