//! What a clean history holds, so that an anomaly can be put where there is room for it.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{
    Action, Datum, FinalPolls, History, Key, Kind, MicroOp, Operation, Polled, Process, Span,
    SpanMap,
};

/// What is known of a clean history.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The largest number that anything has: process, key or record.
    pub(super) number_max: i64,
    pub(super) keys: BTreeMap<Key, KeySurvey>,
    /// Clients that read everything at the end.
    final_readers: BTreeSet<Process>,
    /// Keys that some damage touches.
    pub(super) damaged: BTreeSet<Key>,
}

/// What is known of one key.
#[derive(Debug, Default)]
pub(super) struct KeySurvey {
    /// The offset behind the last record.
    pub(super) end: u64,
    /// The records by offset.
    pub(super) records: BTreeMap<u64, RecordSurvey>,
    /// What may be missing.
    pub(super) removed: Vec<Span>,
}

/// What is known of one record.
#[derive(Debug)]
pub(super) struct RecordSurvey {
    pub(super) value: Datum,
    /// The `ok` operation that sent it, if there is one.
    pub(super) sent_at: Option<usize>,
    /// The `ok` operations that polled it, in order.
    pub(super) polled_at: Vec<usize>,
}

/// A run of records of one key within a poll.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) position: usize,
    /// Which step of the operation, and which key of its answer.
    pub(super) step: usize,
    pub(super) entry: usize,
    pub(super) key: Key,
    pub(super) length: usize,
}

impl Survey {
    pub(super) fn new(history: &History) -> Self {
        let mut survey = Self::default();
        for (position, operation) in history.operations().iter().enumerate() {
            if let Process::Client(number) = operation.process {
                survey.number_max = survey.number_max.max(number);
            }
            survey.note_steps(position, operation);
            survey.note_others(operation);
        }
        survey
    }

    fn note_steps(&mut self, position: usize, operation: &Operation) {
        let ok = operation.kind == Kind::Ok;
        for step in operation.action.micro_ops() {
            match step {
                MicroOp::Send { key, offset, value } => {
                    self.note_numbers(key, value);
                    if let (Some(offset), true) = (*offset, operation.kind != Kind::Fail) {
                        let record = self.note_record(key, offset, value);
                        if ok {
                            record.sent_at = Some(position);
                        }
                    }
                }
                MicroOp::Poll(keys) => {
                    for (key, polled) in keys.iter().flatten() {
                        self.note_polled(key, polled, ok.then_some(position));
                    }
                }
            }
        }
    }

    fn note_polled(&mut self, key: &Key, polled: &[Polled], position: Option<usize>) {
        for record in polled {
            self.note_numbers(key, &record.value);
            if let Some(offset) = record.offset {
                self.note_record(key, offset, &record.value).polled_at.extend(position);
            }
        }
    }

    fn note_record(&mut self, key: &Key, offset: u64, value: &Datum) -> &mut RecordSurvey {
        let survey = self.keys.entry(key.clone()).or_default();
        survey.end = survey.end.max(offset + 1);
        survey.records.entry(offset).or_insert_with(|| RecordSurvey {
            value: value.clone(),
            sent_at: None,
            polled_at: Vec::new(),
        })
    }

    fn note_numbers(&mut self, key: &Key, value: &Datum) {
        for datum in [key.datum(), value] {
            if let Datum::Int(number) = datum {
                self.number_max = self.number_max.max(*number);
            }
        }
    }

    fn note_others(&mut self, operation: &Operation) {
        match &operation.action {
            Action::Retain(starts) => {
                for (key, start) in starts {
                    self.note_removed(key, Span { from: 0, to: *start });
                }
            }
            Action::Compact(spans) => self.note_all_removed(spans),
            Action::Detected(detected) => self.note_all_removed(&detected.spans),
            Action::Damage(damage) => {
                self.damaged.extend(damage.spans.iter().flatten().map(|(key, _)| key.clone()));
            }
            Action::FinalPolls(FinalPolls::Done(ends)) => {
                self.final_readers.insert(operation.process.clone());
                for (key, end) in ends {
                    let survey = self.keys.entry(key.clone()).or_default();
                    survey.end = survey.end.max(*end);
                }
            }
            _ => {}
        }
    }

    fn note_all_removed(&mut self, spans: &SpanMap) {
        for (key, spans) in spans {
            for span in spans {
                self.note_removed(key, *span);
            }
        }
    }

    fn note_removed(&mut self, key: &Key, span: Span) {
        self.keys.entry(key.clone()).or_default().removed.push(span);
    }

    /// Whether the process reads everything at the end, so that what it polls must be complete.
    pub(super) fn is_final_reader(&self, process: &Process) -> bool {
        self.final_readers.contains(process)
    }

    /// The record at an offset of a key.
    pub(super) fn record(&self, key: &Key, offset: u64) -> Option<&RecordSurvey> {
        self.keys.get(key)?.records.get(&offset)
    }

    /// The offset behind the last record of a key.
    pub(super) fn end(&self, key: &Key) -> u64 {
        self.keys.get(key).map_or(0, |survey| survey.end)
    }

    /// Whether the record may lawfully be missing at some time.
    pub(super) fn is_removed(&self, key: &Key, offset: u64) -> bool {
        self.keys
            .get(key)
            .is_some_and(|survey| survey.removed.iter().any(|span| span.contains(offset)))
    }

    /// Whether the record is polled by another `ok` operation than the one at a position.
    pub(super) fn is_polled_elsewhere(&self, key: &Key, offset: u64, position: usize) -> bool {
        self.record(key, offset)
            .is_some_and(|record| record.polled_at.iter().any(|at| *at != position))
    }

    /// The keys that have records.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.keys
            .iter()
            .filter(|(_, survey)| !survey.records.is_empty())
            .map(|(key, _)| key.clone())
            .collect()
    }
}

/// All runs of records in the `ok` polls and transactions that fit.
pub(super) fn runs(history: &History, fits: impl Fn(usize, &Operation) -> bool) -> Vec<Run> {
    let mut runs = Vec::new();
    for (position, operation) in history.operations().iter().enumerate() {
        if operation.kind != Kind::Ok || !fits(position, operation) {
            continue;
        }
        for (step, micro_op) in operation.action.micro_ops().iter().enumerate() {
            let MicroOp::Poll(Some(keys)) = micro_op else {
                continue;
            };
            for (entry, (key, polled)) in keys.iter().enumerate() {
                runs.push(Run { position, step, entry, key: key.clone(), length: polled.len() });
            }
        }
    }
    runs
}

/// The records of a run, to be changed.
pub(super) fn run_mut<'o>(operation: &'o mut Operation, run: &Run) -> Option<&'o mut Vec<Polled>> {
    let (Action::Poll(steps) | Action::Txn(steps)) = &mut operation.action else {
        return None;
    };
    match steps.get_mut(run.step)? {
        MicroOp::Poll(Some(keys)) => keys.get_mut(run.entry).map(|(_, polled)| polled),
        _ => None,
    }
}
