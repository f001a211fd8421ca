//! The threads of a child: writers, members of groups, an auditor.

use super::letter::{Orders, Purpose};
use super::workload::{TOPICS, group_of, spec};
use crate::client::Bench;
use crate::client::consume::Member;
use crate::random::{Stream, stream};
use crate::scenario::RecordSpec;
use crate::world::panicked;
use merkql::{Error, Result};
use merkql_jepsen::history::Process;
use rand::RngExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// How many records a batch has at most.
const BATCH_MAX: u32 = 8;
/// How many sends are handed over before any is waited for, at most.
const PENDING_MAX: u32 = 6;
/// How long a writer waits between two sends, in microseconds: more sends would
/// make a history that takes longer to read than to write.
const PAUSE_MICROS_MAX: u64 = 1500;
const POLL: Duration = Duration::from_millis(5);
const AUDIT: Duration = Duration::from_millis(40);

/// After how long a log is closed at the latest that is to be closed, in
/// milliseconds.
const CLOSE_MILLIS_MAX: u64 = 120;

/// Why no more work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// The log takes no writes any more.
    Latched,
    /// The log is to be closed.
    Closing,
}

/// What the threads share.
#[derive(Debug)]
pub(crate) struct Shop<'b> {
    bench: &'b Bench,
    orders: &'b Orders,
    next_step: &'b AtomicU32,
    /// The log takes no writes any more.
    is_latched: AtomicBool,
    /// The log is to be closed.
    is_closing: AtomicBool,
}

impl<'b> Shop<'b> {
    pub(crate) fn new(bench: &'b Bench, orders: &'b Orders, next_step: &'b AtomicU32) -> Self {
        let (is_latched, is_closing) = Default::default();
        Self { bench, orders, next_step, is_latched, is_closing }
    }

    /// Works until there is a reason not to.
    pub(crate) fn run(&self) -> Over {
        thread::scope(|scope| {
            for number in 0..self.orders.writers {
                scope.spawn(move || self.guarded(|| self.write(number)));
            }
            for number in 0..self.orders.readers {
                scope.spawn(move || self.guarded(|| self.read(number)));
            }
            scope.spawn(|| self.guarded(|| self.audit()));
            if self.orders.purpose == Purpose::WorkAndRead {
                scope.spawn(|| self.guarded(|| self.note(&self.bench.read_all())));
            }
            if self.orders.purpose == Purpose::WorkAndClose {
                let mut random = self.random("closer", self.next_step.load(Ordering::Relaxed));
                thread::sleep(Duration::from_millis(random.random_range(0..CLOSE_MILLIS_MAX)));
                self.is_closing.store(true, Ordering::Relaxed);
            }
        });
        if self.is_latched.load(Ordering::Relaxed) { Over::Latched } else { Over::Closing }
    }

    /// A panic is written down as what it is: an anomaly.
    fn guarded(&self, does: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(does)) {
            self.bench.recorder.note("host", panicked(panic.as_ref()));
        }
    }

    fn note<T>(&self, done: &Result<T>) {
        if let Err(Error::NeedsReopen { .. } | Error::Io { .. }) = done {
            self.is_latched.store(true, Ordering::Relaxed);
        }
    }

    fn goes_on(&self) -> bool {
        !self.is_latched.load(Ordering::Relaxed) && !self.is_closing.load(Ordering::Relaxed)
    }

    fn random(&self, who: &str, number: u32) -> Stream {
        stream(self.orders.seed, &format!("{who} {number} of life {}", self.orders.life))
    }

    fn step(&self) -> u32 {
        self.next_step.fetch_add(1, Ordering::Relaxed)
    }

    fn write(&self, number: u32) {
        let process = self.bench.recorder.new_process();
        let mut random = self.random("writer", number);
        while self.goes_on() {
            let done = match number % 4 {
                0 => self.send(&process, &mut random, 1),
                1 => {
                    let count = random.random_range(2..=BATCH_MAX);
                    self.send(&process, &mut random, count)
                }
                2 => self.send_later(&mut random),
                _ => self.send_numbered(u64::from(number), &mut random),
            };
            self.note(&done);
            thread::sleep(Duration::from_micros(random.random_range(0..PAUSE_MICROS_MAX)));
        }
    }

    fn send(&self, process: &Process, random: &mut Stream, count: u32) -> Result<()> {
        let step = self.step();
        self.bench.send(process, step, &specs(random, step, count))
    }

    /// Hands a few sends over, and waits for them in another order.
    fn send_later(&self, random: &mut Stream) -> Result<()> {
        let mut pending = Vec::new();
        for _ in 0..random.random_range(1..=PENDING_MAX) {
            let step = self.step();
            let count = random.random_range(1..=3);
            let handed_over = self.bench.send_later(step, &specs(random, step, count));
            // One that was refused has been written down, and the others go on.
            match handed_over {
                Ok(send) => pending.extend(send),
                Err(error) => self.note::<()>(&Err(error)),
            }
        }
        if random.random_bool(0.5) {
            pending.reverse();
        }
        let answers: Vec<Result<()>> =
            pending.into_iter().map(|send| self.bench.wait(send)).collect();
        answers.into_iter().collect()
    }

    /// Sends under a producer id, after the last such send has got its answer,
    /// and repeats one that has had it now and then.
    fn send_numbered(&self, id: u64, random: &mut Stream) -> Result<()> {
        if random.random_bool(0.2) {
            self.bench.retry(id)?;
        }
        let step = self.step();
        let count = random.random_range(1..=BATCH_MAX);
        self.bench.send_as(id, step, &specs(random, step, count))
    }

    /// Polls and commits as a member of a group, which it leaves now and then.
    fn read(&self, number: u32) {
        let mut random = self.random("reader", number);
        let topics: Vec<String> = TOPICS.iter().map(|(topic, _)| (*topic).to_owned()).collect();
        while self.goes_on() {
            match self.bench.join(&group_of(number), &topics) {
                Ok(member) => self.be_member(member, &mut random),
                Err(error) => self.note::<()>(&Err(error)),
            }
        }
    }

    fn be_member(&self, mut member: Member, random: &mut Stream) {
        while self.goes_on() {
            let records = self.bench.poll(&mut member, POLL);
            self.note(&self.bench.end_poll(&mut member, records));
            match random.random_range(0..60) {
                0 => self.bench.seek_back(&mut member, 3),
                1 => return self.bench.leave(member),
                2..25 => self.note(&self.bench.commit(&mut member)),
                _ => {}
            }
        }
    }

    /// Takes roots and proofs, looks at the newest records, and checkpoints. One
    /// thread alone does this: what it takes, it takes one after the other.
    fn audit(&self) {
        let process = self.bench.recorder.new_process();
        for turn in 0.. {
            if !self.goes_on() {
                return;
            }
            self.bench.audit(&process, turn);
            self.bench.peek(usize::try_from(turn).unwrap_or_default());
            if turn % 3 == 2 {
                self.note(&self.bench.broker.maintain());
            }
            thread::sleep(AUDIT);
        }
    }
}

/// Records of a step: of one partition, or of several.
fn specs(random: &mut Stream, step: u32, count: u32) -> Vec<RecordSpec> {
    let places = 0..usize::try_from(count).unwrap_or_default();
    let draw = |place| {
        let (topic, partitions) = TOPICS[random.random_range(0..TOPICS.len())];
        spec(topic, random.random_range(0..partitions), step, place)
    };
    places.map(draw).collect()
}
