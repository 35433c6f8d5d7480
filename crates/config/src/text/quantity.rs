//! Sizes and rates: `10MiB`, `50/s`.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::model;
use crate::text::{Text, TextError, quoted};

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl Text for Size {
    const WHAT: &'static str = "a size such as \"10MiB\" (B, KiB, MiB or GiB)";
    const PATTERN: &'static str = "^[0-9]+(B|KiB|MiB|GiB)$";

    fn parse(text: &str) -> Result<Self, TextError> {
        let wrong = || TextError::new(format!("{} is not a size", quoted(text)));
        let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (count, unit) = text.split_at(unit_at);
        let bytes: u64 = match unit {
            _ if count.is_empty() => return Err(wrong().with_help(SIZE_LOOKS)),
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "" => return Err(wrong().with_help(format!("give it a unit, such as `{count}B`"))),
            "K" | "KB" | "kB" | "k" | "kb" | "kib" => {
                return Err(wrong().with_help(format!("write `{count}KiB`: 1,024 bytes each")));
            }
            "M" | "MB" | "m" | "mb" | "mib" => {
                return Err(wrong().with_help(format!("write `{count}MiB`: 1,024 KiB each")));
            }
            "G" | "GB" | "g" | "gb" | "gib" => {
                return Err(wrong().with_help(format!("write `{count}GiB`: 1,024 MiB each")));
            }
            _ => return Err(wrong().with_help(SIZE_LOOKS)),
        };
        match count.parse::<u64>().ok().and_then(|count| count.checked_mul(bytes)) {
            Some(bytes) if bytes <= LARGEST => Ok(Self(bytes)),
            _ => Err(TextError::new(format!("{} is too large; at most `1048576GiB`", quoted(text)))),
        }
    }
}

/// 1 PiB: larger than anything sent in one request.
const LARGEST: u64 = 1 << 50;

const SIZE_LOOKS: &str = "a size is a whole number and a unit: `512B`, `64KiB`, `10MiB` or `1GiB`";

/// So many in so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) model::Rate);

impl Text for Rate {
    const WHAT: &'static str = "a rate such as \"50/s\" (per s, m, h or d)";
    const PATTERN: &'static str = "^0*[1-9][0-9]*/[smhd]$";

    fn parse(text: &str) -> Result<Self, TextError> {
        let wrong = || TextError::new(format!("{} is not a rate", quoted(text)));
        let Some((count, unit)) = text.split_once('/') else {
            return Err(wrong().with_help(RATE_LOOKS));
        };
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(wrong().with_help(RATE_LOOKS)),
        };
        if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong().with_help(RATE_LOOKS));
        }
        let count = count.parse::<u64>().ok().filter(|count| *count <= FASTEST);
        let Some(count) = count else {
            return Err(TextError::new(format!("{} is too fast to mean anything", quoted(text)))
                .with_help(format!("a rate is at most `{FASTEST}/{unit}`")));
        };
        let Some(count) = NonZeroU64::new(count) else {
            return Err(TextError::new(format!("{} lets nobody through", quoted(text)))
                .with_help("to turn a route off, remove it"));
        };
        Ok(Self(model::Rate { count, per: Duration::from_secs(seconds) }))
    }
}

/// A thousand million: beyond it a rate limits nothing, and arithmetic on it needs more than 64 bits.
const FASTEST: u64 = 1_000_000_000;

const RATE_LOOKS: &str = "a rate is a whole number and `/s`, `/m`, `/h` or `/d`: `50/s`, `600/m`, `1/h`";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::{complaints, parse_all};

    #[test]
    fn sizes() {
        let sizes = parse_all::<Size>(&["0B", "512B", "64KiB", "10MiB", "2GiB"]);
        assert_eq!(sizes, [0, 512, 64 << 10, 10 << 20, 2 << 30].map(Size));
    }

    #[test]
    fn what_is_no_size() {
        insta::assert_snapshot!(complaints::<Size>(&[
            "",
            "10",
            "MiB",
            "10MB",
            "10kb",
            "1.5GiB",
            "10 MiB",
            "10TiB",
            "99999999999GiB"
        ]));
    }

    #[test]
    fn rates() {
        let rates = parse_all::<Rate>(&["50/s", "600/m", "1/h", "10000/d"]);
        let read: Vec<_> = rates.iter().map(|Rate(rate)| (rate.count.get(), rate.per.as_secs())).collect();
        assert_eq!(read, [(50, 1), (600, 60), (1, 3_600), (10_000, 86_400)]);
    }

    #[test]
    fn what_is_no_rate() {
        insta::assert_snapshot!(complaints::<Rate>(&[
            "",
            "50",
            "/s",
            "0/s",
            "50/sec",
            "50 /s",
            "+5/s",
            "-1/s",
            "0.5/s",
            "99999999999/s"
        ]));
    }
}
