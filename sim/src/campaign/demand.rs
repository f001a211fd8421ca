//! What a campaign must have reached: one that tests nothing must not be green.

use super::report::Report;
use crate::fault::{Class, FaultKind};
use crate::generate::{Options, Workload};
use crate::profile::Profile;
use merkql::env::MARKS;

/// From so many seeds on everything has to be reached; with fewer it is luck.
pub const DEMANDING_SEEDS: u64 = 500;

/// The kinds of fault that seeds of these options can have.
pub(crate) fn possible(options: &Options) -> impl Iterator<Item = FaultKind> {
    let profile = options.profile;
    let honest = options.workload == Workload::ExactlyOnce;
    let kinds = FaultKind::ALL.iter().filter(move |kind| !honest || kind.class() == Class::R);
    kinds.copied().filter(move |kind| match kind {
        // Prefixes, and lengths that come with their data, leave no garbage and no gap.
        FaultKind::TrashedRange | FaultKind::SizeBeforeData => {
            !matches!(profile, Some(Profile::Strict | Profile::Ext4))
        }
        _ => true,
    })
}

/// What should have been reached and was not, as sentences.
pub(crate) fn untested(report: &Report, options: &Options) -> Vec<String> {
    let mut missing = Vec::new();
    for kind in possible(options) {
        let counts = report.counts_of(kind);
        let never = match (counts.armed, counts.fired, counts.mattered) {
            (0, ..) => "was never armed",
            (_, 0, _) => "was armed, and never fired",
            (.., 0) => "fired, and never mattered",
            _ => continue,
        };
        missing.push(format!("fault {} {}", kind.name(), never));
    }
    if options.workload != Workload::Mixed {
        return missing;
    }
    let marks = MARKS.iter().filter(|mark| report.marks_of(mark) == 0);
    missing.extend(marks.map(|mark| format!("mark {mark} was never reached")));
    missing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimClock;
    use crate::disk::{Kept, SimDisk, Unsynced, What};
    use crate::random::stream;
    use merkql::env::FileSystem;
    use std::path::Path;
    use std::sync::Arc;

    /// Names, lengths, writes that grow a file and writes that don't.
    fn unsynced() -> Unsynced {
        let disk = SimDisk::new();
        disk.set_clock(Arc::new(SimClock::new()));
        let process = disk.process();
        let synced = process.create_new(Path::new("/a")).unwrap();
        assert_eq!(synced.write_at(&[1; 9000], 0).unwrap(), 9000);
        synced.sync_data().unwrap();
        assert_eq!(synced.write_at(&[2; 5000], 100).unwrap(), 5000);
        let grown = process.create_new(Path::new("/b")).unwrap();
        for at in [0, 1500, 6000] {
            assert_eq!(grown.write_at(&[3; 1500], at).unwrap(), 1500);
        }
        let cut = process.create_new(Path::new("/c")).unwrap();
        assert_eq!(cut.write_at(&[4; 1500], 0).unwrap(), 1500);
        cut.set_len(100).unwrap();
        disk.unsynced()
    }

    /// Whether some power cut under a profile leaves garbage, or a length without its data.
    fn leaves(profile: Profile) -> (bool, bool) {
        let unsynced = unsynced();
        let (mut trash, mut gap) = (false, false);
        for seed in 0..500 {
            for kept in profile.draw(&unsynced, &mut stream(seed, "survivors")).kept {
                match kept {
                    Kept::Fill { .. } => trash = true,
                    Kept::Write { op, ranges, grows: true } => {
                        let kept: u64 = ranges.iter().map(|(from, to)| to - from).sum();
                        let change = unsynced.changes.iter().find(|change| change.op == op);
                        let What::Write { len, .. } = change.unwrap().what else { continue };
                        gap |= kept < len;
                    }
                    _ => {}
                }
            }
        }
        (trash, gap)
    }

    #[test]
    fn a_profile_is_not_asked_for_what_it_cannot_leave_behind() {
        for profile in Profile::ALL {
            let options = Options { profile: Some(profile), ..Options::default() };
            let kinds: Vec<FaultKind> = possible(&options).collect();
            let (trash, gap) = leaves(profile);
            assert_eq!(kinds.contains(&FaultKind::TrashedRange), trash, "{profile}");
            assert_eq!(kinds.contains(&FaultKind::SizeBeforeData), gap, "{profile}");
        }
        assert!(possible(&Options::default()).eq(FaultKind::ALL.iter().copied()));
    }
}
