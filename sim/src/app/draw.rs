//! Crashes by chance.

use super::execute::{Fate, Planned};
use super::life::Event;
use super::plan::{ActPhase, Loss, Moment};
use crate::disk::CrashPhase;
use crate::fault::OpKind;
use crate::profile::Profile;
use crate::random::Stream;
use rand::RngExt;

/// A crash in a life that would, left in peace, have these events; `recovers`
/// says that the life before it ended with one. There is none in a life without
/// any event.
pub(super) fn crash(
    events: &[Event],
    recovers: bool,
    profile: Profile,
    random: &mut Stream,
) -> Option<Planned> {
    let is_act = |event: &&Event| matches!(event, Event::Act(_));
    let opening = events.iter().position(|event| is_act(&event)).unwrap_or(events.len());
    // Recovery is short beside the rest, and the worst place to die in.
    let opening = events.get(..opening).filter(|opening| !opening.is_empty());
    let events = opening.filter(|_| recovers && random.random_bool(0.4)).unwrap_or(events);
    // There are dozens of changes of the disk to an act; each kind gets half.
    let (acts, changes): (Vec<&Event>, Vec<&Event>) = events.iter().partition(is_act);
    let among = match (acts.is_empty(), changes.is_empty()) {
        (true, true) => return None,
        (false, true) => acts,
        (false, false) if random.random_bool(0.5) => acts,
        _ => changes,
    };
    let at = moment(among.get(random.random_range(0..among.len()))?, random);
    let fate = match random.random_range(0..6) {
        0 | 1 => Fate::Is(Loss::Kill),
        2 => Fate::Is(Loss::PowerKeepsNothing),
        _ => Fate::DrawnFrom(profile, random.random()),
    };
    Some(Planned { at, fate })
}

fn moment(event: &Event, random: &mut Stream) -> Moment {
    match event {
        Event::Act(act) => {
            let phase = if random.random() { ActPhase::Before } else { ActPhase::After };
            Moment::Act { name: act.name.clone(), nth: act.nth, phase }
        }
        Event::Change { nth, io } => {
            let takes_bytes = matches!(io.on, OpKind::WriteAt | OpKind::Allocate);
            let phase = match random.random_range(0..3) {
                0 => CrashPhase::Before,
                1 if takes_bytes && io.len > 0 => {
                    CrashPhase::Partly(random.random_range(1..=io.len))
                }
                _ => CrashPhase::After,
            };
            Moment::Disk { change: *nth, phase }
        }
    }
}
