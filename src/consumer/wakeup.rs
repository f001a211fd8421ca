//! Ending a wait from another thread.

use crate::broker::Broker;
use crate::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

/// Wakes a consumer from any thread; see
/// [`Consumer::wakeup_handle`](super::Consumer::wakeup_handle). It keeps neither
/// the consumer nor the broker alive.
#[derive(Debug, Clone)]
pub struct WakeupHandle {
    pub(super) called: Arc<Called>,
    pub(super) broker: Weak<Broker>,
}

/// Whether a wakeup was called that no poll has answered yet.
#[derive(Debug, Default)]
pub(super) struct Called(AtomicBool);

impl Called {
    /// Whether it was, and not any more.
    pub(super) fn take(&self) -> bool {
        // Looked at first: every poll comes here, and a wakeup is rare.
        self.0.load(Ordering::Acquire) && self.0.swap(false, Ordering::AcqRel)
    }
}

impl WakeupHandle {
    /// The poll that the consumer waits in now, or else its next one, answers
    /// [`Error::Wakeup`](crate::error::Error::Wakeup), once. Calls before that count
    /// as one. (Kafka: `KafkaConsumer.wakeup`.)
    pub fn wakeup(&self) {
        self.called.0.store(true, Ordering::Release);
        if let Some(broker) = self.broker.upgrade() {
            broker.store.appended.notify();
        }
    }
}
