//! Senders that await share commits with senders that wait: none is left asleep.

use super::explore::{Tally, explore};
use super::run::Run;
use super::senders::{Pending, Sender};
use super::world::World;
use merkql::broker::Broker;
use shuttle::thread;
use std::sync::Arc;

fn awaiting(tally: &Arc<Tally>) {
    let run = Run::new(World::impatient(), tally);
    let broker = run.open();
    broker.create_topic("a", 1).expect("nothing has crashed yet");
    run.world.let_it_crash();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut sender = Sender::new(&run, &broker);
                for _ in 0..2 {
                    let written = sender.enqueue(&["a", "a"]).is_some_and(Pending::block_on);
                    assert!(written || run.world.disk.is_dead(), "handed over and not written");
                }
            });
        }
        scope.spawn(|| {
            let mut sender = Sender::new(&run, &broker);
            if sender.enqueue(&["a"]).is_some_and(Pending::give_up) {
                run.tally.count("given up while another wrote");
            }
            let _ = sender.send(&["a"]);
        });
    });
    run.end(broker, &[]);
}

/// The broker is closed in the middle of it.
fn awaiting_the_close(tally: &Arc<Tally>) {
    let run = Run::new(World::impatient(), tally);
    let broker = run.open();
    broker.create_topic("a", 1).expect("nothing has crashed yet");
    run.world.let_it_crash();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let pending = Sender::new(&run, &broker).enqueue(&["a"]);
                let written = pending.is_none_or(Pending::block_on);
                assert!(written || run.world.disk.is_dead(), "handed over and not written");
            });
        }
        scope.spawn(|| {
            let closed = Broker::close(&broker);
            run.kind(&closed);
        });
    });
    run.end(broker, &[]);
}

#[test]
fn a_sender_that_awaits_is_woken_whoever_writes_and_whoever_gives_up() {
    let expected = ["crashed", "lived to the end", "given up while another wrote"];
    explore(&expected, awaiting);
}

#[test]
fn a_sender_that_awaits_is_answered_by_the_close() {
    explore(&["crashed", "lived to the end", "refused as closed"], awaiting_the_close);
}
