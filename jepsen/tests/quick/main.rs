//! The quick suite: the tests of verdicts in one binary, which is linked once for each mutant.
//!
//! It is left out of `cargo test` because its parts are run there one
//! by one. See "Mutants" in ARCHITECTURE.md.

#![allow(clippy::duplicate_mod, reason = "each part brings its own copy of what tests share")]

#[path = "../anomalies.rs"]
mod anomalies;
#[path = "../canaries.rs"]
mod canaries;
#[path = "../evidence.rs"]
mod evidence;
#[path = "../generated.rs"]
mod generated;
#[path = "../jepsen.rs"]
mod jepsen;
#[path = "../merkle.rs"]
mod merkle;
#[path = "../refusals.rs"]
mod refusals;
#[path = "../removals.rs"]
mod removals;
#[path = "../transactions.rs"]
mod transactions;

/// The harness goes on after a failure, and one is enough here. It runs its tests by their names, this one first.
#[test]
fn a_failure_ends_the_run() {
    std::panic::set_hook(Box::new(|failure| {
        eprintln!("{failure}");
        std::process::exit(101);
    }));
}
