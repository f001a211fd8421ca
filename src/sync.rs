//! The synchronisation primitives of the log, named in one place.

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, RwLock};

use std::sync::PoisonError;

/// Locks, and goes on after a panic of another holder. Each state behind such a
/// lock is either whole at every moment or latched as failed by its owner.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets another thread run.
pub(crate) fn yield_now() {
    std::thread::yield_now();
}
