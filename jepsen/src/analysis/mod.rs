//! What all checkers look at, worked out once.

mod commits;
mod effects;
mod full_reads;
mod hashes;
mod logs;
mod next_tree;
mod presence;
mod ranges;
mod readers;
mod record_keys;
mod removals;
mod timeline;

pub(crate) use commits::{CommitCall, Commits, commits_of};
pub(crate) use effects::{Effects, KeyId, RecordId, Touch, by_key};
pub(crate) use full_reads::{FullRead, FullReads};
pub(crate) use hashes::{RecordHashes, agreement};
pub(crate) use logs::{Entry, Logs};
pub(crate) use next_tree::NextTree;
pub(crate) use presence::Presence;
pub(crate) use ranges::Ranges;
pub(crate) use readers::{Step, steps};
pub(crate) use record_keys::RecordKeys;
pub(crate) use removals::{Reason, Removal, Removals, flatten};
pub(crate) use timeline::Timeline;

use crate::history::{Action, Declarations, History, Key, Kind, Operation};

/// A history, and what follows from it.
#[derive(Debug)]
pub(crate) struct Analysis<'h> {
    pub(crate) history: &'h History,
    pub(crate) timeline: Timeline,
    pub(crate) effects: Effects<'h>,
    pub(crate) logs: Logs,
    pub(crate) removals: Removals,
    pub(crate) presence: Presence,
    pub(crate) full_reads: FullReads,
    pub(crate) commits: Commits<'h>,
    pub(crate) record_keys: RecordKeys<'h>,
    pub(crate) hashes: RecordHashes<'h>,
    /// What any `open` declared.
    pub(crate) declared: Declarations,
    /// Whether the history tells of every rebalance.
    pub(crate) records_rebalances: bool,
}

impl<'h> Analysis<'h> {
    pub(crate) fn new(history: &'h History) -> Self {
        let timeline = Timeline::new(history);
        let effects = Effects::new(history, &timeline);
        let logs = Logs::new(history, &effects);
        let record_keys = RecordKeys::new(history, &effects);
        let removals = Removals::new(history, &timeline, &effects, &logs, &record_keys);
        let declared = declared(history);
        Self {
            presence: Presence::new(&effects, &logs, &removals),
            full_reads: FullReads::new(history, &timeline, &effects),
            commits: Commits::new(history, &timeline),
            record_keys,
            hashes: RecordHashes::new(history, &effects),
            records_rebalances: declared.rebalances || has_rebalances(history),
            history,
            timeline,
            effects,
            logs,
            removals,
            declared,
        }
    }

    /// The operation at a position.
    pub(crate) fn operation(&self, position: usize) -> &'h Operation {
        &self.history.operations()[position]
    }

    /// All operations with their positions.
    pub(crate) fn operations(&self) -> impl Iterator<Item = (usize, &'h Operation)> + use<'h> {
        self.history.operations().iter().enumerate()
    }

    /// The completed sends, polls and transactions of clients, with their positions.
    pub(crate) fn completions(&self) -> impl Iterator<Item = (usize, &'h Operation)> + use<'h> {
        self.operations().filter(|(_, operation)| {
            operation.kind != Kind::Invoke && operation.process.is_client()
        })
    }

    /// The record's value as a sentence shows it.
    pub(crate) fn show(&self, record: RecordId) -> String {
        shorten(&self.effects.record(record).value.to_string())
    }

    /// The key of a record.
    pub(crate) fn key_of(&self, record: RecordId) -> &'h Key {
        self.effects.key(self.effects.record(record).key)
    }

    /// Why and since when a record may be missing.
    pub(crate) fn removal(&self, record: RecordId) -> Option<Removal> {
        self.removals.of(&self.effects, &self.logs, record)
    }

    /// Whether the record has stood in two places because it was lost with a tail and sent again.
    pub(crate) fn has_moved(&self, record: RecordId) -> bool {
        let place = self.logs.place(record);
        place.first_index() != place.last_index()
            && self.removals.has_tails(self.effects.record(record).key)
    }

    /// Whether an operation of unknown end may not have been the one that sent the record: another one sent it again.
    pub(crate) fn was_sent_again(&self, position: usize, record: RecordId) -> bool {
        self.operation(position).kind == Kind::Info
            && self.effects.record(record).writer != Some(position)
    }

    /// The operation as a sentence names it.
    pub(crate) fn name(&self, position: usize) -> String {
        format!("operation {}", self.operation(position).index)
    }
}

/// Long values say what they are by their beginning.
fn shorten(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn declared(history: &History) -> Declarations {
    let mut declared = Declarations::default();
    for operation in history.operations() {
        if let (Action::Open(open), Kind::Ok) = (&operation.action, operation.kind) {
            declared.dense_offsets |= open.dense_offsets;
            declared.atomic_batches |= open.atomic_batches;
            declared.rebalances |= open.rebalances;
            declared.all_sends |= open.all_sends;
        }
    }
    declared
}

fn has_rebalances(history: &History) -> bool {
    history.operations().iter().any(|operation| matches!(operation.action, Action::Rebalance(_)))
}
