//! Jepsen's anomalies in their subtle parts, as stories in Jepsen's own notation.

use merkql_jepsen::history::History;
use merkql_jepsen::notation::Format;
use merkql_jepsen::{Name, Verdict, check};

/// The verdict on operations in EDN. Sends and polls are written as they ended; each is preceded by its invocation only where
/// the story needs it.
fn verdict(operations: &str) -> Verdict {
    let history = History::parse(operations, Format::Edn)
        .unwrap_or_else(|error| panic!("{error}\n{operations}"));
    check(&history)
}

fn finds(name: Name, operations: &str) -> Verdict {
    let verdict = verdict(operations);
    assert!(!verdict.of(name).is_empty(), "no {name} in {operations}, but {:?}", verdict.names());
    verdict
}

fn finds_no(name: Name, operations: &str) -> Verdict {
    let verdict = verdict(operations);
    assert_eq!(verdict.of(name), [], "{operations}");
    verdict
}

#[test]
fn an_uncertain_send_conflicts_with_nothing_until_it_is_seen() {
    let conflict = "{:process 0 :type :info :f :send :value [[:send 1 [0 :a]] [:send 2 :b]]}
                    {:process 1 :type :ok :f :send :value [[:send 1 [0 :c]]]}";
    finds_no(Name::InconsistentOffsets, conflict);
    // Once its other record is polled, it must have committed as a whole.
    let seen =
        format!("{conflict} {{:process 2 :type :ok :f :poll :value [[:poll {{2 [[5 :b]]}}]]}}");
    let verdict = finds(Name::InconsistentOffsets, &seen);
    assert_eq!(verdict.of(Name::InconsistentOffsets)[0].offsets, [0]);
    // A poll that failed is not enough to prove that.
    let unproved =
        format!("{conflict} {{:process 2 :type :fail :f :poll :value [[:poll {{2 [[5 :b]]}}]]}}");
    finds_no(Name::InconsistentOffsets, &unproved);
}

#[test]
fn a_failed_send_counts_for_nothing_but_what_failed_polls_return_counts() {
    let sends = "{:process 0 :type :ok :f :send :value [[:send 1 [1 :a]]]}
                 {:process 0 :type :fail :f :send :value [[:send 1 [2 :b]]]}";
    let verdict = finds(
        Name::Duplicate,
        &format!(
            "{sends} {{:process 1 :type :fail :f :poll :value [[:poll {{1 [[11 :a] [12 :b]]}}]]}}"
        ),
    );
    assert_eq!(verdict.of(Name::Duplicate).len(), 1, "the failed send put :b nowhere");
    assert_eq!(verdict.of(Name::Duplicate)[0].offsets, [1, 11]);
}

#[test]
fn all_records_that_conflict_at_two_offsets_are_duplicates() {
    let sent_and_polled = |value| {
        format!(
            "{{:process 0 :type :ok :f :send :value [[:send 1 [0 {value}]]]}}
             {{:process 1 :type :ok :f :poll :value [[:poll {{1 [[1 {value}]]}}]]}}\n"
        )
    };
    let story: String = (0..10).map(sent_and_polled).collect();
    let verdict = finds(Name::Duplicate, &story);
    assert_eq!(verdict.of(Name::Duplicate).len(), 10);
    assert_eq!(verdict.of(Name::InconsistentOffsets).len(), 2);
}

#[test]
fn a_record_is_lost_only_below_what_was_read() {
    let sends = "{:process 0 :type :ok :f :send :value [[:send 1 [0 :a]] [:send 1 [1 :b]] [:send 1 [3 :d]]]}
                 {:process 1 :type :info :f :send :value [[:send 1 :c]]}";
    let verdict = finds(
        Name::LostWrite,
        &format!("{sends} {{:process 2 :type :ok :f :poll :value [[:poll {{1 [[2 :c]]}}]]}}"),
    );
    let lost: Vec<String> =
        verdict.of(Name::LostWrite).iter().map(|witness| witness.values[0].to_string()).collect();
    assert_eq!(lost, [":a", ":b"], "nobody read as far as :d");
}

