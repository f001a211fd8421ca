//! What can be left out: steps, strikes, parts of what a power cut keeps.

use super::Shrinker;
use crate::scenario::{Action, Blow, Death, During, Keeps, KeptPart, Scenario, Stop};
use std::collections::BTreeSet;
use std::ops::Range;

impl Shrinker<'_> {
    pub(super) fn remove_steps(&mut self) {
        self.remove(
            |scenario| scenario.steps.len(),
            |scenario, range| {
                scenario.steps.drain(range);
            },
        );
    }

    pub(super) fn remove_strikes(&mut self) {
        self.remove(
            |scenario| scenario.strikes.len(),
            |scenario, range| {
                scenario.strikes.drain(range);
            },
        );
    }

    /// Lets each power cut keep less, part by part.
    pub(super) fn keep_less(&mut self) {
        let ids: Vec<u32> = deaths(&mut self.best.clone()).map(|(id, _)| id).collect();
        for id in ids {
            self.remove(
                move |scenario| parts(&mut scenario.clone(), id).map_or(0, |parts| parts.len()),
                move |scenario, range| {
                    if let Some(parts) = parts(scenario, id) {
                        parts.drain(range);
                    }
                },
            );
        }
    }

    /// Tries to do without items of a list, first many at a time, from its end.
    fn remove(
        &mut self,
        len: impl Fn(&Scenario) -> usize,
        drain: impl Fn(&mut Scenario, Range<usize>),
    ) {
        let mut chunk = len(&self.best);
        while chunk > 0 {
            let mut end = len(&self.best);
            while end > 0 && !self.is_over() {
                let start = end.saturating_sub(chunk);
                let mut candidate = self.best.clone();
                drain(&mut candidate, start..end);
                remove_dangling(&mut candidate);
                self.attempt(candidate);
                // A list may become shorter by more than what was asked for.
                end = start.min(len(&self.best));
            }
            chunk /= 2;
        }
    }
}

/// Removes strikes that refer to what is not there any more.
fn remove_dangling(scenario: &mut Scenario) {
    loop {
        let steps = scenario.steps.iter().map(|step| step.id);
        let strikes = scenario.strikes.iter().map(|strike| strike.id);
        let ids: BTreeSet<u32> = steps.chain(strikes).collect();
        let before = scenario.strikes.len();
        scenario.strikes.retain(|strike| match strike.at.during {
            During::Step(id) | During::RecoveryFrom(id) => ids.contains(&id),
            During::Start | During::End => true,
        });
        if scenario.strikes.len() == before {
            return;
        }
    }
}

/// The deaths of a scenario, with the numbers of their strikes or steps.
pub(super) fn deaths(scenario: &mut Scenario) -> impl Iterator<Item = (u32, &mut Death)> {
    let steps = scenario.steps.iter_mut().filter_map(|step| match &mut step.does {
        Action::Restart(restart) => match &mut restart.how {
            Stop::Death(death) => Some((step.id, death)),
            Stop::Close => None,
        },
        _ => None,
    });
    let strikes = scenario.strikes.iter_mut().filter_map(|strike| match &mut strike.what {
        Blow::Crash { death, .. } => Some((strike.id, death)),
        Blow::Fault { .. } => None,
    });
    steps.chain(strikes)
}

/// The death of this number.
pub(super) fn death(scenario: &mut Scenario, id: u32) -> Option<&mut Death> {
    deaths(scenario).find(|(number, _)| *number == id).map(|(_, death)| death)
}

/// What the power cut of this number keeps, if that is a list.
pub(super) fn parts(scenario: &mut Scenario, id: u32) -> Option<&mut Vec<KeptPart>> {
    match death(scenario, id) {
        Some(Death::Power(Keeps::These(parts))) => Some(parts),
        _ => None,
    }
}
