//! Members join a group and leave it while others poll and commit.

use super::explore::{Tally, explore};
use super::members::{Member, NOW};
use super::run::Run;
use super::senders::Sender;
use super::world::World;
use merkql::broker::BrokerRef;
use shuttle::thread;
use std::sync::Arc;
use std::time::Duration;

const TOPICS: [&str; 3] = ["a", "b", "c"];
/// Longer than a member may keep silent.
const LONG: Duration = Duration::from_secs(400);

/// Polls and commits a few times; returns whether the member is still of use.
fn work(run: &Run, member: &mut Member<'_>, rounds: usize, timeout: Duration) -> bool {
    (0..rounds).all(|_| {
        member.poll(timeout).is_some_and(|records| {
            if !records.is_empty() {
                run.tally.count("a member was given records");
            }
            member.commit()
        })
    })
}

/// A member that stays for a while, and closes.
fn stay(run: &Run, broker: &BrokerRef) {
    let mut member = Member::join(run, broker, "g", &TOPICS);
    if work(run, &mut member, 3, NOW) {
        member.poll(NOW);
    }
    member.close();
}

fn members(tally: &Arc<Tally>) {
    let run = Run::telling_rebalances(World::impatient(), tally);
    let broker = run.open();
    let mut sender = Sender::new(&run, &broker);
    assert!(sender.send(&TOPICS), "nothing has crashed yet");
    assert!(sender.send(&["a", "b"]), "nothing has crashed yet");
    run.world.let_it_crash();
    thread::scope(|scope| {
        scope.spawn(|| stay(&run, &broker));
        scope.spawn(|| {
            let mut member = Member::join(&run, &broker, "g", &TOPICS);
            if work(&run, &mut member, 1, NOW) {
                // What it polls now it does not commit, and others are given it again.
                member.poll(NOW);
            }
            member.leave();
        });
        scope.spawn(|| {
            let mut member = Member::join(&run, &broker, "g", &TOPICS[..2]);
            work(&run, &mut member, 2, NOW);
            member.look_up_committed(&TOPICS);
            member.close();
        });
        scope.spawn(move || {
            let _ = sender.send(&TOPICS) && sender.send(&["c"]);
        });
    });
    run.end(broker, &["g"]);
}

/// One member waits longer than a member may keep silent, so that the others,
/// which are at work meanwhile, lose their partitions and are told by a commit.
fn silent_members(tally: &Arc<Tally>) {
    let run = Run::new(World::impatient(), tally);
    let broker = run.open();
    assert!(Sender::new(&run, &broker).send(&["a", "b", "a"]), "nothing has crashed yet");
    run.world.let_it_crash();
    let stay = |rounds: usize, timeout: Duration| {
        let mut member = Member::join(&run, &broker, "g", &TOPICS[..2]);
        work(&run, &mut member, rounds, timeout);
        member.look_up_committed(&TOPICS[..2]);
        member.close();
    };
    thread::scope(|scope| {
        scope.spawn(|| stay(2, LONG));
        scope.spawn(|| stay(3, NOW));
        scope.spawn(|| stay(2, LONG));
        scope.spawn(|| {
            let mut sender = Sender::new(&run, &broker);
            let _ = sender.send(&["a", "b"]) && sender.send(&["b"]);
        });
    });
    run.end(broker, &["g"]);
}

#[test]
fn members_that_come_and_go_are_delivered_everything_and_nothing_after_its_commit() {
    let expected = ["crashed", "lived to the end", "a member was given records", "rebalanced"];
    explore(&expected, members);
}

#[test]
fn members_that_fell_silent_lose_their_partitions_and_nothing_is_skipped() {
    explore(&["crashed", "lived to the end", "told of lost partitions"], silent_members);
}
