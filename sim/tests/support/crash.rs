//! Deaths, recoveries, and what a run looks like without them.

use super::World;
use super::client::Client;
use super::judge::judge;
use super::model::Model;
use super::workload::{Step, workload};
use merkql::Error;
use merkql::broker::BrokerRef;
use merkql::verify::{Finding, Remedy};
use merkql_sim::disk::{CrashPhase, CrashPoint, IoEvent, SimDisk, Survivors};
use merkql_sim::profile::Profile;
use merkql_sim::random::Stream;
use rand::RngExt;

/// In what way the process and the machine died.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Death {
    Kill,
    Power(Profile),
}

/// What a sweep has done.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) points: u64,
    pub(crate) recoveries: u64,
    pub(crate) crashes_in_recovery: u64,
    pub(crate) survivors_kept: u64,
}

/// Carries out a death.
pub(crate) fn die(disk: &SimDisk, death: Death, random: &mut Stream) -> Option<Survivors> {
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
pub(crate) fn recover(
    world: &World,
    death: Death,
    random: &mut Stream,
    tally: &mut Tally,
) -> Result<BrokerRef, String> {
    world.disk.record_trace();
    let mut story = Vec::new();
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
        let survivors = die(&world.disk, death, random);
        story.push(format!("{phase:?} of change {change}, then {death:?}: {survivors:?}"));
        tally.crashes_in_recovery += 1;
    }
    tally.recoveries += 1;
    world.open(None).map_err(|error| {
        let events: Vec<String> = world.disk.take_trace().iter().map(ToString::to_string).collect();
        format!("opening: {error}\n{}\n{}", story.join("\n"), events.join("\n"))
    })
}

/// Recovers, judges, works on a little, loses what it can, and judges again.
pub(crate) fn recover_and_judge(
    world: &World,
    model: &mut Model,
    death: Death,
    random: &mut Stream,
    tally: &mut Tally,
) -> Result<(), String> {
    let costly = |finding: &Finding| finding.kind.remedy() != Remedy::Automatic;
    let found = findings(world, model)?;
    if let Some(finding) = found.iter().find(|finding| costly(finding)) {
        return Err(format!("before recovery: {finding}"));
    }
    let broker = recover(world, death, random, tally)?;
    judge(&broker, model).map_err(|what| format!("after recovery: {what}"))?;
    drop(broker);
    let broker = world.open(None).map_err(|error| format!("opening a closed log: {error}"))?;
    judge(&broker, model).map_err(|what| format!("after a clean close: {what}"))?;
    drop(broker);
    if let Some(finding) = findings(world, model)?.iter().find(|found| costly(found)) {
        return Err(format!("after a clean close: {finding}"));
    }

    // It goes on working, and the next crash finds it as well founded.
    let mut client = Client::new(world.clone(), random.random());
    client.model = model.clone();
    let more: Vec<Step> = workload(random.random(), 0).into_iter().rev().take(4).rev().collect();
    let name = format!("topic-{}", model.topics.len());
    client.run(&[Step::Create { name, partitions: 2 }]).map_err(|t| format!("a topic: {t:?}"))?;
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

/// What verifying the closed, or dead, log finds.
fn findings(world: &World, model: &Model) -> Result<Vec<Finding>, String> {
    match merkql::verify(&world.config(None)) {
        // Its creation was cut off at its very beginning.
        Err(Error::NotALog { .. }) if model.topics.is_empty() => Ok(Vec::new()),
        verified => Ok(verified.map_err(|error| format!("verifying: {error}"))?.findings),
    }
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
            for record in &mut records {
                record.value.insert_str(0, "more-");
            }
            Step::Send(records)
        }
        step => step,
    };
    steps.into_iter().map(rename).collect()
}

/// All operations of a run without a crash.
pub(crate) fn trace(seed: u64, steps: &[Step]) -> Vec<IoEvent> {
    let world = World::new(seed);
    world.disk.record_trace();
    let mut client = Client::new(world.clone(), seed);
    client.run(steps).expect("a run without faults succeeds");
    client.let_go();
    let events = world.disk.take_trace();
    let broker = world.open(None).expect("a closed log opens");
    judge(&broker, &mut client.model).expect("a run without faults is as it should be");
    events
}

/// Those of them that can change something.
pub(crate) fn operations(seed: u64, steps: &[Step]) -> Vec<IoEvent> {
    trace(seed, steps).into_iter().filter(|event| event.change.is_some()).collect()
}

pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
