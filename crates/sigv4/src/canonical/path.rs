//! The path: normalised and escaped once more, but for S3.

use thiserror::Error;

use super::{is_unreserved, push_escaped, unescaped};

/// How a service signs paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PathForm {
    /// Every service but S3. Empty segments are dropped, `.` and `..` are resolved (RFC 3986, section 5.2.4, so that a
    /// path that ends in one of them ends in `/`), a `/` at the end stays, and everything is escaped although it is
    /// escaped already: `%20` becomes `%2520`.
    ///
    /// So one signature is good for `/a/b`, for `/a//b` and for `/a/./b`. Who routes these to different places, and
    /// cannot have that, refuses the latter two.
    #[default]
    EscapedTwice,
    /// S3: the path as it is on the wire. Only bytes that cannot stand there, as spaces, are escaped.
    AsSent,
}

/// Why a path cannot be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PathFault {
    /// It does not begin with `/`.
    #[error("it does not begin with /")]
    NotAbsolute,
    /// A `%` without two hexadecimal digits.
    #[error("a % in it is not followed by two hexadecimal digits")]
    Escape,
    /// More `..` than there are segments before them.
    #[error("its .. lead above the root")]
    AboveRoot,
}

/// The path as it stands in the canonical request.
pub(crate) fn canonical_path(path: &str, form: PathForm) -> Result<String, PathFault> {
    if path.is_empty() {
        return Ok("/".to_owned());
    }
    if !path.starts_with('/') {
        return Err(PathFault::NotAbsolute);
    }
    let bytes = path.as_bytes();
    let faulty = |(at, &byte): (usize, &u8)| byte == b'%' && bytes.get(at + 1..at + 3).and_then(unescaped).is_none();
    if bytes.iter().enumerate().any(faulty) {
        return Err(PathFault::Escape);
    }
    match form {
        PathForm::EscapedTwice => Ok(escape_unless(&normalise(path)?, |byte| is_unreserved(byte) || byte == b'/')),
        PathForm::AsSent => Ok(escape_unless(path, |byte| byte.is_ascii_graphic())),
    }
}

fn normalise(path: &str) -> Result<String, PathFault> {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop().ok_or(PathFault::AboveRoot)?;
            }
            segment => segments.push(segment),
        }
    }
    let is_directory = matches!(path.rsplit('/').next(), Some("" | "." | ".."));
    let mut normal = String::with_capacity(path.len() + 1);
    for segment in &segments {
        normal.push('/');
        normal.push_str(segment);
    }
    if is_directory || segments.is_empty() {
        normal.push('/');
    }
    Ok(normal)
}

fn escape_unless(path: &str, may_stay: impl Fn(u8) -> bool) -> String {
    let mut escaped = String::with_capacity(path.len() + 16);
    for byte in path.bytes() {
        if may_stay(byte) {
            escaped.push(char::from(byte));
        } else {
            push_escaped(byte, &mut escaped);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised_and_escaped_once_more() {
        for (path, canonical) in [
            ("", "/"),
            ("/", "/"),
            ("//", "/"),
            ("/a/", "/a/"),
            ("/a//b", "/a/b"),
            ("//a//b//", "/a/b/"),
            ("/./a", "/a"),
            ("/a/.", "/a/"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/..", "/"),
            ("/a//../b", "/b"),
            ("/a/...", "/a/..."),
            ("/a/%2e%2e/b", "/a/%252e%252e/b"),
            ("/a%20b/c%2Fd", "/a%2520b/c%252Fd"),
            ("/a%2fb", "/a%252fb"),
            ("/a b", "/a%20b"),
            ("/\u{1234}", "/%E1%88%B4"),
            ("/a+b:c@d=e;f,g!$&'()*", "/a%2Bb%3Ac%40d%3De%3Bf%2Cg%21%24%26%27%28%29%2A"),
            ("/-._~09AZaz", "/-._~09AZaz"),
        ] {
            assert_eq!(canonical_path(path, PathForm::EscapedTwice).as_deref(), Ok(canonical), "{path}");
        }
    }

    #[test]
    fn s3_signs_the_path_as_it_is_sent() {
        for (path, canonical) in [
            ("", "/"),
            ("/a//b/../c/", "/a//b/../c/"),
            ("/a%20b/c%2Fd", "/a%20b/c%2Fd"),
            ("/a b/\u{1234}", "/a%20b/%E1%88%B4"),
            ("/../a", "/../a"),
            ("/a&b", "/a&b"),
        ] {
            assert_eq!(canonical_path(path, PathForm::AsSent).as_deref(), Ok(canonical), "{path}");
        }
    }

    #[test]
    fn a_path_that_leads_nowhere_is_refused() {
        for (path, fault) in [
            ("*", PathFault::NotAbsolute),
            ("a/b", PathFault::NotAbsolute),
            ("/..", PathFault::AboveRoot),
            ("/a/../../b", PathFault::AboveRoot),
            ("/a%", PathFault::Escape),
            ("/a%2", PathFault::Escape),
            ("/a%zz", PathFault::Escape),
            ("/a%+1", PathFault::Escape),
        ] {
            assert_eq!(canonical_path(path, PathForm::EscapedTwice), Err(fault), "{path}");
        }
    }
}
