#![doc = include_str!("../../anomalies/panic.md")]

use super::{Finding, Findings};
use crate::analysis::Analysis;
use crate::anomaly::Name;
use crate::history::{Action, Datum, Kind};

/// Reports every panic that the history tells of.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    for (position, operation) in analysis.operations() {
        let attachments = operation.attachments.as_deref();
        let failed =
            attachments.is_some_and(|attachments| attachments.error_kind() == Some("panic"));
        let message = match (&operation.action, operation.kind) {
            (Action::Panic(message), Kind::Ok | Kind::Info) => message,
            (_, Kind::Fail | Kind::Info) if failed => attachments
                .and_then(|attachments| attachments.error.as_ref())
                .unwrap_or(&Datum::Nil),
            _ => continue,
        };
        let sentence = format!(
            "{} panicked in {} ({}): {message}",
            operation.process,
            operation.action.function(),
            analysis.name(position),
        );
        let invocation = analysis.timeline.invocation(position);
        findings
            .report(Name::Panic, Finding::new(sentence, invocation.into_iter().chain([position])));
    }
}
