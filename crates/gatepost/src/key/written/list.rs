//! A list in the text of a TOML file: what stands between brackets or braces, with commas between.

use std::ops::Range;

/// Where a list and its items stand.
#[derive(Debug)]
pub(super) struct List {
    /// With its brackets.
    span: Range<usize>,
    items: Vec<Range<usize>>,
}

/// What follows an item.
struct Trail {
    /// Where its comma is, perhaps lines below.
    comma: Option<usize>,
    /// The comment on its line, from `#`.
    comment: Option<Range<usize>>,
    /// Whether its line ends with these.
    ends_line: bool,
}

/// What an item that gets a line of its own is set in by.
const INDENT: &str = "    ";

impl List {
    pub(super) fn new(span: Range<usize>, mut items: Vec<Range<usize>>) -> Self {
        items.sort_unstable_by_key(|item| item.start);
        Self { span, items }
    }

    pub(super) fn start(&self) -> usize {
        self.span.start
    }

    /// The number of the item that starts there.
    pub(super) fn position(&self, start: usize) -> Option<usize> {
        self.items.iter().position(|item| item.start == start)
    }

    /// The comment behind each item, on its line. What stands behind the list is about its only item.
    pub(super) fn comments(&self, text: &str) -> Vec<Option<String>> {
        let read = |comment: Range<usize>| text[comment].trim_start_matches('#').trim().to_owned();
        let comment_of = |item: &Range<usize>| {
            let inside = Trail::of(text, item.end).comment;
            let behind = || (self.items.len() == 1).then(|| comment_at(text, skip_blanks(text, self.span.end)))?;
            inside.or_else(behind).map(read).filter(|comment| !comment.is_empty())
        };
        self.items.iter().map(comment_of).collect()
    }

    /// The comments in a part of the text that are on no line of an item, each on a line of its own.
    pub(super) fn comments_elsewhere(&self, text: &str, part: Range<usize>) -> String {
        let mut start = part.start;
        let mut kept = String::new();
        for line in text[part].split_inclusive('\n') {
            let end = start + line.len();
            let has_item = self.items.iter().any(|item| item.start < end && start < item.end);
            if let Some(comment) = line.find('#').filter(|_| !has_item) {
                kept.push_str(indent(text, start));
                kept.push_str(&line[comment..]);
            }
            start = end;
        }
        kept
    }

    /// The text with one more item, and a comment behind it if that is not empty.
    pub(super) fn with(&self, text: &str, item: &str, comment: &str) -> String {
        let eol = eol(text, self.span.start);
        let Some(last) = self.items.last() else {
            let at = self.span.start + 1;
            let new = if comment.is_empty() { item.to_owned() } else { format!("{item},{comment}{eol}") };
            return [&text[..at], &new, &text[at..]].concat();
        };
        let Trail { comma, ends_line, .. } = Trail::of(text, last.end);
        // It ends as the last one did, with a comma or without.
        let between = if comma.is_some() { "" } else { "," };
        let end = if comma.is_some() { "," } else { "" };
        let line = line_start(text, last.start);
        let has_own_line = text[line..last.start].trim_matches([' ', '\t']).is_empty();
        let by_one_line = comma.is_none_or(|comma| comma < line_end(text, last.end));
        let indent = match has_own_line {
            true => text[line..last.start].to_owned(),
            false => format!("{}{INDENT}", indent(text, line)),
        };
        if !by_one_line {
            // Whoever begins lines with commas.
            let at = comma.map_or(last.end, |comma| comma + 1);
            let end = if comment.is_empty() { "," } else { &format!(",{comment}{eol}{indent}") };
            return [&text[..at], " ", item, end, &text[at..]].concat();
        }
        let at = comma.map_or(last.end, |comma| comma + 1);
        if ends_line {
            let line_end = line_end(text, at);
            let new = format!("{eol}{indent}{item}{end}{comment}");
            return [&text[..last.end], between, &text[last.end..line_end], &new, &text[line_end..]].concat();
        }
        let new = match (has_own_line, comment) {
            (false, "") => format!("{between} {item}{end}"),
            (true, "") => format!("{between}{eol}{indent}{item}{end}"),
            // A comment ends with its line, and what follows goes on the next.
            (_, comment) => format!("{between}{eol}{indent}{item}{end}{comment}{eol}{}", self::indent(text, line)),
        };
        [&text[..at], &new, &text[at..]].concat()
    }

