//! Where a run can be broken.

use crate::disk::{CrashPhase, IoEvent};
use crate::fault::OpKind;
use crate::scenario::{Address, During};
use crate::world::{Addresses, Run};

/// An operation, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) at: Address,
    pub(super) phase: CrashPhase,
}

/// How much of what an operation can have come to is gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// All of it.
    All,
    /// Inside a recovery, where nobody is told anything: what is before an
    /// operation is what was after the last one, and one half of a write is enough.
    Distinct,
}

/// All points of the stretches that are asked for.
pub(super) fn points(run: &Run, detail: Detail, is_meant: impl Fn(&During) -> bool) -> Vec<Point> {
    let addresses = Addresses::new(&run.events, &run.stretches);
    let changing = run.events.iter().filter(|event| event.change.is_some());
    let meant = changing.filter_map(|event| {
        let at = addresses.of(event)?;
        is_meant(&at.during).then_some((event, at))
    });
    let phased = meant.flat_map(|(event, at)| {
        phases(event).into_iter().map(move |phase| Point { at: at.clone(), phase })
    });
    let mut points: Vec<Point> = phased.collect();
    if detail == Detail::Distinct {
        let mut is_first = true;
        let mut was_partly = false;
        points.retain(|point| {
            let is_partly = matches!(point.phase, CrashPhase::Partly(_));
            let keep = match point.phase {
                CrashPhase::Before => std::mem::take(&mut is_first),
                CrashPhase::Partly(_) => !was_partly,
                CrashPhase::After => true,
            };
            was_partly = is_partly;
            keep
        });
    }
    points
}

/// How far an operation can have come. A write may be cut off anywhere: the
/// survivors of a power cut go through its sectors, and a kill through these.
fn phases(event: &IoEvent) -> Vec<CrashPhase> {
    let mut phases = vec![CrashPhase::Before];
    if event.on == OpKind::WriteAt && event.len > 1 {
        phases.extend([event.len / 2, event.len - 1].map(CrashPhase::Partly));
    }
    phases.push(CrashPhase::After);
    phases.dedup();
    phases
}
