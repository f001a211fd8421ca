//! What a history's evidence proves, and what it excuses.

use merkql_jepsen::history::History;
use merkql_jepsen::notation::Format;
use merkql_jepsen::{Name, UNDECIDABLE_TAIL, Verdict, check, check_only};

fn verdict(operations: &str) -> Verdict {
    let history = History::parse(operations, Format::Edn)
        .unwrap_or_else(|error| panic!("{error}\n{operations}"));
    check(&history)
}

fn names(operations: &str) -> Vec<Name> {
    verdict(operations).names()
}

/// Three records, all polled by one client, then a crash.
const POLLED_THEN_CRASHED: &str =
    "{:process 0 :type :ok :f :send :value [[:send 1 [0 :a]] [:send 1 [1 :b]] [:send 1 [2 :c]]]}
     {:process 1 :type :ok :f :poll :value [[:poll {1 [[0 :a] [1 :b] [2 :c]]}]]}
     {:process :nemesis :type :info :f :crash}";

/// A client that reads key 1 from start to end and finds this.
fn full_read(records: &str, end: u64) -> String {
    format!(
        "{{:process 7 :type :ok :f :assign :value [1] :seek-to-beginning? true}}
         {{:process 7 :type :ok :f :poll :value [[:poll {{1 {records}}}]]}}
         {{:process 7 :type :ok :f :final-polls :value {{1 {end}}}}}"
    )
}

#[test]
fn what_was_asked_to_go_or_said_to_be_damaged_may_be_missing() {
    let missing = full_read("[[0 :a] [2 :c]]", 3);
    let judged = |between: &str| verdict(&format!("{POLLED_THEN_CRASHED} {between} {missing}"));
    assert_eq!(judged("").names(), [Name::IntPollSkip, Name::VanishedRead]);
    for lawful in [
        "{:process :admin :type :ok :f :retain :value {1 2}}",
        "{:process :admin :type :info :f :compact :value {1 [[1 2]]}}",
        "{:process :admin :type :invoke :f :compact :value {1 [[0 1] [1 3]]}}",
        "{:process :admin :type :ok :f :delete :value [1]}",
    ] {
        let verdict = judged(lawful);
        assert!(verdict.is_valid(), "{lawful}: {:?}", verdict.names());
        assert_eq!(verdict.excused["vanished-read"], 1, "{lawful}");
        assert_eq!(verdict.excused["int-poll-skip"], 1, "{lawful}");
    }
    let detected =
        "{:process :nemesis :type :info :f :damage :value {:id 1 :class :D :spans {1 [[1 2]]}}}
                    {:process 5 :type :info :f :detected :value {:spans {1 [[1 2]]}}}";
    assert!(judged(detected).is_valid());
    for unlawful in [
        "{:process :admin :type :fail :f :retain :value {1 2}}",
        "{:process :admin :type :ok :f :retain :value {1 1}}",
        "{:process :admin :type :ok :f :compact :value {1 [[0 1] [2 3]]}}",
        "{:process :admin :type :ok :f :delete :value [2]}",
    ] {
        assert!(judged(unlawful).names().contains(&Name::VanishedRead), "{unlawful}");
    }
}

#[test]
fn a_removal_excuses_no_skip_that_came_before_it() {
    let skip = "{:process 3 :type :ok :f :poll :value [[:poll {1 [[0 :a] [2 :c]]}]]}";
    let removal = "{:process :admin :type :ok :f :compact :value {1 [[1 2]]}}";
    assert_eq!(names(&format!("{POLLED_THEN_CRASHED} {skip} {removal}")), [Name::IntPollSkip]);
    assert!(names(&format!("{POLLED_THEN_CRASHED} {removal} {skip}")).is_empty());
}

#[test]
fn a_tail_that_no_log_could_miss_is_excused_under_its_own_name() {
    let regrown = format!(
        "{POLLED_THEN_CRASHED}
         {{:process :nemesis :type :info :f :undecidable-tail :value {{1 1}}}}
         {{:process 4 :type :invoke :f :send :value [[:send 1 :d]]}}
         {{:process 4 :type :ok :f :send :value [[:send 1 [1 :d]]]}} {}",
        full_read("[[0 :a] [1 :d]]", 2)
    );
    let verdict = verdict(&regrown);
    assert!(verdict.is_valid(), "{:?}", verdict.names());
    assert!(verdict.excused[UNDECIDABLE_TAIL] > 0);
    // Without that, the same story is what it looks like.
    let plain = regrown.replace(":undecidable-tail", ":something-else");
    assert!(names(&plain).contains(&Name::OffsetReuse));
    // What stands before the tail is not excused.
    let deeper = regrown.replace("{1 1}", "{1 2}");
    assert!(names(&deeper).contains(&Name::OffsetReuse));
}

