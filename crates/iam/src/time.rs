//! Points in time as policies write them.
//!
//! W3C's profile of ISO 8601 (NOTE-datetime): `2026`, `2026-01`, `2026-01-15`, and with `T12:00Z`, `T12:00:00Z` or
//! `T12:00:00.5+01:00`; or seconds since 1970. A time of day without an offset is taken for UTC. Digits alone are seconds.
//! Nothing here allocates, not even when it refuses.

use std::fmt;
use std::time::SystemTime;

use crate::number::Decimal;

const DAY: i64 = 86_400;

/// Reads a point in time, as seconds since 1970. Absent: it is none.
pub(crate) fn parse_time(text: &str) -> Option<Decimal> {
    Decimal::parse(text).or_else(|| parse_iso(text))
}

fn parse_iso(text: &str) -> Option<Decimal> {
    let (date, time) = match text.find(['T', 't']) {
        Some(at) => (text.get(..at)?, Some(text.get(at + 1..)?)),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let year = digits(parts.next()?, 4)?;
    let month = parts.next().map_or(Some(1), |month| digits(month, 2))?;
    let day = parts.next().map(|day| digits(day, 2));
    if parts.next().is_some() || (time.is_some() && day.is_none()) {
        return None;
    }
    let day = day.unwrap_or(Some(1))?;
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    let midnight = days_since_1970(year, month, day) * DAY;
    match time {
        Some(time) => time_of_day(midnight, time),
        None => Some(Decimal::seconds(midnight, 0)),
    }
}

fn time_of_day(midnight: i64, text: &str) -> Option<Decimal> {
    let (clock, offset) = match text.find(['Z', 'z', '+', '-']) {
        Some(at) => (text.get(..at)?, parse_offset(text.get(at..)?)?),
        None => (text, 0),
    };
    let (clock, fraction) = match clock.split_once('.') {
        Some((_, "")) => return None,
        Some((clock, fraction)) => (clock, fraction),
        None => (clock, ""),
    };
    let mut parts = clock.split(':');
    let hour = digits(parts.next()?, 2)?;
    let minute = digits(parts.next()?, 2)?;
    let second = parts.next().map(|second| digits(second, 2));
    if parts.next().is_some() || (!fraction.is_empty() && second.is_none()) {
        return None;
    }
    let second = second.unwrap_or(Some(0))?;
    // A leap second is the last moment of its minute.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = midnight + hour * 3_600 + minute * 60 + second.min(59) - offset;
    let leaps = second == 60;
    Decimal::seconds(seconds, 0).with_fraction(if leaps { "" } else { fraction })
}

/// Seconds east of UTC.
fn parse_offset(text: &str) -> Option<i64> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("Z" | "z", "") => return Some(0),
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// Exactly so many digits.
fn digits(text: &str, count: usize) -> Option<i64> {
    let plain = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// By the Gregorian calendar, in years that begin in March: then a leap day is the last of its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 719_469
}

/// A time as text: `2026-01-15T12:00:00Z`, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CivilTime {
    year: i64,
    month: i64,
    day: i64,
    second_of_day: i64,
}

impl CivilTime {
    /// Absent: before the year 0 or after 9999.
    pub(crate) fn of(time: SystemTime) -> Option<Self> {
        let seconds = match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_secs()).ok()?,
            Err(before) => {
                let before = before.duration();
                let whole = i64::try_from(before.as_secs()).ok()?;
                -whole - i64::from(before.subsec_nanos() > 0)
            }
        };
        let days = seconds.div_euclid(DAY);
        // The reverse of `days_since_1970`: years begin in March, counted in spans of 400 of 146,097 days.
        let days = days.checked_add(719_468)?;
        let span = days.div_euclid(146_097);
        let day_of_span = days.rem_euclid(146_097);
        let year_of_span = (day_of_span - day_of_span / 1_460 + day_of_span / 36_524 - day_of_span / 146_096) / 365;
        let day_of_year = day_of_span - (365 * year_of_span + year_of_span / 4 - year_of_span / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = span * 400 + year_of_span + i64::from(month <= 2);
        let day = day_of_year - (153 * march_month + 2) / 5 + 1;
        let second_of_day = seconds.rem_euclid(DAY);
        (0..=9_999).contains(&year).then_some(Self { year, month, day, second_of_day })
    }
}

impl fmt::Display for CivilTime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, second_of_day } = self;
        let (hour, minute, second) = (second_of_day / 3_600, second_of_day / 60 % 60, second_of_day % 60);
        write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_as_policies_write_them() {
        let noon = Decimal::whole(1_768_478_400);
        for text in [
            "2026-01-15T12:00:00Z",
            "2026-01-15T12:00Z",
            "2026-01-15T12:00:00",
            "2026-01-15T13:00:00+01:00",
            "2026-01-15T06:30:00.000-05:30",
            "1768478400",
            "1768478400.0",
        ] {
            assert_eq!(parse_time(text), Some(noon), "{text}");
        }
        let new_year = Some(Decimal::whole(1_767_225_600));
        assert_eq!(parse_time("2026-01-01"), new_year);
        assert_eq!(parse_time("2026-01"), new_year);
        assert_eq!(parse_time("2026"), Some(Decimal::whole(2_026)), "digits alone are seconds");
        assert!(parse_time("2026-01-15T12:00:00.5Z") > Some(noon));
        assert!(parse_time("2016-12-31T23:59:60Z") < parse_time("2017-01-01"));
    }

    #[test]
    fn what_is_no_time() {
        for text in [
            "",
            "now",
            "2026-1-15",
            "2026-02-29",
            "2026-13-01",
            "2026-01-15T",
            "2026-01T12:00Z",
            "2026-01-15T24:00Z",
            "2026-01-15T12Z",
            "2026-01-15T12:00:00.Z",
            "2026-01-15T12:00:00.1e3Z",
            "2026-01-15T12:00:00+0100",
            "2026-01-15T12:00:00ZZ",
            "2026-01-15 12:00:00Z",
            "+2026-01-15",
        ] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_calendar_library(seconds in -62_135_596_800_i64..=253_402_300_799, nanoseconds in 0_u32..1_000_000_000) {
            let theirs = jiff::Timestamp::new(seconds, 0).unwrap().to_string();
            let seconds_from = |seconds: i64| if seconds < 0 {
                SystemTime::UNIX_EPOCH - Duration::from_secs(seconds.unsigned_abs())
            } else {
                SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs())
            };
            let ours = CivilTime::of(seconds_from(seconds)).unwrap().to_string();
            prop_assert_eq!(&ours, &theirs);
            prop_assert_eq!(parse_time(&ours), Some(Decimal::whole(seconds)));
            let fine = theirs.replace('Z', &format!(".{nanoseconds:09}Z"));
            let time = seconds_from(seconds) + Duration::from_nanos(nanoseconds.into());
            prop_assert_eq!(parse_time(&fine), Decimal::of_time(time));
        }
    }
}
