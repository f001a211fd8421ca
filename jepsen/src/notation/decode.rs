//! An operation out of a map, in one pass: the only place that knows what an operation looks like when it is read.

use std::borrow::Cow;

use super::error::Misfit;
use super::fields::{Fields, Shape, keys, offsets};
use super::lexer::Token;
use super::parser::{Field, Parser};
use super::values;
use crate::history::{
    Action, Attachments, Datum, Key, Kind, MicroOp, Operation, Polled, PolledMap, Process,
    RebalanceEvent, RecordHashMap,
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
    kind: Option<Kind>,
    function: Option<Cow<'t, str>>,
    /// Where the value begins, if it came before the function that says what shape it has.
    value_at: Option<usize>,
    action: Option<Action>,
    attachments: Attachments,
}

/// Reads one operation: a map, in EDN perhaps a tagged one.
pub(crate) fn operation(parser: &mut Parser<'_>) -> Result<Decoded, Misfit> {
    let start = parser.position();
    if let Token::Tag(_) = parser.peek()? {
        parser.token()?;
    }
    let mut draft = Draft::default();
    parser.map("an operation, which is a map", |parser| match parser.field()? {
        Field::Named(name) => draft.field(parser, &name),
        Field::Other(key) => {
            parser.colon()?;
            draft.attachments.rest.push((key, parser.datum()?));
            Ok(())
        }
    })?;
    draft.finish(parser, start)
}

