//! Taking a map's fields apart, and putting them together again.

use super::lexer::Notation;
use crate::history::{Datum, Key, OffsetMap, Rest, Span, SpanMap};
use crate::merkle::Hash;

/// What was expected of a value, in words that follow "expected".
pub(crate) type Shape<T> = Result<T, String>;

/// The fields of a map, by name, each taken once.
#[derive(Debug)]
pub(crate) struct Fields {
    of: &'static str,
    entries: Vec<(Datum, Datum)>,
}

impl Fields {
    /// The fields of `datum`, the value of function `of`; none for nil. A string and a keyword may name the same field.
    pub(crate) fn of(of: &'static str, datum: Datum) -> Shape<Self> {
        match datum {
            Datum::Map(entries) => {
                let mut names: Vec<&str> =
                    entries.iter().filter_map(|(name, _)| name.name()).collect();
                names.sort_unstable();
                let twice =
                    names.iter().zip(names.iter().skip(1)).find(|(name, next)| name == next);
                if let Some((name, _)) = twice {
                    return Err(format!(
                        "each field once in the value of {of}, found `{name}` twice"
                    ));
                }
                Ok(Self { of, entries: entries.into_vec() })
            }
            Datum::Nil => Ok(Self { of, entries: Vec::new() }),
            other => Err(format!("a map as the value of {of}, found {other}")),
        }
    }

    /// Takes a field that may be missing or nil.
    pub(crate) fn optional<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&Datum) -> Option<T>,
        expected: &str,
    ) -> Shape<Option<T>> {
        let found = self.entries.iter().position(|(key, _)| key.name() == Some(name));
        let Some(at) = found else { return Ok(None) };
        match self.entries.remove(at).1 {
            Datum::Nil => Ok(None),
            datum => match read(&datum) {
                Some(value) => Ok(Some(value)),
                None => Err(format!(
                    "{expected} as `{name}` in the value of {}, found {datum}",
                    self.of
                )),
            },
        }
    }

    /// Takes a field that must be there.
    pub(crate) fn required<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&Datum) -> Option<T>,
        expected: &str,
    ) -> Shape<T> {
        let of = self.of;
        self.optional(name, read, expected)?
            .ok_or_else(|| format!("{expected} as `{name}` in the value of {of}, found none"))
    }

    /// Takes a field that may be anything but nil.
    pub(crate) fn datum(&mut self, name: &str, expected: &str) -> Shape<Datum> {
        self.required(name, |datum| Some(datum.clone()), expected)
    }

    /// Takes a flag, which is false if it is missing.
    pub(crate) fn flag(&mut self, name: &str) -> Shape<bool> {
        Ok(self.optional(name, boolean, "true or false")?.unwrap_or(false))
    }

    /// What nobody took.
    pub(crate) fn rest(self) -> Rest {
        self.entries
    }
}

/// Puts a value together, field by field.
#[derive(Debug)]
pub(crate) struct MapBuilder {
    notation: Notation,
    entries: Vec<(Datum, Datum)>,
}

impl MapBuilder {
    pub(crate) fn new(notation: Notation) -> Self {
        Self { notation, entries: Vec::new() }
    }

    /// A field is named by a keyword in EDN and by a plain string in JSON, as the notations' users write it.
    pub(crate) fn field(mut self, name: &str, value: Datum) -> Self {
        let name = match self.notation {
            Notation::Json => Datum::str(name),
            Notation::Edn => Datum::keyword(name),
        };
        self.entries.push((name, value));
        self
    }

    /// A flag, left out where it is false.
    pub(crate) fn flag(self, name: &str, value: bool) -> Self {
        if value { self.field(name, Datum::Bool(true)) } else { self }
    }

    /// A field that may be missing.
    pub(crate) fn maybe(self, name: &str, value: Option<Datum>) -> Self {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }

    pub(crate) fn finish(mut self, rest: &Rest) -> Datum {
        self.entries.extend(rest.iter().cloned());
        Datum::map(self.entries)
    }
}

pub(crate) fn boolean(datum: &Datum) -> Option<bool> {
    match datum {
        Datum::Bool(value) => Some(*value),
        _ => None,
    }
}

pub(crate) fn hash(datum: &Datum) -> Option<Hash> {
    Hash::from_hex(datum.name()?)
}

pub(crate) fn hashes(datum: &Datum) -> Option<Vec<Hash>> {
    datum.items()?.iter().map(hash).collect()
}

pub(crate) fn keys(datum: &Datum) -> Option<Vec<Key>> {
    Some(datum.items()?.iter().cloned().map(Key::new).collect())
}

/// `{key: offset, …}`
pub(crate) fn offsets(datum: &Datum) -> Option<OffsetMap> {
    let pair = |(key, offset): &(Datum, Datum)| Some((Key::new(key.clone()), offset.whole()?));
    datum.entries()?.iter().map(pair).collect()
}

/// `{key: offset or nil, …}`
pub(crate) fn maybe_offsets(datum: &Datum) -> Option<Vec<(Key, Option<u64>)>> {
    let pair = |(key, offset): &(Datum, Datum)| match offset {
        Datum::Nil => Some((Key::new(key.clone()), None)),
        offset => Some((Key::new(key.clone()), Some(offset.whole()?))),
    };
    datum.entries()?.iter().map(pair).collect()
}

/// `{key: [[from, to], …], …}`
pub(crate) fn spans(datum: &Datum) -> Option<SpanMap> {
    let span = |datum: &Datum| match datum.items()? {
        [from, to] => Some(Span { from: from.whole()?, to: to.whole()? }),
        _ => None,
    };
    let entry = |(key, spans): &(Datum, Datum)| {
        let spans = spans.items()?.iter().map(span).collect::<Option<_>>()?;
        Some((Key::new(key.clone()), spans))
    };
    datum.entries()?.iter().map(entry).collect()
}

pub(crate) fn hash_datum(hash: &Hash) -> Datum {
    Datum::Str(hash.to_string().into())
}

pub(crate) fn hashes_datum(hashes: &[Hash]) -> Datum {
    Datum::seq(hashes.iter().map(hash_datum).collect())
}

pub(crate) fn keys_datum(keys: &[Key]) -> Datum {
    Datum::seq(keys.iter().map(|key| key.datum().clone()).collect())
}

pub(crate) fn offsets_datum(offsets: &OffsetMap) -> Datum {
    Datum::map(
        offsets.iter().map(|(key, offset)| (key.datum().clone(), Datum::from(*offset))).collect(),
    )
}

pub(crate) fn maybe_offsets_datum(offsets: &[(Key, Option<u64>)]) -> Datum {
    let entry = |(key, offset): &(Key, Option<u64>)| {
        (key.datum().clone(), offset.map_or(Datum::Nil, Datum::from))
    };
    Datum::map(offsets.iter().map(entry).collect())
}

pub(crate) fn spans_datum(spans: &SpanMap) -> Datum {
    let span = |span: &Span| Datum::seq(vec![Datum::from(span.from), Datum::from(span.to)]);
    let entry = |(key, spans): &(Key, Vec<Span>)| {
        (key.datum().clone(), Datum::seq(spans.iter().map(span).collect()))
    };
    Datum::map(spans.iter().map(entry).collect())
}
