//! The harness itself: what it is there for, it must find.

use super::case;
use super::recipes::templates;
use super::report::{Case, Outcome};
use super::template::Template;

fn named(name: &str) -> Template {
    templates().unwrap().into_iter().find(|template| template.name == name).unwrap()
}

/// Opens a directory that nobody has changed.
fn unchanged(template: &Template) -> Case {
    case::judge_folder(0, template, template.folder.clone(), Vec::new())
}

#[test]
fn every_directory_is_sound_as_long_as_nobody_changes_it() {
    for template in templates().unwrap() {
        let case = unchanged(&template);
        assert!(!case.is_failed(), "{case:#?}");
        assert!(matches!(case.outcome, Outcome::Unharmed | Outcome::Healed), "{case:#?}");
        assert_eq!(case.error, None);
    }
}

#[test]
fn a_record_that_was_not_written_is_found() {
    let mut template = named("sealed");
    let truth = template.truth.partitions.values_mut().next().unwrap();
    truth.records[7].value = Some(b"something else".to_vec());
    let case = unchanged(&template);
    assert!(case.failures.iter().any(|why| why.contains("was not written")), "{case:#?}");
}

#[test]
fn a_record_that_is_gone_is_found() {
    let mut template = named("plain");
    let truth = template.truth.partitions.values_mut().next().unwrap();
    let last = truth.records.last().unwrap().clone();
    truth.readable.insert(truth.next_offset());
    truth.records.push(last);
    let case = unchanged(&template);
    assert_eq!(case.outcome, Outcome::Silent, "{case:#?}");
    assert!(case.is_failed() && case.silent[0].contains("gone"), "{case:#?}");
}

#[test]
fn a_committed_offset_that_differs_is_found() {
    let mut template = named("many");
    *template.truth.commits.values_mut().next().unwrap() += 1;
    let case = unchanged(&template);
    assert!(case.is_failed() && case.silent[0].contains("had committed"), "{case:#?}");
}

#[test]
fn a_root_that_differs_is_found() {
    let mut template = named("lz4");
    let truth = template.truth.partitions.values_mut().next().unwrap();
    truth.roots.swap(5, 6);
    let case = unchanged(&template);
    assert!(case.failures.iter().any(|why| why.contains("the root at 5")), "{case:#?}");
}

#[test]
fn a_log_that_goes_round_in_circles_is_found() {
    let mut template = named("plain");
    template.operations = 0;
    let case = unchanged(&template);
    assert!(case.failures.iter().any(|why| why.starts_with("hangs")), "{case:#?}");
}

/// How many cases it takes to catch a bug that is planted in the log.
fn cases_to_catch(canary: &'static str) -> Option<u64> {
    let mut templates = templates().unwrap();
    for template in &mut templates {
        template.canary = Some(canary);
    }
    (0..4_000).find(|seed| case::run(*seed, &templates).is_failed())
}

#[test]
fn a_log_that_forgives_lost_blocks_is_caught() {
    for canary in ["cut-at-first-bad-block", "unknown-records-forgiven"] {
        assert!(cases_to_catch(canary).is_some(), "{canary}");
    }
}
