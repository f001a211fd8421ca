//! The steps of sends, polls and transactions.

use super::error::Misfit;
use super::lexer::Token;
use super::parser::{Parser, each_once};
use crate::history::{Datum, Key, MicroOp, Polled, PolledMap};

/// Reads the steps of an operation; none for nil.
pub(super) fn micro_ops(parser: &mut Parser<'_>) -> Result<Vec<MicroOp>, Misfit> {
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
            _ => {
                return Err(Misfit::new(
                    at,
                    "the end of the micro-operation, [send key value] or [send key [offset value]]",
                ));
            }
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
    let (mut keys, mut places) = (Vec::with_capacity(1), Vec::with_capacity(1));
    // Collected here first, so that each key's records take no more room than they need.
    let mut records = Vec::new();
    parser.map("a map of keys to lists of [offset value]", |parser| {
        places.push(parser.position());
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
    each_once(keys.iter().map(|(key, _)| key).zip(places))?;
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
