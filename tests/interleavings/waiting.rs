//! Whoever waits in a poll is woken up: by a record, by a partition that another
//! member leaves behind, and by the end of the log.

use super::explore::{Tally, explore};
use super::members::Member;
use super::run::Run;
use super::senders::Sender;
use super::world::World;
use merkql::broker::Broker;
use shuttle::thread;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

const TOPICS: [&str; 2] = ["a", "b"];
/// How many records are sent.
const RECORDS: usize = 4;

fn waiting(tally: &Arc<Tally>, awaits: bool) {
    let run = Run::new(World::patient(), tally);
    let broker = run.open();
    for topic in TOPICS {
        broker.create_topic(topic, 1).expect("nothing crashes here");
    }
    let seen = Mutex::new(BTreeSet::new());
    // Waits for ever. It is the log's end that ends it, and whoever is given the
    // last record closes the log.
    let wait = |rounds: usize| {
        let mut member = Member::join(&run, &broker, "g", &TOPICS);
        for _ in 0..rounds {
            let Some(records) = member.poll_for_ever(awaits) else { break };
            assert!(!records.is_empty(), "a wait for ever ended with nothing");
            member.commit();
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.extend(records.into_iter().map(|record| record.value));
            let all = seen.len() == RECORDS;
            drop(seen);
            if all {
                run.tally.count("the last record was polled");
                Broker::close(&broker).expect("nothing crashes here");
            }
        }
        member.leave();
    };
    thread::scope(|scope| {
        scope.spawn(|| wait(usize::MAX));
        scope.spawn(|| wait(1));
        scope.spawn(|| {
            let mut sender = Sender::new(&run, &broker);
            assert!(sender.send(&["a"]) && sender.send(&["b", "a"]) && sender.send(&["b"]));
        });
    });
    run.end(broker, &["g"]);
}

#[test]
fn nobody_who_waits_in_a_poll_is_forgotten() {
    let expected = ["the last record was polled", "refused as closed"];
    explore(&expected, |tally| waiting(tally, false));
}

#[test]
fn nobody_who_awaits_a_poll_is_forgotten() {
    let expected = ["the last record was polled", "refused as closed"];
    explore(&expected, |tally| waiting(tally, true));
}
