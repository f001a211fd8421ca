//! What goes wrong in a seed.

use super::Plan;
use crate::disk::CrashPhase;
use crate::fault::{Fault, LyingSync, OpKind, SyncFailure};
use crate::profile::Profile;
use crate::random::Stream;
use crate::scenario::{
    Action, Address, Blow, Death, During, Harm, HarmAt, Keeps, Restart, Spot, Step, Stop, Strike,
};
use rand::RngExt;
use rand::seq::IndexedRandom;

const FILES: [&str; 5] = ["*", "journal/*", "topics/*", "manifest.*", "topics/*.log"];

pub(super) struct Maker<'p> {
    pub(super) plan: &'p mut Plan,
    pub(super) random: Stream,
    strikes: Vec<Strike>,
    /// The numbers of the steps that strikes can refer to.
    steps: Vec<u32>,
    /// Those that create a topic.
    creations: Vec<u32>,
}

impl Maker<'_> {
    fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        of.choose(&mut self.random).cloned()
    }

    pub(super) fn some_step(&mut self) -> During {
        let steps = self.steps.clone();
        self.pick(&steps).map_or(During::Start, During::Step)
    }

    fn death(&mut self) -> Death {
        if self.random.random_bool(0.25) {
            return Death::Kill;
        }
        let keeps = match self.random.random_range(0..10) {
            0 => Keeps::All,
            1 | 2 => Keeps::Nothing,
            _ => Keeps::Drawn { profile: self.plan.profile, seed: self.random.random() },
        };
        Death::Power(keeps)
    }

    fn crash(&mut self, during: During, nth_max: u64) -> u32 {
        let phase = match self.random.random_range(0..3) {
            0 => CrashPhase::Before,
            1 => CrashPhase::Partly(self.random.random_range(0..4096)),
            _ => CrashPhase::After,
        };
        // Some moments are short: while a block is synced, or between the slots of
        // the manifest.
        let (on, file, nth_max) = match self.random.random_range(0..10) {
            0 | 1 => (Some(OpKind::SyncData), "journal/*", 3),
            2 | 3 => (None, "manifest.*", 6),
            _ => (None, "*", nth_max),
        };
        let nth = self.random.random_range(0..nth_max);
        let death = self.death();
        self.crash_at(Address { during, on, file: file.to_owned(), nth }, phase, death)
    }

    pub(super) fn crash_at(&mut self, at: Address, phase: CrashPhase, death: Death) -> u32 {
        let what = Blow::Crash { phase, death };
        let id = self.plan.id();
        self.strikes.push(Strike { id, at, what });
        id
    }

    /// The recovery from a crash may crash, too, again and again.
    pub(super) fn crash_in_recovery(&mut self, mut from: u32) {
        while self.random.random_bool(0.35) {
            from = self.crash(During::RecoveryFrom(from), 40);
        }
    }

    fn strike(&mut self, during: During, on: OpKind, file: &str, fault: Fault, times: u64) {
        let nth = self.random.random_range(0..6);
        self.strike_at(Address { during, on: Some(on), file: file.to_owned(), nth }, fault, times);
    }

    pub(super) fn strike_at(&mut self, at: Address, fault: Fault, times: u64) {
        let id = self.plan.id();
        self.strikes.push(Strike { id, at, what: Blow::Fault { fault, times } });
    }

    /// One recoverable fault.
    fn recoverable(&mut self) {
        use OpKind::{Allocate, CreateDir, CreateNew, Open, ReadAt, SetLen, SyncData, SyncDir};
        use OpKind::{RemoveFile, WriteAt};
        let during = self.some_step();
        let file = self.pick(&FILES).unwrap_or("*");
        let after_bytes = self.random.random_range(0..3) * 300;
        let (on, fault, times) = match self.random.random_range(0..9) {
            0 => (ReadAt, Fault::Short(self.random.random_range(1..40)), 8),
            1 => (WriteAt, Fault::Short(self.random.random_range(1..40)), 8),
            2 => (
                *[ReadAt, WriteAt].choose(&mut self.random).unwrap_or(&ReadAt),
                Fault::Interrupted,
                3,
            ),
            3 => {
                let on = self.pick(&[WriteAt, Allocate, CreateNew, CreateDir, SetLen]);
                (on.unwrap_or(WriteAt), Fault::DiskFull { after_bytes }, 1)
            }
            4 => {
                let on = self.pick(&[WriteAt, ReadAt, Allocate, CreateNew, Open, RemoveFile]);
                (on.unwrap_or(WriteAt), Fault::IoError { after_bytes }, 1)
            }
            5 | 6 => {
                let modes =
                    [SyncFailure::KeptClean, SyncFailure::Reverted, SyncFailure::ReportedOnce];
                let mode = self.pick(&modes).unwrap_or(SyncFailure::KeptClean);
                let on = if self.random.random_bool(0.8) { SyncData } else { SyncDir };
                (on, Fault::FailedSync(mode), 1)
            }
            7 => {
                let on = self.pick(&[WriteAt, SyncData, ReadAt]).unwrap_or(WriteAt);
                (on, Fault::Stall(self.random.random_range(1..400_000)), 1)
            }
            _ => (self.pick(&[CreateNew, Open]).unwrap_or(Open), Fault::TooManyOpenFiles, 1),
        };
        let file = if matches!(on, SyncDir | CreateDir) { "*" } else { file };
        self.strike(during, on, file, fault, times);
    }

    /// One fault that strikes an operation and must be noticed.
    fn detectable(&mut self) {
        let during = self.some_step();
        let file = self.pick(&FILES).unwrap_or("*");
        match self.random.random_range(0..8) {
            0 | 1 => {
                let position = self.random.random_range(0..6) * 1024;
                let fault = Fault::MisdirectedWrite { path: None, position };
                self.strike(during, OpKind::WriteAt, file, fault, 1);
            }
            2 => self.folder_that_is_not_there(),
            _ => {
                let lies = [
                    LyingSync::Lost,
                    LyingSync::Delayed,
                    // Most of these are followed by an honest sync, and never matter.
                    LyingSync::Delayed,
                    LyingSync::ErrorAtNext,
                ];
                let lie = self.pick(&lies).unwrap_or(LyingSync::Lost);
                let dies = self.random.random_bool(0.5);
                // A lie is found out by a power cut before the next sync that is honest.
                let times = if dies { 4 } else { 1 };
                self.strike(during, OpKind::SyncData, file, Fault::LyingSync(lie), times);
                if dies {
                    self.crash(during, 20);
                }
            }
        }
    }

    /// The sync of a new topic's folder is a lie, so the next power cut takes it
    /// away, even if a checkpoint has relied on it.
    fn folder_that_is_not_there(&mut self) {
        let creations = self.creations.clone();
        let during = self.pick(&creations).map_or(During::Start, During::Step);
        let nth = self.random.random_range(0..2);
        let file = "topics*".to_owned();
        let at = Address { during, on: Some(OpKind::SyncDir), file, nth };
        self.strike_at(at, Fault::LyingSync(LyingSync::Lost), 1);
    }

    fn spot(&mut self) -> Spot {
        Spot::Permille(self.random.random_range(0..1000))
    }

    /// Harm to something that the log can do without.
    fn harm_to_derived(&mut self) -> HarmAt {
        let files = ["topics/*.idx", "topics/*/hashes", "manifest.a", "manifest.b"];
        let file = self.pick(&files).unwrap_or("topics/*.idx").to_owned();
        let seed = self.random.random();
        let harm = match self.random.random_range(0..6) {
            0 => Harm::Cut { at: self.spot() },
            1 => Harm::Garbage { at: self.spot(), bytes: 64, seed },
            2 => Harm::Zero { at: Spot::Byte(0), bytes: 512 },
            3 => Harm::FlipBit { at: self.spot(), bit: 3 },
            4 => Harm::Cut { at: Spot::Byte(0) },
            _ => Harm::Delete,
        };
        HarmAt { file, nth: self.random.random_range(0..4), harm }
    }

    /// Harm to one block of the journal, often where nothing but the journal has
    /// its records yet, so that only the blocks behind it bear witness.
    fn harm_to_lone_block(&mut self) -> Restart {
        // The last block has none behind it. What bears witness then is what a killed
        // process has carried over.
        let is_last = self.random.random_bool(0.25);
        let at = Spot::Block(if is_last { 0 } else { self.random.random_range(1..4) });
        let seed = self.random.random();
        let harm = match self.random.random_range(0..4) {
            0 => Harm::FlipBit { at, bit: 2 },
            1 => Harm::Zero { at, bytes: 300 },
            2 => Harm::Unreadable { at, bytes: 512 },
            _ => Harm::Garbage { at, bytes: 200, seed },
        };
        let harm = vec![HarmAt { file: "journal/*".to_owned(), nth: 0, harm }];
        let death = if is_last {
            Death::Kill
        } else if self.random.random_bool(0.6) {
            Death::Power(Keeps::Nothing)
        } else {
            let seed = self.random.random();
            Death::Power(Keeps::Drawn { profile: self.plan.profile, seed })
        };
        let how = Stop::Death(death);
        Restart { how, harm, retention_records: None }
    }

    /// Harm to what the log cannot do without.
    fn harm_to_primary(&mut self) -> Vec<HarmAt> {
        let files = ["topics/*.log", "topics/*.log", "topics/*.log", "journal/*"];
        let file = self.pick(&files).unwrap_or("topics/*.log").to_owned();
        let seed = self.random.random();
        let harm = match self.random.random_range(0..14) {
            0 => Harm::FlipBit { at: self.spot(), bit: 5 },
            2 => Harm::Zero { at: self.spot(), bytes: 512 },
            1 | 3 => Harm::Unreadable { at: self.spot(), bytes: 512 },
            4 => Harm::Garbage { at: self.spot(), bytes: 300, seed },
            5 => Harm::Cut { at: self.spot() },
            // Files are longer than what is in them: only near their start is it sure to be cut.
            12 | 13 => Harm::Cut { at: Spot::Byte(self.random.random_range(0..60)) },
            6 => Harm::Hole { at: self.spot(), bytes: 700 },
            7 => Harm::Delete,
            8 => Harm::Duplicate { over: file.clone() },
            9 => Harm::Swap { with: file.clone() },
            10 => Harm::HostileField { at: self.spot(), bytes: 8 },
            _ => {
                let harm = Harm::Garbage { at: Spot::Byte(0), bytes: 600, seed };
                let slot =
                    |file: &str| HarmAt { file: file.to_owned(), nth: 0, harm: harm.clone() };
                return vec![slot("manifest.a"), slot("manifest.b")];
            }
        };
        let mut harms = vec![HarmAt { file, nth: self.random.random_range(0..4), harm }];
        if self.random.random_bool(0.3) {
            harms.extend(self.harm_to_primary());
        }
        harms
    }
}