#[test]
fn a_record_that_was_overwritten_is_lost_though_its_offset_was_read() {
    let verdict = finds(
        Name::LostWrite,
        "{:process 0 :type :ok :f :send :value [[:send 1 [0 :a]]]}
         {:process 0 :type :ok :f :send :value [[:send 1 [0 :b]] [:send 1 [2 :c]]]}
         {:process 0 :type :ok :f :poll :value [[:poll {1 [[0 :b] [2 :c]]}]]}",
    );
    assert_eq!(verdict.of(Name::LostWrite).len(), 1);
}

#[test]
fn a_crashed_transaction_is_lost_as_a_whole_or_not_at_all() {
    let crashed = "{:process 0 :type :info :f :txn :value [[:send 1 :a] [:send 2 [0 :b]]]}
                   {:process 1 :type :info :f :send :value [[:send 2 :c]]}
                   {:process 3 :type :ok :f :poll :value [[:poll {2 [[1 :c]]}]]}";
    finds_no(Name::LostWrite, crashed);
    finds(
        Name::LostWrite,
        &format!("{crashed} {{:process 2 :type :ok :f :poll :value [[:poll {{1 [[0 :a]]}}]]}}"),
    );
}

#[test]
fn what_a_failed_operation_polled_is_no_proof_of_having_been_read() {
    let story = "{:process 0 :type :ok :f :send :value [[:send 1 [0 :a]] [:send 1 [1 :b]]]}
                 {:process 1 :type :ok :f :poll :value [[:poll {1 [[1 :b]]}]]}
                 {:process 2 :type :fail :f :poll :value [[:poll {1 [[0 :a]]}]]}";
    finds(Name::LostWrite, story);
    finds(Name::Unseen, story);
}

#[test]
fn only_acknowledged_records_can_be_unseen() {
    let verdict = verdict(
        "{:process 0 :type :info :f :send :value [[:send 1 [0 :a]]]}
         {:process 1 :type :fail :f :send :value [[:send 1 [1 :b]]]}",
    );
    assert!(verdict.is_valid());
}

const THREE: &str =
    "{:process 9 :type :ok :f :send :value [[:send 1 [0 0]] [:send 1 [1 1]] [:send 1 [2 2]]]}
     {:process 8 :type :ok :f :poll :value [[:poll {1 [[0 0] [1 1] [2 2]]}]]}";

#[test]
fn what_was_removed_before_a_record_was_sent_excuses_nothing() {
    let sent_after = |removal: &str, sent: &str| {
        format!(
            "{{:process 0 :type :ok :f :send :value [[:send :x [0 :a]]]}}
             {{:process 1 :type :ok :f :assign :value [:x]}}
             {{:process 1 :type :ok :f :poll :value [[:poll {{:x [[0 :a]]}}]]}}
             {removal}
             {{:process 0 :type :invoke :f :send :value [[:send :x :z]]}}
             {{:process 0 :type :ok :f :send :value [[:send :x {sent}]]}}"
        )
    };
    for over in [
        "{:process :nemesis :type :ok :f :retain :value {:x 0}}",
        "{:process :nemesis :type :ok :f :retain :value {:x 9}}",
        "{:process :nemesis :type :ok :f :compact :value {:x [[0 9]]}}",
        "{:process :nemesis :type :ok :f :delete :value [:x]}",
        "{:process :nemesis :type :info :f :detected :value {:spans {:x []}}}",
    ] {
        finds(Name::Unseen, &sent_after(over, ":z"));
        finds(Name::Unseen, &sent_after(over, "[1 :z]"));
        finds(
            Name::LostWrite,
            &format!(
                "{} {{:process 1 :type :ok :f :poll :value [[:poll {{:x [[2 :b]]}}]]}}",
                sent_after(over, "[1 :z]")
            ),
        );
    }
    for perhaps_later in [
        "{:process :nemesis :type :info :f :retain :value {:x 9}}",
        "{:process :nemesis :type :invoke :f :compact :value {:x [[0 9]]}}",
        "{:process :nemesis :type :ok :f :retain :value {:x 9}}
         {:process :admin :type :info :f :retain :value {:x 9}}",
    ] {
        finds_no(Name::Unseen, &sent_after(perhaps_later, ":z"));
        finds_no(Name::Unseen, &sent_after(perhaps_later, "[1 :z]"));
    }
    finds(
        Name::Unseen,
        &sent_after("{:process :nemesis :type :info :f :retain :value {:x 0}}", ":z"),
    );
}

