//! Long texts in pieces, so that what a million callers take as TOML is there for some of them at a time.
//!
//! As TOML with places, a table takes more than ten times the memory of its text. Most of a long text are tables
//! `[caller.NAME]`, and none of them says anything of another one: a piece is some of them, read by itself. Everything
//! else stays together. A text that is not plain in this respect is not cut, and what is no TOML is not found out here.

use std::ops::Range;

use toml_parser::Source;
use toml_parser::lexer::{Lexer, TokenKind};

/// A text that was cut.
pub(crate) struct Pieces {
    /// Everything else, with blanks in place of what was cut out before it, so that it is where it was.
    pub(crate) rest: String,
    /// Where the tables of callers are.
    pub(crate) callers: Vec<Range<usize>>,
}

/// Shorter texts are not worth it.
const WORTH_CUTTING: usize = 1 << 20;

/// How long a piece is, unless one caller takes more.
const LENGTH: usize = 256 << 10;

/// Cuts a text that is long enough, if it can be cut.
pub(crate) fn cut(text: &str) -> Option<Pieces> {
    if text.len() < WORTH_CUTTING {
        return None;
    }
    let callers = tables_of_callers(text)?;
    let mut rest = String::new();
    let mut end = 0;
    for piece in callers.iter().cloned().chain(std::iter::once(text.len()..text.len())) {
        let between = text.get(end..piece.start)?;
        if !between.is_empty() {
            rest.extend(std::iter::repeat_n(' ', end - rest.len()));
            rest.push_str(between);
        }
        end = piece.end;
    }
    Some(Pieces { rest, callers })
}

fn tables_of_callers(text: &str) -> Option<Vec<Range<usize>>> {
    let mut pieces: Vec<Range<usize>> = Vec::new();
    let mut table = Table { start: 0, header: Header::Other };
    for next in Headers::of(text) {
        let next = next?;
        if let Header::PartOfCaller(name) = next.header
            && table.header.caller() != Some(name)
        {
            // What it is a part of stands elsewhere.
            return None;
        }
        table.take_up(next.start, &mut pieces);
        table = next;
    }
    table.take_up(text.len(), &mut pieces);
    Some(pieces)
}

/// A header, and all lines up to the next one.
struct Table<'a> {
    start: usize,
    header: Header<'a>,
}

impl Table<'_> {
    /// Makes the table, which ends at `end`, a part of a piece if it is that of a caller.
    fn take_up(&self, end: usize, pieces: &mut Vec<Range<usize>>) {
        let begins = match self.header {
            Header::Other => return,
            Header::Caller(_) => true,
            Header::PartOfCaller(_) => false,
        };
        match pieces.last_mut() {
            Some(piece) if piece.end == self.start && !(begins && piece.len() >= LENGTH) => piece.end = end,
            Some(_) | None => pieces.push(self.start..end),
        }
    }
}

/// What a header says that its table is.
#[derive(Clone, Copy)]
enum Header<'a> {
    /// `[caller.NAME]`, the name as it is written.
    Caller(&'a str),
    /// `[caller.NAME.jwt]`, `[[caller.NAME.sigv4]]`.
    PartOfCaller(&'a str),
    Other,
}

impl<'a> Header<'a> {
    /// The caller that its table is about.
    fn caller(self) -> Option<&'a str> {
        match self {
            Self::Caller(name) | Self::PartOfCaller(name) => Some(name),
            Self::Other => None,
        }
    }
}

/// The headers of a text, or nothing where one is not plain.
struct Headers<'a> {
    text: &'a str,
    tokens: Lexer<'a>,
    /// How many brackets are open.
    depth: usize,
    /// Whether nothing but blanks stands before the next token on its line.
    is_first: bool,
}

impl<'a> Headers<'a> {
    fn of(text: &'a str) -> Self {
        Self { text, tokens: Source::new(text).lex(), depth: 0, is_first: true }
    }

