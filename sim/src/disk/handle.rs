//! Open files and held locks. They belong to a process and die with it.

use super::InodeId;
use super::file_node::LEN_MAX;
use super::gate::{Go, Request};
use super::process::SimProcess;
use super::state::State;
use super::syncs::sync_file;
use crate::fault::{Fault, OpKind};
use merkql::env::{Access, File, Lock};
use std::fmt;
use std::io::{self, ErrorKind};

/// What a read says that meets a sector which cannot be read (D1).
pub(crate) const UNREADABLE: &str = "simulated unreadable sector";

pub(crate) struct SimFile {
    pub(crate) process: SimProcess,
    pub(crate) inode: InodeId,
    pub(crate) path: Box<str>,
    pub(crate) access: Access,
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.process.shared.state();
        if state.incarnation == self.process.incarnation {
            state.closed(self.inode);
        }
    }
}

impl SimFile {
    fn request(&self, on: OpKind, position: u64) -> Request<'_> {
        Request { position, ..Request::new(on, &self.path) }
    }

    fn check_writable(&self) -> io::Result<()> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::Read => {
                let message = "the handle is for reading alone";
                Err(io::Error::new(ErrorKind::PermissionDenied, message))
            }
        }
    }

    /// Where a write goes: where it is meant to, or astray (D3).
    fn target(&self, state: &mut State, go: &Go, position: u64) -> (InodeId, u64) {
        let Some((id, Fault::MisdirectedWrite { path, position: astray })) = &go.fault else {
            return (self.inode, position);
        };
        state.plan.mattered(*id);
        let other = path.as_ref().and_then(|path| state.lookup(path.as_ref()).ok());
        let other = other.filter(|other| state.file(*other).is_ok());
        (other.unwrap_or(self.inode), *astray)
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        let request = self.request(OpKind::Len, 0);
        self.process.shared.io(self.process.incarnation, &request, |state, _| {
            let len = state.file(self.inode)?.len();
            state.meet_faults(self.inode, &(len..u64::MAX));
            Ok(len)
        })
    }

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let len = buf.len() as u64;
        let request = Request { len, ..self.request(OpKind::ReadAt, position) };
        self.process.shared.io(self.process.incarnation, &request, |state, go| {
            let max = go.bytes_max.unwrap_or(u64::MAX).min(len);
            let buf = buf.get_mut(..usize::try_from(max).unwrap_or(usize::MAX)).unwrap_or_default();
            let range = position..position.saturating_add(max);
            state.meet_faults(self.inode, &range);
            let file = state.file(self.inode)?;
            if file.is_unreadable(&range) {
                return Err(io::Error::other(UNREADABLE));
            }
            let count = file.read(buf, position);
            if let (Some((id, Fault::ReadWrongOnce { bit })), true) = (&go.fault, count > 0) {
                let bit = usize::try_from(*bit % (count as u64 * 8)).unwrap_or_default();
                if let Some(byte) = buf.get_mut(bit / 8) {
                    *byte ^= 1 << (bit % 8);
                }
                state.plan.mattered(*id);
            }
            Ok(count)
        })
    }

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<usize> {
        self.check_writable()?;
        check_len(position.saturating_add(buf.len() as u64))?;
        let request = Request {
            len: buf.len() as u64,
            content: buf,
            ..self.request(OpKind::WriteAt, position)
        };
        self.process.shared.io(self.process.incarnation, &request, |state, go| {
            let bytes = go.take(buf);
            if bytes.is_empty() {
                return Ok(0);
            }
            let (inode, position) = self.target(state, go, position);
            let room = state.room_for(inode, position, bytes.len() as u64)?;
            let bytes = bytes.get(..usize::try_from(room).unwrap_or(usize::MAX)).unwrap_or(bytes);
            let id = state.change_id();
            state.file_mut(inode)?.write(id, position, bytes);
            if let Some((fault, Fault::MisdirectedWrite { .. })) = &go.fault {
                let range = position..position + bytes.len() as u64;
                state.file_mut(inode)?.taint(range, *fault);
            }
            Ok(bytes.len())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        check_len(len)?;
        let request = self.request(OpKind::SetLen, len);
        self.process.shared.io(self.process.incarnation, &request, |state, _| {
            let file = state.file(self.inode)?;
            let start = usize::try_from(len).unwrap_or(usize::MAX);
            let cut = file.cached.get(start..).unwrap_or_default().to_vec();
            state.bury(&cut);
            let id = state.change_id();
            state.file_mut(self.inode)?.set_len(id, len);
            Ok(())
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        check_len(len)?;
        let request = self.request(OpKind::Allocate, len);
        self.process.shared.io(self.process.incarnation, &request, |state, go| {
            let from = state.file(self.inode)?.len();
            let wanted = len.saturating_sub(from).min(go.bytes_max.unwrap_or(u64::MAX));
            if wanted == 0 {
                return Ok(());
            }
            self.check_writable()?;
            let room = state.room_for(self.inode, from, wanted)?;
            let zeroes = vec![0; usize::try_from(room).unwrap_or_default()];
            let id = state.change_id();
            state.file_mut(self.inode)?.write(id, from, &zeroes);
            if room < wanted { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        let request = self.request(OpKind::SyncData, 0);
        self.process
            .shared
            .io(self.process.incarnation, &request, |state, go| sync_file(state, self.inode, go))
    }
}

/// Refuses an end that no file can have, or none that the simulation keeps.
fn check_len(end: u64) -> io::Result<()> {
    match end {
        0..=LEN_MAX => Ok(()),
        end if end > i64::MAX.unsigned_abs() => Err(ErrorKind::InvalidInput.into()),
        _ => Err(ErrorKind::FileTooLarge.into()),
    }
}

pub(crate) struct SimLock {
    pub(crate) process: SimProcess,
    pub(crate) inode: InodeId,
}

impl fmt::Debug for SimLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimLock").finish_non_exhaustive()
    }
}

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.process.shared.state();
        if state.incarnation == self.process.incarnation {
            state.locks.remove(&self.inode);
        }
    }
}
