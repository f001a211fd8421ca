//! Lists, maps and data out of tokens, for both notations.

use std::borrow::Cow;
use std::fmt::Display;

use super::error::Misfit;
use super::lexer::{Lexer, Notation, Token};
use crate::history::Datum;

/// How deep lists and maps may nest: far more than any history does, and little enough for any stack.
const DEPTH_MAX: usize = 128;

/// Marks a JSON string that holds the EDN text of something that JSON can't say, such as a set.
pub(crate) const EDN_MARK: &str = "#edn ";

/// Reads elements one after another.
#[derive(Debug, Clone)]
pub(crate) struct Parser<'t> {
    lexer: Lexer<'t>,
    depth: usize,
}

impl<'t> Parser<'t> {
    pub(crate) fn new(text: &'t str, notation: Notation) -> Self {
        Self { lexer: Lexer::new(text, notation), depth: 0 }
    }

    pub(crate) fn notation(&self) -> Notation {
        self.lexer.notation()
    }

    pub(crate) fn position(&mut self) -> usize {
        self.lexer.position()
    }

    pub(crate) fn rewind(&mut self, position: usize) {
        self.lexer.rewind(position);
    }

    /// The next token, what `#_` discards left out.
    pub(crate) fn token(&mut self) -> Result<Token<'t>, Misfit> {
        loop {
            match self.lexer.token()? {
                Token::Discard => self.nested(|parser| parser.datum().map(drop))?,
                token => return Ok(token),
            }
        }
    }

    pub(crate) fn peek(&mut self) -> Result<Token<'t>, Misfit> {
        let position = self.lexer.position();
        let token = self.token();
        self.lexer.rewind(position);
        token
    }

    /// Fails unless the text ends here.
    pub(crate) fn end(&mut self) -> Result<(), Misfit> {
        let at = self.position();
        match self.token()? {
            Token::End => Ok(()),
            other => Err(Misfit::new(at, format!("nothing more, found {}", other.describe()))),
        }
    }

    /// Reads a list, calling `item` at the start of each of its items.
    pub(crate) fn list(
        &mut self,
        expected: &str,
        item: impl FnMut(&mut Self) -> Result<(), Misfit>,
    ) -> Result<(), Misfit> {
        let at = self.position();
        match self.token()? {
            Token::OpenList => self.items(&Token::CloseList, item),
            other => Err(Misfit::new(at, format!("{expected}, found {}", other.describe()))),
        }
    }

    /// Reads a map, calling `entry` at the start of each of its keys. `entry` reads the key, calls [`Self::colon`], and reads the
    /// value.
    pub(crate) fn map(
        &mut self,
        expected: &str,
        entry: impl FnMut(&mut Self) -> Result<(), Misfit>,
    ) -> Result<(), Misfit> {
        let at = self.position();
        match self.token()? {
            Token::OpenMap => self.items(&Token::CloseMap, entry),
            other => Err(Misfit::new(at, format!("{expected}, found {}", other.describe()))),
        }
    }

    /// What stands between a key and its value.
    pub(crate) fn colon(&mut self) -> Result<(), Misfit> {
        if self.notation() == Notation::Edn {
            return Ok(());
        }
        let at = self.position();
        match self.token()? {
            Token::Colon => Ok(()),
            other => Err(Misfit::new(at, format!("`:`, found {}", other.describe()))),
        }
    }

    /// Reads up to and including the closing bracket.
    fn items(
        &mut self,
        close: &Token<'t>,
        mut item: impl FnMut(&mut Self) -> Result<(), Misfit>,
    ) -> Result<(), Misfit> {
        let mut first = true;
        loop {
            let ahead = self.ahead()?;
            let at = self.position();
            match (ahead, close) {
                (Some(b']' | b')'), Token::CloseList) | (Some(b'}'), Token::CloseMap) => {
                    return self.token().map(drop);
                }
                (None, _) => {
                    return Err(Misfit::new(at, format!("another item or {}", close.describe())));
                }
                (Some(b','), _) if !first && self.notation() == Notation::Json => {
                    self.token()?;
                }
                _ if !first && self.notation() == Notation::Json => {
                    let found = self.token()?.describe();
                    let expected = format!("`,` or {}, found {found}", close.describe());
                    return Err(Misfit::new(at, expected));
                }
                _ => {}
            }
            first = false;
            self.nested(&mut item)?;
        }
    }

    /// The byte with which the next token begins, what `#_` discards left out.
    fn ahead(&mut self) -> Result<Option<u8>, Misfit> {
        loop {
            let ahead = self.lexer.ahead();
            if ahead != Some(b'#') || !self.lexer.discard_ahead() {
                return Ok(ahead);
            }
            self.lexer.token()?;
            self.nested(|parser| parser.datum().map(drop))?;
        }
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Result<(), Misfit>) -> Result<(), Misfit> {
        if self.depth == DEPTH_MAX {
            return Err(Misfit::new(
                self.position(),
                format!("at most {DEPTH_MAX} lists and maps within each other"),
            ));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// Reads one element, whatever it is.
    pub(crate) fn datum(&mut self) -> Result<Datum, Misfit> {
        let at = self.position();
        match self.token()? {
            Token::OpenList => {
                let mut items = Vec::new();
                self.items(&Token::CloseList, |parser| {
                    items.push(parser.datum()?);
                    Ok(())
                })?;
                Ok(Datum::seq(items))
            }
            Token::OpenSet => {
                let mut items = Vec::new();
                self.items(&Token::CloseMap, |parser| {
                    items.push(parser.datum()?);
                    Ok(())
                })?;
                Ok(Datum::set(items))
            }
            Token::OpenMap => {
                let (mut entries, mut places) = (Vec::new(), Vec::new());
                self.items(&Token::CloseMap, |parser| {
                    places.push(parser.position());
                    let key = parser.map_key()?;
                    parser.colon()?;
                    entries.push((key, parser.datum()?));
                    Ok(())
                })?;
                each_once(entries.iter().map(|(key, _)| key).zip(places))?;
                Ok(Datum::map(entries))
            }
            Token::Tag(tag) => {
                let mut inner = Datum::Nil;
                self.nested(|parser| {
                    inner = parser.datum()?;
                    Ok(())
                })?;
                Ok(Datum::Tagged(Box::new((tag.into(), inner))))
            }
            Token::Regex(text) => Ok(Datum::Tagged(Box::new(("regex".into(), Datum::str(text))))),
            Token::Int(number) => Ok(Datum::Int(number)),
            Token::Number(text) => Ok(Datum::Number(text.into())),
            Token::Str(text) => self.string(at, &text),
            Token::Keyword(name) => Ok(Datum::keyword(name)),
            Token::Char(character) => Ok(Datum::Char(character)),
            Token::Symbol("true") => Ok(Datum::Bool(true)),
            Token::Symbol("false") => Ok(Datum::Bool(false)),
            Token::Symbol("null") if self.notation() == Notation::Json => Ok(Datum::Nil),
            Token::Symbol("nil") => Ok(Datum::Nil),
            Token::Symbol(name) => Ok(Datum::Symbol(name.into())),
            other => Err(Misfit::new(at, format!("an element, found {}", other.describe()))),
        }
    }

    /// Reads a name: a string, keyword or symbol.
    pub(crate) fn name(&mut self, expected: &str) -> Result<Cow<'t, str>, Misfit> {
        let at = self.position();
        match self.token()? {
            Token::Str(name) => Ok(name),
            Token::Keyword(name) | Token::Symbol(name) => Ok(Cow::Borrowed(name)),
            other => Err(Misfit::new(at, format!("{expected}, found {}", other.describe()))),
        }
    }

    /// Reads a map's key. In JSON keys are strings, and one that looks like a whole number is that number.
    pub(crate) fn map_key(&mut self) -> Result<Datum, Misfit> {
        if self.notation() == Notation::Edn {
            return self.datum();
        }
        let at = self.position();
        match self.token()? {
            // What is marked says exactly what it is.
            Token::Str(text) if text.starts_with(EDN_MARK) => self.string(at, &text),
            Token::Str(text) => self.string(at, &text).map(Datum::integer_if_it_looks_so),
            other => Err(Misfit::new(at, format!("a string as key, found {}", other.describe()))),
        }
    }

    /// Reads the key of an operation's field: a keyword in EDN, a plain string in JSON.
    pub(crate) fn field(&mut self) -> Result<Field<'t>, Misfit> {
        let at = self.position();
        match (self.token()?, self.notation()) {
            (Token::Keyword(name), _) => Ok(Field::Named(Cow::Borrowed(name))),
            (Token::Str(text), Notation::Json) if is_plain_field(&text) => Ok(Field::Named(text)),
            _ => {
                self.rewind(at);
                Ok(match self.map_key()? {
                    Datum::Keyword(name) => Field::Named(Cow::Owned(name.into())),
                    other => Field::Other(other),
                })
            }
        }
    }

    /// JSON strings stand for keywords (`":a"`) and for what only EDN can say (`"#edn #{1 2}"`).
    fn string(&mut self, at: usize, text: &str) -> Result<Datum, Misfit> {
        if self.notation() == Notation::Edn {
            return Ok(Datum::str(text));
        }
        if let Some(edn) = text.strip_prefix(EDN_MARK) {
            let mut parser = Parser::new(edn, Notation::Edn);
            let datum = parser.datum().and_then(|datum| parser.end().map(|()| datum));
            return datum.map_err(|misfit| {
                Misfit::new(
                    at,
                    format!("EDN behind `{}`: {}", EDN_MARK.trim_end(), misfit.expected),
                )
            });
        }
        match text.strip_prefix(':') {
            Some(name) if is_keyword_name(name) => Ok(Datum::keyword(name)),
            _ => Ok(Datum::str(text)),
        }
    }
}

