//! The synchronisation primitives of the log, named in one place.
//!
//! With the feature `shuttle` they are those of the crate of that name, so that a
//! test decides at each of them which thread goes on. Reference counts stay the
//! standard library's: no thread waits for one, and [`crate::broker::BrokerRef`]
//! is public. So does the origin of the operating system's clock, which outlives
//! a schedule and is no part of one.

#[cfg(not(feature = "shuttle"))]
pub(crate) use std::sync::{
    Condvar, Mutex, MutexGuard, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic,
};

#[cfg(feature = "shuttle")]
pub(crate) use shuttle::sync::{
    Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic,
};

#[cfg(not(feature = "shuttle"))]
use std::thread;

#[cfg(feature = "shuttle")]
use shuttle::thread;

use std::sync::PoisonError;

/// Locks, and goes on after a panic of another holder. Each state behind such a
/// lock is either whole at every moment or latched as failed by its owner.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets another thread run.
pub(crate) fn yield_now() {
    thread::yield_now();
}

/// A cell that is set once; `shuttle` has none. Another thread may run before
/// each look at it.
#[cfg(feature = "shuttle")]
#[derive(Debug, Default)]
pub(crate) struct OnceLock<T> {
    cell: std::sync::OnceLock<T>,
    set: atomic::AtomicBool,
}

#[cfg(feature = "shuttle")]
impl<T> OnceLock<T> {
    pub(crate) fn get(&self) -> Option<&T> {
        if self.set.load(atomic::Ordering::Acquire) { self.cell.get() } else { None }
    }

    /// `init` must not wait for anybody: the cell is locked meanwhile.
    pub(crate) fn get_or_init(&self, init: impl FnOnce() -> T) -> &T {
        let value = self.cell.get_or_init(init);
        self.set.store(true, atomic::Ordering::Release);
        value
    }
}
