//! An event counter that a clock can wait on, and that wakes futures.

use crate::sync::{Condvar, Mutex, lock};
use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;

/// Counts events (a record became readable, somebody called a wakeup).
///
/// A waiter reads [`Signal::count`], looks for what it wants, and if it is not
/// there waits for the count to move on. Nothing is missed in between. A future
/// does the same, and leaves a waker ([`Signal::register`]) in place of waiting.
#[derive(Debug, Default)]
pub struct Signal {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct State {
    count: u64,
    registered: u64,
    wakers: BTreeMap<u64, Waker>,
}

/// Names a waker that was left with a [`Signal`].
#[derive(Debug, PartialEq, Eq)]
pub struct Registration(u64);

impl Signal {
    /// A signal that has counted nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many events were counted so far.
    pub fn count(&self) -> u64 {
        lock(&self.state).count
    }

    /// Counts one event and wakes everybody who waits.
    pub fn notify(&self) {
        let wakers = {
            let mut state = lock(&self.state);
            state.count += 1;
            std::mem::take(&mut state.wakers)
        };
        self.moved.notify_all();
        // Not under the lock: a waker may be anybody's code.
        for waker in wakers.into_values() {
            waker.wake();
        }
    }

    /// Leaves a waker, which the next event uses up. `None` if the count is past
    /// `seen` already: then there is something to look at, and nothing to wait for.
    pub fn register(&self, seen: u64, waker: &Waker) -> Option<Registration> {
        let mut state = lock(&self.state);
        if state.count > seen {
            return None;
        }
        state.registered += 1;
        let id = state.registered;
        state.wakers.insert(id, waker.clone());
        Some(Registration(id))
    }

    /// Takes a waker back, if no event has used it up.
    pub fn deregister(&self, registration: &Registration) {
        let waker = lock(&self.state).wakers.remove(&registration.0);
        // Dropped here and not under the lock, for the same reason.
        drop(waker);
    }

    /// Blocks the thread until the count is past `seen` or `timeout` of real
    /// time has gone by; returns whether it is. Only a clock of real time calls
    /// this: everybody else waits through [`crate::env::Clock::wait`].
    pub fn block(&self, seen: u64, timeout: Duration) -> bool {
        let guard = lock(&self.state);
        let (guard, _) = self
            .moved
            .wait_timeout_while(guard, timeout, |state| state.count <= seen)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        guard.count > seen
    }
}
