//! Who kills, stops and starves the process, at moments that a seed draws. When
//! these fall in the life of a real process is up to the machine.

use super::Outcome;
use super::disk::Ground;
use super::letter::Purpose;
use super::life::{Life, Stage};
use super::report::Report;
use crate::random::{Stream, stream};
use rand::RngExt;
use std::time::Duration;

/// At what age a process is killed at the latest that is killed from birth on.
const BIRTH_MAX: Duration = Duration::from_millis(40);
/// How long a process works between two things that befall it.
const WORK_MAX: Duration = Duration::from_millis(90);
const PAUSE_MAX: Duration = Duration::from_millis(40);
/// How long a process may have to open the log on a disk that is full.
const FULL_MAX: Duration = Duration::from_millis(60);
/// What an opening is thought to take before one was seen.
const OPENING: Duration = Duration::from_millis(10);

/// When a process is to be killed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Moment {
    FromBirthOn,
    WhileOpening,
    AtWork,
}

/// The nemesis.
#[derive(Debug)]
pub(crate) struct Nemesis {
    random: Stream,
    /// How long the last opening took.
    opening: Duration,
}

impl Nemesis {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: stream(seed, "nemesis"), opening: OPENING }
    }

    fn up_to(&mut self, max: Duration) -> Duration {
        max.mul_f64(self.random.random_range(0.0..=1.0))
    }

    fn one_in(&mut self, count: u32) -> bool {
        self.random.random_range(0..count) == 0
    }

    /// What the life that begins is for.
    pub(crate) fn purpose(&mut self) -> Purpose {
        match self.random.random_range(0..8) {
            0..3 => Purpose::WorkAndRead,
            3..5 => Purpose::WorkAndClose,
            _ => Purpose::Work,
        }
    }

    /// When the process that begins is to be killed.
    pub(crate) fn moment(&mut self) -> Moment {
        match self.random.random_range(0..20) {
            0..3 => Moment::FromBirthOn,
            3..9 => Moment::WhileOpening,
            _ => Moment::AtWork,
        }
    }

    /// Lets a process live until the moment when it is to be killed.
    pub(crate) fn haunt(
        &mut self,
        moment: Moment,
        life: &mut Life<'_>,
        ground: &mut Ground,
        report: &mut Report,
    ) -> Outcome<()> {
        match moment {
            Moment::FromBirthOn => {
                let age = self.up_to(BIRTH_MAX);
                life.hear_for(age)
            }
            Moment::WhileOpening => {
                life.hear_until(Stage::Opening, "to start")?;
                let longest = self.opening.mul_f64(1.2);
                let time = self.up_to(longest);
                life.hear_for(time)
            }
            Moment::AtWork => {
                self.let_open(life, ground)?;
                self.harass(life, ground, report)
            }
        }
    }

    /// Lets the log be opened, for which a full disk is given room after a while.
    fn let_open(&mut self, life: &mut Life<'_>, ground: &mut Ground) -> Outcome<()> {
        let was_full = ground.is_full();
        if was_full {
            life.hear_until(Stage::Opening, "to start")?;
            let time = self.up_to(FULL_MAX);
            life.hear_for(time)?;
            if life.stage < Stage::Open {
                ground.free()?;
            }
        }
        life.hear_until(Stage::Open, "to open the log")?;
        if let Some(took) = life.opening_took.filter(|_| !was_full) {
            self.opening = took;
        }
        Ok(())
    }

    /// Stops the process now and then, and fills and frees its disk.
    fn harass(
        &mut self,
        life: &mut Life<'_>,
        ground: &mut Ground,
        report: &mut Report,
    ) -> Outcome<()> {
        for _ in 0..self.random.random_range(1..=4) {
            let time = self.up_to(WORK_MAX);
            life.hear_for(time)?;
            if life.is_over() {
                return Ok(());
            }
            if self.one_in(4) {
                let time = self.up_to(PAUSE_MAX);
                life.running.pause(time)?;
                report.pauses += 1;
            }
            if ground.is_full() {
                ground.free()?;
            } else if ground.is_small() && self.one_in(2) {
                ground.fill()?;
                report.disk_full_episodes += 1;
            }
        }
        let time = self.up_to(WORK_MAX);
        life.hear_for(time)
    }
}
