//! Crash at every operation that can change the disk, recover from what is left,
//! and compare with what was acknowledged.
//!
//! `MERKQL_SWEEP_SEEDS=N` sweeps N workloads in place of the usual few;
//! `MERKQL_SWEEP_ONLY=seed:change` does one crash point again, as a failure prints it.

mod support;


use merkql_sim::disk::{CrashPhase, CrashPoint, IoEvent, SimDisk, Survivors};
use merkql_sim::fault::OpKind;
use merkql_sim::profile::Profile;
use merkql_sim::random::{Stream, stream};
use rand::RngExt;
use std::fmt;
use support::World;
use support::client::{Client, Trouble};
use support::judge::judge;
use support::model::Model;
use support::workload::{Step, workload};

/// In what way the process and the machine died.
#[derive(Debug, Clone, Copy)]
enum Death {
    Kill,
    Power(Profile),
}

/// Everything that is needed to do a failed case again.
#[derive(Debug, Clone)]
struct Case {
    seed: u64,
    point: CrashPoint,
    death: Death,
    draw: u64,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, point, death, draw } = self;
        write!(
            f,
            "seed {seed}, {point:?}, {death:?}, draw {draw} (MERKQL_SWEEP_ONLY={seed}:{})",
            point.change
        )
    }
}

/// What a sweep has done.
#[derive(Debug, Default)]
struct Tally {
    points: u64,
    recoveries: u64,
    crashes_in_recovery: u64,
    survivors_kept: u64,
}

/// Carries out a death.
fn die(disk: &SimDisk, death: Death, random: &mut Stream) -> Option<Survivors> {
    match death {
        Death::Kill => {
            disk.kill();
            None
        }
        Death::Power(profile) => {
            let survivors = profile.draw(&disk.unsynced(), random);
            disk.power_cut(&survivors);
            Some(survivors)
        }
    }
}

/// Opens the log, crashing in the middle of it a few times first.
fn recover(
    world: &World,
    death: Death,
    random: &mut Stream,
    tally: &mut Tally,
) -> Result<merkql::broker::BrokerRef, String> {
    for _ in 0..random.random_range(0..3) {
        // How long would it take?
        let trial = world.fork(random.random());
        let before = trial.disk.changes();
        let opened = trial.open(None).map_err(|error| format!("a trial to open: {error}"))?;
        let changes = trial.disk.changes() - before;
        drop(opened);
        if changes == 0 {
            break;
        }
        let change = world.disk.changes() + random.random_range(0..changes);
        let phase = match random.random_range(0..3) {
            0 => CrashPhase::Before,
            1 => CrashPhase::Partly(random.random_range(0..4096)),
            _ => CrashPhase::After,
        };
        world.disk.crash_at(CrashPoint { change, phase });
        drop(world.open(None));
        // A kill may be followed by a power cut, and the other way round.
        let death = if random.random_bool(0.3) { Death::Kill } else { death };
        die(&world.disk, death, random);
        tally.crashes_in_recovery += 1;
    }
    tally.recoveries += 1;
    world.open(None).map_err(|error| format!("opening: {error}"))
}

/// Recovers, judges, works on a little, loses what it can, and judges again.
fn recover_and_judge(
    world: &World,
    model: &mut Model,
    death: Death,
    random: &mut Stream,
    tally: &mut Tally,
) -> Result<(), String> {
    let broker = recover(world, death, random, tally)?;
    judge(&broker, model).map_err(|what| format!("after recovery: {what}"))?;
    drop(broker);
    let broker = world.open(None).map_err(|error| format!("opening a closed log: {error}"))?;
    judge(&broker, model).map_err(|what| format!("after a clean close: {what}"))?;
    drop(broker);

    // It goes on working, and the next crash finds it as well founded.
    let mut client = Client::new(world.clone(), random.random());
    client.model = model.clone();
    let more: Vec<Step> = workload(random.random(), 0).into_iter().rev().take(4).rev().collect();
    let more: Vec<Step> = more.into_iter().filter(|step| fits(step, &client.model)).collect();
    client.run(&renamed(more)).map_err(|trouble| format!("working on: {trouble:?}"))?;
    world.disk.power_cut(&Survivors::none());
    client.let_go();
    let broker = world.open(None).map_err(|error| format!("opening again: {error}"))?;
    judge(&broker, &mut client.model).map_err(|what| format!("after more work: {what}"))?;
    tally.recoveries += 2;
    *model = client.model;
    Ok(())
}

