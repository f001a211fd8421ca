//! The one who leads a run through: hands out the steps, kills the process,
//! harms the disk, starts the process again, and sees that everything goes on
//! once nothing is broken any more.

use super::Manner;
use super::harm::do_harm;
use super::host::{Host, Subscriptions};
use super::paths::matching;
use super::run::{Crash, Run};
use super::stage::Stage;
use super::tails::{self, Contents};
use super::tasks::{Process, panicked};
use crate::client::Bench;
use crate::client::recorder::{add_to, digest_of};
use crate::client::tamper::Tamper;
use crate::disk::{Digest, Image, Limits};
use crate::fault::FaultKind;
use crate::profile::Profile;
use crate::scenario::{
    Action, Blow, Death, During, Harm, RecordSpec, Restart, Scenario, Step, Stop,
};
use merkql::broker::{Broker, BrokerRef};
use merkql::{Error, Result};
use merkql_jepsen::history::{
    Action as Told, Attachments, Damage, Datum, Declarations, Detected, FaultClass, FaultsEnd, Key,
    Kind, Process as Who,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often an opening is tried that something other than damage has ended;
/// from the third time on nothing is broken any more.
const OPENINGS_MAX: u32 = 6;
const OPENINGS_UNDER_FAULTS_MAX: u32 = 3;
/// Within how much virtual time everything must go on once nothing is broken.
const BOUND: Duration = Duration::from_secs(60);
/// The numbers of the records that are sent at the end begin here.
const END_STEPS: u32 = 1_000_000;

pub(crate) struct Nemesis<'s> {
    stage: Stage<'s>,
    process: Option<Process>,
    subscriptions: Subscriptions,
    retention_records: u64,
    limits: Limits,
    /// What the disk was, and where the partitions ended then.
    image: Option<(Image, Vec<(Key, u64)>)>,
    damages: u64,
    /// The journal may have lost something that nobody can know of.
    is_journal_suspect: bool,
    /// What the partitions' files held when the process stopped.
    contents: Contents,
    /// What may be gone when the log opens next.
    tails: Option<Vec<(Key, u64)>>,
    tamper: Arc<Tamper>,
    run: Run,
    ended: bool,
    /// So many operations of the history, and what they come to as a number.
    seen: (usize, Digest),
}

impl<'s> Nemesis<'s> {
    pub(crate) fn new(scenario: &'s Scenario, manner: &Manner, tamper: Tamper) -> Self {
        Self {
            stage: Stage::new(scenario, manner),
            process: None,
            subscriptions: Subscriptions::new(),
            retention_records: scenario.settings.retention_records,
            limits: Limits::default(),
            image: None,
            damages: 0,
            is_journal_suspect: false,
            contents: Contents::new(),
            tails: None,
            tamper: Arc::new(tamper),
            run: Run::default(),
            ended: false,
            seen: (0, Digest::new()),
        }
    }

    pub(crate) async fn run(mut self) -> Run {
        self.enter(During::Start);
        self.open().await;
        let scenario = self.stage.scenario;
        for step in &scenario.steps {
            if self.ended {
                break;
            }
            self.stage.next().await;
            self.enter(During::Step(step.id));
            self.step(step).await;
            self.see_what_happened().await;
        }
        if !self.ended {
            self.finish().await;
        }
        self.stop_process();
        self.into_run()
    }

    fn enter(&mut self, during: During) {
        let scenario = self.stage.scenario;
        for strike in scenario.strikes.iter().filter(|strike| strike.at.during == during) {
            if Stage::harmful(strike) {
                self.note_damage(None);
                self.is_journal_suspect |= !strike.at.file.contains("topics/");
            }
        }
        self.stage.enter(during);
    }

    fn note_damage(&mut self, note: Option<Damage>) {
        self.damages += 1;
        let whole_log =
            Damage { id: self.damages, class: FaultClass::Detected, spans: None, rest: Vec::new() };
        let damage = Damage { id: self.damages, ..note.unwrap_or(whole_log) };
        self.stage.recorder.note("nemesis", Told::Damage(Box::new(damage)));
    }

