//! Writing both notations.

use std::fmt::Write as _;

use super::lexer::{Notation, is_number};
use super::parser::{EDN_MARK, is_keyword_name, is_plain_field};
use crate::history::Datum;

/// Writes elements one after another, with the separators that the notation wants.
#[derive(Debug)]
pub(crate) struct Sink<'o> {
    out: &'o mut String,
    notation: Notation,
    /// Whether an element stands before this place in the same list or map.
    follows: bool,
}

impl<'o> Sink<'o> {
    pub(crate) fn new(out: &'o mut String, notation: Notation) -> Self {
        Self { out, notation, follows: false }
    }

    pub(crate) fn notation(&self) -> Notation {
        self.notation
    }

    fn separate(&mut self) {
        if self.follows {
            self.out.push_str(match self.notation {
                Notation::Json => ",",
                Notation::Edn => " ",
            });
        }
        self.follows = true;
    }

    /// Writes a list; `items` writes its items.
    pub(crate) fn list(&mut self, items: impl FnOnce(&mut Self)) {
        self.brackets("[", "]", items);
    }

    /// Writes a map; `entries` writes its entries, each a key and a value.
    pub(crate) fn map(&mut self, entries: impl FnOnce(&mut Self)) {
        self.brackets("{", "}", entries);
    }

    fn brackets(&mut self, open: &str, close: &str, inside: impl FnOnce(&mut Self)) {
        self.separate();
        self.out.push_str(open);
        self.follows = false;
        inside(self);
        self.out.push_str(close);
        self.follows = true;
    }

    /// Writes a name that the notations write each in their way: a keyword in EDN where it can be one, a string in JSON.
    pub(crate) fn name(&mut self, name: &str) {
        self.separate();
        match self.notation {
            Notation::Json => write_json_string(self.out, name),
            Notation::Edn if is_keyword_name(name) => {
                self.out.push(':');
                self.out.push_str(name);
            }
            Notation::Edn => {
                let _ = write!(self.out, "{}", Datum::str(name));
            }
        }
    }

    /// Writes a name as a map's key.
    pub(crate) fn field(&mut self, name: &str) {
        self.name(name);
        self.after_key();
    }

    /// Writes a datum as the key of an operation's field. In JSON keywords are plain strings there, so strings are marked.
    pub(crate) fn field_of(&mut self, key: &Datum) {
        match key {
            Datum::Keyword(name) if is_plain_field(name) => self.field(name),
            Datum::Str(_) if self.notation == Notation::Json => {
                self.separate();
                write_json_string(self.out, &format!("{EDN_MARK}{key}"));
                self.after_key();
            }
            _ => self.key(key),
        }
    }

    /// Writes a datum as a map's key.
    pub(crate) fn key(&mut self, key: &Datum) {
        match self.notation {
            Notation::Json => self.json_key(key),
            Notation::Edn => self.datum(key),
        }
        self.after_key();
    }

    fn after_key(&mut self) {
        self.out.push_str(match self.notation {
            Notation::Json => ":",
            Notation::Edn => " ",
        });
        self.follows = false;
    }

    pub(crate) fn whole(&mut self, number: u64) {
        self.separate();
        // Writing to a String can't fail.
        let _ = write!(self.out, "{number}");
    }

    pub(crate) fn nil(&mut self) {
        self.datum(&Datum::Nil);
    }

    /// Writes a datum.
    pub(crate) fn datum(&mut self, datum: &Datum) {
        match self.notation {
            Notation::Json => self.json_datum(datum),
            Notation::Edn => {
                self.separate();
                let _ = write!(self.out, "{datum}");
            }
        }
    }

    fn json_datum(&mut self, datum: &Datum) {
        match datum {
            Datum::Seq(items) => {
                self.list(|sink| items.iter().for_each(|item| sink.json_datum(item)));
            }
            Datum::Map(entries) => self.map(|sink| {
                for (key, value) in entries {
                    sink.key(key);
                    sink.json_datum(value);
                }
            }),
            Datum::Nil => self.raw("null"),
            Datum::Bool(value) => self.raw(if *value { "true" } else { "false" }),
            Datum::Int(number) => {
                self.separate();
                let _ = write!(self.out, "{number}");
            }
            Datum::Number(text) if is_number(text, Notation::Json) => self.raw(text),
            _ => {
                self.separate();
                write_json_string(self.out, &as_json_string(datum));
            }
        }
    }

    fn json_key(&mut self, key: &Datum) {
        self.separate();
        let looks_like_a_number =
            matches!(key, Datum::Str(_)) && key.clone().integer_if_it_looks_so() != *key;
        let text = match key {
            Datum::Int(number) => number.to_string(),
            _ if looks_like_a_number => format!("{EDN_MARK}{key}"),
            _ => as_json_string(key),
        };
        write_json_string(self.out, &text);
    }

    fn raw(&mut self, text: &str) {
        self.separate();
        self.out.push_str(text);
    }
}

/// The JSON string from which the parser makes the datum again.
fn as_json_string(datum: &Datum) -> String {
    match datum {
        Datum::Str(text)
            if !text.starts_with(EDN_MARK)
                && !text.strip_prefix(':').is_some_and(is_keyword_name) =>
        {
            text.to_string()
        }
        Datum::Keyword(name) if is_keyword_name(name) => format!(":{name}"),
        _ => format!("{EDN_MARK}{datum}"),
    }
}

fn write_json_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if u32::from(control) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}
