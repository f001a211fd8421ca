//! The simulated disk.
//!
//! A file is an inode apart from its names. Of each file and each directory
//! there is what the disk has, what the cache shows, and the list of changes in
//! between, which a sync makes durable and of which a power cut keeps some. Which
//! ones is not drawn in here: [`SimDisk::unsynced`] lists them, a
//! [`crate::profile::Profile`] or a test chooses, and [`SimDisk::power_cut`]
//! takes the choice as a list.
//!
//! A program sees the disk through [`SimDisk::process`]. From a crash on, every
//! call of that process fails, its handles are worthless and its locks free; the
//! next [`SimDisk::process`] is another.

mod damage;
mod dir_node;
mod file_node;
mod gate;
mod handle;
mod likeness;
mod limits;
mod power;
mod process;
mod state;
mod survivors;
mod syncs;
mod trace;
mod unsynced;

pub use damage::{Damage, Image};
pub use gate::{CrashArm, CrashPhase, CrashPoint, IoPoint};
#[cfg(feature = "world")]
pub(crate) use handle::UNREADABLE;
pub use limits::Limits;
pub use process::SimProcess;
pub use survivors::{Filling, Kept, Survivors};
pub use trace::{Digest, IoEvent};
pub use unsynced::{Change, Unsynced, What};

use crate::clock::SimClock;
use crate::fault::{Arm, Counts, FaultId, FaultKind};
use gate::Hook;
use serde::{Deserialize, Serialize};
use state::State;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A file or a directory, whatever its names are. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InodeId(pub u64);

/// A changing operation, by its number on its disk. In a run that is repeated
/// the same operation has the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OpId(pub u64);

/// A disk. Clones are the same one; [`SimDisk::fork`] makes another.
#[derive(Clone, Default)]
pub struct SimDisk {
    shared: Arc<Shared>,
}

#[derive(Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    hook: Mutex<Option<Hook>>,
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn hook(&self) -> MutexGuard<'_, Option<Hook>> {
        self.hook.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").finish_non_exhaustive()
    }
}

impl SimDisk {
    /// An empty disk with a root directory.
    pub fn new() -> Self {
        Self::default()
    }

    /// The process that runs now, as the file system that it sees.
    pub fn process(&self) -> SimProcess {
        let incarnation = self.shared.state().incarnation;
        SimProcess { shared: Arc::clone(&self.shared), incarnation }
    }

    /// A copy, as it would be if the process were killed now. What was armed is
    /// not armed there, and nobody listens.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut state = self.shared.state().clone();
        state.kill();
        state.crash = None;
        state.crash_arms.clear();
        state.plan.disarm_all();
        let shared = Shared { state: Mutex::new(state), hook: Mutex::new(None) };
        Self { shared: Arc::new(shared) }
    }

    /// Kills the process (R1): what it has written stays, synced or not.
    pub fn kill(&self) {
        let mut state = self.shared.state();
        let id = state.plan.happened(FaultKind::ProcessKill);
        state.kill();
        state.to_be_met.push(id);
    }

    /// Cuts the power (R2 to R7): of what was not synced, `survivors` are left.
    /// What they name and the disk does not know is passed over.
    pub fn power_cut(&self, survivors: &Survivors) {
        self.shared.state().power_cut(survivors);
    }

    /// Makes the process die at an operation to come. Then [`SimDisk::kill`] or
    /// [`SimDisk::power_cut`] says what kind of death it was.
    pub fn crash_at(&self, point: CrashPoint) {
        self.shared.state().crash = Some(point);
    }

    /// Makes the process, or one after it, die at an operation to come that fits.
    /// Several can wait, each counts for itself, and none is forgotten when the
    /// process dies by another.
    pub fn crash_when(&self, arm: CrashArm) {
        self.shared.state().crash_arms.push(arm);
    }

    /// The number of the [`CrashArm`] that the last death came from; asking
    /// forgets it.
    pub fn died_by(&self) -> Option<u32> {
        self.shared.state().died_by.take()
    }

    /// Makes the process die now, between two operations. Then, as after
    /// [`SimDisk::crash_at`], something has to say what kind of death it was.
    pub fn crash_now(&self) {
        self.shared.state().dead = true;
    }

    /// Whether the crash that was asked for has come.
    pub fn is_dead(&self) -> bool {
        self.shared.state().dead
    }

    /// What a power cut would put at stake now.
    pub fn unsynced(&self) -> Unsynced {
        self.shared.state().unsynced()
    }

    /// Makes a fault ready. Returns nothing if it cannot happen to such operations.
    pub fn arm(&self, arm: Arm) -> Option<FaultId> {
        self.shared.state().plan.arm(arm)
    }

    /// Counts a fault that the harness itself has done, and that is met by the
    /// next operation: a crash in recovery, say.
    pub fn note_fault(&self, kind: FaultKind) -> FaultId {
        let mut state = self.shared.state();
        let id = state.plan.happened(kind);
        state.to_be_met.push(id);
        id
    }

    /// Lets no armed fault and no armed crash happen any more, and no sync tell
    /// what went wrong at an earlier one.
    pub fn disarm_all(&self) {
        let mut state = self.shared.state();
        state.forget_errors_to_tell();
        state.plan.disarm_all();
        state.crash_arms.clear();
    }

    /// Whether a fault has happened.
    pub fn has_fired(&self, fault: FaultId) -> bool {
        self.shared.state().plan.has_fired(fault)
    }

    /// The faults that have left damage behind since the last call.
    #[cfg(feature = "world")]
    pub(crate) fn take_hits(&self) -> Vec<crate::fault::FaultHit> {
        self.shared.state().plan.take_hits()
    }

    /// What became of the faults so far.
    pub fn fault_counts(&self) -> BTreeMap<FaultKind, Counts> {
        self.shared.state().plan.counts()
    }

    /// Sets how much the disk and the process can hold.
    pub fn set_limits(&self, limits: Limits) {
        self.shared.state().limits = limits;
    }

    /// The clock that [`crate::fault::Fault::Stall`] moves.
    pub fn set_clock(&self, clock: Arc<SimClock>) {
        self.shared.state().clock = Some(clock);
    }

    /// Calls `hook` from within every write and every sync, before it takes
    /// effect: a read-only client that runs in there sees what other threads and
    /// processes could see at that moment. Its own calls don't call it again.
    pub fn set_hook(&self, hook: impl Fn(&IoPoint) + Send + Sync + 'static) {
        *self.shared.hook() = Some(Arc::new(hook));
    }

    /// Calls nobody any more.
    pub fn clear_hook(&self) {
        *self.shared.hook() = None;
    }

    /// How many operations there were.
    pub fn io_ops(&self) -> u64 {
        self.shared.state().io_ops
    }

    /// How many of them can have changed something; the next one's [`OpId`].
    pub fn changes(&self) -> u64 {
        self.shared.state().changes
    }

    /// How many file handles the process has.
    pub fn open_handles(&self) -> u64 {
        self.shared.state().handles()
    }

    /// A number that follows from every operation so far and what came of it.
    pub fn trace_digest(&self) -> u64 {
        self.shared.state().trace.digest()
    }

    /// Begins to keep every operation for [`SimDisk::take_trace`].
    pub fn record_trace(&self) {
        self.shared.state().trace.record();
    }

    /// The operations since [`SimDisk::record_trace`] or the last call.
    pub fn take_trace(&self) -> Vec<IoEvent> {
        self.shared.state().trace.take()
    }
}
