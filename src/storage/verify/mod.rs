//! Verifying a directory: everything that opening looks at, and everything that only
//! reading would come to, without a write.
//!
//! ```text
//! slots     both, each by itself                               opening reads them, too
//! journal   the chain behind them, strays, what it must know   chain, judge
//! partitions, as the manifest has them:                        partition, walk
//!   segments frame by frame ── record hashes ──┐
//!   stored hashes, leaf by leaf ── nodes ──────┴── compared, and with the roots   tree, slots
//!   indexes, point by point
//! commits   against the offsets that their partitions reached
//! names     that nothing accounts for                          unnamed
//! ```
//!
//! What the journal will replay is judged as the journal's, by its checksums: partition
//! files are written anew from it, so what they hold behind the manifest's lengths does
//! not count.

mod partition;
mod read_only;
mod slots;
mod tree;
mod unnamed;
mod walk;

use super::chain::{Chain, read_chain};
use super::entry::{Entry, PartitionKey};
use super::hashes::hashes_len;
use super::judge::{decode_block, judge};
use super::open::{LOCK_FILE, Opener, was_closed};
use super::options::StorageOptions;
use super::partition::PartitionLog;
use super::slots::{FoundManifest, SLOT_NAMES};
use super::store::Env;
use super::tables::Tables;
use crate::env::{DirEntry, Lock};
use crate::error::{Error, Result};
use crate::verify::{Checked, Finding, FindingKind, Progress, Report};
use partition::{Outlook, verify_partition};
use read_only::ReadOnly;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use unnamed::find_unnamed;

/// Findings as they come.
#[derive(Debug, Default)]
struct Findings {
    found: Vec<Finding>,
    checked: Checked,
}

impl Findings {
    fn add(&mut self, finding: Finding) {
        self.found.push(finding);
    }
}

/// Tells how far the verification is.
struct Meter<'a> {
    tell: &'a mut dyn FnMut(&Progress),
    done_bytes: u64,
    total_bytes: u64,
    told_bytes: u64,
}

/// How often progress is told.
const TELL_EVERY_BYTES: u64 = 1 << 20;

impl Meter<'_> {
    /// `position` bytes of the file at hand are read.
    fn reading(&mut self, log: &PartitionLog, position: u64) {
        let done_bytes = self.done_bytes.saturating_add(position);
        if done_bytes.saturating_sub(self.told_bytes) >= TELL_EVERY_BYTES {
            self.tell(log, done_bytes);
        }
    }

    /// The file at hand is read.
    fn done(&mut self, log: &PartitionLog, len: u64) {
        self.done_bytes = self.done_bytes.saturating_add(len);
        self.tell(log, self.done_bytes);
    }

    fn tell(&mut self, log: &PartitionLog, done_bytes: u64) {
        self.told_bytes = done_bytes;
        (self.tell)(&Progress {
            topic: log.name.topic.to_string(),
            partition: log.name.partition,
            done_bytes,
            total_bytes: self.total_bytes,
        });
    }
}

/// Opens nothing for writing; see [`ReadOnly`].
fn opener(env: &Env, options: StorageOptions, data_dir: &Path, fills: bool) -> Opener {
    let inner = Arc::clone(&env.file_system);
    let env = Env { file_system: Arc::new(ReadOnly { inner, fills }), ..env.clone() };
    Opener::new(env, options, data_dir)
}

