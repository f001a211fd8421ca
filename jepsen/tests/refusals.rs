//! What can't be read: each refusal names the line, the column and what was expected, and what only looks wrong is read.

mod support;

use merkql_jepsen::history::{Action, History};
use merkql_jepsen::notation::Format;
use support::{edn, json, one, written};

/// Each text with the line, the column and the expectation that its error names.
#[test]
fn errors_name_the_line_the_column_and_what_was_expected() {
    let good = r#"{"process":0,"type":"ok","f":"poll","value":[]}"#;
    let cases = [
        (r#"{"process":0,"type":"done","f":"poll"}"#, 2, 21, "invoke, ok, fail or info"),
        (r#"{"process":0,"type":"ok","f":"poll","value":[["pull"]]}"#, 2, 47, "send or poll"),
        (
            r#"{"process":0,"type":"ok","f":"poll","value":[["poll",{"1":[[-1,"a"]]}]]}"#,
            2,
            61,
            "an offset, found -1",
        ),
        (
            r#"{"process":0,"type":"ok","f":"poll","value":[["poll",{"1":[["a"]]}]]}"#,
            2,
            61,
            "an offset, found \"a\"",
        ),
        (
            r#"{"process":0,"type":"ok","f":"poll","value":[["poll",{"1":[[1]]}]]}"#,
            2,
            60,
            "a record, [offset value]",
        ),
        (r#"{"process":0,"type":"ok","f":"send","value":[["send",1]]}"#, 2, 46, "[send key value]"),
        (r#"{"process":0,"type":"ok","f":"send","value":7}"#, 2, 45, "a list of micro-operations"),
        (r#"{"process":0,"type":"ok","f":"assign","value":7}"#, 2, 47, "a list of keys"),
        (r#"{"process":0,"type":"ok","f":"root","value":{"key":1,"size":2}}"#, 2, 45, "together"),
        (r#"{"process":0,"type":"ok"}"#, 2, 1, "a field `f`"),
        (r#"{"type":"ok","f":"poll"}"#, 2, 1, "a field `process`"),
        (r#"{"process":0 "type":"ok"}"#, 2, 14, "`,`"),
        (r#"{"process":0,"type":"ok","f":"poll"} x"#, 2, 38, "JSON value"),
        (r#"{"process":0,"type":"ok","f":"poll"} {}"#, 2, 38, "nothing more"),
        (r#"{"process":0,"é":01}"#, 2, 18, "a number"),
        (r#"{"process":0,"x":"unclosed}"#, 2, 28, "a closing"),
        ("[1]", 2, 1, "a map"),
    ];
    for (bad, line, column, expected) in cases {
        let error = History::parse(&format!("{good}\n{bad}\n"), Format::JsonLines)
            .expect_err(bad)
            .to_string();
        let place = format!("line {line}, column {column}: expected ");
        assert!(error.starts_with(&place) && error.contains(expected), "{bad}\n{error}");
    }
}

#[test]
fn errors_in_edn_name_their_place_too() {
    let cases = [
        (
            "{:process 0 :type :ok :f :poll}\n\n  {:process 0\n :type :maybe}",
            4,
            8,
            "invoke, ok, fail or info",
        ),
        ("[{:process 0 :type :ok :f :poll}", 1, 33, "another item"),
        ("{:process 0 :type :ok :f :poll :value [[:poll {1 [[0 \"a\"]}]]}", 1, 58, "a record"),
        ("{:process #}", 1, 11, "behind `#`"),
        ("{:process \\nope}", 1, 11, "a character"),
    ];
    for (bad, line, column, expected) in cases {
        let error = History::parse(bad, Format::Edn).expect_err(bad).to_string();
        let place = format!("line {line}, column {column}: expected ");
        assert!(error.starts_with(&place) && error.contains(expected), "{bad}\n{error}");
    }
}

/// The error's text, which begins with its place.
#[track_caller]
fn refused(text: &str, format: Format) -> String {
    History::parse(text, format).expect_err(text).to_string()
}

#[test]
fn only_numbered_processes_may_do_what_clients_do() {
    for function in ["send", "poll", "txn", "assign", "subscribe"] {
        let refusals = [
            (format!(r#"{{"process":"client-1","type":"ok","f":"{function}","value":[]}}"#), 12),
            (
                format!(r#"{{"type":"ok","f":"{function}","process":"client-1"}}"#),
                31 + function.len(),
            ),
        ];
        for (line, column) in refusals {
            let expected = format!(
                "line 1, column {column}: expected a number as the process of a {function}, which only clients do, found \"client-1\""
            );
            assert_eq!(refused(&line, Format::JsonLines), expected);
        }
        let in_edn = format!("{{:process :worker :type :invoke :f :{function} :value []}}");
        let error = refused(&in_edn, Format::Edn);
        assert!(
            error.starts_with("line 1, column 11: expected a number as the process"),
            "{error}"
        );
        // The nemesis' functions are its own, whatever they are called.
        edn(&format!("{{:process :nemesis :type :info :f :{function} :value []}}"));
    }
    edn("{:process :administrator :type :ok :f :retain :value {1 5}}");
}

#[test]
fn what_the_nemesis_does_under_a_known_name_may_have_any_value() {
    for (function, value) in [
        ("compact", ":all-nodes"),
        ("send", "{:to \"n1\"}"),
        ("damage", "[:n1 :n2]"),
        ("final-polls", ":go"),
        ("open", "\"a ticket\""),
        ("poll", "[[:pull]]"),
    ] {
        for operation in [
            format!("{{:process :nemesis :type :info :f :{function} :value {value}}}"),
            format!("{{:f :{function} :value {value} :type :info :process :nemesis}}"),
        ] {
            let history = edn(&operation);
            let Action::Other { function: found, .. } = &one(&history).action else {
                panic!("{operation} is taken for {:?}", one(&history).action);
            };
            assert_eq!(&**found, function);
            assert_eq!(json(&written(&history, Format::JsonLines)), history, "{operation}");
        }
        let of_a_client = format!("{{:process 0 :type :info :f :{function} :value {value}}}");
        assert!(refused(&of_a_client, Format::Edn).starts_with("line 1, column "));
    }
    // What isn't even data is an error wherever it stands.
    let error = refused("{:process :nemesis :type :info :f :damage :value {:id #}}", Format::Edn);
    assert!(error.starts_with("line 1, column 55: expected a set"), "{error}");
}

#[test]
fn a_key_stands_only_once_in_a_map() {
    let start = r#"{"process":0,"type":"ok","f":"#;
    let cases = [
        (r#""poll","type":"ok"}"#, 37, "type"),
        (r#""poll","x":1,"y":2,"x":1}"#, 49, ":x"),
        (r#""poll","value":[["poll",{"1":[],"2":[],"1":[]}]]}"#, 69, "1"),
        (r##""seek","value":{"1":5,"#edn 1":6}}"##, 52, "1"),
        (r#""x","value":[{"a":{"b":1,"b":1}}]}"#, 55, "b"),
    ];
    for (rest, column, key) in cases {
        let expected =
            format!("line 2, column {column}: expected each key once in a map, found {key} again");
        let error = refused(
            &format!("{{\"process\":0,\"type\":\"ok\",\"f\":\"poll\"}}\n{start}{rest}"),
            Format::JsonLines,
        );
        assert_eq!(error.replace('"', ""), expected, "{rest}");
    }
    for (text, column) in [
        ("{:process 0 :type :ok :f :poll :f :poll}", 32),
        ("{:process 0 :type :ok :f :x :value #{{:a 1 :a 2}}}", 44),
        ("{:process 0 :type :ok :f :x \"y\" 1 \"y\" 1}", 35),
        ("{:process 0 :type :ok :f :poll :value [[:poll {1 [] \"1\" []}]]}", 53),
    ] {
        let error = refused(text, Format::Edn);
        let place = format!("line 1, column {column}: expected each key once in a map, found ");
        assert!(error.starts_with(&place), "{text}\n{error}");
    }
    // A keyword and a string name the same field of a value.
    let error =
        refused("{:process 0 :type :ok :f :healed :value {:damage 1 \"damage\" 2}}", Format::Edn);
    assert_eq!(
        error,
        "line 1, column 41: expected each field once in the value of healed, found `damage` twice"
    );
}

#[test]
fn a_byte_order_mark_at_the_start_counts_for_nothing() {
    let marked = "\u{feff}{\"process\":0,\"type\":\"ok\",\"f\":\"poll\"}";
    assert_eq!(Format::from_content(marked.as_bytes()), Format::JsonLines);
    assert_eq!(json(marked), json(&marked.replace('\u{feff}', "")));
    let marked = "\u{feff}{:process 0 :type :ok :f :poll}";
    assert_eq!(Format::from_content(marked.as_bytes()), Format::Edn);
    assert_eq!(edn(marked), edn(&marked.replace('\u{feff}', "")));
    assert!(refused("\u{feff}{\"x\":nope}", Format::JsonLines).starts_with("line 1, column 6:"));
}

#[test]
fn json_that_is_not_one_operation_a_line_is_told_so() {
    let list = r#"[{"process":0,"type":"ok","f":"poll"}]"#;
    assert_eq!(Format::from_content(list.as_bytes()), Format::JsonLines);
    assert_eq!(Format::from_content(b"[\n  {\n    \"process\": 0"), Format::JsonLines);
    let expected = "line 1, column 1: expected one operation a line, each a map, found a list";
    assert_eq!(refused(list, Format::JsonLines), expected);
    let error = refused("{\n  \"process\": 0,\n  \"type\": \"ok\"\n}\n", Format::JsonLines);
    assert!(
        error.starts_with("line 1, column 2: expected the whole operation on one line"),
        "{error}"
    );
}

#[test]
fn bytes_that_are_not_text_are_an_error_with_its_place() {
    let bytes = b"{\"process\":0,\"type\":\"ok\",\"f\":\"poll\"}\n{\"x\":\"\xff\"}";
    let error = History::read(&bytes[..], Format::JsonLines).expect_err("not UTF-8").to_string();
    assert_eq!(error, "line 2, column 7: expected text in UTF-8");
}

#[test]
fn endless_nesting_is_an_error_and_no_crash() {
    let deep = format!("{{:process 0 :type :ok :f :x :value {}", "[".repeat(100_000));
    let error = History::parse(&deep, Format::Edn).expect_err("too deep").to_string();
    assert!(error.contains("at most 128"), "{error}");
    let discards = "#_".repeat(100_000);
    assert!(History::parse(&discards, Format::Edn).is_err());
}
