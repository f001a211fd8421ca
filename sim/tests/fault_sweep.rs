//! Let every operation fail once, in every way it can, and compare the log with
//! what was acknowledged: without a crash, after a kill, after a power cut.
//!
//! `MERKQL_SWEEP_SEEDS=N` sweeps N workloads in place of one.

#[allow(dead_code, reason = "each test uses a part of it")]
mod support;

use merkql::broker::Broker;
use merkql::record::ProducerRecord;
use merkql::{Error, Result};
use merkql_sim::disk::{CrashPhase, CrashPoint, IoEvent, Limits, Survivors};
use merkql_sim::fault::{Arm, Fault, FaultKind, OpKind, SyncFailure};
use merkql_sim::profile::Profile;
use merkql_sim::random::stream;
use rand::RngExt;
use support::World;
use support::client::{Client, Trouble};
use support::crash::{Death, Tally, die, number, operations, recover_and_judge, trace};
use support::judge::judge;
use support::workload::{Step, workload};

const SYNC_FAILURES: [SyncFailure; 3] =
    [SyncFailure::KeptClean, SyncFailure::Reverted, SyncFailure::ReportedOnce];

/// A client and the steps that it has yet to do.
struct Run<'a> {
    client: Client,
    rest: &'a [Step],
}

/// Runs until a step fails, or to the end. The fault must have fired.
fn run_into<'a>(
    seed: u64,
    steps: &'a [Step],
    arm: &Arm,
    kind: FaultKind,
) -> (Run<'a>, Option<Error>) {
    let world = World::new(seed);
    assert!(world.disk.arm(arm.clone()).is_some(), "{arm:?} cannot happen");
    let mut client = Client::new(world, seed);
    let mut failure = None;
    let mut done = 0;
    for step in steps {
        done += 1;
        match client.step(step) {
            Ok(()) => {}
            Err(Trouble::Refused(error)) => {
                failure = Some(error);
                break;
            }
            Err(Trouble::Wrong(what)) => panic!("{arm:?}: {what}"),
        }
    }
    if failure.is_none() && done == steps.len() {
        client.let_go();
    }
    let fired = client.world.disk.fault_counts().get(&kind).is_some_and(|count| count.fired == 1);
    assert!(fired, "{arm:?} did not fire");
    // A topic that was not created is tried again: others build on it.
    let again = matches!(steps.get(done - 1), Some(Step::Create { .. }) if failure.is_some());
    let rest = steps.get(done - usize::from(again)..).unwrap_or_default();
    (Run { client, rest }, failure)
}

/// Whether the log takes a write. If it does, what failed before failed whole.
fn try_a_write(client: &mut Client) -> std::result::Result<(), Error> {
    let before = client.model.clone();
    let step = match client.model.topics.keys().next().cloned() {
        None => Step::Create { name: "probe".to_owned(), partitions: 1 },
        Some(topic) => {
            let value = format!("probe-{}", client.model.acknowledged());
            Step::Send(vec![ProducerRecord::new(topic, None, value)])
        }
    };
    match client.step(&step) {
        Ok(()) => {
            client.model.open_topic = None;
            client.model.open_commit = None;
            Ok(())
        }
        Err(Trouble::Refused(error)) => {
            client.model = before;
            Err(error)
        }
        Err(Trouble::Wrong(what)) => panic!("{what}"),
    }
}

/// Reopens in the same process, judges, and does the rest of the work.
fn reopen_and_go_on(mut run: Run<'_>, label: &str) {
    run.client.let_go();
    let opened: Result<_> = run.client.world.open(None);
    let broker = opened.unwrap_or_else(|error| panic!("{label}: reopening: {error}"));
    let judged = judge(&broker, &mut run.client.model);
    judged.unwrap_or_else(|what| panic!("{label}: after reopening: {what}"));
    drop(broker);
    let rest = run.client.run(run.rest);
    if let Err(trouble) = rest {
        panic!("{label}: going on: {trouble:?}");
    }
    run.client.world.disk.power_cut(&Survivors::none());
    run.client.let_go();
    let broker = run.client.world.open(None).unwrap_or_else(|e| panic!("{label}: at the end: {e}"));
    let judged = judge(&broker, &mut run.client.model);
    judged.unwrap_or_else(|what| panic!("{label}: at the end: {what}"));
}

/// Lets the machine die in each way in which it may after a failure.
fn die_and_judge(run: &Run<'_>, seed: u64, label: &str, tally: &mut Tally) {
    let deaths = [
        Death::Kill,
        Death::Power(Profile::Strict),
        Death::Power(Profile::Ext4),
        Death::Power(Profile::Posix),
    ];
    for death in deaths {
        let mut random = stream(seed, &format!("{label}{death:?}"));
        let fork = run.client.world.fork(random.random());
        let survivors = die(&fork.disk, death, &mut random);
        let mut model = run.client.model.clone();
        let judged = recover_and_judge(&fork, &mut model, death, &mut random, tally);
        judged.unwrap_or_else(|what| panic!("{label}, {death:?}: {what}\n{survivors:?}"));
    }
}