#[test]
fn polls_that_fail_are_judged_against_the_position_and_leave_it() {
    // Each try begins again behind the last good poll, as it should.
    let verdict = verdict(&format!(
        "{THREE}
         {{:process 1 :type :ok :f :txn :value [[:poll {{1 [[0 0]]}}]]}}
         {{:process 1 :type :fail :f :txn :value [[:poll {{1 [[1 1] [2 2]]}}]]}}
         {{:process 1 :type :info :f :txn :value [[:poll {{1 [[1 1] [2 2]]}}]]}}
         {{:process 1 :type :ok :f :txn :value [[:poll {{1 [[1 1] [2 2]]}}]]}}"
    ));
    assert!(verdict.is_valid(), "{:?}", verdict.names());
    // A try that doesn't is a skip, whether it failed, crashed or went well.
    for kind in [":fail", ":info", ":ok"] {
        finds(
            Name::PollSkip,
            &format!(
                "{THREE}
                 {{:process 1 :type :ok :f :txn :value [[:poll {{1 [[0 0]]}}]]}}
                 {{:process 1 :type :fail :f :txn :value [[:poll {{1 [[1 1]]}}]]}}
                 {{:process 1 :type {kind} :f :txn :value [[:poll {{1 [[2 2]]}}]]}}"
            ),
        );
    }
}

#[test]
fn only_dropping_a_key_excuses_a_jump() {
    let jump = |between: &str| {
        format!(
            "{THREE}
             {{:process 1 :type :ok :f :poll :value [[:poll {{1 [[0 0]]}}]]}}
             {between}
             {{:process 1 :type :ok :f :poll :value [[:poll {{1 [[2 2]]}}]]}}"
        )
    };
    for keeps in [
        "",
        "{:process 1 :type :ok :f :assign :value [1 2]}",
        "{:process 1 :type :fail :f :assign :value [2]}",
        "{:process 1 :type :invoke :f :assign :value [2]}",
        "{:process 2 :type :ok :f :assign :value [2]}",
        "{:process 1 :type :ok :f :seek :value {2 7}}",
        "{:process 1 :type :ok :f :poll :value [[:poll {}]]}",
        "{:process 1 :type :info :f :crash}",
    ] {
        finds(Name::PollSkip, &jump(keeps));
    }
    for drops in [
        "{:process 1 :type :ok :f :assign :value [2]}",
        "{:process 1 :type :info :f :assign :value [2]}",
        "{:process 1 :type :ok :f :subscribe :value [2]}",
        "{:process 1 :type :ok :f :seek :value {1 2}}",
        "{:process 1 :type :ok :f :poll :value [[:poll {1 []}]]}",
        "{:process 1 :type :ok :f :assign :value [1] :seek-to-beginning? true}",
        "{:process 1 :type :ok :f :rebalance :value {:group :g :revoked [1] :assigned [1]}}",
    ] {
        finds_no(Name::PollSkip, &jump(drops));
    }
}

