//! `merkql repair`.

use crate::output::{Output, failed};
use crate::{Dir, Status};
use merkql::repair::{LostOffsets, RepairOptions, Report, repair};
use serde_json::{Value, json};

/// Makes a damaged log whole again, and says first what that costs.
///
/// Without --apply nothing is written: the report says which records are lost, what else
/// has to be given up, and which files would be written anew. With it, that is done.
/// Records that are lost become gaps; every other record keeps its offset and its proof.
/// Copies of all files that are replaced are kept in `.merkql-repair` beside the log.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit status: 0 if there is nothing to repair, or it is done; 1 if a repair is needed and
--apply was not given; 2 if it cannot be done (no log there, a broker has it open, or the
file system refuses).

Examples:
  merkql repair --dir /var/lib/audit            what would be lost?
  merkql repair --dir /var/lib/audit --apply    give it up")]
pub(crate) struct Repair {
    #[command(flatten)]
    dir: Dir,
    /// Carries the repair out.
    #[arg(long)]
    apply: bool,
    #[command(flatten)]
    output: Output,
}

impl Repair {
    pub(crate) fn run(&self) -> Status {
        let Self { dir, apply, output } = self;
        if !output.can_write() {
            return Status::Unreadable;
        }
        let spinner = output.spinner("reading the log");
        let repaired = repair(&dir.config(), &RepairOptions { apply: *apply });
        spinner.finish_and_clear();
        let report = match repaired {
            Ok(report) => report,
            Err(error) => {
                let reason = dir.explain(&error);
                failed(&reason);
                return output.end(&json!({ "error": reason }), Status::Unreadable);
            }
        };
        output.line(report.to_string().trim_end());
        let is_needed = !report.nothing_to_do() && !report.applied;
        if is_needed {
            output.line("Nothing was changed. With --apply this is done.");
        }
        let status = if is_needed { Status::Findings } else { Status::Clean };
        output.end(&as_json(&report), status)
    }
}

fn as_json(report: &Report) -> Value {
    let lost = |lost: &LostOffsets| {
        json!({
            "topic": lost.topic,
            "partition": lost.partition,
            "offset": lost.start,
            "offset_end": lost.end,
            "reason": lost.reason.to_string(),
        })
    };
    json!({
        "applied": report.applied,
        "nothing_to_do": report.nothing_to_do(),
        "lost": report.lost.iter().map(lost).collect::<Vec<_>>(),
        "given_up": report.given_up.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "mended": report.mended.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "kept": report.kept.as_ref().map(|kept| kept.display().to_string()),
    })
}
