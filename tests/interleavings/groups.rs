//! Members join a group and leave it while others poll and commit.

use super::explore::{Tally, explore};
use super::members::{Member, NOW};
use super::run::Run;
use super::senders::Sender;
use super::world::World;
use merkql::broker::BrokerRef;
use shuttle::thread;
use std::sync::Arc;

const TOPICS: [&str; 3] = ["a", "b", "c"];

/// Polls and commits a few times; returns whether the member is still of use.
fn work(run: &Run, member: &mut Member<'_>, rounds: usize) -> bool {
    (0..rounds).all(|_| {
        member.poll(NOW).is_some_and(|records| {
            if !records.is_empty() {
                run.tally.count("a member was given records");
            }
            member.commit()
        })
    })
}

/// A member that is there from the start, and one that is not.
fn stay(run: &Run, broker: &BrokerRef) {
    let mut member = Member::join(run, broker, "g", &TOPICS);
    if work(run, &mut member, 3) {
        member.poll(NOW);
    }
    member.close();
}

fn members(tally: &Arc<Tally>) {
    let run = Run::new(World::impatient(), tally);
    let broker = run.open();
    let mut sender = Sender::new(&run, &broker);
    assert!(sender.send(&TOPICS), "nothing has crashed yet");
    assert!(sender.send(&["a", "b"]), "nothing has crashed yet");
    run.world.let_it_crash();
    thread::scope(|scope| {
        scope.spawn(|| stay(&run, &broker));
        scope.spawn(|| {
            let mut member = Member::join(&run, &broker, "g", &TOPICS);
            if work(&run, &mut member, 1) {
                // What it polls now it does not commit, and others are given it again.
                member.poll(NOW);
            }
            member.leave();
        });
        scope.spawn(|| {
            let mut member = Member::join(&run, &broker, "g", &TOPICS[..2]);
            work(&run, &mut member, 2);
            member.close();
        });
        scope.spawn(move || {
            let _ = sender.send(&TOPICS) && sender.send(&["c"]);
        });
    });
    run.end(broker, &["g"]);
}

#[test]
fn members_that_come_and_go_are_delivered_everything_and_nothing_after_its_commit() {
    explore(&["crashed", "lived to the end", "a member was given records"], members);
}
