//! Consumers that tell the history what they do: members of groups, and readers
//! on their own.

use super::recorder::{answer, key};
use super::run::{Run, keys};
use merkql::broker::{Broker, BrokerRef};
use merkql::consumer::{Consumer, ConsumerConfig, OffsetReset};
use merkql::record::Record;
use merkql_jepsen::history::{
    Action, Attachments, Commit, Datum, FinalPolls, Key, Kind, MicroOp, OffsetMap, Process,
    Rebalance,
};
use shuttle::future::block_on;
use std::collections::BTreeMap;
use std::time::Duration;

/// For a poll that must not wait.
pub(crate) const NOW: Duration = Duration::ZERO;

/// A member of a group. It commits what it polled before it polls again, if at
/// all: then what a commit covers is what the last poll returned.
pub(crate) struct Member<'r> {
    run: &'r Run,
    process: Process,
    group: String,
    consumer: Consumer,
    /// Behind what the last poll returned.
    uncommitted: OffsetMap,
    /// What was assigned to it after the last poll.
    assigned: Vec<Key>,
}

impl<'r> Member<'r> {
    /// A consumer that shares the topics with its group.
    pub(crate) fn join(run: &'r Run, broker: &BrokerRef, group: &str, topics: &[&str]) -> Self {
        let mut member = Self::new(run, broker, group, run.recorder.new_process());
        let subscribe = Action::Subscribe(keys(topics));
        let group = Attachments { group: Some(Datum::str(group)), ..Attachments::default() };
        run.recorder.note_with(&member.process, Kind::Invoke, subscribe.clone(), group.clone());
        let kind = run.kind(&member.consumer.subscribe(topics));
        run.recorder.note_with(&member.process, kind, subscribe, group);
        member
    }

    /// A consumer alone in its group, which therefore is assigned everything and
    /// may skip nothing.
    pub(crate) fn alone(run: &'r Run, broker: &BrokerRef, topics: &[&str]) -> Self {
        Self::alone_as(run, broker, topics, run.recorder.new_process())
    }

    fn alone_as(run: &'r Run, broker: &BrokerRef, topics: &[&str], process: Process) -> Self {
        let mut member = Self::new(run, broker, &format!("only {process}"), process);
        let assign = Action::Assign(keys(topics));
        let sought = Attachments { seek_to_beginning: true, ..Attachments::default() };
        run.recorder.note_with(&member.process, Kind::Invoke, assign.clone(), sought.clone());
        let kind = run.kind(&member.consumer.subscribe(topics));
        run.recorder.note_with(&member.process, kind, assign, sought);
        member
    }

    fn new(run: &'r Run, broker: &BrokerRef, group: &str, process: Process) -> Self {
        let config = ConsumerConfig {
            group_id: group.to_owned(),
            auto_commit: true,
            offset_reset: OffsetReset::Earliest,
        };
        let consumer = Broker::consumer(broker, config);
        let group = group.to_owned();
        Self { run, process, group, consumer, uncommitted: Vec::new(), assigned: Vec::new() }
    }

    /// Polls; nothing if that failed, and then the consumer is of no use any more.
    pub(crate) fn poll(&mut self, timeout: Duration) -> Option<Vec<Record>> {
        self.polling(|consumer| consumer.poll(timeout))
    }

    /// As [`Member::poll`], for ever, by blocking the thread or by a future.
    pub(crate) fn poll_for_ever(&mut self, awaits: bool) -> Option<Vec<Record>> {
        self.polling(|consumer| {
            if awaits { block_on(consumer.poll_async()) } else { consumer.poll(Duration::MAX) }
        })
    }

    fn polling(
        &mut self,
        poll: impl FnOnce(&mut Consumer) -> merkql::Result<Vec<Record>>,
    ) -> Option<Vec<Record>> {
        let recorder = &self.run.recorder;
        recorder.note(&self.process, Kind::Invoke, Action::Poll(vec![MicroOp::poll()]));
        let polled = poll(&mut self.consumer);
        self.note_rebalance();
        let kind = self.run.kind(&polled);
        let records = polled.unwrap_or_default();
        let (action, hashes) = answer(&records);
        let attachments = Attachments { hashes, ..Attachments::default() };
        recorder.note_with(&self.process, kind, action, attachments);
        let mut ends = BTreeMap::new();
        for record in &records {
            ends.insert(record.topic.clone(), record.offset + 1);
            self.run.delivered(&self.group, record);
        }
        self.uncommitted = ends.into_iter().map(|(topic, end)| (key(&topic), end)).collect();
        (kind == Kind::Ok).then_some(records)
    }

