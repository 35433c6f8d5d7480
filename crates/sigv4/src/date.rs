use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::tz::Offset;

/// A moment in whole seconds of UTC, written as signatures do: `20260115T120000Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AmzDate(DateTime);

impl AmzDate {
    /// The second that `moment` lies in.
    #[must_use]
    pub fn at(moment: Timestamp) -> Self {
        let moment = Offset::UTC.to_datetime(moment);
        Self(moment.with().subsec_nanosecond(0).build().unwrap_or(moment))
    }

    /// Reads the basic format of ISO 8601, exactly as [`Display`](fmt::Display) writes it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let &[y0, y1, y2, y3, mo0, mo1, d0, d1, b'T', h0, h1, mi0, mi1, s0, s1, b'Z'] = text.as_bytes() else {
            return None;
        };
        let year = i16::from(number(y0, y1)?) * 100 + i16::from(number(y2, y3)?);
        let (month, day) = (number(mo0, mo1)?, number(d0, d1)?);
        let (hour, minute, second) = (number(h0, h1)?, number(mi0, mi1)?, number(s0, s1)?);
        DateTime::new(year, month, day, hour, minute, second, 0).ok().map(Self)
    }

    /// Reads what the header `Date` may hold besides: the form of RFC 1123, `Thu, 15 Jan 2026 12:00:00 GMT`.
    #[must_use]
    pub(crate) fn parse_rfc_1123(text: &str) -> Option<Self> {
        static PARSER: DateTimeParser = DateTimeParser::new();
        PARSER.parse_timestamp(text).ok().map(Self::at)
    }

    /// The day, as it stands in a scope: `20260115`.
    #[must_use]
    pub fn day(self) -> String {
        format!("{:04}{:02}{:02}", self.0.year(), self.0.month(), self.0.day())
    }

    /// So many seconds later, or earlier; at the ends of time, the end.
    pub(crate) fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(jiff::SignedDuration::from_secs(seconds)))
    }

    /// Seconds since 1970; at the ends of time, the end.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        let end = if self.0.year() < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Offset::UTC.to_timestamp(self.0).unwrap_or(end)
    }
}

/// Two decimal digits.
fn number(tens: u8, ones: u8) -> Option<i8> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| byte.wrapping_sub(b'0').cast_signed());
    Some(digit(tens)? * 10 + digit(ones)?)
}

impl fmt::Display for AmzDate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}T{:02}{:02}{:02}Z", self.day(), self.0.hour(), self.0.minute(), self.0.second())
    }
}

impl fmt::Debug for AmzDate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read_as_it_is_written_and_in_no_other_form() {
        let date = AmzDate::parse("20260115T120000Z").unwrap();
        assert_eq!(date.to_string(), "20260115T120000Z");
        assert_eq!(date.day(), "20260115");
        assert_eq!(date.timestamp().as_second(), 1_768_478_400);
        assert_eq!(AmzDate::at("2026-01-15T12:00:00.999Z".parse().unwrap()), date);
        for other in [
            "",
            "20260115",
            "20260115T120000",
            "20260115T120000z",
            "2026-01-15T12:00:00Z",
            "20260230T120000Z",
            "20260115T240000Z",
            "20260115T120060Z",
            "20260115T+20000Z",
            " 20260115T120000Z",
            "2026011٣T120000Z",
        ] {
            assert_eq!(AmzDate::parse(other), None, "{other:?}");
        }
    }

    #[test]
    fn the_header_date_may_be_as_http_writes_it() {
        assert_eq!(AmzDate::parse_rfc_1123("Thu, 15 Jan 2026 12:00:00 GMT"), AmzDate::parse("20260115T120000Z"));
        assert_eq!(AmzDate::parse_rfc_1123("Fri, 15 Jan 2026 12:00:00 GMT"), None, "it was a Thursday");
        assert_eq!(AmzDate::parse_rfc_1123("yesterday"), None);
    }

    #[test]
    fn the_ends_of_time_are_no_panic() {
        assert_eq!(AmzDate::at(Timestamp::MAX).plus(i64::MAX).plus(i64::MAX).timestamp(), Timestamp::MAX);
        assert_eq!(AmzDate::at(Timestamp::MIN).plus(i64::MIN).plus(i64::MIN).timestamp(), Timestamp::MIN);
        assert!(AmzDate::parse("00000101T000000Z").is_some());
    }
}