    /// Reads a header behind its first bracket, which is at `start`.
    fn header(&mut self, start: usize) -> Option<Table<'a>> {
        let mut keys: Vec<&'a str> = Vec::new();
        let mut is_array = false;
        loop {
            let token = self.tokens.next()?;
            let kind = token.kind();
            // In quotes there are many ways to write one name.
            let is_quoted = matches!(kind, TokenKind::BasicString | TokenKind::LiteralString);
            if kind == TokenKind::Atom || (is_quoted && !keys.is_empty()) {
                keys.push(self.text.get(token.span().start()..token.span().end())?);
            } else if kind == TokenKind::LeftSquareBracket && keys.is_empty() && !is_array {
                is_array = true;
            } else if kind == TokenKind::RightSquareBracket {
                break;
            } else if !matches!(kind, TokenKind::Whitespace | TokenKind::Dot) {
                return None;
            }
        }
        if is_array && self.tokens.next()?.kind() != TokenKind::RightSquareBracket {
            return None;
        }
        let header = match keys[..] {
            ["caller", name] if !is_array => Header::Caller(name),
            ["caller", _] => return None,
            ["caller", name, _, ..] => Header::PartOfCaller(name),
            _ => Header::Other,
        };
        Some(Table { start, header })
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Option<Table<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let token = self.tokens.next()?;
            let kind = token.kind();
            let was_first = self.is_first;
            self.is_first = kind == TokenKind::Newline || (was_first && kind == TokenKind::Whitespace);
            if was_first && self.depth == 0 && kind == TokenKind::LeftSquareBracket {
                return Some(self.header(token.span().start()));
            }
            if matches!(kind, TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket) {
                self.depth += 1;
            } else if matches!(kind, TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket) {
                let Some(depth) = self.depth.checked_sub(1) else { return Some(None) };
                self.depth = depth;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces of a text of any length.
    fn pieces(text: &str) -> Option<Vec<&str>> {
        tables_of_callers(text).map(|pieces| pieces.into_iter().map(|piece| &text[piece]).collect())
    }

    #[test]
    fn tables_of_callers_are_cut_out() {
        let text = "listen = \"a\"\n[caller.a]\nkeys = [\n  [\"]\"],\n]\n# b\n[caller.b]\n[server]\n[caller.c]\n";
        let expected = ["[caller.a]\nkeys = [\n  [\"]\"],\n]\n# b\n[caller.b]\n", "[caller.c]\n"];
        assert_eq!(pieces(text).unwrap(), expected);
        let inside = "[route.\"GET /\"]\nrespond.body = \"\"\"\n[caller.a]\n\"\"\"\nexample = [\n[caller.a]\n]\n[caller]\na.keys = []";
        assert_eq!(pieces(inside).unwrap(), [""; 0]);
    }

    #[test]
    fn parts_of_a_caller_stay_with_it() {
        let text = "[caller.a]\n[caller.a.jwt]\n[[ caller . a . sigv4 ]]\n[plan.p]\n";
        assert_eq!(pieces(text).unwrap(), ["[caller.a]\n[caller.a.jwt]\n[[ caller . a . sigv4 ]]\n"]);
        let long = format!("[caller.a]\n#{}\n[caller.a.jwt]\n[caller.b]\n", "x".repeat(LENGTH));
        assert_eq!(pieces(&long).unwrap().iter().map(|piece| piece.len() > LENGTH).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn what_is_not_plain_is_not_cut() {
        for text in [
            "[caller.a]\n[caller.b]\n[caller.a.jwt]\n",
            "[caller.a.jwt]\n[caller.a]\n",
            "[\"caller\".a]\n",
            "[[caller.a]]\n",
            "[caller.a\n",
            "]\n[caller.a]\n",
        ] {
            assert_eq!(pieces(text), None, "{text}");
        }
        assert!(cut("[caller.a]\n").is_none(), "a short text");
    }
}
