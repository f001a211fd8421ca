//! The gate that every operation goes through: is the process alive, does it
//! die here, does a fault happen, what is noted.

use super::Shared;
use super::limits::too_many_open_files;
use super::state::State;
use super::trace::IoEvent;
use crate::fault::matches;
use crate::fault::{Fault, FaultId, OpKind};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;

/// Called from within writes and syncs.
pub(crate) type Hook = Arc<dyn Fn(&IoPoint) + Send + Sync>;

/// An operation that is about to take effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoPoint {
    /// What it is.
    pub on: OpKind,
    /// On which path.
    pub path: String,
}

/// Where a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CrashPoint {
    /// At which of the operations that can change something, counted from 0.
    pub change: u64,
    /// At what point of it.
    pub phase: CrashPhase,
}

/// Where a process dies, by meaning: at an operation of this kind on such a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrashArm {
    /// What [`super::SimDisk::died_by`] calls it.
    pub id: u32,
    /// The operation; any that can change something if `None`.
    pub on: Option<OpKind>,
    /// On which path: `*` stands for any characters, also none.
    pub path: String,
    /// How many of such operations it lets pass.
    pub skip: u64,
    /// At what point of the operation.
    pub phase: CrashPhase,
}

/// How far the operation at which a process dies has come. In no case does the
/// process learn what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CrashPhase {
    /// It has done nothing.
    Before,
    /// A write or an allocation has taken at most so many bytes; anything else
    /// has done nothing.
    Partly(u64),
    /// It has done all.
    After,
}

/// An operation, as it is asked for.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) on: OpKind,
    pub(crate) path: &'a str,
    pub(crate) position: u64,
    pub(crate) len: u64,
    /// What is to be written.
    pub(crate) content: &'a [u8],
}

impl<'a> Request<'a> {
    pub(crate) fn new(on: OpKind, path: &'a str) -> Self {
        Self { on, path, position: 0, len: 0, content: &[] }
    }
}

/// An operation that goes ahead, with what is to become of it.
#[derive(Debug, Default)]
pub(crate) struct Go {
    /// It is to take no more bytes than this.
    pub(crate) bytes_max: Option<u64>,
    /// A fault that is a matter of the operation itself.
    pub(crate) fault: Option<(FaultId, Fault)>,
}

impl Go {
    /// How many bytes of those offered are to be taken.
    pub(crate) fn take<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let max = self.bytes_max.and_then(|max| usize::try_from(max).ok()).unwrap_or(usize::MAX);
        bytes.get(..max).unwrap_or(bytes)
    }
}

/// What an operation returns, as a number for the trace.
pub(crate) trait Counted {
    fn count(&self) -> u64;
}

impl Counted for () {
    fn count(&self) -> u64 {
        0
    }
}

impl Counted for u64 {
    fn count(&self) -> u64 {
        *self
    }
}

impl Counted for usize {
    fn count(&self) -> u64 {
        *self as u64
    }
}

impl Counted for super::InodeId {
    fn count(&self) -> u64 {
        self.0
    }
}

impl<T> Counted for Vec<T> {
    fn count(&self) -> u64 {
        self.len() as u64
    }
}

impl Shared {
    /// Carries out an operation of a process, or lets it fail.
    pub(crate) fn io<T: Counted>(
        &self,
        incarnation: u64,
        request: &Request<'_>,
        body: impl FnOnce(&mut State, &Go) -> io::Result<T>,
    ) -> io::Result<T> {
        self.call_hook(incarnation, request);
        let mut state = self.state();
        if state.dead || state.incarnation != incarnation {
            return Err(dead());
        }
        for met in std::mem::take(&mut state.to_be_met) {
            state.plan.mattered(met);
        }
        let index = state.io_ops;
        state.io_ops += 1;
        let change = request.on.changes().then_some(state.changes);
        let outcome = match state.due_crash(request, change) {
            Some(phase) => die(&mut state, request, phase, body),
            None => carry_out(&mut state, request, body),
        };
        state.changes += u64::from(change.is_some());
        let event = IoEvent {
            index,
            change,
            on: request.on,
            path: request.path.to_owned(),
            position: request.position,
            len: request.len,
            outcome: outcome.as_ref().map(Counted::count).map_err(io::Error::kind),
            fault: state.struck.take(),
        };
        state.trace.note(&event, request.content);
        outcome
    }

