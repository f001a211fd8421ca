//! The harness itself: it notices what it is there to notice, it repeats, and
//! the log's readers see only what is durable.

#[allow(dead_code, reason = "each test uses a part of it")]
mod support;

use merkql_sim::disk::{CrashPhase, CrashPoint, Survivors};
use merkql_sim::fault::{Arm, Fault, LyingSync, OpKind};
use merkql_sim::profile::Profile;
use merkql_sim::random::stream;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use support::World;
use support::client::Client;
use support::crash::{number, operations};
use support::judge::judge;
use support::workload::workload;

/// Runs a workload on a disk whose syncs lie about these paths, crashes it all
/// along the way, and returns the first complaint of the judge.
fn complaint(on: OpKind, path: &str) -> Option<String> {
    for seed in 1..=3 {
        let steps = workload(seed, 10);
        for change in (40..operations(seed, &steps).len() as u64).step_by(5) {
            let world = World::new(seed);
            let lie = Fault::LyingSync(LyingSync::Delayed);
            world.disk.arm(Arm::always(lie, on, path))?;
            world.disk.crash_at(CrashPoint { change, phase: CrashPhase::After });
            let mut client = Client::new(world.clone(), seed);
            // A log on such a disk may well refuse; that is not what is asked.
            drop(client.run(&steps));
            let mut random = stream(change, "survivors");
            let survivors = match change % 2 {
                0 => Survivors::none(),
                _ => Profile::Posix.draw(&world.disk.unsynced(), &mut random),
            };
            world.disk.disarm_all();
            world.disk.power_cut(&survivors);
            client.let_go();
            let judged = match world.open(None) {
                Ok(broker) => judge(&broker, &mut client.model),
                Err(error) => Err(error.to_string()),
            };
            if let Err(what) = judged {
                return Some(format!("seed {seed}, change {change}: {what}"));
            }
        }
    }
    None
}

#[test]
fn a_swallowed_sync_is_noticed_wherever_it_is() {
    for (on, path) in [
        (OpKind::SyncData, "*/journal/*"),
        (OpKind::SyncData, "*.log"),
        (OpKind::SyncData, "*/manifest.*"),
        (OpKind::SyncDir, "*/journal"),
        (OpKind::SyncDir, "*/topics"),
        (OpKind::SyncDir, "*/.merkql"),
        (OpKind::SyncDir, "*/orders.1/*"),
    ] {
        let found = complaint(on, path);
        println!("{on:?} {path}: {found:?}");
        assert!(found.is_some(), "nobody misses {on:?} of {path}");
    }
}

#[test]
fn a_reader_within_a_write_or_a_sync_sees_only_what_is_durable() {
    for seed in 1..=number("MERKQL_SWEEP_SEEDS").unwrap_or(1) {
        let world = World::new(seed);
        let mut client = Client::new(world.clone(), seed);
        for step in &workload(seed, 16) {
            // The broker of this step, if it was opened before.
            let broker = client.broker.as_ref().map(Arc::downgrade);
            let within = world.clone();
            let complaint = Arc::new(Mutex::new(None));
            let told = Arc::clone(&complaint);
            world.disk.set_hook(move |point| {
                let Some(broker) = broker.as_ref().and_then(std::sync::Weak::upgrade) else {
                    return;
                };
                let mut seen = BTreeMap::new();
                for name in broker.topics() {
                    let Some(topic) = broker.topic(&name) else { continue };
                    for id in topic.partition_ids() {
                        let partition = topic.partition(id).and_then(|p| p.read().ok());
                        let next = partition.map_or(0, |partition| partition.next_offset());
                        seen.insert((name.clone(), id), next);
                    }
                }
                // If the power went now, would it all be there?
                let fork = within.fork(1);
                fork.disk.power_cut(&Survivors::none());
                let broker = match fork.open(None) {
                    Ok(broker) => broker,
                    Err(error) => {
                        told.lock().unwrap().get_or_insert(format!("at {point:?}: {error}"));
                        return;
                    }
                };
                for ((name, id), next) in seen {
                    let topic = broker.topic(&name);
                    let partition = topic.as_ref().and_then(|topic| topic.partition(id));
                    let durable = partition.map_or(0, |p| p.read().unwrap().next_offset());
                    if durable < next {
                        let what = format!("at {point:?}: {name}/{id} showed {next} of {durable}");
                        told.lock().unwrap().get_or_insert(what);
                    }
                }
            });
            client.step(step).unwrap();
            world.disk.clear_hook();
            assert_eq!(*complaint.lock().unwrap(), None, "seed {seed}, {step:?}");
        }
    }
}

#[test]
fn a_run_repeats_to_the_last_operation() {
    let digest = |seed: u64| {
        let world = World::new(seed);
        let mut client = Client::new(world.clone(), seed);
        client.run(&workload(seed, 20)).unwrap();
        let mut random = stream(seed, "survivors");
        world.disk.power_cut(&Profile::Posix.draw(&world.disk.unsynced(), &mut random));
        client.let_go();
        drop(world.open(None).unwrap());
        (world.disk.trace_digest(), world.disk.io_ops())
    };
    let in_another_thread = |seed| std::thread::scope(|s| s.spawn(|| digest(seed)).join().unwrap());
    for seed in 1..5 {
        assert_eq!(digest(seed), in_another_thread(seed));
    }
    assert_ne!(digest(1), digest(2));
}

#[test]
fn the_sweeps_reach_the_rare_paths_of_recovery() {
    let world = World::new(1);
    for seed in 1..6 {
        let steps = workload(seed, 16);
        for (index, event) in operations(seed, &steps).iter().enumerate() {
            let is_block = event.on == OpKind::WriteAt && event.path.contains("/journal/");
            if !is_block && index % 11 > 0 {
                continue;
            }
            let change = event.change.unwrap_or_default();
            let run = World { probe: Arc::clone(&world.probe), ..World::new(seed) };
            run.disk.crash_at(CrashPoint { change, phase: CrashPhase::After });
            let mut client = Client::new(run.clone(), seed);
            drop(client.run(&steps));
            let mut random = stream(change, "survivors");
            run.disk.power_cut(&Profile::Posix.draw(&run.disk.unsynced(), &mut random));
            client.let_go();
            drop(run.open(None).unwrap());
        }
    }
    let marks = world.probe.marks();
    println!("{marks:?}");
    for mark in [
        "recovery.begun",
        "recovery.complete",
        "recovery.block_replayed",
        "recovery.torn_block_dropped",
        "checkpoint.complete",
        "journal.recycled",
        "journal.oversized_removed",
        "creation.begun_again",
        "producer.repeated_send",
    ] {
        assert!(marks.contains_key(mark), "{mark} was never reached: {marks:?}");
    }
}
