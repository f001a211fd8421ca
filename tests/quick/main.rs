//! The quick suite: tests of the log that take a few seconds together, in one binary, which is
//! linked once for each mutant.
//!
//! It is left out of `cargo test` because its parts are run there one
//! by one. Left out are those of threads and groups, the sweeps that take longer than all of these
//! together, and the one that reads the log's sources, which would find any mutant that loses a mark.
//! See "Mutants" in ARCHITECTURE.md.

#![allow(clippy::duplicate_mod, reason = "each part brings its own copy of what tests share")]

#[path = "../admin.rs"]
mod admin;
#[path = "../async_poll.rs"]
mod async_poll;
#[path = "../async_send.rs"]
mod async_send;
#[path = "../bad_input.rs"]
mod bad_input;
#[path = "../bytes.rs"]
mod bytes;
#[path = "../compaction.rs"]
mod compaction;
#[path = "../consumer.rs"]
mod consumer;
#[path = "../consumer_edges.rs"]
mod consumer_edges;
#[path = "../costs_calls.rs"]
mod costs_calls;
#[path = "../costs_reads.rs"]
mod costs_reads;
#[path = "../damage.rs"]
mod damage;
#[path = "../delivery.rs"]
mod delivery;
#[path = "../failing_disk.rs"]
mod failing_disk;
#[path = "../features_meet.rs"]
mod features_meet;
#[path = "../forged_journal.rs"]
mod forged_journal;
#[path = "../golden.rs"]
mod golden;
#[path = "../hardening_full_disk.rs"]
mod hardening_full_disk;
#[path = "../hardening_misplaced.rs"]
mod hardening_misplaced;
#[path = "../hardening_open.rs"]
mod hardening_open;
#[path = "../lifecycle.rs"]
mod lifecycle;
#[path = "../merkle_encoding.rs"]
mod merkle_encoding;
#[path = "../merkle_paths.rs"]
mod merkle_paths;
#[path = "../merkle_proofs.rs"]
mod merkle_proofs;
#[path = "../merkle_reference.rs"]
mod merkle_reference;
#[path = "../merkle_tree.rs"]
mod merkle_tree;
#[path = "../predecessor_flaws.rs"]
mod predecessor_flaws;
#[path = "../producer_options.rs"]
mod producer_options;
#[path = "../producers.rs"]
mod producers;
#[path = "../proofs.rs"]
mod proofs;
#[path = "../refused_directories.rs"]
mod refused_directories;
#[path = "../repair.rs"]
mod repair;
#[path = "../repair_hashes.rs"]
mod repair_hashes;
#[path = "../repair_journal.rs"]
mod repair_journal;
#[path = "../repair_slots.rs"]
mod repair_slots;
#[path = "../repair_topics.rs"]
mod repair_topics;
#[path = "../retention.rs"]
mod retention;
#[path = "../scarcity.rs"]
mod scarcity;
#[path = "../surface.rs"]
mod surface;
#[path = "../time_index.rs"]
mod time_index;
#[path = "../topics.rs"]
mod topics;
#[path = "../transactions.rs"]
mod transactions;
#[path = "../unclean_ends.rs"]
mod unclean_ends;
#[path = "../verify.rs"]
mod verify;
#[path = "../verify_findings.rs"]
mod verify_findings;

/// The harness goes on after a failure, and one is enough here. It runs its tests by their names, this one first.
#[test]
fn a_failure_ends_the_run() {
    std::panic::set_hook(Box::new(|failure| {
        eprintln!("{failure}");
        std::process::exit(101);
    }));
}
