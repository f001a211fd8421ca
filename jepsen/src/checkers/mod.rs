//! The checkers: one file for each anomaly, or for a few that are found on one walk.
//!
//! A checker looks at the [`Analysis`] of a history and reports what it finds. Each runs in time linear in the history, but for
//! the one sort by offset that the analysis does, and for searches in logarithmic time.

mod aborted_read;
mod commits;
mod double_delivery;
mod double_owner;
mod duplicate;
mod findings;
mod inconsistent_offsets;
mod int_poll;
mod int_send;
mod lost_write;
mod nonmonotonic_send;
mod offset_gap;
mod offset_reuse;
mod panic;
mod poll_order;
mod precommitted_read;
mod proof_invalid;
mod realtime_order;
mod roots;
mod silent_corruption;
mod skipped;
mod stuck;
mod torn_commit;
mod torn_transaction;
mod unavailable;
mod undeleted;
mod undetected_damage;
mod unseen;
mod vanished_read;

use std::collections::BTreeSet;

use crate::analysis::Analysis;
use crate::anomaly::Name;
use crate::history::History;
use crate::verdict::Verdict;
use findings::{Finding, Findings};

/// A checker, with the anomalies that it finds.
struct Checker {
    finds: &'static [Name],
    run: fn(&Analysis<'_>, &mut Findings<'_, '_>),
}

/// All checkers.
const CHECKERS: &[Checker] = &[
    Checker { finds: &[Name::InconsistentOffsets], run: inconsistent_offsets::check },
    Checker { finds: &[Name::Duplicate], run: duplicate::check },
    Checker { finds: &[Name::LostWrite], run: lost_write::check },
    Checker { finds: &[Name::Unseen], run: unseen::check },
    Checker { finds: &[Name::AbortedRead], run: aborted_read::check },
    Checker { finds: &[Name::PrecommittedRead], run: precommitted_read::check },
    Checker { finds: &[Name::IntPollSkip, Name::IntNonmonotonicPoll], run: int_poll::check },
    Checker { finds: &[Name::PollSkip, Name::NonmonotonicPoll], run: poll_order::check },
    Checker { finds: &[Name::IntSendSkip, Name::IntNonmonotonicSend], run: int_send::check },
    Checker { finds: &[Name::NonmonotonicSend], run: nonmonotonic_send::check },
    Checker { finds: &[Name::OffsetGap], run: offset_gap::check },
    Checker { finds: &[Name::RealtimeOrder], run: realtime_order::check },
    Checker { finds: &[Name::OffsetReuse], run: offset_reuse::check },
    Checker { finds: &[Name::VanishedRead], run: vanished_read::check },
    Checker { finds: &[Name::LostCommit, Name::CommitRegression], run: commits::check },
    Checker { finds: &[Name::DoubleDelivery], run: double_delivery::check },
    Checker { finds: &[Name::TornTransaction], run: torn_transaction::check },
    Checker { finds: &[Name::DoubleOwner], run: double_owner::check },
    Checker { finds: &[Name::ProofInvalid], run: proof_invalid::check },
    Checker { finds: &[Name::RootRegression, Name::InconsistentRoots], run: roots::check },
    Checker { finds: &[Name::SilentCorruption], run: silent_corruption::check },
    Checker { finds: &[Name::UndetectedDamage], run: undetected_damage::check },
    Checker { finds: &[Name::Undeleted], run: undeleted::check },
    Checker { finds: &[Name::Unavailable], run: unavailable::check },
    Checker { finds: &[Name::Stuck], run: stuck::check },
    Checker { finds: &[Name::Panic], run: panic::check },
];

/// Judges a history by all checkers. One that has nothing to judge has no anomaly either, and [`Verdict::judged`] tells.
pub fn check(history: &History) -> Verdict {
    check_only(history, Name::ALL)
}

/// Judges a history by these anomalies alone.
pub fn check_only(history: &History, names: &[Name]) -> Verdict {
    let analysis = Analysis::new(history);
    let wanted: BTreeSet<Name> = names.iter().copied().collect();
    let mut findings = Findings::new(&analysis, &wanted);
    for checker in CHECKERS {
        if checker.finds.iter().any(|name| wanted.contains(name)) {
            (checker.run)(&analysis, &mut findings);
        }
    }
    findings.into_verdict()
}