#[test]
fn an_offset_is_reused_however_often_and_by_whomever_its_records_are_seen() {
    let judge = |records: &[&str]| {
        let step = |record: &&str| match *record {
            "crash" => "{:process :nemesis :type :info :f :crash}".to_owned(),
            "tail" => {
                "{:process :nemesis :type :info :f :undecidable-tail :value {1 0}}".to_owned()
            }
            seen => {
                format!("{{:process 1 :type :fail :f :poll :value [[:poll {{1 [[0 {seen}]]}}]]}}")
            }
        };
        verdict(&records.iter().map(step).collect::<String>())
    };
    for reused in [
        ["a", "crash", "c", "a", "c"],
        ["a", "b", "crash", "c", "b"],
        ["a", "crash", "a", "b", "a"],
        ["a", "crash", "tail", "c", "a"],
    ] {
        assert_eq!(judge(&reused).of(Name::OffsetReuse).len(), 1, "{reused:?}");
    }
    for conflict in [["a", "b", "crash", "a", "b"], ["crash", "a", "b", "crash", "a"]] {
        assert_eq!(judge(&conflict).names(), [Name::InconsistentOffsets], "{conflict:?}");
    }
    for excused in [&["a", "crash", "tail", "c"][..], &["a", "crash", "a", "tail", "crash", "c"]] {
        let verdict = judge(excused);
        assert!(verdict.is_valid() && verdict.excused[UNDECIDABLE_TAIL] > 0, "{excused:?}");
    }
}

#[test]
fn an_end_below_a_polled_record_proves_that_it_vanished() {
    let ended = |end: u64| {
        format!(
            "{POLLED_THEN_CRASHED} {{:process 8 :type :ok :f :poll :value [[:poll {{}}]] :ends {{1 {end}}}}}"
        )
    };
    assert_eq!(names(&ended(2)), [Name::VanishedRead]);
    assert!(names(&ended(3)).is_empty());
    // Nothing crashed after the poll, so that the same end proves nothing of the kind.
    let uncrashed = ended(2).replace(":f :crash", ":f :pause");
    assert!(names(&uncrashed).is_empty());
}

#[test]
fn a_call_that_overlaps_an_acknowledgement_has_no_order_with_it() {
    let first = "{:process 0 :type :ok :f :send :value [[:send 1 [1 :a]]]}";
    let invoked = "{:process 1 :type :invoke :f :send :value [[:send 1 :b]]}";
    let ended = "{:process 1 :type :ok :f :send :value [[:send 1 [0 :b]]]}";
    let polled = "{:process 2 :type :ok :f :poll :value [[:poll {1 [[0 :b] [1 :a]]}]]}";
    assert_eq!(names(&format!("{first} {invoked} {ended} {polled}")), [Name::RealtimeOrder]);
    assert!(names(&format!("{invoked} {first} {ended} {polled}")).is_empty());
    assert!(
        names(&format!("{first} {ended} {polled}")).is_empty(),
        "without an invocation there is no evidence"
    );
}

fn group(f: &str, kind: &str, process: u8, offset: &str) -> String {
    format!(
        "{{:process {process} :type {kind} :f {f} :value {{:group :g :offsets {{1 {offset}}}}}}}\n"
    )
}

