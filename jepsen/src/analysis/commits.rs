//! Committed offsets: who committed what, and what a read of them may lawfully return.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use super::timeline::Timeline;
use crate::history::{Action, Commit, Datum, History, Key, Kind, Operation};

/// One commit of one key's offset.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommitCall {
    /// Where the call began.
    pub(crate) invoked: usize,
    /// Where it was acknowledged; none if it may have happened or may still.
    pub(crate) acknowledged: Option<usize>,
    /// The next offset to read; none if it removed the committed offset.
    pub(crate) offset: Option<u64>,
}

/// What a read of a committed offset may return.
#[derive(Debug)]
pub(crate) struct Possible {
    /// The last commit that was acknowledged before the read began.
    pub(crate) last: CommitCall,
    /// Every offset that the read may return; none stands for no committed offset.
    pub(crate) offsets: BTreeSet<Option<u64>>,
}

/// All commits, by group and key.
#[derive(Debug, Default)]
pub(crate) struct Commits<'h> {
    calls: FxHashMap<(&'h Datum, &'h Key), Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    /// In the order of their acknowledgements.
    acknowledged: Vec<(usize, CommitCall)>,
    /// In the order in which they began.
    uncertain: Vec<CommitCall>,
}

impl<'h> Commits<'h> {
    pub(crate) fn new(history: &'h History, timeline: &Timeline) -> Self {
        let mut commits = Self::default();
        for (position, operation) in history.operations().iter().enumerate() {
            let open = operation.kind == Kind::Invoke && timeline.completion(position).is_none();
            if !(open || operation.may_have_happened()) {
                continue;
            }
            for commit in commits_of(operation) {
                commits.note(commit, position, operation.kind, timeline);
            }
        }
        for calls in commits.calls.values_mut() {
            calls.uncertain.sort_by_key(|call| call.invoked);
        }
        commits
    }

    fn note(&mut self, commit: &'h Commit, position: usize, kind: Kind, timeline: &Timeline) {
        for (key, offset) in &commit.offsets {
            let calls = self.calls.entry((&commit.group, key)).or_default();
            let mut call = CommitCall {
                invoked: timeline.start(position),
                acknowledged: None,
                offset: *offset,
            };
            if kind == Kind::Ok {
                call.acknowledged = Some(position);
                calls.acknowledged.push((position, call));
            } else {
                calls.uncertain.push(call);
            }
        }
    }

    /// What a read that runs from one position to another may return; nothing can be said before the first acknowledged commit.
    pub(crate) fn possible(
        &self,
        timeline: &Timeline,
        group: &Datum,
        key: &Key,
        read: (usize, usize),
    ) -> Option<Possible> {
        let calls = self.calls.get(&(group, key))?;
        let acknowledged_before = calls.acknowledged.partition_point(|(at, _)| *at < read.0);
        let (before, after) = calls.acknowledged.split_at(acknowledged_before);
        let (_, last) = before.last()?;
        // A commit is overwritten once another one has begun after its acknowledgement and was itself acknowledged. Walking back,
        // all that overlap the latest beginning may be the one that stands.
        let mut latest_beginning = 0;
        let mut offsets = BTreeSet::new();
        for (at, call) in before.iter().rev() {
            if *at < latest_beginning {
                break;
            }
            latest_beginning = latest_beginning.max(call.invoked);
            offsets.insert(call.offset);
        }
        offsets.extend(
            after.iter().take_while(|(_, call)| call.invoked < read.1).map(|(_, call)| call.offset),
        );
        // A call that was never answered may still take effect, but not once the log was opened again.
        let opened = timeline.last_open_before(last.invoked).unwrap_or(0);
        let alive = calls.uncertain.partition_point(|call| call.invoked < opened);
        offsets.extend(
            calls.uncertain[alive..]
                .iter()
                .take_while(|call| call.invoked < read.1)
                .map(|call| call.offset),
        );
        Some(Possible { last: *last, offsets })
    }
}

/// The commits that an operation makes: it is one, or carries one.
pub(crate) fn commits_of(operation: &Operation) -> impl Iterator<Item = &Commit> {
    let own = match &operation.action {
        Action::Commit(commit) => Some(&**commit),
        _ => None,
    };
    let carried =
        operation.attachments.as_ref().and_then(|attachments| attachments.commits.as_deref());
    own.into_iter().chain(carried)
}