/// The key of an operation's field.
#[derive(Debug)]
pub(crate) enum Field<'t> {
    Named(Cow<'t, str>),
    Other(Datum),
}

/// Fails where the first key stands that is in the map already. Each comes with its place.
pub(crate) fn each_once<K: Ord + Display>(
    keys: impl ExactSizeIterator<Item = (K, usize)>,
) -> Result<(), Misfit> {
    if keys.len() < 2 {
        return Ok(());
    }
    let mut sorted: Vec<(K, usize)> = keys.collect();
    sorted.sort_unstable();
    let again = sorted.windows(2).filter_map(|pair| match pair {
        [(first, _), (key, at)] if first == key => Some((*at, key)),
        _ => None,
    });
    again.min().map_or(Ok(()), |(at, key)| Err(repeated(key, at)))
}

/// What to say of a key that is in the map already.
pub(crate) fn repeated(key: impl Display, at: usize) -> Misfit {
    Misfit::new(at, format!("each key once in a map, found {key} again"))
}

/// Whether a JSON string is the name of an operation's field, and nothing that only looks like it.
pub(crate) fn is_plain_field(text: &str) -> bool {
    let looks_like_another = || {
        let is_keyword = text.strip_prefix(':').is_some_and(is_keyword_name);
        let is_number = matches!(Datum::str(text).integer_if_it_looks_so(), Datum::Int(_));
        text.starts_with(EDN_MARK) || is_keyword || is_number
    };
    // Nearly all names begin with a letter, and then they look like nothing else.
    text.starts_with(|first: char| first.is_ascii_alphabetic()) || !looks_like_another()
}

/// Whether a JSON string `:name` is read as a keyword.
pub(crate) fn is_keyword_name(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|c| {
            c.is_alphanumeric()
                || matches!(c, '-' | '_' | '.' | '?' | '!' | '*' | '/' | '+' | '<' | '>' | '=')
        })
}
