//! Judging the folders of topics and partitions: which of them nothing names.
//!
//! | folder | is |
//! | --- | --- |
//! | `<topic>.<n>`, n living | the topic's, or somebody's copy under another name: stays |
//! | `<topic>.<n>`, n used, not living | what is left of a deleted topic, or of a creation that failed: goes |
//! | `<topic>.<n>`, n not used | a creation that was cut off, and must hold no record: goes |
//! | `<partition>` of a living topic that has fewer | partitions whose addition was cut off: the same |

use super::codec::NUMBERS_AHEAD_MAX;
use super::files::PooledFile;
use super::frame::frame_seed;
use super::judge::{Findings, refuse_unknown_records};
use super::partition::{HASHES_FILE, PartitionContext, PartitionLog, topic_dir_name};
use super::segment::parse_segment_file_name;
use super::tables::TopicLog;
use crate::env::{DirEntry, EntryKind};
use crate::error::{Error, IoContext, Result};
use crate::topic::check_name;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

/// The files in the partition's folder, if there is one. Fails with [`Error::Corrupt`]
/// where a folder has the name of a file: no recovery would get past it.
pub(crate) fn file_names(partition: &PartitionLog) -> Result<Option<Vec<String>>> {
    let dir = partition.dir();
    let entries = match partition.pool().file_system().list(dir).at("list", dir) {
        Err(error) if error.is_not_found() => return Ok(None),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let is_ours = entry.name == HASHES_FILE || parse_segment_file_name(&entry.name).is_some();
        match entry.kind {
            EntryKind::File => names.push(entry.name),
            EntryKind::Directory if is_ours => {
                let reason = "a folder stands in the place of the file";
                return Err(Error::corrupt(&dir.join(&entry.name), 0, reason));
            }
            _ => {}
        }
    }
    Ok(Some(names))
}

/// Finds folders that neither manifest nor journal names. One that they cannot
/// know must hold no record.
pub(crate) fn judge_topic_folders(
    context: &PartitionContext,
    living: &[&Arc<TopicLog>],
    findings: &mut Findings,
) -> Result<()> {
    let topics_dir = &context.topics_dir;
    let known_below = findings.next_incarnation;
    let by_name: BTreeMap<String, &TopicLog> = living
        .iter()
        .map(|topic| (topic_dir_name(&topic.name, topic.incarnation), &***topic))
        .collect();
    let incarnations: BTreeSet<u64> = living.iter().map(|topic| topic.incarnation).collect();
    for entry in folders(context, topics_dir)? {
        let Some((name, number)) = entry.name.rsplit_once('.') else { continue };
        let Some(incarnation) = parse_number::<u64>(number) else { continue };
        if incarnation.saturating_sub(known_below) >= NUMBERS_AHEAD_MAX {
            continue;
        }
        let dir = topics_dir.join(&entry.name);
        if let Some(topic) = by_name.get(&entry.name) {
            judge_partition_folders(context, &dir, topic, findings)?;
            continue;
        }
        findings.next_incarnation = findings.next_incarnation.max(incarnation + 1);
        // One that lives does so under its own name; this is somebody's copy.
        let ours = check_name(name).is_ok() && !incarnations.contains(&incarnation);
        if incarnation >= known_below {
            refuse_unknown_topic(context, &dir, incarnation)?;
            findings.leftover_folders.push(dir);
        } else if ours {
            findings.leftover_folders.push(dir);
        }
    }
    Ok(())
}

/// The number, if the text is one as the log writes it: other names are not ours.
pub(crate) fn parse_number<N: FromStr + ToString>(text: &str) -> Option<N> {
    text.parse().ok().filter(|number: &N| number.to_string() == text)
}

pub(crate) fn folders(context: &PartitionContext, dir: &Path) -> Result<Vec<DirEntry>> {
    match context.pool.file_system().list(dir).at("list", dir) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        entries => {
            let mut entries = entries?;
            entries.retain(|entry| entry.kind == EntryKind::Directory);
            Ok(entries)
        }
    }
}

/// Finds folders of partitions that a living topic does not have.
fn judge_partition_folders(
    context: &PartitionContext,
    dir: &Path,
    topic: &TopicLog,
    findings: &mut Findings,
) -> Result<()> {
    for entry in folders(context, dir)? {
        let Some(partition) = parse_number::<u32>(&entry.name) else { continue };
        if partition >= topic.partition_count() {
            let dir = dir.join(&entry.name);
            refuse_unknown_partition(context, &dir, topic.incarnation, partition)?;
            findings.leftover_folders.push(dir);
        }
    }
    Ok(())
}

fn refuse_unknown_topic(context: &PartitionContext, dir: &Path, incarnation: u64) -> Result<()> {
    for entry in folders(context, dir)? {
        let Some(partition) = parse_number::<u32>(&entry.name) else { continue };
        refuse_unknown_partition(context, &dir.join(&entry.name), incarnation, partition)?;
    }
    Ok(())
}

fn refuse_unknown_partition(
    context: &PartitionContext,
    dir: &Path,
    incarnation: u64,
    partition: u32,
) -> Result<()> {
    let seed = frame_seed(&context.log_id, incarnation, partition);
    for file in context.pool.file_system().list(dir).at("list", dir)? {
        if parse_segment_file_name(&file.name).is_some_and(|(_, _, extension)| extension == "log") {
            let file = PooledFile::existing(&context.pool, dir.join(&file.name));
            if !context.probe.canary("unknown-records-forgiven") {
                refuse_unknown_records(&file, seed, 0, 0)?;
            }
        }
    }
    Ok(())
}
