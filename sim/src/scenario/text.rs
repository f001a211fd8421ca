//! Scenarios as text: TOML in which every step and every strike stands on a line
//! of its own, and an error says where it is.

use super::{During, Scenario, Settings};
use crate::canary;
use crate::fault::FaultKind;
use crate::world::refused_option;
use merkql_jepsen::Name;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use toml::de::{DeTable, DeValue};

/// How long a line may be before a list in it is written over several.
const LINE_MAX: usize = 90;

/// Why a text is no scenario, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioError {
    place: Option<(usize, usize)>,
    message: String,
}

impl ScenarioError {
    fn new(text: &str, at: Option<usize>, message: impl Into<String>) -> Self {
        Self { place: at.map(|at| place_of(text, at)), message: message.into() }
    }

    /// The line and the column, both counted from 1, where it is known.
    pub fn place(&self) -> Option<(usize, usize)> {
        self.place
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.place {
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ScenarioError {}

fn place_of(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    (line, before.get(line_start..).unwrap_or_default().chars().count() + 1)
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// Fails where the text is no TOML, has a field or a word that scenarios
    /// don't have, uses a number twice, refers to one that is not there, has no
    /// step, or settings that the log refuses; the error says in which line and
    /// column.
    pub fn from_toml(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text).map_err(|error| {
            ScenarioError::new(text, error.span().map(|span| span.start), error.message())
        })?;
        match scenario.fault() {
            Some((path, message)) => Err(ScenarioError::new(text, find(text, &path), message)),
            None => Ok(scenario),
        }
    }

    /// Writes the scenario, as [`Scenario::from_toml`] reads it.
    pub fn to_toml(&self) -> Result<String, ScenarioError> {
        write(self).map_err(|error| ScenarioError::new("", None, error.to_string()))
    }

    /// What contradicts itself in it, and where that stands.
    fn fault(&self) -> Option<(Path, String)> {
        let known = |code: &String| FaultKind::ALL.iter().any(|kind| kind.code() == code);
        if let Some(at) = self.covers.iter().position(|code| !known(code)) {
            return Some((
                vec![Part::Key("covers"), Part::Nth(at)],
                "no such row of the catalogue of faults".into(),
            ));
        }
        let is_name = |name: &String| Name::from_str(name).is_ok();
        if let Some(at) = self.expect.anomalies.iter().position(|name| !is_name(name)) {
            let path = vec![Part::Key("expect"), Part::Key("anomalies"), Part::Nth(at)];
            return Some((path, "no anomaly has that name".into()));
        }
        if let Some(name) = self.canary.as_ref().filter(|name| canary::find(name).is_none()) {
            return Some((vec![Part::Key("canary")], format!("no canary is named {name:?}")));
        }
        if let Some((option, reason)) = refused_option(&self.settings) {
            let path = vec![Part::Key("settings"), Part::Key(option)];
            return Some((path, format!("{option}: {reason}")));
        }
        if self.steps.is_empty() {
            return Some((Vec::new(), "a scenario without steps tests nothing".into()));
        }
        self.misnumbered()
    }

    /// A number that is used twice, or that is not there.
    fn misnumbered(&self) -> Option<(Path, String)> {
        let mut ids = BTreeSet::new();
        let steps = self.steps.iter().enumerate().map(|(at, step)| ("steps", at, step.id));
        let strikes = self.strikes.iter().enumerate();
        let strikes = strikes.map(|(at, strike)| ("strikes", at, strike.id));
        for (list, at, id) in steps.chain(strikes) {
            if !ids.insert(id) {
                let path = vec![Part::Key(list), Part::Nth(at), Part::Key("id")];
                return Some((path, format!("the number {id} is used twice")));
            }
        }
        self.strikes.iter().enumerate().find_map(|(at, strike)| {
            let (During::Step(id) | During::RecoveryFrom(id)) = strike.at.during else {
                return None;
            };
            let path = ["at", "during"].map(Part::Key);
            let path = [&[Part::Key("strikes"), Part::Nth(at)], path.as_slice()].concat();
            let number = strike.id;
            let message = format!("strike {number} refers to {id}, which is not there");
            (!ids.contains(&id)).then_some((path, message))
        })
    }
}

/// A way down into a document.
type Path = Vec<Part>;

#[derive(Debug, Clone, Copy)]
enum Part {
    Key(&'static str),
    Nth(usize),
}

/// Where in a text the value of a path begins.
fn find(text: &str, path: &[Part]) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let (first, rest) = path.split_first()?;
    let Part::Key(first) = first else { return None };
    let mut value = document.get_ref().get(*first)?;
    for part in rest {
        value = match (part, value.get_ref()) {
            (Part::Key(key), DeValue::Table(table)) => table.get(*key)?,
            (Part::Nth(at), DeValue::Array(array)) => array.get(*at)?,
            _ => return None,
        };
    }
    Some(value.span().start)
}

fn write(scenario: &Scenario) -> serde_json::Result<String> {
    let mut text = String::new();
    let mut head = Map::new();
    if !scenario.about.is_empty() {
        head.insert("about".into(), Value::from(scenario.about.as_str()));
    }
    if !scenario.covers.is_empty() {
        head.insert("covers".into(), Value::from(scenario.covers.as_slice()));
    }
    if let Some(canary) = &scenario.canary {
        head.insert("canary".into(), Value::from(canary.as_str()));
    }
    pairs(&mut text, &head, &["about"]);
    let defaults = object(&Settings::default())?;
    let mut settings = object(&scenario.settings)?;
    settings.retain(|key, value| defaults.get(key) != Some(value));
    if !settings.is_empty() {
        text.push_str("\n[settings]\n");
        pairs(&mut text, &settings, &[]);
    }
    text.push_str("\n[expect]\n");
    pairs(&mut text, &object(&scenario.expect)?, &["outcome"]);
    for step in &scenario.steps {
        text.push_str("\n[[steps]]\n");
        pairs(&mut text, &object(step)?, &["id", "by"]);
    }
    for strike in &scenario.strikes {
        text.push_str("\n[[strikes]]\n");
        pairs(&mut text, &object(strike)?, &["id", "at"]);
    }
    Ok(text.trim_start().to_owned())
}

fn object(of: &impl Serialize) -> serde_json::Result<Map<String, Value>> {
    match serde_json::to_value(of)? {
        Value::Object(map) => Ok(map),
        _ => Ok(Map::new()),
    }
}

/// Writes a table's entries, those of these keys first.
fn pairs(text: &mut String, of: &Map<String, Value>, first: &[&str]) {
    let leading = first.iter().filter_map(|key| of.get_key_value(*key));
    let others = of.iter().filter(|(key, _)| !first.contains(&key.as_str()));
    for (key, value) in leading.chain(others) {
        text.push_str(key);
        text.push_str(" = ");
        inline(text, value);
        text.push('\n');
    }
}

/// Writes a value in a line. TOML's own types end at 63 bits, its text does not.
fn inline(text: &mut String, value: &Value) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => text.push_str(&value.to_string()),
        // JSON's escapes are TOML's, except that TOML has one more.
        Value::String(_) => text.push_str(&value.to_string().replace('\u{7F}', "\\u007F")),
        Value::Array(items) => list(text, items),
        Value::Object(map) => {
            let entries = map.iter().filter(|(_, value)| !value.is_null());
            text.push_str("{ ");
            for (at, (key, value)) in entries.enumerate() {
                text.push_str(if at > 0 { ", " } else { "" });
                // Keys are fields and variants, which need no quotes.
                text.push_str(key);
                text.push_str(" = ");
                inline(text, value);
            }
            text.push_str(" }");
        }
    }
}

