//! An operation out of a map, in one pass: the only place that knows what an operation looks like when it is read.

use std::borrow::Cow;

use super::error::Misfit;
use super::fields::{Fields, Shape, keys, offsets};
use super::lexer::Token;
use super::parser::{Field, Parser, each_once, repeated};
use super::steps::micro_ops;
use super::values;
use crate::history::{
    Action, Attachments, Datum, Key, Kind, Operation, Process, RebalanceEvent, RecordHashMap,
    RecordKey, RecordKeyMap,
};
use crate::merkle::Hash;

/// An operation as it was read, whose index may be missing.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) index: Option<u64>,
    pub(crate) operation: Operation,
}

/// What has been read of an operation so far.
#[derive(Debug, Default)]
struct Draft<'t> {
    index: Option<u64>,
    time_ns: Option<i64>,
    process: Option<Process>,
    /// Where the process stands.
    process_at: usize,
    kind: Option<Kind>,
    function: Option<Cow<'t, str>>,
    /// Where the value begins, if it came before the process and the function, which say what shape it has.
    value_at: Option<usize>,
    action: Option<Action>,
    attachments: Attachments,
    /// Which of an operation's own fields it has had so far, a bit each.
    had: u8,
    /// The names of its other fields, with their places.
    others: Vec<(Datum, usize)>,
}

/// The fields of which each operation has at most one, and which need no list to say so.
const OWN_FIELDS: [&str; 6] = ["index", "time", "process", "type", "f", "value"];

/// Reads one operation: a map, in EDN perhaps a tagged one.
pub(crate) fn operation(parser: &mut Parser<'_>) -> Result<Decoded, Misfit> {
    let start = parser.position();
    if let Token::Tag(_) = parser.peek()? {
        parser.token()?;
    }
    let mut draft = Draft::default();
    parser.map("an operation, which is a map", |parser| {
        let at = parser.position();
        match parser.field()? {
            Field::Named(name) => {
                draft.meet(&name, at)?;
                draft.field(parser, &name)
            }
            Field::Other(key) => {
                parser.colon()?;
                draft.others.push((key.clone(), at));
                draft.attachments.rest.push((key, parser.datum()?));
                Ok(())
            }
        }
    })?;
    draft.finish(parser, start)
}

impl<'t> Draft<'t> {
    /// Fails if the operation has had the field, or will at its end.
    fn meet(&mut self, name: &str, at: usize) -> Result<(), Misfit> {
        let Some(own) = OWN_FIELDS.iter().position(|own| *own == name) else {
            self.others.push((Datum::keyword(name), at));
            return Ok(());
        };
        let bit = 1 << own;
        if self.had & bit != 0 {
            return Err(repeated(name, at));
        }
        self.had |= bit;
        Ok(())
    }

    fn field(&mut self, parser: &mut Parser<'t>, name: &str) -> Result<(), Misfit> {
        parser.colon()?;
        let at = parser.position();
        match name {
            "index" => self.index = optional(parser, Datum::whole, "a whole number as index")?,
            "time" => {
                self.time_ns =
                    optional(parser, nanoseconds, "a whole number of nanoseconds as time")?;
            }
            "process" => {
                self.process = Some(process(parser)?);
                self.process_at = at;
            }
            "type" => self.kind = Some(kind(parser)?),
            "f" => self.function = Some(parser.name("a function's name as f")?),
            "value" => {
                if let (Some(process), Some(function)) = (&self.process, &self.function) {
                    self.action = Some(action_of(process, parser, function)?);
                } else {
                    self.value_at = Some(at);
                    parser.datum()?;
                }
            }
            _ => {
                let datum = parser.datum()?;
                attach(&mut self.attachments, name, datum)
                    .map_err(|expected| Misfit::new(at, expected))?;
            }
        }
        Ok(())
    }

