//! Judging takes time in proportion to a history's length, also where one key, one reader or one function has all of it.
#![expect(clippy::disallowed_methods, reason = "how long the checkers take is what is tested")]

use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use merkql_jepsen::history::History;
use merkql_jepsen::notation::Format;
use merkql_jepsen::{Name, UNDECIDABLE_TAIL, Verdict, check_only};

/// How long the checker of one anomaly takes for a history.
fn judge(history: &History, name: Name) -> (Duration, Verdict) {
    let began = Instant::now();
    let verdict = check_only(history, &[name]);
    (began.elapsed(), verdict)
}

/// How much longer the long story of each pair is.
const FACTOR: usize = 32;
const SHORT: usize = 1_000;
const LONG: usize = SHORT * FACTOR;

/// Judges a short story and a long one. In linear time the long one takes 32 times as long, or up to 200 times where it no longer fits
/// into a cache; in quadratic time it takes 1024 times as long and more. Others use the machine as well, so that the best of a few
/// tries counts, and further tries are had before anything is called too long.
#[track_caller]
fn grows_with_its_length(name: Name, story: impl Fn(usize) -> String) -> Verdict {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    const TRIES: RangeInclusive<usize> = 3..=30;
    const RATIO_MAX: u32 = 450;
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let of_length = |length| History::parse(&story(length), Format::Edn).expect("a history");
    let (short, long) = (of_length(SHORT), of_length(LONG));
    let mut best = (Duration::MAX, Duration::MAX);
    for tried in 1..=*TRIES.end() {
        let ((of_short, _), (of_long, verdict)) = (judge(&short, name), judge(&long, name));
        best = (best.0.min(of_short), best.1.min(of_long));
        if TRIES.contains(&tried) && best.1 < best.0 * RATIO_MAX {
            return verdict;
        }
    }
    panic!("{FACTOR} times the length takes {:?} in place of {:?}", best.1, best.0)
}

fn lines(length: usize, line: impl Fn(usize) -> String) -> String {
    let mut story = String::new();
    for at in 0..length {
        let _ = writeln!(story, "{}", line(at));
    }
    story
}

/// Polls of one record each, which is its offset and `behind`.
fn polls(process: &str, length: usize, behind: usize) -> String {
    lines(length, |at| {
        let record = at + behind;
        format!(
            "{{:process {process} :type :ok :f :poll :value [[:poll {{1 [[{at} {record}]]}}]]}}"
        )
    })
}

const CRASH: &str = "{:process :nemesis :type :info :f :crash}";
const ASSIGN: &str = "{:process 7 :type :ok :f :assign :value [1] :seek-to-beginning? true}";

#[test]
fn many_final_polls_of_one_reader() {
    let verdict = grows_with_its_length(Name::VanishedRead, |length| {
        let ends = lines(length, |_| {
            format!("{{:process 7 :type :ok :f :final-polls :value {{1 {length}}}}}")
        });
        format!("{} {CRASH} {ASSIGN} {} {ends}", polls("1", length, 0), polls("7", length, 0))
    });
    assert!(verdict.is_valid(), "{:?}", verdict.names());
}

#[test]
fn many_readers_that_find_nothing() {
    let verdict = grows_with_its_length(Name::VanishedRead, |length| {
        let reads = lines(length, |_| {
            format!("{ASSIGN} {{:process 7 :type :ok :f :final-polls :value {{1 {length}}}}}")
        });
        format!("{} {CRASH} {reads}", polls("1", length, 0))
    });
    assert_eq!(verdict.of(Name::VanishedRead).len(), LONG, "each record once");
}

#[test]
fn many_transactions_against_many_full_reads() {
    let verdict = grows_with_its_length(Name::TornTransaction, |length| {
        let sends = lines(length, |at| {
            format!(
                "{{:process 0 :type :ok :f :txn :value [[:send 1 [{at} {at}]] [:send 2 {at}]]}}"
            )
        });
        let reads = lines(length, |_| {
            format!(
                "{} {{:process 7 :type :ok :f :final-polls :value {{2 0}}}}",
                ASSIGN.replace("[1]", "[2]")
            )
        });
        format!("{sends} {reads} {}", polls("1", length, 0))
    });
    assert!(verdict.is_valid(), "nothing was read since: {:?}", verdict.names());
}

#[test]
fn many_tails_that_may_be_gone() {
    let verdict = grows_with_its_length(Name::Unseen, |length| {
        let sends = lines(length, |at| {
            format!("{{:process 0 :type :ok :f :send :value [[:send 1 [{at} {at}]]]}}")
        });
        let tails = lines(length, |_| {
            format!("{{:process :nemesis :type :info :f :undecidable-tail :value {{1 {length}}}}}")
        });
        let all = "{:process :nemesis :type :info :f :undecidable-tail :value {1 0}}";
        format!("{sends} {tails} {all}")
    });
    assert_eq!((verdict.is_valid(), verdict.excused[UNDECIDABLE_TAIL]), (true, LONG as u64));
}

#[test]
fn many_tails_between_two_records_at_one_offset() {
    let verdict = grows_with_its_length(Name::OffsetReuse, |length| {
        let tails = lines(length, |_| {
            format!("{{:process :nemesis :type :info :f :undecidable-tail :value {{1 {length}}}}}")
        });
        let others = polls("2", length, length);
        format!("{} {CRASH} {tails} {others}", polls("1", length, 0))
    });
    assert_eq!(verdict.of(Name::OffsetReuse).len(), LONG);
}

#[test]
fn many_deleted_keys() {
    let verdict = grows_with_its_length(Name::LostCommit, |length| {
        let deleted = lines(length, |at| {
            format!("{{:process 0 :type :ok :f :delete :value [{}]}}", length + at)
        });
        let commits = lines(length, |at| {
            format!(
                "{{:process 0 :type :ok :f :commit :value {{:group :g :offsets {{{at} 5}}}}}}
                 {{:process 0 :type :ok :f :committed :value {{:group :g :offsets {{{at} nil}}}}}}"
            )
        });
        format!("{deleted} {commits}")
    });
    assert_eq!(verdict.of(Name::LostCommit).len(), LONG);
}

#[test]
fn many_steps_over_many_removed_records() {
    let verdict = grows_with_its_length(Name::PollSkip, |length| {
        let last = length - 1;
        let first = "{:process 2 :type :ok :f :poll :value [[:poll {1 [[0 0]]}]]}";
        let retain = format!("{{:process :nemesis :type :ok :f :retain :value {{1 {last}}}}}");
        let jumps = lines(length, |_| {
            format!("{{:process 2 :type :fail :f :poll :value [[:poll {{1 [[{last} {last}]]}}]]}}")
        });
        format!("{} {first} {retain} {jumps}", polls("1", length, 0))
    });
    assert_eq!((verdict.is_valid(), verdict.excused["poll-skip"]), (true, LONG as u64));
}
