//! What must be gone, what compaction may remove, and what an error about damage may name.

use merkql_jepsen::history::History;
use merkql_jepsen::merkle::Hash;
use merkql_jepsen::notation::Format;
use merkql_jepsen::{Name, UNDECIDABLE_TAIL, Verdict, check};

fn verdict(operations: &str) -> Verdict {
    let history = History::parse(operations, Format::Edn)
        .unwrap_or_else(|error| panic!("{error}\n{operations}"));
    check(&history)
}

fn names(operations: &str) -> Vec<Name> {
    verdict(operations).names()
}

/// A client that reads key 1 from start to end and finds this.
fn full_read(records: &str, end: u64) -> String {
    format!(
        "{{:process 7 :type :ok :f :assign :value [1] :seek-to-beginning? true}}
         {{:process 7 :type :ok :f :poll :value [[:poll {{1 {records}}}]]}}
         {{:process 7 :type :ok :f :final-polls :value {{1 {end}}}}}"
    )
}

#[test]
fn what_is_gone_for_good_is_returned_by_no_read_that_begins_later() {
    let sent =
        "{:process 0 :type :ok :f :send :value [[:send 1 [0 :a]] [:send 1 [1 :b]] [:send 1 [2 :c]]]}
         {:process 1 :type :ok :f :poll :value [[:poll {1 [[0 :a] [1 :b] [2 :c]]}]]}
         {:process :admin :type :ok :f :retain :value {1 2}}";
    let removed = "{:process :admin :type :info :f :removed :value {1 [[0 2]]}}";
    let began = "{:process 2 :type :invoke :f :poll :value [[:poll]]}";
    let ended = |records: &str| {
        format!("{{:process 2 :type :ok :f :poll :value [[:poll {{1 {records}}}]]}}")
    };
    let judged = |parts: &[&str]| verdict(&format!("{sent} {}", parts.join(" ")));
    let late = judged(&[removed, began, &ended("[[0 :a] [1 :b] [2 :c]]")]);
    assert_eq!(late.names(), [Name::Undeleted]);
    assert_eq!(late.of(Name::Undeleted).len(), 2);
    assert!(judged(&[removed, began, &ended("[[2 :c]]")]).is_valid());
    assert!(judged(&[began, removed, &ended("[[0 :a] [1 :b] [2 :c]]")]).is_valid());
    let failed = removed.replace(":info", ":fail");
    assert!(judged(&[&failed, began, &ended("[[0 :a] [1 :b] [2 :c]]")]).is_valid());
    // A deleted topic is gone wholly.
    let deleted = "{:process :admin :type :ok :f :delete :value [1]}
                   {:process :admin :type :info :f :removed :value {1 []}}";
    assert_eq!(judged(&[deleted, began, &ended("[[2 :c]]")]).names(), [Name::Undeleted]);
    // The removal itself may be lost with a tail.
    let tail = "{:process :nemesis :type :info :f :undecidable-tail :value {1 3}}";
    let forgiven = judged(&[removed, tail, began, &ended("[[0 :a] [1 :b] [2 :c]]")]);
    assert!(forgiven.is_valid() && forgiven.excused[UNDECIDABLE_TAIL] > 0);
    let again = judged(&[removed, tail, removed, began, &ended("[[1 :b] [2 :c]]")]);
    assert_eq!(again.names(), [Name::Undeleted]);
}

/// Sends of records with keys of their own, and one reader who polls all of them, then a crash.
const KEYED: &str =
    "{:process 0 :type :ok :f :send :value [[:send 1 [0 :a]] [:send 1 [1 :b]] [:send 1 [2 :c]]]
      :record-keys {1 [[:a :k] [:b :l] [:c :k]]}}
     {:process 1 :type :ok :f :poll :value [[:poll {1 [[0 :a] [1 :b] [2 :c]]}]]}";
const COMPACTED: &str = "{:process :admin :type :invoke :f :compact :value {1 [[0 9]]}}
     {:process :admin :type :ok :f :compact :value {1 [[0 9]]}}
     {:process :nemesis :type :info :f :crash}";

