//! The simulated seams do what the real ones do.

use merkql::env::conformance;
use merkql_sim::clock::SimClock;
use merkql_sim::disk::SimDisk;
use merkql_sim::entropy::SimEntropy;
use std::path::Path;
use std::sync::Arc;

#[test]
fn the_simulated_file_system_conforms() {
    conformance::all(Arc::new(SimDisk::new().process()), Path::new("/"));
}

#[test]
fn the_simulated_file_system_conforms_below_a_relative_path() {
    conformance::all(Arc::new(SimDisk::new().process()), Path::new("."));
}

#[test]
fn the_simulated_file_system_conforms_under_threads() {
    conformance::threaded(Arc::new(SimDisk::new().process()), Path::new("/"));
}

#[test]
fn the_simulated_file_system_conforms_after_a_process_has_died_on_it() {
    let disk = SimDisk::new();
    disk.kill();
    conformance::all(Arc::new(disk.process()), Path::new("/"));
}

#[test]
fn the_simulated_clock_conforms() {
    conformance::clock(&SimClock::new());
}

#[test]
fn the_simulated_randomness_conforms() {
    conformance::entropy(&SimEntropy::new(1));
}
