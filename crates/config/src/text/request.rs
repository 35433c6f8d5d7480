//! Parts of requests: methods, paths, base paths.

use std::sync::Arc;

use crate::path::one_form;
use crate::text::route_key::parse_method;
use crate::text::{Text, TextError, quoted};

/// The method of an example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Method(pub(crate) http::Method);

impl Text for Method {
    const WHAT: &'static str = "a method such as \"GET\"";
    const PATTERN: &'static str = "^[A-Z][A-Z0-9_-]*$";

    fn parse(text: &str) -> Result<Self, TextError> {
        if text == "ANY" {
            return Err(TextError::new("a request has one method, and none is called `ANY`"));
        }
        parse_method(text).map(Self)
    }
}

/// The path of an example, with its query, as a client sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestPath(pub(crate) String);

impl Text for RequestPath {
    const WHAT: &'static str = "a path such as \"/pets/7?limit=1\"";
    const PATTERN: &'static str = "^/[!-~]*$";

    fn parse(text: &str) -> Result<Self, TextError> {
        if !text.starts_with('/') {
            let error = TextError::new(format!("{} does not begin with `/`", quoted(text)));
            return Err(error.with_help("write the path alone; a host goes into `headers`"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message = format!("{} holds characters that a client would escape", quoted(text));
            return Err(TextError::new(message).with_help("write a blank as `%20`"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// The path that a target is probed at, with its query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProbePath(pub(crate) Box<str>);

impl Text for ProbePath {
    const WHAT: &'static str = "a path such as \"/health\"";
    const PATTERN: &'static str = "^/[!-\"$-~]{0,1023}$";

    fn parse(text: &str) -> Result<Self, TextError> {
        const LONGEST: usize = 1024;
        if !text.starts_with('/') {
            let error = TextError::new(format!("{} does not begin with `/`", quoted(text)));
            return Err(error.with_help("write the path alone; the target is asked for it, and `host` says as whom"));
        }
        if let Some(start) = text.find('#') {
            let error = TextError::new("what follows a `#` is never sent").at(start..text.len());
            return Err(error.with_help("leave it out, or write `#` as `%23`"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message = format!("{} holds characters that must be escaped", quoted(text));
            return Err(TextError::new(message).with_help("write a blank as `%20`"));
        }
        if text.len() > LONGEST {
            return Err(TextError::new(format!("this path is too long; at most {LONGEST} characters")));
        }
        Ok(Self(text.into()))
    }
}

/// The path that all routes of an API share, in the one form: `/v1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BasePath(pub(crate) Arc<str>);

impl Text for BasePath {
    const WHAT: &'static str = "a base path such as \"/v1\"";
    const PATTERN: &'static str = "^/[^?#{}\\s]*[^/?#{}\\s]$";

    fn parse(text: &str) -> Result<Self, TextError> {
        let wrong = || TextError::new(format!("{} is not a base path", quoted(text)));
        if text == "/" || text.is_empty() {
            return Err(wrong().with_help("leave `base` out to have none"));
        }
        if !text.starts_with('/') {
            return Err(wrong().with_help("it begins with `/`"));
        }
        if text.ends_with('/') {
            return Err(wrong().with_help("it does not end with `/`"));
        }
        if text.contains(['{', '}']) {
            return Err(wrong().with_help("parameters stand in the keys of routes only"));
        }
        if text.contains(['?', '#']) || text.chars().any(char::is_whitespace) {
            return Err(wrong().with_help("it is a path alone, with blanks written as `%20`"));
        }
        match one_form(text) {
            Ok(form) => Ok(Self(form.into())),
            Err(error) => Err(wrong().with_help(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::{complaints, parse_all};

    #[test]
    fn parts_of_requests() {
        assert_eq!(parse_all::<BasePath>(&["/v1", "/a/b", "/%76"])[2], BasePath("/v".into()));
        assert_eq!(parse_all::<Method>(&["GET", "TRACE"])[1], Method(http::Method::TRACE));
        parse_all::<RequestPath>(&["/", "/a%2Fb?c=d"]);
        parse_all::<ProbePath>(&["/", "/ping?deep=1", &format!("/{}", "a".repeat(1023))]);
    }

    #[test]
    fn what_is_no_part_of_a_request() {
        insta::assert_snapshot!(complaints::<BasePath>(&["", "/", "v1", "/v1/", "/{a}", "/a?b", "/a/../b", "/a b",]));
        insta::assert_snapshot!(complaints::<Method>(&["ANY", "get", "CONNECT", ""]));
        insta::assert_snapshot!(complaints::<RequestPath>(&["", "http://a/b", "/a b", "/caf\u{e9}"]));
        assert!(ProbePath::parse(&"/a".repeat(513)).is_err());
        insta::assert_snapshot!(complaints::<ProbePath>(&["", "ping", "/a b", "/a#b", "/caf\u{e9}"]));
    }
}
