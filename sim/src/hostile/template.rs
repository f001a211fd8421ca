//! A directory that a real broker has made, and everything that was acknowledged
//! meanwhile.

use super::folder::{DATA_DIR, Folder, LOG};
use super::journal::{Effects, whole_blocks};
use super::observe::{Answer, observe};
use super::tails::Memory;
use super::truth::Truth;
use super::watch::{Meter, Metered};
use crate::clock::SimClock;
use crate::disk::{SimDisk, SimProcess};
use crate::entropy::SimEntropy;
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::compression::Compression;
use merkql::consumer::{ConsumerConfig, OffsetReset};
use merkql::env::FileSystem;
use merkql::error::Result;
use merkql::record::{BytesProducerRecord, BytesRecord};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Every so many steps a copy of the directory is kept, to roll files back to.
const STEPS_BETWEEN_COPIES: usize = 6;

/// A directory, what it must hold, and what it was before.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) name: &'static str,
    pub(crate) compression: Compression,
    pub(crate) disk: SimDisk,
    pub(crate) folder: Folder,
    pub(crate) older: Vec<Folder>,
    pub(crate) truth: Truth,
    pub(crate) memory: Memory,
    /// How many operations it takes to read and prove all of it.
    pub(crate) operations: u64,
    /// A bug that is planted in the log when its copies are opened.
    pub(crate) canary: Option<&'static str>,
}

/// How the broker of a template, and of its cases, is opened.
pub(crate) fn config(
    file_system: Arc<dyn FileSystem>,
    clock: &Arc<SimClock>,
    compression: Compression,
    seed: u64,
) -> BrokerConfig {
    BrokerConfig {
        compression,
        segment_bytes: 1536,
        index_interval_bytes: 256,
        journal_initial_bytes: 8 << 10,
        journal_max_bytes: 32 << 10,
        max_open_files: 24,
        file_system,
        clock: Arc::clone(clock) as _,
        entropy: Arc::new(SimEntropy::new(seed)),
        ..BrokerConfig::new(DATA_DIR)
    }
}

/// Makes a directory, and writes down what was acknowledged.
#[derive(Debug)]
pub(crate) struct Maker {
    pub(crate) disk: SimDisk,
    pub(crate) compression: Compression,
    /// Whether retention or compaction takes records away.
    pub(crate) removes: bool,
    clock: Arc<SimClock>,
    lives: u64,
    steps: usize,
    older: Vec<Folder>,
    blocks: BTreeMap<u64, Effects>,
    acknowledged: BTreeMap<(String, u32), Vec<BytesRecord>>,
    commits: BTreeMap<(String, String, u32), u64>,
}

impl Maker {
    pub(crate) fn new(compression: Compression) -> Self {
        Self {
            disk: SimDisk::new(),
            compression,
            removes: false,
            clock: Arc::new(SimClock::new()),
            lives: 0,
            steps: 0,
            older: Vec::new(),
            blocks: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            commits: BTreeMap::new(),
        }
    }

    pub(crate) fn open(&mut self) -> Result<BrokerRef> {
        self.lives += 1;
        let process: Arc<SimProcess> = Arc::new(self.disk.process());
        Broker::open(config(process, &self.clock, self.compression, self.lives))
    }

    /// Notes that something was acknowledged, and lets a second go by.
    fn step(&mut self) {
        self.clock.advance(Duration::from_secs(1));
        let now = Folder::of(&self.disk);
        if let Some(log_id) = super::layout::log_id(&now) {
            self.blocks.extend(whole_blocks(&now, &log_id));
        }
        if self.steps.is_multiple_of(STEPS_BETWEEN_COPIES) {
            self.older.push(now);
        }
        self.steps += 1;
    }

    pub(crate) fn acknowledge(&mut self, records: Vec<BytesRecord>) {
        for record in records {
            let place = (record.topic.to_string(), record.partition);
            self.acknowledged.entry(place).or_default().push(record);
        }
        self.step();
    }

    /// Sends records as one batch.
    pub(crate) fn send(
        &mut self,
        broker: &BrokerRef,
        records: &[BytesProducerRecord],
    ) -> Result<()> {
        let sent = Broker::producer(broker).send_bytes_batch(records)?;
        self.acknowledge(sent);
        Ok(())
    }

