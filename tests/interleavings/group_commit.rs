//! Senders share the disk's syncs: whoever waits first writes for all.

use super::explore::{Tally, explore};
use super::run::Run;
use super::senders::{Pending, Sender};
use super::world::World;
use shuttle::thread;
use std::sync::Arc;

/// Sends one by one, waits in another order than the one handed over, flushes
/// for everybody, and a topic that two create at once.
fn senders(tally: &Arc<Tally>) {
    let run = Run::new(World::impatient(), tally);
    let broker = run.open();
    broker.create_topic("a", 1).expect("nothing has crashed yet");
    run.world.let_it_crash();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut sender = Sender::new(&run, &broker);
            let _ = sender.send(&["a"]) && sender.send(&["a", "b"]);
        });
        scope.spawn(|| {
            let mut sender = Sender::new(&run, &broker);
            let _ = sender.send(&["b", "a", "b"]) && sender.send(&["b"]);
        });
        scope.spawn(|| {
            let mut sender = Sender::new(&run, &broker);
            let (first, second) = (sender.enqueue(&["a"]), sender.enqueue(&["b", "b"]));
            for pending in [second, first].into_iter().flatten() {
                pending.wait();
            }
        });
        scope.spawn(|| {
            let mut sender = Sender::new(&run, &broker);
            let pending = sender.enqueue(&["a", "a"]);
            if sender.flush() {
                // What was flushed is there, whether anybody waits for it or not.
                let written = pending.is_none_or(Pending::wait);
                assert!(written || run.world.disk.is_dead(), "flushed and lost");
            }
        });
    });
    run.end(broker, &[]);
}

#[test]
fn senders_that_share_a_commit_lose_nothing_and_deadlock_never() {
    explore(&["crashed", "lived to the end", "unknown after a crash"], senders);
}
