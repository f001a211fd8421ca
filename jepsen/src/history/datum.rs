//! Plain data: whatever a history may carry as a key, a value or an extra field.

use std::fmt;

/// A piece of data as EDN knows it, of which JSON's is a part.
///
/// Lists and vectors are one thing here, as they are equal in Clojure. Maps and sets are sorted when they are made, so that
/// equality and hashing don't depend on the order in which they were written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Datum {
    /// `nil`, JSON's `null`.
    Nil,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number of 64 bits.
    Int(i64),
    /// Any other number, kept as it was written.
    Number(Box<str>),
    /// A character, `\a`.
    Char(char),
    /// A string.
    Str(Box<str>),
    /// A keyword, `:a`, without its colon.
    Keyword(Box<str>),
    /// A symbol, `a`.
    Symbol(Box<str>),
    /// A list or vector.
    Seq(Box<[Datum]>),
    /// A set. Make it with [`Datum::set`].
    Set(Box<[Datum]>),
    /// A map. Make it with [`Datum::map`].
    Map(Box<[(Datum, Datum)]>),
    /// A tagged element, `#inst "2023-11-14"`.
    Tagged(Box<(Box<str>, Datum)>),
}

impl Datum {
    /// A string.
    pub fn str(text: &str) -> Self {
        Self::Str(text.into())
    }

    /// A keyword; `name` has no colon.
    pub fn keyword(name: &str) -> Self {
        Self::Keyword(name.into())
    }

    /// A list.
    pub fn seq(items: Vec<Self>) -> Self {
        Self::Seq(items.into())
    }

    /// A set.
    pub fn set(mut items: Vec<Self>) -> Self {
        items.sort_unstable();
        items.dedup();
        Self::Set(items.into())
    }

    /// A map.
    pub fn map(mut entries: Vec<(Self, Self)>) -> Self {
        entries.sort_unstable();
        Self::Map(entries.into())
    }

    /// The text of a string, keyword or symbol: the three ways in which the notations write a name.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Str(text) | Self::Keyword(text) | Self::Symbol(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number that isn't negative.
    pub fn whole(&self) -> Option<u64> {
        match self {
            Self::Int(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// A string that looks like a whole number as that number; anything else as it is.
    #[must_use]
    pub fn integer_if_it_looks_so(self) -> Self {
        let number = match &self {
            Self::Str(text) => {
                text.parse::<i64>().ok().filter(|number| number.to_string() == **text)
            }
            _ => None,
        };
        number.map_or(self, Self::Int)
    }

    /// The items of a list.
    pub fn items(&self) -> Option<&[Self]> {
        match self {
            Self::Seq(items) => Some(items),
            _ => None,
        }
    }

    /// The entries of a map.
    pub fn entries(&self) -> Option<&[(Self, Self)]> {
        match self {
            Self::Map(entries) => Some(entries),
            _ => None,
        }
    }
}

impl From<i64> for Datum {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<&str> for Datum {
    fn from(text: &str) -> Self {
        Self::str(text)
    }
}

/// Numbers above `i64::MAX`, which no log's offset reaches, keep their digits.
impl From<u64> for Datum {
    fn from(number: u64) -> Self {
        i64::try_from(number).map_or_else(|_| Self::Number(number.to_string().into()), Self::Int)
    }
}

/// Writes the datum as EDN.
impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Number(text) | Self::Symbol(text) => f.write_str(text),
            Self::Char(character) => write_char(f, *character),
            Self::Str(text) => write_string(f, text),
            Self::Keyword(name) => write!(f, ":{name}"),
            Self::Seq(items) => write_items(f, "[", items, "]"),
            Self::Set(items) => write_items(f, "#{", items, "}"),
            Self::Map(entries) => write_entries(f, entries),
            Self::Tagged(tagged) => write!(f, "#{} {}", tagged.0, tagged.1),
        }
    }
}

fn write_items(
    f: &mut fmt::Formatter<'_>,
    open: &str,
    items: &[Datum],
    close: &str,
) -> fmt::Result {
    f.write_str(open)?;
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            f.write_str(" ")?;
        }
        write!(f, "{item}")?;
    }
    f.write_str(close)
}

fn write_entries(f: &mut fmt::Formatter<'_>, entries: &[(Datum, Datum)]) -> fmt::Result {
    f.write_str("{")?;
    for (at, (key, value)) in entries.iter().enumerate() {
        if at > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{key} {value}")?;
    }
    f.write_str("}")
}

fn write_char(f: &mut fmt::Formatter<'_>, character: char) -> fmt::Result {
    match character {
        '\n' => f.write_str("\\newline"),
        '\r' => f.write_str("\\return"),
        ' ' => f.write_str("\\space"),
        '\t' => f.write_str("\\tab"),
        other => write!(f, "\\{other}"),
    }
}

fn write_string(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for character in text.chars() {
        match character {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            control if control.is_control() => write!(f, "\\u{:04x}", u32::from(control))?,
            other => write!(f, "{other}")?,
        }
    }
    f.write_str("\"")
}
