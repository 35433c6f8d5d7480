//! Route keys: `METHOD[,METHOD…] /path`, or `$default`.

use std::ops::Range;

use http::Method;

use crate::model::{Methods, RouteMatcher, Segment};
use crate::path::{PathError, one_form};
use crate::text::template::is_parameter_name;
use crate::text::{Text, TextError, quoted};

/// The key of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteKey(pub(crate) RouteMatcher);

impl Text for RouteKey {
    const WHAT: &'static str = "a route such as \"GET /pets/{id}\"";
    const PATTERN: &'static str = "^(\\$default|[A-Z][A-Z0-9_-]*(,[A-Z][A-Z0-9_-]*)* /[^?#\\s]*)$";

    fn parse(text: &str) -> Result<Self, TextError> {
        if text == "$default" {
            return Ok(Self(RouteMatcher::Default));
        }
        let Some((methods, path)) = text.split_once(' ') else {
            let error = TextError::new(format!("{} is not a route", quoted(text)));
            return Err(error.with_help(if text.starts_with('/') {
                format!("name the method too: `GET {text}`, or `ANY {text}` for every method")
            } else {
                "a route is a method, one blank and a path: `GET /pets`".to_owned()
            }));
        };
        let methods_end = methods.len();
        if methods.ends_with(',') {
            let error = TextError::new("methods are separated by a comma alone, without a blank");
            return Err(error.at(methods_end - 1..methods_end + 1));
        }
        let methods = parse_methods(methods)?;
        let segments = parse_path(path, methods_end + 1)?;
        Ok(Self(RouteMatcher::Path { methods, segments }))
    }
}

fn parse_methods(text: &str) -> Result<Methods, TextError> {
    let mut methods: Vec<Method> = Vec::new();
    let mut start = 0;
    for name in text.split(',') {
        let part = start..start + name.len();
        start = part.end + 1;
        if name == "ANY" {
            if text == "ANY" {
                return Ok(Methods::Any);
            }
            let error = TextError::new("`ANY` stands alone: it already means every method");
            return Err(error.at(part));
        }
        let method = parse_method(name).map_err(|error| error.at(part.clone()))?;
        if methods.contains(&method) {
            return Err(TextError::new(format!("`{name}` is named twice")).at(part));
        }
        methods.push(method);
    }
    Ok(Methods::Only(methods))
}

/// One method, in upper case.
pub(crate) fn parse_method(name: &str) -> Result<Method, TextError> {
    let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    if name == "CONNECT" {
        let error = TextError::new("`CONNECT` asks for a tunnel, and a route makes none");
        return Err(error.with_help("remove it; `ANY` does not stand for it either"));
    }
    let starts_well = name.starts_with(|first: char| first.is_ascii_uppercase());
    if starts_well && name.bytes().all(plain) {
        // Upper-case letters, digits, `-` and `_` are all that a token needs.
        return Method::from_bytes(name.as_bytes())
            .map_err(|_| TextError::new(format!("{} is not a method", quoted(name))));
    }
    let error = TextError::new(format!("{} is not a method", quoted(name)));
    let upper = name.to_ascii_uppercase();
    Err(if upper != name && parse_method(&upper).is_ok() {
        error.with_help(format!("methods are written in upper case: `{upper}`"))
    } else {
        error.with_help("a method is a word such as `GET` or `POST`, or `ANY` for every one")
    })
}

/// The segments of a path that begins at `start` of the key.
fn parse_path(path: &str, start: usize) -> Result<Vec<Segment>, TextError> {
    let whole = start..start + path.len();
    let Some(rest) = path.strip_prefix('/') else {
        let error = TextError::new("the path of a route begins with `/`").at(whole);
        return Err(match path.trim_start() {
            trimmed if trimmed.starts_with('/') => error.with_help("one blank stands between the method and the path"),
            _ => error,
        });
    };
    if let Some(at) = path.find(['?', '#']) {
        let error = TextError::new("a route says nothing about the query");
        return Err(error.at(start + at..whole.end));
    }
    let mut segments = Vec::new();
    let mut at = start + 1;
    for text in rest.split('/') {
        let part = at..at + text.len();
        at = part.end + 1;
        if let Some(Segment::Greedy(name)) = segments.last() {
            let message = format!("`{{{name}+}}` takes the rest of the path; nothing can follow it");
            return Err(TextError::new(message).at(part.start - 1..whole.end));
        }
        let segment = parse_segment(text).map_err(|error| error.at(at_least_one(part.clone())))?;
        if let Some(name) = parameter_name(&segment)
            && segments.iter().any(|earlier| parameter_name(earlier) == Some(name))
        {
            return Err(TextError::new(format!("the parameter `{name}` is there twice")).at(part));
        }
        segments.push(segment);
    }
    Ok(segments)
}

