//! The quick suite: the tests of verdicts in one binary, which is linked once for each mutant.
//!
//! It holds no test of its own, and is left out of `cargo test` because its parts are run there one
//! by one. See "Mutants" in ARCHITECTURE.md.

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