#[test]
fn a_read_of_a_committed_offset_may_return_any_commit_that_could_stand() {
    let committed =
        |offset| group(":committed", ":invoke", 5, "nil") + &group(":committed", ":ok", 5, offset);
    let commit = |kind, process, offset| group(":commit", kind, process, offset);
    let acknowledged = commit(":invoke", 0, "5") + &commit(":ok", 0, "5");
    // What was acknowledged last counts, and not what is highest.
    assert!(names(&(acknowledged.clone() + &committed("5"))).is_empty());
    assert_eq!(names(&(acknowledged.clone() + &committed("nil"))), [Name::LostCommit]);
    assert_eq!(names(&(acknowledged.clone() + &committed("4"))), [Name::CommitRegression]);
    assert_eq!(names(&(acknowledged.clone() + &committed("6"))), [Name::LostCommit]);
    // A commit that nobody answered may stand, but not behind a restart and a later commit.
    let uncertain = commit(":invoke", 1, "3") + &commit(":info", 1, "3");
    assert!(names(&(acknowledged.clone() + &uncertain + &committed("3"))).is_empty());
    let reopened = "{:process :nemesis :type :ok :f :open}\n".to_owned();
    let later = commit(":invoke", 0, "9") + &commit(":ok", 0, "9");
    let stale = acknowledged.clone() + &uncertain + &reopened + &later + &committed("3");
    assert_eq!(names(&stale), [Name::CommitRegression]);
    // Two that overlap may stand in either order.
    let overlapping = commit(":invoke", 0, "5")
        + &commit(":invoke", 1, "7")
        + &commit(":ok", 1, "7")
        + &commit(":ok", 0, "5");
    assert!(names(&(overlapping.clone() + &committed("7"))).is_empty());
    assert!(names(&(overlapping + &committed("5"))).is_empty());
    // One that is still under way may stand already.
    let under_way = acknowledged + &commit(":invoke", 1, "8");
    assert!(names(&(under_way + &committed("8"))).is_empty());
}

#[test]
fn commits_that_polls_carry_count_like_any_other() {
    let story =
        "{:process 0 :type :ok :f :poll :value [[:poll {}]] :commits {:group :g :offsets {1 5}}}\n"
            .to_owned();
    assert_eq!(names(&(story + &group(":committed", ":ok", 5, "2"))), [Name::CommitRegression]);
}

#[test]
fn only_members_of_a_group_are_delivered_twice() {
    let story = |how: &str| {
        format!(
            "{{:process 0 :type :ok :f :subscribe :value [1] :group :g}}
             {{:process 9 :type :ok :f :send :value [[:send 1 [0 :a]]]}}
             {{:process 0 :type :invoke :f :poll :value [[:poll]]}}
             {{:process 0 :type :ok :f :poll :value [[:poll {{1 [[0 :a]]}}]] :commits {{:group :g :offsets {{1 1}}}}}}
             {how}
             {{:process 1 :type :invoke :f :poll :value [[:poll]]}}
             {{:process 1 :type :ok :f :poll :value [[:poll {{1 [[0 :a]]}}]]}}"
        )
    };
    assert_eq!(
        names(&story("{:process 1 :type :ok :f :subscribe :value [1] :group :g}")),
        [Name::DoubleDelivery]
    );
    for other in [
        "{:process 1 :type :ok :f :subscribe :value [1] :group :h}",
        "{:process 1 :type :ok :f :assign :value [1] :group :g}",
        "{:process 1 :type :ok :f :subscribe :value [1] :group :g} {:process 1 :type :ok :f :seek :value {1 0}}",
    ] {
        assert!(names(&story(other)).is_empty(), "{other}");
    }
}

#[test]
fn an_owner_that_learned_of_its_loss_in_time_is_none() {
    let rebalance = |process: u8, what: &str| {
        format!("{{:process {process} :type :ok :f :rebalance :value {{:group :g {what}}}}}")
    };
    let polls = "{:process 0 :type :invoke :f :poll :value [[:poll]]} {:process 0 :type :ok :f :poll :value [[:poll {}]]}";
    let given = format!("{} {}", rebalance(0, ":assigned [1]"), rebalance(1, ":assigned [1]"));
    assert_eq!(names(&format!("{given} {polls}")), [Name::DoubleOwner]);
    for end in [
        rebalance(0, ":revoked [1]"),
        rebalance(1, ":revoked [1]"),
        "{:process 1 :type :ok :f :close}".into(),
        "{:process 0 :type :info :f :crash}".into(),
    ] {
        assert!(names(&format!("{given} {end} {polls}")).is_empty(), "{end}");
    }
    // A poll that was under way when the other was given the key could not know.
    let overlapping = format!(
        "{} {{:process 0 :type :invoke :f :poll}} {} {{:process 0 :type :ok :f :poll}}",
        rebalance(0, ":assigned [1]"),
        rebalance(1, ":assigned [1]")
    );
    assert!(names(&overlapping).is_empty());
}

