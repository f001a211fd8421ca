//! The harness for applications: it finds what it is there to find, tells it in
//! few words, repeats it, and is not green over nothing.

#[path = "../examples/commit_too_early.rs"]
mod example;

use example::{check, commit_then_ship, ship_then_commit};
use merkql::broker::{Broker, BrokerRef};
use merkql::consumer::{ConsumerConfig, OffsetReset};
use merkql::env::Access;
use merkql::record::ProducerRecord;
use merkql_sim::app::{
    ActPhase, Check, CheckError, Crash, Failure, FailureKind, Loss, Machine, Moment, Plan, Summary,
};
use merkql_sim::disk::CrashPhase;
use merkql_sim::profile::Profile;
use std::cell::Cell;
use std::error::Error;
use std::fmt::Display;
use std::process::Command;
use std::time::Duration;

type Outcome = Result<(), Box<dyn Error>>;

fn failure_of<S>(check: &Check<'_, S>) -> Failure {
    match check.run() {
        Err(CheckError::Failed(failure)) => *failure,
        other => panic!("no failure: {other:?}"),
    }
}

fn send(machine: &Machine<u32>, count: u32) -> Outcome {
    let broker = Broker::open(machine.config())?;
    let producer = Broker::producer(&broker);
    for number in 0..count {
        producer.send(&ProducerRecord::new("numbers", None, number.to_string()))?;
    }
    Ok(())
}

/// An application that only sends, and counts its lives outside.
fn sender(machine: &Machine<u32>) -> Outcome {
    machine.act("begin", |lives| *lives += 1)?;
    send(machine, 3)
}

/// A check to which any end is right.
fn unjudged<'a, E: Display>(live: impl Fn(&Machine<u32>) -> Result<(), E> + 'a) -> Check<'a, u32> {
    Check::new(live, |_, _| Ok::<(), String>(()))
}

#[test]
fn the_example_finds_shrinks_and_repeats_its_bug_and_clears_the_application_without_it() {
    example::main().unwrap();
}

#[test]
fn a_commit_that_comes_too_early_is_found_within_a_hundred_seeds() {
    let failure = failure_of(&check(commit_then_ship).seeds(0..100));
    assert_eq!(failure.kind, FailureKind::Invariant);
    println!("{failure}");
}

#[test]
fn a_failure_shrinks_to_one_early_crash_at_an_act_whatever_seed_finds_it() {
    let first_ship = Moment::Act { name: "ship".to_owned(), nth: 0, phase: ActPhase::Before };
    let shrunk = Plan { crashes: vec![Crash { at: first_ship, loss: Loss::Kill }] };
    for first in (0..100).step_by(10) {
        let failure = failure_of(&check(commit_then_ship).seeds(first..first + 100).crashes(2..=4));
        assert_eq!(failure.plan, shrunk);
        assert_eq!(failure.message, "order 0 was never shipped");
    }
}

#[test]
fn a_plan_that_was_written_down_repeats_the_failure() {
    let check = check(commit_then_ship);
    let failure = failure_of(&check);
    let plan: Plan = failure.plan.to_string().parse().unwrap();
    match check.replay(&plan) {
        Err(CheckError::Failed(again)) => assert_eq!(again.story, failure.story),
        other => panic!("not repeated: {other:?}"),
    }
}

#[test]
fn an_application_that_commits_what_it_has_done_is_clean() {
    let summary = check(ship_then_commit).seeds(0..300).run().unwrap();
    println!("{summary}");
    assert_eq!(summary.seeds, 300);
    assert!(summary.crashes > 300 && summary.kills > 100 && summary.crashes > summary.kills);
}

#[test]
fn crashes_come_within_the_recovery_of_a_later_life_too() {
    let summary = check(ship_then_commit).seeds(0..100).run().unwrap();
    assert!(summary.in_recovery > 10, "{summary}");
}

#[test]
fn the_same_seeds_do_the_same_to_the_last_operation() {
    let digest = |seeds| check(ship_then_commit).seeds(seeds).run().unwrap().digest;
    let in_another_thread = std::thread::scope(|s| s.spawn(|| digest(0..20)).join().unwrap());
    assert_eq!(digest(0..20), in_another_thread);
    assert_ne!(digest(0..20), digest(1..21));
}

#[test]
fn a_panic_on_a_live_machine_is_a_failure_and_one_on_a_dead_machine_is_not() {
    let dies_loudly = |machine: &Machine<u32>| -> Result<(), String> {
        sender(machine).expect("everything goes well");
        Ok(())
    };
    unjudged(dies_loudly).seeds(0..5).run().unwrap();

    let falls_over_its_second_life = |machine: &Machine<u32>| {
        let life = machine.act("begin", |lives| {
            *lives += 1;
            *lives
        })?;
        assert!(life < 2, "life {life}");
        send(machine, 3)
    };
    let failure = failure_of(&unjudged(falls_over_its_second_life));
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Panic, "life 2"));
    assert_eq!(failure.plan.crashes.len(), 1);
}