/// Each operation of these kinds, as the n-th of its kind.
fn occurrences(events: &[IoEvent], kinds: &[OpKind]) -> Vec<(OpKind, u64, IoEvent)> {
    let mut found = Vec::new();
    for kind in kinds {
        let of_kind = events.iter().filter(|event| event.on == *kind);
        found.extend((0..).zip(of_kind).map(|(skip, event)| (*kind, skip, event.clone())));
    }
    found
}

#[test]
fn after_a_failed_sync_nothing_is_written_and_reopening_recovers() {
    let mut tally = Tally::default();
    for seed in 1..=number("MERKQL_SWEEP_SEEDS").unwrap_or(1) {
        let steps = workload(seed, 10);
        let events = operations(seed, &steps);
        for (on, skip, event) in occurrences(&events, &[OpKind::SyncData, OpKind::SyncDir]) {
            for mode in SYNC_FAILURES {
                let fault = Fault::FailedSync(mode);
                let label = format!("seed {seed}, {mode:?} at {event}");
                let arm = Arm::nth(fault.clone(), on, "*", skip);
                let (mut run, failure) = run_into(seed, &steps, &arm, fault.kind(on));
                tally.points += 1;
                // A sync that fails while the log is opened leaves no broker, and
                // one that fails after its closing nothing to write.
                if run.client.broker.is_some() && !run.rest.is_empty() {
                    let refused = try_a_write(&mut run.client);
                    let latched = matches!(refused, Err(Error::NeedsReopen { .. }));
                    assert!(latched, "{label}: {failure:?}, and then a write: {refused:?}");
                }
                die_and_judge(&run, seed, &label, &mut tally);
                reopen_and_go_on(run, &label);
            }
        }
    }
    println!("{tally:?}");
}

#[test]
fn a_sync_that_fails_in_recovery_is_recovered_from() {
    let mut recoveries = 0;
    for seed in 1..=number("MERKQL_SWEEP_SEEDS").unwrap_or(1) {
        let steps = workload(seed, 10);
        for change in (0..operations(seed, &steps).len() as u64).step_by(29) {
            let world = World::new(seed);
            world.disk.crash_at(CrashPoint { change, phase: CrashPhase::After });
            let mut client = Client::new(world.clone(), seed);
            drop(client.run(&steps));
            client.let_go();
            for death in [Death::Kill, Death::Power(Profile::Posix)] {
                let mut random = stream(change, &format!("{death:?}"));
                die(&world.disk, death, &mut random);
                for (on, mode) in [OpKind::SyncData, OpKind::SyncDir]
                    .into_iter()
                    .flat_map(|on| SYNC_FAILURES.map(|mode| (on, mode)))
                {
                    for skip in 0.. {
                        let label =
                            format!("seed {seed}, {change}, {death:?}, {mode:?} {on:?} {skip}");
                        let fork = world.fork(random.random());
                        fork.disk.arm(Arm::nth(Fault::FailedSync(mode), on, "*", skip)).unwrap();
                        if fork.open(None).is_ok() {
                            break;
                        }
                        recoveries += 1;
                        let mut model = client.model.clone();
                        let again = if skip % 2 == 0 { Death::Kill } else { death };
                        die(&fork.disk, again, &mut random);
                        let mut tally = Tally::default();
                        recover_and_judge(&fork, &mut model, death, &mut random, &mut tally)
                            .unwrap_or_else(|what| panic!("{label}: {what}"));
                    }
                }
            }
        }
    }
    println!("{recoveries} recoveries in which a sync failed");
}

