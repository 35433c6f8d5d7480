//! Decimal numbers, compared exactly.

use std::time::SystemTime;

/// How many digits a number has behind its point.
const PLACES: u32 = 18;
const ONE: i128 = 10_i128.pow(PLACES);
const NANOSECOND: i128 = 10_i128.pow(PLACES - 9);

/// A number, exact to 18 places behind the point and within ±1.7 × 10²⁰. Also a time, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Decimal {
    /// In units of the last place.
    units: i128,
}

impl Decimal {
    /// Reads `-12.5`, `+3`, `.5`, `1e3`. Absent: no number, or one that does not fit exactly.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.as_bytes().first()? {
            b'-' => (true, text.get(1..)?),
            b'+' => (false, text.get(1..)?),
            _ => (false, text),
        };
        let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
            Some(at) => (unsigned.get(..at)?, unsigned.get(at + 1..)?.parse::<i32>().ok()?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let mut units: i128 = 0;
        // The place of each digit, counted from the last one kept.
        let mut place = i64::from(PLACES) + i64::from(exponent) + i64::try_from(whole.len()).ok()?;
        for digit in whole.bytes().chain(fraction.bytes()) {
            place -= 1;
            let digit = i128::from(char::from(digit).to_digit(10)?);
            if digit != 0 {
                let unit = 10_i128.checked_pow(u32::try_from(place).ok()?)?;
                units = units.checked_add(digit.checked_mul(unit)?)?;
            }
        }
        Some(Self { units: if negative { -units } else { units } })
    }

    pub(crate) fn whole(number: i64) -> Self {
        Self { units: i128::from(number) * ONE }
    }

    /// Seconds since 1970 and nanoseconds, which count forward also before 1970.
    pub(crate) fn seconds(seconds: i64, nanoseconds: u32) -> Self {
        Self { units: i128::from(seconds) * ONE + i128::from(nanoseconds) * NANOSECOND }
    }

    /// The same plus a part of a second: the digits behind the point. Those beyond the last place are dropped.
    pub(crate) fn with_fraction(self, digits: &str) -> Option<Self> {
        let mut unit = ONE;
        let mut units = self.units;
        for digit in digits.bytes() {
            unit /= 10;
            units = units.checked_add(i128::from(char::from(digit).to_digit(10)?) * unit)?;
        }
        Some(Self { units })
    }

    /// A time in seconds since 1970. Absent: too far away.
    pub(crate) fn of_time(time: SystemTime) -> Option<Self> {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => Some(Self::seconds(i64::try_from(after.as_secs()).ok()?, after.subsec_nanos())),
            Err(before) => {
                let before = before.duration();
                let units = i128::from(before.as_secs()) * ONE + i128::from(before.subsec_nanos()) * NANOSECOND;
                Some(Self { units: -units })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn numbers_that_are_equal_however_they_are_written() {
        for (one, other) in
            [("1", "1.0"), ("0010", "10"), ("-0", "0"), (".5", "0.50"), ("1e3", "1000"), ("25E-1", "2.5"), ("+7", "7.")]
        {
            assert_eq!(number(one), number(other), "{one} and {other}");
        }
    }

    #[test]
    fn numbers_that_floating_point_would_confuse() {
        assert!(number("9007199254740993") > number("9007199254740992"));
        assert!(number("0.1") < number("0.100000000000000001"));
    }

    #[test]
    fn what_is_no_number() {
        for text in ["", "-", ".", "1 ", "0x10", "1,5", "NaN", "1e", "--1", "1e99", "1e-30", "9".repeat(40).as_str()] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
        assert_eq!(Decimal::parse("0e99999999999"), None);
        assert_eq!(Decimal::parse("0e2147483647"), Some(Decimal::whole(0)));
    }
}
