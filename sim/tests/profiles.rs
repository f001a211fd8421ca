//! What each profile lets survive is legal under it, and the enumeration has all.

use merkql::env::FileSystem;
use merkql_sim::disk::{Kept, OpId, SimDisk, Survivors, Unsynced, What};
use merkql_sim::profile::Profile;
use merkql_sim::random::{Stream, stream};
use proptest::prelude::*;
use rand::RngExt;
use std::collections::BTreeSet;
use std::path::Path;

/// A disk with unsynced changes of every sort.
fn busy_disk(seed: u64, changes: usize) -> SimDisk {
    let mut random = stream(seed, "disk");
    let disk = SimDisk::new();
    let process = disk.process();
    process.create_dir(Path::new("/dir")).unwrap();
    let mut files = Vec::new();
    for name in ["/a", "/dir/b"] {
        let file = process.create_new(Path::new(name)).unwrap();
        file.write_at(&[1; 6000], 0).unwrap();
        file.sync_data().unwrap();
        files.push(file);
    }
    process.sync_dir(Path::new("/")).unwrap();
    process.sync_dir(Path::new("/dir")).unwrap();
    for index in 0..changes {
        let file = &files[random.random_range(0..files.len())];
        match random.random_range(0..6) {
            0 => file.set_len(random.random_range(0..9000)).unwrap(),
            1 => drop(process.create_new(Path::new(&format!("/dir/new-{index}"))).unwrap()),
            _ => {
                let len = random.random_range(1..5000);
                let position = random.random_range(0..9000);
                file.write_at(&vec![u8::try_from(index % 200 + 2).unwrap(); len], position)
                    .unwrap();
            }
        }
    }
    disk
}

fn op_of(kept: &Kept) -> Option<OpId> {
    match kept {
        Kept::Write { op, .. } | Kept::Length { op } | Kept::Name { op } => Some(*op),
        Kept::Fill { .. } => None,
    }
}

/// The whole changes among the survivors.
fn is_whole(unsynced: &Unsynced, kept: &Kept) -> bool {
    match kept {
        Kept::Write { op, ranges, grows } => {
            let change = unsynced.changes.iter().find(|change| change.op == *op).unwrap();
            let What::Write { position, len, grows: grew } = change.what else { return false };
            *ranges == [(position, position + len)] && *grows == grew
        }
        _ => true,
    }
}

/// Every survivor is of a change that was made, within what it wrote.
fn check_known(unsynced: &Unsynced, survivors: &Survivors) -> Result<(), TestCaseError> {
    for kept in &survivors.kept {
        let Some(op) = op_of(kept) else { continue };
        let change = unsynced.changes.iter().find(|change| change.op == op);
        prop_assert!(change.is_some(), "{kept:?} was not at stake");
        if let (Kept::Write { ranges, grows, .. }, Some(change)) = (kept, change) {
            let What::Write { position, len, grows: grew } = change.what else {
                return Err(TestCaseError::fail(format!("{kept:?} is no write")));
            };
            prop_assert!(!*grows || grew);
            for (from, to) in ranges {
                prop_assert!(position <= *from && from <= to && *to <= position + len);
            }
        }
    }
    Ok(())
}

fn check_strict(unsynced: &Unsynced, survivors: &Survivors) -> Result<(), TestCaseError> {
    let ops: Vec<OpId> = survivors.kept.iter().filter_map(op_of).collect();
    let prefix: Vec<OpId> = unsynced.changes.iter().take(ops.len()).map(|c| c.op).collect();
    prop_assert_eq!(ops, prefix);
    for kept in survivors.kept.iter().rev().skip(1) {
        prop_assert!(is_whole(unsynced, kept), "only the last one may be torn");
    }
    Ok(())
}

