#![doc = include_str!("../../anomalies/undetected-damage.md")]

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Finding, Findings};
use crate::analysis::{Analysis, FullRead, KeyId, Reason, RecordId, flatten};
use crate::anomaly::Name;
use crate::history::{Action, Damage, FaultClass, Kind, Span};

/// How many of the missing records a witness names.
const NAMED_MAX: usize = 8;

/// What answers a damage as a whole.
#[derive(Default)]
struct Answers {
    /// The last word of each damage that was named as detected or healed.
    named: FxHashMap<u64, usize>,
    last_refusal: Option<usize>,
}

/// Looks at everything damaged that a full read went over later.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    let answers = answers(analysis);
    let last_reads = last_reads(analysis);
    let mut judged = FxHashSet::default();
    for (position, operation) in analysis.operations() {
        let Action::Damage(damage) = &operation.action else {
            continue;
        };
        if damage.class != FaultClass::Detected
            || operation.kind == Kind::Fail
            || !judged.insert(damage.id)
        {
            continue;
        }
        let named = answers.named.get(&damage.id).is_some_and(|at| *at > position);
        let refused = answers.last_refusal.is_some_and(|at| at > position);
        if !named && !refused {
            judge(analysis, findings, position, damage, &last_reads);
        }
    }
}

fn answers(analysis: &Analysis<'_>) -> Answers {
    let mut answers = Answers::default();
    for (position, operation) in analysis.operations() {
        let refused_open = matches!(operation.action, Action::Refused(_));
        if operation.kind == Kind::Invoke || (operation.kind == Kind::Fail && !refused_open) {
            continue;
        }
        match &operation.action {
            Action::Detected(detected) => {
                if let Some(damage) = detected.damage {
                    answers.named.insert(damage, position);
                }
            }
            Action::Healed(healed) => {
                answers.named.insert(healed.damage, position);
            }
            Action::Refused(_) => answers.last_refusal = Some(position),
            _ => {}
        }
    }
    answers
}

fn last_reads<'a>(analysis: &'a Analysis<'_>) -> Vec<Option<&'a FullRead>> {
    let mut last_reads = vec![None; analysis.effects.key_count()];
    for read in &analysis.full_reads.reads {
        last_reads[read.key.number()] = Some(read);
    }
    last_reads
}

fn judge(
    analysis: &Analysis<'_>,
    findings: &mut Findings<'_, '_>,
    position: usize,
    damage: &Damage,
    last_reads: &[Option<&FullRead>],
) {
    let covered: Vec<(KeyId, Span)> = match &damage.spans {
        Some(spans) => flatten(spans)
            .into_iter()
            .filter_map(|(key, span)| Some((analysis.effects.key_id(key)?, span)))
            .collect(),
        None => (0..analysis.effects.key_count()).map(|key| (KeyId::new(key), Span::ALL)).collect(),
    };
    let mut missing: Vec<(RecordId, usize)> = Vec::new();
    let mut undecidable = false;
    for (key, span) in covered {
        let Some(read) = last_reads[key.number()].filter(|read| read.began > position) else {
            continue;
        };
        let from = analysis.logs.index_at(key, span.from).unwrap_or_else(|index| index);
        let entries =
            analysis.logs.log(key)[from..].iter().take_while(|entry| entry.offset < span.to);
        for record in entries
            .map(|entry| entry.record)
            .filter(|record| !analysis.full_reads.returned(read, *record))
        {
            let existed =
                analysis.logs.place(record).first_seen.is_some_and(|seen| seen < position);
            match analysis.removal(record) {
                _ if !existed => {}
                None => missing.push((record, read.ended)),
                Some(removal) => undecidable |= removal.reason == Reason::UndecidableTail,
            }
        }
    }
    match missing.first() {
        Some((first, _)) => {
            let key = analysis.key_of(*first);
            findings.report(
                Name::UndetectedDamage,
                finding(analysis, position, damage, &missing).key(key),
            );
        }
        None if undecidable => findings.excuse(Name::UndetectedDamage, Reason::UndecidableTail),
        None => {}
    }
}

fn finding(
    analysis: &Analysis<'_>,
    position: usize,
    damage: &Damage,
    missing: &[(RecordId, usize)],
) -> Finding {
    let named = &missing[..missing.len().min(NAMED_MAX)];
    let values: Vec<String> = named
        .iter()
        .map(|(record, _)| {
            format!("{} of key {}", analysis.show(*record), analysis.key_of(*record))
        })
        .collect();
    let more = if missing.len() > named.len() { ", …" } else { "" };
    let sentence = format!(
        "damage {} ({}) covers {}{more}, which a full read didn't return ({}), and no error said so",
        damage.id,
        analysis.name(position),
        values.join(", "),
        named.first().map_or_else(String::new, |(_, ended)| analysis.name(*ended)),
    );
    Finding::new(sentence, named.iter().map(|(_, ended)| *ended).chain([position]))
        .values(named.iter().map(|(record, _)| analysis.effects.record(*record).value))
}