#[test]
fn an_error_on_a_live_machine_is_a_failure() {
    let creates_twice = |machine: &Machine<u32>| -> Result<(), merkql::Error> {
        let broker = Broker::open(machine.config())?;
        let partitions = if broker.topics().is_empty() { 1 } else { 2 };
        broker.create_topic("numbers", partitions)
    };
    let failure = failure_of(&unjudged(creates_twice));
    assert_eq!(failure.kind, FailureKind::Error);
    assert!(failure.message.contains("exists with 1 partitions"), "{failure}");
}

#[test]
fn an_application_that_goes_on_for_ever_is_a_failure_on_a_dead_machine_too() {
    let never_gives_up = |machine: &Machine<u32>| -> Outcome {
        while send(machine, 3).is_err() {}
        Ok(())
    };
    let failure = failure_of(&unjudged(never_gives_up));
    assert_eq!(failure.kind, FailureKind::Endless);
    assert_eq!(failure.plan.crashes.len(), 1);

    let waits_for_more = |machine: &Machine<u32>| -> Outcome {
        send(machine, 3)?;
        let broker = Broker::open(machine.config())?;
        let group_id = "numbers".to_owned();
        let offset_reset = OffsetReset::Earliest;
        let config = ConsumerConfig { group_id, auto_commit: false, offset_reset };
        let mut consumer = Broker::consumer(&broker, config);
        consumer.subscribe(&["numbers"])?;
        loop {
            consumer.poll(Duration::from_secs(1))?;
        }
    };
    let failure = failure_of(&unjudged(waits_for_more));
    assert_eq!((failure.kind, failure.plan), (FailureKind::Endless, Plan::default()));
}

#[test]
fn an_invariant_that_does_not_hold_even_without_a_crash_says_so() {
    let judge = |_: &u32, _: &BrokerRef| Err("wrong");
    let failure = failure_of(&Check::new(sender, judge));
    assert_eq!(failure.plan, Plan::default());
    assert!(failure.to_string().contains("no crash at all"), "{failure}");
}

#[test]
fn a_failure_that_takes_two_crashes_keeps_two() {
    let judge = |lives: &u32, _: &BrokerRef| if *lives > 2 { Err("a third life") } else { Ok(()) };
    let failure = failure_of(&Check::new(sender, judge).crashes(4..=4));
    let begin = Moment::Act { name: "begin".to_owned(), nth: 0, phase: ActPhase::After };
    let crash = Crash { at: begin, loss: Loss::Kill };
    assert_eq!(failure.plan.crashes, [crash.clone(), crash]);
}

#[test]
fn an_invariant_may_panic_and_is_told_by_its_words() {
    let judge = |lives: &u32, _: &BrokerRef| -> Result<(), String> {
        assert_eq!(*lives, 1, "one life");
        Ok(())
    };
    let failure = failure_of(&Check::new(sender, judge));
    assert_eq!(failure.kind, FailureKind::Invariant);
    assert!(failure.message.contains("one life"), "{failure}");
}

