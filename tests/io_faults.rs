//! Every operation of a small workload fails once, in each way it can fail: the
//! call gives a typed error, nothing that was acknowledged is lost, and after a
//! second try, in the same process or in a log opened anew, everything is there
//! once.

mod support_crash;

use merkql::broker::Broker;
use merkql::record::Record;
use std::collections::BTreeMap;
use std::path::Path;
use support_crash::fault_fs::{FALLIBLE, Fault, FaultFs, Kind, Manner};
use support_crash::ledger::Ledger;
use support_crash::workload::{Outcome, Step, World, assert_typed, config, prepare, steps};
use support_crash::{Rng, copy_dir, memory_dir, seed};

const LAST_UNIT: u64 = 1 << 40;

/// Runs the workload with one fault; `None` if it has no such operation.
fn run_with(fault: Fault, steps: &[Step]) -> Option<Outcome> {
    let dir = memory_dir();
    prepare(dir.path());
    let fs = FaultFs::new();
    fs.arm(fault);
    let mut world = World::open(dir.path(), &fs, fault.manner);
    world.run(steps);
    world.finish(LAST_UNIT);
    (fs.fired() > 0).then_some(world.outcome)
}

/// Lets each operation of each kind fail, one a run, and returns how many there
/// were, and what became of the calls.
fn sweep(kinds: &[Kind], manner: Manner, stays: bool) -> BTreeMap<Kind, (u64, Outcome)> {
    let steps = steps(9);
    let mut sums = BTreeMap::new();
    for kind in kinds {
        let mut sum = Outcome::default();
        let mut number = 0;
        while let Some(outcome) = run_reported(*kind, number, manner, stays, &steps) {
            sum.failures += outcome.failures;
            sum.latched += outcome.latched;
            sum.retried += outcome.retried;
            number += 1;
        }
        sums.insert(*kind, (number, sum));
    }
    println!("{manner:?}, stays: {stays}: {sums:#?}");
    sums
}

/// A panic names the fault it came from.
fn run_reported(
    kind: Kind,
    number: u64,
    manner: Manner,
    stays: bool,
    steps: &[Step],
) -> Option<Outcome> {
    let fault = Fault { number, kind: Some(kind), manner, stays };
    let run = std::panic::AssertUnwindSafe(|| run_with(fault, steps));
    std::panic::catch_unwind(run).unwrap_or_else(|panic| {
        println!("the fault was {fault:?}");
        std::panic::resume_unwind(panic)
    })
}

#[test]
fn an_operation_that_fails_once_loses_nothing() {
    let sums = sweep(&FALLIBLE, Manner::Clean, false);
    for kind in FALLIBLE {
        let (operations, outcome) = sums[&kind];
        assert!(operations > 0, "the workload has no {kind:?}");
        // A file that cannot be removed, or an index that cannot be written, harms nobody.
        let may_go_unseen = matches!(kind, Kind::Remove);
        assert!(may_go_unseen || outcome.failures > 0, "no call heard of a failed {kind:?}");
    }
    // Before the commit point a failure changes nothing and latches nothing.
    assert!(sums[&Kind::Allocate].1.retried > 0 && sums[&Kind::Create].1.retried > 0);
    // After a failed sync nothing is written until the log is opened anew.
    for kind in [Kind::Sync, Kind::SyncDir] {
        let (syncs, outcome) = sums[&kind];
        assert!(syncs > 20 && outcome.failures >= syncs, "{syncs} {kind:?}: {outcome:?}");
        assert_eq!(outcome.retried, 0, "{kind:?}");
    }
}

#[test]
fn an_operation_that_is_half_done_loses_nothing() {
    let kinds =
        [Kind::Create, Kind::CreateDir, Kind::Remove, Kind::Write, Kind::SetLen, Kind::Allocate];
    let sums = sweep(&kinds, Manner::Torn, false);
    assert!(sums[&Kind::Write].0 > 100, "{sums:?}");
}

#[test]
fn a_failed_sync_that_throws_pages_away_loses_nothing() {
    let sums = sweep(&[Kind::Sync], Manner::Reverted, false);
    let (syncs, outcome) = sums[&Kind::Sync];
    assert!(syncs > 50 && outcome.failures >= syncs, "{syncs} syncs: {outcome:?}");
    assert_eq!(outcome.retried, 0);
}

#[test]
fn a_look_that_fails_once_loses_nothing() {
    let sums = sweep(&[Kind::Read, Kind::Len, Kind::List, Kind::Lock], Manner::Clean, false);
    for (kind, (operations, outcome)) in sums {
        assert!(operations > 0 && outcome.failures > 0, "{kind:?}: {outcome:?}");
    }
}

