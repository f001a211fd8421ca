//! Failing runs become scenarios: explicit ones, then small ones.

use merkql_sim::fault::Class;
use merkql_sim::generate::{Options, scenario};
use merkql_sim::scenario::{Blow, Scenario};
use merkql_sim::shrink::resolve;
use merkql_sim::world::{Manner, execute};

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
