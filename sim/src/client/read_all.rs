//! Readers that go through every partition from its start to its end.

use super::Bench;
use super::consume::{group_config, polled};
use super::errors::{datum_of as datum_of_error, name_of};
use merkql::Result;
use merkql::broker::Broker;
use merkql::consumer::Consumer;
use merkql::record::BytesRecord;
use merkql_jepsen::history::{Action, Attachments, FinalPolls, Kind, MicroOp, Process};
use std::time::Duration;

/// How often a read is tried again that an I/O error has ended.
const ATTEMPTS_MAX: u32 = 5;

impl Bench {
    /// Reads everything, as a consumer whose group nobody else is in. Damaged
    /// records are written down and passed over.
    pub(crate) fn read_all(&self) -> Result<()> {
        self.memory.look_around(&self.recorder, &self.broker);
        let topics = self.memory.topics();
        if topics.is_empty() {
            return Ok(());
        }
        let process = self.recorder.new_process();
        let places = self.memory.places();
        let keys: Vec<_> =
            places.iter().map(|(topic, number)| self.memory.key(topic, *number)).collect();
        let number = {
            let mut state = self.memory.state();
            state.readers += 1;
            state.readers
        };
        self.recorder.invoke(&process, Action::Assign(keys.clone()));
        let config = group_config(&format!("reader-{number}"));
        let mut consumer = Broker::consumer(&self.broker, config);
        let names: Vec<&str> = topics.iter().map(|(name, _)| name.as_str()).collect();
        consumer.subscribe(&names)?;
        let with = Attachments { seek_to_beginning: true, ..Attachments::default() };
        self.recorder.ok(&process, Action::Assign(keys.clone()), with);

        let read = self.read_on(&process, &mut consumer);
        self.recorder.invoke(&process, Action::FinalPolls(FinalPolls::Asked(keys.clone())));
        if let Err(error) = read {
            let action = Action::FinalPolls(FinalPolls::Asked(keys));
            self.recorder.not_ok(&process, Kind::Fail, action, datum_of_error(&error));
            return Err(error);
        }
        let end = |(topic, number): &(String, u32)| {
            Ok((self.memory.key(topic, *number), self.end_of(topic, *number)?))
        };
        match places.iter().map(end).collect::<Result<_>>() {
            Ok(ends) => {
                let action = Action::FinalPolls(FinalPolls::Done(ends));
                self.recorder.ok(&process, action, Attachments::default());
                Ok(())
            }
            Err(error) => {
                self.recorder.met(name_of(&error));
                let action = Action::FinalPolls(FinalPolls::Asked(keys));
                self.recorder.not_ok(&process, Kind::Fail, action, datum_of_error(&error));
                Err(error)
            }
        }
    }

    /// Where a partition ends. One that is not there any more ends where it began,
    /// and whatever was seen in it is gone.
    fn end_of(&self, topic: &str, partition: u32) -> Result<u64> {
        let Some(topic) = self.broker.topic(topic) else { return Ok(0) };
        let Some(found) = topic.partition(partition) else { return Ok(0) };
        Ok(found.read()?.next_offset())
    }

    /// Polls until nothing more comes.
    fn read_on(&self, process: &Process, consumer: &mut Consumer) -> Result<()> {
        let mut attempts = 0;
        loop {
            self.recorder.invoke(process, Action::Poll(vec![MicroOp::poll()]));
            match consumer.poll_bytes(Duration::ZERO) {
                Ok(records) => {
                    let is_end = records.is_empty();
                    let (steps, with) = polled(&self.memory.lives(), &self.tamper.shown(records));
                    self.recorder.ok(process, Action::Poll(steps), with);
                    if is_end {
                        return Ok(());
                    }
                }
                Err(error) => {
                    self.recorder.met(name_of(&error));
                    let action = Action::Poll(vec![MicroOp::poll()]);
                    self.recorder.not_ok(process, Kind::Fail, action, datum_of_error(&error));
                    if let Some(damaged) = self.note_damage(&error) {
                        self.pass_over(process, consumer, &damaged)?;
                        continue;
                    }
                    attempts += 1;
                    if attempts == ATTEMPTS_MAX {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// The last records of two partitions, as a reader sees them who looks from
    /// within a write or a sync of the log: of two, because a batch that is shown
    /// in part shows in one and is missing in the other.
    pub(crate) fn peek(&self, turn: usize) {
        let places = self.memory.places();
        for (topic, number) in places.iter().cycle().skip(turn % places.len().max(1)).take(2) {
            self.peek_at(topic, *number);
        }
    }

    fn peek_at(&self, name: &str, number: u32) {
        let Some(topic) = self.broker.topic(name) else { return };
        let view = topic.partition(number).and_then(|found| self.seen(found.read()));
        let Some(view) = view else { return };
        let end = view.next_offset();
        let process = self.recorder.new_process();
        let keys = vec![self.memory.key(name, number)];
        self.recorder.invoke(&process, Action::Assign(keys.clone()));
        self.recorder.ok(&process, Action::Assign(keys.clone()), Attachments::default());
        self.recorder.invoke(&process, Action::Poll(vec![MicroOp::poll()]));
        let records: Result<Vec<BytesRecord>> = view.read_range_bytes(end.saturating_sub(2), end);
        match records {
            Ok(records) => {
                let (steps, mut with) = polled(&self.memory.lives(), &records);
                with.ends = keys.into_iter().map(|key| (key, end)).collect();
                self.recorder.ok(&process, Action::Poll(steps), with);
            }
            Err(error) => {
                self.recorder.met(name_of(&error));
                let action = Action::Poll(vec![MicroOp::poll()]);
                self.recorder.not_ok(&process, Kind::Fail, action, datum_of_error(&error));
                self.note_damage(&error);
            }
        }
    }
}
