//! ARNs: of APIs, of requests, and patterns of them.

use thiserror::Error;

use crate::glob::{Case, Pattern, PatternError, Syntax};
use crate::value::Context;

/// An API as ARNs call it: what the short form `execute-api:/…` stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ApiArn {
    /// `aws`
    pub partition: Box<str>,
    /// `us-east-1`
    pub region: Box<str>,
    /// Twelve digits.
    pub account: Box<str>,
    /// The API's id, such as `abc123`.
    pub api: Box<str>,
}

impl ApiArn {
    /// An API of a region and an account.
    #[must_use]
    pub fn new(partition: &str, region: &str, account: &str, api: &str) -> Self {
        Self { partition: partition.into(), region: region.into(), account: account.into(), api: api.into() }
    }
}

/// What is asked for: `arn:partition:service:region:account:` and the tail, which is its pieces joined, so that nobody
/// needs to join them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource<'a> {
    /// `aws`
    pub partition: &'a str,
    /// `execute-api`
    pub service: &'a str,
    /// `us-east-1`
    pub region: &'a str,
    /// Twelve digits.
    pub account: &'a str,
    /// The API's id, `/`, the stage, `/`, the method, and the path with its slash; in any pieces.
    pub tail: &'a [&'a str],
}

/// An ARN as text, in its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceArn<'a> {
    parts: [&'a str; 4],
    tail: [&'a str; 1],
}

/// A text is no ARN.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no ARN; write `arn:partition:service:region:account:` and the resource")]
pub struct NotAnArn(pub String);

impl<'a> ResourceArn<'a> {
    /// Reads `arn:partition:service:region:account:…`.
    ///
    /// # Errors
    ///
    /// The text does not begin so.
    pub fn parse(text: &'a str) -> Result<Self, NotAnArn> {
        match split(text) {
            Some(["arn", partition, service, region, account, tail]) => {
                Ok(Self { parts: [partition, service, region, account], tail: [tail] })
            }
            Some(_) | None => Err(NotAnArn(text.to_owned())),
        }
    }

    /// The ARN as a request has it.
    #[must_use]
    pub fn resource(&self) -> Resource<'_> {
        let [partition, service, region, account] = self.parts;
        Resource { partition, service, region, account, tail: &self.tail }
    }

    /// The API whose ARN it is. The id is all of the tail if there is no slash.
    #[must_use]
    pub fn api(&self) -> ApiArn {
        let [partition, _, region, account] = self.parts;
        let api = self.tail[0].split('/').next().unwrap_or_default();
        ApiArn::new(partition, region, account, api)
    }
}

/// A pattern of ARNs: six parts, each a pattern of its own, so that no `*` but that of the last crosses a colon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArnPattern {
    /// `arn`, partition, service, region, account.
    pub(crate) parts: [Pattern; 5],
    /// What is behind the fifth colon, further colons included.
    pub(crate) rest: Pattern,
}

impl ArnPattern {
    pub(crate) fn compile(parts: [&str; 6], variables: bool) -> Result<Self, PatternError> {
        let syntax = Syntax { wildcards: true, variables };
        let [arn, partition, service, region, account, rest] = parts.map(|part| Pattern::parse(part, syntax));
        Ok(Self { parts: [arn?, partition?, service?, region?, account?], rest: rest? })
    }

    /// Whether it describes the ARN of these six parts, as [`split`] gives them.
    pub(crate) fn matches_split(&self, parts: [&str; 6], context: &impl Context) -> bool {
        let [arn, partition, service, region, account, rest] = parts;
        self.matches_parts([arn, partition, service, region, account], &[rest], context)
    }

    pub(crate) fn matches(&self, resource: &Resource<'_>, context: &impl Context) -> bool {
        let Resource { partition, service, region, account, tail } = *resource;
        self.matches_parts(["arn", partition, service, region, account], tail, context)
    }

    fn matches_parts(&self, parts: [&str; 5], rest: &[&str], context: &impl Context) -> bool {
        let matches = |pattern: &Pattern, part| pattern.matches(&[part], Case::Matters, context);
        self.parts.iter().zip(parts).all(|(pattern, part)| matches(pattern, part))
            && self.rest.matches(rest, Case::Matters, context)
    }
}

/// Splits at the first five colons. Absent: there are fewer.
pub(crate) fn split(text: &str) -> Option<[&str; 6]> {
    split_at(text, |_| false)
}

/// The same for a pattern, where a colon inside `${…}` does not count.
pub(crate) fn split_pattern(text: &str, variables: bool) -> Option<[&str; 6]> {
    let mut inside = false;
    split_at(text, |rest| {
        if variables && rest.starts_with("${") {
            inside = true;
        } else if rest.starts_with('}') {
            inside = false;
        }
        inside
    })
}

/// `is_inside` is asked at every character, in order, whether a colon there would not count.
fn split_at(text: &str, mut is_inside: impl FnMut(&str) -> bool) -> Option<[&str; 6]> {
    let mut parts = [""; 6];
    let mut part = 0;
    let mut start = 0;
    for (at, character) in text.char_indices() {
        let inside = is_inside(text.get(at..).unwrap_or_default());
        if character == ':' && !inside {
            *parts.get_mut(part)? = text.get(start..at)?;
            part += 1;
            start = at + 1;
            if part == 5 {
                parts[5] = text.get(start..)?;
                return Some(parts);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_is_split_at_its_first_five_colons() {
        assert_eq!(split("a:b:c:d:e:f:g"), Some(["a", "b", "c", "d", "e", "f:g"]));
        assert_eq!(split(":::::"), Some([""; 6]));
        assert_eq!(split("arn:aws:iam*"), None);
        let pattern = "arn:aws:iam::${aws:PrincipalAccount}:user/${aws:username}";
        let account = split_pattern(pattern, true).unwrap()[4];
        assert_eq!(account, "${aws:PrincipalAccount}");
        assert_eq!(split_pattern(pattern, false).unwrap()[4], "${aws");
    }

    #[test]
    fn what_is_no_arn() {
        for text in ["", "arn:aws:execute-api:us-east-1:123456789012", "urn:a:b:c:d:e"] {
            assert_eq!(ResourceArn::parse(text), Err(NotAnArn(text.to_owned())));
        }
    }
}
