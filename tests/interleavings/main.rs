//! Thread interleavings inside the broker, explored with the crate `shuttle`.
//!
//! Each test runs one scenario under many schedules: at every lock, condition and
//! atomic of the log, and at every write and sync of the disk, the scheduler
//! decides which thread goes on. Half of the schedules are drawn at random, half
//! by PCT, which changes the running thread seldom and so finds what takes few,
//! well placed changes. Orders of memory are not explored: every atomic is
//! sequentially consistent here.
//!
//! A schedule runs on a simulated disk, records what its clients did, and ends in
//! a power cut; in most of them the process dies before that, at some operation of
//! the disk. Then the log is opened again and read to its end, and the history is
//! judged by `merkql_jepsen::check`. A deadlock, which includes a wait that nobody
//! ends, is found by the scheduler itself.
//!
//! ```sh
//! cargo test --release --features shuttle --test interleavings
//! ```
//!
//! 10,000 schedules a scenario in release, 300 in debug; `MERKQL_SCHEDULES=N`
//! explores N. They are the same in every run; `SHUTTLE_RANDOM_SEED=N` draws others.
//!
//! # To do a failed schedule again
//!
//! A failure prints its schedule: lines of digits between two quotes. What is
//! drawn in a scenario is drawn from it, so it repeats everything:
//!
//! ```sh
//! MERKQL_REPLAY='<these lines>' cargo test --release --features shuttle --test interleavings <test>
//! ```

mod awaiting;
mod closing;
mod explore;
mod group_commit;
mod groups;
mod members;
mod readers;
mod recorder;
mod repairing;
mod run;
mod senders;
mod snapshots;
mod waiting;
mod world;