/// Draws the strikes, and puts the nemesis's own steps among those of the clients.
pub(super) fn draw(plan: &mut Plan, steps: &mut Vec<Step>) -> Vec<Strike> {
    let random = plan.stream("faults");
    let ids = steps.iter().map(|step| step.id).collect();
    let creations = steps.iter().filter(|step| matches!(step.does, Action::CreateTopic { .. }));
    let creations = creations.map(|step| step.id).collect();
    let mut maker = Maker { plan, random, strikes: Vec::new(), steps: ids, creations };
    let mut own: Vec<(usize, Action)> = Vec::new();
    // Crashes, most of them at an operation.
    for _ in 0..maker.random.random_range(2..5) {
        let during = maker.some_step();
        let id = maker.crash(during, 12);
        maker.crash_in_recovery(id);
    }
    if maker.random.random_bool(0.7) {
        for _ in 0..maker.random.random_range(1..5) {
            maker.recoverable();
        }
    }
    // The lock is somebody else's when the log is opened again.
    if maker.random.random_bool(0.1) {
        let crash = maker.strikes.first().map(|strike| strike.id);
        if let Some(id) = crash {
            maker.strike(During::RecoveryFrom(id), OpKind::TryLock, "*", Fault::LockHeld, 1);
        }
    }
    // Reads that are wrong once are to be noticed and made good.
    if maker.random.random_bool(0.2) {
        let during = maker.some_step();
        let bit = maker.random.random_range(0..4096);
        maker.strike(during, OpKind::ReadAt, "*", Fault::ReadWrongOnce { bit }, 1);
    }
    super::episodes::draw(&mut maker);
    own_steps(&mut maker, steps.len(), &mut own);
    // A hostile profile's power cuts are damage by themselves.
    let is_more = maker.plan.profile != Profile::Hostile || maker.random.random_bool(0.7);
    if maker.plan.has_class_d && is_more {
        class_d(&mut maker, steps.len(), &mut own);
    }
    let strikes = std::mem::take(&mut maker.strikes);
    own.sort_by_key(|(at, _)| *at);
    for (at, does) in own.into_iter().rev() {
        let id = plan.id();
        let by = "nemesis".to_owned();
        steps.insert(at.min(steps.len()), Step { id, by, does });
    }
    strikes
}

