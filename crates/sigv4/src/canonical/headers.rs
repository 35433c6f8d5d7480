//! The headers: those that are signed, by name, their values trimmed.

use crate::{Bound, MOST_SIGNED_HEADERS, Request};

/// The names of the signed headers: lower-case, sorted, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignedNames(Vec<String>);

impl SignedNames {
    /// # Errors
    /// If there are more than [`MOST_SIGNED_HEADERS`].
    pub(crate) fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, Bound> {
        let names = names.into_iter().take(MOST_SIGNED_HEADERS + 1);
        let mut names: Vec<String> = names.map(str::to_ascii_lowercase).collect();
        if names.len() > MOST_SIGNED_HEADERS {
            return Err(Bound::SignedHeaders);
        }
        names.sort_unstable();
        names.dedup();
        Ok(Self(names))
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.binary_search_by(|other| other.as_str().cmp(name)).is_ok()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// As they stand in `SignedHeaders`.
    pub(crate) fn joined(&self) -> String {
        self.0.join(";")
    }
}

/// Appends a line for each of the signed headers. One that the request does not have gets none, so that a signature
/// over an empty value is not one over no header.
pub(crate) fn write(request: &Request<'_>, signed: &SignedNames, lines: &mut Vec<u8>) {
    for name in signed.iter() {
        let mut values = values(request, name);
        let Some(first) = values.next() else { continue };
        lines.extend_from_slice(name.as_bytes());
        lines.push(b':');
        write_trimmed(first, lines);
        for value in values {
            lines.push(b',');
            write_trimmed(value, lines);
        }
        lines.push(b'\n');
    }
}

/// All values of a header in order. `Host` and the `:authority` of HTTP/2 stand for each other.
fn values<'a>(request: &Request<'a>, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let (field, stand_in) = match name {
        ":authority" => match request.authority() {
            None => ("host", None),
            authority => (name, authority),
        },
        "host" if request.values("host").next().is_none() => (name, request.authority()),
        name => (name, None),
    };
    request.values(field).chain(stand_in)
}

/// Spaces and tabs at both ends are dropped, spaces in a row become one. The end of a line is a space: it stands in no
/// value that HTTP lets through, and must not make two lines of one.
fn write_trimmed(value: &[u8], out: &mut Vec<u8>) {
    let mut after_space = false;
    for &byte in value.trim_ascii() {
        let byte = if matches!(byte, b'\r' | b'\n') { b' ' } else { byte };
        if byte != b' ' || !after_space {
            out.push(byte);
        }
        after_space = byte == b' ';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(request: &Request<'_>, names: &[&str]) -> String {
        let mut lines = Vec::new();
        write(request, &SignedNames::new(names.iter().copied()).unwrap(), &mut lines);
        String::from_utf8(lines).unwrap()
    }

    #[test]
    fn values_are_trimmed_collapsed_and_joined_in_order() {
        let headers: [(&str, &[u8]); 6] = [
            ("My-Header1", b"  value2 \t"),
            ("host", b"example.com:8080"),
            ("MY-HEADER1", b"a  b   c"),
            ("my-header2", b"\"a   b   c\""),
            ("my-header3", b""),
            ("my-header1", b"d\te\r\n f"),
        ];
        let request = Request::new("GET", "/", "", headers);
        assert_eq!(
            canonical(&request, &["My-Header3", "my-header2", "host", "my-header1", "host", "absent"]),
            "host:example.com:8080\nmy-header1:value2,a b c,d\te f\nmy-header2:\"a b c\"\nmy-header3:\n"
        );
    }

    #[test]
    fn host_and_authority_stand_for_each_other() {
        let second = Request::new("GET", "/", "", []).with_authority("example.com");
        assert_eq!(canonical(&second, &["host", ":authority"]), ":authority:example.com\nhost:example.com\n");
        let host: [(&str, &[u8]); 1] = [("Host", b"example.org")];
        let first = Request::new("GET", "/", "", host);
        assert_eq!(canonical(&first, &["host", ":authority"]), ":authority:example.org\nhost:example.org\n");
        let both = first.with_authority("example.com");
        assert_eq!(canonical(&both, &["host", ":authority"]), ":authority:example.com\nhost:example.org\n");
    }
}