#[test]
fn under_subscribe_jumps_count_only_where_rebalances_are_recorded() {
    let jump = "{:process 1 :type :ok :f :subscribe :value [1]}
                {:process 1 :type :ok :f :poll :value [[:poll {1 [[0 0]]}]]}
                {:process 1 :type :ok :f :poll :value [[:poll {1 [[2 2]]}]]}
                {:process 1 :type :ok :f :poll :value [[:poll {1 [[1 1]]}]]}";
    let excused = verdict(&format!("{THREE} {jump}"));
    assert!(excused.is_valid(), "{:?}", excused.names());
    assert_eq!((excused.excused["poll-skip"], excused.excused["nonmonotonic-poll"]), (1, 1));
    let declared = "{:process :nemesis :type :ok :f :open :value {:rebalances true}}";
    let judged = verdict(&format!("{declared} {THREE} {jump}"));
    assert_eq!(judged.names(), [Name::PollSkip, Name::NonmonotonicPoll]);
}

#[test]
fn a_jump_from_subscribe_to_assign_counts_as_one_under_subscribe() {
    let jumps = "{:process 1 :type :ok :f :subscribe :value [1]}
                 {:process 1 :type :ok :f :poll :value [[:poll {1 [[0 0]]}]]}
                 {:process 1 :type :ok :f :assign :value [1]}
                 {:process 1 :type :ok :f :poll :value [[:poll {1 [[2 2]]}]]}";
    let excused = verdict(&format!("{THREE} {jumps}"));
    assert!(excused.is_valid(), "{:?}", excused.names());
    assert_eq!(excused.excused["poll-skip"], 1);
    // From there on nothing is shared any more.
    let back = "{:process 1 :type :ok :f :poll :value [[:poll {1 [[1 1]]}]]}";
    finds(Name::NonmonotonicPoll, &format!("{THREE} {jumps} {back}"));
    let declared = "{:process :nemesis :type :ok :f :open :value {:rebalances true}}";
    finds(Name::PollSkip, &format!("{declared} {THREE} {jumps}"));
}

#[test]
fn gaps_in_the_offsets_are_no_skip() {
    let verdict = verdict(
        "{:process 0 :type :ok :f :send :value [[:send 1 [0 :a]] [:send 1 [7 :b]] [:send 1 [900719925474099 :c]]]}
         {:process 1 :type :ok :f :poll :value [[:poll {1 [[0 :a] [7 :b]]}] [:poll {1 [[900719925474099 :c]]}]]}",
    );
    assert!(verdict.is_valid(), "{:?}", verdict.names());
}

#[test]
fn an_operation_is_judged_across_its_polls_and_may_skip_where_it_was_rebalanced() {
    let polls = "{:process 1 :type :ok :f :txn :value [[:poll {1 [[0 0]]}] [:poll {1 [[2 2]]}]]";
    finds(Name::IntPollSkip, &format!("{THREE} {polls}}}"));
    finds(Name::IntPollSkip, &format!("{THREE} {polls} :rebalance-log [{{:keys [2]}}]}}"));
    let excused = finds_no(
        Name::IntPollSkip,
        &format!("{THREE} {polls} :rebalance-log [{{:keys [2]}} {{:keys [1]}}]}}"),
    );
    assert_eq!(excused.excused["int-poll-skip"], 1);
}

#[test]
fn polling_one_record_twice_in_an_operation_is_nonmonotonic() {
    finds(
        Name::IntNonmonotonicPoll,
        &format!(
            "{THREE} {{:process 1 :type :ok :f :poll :value [[:poll {{1 [[1 1] [2 2]]}}] [:poll {{1 [[2 2]]}}]]}}"
        ),
    );
}

#[test]
fn the_order_of_sends_is_known_from_polls_too() {
    // Neither send got its offset, but a poll shows where they went.
    let sends = "{:process 0 :type :info :f :send :value [[:send 1 :d] [:send 1 :b]]}
                 {:process 1 :type :info :f :send :value [[:send 1 :c]]}";
    let polled = "{:process 2 :type :ok :f :poll :value [[:poll {1 [[2 :b] [3 :c] [4 :d]]}]]}";
    finds(Name::IntNonmonotonicSend, &format!("{sends} {polled}"));
    finds_no(Name::IntNonmonotonicSend, sends);
}

