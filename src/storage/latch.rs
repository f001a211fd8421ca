//! A failure that is never forgotten.

use crate::error::{Error, Result};
use std::sync::{Arc, OnceLock};

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
