//! Consumers that tell the history what they do: members of groups, and readers
//! on their own.

use super::recorder::{answer, key};
use super::run::{Run, keys};
use merkql::broker::{Broker, BrokerRef};
use merkql::consumer::{Consumer, ConsumerConfig, OffsetReset};
use merkql::record::Record;
use merkql_jepsen::history::{
    Action, Attachments, Commit, Datum, FinalPolls, Key, Kind, MicroOp, OffsetMap, Process,
};
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
        Self { run, process, group: group.to_owned(), consumer, uncommitted: Vec::new() }
    }

    /// Polls; nothing if that failed, and then the consumer is of no use any more.
    pub(crate) fn poll(&mut self, timeout: Duration) -> Option<Vec<Record>> {
        let recorder = &self.run.recorder;
        recorder.note(&self.process, Kind::Invoke, Action::Poll(vec![MicroOp::poll()]));
        let polled = self.consumer.poll(timeout);
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

    /// Reads from the committed offsets to the ends. Where reading begins is what
    /// was committed; where nothing is left to be read, it is the end.
    pub(crate) fn read_on(mut self, broker: &BrokerRef, topics: &[&str]) {
        let reader = self.run.recorder.new_process();
        let asked = self.offsets(keys(topics).into_iter().map(|key| (key, None)).collect());
        self.run.recorder.note(&reader, Kind::Invoke, Action::Committed(Box::new(asked)));
        let records = self.poll(NOW).expect("nothing fails after recovery");
        let begin = |topic: &&str| {
            let first = records.iter().find(|record| record.topic == **topic);
            first.map_or_else(|| Run::end_offset(broker, topic), |record| record.offset)
        };
        let begins = topics.iter().map(|topic| (key(topic), Some(begin(topic)))).collect();
        let found = Action::Committed(Box::new(self.offsets(begins)));
        self.run.recorder.note(&reader, Kind::Ok, found);
        assert_eq!(self.poll(NOW), Some(Vec::new()), "one poll returns everything");
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
