//! An end to applications that have none.

use crate::clock::SimClock;
use merkql::env::{Clock, Signal};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often a life may look at the clock, act or begin to open the log.
const ASKED_MAX: u64 = 200_000;

/// The machine's clock as the log sees it, which nothing that goes round in
/// circles (a poll that finds nothing, a send that fails for ever) can avoid.
#[derive(Debug)]
pub(super) struct Patience {
    clock: Arc<SimClock>,
    asked: AtomicU64,
}

impl Patience {
    pub(super) fn new(clock: Arc<SimClock>) -> Self {
        Self { clock, asked: AtomicU64::new(0) }
    }

    /// Counts something that a life does. Panics when it is too much, once: what
    /// is dropped on the way out is not to panic again.
    pub(super) fn ask(&self) {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        assert!(asked != ASKED_MAX, "the application does not end");
    }

    /// Whether it was too much.
    pub(super) fn is_over(&self) -> bool {
        self.asked.load(Ordering::Relaxed) > ASKED_MAX
    }

    /// Begins anew.
    pub(super) fn restore(&self) {
        self.asked.store(0, Ordering::Relaxed);
    }
}

impl Clock for Patience {
    fn wall(&self) -> Duration {
        self.ask();
        self.clock.wall()
    }

    fn monotonic(&self) -> Duration {
        self.ask();
        self.clock.monotonic()
    }

    fn wait(&self, signal: &Signal, seen: u64, deadline: Duration) -> bool {
        self.ask();
        self.clock.wait(signal, seen, deadline)
    }
}
