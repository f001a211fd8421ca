//! What stands around one process after the other: the disk, the clock, the
//! record of what was done.

use super::addresses::Addresses;
use super::damages::Damages;
use super::paths::{DATA_DIR, pattern};
use super::{Manner, paths};
use crate::canary::{Canary, Written};
use crate::client::memory::Memory;
use crate::client::recorder::Recorder;
use crate::clock::SimClock;
use crate::disk::{CrashArm, IoEvent, Limits, SimDisk, Survivors, Unsynced};
use crate::entropy::SimEntropy;
use crate::fault::{Arm, Fault, FaultId};
use crate::probe::SimProbe;
use crate::random::stream;
use crate::scenario::{Blow, Death, During, Keeps, Scenario, Settings, Strike};
use merkql::broker::BrokerConfig;
use merkql::compression::Compression;
use merkql::env::FileSystem;
use merkql::topic::RetentionConfig;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How much time passes between two steps.
const STEP: Duration = Duration::from_millis(1);

/// The disk, the clock and the strikes that are still to come.
pub(crate) struct Stage<'s> {
    pub(crate) scenario: &'s Scenario,
    pub(crate) disk: SimDisk,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) probe: Arc<SimProbe>,
    entropy: Arc<SimEntropy>,
    pub(crate) recorder: Recorder,
    pub(crate) memory: Arc<Memory>,
    pub(crate) damages: Arc<Damages>,
    /// Where each stretch begins.
    pub(crate) stretches: Vec<(During, u64)>,
    /// Where they begin in the history.
    pub(crate) stretch_lines: Vec<usize>,
    /// Every operation on files is kept.
    pub(crate) keeps_events: bool,
    pub(crate) armed: Vec<(u32, FaultId)>,
    /// Strikes that were crashes, and came.
    crashed: BTreeSet<u32>,
    events: Vec<IoEvent>,
    canary: Option<Canary>,
    /// What a planted bug of the disk remembers when the process dies.
    written: Arc<Written>,
}

impl<'s> Stage<'s> {
    pub(crate) fn new(scenario: &'s Scenario, manner: &Manner) -> Self {
        let disk = SimDisk::new();
        let clock = Arc::new(SimClock::new());
        disk.set_clock(Arc::clone(&clock));
        // Without the operations nobody could tell which of them an address means.
        let is_listed = |death: &Death| matches!(death, Death::Power(Keeps::These(_)));
        let listed = scenario.deaths().any(is_listed);
        let keeps_events = manner.keeps_events || listed;
        if keeps_events {
            disk.record_trace();
        }
        let planted = manner.canary.and_then(Canary::in_core);
        let damages = Arc::new(Damages::new(disk.clone()));
        let recorder = Recorder::new(clock.clone());
        if scenario.leaves_damage() {
            let damages = Arc::clone(&damages);
            recorder.watch(move || damages.of_strikes());
        }
        Self {
            scenario,
            disk,
            probe: Arc::new(SimProbe::with_canaries(planted)),
            entropy: Arc::new(SimEntropy::new(scenario.settings.entropy_seed)),
            recorder,
            damages,
            clock,
            memory: Arc::default(),
            stretches: Vec::new(),
            stretch_lines: Vec::new(),
            keeps_events,
            armed: Vec::new(),
            crashed: BTreeSet::new(),
            events: Vec::new(),
            canary: manner.canary,
            written: Arc::default(),
        }
    }

    /// Lets time pass, here and on madsim's clock, which follows.
    pub(crate) async fn pass(&self, by: Duration) {
        use merkql::env::Clock;
        self.clock.advance(by);
        let behind =
            self.clock.monotonic().saturating_sub(madsim::time::TimeHandle::current().elapsed());
        madsim::time::sleep(behind).await;
    }

    /// Begins a stretch, and arms the strikes that are addressed from it on.
    pub(crate) fn enter(&mut self, during: During) {
        self.stretches.push((during, self.disk.io_ops()));
        self.stretch_lines.push(self.recorder.len());
        let scenario = self.scenario;
        for strike in scenario.strikes.iter().filter(|strike| strike.at.during == during) {
            self.arm(strike);
        }
    }

