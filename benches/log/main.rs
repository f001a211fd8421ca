//! The log's figures, each beside the floor that this machine sets, measured in
//! the same run.
//!
//! `cargo bench --bench log` (or `-- NAME` for some of them) prints Criterion's
//! report and then a table: figure, floor, ratio, target. The disk is that of
//! the build folder.

#![allow(clippy::disallowed_methods, reason = "a benchmark is not part of the log")]
#![allow(clippy::cast_precision_loss, reason = "figures are read by people")]

mod compaction;
mod consume;
mod fixture;
mod floor;
mod many;
mod pending;
mod reads;
mod report;
mod samples;
mod seam;
mod threads;
mod transactions;
mod writes;

use criterion::Criterion;
use report::Report;
use std::time::Duration;

fn main() {
    // Called again by itself, to measure the memory of a process that does one thing.
    if let Some(dir) = std::env::var_os(reads::CHILD_VARIABLE) {
        reads::child(dir.as_ref());
        return;
    }
    if let Some(dir) = std::env::var_os(compaction::CHILD_VARIABLE) {
        compaction::child(dir.as_ref());
        return;
    }
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(4))
        .configure_from_args();
    let mut report = Report::default();
    writes::bench(&mut criterion, &mut report);
    threads::bench(&mut report);
    pending::bench(&mut report);
    transactions::bench(&mut report);
    reads::bench(&mut criterion, &mut report);
    consume::bench(&mut criterion, &mut report);
    many::bench(&mut report);
    compaction::bench(&mut report);
    criterion.final_summary();
    report.print();
}
