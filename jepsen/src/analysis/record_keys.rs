//! What compaction knows records by, and which of them it may remove.

use rustc_hash::FxHashMap;

use super::effects::{Effects, KeyId, RecordId};
use super::logs::Logs;
use crate::history::{Datum, History};

/// What compaction knows a record by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KnownBy<'h> {
    /// The record's own key.
    pub(crate) key: &'h Datum,
    pub(crate) is_tombstone: bool,
}

/// The records' own keys, as far as the history tells them.
#[derive(Debug, Default)]
pub(crate) struct RecordKeys<'h> {
    known: FxHashMap<RecordId, KnownBy<'h>>,
}

impl<'h> RecordKeys<'h> {
    pub(crate) fn new(history: &'h History, effects: &Effects<'h>) -> Self {
        let mut known = FxHashMap::default();
        let attachments = history.operations().iter().filter_map(|op| op.attachments.as_ref());
        for (key, records) in attachments.flat_map(|attachments| &attachments.record_keys) {
            let Some(key) = effects.key_id(key) else { continue };
            for of in records {
                if let Some(record) = effects.record_id(key, &of.record) {
                    let known_by = KnownBy { key: &of.key, is_tombstone: of.is_tombstone };
                    known.insert(record, known_by);
                }
            }
        }
        Self { known }
    }

    /// What compaction knows a record by, if the history tells.
    pub(crate) fn of(&self, record: RecordId) -> Option<KnownBy<'h>> {
        self.known.get(&record).copied()
    }

    /// For each entry of a log since when compaction may remove it, if it may: since a later record of the same key was sent. A
    /// tombstone may go by itself, and so may a record whose key nobody knows. Empty if no key is known.
    pub(crate) fn superseded(
        &self,
        effects: &Effects<'_>,
        logs: &Logs,
        key: KeyId,
    ) -> Vec<Option<usize>> {
        if self.known.is_empty() {
            return Vec::new();
        }
        let log = logs.log(key);
        let mut superseded = vec![Some(0); log.len()];
        let mut later: FxHashMap<&Datum, usize> = FxHashMap::default();
        for (entry, since) in log.iter().zip(&mut superseded).rev() {
            let Some(known_by) = self.of(entry.record) else { continue };
            if !known_by.is_tombstone {
                *since = later.get(known_by.key).copied();
            }
            let record = effects.record(entry.record);
            if record.ok_writer.is_some() || record.ok_reader.is_some() {
                let sent_from = record.sent_from.unwrap_or(0);
                let first = later.entry(known_by.key).or_insert(sent_from);
                *first = sent_from.min(*first);
            }
        }
        superseded
    }
}