/// Deaths between operations, a full disk, few handles, a clock that jumps.
fn own_steps(maker: &mut Maker<'_>, len: usize, own: &mut Vec<(usize, Action)>) {
    let len = len.max(2);
    if maker.random.random_bool(0.5) {
        let how = Stop::Death(maker.death());
        let harm =
            if maker.random.random_bool(0.5) { vec![maker.harm_to_derived()] } else { vec![] };
        let restart = Restart { how, harm, retention_records: None };
        own.push((maker.random.random_range(len / 2..len), Action::Restart(restart)));
    }
    if maker.random.random_bool(0.3) {
        let harm = vec![maker.harm_to_derived()];
        let restart = Restart { how: Stop::Close, harm, retention_records: None };
        own.push((maker.random.random_range(0..len), Action::Restart(restart)));
    }
    if maker.random.random_bool(0.15) {
        let from = maker.random.random_range(0..len);
        let bytes = Some(maker.random.random_range(0..8) * 4096);
        own.push((from, Action::DiskRoom { bytes }));
        own.push((from + 12, Action::DiskRoom { bytes: None }));
    }
    if maker.random.random_bool(0.1) {
        let from = maker.random.random_range(0..len);
        let files = Some(maker.random.random_range(3..12));
        own.push((from, Action::HandleLimit { files }));
        own.push((from + 12, Action::HandleLimit { files: None }));
    }
    if maker.random.random_bool(0.2) {
        let at = maker.random.random_range(0..len);
        let ms = [-86_400_000, -5000, 3000, 86_400_000];
        let ms = maker.pick(&ms).unwrap_or_default();
        own.push((at, Action::ClockJump { ms }));
        if maker.random.random_bool(0.3) {
            own.push((at, Action::ClockSkew { rate_ppm: 500_000 }));
        }
    }
}