    fn finish(mut self, parser: &mut Parser<'_>, start: usize) -> Result<Decoded, Misfit> {
        each_once(self.others.iter().map(|(name, at)| (name, *at)))?;
        let missing =
            |field: &str| Misfit::new(start, format!("an operation with a field `{field}`"));
        let function = self.function.ok_or_else(|| missing("f"))?;
        let process = self.process.ok_or_else(|| missing("process"))?;
        let kind = self.kind.ok_or_else(|| missing("type"))?;
        refuse_unnumbered_client(&process, &function)
            .map_err(|expected| Misfit::new(self.process_at, expected))?;
        if let Some(at) = self.value_at {
            let end = parser.position();
            parser.rewind(at);
            self.action = Some(action_of(&process, parser, &function)?);
            parser.rewind(end);
        }
        let action = match self.action {
            Some(action) => action,
            None => {
                no_value(&process, &function).map_err(|expected| Misfit::new(start, expected))?
            }
        };
        let mut operation = Operation::new(process, kind, action).with(self.attachments);
        operation.time_ns = self.time_ns;
        Ok(Decoded { index: self.index, operation })
    }
}

const KIND_EXPECTED: &str = "invoke, ok, fail or info as type";

/// Only numbered processes are judged as clients, so that whatever a client does under a name would go unseen. The nemesis may
/// call its functions as it likes.
fn refuse_unnumbered_client(process: &Process, function: &str) -> Shape<()> {
    match process {
        Process::Named(name)
            if *process != Process::nemesis()
                && matches!(function, "send" | "poll" | "txn" | "assign" | "subscribe") =>
        {
            Err(format!(
                "a number as the process of a {function}, which only clients do, found {name:?}"
            ))
        }
        _ => Ok(()),
    }
}

/// The action of a function without a value.
fn no_value(process: &Process, function: &str) -> Shape<Action> {
    match function {
        "send" => Ok(Action::Send(Vec::new())),
        "poll" => Ok(Action::Poll(Vec::new())),
        "txn" => Ok(Action::Txn(Vec::new())),
        "assign" => Ok(Action::Assign(Vec::new())),
        "subscribe" => Ok(Action::Subscribe(Vec::new())),
        _ => match values::action(function, Datum::Nil) {
            Err(_) if !process.is_client() => Ok(other(function, Datum::Nil)),
            action => action,
        },
    }
}

fn other(function: &str, value: Datum) -> Action {
    Action::Other { function: function.into(), value }
}

fn optional<T>(
    parser: &mut Parser<'_>,
    read: impl FnOnce(&Datum) -> Option<T>,
    expected: &str,
) -> Result<Option<T>, Misfit> {
    let at = parser.position();
    match parser.datum()? {
        Datum::Nil => Ok(None),
        datum => match read(&datum) {
            Some(value) => Ok(Some(value)),
            None => Err(Misfit::new(at, format!("{expected}, found {datum}"))),
        },
    }
}

/// Some clocks begin before the run, so a time may be negative.
fn nanoseconds(datum: &Datum) -> Option<i64> {
    match datum {
        Datum::Int(number) => Some(*number),
        _ => None,
    }
}

fn process(parser: &mut Parser<'_>) -> Result<Process, Misfit> {
    let at = parser.position();
    match parser.datum()? {
        Datum::Int(number) => Ok(Process::Client(number)),
        datum => match datum.name() {
            Some(name) => Ok(Process::Named(name.into())),
            None => Err(Misfit::new(at, format!("a number or a name as process, found {datum}"))),
        },
    }
}

fn kind(parser: &mut Parser<'_>) -> Result<Kind, Misfit> {
    let at = parser.position();
    let name = parser.name(KIND_EXPECTED)?;
    Kind::from_name(&name)
        .ok_or_else(|| Misfit::new(at, format!("{KIND_EXPECTED}, found {name:?}")))
}

