//! Reads `FAILURE-MODES.md`: strictly, so that no row is passed over.
//!
//! ```text
//! ## section
//! | id | fault | in scenarios |            the catalogue: what each id means
//! | id | what happens | outcome | … |      one row a fault, with its evidence
//! ```

use merkql_sim::scenario;
use std::str::FromStr;

const CATALOGUE: &str = "| id | fault | in scenarios |";
const FAULTS: &str = "| id | what happens | outcome | error | may be lost | recovery | evidence |";
const NONE: &str = "–";

/// The page.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) catalogue: Vec<Meaning>,
    pub(crate) rows: Vec<Row>,
    /// The titles of all sections, those without rows too.
    pub(crate) sections: Vec<String>,
}

/// A row of the catalogue.
#[derive(Debug)]
pub(crate) struct Meaning {
    pub(crate) line: usize,
    pub(crate) id: String,
    /// The simulator's names for it.
    pub(crate) kinds: Vec<String>,
}

/// A fault and what becomes of it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) line: usize,
    pub(crate) section: String,
    pub(crate) ids: Vec<String>,
    pub(crate) outcome: Outcome,
    /// Variants of `merkql::Error`.
    pub(crate) errors: Vec<String>,
    pub(crate) lost: String,
    pub(crate) recovery: String,
    pub(crate) scenarios: Vec<String>,
    pub(crate) tests: Vec<Test>,
}

/// A test that a row names.
#[derive(Debug)]
pub(crate) struct Test {
    pub(crate) file: String,
    pub(crate) function: String,
}

/// The outcomes of scenarios, and those that only tests or nothing can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Scenario(scenario::Outcome),
    Error,
    Unaffected,
    Unprotected,
}

impl FromStr for Outcome {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        use scenario::Outcome::{Anomaly, Detected, Recovered, Refused, Undecidable};
        let of_scenarios = [Recovered, Detected, Refused, Undecidable, Anomaly];
        let found = of_scenarios.into_iter().find(|outcome| outcome.to_string() == word);
        match (found, word) {
            (Some(outcome), _) => Ok(Self::Scenario(outcome)),
            (None, "error") => Ok(Self::Error),
            (None, "unaffected") => Ok(Self::Unaffected),
            (None, "unprotected") => Ok(Self::Unprotected),
            _ => Err(format!("{word:?} is no outcome")),
        }
    }
}

