//! The process that hosts the log and its clients: what dies when it dies.

use crate::client::Bench;
use crate::client::consume::Member;
use crate::client::errors::name_of;
use crate::client::produce::Pending;
use crate::client::topics::NewTopic;
use crate::scenario::{Action, Step};
use merkql::{Error, Result};
use merkql_jepsen::history::Process;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A client, as far as it lives in the log's process.
#[derive(Debug)]
struct Client {
    process: Process,
    member: Option<Member>,
    pending: BTreeMap<u32, Pending>,
}

/// What a client reads as a member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    group: String,
    topics: Vec<String>,
    /// Where it takes the records to, if it does.
    to: Option<String>,
}

/// What each client has subscribed to last: it does so again after a crash.
pub(crate) type Subscriptions = BTreeMap<String, Subscription>;

/// The process.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) bench: Bench,
    clients: BTreeMap<String, Client>,
    pub(crate) subscriptions: Subscriptions,
    /// How many records topics retain that are created now; 0 is all.
    pub(crate) retention_records: u64,
    /// A call has said that the log takes no writes any more.
    pub(crate) wants_reopen: bool,
}

impl Host {
    pub(crate) fn new(bench: Bench, subscriptions: Subscriptions, retention_records: u64) -> Self {
        let clients = BTreeMap::new();
        Self { bench, clients, subscriptions, retention_records, wants_reopen: false }
    }

    /// Carries out a client's step.
    pub(crate) fn perform(&mut self, step: &Step) {
        let done = self.try_perform(step);
        if let Err(error @ (Error::NeedsReopen { .. } | Error::Io { .. })) = &done {
            self.bench.recorder.met(name_of(error));
            self.wants_reopen = true;
        }
    }

    fn client(&mut self, name: &str) -> &mut Client {
        let bench = &self.bench;
        self.clients.entry(name.to_owned()).or_insert_with(|| Client {
            process: bench.recorder.new_process(),
            member: None,
            pending: BTreeMap::new(),
        })
    }

    fn try_perform(&mut self, step: &Step) -> Result<()> {
        let bench = self.bench.clone();
        let (by, id) = (step.by.as_str(), step.id);
        match &step.does {
            Action::CreateTopic { topic, partitions, compacted } => {
                let (partitions, is_compacted) = (*partitions, *compacted);
                let retention_records = self.retention_records;
                let new = NewTopic { partitions, retention_records, is_compacted };
                bench.create_topic(topic, new)
            }
            Action::DeleteTopic { topic } => {
                let deleted = bench.delete_topic(topic);
                self.observe_all();
                deleted
            }
            Action::AddPartitions { topic, more } => bench.add_partitions(topic, *more),
            Action::DeleteRecords { topic, partition, keep } => {
                bench.delete_records(topic, *partition, *keep)
            }
            Action::Send { records, producer: Some(producer), .. } => {
                bench.send_as(*producer, id, records)
            }
            Action::Send { records, later: true, .. } => {
                if let Some(pending) = bench.send_later(id, records)? {
                    self.client(by).pending.insert(id, pending);
                }
                Ok(())
            }
            Action::Send { records, .. } => {
                bench.send(&self.client(by).process.clone(), id, records)
            }
            Action::Wait { on } => match self.client(by).pending.remove(on) {
                Some(pending) => bench.wait(pending),
                None => Ok(()),
            },
            Action::Retry { producer } => bench.retry(*producer),
            Action::Subscribe { group, topics } => {
                self.leave(by);
                let (group, topics) = (group.clone(), topics.clone());
                let subscription = Subscription { group, topics, to: None };
                self.subscriptions.insert(by.to_owned(), subscription);
                self.join(by)
            }
            Action::Transfer { group, from, to, abort } => {
                let (group, topics) = (group.clone(), from.clone());
                let subscription = Subscription { group, topics, to: Some(to.clone()) };
                if self.subscriptions.get(by) != Some(&subscription) {
                    self.leave(by);
                    self.subscriptions.insert(by.to_owned(), subscription);
                }
                self.transfer(by, to, *abort)
            }
            Action::Poll => self.poll(by, Duration::ZERO),
            Action::PollWaiting { timeout_ms } => self.poll(by, Duration::from_millis(*timeout_ms)),
            Action::Commit => self.with_member(by, Bench::commit),
            Action::SeekBack { records } => self.with_member(by, |bench, member| {
                bench.seek_back(member, *records);
                Ok(())
            }),
            Action::Leave => {
                self.leave(by);
                self.subscriptions.remove(by);
                Ok(())
            }
            Action::Audit => {
                bench.audit(&self.client(by).process.clone(), u64::from(id));
                Ok(())
            }
            Action::Maintain => bench.maintain(),
            // The nemesis's own.
            _ => Ok(()),
        }
    }

