//! Statuses: `200-299,403`.

use std::ops::RangeInclusive;

use crate::text::{Text, TextError, quoted};

/// The statuses that mean something, as ranges, never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Codes(pub(crate) Vec<RangeInclusive<u16>>);

impl Text for Codes {
    const WHAT: &'static str = "statuses such as \"200-299,403\"";
    const PATTERN: &'static str = "^[2-5][0-9]{2}(-[2-5][0-9]{2})?(, ?[2-5][0-9]{2}(-[2-5][0-9]{2})?)*$";

    fn parse(text: &str) -> Result<Self, TextError> {
        let mut ranges: Vec<RangeInclusive<u16>> = Vec::new();
        let mut start = 0;
        for piece in text.split(',') {
            let entry = piece.strip_prefix(' ').filter(|_| start > 0).unwrap_or(piece);
            let end = start + piece.len();
            let place = end - entry.len()..end;
            let range = range(entry).map_err(|error| if text.is_empty() { error } else { error.at(place.clone()) })?;
            let overlap = |other: &&RangeInclusive<u16>| other.start() <= range.end() && range.start() <= other.end();
            if let Some(other) = ranges.iter().find(overlap) {
                let message = format!("{} and `{}` have statuses in common", quoted(entry), shown(other));
                return Err(TextError::new(message).at(place).with_help("name each status once"));
            }
            ranges.push(range);
            start = end + 1;
        }
        Ok(Self(ranges))
    }
}

fn range(text: &str) -> Result<RangeInclusive<u16>, TextError> {
    let wrong = || TextError::new(format!("{} is neither a status nor a range of them", quoted(text)));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (Some(first), Some(last)) = (status(first), status(last)) else {
        return Err(
            wrong().with_help("the status of an answer is a number from 200 to 599; write them as `200-299,403`")
        );
    };
    if first > last {
        return Err(wrong().with_help(format!("write it as `{last}-{first}`")));
    }
    Ok(first..=last)
}

/// The status of an answer; below 200 there is one still to come (RFC 9110, 15.2).
fn status(text: &str) -> Option<u16> {
    let is_plain = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|status| is_plain && (200..=599).contains(status))
}

fn shown(range: &RangeInclusive<u16>) -> String {
    if range.start() == range.end() { range.start().to_string() } else { format!("{}-{}", range.start(), range.end()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::{complaints, parse_all};

    #[test]
    fn codes_are_statuses_and_ranges() {
        let codes = parse_all::<Codes>(&["200", "200-299,403", "200-399, 500-599"]);
        assert_eq!(codes, [vec![200..=200], vec![200..=299, 403..=403], vec![200..=399, 500..=599]].map(Codes));
    }

    #[test]
    fn what_are_no_codes() {
        insta::assert_snapshot!(complaints::<Codes>(&[
            "",
            "2xx",
            "200,",
            " 200",
            "200-",
            "99",
            "101",
            "100-299",
            "600",
            "0200",
            "299-200",
            "200-299,204",
            "403,400-499",
            "200, 200",
            "200-250-299",
        ]));
    }
}
