//! What happens in a life, in order: changes of the disk, and acts.

use super::machine::DATA_DIR;
use super::plan::{ActPhase, Moment};
use crate::disk::{CrashPhase, Digest, IoEvent};
use std::fmt;

/// An act of the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Act {
    pub(super) name: String,
    /// Which one of this name in its life, from 0.
    pub(super) nth: u64,
    /// How many changes of the disk there were before it in its life.
    pub(super) change: u64,
}

/// Something at which a life can end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    Act(Act),
    Change {
        /// Which one in its life, from 0.
        nth: u64,
        io: IoEvent,
    },
}

/// The events of a life: `acts` among those operations of `trace` that can have
/// changed something, the first of which would be the disk's change `first_change`.
pub(super) fn merge(acts: Vec<Act>, trace: Vec<IoEvent>, first_change: u64) -> Vec<Event> {
    let mut acts = acts.into_iter().peekable();
    let mut events = Vec::new();
    for io in trace {
        let Some(nth) = io.change.map(|change| change.saturating_sub(first_change)) else {
            continue;
        };
        while let Some(act) = acts.next_if(|act| act.change <= nth) {
            events.push(Event::Act(act));
        }
        events.push(Event::Change { nth, io });
    }
    events.extend(acts.map(Event::Act));
    events
}

impl Event {
    /// Whether the moment is at this event.
    pub(super) fn is_at(&self, moment: &Moment) -> bool {
        match (self, moment) {
            (Self::Act(act), Moment::Act { name, nth, .. }) => act.name == *name && act.nth == *nth,
            (Self::Change { nth, .. }, Moment::Disk { change, .. }) => nth == change,
            _ => false,
        }
    }

    /// The simplest moments at this event: each is a state of the world that no
    /// other has.
    pub(super) fn moments(&self) -> Vec<Moment> {
        match self {
            Self::Act(act) => [ActPhase::Before, ActPhase::After]
                .map(|phase| Moment::Act { name: act.name.clone(), nth: act.nth, phase })
                .to_vec(),
            // Right after a change is right before the next.
            Self::Change { nth, .. } => {
                vec![Moment::Disk { change: *nth, phase: CrashPhase::Before }]
            }
        }
    }

    /// Adds what happened to a digest; the operations themselves are in the disk's.
    pub(super) fn digest(&self, digest: &mut Digest) {
        if let Self::Act(act) = self {
            digest.bytes(act.name.as_bytes());
            digest.number(act.change);
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Act(Act { name, nth: 0, .. }) => write!(f, "act {name:?}"),
            Self::Act(Act { name, nth, .. }) => write!(f, "act {name:?} number {}", nth + 1),
            Self::Change { nth, io } => {
                let path = io.path.strip_prefix(DATA_DIR).unwrap_or(&io.path);
                let path = path.trim_start_matches('/');
                write!(f, "change {} of the disk ({:?} {path:?}", nth + 1, io.on)?;
                if io.len > 0 {
                    write!(f, ", {} bytes at {}", io.len, io.position)?;
                }
                f.write_str(")")
            }
        }
    }
}

/// Where a life that ended with a crash is not the beginning of the same life
/// left in peace, if that is so. The last event is the crash itself, of which
/// something else has come.
pub(super) fn departure<'a>(crashed: &'a [Event], peaceful: &[Event]) -> Option<&'a Event> {
    let (last, others) = crashed.split_last()?;
    let mut at = others.iter().zip(peaceful);
    let departs = at.find(|(crashed, peaceful)| crashed != peaceful).map(|(event, _)| event);
    departs.or((crashed.len() > peaceful.len()).then_some(last))
}

/// A moment at an event, as a story tells it.
pub(super) fn when(event: &Event, moment: &Moment) -> String {
    match moment {
        Moment::Act { phase: ActPhase::Before, .. }
        | Moment::Disk { phase: CrashPhase::Before, .. } => format!("before {event}"),
        Moment::Act { phase: ActPhase::After, .. }
        | Moment::Disk { phase: CrashPhase::After, .. } => format!("after {event}"),
        Moment::Disk { phase: CrashPhase::Partly(bytes), .. } => {
            format!("within {event}, after {bytes} bytes at most")
        }
    }
}
