//! Members of groups: subscribe, poll, commit, seek, leave.

use super::Bench;
use super::errors::{Damaged, damaged, datum_of as datum_of_error, name_of};
use super::names::{Lives, datum_of, key_in};
use merkql::broker::Broker;
use merkql::consumer::{Consumer, ConsumerConfig, OffsetReset};
use merkql::record::BytesRecord;
use merkql::{Error, Result};
use merkql_jepsen::history::{
    Action, Attachments, Commit, Datum, Key, Kind, MicroOp, Polled, Process, Rebalance,
};
use merkql_jepsen::merkle::Hash;
use std::collections::BTreeSet;
use std::time::Duration;

/// A topic and a partition.
pub(crate) type Place = (String, u32);

/// A live member of a group.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) process: Process,
    pub(crate) group: String,
    pub(crate) consumer: Consumer,
    /// What it was last seen to own.
    owned: BTreeSet<(Place, u32)>,
}

/// Records that a poll returned, as a history has them.
pub(crate) fn polled(lives: &Lives, records: &[BytesRecord]) -> (Vec<MicroOp>, Attachments) {
    let mut map: Vec<(Key, Vec<Polled>)> = Vec::new();
    let mut with = Attachments::default();
    let mut last: Option<(&str, u32)> = None;
    for record in records {
        if last != Some((&record.topic, record.partition)) {
            last = Some((&record.topic, record.partition));
            let key = lives.key(&record.topic, record.partition);
            map.push((key.clone(), Vec::new()));
            with.hashes.push((key, Vec::new()));
        }
        let value = datum_of(record);
        if let Some((_, polled)) = map.last_mut() {
            polled.push(Polled { offset: Some(record.offset), value });
        }
        if let Some((_, hashes)) = with.hashes.last_mut() {
            hashes.push((record.offset, Hash(record.hash().0)));
        }
    }
    (vec![MicroOp::Poll(Some(map))], with)
}

pub(crate) fn group_config(group: &str) -> ConsumerConfig {
    let group_id = group.to_owned();
    ConsumerConfig { group_id, auto_commit: false, offset_reset: OffsetReset::Earliest }
}

impl Bench {
    /// Joins a group.
    pub(crate) fn join(&self, group: &str, topics: &[String]) -> Result<Member> {
        let process = self.recorder.new_process();
        let keys = self.memory.keys_of(topics);
        self.recorder.invoke(&process, Action::Subscribe(keys.clone()));
        let mut consumer = Broker::consumer(&self.broker, group_config(group));
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        match consumer.subscribe(&names) {
            Ok(()) => {
                let with = Attachments { group: Some(Datum::str(group)), ..Attachments::default() };
                self.recorder.ok(&process, Action::Subscribe(keys), with);
                let owned = BTreeSet::new();
                Ok(Member { process, group: group.to_owned(), consumer, owned })
            }
            Err(error) => {
                self.recorder.met(name_of(&error));
                let action = Action::Subscribe(keys);
                self.recorder.not_ok(&process, Kind::Fail, action, datum_of_error(&error));
                Err(error)
            }
        }
    }