#[test]
fn after_an_io_error_or_a_full_disk_the_log_goes_on_or_asks_to_be_reopened() {
    let mut tally = Tally::default();
    let kinds = [
        OpKind::CreateNew,
        OpKind::Open,
        OpKind::List,
        OpKind::CreateDir,
        OpKind::RemoveFile,
        OpKind::TryLock,
        OpKind::Len,
        OpKind::ReadAt,
        OpKind::WriteAt,
        OpKind::SetLen,
        OpKind::Allocate,
    ];
    for seed in 1..=number("MERKQL_SWEEP_SEEDS").unwrap_or(1) {
        let steps = workload(seed, 6);
        let events = trace(seed, &steps);
        for (on, skip, event) in occurrences(&events, &kinds) {
            let after_bytes = if skip % 2 == 0 { 0 } else { 700 };
            let mut faults = vec![Fault::IoError { after_bytes }];
            if matches!(on, OpKind::CreateNew | OpKind::CreateDir | OpKind::Allocate) {
                faults.push(Fault::DiskFull { after_bytes });
            }
            if matches!(on, OpKind::CreateNew | OpKind::Open | OpKind::TryLock) {
                faults.push(Fault::TooManyOpenFiles);
            }
            for fault in faults {
                let label = format!("seed {seed}, {fault:?} at {event}");
                let arm = Arm::nth(fault.clone(), on, "*", skip);
                let (mut run, failure) = run_into(seed, &steps, &arm, fault.kind(on));
                tally.points += 1;
                let changed_nothing = matches!(
                    failure,
                    Some(Error::DiskFull { .. } | Error::TooManyOpenFiles { .. })
                );
                if failure.is_some() && run.client.broker.is_some() {
                    let refused = try_a_write(&mut run.client);
                    match refused {
                        Ok(()) => {}
                        Err(Error::NeedsReopen { .. }) => assert!(
                            !changed_nothing,
                            "{label}: {failure:?} promises that nothing was changed"
                        ),
                        Err(error) => panic!("{label}: {failure:?}, then {error}"),
                    }
                }
                if skip % 4 == 0 {
                    die_and_judge(&run, seed, &label, &mut tally);
                }
                reopen_and_go_on(run, &label);
            }
        }
    }
    println!("{tally:?}");
}

#[test]
fn a_disk_that_fills_up_refuses_and_goes_on_once_there_is_room() {
    for seed in 1..=number("MERKQL_SWEEP_SEEDS").unwrap_or(1) {
        for kib in (24..220).step_by(4) {
            let label = format!("seed {seed}, a disk of {kib} KiB");
            let world = World::new(seed);
            world.disk.set_limits(Limits { disk_bytes: Some(kib << 10), open_files: None });
            let steps = workload(seed, 10);
            let mut client = Client::new(world.clone(), seed);
            let mut refusals = 0;
            for step in &steps {
                match client.step(step) {
                    Ok(()) => continue,
                    Err(Trouble::Refused(Error::DiskFull { .. })) => refusals += 1,
                    Err(Trouble::Refused(error @ Error::NeedsReopen { .. })) => {
                        panic!("{label}: {error}")
                    }
                    // Later steps miss what earlier ones could not make.
                    Err(Trouble::Refused(_)) => {}
                    Err(Trouble::Wrong(what)) => panic!("{label}: {what}"),
                }
                break;
            }
            world.disk.set_limits(Limits::default());
            if refusals > 0 && client.broker.is_some() {
                try_a_write(&mut client).unwrap_or_else(|error| panic!("{label}, freed: {error}"));
            }
            client.let_go();
            let broker = world.open(None).unwrap_or_else(|error| panic!("{label}: {error}"));
            judge(&broker, &mut client.model).unwrap_or_else(|what| panic!("{label}: {what}"));
        }
    }
}

#[test]
fn short_and_interrupted_reads_and_writes_are_carried_on() {
    let faults = [Fault::Short(1), Fault::Short(511), Fault::Interrupted];
    for (seed, fault) in (1..).zip(faults) {
        for on in [OpKind::ReadAt, OpKind::WriteAt] {
            let world = World::new(seed);
            let steps = workload(seed, 10);
            for skip in (0..4000).step_by(3) {
                assert!(world.disk.arm(Arm::nth(fault.clone(), on, "*", skip)).is_some());
            }
            let mut client = Client::new(world.clone(), seed);
            client.run(&steps).unwrap_or_else(|trouble| panic!("{fault:?} {on:?}: {trouble:?}"));
            client.let_go();
            world.disk.power_cut(&Survivors::none());
            let broker = world.open(None).unwrap_or_else(|error| panic!("{fault:?}: {error}"));
            judge(&broker, &mut client.model).unwrap_or_else(|what| panic!("{fault:?}: {what}"));
            let counts = world.disk.fault_counts();
            assert!(counts.values().any(|count| count.mattered > 0), "{fault:?} {on:?}");
        }
    }
}

#[test]
fn a_lock_that_somebody_else_holds_is_a_clear_error() {
    let world = World::new(1);
    let broker = world.open(None).unwrap();
    assert!(matches!(world.open(None), Err(Error::AlreadyOpen { .. })));
    drop(broker);
    assert!(world.disk.arm(Arm::first(Fault::LockHeld, OpKind::TryLock, "*/LOCK")).is_some());
    assert!(matches!(world.open(None), Err(Error::AlreadyOpen { .. })));
    // A process that was killed holds nothing.
    let broker = world.open(None).unwrap();
    world.disk.kill();
    assert!(world.open(None).is_ok());
    drop(broker);
    assert!(Broker::close(&world.open(None).unwrap()).is_ok());
}