/// A part that can be underlined: an empty segment stands for the slash before it.
fn at_least_one(part: Range<usize>) -> Range<usize> {
    if part.is_empty() { part.start - 1..part.end } else { part }
}

fn parse_segment(text: &str) -> Result<Segment, TextError> {
    if text.contains(['{', '}']) {
        return parse_parameter(text);
    }
    if text == "*" || text == "**" {
        let error = TextError::new(format!("`{text}` is not a wildcard here"));
        return Err(error.with_help("`{name}` stands for one segment, a final `{name+}` for the rest"));
    }
    if text.chars().any(char::is_whitespace) {
        let error = TextError::new("a path holds no blanks");
        return Err(error.with_help("write a blank as `%20`"));
    }
    match one_form(&format!("/{text}")) {
        Ok(form) => Ok(Segment::Static(form[1..].into())),
        Err(error) => {
            let no_request = "no request with it would get this far";
            let message = match error {
                PathError::NotAbsolute | PathError::BadEscape => error.to_string(),
                PathError::DotSegment | PathError::Backslash | PathError::Nul => {
                    format!("{error}, so {no_request}")
                }
            };
            Err(TextError::new(message))
        }
    }
}

fn parse_parameter(text: &str) -> Result<Segment, TextError> {
    let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let Some(inner) = inner.filter(|inner| !inner.contains(['{', '}'])) else {
        let error = TextError::new(format!("{} is only partly a parameter", quoted(text)));
        return Err(error.with_help("a parameter stands for a whole segment: `/{name}/`"));
    };
    let (name, greedy) = match inner.strip_suffix('+') {
        Some(name) => (name, true),
        None => (inner, false),
    };
    if !is_parameter_name(name) {
        let error = TextError::new(format!("{} is not the name of a parameter", quoted(name)));
        return Err(error.with_help("a parameter's name is a letter, then letters, digits, `_` and `-`"));
    }
    Ok(if greedy { Segment::Greedy(name.into()) } else { Segment::Parameter(name.into()) })
}

/// The name of a parameter, if the segment is one.
pub(crate) fn parameter_name(segment: &Segment) -> Option<&str> {
    match segment {
        Segment::Static(_) => None,
        Segment::Parameter(name) | Segment::Greedy(name) => Some(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::{complaints, parse_all};

    fn fixed(text: &str) -> Segment {
        Segment::Static(text.into())
    }

    #[test]
    fn keys() {
        let keys =
            parse_all::<RouteKey>(&["$default", "GET /", "GET,POST /a/{id}/caf%c3%a9", "ANY /a//", "PURGE /{proxy+}"]);
        let path = |methods, segments| RouteKey(RouteMatcher::Path { methods, segments });
        let get = Methods::Only(vec![Method::GET]);
        assert_eq!(keys[0], RouteKey(RouteMatcher::Default));
        assert_eq!(keys[1], path(get, vec![fixed("")]));
        assert_eq!(
            keys[2],
            path(
                Methods::Only(vec![Method::GET, Method::POST]),
                vec![fixed("a"), Segment::Parameter("id".into()), fixed("caf%C3%A9")]
            )
        );
        assert_eq!(keys[3], path(Methods::Any, vec![fixed("a"), fixed(""), fixed("")]));
        let purge = Methods::Only(vec![Method::from_bytes(b"PURGE").unwrap()]);
        assert_eq!(keys[4], path(purge, vec![Segment::Greedy("proxy".into())]));
    }

    #[test]
    fn what_is_no_key() {
        insta::assert_snapshot!(complaints::<RouteKey>(&[
            "",
            "/pets",
            "GET",
            "get /",
            "GET, POST /",
            "GET,ANY /",
            "GET,GET /",
            "CONNECT /",
            "GET  /",
            "GET pets",
            "GET /a?b=c",
            "GET /*",
            "GET /{a}b",
            "GET /{a",
            "GET /{}",
            "GET /{a b}",
            "GET /{a+}/b",
            "GET /{a}/{a}",
            "GET /a/../b",
            "GET /a\\b",
            "GET /%zz",
            "$Default",
            " /",
            "G\u{e9}T /",
        ]));
    }
}
