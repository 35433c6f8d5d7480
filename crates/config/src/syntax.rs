//! From text to TOML, with a problem for everything that is not.

use std::collections::HashSet;
use std::ops::Range;

use toml::de::{DeTable, DeValue, Error};

use crate::diagnostic::Diagnostic;
use crate::source::Source;
use crate::text::quoted;

/// What is wrong with a text as TOML.
#[derive(Default)]
pub(crate) struct Faults<'a> {
    pub(crate) problems: Vec<Diagnostic>,
    /// The lines that could not be read.
    broken: Vec<Line<'a>>,
    /// Whether tables have been mixed up.
    doubt: bool,
}

impl Faults<'_> {
    /// Whether the table holds what the text says, but for keys that are written twice.
    pub(crate) fn is_complete(&self) -> bool {
        self.broken.is_empty() && !self.doubt
    }

    /// Whether keys are where the text has them, although values may be missing.
    pub(crate) fn is_in_place(&self) -> bool {
        !self.broken.iter().any(Line::is_header)
    }

    /// Whether something that could not be read lies on the lines from that of `range.start` to that of
    /// `range.end`.
    pub(crate) fn is_broken_within(&self, source: &Source, range: &Range<usize>) -> bool {
        let first = source.line_of(range.start);
        let last = source.line_of(range.end);
        // They are in order.
        let next = self.broken.partition_point(|line| source.line_of(line.start) < first);
        self.broken.get(next).is_some_and(|line| source.line_of(line.start) <= last)
    }
}

/// Reads `source` as TOML, as far as that is possible.
pub(crate) fn parse(source: &Source) -> (DeTable<'_>, Faults<'_>) {
    let text = source.text();
    let (table, errors) = DeTable::parse_recoverable(text);
    let table = table.into_inner();
    let mut faults = Faults::default();
    let mut seen = HashSet::new();
    let mut after_open_quote = false;
    for error in in_order(source, &errors) {
        let range = underlinable(text, error.span().unwrap_or_default());
        let line = Line::at(text, range.start);
        if error.message() == DUPLICATE {
            // The tables have been mixed, so what takes two keys to judge cannot be judged.
            faults.doubt |= line.is_header();
            let is_looked_for = faults.problems.len() < MOST_LOOKED_FOR;
            faults.problems.push(duplicate(source, &table, range, is_looked_for));
            continue;
        }
        // One mistake makes the parser stumble more than once; the first says what it was.
        let follows = after_open_quote && is_structural(error);
        if seen.insert(line.start) && !follows {
            faults.problems.push(explain(source, error, range));
        }
        after_open_quote |= is_open_quote(error);
        faults.broken.push(line);
    }
    (table, faults)
}

/// Reads `text` as TOML, if it is nothing else.
pub(crate) fn parse_plain(text: &str) -> Option<DeTable<'_>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    errors.is_empty().then(|| table.into_inner())
}

/// What the parser says about a key that is written twice.
const DUPLICATE: &str = "duplicate key";

/// Errors by line, on each line the ones first that explain the others.
fn in_order<'a>(source: &Source, errors: &'a [Error]) -> Vec<&'a Error> {
    let mut ordered: Vec<&Error> = errors.iter().collect();
    ordered.sort_by_key(|error| (source.line_of(error.span().unwrap_or_default().start), !is_open_quote(error)));
    ordered
}

/// Whether a quote was opened and not closed. The parser then reads the following lines as a part of
/// whatever the quote stands in.
fn is_open_quote(error: &Error) -> bool {
    let message = error.message();
    message.contains("string") && (message.ends_with("`\"`") || message.ends_with("`'`"))
}

/// Whether an error is about how keys, values and brackets follow one another.
fn is_structural(error: &Error) -> bool {
    ["missing", "extra", "unclosed"].iter().any(|word| error.message().starts_with(word))
}