    /// The text without an item, its comma and its comment.
    pub(super) fn without(&self, text: &str, index: usize) -> String {
        let item = self.items[index].clone();
        let Trail { comma, comment, ends_line } = Trail::of(text, item.end);
        let line = line_start(text, item.start);
        let end = line_end(text, item.end);
        let has_line = text[line..item.start].trim_matches([' ', '\t']).is_empty() && ends_line;
        if has_line && comma.is_none_or(|comma| comma < end) {
            return [&text[..line], &text[next_line(text, item.end)..]].concat();
        }
        let previous = index.checked_sub(1).map(|before| self.items[before].clone());
        let cut = match (comma, previous) {
            (Some(comma), _) if comma < end => {
                let shares_line = self.items.iter().any(|other| other.end > line && other.end < item.start);
                let comment = comment.filter(|_| !shares_line);
                item.start..comment.map_or_else(|| skip_blanks(text, comma + 1), |comment| comment.end)
            }
            (None, Some(previous)) if !text[previous.end..item.start].contains(['#', '\n']) => previous.end..item.end,
            (comma, _) => item.start..comma.map_or(item.end, |comma| comma + 1),
        };
        [&text[..cut.start], &text[cut.end..]].concat()
    }
}

impl Trail {
    fn of(text: &str, from: usize) -> Self {
        let mut at = skip_blanks(text, from);
        let mut comma = None;
        if text[at..].starts_with(',') {
            comma = Some(at);
            at = skip_blanks(text, at + 1);
        }
        let comment = comment_at(text, at);
        at = comment.as_ref().map_or(at, |comment| comment.end);
        let ends_line = at == line_end(text, at);
        Self { comma: comma.or_else(|| comma_below(text, at)), comment, ends_line }
    }
}

/// The comma that follows after line breaks and comments only.
fn comma_below(text: &str, mut at: usize) -> Option<usize> {
    loop {
        at += text[at..].len() - text[at..].trim_start_matches([' ', '\t', '\r', '\n']).len();
        match comment_at(text, at) {
            Some(comment) => at = comment.end,
            None => return text[at..].starts_with(',').then_some(at),
        }
    }
}

fn comment_at(text: &str, at: usize) -> Option<Range<usize>> {
    text[at..].starts_with('#').then(|| at..line_end(text, at))
}

fn skip_blanks(text: &str, at: usize) -> usize {
    text.len() - text[at..].trim_start_matches([' ', '\t']).len()
}

/// Where the line of a byte begins.
pub(super) fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |end| end + 1)
}

/// Where the line of a byte ends, before its line break.
pub(super) fn line_end(text: &str, at: usize) -> usize {
    let line = text[at..].split('\n').next().unwrap_or_default();
    at + line.strip_suffix('\r').unwrap_or(line).len()
}

/// Where the next line begins.
pub(super) fn next_line(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |end| at + end + 1)
}

/// What a line begins with.
pub(super) fn indent(text: &str, line: usize) -> &str {
    &text[line..skip_blanks(text, line)]
}

/// How lines end there; else how the first one ends.
pub(super) fn eol(text: &str, at: usize) -> &'static str {
    let end = text[at..].find('\n').map(|end| at + end).or_else(|| text.find('\n'));
    if end.is_some_and(|end| text[..end].ends_with('\r')) { "\r\n" } else { "\n" }
}
