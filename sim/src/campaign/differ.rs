//! Whether a scenario runs the same way twice, and where it first does not.

use crate::canary::Canary;
use crate::scenario::Scenario;
use crate::world::{Manner, Run, execute};
use merkql_jepsen::notation::{Format, write_operation};
use std::fmt::Display;

/// Runs the scenario again, this time with its operations kept, and names the
/// first operation in which the runs differ.
pub(super) fn first_difference(
    scenario: &Scenario,
    canary: Option<Canary>,
    run: &Run,
) -> Option<String> {
    let manner = Manner { canary, keeps_events: true };
    let again = execute(scenario, &manner);
    if fingerprint(run) == fingerprint(&again) {
        return None;
    }
    let by_client = first_of(&lines(run), &lines(&again));
    // The first run has not kept its operations on files, so a third one is needed.
    let third = execute(scenario, &manner);
    let by_file = first_of(&again.events, &third.events);
    Some(match (by_client, by_file) {
        (None, None) => "two runs differ, but in no operation: in their counts alone".to_owned(),
        (client, file) => {
            let client = client.map(|text| format!("in the clients' operation {text}"));
            let file = file.map(|text| format!("in the operation on files {text}"));
            let both: Vec<String> = file.into_iter().chain(client).collect();
            format!("two runs differ first {}", both.join(", and "))
        }
    })
}

/// All that must be the same.
fn fingerprint(run: &Run) -> impl PartialEq {
    let counts = (run.client_ops, run.io_ops, run.crashes.len(), run.recoveries);
    (run.trace_hash, counts, run.faults.clone(), run.marks.clone(), run.errors.clone())
}

fn lines(run: &Run) -> Vec<String> {
    let line = |operation| {
        let mut line = String::new();
        write_operation(&mut line, operation, Format::JsonLines);
        line
    };
    run.history.operations().iter().map(line).collect()
}

fn first_of<T: PartialEq + Display>(one: &[T], two: &[T]) -> Option<String> {
    let at = (0..one.len().max(two.len())).find(|at| one.get(*at) != two.get(*at))?;
    let text = |side: &[T]| side.get(at).map_or("nothing".to_owned(), T::to_string);
    Some(format!("{at}: {} against {}", text(one), text(two)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Options, scenario};

    #[test]
    fn a_run_is_the_same_again() {
        let scenario = scenario(1, &Options { ops: 20, ..Options::default() });
        let run = execute(&scenario, &Manner::default());
        assert_eq!(first_difference(&scenario, None, &run), None);
    }

    #[test]
    fn the_first_operation_that_differs_is_named() {
        let options = Options { ops: 20, ..Options::default() };
        let mut run = execute(&scenario(1, &options), &Manner::default());
        run.trace_hash += 1;
        let same = first_difference(&scenario(1, &options), None, &run);
        assert!(same.is_some_and(|text| text.contains("in no operation")));
        let other = first_difference(&scenario(2, &options), None, &run).unwrap();
        assert!(other.contains("in the clients' operation "), "{other}");
        assert_eq!(first_of(&[1, 2], &[1]).as_deref(), Some("1: 2 against nothing"));
    }
}
