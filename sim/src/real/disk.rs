//! Where a round's log lives: a directory, or a small disk that can be filled.

use super::{Outcome, because};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// How much a small disk holds. A round's log must find room in it.
const DISK_BYTES: u64 = 40 << 20;
/// What is kept free of it until the end, so that the end finds room.
const RESERVE_BYTES: usize = 6 << 20;
/// The ballast is written in pieces that get smaller when the disk gets full.
const PIECE_BYTES_MAX: usize = 256 << 10;
const PIECE_BYTES_MIN: usize = 1 << 10;

/// A directory for a log, and what it is on. Unmounted and removed when dropped.
#[derive(Debug)]
pub(crate) struct Ground {
    base: TempDir,
    /// Where the small disk is mounted, if there is one.
    mounted: Option<PathBuf>,
    is_full: bool,
}

/// A kind of small disk.
#[derive(Debug, Clone, Copy)]
enum Disk {
    Tmpfs,
    Ext4,
}

impl Ground {
    /// The ground of a round: every other is a small disk, where one can be had.
    /// Otherwise the reason is returned, too.
    pub(crate) fn of_round(round: u64, dir: &Path) -> Outcome<(Self, Option<String>)> {
        let named = || format!("cannot make a directory in {}", dir.display());
        let base = tempfile::Builder::new().prefix("merkql-real-").tempdir_in(dir);
        let base = base.map_err(because(&named()))?;
        let mut ground = Self { base, mounted: None, is_full: false };
        let disk = match round % 4 {
            1 => Disk::Tmpfs,
            3 => Disk::Ext4,
            _ => return Ok((ground, None)),
        };
        match mount(disk, ground.base.path()) {
            Ok(mount_point) => {
                ground.mounted = Some(mount_point);
                ground.write_reserve()?;
                Ok((ground, None))
            }
            Err(reason) => Ok((ground, Some(reason))),
        }
    }

    fn root(&self) -> &Path {
        self.mounted.as_deref().unwrap_or(self.base.path())
    }

    /// The log's directory.
    pub(crate) fn log(&self) -> PathBuf {
        self.root().join("log")
    }

    /// The directory that everything is in.
    pub(crate) fn base(&self) -> &Path {
        self.base.path()
    }

    /// Whether it can be filled.
    pub(crate) fn is_small(&self) -> bool {
        self.mounted.is_some()
    }

    /// Whether it is filled now.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    fn reserve(&self) -> PathBuf {
        self.root().join("reserve")
    }

    fn ballast(&self) -> PathBuf {
        self.root().join("ballast")
    }

    fn write_reserve(&self) -> Outcome<()> {
        fs::write(self.reserve(), vec![1; RESERVE_BYTES]).map_err(because("cannot write a reserve"))
    }

    /// Takes all the room that is left.
    pub(crate) fn fill(&mut self) -> Outcome<()> {
        self.is_full = true;
        let mut ballast = File::create(self.ballast()).map_err(because("cannot write ballast"))?;
        let piece = vec![1; PIECE_BYTES_MAX];
        let mut bytes = PIECE_BYTES_MAX;
        while bytes >= PIECE_BYTES_MIN {
            match ballast.write(piece.get(..bytes).unwrap_or_default()) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => bytes /= 2,
                Err(error) => return Err(because("cannot write ballast")(error)),
            }
        }
        Ok(())
    }

    /// Gives the room back.
    pub(crate) fn free(&mut self) -> Outcome<()> {
        self.is_full = false;
        remove(&self.ballast())
    }

    /// Gives all the room there is, for the end.
    pub(crate) fn give_room(&mut self) -> Outcome<()> {
        self.free()?;
        remove(&self.reserve())
    }

    /// Leaves everything where it is when this is dropped, except that what is on
    /// a small disk is copied first.
    pub(crate) fn keep(&mut self) -> Outcome<PathBuf> {
        let kept = self.base.path().join("log");
        if self.mounted.is_some() {
            copy(&self.log(), &kept).map_err(because("cannot keep the log"))?;
        }
        self.base.disable_cleanup(true);
        Ok(kept)
    }

    /// Copies the log aside.
    pub(crate) fn put_aside(&self) -> Outcome<()> {
        copy(&self.log(), &self.aside()).map_err(because("cannot copy the log"))
    }

    /// Puts back what was copied, in place of what is there now.
    pub(crate) fn roll_back(&self) -> Outcome<()> {
        let put_back = || {
            fs::remove_dir_all(self.log())?;
            copy(&self.aside(), &self.log())
        };
        put_back().map_err(because("cannot roll the log back"))
    }

    fn aside(&self) -> PathBuf {
        self.base.path().join("aside")
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let Some(mount_point) = self.mounted.take() else { return };
        if command("umount", &[&mount_point.to_string_lossy()]).is_err() {
            // Somebody still looks at it; it goes once nobody does.
            drop(command("umount", &["-l", &mount_point.to_string_lossy()]));
        }
    }
}

fn remove(path: &Path) -> Outcome<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(because("cannot free the disk")(error))
        }
        _ => Ok(()),
    }
}

/// Mounts a small disk below a directory; the reason why not, otherwise.
fn mount(disk: Disk, base: &Path) -> Outcome<PathBuf> {
    let mount_point = base.join("disk");
    fs::create_dir(&mount_point).map_err(because("cannot make a mount point"))?;
    let at = mount_point.to_string_lossy();
    match disk {
        Disk::Tmpfs => {
            let size = format!("size={DISK_BYTES}");
            command("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &at])?;
        }
        Disk::Ext4 => {
            let image = base.join("image");
            let file = File::create(&image).and_then(|file| file.set_len(DISK_BYTES));
            file.map_err(because("cannot make an image"))?;
            let image = image.to_string_lossy();
            command("mkfs.ext4", &["-q", "-F", "-m", "0", "-b", "1024", &image])?;
            command("mount", &["-o", "loop", &image, &at])?;
        }
    }
    Ok(mount_point)
}

/// Runs a command; what it says if it fails, or is not there.
fn command(program: &str, arguments: &[&str]) -> Outcome<()> {
    let output = Command::new(program).args(arguments).output().map_err(because(program))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{program}: {}", said.trim())) }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
