//! Bugs that a log could have, as they would show in a history: each is found, and by the checker that is meant to find it.

use merkql_jepsen::history::History;
use merkql_jepsen::merkle::{Hash, Tree};
use merkql_jepsen::notation::Format;
use merkql_jepsen::{Name, check};

#[track_caller]
fn is_caught_as(name: Name, operations: &str) {
    let history = History::parse(operations, Format::Edn)
        .unwrap_or_else(|error| panic!("{error}\n{operations}"));
    let verdict = check(&history);
    assert!(!verdict.of(name).is_empty(), "found {:?}", verdict.names());
}

/// A client that reads key 1 from start to end and finds this.
fn full_read(records: &str, end: u64) -> String {
    format!(
        "{{:process 7 :type :ok :f :assign :value [1] :seek-to-beginning? true}}
         {{:process 7 :type :ok :f :poll :value [[:poll {{1 {records}}}]]}}
         {{:process 7 :type :ok :f :final-polls :value {{1 {end}}}}}"
    )
}

const CRASH: &str =
    "{:process :nemesis :type :info :f :crash} {:process :nemesis :type :ok :f :open}";

#[test]
fn the_last_record_of_a_batch_is_dropped() {
    let sent = "{:process 0 :type :ok :f :send :value [[:send 1 [0 :a]] [:send 1 [1 :b]]]}";
    // Nothing was sent since: it is never seen. Something was: it took the offset.
    is_caught_as(Name::Unseen, &format!("{sent} {}", full_read("[[0 :a]]", 1)));
    let next = "{:process 0 :type :ok :f :send :value [[:send 1 [1 :c]]]}";
    is_caught_as(
        Name::InconsistentOffsets,
        &format!("{sent} {next} {}", full_read("[[0 :a] [1 :c]]", 2)),
    );
}

#[test]
fn two_records_are_swapped() {
    let sent = "{:process 0 :type :ok :f :send :value [[:send 1 [0 :a]] [:send 1 [1 :b]]]}";
    is_caught_as(Name::IntNonmonotonicPoll, &format!("{sent} {}", full_read("[[1 :b] [0 :a]]", 2)));
    is_caught_as(Name::InconsistentOffsets, &format!("{sent} {}", full_read("[[0 :b] [1 :a]]", 2)));
}

#[test]
fn a_second_consumer_owns_a_partition() {
    is_caught_as(
        Name::DoubleOwner,
        "{:process 0 :type :ok :f :rebalance :value {:group :g :assigned [1]}}
         {:process 1 :type :ok :f :rebalance :value {:group :g :assigned [1]}}
         {:process 0 :type :invoke :f :poll :value [[:poll]]}
         {:process 0 :type :ok :f :poll :value [[:poll {}]]}",
    );
}

/// A member polls a record and commits past it; another member then polls.
fn hand_over(committed: &str, redelivered: &str) -> String {
    format!(
        "{{:process 0 :type :ok :f :subscribe :value [1] :group :g}}
         {{:process 9 :type :ok :f :send :value [[:send 1 [0 :a]] [:send 1 [1 :b]]]}}
         {{:process 0 :type :ok :f :poll :value [[:poll {{1 [[0 :a] [1 :b]]}}]]}}
         {{:process 0 :type :ok :f :commit :value {{:group :g :offsets {{1 2}}}}}}
         {{:process 5 :type :ok :f :committed :value {{:group :g :offsets {{1 {committed}}}}}}}
         {{:process 1 :type :ok :f :subscribe :value [1] :group :g}}
         {{:process 1 :type :invoke :f :poll :value [[:poll]]}}
         {{:process 1 :type :ok :f :poll :value [[:poll {{1 {redelivered}}}]]}}"
    )
}

#[test]
fn the_position_of_the_last_record_is_committed_in_place_of_the_next() {
    is_caught_as(Name::CommitRegression, &hand_over("1", "[]"));
    is_caught_as(Name::DoubleDelivery, &hand_over("2", "[[1 :b]]"));
}

#[test]
fn a_committed_offset_is_forgotten_on_reopen() {
    is_caught_as(Name::LostCommit, &hand_over("nil", "[]"));
    is_caught_as(Name::DoubleDelivery, &hand_over("2", "[[0 :a] [1 :b]]"));
}

