//! What every element is read with: maps, and one text or a list of them.

use std::borrow::Cow;
use std::ops::Range;

use crate::document::{Entry, Kind, Node, Unreadable};
use crate::error::{Mistake, Reporter};

/// A text and its place in the document.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) text: String,
    pub(crate) at: Range<usize>,
}

/// The entries of a map. Absent, and a report, if it is no map or cannot be read.
pub(crate) fn entries<'t>(
    node: &Node<'t>,
    element: impl Into<Cow<'static, str>>,
    reporter: &mut Reporter<'_>,
) -> Option<Vec<Entry<'t>>> {
    match node.entries() {
        Ok(Some(entries)) => return Some(entries),
        Ok(None) => reporter.report(node.at(), element, Mistake::WrongType { expected: "an object, `{…}`" }),
        Err(unreadable) => report(unreadable, element, reporter),
    }
    None
}

/// One text. Absent, and a report, if it is anything else.
pub(crate) fn text(node: &Node<'_>, element: &'static str, reporter: &mut Reporter<'_>) -> Option<String> {
    if node.kind() != Kind::String {
        reporter.report(node.at(), element, Mistake::WrongType { expected: "text in quotes" });
        return None;
    }
    match node.scalar() {
        Ok(text) => text,
        Err(unreadable) => {
            report(unreadable, element, reporter);
            None
        }
    }
}

/// One text or a list of texts; with `bare`, also numbers and truth values, as they are written. None, and a report, if
/// it is anything else, or an empty list.
pub(crate) fn texts(node: &Node<'_>, element: &str, bare: bool, reporter: &mut Reporter<'_>) -> Vec<Written> {
    let items = match node.items() {
        Ok(Some(items)) if items.is_empty() => {
            reporter.report(node.at(), element.to_owned(), Mistake::Empty);
            return Vec::new();
        }
        Ok(Some(items)) => items,
        Ok(None) => vec![*node],
        Err(unreadable) => {
            report(unreadable, element.to_owned(), reporter);
            return Vec::new();
        }
    };
    let mut texts = Vec::with_capacity(items.len());
    for item in items {
        let is_text = item.kind() == Kind::String || bare;
        match item.scalar() {
            Ok(Some(text)) if is_text => texts.push(Written { text, at: item.at() }),
            Ok(_) => {
                let expected = if bare { "text, a number or a truth value" } else { "text in quotes, or a list of it" };
                reporter.report(item.at(), element.to_owned(), Mistake::WrongType { expected });
            }
            Err(unreadable) => report(unreadable, element.to_owned(), reporter),
        }
    }
    texts
}

/// Reports that something cannot be read.
pub(crate) fn report(unreadable: Unreadable, element: impl Into<Cow<'static, str>>, reporter: &mut Reporter<'_>) {
    match unreadable {
        Unreadable::Syntax { at, message } => reporter.report(at..at, element, Mistake::Syntax(message)),
        Unreadable::Duplicate { at, name } => reporter.report(at, element, Mistake::Duplicate(name)),
    }
}
