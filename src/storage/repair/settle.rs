//! What verifying finds beside lost records: stored hashes that nothing else has, and
//! indexes.
//!
//! A hash of a removed record that contradicts those above it cannot be made anew. It is
//! given up by a mark in its place, so that it is told once and not at every look; proofs
//! and roots that need it are refused as before. An index that does not describe its
//! segment is removed: it is made anew when it is needed.

use super::keep::Keep;
use crate::env::Access;
use crate::env::exact::write_all_at;
use crate::error::{Error, IoContext, Result};
use crate::repair::{GivenUp, Mended, Report};
use crate::storage::hashes::GIVEN_UP;
use crate::storage::options::StorageOptions;
use crate::storage::store::Env;
use crate::storage::verify::verify;
use crate::verify::{Finding, FindingKind, Remedy};
use std::path::Path;

/// Marks may bring a contradiction further up to light, one level a round.
const ROUNDS_MAX: usize = 128;
/// How many stored hashes are given up with one write.
const PIECE_SLOTS: usize = 32 << 10;

/// Keeps copies of stored hashes that are wrong, and tells of them: already the opening
/// may make them anew.
pub(super) fn keep_hashes(
    env: &Env,
    options: StorageOptions,
    data_dir: &Path,
    keep: &mut Keep,
    report: &mut Report,
) -> Result<()> {
    for finding in verify(env, options, data_dir, &mut |_| {})?.findings {
        let place = finding.topic.clone().zip(finding.partition);
        let Some((topic, partition)) = place.filter(|_| finding.kind == FindingKind::Hash) else {
            continue;
        };
        keep.file(&finding.path)?;
        let hashes = Mended::Hashes { topic, partition };
        if !report.mended.contains(&hashes) {
            report.mended.push(hashes);
        }
    }
    Ok(())
}

/// Tells what will be given up, before anything else is looked at.
pub(super) fn tell(
    env: &Env,
    options: StorageOptions,
    data_dir: &Path,
    report: &mut Report,
) -> Result<()> {
    for finding in verify(env, options, data_dir, &mut |_| {})?.findings {
        let Some((topic, partition)) = finding.topic.clone().zip(finding.partition) else {
            continue;
        };
        match finding.kind {
            FindingKind::RemovedHash => {
                let given_up = GivenUp::RemovedHashes { topic, partition };
                if !report.given_up.contains(&given_up) {
                    report.given_up.push(given_up);
                }
            }
            FindingKind::Index => report.mended.push(Mended::Index {
                topic,
                partition,
                base_offset: finding.offset.unwrap_or_default(),
            }),
            _ => {}
        }
    }
    Ok(())
}

/// Gives up and removes until verifying finds nothing that a repair could mend.
pub(super) fn settle(
    env: &Env,
    options: StorageOptions,
    data_dir: &Path,
    keep: &mut Keep,
) -> Result<()> {
    for _ in 0..ROUNDS_MAX {
        let mut findings = verify(env, options, data_dir, &mut |_| {})?.findings;
        findings.retain(|finding| {
            finding.kind == FindingKind::Index || finding.kind.remedy() == Remedy::Repair
        });
        if findings.is_empty() {
            return Ok(());
        }
        for finding in &findings {
            keep.file(&finding.path)?;
            match finding.kind {
                FindingKind::RemovedHash => give_up(env, finding)?,
                FindingKind::Index => remove(env, &finding.path)?,
                _ => return Err(left(finding)),
            }
        }
    }
    Err(Error::corrupt(data_dir, 0, "stored hashes contradict each other without an end"))
}

fn left(finding: &Finding) -> Error {
    let reason = format!("a repair has not mended this: {finding}");
    Error::corrupt(&finding.path, finding.position, reason)
}

fn give_up(env: &Env, finding: &Finding) -> Result<()> {
    let path = &finding.path;
    let file = env.file_system.open(path, Access::ReadWrite).at("open", path)?;
    let mut position = finding.position;
    let end = position.saturating_add(finding.len_bytes);
    let piece = GIVEN_UP.repeat(PIECE_SLOTS);
    while position < end {
        let wanted = usize::try_from(end - position).unwrap_or(piece.len());
        let piece = piece.get(..wanted).unwrap_or(&piece);
        write_all_at(&*file, piece, position).at("write", path)?;
        position += piece.len() as u64;
    }
    file.sync_data().at("sync", path)
}

fn remove(env: &Env, path: &Path) -> Result<()> {
    env.file_system.remove_file(path).at("remove", path)?;
    let dir = path.parent().unwrap_or(path);
    env.file_system.sync_dir(dir).at("sync", dir)
}