fn check_ext4(unsynced: &Unsynced, survivors: &Survivors) -> Result<(), TestCaseError> {
    let is_metadata = |what: &What| !matches!(what, What::Write { .. });
    let ops: BTreeSet<OpId> = survivors.kept.iter().filter_map(op_of).collect();
    let metadata = unsynced.changes.iter().filter(|change| is_metadata(&change.what));
    let kept: Vec<bool> = metadata.map(|change| ops.contains(&change.op)).collect();
    let in_order = kept.windows(2).all(|pair| pair[0] || !pair[1]);
    prop_assert!(in_order, "names and lengths survive in order: {:?}", kept);
    for kept in &survivors.kept {
        prop_assert!(!matches!(kept, Kept::Fill { .. }), "nothing but zeroes in grown parts");
        if let Kept::Write { op, ranges, grows: true } = kept {
            let change = unsynced.changes.iter().find(|change| change.op == *op).unwrap();
            let What::Write { position, len, .. } = change.what else { continue };
            let durable = unsynced.durable_len[&change.inode];
            let covered = (position.max(durable)..position + len)
                .step_by(97)
                .all(|at| ranges.iter().any(|(from, to)| *from <= at && at < *to));
            prop_assert!(covered, "a length survived without its data: {:?}", kept);
        }
    }
    Ok(())
}

fn check_posix(unsynced: &Unsynced, survivors: &Survivors) -> Result<(), TestCaseError> {
    for kept in &survivors.kept {
        let Kept::Fill { file, range: (from, to), .. } = kept else { continue };
        let written = unsynced.changes.iter().any(|change| match change.what {
            What::Write { position, len, .. } => {
                change.inode == *file && position <= *from && *to <= position + len
            }
            _ => false,
        });
        prop_assert!(written, "bytes that nobody wrote have changed: {:?}", kept);
    }
    Ok(())
}

fn check(
    profile: Profile,
    unsynced: &Unsynced,
    survivors: &Survivors,
) -> Result<(), TestCaseError> {
    check_known(unsynced, survivors)?;
    match profile {
        Profile::Strict => check_strict(unsynced, survivors),
        Profile::Ext4 => check_ext4(unsynced, survivors),
        Profile::Posix => check_posix(unsynced, survivors),
        Profile::Hostile => Ok(()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_drawn_is_legal_and_repeats_with_its_seed(seed: u64, changes in 0..14usize) {
        let unsynced = busy_disk(seed, changes).unsynced();
        for profile in Profile::ALL {
            let draw = |random: &mut Stream| profile.draw(&unsynced, random);
            let drawn = draw(&mut stream(seed, "draw"));
            check(profile, &unsynced, &drawn)?;
            prop_assert_eq!(draw(&mut stream(seed, "draw")), drawn);
        }
    }

    #[test]
    fn what_is_enumerated_is_legal_and_there_once(seed: u64, changes in 0..8usize) {
        let unsynced = busy_disk(seed, changes).unsynced();
        for profile in Profile::ALL {
            let all = profile.enumerate(&unsynced, 40);
            for survivors in &all.survivors {
                check(profile, &unsynced, survivors)?;
            }
            prop_assert_eq!(all.survivors.len() as u128 + all.cut, all.total);
            prop_assert!(all.survivors.len() == 40 || all.cut == 0);
            // The two that matter most are always there.
            prop_assert!(all.survivors.contains(&Survivors::none()));
            if profile != Profile::Posix && profile != Profile::Hostile {
                let everything = all.survivors.first().unwrap();
                prop_assert_eq!(everything.kept.len(), unsynced.changes.len());
            }
        }
    }
}

#[test]
fn a_small_disk_is_enumerated_whole() {
    let disk = SimDisk::new();
    let process = disk.process();
    let file = process.create_new(Path::new("/file")).unwrap();
    file.write_at(&[1; 1024], 0).unwrap();
    let unsynced = disk.unsynced();
    // A name, two sectors and a growth: each lost or kept.
    assert_eq!(Profile::Posix.enumerate(&unsynced, 100).total, 16);
    // Nothing, the name, the name and the write.
    assert_eq!(Profile::Strict.enumerate(&unsynced, 100).total, 3);
    // The name or not, the growth with its data or not.
    assert_eq!(Profile::Ext4.enumerate(&unsynced, 100).total, 4);
    let outcomes: BTreeSet<Option<Vec<u8>>> = Profile::Posix
        .enumerate(&unsynced, 100)
        .survivors
        .iter()
        .map(|survivors| {
            let fork = disk.fork();
            fork.power_cut(survivors);
            fork.content("/file").ok()
        })
        .collect();
    // No file; an empty one; 1,024 bytes of which each half is there or not.
    assert_eq!(outcomes.len(), 6);
}