/// Reads the value of a function. A nemesis may have functions of its own that only share their name with those that are known,
/// so that one with a value of another shape is taken for such.
fn action_of(process: &Process, parser: &mut Parser<'_>, function: &str) -> Result<Action, Misfit> {
    let at = parser.position();
    let misfit = match action(process, parser, function) {
        Err(misfit) if !process.is_client() => misfit,
        result => return result,
    };
    parser.rewind(at);
    parser.datum().map(|value| other(function, value)).map_err(|_| misfit)
}

fn action(process: &Process, parser: &mut Parser<'_>, function: &str) -> Result<Action, Misfit> {
    match function {
        "send" => micro_ops(parser).map(Action::Send),
        "poll" => micro_ops(parser).map(Action::Poll),
        "txn" => micro_ops(parser).map(Action::Txn),
        _ => {
            let at = parser.position();
            match parser.datum()? {
                Datum::Nil => no_value(process, function),
                value => values::action(function, value),
            }
            .map_err(|expected| Misfit::new(at, expected))
        }
    }
}

/// Puts a field beyond Jepsen's six where it belongs.
fn attach(attachments: &mut Attachments, name: &str, datum: Datum) -> Shape<()> {
    let misfit = |expected: &str, datum: &Datum| format!("{expected} as {name}, found {datum}");
    match name {
        "hashes" => {
            attachments.hashes = hashes(&datum)
                .ok_or_else(|| misfit("a map of keys to lists of [offset hash]", &datum))?;
        }
        "record-keys" => {
            attachments.record_keys = record_keys(&datum)
                .ok_or_else(|| misfit("a map of keys to lists of [record key]", &datum))?;
        }
        "ends" => {
            attachments.ends =
                offsets(&datum).ok_or_else(|| misfit("a map of keys to end offsets", &datum))?;
        }
        "commits" => attachments.commits = Some(Box::new(values::commit("commits", datum)?)),
        "rebalance-log" => {
            let log = rebalance_log(&datum)
                .ok_or_else(|| misfit("a list of maps with `keys`", &datum))?;
            attachments.rebalance_log = Some(log);
        }
        "group" => attachments.group = Some(datum),
        "seek-to-beginning?" if datum == Datum::Bool(true) => attachments.seek_to_beginning = true,
        "error" if datum != Datum::Nil => attachments.error = Some(datum),
        _ => attachments.rest.push((Datum::keyword(name), datum)),
    }
    Ok(())
}

fn hashes(datum: &Datum) -> Option<RecordHashMap> {
    let pair = |datum: &Datum| match datum.items()? {
        [offset, hash] => Some((offset.whole()?, Hash::from_hex(hash.name()?)?)),
        _ => None,
    };
    let entry = |(key, pairs): &(Datum, Datum)| {
        let pairs = pairs.items()?.iter().map(pair).collect::<Option<_>>()?;
        Some((Key::new(key.clone()), pairs))
    };
    datum.entries()?.iter().map(entry).collect()
}

fn record_keys(datum: &Datum) -> Option<RecordKeyMap> {
    let one = |datum: &Datum| {
        let (record, key, is_tombstone) = match datum.items()? {
            [record, key] => (record, key, false),
            [record, key, Datum::Bool(is_tombstone)] => (record, key, *is_tombstone),
            _ => return None,
        };
        Some(RecordKey { record: record.clone(), key: key.clone(), is_tombstone })
    };
    let entry = |(key, known): &(Datum, Datum)| {
        let known = known.items()?.iter().map(one).collect::<Option<_>>()?;
        Some((Key::new(key.clone()), known))
    };
    datum.entries()?.iter().map(entry).collect()
}

fn rebalance_log(datum: &Datum) -> Option<Vec<RebalanceEvent>> {
    let event = |datum: &Datum| {
        let mut fields = Fields::of("rebalance-log", datum.clone()).ok()?;
        Some(RebalanceEvent {
            keys: fields.optional("keys", keys, "keys").ok()?.unwrap_or_default(),
            rest: fields.rest(),
        })
    };
    if *datum == Datum::Nil {
        return Some(Vec::new());
    }
    datum.items()?.iter().map(event).collect()
}
