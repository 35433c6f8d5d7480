//! The keys of a caller as a file has them: read, added and removed in its text. Every other byte stays as it is:
//! comments, order, blanks, line endings.

mod list;

use std::collections::HashMap;
use std::ops::Range;

use gatepost_config::model::KeyHash;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use self::list::List;

/// A text with a caller in it.
#[derive(Debug)]
pub(super) struct Written<'t> {
    text: &'t str,
    caller: &'t str,
    keys: Option<Keys>,
    /// Where `keys` goes if there is none.
    room: Room,
}

/// `keys` of a caller.
#[derive(Debug)]
struct Keys {
    /// From the key to the end of its value.
    entry: Range<usize>,
    list: List,
    hashes: Vec<KeyHash>,
}

/// Where a new key of a table goes.
#[derive(Debug)]
enum Room {
    /// On a line of its own after this byte, with this before it.
    Line { after: usize, prefix: String },
    /// Among the entries of an inline table.
    Inline(List),
    /// Nothing of the table but tables in it has been written: at the end of the text, with a header.
    Header,
}

/// A text that cannot be changed as wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum CannotChange {
    /// The caller is not in it, or in a form that is not understood.
    #[error("its keys are not found in the text")]
    NotFound,
    /// The changed text would say something else than was wanted.
    #[error("it is written in a way that cannot be changed safely")]
    Unsafe,
}

impl<'t> Written<'t> {
    /// Finds a caller in the text of a file.
    ///
    /// # Errors
    /// [`CannotChange::NotFound`].
    pub(super) fn find(text: &'t str, caller: &'t str) -> Result<Self, CannotChange> {
        let root = DeTable::parse(text).map_err(|_| CannotChange::NotFound)?.into_inner();
        let callers = root.get("caller").and_then(|callers| callers.get_ref().as_table());
        let found = callers.and_then(|callers| callers.get(caller)).ok_or(CannotChange::NotFound)?;
        let DeValue::Table(table) = found.get_ref() else { return Err(CannotChange::NotFound) };
        let keys = Keys::of(table)?;
        Ok(Self { text, caller, keys, room: Room::find(text, found.span(), table) })
    }

    /// The text with one more key, and what stands behind it.
    ///
    /// # Errors
    /// [`CannotChange::Unsafe`].
    pub(super) fn with(&self, hash: KeyHash, comment: Option<&str>) -> Result<String, CannotChange> {
        let item = format!("\"{hash}\"");
        let comment = comment.map(|comment| format!(" # {comment}")).unwrap_or_default();
        let changed = match &self.keys {
            Some(Keys { list, .. }) => list.with(self.text, &item, &comment),
            None => self.with_first(&item, &comment),
        };
        self.check(changed, |keys| keys.push(hash.to_string().into()))
    }

    /// The text without the keys that have this hash; without `keys` if there is no other. Comments that are not about
    /// that key stay.
    ///
    /// # Errors
    /// [`CannotChange::NotFound`], [`CannotChange::Unsafe`].
    pub(super) fn without(&self, hash: KeyHash) -> Result<String, CannotChange> {
        let Keys { entry, list, hashes } = self.keys.as_ref().ok_or(CannotChange::NotFound)?;
        let index = hashes.iter().position(|written| *written == hash).ok_or(CannotChange::NotFound)?;
        let changed = match (hashes.len(), &self.room) {
            (1, Room::Inline(entries)) => {
                let index = entries.position(entry.start).ok_or(CannotChange::Unsafe)?;
                if !list.comments_elsewhere(self.text, entry.clone()).is_empty() {
                    return Err(CannotChange::Unsafe);
                }
                entries.without(self.text, index)
            }
            (1, Room::Line { .. } | Room::Header) => {
                let lines = list::line_start(self.text, entry.start)..list::next_line(self.text, entry.end);
                let kept = list.comments_elsewhere(self.text, lines.clone());
                [&self.text[..lines.start], &kept, &self.text[lines.end..]].concat()
            }
            (_, _) => list.without(self.text, index),
        };
        self.check(changed, |keys| {
            keys.remove(index);
        })
    }

    /// The text with one key in the place of another, and what stands behind it.
    ///
    /// # Errors
    /// As of [`Written::with`] and [`Written::without`].
    pub(super) fn replaced(&self, hash: KeyHash, with: KeyHash, comment: &str) -> Result<String, CannotChange> {
        let both = self.with(with, Some(comment))?;
        Written::find(&both, self.caller)?.without(hash)
    }

