//! Tokens of both notations. JSON's tokens are nearly a part of EDN's, so one lexer reads both.

use std::borrow::Cow;

use super::error::Misfit;

/// The two notations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notation {
    Json,
    Edn,
}

/// One token. Text without escapes is borrowed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token<'t> {
    /// `[`, and `(` in EDN.
    OpenList,
    /// `]`, and `)` in EDN.
    CloseList,
    /// `{`.
    OpenMap,
    /// `#{`.
    OpenSet,
    /// `}`, which closes maps and sets.
    CloseMap,
    /// `:` between key and value, JSON only.
    Colon,
    /// `,`, JSON only; white space in EDN.
    Comma,
    Str(Cow<'t, str>),
    Int(i64),
    Number(&'t str),
    Keyword(&'t str),
    Symbol(&'t str),
    Char(char),
    /// `#"…"`, in which nothing is escaped.
    Regex(&'t str),
    /// `#tag` before an element.
    Tag(&'t str),
    /// `#_` before an element that doesn't count.
    Discard,
    End,
}

impl Token<'_> {
    /// The token as an error names it.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::OpenList => "a list".into(),
            Self::CloseList => "the end of a list".into(),
            Self::OpenMap => "a map".into(),
            Self::OpenSet => "a set".into(),
            Self::CloseMap => "`}`".into(),
            Self::Colon => "`:`".into(),
            Self::Comma => "`,`".into(),
            Self::Str(text) => format!("the string {text:?}"),
            Self::Int(number) => format!("the number {number}"),
            Self::Number(text) => format!("the number {text}"),
            Self::Keyword(name) => format!(":{name}"),
            Self::Symbol(name) => format!("`{name}`"),
            Self::Char(character) => format!("the character {character}"),
            Self::Regex(text) => format!("the regular expression {text:?}"),
            Self::Tag(name) => format!("the tag #{name}"),
            Self::Discard => "`#_`".into(),
            Self::End => "the end of the text".into(),
        }
    }
}

/// Cuts a text into tokens.
#[derive(Debug, Clone)]
pub(crate) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    notation: Notation,
}

impl<'t> Lexer<'t> {
    pub(crate) fn new(text: &'t str, notation: Notation) -> Self {
        Self { text, at: 0, notation }
    }

    pub(crate) fn notation(&self) -> Notation {
        self.notation
    }

    /// Where the next token begins.
    pub(crate) fn position(&mut self) -> usize {
        self.skip_blanks();
        self.at
    }

    /// Goes on from a position that [`Self::position`] returned.
    pub(crate) fn rewind(&mut self, position: usize) {
        self.at = position;
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while let Some(byte) = self.byte() {
            match (byte, self.notation) {
                (b' ' | b'\t' | b'\n' | b'\r', _) | (b',' | 0x0c, Notation::Edn) => self.at += 1,
                (b';', Notation::Edn) => {
                    self.at += self.rest().find('\n').unwrap_or(self.rest().len());
                }
                _ => return,
            }
        }
    }

    /// The next token.
    pub(crate) fn token(&mut self) -> Result<Token<'t>, Misfit> {
        self.skip_blanks();
        let Some(byte) = self.byte() else {
            return Ok(Token::End);
        };
        let single = match (byte, self.notation) {
            (b'[', _) | (b'(', Notation::Edn) => Some(Token::OpenList),
            (b']', _) | (b')', Notation::Edn) => Some(Token::CloseList),
            (b'{', _) => Some(Token::OpenMap),
            (b'}', _) => Some(Token::CloseMap),
            (b':', Notation::Json) => Some(Token::Colon),
            (b',', Notation::Json) => Some(Token::Comma),
            _ => None,
        };
        if let Some(token) = single {
            self.at += 1;
            return Ok(token);
        }
        match (byte, self.notation) {
            (b'"', _) => self.string(),
            (b'0'..=b'9' | b'-', _) | (b'+', Notation::Edn) => self.number_or_symbol(),
            (_, Notation::Json) => self.json_word(),
            (b':', Notation::Edn) => {
                self.at += 1;
                self.word().map(Token::Keyword)
            }
            (b'\\', Notation::Edn) => self.character(),
            (b'#', Notation::Edn) => self.dispatch(),
            (_, Notation::Edn) => self.word().map(Token::Symbol),
        }
    }

    /// The byte with which the next token begins.
    pub(crate) fn ahead(&mut self) -> Option<u8> {
        self.skip_blanks();
        self.byte()
    }

    /// Whether the next token is `#_`.
    pub(crate) fn discard_ahead(&self) -> bool {
        self.notation == Notation::Edn && self.rest().starts_with("#_")
    }

    /// A run of characters that no delimiter ends, at least one.
    fn word(&mut self) -> Result<&'t str, Misfit> {
        let rest = self.rest();
        let end = rest.bytes().position(is_delimiter).unwrap_or(rest.len());
        if end == 0 {
            let first = rest.chars().next();
            let found = first.map_or_else(|| "the end of the text".into(), |c| format!("`{c}`"));
            return Err(Misfit::new(self.at, format!("an element, found {found}")));
        }
        self.at += end;
        Ok(rest.get(..end).unwrap_or_default())
    }

    fn json_word(&mut self) -> Result<Token<'t>, Misfit> {
        let start = self.at;
        match self.word()? {
            word @ ("true" | "false" | "null") => Ok(Token::Symbol(word)),
            word => Err(Misfit::new(start, format!("a JSON value, found `{word}`"))),
        }
    }

    /// A whole number of few digits, which nearly all numbers are, and how long it is.
    fn short_integer(&self) -> Option<(i64, usize)> {
        const DIGITS_MAX: usize = 18;
        let bytes = self.text.as_bytes().get(self.at..)?;
        let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let ends = bytes.get(digits).is_none_or(|byte| is_delimiter(*byte));
        let plain =
            digits == 1 || (2..=DIGITS_MAX).contains(&digits) && bytes.first() != Some(&b'0');
        let value = |number: i64, digit: &u8| number * 10 + i64::from(digit - b'0');
        (ends && plain).then(|| (bytes.iter().take(digits).fold(0, value), digits))
    }

    fn number_or_symbol(&mut self) -> Result<Token<'t>, Misfit> {
        if let Some((number, length)) = self.short_integer() {
            self.at += length;
            return Ok(Token::Int(number));
        }
        let start = self.at;
        let digits_from = start + usize::from(matches!(self.byte(), Some(b'-' | b'+')));
        let word = self.word()?;
        let digits = self.text.get(digits_from..self.at).unwrap_or_default();
        if !digits.starts_with(|c: char| c.is_ascii_digit()) {
            return match self.notation {
                Notation::Edn => Ok(Token::Symbol(word)),
                Notation::Json => Err(Misfit::new(start, format!("a number, found `{word}`"))),
            };
        }
        let leading_zero = digits.len() > 1 && digits.starts_with('0');
        if !leading_zero
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && word != "-0"
            && let Ok(number) = word.parse()
        {
            return Ok(Token::Int(number));
        }
        if self.notation == Notation::Edn
            && let Some(number) = radix_integer(word).or_else(|| big_integer(word))
        {
            return Ok(Token::Int(number));
        }
        if is_number(word, self.notation) {
            Ok(Token::Number(word))
        } else {
            Err(Misfit::new(start, format!("a number, found `{word}`")))
        }
    }

    /// `\a`, `\newline`, `\u0041`.
    fn character(&mut self) -> Result<Token<'t>, Misfit> {
        let start = self.at;
        self.at += 1;
        let first = self.rest().chars().next();
        let Some(first) = first else {
            return Err(Misfit::new(start, "a character behind `\\`"));
        };
        self.at += first.len_utf8();
        let tail_end = self.rest().bytes().position(is_delimiter).unwrap_or(self.rest().len());
        let tail = self.rest().get(..tail_end).unwrap_or_default();
        if tail.is_empty() || u8::try_from(first).is_ok_and(is_delimiter) {
            return Ok(Token::Char(first));
        }
        self.at += tail_end;
        let named = match (first, tail) {
            ('n', "ewline") => Some('\n'),
            ('r', "eturn") => Some('\r'),
            ('s', "pace") => Some(' '),
            ('t', "ab") => Some('\t'),
            ('f', "ormfeed") => Some('\u{c}'),
            ('b', "ackspace") => Some('\u{8}'),
            ('o', octal) if octal.len() <= 3 => {
                u32::from_str_radix(octal, 8).ok().and_then(char::from_u32)
            }
            ('u', hex) if hex.len() == 4 => {
                u32::from_str_radix(hex, 16).ok().and_then(char::from_u32)
            }
            _ => None,
        };
        named
            .map(Token::Char)
            .ok_or_else(|| Misfit::new(start, format!("a character, found `\\{first}{tail}`")))
    }

    /// `#{`, `#_`, `#tag` and the symbolic values `##Inf`, `##-Inf`, `##NaN`.
    fn dispatch(&mut self) -> Result<Token<'t>, Misfit> {
        let start = self.at;
        self.at += 1;
        match self.byte() {
            Some(b'{') => {
                self.at += 1;
                Ok(Token::OpenSet)
            }
            Some(b'_') => {
                self.at += 1;
                Ok(Token::Discard)
            }
            Some(b'#') => {
                self.at += 1;
                self.word()?;
                Ok(Token::Symbol(self.text.get(start..self.at).unwrap_or_default()))
            }
            Some(b'"') => self.regex(start),
            Some(byte) if byte.is_ascii_alphabetic() || byte == b':' => self.word().map(Token::Tag),
            _ => Err(Misfit::new(start, "a set, a tag or a discard behind `#`")),
        }
    }

    fn regex(&mut self, start: usize) -> Result<Token<'t>, Misfit> {
        self.at += 1;
        let rest = self.rest();
        let mut escaped = false;
        let closes = |byte: u8| {
            let here = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            here
        };
        let Some(length) = rest.bytes().position(closes) else {
            return Err(Misfit::new(start, "a closing `\"`, found the end of the text"));
        };
        self.at += length + 1;
        Ok(Token::Regex(rest.get(..length).unwrap_or_default()))
    }

    fn string(&mut self) -> Result<Token<'t>, Misfit> {
        let start = self.at;
        self.at += 1;
        let head = self.plain_text(start)?;
        if self.byte() == Some(b'"') {
            self.at += 1;
            return Ok(Token::Str(Cow::Borrowed(head)));
        }
        let mut text = head.to_owned();
        while self.byte() != Some(b'"') {
            text.push(self.escape()?);
            text.push_str(self.plain_text(start)?);
        }
        self.at += 1;
        Ok(Token::Str(Cow::Owned(text)))
    }

    /// The text of a string up to its end or an escape. JSON wants control characters escaped; EDN lets them stand.
    fn plain_text(&mut self, start: usize) -> Result<&'t str, Misfit> {
        let rest = self.rest();
        let in_json = self.notation == Notation::Json;
        let ends = |byte: u8| byte == b'"' || byte == b'\\' || (in_json && byte < 0x20);
        let Some(length) = rest.bytes().position(ends) else {
            return Err(Misfit::new(start, "a closing `\"`, found the end of the text"));
        };
        self.at += length;
        if self.byte().is_some_and(|byte| byte < 0x20) {
            return Err(Misfit::new(
                self.at,
                "a closing `\"`, or an escape in place of a control character",
            ));
        }
        Ok(rest.get(..length).unwrap_or_default())
    }

    fn escape(&mut self) -> Result<char, Misfit> {
        let start = self.at;
        let letter = self.text.as_bytes().get(start + 1).copied();
        self.at = start + 2;
        match (letter, self.notation) {
            (Some(b'"'), _) => Ok('"'),
            (Some(b'\\'), _) => Ok('\\'),
            (Some(b'/'), Notation::Json) => Ok('/'),
            (Some(b'b'), _) => Ok('\u{8}'),
            (Some(b'f'), _) => Ok('\u{c}'),
            (Some(b'n'), _) => Ok('\n'),
            (Some(b'r'), _) => Ok('\r'),
            (Some(b't'), _) => Ok('\t'),
            (Some(b'u'), _) => self.unicode_escape(start),
            (Some(b'0'..=b'7'), Notation::Edn) => Ok(self.octal_escape(start)),
            _ => Err(Misfit::new(start, "an escape: one of \\\" \\\\ \\n \\r \\t \\b \\f \\u")),
        }
    }

    /// Up to three octal digits behind the backslash, which name one of the first 256 characters.
    fn octal_escape(&mut self, start: usize) -> char {
        let mut code = 0_u8;
        self.at = start + 1;
        for _ in 0..3 {
            let digit = self.byte().filter(|byte| (b'0'..=b'7').contains(byte));
            let Some(next) = digit.and_then(|digit| code.checked_mul(8)?.checked_add(digit - b'0'))
            else {
                break;
            };
            code = next;
            self.at += 1;
        }
        char::from(code)
    }

    /// Four hexadecimal digits, and four more if they are the first half of a surrogate pair.
    fn unicode_escape(&mut self, start: usize) -> Result<char, Misfit> {
        let misfit = || {
            Misfit::new(start, "an escape that names a character: \\u and four hexadecimal digits")
        };
        let high = self.four_digits().ok_or_else(misfit)?;
        if !(0xd800..0xdc00).contains(&high) {
            return char::from_u32(high).ok_or_else(misfit);
        }
        if !self.rest().starts_with("\\u") {
            return Err(misfit());
        }
        self.at += 2;
        let low =
            self.four_digits().filter(|low| (0xdc00..0xe000).contains(low)).ok_or_else(misfit)?;
        char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)).ok_or_else(misfit)
    }

    fn four_digits(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }
}

