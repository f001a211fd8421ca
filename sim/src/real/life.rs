//! One child process, as its parent sees it.

use super::book::Book;
use super::letter::Letter;
use super::pipe::{Said, listen};
use super::signal::Running;
use super::{Outcome, because};
use merkql_jepsen::history::{Action, Datum};
use std::io::BufReader;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// The hidden subcommand that a child is started with.
pub(crate) const CHILD: &str = "real-child";

/// A process that does not say what it must within this time has hung. So long
/// that nothing but a hang takes it, however slow the machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// How far a life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// The process has just been started.
    Born,
    /// It is opening the log.
    Opening,
    /// The log is open.
    Open,
    /// It has said that it ends, and why.
    Ended,
}

/// How a life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It was killed.
    Killed,
    /// The log had latched.
    Latched,
    /// The log refused to open.
    Refused,
    /// All was done.
    Done,
    /// It ended by itself, and nobody had told it to.
    Fell,
}

/// A life in retrospect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    pub(crate) end: End,
    /// How far it had come.
    pub(crate) stage: Stage,
    /// How many sends had no answer.
    pub(crate) open: u64,
}

/// A life under way.
#[derive(Debug)]
pub(crate) struct Life<'b> {
    pub(crate) running: Running,
    said: Receiver<Said>,
    pub(crate) book: &'b mut Book,
    dir: PathBuf,
    pub(crate) stage: Stage,
    end: Option<End>,
    /// Nobody speaks any more.
    is_silent: bool,
    opening_since: Option<Instant>,
    /// How long it took to open the log.
    pub(crate) opening_took: Option<Duration>,
}

impl<'b> Life<'b> {
    /// Starts the process, and tells it what to do.
    pub(crate) fn start(letter: &Letter, book: &'b mut Book) -> Outcome<Self> {
        let program = std::env::current_exe().map_err(because("cannot find this program"))?;
        let mut command = Command::new(program);
        command.arg(CHILD).stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn().map_err(because("cannot start a child"))?;
        let mut running = Running(child);
        let (sender, said) = mpsc::channel();
        if let Some(output) = running.0.stdout.take() {
            thread::spawn(move || listen(BufReader::new(output), &sender));
        }
        if let Some(input) = running.0.stdin.take() {
            letter.write(input).map_err(because("cannot tell the child what to do"))?;
        }
        Ok(Self {
            running,
            said,
            book,
            dir: letter.orders.dir.clone(),
            stage: Stage::Born,
            end: None,
            is_silent: false,
            opening_since: None,
            opening_took: None,
        })
    }

    /// Whether it has ended by itself, or is about to.
    pub(crate) fn is_over(&self) -> bool {
        self.is_silent || self.stage == Stage::Ended
    }

    fn hear(&mut self, said: Said) -> Outcome<()> {
        let mut ends = |end| {
            self.stage = Stage::Ended;
            self.end = Some(end);
        };
        match said {
            Said::Operation(operation) => self.book.write(*operation),
            Said::Opening => {
                self.stage = Stage::Opening;
                self.opening_since = Some(Instant::now());
            }
            Said::Opened => {
                self.stage = Stage::Open;
                self.opening_took = self.opening_since.map(|since| since.elapsed());
            }
            Said::Latched => ends(End::Latched),
            Said::Refused => ends(End::Refused),
            Said::Done => ends(End::Done),
            // What was cut off was not said.
            Said::Torn => {}
            Said::Nonsense(text) => return Err(format!("the child said {text:?}")),
        }
        Ok(())
    }

    /// Hears what is said for so long, or until it is over.
    pub(crate) fn hear_for(&mut self, time: Duration) -> Outcome<()> {
        let until = Instant::now() + time;
        while !self.is_over() {
            let left = until.saturating_duration_since(Instant::now());
            match self.said.recv_timeout(left) {
                Ok(said) => self.hear(said)?,
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => self.is_silent = true,
            }
            if left.is_zero() {
                // More may always be there; who has no time left does not listen.
                return Ok(());
            }
        }
        Ok(())
    }

    /// Hears what is said until the life has come so far, or is over. What takes
    /// so long that it cannot be but a hang is the end.
    pub(crate) fn hear_until(&mut self, stage: Stage, what: &str) -> Outcome<()> {
        let until = Instant::now() + PATIENCE;
        while self.stage < stage && !self.is_over() {
            let left = until.saturating_duration_since(Instant::now());
            match self.said.recv_timeout(left) {
                Ok(said) if !left.is_zero() => self.hear(said)?,
                Ok(_) | Err(RecvTimeoutError::Timeout) => {
                    let dir = self.dir.display();
                    let time = PATIENCE.as_secs();
                    return Err(format!("the child at {dir} hangs: {what} takes over {time} s"));
                }
                Err(RecvTimeoutError::Disconnected) => self.is_silent = true,
            }
        }
        Ok(())
    }

    /// Kills the process unless it is over, and hears all that it had said. What
    /// it has not answered by then is written down as unknown.
    pub(crate) fn end(mut self) -> Outcome<Ending> {
        let is_killed = !self.is_over();
        let status = if is_killed { self.running.kill() } else { self.running.wait() }?;
        // The other end of the pipe is closed, so this ends.
        while let Ok(said) = self.said.recv() {
            self.hear(said)?;
        }
        let end = match self.end {
            Some(end) if status.success() => end,
            _ if is_killed && !status.success() && status.code().is_none() => End::Killed,
            _ => End::Fell,
        };
        if end == End::Fell {
            let what = format!("the process ended by itself: {status}");
            self.book.note("host", Action::Panic(Datum::str(&what)));
        }
        if end == End::Killed {
            self.book.note("nemesis", Action::Crash(Datum::str("kill")));
        }
        Ok(Ending { end, stage: self.stage, open: self.book.died() })
    }
}
