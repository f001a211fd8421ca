//! The perfect log and its clients, one step after another.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Options;
use super::client::{Client, Mode};
use super::partition::Partition;
use crate::history::{
    Action, Attachments, Datum, Declarations, FaultsEnd, FinalPolls, Key, Kind, MicroOp, Operation,
    Polled, Process, Rebalance,
};

/// The one consumer group.
pub(super) const GROUP: &str = "g";
/// How much time passes between operations, at most.
const STEP_NS_MAX: i64 = 2_000;
/// Within how much time after the faults end every call must be answered.
const BOUND_NS: u64 = 1_000_000_000;
/// How many records the last reader polls of each key at a time.
const FINAL_POLL_RECORDS: usize = 1_000;

/// How far the history has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Working,
    /// Calls are answered, and no new ones begin.
    Answering,
    Done,
}

/// Everything there is.
#[derive(Debug)]
pub(super) struct World {
    pub(super) options: Options,
    pub(super) rng: ChaCha8Rng,
    pub(super) partitions: Vec<Partition>,
    pub(super) clients: Vec<Client>,
    /// The group's committed offsets.
    pub(super) committed: BTreeMap<usize, u64>,
    pub(super) damages: u64,
    next_process: i64,
    now_ns: i64,
    phase: Phase,
    emitted: usize,
    out: VecDeque<Operation>,
}

impl World {
    pub(super) fn new(options: Options) -> Self {
        let mut world = Self {
            rng: ChaCha8Rng::seed_from_u64(options.seed),
            partitions: (0..options.keys.max(1)).map(|_| Partition::default()).collect(),
            clients: Vec::new(),
            committed: BTreeMap::new(),
            damages: 0,
            next_process: 0,
            now_ns: 0,
            phase: Phase::Working,
            emitted: 0,
            out: VecDeque::new(),
            options,
        };
        for _ in 0..world.options.processes.max(1) {
            let client = world.fresh_client();
            world.clients.push(client);
        }
        world.open();
        world
    }

    /// A client under a number that nobody had before.
    pub(super) fn fresh_client(&mut self) -> Client {
        let process = self.next_process;
        self.next_process += 1;
        Client::new(process)
    }

    /// Whether something happens that happens once in so many times.
    pub(super) fn once_in(&mut self, times: u32) -> bool {
        self.rng.random_ratio(1, times)
    }

    pub(super) fn any_key(&mut self) -> usize {
        self.rng.random_range(0..self.partitions.len())
    }

    /// Writes an operation down.
    pub(super) fn emit(
        &mut self,
        process: Process,
        kind: Kind,
        action: Action,
        attachments: Attachments,
    ) {
        self.now_ns += self.rng.random_range(1..=STEP_NS_MAX);
        let mut operation = Operation::new(process, kind, action).at(self.now_ns).with(attachments);
        operation.index = self.emitted as u64;
        self.emitted += 1;
        self.out.push_back(operation);
    }

    /// Writes down an invocation and its good end, with nothing between them.
    pub(super) fn emit_pair(&mut self, process: &Process, action: Action) {
        self.emit(process.clone(), Kind::Invoke, action.clone(), Attachments::default());
        self.emit(process.clone(), Kind::Ok, action, Attachments::default());
    }

    /// The log is opened, and says what it promises.
    pub(super) fn open(&mut self) {
        self.emit(
            Process::nemesis(),
            Kind::Invoke,
            Action::Open(Declarations::default()),
            Attachments::default(),
        );
        let declared = Declarations {
            dense_offsets: true,
            atomic_batches: true,
            rebalances: true,
            all_sends: true,
            rest: Vec::new(),
        };
        self.emit(Process::nemesis(), Kind::Ok, Action::Open(declared), Attachments::default());
    }

    fn step(&mut self) {
        match self.phase {
            Phase::Working if self.emitted >= self.options.operations => {
                self.phase = Phase::Answering;
            }
            Phase::Working => {
                if self.nemesis() {
                    return;
                }
                let at = self.rng.random_range(0..self.clients.len());
                self.act(at);
            }
            Phase::Answering => {
                for at in 0..self.clients.len() {
                    self.answer(at);
                }
                self.read_everything();
                self.phase = Phase::Done;
            }
            Phase::Done => {}
        }
    }

