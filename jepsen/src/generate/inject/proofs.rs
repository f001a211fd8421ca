//! Anomalies made by changing what operations say of roots, proofs and hashes.

use std::collections::BTreeMap;

use rand::RngExt;

use super::draft::{Draft, Placed};
use crate::history::{Action, Key, Kind, Operation, Process, Root, TreeHead};
use crate::merkle::Hash;

/// One bit of a proof is wrong.
pub(super) fn proof_invalid(draft: &mut Draft<'_>) -> Option<Placed> {
    let has_path = |action: &Action| match action {
        Action::Proof(proof) => proof.answer.as_ref().is_some_and(|answer| !answer.path.is_empty()),
        Action::Consistency(proof) => {
            proof.answer.as_ref().is_some_and(|answer| !answer.path.is_empty())
        }
        _ => false,
    };
    let position = any_answer(draft, |action| has_path(action))?;
    let mut operation = draft.operation(position).clone();
    let bit = draft.rng.random_range(0..256);
    let in_the_record = draft.rng.random_bool(0.5);
    let key = match &mut operation.action {
        Action::Proof(proof) => {
            let answer = proof.answer.as_mut()?;
            let at = draft.rng.random_range(0..answer.path.len());
            flip(if in_the_record { &mut answer.record } else { &mut answer.path[at] }, bit);
            proof.key.clone()
        }
        Action::Consistency(proof) => {
            let answer = proof.answer.as_mut()?;
            let at = draft.rng.random_range(0..answer.path.len());
            flip(&mut answer.path[at], bit);
            proof.key.clone()
        }
        _ => return None,
    };
    draft.replace(position, operation);
    Some(Placed::in_key(key))
}

/// An older root is handed out again, or a consistency proof begins at another older root.
pub(super) fn root_regression(draft: &mut Draft<'_>) -> Option<Placed> {
    if draft.rng.random_bool(0.5) {
        older_root(draft).or_else(|| other_past(draft))
    } else {
        other_past(draft).or_else(|| older_root(draft))
    }
}

fn older_root(draft: &mut Draft<'_>) -> Option<Placed> {
    let mut smallest: BTreeMap<&Key, TreeHead> = BTreeMap::new();
    let mut sites: Vec<(usize, TreeHead)> = Vec::new();
    let mut largest: BTreeMap<&Key, u64> = BTreeMap::new();
    for (position, operation) in draft.history.operations().iter().enumerate() {
        let Some((key, head)) = root_answer(operation) else {
            continue;
        };
        let before = *smallest.entry(key).or_insert(head);
        let reached = largest.entry(key).or_insert(head.size);
        if *reached > before.size {
            sites.push((position, before));
        }
        *reached = (*reached).max(head.size);
    }
    let (position, older) = draft.any(&sites)?;
    // Asked anew behind everything that was answered by then.
    let (key, _) = root_answer(draft.operation(position))?;
    let (key, auditor) = (key.clone(), draft.fresh_client());
    ask_root(draft, position + 1, &auditor, &key, older);
    Some(Placed::in_key(key))
}

/// Only an older tree that isn't perfect appears in the path by more than its own root.
fn other_past(draft: &mut Draft<'_>) -> Option<Placed> {
    let position = any_answer(draft, |action| match action {
        Action::Consistency(proof) => {
            proof.answer.is_some()
                && !proof.old_size.is_power_of_two()
                && proof.old_size < proof.new_size
        }
        _ => false,
    })?;
    let mut operation = draft.operation(position).clone();
    let Action::Consistency(proof) = &mut operation.action else {
        return None;
    };
    flip(&mut proof.answer.as_mut()?.old_root, draft.rng.random_range(0..256));
    let key = proof.key.clone();
    draft.replace(position, operation);
    Some(Placed::in_key(key))
}

/// A root is handed out once more for the same size, and differs.
pub(super) fn inconsistent_roots(draft: &mut Draft<'_>) -> Option<Placed> {
    let mut largest: BTreeMap<&Key, u64> = BTreeMap::new();
    let mut sites: Vec<usize> = Vec::new();
    for (position, operation) in draft.history.operations().iter().enumerate() {
        let Some((key, head)) = root_answer(operation) else {
            continue;
        };
        let reached = largest.entry(key).or_insert(head.size);
        *reached = (*reached).max(head.size);
        if head.size == *reached && head.size > 0 {
            sites.push(position);
        }
    }
    let position = draft.any(&sites)?;
    let (key, mut head) = root_answer(draft.operation(position))?;
    let (key, auditor) = (key.clone(), draft.fresh_client());
    flip(&mut head.root, draft.rng.random_range(0..256));
    ask_root(draft, position + 1, &auditor, &key, head);
    Some(Placed::in_key(key))
}

/// One bit of the hash of a polled record is wrong.
pub(super) fn silent_corruption(draft: &mut Draft<'_>) -> Option<Placed> {
    let mut sites: Vec<(usize, usize, usize)> = Vec::new();
    for (position, operation) in draft.history.operations().iter().enumerate() {
        let Some(attachments) = &operation.attachments else {
            continue;
        };
        if operation.kind != Kind::Ok || !matches!(operation.action, Action::Poll(_)) {
            continue;
        }
        for (at, (key, pairs)) in attachments.hashes.iter().enumerate() {
            let known = |offset| {
                draft.survey.record(key, offset).is_some_and(|record| record.sent_at.is_some())
            };
            sites.extend(
                pairs
                    .iter()
                    .enumerate()
                    .filter(|(_, (offset, _))| known(*offset))
                    .map(|(nth, _)| (position, at, nth)),
            );
        }
    }
    let (position, at, nth) = draft.any(&sites)?;
    let mut operation = draft.operation(position).clone();
    let (key, pairs) = operation.attachments.as_mut()?.hashes.get_mut(at)?;
    flip(&mut pairs.get_mut(nth)?.1, draft.rng.random_range(0..256));
    let key = key.clone();
    draft.replace(position, operation);
    Some(Placed::in_key(key))
}

fn any_answer(draft: &mut Draft<'_>, fits: impl Fn(&Action) -> bool) -> Option<usize> {
    let all = draft.history.operations();
    let sites: Vec<usize> =
        (0..all.len()).filter(|at| all[*at].kind == Kind::Ok && fits(&all[*at].action)).collect();
    draft.any(&sites)
}

fn root_answer(operation: &Operation) -> Option<(&Key, TreeHead)> {
    match &operation.action {
        Action::Root(root) if operation.kind == Kind::Ok => Some((&root.key, root.answer?)),
        _ => None,
    }
}

/// Asks for a root before the operation at a position, and gets this one.
fn ask_root(draft: &mut Draft<'_>, position: usize, auditor: &Process, key: &Key, head: TreeHead) {
    let root = |answer| Action::Root(Box::new(Root { key: key.clone(), answer, rest: Vec::new() }));
    draft.call(position, auditor, root(None), (Kind::Ok, root(Some(head))));
}

fn flip(hash: &mut Hash, bit: usize) {
    if let Some(byte) = hash.0.get_mut(bit / 8) {
        *byte ^= 1 << (bit % 8);
    }
}
