//! What the checkers say about a history.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::anomaly::Name;
use crate::history::{Datum, Key};

/// The name under which what an undecidable tail excuses is counted.
pub const UNDECIDABLE_TAIL: &str = "undecidable-tail";

/// One anomaly, with what proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// Which anomaly it is.
    pub name: Name,
    /// What happened, as a sentence.
    pub sentence: String,
    /// The partition, if it concerns one.
    pub key: Option<Key>,
    /// The offsets that it concerns.
    pub offsets: Vec<u64>,
    /// The records that it concerns.
    pub values: Vec<Datum>,
    /// The operations that prove it, by their position in the history.
    pub operations: Vec<usize>,
    /// The numbers of the same operations.
    pub indices: Vec<u64>,
}

/// In JSON a witness is its sentence, its key, offsets and values where it has any, and the numbers of its operations.
impl Serialize for Witness {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("sentence", &self.sentence)?;
        if let Some(key) = &self.key {
            map.serialize_entry("key", &AsJson(key.datum()))?;
        }
        if !self.offsets.is_empty() {
            map.serialize_entry("offsets", &self.offsets)?;
        }
        if !self.values.is_empty() {
            map.serialize_entry("values", &self.values.iter().map(AsJson).collect::<Vec<_>>())?;
        }
        map.serialize_entry("operations", &self.indices)?;
        map.end()
    }
}

/// A datum in JSON: numbers, strings and lists as they are, all else as its EDN text.
struct AsJson<'d>(&'d Datum);

impl Serialize for AsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Datum::Nil => serializer.serialize_unit(),
            Datum::Bool(value) => serializer.serialize_bool(*value),
            Datum::Int(number) => serializer.serialize_i64(*number),
            Datum::Str(text) => serializer.serialize_str(text),
            Datum::Seq(items) => serializer.collect_seq(items.iter().map(AsJson)),
            other => serializer.collect_str(other),
        }
    }
}

/// What was found in a history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How many operations the history has.
    pub operations: usize,
    /// How many of them a checker can find anything wrong with: without any, a verdict without anomalies says nothing. Calls that
    /// were never answered and what the nemesis does don't count, nor do functions that no checker knows.
    pub judged: usize,
    /// The anomalies, by name.
    pub anomalies: BTreeMap<Name, Vec<Witness>>,
    /// How often something looked like an anomaly and was excused, by the anomaly's name or [`UNDECIDABLE_TAIL`].
    pub excused: BTreeMap<&'static str, u64>,
}

impl Verdict {
    /// Whether nothing was found because there was nothing to look at. The command calls such a history neither valid nor invalid.
    pub fn judged_nothing(&self) -> bool {
        self.judged == 0 && self.anomalies.is_empty()
    }

    /// Whether the history has no anomaly. It may be that nothing in it could have one: see [`Self::judged_nothing`].
    pub fn is_valid(&self) -> bool {
        self.anomalies.is_empty()
    }

    /// The anomalies of one name.
    pub fn of(&self, name: Name) -> &[Witness] {
        self.anomalies.get(&name).map_or(&[], Vec::as_slice)
    }

    /// The names of the anomalies that the history has.
    pub fn names(&self) -> Vec<Name> {
        self.anomalies.keys().copied().collect()
    }

    /// All witnesses, name by name.
    pub fn witnesses(&self) -> impl Iterator<Item = &Witness> {
        self.anomalies.values().flatten()
    }
}

/// `{"valid", "operations", "judged", "anomalies": {NAME: [witness, …]}, "excused": {NAME: n}}`
impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let anomalies: BTreeMap<&str, &[Witness]> = self
            .anomalies
            .iter()
            .map(|(name, witnesses)| (name.as_str(), witnesses.as_slice()))
            .collect();
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("valid", &self.is_valid())?;
        map.serialize_entry("operations", &self.operations)?;
        map.serialize_entry("judged", &self.judged)?;
        map.serialize_entry("anomalies", &anomalies)?;
        map.serialize_entry("excused", &self.excused)?;
        map.end()
    }
}
