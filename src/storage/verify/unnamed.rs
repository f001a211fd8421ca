//! Files and folders that nothing accounts for.
//!
//! A crash leaves names behind that the next opening removes; those are no findings.
//! In a log that was closed there are none, and names that the log would not give to
//! anything are somebody else's at any time.

use super::Findings;
use crate::env::{DirEntry, EntryKind};
use crate::error::{IoContext, Result};
use crate::storage::journal::parse_file_name;
use crate::storage::judge::Findings as Judged;
use crate::storage::open::{JOURNAL_DIR, LOCK_FILE, Opener, TOPICS_DIR};
use crate::storage::partition::{HASHES_FILE, PartitionContext, topic_dir_name};
use crate::storage::segment::parse_segment_file_name;
use crate::storage::slots::SLOT_NAMES;
use crate::storage::tables::Tables;
use crate::verify::{Finding, FindingKind};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Looks through all folders of the log.
pub(super) fn find_unnamed(
    opener: &Opener,
    context: &PartitionContext,
    tables: &Tables,
    judged: &Judged,
    was_closed: bool,
    findings: &mut Findings,
) -> Result<()> {
    let left_over = judged.leftover_files.iter().chain(&judged.leftover_folders);
    let left_over = left_over.map(PathBuf::as_path).collect();
    let mut search = Search { context, left_over, was_closed, findings };
    let [slot_a, slot_b] = SLOT_NAMES;
    search.folder(opener.dir(), |entry| match entry.kind {
        EntryKind::Directory => [JOURNAL_DIR, TOPICS_DIR].contains(&entry.name.as_str()),
        _ => [LOCK_FILE, slot_a, slot_b].contains(&entry.name.as_str()),
    })?;
    search.folder(&opener.dir().join(JOURNAL_DIR), |entry| {
        entry.kind == EntryKind::File && parse_file_name(&entry.name).is_some()
    })?;
    let before = tables.topics.values();
    let before = before.filter(|topic| !judged.renewed.contains_key(&topic.incarnation));
    let topics: Vec<_> = before
        .chain(judged.renewed.values())
        .filter(|topic| !judged.deleted.contains(&topic.incarnation))
        .collect();
    let names = topics.iter().map(|topic| topic_dir_name(&topic.name, topic.incarnation));
    let names: BTreeSet<String> = names.collect();
    search.folder(&context.topics_dir, |entry| {
        entry.kind == EntryKind::Directory && names.contains(&entry.name)
    })?;
    for topic in topics {
        let Some(first) = topic.partitions.first() else { continue };
        let dir = first.dir().parent().unwrap_or(first.dir());
        search.folder(dir, |entry| {
            let is_partition = |number: u32| number < topic.partition_count();
            let number = entry.name.parse().ok().filter(|n: &u32| n.to_string() == entry.name);
            entry.kind == EntryKind::Directory && number.is_some_and(is_partition)
        })?;
        for partition in &topic.partitions {
            search.folder(partition.dir(), |entry| {
                let is_ours =
                    entry.name == HASHES_FILE || parse_segment_file_name(&entry.name).is_some();
                entry.kind == EntryKind::File && is_ours
            })?;
        }
    }
    Ok(())
}

struct Search<'a> {
    context: &'a PartitionContext,
    /// What the next opening removes.
    left_over: BTreeSet<&'a Path>,
    was_closed: bool,
    findings: &'a mut Findings,
}

impl Search<'_> {
    /// Looks through one folder, of which `is_ours` says what may be in it.
    fn folder(&mut self, dir: &Path, is_ours: impl Fn(&DirEntry) -> bool) -> Result<()> {
        let entries = match self.context.pool.file_system().list(dir).at("list", dir) {
            // What is lost with it is told where it is missed.
            Err(error) if error.is_not_found() => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let path = dir.join(&entry.name);
            let is_left_over = self.left_over.contains(path.as_path());
            let is_finding = if is_left_over { self.was_closed } else { !is_ours(&entry) };
            if is_finding {
                let reason = match entry.kind {
                    EntryKind::Directory => "no topic or partition has this folder",
                    _ => "nothing names this file",
                };
                self.findings.add(Finding::of_file(FindingKind::Unnamed, path, 0, reason));
            }
        }
        Ok(())
    }
}
