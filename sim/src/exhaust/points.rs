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

/// All points of the stretches that are asked for.
pub(super) fn points(run: &Run, is_meant: impl Fn(&During) -> bool) -> Vec<Point> {
    let addresses = Addresses::new(&run.events, &run.stretches);
    let changing = run.events.iter().filter(|event| event.change.is_some());
    let addressed = changing.filter_map(|event| {
        let at = addresses.of(event)?;
        is_meant(&at.during).then_some((event, at))
    });
    let phased = addressed.flat_map(|(event, at)| {
        phases(event).into_iter().map(move |phase| Point { at: at.clone(), phase })
    });
    phased.collect()
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
