//! A run's scenario without anything that was drawn or counted over from
//! elsewhere.

use crate::disk::{InodeId, Kept, OpId, Survivors, Unsynced};
use crate::scenario::{Action, Address, Blow, Death, During, Keeps, Scenario, Stop, Strike};
use crate::world::{Addresses, Run};
use std::collections::BTreeSet;

/// Makes everything explicit that a run has decided: each strike stands where it
/// struck, each power cut keeps a list, and what never struck, or was never done
/// because the log had refused to open, is not there.
///
/// The run must have kept its events ([`crate::world::Manner::keeps_events`]).
/// Carried out again, the result does the same operations on files.
#[must_use]
pub fn resolve(scenario: &Scenario, run: &Run) -> Scenario {
    let addresses = Addresses::new(&run.events, &run.stretches);
    let mut resolved = scenario.clone();
    let keep = |id: u32, death: &mut Death| {
        let crash = run.crashes.iter().find(|crash| crash.id == id);
        if let (Death::Power(keeps), Some(crash)) = (death, crash) {
            *keeps = self::keeps(
                &addresses,
                &crash.unsynced,
                crash.survivors.clone().unwrap_or_default(),
            );
        }
    };
    // Steps behind the end of a run were never entered.
    let entered = |id: u32| run.stretches.iter().any(|(during, _)| *during == During::Step(id));
    resolved.steps.retain(|step| entered(step.id));
    for step in &mut resolved.steps {
        if let Action::Restart(restart) = &mut step.does
            && let Stop::Death(death) = &mut restart.how
        {
            keep(step.id, death);
        }
    }
    // Of two that fit the same operation, the one that was armed first goes first.
    let armed =
        |strike: &Strike| run.stretches.iter().position(|(during, _)| *during == strike.at.during);
    resolved.strikes.retain(|strike| run.struck.contains(&strike.id));
    resolved.strikes.sort_by_key(armed);
    for strike in &mut resolved.strikes {
        if let Some(at) = place(&addresses, run, strike) {
            strike.at = at;
        }
        if let Blow::Crash { death, .. } = &mut strike.what {
            keep(strike.id, death);
        }
    }
    resolved
}

/// Where a strike has struck.
fn place(addresses: &Addresses<'_>, run: &Run, strike: &Strike) -> Option<Address> {
    match &strike.what {
        Blow::Crash { .. } => addresses.of(addresses.death(strike.id)?),
        Blow::Fault { times, .. } => {
            let event = addresses.struck_by(*run.armed.get(&strike.id)?)?;
            // One that happens again may do so on other files.
            if *times > 1 {
                addresses.of_file(event, strike.at.file.clone())
            } else {
                addresses.of(event)
            }
        }
    }
}

/// What a power cut keeps, by meaning.
pub(crate) fn keeps(addresses: &Addresses<'_>, unsynced: &Unsynced, of: Survivors) -> Keeps {
    let known: BTreeSet<OpId> = unsynced.changes.iter().map(|change| change.op).collect();
    let files: BTreeSet<InodeId> = unsynced.changes.iter().map(|change| change.inode).collect();
    // What a list names and the disk did not know had no effect.
    let mut survivors = of;
    survivors.kept.retain(|kept| match kept {
        Kept::Write { op, .. } | Kept::Length { op } | Kept::Name { op } => known.contains(op),
        Kept::Fill { file, .. } => files.contains(file),
    });
    if survivors.kept.is_empty() {
        Keeps::Nothing
    } else if survivors == Survivors::all(unsynced) {
        Keeps::All
    } else {
        Keeps::These(addresses.parts(&survivors, unsynced))
    }
}
