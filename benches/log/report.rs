//! The table at the end.

use std::time::Duration;

/// What a figure is held against.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// At most so many times the floor.
    TimesFloor(f64),
    /// At most so long.
    AtMost(Duration),
    /// At least so many a second.
    PerSecond(f64),
    /// At least so many times another figure.
    AtLeastTimes(f64),
    /// At most so many of the unit.
    Amount(f64),
    /// Shown without a judgement.
    None,
}

#[derive(Debug)]
struct Row {
    name: String,
    value: String,
    floor: String,
    target: String,
    verdict: &'static str,
}

/// Collects figures and prints them.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// A time per operation, beside the floor's.
    pub(crate) fn time(
        &mut self,
        name: &str,
        time: Duration,
        floor: Option<Duration>,
        target: Target,
    ) {
        let ratio = floor.map(|floor| time.as_secs_f64() / floor.as_secs_f64());
        let (target, met) = match target {
            Target::TimesFloor(times) => {
                (format!("<= {times} x floor"), ratio.is_some_and(|ratio| ratio <= times))
            }
            Target::AtMost(most) => (format!("<= {most:?}"), time <= most),
            _ => (String::new(), true),
        };
        let floor = floor.zip(ratio).map(|(floor, ratio)| format!("{floor:.2?} ({ratio:.2} x)"));
        self.push(name, format!("{time:.2?}"), floor.unwrap_or_default(), target, met);
    }

    /// A rate, beside the floor's.
    pub(crate) fn rate(&mut self, name: &str, per_second: f64, floor: &str, target: Target) {
        let (target, met) = match target {
            Target::PerSecond(least) => (format!(">= {least:.0} /s"), per_second >= least),
            _ => (String::new(), true),
        };
        self.push(name, format!("{per_second:.0} /s"), floor.to_owned(), target, met);
    }

    /// A plain number.
    pub(crate) fn amount(
        &mut self,
        name: &str,
        value: f64,
        unit: &str,
        floor: &str,
        target: Target,
    ) {
        let (target, met) = match target {
            Target::Amount(most) => (format!("<= {most}{unit}"), value <= most),
            Target::AtLeastTimes(least) => (format!(">= {least:.2}{unit}"), value >= least),
            _ => (String::new(), true),
        };
        self.push(name, format!("{value:.2}{unit}"), floor.to_owned(), target, met);
    }

    fn push(&mut self, name: &str, value: String, floor: String, target: String, met: bool) {
        let verdict = match (target.is_empty(), met) {
            (true, _) => "",
            (false, true) => "met",
            (false, false) => "MISSED",
        };
        self.rows.push(Row { name: name.to_owned(), value, floor, target, verdict });
    }

    pub(crate) fn print(&self) {
        println!("\n| figure | measured | floor | target | |");
        println!("| --- | --- | --- | --- | --- |");
        for Row { name, value, floor, target, verdict } in &self.rows {
            println!("| {name} | {value} | {floor} | {target} | {verdict} |");
        }
    }
}