    pub(crate) fn create(&mut self, topic: &str, partitions: u32) {
        for partition in 0..partitions {
            self.acknowledged.entry((topic.to_owned(), partition)).or_default();
        }
        self.step();
    }

    pub(crate) fn commit(
        &mut self,
        broker: &BrokerRef,
        group: &str,
        (topic, partition): (&str, u32),
        offset: u64,
    ) -> Result<()> {
        let config = ConsumerConfig {
            group_id: group.to_owned(),
            auto_commit: false,
            offset_reset: OffsetReset::Earliest,
        };
        let mut consumer = Broker::consumer(broker, config);
        consumer.assign(&[(topic, partition)])?;
        consumer.commit_sync_offsets(&[((topic, partition), offset)])?;
        self.note_commit(group, (topic, partition), offset);
        self.step();
        Ok(())
    }

    pub(crate) fn note_commit(&mut self, group: &str, place: (&str, u32), offset: u64) {
        let (topic, partition) = place;
        self.commits.insert((group.to_owned(), topic.to_owned(), partition), offset);
    }

    pub(crate) fn delete(&mut self, broker: &BrokerRef, topic: &str) -> Result<()> {
        broker.delete_topic(topic)?;
        self.acknowledged.retain(|(name, _), _| name != topic);
        self.commits.retain(|(_, name, _), _| name != topic);
        self.step();
        Ok(())
    }

    /// Takes the directory as it is, nobody having it open, and sees to it that a
    /// log opened on it serves what was acknowledged. Fails with a message.
    pub(crate) fn finish(mut self, name: &'static str) -> std::result::Result<Template, String> {
        self.step();
        let folder = Folder::of(&self.disk);
        let memory = Memory::of(&folder, std::mem::take(&mut self.blocks));
        let mut truth = Truth { commits: self.commits, ..Truth::default() };
        for (place, records) in self.acknowledged {
            let partition = truth.partitions.entry(place).or_default();
            partition.records = records;
            partition.seal();
        }
        let meter = Meter::new(u64::MAX);
        let clean = self.disk.fork();
        let file_system = Arc::new(Metered::new(clean.process(), &meter));
        let config = config(file_system, &self.clock, self.compression, 1 << 32);
        let broker = Broker::open(config).map_err(|error| format!("{name}: {error}"))?;
        let sight = observe(&broker, &truth);
        let left = Folder::of(&clean);
        for ((topic, number), partition) in &mut truth.partitions {
            let seen = sight.partitions.get(&(topic.clone(), *number));
            let seen = seen.ok_or_else(|| format!("{name}: {topic}/{number} is not there"))?;
            if seen.next_offset != partition.next_offset()
                || (!self.removes && seen.log_start > 0)
                || seen.root != partition.root(seen.next_offset).filter(|_| seen.next_offset > 0)
            {
                return Err(format!("{name}: {topic}/{number} is not what was acknowledged"));
            }
            partition.log_start = seen.log_start;
            for (offset, answer) in &seen.records {
                match answer {
                    Answer::Record(record) if partition.record(*offset) == Some(&**record) => {
                        partition.readable.insert(*offset);
                    }
                    Answer::Nothing if self.removes && *offset < partition.next_offset() => {}
                    other => return Err(format!("{name}: {topic}/{number}/{offset}: {other:?}")),
                }
            }
            partition.incarnation = incarnation_of(topic, &left).ok_or("a topic has no folder")?;
        }
        drop(broker);
        Ok(Template {
            name,
            compression: self.compression,
            disk: self.disk.fork(),
            folder,
            older: self.older,
            truth,
            memory,
            operations: meter.operations(),
            canary: None,
        })
    }
}

/// The incarnation in which a topic lives, by the names of the folders: the latest.
fn incarnation_of(topic: &str, folder: &Folder) -> Option<u64> {
    let below = format!("{LOG}/topics/{topic}.");
    folder.dirs.iter().filter_map(|dir| dir.strip_prefix(&below)?.parse().ok()).max()
}
