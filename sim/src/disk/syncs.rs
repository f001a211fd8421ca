//! Syncs: honest ones, failing ones, lying ones.

use super::InodeId;
use super::gate::Go;
use super::state::State;
use crate::fault::{Fault, FaultId, LyingSync, SyncFailure};
use std::io;

/// What becomes of what is pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    MadeDurable,
    ForgottenAsClean,
    Reverted,
    LeftDirty,
}

/// What a sync does, and the lie that it tells about it, if it does.
fn fate_of(go: &Go) -> (Fate, Option<(FaultId, LyingSync)>) {
    match go.fault {
        Some((_, Fault::FailedSync(SyncFailure::KeptClean))) => (Fate::ForgottenAsClean, None),
        Some((_, Fault::FailedSync(SyncFailure::Reverted))) => (Fate::Reverted, None),
        Some((_, Fault::FailedSync(SyncFailure::ReportedOnce))) => (Fate::LeftDirty, None),
        Some((id, Fault::LyingSync(LyingSync::Delayed))) => {
            (Fate::LeftDirty, Some((id, LyingSync::Delayed)))
        }
        Some((id, Fault::LyingSync(lie))) => (Fate::ForgottenAsClean, Some((id, lie))),
        _ => (Fate::MadeDurable, None),
    }
}

/// Syncs a file's content and length.
pub(crate) fn sync_file(state: &mut State, inode: InodeId, go: &Go) -> io::Result<()> {
    let (fate, lie) = fate_of(go);
    let file = state.file_mut(inode)?;
    if let Some(told) = file.error_at_next_sync.take() {
        file.forget_pending();
        state.plan.mattered(told);
        return Err(io::Error::other("simulated fault of an earlier sync"));
    }
    if let Some((id, lie)) = lie.filter(|_| !file.pending.is_empty()) {
        file.lie(id);
        file.error_at_next_sync = (lie == LyingSync::ErrorAtNext).then_some(id);
    }
    match fate {
        Fate::MadeDurable => file.sync(),
        Fate::ForgottenAsClean => file.forget_pending(),
        Fate::Reverted => file.revert(),
        Fate::LeftDirty => {}
    }
    Ok(())
}

/// Syncs the names of a directory.
pub(crate) fn sync_dir(state: &mut State, inode: InodeId, go: &Go) -> io::Result<()> {
    let (fate, lie) = fate_of(go);
    let dir = state.dir_mut(inode)?;
    if let Some(told) = dir.error_at_next_sync.take() {
        dir.forget_pending();
        state.plan.mattered(told);
        return Err(io::Error::other("simulated fault of an earlier sync"));
    }
    if let Some((id, lie)) = lie.filter(|_| !dir.pending.is_empty()) {
        dir.lies.push(id);
        dir.error_at_next_sync = (lie == LyingSync::ErrorAtNext).then_some(id);
    }
    match fate {
        Fate::MadeDurable => dir.sync(),
        Fate::ForgottenAsClean => dir.forget_pending(),
        Fate::Reverted => dir.revert(),
        Fate::LeftDirty => {}
    }
    Ok(())
}