    fn arm(&mut self, strike: &Strike) {
        let path = pattern(&strike.at.file);
        match &strike.what {
            Blow::Crash { phase, .. } => {
                let (id, on, skip) = (strike.id, strike.at.on, strike.at.nth);
                self.disk.crash_when(CrashArm { id, on, path, skip, phase: *phase });
            }
            Blow::Fault { fault, times } => {
                // What a fault can happen to is part of its name, so it has to be said.
                let Some(on) = strike.at.on else { return };
                let fault = placed(fault);
                let arm = Arm { fault, on, path, skip: strike.at.nth, times: *times };
                if let Some(id) = self.disk.arm(arm) {
                    self.armed.push((strike.id, id));
                }
            }
        }
    }

    pub(crate) fn note_crash(&mut self, id: u32) {
        self.crashed.insert(id);
    }

    /// The strikes that have struck.
    pub(crate) fn struck(&self) -> BTreeSet<u32> {
        let fired = self.armed.iter().filter(|(_, fault)| self.disk.has_fired(*fault));
        fired.map(|(id, _)| *id).chain(self.crashed.iter().copied()).collect()
    }

    /// How the log is opened.
    pub(crate) fn config(&self, retention_records: u64) -> BrokerConfig {
        let Settings { segment_bytes, index_interval_bytes, .. } = self.scenario.settings;
        let settings = &self.scenario.settings;
        let max_records = Some(retention_records).filter(|records| *records > 0);
        let process: Arc<dyn FileSystem> = Arc::new(self.disk.process());
        BrokerConfig {
            compression: if settings.lz4 { Compression::Lz4 } else { Compression::None },
            default_retention: RetentionConfig { max_records },
            auto_create_topics: false,
            segment_bytes,
            index_interval_bytes,
            journal_initial_bytes: settings.journal_initial_bytes,
            journal_max_bytes: settings.journal_max_bytes,
            max_open_files: settings.max_open_files,
            max_poll_bytes: settings.max_poll_bytes,
            file_system: match self.canary {
                Some(canary) => canary.around(process, &self.written),
                None => process,
            },
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            probe: self.probe.clone(),
            ..BrokerConfig::new(DATA_DIR)
        }
    }

    /// What a power cut keeps.
    pub(crate) fn survivors(&mut self, keeps: &Keeps, unsynced: &Unsynced) -> Survivors {
        match keeps {
            Keeps::All => Survivors::all(unsynced),
            Keeps::Nothing => Survivors::none(),
            Keeps::Drawn { profile, seed } => {
                profile.draw(unsynced, &mut stream(*seed, "survivors"))
            }
            Keeps::These(parts) => {
                let (events, stretches) = self.events();
                Addresses::new(events, stretches).survivors(parts, unsynced)
            }
        }
    }

    /// The operations so far, if they are kept, and where the stretches begin.
    pub(crate) fn events(&mut self) -> (&[IoEvent], &[(During, u64)]) {
        self.events.extend(self.disk.take_trace());
        (&self.events, &self.stretches)
    }

    pub(crate) fn take_events(&mut self) -> Vec<IoEvent> {
        self.events();
        std::mem::take(&mut self.events)
    }

    /// Limits the disk to what it holds and so much more.
    pub(crate) fn limit_room(&self, limits: &mut Limits, bytes: Option<u64>) {
        limits.disk_bytes = bytes.map(|bytes| self.disk.bytes_taken() + bytes);
        self.disk.set_limits(*limits);
    }

    /// Time between two steps.
    pub(crate) async fn next(&self) {
        self.pass(STEP).await;
    }
}

/// The path of a misdirected write is below the log's directory in a scenario.
fn placed(fault: &Fault) -> Fault {
    match fault {
        Fault::MisdirectedWrite { path, position } => {
            let path = path.as_ref().map(|path| format!("{}{path}", paths::LOG));
            Fault::MisdirectedWrite { path, position: *position }
        }
        fault => fault.clone(),
    }
}
