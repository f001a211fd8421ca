//! The machine on which the application lives.

use super::life::{Act, Event, merge};
use super::patience::Patience;
use super::plan::{ActPhase, Moment};
use crate::clock::SimClock;
use crate::disk::{CrashPoint, SimDisk};
use crate::probe::SimProbe;
use crate::random::garbage;
use merkql::broker::BrokerConfig;
use merkql::env::Entropy;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Where the log is.
pub(super) const DATA_DIR: &str = "/app/log";

/// How long the machine is down between two lives.
const DOWNTIME: Duration = Duration::from_secs(1);

/// The machine has died, and nothing can be done on it any more. The application
/// passes it on, as any other error, and is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dead;

impl fmt::Display for Dead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the machine is dead")
    }
}

impl Error for Dead {}

/// What one life of the application is given: a disk and a clock, through
/// [`Machine::config`], and the world outside, through [`Machine::act`].
///
/// The disk loses in a crash what crashes lose. The world outside, of the type
/// `S`, is untouched by them, as a mail that was sent stays sent.
pub struct Machine<S> {
    disk: SimDisk,
    clock: Arc<SimClock>,
    patience: Arc<Patience>,
    entropy: Arc<Nonces>,
    outside: Mutex<S>,
    life: Mutex<Life>,
}

/// What the machine keeps about the life that runs on it.
#[derive(Default)]
struct Life {
    /// The disk's count of changes when it began, and of operations.
    first_change: u64,
    first_op: u64,
    acts: Vec<Act>,
    /// The act at which it is to die.
    crash: Option<(Act, ActPhase)>,
    probe: Arc<SimProbe>,
}

/// How a life looked from outside.
#[derive(Debug, Clone)]
pub(super) struct Lived {
    pub(super) events: Vec<Event>,
    /// How many operations of the disk there were, reads among them.
    pub(super) io_ops: u64,
    /// Whether it ended within a recovery of the log.
    pub(super) in_recovery: bool,
}

impl<S> fmt::Debug for Machine<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("dead", &self.is_dead()).finish_non_exhaustive()
    }
}

impl<S> Machine<S> {
    pub(super) fn new(outside: S) -> Self {
        let disk = SimDisk::new();
        let clock = Arc::new(SimClock::new());
        disk.set_clock(Arc::clone(&clock));
        disk.record_trace();
        Self {
            disk,
            patience: Arc::new(Patience::new(Arc::clone(&clock))),
            clock,
            entropy: Arc::new(Nonces::default()),
            outside: Mutex::new(outside),
            life: Mutex::new(Life::default()),
        }
    }

    /// How to open the log on this machine: its directory, file system, clock and
    /// randomness are set, and its files are so small that they are full, rolled
    /// and checkpointed within a few records. Everything else may be changed.
    pub fn config(&self) -> BrokerConfig {
        self.patience.ask();
        BrokerConfig {
            journal_initial_bytes: 8192,
            journal_max_bytes: 16384,
            segment_bytes: 2048,
            index_interval_bytes: 64,
            max_open_files: 8,
            file_system: Arc::new(self.disk.process()),
            clock: self.patience.clone(),
            entropy: self.entropy.clone(),
            probe: self.life().probe.clone(),
            ..BrokerConfig::new(DATA_DIR)
        }
    }

    /// The machine's clock. It moves when somebody waits on it or advances it,
    /// and by a second while the machine is down.
    pub fn clock(&self) -> &Arc<SimClock> {
        &self.clock
    }

    /// The machine's random bytes: the same ones in every run.
    pub fn entropy(&self) -> Arc<dyn Entropy> {
        self.entropy.clone()
    }

    /// Does something to the world outside, or asks it something. The machine may
    /// die right before it or right after, and then the application does not learn
    /// whether it has happened.
    ///
    /// Acts of different meaning have different names: stories are told by them.
    pub fn act<R>(&self, name: &str, effect: impl FnOnce(&mut S) -> R) -> Result<R, Dead> {
        self.patience.ask();
        if self.is_dead() {
            return Err(Dead);
        }
        let dies = self.note(name);
        if dies == Some(ActPhase::Before) {
            self.disk.crash_now();
            return Err(Dead);
        }
        let result = effect(&mut self.outside());
        if dies == Some(ActPhase::After) {
            self.disk.crash_now();
            return Err(Dead);
        }
        Ok(result)
    }

    /// A place of its own at which the machine may die: an act that does nothing.
    pub fn step(&self, name: &str) -> Result<(), Dead> {
        self.act(name, |_| ())
    }

    /// Whether the machine has died.
    pub fn is_dead(&self) -> bool {
        self.disk.is_dead()
    }

    /// Whether the life was stopped because it would have gone on for ever.
    pub(super) fn is_endless(&self) -> bool {
        self.patience.is_over()
    }

    pub(super) fn disk(&self) -> &SimDisk {
        &self.disk
    }

    pub(super) fn outside(&self) -> MutexGuard<'_, S> {
        self.outside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an act, and tells whether the machine dies at it.
    fn note(&self, name: &str) -> Option<ActPhase> {
        let mut life = self.life();
        let nth = life.acts.iter().filter(|act| act.name == name).count() as u64;
        let change = self.disk.changes() - life.first_change;
        let act = Act { name: name.to_owned(), nth, change };
        let crash = life.crash.as_ref();
        let dies = crash.filter(|(at, _)| at.name == act.name && at.nth == act.nth);
        let dies = dies.map(|(_, phase)| *phase);
        life.acts.push(act);
        dies
    }

    /// Begins a life, which dies at `at` if it gets there.
    pub(super) fn begin(&self, at: Option<&Moment>) {
        self.patience.restore();
        let mut life = Life {
            first_change: self.disk.changes(),
            first_op: self.disk.io_ops(),
            ..Life::default()
        };
        match at {
            Some(&Moment::Disk { change, phase }) => {
                let change = life.first_change.saturating_add(change);
                self.disk.crash_at(CrashPoint { change, phase });
            }
            Some(Moment::Act { name, nth, phase }) => {
                let act = Act { name: name.clone(), nth: *nth, change: 0 };
                life.crash = Some((act, *phase));
            }
            None => {}
        }
        *self.life() = life;
    }

    /// Ends the life: afterwards nothing that it was to die of is left.
    pub(super) fn end(&self) -> Lived {
        let life = std::mem::take(&mut *self.life());
        let marks = life.probe.marks();
        let reached = |mark: &str| marks.get(mark).copied().unwrap_or_default();
        Lived {
            events: merge(life.acts, self.disk.take_trace(), life.first_change),
            io_ops: self.disk.io_ops() - life.first_op,
            in_recovery: reached("recovery.begun") > reached("recovery.complete"),
        }
    }

    /// What happens between two lives.
    pub(super) fn stay_down(&self) {
        self.clock.advance(DOWNTIME);
    }
}

/// Bytes that never repeat within a run and are the same in each, whatever
/// becomes of the random generator: a plan has to outlive it.
#[derive(Debug, Default)]
struct Nonces(Mutex<u64>);

impl Entropy for Nonces {
    fn fill(&self, buf: &mut [u8]) -> io::Result<()> {
        let mut drawn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *drawn += 1;
        buf.copy_from_slice(&garbage(*drawn << 32, buf.len()));
        Ok(())
    }
}
