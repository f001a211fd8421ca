//! A reader of partitions as they are at one moment, with roots and proofs.

use super::recorder::{answer, key};
use super::run::{Run, keys};
use merkql::broker::BrokerRef;
use merkql::partition::Partition;
use merkql_jepsen::history::{
    Action, Attachments, Consistency, ConsistencyProof, Inclusion, InclusionProof, Kind, MicroOp,
    Process, Root, TreeHead,
};
use merkql_jepsen::merkle::Hash;

/// Takes one snapshot of a topic after the other.
pub(crate) struct Snapshots<'r> {
    run: &'r Run,
    broker: BrokerRef,
    topic: String,
    /// Who reads the records, and who asks for roots and proofs.
    reader: Process,
    prover: Process,
    /// The root of the snapshot before.
    held: Option<TreeHead>,
}

fn hash(hash: merkql::hash::Hash) -> Hash {
    Hash(hash.0)
}

impl<'r> Snapshots<'r> {
    pub(crate) fn new(run: &'r Run, broker: &BrokerRef, topic: &str) -> Self {
        let (reader, prover) = (run.recorder.new_process(), run.recorder.new_process());
        Self { run, broker: broker.clone(), topic: topic.to_owned(), reader, prover, held: None }
    }

    /// Takes a snapshot and everything that it can prove. What fails, for a crash
    /// or because the log was closed, is not noted but as such.
    pub(crate) fn take(&mut self) {
        let Some(topic) = self.broker.topic(&self.topic) else { return };
        let recorder = &self.run.recorder;
        let assign = Action::Assign(keys(&[&self.topic]));
        let sought = Attachments { seek_to_beginning: true, ..Attachments::default() };
        recorder.note_with(&self.reader, Kind::Ok, assign, sought);
        // Both ask before the snapshot is taken: whoever asks later sees no less.
        recorder.note(&self.reader, Kind::Invoke, Action::Poll(vec![MicroOp::poll()]));
        recorder.note(&self.prover, Kind::Invoke, self.root(None));
        let snapshot = topic.partition(0).expect("it has a partition").read().expect("it is there");
        self.note_root(&snapshot);
        self.note_records(&snapshot);
        self.note_proofs(&snapshot);
        self.note_consistency(&snapshot);
        self.held = head(&snapshot).or(self.held);
    }

    fn root(&self, answer: Option<TreeHead>) -> Action {
        Action::Root(Box::new(Root { key: key(&self.topic), answer, rest: Vec::new() }))
    }

    fn note_root(&self, snapshot: &Partition) {
        let head = head(snapshot);
        let kind = if head.is_some() { Kind::Ok } else { Kind::Fail };
        self.run.recorder.note(&self.prover, kind, self.root(head));
    }

    fn note_records(&self, snapshot: &Partition) {
        let read = snapshot.read_range(0, u64::MAX);
        let kind = self.run.kind(&read);
        let (action, hashes) = answer(read.as_deref().unwrap_or_default());
        let ends = match read {
            Ok(records) => {
                let end = snapshot.next_offset();
                assert_eq!(records.len() as u64, end, "a snapshot has all of its records");
                vec![(key(&self.topic), end)]
            }
            Err(_) => Vec::new(),
        };
        let attachments = Attachments { hashes, ends, ..Attachments::default() };
        self.run.recorder.note_with(&self.reader, kind, action, attachments);
    }

    fn note_proofs(&self, snapshot: &Partition) {
        for index in 0..snapshot.next_offset() {
            let (Ok(Some(proof)), Ok(Some(record))) = (snapshot.proof(index), snapshot.read(index))
            else {
                return self.must_be_over();
            };
            let inclusion = Inclusion {
                head: TreeHead { size: proof.siblings.tree_size, root: hash(proof.root) },
                record: hash(record.hash()),
                path: proof.siblings.path.into_iter().map(hash).collect(),
            };
            let key = key(&self.topic);
            let action = InclusionProof { key, index, answer: Some(inclusion), rest: Vec::new() };
            self.run.recorder.note(&self.prover, Kind::Ok, Action::Proof(Box::new(action)));
        }
    }

    /// Proves the root of the snapshot before to be one of this tree's past.
    fn note_consistency(&self, snapshot: &Partition) {
        let (Some(old), Some(new)) = (self.held, head(snapshot)) else { return };
        let Ok(Some(proof)) = snapshot.consistency_proof(old.size) else {
            return self.must_be_over();
        };
        self.run.tally.count("two snapshots proved consistent");
        let path = proof.path.into_iter().map(hash).collect();
        let answer = Consistency { old_root: old.root, new_root: new.root, path };
        let action = ConsistencyProof {
            key: key(&self.topic),
            old_size: old.size,
            new_size: new.size,
            answer: Some(answer),
            rest: Vec::new(),
        };
        self.run.recorder.note(&self.prover, Kind::Ok, Action::Consistency(Box::new(action)));
    }

    /// Only a dead process or a closed log keeps a proof back.
    fn must_be_over(&self) {
        let over = self.run.world.disk.is_dead() || self.broker.maintain().is_err();
        assert!(over, "a proof of {} is missing", self.topic);
    }
}

fn head(snapshot: &Partition) -> Option<TreeHead> {
    let root = snapshot.merkle_root().expect("a root needs no disk")?;
    Some(TreeHead { size: snapshot.next_offset(), root: hash(root) })
}
