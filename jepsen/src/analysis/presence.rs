//! Which records of a log were still there at some time, found without looking at those that weren't.

use super::effects::{Effects, KeyId};
use super::logs::Logs;
use super::next_tree::NextTree;
use super::removals::Removals;

/// For each key, since when each entry of its log may be missing.
#[derive(Debug)]
pub(crate) struct Presence {
    keys: Vec<NextTree<usize>>,
}

impl Presence {
    pub(crate) fn new(effects: &Effects<'_>, logs: &Logs, removals: &Removals) -> Self {
        let since = |key| {
            logs.log(key).iter().map(move |entry| {
                removals.of(effects, logs, entry.record).map_or(usize::MAX, |removal| removal.since)
            })
        };
        let tree = |key| {
            if removals.any(key) { NextTree::new(since(key)) } else { NextTree::default() }
        };
        Self { keys: (0..effects.key_count()).map(|key| tree(KeyId::new(key))).collect() }
    }

    /// The first entry at or behind an index whose record can't have been missing yet at a position. Where the log ends the
    /// index may lie behind it.
    pub(crate) fn next(&self, key: KeyId, from: usize, position: usize) -> Option<usize> {
        self.keys[key.number()].next(from, position)
    }
}
