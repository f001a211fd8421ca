//! What can be simpler: a crash, a send, a setting.

use super::Shrinker;
use super::lists::{death, deaths, parts};
use crate::disk::CrashPhase;
use crate::profile::Profile;
use crate::scenario::{Action, Blow, Death, Keeps, KeptPart, RecordSpec, Scenario, Settings, Stop};

/// A change that makes a scenario simpler, or does nothing to it.
type Edit = Box<dyn Fn(&mut Scenario)>;

/// The same of what one step does.
type ActionEdit = Box<dyn Fn(&mut Action)>;

impl Shrinker<'_> {
    /// Tries every change on its own.
    pub(super) fn make_edits(&mut self) {
        let mut edits = of_settings();
        edits.extend(of_deaths(&mut self.best.clone()));
        edits.extend(of_strikes(&self.best));
        edits.extend(of_steps(&self.best));
        for edit in edits {
            let mut candidate = self.best.clone();
            edit(&mut candidate);
            self.attempt(candidate);
        }
    }
}

/// Each setting as it is by default. What a power cut may keep belongs to what is
/// claimed; but what an honest disk may keep, posix allows, too.
fn of_settings() -> Vec<Edit> {
    fn set(change: fn(&mut Settings, Settings)) -> Edit {
        Box::new(move |scenario| change(&mut scenario.settings, Settings::default()))
    }
    vec![
        Box::new(|scenario| {
            let profile = scenario.settings.profile;
            scenario.settings = Settings { profile, ..Settings::default() };
        }),
        set(|to, from| to.lz4 = from.lz4),
        set(|to, from| to.retention_records = from.retention_records),
        set(|to, from| to.segment_bytes = from.segment_bytes),
        set(|to, from| to.index_interval_bytes = from.index_interval_bytes),
        set(|to, from| to.journal_initial_bytes = from.journal_initial_bytes),
        set(|to, from| {
            to.journal_initial_bytes = from.journal_initial_bytes;
            to.journal_max_bytes = from.journal_max_bytes;
        }),
        set(|to, from| to.max_open_files = from.max_open_files),
        set(|to, from| to.max_poll_bytes = from.max_poll_bytes),
        set(|to, from| to.reader_every = from.reader_every),
        set(|to, from| to.entropy_seed = from.entropy_seed),
        set(|to, from| {
            if to.profile != Profile::Hostile {
                to.profile = from.profile;
            }
        }),
    ]
}

fn of_deaths(scenario: &mut Scenario) -> Vec<Edit> {
    let mut edits: Vec<Edit> = Vec::new();
    let of: Vec<(u32, Death)> = deaths(scenario).map(|(id, death)| (id, death.clone())).collect();
    for (id, was) in of {
        for simpler in [Death::Kill, Death::Power(Keeps::All), Death::Power(Keeps::Nothing)] {
            edits.push(Box::new(move |scenario| {
                if let Some(death) = death(scenario, id) {
                    *death = simpler.clone();
                }
            }));
        }
        let Death::Power(Keeps::These(list)) = was else { continue };
        for (at, part) in list.into_iter().enumerate() {
            let KeptPart::Write { bytes, .. } = part else { continue };
            edits.push(of_part(id, at, |_, grows| *grows = false));
            edits.push(of_part(id, at, |bytes, _| *bytes = None));
            for range in 0..bytes.map_or(0, |bytes| bytes.len()) {
                edits.push(of_part(id, at, move |bytes, _| {
                    if let Some(bytes) = bytes.as_mut().filter(|bytes| range < bytes.len()) {
                        bytes.remove(range);
                    }
                }));
            }
        }
    }
    edits
}

/// A change of one write that a power cut keeps.
fn of_part(
    id: u32,
    at: usize,
    change: impl Fn(&mut Option<Vec<(u64, u64)>>, &mut bool) + 'static,
) -> Edit {
    Box::new(move |scenario| {
        let part = parts(scenario, id).and_then(|parts| parts.get_mut(at));
        if let Some(KeptPart::Write { bytes, grows, .. }) = part {
            change(bytes, grows);
        }
    })
}

