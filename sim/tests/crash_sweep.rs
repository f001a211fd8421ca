//! Crash at every operation that can change the disk, recover from what is left,
//! and compare with what was acknowledged.
//!
//! `MERKQL_SWEEP_SEEDS=N` sweeps N workloads in place of the usual few;
//! `MERKQL_SWEEP_STEPS=N` makes them longer, `MERKQL_SWEEP_DRAWS=N` draws more
//! survivors for each crash, `MERKQL_EXHAUST_BOUND=N` enumerates more of them, and
//! `MERKQL_SWEEP_ONLY=seed:change` does one crash point again, as a failure prints it.

#[allow(dead_code, reason = "each test uses a part of it")]
mod support;

use merkql_sim::disk::{CrashPhase, CrashPoint, IoEvent};
use merkql_sim::fault::OpKind;
use merkql_sim::profile::Profile;
use merkql_sim::random::stream;
use rand::RngExt;
use std::fmt;
use support::World;
use support::client::{Client, Trouble};
use support::crash::{Death, Tally, die, number, operations, recover_and_judge};
use support::model::Model;
use support::workload::{Step, workload};

/// How many drawn steps a workload has beside those that every one has.
const SWEEP_STEPS: u64 = 1;

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
        let steps = number("MERKQL_SWEEP_STEPS").unwrap_or(SWEEP_STEPS);
        write!(
            f,
            "seed {seed}, {point:?}, {death:?}, draw {draw} \
             (MERKQL_SWEEP_ONLY={seed}:{} MERKQL_SWEEP_STEPS={steps} MERKQL_SWEEP_DRAWS={})",
            point.change,
            draw + 1
        )
    }
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
        // Within a header, and somewhere.
        phases.push(CrashPhase::Partly(1 + change % 72));
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
                let mut random =
                    stream(seed ^ (change << 20) ^ draw, &format!("{phase:?}{death:?}"));
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

#[test]
fn a_crash_at_any_operation_loses_nothing_that_was_acknowledged() {
    let only = std::env::var("MERKQL_SWEEP_ONLY").ok();
    let only = only.as_deref().and_then(|text| text.split_once(':'));
    let only = only.and_then(|(seed, change)| Some((seed.parse().ok()?, change.parse().ok()?)));
    let seeds: Vec<u64> = match only {
        Some((seed, _)) => vec![seed],
        None => (1..=number("MERKQL_SWEEP_SEEDS").unwrap_or(2)).collect(),
    };
    let draws = number("MERKQL_SWEEP_DRAWS").unwrap_or(1);
    let mut tally = Tally::default();
    for seed in seeds {
        let steps = workload(seed, number("MERKQL_SWEEP_STEPS").unwrap_or(SWEEP_STEPS));
        for event in operations(seed, &steps) {
            if only.is_none_or(|(_, change): (u64, u64)| event.change == Some(change)) {
                sweep_point(seed, &steps, &event, draws, &mut tally);
            }
        }
    }
    println!("{tally:?}");
}

/// A short workload, and every legal set of survivors up to a bound at each of
/// its operations: creation, a first topic, sends, a commit, a clean close.
#[test]
fn every_state_that_a_power_cut_can_leave_of_a_short_run_is_recovered() {
    let bound = usize::try_from(number("MERKQL_EXHAUST_BOUND").unwrap_or(8)).unwrap();
    let seed = 1;
    let steps: Vec<Step> = workload(seed, 0).into_iter().take(7).collect();
    let (mut states, mut cut, mut tally) = (0, 0u128, Tally::default());
    for event in operations(seed, &steps) {
        let change = event.change.unwrap_or_default();
        let is_sync = matches!(event.on, OpKind::SyncData | OpKind::SyncDir);
        let phase = if is_sync { CrashPhase::Before } else { CrashPhase::After };
        let point = CrashPoint { change, phase };
        let (world, model) = run_until(seed, &steps, point);
        for profile in Profile::HONEST {
            let all = profile.enumerate(&world.disk.unsynced(), bound);
            cut = cut.saturating_add(all.cut);
            for (draw, survivors) in (0..).zip(&all.survivors) {
                let death = Death::Power(profile);
                let case = Case { seed, point, death, draw };
                let mut random = stream(seed ^ (change << 20) ^ draw, "exhaust");
                let fork = world.fork(random.random());
                fork.disk.power_cut(survivors);
                states += 1;
                let judged =
                    recover_and_judge(&fork, &mut model.clone(), death, &mut random, &mut tally);
                if let Err(what) = judged {
                    panic!("{case}\nat {event}\n{what}\nsurvivors: {survivors:?}");
                }
            }
        }
    }
    println!("{states} states, {cut} cut by the bound of {bound} a crash; {tally:?}");
}
