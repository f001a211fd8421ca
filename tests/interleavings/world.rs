//! The disk, the clock and the randomness of one schedule, all drawn from it.

use merkql::broker::BrokerConfig;
use merkql::env::{Clock, Signal};
use merkql_sim::clock::SimClock;
use merkql_sim::disk::{CrashPhase, CrashPoint, SimDisk};
use merkql_sim::entropy::SimEntropy;
use merkql_sim::profile::Profile;
use merkql_sim::random::{Stream, stream};
use rand::RngExt;
use shuttle::rand::RngCore;
use shuttle::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// The process dies within so many changes of the disk, or lives to the power cut.
const CHANGES_UNTIL_CRASH: u64 = 60;

/// A clock on which waiting is waiting: nothing but the signal ends it. So a
/// wakeup that gets lost is a deadlock, and the scheduler tells of it.
#[derive(Debug)]
struct PatientClock(SimClock);

impl Clock for PatientClock {
    fn wall(&self) -> Duration {
        self.0.wall()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn wait(&self, signal: &Signal, seen: u64, _deadline: Duration) -> bool {
        signal.block(seen, Duration::MAX)
    }
}

/// What a broker of this schedule runs on.
pub(crate) struct World {
    pub(crate) disk: SimDisk,
    clock: Arc<dyn Clock>,
    entropy: Arc<SimEntropy>,
    seed: u64,
}

impl World {
    /// A world in which a wait that meets nothing takes no real time: the clock
    /// goes on to its end.
    pub(crate) fn impatient() -> Self {
        Self::new(Arc::new(SimClock::new()))
    }

    /// A world in which a wait ends when it is woken up.
    pub(crate) fn patient() -> Self {
        Self::new(Arc::new(PatientClock(SimClock::new())))
    }

    fn new(clock: Arc<dyn Clock>) -> Self {
        let seed = shuttle::rand::thread_rng().next_u64();
        let disk = SimDisk::new();
        // Another thread may run before each write and each sync.
        let turn = AtomicBool::new(false);
        disk.set_hook(move |_| {
            let _ = turn.load(Ordering::SeqCst);
        });
        Self { disk, clock, entropy: Arc::new(SimEntropy::new(seed)), seed }
    }

    /// The random numbers of one concern.
    pub(crate) fn stream(&self, concern: &str) -> Stream {
        stream(self.seed, concern)
    }

    /// Sizes so small that journal files, segments and handles change often.
    pub(crate) fn config(&self) -> BrokerConfig {
        BrokerConfig {
            journal_initial_bytes: 8192,
            journal_max_bytes: 16384,
            segment_bytes: 512,
            index_interval_bytes: 64,
            max_open_files: 8,
            file_system: Arc::new(self.disk.process()),
            clock: Arc::clone(&self.clock),
            entropy: self.entropy.clone(),
            ..BrokerConfig::new("/log")
        }
    }

    /// From here on the process may die at any operation.
    pub(crate) fn let_it_crash(&self) {
        let mut random = self.stream("crash");
        if random.random_bool(0.25) {
            return;
        }
        let change = self.disk.changes() + random.random_range(0..CHANGES_UNTIL_CRASH);
        let phase = match random.random_range(0..3) {
            0 => CrashPhase::Before,
            1 => CrashPhase::Partly(random.random_range(0..4096)),
            _ => CrashPhase::After,
        };
        self.disk.crash_at(CrashPoint { change, phase });
    }

    /// From here on it dies no more.
    pub(crate) fn let_it_live(&self) {
        self.disk.crash_at(CrashPoint { change: u64::MAX, phase: CrashPhase::Before });
    }

    /// Cuts the power: of what was not synced, the disk keeps what it likes.
    pub(crate) fn cut_power(&self) {
        let mut random = self.stream("survivors");
        let profile = Profile::HONEST[random.random_range(0..Profile::HONEST.len())];
        self.disk.power_cut(&profile.draw(&self.disk.unsynced(), &mut random));
    }
}
