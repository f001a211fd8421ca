//! The auditor: takes roots and proofs, and asks later whether the log still
//! agrees with the roots it took.

use super::Bench;
use super::errors::{datum_of as datum_of_error, name_of};
use merkql::partition::Partition;
use merkql::{Error, Result};
use merkql_jepsen::history::{
    Action, Attachments, Consistency, ConsistencyProof, Inclusion, InclusionProof, Key, Kind,
    Process, Root, TreeHead,
};
use merkql_jepsen::merkle::Hash;

/// How many roots of a partition are kept: the first, and the last ones.
const HEADS_MAX: usize = 4;

fn hash(of: merkql::hash::Hash) -> Hash {
    Hash(of.0)
}

impl Bench {
    /// Audits every partition; `turn` says which records are proved.
    pub(crate) fn audit(&self, process: &Process, turn: u64) {
        for (name, partitions) in self.memory.topics() {
            let Some(topic) = self.broker.topic(&name) else { continue };
            for number in 0..partitions {
                let view =
                    topic.partition(number).and_then(|partition| self.seen(partition.read()));
                if let Some(view) = view.filter(|view| view.next_offset() > 0) {
                    self.audit_partition(process, (&name, number), &view, turn);
                }
            }
        }
    }

    fn audit_partition(
        &self,
        process: &Process,
        (topic, number): (&str, u32),
        view: &Partition,
        turn: u64,
    ) {
        let key = self.memory.key(topic, number);
        let place = (topic.to_owned(), number);
        let heads = self.memory.state().heads.get(&place).cloned().unwrap_or_default();
        for head in heads.iter().filter(|head| head.size <= view.next_offset()) {
            self.take_consistency(process, &key, view, *head);
        }
        let Some(head) = self.take_root(process, &key, view) else { return };
        let mut state = self.memory.state();
        let heads = state.heads.entry(place).or_default();
        if heads.len() == HEADS_MAX {
            heads.remove(1);
        }
        heads.push(head);
        drop(state);
        let (start, end) = (view.min_valid_offset(), view.next_offset());
        if start < end {
            self.take_proof(process, &key, view, start + turn % (end - start));
        }
    }

    fn take_root(&self, process: &Process, key: &Key, view: &Partition) -> Option<TreeHead> {
        let action =
            |answer| Action::Root(Box::new(Root { key: key.clone(), answer, rest: Vec::new() }));
        self.recorder.invoke(process, action(None));
        match view.merkle_root() {
            Ok(root) => {
                let size = view.next_offset();
                let root = root.map(|root| self.tamper.root(view, hash(root)));
                let head = root.map(|root| TreeHead { size, root });
                self.recorder.ok(process, action(head), Attachments::default());
                head
            }
            Err(error) => {
                self.refused(process, action(None), &error);
                None
            }
        }
    }

    fn take_proof(&self, process: &Process, key: &Key, view: &Partition, index: u64) {
        let action = |answer| {
            let proof = InclusionProof { key: key.clone(), index, answer, rest: Vec::new() };
            Action::Proof(Box::new(proof))
        };
        self.recorder.invoke(process, action(None));
        match inclusion(view, index) {
            Ok(answer) => {
                let answer = answer.map(|answer| self.tamper.proof(index, answer));
                self.recorder.ok(process, action(answer), Attachments::default());
            }
            Err(error) => self.refused(process, action(None), &error),
        }
    }

    fn take_consistency(&self, process: &Process, key: &Key, view: &Partition, old: TreeHead) {
        let (old_size, new_size) = (old.size, view.next_offset());
        let action = |answer| {
            let key = key.clone();
            let rest = Vec::new();
            Action::Consistency(Box::new(ConsistencyProof {
                key,
                old_size,
                new_size,
                answer,
                rest,
            }))
        };
        self.recorder.invoke(process, action(None));
        match view.consistency_proof(old_size) {
            Ok(proof) => {
                let answer = proof.map(|proof| Consistency {
                    old_root: old.root,
                    new_root: hash(proof.new_root),
                    path: proof.path.into_iter().map(hash).collect(),
                });
                self.recorder.ok(process, action(answer), Attachments::default());
            }
            Err(error) => self.refused(process, action(None), &error),
        }
    }

    fn refused(&self, process: &Process, action: Action, error: &Error) {
        self.recorder.met(name_of(error));
        self.recorder.not_ok(process, Kind::Fail, action, datum_of_error(error));
        self.note_damage(error);
    }
}

fn inclusion(view: &Partition, index: u64) -> Result<Option<Inclusion>> {
    let Some(record) = view.read_bytes(index)? else { return Ok(None) };
    let Some(proof) = view.proof(index)? else { return Ok(None) };
    Ok(Some(Inclusion {
        head: TreeHead { size: proof.siblings.tree_size, root: hash(proof.root) },
        record: hash(record.hash()),
        path: proof.siblings.path.into_iter().map(hash).collect(),
    }))
}
