//! Stored hashes that turn out damaged are written anew by whoever meets them
//! first, beside others who do the same and a writer who appends to them.

use super::explore::{Tally, explore};
use super::run::Run;
use super::senders::Sender;
use super::snapshots::Snapshots;
use super::world::World;
use merkql::broker::Broker;
use merkql_sim::disk::Damage;
use shuttle::thread;
use std::sync::Arc;

/// Leaves a log of some records whose stored hashes are damaged.
fn damaged(run: &Run) {
    let broker = run.open();
    let mut sender = Sender::new(run, &broker);
    assert!(sender.send(&["a", "a", "a"]) && sender.send(&["a", "a"]), "nothing has crashed yet");
    Broker::close(&broker).expect("nothing has crashed yet");
    drop(broker);
    let files = run.world.disk.files();
    let hashes = files.iter().find(|path| path.ends_with("/hashes")).expect("hashes are stored");
    let garbage = Damage::Garbage { range: (32, 128), seed: 1 };
    run.world.disk.damage(hashes, &garbage).expect("the file is there");
}

fn repair(tally: &Arc<Tally>) {
    let run = Run::new(World::impatient(), tally);
    damaged(&run);
    let broker = run.open();
    run.world.let_it_crash();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut snapshots = Snapshots::new(&run, &broker, "a");
                (0..2).for_each(|_| snapshots.take());
            });
        }
        scope.spawn(|| {
            let mut sender = Sender::new(&run, &broker);
            let _ = sender.send(&["a"]) && sender.send(&["a", "a"]) && broker.maintain().is_ok();
        });
    });
    run.end(broker, &[]);
}

#[test]
fn hashes_that_two_readers_repair_beside_a_writer_prove_every_record() {
    explore(&["crashed", "lived to the end", "two snapshots proved consistent"], repair);
}