fn fits(step: &Step, model: &Model) -> bool {
    match step {
        Step::Send(records) => records.iter().all(|r| model.topics.contains_key(&r.topic)),
        _ => true,
    }
}

/// Values that no other step has used.
fn renamed(steps: Vec<Step>) -> Vec<Step> {
    let rename = |step| match step {
        Step::Send(mut records) => {
            records.iter_mut().for_each(|record| record.value.insert_str(0, "more-"));
            Step::Send(records)
        }
        step => step,
    };
    steps.into_iter().map(rename).collect()
}

/// The changing operations of a run without a crash.
fn operations(seed: u64, steps: &[Step]) -> Vec<IoEvent> {
    let world = World::new(seed);
    world.disk.record_trace();
    let mut client = Client::new(world.clone(), seed);
    client.run(steps).expect("a run without faults succeeds");
    client.let_go();
    let events = world.disk.take_trace();
    let broker = world.open(None).expect("a closed log opens");
    judge(&broker, &mut client.model).expect("a run without faults is as it should be");
    events.into_iter().filter(|event| event.change.is_some()).collect()
}

/// Runs until the crash; returns the world and what was known then.
fn run_until(seed: u64, steps: &[Step], point: CrashPoint) -> (World, Model) {
    let world = World::new(seed);
    world.disk.crash_at(point);
    let mut client = Client::new(world.clone(), seed);
    let trouble = client.run(steps);
    assert!(!matches!(trouble, Err(Trouble::Wrong(_))), "before {point:?}: {trouble:?}");
    client.let_go();
    assert!(world.disk.is_dead(), "{point:?} was not reached");
    (world, client.model)
}

fn sweep_point(seed: u64, steps: &[Step], event: &IoEvent, draws: u64, tally: &mut Tally) {
    let change = event.change.unwrap_or_default();
    let is_sync = matches!(event.on, OpKind::SyncData | OpKind::SyncDir);
    let is_write = matches!(event.on, OpKind::WriteAt | OpKind::Allocate);
    let mut phases = vec![CrashPhase::After];
    if is_sync {
        phases.push(CrashPhase::Before);
    }
    if is_write {
        phases.push(CrashPhase::Partly(1 + change * 37 % event.len.max(4096)));
    }
    for phase in phases {
        let point = CrashPoint { change, phase };
        let (world, model) = run_until(seed, steps, point);
        tally.points += 1;
        let mut deaths = vec![Death::Kill];
        if phase != CrashPhase::After || !is_sync {
            deaths.extend(Profile::HONEST.map(Death::Power));
        }
        for death in deaths {
            let draws = if matches!(death, Death::Kill) { 1 } else { draws };
            for draw in 0..draws {
                let case = Case { seed, point, death, draw };
                let mut random = stream(seed ^ (change << 20) ^ draw, &format!("{phase:?}{death:?}"));
                let fork = world.fork(random.random());
                let survivors = die(&fork.disk, death, &mut random);
                tally.survivors_kept += survivors.as_ref().map_or(0, |s| s.kept.len() as u64);
                let judged =
                    recover_and_judge(&fork, &mut model.clone(), death, &mut random, tally);
                if let Err(what) = judged {
                    panic!("{case}\nat {event}\n{what}\nsurvivors: {survivors:?}");
                }
            }
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn a_crash_at_any_operation_loses_nothing_that_was_acknowledged() {
    let only = std::env::var("MERKQL_SWEEP_ONLY").ok();
    let only = only.as_deref().and_then(|text| text.split_once(':'));
    let only = only.and_then(|(seed, change)| Some((seed.parse().ok()?, change.parse().ok()?)));
    let seeds: Vec<u64> = match only {
        Some((seed, _)) => vec![seed],
        None => (1..=number("MERKQL_SWEEP_SEEDS").unwrap_or(1)).collect(),
    };
    let draws = number("MERKQL_SWEEP_DRAWS").unwrap_or(1);
    let mut tally = Tally::default();
    for seed in seeds {
        let steps = workload(seed, 16);
        for event in operations(seed, &steps) {
            if only.is_none_or(|(_, change): (u64, u64)| event.change == Some(change)) {
                sweep_point(seed, &steps, &event, draws, &mut tally);
            }
        }
    }
    println!("{tally:?}");
}
