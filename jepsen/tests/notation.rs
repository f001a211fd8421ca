//! Reading and writing histories: both notations mean the same, nothing is lost between them, and errors say where they are.

mod support;

use merkql_jepsen::generate::{Options, clean};
use merkql_jepsen::history::{
    Action, Datum, History, Key, Kind, MicroOp, Operation, Polled, Process, RecordKey, Span,
};
use merkql_jepsen::notation::{Format, write_operation};
use proptest::prelude::*;
use support::{edn, json, one, written};

#[test]
fn a_transaction_as_jepsen_writes_it_is_read() {
    let history = edn(r#"#jepsen.history.Op{:index 3, :time 1500, :type :ok, :process 12, :f :txn,
            :value [[:send 1 [7 "a"]] [:poll {1 [[5 "x"] [6 "y"]], 2 []}] [:send :k [nil 4]]], :rebalance-log [{:keys [1 2]}]}"#);
    let operation = one(&history);
    assert_eq!((operation.index, operation.time_ns, operation.kind), (3, Some(1500), Kind::Ok));
    assert_eq!(operation.process, Process::Client(12));
    let polled = |offset, value: &str| Polled { offset: Some(offset), value: Datum::str(value) };
    let steps = vec![
        MicroOp::sent(Key::from(1), 7, Datum::str("a")),
        MicroOp::Poll(Some(vec![
            (Key::from(1), vec![polled(5, "x"), polled(6, "y")]),
            (Key::from(2), vec![]),
        ])),
        MicroOp::send(Key::new(Datum::keyword("k")), Datum::Int(4)),
    ];
    assert_eq!(operation.action, Action::Txn(steps));
    let log =
        operation.attachments.as_ref().and_then(|attachments| attachments.rebalance_log.as_ref());
    assert_eq!(log.map(|log| log[0].keys.clone()), Some(vec![Key::from(1), Key::from(2)]));
}

#[test]
fn the_same_operation_in_json_means_the_same() {
    let from_edn = edn(
        r#"{:process :nemesis, :type :info, :f :txn, :value [[:send 1 [7 "a"]] [:poll {1 [[5 :x]]}]]}"#,
    );
    let from_json = json(
        r#"{"process":"nemesis","type":"info","f":"txn","value":[["send",1,[7,"a"]],["poll",{"1":[[5,":x"]]}]]}"#,
    );
    assert_eq!(from_edn, from_json);
}

