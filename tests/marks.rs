//! The catalogue of marks is that of the code.

#![allow(clippy::disallowed_methods, reason = "the test reads the log's own sources")]

use merkql::env::MARKS;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The names that stand in calls of `mark` below a folder.
fn marks_below(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            marks_below(&path, found);
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        for call in source.split(".mark(").skip(1) {
            let name = call.trim_start().strip_prefix('"').and_then(|call| call.split('"').next());
            let name = name.unwrap_or_else(|| panic!("{}: a mark without a name", path.display()));
            found.insert(name.to_owned());
        }
    }
}

#[test]
fn the_catalogue_of_marks_is_that_of_the_code() {
    let mut found = BTreeSet::new();
    marks_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.iter().map(String::as_str).eq(MARKS.iter().copied()), "in the code: {found:#?}");
}
