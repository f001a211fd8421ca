//! What clients call, and what the perfect log answers. A call takes effect when it is answered.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::client::{Call, Mode, Step};
use super::partition::Read;
use super::world::{GROUP, World, key, polled_record};
use crate::history::{
    Action, Attachments, Commit, Consistency, ConsistencyProof, Datum, Inclusion, InclusionProof,
    Key, Kind, MicroOp, Process, Root, TreeHead,
};
use crate::merkle::Hash;

/// How many records one poll returns of a key, at most.
const POLL_RECORDS_MAX: usize = 8;

impl World {
    /// A client invokes something that fits its state.
    pub(super) fn begin(&mut self, at: usize) {
        let call = self.choose(at);
        let client = &mut self.clients[at];
        let process = Process::Client(client.process);
        client.call = Some(call.clone());
        self.emit(process, Kind::Invoke, invocation(&call), Attachments::default());
    }

    fn choose(&mut self, at: usize) -> Call {
        if self.clients[at].positions.is_empty() && self.clients[at].mode != Mode::Subscribed {
            return self.choose_keys(at);
        }
        let subscribed = self.clients[at].mode == Mode::Subscribed;
        match self.rng.random_range(0..100) {
            0..38 => Call::Work(self.sends()),
            38..76 => Call::Work(vec![Step::Poll; self.rng.random_range(1..=2)]),
            76..84 => {
                let mut steps = self.sends();
                steps.insert(self.rng.random_range(0..=steps.len()), Step::Poll);
                Call::Work(steps)
            }
            84..86 => self.choose_keys(at),
            86..88 => self.seek(at),
            88..92 if subscribed => Call::Commit(self.clients[at].positions.clone()),
            92..95 if self.options.groups => Call::Committed(vec![self.any_key()]),
            95..100 if self.options.proofs => self.proof(),
            _ => Call::Work(vec![Step::Poll]),
        }
    }

    /// A client that was assigned its keys stays so, since nothing would tell where it stands as a member of the group.
    fn choose_keys(&mut self, at: usize) -> Call {
        let all: Vec<usize> = (0..self.partitions.len()).collect();
        let may_subscribe = self.options.groups && self.clients[at].mode != Mode::Assigned;
        if may_subscribe && self.once_in(2) {
            return Call::Subscribe(all);
        }
        let sure = self.any_key();
        let keys = all.into_iter().filter(|key| *key == sure || self.once_in(4)).collect();
        let from_start = self.once_in(8);
        Call::Assign { keys, from_start }
    }

    fn sends(&mut self) -> Vec<Step> {
        let count = if self.once_in(3) { self.rng.random_range(2..=4) } else { 1 };
        let send = |world: &mut Self| {
            let key = world.any_key();
            let value = world.partitions[key].fresh_value();
            Step::Send { key, value }
        };
        (0..count).map(|_| send(self)).collect()
    }

    fn seek(&mut self, at: usize) -> Call {
        let keys: Vec<usize> = self.clients[at].positions.keys().copied().collect();
        let Some(key) = keys.choose(&mut self.rng).copied() else {
            return Call::Work(vec![Step::Poll]);
        };
        let offset = self.rng.random_range(0..=self.partitions[key].end());
        Call::Seek { key, offset }
    }

    fn proof(&mut self) -> Call {
        let key = self.any_key();
        let size = self.partitions[key].end();
        match self.rng.random_range(0..3) {
            1 if size > 0 => Call::Proof { key, index: self.rng.random_range(0..size) },
            2 if size > 0 => {
                Call::Consistency { key, old_size: self.rng.random_range(1..=size), new_size: size }
            }
            _ => Call::Root { key },
        }
    }

    /// A client's call is answered: mostly well, sometimes badly, sometimes not at all.
    pub(super) fn answer(&mut self, at: usize) {
        let Some(call) = self.clients[at].call.take() else {
            return;
        };
        let may_break = self.options.crashes && matches!(call, Call::Work(_) | Call::Commit(_));
        let kind = match self.rng.random_range(0..100) {
            0..3 if may_break => Kind::Fail,
            3..6 if may_break => Kind::Info,
            _ => Kind::Ok,
        };
        self.answer_as(at, call, kind);
    }