#[test]
fn records_between_those_of_a_batch_invalidate_only_where_batches_are_atomic() {
    let mixed = "{:process 0 :type :ok :f :send :value [[:send 1 [1 :a]] [:send 1 :c]]}
                 {:process 1 :type :info :f :send :value [[:send 1 :b]]}
                 {:process 2 :type :ok :f :poll :value [[:poll {1 [[1 :a] [2 :b] [3 :c]]}]]}";
    let excused = verdict(mixed);
    assert!(excused.is_valid(), "{:?}", excused.names());
    assert_eq!(excused.excused["int-send-skip"], 1);
    finds(
        Name::IntSendSkip,
        &format!(
            "{{:process :nemesis :type :ok :f :open :value {{:atomic_batches true}}}} {mixed}"
        ),
    );
}

#[test]
fn a_producers_order_is_forgotten_with_the_key() {
    let backwards = |between: &str| {
        format!(
            "{{:process 0 :type :ok :f :send :value [[:send 1 [3 :c]] [:send 1 [4 :d]]]}}
             {between}
             {{:process 0 :type :ok :f :send :value [[:send 1 [1 :a]] [:send 1 [2 :b]]]}}"
        )
    };
    finds(Name::NonmonotonicSend, &backwards(""));
    finds(Name::NonmonotonicSend, &backwards("{:process 0 :type :ok :f :subscribe :value [1 2]}"));
    finds_no(Name::NonmonotonicSend, &backwards("{:process 0 :type :ok :f :subscribe :value [2]}"));
    finds_no(Name::NonmonotonicSend, &backwards("{:process 0 :type :info :f :assign :value [2]}"));
}

#[test]
fn a_transaction_may_poll_others_records_but_not_its_own() {
    let own = "{:process 0 :type :info :f :txn :value [[:send 1 [0 :a]] [:poll {1 [[0 :a]]}]]}";
    finds(Name::PrecommittedRead, own);
    let others = "{:process 1 :type :ok :f :send :value [[:send 1 [0 :b]]]}
                  {:process 0 :type :ok :f :txn :value [[:send 2 [0 :b]] [:poll {1 [[0 :b]]}]]}";
    finds_no(Name::PrecommittedRead, others);
}

#[test]
fn a_transaction_that_polls_several_records_of_its_own_is_one_case() {
    let verdict = finds(
        Name::PrecommittedRead,
        "{:process 0 :type :ok :f :txn :value [[:send 1 [0 :a]] [:send 2 [0 :b]] [:poll {1 [[0 :a]] 2 [[0 :b]]}]]}",
    );
    assert_eq!(verdict.of(Name::PrecommittedRead).len(), 1);
}

#[test]
fn only_clients_are_judged() {
    let verdict = verdict(
        "{:process :nemesis :type :fail :f :send :value [[:send 1 :a]]}
         {:process 0 :type :ok :f :poll :value [[:poll {1 [[0 :a]]}]]}",
    );
    assert!(verdict.is_valid(), "{:?}", verdict.names());
}

#[test]
fn keys_and_records_may_be_of_any_kind() {
    finds(
        Name::InconsistentOffsets,
        "{:process 0 :type :ok :f :send :value [[:send [:topic 3] [0 {:x #{1 2}}]]]}
         {:process 1 :type :ok :f :poll :value [[:poll {[:topic 3] [[0 {:x #{1}}]]}]]}",
    );
}

#[test]
fn a_history_without_a_call_that_could_be_wrong_is_told_from_a_good_one() {
    let nothing = verdict("{:process :nemesis :type :info :f :crash}");
    assert!(nothing.is_valid() && nothing.judged_nothing());
    let good = verdict(
        "{:process 0 :type :ok :f :send :value [[:send 1 [0 :a]]]}
         {:process 1 :type :ok :f :poll :value [[:poll {1 [[0 :a]]}]]}",
    );
    assert!(good.is_valid() && !good.judged_nothing(), "{:?}", good.names());
}