/// Verifies the log in `data_dir`; see [`crate::verify()`].
pub(crate) fn verify(
    env: &Env,
    options: StorageOptions,
    data_dir: &Path,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Report> {
    options.validate()?;
    let opener = opener(env, options, data_dir, false);
    opener.require_log()?;
    let _lock = lock(&opener, &opener.entries()?)?;
    let entries = opener.entries()?;
    let mut findings = Findings::default();
    let mut slots = opener.slots();
    let Some(found) = slots.read()? else {
        if opener.is_unfinished(&entries)? {
            return Ok(Report { recovery_is_pending: true, ..Report::default() });
        }
        report_error(opener.no_manifest(&entries), FindingKind::Manifest, &mut findings)?;
        return Ok(findings.report(false));
    };
    if opener.is_unused(&found.manifest, &entries)? {
        return Ok(Report::default());
    }
    for path in slots.invalid_paths() {
        let reason = "the slot is not as it was written; the other one is";
        findings.add(Finding::of_file(FindingKind::Slot, path, 0, reason));
    }
    let judged = judge_log(&opener, &found, &mut findings)?;
    let filling = self::opener(env, options, data_dir, true);
    verify_partitions(&filling, &found, &judged, &mut findings, progress)?;
    Ok(Report { leftovers: judged.leftovers, ..findings.report(judged.is_pending) })
}

impl Findings {
    fn report(self, recovery_is_pending: bool) -> Report {
        let Self { found, checked } = self;
        Report { findings: found, recovery_is_pending, checked, ..Report::default() }
    }
}

/// The log's lock, if its file is there: making it would be a write.
fn lock(opener: &Opener, entries: &[DirEntry]) -> Result<Option<Box<dyn Lock>>> {
    let is_there = entries.iter().any(|entry| entry.name == LOCK_FILE);
    is_there.then(|| opener.lock()).transpose()
}

/// Notes damage as a finding; any other error is one of the verification.
fn report_error(error: Error, kind: FindingKind, findings: &mut Findings) -> Result<()> {
    match error {
        Error::Corrupt(corruption) => {
            findings.add(Finding::of_corruption(kind, &corruption));
            Ok(())
        }
        error => Err(error),
    }
}

/// What slots, journal and names say.
#[derive(Debug, Default)]
struct Judged {
    is_pending: bool,
    /// Topics that the journal deletes.
    deleted: BTreeSet<u64>,
    /// Where logs start once the journal is replayed: nobody reads what lies below.
    log_starts: BTreeMap<PartitionKey, u64>,
    leftovers: Vec<PathBuf>,
}

/// Judges what opening looks at.
fn judge_log(opener: &Opener, found: &FoundManifest, findings: &mut Findings) -> Result<Judged> {
    let manifest = &found.manifest;
    let context = opener.partition_context(manifest.log_id);
    let tables = Tables::from_manifest(&context, manifest);
    let judged = read_chain(&opener.journal_context(manifest.log_id), &manifest.start)
        .and_then(|chain| Ok((judge(&context, manifest, &tables, &chain)?, chain)));
    let (judged, chain) = match judged {
        Ok(judged) => judged,
        Err(Error::Io { operation: "read", path, source }) => {
            let reason = format!("the journal cannot be read: {source}");
            findings.add(Finding::of_file(FindingKind::Journal, path, 0, reason));
            return Ok(Judged::default());
        }
        Err(error) => {
            report_error(error, FindingKind::Journal, findings)?;
            return Ok(Judged::default());
        }
    };
    findings.checked.journal_blocks = chain.blocks.len() as u64;
    verify_commits(opener, &tables, &chain, &judged.next_offsets, findings)?;
    find_unnamed(opener, &context, &tables, &judged, findings)?;
    let log_starts = log_starts(&tables, &chain, &judged.next_offsets)?;
    Ok(Judged {
        log_starts,
        is_pending: !was_closed(found, &chain) || !judged.is_clean(),
        deleted: judged.deleted,
        leftovers: judged.leftover_files.into_iter().chain(judged.leftover_folders).collect(),
    })
}

/// Verifies the partitions as the manifest has them.
fn verify_partitions(
    opener: &Opener,
    found: &FoundManifest,
    judged: &Judged,
    findings: &mut Findings,
    progress: &mut dyn FnMut(&Progress),
) -> Result<()> {
    let context = opener.partition_context(found.manifest.log_id);
    let tables = Tables::from_manifest(&context, &found.manifest);
    let topics = tables.topics.values();
    let living: Vec<_> =
        topics.filter(|topic| !judged.deleted.contains(&topic.incarnation)).collect();
    let partitions = || living.iter().flat_map(|topic| &topic.partitions);
    findings.checked.topics = living.len() as u64;
    let total_bytes = partitions().map(|log| bytes_of(log)).fold(0, u64::saturating_add);
    findings.checked.bytes = total_bytes;
    let mut meter = Meter { tell: progress, done_bytes: 0, total_bytes, told_bytes: 0 };
    partitions().try_for_each(|log| {
        let log_start = judged.log_starts.get(&log.key).copied().unwrap_or(log.log_start());
        let outlook = Outlook { is_pending: judged.is_pending, log_start };
        verify_partition(log, outlook, findings, &mut meter)
    })
}

/// How many bytes are to be read for a partition.
fn bytes_of(log: &PartitionLog) -> u64 {
    let view = log.view();
    let segments = view.segments.iter().map(|segment| segment.len());
    segments.fold(hashes_len(view.next_offset()), u64::saturating_add)
}

/// Where logs will start: as the journal says, and as retention by records follows from it.
fn log_starts(
    tables: &Tables,
    chain: &Chain,
    next_offsets: &BTreeMap<PartitionKey, u64>,
) -> Result<BTreeMap<PartitionKey, u64>> {
    let mut starts: BTreeMap<PartitionKey, u64> = BTreeMap::new();
    for log in tables.partitions() {
        let next_offset = next_offsets.get(&log.key).copied().unwrap_or_default();
        starts.insert(log.key, log.settings().log_start(log.log_start(), next_offset));
    }
    for block in &chain.blocks {
        for entry in decode_block(block)? {
            if let Entry::Start { key, offset } = entry
                && let Some(start) = starts.get_mut(&key)
            {
                *start = offset.max(*start);
            }
        }
    }
    Ok(starts)
}

/// Committed offsets stand in front of records that were there.
fn verify_commits(
    opener: &Opener,
    tables: &Tables,
    chain: &Chain,
    next_offsets: &BTreeMap<PartitionKey, u64>,
    findings: &mut Findings,
) -> Result<()> {
    let mut groups = tables.groups.clone();
    for block in &chain.blocks {
        for entry in decode_block(block)? {
            match entry {
                Entry::Commit { group, commits } => {
                    let offsets = commits.iter().map(|commit| (commit.key, commit.offset));
                    groups.entry(group.to_owned()).or_default().extend(offsets);
                }
                Entry::Forget { group } => drop(groups.remove(group)),
                Entry::Delete { incarnation } => groups
                    .values_mut()
                    .for_each(|offsets| offsets.retain(|key, _| key.incarnation != incarnation)),
                _ => {}
            }
        }
    }
    let path = opener.dir().join(SLOT_NAMES[0]);
    for (group, offsets) in &groups {
        for (key, offset) in offsets {
            let reason = match next_offsets.get(key) {
                Some(next) if offset <= next => continue,
                Some(next) => format!(
                    "group {group:?} has committed offset {offset}, and the partition ends at {next}"
                ),
                None => format!(
                    "group {group:?} has committed offset {offset} in a partition that is not there"
                ),
            };
            let topic = tables.topic_of(key.incarnation).map(|topic| topic.name.to_string());
            findings.add(Finding {
                partition: Some(key.partition).filter(|_| topic.is_some()),
                topic,
                offset: Some(*offset),
                ..Finding::of_file(FindingKind::Commit, &path, 0, reason)
            });
        }
    }
    Ok(())
}
