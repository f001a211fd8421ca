//! What a child is told when it starts: what to do, and what its clients
//! remember of the lives before.

use super::workload::{TOPICS, is_numbered, place_of, spec, step_of};
use crate::client::Bench;
use crate::client::memory::{ProducerMemory, Sent, TopicMemory};
use crate::client::produce::{Names, records};
use merkql_jepsen::history::{Action, History, Kind, MicroOp, Operation, Process};
use merkql_jepsen::notation::Format;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;

/// What a life is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// To work until it is killed.
    Work,
    /// To work, and to read everything meanwhile.
    WorkAndRead,
    /// To work, to close the log after a while, to open it again, and so on.
    WorkAndClose,
    /// To finish what is open, read everything, close the log and do so again.
    Finish,
}

/// What a child is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Orders {
    pub(crate) dir: PathBuf,
    pub(crate) seed: u64,
    /// Its number in the round.
    pub(crate) life: u32,
    pub(crate) purpose: Purpose,
    pub(crate) writers: u32,
    pub(crate) readers: u32,
    /// How many sends of each producer id were answered, which is the sequence
    /// of its next one, or of the one that is open.
    pub(crate) answered: BTreeMap<u64, u64>,
}

/// The orders, and what is remembered as the history has it: the sends of
/// producers that have had no answer, and roots that were handed out.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) orders: Orders,
    pub(crate) remembered: History,
}

impl Letter {
    pub(crate) fn write(&self, mut to: impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut to, &self.orders)?;
        writeln!(to)?;
        self.remembered.write(to, Format::JsonLines)
    }

    pub(crate) fn read(mut from: impl BufRead) -> io::Result<Self> {
        let mut first = String::new();
        from.read_line(&mut first)?;
        let orders = serde_json::from_str(&first)?;
        let remembered = History::read(from, Format::JsonLines).map_err(io::Error::other)?;
        Ok(Self { orders, remembered })
    }

    /// Reminds the clients of the topics that there are to be.
    pub(crate) fn remind_of_topics(bench: &Bench) {
        let mut state = bench.memory.state();
        for (topic, partitions) in TOPICS {
            let asked = TopicMemory { partitions, ..TopicMemory::default() };
            state.topics.insert(topic.to_owned(), asked);
        }
    }

    /// Reminds the clients of everything else. The topics must exist by now, for
    /// from them follows which key leads to which partition.
    pub(crate) fn remind(&self, bench: &Bench) {
        for writer in (0..self.orders.writers).filter(|writer| is_numbered(*writer)) {
            let id = u64::from(writer);
            let next_sequence = self.orders.answered.get(&id).copied().unwrap_or_default();
            let process = producer_process(id);
            let memory = ProducerMemory { process, next_sequence, last: None };
            bench.memory.state().producers.insert(id, memory);
        }
        for operation in self.remembered.operations() {
            match &operation.action {
                Action::Send(asked) => remind_of_send(bench, &operation.process, asked),
                Action::Root(root) => {
                    if let (Some(place), Some(head)) = (place_of(&root.key), root.answer) {
                        bench.memory.state().heads.entry(place).or_default().push(head);
                    }
                }
                _ => {}
            }
        }
    }
}

/// The process that sends under a producer id, in all lives.
pub(crate) fn producer_process(id: u64) -> Process {
    Process::Client(i64::try_from(id).unwrap_or(i64::MAX))
}

/// The producer id that a process sends under, if it does.
pub(crate) fn producer_of(process: &Process, writers: u32) -> Option<u64> {
    let mut ids = (0..writers).filter(|writer| is_numbered(*writer)).map(u64::from);
    ids.find(|id| producer_process(*id) == *process)
}

/// The send is made again from what the history says of it.
fn remind_of_send(bench: &Bench, process: &Process, asked: &[MicroOp]) {
    let named = asked.iter().filter_map(|step| match step {
        MicroOp::Send { key, value, .. } => Some((place_of(key)?, step_of(value)?)),
        MicroOp::Poll(_) => None,
    });
    let named: Vec<_> = named.collect();
    let Some((_, (step, _))) = named.first() else { return };
    let spec = |((topic, partition), (step, place)): &((String, u32), (u32, usize))| {
        spec(topic, *partition, *step, *place)
    };
    let specs: Vec<_> = named.iter().map(spec).collect();
    let (records, again) = records(bench, *step, &specs, Names::Partition);
    debug_assert_eq!(again, asked, "what is sent again is what was sent");
    let mut state = bench.memory.state();
    let producer = state.producers.values_mut().find(|producer| producer.process == *process);
    if let Some(producer) = producer {
        let sequence = producer.next_sequence;
        let asked = asked.to_vec();
        // The life that made it is over: nobody knows what became of it.
        producer.last = Some(Sent { sequence, records, asked, answer: None, is_ambiguous: true });
    }
}

/// An operation as it is remembered.
pub(crate) fn remembered_send(process: &Process, asked: &[MicroOp]) -> Operation {
    Operation::new(process.clone(), Kind::Invoke, Action::Send(asked.to_vec()))
}
