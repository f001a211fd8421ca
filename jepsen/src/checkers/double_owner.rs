#![doc = include_str!("../../anomalies/double-owner.md")]

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use super::{Finding, Findings};
use crate::analysis::Analysis;
use crate::anomaly::Name;
use crate::history::{Action, Datum, Key, Kind, Process};

/// A partition within a group.
type Share<'h> = (&'h Datum, &'h Key);

/// A member that owns a partition.
#[derive(Clone, Copy)]
struct Owner<'h> {
    process: &'h Process,
    /// Where it was told so.
    since: usize,
}

/// A member that owned a partition when it was given to another one.
#[derive(Clone, Copy)]
struct Contest<'h> {
    old: Owner<'h>,
    new: Owner<'h>,
}

#[derive(Default)]
struct Groups<'h> {
    /// The member that was given each partition last, as long as it lives and keeps it.
    owners: FxHashMap<Share<'h>, Owner<'h>>,
    /// The partitions that each member was given and has not lost, so that they can be taken from it.
    owned: FxHashMap<&'h Process, BTreeSet<Share<'h>>>,
    /// For each member the partitions of which it has yet to learn that it lost them.
    contests: FxHashMap<&'h Process, BTreeMap<Share<'h>, Contest<'h>>>,
}

/// Follows who owns what. A member may learn late that it lost a partition, but no later than by its next poll.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    let mut groups = Groups::default();
    for (position, operation) in analysis.operations() {
        match (&operation.action, operation.kind) {
            (Action::Rebalance(rebalance), Kind::Ok | Kind::Info) => {
                for key in &rebalance.revoked {
                    groups.lose(&operation.process, (&rebalance.group, key));
                }
                for key in &rebalance.assigned {
                    let owner = Owner { process: &operation.process, since: position };
                    groups.gain(owner, (&rebalance.group, key));
                }
            }
            (
                Action::Crash(_) | Action::Close(_) | Action::Assign(_) | Action::Subscribe(_),
                Kind::Ok | Kind::Info,
            )
            // What ends without an answer ends the client too.
            | (Action::Poll(_) | Action::Txn(_) | Action::Send(_), Kind::Info) => {
                groups.leave(&operation.process);
            }
            // A log that is opened again has no members yet.
            (Action::Open(_), Kind::Ok) => groups = Groups::default(),
            (Action::Poll(_) | Action::Txn(_), Kind::Ok) => {
                let Some(invoked) = analysis.timeline.invocation(position) else {
                    continue;
                };
                for (share, contest) in groups.still_contested(&operation.process, invoked) {
                    report(analysis, findings, share, &contest, position);
                }
            }
            _ => {}
        }
    }
}

impl<'h> Groups<'h> {
    fn gain(&mut self, owner: Owner<'h>, share: Share<'h>) {
        self.lose(owner.process, share);
        if let Some(old) = self.owners.insert(share, owner) {
            let contests = self.contests.entry(old.process).or_default();
            contests.insert(share, Contest { old, new: owner });
        }
        self.owned.entry(owner.process).or_default().insert(share);
    }

    fn lose(&mut self, process: &'h Process, share: Share<'h>) {
        if self.owners.get(&share).is_some_and(|owner| owner.process == process) {
            self.owners.remove(&share);
        }
        if let Some(owned) = self.owned.get_mut(process) {
            owned.remove(&share);
        }
        if let Some(contests) = self.contests.get_mut(process) {
            contests.remove(&share);
        }
    }

    fn leave(&mut self, process: &'h Process) {
        for share in self.owned.remove(process).unwrap_or_default() {
            self.lose(process, share);
        }
        self.contests.remove(process);
    }

    /// The partitions that the process held on to through a call that began after another member was given them, and that this or
    /// yet another one still owns.
    fn still_contested(
        &mut self,
        process: &Process,
        invoked: usize,
    ) -> Vec<(Share<'h>, Contest<'h>)> {
        let Some(contests) = self.contests.get_mut(process) else {
            return Vec::new();
        };
        let known = |(_, contest): &(&Share<'h>, &Contest<'h>)| contest.new.since < invoked;
        let known: Vec<_> =
            contests.iter().filter(known).map(|(share, contest)| (*share, *contest)).collect();
        for (share, _) in &known {
            contests.remove(share);
        }
        known.into_iter().filter(|(share, _)| self.owners.contains_key(share)).collect()
    }
}

fn report(
    analysis: &Analysis<'_>,
    findings: &mut Findings<'_, '_>,
    share: Share<'_>,
    contest: &Contest<'_>,
    polled_at: usize,
) {
    let (group, key) = share;
    let sentence = format!(
        "{} owns key {key} in group {group} ({}) and still polls ({}) after {} was given it ({})",
        contest.old.process,
        analysis.name(contest.old.since),
        analysis.name(polled_at),
        contest.new.process,
        analysis.name(contest.new.since),
    );
    let finding =
        Finding::new(sentence, [contest.old.since, contest.new.since, polled_at]).key(key);
    findings.report(Name::DoubleOwner, finding);
}