    /// The call ends in a given way. A client that got no answer is replaced by a new one.
    pub(super) fn answer_as(&mut self, at: usize, call: Call, kind: Kind) {
        let process = Process::Client(self.clients[at].process);
        let (action, attachments) = match call {
            Call::Work(steps) => self.work(at, &steps, kind),
            Call::Commit(offsets) => {
                let happens = kind == Kind::Ok || (kind == Kind::Info && self.once_in(2));
                let action = Action::Commit(Box::new(commit(&offsets)));
                if happens {
                    self.committed.extend(offsets);
                }
                (action, Attachments::default())
            }
            other => self.other(at, &other),
        };
        self.emit(process, kind, action, attachments);
        if kind == Kind::Info {
            self.clients[at] = self.fresh_client();
        }
    }

    /// Sends and polls. Polls see what was there before the sends take effect.
    fn work(&mut self, at: usize, steps: &[Step], kind: Kind) -> (Action, Attachments) {
        let happens = kind == Kind::Ok || (kind == Kind::Info && self.once_in(2));
        let tells_offsets = kind == Kind::Ok || (happens && self.once_in(3));
        let tells_polls = kind == Kind::Ok || self.once_in(2);
        let mut positions = self.clients[at].positions.clone();
        let mut touched: Vec<(usize, u64)> = Vec::new();
        let mut micro_ops: Vec<MicroOp> = Vec::new();
        for step in steps {
            micro_ops.push(match step {
                Step::Send { key: at, value } => MicroOp::send(key(*at), Datum::Int(*value)),
                Step::Poll if tells_polls => {
                    let polled = self.poll(&mut positions);
                    touched.extend(polled.iter().flat_map(|(key, records)| {
                        records.iter().map(|(offset, _)| (*key, *offset))
                    }));
                    let keys = polled.into_iter().map(|(at, records)| {
                        (key(at), records.into_iter().map(polled_record).collect())
                    });
                    MicroOp::Poll(Some(keys.collect()))
                }
                Step::Poll => MicroOp::poll(),
            });
        }
        for (step, micro_op) in steps.iter().zip(&mut micro_ops).filter(|_| happens) {
            if let Step::Send { key: at, value } = *step {
                let sent_to = self.partitions[at].append(at, value, self.options.proofs);
                if tells_offsets {
                    touched.push((at, sent_to));
                    *micro_op = MicroOp::sent(key(at), sent_to, Datum::Int(value));
                }
            }
        }
        let mut attachments = Attachments::default();
        if kind == Kind::Ok {
            self.clients[at].positions = positions;
            attachments = self.attach(at, steps, &touched);
        }
        (as_work(steps, micro_ops), attachments)
    }

    /// Some records of each key that the client has, from its position on.
    fn poll(&mut self, positions: &mut BTreeMap<usize, u64>) -> Vec<(usize, Vec<Read>)> {
        let mut polled = Vec::new();
        for (key, position) in positions {
            if self.once_in(4) {
                continue;
            }
            let count = self.rng.random_range(1..=POLL_RECORDS_MAX);
            let (records, behind) = self.partitions[*key].read(*position, count);
            *position = behind;
            if !records.is_empty() {
                polled.push((*key, records));
            }
        }
        polled
    }

    /// The evidence that a good answer carries.
    fn attach(&mut self, at: usize, steps: &[Step], touched: &[(usize, u64)]) -> Attachments {
        let mut attachments = Attachments::default();
        let mut hashes: BTreeMap<usize, Vec<(u64, Hash)>> = BTreeMap::new();
        for (key, offset) in touched {
            let hash = self.partitions[*key].hash(*offset);
            if let Some(hash) = hash {
                hashes.entry(*key).or_default().push((*offset, hash));
            }
        }
        attachments.hashes = hashes.into_iter().map(|(at, pairs)| (key(at), pairs)).collect();
        let polled = steps.iter().any(|step| matches!(step, Step::Poll));
        let client = &self.clients[at];
        let positions = client.positions.clone();
        let subscribed = client.mode == Mode::Subscribed;
        if polled && subscribed && !positions.is_empty() && self.once_in(8) {
            attachments.commits = Some(Box::new(commit(&positions)));
            self.committed.extend(positions.clone());
        }
        if polled && self.once_in(8) {
            let at_end = positions
                .iter()
                .filter(|(key, position)| **position == self.partitions[**key].end());
            attachments.ends = at_end.map(|(at, position)| (key(*at), *position)).collect();
        }
        attachments
    }

