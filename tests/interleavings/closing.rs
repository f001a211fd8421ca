//! The broker is closed, or its last reference dropped, in the middle of
//! everything.

use super::explore::{Tally, explore};
use super::members::{Member, NOW};
use super::run::Run;
use super::senders::{Pending, Sender};
use super::snapshots::Snapshots;
use super::world::World;
use merkql::broker::{Broker, BrokerRef};
use merkql_jepsen::history::Kind;
use shuttle::thread;
use std::sync::Arc;

/// Closes the broker; returns how many changes the disk had had by then, if the
/// log was left whole.
fn close(run: &Run, broker: &BrokerRef) -> Option<u64> {
    let closed = Broker::close(broker);
    (run.kind(&closed) == Kind::Ok).then(|| run.world.disk.changes())
}

fn close_amid_calls(tally: &Arc<Tally>) {
    let run = Run::new(World::impatient(), tally);
    let broker = run.open();
    assert!(Sender::new(&run, &broker).send(&["a"]), "nothing has crashed yet");
    run.world.let_it_crash();
    let changes = thread::scope(|scope| {
        scope.spawn(|| {
            let mut sender = Sender::new(&run, &broker);
            let _ = sender.send(&["a"]) && sender.send(&["b", "a"]) && sender.send(&["b"]);
        });
        scope.spawn(|| {
            let mut sender = Sender::new(&run, &broker);
            let pending = [sender.enqueue(&["a"]), sender.enqueue(&["a", "a"])];
            for pending in pending.into_iter().flatten() {
                // Closing waits for what was handed over before.
                let written = pending.wait();
                assert!(written || run.world.disk.is_dead(), "handed over and not written");
            }
        });
        scope.spawn(|| {
            let maintained = broker.maintain();
            run.kind(&maintained);
            Snapshots::new(&run, &broker, "a").take();
        });
        scope.spawn(|| {
            let mut member = Member::join(&run, &broker, "g", &["a"]);
            let _ = member.poll(NOW).is_some() && member.commit();
            member.leave();
        });
        scope.spawn(|| close(&run, &broker)).join().expect("it has not panicked")
    });
    if let Some(changes) = changes {
        run.tally.count("closed in order");
        assert_eq!(run.world.disk.changes(), changes, "written after it was closed");
    }
    run.end(broker, &["g"]);
}

/// Nobody closes the broker: whoever drops the last reference does, while
/// somebody else waits for what he has handed over.
fn drop_amid_waits(tally: &Arc<Tally>) {
    let run = Run::new(World::impatient(), tally);
    let broker = run.open();
    assert!(Sender::new(&run, &broker).send(&["a"]), "nothing has crashed yet");
    run.world.let_it_crash();
    thread::scope(|scope| {
        let handed_over = Sender::new(&run, &broker).enqueue(&["a", "a"]);
        let mut sender = Sender::new(&run, &broker);
        let mut member = Member::join(&run, &broker, "g", &["a"]);
        let run = &run;
        scope.spawn(move || {
            let written = handed_over.is_none_or(Pending::wait);
            assert!(written || run.world.disk.is_dead(), "handed over and not written");
        });
        scope.spawn(move || {
            let _ = sender.send(&["a"]) && sender.send(&["b"]);
        });
        scope.spawn(move || {
            let _ = member.poll(NOW).is_some() && member.commit();
            member.leave();
        });
        scope.spawn(move || drop(broker));
    });
    run.world.let_it_live();
    // The directory is free, and nothing has to be recovered.
    let reopened = (!run.world.disk.is_dead()).then(|| run.open());
    if reopened.is_some() {
        run.tally.count("the last reference closed it");
    }
    run.end(reopened, &["g"]);
}

#[test]
fn closing_amid_calls_writes_what_was_handed_over_and_then_nothing_more() {
    let expected = ["crashed", "lived to the end", "closed in order", "refused as closed"];
    explore(&expected, close_amid_calls);
}

#[test]
fn the_last_reference_writes_what_was_handed_over() {
    explore(&["crashed", "lived to the end", "the last reference closed it"], drop_amid_waits);
}
