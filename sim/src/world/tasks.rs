//! Clients as tasks of the process's node.

use super::host::Host;
use crate::scenario::Step;
use async_channel::{Receiver, Sender, bounded};
use madsim::runtime::{Handle, NodeHandle};
use merkql_jepsen::history::{Action, Datum};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

/// A process that is up, with the tasks of its clients.
pub(crate) struct Process {
    node: NodeHandle,
    host: Memory,
    clients: BTreeMap<String, Sender<Step>>,
    done: (Sender<()>, Receiver<()>),
}

/// The process's memory; nothing once it has ended.
type Memory = Arc<Mutex<Option<Host>>>;

impl Process {
    pub(crate) fn start(host: Host) -> Self {
        let node = Handle::current().create_node().name("log").build();
        let host = Arc::new(Mutex::new(Some(host)));
        Self { node, host, clients: BTreeMap::new(), done: bounded(1) }
    }

    /// Lets a client carry out a step, and waits until it has.
    pub(crate) async fn perform(&mut self, step: &Step) {
        let client = match self.clients.get(&step.by) {
            Some(client) => client.clone(),
            None => self.spawn(&step.by),
        };
        if client.send(step.clone()).await.is_ok() {
            // Nobody but the nemesis, who waits here, ends the tasks.
            self.done.1.recv().await.unwrap_or_default();
        }
    }

    fn spawn(&mut self, name: &str) -> Sender<Step> {
        let (sender, steps) = bounded::<Step>(1);
        let host = Arc::clone(&self.host);
        let done = self.done.0.clone();
        self.node.spawn(async move {
            while let Ok(step) = steps.recv().await {
                guarded(&host, |host| host.perform(&step));
                if done.send(()).await.is_err() {
                    break;
                }
            }
        });
        self.clients.insert(name.to_owned(), sender.clone());
        sender
    }

    /// Does something in the process that is no client's.
    pub(crate) fn act<T>(&self, does: impl FnOnce(&mut Host) -> T) -> Option<T> {
        guarded(&self.host, does)
    }

    /// Ends the tasks, and hands out the process's memory to be let go of.
    pub(crate) fn end(self) -> Option<Host> {
        Handle::current().kill(self.node.id());
        self.host.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Does something, and writes a panic down as what it is: an anomaly.
fn guarded<T>(host: &Mutex<Option<Host>>, does: impl FnOnce(&mut Host) -> T) -> Option<T> {
    let mut host = host.lock().unwrap_or_else(PoisonError::into_inner);
    let host = host.as_mut()?;
    let outcome = catch_unwind(AssertUnwindSafe(|| does(host)));
    outcome.map_err(|panic| host.bench.recorder.note("host", panicked(panic.as_ref()))).ok()
}

/// A panic as a history has it.
pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> Action {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Action::Panic(Datum::str(&text.unwrap_or_else(|| "a panic without a message".to_owned())))
}
