//! One case: a directory is changed, opened, read, appended to and opened again.

use super::folder::Folder;
use super::judge::{Excuses, Judged, compare, judge};
use super::mutate::{Change, Forged, mutate};
use super::observe::{Answer, Sight, observe};
use super::report::{Case, Outcome};
use super::template::{Template, config};
use super::verified::Verified;
use super::watch::{Meter, Metered};
use crate::campaign::silence::quietly;
use crate::clock::SimClock;
use crate::disk::SimDisk;
use crate::probe::SimProbe;
use crate::random::{Stream, stream};
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::error::{Error, Result};
use merkql::record::{BytesProducerRecord, BytesRecord};
use rand::RngExt;
use std::sync::Arc;
use std::time::Duration;

/// How many times the operations of an unharmed directory a case may take.
const OPERATIONS_FACTOR: u64 = 50;
/// How much may be read at once: so many times all files together, and no less than
/// a reader's buffers.
const READ_FACTOR: u64 = 2;
const READ_MIN: u64 = 256 << 10;
/// No template's clock has come to this.
const LATER: Duration = Duration::from_secs(3600);

/// A changed directory on a disk of its own.
struct Scene<'t> {
    template: &'t Template,
    folder: Folder,
    disk: SimDisk,
    meter: Arc<Meter>,
    clock: Arc<SimClock>,
    lives: u64,
}

/// Draws a case from its seed, and carries it out.
pub(super) fn run(seed: u64, templates: &[Template]) -> Case {
    let mut random = stream(seed, "hostile");
    let Some(template) = super::mutate::pick(templates, &mut random) else {
        return Case::broken(seed, "there are no templates");
    };
    let (folder, changes) = changed(template, &mut random);
    judge_folder(seed, template, folder, changes)
}

fn changed(template: &Template, random: &mut Stream) -> (Folder, Vec<Change>) {
    let mut folder = template.folder.clone();
    let count = if random.random_bool(0.1) { 2 } else { 1 };
    let changes = (0..count).map(|_| mutate(template, &mut folder, random)).collect();
    (folder, changes)
}

/// Opens a changed directory and judges what comes of it.
pub(super) fn judge_folder(
    seed: u64,
    template: &Template,
    folder: Folder,
    changes: Vec<Change>,
) -> Case {
    let mut case = Case::new(seed, template.name, &changes);
    let disk = match folder.on(&template.disk, &template.folder) {
        Ok(disk) => disk,
        Err(error) => return Case::broken(seed, &format!("the case cannot be made: {error}")),
    };
    let meter = Meter::new(template.operations * OPERATIONS_FACTOR);
    let clock = Arc::new(SimClock::new());
    clock.advance(LATER);
    let mut scene = Scene { template, folder, disk, meter, clock, lives: 1 };
    let forged: Vec<Forged> = changes.into_iter().filter_map(|change| change.forged).collect();
    match quietly(|| scene.play(&forged, &mut case)) {
        Ok(outcome) => case.outcome = outcome,
        Err(panic) => case.failures.push(format!("panicked: {panic}")),
    }
    case.operations = scene.meter.operations();
    case.largest_read = scene.meter.largest_read();
    if scene.meter.is_exceeded() {
        let clean = template.operations;
        case.failures.push(format!("hangs: {clean} operations are enough without damage"));
    }
    let allowed = (scene.folder.bytes() * READ_FACTOR).max(READ_MIN);
    if case.largest_read > allowed {
        let read = case.largest_read;
        case.failures.push(format!("reads {read} bytes at once, {allowed} would be plenty"));
    }
    case
}

