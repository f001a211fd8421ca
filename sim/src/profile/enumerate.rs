//! All legal survivors of a crash, one after the other.

use super::Space;
use crate::disk::Survivors;
use std::collections::BTreeSet;

/// Legal sets of survivors, and how many there would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enumeration {
    /// The sets, each once.
    pub survivors: Vec<Survivors>,
    /// How many combinations of choices there are.
    pub total: u128,
    /// How many of them the bound has cut off.
    pub cut: u128,
}

pub(crate) fn run(space: &impl Space, bound: usize) -> Enumeration {
    let ways = space.ways();
    let total = ways.iter().fold(1u128, |total, ways| total.saturating_mul(*ways as u128));
    let mut seen: BTreeSet<Vec<usize>> = BTreeSet::new();
    let mut survivors = Vec::new();
    let mut add = |choices: &[usize]| {
        if survivors.len() < bound && seen.insert(choices.to_vec()) {
            survivors.push(space.survivors(choices));
        }
        survivors.len() < bound
    };
    let none = vec![0; ways.len()];
    let all: Vec<usize> = ways.iter().map(|ways| ways.saturating_sub(1)).collect();
    add(&all);
    add(&none);
    // One choice apart from everything or from nothing.
    for (base, other) in [(&all, &none), (&none, &all)] {
        for at in 0..base.len() {
            let mut choices = base.clone();
            if let (Some(to), Some(from)) = (choices.get_mut(at), other.get(at)) {
                *to = *from;
            }
            add(&choices);
        }
    }
    let mut choices = none;
    while add(&choices) && step(&mut choices, &ways) {}
    let cut = total.saturating_sub(survivors.len() as u128);
    Enumeration { survivors, total, cut }
}

/// Counts on by one; `false` after the last.
fn step(choices: &mut [usize], ways: &[usize]) -> bool {
    for (choice, ways) in choices.iter_mut().zip(ways) {
        *choice += 1;
        if *choice < *ways {
            return true;
        }
        *choice = 0;
    }
    false
}
