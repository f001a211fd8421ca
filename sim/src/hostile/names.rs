//! Changes of files and folders as a whole.

use super::folder::{FileKind, Folder, LOG};
use super::mutate::{Change, Kind, is_of_partition, pick, pick_file};
use super::template::Template;
use crate::random::{Stream, garbage};
use rand::RngExt;

/// Makes a change of this kind; nothing if there is nothing to be changed.
pub(crate) fn change(
    kind: Kind,
    template: &Template,
    folder: &mut Folder,
    random: &mut Stream,
) -> Option<Change> {
    let (file, story) = match kind {
        Kind::Swap => swap(folder, random)?,
        Kind::Delete => {
            let path = pick_file(folder, random)?;
            folder.files.remove(&path)?;
            (FileKind::of(&path), format!("{path} deleted"))
        }
        Kind::DeleteFolder => {
            let path = pick_dir(folder, random)?;
            folder.remove_dir(&path);
            (FileKind::Other, format!("{path} deleted"))
        }
        Kind::Duplicate => duplicate(folder, random)?,
        Kind::RollBack => roll_back(template, folder, random)?,
        Kind::OtherType => other_type(folder, random)?,
        _ => stranger(folder, random)?,
    };
    Some(Change { kind, file, story, forged: None })
}

fn pick_dir(folder: &Folder, random: &mut Stream) -> Option<String> {
    let below = format!("{LOG}/");
    let dirs: Vec<&String> = folder.dirs.iter().filter(|dir| dir.starts_with(&below)).collect();
    pick(&dirs, random).map(|dir| (*dir).clone())
}

fn swap(folder: &mut Folder, random: &mut Stream) -> Option<(FileKind, String)> {
    let one = pick_file(folder, random)?;
    let alike: Vec<String> = folder
        .files
        .keys()
        .filter(|path| **path != one && FileKind::of(path) == FileKind::of(&one))
        .cloned()
        .collect();
    let other = match pick(&alike, random) {
        Some(other) if random.random_bool(0.8) => other.clone(),
        _ => pick_file(folder, random).filter(|other| *other != one)?,
    };
    let (a, b) = (folder.files.get(&one)?.clone(), folder.files.get(&other)?.clone());
    if a == b {
        return None;
    }
    folder.files.insert(one.clone(), b);
    folder.files.insert(other.clone(), a);
    Some((FileKind::of(&one), format!("{one} and {other} swapped")))
}

fn duplicate(folder: &mut Folder, random: &mut Stream) -> Option<(FileKind, String)> {
    if random.random_bool(0.25) {
        return duplicate_folder(folder, random);
    }
    let path = pick_file(folder, random)?;
    let (dir, name) = path.rsplit_once('/')?;
    let number = [0, 1, 2, 3, 7, 50, 1 << 33, u64::MAX >> 2];
    let (a, b) = (*pick(&number, random)?, *pick(&number, random)?);
    let base = name.split('.').next()?;
    let copy = match FileKind::of(&path) {
        FileKind::Log if random.random_bool(0.3) => format!("{base}.{b:010}.log"),
        FileKind::Log => format!("{a:020}.{b:010}.log"),
        FileKind::Index => format!("{a:020}.{b:010}.idx"),
        FileKind::Journal => format!("{:010}.wal", a.max(1)),
        FileKind::Slot if name.ends_with('a') => "manifest.b".to_owned(),
        FileKind::Slot => "manifest.a".to_owned(),
        FileKind::Hashes | FileKind::Lock | FileKind::Other => return None,
    };
    let dirs: Vec<&str> = folder
        .files
        .keys()
        .filter(|path| is_of_partition(path))
        .collect::<Vec<_>>()
        .into_iter()
        .filter_map(|path| path.rsplit_once('/').map(|(dir, _)| dir))
        .collect();
    let elsewhere = is_of_partition(&path) && random.random_bool(0.3);
    let to = pick(&dirs, random).filter(|_| elsewhere).copied().unwrap_or(dir);
    let to = format!("{to}/{copy}");
    let content = folder.files.get(&path)?.clone();
    if folder.dirs.contains(&to) || folder.files.get(&to) == Some(&content) {
        return None;
    }
    folder.files.insert(to.clone(), content);
    Some((FileKind::of(&path), format!("{path} copied to {to}")))
}

