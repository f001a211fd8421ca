//! Judging takes time in proportion to a history's length, also where one key, one reader or one function has all of it.
#![expect(clippy::disallowed_methods, reason = "how long the checkers take is what is tested")]

use std::fmt::Write as _;
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

/// Judges a story of some length and one that is eight times as long. Linear time grows eightfold and quadratic time sixtyfold;
/// the line is drawn between them, far from both. Others use the machine as well, so that one of several tries is enough.
#[track_caller]
fn grows_with_its_length(name: Name, length: usize, story: impl Fn(usize) -> String) -> Verdict {
    const TRIES: usize = 6;
    let of_length = |length| History::parse(&story(length), Format::Edn).expect("a history");
    let (short, long) = (of_length(length), of_length(8 * length));
    let mut took = Vec::new();
    for _ in 0..TRIES {
        let ((short, _), (long, verdict)) = (judge(&short, name), judge(&long, name));
        if long < 24 * short {
            return verdict;
        }
        took.push((short, long));
    }
    panic!("eight times the length takes too much longer: {took:?}")
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
    let verdict = grows_with_its_length(Name::VanishedRead, 1_000, |length| {
        let ends = lines(length, |_| {
            format!("{{:process 7 :type :ok :f :final-polls :value {{1 {length}}}}}")
        });
        format!("{} {CRASH} {ASSIGN} {} {ends}", polls("1", length, 0), polls("7", length, 0))
    });
    assert!(verdict.is_valid(), "{:?}", verdict.names());
}

#[test]
fn many_readers_that_find_nothing() {
    let verdict = grows_with_its_length(Name::VanishedRead, 1_000, |length| {
        let reads = lines(length, |_| {
            format!("{ASSIGN} {{:process 7 :type :ok :f :final-polls :value {{1 {length}}}}}")
        });
        format!("{} {CRASH} {reads}", polls("1", length, 0))
    });
    assert_eq!(verdict.of(Name::VanishedRead).len(), 8_000, "each record once");
}

#[test]
fn many_transactions_against_many_full_reads() {
    let verdict = grows_with_its_length(Name::TornTransaction, 1_000, |length| {
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
    let verdict = grows_with_its_length(Name::Unseen, 1_000, |length| {
        let sends = lines(length, |at| {
            format!("{{:process 0 :type :ok :f :send :value [[:send 1 [{at} {at}]]]}}")
        });
        let tails = lines(length, |_| {
            format!("{{:process :nemesis :type :info :f :undecidable-tail :value {{1 {length}}}}}")
        });
        let all = "{:process :nemesis :type :info :f :undecidable-tail :value {1 0}}";
        format!("{sends} {tails} {all}")
    });
    assert_eq!((verdict.is_valid(), verdict.excused[UNDECIDABLE_TAIL]), (true, 8_000));
}

#[test]
fn many_tails_between_two_records_at_one_offset() {
    let verdict = grows_with_its_length(Name::OffsetReuse, 1_000, |length| {
        let tails = lines(length, |_| {
            format!("{{:process :nemesis :type :info :f :undecidable-tail :value {{1 {length}}}}}")
        });
        let others = polls("2", length, length);
        format!("{} {CRASH} {tails} {others}", polls("1", length, 0))
    });
    assert_eq!(verdict.of(Name::OffsetReuse).len(), 8_000);
}

#[test]
fn many_deleted_keys() {
    let verdict = grows_with_its_length(Name::LostCommit, 1_000, |length| {
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
    assert_eq!(verdict.of(Name::LostCommit).len(), 8_000);
}

#[test]
fn many_steps_over_many_removed_records_take_little_time() {
    const COUNT: usize = 24_000;
    let records: Vec<String> = (0..COUNT).map(|at| format!("[{at} {at}]")).collect();
    let last = COUNT - 1;
    let mut story = format!(
        "{{:process 9 :type :ok :f :poll :value [[:poll {{1 [{}]}}]]}}
         {{:process 1 :type :ok :f :poll :value [[:poll {{1 [[0 0]]}}]]}}
         {{:process :nemesis :type :ok :f :retain :value {{1 {last}}}}}",
        records.join(" ")
    );
    for _ in 0..COUNT {
        let _ = writeln!(
            story,
            "{{:process 1 :type :fail :f :poll :value [[:poll {{1 [[{last} {last}]]}}]]}}"
        );
    }
    let history = History::parse(&story, Format::Edn).expect("a history");
    let began = Instant::now();
    let verdict = check_only(&history, &[Name::PollSkip]);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!((verdict.is_valid(), verdict.excused["poll-skip"]), (true, 24_000));
}
