//! What eight threads' appends gain, beside what a bare group commit gains.

use crate::fixture::{fill, folder, open, record};
use crate::floor::SyncFloor;
use crate::report::{Report, Target};
use crate::samples::median;
use merkql::broker::Broker;
use std::path::Path;
use std::sync::{Condvar, Mutex};
use std::time::Instant;

const THREADS: usize = 8;
const SENDS: usize = 400;
const ROUNDS: usize = 9;
/// Of one record in the journal.
const FRAME_BYTES: usize = 300;
/// How often a leader yields so that those it has served come back; the log's number.
const GATHER_YIELDS: usize = 8;
const TARGET: f64 = 4.0;

/// Threads that share one file's write and sync as the log's do, and do nothing else.
#[derive(Debug)]
struct RawGroup {
    state: Mutex<GroupState>,
    turned: Condvar,
    file: Mutex<SyncFloor>,
}

#[derive(Debug, Default)]
struct GroupState {
    staged: usize,
    settled: usize,
    last_group: usize,
    leading: bool,
}

impl RawGroup {
    fn new(dir: &Path) -> Self {
        let file = Mutex::new(SyncFloor::new(dir));
        Self { state: Mutex::default(), turned: Condvar::new(), file }
    }

    /// Returns once a write and a sync have covered this call.
    fn append(&self) {
        let mut state = self.state.lock().expect("no thread panics");
        state.staged += 1;
        let mine = state.staged;
        while state.settled < mine {
            if state.leading {
                state = self.turned.wait(state).expect("no thread panics");
                continue;
            }
            state.leading = true;
            drop(state);
            self.lead();
            state = self.state.lock().expect("no thread panics");
        }
    }

    fn lead(&self) {
        for _ in 0..GATHER_YIELDS {
            let state = self.state.lock().expect("no thread panics");
            if state.staged - state.settled >= state.last_group {
                break;
            }
            drop(state);
            std::thread::yield_now();
        }
        let (settled, staged) = {
            let state = self.state.lock().expect("no thread panics");
            (state.settled, state.staged)
        };
        let block = vec![b'x'; (staged - settled) * FRAME_BYTES];
        self.file.lock().expect("no thread panics").append(&block);
        let mut state = self.state.lock().expect("no thread panics");
        *state = GroupState {
            staged: state.staged,
            settled: staged,
            last_group: staged - settled,
            leading: false,
        };
        self.turned.notify_all();
    }
}

/// How often a second `threads` threads run `append`.
fn rate(threads: usize, append: impl Fn() + Sync) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..SENDS).for_each(|_| append()));
        }
    });
    (threads * SENDS) as f64 / start.elapsed().as_secs_f64()
}

pub(crate) fn bench(report: &mut Report) {
    let dir = folder();
    let broker = open(&dir.path().join("log"));
    fill(&broker, 1);
    let producer = Broker::producer(&broker);
    let record = record();
    let send = || drop(producer.send(&record).expect("a record is sent"));
    let raw = RawGroup::new(dir.path());
    let mut rates: [Vec<f64>; 4] = Default::default();
    // One after the other, many times, so that all see the same disk and the same load.
    for _ in 0..ROUNDS {
        rates[0].push(rate(1, send));
        rates[1].push(rate(THREADS, send));
        rates[2].push(rate(1, || raw.append()));
        rates[3].push(rate(THREADS, || raw.append()));
    }
    let ratio = |one: usize, eight: usize| {
        median(rates[eight].iter().zip(&rates[one]).map(|(eight, one)| eight / one).collect())
    };
    let (log_ratio, raw_ratio) = (ratio(0, 1), ratio(2, 3));
    let [one, eight, raw_one, raw_eight] = rates.map(median);
    let floor = |rate: f64| format!("raw group commit {rate:.0} /s");
    report.rate("durable appends of one thread", one, &floor(raw_one), Target::None);
    report.rate("durable appends of eight threads", eight, &floor(raw_eight), Target::None);
    let target = if raw_ratio >= TARGET { TARGET } else { 0.8 * raw_ratio };
    let floor = format!("raw group commit {raw_ratio:.2} x");
    let name = "eight threads over one";
    report.amount(name, log_ratio, " x", &floor, Target::AtLeastTimes(target));
}
