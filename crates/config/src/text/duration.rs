//! Durations: `250ms`, `1s`, `5m`, `1h`, `30d`.

use std::time;

use crate::text::{Text, TextError, quoted};

/// How long something may last, zero included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Duration(pub(crate) time::Duration);

/// A duration longer than nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NonZeroDuration(pub(crate) time::Duration);

/// A duration longer than nothing, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timeout(pub(crate) Option<time::Duration>);

impl Text for Duration {
    const WHAT: &'static str = "a duration such as \"30s\" (ms, s, m, h or d)";
    const PATTERN: &'static str = "^[0-9]+(ms|s|m|h|d)$";

    fn parse(text: &str) -> Result<Self, TextError> {
        let wrong = || TextError::new(format!("{} is not a duration", quoted(text)));
        let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (count, unit) = text.split_at(unit_at);
        let milliseconds: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "" if !count.is_empty() => {
                return Err(wrong().with_help(format!("give it a unit, such as `{count}s`")));
            }
            _ => return Err(wrong().with_help(LOOKS)),
        };
        if count.is_empty() {
            return Err(wrong().with_help(LOOKS));
        }
        let total = count.parse::<u64>().ok().and_then(|count| count.checked_mul(milliseconds));
        match total.map(time::Duration::from_millis) {
            Some(duration) if duration <= LONGEST => Ok(Self(duration)),
            _ => Err(TextError::new(format!("{} is too long; at most `3650d`", quoted(text)))),
        }
    }
}

impl Text for NonZeroDuration {
    const WHAT: &'static str = Duration::WHAT;
    const PATTERN: &'static str = "^0*[1-9][0-9]*(ms|s|m|h|d)$";

    fn parse(text: &str) -> Result<Self, TextError> {
        let Duration(duration) = Duration::parse(text)?;
        if duration.is_zero() {
            return Err(TextError::new(format!("{} leaves no time at all", quoted(text))));
        }
        Ok(Self(duration))
    }
}

impl Text for Timeout {
    const WHAT: &'static str = "a duration such as \"30s\", or \"off\"";
    const PATTERN: &'static str = "^(off|0*[1-9][0-9]*(ms|s|m|h|d))$";

    fn parse(text: &str) -> Result<Self, TextError> {
        if text == "off" {
            return Ok(Self(None));
        }
        NonZeroDuration::parse(text).map(|NonZeroDuration(duration)| Self(Some(duration)))
    }
}

/// Ten years: longer than anything waits here, and short enough for every clock.
const LONGEST: time::Duration = time::Duration::from_secs(3650 * 86_400);

const LOOKS: &str = "a duration is a whole number and a unit: `250ms`, `30s`, `5m`, `1h` or `30d`";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::{complaints, parse_all};

    #[test]
    fn durations() {
        let parsed = parse_all::<Duration>(&["250ms", "1s", "5m", "1h", "30d", "0s"]);
        let milliseconds: Vec<_> = parsed.iter().map(|Duration(d)| d.as_millis()).collect();
        assert_eq!(milliseconds, [250, 1_000, 300_000, 3_600_000, 2_592_000_000, 0]);
        assert_eq!(parse_all::<Timeout>(&["off", "1s"])[0], Timeout(None));
    }

    #[test]
    fn what_is_no_duration() {
        insta::assert_snapshot!(complaints::<Timeout>(&["", "30", "s", "1.5s", "-1s", "1 s", "1sec", "0s", "never"]),);
        insta::assert_snapshot!(complaints::<Duration>(&["3651d", "99999999999999999999s"]));
    }
}
