//! Patterns: text with `*`, `?` and variables, compiled once and matched without allocation.
//!
//! Matching takes time in proportion to pattern times text at worst, whatever the pattern: only the last `*` is ever
//! looked at again.

use crate::key::Key;
use crate::value::{Context, ShortText, Values};

/// The most variables that one pattern may hold, so that their values fit on the stack.
pub(crate) const MOST_VARIABLES: usize = 8;

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    tokens: Box<[Token]>,
    variables: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// Text that stands for itself. Never empty.
    Literal(Box<str>),
    /// `*`: any run of characters, also none.
    AnyRun,
    /// `?`: one character.
    AnyOne,
    /// `${key}` or `${key, 'default'}`: a value, inserted literally. The slot its value is kept in.
    Variable { slot: usize, key: Key, default: Option<Box<str>> },
}

/// What is special in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Syntax {
    /// Whether `*` and `?` are wildcards.
    pub(crate) wildcards: bool,
    /// Whether `${…}` is a variable.
    pub(crate) variables: bool,
}

/// How letters are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Matters,
    Ignored,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PatternError {
    /// `${` without its end.
    Unclosed,
    /// What stands in `${…}` is no variable.
    BadVariable(String),
    /// More than [`MOST_VARIABLES`].
    TooManyVariables,
}

impl Pattern {
    pub(crate) fn parse(text: &str, syntax: Syntax) -> Result<Self, PatternError> {
        let mut tokens = Vec::new();
        let mut literal = String::new();
        let mut variables = 0;
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let after = rest.get(first.len_utf8()..).unwrap_or_default();
            let token = match first {
                '*' if syntax.wildcards => Some(Token::AnyRun),
                '?' if syntax.wildcards => Some(Token::AnyOne),
                '$' if syntax.variables && after.starts_with('{') => {
                    let (inside, beyond) = split_variable(rest)?;
                    rest = beyond;
                    let token = match inside {
                        "*" | "?" | "$" => {
                            literal.push_str(inside);
                            continue;
                        }
                        inside => parse_variable(inside, variables)?,
                    };
                    variables += 1;
                    if variables > MOST_VARIABLES {
                        return Err(PatternError::TooManyVariables);
                    }
                    flush(&mut tokens, &mut literal);
                    tokens.push(token);
                    continue;
                }
                plain => {
                    literal.push(plain);
                    None
                }
            };
            rest = after;
            if let Some(token) = token {
                flush(&mut tokens, &mut literal);
                // Two in a row say the same as one.
                if token != Token::AnyRun || tokens.last() != Some(&Token::AnyRun) {
                    tokens.push(token);
                }
            }
        }
        flush(&mut tokens, &mut literal);
        Ok(Self { tokens: tokens.into(), variables })
    }

    /// Whether the text, which is the pieces joined, is what the pattern describes. A variable that the request has no
    /// single value for, and that has no default, makes the pattern match nothing.
    pub(crate) fn matches(&self, text: &[&str], case: Case, context: &impl Context) -> bool {
        if let (Some(literal), [text], Case::Matters) = (self.literal(), text, case) {
            return literal == *text;
        }
        if self.variables == 0 {
            return matches(&self.tokens, &[], text, case);
        }
        let mut values = [const { ShortText::Borrowed("") }; MOST_VARIABLES];
        for token in &self.tokens {
            if let Token::Variable { slot, key, default } = token {
                let value = single(context.value(key)).or(default.as_deref().map(ShortText::Borrowed));
                let (Some(value), Some(slot)) = (value, values.get_mut(*slot)) else { return false };
                *slot = value;
            }
        }
        matches(&self.tokens, &values, text, case)
    }

    /// Whether the request has a value for every variable, or there is a default.
    pub(crate) fn is_resolved(&self, context: &impl Context) -> bool {
        self.tokens.iter().all(|token| match token {
            Token::Variable { key, default, .. } => default.is_some() || single(context.value(key)).is_some(),
            Token::Literal(_) | Token::AnyRun | Token::AnyOne => true,
        })
    }

    /// The same for a pattern without variables.
    pub(crate) fn matches_plain(&self, text: &str, case: Case) -> bool {
        self.variables == 0 && matches(&self.tokens, &[], &[text], case)
    }

    pub(crate) fn has_variables(&self) -> bool {
        self.variables > 0
    }

    /// The keys of the variables without default.
    pub(crate) fn needed_keys(&self) -> impl Iterator<Item = &Key> {
        self.tokens.iter().filter_map(|token| match token {
            Token::Variable { key, default: None, .. } => Some(key),
            Token::Variable { .. } | Token::Literal(_) | Token::AnyRun | Token::AnyOne => None,
        })
    }

    pub(crate) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// The one text that it matches, if it is one.
    fn literal(&self) -> Option<&str> {
        match &*self.tokens {
            [] => Some(""),
            [Token::Literal(text)] => Some(text),
            _ => None,
        }
    }
}

fn flush(tokens: &mut Vec<Token>, literal: &mut String) {
    if !literal.is_empty() {
        tokens.push(Token::Literal(std::mem::take(literal).into()));
    }
}