    fn other(&mut self, at: usize, call: &Call) -> (Action, Attachments) {
        let mut attachments = Attachments::default();
        let client = &mut self.clients[at];
        match call {
            Call::Assign { keys, from_start } => {
                let kept = |key: &usize| {
                    client.positions.get(key).copied().filter(|_| !from_start).unwrap_or(0)
                };
                client.positions = keys.iter().map(|key| (*key, kept(key))).collect();
                client.mode = Mode::Assigned;
                attachments.seek_to_beginning = *from_start;
            }
            Call::Subscribe(_) => {
                // It is given its keys by a rebalance.
                client.mode = Mode::Subscribed;
                attachments.group = Some(Datum::str(GROUP));
            }
            Call::Seek { key, offset } => {
                client.positions.insert(*key, *offset);
            }
            Call::Committed(keys) => {
                let read =
                    keys.iter().map(|at| (key(*at), self.committed.get(at).copied())).collect();
                return (Action::Committed(Box::new(group_offsets(read))), attachments);
            }
            Call::Root { key } => return (self.root(*key), attachments),
            Call::Proof { key, index } => return (self.inclusion(*key, *index), attachments),
            Call::Consistency { key, old_size, new_size } => {
                return (self.consistency(*key, *old_size, *new_size), attachments);
            }
            Call::Work(_) | Call::Commit(_) => {}
        }
        (invocation(call), attachments)
    }

    fn head(&self, at: usize, size: u64) -> Option<TreeHead> {
        let root = self.partitions[at].tree().root(size)?;
        Some(TreeHead { size, root })
    }

    fn root(&self, at: usize) -> Action {
        Action::Root(Box::new(Root {
            key: key(at),
            answer: self.head(at, self.partitions[at].end()),
            rest: Vec::new(),
        }))
    }

    fn inclusion(&self, at: usize, index: u64) -> Action {
        let partition = &self.partitions[at];
        let answer = || {
            Some(Inclusion {
                head: self.head(at, partition.end())?,
                record: partition.hash(index)?,
                path: partition.tree().inclusion(index, partition.end())?,
            })
        };
        Action::Proof(Box::new(InclusionProof {
            key: key(at),
            index,
            answer: answer(),
            rest: Vec::new(),
        }))
    }

    fn consistency(&self, at: usize, old_size: u64, new_size: u64) -> Action {
        let answer = || {
            Some(Consistency {
                old_root: self.head(at, old_size)?.root,
                new_root: self.head(at, new_size)?.root,
                path: self.partitions[at].tree().consistency(old_size, new_size)?,
            })
        };
        Action::Consistency(Box::new(ConsistencyProof {
            key: key(at),
            old_size,
            new_size,
            answer: answer(),
            rest: Vec::new(),
        }))
    }
}

/// A send, a poll or a transaction, whichever these steps make.
fn as_work(steps: &[Step], micro_ops: Vec<MicroOp>) -> Action {
    let polls = steps.iter().filter(|step| matches!(step, Step::Poll)).count();
    match polls {
        0 => Action::Send(micro_ops),
        _ if polls == steps.len() => Action::Poll(micro_ops),
        _ => Action::Txn(micro_ops),
    }
}

fn invocation(call: &Call) -> Action {
    match call {
        Call::Work(steps) => {
            let micro_op = |step: &Step| match step {
                Step::Send { key: at, value } => MicroOp::send(key(*at), Datum::Int(*value)),
                Step::Poll => MicroOp::poll(),
            };
            as_work(steps, steps.iter().map(micro_op).collect())
        }
        Call::Commit(offsets) => Action::Commit(Box::new(commit(offsets))),
        Call::Committed(keys) => Action::Committed(Box::new(group_offsets(
            keys.iter().map(|at| (key(*at), None)).collect(),
        ))),
        Call::Root { key: at } => {
            Action::Root(Box::new(Root { key: key(*at), answer: None, rest: Vec::new() }))
        }
        Call::Proof { key: at, index } => Action::Proof(Box::new(InclusionProof {
            key: key(*at),
            index: *index,
            answer: None,
            rest: Vec::new(),
        })),
        Call::Consistency { key: at, old_size, new_size } => {
            Action::Consistency(Box::new(ConsistencyProof {
                key: key(*at),
                old_size: *old_size,
                new_size: *new_size,
                answer: None,
                rest: Vec::new(),
            }))
        }
        Call::Assign { keys, .. } => Action::Assign(keys.iter().copied().map(key).collect()),
        Call::Subscribe(keys) => Action::Subscribe(keys.iter().copied().map(key).collect()),
        Call::Seek { key: at, offset } => Action::Seek(vec![(key(*at), *offset)]),
    }
}

fn commit(offsets: &BTreeMap<usize, u64>) -> Commit {
    group_offsets(offsets.iter().map(|(at, offset)| (key(*at), Some(*offset))).collect())
}

fn group_offsets(offsets: Vec<(Key, Option<u64>)>) -> Commit {
    Commit { group: Datum::str(GROUP), offsets, rest: Vec::new() }
}