fn refused(result: Result<Summary, CheckError>) -> String {
    match result {
        Err(CheckError::TestedNothing { reason }) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_check_that_tests_nothing_is_refused() {
    let idle = |machine: &Machine<u32>| machine.act("idle", |count| *count += 1);
    let reason = refused(unjudged(idle).run());
    assert!(reason.contains("nothing with the log"), "{reason}");
    refused(unjudged(sender).seeds(0..0).run());
    refused(unjudged(sender).crashes(0..=0).run());
    refused(unjudged(sender).profiles(&[]).run());
}

#[test]
fn an_application_that_does_not_repeat_itself_gets_no_plan() {
    let runs = Cell::new(0);
    let forgetful = |machine: &Machine<u32>| {
        runs.set(runs.get() + 1);
        // The first two runs are alike.
        if runs.get() > 2 {
            send(machine, runs.get())?;
        }
        sender(machine)
    };
    match unjudged(forgetful).run() {
        Err(CheckError::NotRepeatable { difference }) => println!("{difference}"),
        other => panic!("{other:?}"),
    }

    let runs = Cell::new(0);
    let judge = |lives: &u32, _: &BrokerRef| {
        runs.set(runs.get() + 1);
        if *lives > 1 && runs.get() == 5 { Err("now and then") } else { Ok(()) }
    };
    match Check::new(sender, judge).run() {
        Err(CheckError::NotRepeatable { difference }) => {
            assert!(difference.contains("now and then"), "{difference}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_plan_for_another_application_is_refused() {
    let at = Moment::Disk { change: 1_000_000, phase: CrashPhase::Before };
    let plan = Plan { crashes: vec![Crash { at, loss: Loss::Kill }] };
    let result = unjudged(sender).replay(&plan);
    assert_eq!(result, Err(CheckError::PlanNotReached { life: 1 }));
}

/// An application that keeps numbers in a file of its own beside the log, and
/// has never heard of a sync. What it finds there it tells the world outside.
fn files_without_sync(machine: &Machine<Vec<u8>>) -> Outcome {
    let config = machine.config();
    let path = std::path::Path::new("/numbers");
    let broker = Broker::open(config.clone())?;
    if let Ok(file) = config.file_system.open(path, Access::Read) {
        let mut bytes = vec![0; 2 * PAGE_BYTES];
        let len = file.read_at(&mut bytes, 0)?;
        bytes.truncate(len);
        let found = bytes.into_iter().step_by(PAGE_BYTES).collect();
        return Ok(machine.act("tell", |told| *told = found)?);
    }
    let file = config.file_system.create_new(path)?;
    config.file_system.sync_dir(std::path::Path::new("/"))?;
    file.write_at(&[1; PAGE_BYTES], 0)?;
    file.write_at(&[2; PAGE_BYTES], PAGE_BYTES as u64)?;
    broker.ensure_topic("numbers")?;
    Ok(machine.act("tell", |told| *told = vec![1, 2])?)
}

const PAGE_BYTES: usize = 4096;

#[test]
fn a_failure_that_takes_a_power_cut_keeps_its_power_cut() {
    let forgotten = |told: &Vec<u8>, _: &BrokerRef| {
        if told.is_empty() { Err("the numbers are gone") } else { Ok(()) }
    };
    let check = Check::new(files_without_sync, forgotten);
    // Before the writes a kill would do as well, so the file has to be there first.
    let after_tell = Moment::Act { name: "tell".to_owned(), nth: 0, phase: ActPhase::After };
    let dies = |loss| Plan { crashes: vec![Crash { at: after_tell.clone(), loss }] };
    check.replay(&dies(Loss::Kill)).unwrap();
    check.replay(&dies(Loss::PowerKeepsAll)).unwrap();
    let result = check.replay(&dies(Loss::PowerKeepsNothing));
    assert!(matches!(result, Err(CheckError::Failed(_))), "{result:?}");
}

#[test]
fn what_a_power_cut_has_left_is_in_the_plan_where_it_matters() {
    let swapped = |told: &Vec<u8>, _: &BrokerRef| {
        if told.as_slice() == [0, 2] { Err("the second page without the first") } else { Ok(()) }
    };
    let check = Check::new(files_without_sync, swapped);
    check.replay(&Plan::default()).unwrap();
    let check = check.seeds(0..1000).profiles(&[Profile::Posix]);
    let failure = failure_of(&check);
    println!("{failure}");
    let [crash] = failure.plan.crashes.as_slice() else { panic!("one is enough: {failure}") };
    assert!(matches!(crash.loss, Loss::PowerKeeps(_)), "{failure}");
    let plan: Plan = failure.plan.to_string().parse().unwrap();
    match check.replay(&plan) {
        Err(CheckError::Failed(again)) => assert_eq!(again.story, failure.story),
        other => panic!("not repeated: {other:?}"),
    }
}

#[test]
fn what_is_told_before_it_is_sent_is_found_out_after_the_act() {
    // It takes what was handed over for durable.
    let hasty = |machine: &Machine<u32>| -> Outcome {
        let broker = Broker::open(machine.config())?;
        broker.create_topic("numbers", 1)?;
        let topic = broker.topic("numbers").ok_or("no topic")?;
        let stored = topic.partition(0).ok_or("no partition")?.read()?.next_offset();
        let told = machine.act("ask", |told| *told)?;
        if u64::from(told) > stored {
            return Err(format!("told of {told}, has {stored}").into());
        }
        let producer = Broker::producer(&broker);
        drop(producer.enqueue(&[ProducerRecord::new("numbers", None, "a number")])?);
        machine.act("tell", |told| *told += 1)?;
        Ok(producer.flush()?)
    };
    let failure = failure_of(&unjudged(hasty));
    assert_eq!(failure.message, "told of 1, has 0");
    let after_tell = Moment::Act { name: "tell".to_owned(), nth: 0, phase: ActPhase::After };
    assert_eq!(failure.plan.crashes, [Crash { at: after_tell, loss: Loss::Kill }]);
}

/// What the next test runs, in a process of its own and with a plan in the
/// environment.
#[test]
fn the_bug_is_there() {
    let failure = failure_of(&check(commit_then_ship).seeds(0..100));
    println!("STORY {:?} {}", failure.seed, failure.message);
}

#[test]
fn the_line_that_a_story_ends_with_repeats_it() {
    let failure = failure_of(&check(commit_then_ship));
    let story = failure.to_string();
    let (_, line) = story.rsplit_once("repeat it with ").unwrap();
    let name = "the_line_that_a_story_ends_with_repeats_it";
    let plan = &failure.plan;
    assert!(line.starts_with(&format!("MERKQL_SIM_PLAN='{plan}' ")), "{line}");
    if std::thread::current().name() == Some(name) {
        assert!(line.ends_with(&format!("cargo test {name} -- --exact")), "{line}");
    }

    let output_with = |variable: &str, value: &str| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "the_bug_is_there", "--nocapture"]).env(variable, value);
        String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned()
    };
    let repeated = output_with("MERKQL_SIM_PLAN", &plan.to_string());
    assert!(repeated.contains("STORY None order 0 was never shipped"), "{repeated}");
    let explored = output_with("MERKQL_SIM_SEEDS", "0");
    assert!(explored.contains("FAILED") && !explored.contains("STORY"), "{explored}");
}