#[test]
fn the_fields_of_an_operation_may_stand_in_any_order() {
    let usual =
        json(r#"{"process":0,"type":"ok","f":"send","value":[["send",1,[0,"a"]]],"time":5}"#);
    let other =
        json(r#"{"time":5,"value":[["send",1,[0,"a"]]],"f":"send","type":"ok","process":0}"#);
    assert_eq!(usual, other);
}

#[test]
fn comments_discarded_elements_and_lists_of_operations_are_understood() {
    let one_by_one = edn(
        "; a comment\n{:process 0 :type :invoke :f :poll :value [[:poll]]} #_{:not [an operation]}\n{:process 0, :type :ok, :f :poll, :value ([:poll {}])}",
    );
    let as_a_list = edn(
        "[{:process 0 :type :invoke :f :poll :value [[:poll]]}\n #_ 7 {:process 0 :type :ok :f :poll :value [[:poll {}]]}]",
    );
    assert_eq!(one_by_one, as_a_list);
    assert_eq!(one_by_one.len(), 2);
}

#[test]
fn operations_without_numbers_are_numbered_and_others_keep_theirs() {
    let plain = json(
        "{\"process\":0,\"type\":\"invoke\",\"f\":\"poll\"}\n\n{\"process\":0,\"type\":\"ok\",\"f\":\"poll\"}\n",
    );
    let numbers = |history: &History| {
        history.operations().iter().map(|operation| operation.index).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&plain), [0, 1]);
    let numbered = json(
        "{\"index\":8,\"process\":0,\"type\":\"invoke\",\"f\":\"poll\"}\n{\"process\":0,\"type\":\"ok\",\"f\":\"poll\"}",
    );
    assert_eq!(numbers(&numbered), [8, 9]);
}

#[test]
fn unknown_functions_and_fields_survive_both_conversions() {
    let text = r#"{:index 4, :process :nemesis, :type :info, :f :start-partition, :value {:a #{1 2}, "b" [1.5 nil \c 1/2 12N]}, :links #inst "2023-11-14", "quoted" (sym true)}"#;
    let history = edn(text);
    let as_json = written(&history, Format::JsonLines);
    let back = json(&as_json);
    assert_eq!(history, back, "{as_json}");
    assert_eq!(written(&back, Format::Edn), written(&history, Format::Edn));
}

#[test]
fn whatever_clojure_prints_in_a_field_that_nobody_reads_is_understood() {
    for printed in [
        r#"#object[java.lang.Object 0x3b7d3a38 "java.lang.Object@3b7d3a38"]"#,
        r"[0x1F -0X1f 16r1F 2r101 36rZZ 0xFFFFFFFFFFFFFFFFFF 1. -1. 1.M]",
        r"[\formfeed \backspace \o12 \o377 \o]",
        r#""\0 \12 \377 \4001""#,
        r#"[#"\d+\"\\" #"" #:jepsen{:a 1 :b 2}]"#,
    ] {
        let history =
            edn(&format!("{{:process 0 :type :info :f :x :error {printed} :y {printed}}}"));
        assert_eq!(json(&written(&history, Format::JsonLines)), history, "{printed}");
        assert_eq!(edn(&written(&history, Format::Edn)), history, "{printed}");
    }
    let number = |text: &str| {
        let history = edn(&format!("{{:process 0 :type :info :f :x :time {text}}}"));
        one(&history).time_ns
    };
    assert_eq!((number("0x1F"), number("-16r1f"), number("2r101")), (Some(31), Some(-31), Some(5)));
}

#[test]
fn the_fields_of_values_keep_their_names_in_both_notations() {
    for line in [
        r#"{"index":0,"process":0,"type":"ok","f":"commit","value":{"group":"g","offsets":{"1":2}}}"#,
        r#"{"index":0,"process":0,"type":"ok","f":"open","value":{"dense_offsets":true,"mine":5}}"#,
        r#"{"index":0,"process":0,"type":"ok","f":"root","value":{"key":1}}"#,
        r#"{"index":0,"process":0,"type":"info","f":"poll","value":[],"commits":{"group":"g","offsets":{}},"rebalance-log":[{"keys":[1]}]}"#,
    ] {
        assert_eq!(written(&json(line), Format::JsonLines).trim_end(), line);
        let in_edn = written(&json(line), Format::Edn);
        assert_eq!(written(&edn(&in_edn), Format::JsonLines).trim_end(), line, "{in_edn}");
    }
    let in_edn = "{:index 0 :process 0 :type :ok :f :faults-end :value {:bound_ns 5}}\n";
    assert_eq!(written(&edn(in_edn), Format::Edn), in_edn);
}

#[test]
fn strings_that_look_like_other_things_survive_conversion() {
    for value in [
        r#"":x""#,
        r##""#edn 1""##,
        r#"":""#,
        r#""\\:x""#,
        r#""12""#,
        ":12",
        r#""a\n\"b\" \u0001 é""#,
    ] {
        let history = edn(&format!(
            "{{:process 0, :type :ok, :f :send, :value [[:send {value} [0 {value}]]], {value} {value}}}"
        ));
        assert_eq!(json(&written(&history, Format::JsonLines)), history, "{value}");
        assert_eq!(edn(&written(&history, Format::Edn)), history, "{value}");
    }
}

#[test]
fn a_sent_list_is_not_taken_for_an_offset_and_a_record() {
    let list = Datum::seq(vec![Datum::Int(1), Datum::Int(2)]);
    let send = Operation::new(
        Process::Client(0),
        Kind::Invoke,
        Action::Send(vec![MicroOp::send(Key::from(1), list)]),
    );
    let history = History::new([send]);
    for format in [Format::JsonLines, Format::Edn] {
        assert_eq!(History::parse(&written(&history, format), format).expect("readable"), history);
    }
}

#[test]
fn a_number_that_clojure_prints_as_a_big_one_is_that_number() {
    let sent = |value: &str| {
        edn(&format!("{{:process 0 :type :ok :f :send :value [[:send :x {value}]]}}"))
    };
    assert_eq!(sent("[5N 1N]"), sent("[5 1]"));
    assert_eq!(sent("[-1 :a]"), sent("[nil :a]"), "an offset that nobody was told");
}

#[test]
fn every_kind_of_value_survives_both_notations() {
    for seed in 0..20 {
        let history = clean(&Options { seed, operations: 600, ..Options::default() });
        for format in [Format::JsonLines, Format::Edn] {
            let text = written(&history, format);
            let back = History::parse(&text, format).expect("what was written can be read");
            assert_eq!(back, history);
        }
    }
}

#[test]
fn the_format_is_known_by_its_first_bytes() {
    let cases = [
        ("{\"process\":0}", Format::JsonLines),
        ("  \n{ \"process\":0}", Format::JsonLines),
        ("", Format::JsonLines),
        ("{:process 0}", Format::Edn),
        ("; comment", Format::Edn),
        ("#jepsen.history.Op{:index 0}", Format::Edn),
        ("[{:process 0}]", Format::Edn),
    ];
    for (text, format) in cases {
        assert_eq!(Format::from_content(text.as_bytes()), format, "{text}");
    }
}

/// Any JSON value that isn't too deep.
fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        // Fractions that both libraries write with the same digits.
        any::<i32>().prop_map(|eighths| serde_json::Value::from(f64::from(eighths) / 8.0)),
        ".{0,12}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            prop::collection::hash_map(".{0,8}", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_json_that_another_library_writes_is_read_and_written_back_with_the_same_meaning(value in json_value()) {
        let line = serde_json::json!({"index": 0, "process": 0, "type": "ok", "f": "anything", "value": value});
        let history = json(&line.to_string());
        let mut out = String::new();
        write_operation(&mut out, one(&history), Format::JsonLines);
        let back: serde_json::Value = serde_json::from_str(&out).expect("what is written is JSON");
        prop_assert_eq!(json(&back.to_string()), history);
    }

    #[test]
    fn no_text_makes_reading_panic(text in "[\\[\\]{}:,\"\\\\#_a-z0-9 .;()-]{0,60}") {
        for format in [Format::JsonLines, Format::Edn] {
            prop_assert!(History::parse(&text, format).map_or(true, |history| history.len() <= text.len()));
        }
    }
}