    async fn step(&mut self, step: &Step) {
        match &step.does {
            Action::Restart(restart) => self.restart(step.id, restart).await,
            Action::Sleep { ms } => self.stage.pass(Duration::from_millis(*ms)).await,
            Action::ClockJump { ms } => {
                let by = Duration::from_millis(ms.unsigned_abs());
                if *ms < 0 {
                    self.stage.clock.jump_back(by);
                } else {
                    self.stage.clock.jump_forward(by);
                }
                self.stage.disk.note_fault(FaultKind::ClockJump);
            }
            Action::ClockSkew { rate_ppm } => {
                self.stage.clock.set_skew(*rate_ppm);
                self.stage.disk.note_fault(FaultKind::ClockJump);
            }
            Action::DiskRoom { bytes } => {
                let mut limits = self.limits;
                self.stage.limit_room(&mut limits, *bytes);
                self.limits = limits;
            }
            Action::HandleLimit { files } => {
                self.limits.open_files = *files;
                self.stage.disk.set_limits(self.limits);
            }
            Action::Remember => self.remember(),
            _ => {
                if let Some(process) = &mut self.process {
                    process.perform(step).await;
                }
            }
        }
    }

    fn remember(&mut self) {
        let ends = self.act(|host| {
            let mut ends = Vec::new();
            for (name, partitions) in host.bench.memory.topics() {
                let Some(topic) = host.bench.broker.topic(&name) else { continue };
                for number in 0..partitions {
                    let view = topic.partition(number).and_then(|partition| partition.read().ok());
                    let end = view.map_or(0, |view| view.next_offset());
                    ends.push((crate::client::names::key_of(&name, number), end));
                }
            }
            ends
        });
        self.image = Some((self.stage.disk.image(), ends.unwrap_or_default()));
    }

    fn act<T>(&self, does: impl FnOnce(&mut Host) -> T) -> Option<T> {
        self.process.as_ref().and_then(|process| process.act(does))
    }

    /// After a step: has the process died, does it have to be started anew?
    async fn see_what_happened(&mut self) {
        while self.stage.disk.is_dead() && !self.ended {
            self.crashed().await;
        }
        let wants = self.act(|host| std::mem::take(&mut host.wants_reopen)).unwrap_or_default();
        if wants && !self.ended {
            self.reopen_if_latched().await;
        }
    }

    async fn reopen_if_latched(&mut self) {
        let latched = self.act(|host| Broker::producer(&host.bench.broker).flush().is_err());
        if self.stage.disk.is_dead() {
            return self.crashed().await;
        }
        if latched == Some(true) {
            self.stop_process();
            if self.stage.disk.is_dead() {
                return self.crashed().await;
            }
            self.contents = self.suspected_contents();
            self.open().await;
        }
    }

    /// Lets go of the process's memory; a log that is open is closed by it.
    fn stop_process(&mut self) {
        self.stage.disk.clear_hook();
        let Some(host) = self.process.take().and_then(Process::end) else { return };
        let recorder = self.stage.recorder.clone();
        let dropped = catch_unwind(AssertUnwindSafe(|| host.give_up()));
        match dropped {
            Ok(subscriptions) => self.subscriptions = subscriptions,
            Err(panic) => recorder.note("host", panicked(panic.as_ref())),
        }
    }

    /// The process has died at an operation.
    async fn crashed(&mut self) {
        let Some(id) = self.stage.disk.died_by() else {
            // Only armed crashes kill.
            self.ended = true;
            return;
        };
        self.stage.note_crash(id);
        let scenario = self.stage.scenario;
        let strike = scenario.strikes.iter().find(|strike| strike.id == id);
        let death = match strike.map(|strike| &strike.what) {
            Some(Blow::Crash { death, .. }) => death.clone(),
            _ => Death::Kill,
        };
        let in_recovery = self.process.is_none();
        self.stop_process();
        self.die(id, &death);
        if in_recovery {
            self.stage.disk.note_fault(FaultKind::CrashInRecovery);
        }
        self.enter(During::RecoveryFrom(id));
        // Opening may die again; then this is called again.
        Box::pin(self.open()).await;
    }

    fn suspected_contents(&self) -> Contents {
        if self.is_journal_suspect || self.stage.scenario.settings.profile == Profile::Hostile {
            tails::contents(&self.stage.disk)
        } else {
            Contents::new()
        }
    }

