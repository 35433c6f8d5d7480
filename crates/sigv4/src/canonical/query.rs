//! The query: every name and value decoded, escaped in one way, and sorted.

use thiserror::Error;

use super::{is_unreserved, push_escaped, unescaped};

/// Why a query cannot be signed. The texts are those of AWS.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QueryFault {
    /// A `%` at the end, or before the end of a name or value, without two digits.
    #[error("Incomplete trailing escape % sequence")]
    Incomplete,
    /// A `%` followed by something else than two hexadecimal digits, namely this.
    #[error("Illegal hex character in escape % pattern: %{0}")]
    Illegal(String),
}

/// The parameters of a query in order of appearance, names and values escaped in the one way.
#[derive(Clone, Default)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads a query without its `?`. A `+` is a plus, not a space. Nothing between two `&` is no parameter.
    pub(crate) fn read(query: &str) -> Result<Self, QueryFault> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let parameter = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((one_form(name)?, one_form(value)?))
        };
        pairs.map(parameter).collect::<Result<_, _>>().map(Self)
    }

    /// The decoded value of the first parameter of that name, which has only characters that stand for themselves.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| decoded(value))
    }

    /// Adds one, given decoded.
    pub(crate) fn push(&mut self, name: &str, value: &str) {
        self.0.push((escape(name), escape(value)));
    }

    /// Takes the first one of that name out. A second one stays, and is signed like any other.
    pub(crate) fn remove_first(&mut self, name: &str) {
        if let Some(at) = self.0.iter().position(|(other, _)| other == name) {
            self.0.remove(at);
        }
    }

    /// As it stands in the canonical request: sorted by name, then by value, both in their escaped form.
    pub(crate) fn canonical(mut self) -> String {
        self.0.sort_unstable();
        let pairs: Vec<String> = self.0.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("&")
    }
}

/// Every byte escaped that does not stand for itself.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    push_all(text.bytes(), &mut escaped);
    escaped
}

fn push_all(bytes: impl Iterator<Item = u8>, escaped: &mut String) {
    for byte in bytes {
        if is_unreserved(byte) {
            escaped.push(char::from(byte));
        } else {
            push_escaped(byte, escaped);
        }
    }
}

/// Decodes once, and escapes again.
fn one_form(text: &str) -> Result<String, QueryFault> {
    let mut form = String::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'%' {
            push_all(std::iter::once(byte), &mut form);
            rest = after;
            continue;
        }
        let (digits, after) = after.split_at_checked(2).ok_or(QueryFault::Incomplete)?;
        let illegal = || QueryFault::Illegal(String::from_utf8_lossy(digits).into_owned());
        push_all(std::iter::once(unescaped(digits).ok_or_else(illegal)?), &mut form);
        rest = after;
    }
    Ok(form)
}

/// What `escaped`, which has the one form, stands for. What is not UTF-8 becomes U+FFFD, and so nothing that is known.
fn decoded(escaped: &str) -> String {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        match after.get(..2).filter(|_| byte == b'%').and_then(unescaped) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded_escaped_and_sorted() {
        for (query, canonical) in [
            ("", ""),
            ("b=2&a=x%20y&a=1&c=", "a=1&a=x%20y&b=2&c="),
            ("flag", "flag="),
            ("=value", "=value"),
            ("a=b=c", "a=b%3Dc"),
            ("&a=1&&b=2&", "a=1&b=2"),
            ("a=1+2", "a=1%2B2"),
            ("a=%2f%7e%41", "a=%2F~A"),
            ("a=/:@?", "a=%2F%3A%40%3F"),
            ("\u{1234}=bar", "%E1%88%B4=bar"),
            ("Param-3=Value3&Param=Value2&%E1%88%B4=Value1", "%E1%88%B4=Value1&Param=Value2&Param-3=Value3"),
            ("a=2&A=1&a=1", "A=1&a=1&a=2"),
            // By the escaped names: `:` comes after `-`, `%3A` before it.
            ("a-=1&a:=2", "a%3A=2&a-=1"),
        ] {
            assert_eq!(Parameters::read(query).unwrap().canonical(), canonical, "{query}");
        }
    }

    #[test]
    fn the_first_of_repeated_parameters_counts_and_is_decoded() {
        let parameters = Parameters::read("X-Amz-Date=%32&X-Amz-Date=3&%58-Amz-Expires=%FF").unwrap();
        assert_eq!(parameters.get("X-Amz-Date").as_deref(), Some("2"));
        assert_eq!(parameters.get("X-Amz-Expires").as_deref(), Some("\u{fffd}"));
        assert_eq!(parameters.get("x-amz-date"), None);
    }

    #[test]
    fn broken_escapes_are_told_as_aws_tells_them() {
        for (query, message) in [
            ("a=%", "Incomplete trailing escape % sequence"),
            ("a=%4&b=1", "Incomplete trailing escape % sequence"),
            ("a=%zz", "Illegal hex character in escape % pattern: %zz"),
            ("a%4g=1", "Illegal hex character in escape % pattern: %4g"),
            ("a=%+1", "Illegal hex character in escape % pattern: %+1"),
        ] {
            assert_eq!(Parameters::read(query).err().unwrap().to_string(), message, "{query}");
        }
    }
}
