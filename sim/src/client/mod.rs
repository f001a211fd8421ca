//! Clients of the log: they call it, and write down what they asked for and what
//! they were told. Nothing in here decides whether an answer was right.

pub(crate) mod audit;
pub(crate) mod consume;
pub(crate) mod errors;
pub(crate) mod memory;
pub(crate) mod names;
pub(crate) mod produce;
pub(crate) mod read_all;
pub(crate) mod recorder;
pub(crate) mod tamper;
pub(crate) mod topics;
pub(crate) mod transfer;

use errors::name_of;
use memory::Memory;
use merkql::Result;
use merkql::broker::BrokerRef;
use recorder::Recorder;
use std::sync::Arc;
use tamper::Tamper;

/// What a client works with.
#[derive(Debug, Clone)]
pub(crate) struct Bench {
    /// The log, as the process that runs now has opened it.
    pub(crate) broker: BrokerRef,
    /// Where everything is written down.
    pub(crate) recorder: Recorder,
    /// What clients remember when the log's process dies.
    pub(crate) memory: Arc<Memory>,
    /// The bug that is planted in the clients, if one is.
    pub(crate) tamper: Arc<Tamper>,
}

impl Bench {
    /// What a call answered that no line of a history is for. Its error is written
    /// down among those that were met.
    pub(crate) fn seen<T>(&self, answer: Result<T>) -> Option<T> {
        answer.inspect_err(|error| self.recorder.met(name_of(error))).ok()
    }
}
