//! Transactions that take records from one key to another, and commit how far they have come.

use merkql_jepsen::history::History;
use merkql_jepsen::notation::Format;
use merkql_jepsen::{Name, Verdict, check};

fn verdict(operations: &str) -> Verdict {
    let history = History::parse(operations, Format::Edn)
        .unwrap_or_else(|error| panic!("{error}\n{operations}"));
    check(&history)
}

/// The input :a stands in key 1. A transaction polls it, sends :out-a to key 2 and commits offset 1.
fn transfer(process: u64, kind: &str) -> String {
    format!(
        "{{:process {process} :type :invoke :f :txn :value [[:poll] [:send 2 :out-a]]
           :commits {{:group :g :offsets {{1 1}}}}}}
         {{:process {process} :type {kind} :f :txn :value [[:poll {{1 [[0 :a]]}}] [:send 2 :out-a]]
           :commits {{:group :g :offsets {{1 1}}}}}}"
    )
}

const INPUT: &str = "{:process 0 :type :ok :f :send :value [[:send 1 [0 :a]]]}
     {:process 1 :type :ok :f :poll :value [[:poll {1 [[0 :a]]}]]}";

const CRASH: &str = "{:process :nemesis :type :info :f :crash}";

fn committed(offset: &str) -> String {
    format!("{{:process 5 :type :ok :f :committed :value {{:group :g :offsets {{1 {offset}}}}}}}")
}

/// Key 2 is read from start to end, and this is found.
fn outputs(records: &str, end: u64) -> String {
    format!(
        "{{:process 7 :type :ok :f :assign :value [2] :seek-to-beginning? true}}
         {{:process 7 :type :ok :f :poll :value [[:poll {{2 {records}}}]]}}
         {{:process 7 :type :ok :f :final-polls :value {{2 {end}}}}}"
    )
}

#[test]
fn a_committed_offset_without_the_records_of_its_transaction_is_torn() {
    let torn =
        format!("{INPUT} {} {CRASH} {} {}", transfer(3, ":info"), committed("1"), outputs("[]", 0));
    let verdict = verdict(&torn);
    assert_eq!(verdict.names(), [Name::TornTransaction]);
    assert_eq!(
        verdict.of(Name::TornTransaction)[0].sentence,
        "operation 3 sent :out-a to key 2 and committed offset 1 of key 1 for group :g; the offset was read (operation 5), but later the record was not there (operation 8)"
    );
}

#[test]
fn a_transaction_of_which_nothing_is_there_or_everything_is_whole() {
    for (offset, found, end) in [("nil", "[]", 0), ("1", "[[0 :out-a]]", 1)] {
        let whole = format!(
            "{INPUT} {} {CRASH} {} {}",
            transfer(3, ":info"),
            committed(offset),
            outputs(found, end)
        );
        let verdict = verdict(&whole);
        assert!(verdict.is_valid(), "{offset}: {:?}", verdict.names());
    }
}

#[test]
fn an_input_that_is_taken_over_twice_is_a_duplicate() {
    let twice = format!(
        "{INPUT} {} {CRASH} {} {}",
        transfer(3, ":info"),
        transfer(4, ":info"),
        outputs("[[0 :out-a] [1 :out-a]]", 2)
    );
    assert_eq!(verdict(&twice).names(), [Name::Duplicate, Name::IntNonmonotonicPoll]);
}

/// What has no known end may not have happened, and be done again in other company.
#[test]
fn a_transaction_that_was_made_again_says_nothing_of_the_first_attempt() {
    let inputs = "{:process 0 :type :ok :f :send :value [[:send 1 [0 :a]] [:send 1 [1 :b]] [:send 1 [2 :c]]]}
         {:process 1 :type :ok :f :poll :value [[:poll {1 [[0 :a] [1 :b] [2 :c]]}]]}
         {:process 0 :type :ok :f :open :value {:atomic_batches true}}";
    let first = "{:process 3 :type :info :f :txn :value [[:send 2 :out-a] [:send 2 :out-b] [:send 3 :out-d]]}";
    let again = "{:process 4 :type :ok :f :txn :value [[:send 2 [0 :out-a]] [:send 2 [1 :out-c]] [:send 2 [2 :out-b]]]}";
    let found = outputs("[[0 :out-a] [1 :out-c] [2 :out-b]]", 3);
    let nothing = found
        .replace("process 7", "process 8")
        .replace("[2]", "[3]")
        .replace("{2 [[0 :out-a] [1 :out-c] [2 :out-b]]}", "{3 []}")
        .replace("{2 3}", "{3 0}");
    let verdict = verdict(&format!("{inputs} {first} {CRASH} {again} {found} {nothing}"));
    assert!(verdict.is_valid(), "{:?}", verdict.names());
}

/// What was polled before the transaction began was another attempt's.
#[test]
fn a_record_that_was_lost_with_a_tail_and_taken_over_again_says_nothing_of_the_time_before() {
    let first = "{:process 3 :type :ok :f :txn :value [[:send 2 [0 :out-a]]]}";
    let tail = "{:process :nemesis :type :info :f :undecidable-tail :value {2 0}}";
    let again = "{:process 4 :type :invoke :f :txn :value [[:send 2 :out-a] [:send 2 :out-b]]}
                 {:process 4 :type :ok :f :txn :value [[:send 2 [0 :out-a]] [:send 2 [1 :out-b]]]}";
    let before = outputs("[[0 :out-a]]", 1);
    let other = before.replace("process 7", "process 8");
    let verdict = verdict(&format!("{INPUT} {first} {before} {other} {CRASH} {tail} {again}"));
    assert!(!verdict.names().contains(&Name::TornTransaction), "{:?}", verdict.names());
}

#[test]
fn a_commit_that_somebody_else_may_have_made_proves_nothing() {
    let other = "{:process 8 :type :info :f :commit :value {:group :g :offsets {1 1}}}";
    let explained = format!(
        "{INPUT} {} {other} {CRASH} {} {}",
        transfer(3, ":info"),
        committed("1"),
        outputs("[]", 0)
    );
    assert!(verdict(&explained).is_valid());
}

#[test]
fn records_that_may_lawfully_be_missing_are_excused() {
    let excused = format!(
        "{INPUT} {} {CRASH} {{:process :admin :type :ok :f :delete :value [2]}} {} {}",
        transfer(3, ":info"),
        committed("1"),
        outputs("[]", 0)
    );
    let verdict = verdict(&excused);
    assert!(verdict.is_valid(), "{:?}", verdict.names());
    assert_eq!(verdict.excused["torn-transaction"], 1);
}