#[test]
fn half_a_transaction_is_torn_even_if_the_rest_turns_up_later() {
    let story = |end: u64| {
        format!(
            "{{:process 0 :type :ok :f :txn :value [[:send 1 [0 :a]] [:send 2 [4 :b]]]}}
             {{:process 1 :type :ok :f :poll :value [[:poll {{1 [[0 :a]]}}]]}}
             {{:process 2 :type :ok :f :poll :value [[:poll {{}}]] :ends {{2 {end}}}}}
             {{:process 2 :type :ok :f :poll :value [[:poll {{2 [[4 :b]]}}]]}}"
        )
    };
    assert_eq!(names(&story(4)), [Name::TornTransaction]);
    assert!(names(&story(5)).is_empty());
    // A send is a transaction only where batches are atomic.
    let send = story(4).replace(":txn", ":send");
    assert!(names(&send).is_empty());
    assert_eq!(
        names(&format!(
            "{{:process :nemesis :type :ok :f :open :value {{:atomic_batches true}}}} {send}"
        )),
        [Name::TornTransaction]
    );
}

#[test]
fn made_up_records_are_corrupt_where_every_send_is_recorded() {
    let made_up = "{:process 1 :type :ok :f :poll :value [[:poll {1 [[0 :a]]}]]}";
    assert!(names(made_up).is_empty());
    let declared = "{:process :nemesis :type :ok :f :open :value {:all_sends true}}";
    assert_eq!(names(&format!("{declared} {made_up}")), [Name::SilentCorruption]);
    // A send that was never answered may have happened.
    let unanswered = "{:process 0 :type :invoke :f :send :value [[:send 1 :a]]}";
    assert!(names(&format!("{declared} {unanswered} {made_up}")).is_empty());
}

#[test]
fn damage_is_answered_by_an_error_a_repair_a_refusal_or_good_reads() {
    let damaged = |class: &str| {
        format!(
            "{{:process 0 :type :ok :f :send :value [[:send 1 [0 :a]] [:send 1 [1 :b]]]}}
             {{:process 1 :type :ok :f :poll :value [[:poll {{1 [[0 :a] [1 :b]]}}]]}}
             {{:process :nemesis :type :info :f :damage :value {{:id 4 :class {class} :spans {{1 [[1 2]]}}}}}}"
        )
    };
    let without = full_read("[[0 :a]]", 2);
    assert_eq!(names(&format!("{} {without}", damaged(":D"))), [Name::UndetectedDamage]);
    assert!(
        names(&format!("{} {without}", damaged(":R"))).is_empty(),
        "only class D must be detected"
    );
    assert!(
        names(&format!("{} {}", damaged(":D"), full_read("[[0 :a] [1 :b]]", 2))).is_empty(),
        "healed"
    );
    for answer in [
        "{:process 3 :type :info :f :detected :value {:damage 4 :spans {1 [[1 2]]}}}",
        "{:process 3 :type :info :f :healed :value {:damage 4}}",
    ] {
        assert!(names(&format!("{} {answer} {without}", damaged(":D"))).is_empty(), "{answer}");
    }
    // Damage to what belongs to the whole log allows it to refuse.
    let whole = damaged(":D").replace(" :spans {1 [[1 2]]}", "");
    let refusal = "{:process 3 :type :fail :f :refused}";
    assert!(names(&format!("{whole} {refusal} {without}")).is_empty());
    assert_eq!(names(&format!("{} {refusal}", damaged(":D"))), [Name::Unavailable]);
}

#[test]
fn a_full_read_may_seek_past_what_an_error_named() {
    let story = |said: &str| {
        format!(
            "{{:process 0 :type :ok :f :send :value [[:send 1 [0 :a]] [:send 1 [1 :b]] [:send 1 [2 :c]]]}}
             {{:process 1 :type :ok :f :poll :value [[:poll {{1 [[0 :a] [1 :b] [2 :c]]}}]]}}
             {{:process :nemesis :type :info :f :damage :value {{:id 4 :class :D :spans {{1 [[1 2]]}}}}}}
             {{:process 7 :type :ok :f :assign :value [1] :seek-to-beginning? true}}
             {{:process 7 :type :ok :f :poll :value [[:poll {{1 [[0 :a]]}}]]}}
             {said}
             {{:process 7 :type :ok :f :seek :value {{1 2}}}}
             {{:process 7 :type :ok :f :poll :value [[:poll {{1 [[2 :c]]}}]]}}
             {{:process 7 :type :ok :f :final-polls :value {{1 3}}}}"
        )
    };
    assert!(
        names(&story("{:process 7 :type :info :f :detected :value {:spans {1 [[1 2]]}}}"))
            .is_empty()
    );
    assert_eq!(names(&story("")), [Name::UndetectedDamage]);
}