    /// Writes down which partitions the members of a group have lost and gained,
    /// the losses first.
    pub(crate) fn observe<'m>(&self, members: impl Iterator<Item = &'m mut Member>) {
        let lives = self.memory.lives();
        let mut gains = Vec::new();
        for member in members {
            let owned = member.consumer.assignment().into_iter();
            let owned: BTreeSet<(Place, u32)> = owned
                .map(|place| {
                    let life = lives.of(&place.0);
                    (place, life)
                })
                .collect();
            let keys = |places: Vec<&(Place, u32)>| -> Vec<Key> {
                places.iter().map(|((topic, number), life)| key_in(topic, *life, *number)).collect()
            };
            let revoked = keys(member.owned.difference(&owned).collect());
            let assigned = keys(owned.difference(&member.owned).collect());
            let event = |assigned, revoked| {
                let group = Datum::str(&member.group);
                let rebalance = Rebalance { group, assigned, revoked, rest: Vec::new() };
                (member.process.clone(), Action::Rebalance(Box::new(rebalance)))
            };
            if !revoked.is_empty() && !self.tamper.hides_losses() {
                self.note_as(event(Vec::new(), revoked));
            }
            if !assigned.is_empty() {
                gains.push(event(assigned, Vec::new()));
            }
            member.owned = owned;
        }
        for gain in gains {
            self.note_as(gain);
        }
    }

    fn note_as(&self, (process, action): (Process, Action)) {
        use merkql_jepsen::history::Operation;
        self.recorder.push(Operation::new(process, Kind::Info, action));
    }

    /// Begins a poll; [`Bench::end_poll`] ends it, after what others have lost by
    /// it was written down.
    pub(crate) fn poll(&self, member: &mut Member, timeout: Duration) -> Result<Vec<BytesRecord>> {
        self.recorder.invoke(&member.process, Action::Poll(vec![MicroOp::poll()]));
        member.consumer.poll_bytes(timeout)
    }

    /// Writes down what a poll returned. A damaged record is passed over.
    pub(crate) fn end_poll(
        &self,
        member: &mut Member,
        records: Result<Vec<BytesRecord>>,
    ) -> Result<usize> {
        self.memory.note_ends(&self.recorder, &self.broker);
        match records {
            Ok(records) => {
                let count = records.len();
                let (steps, with) = polled(&self.memory.lives(), &self.tamper.shown(records));
                self.recorder.ok(&member.process, Action::Poll(steps), with);
                Ok(count)
            }
            Err(error) => {
                self.recorder.met(name_of(&error));
                let action = Action::Poll(vec![MicroOp::poll()]);
                let datum = datum_of_error(&error);
                self.recorder.not_ok(&member.process, Kind::Fail, action, datum);
                if let Some(damaged) = self.note_damage(&error) {
                    // What is no longer owned is another's to pass.
                    self.pass_over(&member.process, &mut member.consumer, &damaged)
                        .unwrap_or_default();
                }
                Err(error)
            }
        }
    }

    /// Writes down what an error says is damaged, and returns it.
    pub(crate) fn note_damage(&self, error: &Error) -> Option<Damaged> {
        let damaged = damaged(error)?;
        self.recorder.note("detector", Action::Detected(Box::new(damaged.detected())));
        Some(damaged)
    }

    /// Moves past what is damaged.
    pub(crate) fn pass_over(
        &self,
        process: &Process,
        consumer: &mut Consumer,
        damaged: &Damaged,
    ) -> Result<()> {
        let Damaged { topic, partition, .. } = damaged;
        let position = consumer.position(topic, *partition)?;
        self.seek(process, consumer, (topic, *partition), damaged.behind(position))
    }

    fn seek(
        &self,
        process: &Process,
        consumer: &mut Consumer,
        (topic, partition): (&str, u32),
        to: u64,
    ) -> Result<()> {
        let action = Action::Seek(vec![(self.memory.key(topic, partition), to)]);
        self.recorder.invoke(process, action.clone());
        let sought = consumer.seek(topic, partition, to);
        match &sought {
            Ok(()) => self.recorder.ok(process, action, Attachments::default()),
            Err(error) => {
                self.recorder.met(name_of(error));
                self.recorder.not_ok(process, Kind::Fail, action, datum_of_error(error));
            }
        }
        sought
    }

    /// Moves the position of the first partition that is owned back.
    pub(crate) fn seek_back(&self, member: &mut Member, records: u64) {
        let Some((topic, partition)) = member.consumer.assignment().into_iter().next() else {
            return;
        };
        let Some(position) = self.seen(member.consumer.position(&topic, partition)) else { return };
        let to = position.saturating_sub(records);
        // A seek that fails is written down, and changes nothing.
        self.seek(&member.process, &mut member.consumer, (&topic, partition), to)
            .unwrap_or_default();
    }

    /// Commits the positions, and reads them back.
    pub(crate) fn commit(&self, member: &mut Member) -> Result<()> {
        let owned = member.consumer.assignment();
        let position = |(topic, number): &Place| {
            let position = self.seen(member.consumer.position(topic, *number))?;
            Some((self.memory.key(topic, *number), Some(position)))
        };
        let offsets: Vec<_> = owned.iter().filter_map(position).collect();
        let commit = Commit { group: Datum::str(&member.group), offsets, rest: Vec::new() };
        let action = Action::Commit(Box::new(commit));
        self.recorder.invoke(&member.process, action.clone());
        self.tamper.before_commit(member, &owned);
        let committed = member.consumer.commit_sync();
        self.tamper.after_commit(member, &owned);
        match committed {
            Ok(()) => self.recorder.ok(&member.process, action, Attachments::default()),
            Err(error) => {
                self.recorder.met(name_of(&error));
                // What is owned was committed even where something else was refused.
                let kind = match error {
                    Error::NotAssigned { .. } => Kind::Info,
                    _ => super::errors::kind_of(&error),
                };
                self.recorder.not_ok(&member.process, kind, action, datum_of_error(&error));
                return Err(error);
            }
        }
        self.read_committed(&member.process, &member.group, &member.consumer);
        Ok(())
    }

    /// Reads all committed offsets of a group.
    pub(crate) fn read_committed(&self, process: &Process, group: &str, consumer: &Consumer) {
        let topics = self.memory.topics();
        let places = topics
            .iter()
            .flat_map(|(topic, partitions)| (0..*partitions).map(move |number| (topic, number)));
        let asked: Vec<_> =
            places.clone().map(|(topic, number)| (self.memory.key(topic, number), None)).collect();
        let action = |offsets| {
            let commit = Commit { group: Datum::str(group), offsets, rest: Vec::new() };
            Action::Committed(Box::new(commit))
        };
        self.recorder.invoke(process, action(asked.clone()));
        // Others commit meanwhile, so nothing is read before the call has begun.
        let read = places.map(|(topic, number)| {
            let (key, offset) =
                (self.memory.key(topic, number), consumer.committed(topic, number)?);
            let offset = self.tamper.committed_offset(group, &key, offset);
            Ok((key, offset))
        });
        match read.collect::<Result<_>>() {
            Ok(read) => self.recorder.ok(process, action(read), Attachments::default()),
            Err(error) => {
                self.recorder.met(name_of(&error));
                self.recorder.not_ok(process, Kind::Fail, action(asked), datum_of_error(&error));
            }
        }
    }

    /// Leaves the group.
    pub(crate) fn leave(&self, mut member: Member) {
        self.recorder.invoke(&member.process, Action::Close(Datum::Nil));
        let action = Action::Close(Datum::Nil);
        match member.consumer.close() {
            Ok(()) => self.recorder.ok(&member.process, action, Attachments::default()),
            Err(error) => {
                self.recorder.met(name_of(&error));
                let datum = datum_of_error(&error);
                self.recorder.not_ok(&member.process, Kind::Info, action, datum);
            }
        }
    }
}