fn explain(source: &Source, error: &Error, range: Range<usize>) -> Diagnostic {
    let place = source.place(range.clone());
    let message = error.message().trim_end();
    if is_open_quote(error) {
        return Diagnostic::error(&place, "the closing quote of this text is missing");
    }
    if message.starts_with("string values must be quoted") {
        let written = &source.text()[range];
        let error = Diagnostic::error(&place, "text is written in quotes");
        return error.with_help(format!("write `\"{}\"`", written.trim()));
    }
    let diagnostic = Diagnostic::error(&place, message);
    if message.starts_with("invalid") {
        return diagnostic.with_help("if this is meant as text, put it in quotes");
    }
    diagnostic
}

/// A range that can be shown: within the text, on the borders of characters, on one line.
fn underlinable(text: &str, range: Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(range.start.min(text.len()));
    let end = text.ceil_char_boundary(range.end.clamp(start, text.len()));
    let line_end = text[start..end].find('\n').map_or(end, |at| start + at);
    start..line_end
}

/// To find where something was first written takes a look at the whole text.
const MOST_LOOKED_FOR: usize = 100;

fn duplicate(source: &Source, table: &DeTable<'_>, key: Range<usize>, is_looked_for: bool) -> Diagnostic {
    let place = source.place(key.clone());
    let written = &source.text()[key.clone()];
    let line = Line::at(source.text(), key.start);
    let (message, earlier) = if line.is_header() {
        let earlier = is_looked_for.then(|| line.earlier_copy(source.text())).flatten();
        (format!("{} is there twice", quoted(line.text)), earlier)
    } else if !is_looked_for {
        (format!("{} is there twice", quoted(&unquoted(written))), None)
    } else {
        let region = source.text()[..key.start].rfind("\n[").unwrap_or(0)..key.start;
        let earlier = only_key_within(table, &unquoted(written), &region);
        (format!("{} is there twice", quoted(&unquoted(written))), earlier)
    };
    let diagnostic = Diagnostic::error(&place, message);
    match earlier {
        Some(earlier) => diagnostic.with_related(&source.place(earlier), "first written here"),
        None => diagnostic,
    }
}

/// A line of a text without the blanks around it; of a header, what its brackets hold.
struct Line<'a> {
    text: &'a str,
    start: usize,
}

impl<'a> Line<'a> {
    fn at(text: &'a str, offset: usize) -> Self {
        let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
        let whole = text[start..].lines().next().unwrap_or_default();
        let header = match whole.rfind(']') {
            Some(end) if whole.trim_start().starts_with('[') => &whole[..=end],
            _ => whole,
        };
        Self { text: header.trim(), start }
    }

    fn is_header(&self) -> bool {
        self.text.starts_with('[')
    }

    /// Where the same header stands further up.
    fn earlier_copy(&self, text: &'a str) -> Option<Range<usize>> {
        text[..self.start].match_indices(self.text).map(|(at, _)| at).find_map(|at| {
            let copy = Self::at(text, at);
            (copy.text == self.text).then(|| at..at + self.text.len())
        })
    }
}

/// A key without its quotes.
fn unquoted(written: &str) -> String {
    written.trim_matches(['"', '\'']).to_owned()
}

/// Where a key is written within `region`, if that is one place only.
fn only_key_within(table: &DeTable<'_>, name: &str, region: &Range<usize>) -> Option<Range<usize>> {
    let mut found = Vec::new();
    collect_keys(table, name, region, &mut found);
    match found.as_slice() {
        [only] => Some(only.clone()),
        _ => None,
    }
}

fn collect_keys(table: &DeTable<'_>, name: &str, region: &Range<usize>, found: &mut Vec<Range<usize>>) {
    for (key, value) in table {
        let span = key.span();
        if key.get_ref() == name && region.contains(&span.start) {
            found.push(span);
        }
        match value.get_ref() {
            DeValue::Table(inner) => collect_keys(inner, name, region, found),
            DeValue::Array(items) => items
                .iter()
                .filter_map(|item| item.get_ref().as_table())
                .for_each(|inner| collect_keys(inner, name, region, found)),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {}
        }
    }
}