    /// Calls the hook, if there is one and the operation is one for it.
    fn call_hook(&self, incarnation: u64, request: &Request<'_>) {
        let calls = matches!(
            request.on,
            OpKind::WriteAt | OpKind::Allocate | OpKind::SyncData | OpKind::SyncDir
        );
        let Some(hook) = self.hook().clone().filter(|_| calls) else { return };
        let mut state = self.state();
        if state.dead || state.in_hook || state.incarnation != incarnation {
            return;
        }
        state.in_hook = true;
        drop(state);
        hook(&IoPoint { on: request.on, path: request.path.to_owned() });
        self.state().in_hook = false;
    }
}

impl State {
    /// Whether the process is to die at this operation, and at what point of it.
    fn due_crash(&mut self, request: &Request<'_>, change: Option<u64>) -> Option<CrashPhase> {
        let change = change?;
        let mut due = None;
        for arm in &mut self.crash_arms {
            let fits = arm.on.is_none_or(|on| on == request.on) && matches(&arm.path, request.path);
            match (fits, arm.skip) {
                (false, _) => {}
                (true, 0) => due = due.or(Some((arm.id, arm.phase))),
                // Each counts what it waits for, whether or not another is due.
                (true, _) => arm.skip -= 1,
            }
        }
        if let Some((id, phase)) = due {
            self.crash_arms.retain(|arm| arm.id != id);
            self.died_by = Some(id);
            return Some(phase);
        }
        self.crash.filter(|point| change >= point.change).map(|point| point.phase)
    }
}

fn die<T>(
    state: &mut State,
    request: &Request<'_>,
    phase: CrashPhase,
    body: impl FnOnce(&mut State, &Go) -> io::Result<T>,
) -> io::Result<T> {
    let takes_bytes = matches!(request.on, OpKind::WriteAt | OpKind::Allocate);
    match phase {
        CrashPhase::After => drop(body(state, &Go::default())),
        CrashPhase::Partly(bytes) if takes_bytes && bytes > 0 => {
            drop(body(state, &Go { bytes_max: Some(bytes), fault: None }));
        }
        CrashPhase::Before | CrashPhase::Partly(_) => {}
    }
    state.dead = true;
    Err(dead())
}

fn carry_out<T>(
    state: &mut State,
    request: &Request<'_>,
    body: impl FnOnce(&mut State, &Go) -> io::Result<T>,
) -> io::Result<T> {
    let Some((id, fault)) = state.plan.take(request.on, request.path) else {
        return body(state, &Go::default());
    };
    state.struck = Some(id);
    match &fault {
        Fault::Stall(_) => {
            if let (Some(clock), Some(by)) = (&state.clock, fault.stall()) {
                clock.advance(by);
            }
            state.plan.mattered(id);
            body(state, &Go::default())
        }
        Fault::Short(bytes) => {
            if *bytes < request.len {
                state.plan.mattered(id);
            }
            body(state, &Go { bytes_max: Some((*bytes).max(1)), fault: None })
        }
        Fault::IoError { after_bytes } | Fault::DiskFull { after_bytes } => {
            state.plan.mattered(id);
            if *after_bytes > 0 && matches!(request.on, OpKind::WriteAt | OpKind::Allocate) {
                drop(body(state, &Go { bytes_max: Some(*after_bytes), fault: None })?);
            }
            Err(error_of(&fault))
        }
        Fault::Interrupted | Fault::LockHeld => {
            state.plan.mattered(id);
            Err(error_of(&fault))
        }
        Fault::TooManyOpenFiles => {
            state.plan.mattered(id);
            Err(too_many_open_files())
        }
        Fault::FailedSync(_) => {
            state.plan.mattered(id);
            body(state, &Go { bytes_max: None, fault: Some((id, fault.clone())) })?;
            Err(error_of(&fault))
        }
        _ => body(state, &Go { bytes_max: None, fault: Some((id, fault)) }),
    }
}

/// The error of a fault that shows as one.
fn error_of(fault: &Fault) -> io::Error {
    let kind = fault.error_kind().unwrap_or(io::ErrorKind::Other);
    io::Error::new(kind, "simulated fault")
}

/// What every call of a process that is dead gets.
pub(crate) fn dead() -> io::Error {
    io::Error::other("the process is dead")
}