/// A topic's folder under another incarnation, or a partition's under another number.
fn duplicate_folder(folder: &mut Folder, random: &mut Stream) -> Option<(FileKind, String)> {
    let below = format!("{LOG}/topics/");
    let dirs: Vec<String> =
        folder.dirs.iter().filter(|dir| dir.starts_with(&below)).cloned().collect();
    let from = pick(&dirs, random)?.clone();
    let far = if random.random_bool(0.3) { 1 << 33 } else { 0 };
    let number = random.random_range(0..6_u64) + far;
    let to = match from.strip_prefix(&below)?.split_once('/') {
        None => format!("{}.{number}", from.rsplit_once('.')?.0),
        Some(_) => format!("{}/{number}", from.rsplit_once('/')?.0),
    };
    if folder.dirs.contains(&to) || folder.files.contains_key(&to) {
        return None;
    }
    let moved = |path: &String| {
        let rest = path.strip_prefix(&from)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| format!("{to}{rest}"))
    };
    let dirs: Vec<String> = folder.dirs.iter().filter_map(moved).collect();
    let files: Vec<(String, Vec<u8>)> = folder
        .files
        .iter()
        .filter_map(|(path, content)| Some((moved(path)?, content.clone())))
        .collect();
    folder.dirs.extend(dirs);
    folder.files.extend(files);
    Some((FileKind::Other, format!("{from} copied to {to}")))
}

fn roll_back(
    template: &Template,
    folder: &mut Folder,
    random: &mut Stream,
) -> Option<(FileKind, String)> {
    let at = random.random_range(0..template.older.len().max(1));
    let older = template.older.get(at)?;
    let path = pick_file(folder, random)?;
    let old = older.files.get(&path)?;
    let now = folder.files.get_mut(&path)?;
    if now == old {
        return None;
    }
    now.clone_from(old);
    Some((FileKind::of(&path), format!("{path} is as it was in copy {at}")))
}

fn other_type(folder: &mut Folder, random: &mut Stream) -> Option<(FileKind, String)> {
    if random.random_bool(0.5) {
        let path = pick_file(folder, random)?;
        folder.files.remove(&path);
        folder.dirs.insert(path.clone());
        return Some((FileKind::of(&path), format!("{path} is a folder")));
    }
    let path = pick_dir(folder, random)?;
    folder.remove_dir(&path);
    folder.files.insert(path.clone(), garbage(random.random(), 40));
    Some((FileKind::Other, format!("{path} is a file")))
}

/// A file or folder that is none of the log's, or nearly one.
fn stranger(folder: &mut Folder, random: &mut Stream) -> Option<(FileKind, String)> {
    let names = [
        "notes.txt",
        "0000000002.wal.bak",
        "2.wal",
        "00000000000000000000.log",
        "-1.0000000001.log",
        "99999999999999999999.9999999999.log",
        "a.18446744073709551615",
        "a.9223372036854775807",
        "x.1",
        "4294967296",
        "manifest.c",
        "meta.bin",
        "hashes2",
    ];
    let dirs: Vec<&String> = folder.dirs.iter().filter(|dir| dir.starts_with(LOG)).collect();
    let path = format!("{}/{}", pick(&dirs, random)?, pick(&names, random)?);
    if folder.files.contains_key(&path) || folder.dirs.contains(&path) {
        return None;
    }
    if random.random_bool(0.5) {
        folder.dirs.insert(path.clone());
    } else {
        let len = random.random_range(0..200);
        folder.files.insert(path.clone(), garbage(random.random(), len));
    }
    Some((FileKind::Other, format!("{path} is there")))
}
