//! The one form of a path.
//!
//! Two spellings of one path must not mean two things to a policy and to a backend. So every path is brought to one
//! form before anything looks at it, and that form is what routes match, policies name and backends receive:
//!
//! - unreserved characters (RFC 3986, 2.3) stand for themselves, never as escapes;
//! - every other escape is kept, its digits in upper case; `%2F` never separates segments;
//! - a byte that a path may not hold bare (RFC 3986, 3.3) becomes an escape;
//! - `//` and a trailing `/` are kept: they are significant.
//!
//! Refused, because some reader behind us would take them for something else: dot segments however they are spelled
//! (`..`, `%2e.`, `..%2F`, `..;x`, `..%3Bx`), backslash and NUL bare or escaped, and escapes that are not two hex digits.

use std::borrow::Cow;

use thiserror::Error;

/// Why a path has no form that everyone reads alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PathError {
    /// It does not begin with `/`.
    #[error("a path begins with `/`")]
    NotAbsolute,
    /// A `%` without two hex digits behind it.
    #[error("`%` must be followed by two hex digits")]
    BadEscape,
    /// A segment that means "here" or "up", in any spelling.
    #[error("dot segments (`.` and `..`, escaped or not) are refused")]
    DotSegment,
    /// A backslash, bare or escaped: some servers read it as `/`.
    #[error("a backslash is refused, escaped or not")]
    Backslash,
    /// A NUL, bare or escaped: some servers end the path there.
    #[error("a NUL is refused, escaped or not")]
    Nul,
}

/// Brings `path` (without its query) to the one form. Borrows when it already has it.
///
/// # Errors
/// See [`PathError`]; a gateway answers any of them with 400.
pub fn one_form(path: &str) -> Result<Cow<'_, str>, PathError> {
    if !path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    let form = if path.bytes().all(stands_bare) { Cow::Borrowed(path) } else { respell(path)?.into() };
    // Nearly every path lacks the dot, and needs no second look.
    if form.as_bytes().contains(&b'.') && form.split('/').any(is_dot_segment) {
        return Err(PathError::DotSegment);
    }
    Ok(form)
}

/// Spells every byte of `path` as the one form does.
fn respell(path: &str) -> Result<String, PathError> {
    let mut form = String::with_capacity(path.len() + 8);
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = bytes.next().and_then(hex_value).ok_or(PathError::BadEscape)?;
            let low = bytes.next().and_then(hex_value).ok_or(PathError::BadEscape)?;
            let meant = high << 4 | low;
            refuse_ambiguous(meant)?;
            if is_unreserved(meant) { form.push(char::from(meant)) } else { push_escape(&mut form, meant) }
        } else if stands_bare(byte) {
            form.push(char::from(byte));
        } else {
            refuse_ambiguous(byte)?;
            push_escape(&mut form, byte);
        }
    }
    Ok(form)
}

fn refuse_ambiguous(byte: u8) -> Result<(), PathError> {
    match byte {
        b'\\' => Err(PathError::Backslash),
        0 => Err(PathError::Nul),
        _ => Ok(()),
    }
}

/// Whether some reader would take a segment of the one form for `.` or `..`: one that decodes `%2F` or `%3B` first, or
/// one that cuts path parameters (`;…`) off.
fn is_dot_segment(segment: &str) -> bool {
    segment.split("%2F").any(|part| {
        let name = part.split([';', '%']).next().unwrap_or(part);
        let rest = &part[name.len()..];
        let cut = rest.is_empty() || rest.starts_with(';') || rest.starts_with("%3B");
        cut && (name == "." || name == "..")
    })
}

/// RFC 3986, 2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What a path may hold without an escape (RFC 3986, 3.3: `pchar` less the escapes, and the separator).
fn stands_bare(byte: u8) -> bool {
    STANDS_BARE[byte as usize]
}

/// A table, because every byte of every request's path is looked up.
static STANDS_BARE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let delimiter = matches!(
            byte,
            b'/' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@'
        );
        table[byte as usize] = is_unreserved(byte) || delimiter;
        byte += 1;
    }
    table
};

fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn push_escape(form: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    form.push('%');
    form.push(char::from(DIGITS[usize::from(byte >> 4)]));
    form.push(char::from(DIGITS[usize::from(byte & 15)]));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_path_become_one_form() {
        for (written, form) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/%61%2Db", "/a-b"),
            ("/caf\u{e9}", "/caf%C3%A9"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a%2fb", "/a%2Fb"),
            ("/a//b/", "/a//b/"),
            ("/{x}|\"", "/%7Bx%7D%7C%22"),
            ("/a%20b+c", "/a%20b+c"),
            ("/...", "/..."),
            ("/..%20a", "/..%20a"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a;v=1/b", "/a;v=1/b"),
        ] {
            assert_eq!(one_form(written).as_deref(), Ok(form), "{written}");
        }
    }

    #[test]
    fn paths_that_readers_disagree_on_are_refused() {
        for (written, error) in [
            ("", PathError::NotAbsolute),
            ("*", PathError::NotAbsolute),
            ("a/b", PathError::NotAbsolute),
            ("/..", PathError::DotSegment),
            ("/a/../b", PathError::DotSegment),
            ("/a/./b", PathError::DotSegment),
            ("/a/%2e%2E/b", PathError::DotSegment),
            ("/a/.%2e", PathError::DotSegment),
            ("/a/..%2fadmin", PathError::DotSegment),
            ("/a%2f..%2fadmin", PathError::DotSegment),
            ("/a/..;x/b", PathError::DotSegment),
            ("/a/..%3bx/b", PathError::DotSegment),
            ("/a/%2e%2e%3B/b", PathError::DotSegment),
            ("/a\\b", PathError::Backslash),
            ("/a%5cb", PathError::Backslash),
            ("/a%00", PathError::Nul),
            ("/a%", PathError::BadEscape),
            ("/a%2", PathError::BadEscape),
            ("/a%zz", PathError::BadEscape),
            ("/a%+1", PathError::BadEscape),
        ] {
            assert_eq!(one_form(written), Err(error), "{written}");
        }
    }

    proptest! {
        #[test]
        fn the_one_form_is_its_own_form(path in "/[ -~\u{e9}]{0,40}") {
            if let Ok(form) = one_form(&path) {
                let again = one_form(&form).expect("the one form is accepted");
                prop_assert_eq!(again.as_ref(), form.as_ref());
                prop_assert!(form.bytes().all(|byte| stands_bare(byte) || byte == b'%'));
            }
        }
    }
}