    /// `keys`, where there was none.
    fn with_first(&self, item: &str, comment: &str) -> String {
        let text = self.text;
        match &self.room {
            Room::Line { after, prefix } => {
                let at = list::line_end(text, *after);
                let eol = list::eol(text, *after);
                let indent = list::indent(text, list::line_start(text, *after));
                let entry = format!("{eol}{prefix}keys = [{eol}{indent}    {item},{comment}{eol}{indent}]");
                [&text[..at], &entry, &text[at..]].concat()
            }
            Room::Inline(entries) => {
                let eol = list::eol(text, entries.start());
                // A comment ends with its line.
                let rest = if comment.is_empty() { String::new() } else { format!(",{comment}{eol}") };
                entries.with(text, &format!("keys = [{item}{rest}]"), "")
            }
            Room::Header => {
                let eol = list::eol(text, 0);
                let end = if text.ends_with('\n') { "" } else { eol };
                let caller = self.caller;
                format!("{text}{end}{eol}[caller.{caller}]{eol}keys = [{eol}    {item},{comment}{eol}]{eol}")
            }
        }
    }

    /// Whether the changed text says what the old one does, but for what `change` does to the keys.
    fn check(&self, changed: String, change: impl FnOnce(&mut Vec<Value>)) -> Result<String, CannotChange> {
        let mut wanted: Table = self.text.parse().map_err(|_| CannotChange::Unsafe)?;
        let caller = wanted.get_mut("caller").and_then(|callers| callers.get_mut(self.caller));
        let table = caller.and_then(Value::as_table_mut).ok_or(CannotChange::Unsafe)?;
        let mut keys = match table.remove("keys") {
            Some(Value::Array(keys)) => keys,
            Some(_) => return Err(CannotChange::Unsafe),
            None => Vec::new(),
        };
        change(&mut keys);
        if !keys.is_empty() {
            table.insert("keys".to_owned(), Value::Array(keys));
        }
        let is_wanted = changed.parse::<Table>().is_ok_and(|table| table == wanted);
        if is_wanted { Ok(changed) } else { Err(CannotChange::Unsafe) }
    }
}

/// What stands behind the keys of all callers in the text of a file, on their lines; of those that have something there.
pub(super) fn comments(text: &str) -> HashMap<KeyHash, String> {
    let root = DeTable::parse(text).map(toml::Spanned::into_inner).unwrap_or_default();
    let callers = root.get("caller").and_then(|callers| callers.get_ref().as_table());
    let tables =
        callers.into_iter().flat_map(|callers| callers.values()).filter_map(|caller| caller.get_ref().as_table());
    let keys = tables.filter_map(|table| Keys::of(table).ok().flatten());
    keys.flat_map(|Keys { list, hashes, .. }| hashes.into_iter().zip(list.comments(text)))
        .filter_map(|(hash, comment)| Some((hash, comment?)))
        .collect()
}

impl Keys {
    /// Those in the table of a caller, if it has any.
    fn of(table: &DeTable<'_>) -> Result<Option<Self>, CannotChange> {
        let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == "keys") else { return Ok(None) };
        let array = value.get_ref().as_array().ok_or(CannotChange::NotFound)?;
        let hashes = array.iter().map(|item| item.get_ref().as_str().and_then(read_hash));
        let hashes = hashes.collect::<Option<Vec<KeyHash>>>().ok_or(CannotChange::NotFound)?;
        let list = List::new(value.span(), array.iter().map(toml::Spanned::span).collect());
        Ok(Some(Self { entry: key.span().start..value.span().end, list, hashes }))
    }
}

impl Room {
    /// In the table that stands at `span`: at its header, its braces, or the name in the first header or key that made it.
    fn find(text: &str, span: Range<usize>, table: &DeTable<'_>) -> Self {
        if text[span.clone()].starts_with('{') {
            let entries = table.iter().map(|(key, value)| key.span().start..end_of(text, value)).collect();
            return Self::Inline(List::new(span, entries));
        }
        // What stands under a header of its own belongs to another place of the text.
        let lines = table.iter().filter(|(key, _)| !is_header(text, key.span().start));
        let last = lines.max_by_key(|(key, _)| key.span().start);
        if let Some((key, value)) = last {
            let start = key.span().start;
            let prefix = text[list::line_start(text, start)..start].to_owned();
            return Self::Line { after: end_of(text, value), prefix };
        }
        if text[span.clone()].starts_with('[') {
            let prefix = list::indent(text, list::line_start(text, span.start)).to_owned();
            return Self::Line { after: span.end, prefix };
        }
        Self::Header
    }
}

/// Where a value ends: that of dotted keys with the last of them.
fn end_of(text: &str, value: &toml::Spanned<DeValue<'_>>) -> usize {
    let end = value.span().end;
    let is_inline = text[value.span()].starts_with('{');
    let entries = value.get_ref().as_table().filter(|_| !is_inline).map(|table| table.values());
    entries.into_iter().flatten().map(|value| end_of(text, value)).max().unwrap_or(end)
}

fn is_header(text: &str, at: usize) -> bool {
    text[list::line_start(text, at)..].trim_start_matches([' ', '\t']).starts_with('[')
}

/// `sha256:` and 64 hexadecimal digits.
fn read_hash(text: &str) -> Option<KeyHash> {
    let digits = text.strip_prefix("sha256:")?.as_bytes();
    let mut hash = [0; 32];
    if digits.len() != 2 * hash.len() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(KeyHash(hash))
}

#[cfg(test)]
mod tests;
