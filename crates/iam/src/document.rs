//! JSON with places: every value knows which bytes of the document it is.
//!
//! A value is read one level at a time, and a policy has few levels, so however deep a document is nested, nothing here
//! recurses.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON value as it was written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node<'t> {
    /// Without the blanks around it.
    raw: &'t str,
    start: usize,
}

/// One entry of an object.
#[derive(Debug, Clone)]
pub(crate) struct Entry<'t> {
    pub(crate) name: String,
    pub(crate) name_at: Range<usize>,
    pub(crate) value: Node<'t>,
}

/// What a value is, seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
}

/// Why a document cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// No JSON. Says what was expected.
    Syntax { at: usize, message: String },
    /// An object that names something twice.
    Duplicate { at: Range<usize>, name: String },
}

impl<'t> Node<'t> {
    /// The one value that the text is.
    pub(crate) fn read(text: &'t str) -> Result<Self, Unreadable> {
        let raw = serde_json::from_str::<&RawValue>(text).map_err(|error| syntax(text, 0, &error))?;
        Ok(Self::part_of(text, 0, raw))
    }

    pub(crate) fn at(&self) -> Range<usize> {
        self.start..self.start + self.raw.len()
    }

    /// The value as it is written.
    pub(crate) fn raw(&self) -> &'t str {
        self.raw
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.raw.as_bytes().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            Some(_) | None => Kind::Number,
        }
    }

    /// The text that a string holds; for a number or a truth value, how it is written. Absent: it is neither.
    pub(crate) fn scalar(&self) -> Result<Option<String>, Unreadable> {
        match self.kind() {
            Kind::String => self.parse::<String>().map(Some),
            Kind::Number | Kind::Bool => Ok(Some(self.raw.to_owned())),
            Kind::Object | Kind::Array | Kind::Null => Ok(None),
        }
    }

    /// The entries of an object, each name once. Absent: it is none.
    pub(crate) fn entries(&self) -> Result<Option<Vec<Entry<'t>>>, Unreadable> {
        if self.kind() != Kind::Object {
            return Ok(None);
        }
        let mut reader = serde_json::Deserializer::from_str(self.raw);
        let pairs = reader.deserialize_map(Pairs).map_err(|error| self.syntax(&error))?;
        let mut seen = HashSet::with_capacity(pairs.len());
        let mut entries = Vec::with_capacity(pairs.len());
        for (name, value) in pairs {
            let name = Self::part_of(self.raw, self.start, name);
            let entry =
                Entry { name: name.parse()?, name_at: name.at(), value: Self::part_of(self.raw, self.start, value) };
            if !seen.insert(entry.name.clone()) {
                return Err(Unreadable::Duplicate { at: entry.name_at, name: entry.name });
            }
            entries.push(entry);
        }
        Ok(Some(entries))
    }

    /// The items of an array. Absent: it is none.
    pub(crate) fn items(&self) -> Result<Option<Vec<Self>>, Unreadable> {
        if self.kind() != Kind::Array {
            return Ok(None);
        }
        let mut reader = serde_json::Deserializer::from_str(self.raw);
        let items = reader.deserialize_seq(Items).map_err(|error| self.syntax(&error))?;
        Ok(Some(items.into_iter().map(|item| Self::part_of(self.raw, self.start, item)).collect()))
    }

    fn parse<T: serde::Deserialize<'t>>(&self) -> Result<T, Unreadable> {
        serde_json::from_str(self.raw).map_err(|error| self.syntax(&error))
    }

    fn syntax(&self, error: &serde_json::Error) -> Unreadable {
        syntax(self.raw, self.start, error)
    }

    /// `part` lies inside `text`, which begins at `start` of the document.
    fn part_of(text: &str, start: usize, part: &'t RawValue) -> Self {
        let raw = part.get();
        let before = (raw.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        Self { raw, start: start + before }
    }
}

fn syntax(text: &str, start: usize, error: &serde_json::Error) -> Unreadable {
    // serde_json counts lines from one, and columns in bytes: the number of those already read.
    let lines_before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let at = (lines_before + error.column().saturating_sub(1)).min(text.len());
    let whole = error.to_string();
    let message = whole.rsplit_once(" at line ").map_or(whole.as_str(), |(message, _)| message);
    Unreadable::Syntax { at: start + text.floor_char_boundary(at), message: message.to_owned() }
}

/// The known name that a written one may have been meant for.
pub(crate) fn nearest(written: &str, known: impl IntoIterator<Item = &'static str>) -> Option<&'static str> {
    let distance = |name: &str| strsim::damerau_levenshtein(&written.to_ascii_lowercase(), &name.to_ascii_lowercase());
    // Long texts are no slips, and comparing them takes long.
    let written_short = written.len() <= 64;
    let candidates = known.into_iter().filter(|_| written_short).map(|name| (distance(name), name));
    candidates.filter(|(distance, name)| *distance <= 1 + name.len() / 8).min().map(|(_, name)| name)
}

struct Pairs;

impl<'t> Visitor<'t> for Pairs {
    type Value = Vec<(&'t RawValue, &'t RawValue)>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(pairs)
    }
}

struct Items;

impl<'t> Visitor<'t> for Items {
    type Value = Vec<&'t RawValue>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = array.next_element()? {
            items.push(item);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_place() {
        let text = "\n { \"a\" : [1, \"\\u00e9\" ] ,\"b\":{ } }";
        let root = Node::read(text).unwrap();
        let entries = root.entries().unwrap().unwrap();
        assert_eq!(&text[entries[0].name_at.clone()], "\"a\"");
        assert_eq!(&text[entries[1].value.at()], "{ }");
        let items = entries[0].value.items().unwrap().unwrap();
        assert_eq!(&text[items[1].at()], "\"\\u00e9\"");
        assert_eq!(items[1].scalar().unwrap().unwrap(), "\u{e9}");
        assert_eq!(items[0].scalar().unwrap().unwrap(), "1");
    }

    #[test]
    fn a_name_is_the_same_however_it_is_escaped() {
        let text = "{\"a\": 1, \"\\u0061\": 2}";
        let twice = Node::read(text).unwrap().entries().unwrap_err();
        assert_eq!(twice, Unreadable::Duplicate { at: 9..17, name: "a".to_owned() });
    }

    #[test]
    fn a_syntax_error_has_a_place() {
        for (text, place) in [("{\"a\":\n  tru }", 11), ("", 0), ("{} x", 3), ("[1,]", 3), ("{\"a\" 1}", 5)] {
            let Unreadable::Syntax { at, message } = Node::read(text).unwrap_err() else { panic!("{text}") };
            assert_eq!(at, place, "{text}: {message}");
        }
    }

    #[test]
    fn depth_costs_no_stack() {
        let text = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(Node::read(&text).unwrap().items().unwrap().unwrap().len(), 1);
    }
}
