//! A run told step by step.

use crate::disk::{IoEvent, Kept};
use crate::scenario::{Blow, During, Scenario, Strike};
use crate::world::{Crash, Run};
use merkql_jepsen::history::{Action, Operation};
use merkql_jepsen::notation::{Format, write_operation};
use serde::Serialize;
use serde_json::Value;

/// Lines are cut here unless all is to be told.
const LINE_MAX: usize = 160;

/// How much of a run is told, beside its steps, strikes and crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Detail {
    /// What the clients did and were told.
    Ops,
    /// Also the operations on files that can change something.
    Io,
    /// Also those that cannot, and every line in full.
    All,
}

/// Tells a run.
pub(crate) struct Story<'r> {
    scenario: &'r Scenario,
    run: &'r Run,
    detail: Option<Detail>,
    crashes: std::slice::Iter<'r, Crash>,
}

impl<'r> Story<'r> {
    pub(crate) fn new(scenario: &'r Scenario, run: &'r Run, detail: Option<Detail>) -> Self {
        Self { scenario, run, detail, crashes: run.crashes.iter() }
    }

    /// Tells it, a line at a time.
    pub(crate) fn tell(mut self, mut line: impl FnMut(String)) {
        let stretches = self.run.stretches.iter().zip(&self.run.stretch_lines);
        let stretches: Vec<((During, u64), usize)> =
            stretches.map(|(stretch, at)| (*stretch, *at)).collect();
        let ends = stretches.iter().skip(1).map(|((_, io), at)| (*io, *at));
        let ends = ends.chain([(u64::MAX, usize::MAX)]);
        for (((during, io), at), (io_end, end)) in stretches.iter().zip(ends) {
            let operations = self.run.history.operations();
            let operations = operations.get(*at..end.min(operations.len())).unwrap_or_default();
            let time = operations.first().and_then(|operation| operation.time_ns);
            line(format!("{} {}", at_time(time), self.title(*during)));
            for strike in self.scenario.strikes.iter().filter(|it| it.at.during == *during) {
                line(format!("{:14}{}", "", cut(&self.strike(strike), self.detail)));
            }
            for operation in operations {
                self.operation(operation, &mut line);
            }
            if self.detail >= Some(Detail::Io) {
                let within = |event: &&IoEvent| (*io..io_end).contains(&event.index);
                self.run
                    .events
                    .iter()
                    .filter(within)
                    .for_each(|event| self.event(event, &mut line));
            }
        }
    }

    fn title(&self, during: During) -> String {
        match during {
            During::Start => "-- the log is opened first".to_owned(),
            During::Step(id) => match self.scenario.steps.iter().find(|step| step.id == id) {
                Some(step) => {
                    let does = cut(&json(&step.does), self.detail);
                    format!("-- step {id}, {}: {does}", step.by)
                }
                None => format!("-- step {id}"),
            },
            During::RecoveryFrom(id) => format!("-- recovery from crash {id}"),
            During::End => "-- the end: nothing is broken any more".to_owned(),
        }
    }

    fn strike(&self, strike: &Strike) -> String {
        let did = if self.run.struck.contains(&strike.id) { "strikes" } else { "never strikes" };
        let on = strike.at.on.map_or("any change".to_owned(), |on| json(&on).replace('"', ""));
        let what = match &strike.what {
            Blow::Crash { phase, .. } => format!("crash {}", json(phase)),
            Blow::Fault { fault, times } => format!("{} x{times}", json(fault)),
        };
        let (id, file, nth) = (strike.id, &strike.at.file, strike.at.nth);
        format!("!! {id} {did}: {what} at {on} of {file}, number {nth} from here")
    }

    fn operation(&mut self, operation: &Operation, line: &mut impl FnMut(String)) {
        if matches!(operation.action, Action::Crash(_))
            && !operation.process.is_client()
            && let Some(crash) = self.crashes.next()
        {
            line(format!("{} !! {}", at_time(operation.time_ns), fate(crash)));
        } else if matches!(operation.action, Action::Panic(_)) || self.detail.is_some() {
            line(cut(&told(operation), self.detail));
        }
    }

    fn event(&self, event: &IoEvent, line: &mut impl FnMut(String)) {
        if event.change.is_some() || self.detail == Some(Detail::All) || event.fault.is_some() {
            let fault = event.fault.map_or(String::new(), |fault| format!(" !! fault {}", fault.0));
            line(format!("{:14}io {event}{fault}", ""));
        }
    }
}

/// A time of the run's own clock.
fn at_time(time_ns: Option<i64>) -> String {
    let Some(time) = time_ns else { return " ".repeat(13) };
    let (ms, rest) = (time / 1_000_000, time % 1_000_000 / 1000);
    format!("{ms:>6}.{rest:03} ms")
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn cut(line: &str, detail: Option<Detail>) -> String {
    if detail == Some(Detail::All) || line.chars().count() <= LINE_MAX {
        return line.to_owned();
    }
    line.chars().take(LINE_MAX).chain(['…']).collect()
}

/// An operation as its history has it.
pub(crate) fn in_full(operation: &Operation) -> String {
    let mut line = String::new();
    write_operation(&mut line, operation, Format::JsonLines);
    line
}

/// An operation for people: when, who, how it stands, what, and the error if it
/// ended with one.
fn told(operation: &Operation) -> String {
    let fields: Value = serde_json::from_str(&in_full(operation)).unwrap_or_default();
    let field = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => format!(" {text}"),
        Some(other) => format!(" {other}"),
    };
    let error = field("error");
    let error = if error.is_empty() { error } else { format!(" =>{error}") };
    let time = at_time(operation.time_ns);
    let number = operation.index;
    format!(
        "{time} [{number}]{}{}{}{error}{}",
        field("process"),
        field("type"),
        field("f"),
        field("value")
    )
}

/// A crash and what it left.
fn fate(crash: &Crash) -> String {
    let (id, at_stake) = (crash.id, crash.unsynced.changes.len());
    let Some(survivors) = &crash.survivors else {
        return format!("crash {id}: the process is killed, {at_stake} unsynced changes stay");
    };
    let (mut writes, mut lengths, mut names, mut fills) = (0, 0, 0, 0);
    for kept in &survivors.kept {
        match kept {
            Kept::Write { .. } => writes += 1,
            Kept::Length { .. } => lengths += 1,
            Kept::Name { .. } => names += 1,
            Kept::Fill { .. } => fills += 1,
        }
    }
    format!(
        "crash {id}: the power fails, {at_stake} unsynced changes; what is left: writes {writes}, \
         lengths {lengths}, names {names}, ranges of something else {fills}"
    )
}