/// Two records with their hashes, and a root that was handed out for them.
fn root_of_two(root: Hash, records: [Hash; 2]) -> String {
    let [first, second] = records;
    format!(
        "{{:process :nemesis :type :ok :f :open :value {{:dense_offsets true}}}}
         {{:process 0 :type :ok :f :send :value [[:send 1 [0 :a]] [:send 1 [1 :b]]] :hashes {{1 [[0 \"{first}\"] [1 \"{second}\"]]}}}}
         {{:process 2 :type :ok :f :root :value {{:key 1 :size 2 :root \"{root}\"}}}}"
    )
}

#[test]
fn a_leaf_is_hashed_without_its_prefix() {
    let records = [Hash::digest(b"a"), Hash::digest(b"b")];
    let bare = records.map(|record| Hash::digest(&record.0));
    let root = Hash::node(&bare[0], &bare[1]);
    is_caught_as(Name::InconsistentRoots, &root_of_two(root, records));
    // The proof from such a tree doesn't verify either.
    let proof = format!(
        "{{:process 2 :type :ok :f :proof :value {{:key 1 :index 0 :size 2 :root \"{root}\" :record \"{}\" :path [\"{}\"]}}}}",
        records[0], bare[1]
    );
    is_caught_as(Name::ProofInvalid, &proof);
}

#[test]
fn the_root_of_one_record_less_is_handed_out() {
    let records = [Hash::digest(b"a"), Hash::digest(b"b")];
    let mut tree = Tree::new();
    for record in &records {
        tree.push(record);
    }
    let short = tree.root(1).expect("a tree of one record");
    is_caught_as(Name::InconsistentRoots, &root_of_two(short, records));
    // Together with its size it is a step back.
    let (long, again) = (tree.root(2).expect("a tree of two records"), short);
    is_caught_as(
        Name::RootRegression,
        &format!(
            "{{:process 2 :type :ok :f :root :value {{:key 1 :size 2 :root \"{long}\"}}}}
             {{:process 2 :type :ok :f :root :value {{:key 1 :size 1 :root \"{again}\"}}}}"
        ),
    );
}

#[test]
fn half_of_a_transaction_is_shown() {
    is_caught_as(
        Name::TornTransaction,
        "{:process 0 :type :info :f :txn :value [[:send 2 [0 :a]] [:send 1 :b]]}
         {:process 1 :type :ok :f :poll :value [[:poll {2 [[0 :a]]}]]}
         {:process 7 :type :ok :f :assign :value [1] :seek-to-beginning? true}
         {:process 7 :type :ok :f :poll :value [[:poll {1 [[0 :c]]}]]}
         {:process 7 :type :ok :f :final-polls :value {1 1}}",
    );
}

#[test]
fn a_record_is_served_before_it_is_durable() {
    // Published before the sync, or read past the watermark: somebody saw what the crash took.
    is_caught_as(
        Name::VanishedRead,
        &format!(
            "{{:process 0 :type :info :f :send :value [[:send 1 :a]]}}
             {{:process 1 :type :ok :f :poll :value [[:poll {{1 [[0 :a]]}}]]}} {CRASH} {}",
            full_read("[]", 0)
        ),
    );
}

#[test]
fn a_record_is_acknowledged_before_it_is_durable() {
    let sent = "{:process 0 :type :ok :f :send :value [[:send 1 [0 :a]]]}";
    is_caught_as(Name::Unseen, &format!("{sent} {CRASH} {}", full_read("[]", 0)));
    let next = "{:process 2 :type :ok :f :send :value [[:send 1 [0 :b]]]}";
    is_caught_as(Name::OffsetReuse, &format!("{sent} {CRASH} {next} {}", full_read("[[0 :b]]", 1)));
}

#[test]
fn replay_applies_a_block_twice() {
    is_caught_as(
        Name::Duplicate,
        &format!(
            "{{:process 0 :type :ok :f :send :value [[:send 1 [0 :a]]]}} {CRASH} {}",
            full_read("[[0 :a] [1 :a]]", 2)
        ),
    );
}

#[test]
fn recovery_cuts_at_the_first_bad_block() {
    // The damage was to one synced record, and the records behind it went as well.
    is_caught_as(
        Name::UndetectedDamage,
        &format!(
            "{{:process 0 :type :ok :f :send :value [[:send 1 [0 :a]] [:send 1 [1 :b]] [:send 1 [2 :c]]]}}
             {{:process :nemesis :type :info :f :damage :value {{:id 1 :class :D :spans {{1 [[1 2]]}}}}}} {CRASH} {}",
            full_read("[[0 :a]]", 1)
        ),
    );
}

#[test]
fn zeroes_are_served_behind_a_bad_block() {
    is_caught_as(
        Name::SilentCorruption,
        &format!(
            "{{:process :nemesis :type :ok :f :open :value {{:all_sends true}}}}
             {{:process 0 :type :ok :f :send :value [[:send 1 [0 :a]] [:send 1 [1 :b]]]}} {CRASH} {}",
            full_read("[[0 :a] [1 \"\\u0000\"]]", 2)
        ),
    );
}