    /// Tells what the poll has changed in what the member owns.
    fn note_rebalance(&mut self) {
        if !self.run.rebalances {
            return;
        }
        let now = self.consumer.assignment();
        let now: Vec<Key> = now.into_iter().map(|(topic, _)| key(&topic)).collect();
        let missing = |from: &[Key], of: &[Key]| -> Vec<Key> {
            of.iter().filter(|key| !from.contains(key)).cloned().collect()
        };
        let (assigned, revoked) = (missing(&self.assigned, &now), missing(&now, &self.assigned));
        self.assigned = now;
        if assigned.is_empty() && revoked.is_empty() {
            return;
        }
        self.run.tally.count("rebalanced");
        let (group, rest) = (Datum::str(&self.group), Vec::new());
        let rebalance = Rebalance { group, assigned, revoked, rest };
        let rebalance = Action::Rebalance(Box::new(rebalance));
        self.run.recorder.note(&self.process, Kind::Ok, rebalance);
    }

    /// Commits what the last poll returned; returns whether all of it was.
    pub(crate) fn commit(&mut self) -> bool {
        self.committing(Consumer::commit_sync)
    }

    /// Leaves the group, committing what the last poll returned.
    pub(crate) fn close(mut self) {
        self.committing(Consumer::close);
        self.run.note_call(&self.process, &Action::Close(Datum::Nil));
    }

    /// Leaves the group and commits nothing.
    pub(crate) fn leave(self) {
        let (run, process) = (self.run, self.process.clone());
        run.recorder.note(&process, Kind::Invoke, Action::Close(Datum::Nil));
        drop(self);
        run.recorder.note(&process, Kind::Ok, Action::Close(Datum::Nil));
    }

    fn committing(&mut self, call: fn(&mut Consumer) -> merkql::Result<()>) -> bool {
        let offsets = std::mem::take(&mut self.uncommitted);
        if offsets.is_empty() {
            return self.run.kind(&call(&mut self.consumer)) == Kind::Ok;
        }
        for (key, offset) in &offsets {
            self.run.must_be_delivered(&self.group, key, *offset);
        }
        let offsets = offsets.into_iter().map(|(key, offset)| (key, Some(offset))).collect();
        let commit = Action::Commit(Box::new(self.offsets(offsets)));
        self.run.recorder.note(&self.process, Kind::Invoke, commit.clone());
        let kind = self.run.kind(&call(&mut self.consumer));
        self.run.recorder.note(&self.process, kind, commit);
        kind == Kind::Ok
    }

    fn offsets(&self, offsets: Vec<(Key, Option<u64>)>) -> Commit {
        Commit { group: Datum::str(&self.group), offsets, rest: Vec::new() }
    }

    /// Asks what the group has committed.
    pub(crate) fn look_up_committed(&self, topics: &[&str]) {
        let reader = self.run.recorder.new_process();
        let asked = self.offsets(keys(topics).into_iter().map(|key| (key, None)).collect());
        self.run.recorder.note(&reader, Kind::Invoke, Action::Committed(Box::new(asked)));
        let committed = topics
            .iter()
            .map(|topic| self.consumer.committed(topic, 0).map(|offset| (key(topic), offset)));
        let committed: merkql::Result<Vec<_>> = committed.collect();
        let kind = self.run.kind(&committed);
        let found = self.offsets(committed.unwrap_or_default());
        self.run.recorder.note(&reader, kind, Action::Committed(Box::new(found)));
    }

    /// Reads on to the ends from where the group has come.
    pub(crate) fn read_on(mut self, topics: &[&str]) {
        self.look_up_committed(topics);
        while self.poll(NOW).is_some_and(|records| !records.is_empty()) {}
        self.leave();
    }

    /// Reads everything there is, as the last reader of a history.
    pub(crate) fn audit(run: &'r Run, broker: &BrokerRef, topics: &[&str], process: &Process) {
        let mut auditor = Self::alone_as(run, broker, topics, process.clone());
        if topics.is_empty() {
            return;
        }
        while auditor.poll(NOW).is_some_and(|records| !records.is_empty()) {}
        let asked = Action::FinalPolls(FinalPolls::Asked(keys(topics)));
        run.recorder.note(process, Kind::Invoke, asked);
        let ends = topics.iter().map(|topic| (key(topic), Run::end_offset(broker, topic)));
        let done = Action::FinalPolls(FinalPolls::Done(ends.collect()));
        run.recorder.note(process, Kind::Ok, done);
    }
}