#[test]
fn compaction_removes_no_record_that_is_the_last_of_its_key() {
    let judged = |records: &str| verdict(&format!("{KEYED} {COMPACTED} {}", full_read(records, 3)));
    let superseded = judged("[[1 :b] [2 :c]]");
    assert!(superseded.is_valid() && superseded.excused["vanished-read"] == 1);
    assert_eq!(judged("[[0 :a] [2 :c]]").names(), [Name::IntPollSkip, Name::VanishedRead]);
    assert_eq!(judged("[[0 :a] [1 :b]]").names(), [Name::VanishedRead]);
    // Nobody read it: it is lost all the same.
    let unread = KEYED.replace("[[0 :a] [1 :b] [2 :c]]}]]", "[[0 :a]]}]]");
    let lost = verdict(&format!("{unread} {COMPACTED} {}", full_read("[[0 :a] [2 :c]]", 3)));
    assert!(lost.names().contains(&Name::LostWrite), "{:?}", lost.names());
    // What comes later excuses nothing that was removed before.
    let later =
        "{:process 5 :type :invoke :f :send :value [[:send 1 :d]] :record-keys {1 [[:d :l]]}}
                 {:process 5 :type :ok :f :send :value [[:send 1 [3 :d]]]}";
    let late =
        verdict(&format!("{KEYED} {COMPACTED} {later} {}", full_read("[[0 :a] [2 :c] [3 :d]]", 4)));
    assert!(late.names().contains(&Name::VanishedRead), "{:?}", late.names());
    let in_time =
        verdict(&format!("{KEYED} {later} {COMPACTED} {}", full_read("[[2 :c] [3 :d]]", 4)));
    assert!(in_time.is_valid(), "{:?}", in_time.names());
}

#[test]
fn a_tombstone_goes_after_what_it_ended_and_not_before() {
    let tombstone =
        "{:process 5 :type :ok :f :send :value [[:send 1 [3 :t]]] :record-keys {1 [[:t :k true]]}}";
    let judged = |records: &str| {
        verdict(&format!("{KEYED} {tombstone} {COMPACTED} {}", full_read(records, 4)))
    };
    assert!(judged("[[1 :b]]").is_valid(), "all of the key is gone, and the tombstone with it");
    assert!(judged("[[1 :b] [3 :t]]").is_valid());
    assert!(judged("[[1 :b] [2 :c] [3 :t]]").is_valid());
    assert_eq!(judged("[[1 :b] [2 :c]]").names(), [Name::Undeleted]);
    // A read beside compaction may see the one before and the other after.
    let began = "{:process 7 :type :invoke :f :assign :value [1]}";
    let beside =
        format!("{KEYED} {tombstone} {began} {COMPACTED} {}", full_read("[[1 :b] [2 :c]]", 4));
    assert!(verdict(&beside).is_valid());
}

#[test]
fn an_error_about_damage_names_records_that_were_damaged() {
    let damage = "{:process :nemesis :type :info :f :damage :value {:id 1 :class :D :spans {1 [[1 2] [4 6]] 2 [[0 0]] 3 []}}}";
    let judged = |spans: &str| {
        names(&format!(
            "{damage} {{:process 5 :type :info :f :detected :value {{:spans {spans}}}}}"
        ))
    };
    for harmed in ["{1 [[1 2]]}", "{1 [[5 6]]}", "{1 []}", "{2 []}", "{3 [[7 8]]}", "{1 [[0 9]]}"] {
        assert!(judged(harmed).is_empty(), "{harmed}");
    }
    for unharmed in ["{1 [[0 1]]}", "{1 [[2 4]]}", "{2 [[0 1]]}", "{4 []}"] {
        assert_eq!(judged(unharmed), [Name::Unavailable], "{unharmed}");
    }
}

#[test]
fn a_proof_of_a_record_that_was_lost_with_a_tail_is_no_proof_of_what_stands_there_since() {
    let (before, since) = (Hash::digest(b"before"), Hash::digest(b"since"));
    let root = Hash::leaf(&before.0);
    let judged = |between: &str| {
        verdict(&format!(
            "{{:process :nemesis :type :ok :f :open :value {{:dense_offsets true}}}}
             {{:process 0 :type :info :f :send :value [[:send 1 [0 :a]]]}}
             {{:process 2 :type :ok :f :proof :value {{:key 1 :index 0 :size 1 :root \"{root}\" :record \"{before}\" :path []}}}}
             {between}
             {{:process 3 :type :ok :f :send :value [[:send 1 [0 :b]]] :hashes {{1 [[0 \"{since}\"]]}}}}
             {{:process 4 :type :ok :f :poll :value [[:poll {{1 [[0 :b]]}}]]}}"
        ))
    };
    let crash = "{:process :nemesis :type :info :f :crash}";
    assert!(judged(crash).names().contains(&Name::ProofInvalid));
    let lost =
        format!("{crash} {{:process :nemesis :type :info :f :undecidable-tail :value {{1 0}}}}");
    assert!(!judged(&lost).names().contains(&Name::ProofInvalid));
    assert!(judged(&lost).excused[UNDECIDABLE_TAIL] > 0);
}
