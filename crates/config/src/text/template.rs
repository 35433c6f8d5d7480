//! Text with parameters of the route in it: `/v2/{id}/{rest}`.

use std::ops::Range;

use crate::path::one_form;
use crate::text::{Text, TextError, quoted};

/// A piece of a template whose parameters are not looked up yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RawPart {
    Text(Box<str>),
    Parameter {
        name: Box<str>,
        /// Where it stands in the string, braces included.
        part: Range<usize>,
    },
}

/// `path`: what a backend is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BackendPath(pub(crate) Vec<RawPart>);

/// `to` of a redirect: where the client is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location(pub(crate) Vec<RawPart>);

impl Text for BackendPath {
    const WHAT: &'static str = "a path such as \"/v2/{id}\"";
    const PATTERN: &'static str = "^/[^?#\\s]*$";

    fn parse(text: &str) -> Result<Self, TextError> {
        if !text.starts_with('/') {
            return Err(TextError::new(format!("{} does not begin with `/`", quoted(text))));
        }
        if let Some(at) = text.find(['?', '#']) {
            let error = TextError::new("a backend's path holds no query").at(at..text.len());
            return Err(error.with_help("the query of the request is passed on as it is"));
        }
        let parts = split(text)?;
        check_dots(&parts, text)?;
        parts
            .into_iter()
            .map(|part| match part {
                // `/` in front, for the one form is a path's; escapes never reach across a parameter.
                RawPart::Text(piece) => match one_form(&format!("/{piece}")) {
                    Ok(form) => Ok(RawPart::Text(form[1..].into())),
                    Err(error) => Err(TextError::new(format!("{}: {error}", quoted(text)))),
                },
                RawPart::Parameter { .. } => Ok(part),
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Text for Location {
    const WHAT: &'static str = "a URL or a path such as \"https://example.com/{rest}\"";
    const PATTERN: &'static str = "^(/|https?://)[!-~]*$";

    fn parse(text: &str) -> Result<Self, TextError> {
        let host = ["https://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        if host.is_none() && !text.starts_with('/') {
            let error = TextError::new(format!("{} is neither a URL nor a path", quoted(text)));
            return Err(error.with_help("begin with `https://` or with `/`"));
        }
        if text.starts_with("//") {
            let error = TextError::new("`//` at the beginning of a path names another host");
            return Err(error.with_help("write the scheme too: `https://…`"));
        }
        if host.is_some_and(|host| host.is_empty() || host.starts_with(['/', '?', '#'])) {
            return Err(TextError::new(format!("{} names no host", quoted(text))));
        }
        let host_end = host.and_then(|host| host.find(['/', '?', '#'])).unwrap_or(text.len());
        if let Some(host) = host
            && host[..host_end.min(host.len())].contains('{')
        {
            let error = TextError::new("a client must not choose the host that it is sent to");
            return Err(error.with_help("parameters may stand only in the path or the query"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let error = TextError::new(format!("{} holds characters that a URL must escape", quoted(text)));
            return Err(error.with_help("write a blank as `%20`, and other characters likewise"));
        }
        split(text).map(Self)
    }
}

/// Splits text at its parameters.
fn split(text: &str) -> Result<Vec<RawPart>, TextError> {
    let mut parts = Vec::new();
    let mut rest = 0;
    while let Some(open) = text[rest..].find(['{', '}']).map(|at| rest + at) {
        let unbalanced = |at| TextError::new("a brace without its counterpart").at(at..at + 1);
        if text[open..].starts_with('}') {
            return Err(unbalanced(open));
        }
        let close = text[open..].find('}').map(|at| open + at).ok_or_else(|| unbalanced(open))?;
        let name = &text[open + 1..close];
        if !is_parameter_name(name) {
            let error = TextError::new(format!("{} is not the name of a parameter", quoted(name)));
            return Err(match name.strip_suffix('+') {
                Some(plain) if is_parameter_name(plain) => {
                    error.with_help(format!("here it is written without the `+`: `{{{plain}}}`"))
                }
                _ => error,
            }
            .at(open..close + 1));
        }
        if open > rest {
            parts.push(RawPart::Text(text[rest..open].into()));
        }
        parts.push(RawPart::Parameter { name: name.into(), part: open..close + 1 });
        rest = close + 1;
    }
    if rest < text.len() {
        parts.push(RawPart::Text(text[rest..].into()));
    }
    Ok(parts)
}

/// Refuses dots right before a parameter at the beginning of a segment: together with what the client
/// sends they could become a dot segment.
fn check_dots(parts: &[RawPart], text: &str) -> Result<(), TextError> {
    for pair in parts.windows(2) {
        if let [RawPart::Text(before), RawPart::Parameter { part, .. }] = pair {
            let segment = before.rsplit('/').next().unwrap_or_default();
            if !segment.is_empty() && segment.bytes().all(|byte| byte == b'.') {
                let message = format!("{}: dots before a parameter could mean \"up\"", quoted(text));
                return Err(TextError::new(message).at(part.start - segment.len()..part.end));
            }
        }
    }
    Ok(())
}

/// Whether this may stand between braces.
pub(crate) fn is_parameter_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::{complaints, parse_all};

    #[test]
    fn templates() {
        let paths = parse_all::<BackendPath>(&["/", "/v2/{id}/caf%c3%a9/{rest}", "/{id}.json"]);
        assert_eq!(paths[0], BackendPath(vec![RawPart::Text("/".into())]));
        assert_eq!(
            paths[1],
            BackendPath(vec![
                RawPart::Text("/v2/".into()),
                RawPart::Parameter { name: "id".into(), part: 4..8 },
                RawPart::Text("/caf%C3%A9/".into()),
                RawPart::Parameter { name: "rest".into(), part: 19..25 },
            ])
        );
        parse_all::<Location>(&["/new/{id}", "https://example.com/{rest}?a=b", "http://example.com"]);
    }

    #[test]
    fn what_is_no_template() {
        insta::assert_snapshot!(complaints::<BackendPath>(&[
            "", "v2", "/a?b", "/{", "/}", "/{}", "/{rest+}", "/{a b}", "/../a", "/a%2", "/a/.{id}",
        ]));
        insta::assert_snapshot!(complaints::<Location>(&[
            "",
            "example.com",
            "//example.com",
            "https://",
            "https:///a",
            "https://{host}/",
            "/a b",
            "ftp://a",
            "/caf\u{e9}",
            "/{",
        ]));
    }
}
