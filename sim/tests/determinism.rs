//! A seed is the same run in another process and with another number of jobs.
//! That debug and release agree is for `.ci/run` to see, which builds both.

use merkql_sim::campaign::Campaign;
use merkql_sim::generate::{Options, scenario};
use merkql_sim::world::{Manner, execute};
use serde_json::Value;
use std::process::Command;

/// What the command says in JSON.
fn command(arguments: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_merkql-sim"));
    let output = command.args(arguments).args(["--json", "-"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn trace_hash(said: &Value) -> &str {
    said["trace_hash"].as_str().unwrap()
}

#[test]
fn a_campaign_is_the_same_in_another_process_and_with_other_jobs() {
    let here = Campaign { seeds: Some(8), start: 40, jobs: 1, ..Campaign::default() }.run(|_| {});
    for jobs in ["1", "2", "5"] {
        let there = command(&["run", "--seeds", "8", "--start-seed", "40", "--jobs", jobs]);
        assert_eq!(trace_hash(&there), here.trace_hash, "{jobs} jobs");
        assert_eq!(there["io_ops"], here.io_ops);
        assert_eq!(there["client_ops"], here.client_ops);
    }
}

#[test]
fn a_replay_is_the_run_that_the_campaign_has_seen() {
    for seed in 0..4 {
        let scenario = scenario(seed, &Options::default());
        let here = std::thread::spawn(move || execute(&scenario, &Manner::default()));
        let hash = format!("{:016x}", here.join().unwrap().trace_hash);
        let there = command(&["replay", &seed.to_string()]);
        assert_eq!(trace_hash(&there), hash, "seed {seed}");
    }
}