/// Which table the lines belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Text,
    Rule(&'static str),
    Rows(&'static str),
}

/// Reads the page. What cannot be read is told with its line.
pub(crate) fn read(text: &str) -> Result<Page, String> {
    let mut page = Page { catalogue: Vec::new(), rows: Vec::new(), sections: Vec::new() };
    let mut within = Within::Text;
    for (number, line) in (1..).zip(text.lines()) {
        within = take(&mut page, within, number, line)
            .map_err(|what| format!("line {number}: {what}"))?;
    }
    Ok(page)
}

fn take(page: &mut Page, within: Within, number: usize, line: &str) -> Result<Within, String> {
    if let Some(title) = line.strip_prefix("## ") {
        page.sections.push(title.to_owned());
    }
    let is_row = line.starts_with('|');
    match within {
        _ if !is_row && line.contains('|') => Err("a row begins with |".to_owned()),
        _ if !is_row => Ok(Within::Text),
        Within::Text => {
            let header = [CATALOGUE, FAULTS].into_iter().find(|header| *header == line);
            header.map(Within::Rule).ok_or_else(|| "a table with another header".to_owned())
        }
        Within::Rule(header) => {
            let rule = format!("|{}", " --- |".repeat(header.matches(" | ").count() + 1));
            let is_rule = line == rule;
            is_rule.then_some(Within::Rows(header)).ok_or_else(|| format!("not {rule}"))
        }
        Within::Rows(header) => {
            let section = page.sections.last().cloned().ok_or("a row before all sections")?;
            if header == CATALOGUE {
                page.catalogue.push(meaning(number, cells(line)?)?);
            } else {
                page.rows.push(row(number, section, cells(line)?)?);
            }
            Ok(within)
        }
    }
}

/// The cells of a row, none of which is empty.
fn cells<const N: usize>(line: &str) -> Result<[&str; N], String> {
    let inner = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |"));
    let inner = inner.ok_or("a row begins with | and a space, and ends with a space and |")?;
    let cells: Vec<&str> = inner.split('|').map(str::trim).collect();
    if let Some(empty) = cells.iter().position(|cell| cell.is_empty()) {
        return Err(format!("cell {} is empty", empty + 1));
    }
    let count = cells.len();
    cells.try_into().map_err(|_| format!("{count} cells, not {N}"))
}

fn meaning(line: usize, [id, fault, kinds]: [&str; 3]) -> Result<Meaning, String> {
    if !fault.ends_with('.') {
        return Err(format!("{fault:?} is no sentence"));
    }
    let kinds = kinds.split(", ").map(quoted).collect::<Result<_, _>>()?;
    Ok(Meaning { line, id: read_id(id)?, kinds })
}

fn row(line: usize, section: String, cells: [&str; 7]) -> Result<Row, String> {
    let [ids, _, outcome, errors, lost, recovery, evidence] = cells;
    let mut row = Row {
        line,
        section,
        ids: ids.split(", ").map(read_id).collect::<Result<_, _>>()?,
        outcome: outcome.parse()?,
        errors: list(errors).map(read_error).collect::<Result<_, _>>()?,
        lost: lost.to_owned(),
        recovery: recovery.to_owned(),
        scenarios: Vec::new(),
        tests: Vec::new(),
    };
    for item in list(evidence) {
        if item.starts_with('[') {
            row.scenarios.push(read_scenario(item)?);
        } else {
            row.tests.push(read_test(item)?);
        }
    }
    Ok(row)
}

/// What a cell lists; nothing if it is a dash.
fn list(cell: &str) -> impl Iterator<Item = &str> {
    cell.split(", ").filter(move |_| cell != NONE)
}

fn read_id(text: &str) -> Result<String, String> {
    let mut characters = text.chars();
    let is_id = characters.next().is_some_and(|first| first.is_ascii_uppercase())
        && !characters.as_str().is_empty()
        && characters.all(|digit| digit.is_ascii_digit());
    is_id.then(|| text.to_owned()).ok_or_else(|| format!("{text:?} is no id"))
}

fn quoted(text: &str) -> Result<String, String> {
    let inner = text.strip_prefix('`').and_then(|text| text.strip_suffix('`'));
    let inner = inner.filter(|inner| !inner.is_empty() && !inner.contains('`'));
    inner.map(str::to_owned).ok_or_else(|| format!("{text:?} does not stand in back-ticks"))
}

fn read_error(text: &str) -> Result<String, String> {
    let variant = quoted(text)?;
    let variant = variant.strip_prefix("Error::");
    variant.map(str::to_owned).ok_or_else(|| format!("{text:?} is no error"))
}

/// `[name](scenarios/name.toml)`
fn read_scenario(text: &str) -> Result<String, String> {
    let parts = text.strip_prefix('[').and_then(|text| text.split_once("]("));
    let (name, target) = parts.ok_or_else(|| format!("{text:?} is no link"))?;
    let expected = format!("scenarios/{name}.toml)");
    if target == expected { Ok(name.to_owned()) } else { Err(format!("{text:?} leads elsewhere")) }
}

/// `` `tests/file.rs::function` ``
fn read_test(text: &str) -> Result<Test, String> {
    let inner = quoted(text)?;
    let parts = inner.split_once(".rs::").filter(|(_, function)| !function.contains(':'));
    let (file, function) = parts.ok_or_else(|| format!("{text:?} is no test"))?;
    Ok(Test { file: format!("{file}.rs"), function: function.to_owned() })
}
