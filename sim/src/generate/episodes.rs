//! Crashes that only matter one after another, each at its moment: chance alone
//! would seldom put them together.

use super::faults::Maker;
use crate::disk::CrashPhase;
use crate::fault::OpKind;
use crate::scenario::{Address, Death, During, Keeps};
use rand::RngExt;

/// How likely each of them is in a seed.
const LIKELIHOOD: f64 = 0.08;

/// Draws them into a seed.
pub(super) fn draw(maker: &mut Maker<'_>) {
    if maker.random.random_bool(LIKELIHOOD) {
        kill_and_cut(maker);
    }
    if maker.random.random_bool(LIKELIHOOD) {
        two_torn_slots(maker);
    }
    if maker.random.random_bool(LIKELIHOOD) {
        death_at_a_removal(maker);
    }
}

fn at(during: During, on: OpKind, file: &str, nth: u64) -> Address {
    Address { during, on: Some(on), file: file.to_owned(), nth }
}

/// A process is killed before it has synced a block, so that the cache alone has
/// it; and the power fails when recovery has put its records where they belong,
/// and has not written the manifest.
fn kill_and_cut(maker: &mut Maker<'_>) {
    let (during, nth) = (maker.some_step(), maker.random.random_range(0..3));
    let sync = at(during, OpKind::SyncData, "journal/*", nth);
    let killed = maker.crash_at(sync, CrashPhase::Before, Death::Kill);
    let keeps = if maker.random.random_bool(0.7) {
        Keeps::Nothing
    } else {
        Keeps::Drawn { profile: maker.plan.profile, seed: maker.random.random() }
    };
    let write = at(During::RecoveryFrom(killed), OpKind::WriteAt, "manifest.*", 0);
    let cut = maker.crash_at(write, CrashPhase::Before, Death::Power(keeps));
    maker.crash_in_recovery(cut);
}

/// The second slot of the manifest is torn, and then the one that recovery writes
/// second: had it been the first, there would be none.
fn two_torn_slots(maker: &mut Maker<'_>) {
    let (first, second) = if maker.random.random_bool(0.7) {
        ("manifest.b", "manifest.a")
    } else {
        ("manifest.a", "manifest.b")
    };
    let mut during = maker.some_step();
    for file in [first, second] {
        let phase = CrashPhase::Partly(maker.random.random_range(1..200));
        let death =
            if maker.random.random_bool(0.5) { Death::Kill } else { Death::Power(Keeps::All) };
        let id = maker.crash_at(at(during, OpKind::WriteAt, file, 0), phase, death);
        during = During::RecoveryFrom(id);
    }
}

/// A journal file that is larger than it should stay is removed when the checkpoint
/// behind it is complete, and the process dies right then: if it was not complete,
/// something is missing.
fn death_at_a_removal(maker: &mut Maker<'_>) {
    let during = maker.some_step();
    let death = if maker.random.random_bool(0.7) { Death::Kill } else { Death::Power(Keeps::All) };
    maker.crash_at(at(during, OpKind::RemoveFile, "journal/*", 0), CrashPhase::After, death);
}
