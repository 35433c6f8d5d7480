//! The one form of a request that both sides sign.

use crate::payload::PayloadHash;
use crate::{ALGORITHM, AmzDate, Request, Scope};

pub(crate) mod headers;
mod path;
mod query;

pub(crate) use headers::SignedNames;
pub(crate) use path::canonical_path;
pub use path::{PathFault, PathForm};
pub use query::QueryFault;
pub(crate) use query::{Parameters, escape};

/// Everything of the canonical request but its last line, which is the hash of the body.
#[derive(Clone)]
pub(crate) struct CanonicalHead(Vec<u8>);

impl CanonicalHead {
    /// `path` and `query` are canonical already.
    pub(crate) fn new(request: &Request<'_>, path: &str, query: &str, signed: &SignedNames) -> Self {
        let mut head = Vec::with_capacity(512 + path.len() + query.len());
        for line in [request.method, path, query] {
            head.extend_from_slice(line.as_bytes());
            head.push(b'\n');
        }
        headers::write(request, signed, &mut head);
        head.push(b'\n');
        head.extend_from_slice(signed.joined().as_bytes());
        head.push(b'\n');
        Self(head)
    }

    /// With the last line: a hash in hexadecimal digits, or what stands for it.
    pub(crate) fn with_payload(&self, payload: &str) -> Vec<u8> {
        let mut request = self.0.clone();
        request.extend_from_slice(payload.as_bytes());
        request
    }
}

/// What is signed: the algorithm, the time, the scope, and the hash of the canonical request.
pub(crate) fn string_to_sign(date: AmzDate, scope: &Scope, canonical_request: &[u8]) -> String {
    format!("{ALGORITHM}\n{date}\n{scope}\n{}", PayloadHash::of(canonical_request))
}

/// Whether RFC 3986 calls the byte unreserved: only these stand for themselves.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Appends `byte` as `%2F`.
fn push_escaped(byte: u8, text: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    text.push('%');
    text.push(char::from(DIGITS[usize::from(byte >> 4)]));
    text.push(char::from(DIGITS[usize::from(byte & 0xf)]));
}

/// The byte that two hexadecimal digits of either case stand for.
fn unescaped(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match digits {
        &[high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    }
}