    /// Carries out a death on the disk.
    fn die(&mut self, id: u32, death: &Death) {
        self.contents = self.suspected_contents();
        let unsynced = self.stage.disk.unsynced();
        self.stage.recorder.note(
            "nemesis",
            Told::Crash(Datum::str(match death {
                Death::Kill => "kill",
                Death::Power(_) => "power-cut",
            })),
        );
        let survivors = match death {
            Death::Kill => {
                self.stage.disk.kill();
                None
            }
            Death::Power(keeps) => {
                let survivors = self.stage.survivors(keeps, &unsynced);
                self.stage.disk.power_cut(&survivors);
                if self.stage.scenario.settings.profile == Profile::Hostile {
                    self.note_damage(None);
                    self.is_journal_suspect = true;
                }
                Some(survivors)
            }
        };
        let state = self.state();
        self.run.crashes.push(Crash { id, unsynced, survivors, state });
    }

    /// What can make it differ what comes now, as a number.
    fn state(&mut self) -> u64 {
        let (position, digest) = &mut self.seen;
        let news = self.stage.recorder.since(*position);
        *position += news.len();
        add_to(digest, &news);
        let mut state = *digest;
        state.number(self.stage.disk.likeness());
        let steps = self.stage.stretches.iter().rev();
        let mut steps = steps.filter(|(during, _)| matches!(during, During::Step(_)));
        state.bytes(format!("{:?}", steps.next().map(|(during, _)| during)).as_bytes());
        state.value()
    }

    async fn restart(&mut self, id: u32, restart: &Restart) {
        match &restart.how {
            Stop::Close => {
                let closed = self.act(|host| Broker::close(&host.bench.broker));
                if let Some(Err(error)) = closed {
                    self.stage.recorder.met(crate::client::errors::name_of(&error));
                }
                if self.stage.disk.is_dead() {
                    return;
                }
                self.stop_process();
                if self.stage.disk.is_dead() {
                    return;
                }
                self.contents = self.suspected_contents();
            }
            Stop::Death(death) => {
                // The dead don't close: what is let go of must find the disk gone.
                let process = self.process.take();
                self.stage.disk.clear_hook();
                self.die(id, death);
                self.process = process;
                self.stop_process();
                self.enter(During::RecoveryFrom(id));
            }
        }
        if let Some(records) = restart.retention_records {
            self.retention_records = records;
        }
        self.harm(restart);
        self.open().await;
    }

    fn harm(&mut self, restart: &Restart) {
        let slots = restart.harm.iter().map(|at| at.file.as_str());
        let slots = slots
            .filter(|file| file.starts_with("manifest."))
            .map(|file| matching(&self.stage.disk, file).len());
        let slots = slots.sum();
        let mut rolled_back = false;
        for at in &restart.harm {
            if self.contents.is_empty() {
                self.contents = tails::contents(&self.stage.disk);
            }
            let image = self.image.as_ref().map(|(image, _)| image);
            let Some(done) = do_harm(&self.stage.disk, image, at, self.damages + 1, slots) else {
                continue;
            };
            let suspect = done.note.class == FaultClass::Detected && done.is_whole_log;
            self.is_journal_suspect |= suspect;
            rolled_back |= done.is_rolled_back;
            self.stage.memory.state().is_unreadable |= done.is_unreadable;
            self.note_damage(Some(done.note));
            if matches!(at.harm, Harm::RollBackAll) {
                self.contents.clear();
            }
        }
        if let Some((_, ends)) = self.image.as_ref().filter(|_| rolled_back) {
            self.stage.recorder.note("nemesis", Told::UndecidableTail(ends.clone()));
        }
    }

    /// Opens the log, and looks at everything in it.
    async fn open(&mut self) {
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
        let action = Told::FinalPolls(merkql_jepsen::history::FinalPolls::Asked(Vec::new()));
        self.stage.recorder.invoke(&by, action.clone());
        self.stage.recorder.not_ok(&by, Kind::Fail, action, Datum::str("the log does not open"));
        self.ended = true;
    }

    /// What the log may lose without being able to know, as the disk is now.
    fn look_for_tails(&mut self) {
        if self.is_journal_suspect {
            let operations = self.stage.recorder.since(0);
            let after = tails::contents(&self.stage.disk);
            let topics = self.stage.memory.topics();
            self.tails = Some(tails::tails(&operations, &topics, &self.contents, &after));
        }
    }

