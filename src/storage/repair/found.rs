//! The manifest of a log that has lost both slots, as far as files tell it.
//!
//! ```text
//! identity    what stands in a slot for it, if frames or blocks hold under it; else
//!             what a frame tells ([`super::log_id`])
//! journal     names, settings, committed offsets, producers: what blocks still say
//! topics      the folders; of two with one name the later incarnation
//! partitions  their files ([`super::found_partition`])
//! ```

use super::adopt::Abandoned;
use super::blocks::Remains;
use super::found_partition::FoundPartition;
use super::log_id::{id_for, seed_of, state_behind_id};
use super::salvage::log_files;
use super::told::{Told, grow};
use crate::env::Access;
use crate::env::exact::read_up_to;
use crate::error::{IoContext, Result};
use crate::repair::{GivenUp, Mended, Report};
use crate::storage::codec::COUNTER_MAX;
use crate::storage::entry::PartitionKey;
use crate::storage::files::PooledFile;
use crate::storage::frame::{FRAME_HEADER_BYTES, Frame, FrameHeader};
use crate::storage::journal::JournalStart;
use crate::storage::judge_folders::{folders, parse_number};
use crate::storage::manifest::{Manifest, SLOT_HEADER_BYTES, TopicState};
use crate::storage::open::Opener;
use crate::storage::partition::{PartitionContext, TOPIC_DIR_NAME_CHARS, topic_dir_name};
use crate::storage::producers::Producers;
use crate::storage::segment::PartitionName;
use crate::storage::settings::{PARTITIONS_MAX, TopicSettings};
use crate::storage::slots::SLOT_NAMES;
use crate::storage::tables::empty_topic;
use crate::topic::check_name;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// How many frames of a file are looked at for the log's identity.
const SAMPLES: usize = 4;

/// What the files tell of a log.
pub(super) struct FoundLog {
    pub(super) told: Told,
    pub(super) abandoned: Vec<Abandoned>,
    /// Partitions whose stored hashes are to be written again.
    pub(super) partitions: Vec<FoundPartition>,
}

/// A folder of a topic.
struct Folder {
    name: String,
    incarnation: u64,
    dir: PathBuf,
    /// The numbers of its folders of partitions.
    partitions: Vec<u32>,
}

/// The log's identity: in a slot, in the frames, or a new one.
pub(super) fn find_log_id(opener: &Opener, report: &mut Report) -> Result<[u8; 16]> {
    let context = opener.partition_context([0; 16]);
    let samples = samples(&context)?;
    for slot in SLOT_NAMES {
        let path = opener.dir().join(slot);
        let Ok(file) = opener.env.file_system.open(&path, Access::Read) else { continue };
        let mut id = [0; 16];
        let read = read_up_to(&*file, &mut id, SLOT_HEADER_BYTES as u64);
        let holds = |(key, frame): &(PartitionKey, Vec<u8>)| {
            Frame::parse(seed_of(&id, *key), frame).is_some()
        };
        if read.is_ok_and(|read| read == id.len())
            && (samples.iter().any(holds) || has_blocks(opener, &context, id)?)
        {
            return Ok(id);
        }
    }
    report.given_up.push(GivenUp::Identity);
    let mut states: BTreeMap<u32, usize> = BTreeMap::new();
    for (key, frame) in &samples {
        if let Some(state) = state_behind_id(*key, frame) {
            *states.entry(state).or_default() += 1;
        }
    }
    let mut random = [0; 16];
    opener.env.entropy.fill(&mut random).at("draw random bytes for", opener.dir())?;
    let known = states.into_iter().max_by_key(|(_, count)| *count);
    // One frame among others may be damaged; two do not agree by chance.
    let known = known.filter(|(_, count)| *count > 1 || samples.len() == 1);
    Ok(known.map_or(random, |(state, _)| id_for(state, random)))
}

fn has_blocks(opener: &Opener, context: &PartitionContext, id: [u8; 16]) -> Result<bool> {
    Ok(Remains::of(&opener.journal_context(id), &context.pool)?.generation_max > 0)
}

/// The first frames of every file, as their headers have it.
fn samples(context: &PartitionContext) -> Result<Vec<(PartitionKey, Vec<u8>)>> {
    let mut samples = Vec::new();
    for folder in topic_folders(context)? {
        for partition in folder.partitions {
            let key = PartitionKey { incarnation: folder.incarnation, partition };
            let dir = folder.dir.join(partition.to_string());
            for name in log_files(&context.pool, &dir)? {
                let file = PooledFile::existing(&context.pool, dir.join(name));
                let mut position = 0;
                for _ in 0..SAMPLES {
                    let mut front = [0; FRAME_HEADER_BYTES];
                    let read = file.read_up_to(&mut front, position).unwrap_or_default();
                    let header = front.get(..read).and_then(FrameHeader::parse);
                    let Some(header) = header else { break };
                    let mut frame = vec![0; header.frame_len()];
                    let read = file.read_up_to(&mut frame, position).unwrap_or_default();
                    if read < frame.len() {
                        break;
                    }
                    position += frame.len() as u64;
                    samples.push((key, frame));
                }
            }
        }
    }
    Ok(samples)
}

