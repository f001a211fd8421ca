//! What the log tells about itself, and the bugs that are planted in it.

use merkql::env::Probe;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// Counts the marks that the log reaches, and turns its canaries on by name.
#[derive(Debug, Default)]
pub struct SimProbe {
    marks: Mutex<BTreeMap<&'static str, u64>>,
    asked: Mutex<BTreeSet<&'static str>>,
    canaries: BTreeSet<String>,
}

impl SimProbe {
    /// A probe that plants nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A probe that plants the bugs of these names.
    pub fn with_canaries<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let canaries = names.into_iter().map(str::to_owned).collect();
        Self { canaries, ..Self::default() }
    }

    /// How often each mark was reached.
    pub fn marks(&self) -> BTreeMap<&'static str, u64> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The canaries that the log has a place for and came by. One that is planted
    /// and not among them tested nothing.
    pub fn canaries_asked(&self) -> BTreeSet<&'static str> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Probe for SimProbe {
    fn mark(&self, name: &'static str) {
        *self.marks.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
    }

    fn canary(&self, name: &'static str) -> bool {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
        self.canaries.contains(name)
    }
}