/// One thing that a disk must not do.
fn class_d(maker: &mut Maker<'_>, len: usize, own: &mut Vec<(usize, Action)>) {
    let len = len.max(2);
    match maker.random.random_range(0..12) {
        0..4 => maker.detectable(),
        5..7 => {
            let restart = maker.harm_to_lone_block();
            own.push((maker.random.random_range(len / 3..len), Action::Restart(restart)));
        }
        4 => {
            // Back to an older state, of one file or of all.
            let from = maker.random.random_range(0..len);
            own.push((from, Action::Remember));
            let harm =
                if maker.random.random_bool(0.5) { Harm::RollBackAll } else { Harm::RollBack };
            let file = maker.pick(&["topics/*.log", "journal/*", "manifest.*", "topics/*/hashes"]);
            let file = file.unwrap_or("journal/*").to_owned();
            let harm = vec![HarmAt { file, nth: maker.random.random_range(0..3), harm }];
            let how =
                if maker.random.random_bool(0.5) { Stop::Close } else { Stop::Death(Death::Kill) };
            let restart = Restart { how, harm, retention_records: None };
            own.push((maker.random.random_range(from..=len), Action::Restart(restart)));
        }
        _ => {
            let harm = maker.harm_to_primary();
            let how = if maker.random.random_bool(0.5) {
                Stop::Close
            } else {
                Stop::Death(maker.death())
            };
            let restart = Restart { how, harm, retention_records: None };
            own.push((maker.random.random_range(len / 3..len), Action::Restart(restart)));
        }
    }
}
