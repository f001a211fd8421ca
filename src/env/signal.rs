//! An event counter that a clock can wait on.

use crate::sync::{Condvar, Mutex, lock};
use std::time::Duration;

/// Counts events (a record became readable, somebody called a wakeup).
///
/// A waiter reads [`Signal::count`], looks for what it wants, and if it is not
/// there waits for the count to move on. Nothing is missed in between.
#[derive(Debug, Default)]
pub struct Signal {
    count: Mutex<u64>,
    moved: Condvar,
}

impl Signal {
    /// A signal that has counted nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many events were counted so far.
    pub fn count(&self) -> u64 {
        *lock(&self.count)
    }

    /// Counts one event and wakes everybody who waits.
    pub fn notify(&self) {
        *lock(&self.count) += 1;
        self.moved.notify_all();
    }

    /// Blocks the thread until the count is past `seen` or `timeout` of real
    /// time has gone by; returns whether it is. Only a clock of real time calls
    /// this: everybody else waits through [`crate::env::Clock::wait`].
    pub fn block(&self, seen: u64, timeout: Duration) -> bool {
        let guard = lock(&self.count);
        let (guard, _) = self
            .moved
            .wait_timeout_while(guard, timeout, |count| *count <= seen)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *guard > seen
    }
}