#[test]
fn a_disk_that_stays_broken_loses_nothing() {
    // From the n-th changing operation on everything fails, as after a kill there.
    let steps = steps(9);
    let mut number = 0;
    loop {
        let fault = Fault { number, kind: None, manner: Manner::Torn, stays: true };
        let run = std::panic::AssertUnwindSafe(|| run_with(fault, &steps));
        let outcome = std::panic::catch_unwind(run).unwrap_or_else(|panic| {
            println!("the fault was {fault:?}");
            std::panic::resume_unwind(panic)
        });
        if outcome.is_none() {
            break;
        }
        number += 3;
    }
    println!("broken at {} of {number} operations", number / 3);
    assert!(number > 300);
}

#[test]
fn short_and_interrupted_transfers_are_carried_on() {
    let seed = seed();
    println!("MERKQL_SEED={seed}");
    for round in 0..6 {
        let dir = memory_dir();
        prepare(dir.path());
        let fs = FaultFs::new();
        fs.chop(Rng(seed + round).next());
        let mut world = World::open(dir.path(), &fs, Manner::Clean);
        world.run(&steps(9));
        let crashed = memory_dir();
        copy_dir(dir.path(), crashed.path());
        world.finish(LAST_UNIT);
        let outcome = world.outcome;
        assert_eq!((outcome.failures, outcome.retried), (0, 0), "somebody heard of it");
        // Recovery carries on too. (The ledger knows more by now than the copy.)
        let broker = Broker::open(config(crashed.path(), &fs)).unwrap();
        let topic = broker.topic("kept").unwrap();
        let view = topic.partition(0).unwrap().read().unwrap();
        let size = view.next_offset();
        let records = view.read_range(0, size).unwrap();
        assert_eq!(records.len() as u64, size);
        assert!(size > 20);
    }
}

/// What a log holds: names, ends, roots, records.
fn content(dir: &Path, fs: &std::sync::Arc<FaultFs>) -> merkql::Result<BTreeMap<String, String>> {
    let broker = Broker::open(config(dir, fs))?;
    let mut content = BTreeMap::new();
    for name in broker.topics() {
        let topic = broker.topic(&name).unwrap();
        for partition in topic.partition_ids() {
            let view = topic.partition(partition).unwrap().read().unwrap();
            let end = view.next_offset();
            let root = view.merkle_root()?;
            let hashes: Vec<_> = view.read_range(0, end)?.iter().map(Record::hash).collect();
            let start = view.min_valid_offset();
            content.insert(
                format!("{name}/{partition}"),
                format!("{start}..{end} {root:?} {hashes:?}"),
            );
        }
    }
    Ok(content)
}

/// A directory as a crash leaves it, with work for recovery of every kind.
fn crashed_log(dir: &Path) -> Ledger {
    let fs = FaultFs::new();
    let running = memory_dir();
    prepare(running.path());
    let mut world = World::open(running.path(), &fs, Manner::Clean);
    world.run(&steps(7));
    world.run(&[
        Step::Create("crashed", 2),
        Step::Send(5_000, vec!["crashed", "crashed", "kept"]),
        Step::Numbered(7, vec!["numbered", "crashed"]),
        Step::Consume,
    ]);
    copy_dir(running.path(), dir);
    std::mem::take(&mut world.ledger)
}

#[test]
fn recovery_that_fails_anywhere_converges() {
    let crashed = memory_dir();
    let mut ledger = crashed_log(crashed.path());
    let reference = memory_dir();
    copy_dir(crashed.path(), reference.path());
    let healthy = FaultFs::new();
    let expected = content(reference.path(), &healthy).unwrap();
    let broker = Broker::open(config(reference.path(), &healthy)).unwrap();
    ledger.check(&broker);
    ledger.check_commits(&broker);
    drop(broker);
    let mut sums = BTreeMap::new();
    for (manner, stays) in [
        (Manner::Clean, false),
        (Manner::Torn, false),
        (Manner::Torn, true),
        (Manner::Reverted, false),
    ] {
        let mut refused = 0_u64;
        for number in 0.. {
            let dir = memory_dir();
            copy_dir(crashed.path(), dir.path());
            let fs = FaultFs::new();
            fs.arm(Fault { number, kind: None, manner, stays });
            let opened = content(dir.path(), &fs);
            let fired = fs.fired() > 0;
            match opened {
                // A read of the content may have met the fault; open has not.
                Ok(content) => assert_eq!(content, expected, "{manner:?} {stays} {number}"),
                Err(error) => {
                    assert_typed(&error);
                    refused += 1;
                    // Recovery is met by the same fault again, further on.
                    fs.arm(Fault { number: number / 2 + 1, kind: None, manner, stays });
                    drop(content(dir.path(), &fs));
                }
            }
            fs.heal();
            let again = content(dir.path(), &fs).unwrap();
            assert_eq!(again, expected, "{manner:?} {stays} {number}");
            let broker = Broker::open(config(dir.path(), &fs)).unwrap();
            ledger.check(&broker);
            ledger.check_commits(&broker);
            if !fired {
                sums.insert(format!("{manner:?} {stays}"), (number, refused));
                break;
            }
        }
    }
    println!("operations of recovery, and of these refused: {sums:?}");
    assert!(sums.values().all(|(operations, refused)| *operations > 30 && *refused > 20));
}
