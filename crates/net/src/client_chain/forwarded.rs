//! `Forwarded`, as RFC 7239 has it: elements separated by commas, parameters by semicolons, values perhaps quoted.

use std::net::IpAddr;

use super::x_forwarded_for::address_with_port;
use super::{Unreadable, trim};

/// More than any address and port need.
const MOST_NODE_BYTES: usize = 64;

/// The last element of a list, and what precedes its comma.
///
/// It is found from the right: a client may have sent a quote that it never closes, and what a believed sender added
/// behind that has to be read all the same. That sender's element is well-formed, so its quotes pair up: an opening
/// quote follows a `=`, and a quote within quotes an odd number of backslashes. Of a list that is well-formed as a
/// whole this makes the same elements as reading from the left.
pub(super) fn last_entry(list: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let mut element = list.len();
    while let Some((byte, before)) = list.get(..element).and_then(<[u8]>::split_last) {
        match byte {
            b',' => return (Some(before), list.get(element..).unwrap_or_default()),
            // Without an opening quote no element to the left can be told apart, and this one will not be read.
            b'"' => element = opening_quote(before).unwrap_or(0),
            _ => element = before.len(),
        }
    }
    (None, list)
}

/// Where the quoted string begins whose inside ends with `text`.
fn opening_quote(mut text: &[u8]) -> Option<usize> {
    loop {
        let quote = text.iter().rposition(|byte| *byte == b'"')?;
        text = text.get(..quote)?;
        let backslashes = text.iter().rev().take_while(|byte| **byte == b'\\').count();
        if backslashes % 2 == 0 {
            return Some(quote);
        }
    }
}

/// The address in the element's one `for`.
///
/// Whitespace around a semicolon is let pass, as proxies write it and it can mean nothing else.
pub(super) fn read(element: &[u8]) -> Result<IpAddr, Unreadable> {
    let mut rest = trim(element);
    if rest.is_empty() {
        return Err(Unreadable::Empty);
    }
    let mut node = None;
    loop {
        if !matches!(rest, [] | [b';', ..]) {
            let (name, value, behind) = pair(rest).ok_or(Unreadable::Syntax)?;
            if name.eq_ignore_ascii_case(b"for") && node.replace(value).is_some() {
                return Err(Unreadable::ManyFor);
            }
            rest = trim(behind);
        }
        match rest {
            [] => break,
            [b';', behind @ ..] => rest = trim(behind),
            _ => return Err(Unreadable::Syntax),
        }
    }
    read_node(node.ok_or(Unreadable::NoFor)?)
}

/// The first parameter's name and value, a quoted one without its quotes and with its backslashes; and what follows.
fn pair(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (name, rest) = token(text)?;
    let (value, rest) = match rest.strip_prefix(b"=")? {
        [b'"', rest @ ..] => quoted(rest)?,
        rest => token(rest)?,
    };
    Some((name, value, rest))
}

/// RFC 9110, section 5.6.2.
fn token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let end = text.iter().position(|byte| !is_token(byte)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// RFC 9110, section 5.6.4, behind the opening quote.
fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_text = |byte: u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    let mut end = 0;
    loop {
        match text.get(end..)? {
            [b'"', rest @ ..] => return Some((text.get(..end)?, rest)),
            [b'\\', escaped, ..] if is_text(*escaped) => end += 2,
            [byte, ..] if *byte != b'\\' && is_text(*byte) => end += 1,
            _ => return None,
        }
    }
}

/// RFC 7239, section 6: an address and perhaps a port; or else who it is, is not told.
fn read_node(value: &[u8]) -> Result<IpAddr, Unreadable> {
    let mut room = [0; MOST_NODE_BYTES];
    let node = unescape(value, &mut room).ok_or(Unreadable::NotAnAddress)?;
    let name = node.split(|byte| *byte == b':').next().unwrap_or_default();
    if name.eq_ignore_ascii_case(b"unknown") {
        Err(Unreadable::Unknown)
    } else if name.starts_with(b"_") {
        Err(Unreadable::Obfuscated)
    } else {
        address_with_port(node, is_port).ok_or(Unreadable::NotAnAddress)
    }
}

/// Without the backslashes, of which a token has none.
fn unescape<'a>(value: &[u8], room: &'a mut [u8; MOST_NODE_BYTES]) -> Option<&'a [u8]> {
    let mut length = 0;
    let mut bytes = value.iter();
    while let Some(byte) = bytes.next() {
        let plain = if *byte == b'\\' { bytes.next()? } else { byte };
        *room.get_mut(length)? = *plain;
        length += 1;
    }
    room.get(..length)
}

/// Up to five digits, or an identifier that hides the port. Nobody asks for it.
fn is_port(text: &[u8]) -> bool {
    match text {
        [b'_', rest @ ..] => {
            !rest.is_empty() && rest.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
        }
        _ => (1..=5).contains(&text.len()) && text.iter().all(u8::is_ascii_digit),
    }
}
