//! Generated histories: clean ones have no anomaly, and an injected one is found there and only there.

use std::collections::BTreeSet;

use merkql_jepsen::generate::{Options, clean, inject};
use merkql_jepsen::history::Kind;
use merkql_jepsen::{Name, check};
use proptest::prelude::*;

/// Options for histories of hundreds to thousands of operations.
fn options() -> impl Strategy<Value = Options> {
    (any::<u64>(), 400_usize..2_500, 2_usize..7, 2_usize..20).prop_map(
        |(seed, operations, keys, processes)| Options {
            seed,
            operations,
            keys,
            processes,
            ..Options::default()
        },
    )
}

/// Options with anything switched off.
fn any_options() -> impl Strategy<Value = Options> {
    (options(), any::<[bool; 4]>()).prop_map(|(options, [groups, crashes, proofs, removals])| {
        Options { groups, crashes, proofs, removals, ..options }
    })
}

fn config() -> ProptestConfig {
    let cases =
        std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(64);
    ProptestConfig {
        failure_persistence: None,
        max_global_rejects: 10_000,
        ..ProptestConfig::with_cases(cases)
    }
}

/// Injects the anomaly into histories drawn at random, and looks whether it is found where it was put and nothing else anywhere.
fn is_found_there_and_only_there(name: Name) {
    proptest!(config(), |(options in options(), seed: u64)| {
        let mut history = clean(&options);
        let Some(injection) = inject(&mut history, name, seed) else {
            return Err(TestCaseError::reject("no place for it"));
        };
        let verdict = check(&history);
        prop_assert_eq!(&check(&history), &verdict, "the verdict depends on nothing but the history");
        let mut expected = name.comes_with().to_vec();
        expected.push(name);
        expected.sort_unstable();
        let sentences: Vec<&str> = verdict.witnesses().map(|witness| witness.sentence.as_str()).collect();
        prop_assert_eq!(verdict.names(), expected, "{:?}", sentences);
        for witness in verdict.witnesses() {
            let there = witness.operations.iter().any(|position| injection.operations.contains(position));
            prop_assert!(there, "{} is not where it was put: {:?}", witness.sentence, injection);
            prop_assert!(injection.key.is_none() || witness.key.is_none() || injection.key == witness.key, "{}", witness.sentence);
        }
    });
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn clean_histories_have_no_anomaly(options in any_options()) {
        let verdict = check(&clean(&options));
        let sentences: Vec<&str> = verdict.witnesses().map(|witness| witness.sentence.as_str()).collect();
        prop_assert!(verdict.is_valid(), "{:?}", sentences);
    }

    #[test]
    fn the_same_options_give_the_same_history(options in any_options()) {
        prop_assert_eq!(clean(&options), clean(&options));
    }
}

#[test]
fn a_generated_history_has_every_function_and_every_kind_of_end() {
    let history = clean(&Options { operations: 20_000, ..Options::default() });
    let functions: BTreeSet<&str> =
        history.operations().iter().map(|operation| operation.action.function()).collect();
    let expected = [
        "assign",
        "commit",
        "committed",
        "compact",
        "consistency",
        "crash",
        "damage",
        "detected",
        "faults-end",
        "final-polls",
        "healed",
        "open",
        "poll",
        "proof",
        "rebalance",
        "removed",
        "retain",
        "root",
        "seek",
        "send",
        "subscribe",
        "txn",
    ];
    assert_eq!(functions, BTreeSet::from(expected));
    for function in ["send", "poll", "txn", "commit"] {
        let of_it =
            history.operations().iter().filter(|operation| operation.action.function() == function);
        let kinds: BTreeSet<Kind> = of_it.map(|operation| operation.kind).collect();
        assert_eq!(kinds, BTreeSet::from(Kind::ALL), "{function}");
    }
    let verdict = check(&history);
    assert!(verdict.excused["poll-skip"] > 0, "removals excuse skips: {:?}", verdict.excused);
}

#[test]
fn a_history_without_room_for_an_anomaly_stays_as_it_is() {
    let mut history =
        clean(&Options { operations: 3, keys: 1, processes: 1, ..Options::default() });
    let before = history.clone();
    for name in [Name::PollSkip, Name::RealtimeOrder, Name::RootRegression] {
        assert_eq!(inject(&mut history, name, 1), None, "{name}");
        assert_eq!(history, before);
    }
}

/// One test for each anomaly, so that they run side by side and a failure names its kind.
macro_rules! injections {
    ($($test:ident $variant:ident)*) => {
        $(
            #[test]
            fn $test() {
                is_found_there_and_only_there(Name::$variant);
            }
        )*

        #[test]
        fn every_anomaly_is_injected() {
            assert_eq!([$(Name::$variant),*], Name::ALL);
        }
    };
}

injections! {
    injected_inconsistent_offsets InconsistentOffsets
    injected_duplicate Duplicate
    injected_lost_write LostWrite
    injected_unseen Unseen
    injected_aborted_read AbortedRead
    injected_precommitted_read PrecommittedRead
    injected_int_poll_skip IntPollSkip
    injected_int_nonmonotonic_poll IntNonmonotonicPoll
    injected_poll_skip PollSkip
    injected_nonmonotonic_poll NonmonotonicPoll
    injected_int_send_skip IntSendSkip
    injected_int_nonmonotonic_send IntNonmonotonicSend
    injected_nonmonotonic_send NonmonotonicSend
    injected_offset_gap OffsetGap
    injected_realtime_order RealtimeOrder
    injected_offset_reuse OffsetReuse
    injected_vanished_read VanishedRead
    injected_lost_commit LostCommit
    injected_commit_regression CommitRegression
    injected_double_delivery DoubleDelivery
    injected_torn_transaction TornTransaction
    injected_double_owner DoubleOwner
    injected_proof_invalid ProofInvalid
    injected_root_regression RootRegression
    injected_inconsistent_roots InconsistentRoots
    injected_silent_corruption SilentCorruption
    injected_undetected_damage UndetectedDamage
    injected_undeleted Undeleted
    injected_unavailable Unavailable
    injected_stuck Stuck
    injected_panic Panic
}
