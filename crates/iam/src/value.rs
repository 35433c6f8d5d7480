//! What a request says of itself: typed values, which become text only where a policy asks for text.

use std::fmt::{self, Write};
use std::net::IpAddr;
use std::time::SystemTime;

use crate::key::Key;
use crate::time::CivilTime;

/// What a request says under each key.
pub trait Context {
    /// The values under a key.
    fn value(&self, key: &Key) -> Values<'_>;
}

/// What a request says under one key.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// Nothing: the key is not there.
    Absent,
    /// One value.
    One(Value<'a>),
    /// Any number of values; none is the same as [`Values::Absent`].
    Many(&'a [Value<'a>]),
}

/// One value. Whatever its type, to an operator that compares text it is the text that AWS would write.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Text, also of ARNs; operators of other types read it.
    Text(&'a str),
    /// An address. IPv4-mapped IPv6 is taken for the IPv4 address.
    Address(IpAddr),
    /// A truth value, written `true` or `false`.
    Bool(bool),
    /// A whole number; to an operator on dates, seconds since 1970.
    Number(i64),
    /// A time, written `2026-01-15T12:00:00Z`; to an operator on numbers, seconds since 1970 with their fraction.
    Time(SystemTime),
}

impl<'a> Values<'a> {
    /// The values as a slice; `one` is where a single one is kept.
    pub(crate) fn as_slice<'s>(&'s self) -> &'s [Value<'a>] {
        match self {
            Self::Absent => &[],
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

impl<'a> Value<'a> {
    /// The value as text, written to the stack. Absent: a time that no calendar has.
    pub(crate) fn text(&self) -> Option<ShortText<'a>> {
        let mut line = Line::default();
        match self {
            Self::Text(text) => return Some(ShortText::Borrowed(text)),
            Self::Bool(true) => return Some(ShortText::Borrowed("true")),
            Self::Bool(false) => return Some(ShortText::Borrowed("false")),
            Self::Address(address) => write!(line, "{}", address.to_canonical()),
            Self::Number(number) => write!(line, "{number}"),
            Self::Time(time) => write!(line, "{}", CivilTime::of(*time)?),
        }
        .ok()?;
        Some(ShortText::Written(line))
    }
}

/// Text that is borrowed, or was just written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ShortText<'a> {
    Borrowed(&'a str),
    Written(Line),
}

impl ShortText<'_> {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Written(line) => line.as_str(),
        }
    }
}

/// A line on the stack, long enough for every value: the longest is an IPv6 address of 39 characters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    bytes: [u8; 48],
    length: usize,
}

impl Line {
    fn as_str(&self) -> &str {
        self.bytes.get(..self.length).and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl Default for Line {
    fn default() -> Self {
        Self { bytes: [0; 48], length: 0 }
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn values_are_written_as_aws_writes_them() {
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_768_478_400, 500);
        for (value, text) in [
            (Value::Text("a"), "a"),
            (Value::Address("::ffff:192.0.2.1".parse().unwrap()), "192.0.2.1"),
            (
                Value::Address("2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap()),
                "2001:db8:1111:2222:3333:4444:5555:6666",
            ),
            (Value::Bool(true), "true"),
            (Value::Number(i64::MIN), "-9223372036854775808"),
            (Value::Time(time), "2026-01-15T12:00:00Z"),
            (Value::Time(SystemTime::UNIX_EPOCH - Duration::from_nanos(1)), "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(value.text().unwrap().as_str(), text);
        }
    }
}
