//! The write path: from operations to one durable block.

use super::block::BODY_BYTES_MAX;
use super::commit::{Numbered, Operation, Outcome};
use super::draft::{Draft, StagedRecords};
use super::entry::{Commit, Entry, PartitionKey, Placement};
use super::partition::PartitionLog;
use super::producers::{Judgement, Producers, Sent};
use super::store::{Footing, Store, Writer};
use super::structure::{Change, prepare_start};
use super::tables::TopicLog;
use crate::error::{Error, IoContext, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the operations of one block change, before it is committed.
#[derive(Debug, Default)]
pub(crate) struct BlockDraft {
    pub(crate) topics: BTreeMap<String, Arc<TopicLog>>,
    pub(crate) partitions: BTreeMap<PartitionKey, Draft>,
    /// Where logs are to begin once the records are there.
    pub(crate) starts: BTreeMap<PartitionKey, (Arc<PartitionLog>, u64)>,
    /// What has the block for itself.
    pub(crate) change: Option<Change>,
    commits: Vec<(String, Vec<Commit>)>,
    sent: Vec<(u64, Sent)>,
    /// Producers as they are after the sends of this block.
    producers: Producers,
}

impl BlockDraft {
    pub(crate) fn is_empty(&self) -> bool {
        let records = self.partitions.values().any(Draft::has_records);
        let structure = !self.topics.is_empty() || self.change.is_some() || !self.starts.is_empty();
        !records && !structure && self.commits.is_empty() && self.sent.is_empty()
    }
}

impl Store {
    /// Drafts one operation: everything that can fail is done here.
    pub(crate) fn prepare(
        &self,
        writer: &mut Writer,
        draft: &mut BlockDraft,
        operation: &Operation,
    ) -> Result<Outcome> {
        match operation {
            Operation::CreateTopic { name, partitions, settings } => {
                self.prepare_topic(writer, draft, name, *partitions, *settings).map(Outcome::Topic)
            }
            Operation::Write { records, commits, sent } => {
                if let Some(numbered) = sent
                    && let Judgement::Repeated(first) = self.judge(draft, numbered)?
                {
                    self.env.probe.mark("producer.repeated_send");
                    return Ok(Outcome::Repeated(first));
                }
                let placements = self.prepare_records(writer, draft, records)?;
                if let Some(numbered) = sent {
                    self.note_sent(writer, draft, numbered, &placements);
                }
                self.note_commits(draft, commits.as_ref());
                Ok(Outcome::Written(placements))
            }
            Operation::DeleteTopic { name } => self.prepare_deletion(draft, name),
            Operation::AddPartitions { name, partitions } => {
                self.prepare_growth(draft, name, *partitions)
            }
            Operation::DeleteRecords { partition, before_offset } => {
                prepare_start(draft, partition, *before_offset)
            }
            Operation::ForgetGroup { group } => {
                if self.tables().groups.contains_key(group) {
                    draft.change = Some(Change::Forget(group.clone()));
                }
                Ok(Outcome::Written(Vec::new()))
            }
        }
    }

    fn judge(&self, draft: &BlockDraft, numbered: &Numbered) -> Result<Judgement> {
        let Numbered { producer_id, sequence, .. } = *numbered;
        if draft.producers.next_sequence(producer_id) > 0 {
            return draft.producers.judge(producer_id, sequence);
        }
        self.tables().producers.judge(producer_id, sequence)
    }

    fn note_sent(
        &self,
        writer: &Writer,
        draft: &mut BlockDraft,
        numbered: &Numbered,
        placements: &[Placement],
    ) {
        let Numbered { producer_id: id, sequence, timestamp_ns } = *numbered;
        if draft.producers.next_sequence(id) == 0
            && let Some(state) = self.tables().producers.get(id)
        {
            draft.producers.insert(id, state.clone());
        }
        let block = writer.journal.start().sequence;
        let sent = Sent { sequence, timestamp_ns, placements: placements.to_vec() };
        draft.producers.record(id, sent.clone(), block, usize::MAX);
        draft.sent.push((id, sent));
    }

    /// What was read of a topic that is gone since needs no place any more.
    fn note_commits(&self, draft: &mut BlockDraft, commits: Option<&(String, Vec<Commit>)>) {
        let Some((group, commits)) = commits else { return };
        let tables = self.tables();
        let lives = |commit: &&Commit| tables.partition(commit.key).is_some();
        let commits: Vec<Commit> = commits.iter().filter(lives).copied().collect();
        if !commits.is_empty() {
            draft.commits.push((group.clone(), commits));
        }
    }

    fn prepare_records(
        &self,
        writer: &mut Writer,
        draft: &mut BlockDraft,
        records: &[StagedRecords],
    ) -> Result<Vec<Placement>> {
        records.iter().try_for_each(|staged| staged.partition.check_living())?;
        let (options, now_ns) = (self.options, self.env.now_ns());
        // Log and hashes of each partition; half the budget is left to readers.
        let pin = (draft.partitions.len() + records.len()) * 4 <= options.open_files_max;
        for staged in records {
            let drafted = draft.partitions.entry(staged.partition.key);
            let drafted = drafted.or_insert_with(|| Draft::new(&staged.partition, options, now_ns));
            drafted.reserve(staged.frames_len(), staged.records(), pin)?;
        }
        let mut placements = Vec::with_capacity(records.len());
        for staged in records {
            let Some(drafted) = draft.partitions.get_mut(&staged.partition.key) else { continue };
            let appended = drafted.append(staged, &mut writer.hasher);
            placements.push(appended.map_err(|malformed| Error::InvalidRecord {
                reason: malformed.expected,
                position: malformed.position,
            })?);
        }
        Ok(placements)
    }

    /// Makes a drafted block durable and readable.
    pub(crate) fn commit_block(&self, writer: &mut Writer, draft: BlockDraft) -> Result<()> {
        if draft.is_empty() {
            self.abandon(writer, draft);
            return Ok(());
        }
        encode(writer, &draft);
        let ready = self.make_firm(writer).and_then(|()| self.make_room(writer));
        if let Err(error) = ready {
            self.abandon(writer, draft);
            return Err(error);
        }
        writer.footing = Footing::Changed;
        let sequence = writer.journal.start().sequence;
        writer.journal.write(&mut writer.block)?;
        if self.env.probe.canary("publish-before-sync") {
            return self.apply(writer, draft, sequence).and_then(|()| writer.journal.sync());
        }
        if !self.env.probe.canary("acknowledge-before-sync") {
            writer.journal.sync()?;
        }
        // From here on the block is durable: there is no way back, only on.
        self.apply(writer, draft, sequence)
    }

    /// Puts the records of a durable block where readers look for them.
    fn apply(&self, writer: &mut Writer, mut draft: BlockDraft, sequence: u64) -> Result<()> {
        let canary = self.env.probe.canary("read-past-watermark");
        while canary && let Some((key, drafted)) = draft.partitions.pop_first() {
            drafted.apply().inspect_err(|error| self.latch.set(error))?;
            show(writer, key, drafted);
        }
        for partition in draft.partitions.values().filter(|draft| draft.has_records()) {
            partition.apply().inspect_err(|error| self.latch.set(error))?;
        }
        self.publish(writer, draft, sequence);
        Ok(())
    }

    /// Makes durable what a clean open only saw, before it is built upon: slots
    /// and names whose last sync may have failed.
    pub(crate) fn make_firm(&self, writer: &mut Writer) -> Result<()> {
        if writer.footing != Footing::Clean {
            return Ok(());
        }
        let start = writer.journal.start();
        let manifest = self.tables().to_manifest(self.context.log_id, start);
        writer.slots.write(&manifest)?;
        self.sync_names()?;
        writer.footing = Footing::Firm;
        Ok(())
    }

    /// Makes the names of the log's folders durable, whoever made them.
    pub(crate) fn sync_names(&self) -> Result<()> {
        let topics_dir = &self.context.topics_dir;
        let folders = topics_dir.ancestors().skip(1).take(2);
        for folder in std::iter::once(topics_dir.as_path()).chain(folders) {
            let synced = self.env.file_system.sync_dir(folder).at("sync", folder);
            synced.inspect_err(|error| self.latch.set(error))?;
        }
        Ok(())
    }

    /// Sees to it that the encoded block has room in the journal. Moving on to
    /// the next file begins a checkpoint; an earlier one must be complete.
    fn make_room(&self, writer: &mut Writer) -> Result<()> {
        let body_len = writer.block.body_len();
        if body_len > BODY_BYTES_MAX {
            let (size_bytes, limit_bytes) = (body_len as u64, BODY_BYTES_MAX as u64);
            return Err(Error::BatchTooLarge { size_bytes, limit_bytes });
        }
        if writer.journal.has_room(body_len) {
            return Ok(());
        }
        self.finish_checkpoint(writer)?;
        writer.journal.roll(body_len)?;
        self.begin_checkpoint(writer);
        Ok(())
    }

    /// Gives up a draft before its commit point, and what was made ready for it.
    fn abandon(&self, writer: &mut Writer, draft: BlockDraft) {
        if self.latch.check().is_err() {
            return;
        }
        for topic in draft.topics.values() {
            self.remove_folders(topic);
        }
        if let Some(Change::Grow { old, new }) = &draft.change {
            self.remove_partition_folders(old, new);
        }
        for drafted in draft.partitions.into_values() {
            let partition = Arc::clone(&drafted.partition);
            self.remove_files(drafted.abandon(), writer);
            if partition.abandon().is_err() {
                self.env.probe.mark("abandon.space_kept");
            }
            // Its files were changed, so the next checkpoint has to sync them.
            writer.touched.insert(partition.key, partition);
        }
    }

    fn publish(&self, writer: &mut Writer, draft: BlockDraft, sequence: u64) {
        let BlockDraft { topics, partitions, starts, change, commits, sent, producers: _ } = draft;
        let mut tables = self.tables_mut();
        for topic in topics.into_values() {
            tables.put(topic);
        }
        for (key, drafted) in partitions {
            show(writer, key, drafted);
        }
        for (group, commits) in commits {
            tables.commit(&group, &commits);
        }
        for (id, sent) in sent {
            tables.producers.record(id, sent, sequence, self.options.producers_max);
        }
        for (partition, offset) in starts.into_values() {
            writer.move_start(partition, offset);
        }
        if let Some(change) = change {
            writer.publish_change(&mut tables, change);
        }
        self.note_topics_version(&tables);
        drop(tables);
        self.appended.notify();
    }
}

/// Shows readers what was applied to one partition.
fn show(writer: &mut Writer, key: PartitionKey, drafted: Draft) {
    writer.touched.insert(key, Arc::clone(&drafted.partition));
    drafted.publish();
}

/// Writes the draft's entries into the writer's block buffer.
fn encode(writer: &mut Writer, draft: &BlockDraft) {
    let block = &mut writer.block;
    block.clear();
    let mut push = |entry: &Entry<'_>| block.push(|out| entry.encode(out));
    for topic in draft.topics.values() {
        push(&Entry::Create {
            name: &topic.name,
            incarnation: topic.incarnation,
            partitions: topic.partition_count(),
            settings: topic.settings,
        });
    }
    for drafted in draft.partitions.values() {
        drafted.entries().for_each(|entry| push(&entry));
    }
    for (key, (_, offset)) in &draft.starts {
        push(&Entry::Start { key: *key, offset: *offset });
    }
    if let Some(change) = &draft.change {
        push(&change.entry());
    }
    for (group, commits) in &draft.commits {
        push(&Entry::Commit { group, commits: commits.clone() });
    }
    for (producer_id, sent) in &draft.sent {
        push(&Entry::Sent { producer_id: *producer_id, sent: sent.clone() });
    }
}