impl Scene<'_> {
    fn config(&mut self) -> BrokerConfig {
        self.lives += 1;
        let file_system = Arc::new(Metered::new(self.disk.process(), &self.meter));
        let seed = self.lives << 32;
        BrokerConfig {
            probe: Arc::new(SimProbe::with_canaries(self.template.canary)),
            ..config(file_system, &self.clock, self.template.compression, seed)
        }
    }

    fn open(&mut self) -> Result<BrokerRef> {
        Broker::open(self.config())
    }

    fn play(&mut self, forged: &[Forged], case: &mut Case) -> Outcome {
        let tails = self.template.memory.tails(&self.template.folder, &self.folder);
        let verified = Verified(merkql::verify(&self.config()));
        if let Some(difference) = self.folder.difference(&Folder::of(&self.disk)) {
            case.failures.push(format!("verify has changed it: {difference}"));
        }
        let broker = match self.open() {
            Ok(broker) => broker,
            Err(error) => return self.refused(&error, &verified, case),
        };
        let sight = observe(&broker, &self.template.truth);
        let excuses = Excuses { tails: &tails, forged };
        let judged = judge(self.template, excuses, &sight);
        self.go_on(broker, &sight, excuses, &judged, case);
        case.failures.extend(judged.wrong.iter().cloned());
        case.failures.extend(verified.complaints(&judged, excuses, self.template, &sight));
        if !judged.silent.is_empty() {
            let is_told = verified.tells_loss();
            case.silent.extend(judged.silent.iter().cloned());
            return if is_told { Outcome::Verified } else { Outcome::Silent };
        }
        if judged.told > 0 {
            Outcome::Told
        } else if judged.forged > 0 {
            Outcome::Forged
        } else if judged.undecidable > 0 {
            Outcome::Undecidable
        } else if self.folder.is_still_in(&Folder::of(&self.disk), &self.template.folder) {
            Outcome::Unharmed
        } else {
            Outcome::Healed
        }
    }

    fn refused(&self, error: &Error, verified: &Verified, case: &mut Case) -> Outcome {
        case.error = Some(error.to_string());
        // What the file system refuses is met while recovery is under way, which goes on
        // where it was once that is put right.
        let is_io = matches!(error, Error::Io { .. });
        if let Some(difference) = self.folder.difference(&Folder::of(&self.disk)).filter(|_| !is_io)
        {
            case.failures.push(format!("refused with {error}, and changed it: {difference}"));
        }
        if verified.calls_it_sound() && !is_io {
            case.failures.push(format!("verify calls it sound, and opening fails: {error}"));
        }
        Outcome::Refused
    }

    /// Appends a record to each partition, closes, opens again, and looks whether all
    /// is as it was.
    fn go_on(
        &mut self,
        broker: BrokerRef,
        sight: &Sight,
        excuses: Excuses<'_>,
        judged: &Judged,
        case: &mut Case,
    ) {
        let mut appended: Vec<BytesRecord> = Vec::new();
        let mut failed = None;
        for (topic, number) in sight.partitions.keys() {
            let record = BytesProducerRecord::new(topic, "key 1", "appended behind the damage");
            let record = record.with_partition(*number);
            match Broker::producer(&broker).send_bytes(&record) {
                Ok(sent) => appended.push(sent),
                Err(error) => failed = Some(error),
            }
        }
        let closed = Broker::close(&broker);
        drop(broker);
        if let Some(error) = failed.or(closed.err()) {
            case.error = Some(format!("cannot go on: {error}"));
            if judged.told == 0 && judged.forged == 0 && !is_damage(&error) {
                case.failures.push(format!("cannot go on: {error}"));
            }
        }
        let broker = match self.open() {
            Ok(broker) => broker,
            Err(error) => {
                case.failures.push(format!("opened once, and refused afterwards: {error}"));
                return;
            }
        };
        let after = observe(&broker, &self.template.truth);
        case.failures.extend(compare(sight, &after, excuses.forged));
        for record in appended {
            let place = (record.topic.to_string(), record.partition);
            let truth = self.template.truth.partitions.get(&place);
            let seen = after.partitions.get(&place);
            // A state that was made up can end anywhere, and retain nothing.
            let is_asked = truth.is_some_and(|truth| record.offset <= truth.next_offset())
                && !excuses.forged.contains(&Forged::State);
            let is_there = match seen.and_then(|seen| seen.records.get(&record.offset)) {
                Some(Answer::Record(found)) => **found == record,
                Some(Answer::Failed(_)) => excuses.forges_way_in(truth, record.partition),
                _ => false,
            };
            if is_asked && !is_there {
                let now = seen.and_then(|seen| seen.records.get(&record.offset));
                case.failures.push(format!("appended {record:?}, after reopening {now:?}"));
            }
        }
    }
}

/// Whether an append was refused because of what is damaged.
fn is_damage(error: &Error) -> bool {
    error.is_corruption() || matches!(error, Error::NeedsReopen { .. } | Error::Io { .. })
}
