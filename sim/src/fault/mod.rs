//! Everything that can go wrong with a disk, each a kind of its own.
//!
//! Class R faults are what an honest disk does: the log recovers from them by
//! itself and loses nothing it acknowledged. Class D faults are what a disk must
//! not do: the log notices, serves nothing wrong and drops nothing in silence.
//!
//! A fault is armed by meaning ("the second sync of a journal file fails, its
//! pages kept clean", [`Arm`]), fires when that operation comes, and *matters*
//! once the program has met its effect: an error reached it, or it read what
//! the fault had changed.

mod kind;
mod plan;
mod what;

pub use kind::{Class, FaultKind};
pub use plan::{Arm, Counts, FaultId};
pub use what::{Fault, LyingSync, OpKind, SyncFailure};

#[cfg(feature = "world")]
pub(crate) use plan::FaultHit;
pub(crate) use plan::{FaultPlan, matches};
