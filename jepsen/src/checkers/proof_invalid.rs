#![doc = include_str!("../../anomalies/proof-invalid.md")]

use super::{Finding, Findings};
use crate::analysis::{Analysis, Reason};
use crate::anomaly::Name;
use crate::history::{Action, Consistency, ConsistencyProof, Inclusion, InclusionProof, Kind};
use crate::merkle::{Extension, Hash, verify_consistency, verify_inclusion};

/// Verifies every proof that was handed out, from itself and from the record.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    for (position, operation) in analysis.operations() {
        if operation.kind != Kind::Ok {
            continue;
        }
        match &operation.action {
            Action::Proof(proof) => {
                if let Some(answer) = &proof.answer {
                    inclusion(analysis, findings, position, proof, answer);
                }
            }
            Action::Consistency(proof) => {
                let shown = proof.answer.as_ref().map(|answer| extension(proof, answer));
                if shown == Some(Extension::NotShown) {
                    // The older root may be of records that were lost with a tail.
                    let newest = proof.old_size.saturating_sub(1);
                    let key = analysis.effects.key_id(&proof.key);
                    let lost = |key| analysis.removals.undecidable(key, newest, (0, position));
                    if key.is_some_and(lost) {
                        findings.excuse(Name::ProofInvalid, Reason::UndecidableTail);
                    } else {
                        findings.report(Name::ProofInvalid, not_shown(analysis, position, proof));
                    }
                }
            }
            _ => {}
        }
    }
}

fn not_shown(analysis: &Analysis<'_>, position: usize, proof: &ConsistencyProof) -> Finding {
    let sentence = format!(
        "the consistency proof of key {} from size {} to size {} ({}) doesn't lead to the newer root",
        proof.key,
        proof.old_size,
        proof.new_size,
        analysis.name(position),
    );
    Finding::new(sentence, [position]).key(&proof.key)
}

/// What a consistency proof shows.
pub(super) fn extension(proof: &ConsistencyProof, answer: &Consistency) -> Extension {
    let (old, new) = ((proof.old_size, &answer.old_root), (proof.new_size, &answer.new_root));
    verify_consistency(old, new, &answer.path)
}

/// Whether an inclusion proof leads from its record to its root.
pub(super) fn is_included(proof: &InclusionProof, answer: &Inclusion) -> bool {
    let leaf = Hash::leaf(&answer.record.0);
    verify_inclusion(proof.index, answer.head.size, &leaf, &answer.path, &answer.head.root)
}

fn inclusion(
    analysis: &Analysis<'_>,
    findings: &mut Findings<'_, '_>,
    position: usize,
    proof: &InclusionProof,
    answer: &Inclusion,
) {
    let of = format!(
        "the inclusion proof of record {} of key {} ({})",
        proof.index,
        proof.key,
        analysis.name(position)
    );
    if !is_included(proof, answer) {
        let sentence = format!("{of} doesn't lead to its root");
        findings.report(
            Name::ProofInvalid,
            Finding::new(sentence, [position]).key(&proof.key).offsets([proof.index]),
        );
        return;
    }
    // A record's index is its offset only where offsets have no gaps.
    let known = analysis
        .declared
        .dense_offsets
        .then(|| analysis.hashes.agreed(&proof.key, proof.index))
        .flatten();
    if let Some(known) = known.filter(|known| known.hash != answer.record) {
        // Another record may have come to stand there, after a tail was lost.
        let between = (known.at.min(position), known.at.max(position));
        let key = analysis.effects.key_id(&proof.key);
        let lost = |key| analysis.removals.undecidable(key, proof.index, between);
        if key.is_some_and(lost) {
            findings.excuse(Name::ProofInvalid, Reason::UndecidableTail);
            return;
        }
        let sentence = format!(
            "{of} proves another record than the one that stands there ({})",
            analysis.name(known.at)
        );
        let finding =
            Finding::new(sentence, [known.at, position]).key(&proof.key).offsets([proof.index]);
        findings.report(Name::ProofInvalid, finding);
    }
}