#[test]
fn errors_about_damage_are_lawful_only_where_something_is_damaged() {
    let damaged =
        "{:process :nemesis :type :info :f :damage :value {:id 4 :class :D :spans {1 [[1 2]]}}}";
    let failed = |keys: &str, error: &str| {
        format!("{damaged} {{:process 0 :type :fail :f :send :value [{keys}] :error {error}}}")
    };
    assert!(names(&failed("[:send 1 :a]", "[:corrupt 1]")).is_empty());
    assert_eq!(names(&failed("[:send 2 :a]", "[:corrupt 2]")), [Name::Unavailable]);
    assert_eq!(names(&failed("[:send 2 :a]", ":unavailable")), [Name::Unavailable]);
    assert!(names(&failed("[:send 2 :a] [:send 1 :b]", ":corrupt")).is_empty());
    assert!(names(&failed("[:send 2 :a]", ":needs-reopen")).is_empty());
}

#[test]
fn a_quiet_log_must_answer_and_get_things_done() {
    let quiet = "{:time 0 :process :nemesis :type :info :f :faults-end :value {:bound_ns 100}}";
    let call = |kind: &str, time: u64| {
        format!("{{:time {time} :process 0 :type {kind} :f :send :value [[:send 1 :a]]}}")
    };
    let end = |time: u64| format!("{{:time {time} :process :nemesis :type :info :f :done}}");
    let stuck = |story: &str| {
        check_only(&History::parse(story, Format::Edn).expect("a story"), &[Name::Stuck]).names()
    };
    assert!(
        stuck(&format!("{quiet} {} {} {}", call(":invoke", 10), call(":ok", 90), end(900)))
            .is_empty()
    );
    assert_eq!(
        stuck(&format!("{quiet} {} {}", call(":invoke", 10), end(900))),
        [Name::Stuck],
        "no answer"
    );
    assert_eq!(
        stuck(&format!("{quiet} {} {}", call(":invoke", 10), call(":ok", 200))),
        [Name::Stuck],
        "late"
    );
    assert_eq!(
        stuck(&format!("{quiet} {} {} {}", call(":invoke", 10), call(":fail", 20), end(900))),
        [Name::Stuck]
    );
    assert!(
        stuck(&format!("{quiet} {} {}", call(":invoke", 10), end(90))).is_empty(),
        "too early to say"
    );
    assert!(
        stuck(&format!("{} {}", call(":invoke", 10), end(900))).is_empty(),
        "faults may still be going on"
    );
    let unfinished = "{:time 50 :process 1 :type :info :f :final-polls :value [1]}";
    assert_eq!(stuck(&format!("{quiet} {unfinished}")), [Name::Stuck]);
}

#[test]
fn only_the_names_asked_for_are_judged_and_counted() {
    let story = "{:process 0 :type :ok :f :send :value [[:send 1 [0 :a]] [:send 1 [2 :c]]]}
                 {:process 2 :type :info :f :send :value [[:send 1 :b]]}
                 {:process 1 :type :ok :f :poll :value [[:poll {1 [[1 :b]]}]]}";
    let history = History::parse(story, Format::Edn).expect("a story");
    let all = check(&history);
    assert_eq!(all.names(), [Name::LostWrite, Name::Unseen]);
    assert_eq!(all.excused["int-send-skip"], 1);
    let some = check_only(&history, &[Name::Unseen, Name::Stuck]);
    assert_eq!(some.names(), [Name::Unseen]);
    assert!(some.excused.is_empty());
}

