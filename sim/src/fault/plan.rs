//! Faults that wait for their moment, and the count of what became of them.

use super::kind::FaultKind;
use super::what::{Fault, OpKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A fault that was armed or done, by its number on its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FaultId(pub u64);

/// A fault and the operation that it waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arm {
    /// What is to happen.
    pub fault: Fault,
    /// To which operation.
    pub on: OpKind,
    /// On which path: `*` stands for any characters, also none.
    pub path: String,
    /// To how many of such operations nothing happens before.
    pub skip: u64,
    /// To how many it happens then, one after the other.
    pub times: u64,
}

impl Arm {
    /// The first `on` of a path that matches has the fault.
    pub fn first(fault: Fault, on: OpKind, path: &str) -> Self {
        Self::nth(fault, on, path, 0)
    }

    /// The one after `skip` others has it.
    pub fn nth(fault: Fault, on: OpKind, path: &str, skip: u64) -> Self {
        Self { fault, on, path: path.to_owned(), skip, times: 1 }
    }

    /// All from the first on have it.
    pub fn always(fault: Fault, on: OpKind, path: &str) -> Self {
        Self { times: u64::MAX, ..Self::first(fault, on, path) }
    }
}

/// A fault that leaves damage behind, and what it has happened to.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "world"), expect(dead_code, reason = "the world reads it"))]
pub(crate) struct FaultHit {
    pub(crate) fault: Fault,
    pub(crate) path: String,
}

/// What became of the faults of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// How many were made ready.
    pub armed: u64,
    /// How many happened.
    pub fired: u64,
    /// How many of those the program met.
    pub mattered: u64,
}

/// The faults of a disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct FaultPlan {
    armed: Vec<(FaultId, Arm)>,
    /// Every fault so far: its kind, whether it fired, whether it mattered.
    all: Vec<(FaultKind, bool, bool)>,
    /// Those that have left damage behind, until somebody takes them.
    hits: Vec<FaultHit>,
}

impl FaultPlan {
    /// Makes a fault ready; returns nothing if it cannot happen to such operations.
    pub(crate) fn arm(&mut self, arm: Arm) -> Option<FaultId> {
        if !arm.fault.fits(arm.on) {
            return None;
        }
        let id = self.register(arm.fault.kind(arm.on));
        self.armed.push((id, arm));
        Some(id)
    }

    pub(crate) fn disarm_all(&mut self) {
        self.armed.clear();
    }

    fn register(&mut self, kind: FaultKind) -> FaultId {
        self.all.push((kind, false, false));
        FaultId(self.all.len() as u64 - 1)
    }

    /// Notes a fault that happens without having waited: a crash, damage.
    pub(crate) fn happened(&mut self, kind: FaultKind) -> FaultId {
        let id = self.register(kind);
        self.fired(id);
        id
    }

    fn entry(&mut self, id: FaultId) -> Option<&mut (FaultKind, bool, bool)> {
        self.all.get_mut(usize::try_from(id.0).ok()?)
    }

    fn fired(&mut self, id: FaultId) {
        if let Some((_, fired, _)) = self.entry(id) {
            *fired = true;
        }
    }

    #[cfg(feature = "world")]
    pub(crate) fn take_hits(&mut self) -> Vec<FaultHit> {
        std::mem::take(&mut self.hits)
    }

    pub(crate) fn has_fired(&self, id: FaultId) -> bool {
        let entry = usize::try_from(id.0).ok().and_then(|index| self.all.get(index));
        entry.is_some_and(|(_, fired, _)| *fired)
    }

    /// Notes that the program has met the effect of a fault.
    pub(crate) fn mattered(&mut self, id: FaultId) {
        if let Some((_, _, mattered)) = self.entry(id) {
            *mattered = true;
        }
    }

    /// The fault that is to happen to this operation, if one is.
    pub(crate) fn take(&mut self, on: OpKind, path: &str) -> Option<(FaultId, Fault)> {
        let mut due = None;
        for (id, arm) in &mut self.armed {
            if arm.on != on || !matches(&arm.path, path) {
                continue;
            }
            // Each counts what it waits for, whether or not another happens.
            if arm.skip > 0 {
                arm.skip -= 1;
            } else if due.is_none() && arm.times > 0 {
                arm.times -= 1;
                due = Some((*id, arm.fault.clone()));
            }
        }
        self.armed.retain(|(_, arm)| arm.times > 0);
        if let Some((id, fault)) = &due {
            self.fired(*id);
            if fault.leaves_damage() {
                self.hits.push(FaultHit { fault: fault.clone(), path: path.to_owned() });
            }
        }
        due
    }

    pub(crate) fn counts(&self) -> BTreeMap<FaultKind, Counts> {
        let mut counts: BTreeMap<FaultKind, Counts> = BTreeMap::new();
        for (kind, fired, mattered) in &self.all {
            let count = counts.entry(*kind).or_default();
            count.armed += 1;
            count.fired += u64::from(*fired);
            count.mattered += u64::from(*mattered);
        }
        counts
    }
}

/// Whether a path matches a pattern in which `*` stands for any characters.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((front, rest)) => {
            let Some(path) = path.strip_prefix(front) else { return false };
            // Char boundaries only, so that no slice is cut in a character.
            let ends = path.char_indices().map(|(at, _)| at).chain([path.len()]);
            ends.into_iter().any(|at| path.get(at..).is_some_and(|path| matches(rest, path)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, path, fits) in [
            ("*", "/log/LOCK", true),
            ("*/LOCK", "/log/LOCK", true),
            ("/log/*/x", "/log/a/b/x", true),
            ("/log/*.wal", "/log/1.wal2", false),
            ("/log", "/log/", false),
            ("*ä*", "/ö/ä", true),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern, path), fits, "{pattern} {path}");
        }
    }

    #[test]
    fn an_armed_fault_waits_for_its_occurrence_and_happens_once() {
        let mut plan = FaultPlan::default();
        let arm = Arm::nth(Fault::Interrupted, OpKind::ReadAt, "*.wal", 1);
        assert!(plan.arm(arm).is_some());
        assert!(plan.take(OpKind::ReadAt, "a.log").is_none());
        assert!(plan.take(OpKind::ReadAt, "a.wal").is_none());
        assert!(plan.take(OpKind::WriteAt, "a.wal").is_none());
        assert!(plan.take(OpKind::ReadAt, "b.wal").is_some());
        assert!(plan.take(OpKind::ReadAt, "b.wal").is_none());
        let counts = plan.counts();
        let expected = Counts { armed: 1, fired: 1, mattered: 0 };
        assert_eq!(counts.get(&FaultKind::Interrupted), Some(&expected));
    }

    #[test]
    fn a_fault_that_cannot_happen_to_an_operation_is_not_armed() {
        let mut plan = FaultPlan::default();
        let arm = Arm::first(Fault::Interrupted, OpKind::SyncData, "*");
        assert!(plan.arm(arm).is_none());
    }
}
