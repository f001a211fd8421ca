//! How many seeds a second the simulator runs, where their time goes, and that a
//! campaign's memory does not grow with its seeds.
//!
//! `cargo bench -p merkql-sim --bench seeds`; `-- 500` runs other numbers of seeds
//! than 1,000 and 4,000. Each number is run by a child process, one seed at a
//! time, so the rate is that of one core. Fails if a seed is less than it should
//! be: about 100 client operations and three crashes with their recoveries.

use merkql_sim::campaign::{Campaign, Report};
use std::process::{Command, ExitCode};

/// Set for the child, which runs so many seeds.
const CHILD_VARIABLE: &str = "MERKQL_SIM_BENCH_SEEDS";
const SEEDS: [u64; 2] = [1000, 4000];
/// What a seed has on average, at least.
const CLIENT_OPS_MIN: f64 = 100.0;
const CYCLES_MIN: f64 = 3.0;

fn main() -> ExitCode {
    if let Ok(seeds) = std::env::var(CHILD_VARIABLE) {
        return child(seeds.parse().expect("the parent passes a number"));
    }
    let asked: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let program = std::env::current_exe().expect("a benchmark knows itself");
    let mut is_met = true;
    for seeds in if asked.is_empty() { SEEDS.to_vec() } else { asked } {
        let status = Command::new(&program).env(CHILD_VARIABLE, seeds.to_string()).status();
        is_met &= status.is_ok_and(|status| status.success());
    }
    if is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn child(seeds: u64) -> ExitCode {
    let campaign = Campaign { seeds: Some(seeds), jobs: 1, ..Campaign::default() };
    let report = campaign.run(|_| {});
    let (client_ops, cycles) = averages(&report);
    print(&report, client_ops, cycles);
    if client_ops < CLIENT_OPS_MIN || cycles < CYCLES_MIN {
        println!("seeds are smaller than they should be");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Client operations, and crashes that were recovered from, in an average seed.
fn averages(report: &Report) -> (f64, f64) {
    let cycles = report.crashes.min(report.recoveries);
    (ratio(report.client_ops, report.seeds), ratio(cycles, report.seeds))
}

#[allow(clippy::cast_precision_loss, reason = "figures are read by people")]
fn ratio(count: u64, of: u64) -> f64 {
    count as f64 / of.max(1) as f64
}

fn print(report: &Report, client_ops: f64, cycles: f64) {
    let times = report.times;
    let seconds = [times.generate, times.execute, times.judge].map(|time| time.as_secs_f64());
    let all: f64 = seconds.iter().sum();
    let [generate, execute, judge] = seconds.map(|part| 100.0 * part / all);
    let micros = ratio(1_000_000, report.io_ops) * times.execute.as_secs_f64();
    println!("{} seeds, one at a time", report.seeds);
    println!("  seeds a second, one core      {:>10.1}", report.seeds_per_second);
    println!("  client operations a seed      {client_ops:>10.1}");
    println!("  crash-and-recovery cycles     {cycles:>10.1}");
    println!("  I/O operations a seed         {:>10.1}", ratio(report.io_ops, report.seeds));
    println!("  running, an I/O operation     {micros:>10.2} µs");
    println!("  drawing, running, judging     {generate:.1} %, {execute:.1} %, {judge:.1} %");
    println!("  failed seeds                  {:>10}", report.failed_seeds);
    if let Some(kib) = peak_kib() {
        println!("  peak of resident memory       {:>10.1} MiB", ratio(kib, 1024));
    }
}

/// The most memory that this process has had, where Linux tells.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