impl<'t> Draft<'t> {
    fn field(&mut self, parser: &mut Parser<'t>, name: &str) -> Result<(), Misfit> {
        parser.colon()?;
        let at = parser.position();
        match name {
            "index" => self.index = optional(parser, Datum::whole, "a whole number as index")?,
            "time" => {
                self.time_ns =
                    optional(parser, nanoseconds, "a whole number of nanoseconds as time")?;
            }
            "process" => self.process = Some(process(parser)?),
            "type" => self.kind = Some(kind(parser)?),
            "f" => self.function = Some(parser.name("a function's name as f")?),
            "value" => {
                if let Some(function) = self.function.take() {
                    self.action = Some(action(parser, &function)?);
                    self.function = Some(function);
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
        let missing =
            |field: &str| Misfit::new(start, format!("an operation with a field `{field}`"));
        let function = self.function.ok_or_else(|| missing("f"))?;
        if let Some(at) = self.value_at {
            let end = parser.position();
            parser.rewind(at);
            self.action = Some(action(parser, &function)?);
            parser.rewind(end);
        }
        let action = match self.action {
            Some(action) => action,
            None => no_value(&function).map_err(|expected| Misfit::new(start, expected))?,
        };
        let mut operation = Operation::new(
            self.process.ok_or_else(|| missing("process"))?,
            self.kind.ok_or_else(|| missing("type"))?,
            action,
        )
        .with(self.attachments);
        operation.time_ns = self.time_ns;
        Ok(Decoded { index: self.index, operation })
    }
}

const KIND_EXPECTED: &str = "invoke, ok, fail or info as type";

/// The action of a function without a value.
fn no_value(function: &str) -> Shape<Action> {
    match function {
        "send" => Ok(Action::Send(Vec::new())),
        "poll" => Ok(Action::Poll(Vec::new())),
        "txn" => Ok(Action::Txn(Vec::new())),
        "assign" => Ok(Action::Assign(Vec::new())),
        "subscribe" => Ok(Action::Subscribe(Vec::new())),
        _ => values::action(function, Datum::Nil),
    }
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

fn action(parser: &mut Parser<'_>, function: &str) -> Result<Action, Misfit> {
    match function {
        "send" => micro_ops(parser).map(Action::Send),
        "poll" => micro_ops(parser).map(Action::Poll),
        "txn" => micro_ops(parser).map(Action::Txn),
        _ => {
            let at = parser.position();
            match parser.datum()? {
                Datum::Nil => no_value(function),
                value => values::action(function, value),
            }
            .map_err(|expected| Misfit::new(at, expected))
        }
    }
}

fn micro_ops(parser: &mut Parser<'_>) -> Result<Vec<MicroOp>, Misfit> {
    // Most operations have one step, and a list that grows takes room for four.
    let mut steps = Vec::with_capacity(1);
    if is_nil(&parser.peek()?) {
        parser.token()?;
        return Ok(steps);
    }
    parser.list("a list of micro-operations", |parser| {
        steps.push(micro_op(parser)?);
        Ok(())
    })?;
    Ok(steps)
}

fn is_nil(token: &Token<'_>) -> bool {
    matches!(token, Token::Symbol("nil" | "null"))
}

/// `["send", key, value or [offset, value]]`, `["poll"]` or `["poll", {key: [[offset, value], …]}]`.
fn micro_op(parser: &mut Parser<'_>) -> Result<MicroOp, Misfit> {
    let start = parser.position();
    let mut head: Option<Head> = None;
    let mut key: Option<Key> = None;
    let mut sent: Option<(Option<u64>, Datum)> = None;
    let mut polled: Option<PolledMap> = None;
    parser.list("a micro-operation, [send key value] or [poll]", |parser| {
        let at = parser.position();
        match (&head, &key, &sent, &polled) {
            (None, ..) => head = Some(micro_op_head(parser)?),
            (Some(Head::Send), None, ..) => key = Some(Key::new(parser.datum()?)),
            (Some(Head::Send), Some(_), None, _) => sent = Some(sent_value(parser.datum()?)),
            (Some(Head::Poll), _, _, None) => polled = polled_keys(parser)?,
            _ => return Err(Misfit::new(at, "the end of the micro-operation")),
        }
        Ok(())
    })?;
    match (head, key, sent) {
        (Some(Head::Poll), ..) => Ok(MicroOp::Poll(polled)),
        (Some(Head::Send), Some(key), Some((offset, value))) => {
            Ok(MicroOp::Send { key, offset, value })
        }
        _ => Err(Misfit::new(start, "a micro-operation, [send key value] or [poll]")),
    }
}

enum Head {
    Send,
    Poll,
}

fn micro_op_head(parser: &mut Parser<'_>) -> Result<Head, Misfit> {
    let at = parser.position();
    let token = parser.token()?;
    match &token {
        Token::Keyword("send") | Token::Symbol("send") => Ok(Head::Send),
        Token::Keyword("poll") | Token::Symbol("poll") => Ok(Head::Poll),
        Token::Str(name) if name == "send" => Ok(Head::Send),
        Token::Str(name) if name == "poll" => Ok(Head::Poll),
        _ => Err(Misfit::new(at, format!("send or poll, found {}", token.describe()))),
    }
}

/// A list of two, an offset or nil and anything, is a record at an offset; all else is the record itself.
fn sent_value(datum: Datum) -> (Option<u64>, Datum) {
    match &datum {
        Datum::Seq(items) => match &**items {
            [Datum::Nil, value] => (None, value.clone()),
            [offset, value] if offset.whole().is_some() => (offset.whole(), value.clone()),
            // Kafka's clients say -1 for an offset that they were not told.
            [Datum::Int(..0), value] => (None, value.clone()),
            _ => (None, datum),
        },
        _ => (None, datum),
    }
}

fn polled_keys(parser: &mut Parser<'_>) -> Result<Option<PolledMap>, Misfit> {
    if is_nil(&parser.peek()?) {
        parser.token()?;
        return Ok(None);
    }
    let mut keys = Vec::with_capacity(1);
    // Collected here first, so that each key's records take no more room than they need.
    let mut records = Vec::new();
    parser.map("a map of keys to lists of [offset value]", |parser| {
        let key = Key::new(parser.map_key()?);
        parser.colon()?;
        parser.list("a list of [offset value]", |parser| {
            records.push(polled_record(parser)?);
            Ok(())
        })?;
        let mut exact = Vec::with_capacity(records.len());
        exact.append(&mut records);
        keys.push((key, exact));
        Ok(())
    })?;
    keys.shrink_to_fit();
    Ok(Some(keys))
}

fn polled_record(parser: &mut Parser<'_>) -> Result<Polled, Misfit> {
    let start = parser.position();
    let mut offset: Option<Option<u64>> = None;
    let mut value = None;
    parser.list("a record, [offset value]", |parser| {
        let at = parser.position();
        match (&offset, &value) {
            (None, _) => offset = Some(record_offset(parser)?),
            (Some(_), None) => value = Some(parser.datum()?),
            _ => return Err(Misfit::new(at, "the end of the record, [offset value]")),
        }
        Ok(())
    })?;
    match (offset, value) {
        (Some(offset), Some(value)) => Ok(Polled { offset, value }),
        _ => Err(Misfit::new(start, "a record, [offset value]")),
    }
}

fn record_offset(parser: &mut Parser<'_>) -> Result<Option<u64>, Misfit> {
    let at = parser.position();
    match parser.datum()? {
        Datum::Nil => Ok(None),
        datum => match datum.whole() {
            Some(offset) => Ok(Some(offset)),
            None => Err(Misfit::new(at, format!("an offset, found {datum}"))),
        },
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
