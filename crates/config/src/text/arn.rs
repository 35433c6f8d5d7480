//! What policies are written in terms of.

use std::sync::Arc;

use crate::text::{Text, TextError, quoted};

/// The region in ARNs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Region(pub(crate) Arc<str>);

impl Text for Region {
    const WHAT: &'static str = "a region such as \"us-east-1\"";
    const PATTERN: &'static str = "^[a-z]{2,}(-[a-z]+)+-[0-9]{1,2}$";

    fn parse(text: &str) -> Result<Self, TextError> {
        if is_region(text) {
            return Ok(Self(text.into()));
        }
        let error = TextError::new(format!("{} is not a region", quoted(text)));
        Err(error.with_help("write it as ARNs do: `us-east-1`"))
    }
}

/// Words in lower case, then a number, all joined by `-`.
fn is_region(text: &str) -> bool {
    let is_word = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_number = |part: &str| matches!(part.len(), 1..=2) && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = text.split('-').collect();
    let [first, words @ .., number] = &parts[..] else { return false };
    let words_are_words = !words.is_empty() && words.iter().all(|word| is_word(word));
    first.len() >= 2 && is_word(first) && words_are_words && is_number(number)
}

/// The account in ARNs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account(pub(crate) Arc<str>);

impl Text for Account {
    const WHAT: &'static str = "an account such as \"123456789012\"";
    const PATTERN: &'static str = "^[0-9]{12}$";

    fn parse(text: &str) -> Result<Self, TextError> {
        if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self(text.into()));
        }
        let error = TextError::new(format!("{} is not an account", quoted(text)));
        Err(error.with_help("write its twelve digits, without `-`"))
    }
}

/// What a private listener is called: an endpoint, or the network that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndpointName(pub(crate) Arc<str>);

impl Text for EndpointName {
    const WHAT: &'static str = "a name that policies use, such as \"vpce-1\"";
    const PATTERN: &'static str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$";

    fn parse(text: &str) -> Result<Self, TextError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let starts_well = text.starts_with(|first: char| first.is_ascii_alphanumeric());
        if starts_well && text.len() <= 128 && text.bytes().all(plain) {
            return Ok(Self(text.into()));
        }
        let error = TextError::new(format!("{} is not a name that policies use", quoted(text)));
        Err(error.with_help("write 1 to 128 letters, digits, `.`, `_` and `-`, such as `vpce-1`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::{complaints, parse_all};

    #[test]
    fn parts_of_arns() {
        let regions = parse_all::<Region>(&["us-east-1", "us-gov-west-1", "ap-southeast-2", "eusc-de-east-1"]);
        assert_eq!(regions[0], Region("us-east-1".into()));
        parse_all::<Account>(&["000000000000", "111122223333"]);
        parse_all::<EndpointName>(&["vpce-1", "vpc-0a1b2c3d4e5f", "office.internal"]);
    }

    #[test]
    fn what_is_no_part_of_an_arn() {
        let complaints = [
            complaints::<Region>(&["", "US-EAST-1", "us-1", "us-east", "us-east-1a", "us--1", "us-east-001"]),
            complaints::<Account>(&["", "1234-5678-9012", "12345678901", "1234567890123"]),
            complaints::<EndpointName>(&["", "vpce 1", "-a", "vpce-*"]),
        ];
        insta::assert_snapshot!(complaints.join("\n"));
    }
}