/// What is valid with an undecidable tail of key 1 in place of `TAIL`, and has the anomaly with something else there.
fn only_a_tail_excuses(history: &str, from: u64, name: Name) {
    let tail =
        format!("{{:process :nemesis :type :info :f :undecidable-tail :value {{1 {from}}}}}");
    let excused = verdict(&history.replace("TAIL", &tail));
    assert!(excused.is_valid(), "{:?}", excused.witnesses().collect::<Vec<_>>());
    assert!(excused.excused[UNDECIDABLE_TAIL] > 0);
    let judged = verdict(&history.replace("TAIL", "{:process :nemesis :type :info :f :other}"));
    assert!(judged.names().contains(&name), "{:?}", judged.names());
}

#[test]
fn a_record_that_was_lost_with_a_tail_and_sent_again_is_no_duplicate() {
    let history = "{:process 0 :type :invoke :f :send :value [[:send 1 :b]]}
         {:process 1 :type :ok :f :poll :value [[:poll {1 [[0 :a] [1 :b]]}]]}
         {:process :nemesis :type :info :f :crash} TAIL
         {:process 0 :type :ok :f :send :value [[:send 1 [2 :b]]]}";
    only_a_tail_excuses(history, 1, Name::Duplicate);
    let beyond = history
        .replace("TAIL", "{:process :nemesis :type :info :f :undecidable-tail :value {1 2}}");
    assert_eq!(names(&beyond), [Name::Duplicate], "it did not stand in the tail");
}

#[test]
fn a_consumer_may_meet_a_record_that_was_sent_again_behind_others() {
    let history = "{:process 1 :type :ok :f :poll :value [[:poll {1 [[0 :a] [1 :b]]}]]}
         {:process :nemesis :type :info :f :crash} TAIL
         {:process 2 :type :ok :f :poll :value [[:poll {1 [[2 :c] [3 :b]]}]]}
         {:process 2 :type :ok :f :poll :value [[:poll {1 [[3 :b] [4 :d]]}]]}";
    let tail = "{:process :nemesis :type :info :f :undecidable-tail :value {1 1}}";
    let excused = verdict(&history.replace("TAIL", tail));
    assert!(excused.is_valid(), "{:?}", excused.names());
    assert!(verdict(&history.replace("TAIL", "")).names().contains(&Name::Duplicate));
}

#[test]
fn a_commit_can_be_lost_with_a_tail_that_took_no_record() {
    let history = "{:process 1 :type :ok :f :subscribe :value [1] :group g}
         {:process 1 :type :ok :f :poll :value [[:poll {1 [[0 :a]]}]]}
         {:process 1 :type :ok :f :commit :value {:group g :offsets {1 1}}}
         {:process :nemesis :type :info :f :crash} TAIL
         {:process :host :type :ok :f :open :value {}}
         {:process 2 :type :ok :f :subscribe :value [1] :group g}
         {:process 2 :type :invoke :f :poll :value [[:poll]]}
         {:process 2 :type :ok :f :poll :value [[:poll {1 [[0 :a]]}]]}";
    only_a_tail_excuses(history, 1, Name::DoubleDelivery);
}

#[test]
fn half_of_a_transaction_can_be_lost_with_a_tail() {
    let history = "{:process :host :type :ok :f :open :value {:atomic_batches true}}
         {:process 0 :type :invoke :f :send :value [[:send 1 :a] [:send 2 :b]]}
         {:process 3 :type :ok :f :poll :value [[:poll {2 [[0 :b]]}]]}
         {:process 0 :type :info :f :send :value [[:send 1 :a] [:send 2 :b]]}
         {:process :nemesis :type :info :f :crash} TAIL
         {:process 7 :type :ok :f :assign :value [1] :seek-to-beginning? true}
         {:process 7 :type :ok :f :poll :value [[:poll {}]]}
         {:process 7 :type :ok :f :final-polls :value {1 0}}";
    only_a_tail_excuses(history, 0, Name::TornTransaction);
}

#[test]
fn a_record_that_was_lost_with_a_tail_and_sent_again_has_another_hash() {
    let hash = |byte: &str| byte.repeat(32);
    let history = format!(
        "{{:process 1 :type :ok :f :poll :value [[:poll {{1 [[0 :a]]}}]] :hashes {{1 [[0 \"{}\"]]}}}}
         {{:process :nemesis :type :info :f :crash}} TAIL
         {{:process 0 :type :ok :f :send :value [[:send 1 [0 :a]]] :hashes {{1 [[0 \"{}\"]]}}}}",
        hash("11"),
        hash("22"),
    );
    only_a_tail_excuses(&history, 0, Name::SilentCorruption);
}
