//! `merkql verify`.

use crate::output::{Output, count, failed};
use crate::{Dir, Status};
use merkql::verify::{Checked, Finding, Remedy, Report, verify_with_progress};
use serde_json::{Value, json};

/// Reads everything that a log stands on, and says what is wrong with it.
///
/// Nothing is written. No broker may have the log open; one that was not closed is
/// judged as its next opening will recover it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit status: 0 if nothing is wrong, 1 if something is, 2 if nothing can be said
(no log there, a broker has it open, or the file system refuses).

Examples:
  merkql verify --dir /var/lib/audit
  MERKQL_DIR=/var/lib/audit merkql verify --json findings.json")]
pub(crate) struct Verify {
    #[command(flatten)]
    dir: Dir,
    #[command(flatten)]
    output: Output,
}

impl Verify {
    pub(crate) fn run(&self) -> Status {
        let Self { dir, output } = self;
        if !output.can_write() {
            return Status::Unreadable;
        }
        let bar = output.bar();
        let verified = verify_with_progress(&dir.config(), &mut |progress| {
            bar.set_length(progress.total_bytes);
            bar.set_position(progress.done_bytes);
            bar.set_message(format!("{}/{}", progress.topic, progress.partition));
        });
        bar.finish_and_clear();
        let report = match verified {
            Ok(report) => report,
            Err(error) => {
                let reason = dir.explain(&error);
                failed(&reason);
                return output.end(&json!({ "error": reason }), Status::Unreadable);
            }
        };
        self.tell(&report);
        let status = if report.findings.is_empty() { Status::Clean } else { Status::Findings };
        output.end(&as_json(&report), status)
    }

    fn tell(&self, report: &Report) {
        let output = &self.output;
        output.line(counts(&report.checked));
        if report.recovery_is_pending {
            output.line("Recovery is pending: the next opening has work to do.");
        }
        if !report.leftovers.is_empty() {
            output.line("It will remove what nothing names:");
            report.leftovers.iter().for_each(|path| output.line(format!("  {}", path.display())));
        }
        for finding in &report.findings {
            output.line(format!("{finding}"));
        }
        if report.findings.is_empty() {
            output.line("Clean: no findings.");
            return;
        }
        let with = |remedy| {
            report.findings.iter().filter(|finding| finding.kind.remedy() == remedy).count() as u64
        };
        let remedies = [
            (Remedy::Automatic, "to be put right by the log itself, when it needs it"),
            (
                Remedy::Repair,
                "for `merkql repair`, which says what has to be given up, if anything",
            ),
            (Remedy::ByHand, "for somebody who knows how it came there"),
        ];
        for (remedy, what) in remedies {
            let found = with(remedy);
            if found > 0 {
                output.line(format!("{} {what}", count(found, "finding")));
            }
        }
    }
}

fn counts(checked: &Checked) -> String {
    let mut parts = vec![
        count(checked.topics, "topic"),
        count(checked.partitions, "partition"),
        count(checked.segments, "segment"),
        count(checked.records, "record"),
    ];
    if checked.removed > 0 {
        parts.push(format!("{} removed by compaction or repair", checked.removed));
    }
    parts.push(format!("{} stored hashes", checked.hashes));
    if checked.hashes_given_up > 0 {
        parts.push(format!("{} of them given up", checked.hashes_given_up));
    }
    parts.push(count(checked.bytes, "byte"));
    if checked.journal_blocks > 0 {
        parts.push(format!(
            "{} behind the last checkpoint",
            count(checked.journal_blocks, "journal block")
        ));
    }
    format!("Read {}.", parts.join(", "))
}

fn as_json(report: &Report) -> Value {
    let Checked {
        topics,
        partitions,
        segments,
        records,
        removed,
        hashes,
        hashes_given_up,
        bytes,
        journal_blocks,
        ..
    } = report.checked;
    json!({
        "clean": report.findings.is_empty(),
        "recovery_is_pending": report.recovery_is_pending,
        "checked": {
            "topics": topics,
            "partitions": partitions,
            "segments": segments,
            "records": records,
            "removed": removed,
            "hashes": hashes,
            "hashes_given_up": hashes_given_up,
            "bytes": bytes,
            "journal_blocks": journal_blocks,
        },
        "leftovers": report.leftovers.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
        "findings": report.findings.iter().map(finding_as_json).collect::<Vec<_>>(),
    })
}

fn finding_as_json(finding: &Finding) -> Value {
    json!({
        "kind": finding.kind.name(),
        "remedy": finding.kind.remedy().name(),
        "topic": finding.topic,
        "partition": finding.partition,
        "offset": finding.offset,
        "offset_end": finding.offset_end,
        "path": finding.path.display().to_string(),
        "position": finding.position,
        "len_bytes": finding.len_bytes,
        "reason": finding.reason,
    })
}
