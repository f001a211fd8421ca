//! How many seeds a second the simulator runs, where their time goes, and that a
//! campaign's memory does not grow with its seeds.
//!
//! `cargo bench -p merkql-sim --bench seeds`. Each load is run by a child process,
//! one seed at a time, so the rate is that of one core. The short seeds are the
//! least that a seed should be, about 100 calls of clients and three crashes with
//! their recoveries, and their rate has a target; the others are those of the
//! default campaign, of 100 steps, which look at everything after each recovery.

use merkql_sim::campaign::{Campaign, Report};
use merkql_sim::generate::Options;
use std::process::{Command, ExitCode};

/// As in the command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Set for the child: how many seeds it runs, and of how many steps each.
const CHILD_VARIABLE: &str = "MERKQL_SIM_BENCH_LOAD";
const LOADS: [(u64, u32); 3] = [(2000, SHORT_STEPS), (1000, 100), (4000, 100)];
const SHORT_STEPS: u32 = 10;
/// What a core runs of the short seeds in a second, at least.
const RATE_MIN: f64 = 300.0;
/// What a seed has on average, at least.
const CLIENT_OPS_MIN: f64 = 100.0;
const CYCLES_MIN: f64 = 3.0;

fn main() -> ExitCode {
    if let Ok(load) = std::env::var(CHILD_VARIABLE) {
        let (seeds, steps) = load.split_once('/').expect("the parent passes both");
        let number = "the parent passes numbers";
        return child(seeds.parse().expect(number), steps.parse().expect(number));
    }
    let program = std::env::current_exe().expect("a benchmark knows itself");
    let mut is_met = true;
    for (seeds, steps) in LOADS {
        let load = format!("{seeds}/{steps}");
        let status = Command::new(&program).env(CHILD_VARIABLE, load).status();
        is_met &= status.is_ok_and(|status| status.success());
    }
    if is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn child(seeds: u64, steps: u32) -> ExitCode {
    let options = Options { ops: steps, ..Options::default() };
    let campaign = Campaign { seeds: Some(seeds), jobs: 1, options, ..Campaign::default() };
    let report = campaign.run(|_| {});
    let (client_ops, cycles) = averages(&report);
    println!("{seeds} seeds of {steps} steps, one at a time");
    print(&report, client_ops, cycles);
    if client_ops < CLIENT_OPS_MIN || cycles < CYCLES_MIN {
        println!("seeds are smaller than they should be");
        return ExitCode::FAILURE;
    }
    if steps == SHORT_STEPS && report.seeds_per_second < RATE_MIN {
        println!("fewer than {RATE_MIN} a second");
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