    /// Joins the group that the client has subscribed to last.
    fn join(&mut self, by: &str) -> Result<()> {
        let Some(Subscription { group, topics, to }) = self.subscriptions.get(by).cloned() else {
            return Ok(());
        };
        let member = self.bench.join(&group, &topics)?;
        if to.is_some() {
            // What became of the last transaction shows by this.
            self.bench.read_committed(&member.process, &group, &member.consumer);
        }
        self.client(by).member = Some(member);
        self.observe(&group);
        Ok(())
    }

    /// Writes down who owns what in every group.
    fn observe_all(&mut self) {
        let members = self.clients.values().filter_map(|client| client.member.as_ref());
        let groups: BTreeSet<String> = members.map(|member| member.group.clone()).collect();
        for group in &groups {
            self.observe(group);
        }
    }

    /// Writes down who owns what in a group.
    fn observe(&mut self, group: &str) {
        let members = self.clients.values_mut().filter_map(|client| client.member.as_mut());
        self.bench.observe(members.filter(|member| member.group == group));
    }

    /// Does something as a member, which the client becomes if it was one before.
    fn with_member(
        &mut self,
        by: &str,
        does: impl FnOnce(&Bench, &mut Member) -> Result<()>,
    ) -> Result<()> {
        if self.client(by).member.is_none() {
            self.join(by)?;
        }
        let Some(mut member) = self.client(by).member.take() else { return Ok(()) };
        let done = does(&self.bench, &mut member);
        let group = member.group.clone();
        self.client(by).member = Some(member);
        self.observe(&group);
        done
    }

    fn poll(&mut self, by: &str, timeout: Duration) -> Result<()> {
        if self.client(by).member.is_none() {
            self.join(by)?;
        }
        let bench = self.bench.clone();
        let Some(member) = &mut self.client(by).member else { return Ok(()) };
        let records = bench.poll(member, timeout);
        let group = member.group.clone();
        // What was gained and lost by the poll stands before what it returned.
        self.observe(&group);
        match &mut self.client(by).member {
            Some(member) => bench.end_poll(member, records).map(drop),
            None => Ok(()),
        }
    }

    /// Polls once, and takes what that returned to another topic.
    fn transfer(&mut self, by: &str, to: &str, abort: bool) -> Result<()> {
        if self.bench.broker.topic(to).is_none() {
            return Ok(());
        }
        if self.client(by).member.is_none() {
            self.join(by)?;
        }
        let bench = self.bench.clone();
        let Some(member) = &mut self.client(by).member else { return Ok(()) };
        let records = bench.poll(member, Duration::ZERO);
        let inputs = records.clone().unwrap_or_default();
        let group = member.group.clone();
        self.observe(&group);
        let Some(member) = &mut self.client(by).member else { return Ok(()) };
        bench.end_poll(member, records)?;
        let done = bench.transfer(member, &inputs, to, abort);
        self.observe(&group);
        if done.is_err() {
            // It stands behind what it has not taken over, and begins anew.
            self.leave(by);
        }
        done.or_else(|error| if abort { Ok(()) } else { Err(error) })
    }

    fn leave(&mut self, by: &str) {
        if let Some(member) = self.client(by).member.take() {
            let group = member.group.clone();
            self.bench.leave(member);
            self.observe(&group);
        }
    }

    /// Lets everybody poll and commit until nothing more comes, and all that is
    /// pending be waited for.
    pub(crate) fn drain(&mut self) {
        let names: Vec<String> = self.clients.keys().cloned().collect();
        for name in &names {
            for pending in std::mem::take(&mut self.client(name).pending).into_values() {
                self.bench.wait(pending).unwrap_or_default();
            }
        }
        let members: Vec<String> = self.subscriptions.keys().cloned().collect();
        // Twice: what one gives up another takes over.
        for name in members.iter().chain(&members) {
            let to = self.subscriptions.get(name).and_then(|of| of.to.clone());
            let done = match to {
                Some(to) => self.transfer(name, &to, false),
                None => self.poll(name, Duration::ZERO).and(self.with_member(name, Bench::commit)),
            };
            self.wants_reopen |= done.is_err();
        }
    }

    /// Writes down what will have no answer any more, and gives back what has to
    /// be remembered.
    pub(crate) fn give_up(mut self) -> Subscriptions {
        for client in self.clients.values_mut() {
            for pending in std::mem::take(&mut client.pending).into_values() {
                self.bench.give_up(&pending);
            }
        }
        std::mem::take(&mut self.subscriptions)
    }
}
