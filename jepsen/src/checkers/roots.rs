#![doc = include_str!("../../anomalies/root-regression.md")]
#![doc = ""]
#![doc = include_str!("../../anomalies/inconsistent-roots.md")]

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::proof_invalid::{extension, is_included};
use super::{Finding, Findings};
use crate::analysis::{Analysis, Reason, agreement};
use crate::anomaly::Name;
use crate::history::{Action, ConsistencyProof, Key, Kind, Operation, TreeHead};
use crate::merkle::{Extension, Tree};

/// A root that was handed out for a size.
#[derive(Clone, Copy)]
struct Claim {
    head: TreeHead,
    /// The operation that says so.
    at: usize,
}

/// Everything said about one key's trees.
#[derive(Default)]
struct Claims {
    /// In the order of the history.
    all: Vec<Claim>,
    /// Each time that the largest size rose that a `root` had.
    rises: Vec<Claim>,
}

/// Compares all roots with each other, with the proofs between them, and with the records.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    let mut keys: BTreeMap<&Key, Claims> = BTreeMap::new();
    for (position, operation) in analysis.operations() {
        if operation.kind != Kind::Ok {
            continue;
        }
        match &operation.action {
            Action::Root(root) => {
                let Some(head) = root.answer else { continue };
                let claims = keys.entry(&root.key).or_default();
                sizes(analysis, findings, &root.key, claims, Claim { head, at: position });
            }
            Action::Consistency(proof) => other_past(analysis, findings, position, proof),
            _ => {}
        }
        for (key, head) in heads(operation) {
            keys.entry(key).or_default().all.push(Claim { head, at: position });
        }
    }
    for (key, claims) in &keys {
        one_root_a_size(analysis, findings, key, &claims.all);
    }
}

/// The trees that an operation vouches for. A proof that doesn't verify vouches for nothing.
fn heads(operation: &Operation) -> Vec<(&Key, TreeHead)> {
    match &operation.action {
        Action::Root(root) => root.answer.iter().map(|head| (&root.key, *head)).collect(),
        Action::Proof(proof) => {
            let sound = proof.answer.iter().filter(|answer| is_included(proof, answer));
            sound.map(|answer| (&proof.key, answer.head)).collect()
        }
        Action::Consistency(proof) => {
            let sound =
                proof.answer.iter().filter(|answer| extension(proof, answer) == Extension::Shown);
            let both = sound.flat_map(|answer| {
                [(proof.old_size, answer.old_root), (proof.new_size, answer.new_root)]
            });
            both.map(|(size, root)| (&proof.key, TreeHead { size, root })).collect()
        }
        _ => Vec::new(),
    }
}

/// A tree that was handed out before this call began can't be larger.
fn sizes(
    analysis: &Analysis<'_>,
    findings: &mut Findings<'_, '_>,
    key: &Key,
    claims: &mut Claims,
    claim: Claim,
) {
    let began = analysis.timeline.start(claim.at);
    let before = claims.rises.partition_point(|rise| rise.at < began);
    if let Some(earlier) = before
        .checked_sub(1)
        .map(|last| claims.rises[last])
        .filter(|earlier| earlier.head.size > claim.head.size)
    {
        if analysis.removals.undecidable_between(earlier.at, claim.at) {
            findings.excuse(Name::RootRegression, Reason::UndecidableTail);
        } else {
            let sentence = format!(
                "the tree of key {key} had {} records ({}) and later has {} ({})",
                earlier.head.size,
                analysis.name(earlier.at),
                claim.head.size,
                analysis.name(claim.at),
            );
            findings.report(
                Name::RootRegression,
                Finding::new(sentence, [earlier.at, claim.at]).key(key),
            );
        }
    }
    if claims.rises.last().is_none_or(|last| last.head.size < claim.head.size) {
        claims.rises.push(claim);
    }
}

/// A consistency proof that leads to the newer root, but not from the older one.
fn other_past(
    analysis: &Analysis<'_>,
    findings: &mut Findings<'_, '_>,
    position: usize,
    proof: &ConsistencyProof,
) {
    let Some(answer) = &proof.answer else { return };
    if extension(proof, answer) != Extension::OtherPast {
        return;
    }
    if analysis.removals.undecidable_between(0, position) {
        findings.excuse(Name::RootRegression, Reason::UndecidableTail);
        return;
    }
    let sentence = format!(
        "the tree of key {} at size {} ({}) doesn't extend the one with root {} at size {}",
        proof.key,
        proof.new_size,
        analysis.name(position),
        answer.old_root,
        proof.old_size,
    );
    findings.report(Name::RootRegression, Finding::new(sentence, [position]).key(&proof.key));
}

/// Compares the claims about each size with the first of them, and that one with the tree over the records.
fn one_root_a_size(
    analysis: &Analysis<'_>,
    findings: &mut Findings<'_, '_>,
    key: &Key,
    claims: &[Claim],
) {
    let mut firsts: FxHashMap<u64, Claim> = FxHashMap::default();
    let mut sizes = Vec::new();
    for claim in claims {
        let size = claim.head.size;
        let first = *firsts.entry(size).or_insert_with(|| {
            sizes.push(size);
            *claim
        });
        if first.head.root == claim.head.root {
            continue;
        }
        if analysis.removals.undecidable_between(first.at, claim.at) {
            findings.excuse(Name::InconsistentRoots, Reason::UndecidableTail);
            continue;
        }
        let sentence = format!(
            "the tree of key {key} has two roots at size {size}: {} ({}) and {} ({})",
            first.head.root,
            analysis.name(first.at),
            claim.head.root,
            analysis.name(claim.at),
        );
        findings
            .report(Name::InconsistentRoots, Finding::new(sentence, [first.at, claim.at]).key(key));
    }
    sizes.sort_unstable();
    if analysis.declared.dense_offsets {
        against_records(analysis, findings, key, sizes.iter().filter_map(|size| firsts.get(size)));
    }
}

/// Recomputes the tree from the records' hashes, as far as all of them are known, and compares its roots.
fn against_records<'c>(
    analysis: &Analysis<'_>,
    findings: &mut Findings<'_, '_>,
    key: &Key,
    claims: impl Iterator<Item = &'c Claim>,
) {
    let mut tree = Tree::new();
    for (offset, run) in analysis.hashes.of(key) {
        match agreement(run).filter(|_| offset == tree.size()) {
            Some(seen) => tree.push(&seen.hash),
            None => break,
        }
    }
    for claim in claims {
        let Some(root) = tree.root(claim.head.size).filter(|root| *root != claim.head.root) else {
            continue;
        };
        if analysis.removals.undecidable_between(0, analysis.history.len()) {
            findings.excuse(Name::InconsistentRoots, Reason::UndecidableTail);
            continue;
        }
        let sentence = format!(
            "the tree of key {key} has two roots at size {}: {} ({}), and {root} by its records",
            claim.head.size,
            claim.head.root,
            analysis.name(claim.at),
        );
        findings.report(Name::InconsistentRoots, Finding::new(sentence, [claim.at]).key(key));
    }
}