fn topic_folders(context: &PartitionContext) -> Result<Vec<Folder>> {
    let mut found = Vec::new();
    for entry in folders(context, &context.topics_dir)? {
        let Some((name, number)) = entry.name.rsplit_once('.') else { continue };
        let Some(incarnation) = parse_number::<u64>(number) else { continue };
        let dir = context.topics_dir.join(&entry.name);
        let numbers = folders(context, &dir)?;
        let partitions = numbers.iter().filter_map(|entry| parse_number::<u32>(&entry.name));
        let partitions = partitions.filter(|number| *number < PARTITIONS_MAX).collect();
        if check_name(name).is_ok() && incarnation < COUNTER_MAX {
            found.push(Folder { name: name.to_owned(), incarnation, dir, partitions });
        }
    }
    // The later life of a name comes first.
    found.sort_by_key(|folder| std::cmp::Reverse(folder.incarnation));
    Ok(found)
}

/// What the files tell of the log of this identity.
pub(super) fn find_log(
    opener: &Opener,
    context: &PartitionContext,
    blocks: &BTreeMap<u64, super::blocks::Found>,
    report: &mut Report,
) -> Result<FoundLog> {
    let mut told = Told::new(nothing(context.log_id), opener.options.producers_max);
    for block in blocks.values() {
        // One that is malformed says nothing.
        let _ = told.follow(block);
    }
    report.mended.push(Mended::Manifest);
    report.given_up.extend([GivenUp::CommittedOffsets, GivenUp::Producers, GivenUp::Deletions]);
    let mut known = std::mem::take(&mut told.topics);
    told.replaced.clear();
    let mut found = FoundLog { told, abandoned: Vec::new(), partitions: Vec::new() };
    for folder in topic_folders(context)? {
        let told = &mut found.told;
        told.next_incarnation = told.next_incarnation.max(folder.incarnation + 1);
        if told.deleted.contains(&folder.incarnation) {
            continue;
        }
        let topic = known.remove(&folder.incarnation);
        let topic = topic
            .filter(|topic| folder.dir.ends_with(topic_dir_name(&topic.name, folder.incarnation)));
        match found.name_topic(&folder, topic, report) {
            Ok(topic) => found.take(opener, context, &folder, topic, report)?,
            Err(abandoned) => found.abandoned.push(abandoned),
        }
    }
    Ok(found)
}

impl FoundLog {
    /// The topic in a folder, without its records; or the folder, if it is nobody's.
    fn name_topic(
        &self,
        folder: &Folder,
        known: Option<TopicState>,
        report: &mut Report,
    ) -> std::result::Result<TopicState, Abandoned> {
        let count = folder.partitions.iter().max().map_or(0, |last| last + 1);
        let shown = folder.dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = known.as_ref().map_or(&folder.name, |topic| &topic.name).clone();
        let abandoned = |partitions| Abandoned {
            dir: folder.dir.clone(),
            name: name.clone(),
            incarnation: folder.incarnation,
            partitions,
        };
        if self.told.topics.values().any(|later| later.name == name) {
            report.given_up.push(GivenUp::Topic { folder: shown });
            return Err(abandoned(0));
        }
        if known.is_none() && name.chars().count() >= TOPIC_DIR_NAME_CHARS {
            report.given_up.push(GivenUp::TopicName { folder: shown });
            return Err(abandoned(count));
        }
        let mut topic = known.unwrap_or_else(|| {
            report.given_up.push(GivenUp::TopicSettings { topic: name.clone() });
            empty_topic(&name, folder.incarnation, count.max(1), TopicSettings::default())
        });
        grow(&mut topic, count);
        Ok(topic)
    }

    /// Takes the records of a topic's partitions.
    fn take(
        &mut self,
        opener: &Opener,
        context: &PartitionContext,
        folder: &Folder,
        mut topic: TopicState,
        report: &mut Report,
    ) -> Result<()> {
        for (partition, state) in (0_u32..).zip(&mut topic.partitions) {
            let key = PartitionKey { incarnation: folder.incarnation, partition };
            let seed = seed_of(&context.log_id, key);
            let name = PartitionName { topic: topic.name.as_str().into(), partition, seed };
            let dir = folder.dir.join(partition.to_string());
            let least = self.told.least_end(key);
            let now_ns = opener.env.now_ns();
            let found = FoundPartition::of(&context.pool, &dir, name, least, now_ns)?;
            *state = found.state.clone();
            let told = self.told.starts.get(&key).copied().unwrap_or_default();
            if state.log_start > told {
                let (topic, offset) = (topic.name.clone(), state.log_start);
                report.given_up.push(GivenUp::LogStart { topic, partition, offset });
            }
            if !found.tree_holds {
                report.given_up.push(GivenUp::Tree { topic: topic.name.clone(), partition });
                self.partitions.push(found);
            }
        }
        self.told.topics.insert(folder.incarnation, topic);
        Ok(())
    }
}

/// A log of which nothing is known.
pub(super) fn nothing(log_id: [u8; 16]) -> Manifest {
    Manifest {
        log_id,
        start: JournalStart {
            file: 0,
            position: 0,
            file_len: 0,
            generation: 0,
            nonce: 0,
            sequence: 1,
        },
        next_incarnation: 1,
        topics: Vec::new(),
        groups: BTreeMap::new(),
        producers: Producers::default(),
    }
}