    /// Writes down that the log did not open; returns whether that is final.
    fn not_opened(&mut self, by: &Who, error: &Error, attempt: u32) -> bool {
        self.stage.recorder.met(crate::client::errors::name_of(error));
        let datum = crate::client::errors::datum_of(error);
        let unreadable = self.stage.memory.state().is_unreadable;
        let is_damage = match error {
            Error::Corrupt(_)
            | Error::NotALog { .. }
            | Error::UnsupportedVersion { .. }
            | Error::PredecessorFormat { .. } => true,
            Error::Io { .. } => unreadable && attempt > OPENINGS_UNDER_FAULTS_MAX,
            _ => false,
        };
        let open = Told::Open(Declarations::default());
        self.stage.recorder.not_ok(by, Kind::Fail, open, datum.clone());
        if is_damage {
            self.stage.recorder.note("host", Told::Refused(datum));
            // Nothing of it can be read any more, and the error says why.
            let topics: Vec<String> = self.stage.memory.state().topics.keys().cloned().collect();
            let keys = self.stage.memory.keys_of(&topics);
            let spans = keys.into_iter().map(|key| (key, Vec::new())).collect();
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
        if let Some(tails) = self.tails.take().filter(|tails| !tails.is_empty()) {
            self.stage.recorder.note("nemesis", Told::UndecidableTail(tails));
        }
        self.stage.recorder.ok(by, opened, Attachments::default());
        self.run.recoveries += u64::from(!self.run.crashes.is_empty());
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

    fn nothing_is_broken(&mut self) {
        self.stage.disk.disarm_all();
        self.limits = Limits::default();
        self.stage.disk.set_limits(self.limits);
        self.stage.clock.set_skew(1_000_000);
    }

    fn note_faults_end(&self) {
        let bound_ns = u64::try_from(BOUND.as_nanos()).unwrap_or(u64::MAX);
        let end = FaultsEnd { bound_ns, rest: Vec::new() };
        self.stage.recorder.note("nemesis", Told::FaultsEnd(Box::new(end)));
    }

    /// Nothing is broken any more: everything must go on.
    async fn finish(&mut self) {
        self.stage.next().await;
        self.enter(During::End);
        self.nothing_is_broken();
        self.note_faults_end();
        for round in 0..2 {
            self.reopen_if_latched().await;
            if self.ended {
                return;
            }
            self.act(|host| end_round(host, round));
            self.stage.next().await;
        }
        // A clean close keeps everything, too.
        self.restart(
            u32::MAX,
            &Restart { how: Stop::Close, harm: Vec::new(), retention_records: None },
        )
        .await;
        self.act(|host| host.bench.audit(&host.bench.recorder.new_process(), 0));
    }

    fn into_run(mut self) -> Run {
        let mut run = std::mem::take(&mut self.run);
        run.struck = self.stage.struck();
        run.armed = self.stage.armed.iter().copied().collect();
        run.history = self.stage.recorder.take();
        run.errors = self.stage.recorder.errors();
        let client = |op: &&merkql_jepsen::history::Operation| {
            op.kind == Kind::Invoke && op.process.is_client()
        };
        run.client_ops = run.history.operations().iter().filter(client).count() as u64;
        run.detected =
            run.history.operations().iter().any(|op| matches!(op.action, Told::Detected(_)));
        run.io_ops = self.stage.disk.io_ops();
        run.faults = self.stage.disk.fault_counts();
        let retries = self.stage.memory.state().retries;
        if retries.armed > 0 {
            run.faults.insert(FaultKind::AmbiguousAcknowledgement, retries);
        }
        run.marks = self.stage.probe.marks();
        run.canaries_asked = self.stage.probe.canaries_asked();
        let mut digest = Digest::new();
        digest.number(digest_of(&run.history));
        digest.number(self.stage.disk.trace_digest());
        run.trace_hash = digest.value();
        run.events = self.stage.take_events();
        run.stretches = std::mem::take(&mut self.stage.stretches);
        run
    }
}

/// What everybody does once nothing is broken.
fn end_round(host: &mut Host, round: u32) -> Result<()> {
    host.drain();
    let bench = host.bench.clone();
    let producers: Vec<u64> = bench.memory.state().producers.keys().copied().collect();
    for id in producers {
        bench.retry_unanswered(id).unwrap_or_default();
    }
    bench.leave_open();
    let process = bench.recorder.new_process();
    let topics = bench.memory.topics();
    for (number, (topic, _)) in (0..).zip(topics) {
        let spec = RecordSpec { topic, partition: round, bytes: 20 };
        let step = END_STEPS + round * 1000 + number;
        bench.send(&process, step, &[spec]).unwrap_or_default();
    }
    host.drain();
    bench.audit(&process, u64::from(round));
    bench.read_all()
}
