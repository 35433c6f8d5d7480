//! What things are called.

use std::sync::Arc;

use crate::text::{Text, TextError, quoted};

/// The name of a listener, an API, an address set or an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(pub(crate) Arc<str>);

impl Name {
    /// Whether a string has the form of a name, reserved or not.
    pub(crate) fn is_name(text: &str) -> bool {
        text.starts_with(|first: char| first.is_ascii_lowercase())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-'))
    }
}

impl Text for Name {
    const WHAT: &'static str = "a name such as \"office\"";
    const PATTERN: &'static str = "^[a-z][a-z0-9_-]*$";

    fn parse(text: &str) -> Result<Self, TextError> {
        if text == "any" {
            let error = TextError::new("the name `any` is reserved");
            return Err(error.with_help("give it another name"));
        }
        if Self::is_name(text) {
            return Ok(Self(text.into()));
        }
        let error = TextError::new(format!("{} is not a name", quoted(text)));
        let lower = text.to_ascii_lowercase().replace(['.', ' '], "-");
        Err(error.with_help(if Self::is_name(&lower) && lower != "any" {
            format!("names are lower-case letters, digits, `_` and `-`: `{lower}`")
        } else {
            "a name is a lower-case letter, then lower-case letters, digits, `_` and `-`".to_owned()
        }))
    }
}

/// An identifier that only logs and policies read: an API's `id` or `stage`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label(pub(crate) Arc<str>);

impl Text for Label {
    const WHAT: &'static str = "an identifier such as \"prod\"";
    const PATTERN: &'static str = "^[A-Za-z0-9$][A-Za-z0-9$_-]{0,127}$";

    fn parse(text: &str) -> Result<Self, TextError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'$' | b'_' | b'-');
        let starts_well = !text.is_empty() && !text.starts_with(['_', '-']);
        if starts_well && text.len() <= 128 && text.bytes().all(plain) {
            return Ok(Self(text.into()));
        }
        let error = TextError::new(format!("{} is not an identifier", quoted(text)));
        Err(error.with_help("write 1 to 128 letters, digits, `$`, `_` and `-`, such as `prod`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::{complaints, parse_all};

    #[test]
    fn names() {
        let names = parse_all::<Name>(&["a", "office", "github-hooks", "a_1"]);
        assert_eq!(names[2], Name("github-hooks".into()));
        let labels = parse_all::<Label>(&["$default", "prod", "abc123", "A-b_c"]);
        assert_eq!(labels[0], Label("$default".into()));
    }

    #[test]
    fn what_is_no_name() {
        insta::assert_snapshot!(complaints::<Name>(&[
            "",
            "any",
            "Office",
            "my office",
            "1st",
            "-a",
            "caf\u{e9}",
            "a.b"
        ]));
        insta::assert_snapshot!(complaints::<Label>(&["", "a b", "-prod"]));
    }
}
