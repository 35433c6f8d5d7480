//! A record as a line of JSON: the names and the order of the fields that users see.
//!
//! What says nothing is left out: no reason, the default stage, one attempt, an answer that ended with its last byte.
//! Written by hand because there is one line for each request: a derived serializer costs three times as much.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

use crate::record::{ClientFrom, Ended, Record};
use crate::rejection::Reason;

/// The key of a field that is not the first, in one piece: a line has so many that it counts.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}

/// Makes lines, and remembers how the second they are in is written.
#[derive(Debug, Default)]
pub(crate) struct LineWriter {
    /// Seconds since the epoch, and `2026-11-20T14:10:57.`
    second: Option<(u64, String)>,
}

impl LineWriter {
    /// Appends the line of `record`, with its end.
    pub(crate) fn write(&mut self, record: &Record, lines: &mut Vec<u8>) {
        lines.reserve(TYPICAL);
        let mut fields = Fields(lines);
        let (second, milliseconds) = self.at(record.at);
        fields.raw(r#"{"time":""#);
        fields.raw(second);
        fields.three_digits(milliseconds);
        fields.raw(r#"Z","id":""#);
        fields.bytes(&record.id.digits());
        fields.raw(r#"","listener":""#);
        fields.raw(&record.listener);
        fields.raw(r#"","client":""#);
        fields.bytes(record.client.as_bytes());
        // What told the client's address.
        fields.raw(r#"","client_from":""#);
        match record.client_from {
            ClientFrom::Socket => fields.raw("socket"),
            ClientFrom::ProxyHeader => fields.raw("proxy"),
            ClientFrom::Header(name, hop) => {
                fields.raw(name);
                fields.raw(":");
                fields.number(hop.into());
            }
        }
        fields.raw("\"");
        if let Some(method) = &record.method {
            fields.raw(key!("method"));
            // A method is a token.
            fields.quoted(method.as_str());
        }
        if let Some(version) = record.tls {
            fields.raw(key!("tls"));
            fields.quoted(version);
        }
        if record.is_http2 {
            fields.raw(r#","http":"2""#);
        }
        if record.method.is_some() {
            fields.text(key!("host"), &record.host);
            fields.text(key!("path"), &record.path);
        }
        if let Some(route) = &record.route {
            fields.raw(&route.log_fields);
        }
        if let Some((caller, proofs)) = record.caller() {
            fields.text(key!("caller"), &caller.written.name);
            fields.raw(key!("proof"));
            fields.quoted(proofs.name());
        }
        fields.raw(key!("verdict"));
        fields.raw(if record.admitted { r#""admitted""# } else { r#""refused""# });
        if let Some(reason) = record.reason.map(Reason::name) {
            fields.raw(key!("reason"));
            fields.quoted(reason);
        }
        if let Some(detail) = record.detail() {
            fields.text(key!("detail"), &detail);
        }
        if let Some(status) = record.status {
            fields.raw(key!("status"));
            fields.raw(status.as_str());
        }
        forwarding(record, &mut fields);
        fields.milliseconds(key!("total_ms"), record.took);
        fields.count(key!("bytes_in"), record.bytes_in);
        fields.count(key!("bytes_out"), record.bytes_out);
        if record.ended != Ended::Complete {
            fields.raw(key!("ended"));
            fields.quoted(record.ended.name());
        }
        fields.raw("}\n");
    }

    fn at(&mut self, time: SystemTime) -> (&str, u32) {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (second, text) = self.second.get_or_insert_default();
        if *second != since.as_secs() || text.is_empty() {
            *second = since.as_secs();
            // A clock beyond the year 9999 is logged as the epoch.
            let whole = i64::try_from(*second).ok().and_then(|second| Timestamp::from_second(second).ok());
            *text = whole.unwrap_or_default().to_string().replace('Z', ".");
        }
        (text, since.subsec_millis())
    }
}

/// What a line takes, in bytes, unless its names are long.
const TYPICAL: usize = 512;

/// The stage of an API that names none.
const DEFAULT_STAGE: &str = "$default";

/// What a line says of its route: the same for all its requests, so it is written once.
pub(crate) fn route_fields(api: &str, stage: &str, route: &str) -> Box<str> {
    let mut line = Vec::new();
    let mut fields = Fields(&mut line);
    fields.text(key!("api"), api);
    if stage != DEFAULT_STAGE {
        fields.text(key!("stage"), stage);
    }
    fields.text(key!("route"), route);
    String::from_utf8_lossy(&line).into()
}

fn forwarding(record: &Record, fields: &mut Fields<'_>) {
    if let Some(upstream) = &record.upstream {
        fields.text(key!("upstream"), upstream);
    }
    if record.attempts > 1 {
        fields.count(key!("attempts"), record.attempts.into());
    }
    if let Some(took) = record.upstream_took {
        fields.milliseconds(key!("upstream_ms"), took);
    }
}

/// The fields of an object, one after the other.
struct Fields<'l>(&'l mut Vec<u8>);

impl Fields<'_> {
    /// What needs no escape.
    fn raw(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn number(&mut self, number: u64) {
        self.raw(itoa::Buffer::new().format(number));
    }

    fn three_digits(&mut self, number: u32) {
        let digit = |place: u32| b'0' + u8::try_from(number / place % 10).unwrap_or(0);
        self.bytes(&[digit(100), digit(10), digit(1)]);
    }

    fn count(&mut self, key: &'static str, count: u64) {
        self.raw(key);
        self.number(count);
    }

    /// To the microsecond.
    fn milliseconds(&mut self, key: &'static str, duration: Duration) {
        let milliseconds = duration.as_millis();
        self.raw(key);
        self.number(u64::try_from(milliseconds).unwrap_or(u64::MAX));
        self.raw(".");
        self.three_digits(duration.subsec_micros() % 1000);
    }

    fn text(&mut self, key: &'static str, text: &str) {
        self.raw(key);
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
        // Without a way out of the loop it is done many bytes at a time.
        if text.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
            self.quoted(text);
        } else {
            self.raw("\"");
            self.escape(text);
            self.raw("\"");
        }
    }

    /// What needs no escape, in quotes.
    fn quoted(&mut self, text: &str) {
        self.raw("\"");
        self.raw(text);
        self.raw("\"");
    }

    /// Writing into a vector cannot fail.
    fn formatted(&mut self, text: std::fmt::Arguments<'_>) {
        let _ = self.0.write_fmt(text);
    }

    fn escape(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '"' | '\\' => self.formatted(format_args!("\\{character}")),
                // DEL and the second set of control characters too: terminals act on them.
                ..' ' | '\u{7F}'..='\u{9F}' => self.formatted(format_args!("\\u{:04x}", u32::from(character))),
                _ => self.formatted(format_args!("{character}")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(text: &str) -> String {
        let mut line = b"{\"a\":1".to_vec();
        let mut fields = Fields(&mut line);
        fields.text(key!("text"), text);
        fields.raw("}");
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_second_is_written_once_and_milliseconds_have_three_digits() {
        let mut writer = LineWriter::default();
        let epoch = UNIX_EPOCH + std::time::Duration::from_millis(1_763_647_857_007);
        assert_eq!(writer.at(epoch), ("2025-11-20T14:10:57.", 7));
        assert_eq!(writer.at(epoch + std::time::Duration::from_secs(3)), ("2025-11-20T14:11:00.", 7));
        assert_eq!(writer.at(UNIX_EPOCH), ("1970-01-01T00:00:00.", 0));
    }

    proptest! {
        #[test]
        fn whatever_a_stranger_sends_is_a_json_string_on_one_line(text in any::<String>()) {
            let line = field(&text);
            let is_bare_control = line.chars().any(char::is_control);
            prop_assert!(!is_bare_control);
            let read: serde_json::Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(read["text"].as_str(), Some(text.as_str()));
        }
    }
}
