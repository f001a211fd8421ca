//! What `merkql::verify` says of a changed directory, against what opening it shows.

use super::judge::{Excuses, Judged};
use super::observe::{Answer, Sight};
use super::template::Template;
use merkql::error::Result;
use merkql::verify::{Finding, FindingKind, Remedy, Report};

/// A verification, before the log was opened.
#[derive(Debug)]
pub(crate) struct Verified(pub(crate) Result<Report>);

impl Verified {
    /// Whether nothing was found.
    pub(crate) fn calls_it_sound(&self) -> bool {
        self.0.as_ref().is_ok_and(|report| report.findings.is_empty())
    }

    /// Whether it tells that something is lost, or cannot say anything at all.
    pub(crate) fn tells_loss(&self) -> bool {
        self.0.as_ref().map_or(true, |report| {
            let is_loss = |kind: FindingKind| {
                kind.remedy() != Remedy::Automatic && kind != FindingKind::Unnamed
            };
            report.findings.iter().any(|finding| is_loss(finding.kind))
        })
    }

    /// Where it and the log contradict each other: damage that it has not found, and
    /// records that are there although it calls them lost.
    pub(crate) fn complaints(
        &self,
        judged: &Judged,
        excuses: Excuses<'_>,
        template: &Template,
        sight: &Sight,
    ) -> Vec<String> {
        let mut complaints = Vec::new();
        if judged.told > 0 && self.calls_it_sound() {
            complaints.push("verify calls it sound, and reading it tells damage".to_owned());
        }
        if judged.made_up > 0 && !self.tells_loss() {
            complaints.push("verify has not found a record that was made up".to_owned());
        }
        let findings = self.0.as_ref().map(|report| report.findings.as_slice()).unwrap_or_default();
        // What is behind a frame that is whole and makes no sense is out of its reach.
        let is_forged = !excuses.forged.is_empty();
        let alarms = findings.iter().filter(|finding| is_false_alarm(finding, template, sight));
        let alarms = alarms.filter(|_| !is_forged);
        complaints.extend(alarms.map(|finding| format!("nothing is wrong with {finding:?}")));
        complaints
    }
}

/// Whether every record is served that a finding calls lost.
fn is_false_alarm(finding: &Finding, template: &Template, sight: &Sight) -> bool {
    let (FindingKind::Record, Some(topic), Some(number)) =
        (finding.kind, &finding.topic, finding.partition)
    else {
        return false;
    };
    let place = (topic.clone(), number);
    let (Some(seen), Some(truth)) =
        (sight.partitions.get(&place), template.truth.partitions.get(&place))
    else {
        return false;
    };
    let start = finding.offset.unwrap_or_default();
    let end = finding.offset_end.unwrap_or(start.saturating_add(1));
    let mut lost = truth.readable.range(start..end.max(start)).peekable();
    lost.peek().is_some()
        && lost.all(|offset| match seen.records.get(offset) {
            Some(Answer::Record(record)) => truth.record(*offset) == Some(&**record),
            _ => false,
        })
}
