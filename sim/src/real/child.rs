//! The process that hosts the log and its clients, and whose life ends when the
//! nemesis wants it.

use super::letter::{Letter, Orders, Purpose};
use super::pipe::{Said, say, write_down};
use super::workers::{Over, Shop};
use super::workload::{self, TOPICS, config, first_process};
use super::{Outcome, because};
use crate::client::Bench;
use crate::client::consume::Member;
use crate::client::errors::{datum_of, name_of};
use crate::client::memory::Memory;
use crate::client::recorder::Recorder;
use crate::client::topics::NewTopic;
use merkql::broker::{Broker, BrokerRef};
use merkql::env::os::OsClock;
use merkql::{Error, Result};
use merkql_jepsen::history::{Action, Attachments, Datum, Declarations, Kind, Operation, Process};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::thread;
use std::time::Duration;

/// How long after a refusal the log is opened again.
const AGAIN: Duration = Duration::from_millis(3);
/// With this the process ends when nobody hears it any more.
const UNHEARD: i32 = 3;

/// Writes to the pipe to the parent, one caller at a time. What cannot be told
/// anybody did not happen: then the process ends.
fn speak(what: impl FnOnce(&mut io::StdoutLock<'static>) -> io::Result<()>) {
    let mut output = io::stdout().lock();
    if what(&mut output).and_then(|()| output.flush()).is_err() {
        std::process::exit(UNHEARD);
    }
}

/// Everything that the clients have in common but the log.
#[derive(Debug)]
struct Host {
    next_step: AtomicU32,
    orders: Orders,
    recorder: Recorder,
    memory: Arc<Memory>,
}

/// Does what the letter on standard input says.
pub(crate) fn child() -> Outcome<()> {
    let letter = Letter::read(io::stdin().lock());
    let letter = letter.map_err(because("only `merkql-sim real` starts this"))?;
    let write = |operation: &Operation| speak(|to| write_down(to, operation));
    let first = first_process(letter.orders.life);
    let recorder = Recorder::streaming(Arc::new(OsClock), first, write);
    let memory = Arc::default();
    let next_step = AtomicU32::new(workload::first_step(letter.orders.life));
    let host = Host { next_step, orders: letter.orders.clone(), recorder, memory };
    let last_word = match letter.orders.purpose {
        Purpose::Finish => host.finish(&letter),
        Purpose::Work | Purpose::WorkAndRead | Purpose::WorkAndClose => host.work(&letter),
    };
    speak(|to| say(to, &last_word));
    Ok(())
}

impl Host {
    /// Opens the log, as often as it takes: a disk may be full for a while.
    /// Nothing if the log says that it is damaged.
    fn open(&self) -> Option<Bench> {
        let by = Process::Named("host".into());
        speak(|to| say(to, &Said::Opening));
        loop {
            self.recorder.invoke(&by, Action::Open(Declarations::default()));
            match Broker::open(config(&self.orders.dir)) {
                Ok(broker) => {
                    let action = Action::Open(declarations());
                    self.recorder.ok(&by, action, Attachments::default());
                    speak(|to| say(to, &Said::Opened));
                    return Some(self.bench(broker));
                }
                Err(error) => {
                    let action = Action::Open(Declarations::default());
                    self.recorder.not_ok(&by, Kind::Fail, action, datum_of(&error));
                    if !matches!(error, Error::DiskFull { .. }) {
                        self.recorder.note("host", Action::Refused(datum_of(&error)));
                        return None;
                    }
                }
            }
            thread::sleep(AGAIN);
        }
    }

    fn bench(&self, broker: BrokerRef) -> Bench {
        let (recorder, memory) = (self.recorder.clone(), Arc::clone(&self.memory));
        let bench = Bench { broker, recorder, memory, tamper: Arc::default() };
        Letter::remind_of_topics(&bench);
        bench.memory.look_around(&bench.recorder, &bench.broker);
        bench
    }

    /// Works until it is killed, or the log takes no writes any more. If the log
    /// is to be closed in between, it is opened again.
    fn work(&self, letter: &Letter) -> Said {
        let mut is_reminded = false;
        loop {
            let Some(bench) = self.open() else { return Said::Refused };
            if prepare(&bench).is_err() {
                return Said::Latched;
            }
            // Later the clients know more than the letter says.
            if !std::mem::replace(&mut is_reminded, true) {
                letter.remind(&bench);
            }
            if Shop::new(&bench, &self.orders, &self.next_step).run() == Over::Latched {
                return Said::Latched;
            }
            // A full disk may refuse; then the next opening has more to do.
            drop(Broker::close(&bench.broker));
        }
    }

    /// Finishes what is open, reads everything, closes the log, opens it again
    /// and reads everything once more.
    fn finish(&self, letter: &Letter) -> Said {
        let Some(bench) = self.open() else { return Said::Refused };
        let finished = finish(&bench, letter);
        if let Err(error) = finished.and_then(|()| Broker::close(&bench.broker)) {
            self.not_finished(&error);
        }
        drop(bench);
        let Some(bench) = self.open() else { return Said::Refused };
        let process = self.recorder.new_process();
        bench.audit(&process, 0);
        if let Err(error) = bench.read_all() {
            self.not_finished(&error);
        }
        Said::Done
    }

    /// Nothing is in the way at the end, so nothing may be refused.
    fn not_finished(&self, error: &Error) {
        let what = format!("with room enough and nobody else there: {}: {error}", name_of(error));
        self.recorder.note("host", Action::Panic(Datum::str(&what)));
    }
}

fn declarations() -> Declarations {
    Declarations {
        dense_offsets: true,
        atomic_batches: true,
        // Who owns what changes while others poll, and nobody sees it at once.
        rebalances: false,
        all_sends: true,
        rest: Vec::new(),
    }
}

fn create_topics(bench: &Bench) -> Result<()> {
    TOPICS.iter().try_for_each(|(topic, partitions)| {
        bench.create_topic(
            topic,
            NewTopic { partitions: *partitions, retention_records: 0, is_compacted: false },
        )
    })
}

/// Creates the topics, as often as it takes.
fn prepare(bench: &Bench) -> Result<()> {
    while let Err(error) = create_topics(bench) {
        if matches!(error, Error::NeedsReopen { .. } | Error::Io { .. }) {
            return Err(error);
        }
        thread::sleep(AGAIN);
    }
    Ok(())
}

fn finish(bench: &Bench, letter: &Letter) -> Result<()> {
    create_topics(bench)?;
    letter.remind(bench);
    bench.read_all()?;
    let producers: Vec<u64> = bench.memory.state().producers.keys().copied().collect();
    for id in producers {
        bench.retry_unanswered(id)?;
    }
    bench.leave_open();
    let process = bench.recorder.new_process();
    let mut step = workload::first_step(letter.orders.life);
    for (topic, partitions) in TOPICS {
        for partition in 0..partitions {
            bench.send(&process, step, &[workload::spec(topic, partition, step, 0)])?;
            step += 1;
        }
    }
    for group in workload::groups(letter.orders.readers) {
        drain(bench, &group)?;
    }
    bench.audit(&process, u64::from(step));
    bench.read_all()
}

/// Lets one member read what its group has not read yet.
fn drain(bench: &Bench, group: &str) -> Result<()> {
    let topics: Vec<String> = TOPICS.iter().map(|(topic, _)| (*topic).to_owned()).collect();
    let mut member: Member = bench.join(group, &topics)?;
    loop {
        let records = bench.poll(&mut member, Duration::ZERO);
        let count = bench.end_poll(&mut member, records)?;
        bench.commit(&mut member)?;
        if count == 0 {
            bench.leave(member);
            return Ok(());
        }
    }
}