    /// A client answers its call, is told about its keys, or begins something.
    fn act(&mut self, at: usize) {
        if self.clients[at].call.is_some() {
            self.answer(at);
        } else if !self.settle(at) {
            self.begin(at);
        }
    }

    /// Tells a member of the group which keys it loses and which free ones it gains, if any.
    fn settle(&mut self, at: usize) -> bool {
        if self.clients[at].mode != Mode::Subscribed {
            return false;
        }
        let members: Vec<usize> = (0..self.clients.len())
            .filter(|at| self.clients[*at].mode == Mode::Subscribed)
            .collect();
        let share = members.iter().position(|member| *member == at).unwrap_or(0);
        let target: BTreeSet<usize> =
            (0..self.partitions.len()).filter(|key| key % members.len() == share).collect();
        let owned = self.clients[at].owned();
        let taken: BTreeSet<usize> = self.clients.iter().flat_map(Client::owned).collect();
        let revoked: Vec<usize> = owned.difference(&target).copied().collect();
        let assigned: Vec<usize> = target.difference(&taken).copied().collect();
        if revoked.is_empty() && assigned.is_empty() {
            return false;
        }
        for key in &revoked {
            self.clients[at].positions.remove(key);
        }
        for key in &assigned {
            let position = self.committed.get(key).copied().unwrap_or(0);
            self.clients[at].positions.insert(*key, position);
        }
        let rebalance = Action::Rebalance(Box::new(Rebalance {
            group: Datum::str(GROUP),
            assigned: assigned.into_iter().map(key).collect(),
            revoked: revoked.into_iter().map(key).collect(),
            rest: Vec::new(),
        }));
        let process = Process::Client(self.clients[at].process);
        self.emit_pair(&process, rebalance);
        true
    }

    /// A new client reads every log from its start to its end.
    fn read_everything(&mut self) {
        let end = Action::FaultsEnd(Box::new(FaultsEnd { bound_ns: BOUND_NS, rest: Vec::new() }));
        self.emit(Process::nemesis(), Kind::Info, end, Attachments::default());
        let reader = Process::Client(self.fresh_client().process);
        let keys: Vec<Key> = (0..self.partitions.len()).map(key).collect();
        let assign = Action::Assign(keys.clone());
        self.emit(reader.clone(), Kind::Invoke, assign.clone(), Attachments::default());
        let from_start = Attachments { seek_to_beginning: true, ..Attachments::default() };
        self.emit(reader.clone(), Kind::Ok, assign, from_start);
        let mut positions = vec![0; self.partitions.len()];
        loop {
            let mut polled = Vec::new();
            for (at, position) in positions.iter_mut().enumerate() {
                let (records, behind) = self.partitions[at].read(*position, FINAL_POLL_RECORDS);
                *position = behind;
                if !records.is_empty() {
                    polled.push((key(at), records.into_iter().map(polled_record).collect()));
                }
            }
            if polled.is_empty() {
                break;
            }
            self.emit(
                reader.clone(),
                Kind::Invoke,
                Action::Poll(vec![MicroOp::poll()]),
                Attachments::default(),
            );
            self.emit(
                reader.clone(),
                Kind::Ok,
                Action::Poll(vec![MicroOp::Poll(Some(polled))]),
                Attachments::default(),
            );
        }
        let ends = self
            .partitions
            .iter()
            .enumerate()
            .map(|(at, partition)| (key(at), partition.end()))
            .collect();
        self.emit(
            reader.clone(),
            Kind::Invoke,
            Action::FinalPolls(FinalPolls::Asked(keys)),
            Attachments::default(),
        );
        self.emit(
            reader,
            Kind::Ok,
            Action::FinalPolls(FinalPolls::Done(ends)),
            Attachments::default(),
        );
    }
}

impl Iterator for World {
    type Item = Operation;

    fn next(&mut self) -> Option<Operation> {
        while self.out.is_empty() && self.phase != Phase::Done {
            self.step();
        }
        self.out.pop_front()
    }
}

/// The key of a partition.
pub(super) fn key(at: usize) -> Key {
    Key::from(i64::try_from(at).unwrap_or(i64::MAX))
}

/// A record as a poll returns it.
pub(super) fn polled_record((offset, value): (u64, i64)) -> Polled {
    Polled { offset: Some(offset), value: Datum::Int(value) }
}
