//! Being told of a rebalance.

use super::Consumer;
use crate::error::{Error, Result};
use crate::sync::{Mutex, lock};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Is told when partitions change hands. (Kafka: `ConsumerRebalanceListener`.)
///
/// The calls come from within [`Consumer::subscribe`], [`Consumer::poll`] and its
/// like, [`Consumer::unsubscribe`] and [`Consumer::close`], on the caller's thread,
/// and only if there is something to tell. They may use the consumer: commit, seek,
/// pause, ask for positions. What would change the assignment while it changes
/// (those calls themselves, and [`Consumer::assign`]) is [`Error::InListener`].
///
/// A consumer that is dropped without being closed leaves without a call. After a
/// panic in a call the consumer can be used, and still owns what it was to give up.
pub trait RebalanceListener: Send {
    /// These partitions are about to go to another member, or back. They are still
    /// the consumer's: [`Consumer::commit_sync`] commits what was done with them, and
    /// nobody takes them over before this returns.
    fn on_partitions_revoked(&mut self, consumer: &mut Consumer, partitions: &[(String, u32)]) {
        let _ = (consumer, partitions);
    }

    /// These partitions are the consumer's from now on, and positions are set.
    fn on_partitions_assigned(&mut self, consumer: &mut Consumer, partitions: &[(String, u32)]) {
        let _ = (consumer, partitions);
    }

    /// These partitions are the consumer's no more, because it did not poll for so
    /// long that it lost them; another member may read them already, and a commit of
    /// them is refused. Does what [`RebalanceListener::on_partitions_revoked`] does
    /// unless it is written.
    fn on_partitions_lost(&mut self, consumer: &mut Consumer, partitions: &[(String, u32)]) {
        self.on_partitions_revoked(consumer, partitions);
    }
}

/// A consumer's listener, if it has one.
#[derive(Default)]
pub(super) struct ListenerSlot {
    /// Taken out while it is called. The lock is there so that a consumer can be
    /// shared between threads although a listener can't.
    listener: Mutex<Option<Box<dyn RebalanceListener>>>,
    is_called: bool,
}

/// What a listener can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Revoked,
    Assigned,
    Lost,
}

impl ListenerSlot {
    pub(super) fn new(listener: Option<Box<dyn RebalanceListener>>) -> Self {
        Self { listener: Mutex::new(listener), is_called: false }
    }
}

impl fmt::Debug for ListenerSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerSlot").field("is_called", &self.is_called).finish_non_exhaustive()
    }
}

impl Consumer {
    /// Tells the listener, without any lock of the log being held.
    pub(super) fn tell(&mut self, told: Told, partitions: &[(String, u32)]) {
        if partitions.is_empty() {
            return;
        }
        let Some(mut listener) = lock(&self.listener.listener).take() else { return };
        self.listener.is_called = true;
        // Whatever the listener does, the consumer has it again afterwards.
        let outcome = catch_unwind(AssertUnwindSafe(|| match told {
            Told::Revoked => listener.on_partitions_revoked(self, partitions),
            Told::Assigned => listener.on_partitions_assigned(self, partitions),
            Told::Lost => listener.on_partitions_lost(self, partitions),
        }));
        self.listener.is_called = false;
        *lock(&self.listener.listener) = Some(listener);
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
    }

    /// Refuses what would change the assignment while the listener is told of a change.
    pub(super) fn check_not_in_listener(&self, call: &'static str) -> Result<()> {
        if self.listener.is_called { Err(Error::InListener { call }) } else { Ok(()) }
    }
}
