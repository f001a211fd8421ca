//! A failure that is never forgotten.

use crate::error::{Error, Result};
use crate::sync::OnceLock;
use std::sync::Arc;

/// Set by the first failed journal write, sync or apply. From then on the log
/// writes, syncs, cuts and removes nothing: only recovery, which starts from
/// what the disk really holds, can tell what is true.
#[derive(Debug, Default)]
pub(crate) struct Latch(OnceLock<Arc<str>>);

impl Latch {
    pub(crate) fn set(&self, reason: &Error) {
        // Of several failures the first is the cause.
        self.0.get_or_init(|| reason.to_string().into());
    }

    /// Latches when it is dropped, unless it was told that all went well: for
    /// what must not be left half done by a panic.
    pub(crate) fn guard(&self, reason: &'static str) -> LatchGuard<'_> {
        LatchGuard { latch: self, reason }
    }

    /// The error that a caller is told of. Some promise that nothing was changed,
    /// which does not hold any more once the failure has latched the log: a
    /// handle or space may have run out behind the commit point.
    pub(crate) fn told(&self, error: Error) -> Error {
        match error {
            Error::DiskFull { .. } | Error::TooManyOpenFiles { .. } => {
                self.check().err().unwrap_or(error)
            }
            error => error,
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self.0.get() {
            None => Ok(()),
            Some(reason) => Err(Error::NeedsReopen { reason: Arc::clone(reason) }),
        }
    }
}

/// See [`Latch::guard`].
pub(crate) struct LatchGuard<'a> {
    latch: &'a Latch,
    reason: &'static str,
}

impl LatchGuard<'_> {
    /// It was done, or has failed in an orderly way.
    pub(crate) fn passed(self) {
        std::mem::forget(self);
    }
}

impl Drop for LatchGuard<'_> {
    fn drop(&mut self) {
        self.latch.set(&Error::NeedsReopen { reason: self.reason.into() });
    }
}