fn of_strikes(scenario: &Scenario) -> Vec<Edit> {
    let mut edits: Vec<Edit> = Vec::new();
    for id in scenario.strikes.iter().map(|strike| strike.id) {
        let mut add = |change: fn(&mut Blow)| {
            edits.push(Box::new(move |scenario: &mut Scenario| {
                let strike = scenario.strikes.iter_mut().find(|strike| strike.id == id);
                if let Some(strike) = strike {
                    change(&mut strike.what);
                }
            }));
        };
        for change in [
            |blow: &mut Blow| set_phase(blow, CrashPhase::After),
            |blow: &mut Blow| set_phase(blow, CrashPhase::Before),
            |blow: &mut Blow| {
                if let Blow::Fault { times, .. } = blow {
                    *times = 1;
                }
            },
        ] {
            add(change);
        }
    }
    edits
}

fn set_phase(blow: &mut Blow, to: CrashPhase) {
    if let Blow::Crash { phase, .. } = blow {
        *phase = to;
    }
}

fn of_steps(scenario: &Scenario) -> Vec<Edit> {
    let mut edits: Vec<Edit> = Vec::new();
    for step in &scenario.steps {
        let changes: Vec<ActionEdit> = match &step.does {
            Action::Send { records, .. } => of_send(records.len()),
            Action::CreateTopic { .. } => vec![Box::new(|action| {
                if let Action::CreateTopic { partitions, .. } = action {
                    *partitions = 1;
                }
            })],
            Action::Subscribe { topics, .. } => of_subscribe(topics.len()),
            Action::Restart(restart) => of_restart(restart.harm.len()),
            Action::PollWaiting { .. } => vec![Box::new(|action| *action = Action::Poll)],
            _ => Vec::new(),
        };
        let id = step.id;
        for change in changes {
            edits.push(Box::new(move |scenario| {
                if let Some(step) = scenario.steps.iter_mut().find(|step| step.id == id) {
                    change(&mut step.does);
                }
            }));
        }
    }
    edits
}

fn of_send(count: usize) -> Vec<ActionEdit> {
    fn on_records(change: impl Fn(&mut Vec<RecordSpec>) + 'static) -> ActionEdit {
        Box::new(move |action| {
            if let Action::Send { records, .. } = action {
                change(records);
            }
        })
    }
    let mut changes: Vec<ActionEdit> = vec![
        on_records(|records| records.truncate(1)),
        on_records(|records| records.iter_mut().for_each(|record| record.bytes = 0)),
        on_records(|records| records.iter_mut().for_each(|record| record.partition = 0)),
        Box::new(|action| {
            if let Action::Send { producer, .. } = action {
                *producer = None;
            }
        }),
        Box::new(|action| {
            if let Action::Send { later, .. } = action {
                *later = false;
            }
        }),
    ];
    for at in (0..count).rev() {
        changes.push(on_records(move |records| {
            if records.len() > 1 && at < records.len() {
                records.remove(at);
            }
        }));
        changes.push(on_records(move |records| {
            if let Some(record) = records.get_mut(at) {
                record.bytes = 0;
            }
        }));
        changes.push(on_records(move |records| {
            if let Some(record) = records.get_mut(at) {
                record.bytes /= 10;
            }
        }));
    }
    changes
}

fn of_subscribe(count: usize) -> Vec<ActionEdit> {
    let without = |at: usize| -> ActionEdit {
        Box::new(move |action| {
            if let Action::Subscribe { topics, .. } = action
                && at < topics.len()
            {
                topics.remove(at);
            }
        })
    };
    (0..count).rev().map(without).collect()
}

fn of_restart(harms: usize) -> Vec<ActionEdit> {
    let mut changes: Vec<ActionEdit> = vec![
        Box::new(|action| {
            if let Action::Restart(restart) = action {
                restart.retention_records = None;
            }
        }),
        Box::new(|action| {
            if let Action::Restart(restart) = action {
                restart.how = Stop::Close;
            }
        }),
    ];
    for at in (0..harms).rev() {
        changes.push(Box::new(move |action| {
            if let Action::Restart(restart) = action
                && at < restart.harm.len()
            {
                restart.harm.remove(at);
            }
        }));
    }
    changes
}
