//! An operation into a map: the counterpart of reading one.

use super::fields::{MapBuilder, hash_datum, keys_datum, offsets_datum};
use super::lexer::Notation;
use super::sink::Sink;
use super::values;
use crate::history::{
    Action, Attachments, Datum, Key, MicroOp, Operation, Polled, Process, RebalanceEvent,
    RecordHashMap, RecordKey, RecordKeyMap,
};
use crate::merkle::Hash;

/// Writes one operation.
pub(crate) fn operation(sink: &mut Sink<'_>, operation: &Operation) {
    sink.map(|sink| {
        sink.field("index");
        sink.whole(operation.index);
        if let Some(time_ns) = operation.time_ns {
            sink.field("time");
            sink.datum(&Datum::Int(time_ns));
        }
        sink.field("process");
        match &operation.process {
            Process::Client(number) => sink.datum(&Datum::Int(*number)),
            Process::Named(name) => sink.name(name),
        }
        sink.field("type");
        sink.name(operation.kind.name());
        sink.field("f");
        sink.name(operation.action.function());
        sink.field("value");
        value(sink, &operation.action);
        if let Some(attachments) = &operation.attachments {
            write_attachments(sink, attachments);
        }
    });
}

/// Writes an operation's value.
fn value(sink: &mut Sink<'_>, action: &Action) {
    match action {
        Action::Send(steps) | Action::Poll(steps) | Action::Txn(steps) => {
            sink.list(|sink| steps.iter().for_each(|step| micro_op(sink, step)));
        }
        _ => sink.datum(&values::value(action, sink.notation())),
    }
}

fn micro_op(sink: &mut Sink<'_>, step: &MicroOp) {
    sink.list(|sink| match step {
        MicroOp::Send { key, offset, value } => {
            sink.name("send");
            sink.datum(key.datum());
            match offset {
                Some(offset) => sink.list(|sink| {
                    sink.whole(*offset);
                    sink.datum(value);
                }),
                // A value that is itself a list would be taken for an offset and a value.
                None if value.items().is_some() => sink.list(|sink| {
                    sink.nil();
                    sink.datum(value);
                }),
                None => sink.datum(value),
            }
        }
        MicroOp::Poll(polled) => {
            sink.name("poll");
            if let Some(keys) = polled {
                sink.map(|sink| {
                    for (key, records) in keys {
                        polled_key(sink, key, records);
                    }
                });
            }
        }
    });
}

fn polled_key(sink: &mut Sink<'_>, key: &Key, records: &[Polled]) {
    sink.key(key.datum());
    sink.list(|sink| {
        for record in records {
            sink.list(|sink| {
                match record.offset {
                    Some(offset) => sink.whole(offset),
                    None => sink.nil(),
                }
                sink.datum(&record.value);
            });
        }
    });
}

fn write_attachments(sink: &mut Sink<'_>, attachments: &Attachments) {
    let notation = sink.notation();
    let mut field = |name: &str, datum: &Datum| {
        sink.field(name);
        sink.datum(datum);
    };
    if !attachments.hashes.is_empty() {
        field("hashes", &hashes_datum(&attachments.hashes));
    }
    if !attachments.record_keys.is_empty() {
        field("record-keys", &record_keys_datum(&attachments.record_keys));
    }
    if !attachments.ends.is_empty() {
        field("ends", &offsets_datum(&attachments.ends));
    }
    if let Some(commits) = &attachments.commits {
        field("commits", &values::commit_datum(commits, notation));
    }
    if let Some(log) = &attachments.rebalance_log {
        let events = log.iter().map(|event| rebalance_event(event, notation)).collect();
        field("rebalance-log", &Datum::seq(events));
    }
    if let Some(group) = &attachments.group {
        field("group", group);
    }
    if attachments.seek_to_beginning {
        field("seek-to-beginning?", &Datum::Bool(true));
    }
    if let Some(error) = &attachments.error {
        field("error", error);
    }
    for (key, datum) in &attachments.rest {
        sink.field_of(key);
        sink.datum(datum);
    }
}

fn hashes_datum(hashes: &RecordHashMap) -> Datum {
    let pair =
        |(offset, hash): &(u64, Hash)| Datum::seq(vec![Datum::from(*offset), hash_datum(hash)]);
    let entry = |(key, pairs): &(Key, Vec<(u64, Hash)>)| {
        (key.datum().clone(), Datum::seq(pairs.iter().map(pair).collect()))
    };
    Datum::map(hashes.iter().map(entry).collect())
}

fn record_keys_datum(keys: &RecordKeyMap) -> Datum {
    let one = |known: &RecordKey| {
        let mut items = vec![known.record.clone(), known.key.clone()];
        items.extend(known.is_tombstone.then_some(Datum::Bool(true)));
        Datum::seq(items)
    };
    let entry = |(key, known): &(Key, Vec<RecordKey>)| {
        (key.datum().clone(), Datum::seq(known.iter().map(one).collect()))
    };
    Datum::map(keys.iter().map(entry).collect())
}

fn rebalance_event(event: &RebalanceEvent, notation: Notation) -> Datum {
    MapBuilder::new(notation).field("keys", keys_datum(&event.keys)).finish(&event.rest)
}
