//! The hashes of records that operations carry as evidence.

use rustc_hash::FxHashMap;

use super::effects::{Effects, RecordId};
use crate::history::{Action, History, Key, Kind};
use crate::merkle::Hash;

/// One operation's word on a record's hash.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HashSeen {
    pub(crate) hash: Hash,
    /// The operation that carries it.
    pub(crate) at: usize,
    /// Whether that operation sent the record, and so knows what it should be.
    pub(crate) sent: bool,
    /// The record that the operation has at that offset.
    pub(crate) record: Option<RecordId>,
}

/// All of them, by key and offset.
#[derive(Debug, Default)]
pub(crate) struct RecordHashes<'h> {
    keys: FxHashMap<&'h Key, Vec<(u64, HashSeen)>>,
}

impl<'h> RecordHashes<'h> {
    pub(crate) fn new(history: &'h History, effects: &Effects<'_>) -> Self {
        let mut hashes = Self::default();
        for (at, operation) in history.operations().iter().enumerate() {
            let counts = match operation.action {
                // What an uncertain send would have written is no evidence of what the log holds.
                Action::Send(_) | Action::Txn(_) => operation.kind == Kind::Ok,
                _ => operation.kind != Kind::Invoke,
            };
            let Some(attachments) = operation.attachments.as_deref().filter(|_| counts) else {
                continue;
            };
            for (key, pairs) in &attachments.hashes {
                hashes.note(effects, at, key, pairs);
            }
        }
        for seen in hashes.keys.values_mut() {
            seen.sort_by_key(|(offset, seen)| (*offset, !seen.sent, seen.at));
        }
        hashes
    }

    fn note(&mut self, effects: &Effects<'_>, at: usize, key: &'h Key, pairs: &[(u64, Hash)]) {
        let id = effects.key_id(key);
        let mut touches: FxHashMap<u64, (RecordId, bool)> = FxHashMap::default();
        for (touches_of, sent) in [(effects.reads(at), false), (effects.writes(at), true)] {
            for touch in touches_of.iter().filter(|touch| Some(touch.key) == id) {
                if let Some(offset) = touch.offset() {
                    touches.insert(offset, (touch.record, sent));
                }
            }
        }
        let seen = self.keys.entry(key).or_default();
        for (offset, hash) in pairs {
            let touch = touches.get(offset);
            seen.push((
                *offset,
                HashSeen {
                    hash: *hash,
                    at,
                    sent: touch.is_some_and(|(_, sent)| *sent),
                    record: touch.map(|(record, _)| *record),
                },
            ));
        }
    }

    /// What was seen of a key: for each offset, in order, everything that is known, the word of senders first.
    pub(crate) fn of(&self, key: &Key) -> impl Iterator<Item = (u64, &[(u64, HashSeen)])> {
        let seen = self.keys.get(key).map_or(&[][..], Vec::as_slice);
        seen.chunk_by(|left, right| left.0 == right.0).filter_map(|run| Some((run.first()?.0, run)))
    }

    /// The hash of the record at an offset, if all agree on it.
    pub(crate) fn agreed(&self, key: &Key, offset: u64) -> Option<HashSeen> {
        let seen = self.keys.get(key)?;
        let from = seen.partition_point(|(at, _)| *at < offset);
        let to = seen.partition_point(|(at, _)| *at <= offset);
        agreement(&seen[from..to])
    }
}

/// The hash on which all agree, with who said so first.
pub(crate) fn agreement(run: &[(u64, HashSeen)]) -> Option<HashSeen> {
    let (_, first) = run.first()?;
    run.iter().all(|(_, seen)| seen.hash == first.hash).then_some(*first)
}
