//! Failing runs become scenarios: explicit ones, then small ones.

use merkql_sim::fault::{Class, FaultKind};
use merkql_sim::generate::{Options, scenario};
use merkql_sim::scenario::{Blow, Scenario, Settings, verify};
use merkql_sim::shrink::{Limits, Size, resolve, shrink, shrink_anomaly};
use merkql_sim::world::{Manner, Run, execute};
use std::process::Command;

fn keeping() -> Manner {
    Manner { keeps_events: true, ..Manner::default() }
}

/// Whether a strike is of class D. When those are armed counts as when the damage
/// is done, so that a history says it at another place.
fn has_class_d(scenario: &Scenario) -> bool {
    scenario.strikes.iter().any(|strike| match &strike.what {
        Blow::Fault { fault, .. } => {
            strike.at.on.is_some_and(|on| fault.kind(on).class() == Class::D)
        }
        Blow::Crash { .. } => false,
    })
}

fn seeds() -> u64 {
    std::env::var("SIM_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(100)
}

#[test]
fn a_resolved_scenario_does_what_the_drawn_one_did() {
    for seed in 0..seeds() {
        let drawn = scenario(seed, &Options::default());
        let run = execute(&drawn, &keeping());
        let resolved = resolve(&drawn, &run);
        let text = resolved.to_toml().unwrap();
        assert!(!text.contains("drawn"), "seed {seed}: {text}");
        let again = execute(&Scenario::from_toml(&text).unwrap(), &keeping());
        let differs = run.events.iter().zip(&again.events).find(|(a, b)| {
            // A fault's number is only the order in which it was made ready.
            let plain = |event: &&_| format!("{event:?}").split("fault:").next().map(str::to_owned);
            plain(a) != plain(b)
        });
        assert!(differs.is_none(), "seed {seed}: {differs:?}");
        assert_eq!(run.events.len(), again.events.len(), "seed {seed}");
        assert_eq!(run.judge().names(), again.judge().names(), "seed {seed}");
        assert!(has_class_d(&drawn) || run.trace_hash == again.trace_hash, "seed {seed}");
        let struck: Vec<u32> = resolved.strikes.iter().map(|strike| strike.id).collect();
        assert!(struck.iter().all(|id| again.struck.contains(id)), "seed {seed}: {struck:?}");
    }
}

/// A shrunk scenario has what is looked for, in the form that is written down.
fn shrunk(seed: u64, has: &dyn Fn(&Run) -> bool) -> Option<Scenario> {
    let drawn = scenario(seed, &Options::default());
    let limits = Limits { attempts: 600, ..Limits::default() };
    let shrunk = shrink(&drawn, &Manner::default(), &limits, has, &mut |_, _| {})?;
    let text = shrunk.scenario.to_toml().unwrap();
    println!("seed {seed}: {} attempts\n{text}", shrunk.attempts);
    let read = Scenario::from_toml(&text).unwrap();
    assert!(has(&execute(&read, &Manner::default())), "seed {seed}: {text}");
    assert!(Size::of(&read) < Size::of(&drawn));
    Some(read)
}

#[test]
fn a_crash_in_the_recovery_from_a_power_cut_needs_both() {
    let has = |run: &Run| {
        let met = |kind| run.faults.get(&kind).is_some_and(|counts| counts.mattered > 0);
        met(FaultKind::PowerCutSubset) && met(FaultKind::CrashInRecovery)
    };
    let small = (0..40).find_map(|seed| shrunk(seed, &has)).unwrap();
    assert!(small.steps.len() <= 4, "{} steps", small.steps.len());
    assert_eq!(small.strikes.len(), 2);
    let profile = small.settings.profile;
    assert_eq!(small.settings, Settings { profile, ..Settings::default() });
}

#[test]
fn a_refusal_needs_its_damage() {
    let has = |run: &Run| run.refused;
    let small = (0..60).find_map(|seed| shrunk(seed, &has)).unwrap();
    assert!(small.steps.len() <= 5, "{} steps", small.steps.len());
}

#[test]
fn what_has_nothing_is_not_shrunk() {
    assert_eq!(shrunk(1, &|_| false), None);
    let drawn = scenario(1, &Options::default());
    let limits = Limits::default();
    let result = shrink_anomaly(&drawn, &Manner::default(), &limits, &mut |_, _| {});
    assert_eq!(result, Err("it has no anomaly".to_owned()));
}

#[test]
fn the_limits_are_kept() {
    let drawn = scenario(3, &Options::default());
    let limits = Limits { attempts: 10, ..Limits::default() };
    let has = |run: &Run| run.crashes.len() > 1;
    let result = shrink(&drawn, &Manner::default(), &limits, &has, &mut |_, _| {}).unwrap();
    assert!(!result.is_done);
    assert!(result.attempts <= 12, "{}", result.attempts);
}

/// A seed with a bug that is planted in it: two records of a poll change places.
fn planted() -> Scenario {
    let canary = Some("records-swapped".to_owned());
    Scenario { canary, ..scenario(5, &Options { ops: 30, ..Options::default() }) }
}

#[test]
fn an_anomaly_is_shrunk_to_what_it_needs_and_expected_from_then_on() {
    let limits = Limits::default();
    let result = shrink_anomaly(&planted(), &Manner::default(), &limits, &mut |_, _| {}).unwrap();
    assert!(result.is_done);
    let small = result.scenario;
    assert!((1..=3).contains(&small.steps.len()) && small.strikes.is_empty());
    assert_eq!(small.canary.as_deref(), Some("records-swapped"));
    assert_eq!(small.expect.anomalies, ["int-poll-skip", "int-nonmonotonic-poll"]);
    assert_eq!(verify(&small, &execute(&small, &Manner::default())).complaints, [""; 0]);
}

#[test]
fn the_command_writes_a_file_that_the_command_scenario_accepts() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from.toml"), folder.path().join("to.toml"));
    std::fs::write(&from, planted().to_toml().unwrap()).unwrap();
    let command = |arguments: &[&std::ffi::OsStr]| {
        let output = Command::new(env!("CARGO_BIN_EXE_merkql-sim")).args(arguments).output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (from, to) = (from.as_os_str(), to.as_os_str());
    let (status, told) = command(&["shrink".as_ref(), from, "-o".as_ref(), to]);
    assert_eq!(status, Some(0), "{told}");
    assert!(
        told.contains(
            "the text was read again and carried out: it has int-poll-skip, int-nonmonotonic-poll"
        ),
        "{told}"
    );
    assert_eq!(command(&["scenario".as_ref(), to]).0, Some(0));
    // Nothing is begun whose result could not be written.
    let nowhere = folder.path().join("no/such/folder.toml");
    let (status, told) = command(&["shrink".as_ref(), from, "-o".as_ref(), nowhere.as_os_str()]);
    assert!(status == Some(2) && told.contains("cannot write"), "{told}");
    // A bug that is planted by the command line stands in what is written.
    let by_hand = folder.path().join("by-hand.toml");
    let words = ["shrink", "5", "--ops", "30", "--canary", "records-swapped", "-o"];
    let mut words: Vec<_> = words.iter().map(std::ffi::OsStr::new).collect();
    words.push(by_hand.as_os_str());
    assert_eq!(command(&words).0, Some(0));
    assert_eq!(command(&["scenario".as_ref(), by_hand.as_os_str()]).0, Some(0));
    assert_eq!(command(&["shrink".as_ref(), "1".as_ref()]).0, Some(1));
    assert_eq!(command(&["shrink".as_ref(), "nowhere.toml".as_ref()]).0, Some(2));
}
