//! A directory, the lives over it, and the verdict on their history.

use super::book::Book;
use super::disk::Ground;
use super::letter::{Orders, Purpose};
use super::life::{End, Ending, Life, Stage};
use super::nemesis::{Moment, Nemesis};
use super::report::{Kept, Report};
use super::{Outcome, Plan, because};
use merkql_jepsen::notation::Format;
use merkql_jepsen::{Name, check_only};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;

/// How many lives a round has at most, killed or not.
const LIVES_A_KILL: u64 = 3;
/// How many acknowledged sends a log loses at least where that is planned: fewer need not
/// put two into the same partition.
const LOST_SENDS_MIN: u64 = 20;

/// A round.
#[derive(Debug)]
pub(crate) struct Round<'p> {
    plan: &'p Plan,
    ground: Ground,
    kills: u64,
    lives: u32,
    book: Book,
    /// Whether the log was given old files, where that is planned.
    is_rolled_back: bool,
    /// Whether the last life has done all that it was to do.
    is_finished: bool,
}

impl<'p> Round<'p> {
    pub(crate) fn new(plan: &'p Plan, ground: Ground, kills: u64) -> Self {
        let book = Book::new(plan.writers);
        Self { plan, ground, kills, lives: 0, book, is_rolled_back: false, is_finished: false }
    }

    /// Lets one life follow the other, lets the last one read everything, and
    /// judges what was seen.
    pub(crate) fn run(
        mut self,
        nemesis: &mut Nemesis,
        report: &mut Report,
        progress: &impl Fn(&Report),
    ) -> Outcome<()> {
        report.rounds += 1;
        let lived = self.live(nemesis, report, progress);
        let judged = self.judge(report);
        lived.and(judged)
    }

    /// Lets the lives live, and returns early if the log does not let the next one.
    fn live(
        &mut self,
        nemesis: &mut Nemesis,
        report: &mut Report,
        progress: &impl Fn(&Report),
    ) -> Outcome<()> {
        let kills_before = report.kills;
        let lives_max = self.kills * LIVES_A_KILL;
        while report.kills < kills_before + self.kills && u64::from(self.lives) < lives_max {
            let purpose = nemesis.purpose();
            let end = self.live_once(purpose, nemesis, report)?;
            progress(report);
            if end == End::Refused || end == End::Fell {
                return Ok(());
            }
        }
        if self.plan.rolls_back && !self.is_rolled_back {
            return Err(format!("no life acknowledged {LOST_SENDS_MIN} sends that could be lost"));
        }
        self.ground.give_room()?;
        self.finish(report)
    }

    /// What the life that begins is told to do.
    fn orders(&self, purpose: Purpose) -> Orders {
        Orders {
            dir: self.ground.log(),
            seed: self.plan.seed,
            life: self.lives,
            purpose,
            writers: self.plan.writers,
            readers: self.plan.readers,
            answered: BTreeMap::new(),
        }
    }

    /// One life, and what it adds to the counts.
    fn live_once(
        &mut self,
        purpose: Purpose,
        nemesis: &mut Nemesis,
        report: &mut Report,
    ) -> Outcome<End> {
        let is_there = self.ground.log().is_dir();
        let plants = self.plan.rolls_back && !self.is_rolled_back && is_there;
        if plants {
            self.ground.put_aside()?;
        }
        let letter = self.book.letter(self.orders(purpose));
        self.lives += 1;
        let before = self.book.counts;
        let mut life = Life::start(&letter, &mut self.book)?;
        // What is to be lost has to be acknowledged first.
        let moment = if plants { Moment::AtWork } else { nemesis.moment() };
        nemesis.haunt(moment, &mut life, &mut self.ground, report)?;
        let Ending { end, stage, open } = life.end()?;
        let counts = self.book.counts;
        report.count(before, counts);
        match end {
            End::Killed => {
                report.kills += 1;
                report.kills_in_recovery += u64::from(stage == Stage::Opening);
                let is_in_flight = counts.sends > before.sends && open > 0;
                report.kills_in_flight += u64::from(is_in_flight);
            }
            End::Latched => report.latched += 1,
            End::Refused | End::Done | End::Fell => {}
        }
        if plants && counts.sends >= before.sends + LOST_SENDS_MIN {
            self.ground.roll_back()?;
            self.is_rolled_back = true;
        }
        Ok(end)
    }

    /// The last life.
    fn finish(&mut self, report: &mut Report) -> Outcome<()> {
        let letter = self.book.letter(self.orders(Purpose::Finish));
        let before = self.book.counts;
        let mut life = Life::start(&letter, &mut self.book)?;
        life.hear_until(Stage::Open, "to open the log")?;
        life.hear_until(Stage::Ended, "to finish and to read everything")?;
        let ending = life.end()?;
        report.count(before, self.book.counts);
        self.is_finished = ending.end == End::Done;
        Ok(())
    }

    /// Judges the history, and keeps what is evidence.
    fn judge(&mut self, report: &mut Report) -> Outcome<()> {
        let history = self.book.history();
        report.operations += history.len() as u64;
        // Where nobody came to read everything, that nobody did says nothing.
        let is_due = |name: &Name| self.is_finished || *name != Name::Unseen;
        let names: Vec<Name> = Name::ALL.iter().copied().filter(is_due).collect();
        let verdict = check_only(history, &names);
        let names = verdict.names().into_iter().map(Name::as_str);
        let directory = self.ground.base().to_owned();
        if !verdict.is_valid() || !self.is_finished || self.plan.keeps {
            let file = directory.join("history.jsonl");
            let written = File::create(&file)
                .and_then(|to| history.write(BufWriter::new(to), Format::JsonLines));
            written.map_err(because("cannot write the history"))?;
            let log = self.ground.keep()?;
            let check = format!("merkql-jepsen check {}", file.display());
            report.kept.push(Kept { anomalies: names.collect(), log, history: file, check });
        }
        report.add(verdict);
        Ok(())
    }
}
