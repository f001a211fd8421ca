//! Repair: what was damaged is replaced by what is left of it.
//!
//! ```text
//! open      as a broker does it ──────────────────────────┐ it opens
//!             │ journal or manifest are damaged           │
//! rescue    what is left of them becomes a log that      │
//!           opens ([`rescue`]) ───────────────────────────┤
//! survey    every partition is read, records are held     ◄
//!           against the tree ([`survey`], [`nodes`], [`frames`])
//! mend      damaged segments are written anew, a gap in the place of lost records
//!           ([`mend`]), as compaction does it
//! close     both slots name what is new; the rest is removed
//! settle    verifying finds nothing any more: hashes that nobody knows are given up,
//!           indexes that are wrong are removed ([`settle`])
//! open      once more, as the proof
//! ```
//!
//! Copies of all that is replaced are made first ([`keep`]). A dry run does the same
//! on a file system that keeps changes to itself ([`overlay`]), up to the survey.

mod adopt;
mod blocks;
mod found;
mod found_partition;
mod frames;
mod keep;
mod log_id;
mod mend;
mod nodes;
mod overlay;
mod rescue;
mod salvage;
mod settle;
mod survey;
mod told;

use super::entry::{PartitionKey, Placement};
use super::open::Opener;
use super::options::StorageOptions;
use super::partition::PartitionLog;
use super::store::{Env, Store};
use crate::error::{Error, Result};
use crate::repair::{GivenUp, LostOffsets, Mended, Report};
use keep::Keep;
use overlay::Overlay;
use rescue::rescue;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use survey::Survey;

/// Repairs the log in `data_dir`; with `apply` off, tells what that would cost.
pub(crate) fn repair(
    env: Env,
    options: StorageOptions,
    data_dir: &Path,
    apply: bool,
) -> Result<Report> {
    let file_system = if apply {
        Arc::clone(&env.file_system)
    } else {
        Arc::new(Overlay::new(Arc::clone(&env.file_system)))
    };
    let env = Env { file_system, ..env };
    let opener = Opener::new(env.clone(), options, data_dir);
    opener.require_log()?;
    let mut keep = Keep::new(&env.file_system, data_dir, opener.dir(), apply);
    let mut report = Report { applied: apply, ..Report::default() };
    settle::keep_hashes(&env, options, data_dir, &mut keep, &mut report)?;
    let store = match Store::open(env.clone(), options, data_dir) {
        Err(error) if is_damage(&error) => {
            rescue(&opener, &mut keep, &mut report)?;
            Store::open(env.clone(), options, data_dir)?
        }
        store => store?,
    };
    store.close()?;
    drop(store);
    settle::tell(&env, options, data_dir, &mut report)?;
    let store = Store::open(env.clone(), options, data_dir)?;
    repair_partitions(&store, apply, &mut keep, &mut report)?;
    store.close()?;
    drop(store);
    if apply && !report.nothing_to_do() {
        settle::settle(&env, options, data_dir, &mut keep)?;
    }
    report.kept = keep.into_dir();
    report.lost.sort();
    if apply && !report.nothing_to_do() {
        Store::open(env, options, data_dir)?.close()?;
    }
    Ok(report)
}

/// Whether a log was refused for what is left of it, rather than by the disk.
fn is_damage(error: &Error) -> bool {
    error.is_corruption() || error.is_failed_read() || error.is_not_found()
}

/// Looks at every partition, and mends what is damaged.
fn repair_partitions(
    store: &Store,
    apply: bool,
    keep: &mut Keep,
    report: &mut Report,
) -> Result<()> {
    let partitions: Vec<Arc<PartitionLog>> = store.tables().partitions().cloned().collect();
    let mut lost: BTreeMap<PartitionKey, Vec<Range<u64>>> = BTreeMap::new();
    for log in &partitions {
        let survey = Survey::of(log)?;
        tell(log, &survey, report);
        lost.insert(log.key, survey.lost.iter().map(|(offsets, _)| offsets.clone()).collect());
        if apply {
            store.mend(log, &survey, keep)?;
        }
    }
    forget_producers(store, &lost, report);
    Ok(())
}

/// A producer whose remembered sends are lost would be told that they are there: it is
/// forgotten. In a dry run that is told, and goes no further than memory.
fn forget_producers(
    store: &Store,
    lost: &BTreeMap<PartitionKey, Vec<Range<u64>>>,
    report: &mut Report,
) {
    let is_lost = |place: &Placement| {
        let end = place.base_offset.saturating_add(place.records);
        let lost = lost.get(&place.key).map_or(&[][..], Vec::as_slice);
        lost.iter().any(|offsets| offsets.start < end && place.base_offset < offsets.end)
    };
    let mut tables = store.tables_mut();
    let told = std::mem::take(&mut tables.producers);
    for (id, state) in told.iter() {
        if state.placements().any(is_lost) {
            report.given_up.push(GivenUp::Producer { producer_id: *id });
        } else {
            tables.producers.insert(*id, state.clone());
        }
    }
}

fn tell(log: &PartitionLog, survey: &Survey, report: &mut Report) {
    let (topic, partition) = (log.name.topic.to_string(), log.name.partition);
    report.lost.extend(survey.lost.iter().map(|(offsets, reason)| LostOffsets {
        topic: topic.clone(),
        partition,
        start: offsets.start,
        end: offsets.end,
        reason: *reason,
    }));
    report.mended.extend(survey.damaged.iter().map(|damaged| Mended::Segment {
        topic: topic.clone(),
        partition,
        base_offset: damaged.segment.base_offset,
    }));
    let hashes = Mended::Hashes { topic, partition };
    if survey.hashes_fail && !report.mended.contains(&hashes) {
        report.mended.push(hashes);
    }
}