fn list(text: &mut String, items: &[Value]) {
    let mut parts = Vec::new();
    for item in items {
        let mut part = String::new();
        inline(&mut part, item);
        parts.push(part);
    }
    if parts.iter().map(|part| part.len() + 2).sum::<usize>() > LINE_MAX {
        text.push_str("[\n");
        for part in parts {
            text.push_str("    ");
            text.push_str(&part);
            text.push_str(",\n");
        }
        text.push(']');
    } else {
        text.push('[');
        text.push_str(&parts.join(", "));
        text.push(']');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Options, scenario};

    #[test]
    fn what_is_written_is_read_as_it_was() {
        for seed in 0..40 {
            let scenario = scenario(seed, &Options::default());
            let text = scenario.to_toml().unwrap();
            assert_eq!(Scenario::from_toml(&text), Ok(scenario), "{text}");
        }
        let planted =
            Scenario { canary: Some("replay-twice".into()), ..scenario(0, &Options::default()) };
        assert_eq!(Scenario::from_toml(&planted.to_toml().unwrap()), Ok(planted));
        let empty = Scenario::default().to_toml().unwrap();
        assert!(Scenario::from_toml(&empty).unwrap_err().message().contains("without steps"));
    }

    #[test]
    fn an_error_says_where_it_is() {
        let step = "[[steps]]\nid = 1\nby = \"a\"\ndoes = \"poll\"\n";
        let strike = "[[strikes]]\nid = 2\nat = { during = { step = 3 } }\n\
                      what = { crash = { phase = \"after\", death = \"kill\" } }\n";
        let expect = "[expect]\noutcome = \"recovered\"\n";
        for (text, place, what) in [
            ("about = 1".to_owned(), (1, 9), "invalid type"),
            (format!("{expect}anomalies = [\"panik\"]\n"), (3, 14), "no anomaly"),
            (format!("covers = [\"R1\", \"R16\"]\n{expect}"), (1, 17), "no such row"),
            (format!("{step}{step}"), (6, 6), "used twice"),
            (format!("{step}{strike}"), (7, 17), "refers to 3"),
            (format!("canary = \"x\"\n{step}"), (1, 10), "no canary"),
            (format!("[settings]\nsegment_bytes = 1\n{step}"), (2, 17), "segment_bytes: 512"),
            (step.replace("poll", "pool"), (4, 8), "unknown variant"),
        ] {
            let error = Scenario::from_toml(&text).unwrap_err();
            assert_eq!(error.place(), Some(place), "{error}");
            assert!(error.message().contains(what), "{error}");
        }
    }
}
