//! How fast histories are judged, and in how much memory.
//!
//! Two parts. Criterion measures the judging alone, of histories that are in memory, and the reading of one from text. Then a
//! child process for each length reads a clean history from a file and judges it; it prints the time of both and its peak
//! memory, in which nothing of the generator counts. The target is a clean history of 1,000,000 operations over 16 keys and 20
//! processes judged in at most 3 seconds and 1 GiB; if it is missed, the bench fails. The time of reading is shown beside it and
//! doesn't count against the target; the memory of both does.
//!
//! `CHECK_OPERATIONS_MAX` cuts the second part short; without it, it goes up to 10,000,000 operations.
#![expect(clippy::disallowed_methods, reason = "measuring is about the clock")]

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use merkql_jepsen::check;
use merkql_jepsen::generate::{Options, clean, operations};
use merkql_jepsen::history::History;
use merkql_jepsen::notation::{Format, write_operation};

/// Names the file that a child process is to judge.
const CHILD: &str = "CHECK_CHILD_FILE";
const LENGTHS: [usize; 4] = [10_000, 100_000, 1_000_000, 10_000_000];
const TARGET_OPERATIONS: usize = 1_000_000;
const TARGET: Duration = Duration::from_secs(3);
const TARGET_PEAK_KIB: u64 = 1 << 20;

fn main() -> ExitCode {
    if let Ok(path) = std::env::var(CHILD) {
        return child(Path::new(&path));
    }
    let mut criterion = Criterion::default().configure_from_args().sample_size(10);
    in_memory(&mut criterion);
    criterion.final_summary();
    // `cargo test --benches` only asks whether the bench runs at all.
    if std::env::args().any(|arg| arg == "--test" || arg == "--list") {
        return ExitCode::SUCCESS;
    }
    from_files()
}

fn options(operations: usize) -> Options {
    Options {
        operations,
        keys: 16,
        processes: 20,
        proofs: false,
        removals: false,
        ..Options::default()
    }
}

fn in_memory(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("check");
    for length in [10_000, 100_000, 1_000_000] {
        let history = clean(&options(length));
        group.throughput(Throughput::Elements(history.len() as u64));
        group.bench_with_input(BenchmarkId::new("judge", length), &history, |bencher, history| {
            bencher.iter(|| assert!(check(history).is_valid()));
        });
    }
    let history = clean(&options(100_000));
    for (name, format) in [("read json lines", Format::JsonLines), ("read edn", Format::Edn)] {
        let mut text = Vec::new();
        history.write(&mut text, format).expect("writing to memory");
        group.throughput(Throughput::Elements(history.len() as u64));
        group.bench_with_input(BenchmarkId::new(name, 100_000), &text, |bencher, text| {
            bencher.iter(|| {
                History::read(text.as_slice(), format).expect("what was written can be read")
            });
        });
    }
    group.finish();
}

fn from_files() -> ExitCode {
    let most = std::env::var("CHECK_OPERATIONS_MAX")
        .ok()
        .and_then(|most| most.parse().ok())
        .unwrap_or(usize::MAX);
    let folder = tempfile::tempdir().expect("a folder for histories");
    println!(
        "{:>12} {:>10} {:>10} {:>10} {:>14} {:>10}",
        "operations", "file MB", "read s", "judge s", "ns/operation", "peak MiB"
    );
    let mut met = true;
    for length in LENGTHS.into_iter().filter(|length| *length <= most) {
        let path = folder.path().join(format!("{length}.jsonl"));
        write(&path, length).expect("a history on disk");
        let output = Command::new(std::env::current_exe().expect("this program"))
            .env(CHILD, &path)
            .output()
            .expect("a child process");
        io::stdout().write_all(&output.stdout).expect("standard output");
        io::stderr().write_all(&output.stderr).expect("standard error");
        met &= output.status.success();
        fs::remove_file(&path).expect("the history is no longer needed");
    }
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Writes a clean history without ever holding it.
fn write(path: &Path, length: usize) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    let mut line = String::new();
    for operation in operations(&options(length)) {
        line.clear();
        write_operation(&mut line, &operation, Format::JsonLines);
        line.push('\n');
        out.write_all(line.as_bytes())?;
    }
    out.flush()
}

/// Reads and judges one history, and says what it took.
fn child(path: &Path) -> ExitCode {
    let begun = Instant::now();
    let file = File::open(path).expect("the history");
    let file_bytes = file.metadata().expect("its length").len();
    let history = History::read(BufReader::with_capacity(1 << 20, file), Format::JsonLines)
        .expect("a history");
    let read = begun.elapsed();
    let begun = Instant::now();
    let verdict = check(&history);
    let judged = begun.elapsed();
    assert!(verdict.is_valid(), "{:?}", verdict.names());
    let peak_kib = peak_kib().unwrap_or(0);
    println!(
        "{:>12} {:>10} {:>10.3} {:>10.3} {:>14} {:>10}",
        history.len(),
        file_bytes / 1_000_000,
        read.as_secs_f64(),
        judged.as_secs_f64(),
        judged.as_nanos() / history.len() as u128,
        peak_kib / 1024,
    );
    let is_target =
        (TARGET_OPERATIONS..TARGET_OPERATIONS + TARGET_OPERATIONS / 10).contains(&history.len());
    if is_target && (judged > TARGET || peak_kib > TARGET_PEAK_KIB) {
        eprintln!("the target is missed: judged in {TARGET:?} and {TARGET_PEAK_KIB} KiB");
        return ExitCode::FAILURE;
    }
    // Freeing millions of operations one by one would only delay the next measurement.
    std::mem::forget(history);
    ExitCode::SUCCESS
}

/// The most memory that this process ever had, as Linux counts it.
fn peak_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
