//! Names and values of header fields.

use http::{HeaderName, HeaderValue};

use crate::text::{Text, TextError, quoted};

/// The name of a header field.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct FieldName(pub(crate) HeaderName);

impl Text for FieldName {
    const WHAT: &'static str = "the name of a header such as \"x-request-source\"";
    const PATTERN: &'static str = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$";

    fn parse(text: &str) -> Result<Self, TextError> {
        HeaderName::try_from(text).map(Self).map_err(|_| {
            let error = TextError::new(format!("{} is not the name of a header", quoted(text)));
            match text.split_once(':') {
                Some((name, _)) if !name.is_empty() => {
                    error.with_help(format!("write the name alone: {}", quoted(name.trim())))
                }
                _ => error.with_help("a header's name is letters, digits and `-`"),
            }
        })
    }
}

/// The value of a header field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldValue(pub(crate) HeaderValue);

impl Text for FieldValue {
    const WHAT: &'static str = "the value of a header";
    const PATTERN: &'static str = "^[^\\u0000-\\u0008\\u000A-\\u001F\\u007F]*$";

    fn parse(text: &str) -> Result<Self, TextError> {
        if text.trim_matches([' ', '\t']) != text {
            let error = TextError::new("a header's value neither begins nor ends with a blank");
            return Err(error.with_help(format!("write {}", quoted(text.trim()))));
        }
        HeaderValue::try_from(text)
            .map(Self)
            .map_err(|_| TextError::new("a header's value holds no line breaks or other control characters"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::{complaints, parse_all};

    #[test]
    fn fields() {
        assert_eq!(parse_all::<FieldName>(&["X-Source"])[0].0, "x-source");
        assert_eq!(parse_all::<FieldValue>(&["a b", "", "caf\u{e9}"])[0].0, "a b");
    }

    #[test]
    fn what_is_no_field() {
        insta::assert_snapshot!(complaints::<FieldName>(&["", "a b", "x-source: 1", "caf\u{e9}"]));
        insta::assert_snapshot!(complaints::<FieldValue>(&[" a", "a\r\nb: c", "a\u{0}"]));
    }
}
