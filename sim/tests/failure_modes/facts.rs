//! What the page is judged by: the scenarios, the tests' sources, the errors.

use merkql_sim::scenario::Scenario;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What is there.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// The scenarios, by name.
    pub(crate) scenarios: BTreeMap<String, Scenario>,
    /// The sources of tests, by path.
    pub(crate) sources: BTreeMap<String, String>,
    /// The variants of `merkql::Error`.
    pub(crate) errors: BTreeSet<String>,
}

impl Facts {
    pub(crate) fn read() -> Self {
        let mut sources = BTreeMap::new();
        for folder in ["tests", "sim/tests"] {
            read_sources(&root(), folder, &mut sources);
        }
        let scenarios = fs::read_dir(root().join("scenarios")).unwrap();
        let scenarios = scenarios.map(|entry| read_scenario(&entry.unwrap().path())).collect();
        let errors = variants(&text("src/error.rs"));
        Self { scenarios, sources, errors }
    }
}

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file of the repository.
pub(crate) fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn read_scenario(path: &Path) -> (String, Scenario) {
    let text = fs::read_to_string(path).unwrap();
    let scenario = Scenario::from_toml(&text);
    let scenario = scenario.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (path.file_stem().unwrap().to_str().unwrap().to_owned(), scenario)
}

fn read_sources(root: &Path, folder: &str, into: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            read_sources(root, &path, into);
        } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
            into.insert(path, fs::read_to_string(entry.path()).unwrap());
        }
    }
}

/// The variants of `Error`, as they stand in formatted code: one level in.
fn variants(source: &str) -> BTreeSet<String> {
    let body = source.split_once("pub enum Error {\n").unwrap().1.split_once("\n}\n").unwrap().0;
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let names = lines.filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()));
    let names = names.map(|line| line.split([' ', '(', ',']).next().unwrap().to_owned());
    names.collect()
}

/// How scenarios write an error's name: `disk-full`.
pub(crate) fn kebab(variant: &str) -> String {
    let mut name = String::new();
    for character in variant.chars() {
        if character.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(character.to_ascii_lowercase());
    }
    name
}

/// What keeps `function` from being a test in `source` that every run carries out.
pub(crate) fn no_test(source: &str, function: &str) -> Option<&'static str> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let head = format!("fn {function}(");
    let Some(at) = lines.iter().position(|line| line.starts_with(&head)) else {
        return Some("has no such function");
    };
    let above = lines[..at]
        .iter()
        .rev()
        .take_while(|line| line.starts_with("#[") || line.starts_with("///"));
    let attributes: Vec<_> = above.filter(|line| line.starts_with("#[")).collect();
    if attributes.iter().any(|line| line.starts_with("#[ignore")) {
        return Some("has it, and ignores it");
    }
    let is_test = attributes.contains(&&"#[test]");
    (!is_test).then_some("has a function of that name that is no test")
}
