//! Topics and partitions of which only the folders are left.
//!
//! | folder with records | becomes |
//! | --- | --- |
//! | of a partition that its living topic does not have | a partition of it |
//! | of a topic that nothing tells of | that topic, with the settings of one without any |
//! | the same, of a name of 200 characters or more | given up: the name may have been cut short, and it is part of what records hash to |
//! | the same, while a topic of an earlier incarnation has the name | that topic, in the place of the other, which must have been deleted |

use super::frames::find_spans;
use super::salvage::log_files;
use super::told::{Told, grow};
use crate::error::Result;
use crate::repair::{GivenUp, Report};
use crate::storage::codec::NUMBERS_AHEAD_MAX;
use crate::storage::entry::PartitionKey;
use crate::storage::files::PooledFile;
use crate::storage::frame::{frame_seed, records_max};
use crate::storage::judge_folders::{folders, parse_number};
use crate::storage::partition::{PartitionContext, TOPIC_DIR_NAME_CHARS, topic_dir_name};
use crate::storage::segment::parse_segment_file_name;
use crate::storage::settings::{PARTITIONS_MAX, TopicSettings};
use crate::storage::tables::empty_topic;
use crate::topic::check_name;
use std::path::{Path, PathBuf};

/// A topic's folder that cannot be taken over.
#[derive(Debug)]
pub(super) struct Abandoned {
    pub(super) dir: PathBuf,
    /// The part of the topic's name that the folder shows.
    pub(super) name: String,
    pub(super) incarnation: u64,
    /// How many partitions it has, if their records are lost with it.
    pub(super) partitions: u32,
}

/// Takes over what the folders show and `told` does not know. Incarnations below
/// `known_below` were known to the manifest.
pub(super) fn adopt(
    told: &mut Told,
    context: &PartitionContext,
    known_below: u64,
    report: &mut Report,
) -> Result<Vec<Abandoned>> {
    let mut abandoned = Vec::new();
    for entry in folders(context, &context.topics_dir)? {
        let Some((name, number)) = entry.name.rsplit_once('.') else { continue };
        let Some(incarnation) = parse_number::<u64>(number) else { continue };
        let dir = context.topics_dir.join(&entry.name);
        if incarnation.saturating_sub(told.next_incarnation) >= NUMBERS_AHEAD_MAX {
            continue;
        }
        let partitions = partitions_with_records(told, context, &dir, incarnation)?;
        if let Some(topic) = told.topics.get_mut(&incarnation) {
            if topic_dir_name(&topic.name, incarnation) == entry.name {
                grow(topic, partitions);
            }
            continue;
        }
        let is_known = incarnation < known_below || told.deleted.contains(&incarnation);
        if is_known || partitions == 0 || check_name(name).is_err() {
            continue;
        }
        told.next_incarnation = told.next_incarnation.max(incarnation + 1);
        let folder = entry.name.clone();
        let this = Abandoned { dir, name: name.to_owned(), incarnation, partitions };
        if name.chars().count() >= TOPIC_DIR_NAME_CHARS {
            report.given_up.push(GivenUp::TopicName { folder });
            abandoned.push(this);
            continue;
        }
        let namesake = told.topics.values().find(|topic| topic.name == name);
        if namesake.is_some_and(|topic| topic.incarnation > incarnation) {
            report.given_up.push(GivenUp::Topic { folder });
            abandoned.push(Abandoned { partitions: 0, ..this });
            continue;
        }
        told.replace_namesake(name, incarnation);
        report.given_up.push(GivenUp::TopicSettings { topic: name.to_owned() });
        let topic = empty_topic(name, incarnation, partitions, TopicSettings::default());
        told.topics.insert(incarnation, topic);
    }
    for topic in std::mem::take(&mut told.replaced) {
        let folder = topic_dir_name(&topic.name, topic.incarnation);
        let dir = context.topics_dir.join(&folder);
        report.given_up.push(GivenUp::Topic { folder });
        let (name, incarnation) = (topic.name, topic.incarnation);
        abandoned.push(Abandoned { dir, name, incarnation, partitions: 0 });
    }
    Ok(abandoned)
}

/// How many partitions a topic must have by the records of the last one.
fn partitions_with_records(
    told: &Told,
    context: &PartitionContext,
    dir: &Path,
    incarnation: u64,
) -> Result<u32> {
    let mut count = 0;
    let keys = told.frames.keys().filter(|key| key.incarnation == incarnation);
    count = keys.map(|key| key.partition.saturating_add(1)).fold(count, u32::max);
    for entry in folders(context, dir)? {
        let Some(partition) = parse_number::<u32>(&entry.name) else { continue };
        let key = PartitionKey { incarnation, partition };
        let known = told.topics.get(&incarnation).is_some_and(|topic| {
            usize::try_from(partition).is_ok_and(|index| index < topic.partitions.len())
        });
        if known || partition < count || partition >= PARTITIONS_MAX {
            continue;
        }
        if holds_records(context, &told.log_id, key, &dir.join(&entry.name))? {
            count = count.max(partition + 1);
        }
    }
    Ok(count)
}

fn holds_records(
    context: &PartitionContext,
    log_id: &[u8; 16],
    key: PartitionKey,
    dir: &Path,
) -> Result<bool> {
    let seed = frame_seed(log_id, key.incarnation, key.partition);
    for name in log_files(&context.pool, dir)? {
        let Some((base, ..)) = parse_segment_file_name(&name) else { continue };
        let file = PooledFile::existing(&context.pool, dir.join(&name));
        let len = file.len()?;
        let offsets = base..base.saturating_add(records_max(len));
        if !find_spans(&file, seed, 0..len, &offsets)?.found.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}
