//! The one who leads a run through: hands out the steps, kills the process,
//! harms the disk, starts the process again, and sees that everything goes on
//! once nothing is broken any more.

use super::Manner;
use super::damages;
use super::harm::do_harm;
use super::host::{Host, Subscriptions};
use super::paths::matching;
use super::run::{Crash, Run};
use super::stage::Stage;
use super::tails::{self, Contents};
use super::tasks::{Process, panicked};
use crate::canary::Canary;
use crate::client::tamper::Tamper;
use crate::disk::{Digest, Image, Limits};
use crate::fault::FaultKind;
use crate::profile::Profile;
use crate::scenario::{Action, Blow, Death, During, Restart, Scenario, Step, Stop};
use merkql::broker::Broker;
use merkql_jepsen::history::{Action as Told, Datum, FaultClass, Key, SpanMap};
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

pub(super) struct Nemesis<'s> {
    pub(super) stage: Stage<'s>,
    pub(super) process: Option<Process>,
    pub(super) subscriptions: Subscriptions,
    pub(super) retention_records: u64,
    pub(super) limits: Limits,
    /// What the disk was, and where the partitions ended then.
    image: Option<(Image, Vec<(Key, u64)>)>,
    /// The journal may have lost something that nobody can know of.
    pub(super) is_journal_suspect: bool,
    /// Operations on the journal have gone wrong without a word.
    pub(super) may_lie: bool,
    /// What the partitions' files held when the log last worked.
    pub(super) contents: Contents,
    /// What may be gone when the log opens next, as the files say.
    pub(super) tails: Vec<(Key, u64)>,
    /// Where the partitions ended in the state that the disk was rolled back to,
    /// until the log has been opened in it.
    pub(super) rolled_back_to: Vec<(Key, u64)>,
    pub(super) tamper: Arc<Tamper>,
    pub(super) run: Run,
    pub(super) ended: bool,
    /// So many operations of the history, and what they come to as a number.
    seen: (usize, Digest),
}

impl<'s> Nemesis<'s> {
    pub(crate) fn new(scenario: &'s Scenario, manner: &Manner) -> Self {
        Self {
            stage: Stage::new(scenario, manner),
            process: None,
            subscriptions: Subscriptions::new(),
            retention_records: scenario.settings.retention_records,
            limits: Limits::default(),
            image: None,
            is_journal_suspect: false,
            may_lie: false,
            contents: Contents::new(),
            tails: Vec::new(),
            rolled_back_to: Vec::new(),
            tamper: Arc::new(Tamper::new(manner.canary.and_then(Canary::in_clients))),
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

    pub(super) fn enter(&mut self, during: During) {
        self.stage.enter(during);
    }

    fn note_damage(&self, class: FaultClass, spans: Option<SpanMap>) {
        self.stage.recorder.push(self.stage.damages.note(class, spans));
    }

    /// Sees whether a strike has made the journal doubtful.
    pub(super) fn see_lies(&mut self) {
        self.stage.recorder.catch_up();
        self.may_lie |= self.stage.damages.has_lied();
        self.is_journal_suspect |= self.may_lie;
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
                    let partition = topic.partition(number);
                    let view = partition.and_then(|partition| host.bench.seen(partition.read()));
                    let end = view.map_or(0, |view| view.next_offset());
                    ends.push((crate::client::names::key_of(&name, number), end));
                }
            }
            ends
        });
        self.image = Some((self.stage.disk.image(), ends.unwrap_or_default()));
    }

    pub(super) fn act<T>(&self, does: impl FnOnce(&mut Host) -> T) -> Option<T> {
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

    pub(super) async fn reopen_if_latched(&mut self) {
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
    pub(super) fn stop_process(&mut self) {
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
    pub(super) async fn crashed(&mut self) {
        let Some(id) = self.stage.disk.died_by() else {
            // Only armed crashes kill.
            self.ended = true;
            return;
        };
        self.stage.note_crash(id);
        self.see_lies();
        let scenario = self.stage.scenario;
        let strike = scenario.strikes.iter().find(|strike| strike.id == id);
        let death = match strike.map(|strike| &strike.what) {
            Some(Blow::Crash { death, .. }) => death.clone(),
            _ => Death::Kill,
        };
        let in_recovery = self.process.is_none();
        self.stop_process();
        if in_recovery {
            // What was there when the log last worked still stands in `contents`.
            self.die(id, &death);
            self.stage.disk.note_fault(FaultKind::CrashInRecovery);
        } else {
            self.contents = self.suspected_contents();
            self.die(id, &death);
        }
        self.enter(During::RecoveryFrom(id));
        // Opening may die again; then this is called again.
        Box::pin(self.open()).await;
    }

    fn suspected_contents(&self) -> Contents {
        let scenario = self.stage.scenario;
        // What becomes doubtful only in the recovery is compared with this, too.
        let may_be_suspect =
            scenario.settings.profile == Profile::Hostile || scenario.leaves_damage();
        if self.is_journal_suspect || may_be_suspect {
            tails::contents(&self.stage.disk)
        } else {
            Contents::new()
        }
    }

    /// Carries out a death on the disk.
    fn die(&mut self, id: u32, death: &Death) {
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
                let trashed = damages::trashed(&survivors, &unsynced);
                let before = if trashed.is_empty() {
                    Contents::new()
                } else {
                    tails::contents(&self.stage.disk)
                };
                self.stage.disk.power_cut(&survivors);
                for spans in damages::of_trashed(&trashed, &before) {
                    self.is_journal_suspect |= spans.is_none();
                    self.note_damage(FaultClass::Detected, spans);
                }
                Some(survivors)
            }
        };
        let state = self.stage.keeps_events.then(|| self.state());
        self.run.crashes.push(Crash { id, unsynced, survivors, state });
    }

    /// What can make it differ what comes now, as a number.
    fn state(&mut self) -> u64 {
        let (position, digest) = &mut self.seen;
        *position = self.stage.recorder.add_to(digest, *position);
        let mut state = *digest;
        state.number(self.stage.disk.likeness());
        let steps = self.stage.stretches.iter().rev();
        let step = steps.map(|(during, _)| during).find(|of| matches!(of, During::Step(_)));
        step.hash(&mut state);
        state.value()
    }

    pub(super) async fn restart(&mut self, id: u32, restart: &Restart) {
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
                self.contents = self.suspected_contents();
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
            let Some(done) = do_harm(&self.stage.disk, image, at, slots) else {
                self.run.idle_harm += 1;
                continue;
            };
            let is_whole_log = done.spans.is_none() && !done.is_rolled_back;
            self.is_journal_suspect |= done.class == FaultClass::Detected && is_whole_log;
            rolled_back |= done.is_rolled_back;
            self.note_damage(done.class, done.spans);
        }
        if let Some((_, ends)) = self.image.as_ref().filter(|_| rolled_back) {
            // All that came later is gone, and no log could tell.
            let known =
                |key: &Key| ends.iter().find(|(of, _)| of == key).map_or(0, |(_, end)| *end);
            let keys = self.stage.memory.keys();
            let tails = keys.into_iter().map(|key| (known(&key), key));
            self.rolled_back_to = tails.map(|(end, key)| (key, end)).collect();
        }
    }
}
