//! Time, waiting, and randomness.

use super::scratch::succeeds;
use super::{Part, at_once};
use crate::env::{Clock, Entropy, Signal};
use std::time::Duration;

/// A deadline that no case is meant to reach.
const FAR: Duration = Duration::from_secs(3600);

pub(super) fn monotonic_time_never_goes_back(clock: &dyn Clock) {
    let mut last = clock.monotonic();
    for _ in 0..10_000 {
        let now = clock.monotonic();
        assert!(now >= last, "{now:?} should not be before {last:?}");
        last = now;
    }
}

pub(super) fn a_signal_that_has_moved_ends_the_wait_at_once(clock: &dyn Clock) {
    let signal = Signal::new();
    for seen in 0..3 {
        signal.notify();
        let deadline = clock.monotonic() + FAR;
        assert!(
            clock.wait(&signal, seen, deadline),
            "a wait past {seen} should say that the signal moved: it counts {}",
            signal.count()
        );
        let now = clock.monotonic();
        assert!(
            now < deadline,
            "a wait for what has happened should end at once, but it is {now:?}, past {deadline:?}"
        );
    }
}

pub(super) fn a_wait_consumes_no_event(clock: &dyn Clock) {
    let signal = Signal::new();
    signal.notify();
    for _ in 0..3 {
        let moved = clock.wait(&signal, 0, clock.monotonic() + FAR);
        assert!(moved, "one event should end every wait that has not seen it");
        assert_eq!(signal.count(), 1, "a wait should count nothing (right)");
    }
}

pub(super) fn a_wait_ends_at_its_deadline(clock: &dyn Clock) {
    let signal = Signal::new();
    for millis in [0, 1, 5, 20] {
        let deadline = clock.monotonic() + Duration::from_millis(millis);
        let moved = clock.wait(&signal, 0, deadline);
        assert!(!moved, "a wait should not see a signal that did not move");
        let now = clock.monotonic();
        assert!(
            now >= deadline,
            "a wait in vain should last until {deadline:?}, but it is {now:?}"
        );
        assert!(
            now < deadline + FAR,
            "a wait until {deadline:?} should end soon after, but it is {now:?}"
        );
    }
}

pub(super) fn an_event_that_was_seen_does_not_end_a_wait(clock: &dyn Clock) {
    let signal = Signal::new();
    signal.notify();
    signal.notify();
    let seen = signal.count();
    let deadline = clock.monotonic() + Duration::from_millis(5);
    assert!(
        !clock.wait(&signal, seen, deadline),
        "a wait should not end for events that were seen"
    );
    let now = clock.monotonic();
    assert!(now >= deadline, "a wait in vain should last until {deadline:?}, but it is {now:?}");
}

pub(super) fn a_deadline_in_the_past_ends_the_wait_at_once(clock: &dyn Clock) {
    // Whatever the clock's origin, the deadlines are past after this.
    let past = clock.monotonic();
    let signal = Signal::new();
    clock.wait(&signal, 0, past + Duration::from_millis(2));
    for (deadline, moved) in
        [(Duration::ZERO, false), (past, false), (Duration::ZERO, true), (past, true)]
    {
        let seen = signal.count();
        if moved {
            signal.notify();
        }
        let before = clock.monotonic();
        assert_eq!(
            clock.wait(&signal, seen, deadline),
            moved,
            "a wait until {deadline:?} at {before:?} should say whether the signal moved (right)"
        );
        let after = clock.monotonic();
        assert!(
            after >= before && after < before + FAR,
            "a wait for what is past should end at once, but time went from {before:?} to {after:?}"
        );
    }
}

pub(super) fn an_event_from_another_thread_ends_the_wait(clock: &dyn Clock) {
    // Two threads wake each other in turn, so that both really wait, and one
    // lost event shows as a wait in vain.
    const ROUNDS: u64 = 200;
    let (question, reply) = (Signal::new(), Signal::new());
    let deadline = clock.monotonic() + Duration::from_secs(60);
    let answer = || {
        for round in 0..ROUNDS {
            let moved = clock.wait(&question, round, deadline);
            assert!(moved, "event {round} should wake the waiting thread");
            reply.notify();
        }
    };
    let ask = || {
        for round in 0..ROUNDS {
            question.notify();
            let moved = clock.wait(&reply, round, deadline);
            assert!(moved, "answer {round} should wake the waiting thread");
        }
    };
    at_once([Box::new(answer) as Part, Box::new(ask)]);
}

pub(super) fn one_event_wakes_everybody(clock: &dyn Clock) {
    let (ready, go) = (Signal::new(), Signal::new());
    let deadline = clock.monotonic() + Duration::from_secs(60);
    let wait = || {
        ready.notify();
        let moved = clock.wait(&go, 0, deadline);
        assert!(moved, "one event should wake every waiting thread");
    };
    let wake = || {
        let moved = clock.wait(&ready, 3, deadline);
        assert!(moved, "four events should move a signal past 3");
        go.notify();
    };
    let waiters = (0..4).map(|_| Box::new(wait) as Part);
    at_once(waiters.chain([Box::new(wake) as Part]));
}

pub(super) fn a_filled_buffer_is_filled_whole(entropy: &dyn Entropy) {
    for len in [1, 2, 31, 32, 33, 256, 4097] {
        // A random byte is zero once in a while, but not 64 times in a row.
        let mut ever_set = vec![0; len];
        for _ in 0..64 {
            let mut buf = vec![0; len];
            succeeds(entropy.fill(&mut buf), "filling a buffer");
            for (ever, byte) in ever_set.iter_mut().zip(buf) {
                *ever |= byte;
            }
        }
        let untouched = ever_set.iter().position(|&ever| ever == 0);
        assert_eq!(
            untouched, None,
            "of {len} bytes, 64 fills should have set each, but one (left) stayed zero"
        );
    }
}

pub(super) fn two_fills_differ(entropy: &dyn Entropy) {
    let mut fills = [[0; 32]; 2];
    for buf in &mut fills {
        succeeds(entropy.fill(buf), "filling a buffer");
    }
    let [first, second] = fills;
    assert_ne!(first, second, "two fills of 32 bytes should differ");
}

pub(super) fn filling_nothing_succeeds(entropy: &dyn Entropy) {
    succeeds(entropy.fill(&mut []), "filling an empty buffer");
}
