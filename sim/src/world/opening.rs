//! Opening the log, be it new, closed or broken, and looking at everything in it.

use super::host::Host;
use super::nemesis::Nemesis;
use super::tails;
use super::tasks::{Process, panicked};
use crate::client::Bench;
use crate::client::errors::{datum_of, is_unreadable, name_of};
use merkql::Error;
use merkql::broker::{Broker, BrokerRef};
use merkql_jepsen::history::{
    Action as Told, Attachments, Datum, Declarations, Detected, FinalPolls, Kind, Operation,
    Process as Who,
};
use std::mem::take;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often an opening is tried that something other than damage has ended;
/// from the third time on nothing is broken any more.
const OPENINGS_MAX: u32 = 6;
const OPENINGS_UNDER_FAULTS_MAX: u32 = 3;

impl Nemesis<'_> {
    /// Opens the log, and looks at everything in it.
    pub(super) async fn open(&mut self) {
        self.look_for_tails();
        let by = Who::Named("host".into());
        for attempt in 1..=OPENINGS_MAX {
            if attempt > OPENINGS_UNDER_FAULTS_MAX {
                self.nothing_is_broken();
            }
            self.stage.recorder.invoke(&by, Told::Open(Declarations::default()));
            let config = self.stage.config(self.retention_records);
            let opened = catch_unwind(AssertUnwindSafe(|| Broker::open(config)));
            if self.stage.disk.is_dead() {
                drop(opened);
                return Box::pin(self.crashed()).await;
            }
            match opened {
                Ok(Ok(broker)) => return self.opened(&by, broker).await,
                Ok(Err(error)) => {
                    if self.not_opened(&by, &error, attempt) {
                        return;
                    }
                }
                Err(panic) => {
                    self.stage.recorder.note("host", panicked(panic.as_ref()));
                    self.ended = true;
                    return;
                }
            }
            self.stage.pass(Duration::from_millis(50)).await;
        }
        // Nothing is broken, and the log does not open: nobody gets anything done.
        self.note_faults_end();
        let action = Told::FinalPolls(FinalPolls::Asked(Vec::new()));
        self.stage.recorder.invoke(&by, action.clone());
        self.stage.recorder.not_ok(&by, Kind::Fail, action, Datum::str("the log does not open"));
        self.ended = true;
    }

    /// What the log may lose without being able to know, as the disk is now.
    fn look_for_tails(&mut self) {
        // A death in the opening before may have changed what the files say.
        self.tails.clear();
        self.see_lies();
        if self.is_journal_suspect {
            let after = tails::contents(&self.stage.disk);
            let topics = self.stage.memory.topics();
            let tails = |operations: &[Operation]| {
                tails::tails(operations, &topics, &self.contents, &after)
            };
            self.tails = self.stage.recorder.look(tails);
        }
    }

    /// Writes down that the log did not open; returns whether that is final.
    fn not_opened(&mut self, by: &Who, error: &Error, attempt: u32) -> bool {
        self.stage.recorder.met(name_of(error));
        let datum = datum_of(error);
        let is_damage = match error {
            Error::Corrupt(_)
            | Error::NotALog { .. }
            | Error::UnsupportedVersion { .. }
            | Error::PredecessorFormat { .. } => true,
            Error::Io { .. } => is_unreadable(error) && attempt > OPENINGS_UNDER_FAULTS_MAX,
            _ => false,
        };
        let open = Told::Open(Declarations::default());
        self.stage.recorder.not_ok(by, Kind::Fail, open, datum.clone());
        if is_damage {
            self.stage.recorder.note("host", Told::Refused(datum));
            // Nothing of it can be read any more, and the error says why.
            let spans = self.stage.memory.keys().into_iter().map(|key| (key, Vec::new())).collect();
            let detected = Detected { damage: None, spans, rest: Vec::new() };
            self.stage.recorder.note("host", Told::Detected(Box::new(detected)));
            self.run.refused = true;
            self.ended = true;
        }
        is_damage
    }

    async fn opened(&mut self, by: &Who, broker: BrokerRef) {
        let declarations = Declarations {
            dense_offsets: true,
            atomic_batches: true,
            rebalances: true,
            all_sends: true,
            rest: Vec::new(),
        };
        let opened = Told::Open(declarations);
        for tails in [take(&mut self.tails), take(&mut self.rolled_back_to)] {
            if !tails.is_empty() {
                self.stage.memory.state().lose_tail();
                self.stage.recorder.note("nemesis", Told::UndecidableTail(tails));
            }
        }
        self.see_lies();
        // Recovery has written the journal anew: what was done to it is done with.
        self.is_journal_suspect = self.may_lie;
        self.stage.recorder.ok(by, opened, Attachments::default());
        self.run.recoveries += u64::from(!self.run.crashes.is_empty());
        self.tamper.reopened();
        let bench = Bench {
            broker,
            recorder: self.stage.recorder.clone(),
            memory: Arc::clone(&self.stage.memory),
            tamper: Arc::clone(&self.tamper),
        };
        self.look_from_inside(&bench);
        let subscriptions = std::mem::take(&mut self.subscriptions);
        self.process =
            Some(Process::start(Host::new(bench, subscriptions, self.retention_records)));
        self.act(|host| host.bench.read_all());
        if self.stage.disk.is_dead() {
            Box::pin(self.crashed()).await;
        }
    }

    /// Lets a reader look from within writes and syncs.
    fn look_from_inside(&self, bench: &Bench) {
        let every = self.stage.scenario.settings.reader_every;
        if every == 0 {
            return;
        }
        let calls = AtomicU64::new(0);
        let broker = Arc::downgrade(&bench.broker);
        let (recorder, memory) = (bench.recorder.clone(), Arc::clone(&bench.memory));
        let tamper = Arc::clone(&bench.tamper);
        self.stage.disk.set_hook(move |_| {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            if !call.is_multiple_of(every) {
                return;
            }
            // Nobody looks while the last reference goes.
            let Some(broker) = broker.upgrade() else { return };
            let (recorder, memory) = (recorder.clone(), Arc::clone(&memory));
            let bench = Bench { broker, recorder, memory, tamper: Arc::clone(&tamper) };
            bench.peek(usize::try_from(call / every).unwrap_or_default());
        });
    }
}