#[test]
fn what_is_gone_for_good_and_what_compaction_knows_records_by_are_kept_in_both_notations() {
    let history =
        edn(r#"{:process 0, :type :ok, :f :send, :value [[:send 1 [0 "a"]] [:send 1 [1 "t"]]],
            :record-keys {1 [["a" :k] ["t" :k true]]}}
            {:process :retention, :type :info, :f :removed, :value {1 [[0 1]], 2 []}}"#);
    let keys = history.operations()[0].attachments.as_ref().map(|with| with.record_keys.clone());
    let known = |record: &str, is_tombstone| {
        let (record, key) = (Datum::str(record), Datum::keyword("k"));
        RecordKey { record, key, is_tombstone }
    };
    assert_eq!(keys, Some(vec![(Key::from(1), vec![known("a", false), known("t", true)])]));
    let gone = vec![(Key::from(1), vec![Span::one(0)]), (Key::from(2), Vec::new())];
    assert_eq!(history.operations()[1].action, Action::Removed(gone));
    assert_eq!(edn(&written(&history, Format::Edn)), history);
    let in_json = written(&history, Format::JsonLines);
    assert_eq!(written(&json(&in_json), Format::JsonLines), in_json);
    assert!(in_json.contains("record-keys") && in_json.contains("removed"), "{in_json}");
}