/// Splits `${inside}beyond`. A default may hold braces.
fn split_variable(text: &str) -> Result<(&str, &str), PatternError> {
    let inside = text.get(2..).unwrap_or_default();
    let mut quoted = false;
    for (at, character) in inside.char_indices() {
        match character {
            '\'' => quoted = !quoted,
            '}' if !quoted => {
                return Ok((inside.get(..at).unwrap_or_default(), inside.get(at + 1..).unwrap_or_default()));
            }
            _ => {}
        }
    }
    Err(PatternError::Unclosed)
}

/// `key` or `key, 'default'`.
fn parse_variable(inside: &str, slot: usize) -> Result<Token, PatternError> {
    let bad = || PatternError::BadVariable(inside.to_owned());
    let (name, default) = match inside.split_once(',') {
        Some((name, default)) => {
            let default = default.trim().strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).ok_or_else(bad)?;
            if default.contains('\'') {
                return Err(bad());
            }
            (name, Some(default.into()))
        }
        None => (inside, None),
    };
    let name = name.trim();
    if name.is_empty() || name.contains(['$', '{', '\'', '"', '*', '?']) {
        return Err(bad());
    }
    Ok(Token::Variable { slot, key: Key::named(name), default })
}

/// The value of a key that has exactly one.
fn single(values: Values<'_>) -> Option<ShortText<'_>> {
    match values {
        Values::One(value) => value.text(),
        Values::Many([value]) => value.text(),
        Values::Absent | Values::Many(_) => None,
    }
}

/// A place in a pattern.
#[derive(Debug, Clone, Copy)]
struct Place {
    token: usize,
    offset: usize,
}

/// What stands at a place of a pattern.
enum Atom {
    End,
    AnyRun,
    AnyOne,
    Exactly(char),
}

fn matches(tokens: &[Token], values: &[ShortText<'_>], text: &[&str], case: Case) -> bool {
    let mut place = Place { token: 0, offset: 0 };
    let mut cursor = Cursor { pieces: text, offset: 0 };
    // Behind the last `*`, and how much of the text it does not take.
    let mut retry: Option<(Place, Cursor<'_>)> = None;
    loop {
        let (atom, next) = atom_at(tokens, values, place);
        let met = match atom {
            Atom::AnyRun => {
                if next.token == tokens.len() {
                    return true;
                }
                retry = Some((next, cursor));
                place = next;
                continue;
            }
            Atom::End if { cursor }.next().is_none() => return true,
            Atom::End => None,
            Atom::AnyOne => cursor.after(|_| true),
            Atom::Exactly(wanted) => cursor.after(|found| same(wanted, found, case)),
        };
        match (met, &mut retry) {
            (Some(after), _) => {
                cursor = after;
                place = next;
            }
            (None, Some((behind, untaken))) => {
                // The run takes one more character.
                if untaken.next().is_none() {
                    return false;
                }
                cursor = *untaken;
                place = *behind;
            }
            (None, None) => return false,
        }
    }
}

fn atom_at(tokens: &[Token], values: &[ShortText<'_>], mut place: Place) -> (Atom, Place) {
    loop {
        let behind = Place { token: place.token + 1, offset: 0 };
        let literal = match tokens.get(place.token) {
            None => return (Atom::End, place),
            Some(Token::AnyRun) => return (Atom::AnyRun, behind),
            Some(Token::AnyOne) => return (Atom::AnyOne, behind),
            Some(Token::Literal(text)) => text,
            Some(Token::Variable { slot, .. }) => values.get(*slot).map(ShortText::as_str).unwrap_or_default(),
        };
        match literal.get(place.offset..).and_then(|rest| rest.chars().next()) {
            Some(character) => {
                let next = Place { offset: place.offset + character.len_utf8(), ..place };
                return (Atom::Exactly(character), next);
            }
            None => place = behind,
        }
    }
}

fn same(wanted: char, found: char, case: Case) -> bool {
    wanted == found
        || match case {
            Case::Matters => false,
            Case::Ignored if wanted.is_ascii() && found.is_ascii() => wanted.eq_ignore_ascii_case(&found),
            Case::Ignored => wanted.to_lowercase().eq(found.to_lowercase()),
        }
}

/// Reads pieces of text as if they were joined.
#[derive(Debug, Clone, Copy)]
struct Cursor<'t> {
    pieces: &'t [&'t str],
    offset: usize,
}

impl Cursor<'_> {
    fn next(&mut self) -> Option<char> {
        loop {
            let (piece, later) = self.pieces.split_first()?;
            if let Some(character) = piece.get(self.offset..).and_then(|rest| rest.chars().next()) {
                self.offset += character.len_utf8();
                return Some(character);
            }
            self.pieces = later;
            self.offset = 0;
        }
    }

    /// Where it stands behind the next character, if that is a wanted one.
    fn after(self, wanted: impl FnOnce(char) -> bool) -> Option<Self> {
        let mut after = self;
        after.next().filter(|found| wanted(*found)).map(|_| after)
    }
}

#[cfg(test)]
mod tests;
