//! Readers beside writers: what they see was durable before they saw it, whole,
//! and agrees with the roots and proofs of the same moment.

use super::explore::{Tally, explore};
use super::members::{Member, NOW};
use super::run::Run;
use super::senders::{Sender, torn_batches};
use super::snapshots::Snapshots;
use super::world::World;
use shuttle::thread;
use std::sync::Arc;

fn readers(tally: &Arc<Tally>) {
    let run = Run::new(World::impatient(), tally);
    let broker = run.open();
    broker.create_topic("a", 1).expect("nothing has crashed yet");
    broker.create_topic("b", 1).expect("nothing has crashed yet");
    assert!(Sender::new(&run, &broker).send(&["a"]), "nothing has crashed yet");
    run.world.let_it_crash();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut sender = Sender::new(&run, &broker);
            let _ = sender.send(&["b", "a"]) && sender.send(&["b", "a", "a"]);
        });
        scope.spawn(|| {
            let mut sender = Sender::new(&run, &broker);
            let _ = sender.send(&["a", "b"]) && broker.maintain().is_ok();
        });
        scope.spawn(|| {
            let mut snapshots = Snapshots::new(&run, &broker, "a");
            (0..3).for_each(|_| snapshots.take());
        });
        scope.spawn(|| poll_whole_batches(&run, Member::alone(&run, &broker, &["a", "b"])));
    });
    run.end(broker, &[]);
}

/// All partitions are polled as of one moment, so of each batch a poll returns
/// all or nothing. What a dead process cannot read it keeps back.
fn poll_whole_batches(run: &Run, mut consumer: Member<'_>) {
    for _ in 0..3 {
        let Some(records) = consumer.poll(NOW) else { break };
        let torn = torn_batches(&records);
        assert!(torn.is_empty() || run.world.disk.is_dead(), "{torn:?} are torn: {records:?}");
        if !records.is_empty() {
            run.tally.count("batches were polled whole");
        }
    }
    consumer.leave();
}

#[test]
fn readers_beside_writers_see_whole_batches_that_are_durable_and_proved() {
    let expected = [
        "crashed",
        "lived to the end",
        "batches were polled whole",
        "two snapshots proved consistent",
    ];
    explore(&expected, readers);
}
