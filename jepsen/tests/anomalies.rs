//! Every anomaly: the smallest history that has it, and one that nearly has.

use merkql_jepsen::history::History;
use merkql_jepsen::notation::Format;
use merkql_jepsen::{Name, check};

fn parse(text: &str) -> History {
    History::parse(text, Format::JsonLines).unwrap_or_else(|error| panic!("{error} in\n{text}"))
}

#[test]
fn every_example_has_exactly_its_anomaly() {
    for name in Name::ALL {
        let verdict = check(&parse(name.example()));
        let mut expected: Vec<Name> = name.comes_with().to_vec();
        expected.push(*name);
        expected.sort_unstable();
        assert_eq!(verdict.names(), expected, "the example of {name}");
        assert_eq!(verdict.of(*name).len(), 1, "the example of {name} has it once");
    }
}

#[test]
fn no_near_miss_has_any_anomaly() {
    for name in Name::ALL {
        let verdict = check(&parse(name.near_miss()));
        let found: Vec<&str> =
            verdict.witnesses().map(|witness| witness.sentence.as_str()).collect();
        assert!(verdict.is_valid(), "the near miss of {name}: {found:?}");
    }
}
