//! Damage every file of a closed or killed log in turn, and open it: what is served
//! is right, what is damaged is said to be, and what was not touched is there.

#[allow(dead_code, reason = "each test uses a part of it")]
mod support;

use merkql::Error;
use merkql::verify::{Finding, Remedy};
use merkql_sim::disk::{CrashPhase, CrashPoint, Damage, Image};
use merkql_sim::fault::{Arm, Fault, FaultKind, OpKind};
use merkql_sim::profile::Profile;
use merkql_sim::random::stream;
use rand::RngExt;
use std::collections::{BTreeMap, BTreeSet};
use support::World;
use support::client::{Client, Trouble};
use support::crash::{number, trace};
use support::damaged::judge_damaged;
use support::judge::judge;
use support::model::{Model, Place};
use support::workload::{Step, workload};

/// What became of the faults of one kind.
#[derive(Debug, Default)]
struct Outcome {
    refused: u64,
    detected: u64,
    unharmed: u64,
}

type Outcomes = BTreeMap<(FaultKind, &'static str), Outcome>;

/// A log that was closed, or whose process was killed after its last answer.
struct Subject {
    world: World,
    model: Model,
    closed: bool,
    /// The disk as it was in the middle of the work.
    earlier: Image,
}

fn subject(seed: u64, closed: bool) -> Subject {
    let world = World::new(seed);
    let mut client = Client::new(world.clone(), seed);
    let steps = workload(seed, 10);
    let (first, second) = steps.split_at(steps.len() / 2);
    client.run(first).unwrap();
    let earlier = world.disk.image();
    client.run(second).unwrap();
    if closed {
        client.let_go();
    } else {
        world.disk.kill();
        client.let_go();
    }
    Subject { world, model: client.model, closed, earlier }
}

/// What a file is to the log.
fn role(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or_default();
    match name.rsplit_once('.') {
        Some(("manifest", _)) => "manifest",
        Some((_, "wal")) => "journal",
        Some((_, "idx")) => "index",
        Some((_, "log")) => "segment",
        _ if name == "hashes" => "hashes",
        _ => "lock",
    }
}

/// The partition that a file belongs to.
fn place_of(path: &str) -> Option<Place> {
    let (_, rest) = path.split_once("/topics/")?;
    let mut parts = rest.split('/');
    let topic = parts.next()?.rsplit_once('.')?.0.to_owned();
    Some((topic, parts.next()?.parse().ok()?))
}

fn damages(subject: &Subject, path: &str) -> Vec<Damage> {
    let len = subject.world.disk.content(path).unwrap().len() as u64;
    let mut damages = vec![Damage::Delete];
    for position in (0..len).step_by(usize::try_from(len / 12).unwrap_or(0).max(37)) {
        damages.push(Damage::FlipBit { position, bit: (position % 8).try_into().unwrap() });
        let sector = position / 512 * 512;
        damages.push(Damage::Cut { len: position });
        damages.push(Damage::Zero { range: (sector, sector + 512) });
        damages.push(Damage::Unreadable { range: (sector, sector + 512) });
        damages.push(Damage::Garbage { range: (sector, sector + 512), seed: position });
        damages.push(Damage::Hole { range: (position, position + 100) });
        // Lengths, counts and offsets as large as they get.
        let (bytes, kind) = (vec![0xFF; 8], FaultKind::HostileField);
        damages.push(Damage::Overwrite { position, bytes, kind });
    }
    for other in subject.world.disk.files() {
        if other != path && role(&other) == role(path) {
            damages.push(Damage::Swap { with: other.clone() });
            damages.push(Damage::Duplicate { to: other });
        }
    }
    damages
}

/// Which partitions a damage touches.
fn touched(path: &str, damage: &Damage) -> Vec<Place> {
    let other = match damage {
        Damage::Swap { with } => Some(with.as_str()),
        Damage::Duplicate { to } => Some(to.as_str()),
        _ => None,
    };
    [Some(path), other].into_iter().flatten().filter_map(place_of).collect()
}

/// Opens a damaged log and judges what it says.
fn open_and_judge(
    world: &World,
    model: &Model,
    touched: &[Place],
    may_refuse: bool,
    outcome: &mut Outcome,
) -> Result<(), String> {
    let foretold = costs_something(world);
    let told = match world.open(None) {
        Err(error @ (Error::Corrupt(_) | Error::Io { .. } | Error::UnsupportedVersion { .. })) => {
            outcome.refused += 1;
            if !may_refuse {
                return Err(format!("the log refuses to open: {error}"));
            }
            true
        }
        Err(error) => return Err(format!("opening: {error:?}")),
        Ok(broker) => {
            let findings = judge_damaged(&broker, model, |place| touched.contains(place))?;
            match findings.detected {
                0 => outcome.unharmed += 1,
                _ => outcome.detected += 1,
            }
            findings.detected > 0
        }
    };
    match foretold {
        Ok(findings) if told && findings.is_empty() => {
            Err("a reader is told of damage that verifying does not find".to_owned())
        }
        _ => Ok(()),
    }
}

/// What verifying says that the log will not put right by itself; an error where it can
/// say nothing.
fn costs_something(world: &World) -> Result<Vec<Finding>, Error> {
    let report = merkql::verify(&world.config(None))?;
    let costs = |finding: &Finding| finding.kind.remedy() != Remedy::Automatic;
    Ok(report.findings.into_iter().filter(costs).collect())
}

fn sweep_damage(subject: &Subject, outcomes: &mut Outcomes) {
    for path in subject.world.disk.files() {
        for damage in damages(subject, &path) {
            let world = subject.world.fork(7);
            world.disk.damage(&path, &damage).unwrap();
            let touched = touched(&path, &damage);
            // Only the journal and the manifest can close the whole log.
            let may_refuse = matches!(role(&path), "journal" | "manifest");
            let outcome = outcomes.entry((damage.kind(), role(&path))).or_default();
            let judged = open_and_judge(&world, &subject.model, &touched, may_refuse, outcome);
            if let Err(what) = judged {
                panic!("{path}, {damage:?}, closed: {}: {what}", subject.closed);
            }
        }
    }
}

/// What damage came to is what the file is there for, and none of it was for nothing.
fn check(outcomes: &Outcomes) {
    for ((kind, role), outcome) in outcomes {
        println!("{kind:?} of {role}: {outcome:?}");
        let Outcome { refused, detected, unharmed } = outcome;
        let is_as_it_should = match *role {
            // The journal's durable part is all there, or the log does not open.
            "journal" => *refused > 0 && *detected == 0,
            // Of hashes only those are gone for good whose records are.
            "segment" | "hashes" => *detected > 0 && *refused == 0,
            // One slot is as good as two, an index can be derived, a lock is made again.
            _ => *unharmed > 0 && (*refused, *detected) == (0, 0),
        };
        assert!(is_as_it_should, "{kind:?} of {role}: {outcome:?}");
    }
}

#[test]
fn damage_is_never_served_and_stays_where_it_is() {
    let mut outcomes = Outcomes::new();
    for seed in 1..=number("MERKQL_SWEEP_SEEDS").unwrap_or(1) {
        for closed in [true, false] {
            sweep_damage(&subject(seed, closed), &mut outcomes);
        }
    }
    check(&outcomes);
    let roles: BTreeSet<&str> = outcomes.keys().map(|(_, role)| *role).collect();
    let all = ["hashes", "index", "journal", "lock", "manifest", "segment"];
    assert_eq!(roles, BTreeSet::from(all));
}

#[test]
fn a_file_that_is_rolled_back_is_noticed_or_healed() {
    let mut outcomes = Outcomes::new();
    for seed in 1..=number("MERKQL_SWEEP_SEEDS").unwrap_or(3) {
        for closed in [true, false] {
            let subject = subject(seed, closed);
            for path in subject.world.disk.files() {
                let world = subject.world.fork(7);
                if world.disk.roll_back_file(&subject.earlier, &path).is_err() {
                    continue;
                }
                let touched: Vec<Place> = place_of(&path).into_iter().collect();
                let may_refuse = matches!(role(&path), "journal" | "manifest");
                let outcome = outcomes.entry((FaultKind::FileRollback, role(&path))).or_default();
                open_and_judge(&world, &subject.model, &touched, may_refuse, outcome)
                    .unwrap_or_else(|what| panic!("{path} rolled back, closed: {closed}: {what}"));
            }
        }
    }
    check(&outcomes);
    assert!(outcomes.contains_key(&(FaultKind::FileRollback, "journal")));
}

#[test]
fn a_read_that_is_wrong_once_is_made_again() {
    for seed in 1..=number("MERKQL_SWEEP_SEEDS").unwrap_or(1) {
        for closed in [true, false] {
            let subject = subject(seed, closed);
            let count = |world: &World, model: &mut Model| {
                world.disk.record_trace();
                let broker = world.open(None)?;
                let judged = judge(&broker, model);
                let events = world.disk.take_trace();
                let reads = events.iter().filter(|event| event.on == OpKind::ReadAt);
                Ok::<_, Error>((reads.cloned().collect::<Vec<_>>(), judged))
            };
            let (reads, judged) =
                count(&subject.world.fork(7), &mut subject.model.clone()).unwrap();
            judged.unwrap();
            for (skip, event) in (0..).zip(&reads) {
                for bit in [3, 8 * 17 + 1, u64::MAX / 3] {
                    let world = subject.world.fork(7);
                    let fault = Fault::ReadWrongOnce { bit };
                    world.disk.arm(Arm::nth(fault, OpKind::ReadAt, "*", skip)).unwrap();
                    let label = format!("seed {seed}, closed {closed}, bit {bit} of {event}");
                    let (_, judged) = count(&world, &mut subject.model.clone())
                        .unwrap_or_else(|error| panic!("{label}: {error}"));
                    judged.unwrap_or_else(|what| panic!("{label}: {what}"));
                }
            }
        }
    }
}

#[test]
fn a_misdirected_write_is_noticed_or_healed() {
    let (mut refused, mut told, mut healed) = (0, 0, 0);
    for seed in 1..=number("MERKQL_SWEEP_SEEDS").unwrap_or(1) {
        let steps: Vec<Step> = workload(seed, 6);
        let writes: Vec<_> =
            trace(seed, &steps).into_iter().filter(|event| event.on == OpKind::WriteAt).collect();
        for (skip, event) in (0..).zip(&writes) {
            for astray in [0, event.position + 512, event.position + 4096] {
                if astray == event.position {
                    continue;
                }
                let world = World::new(seed);
                world.disk.record_trace();
                let fault = Fault::MisdirectedWrite { path: None, position: astray };
                world.disk.arm(Arm::nth(fault, OpKind::WriteAt, "*", skip)).unwrap();
                let label = format!("seed {seed}, to {astray}: {event}");
                let mut client = Client::new(world.clone(), seed);
                match client.run(&steps) {
                    // Damage that was met while the log was open.
                    Err(Trouble::Refused(
                        Error::Corrupt(_) | Error::NeedsReopen { .. } | Error::Io { .. },
                    ))
                    | Ok(()) => {}
                    Err(trouble) => panic!("{label}: {trouble:?}"),
                }
                world.disk.kill();
                client.let_go();
                let broker = match world.open(None) {
                    Ok(broker) => broker,
                    Err(Error::Corrupt(_) | Error::UnsupportedVersion { .. }) => {
                        refused += 1;
                        continue;
                    }
                    Err(error) => panic!("{label}: {error}"),
                };
                world.disk.disarm_all();
                // A write of the clean end falls to the recovery here, or to nobody.
                let events = world.disk.take_trace();
                let hit = events.iter().find(|event| event.fault.is_some());
                // What had no answer may be there.
                let clear = client.model.open_units.is_empty()
                    && client.model.open_topic.is_none()
                    && client.model.open_commit.is_none();
                if clear {
                    let touched = hit.and_then(|event| place_of(&event.path));
                    let all = hit.is_some() && touched.is_none();
                    let findings = judge_damaged(&broker, &client.model, |place| {
                        all || touched.as_ref() == Some(place)
                    });
                    let findings = findings.unwrap_or_else(|what| panic!("{label}: {what}"));
                    told += u64::from(findings.detected > 0);
                    healed += u64::from(findings.detected == 0);
                }
            }
        }
    }
    let counts = format!("{refused} refused, {told} told, {healed} healed");
    assert!(refused > 0 && told > 0 && healed > 0, "{counts}");
    println!("{counts}");
}

#[test]
fn a_power_cut_that_damages_whole_pages_is_recovered_from_or_told() {
    let (mut recovered, mut told) = (0, 0);
    for seed in 1..=number("MERKQL_SWEEP_SEEDS").unwrap_or(2) {
        let steps = workload(seed, 12);
        let changes = trace(seed, &steps).iter().filter(|event| event.change.is_some()).count();
        for change in (0..changes as u64).step_by(3) {
            let world = World::new(seed);
            world.disk.crash_at(CrashPoint { change, phase: CrashPhase::After });
            let mut client = Client::new(world.clone(), seed);
            drop(client.run(&steps));
            client.let_go();
            let mut random = stream(seed << 20 | change, "hostile");
            for _ in 0..3 {
                let fork = world.fork(random.random());
                let survivors = Profile::Hostile.draw(&fork.disk.unsynced(), &mut random);
                fork.disk.power_cut(&survivors);
                let judged = match fork.open(None) {
                    Err(Error::Corrupt(_)) => {
                        told += 1;
                        continue;
                    }
                    Err(error) => Err(error.to_string()),
                    Ok(broker) => judge(&broker, &mut client.model.clone()),
                };
                match judged {
                    Ok(()) => recovered += 1,
                    // A typed error of the log, passed on by the judge.
                    Err(what) if what.contains(": damaged: ") => told += 1,
                    Err(what) => panic!("seed {seed}, change {change}: {what}\n{survivors:?}"),
                }
            }
        }
    }
    println!("{recovered} recovered, {told} told");
}