fn is_delimiter(byte: u8) -> bool {
    byte.is_ascii_whitespace()
        || matches!(byte, b'"' | b',' | b';' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'\\')
}

/// `5N`, which is the number 5 to Clojure, as far as 64 bits reach.
fn big_integer(word: &str) -> Option<i64> {
    word.strip_suffix('N')?.parse().ok()
}

/// `0x1F` and `16r1F`, as far as 64 bits reach.
fn radix_integer(word: &str) -> Option<i64> {
    let (sign, unsigned) = match word.strip_prefix('-') {
        Some(unsigned) => ("-", unsigned),
        None => ("", word.strip_prefix('+').unwrap_or(word)),
    };
    let (radix, digits) = radix_and_digits(unsigned)?;
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

fn radix_and_digits(unsigned: &str) -> Option<(u32, &str)> {
    let hexadecimal = unsigned.strip_prefix("0x").or(unsigned.strip_prefix("0X"));
    let any_radix = || {
        let (radix, digits) = unsigned.split_once(['r', 'R'])?;
        Some((radix.parse().ok().filter(|radix| (2..=36).contains(radix))?, digits))
    };
    let (radix, digits) = hexadecimal.map(|digits| (16, digits)).or_else(any_radix)?;
    let fits = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
    fits.then_some((radix, digits))
}

/// Whether the word is a number of the notation: JSON's grammar, and in EDN also `1N`, `1M` and `1/2`.
pub(crate) fn is_number(word: &str, notation: Notation) -> bool {
    let unsigned = word.strip_prefix('-').unwrap_or(word);
    if notation == Notation::Edn {
        let unsigned = unsigned.strip_prefix('+').unwrap_or(unsigned);
        let trimmed = unsigned.strip_suffix(['N', 'M']).unwrap_or(unsigned);
        let ratio = trimmed
            .split_once('/')
            .is_some_and(|(above, below)| all_digits(above) && all_digits(below));
        // A point may end it.
        let pointed = trimmed.strip_suffix('.').is_some_and(all_digits);
        return ratio || pointed || is_decimal(trimmed) || radix_and_digits(trimmed).is_some();
    }
    let leading_zero = unsigned.len() > 1
        && unsigned.starts_with('0')
        && unsigned.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
    !leading_zero && is_decimal(unsigned)
}

fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let mantissa_fits = match mantissa.split_once('.') {
        Some((whole, fraction)) => all_digits(whole) && all_digits(fraction),
        None => all_digits(mantissa),
    };
    let exponent_fits = exponent
        .is_none_or(|exponent| all_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)));
    mantissa_fits && exponent_fits
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
