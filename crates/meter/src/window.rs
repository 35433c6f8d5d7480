use std::fmt;
use std::str::FromStr;

/// Seconds since the start of 1970 in UTC, leap seconds not counted (POSIX time). Before 1970 they are negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub i64);

/// How long a window of the calendar lasts, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// From midnight to midnight.
    Day,
    /// From Monday's midnight to the next one's (ISO 8601).
    Week,
    /// From the midnight of its first day to that of the next one's.
    Month,
}

/// One day, week or month of the calendar, in UTC.
///
/// Its label, by which usage is counted, is what it displays as: `2026-11-20`, `2026-W47` (ISO 8601: the week belongs to the
/// year that its Thursday is in) or `2026-11`. No two windows have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    period: Period,
    /// How many days, weeks or months after the one that the start of 1970 lies in.
    index: i64,
}

impl Period {
    /// The window that a moment lies in.
    #[must_use]
    pub fn at(self, now: UnixSeconds) -> Window {
        let days = now.0.div_euclid(DAY);
        let index = match self {
            Self::Day => days,
            Self::Week => (days + MONDAY_BEFORE_1970).div_euclid(7),
            Self::Month => {
                let date = Date::of(days);
                (date.year - 1970) * 12 + date.month - 1
            }
        };
        Window { period: self, index }
    }
}

impl Window {
    /// The window of `period` that stands `index` windows after that of the start of 1970.
    pub(crate) fn new(period: Period, index: u16) -> Self {
        Self { period, index: i64::from(index) }
    }

    /// How long it is.
    #[must_use]
    pub fn period(self) -> Period {
        self.period
    }

    /// How many windows after that of the start of 1970 it stands.
    pub(crate) fn index(self) -> i64 {
        self.index
    }

    /// Its first second.
    #[must_use]
    pub fn starts(self) -> UnixSeconds {
        UnixSeconds(self.first_day(self.index).saturating_mul(DAY))
    }

    /// The first second after it.
    #[must_use]
    pub fn ends(self) -> UnixSeconds {
        UnixSeconds(self.first_day(self.index + 1).saturating_mul(DAY))
    }

    /// The first day, counted from the start of 1970, of the window with this index.
    fn first_day(self, index: i64) -> i64 {
        match self.period {
            Period::Day => index,
            Period::Week => index * 7 - MONDAY_BEFORE_1970,
            Period::Month => Date { year: 1970 + index.div_euclid(12), month: index.rem_euclid(12) + 1, day: 1 }.days(),
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.first_day(self.index);
        match self.period {
            Period::Day => {
                let Date { year, month, day } = Date::of(first);
                write!(out, "{year:04}-{month:02}-{day:02}")
            }
            Period::Week => {
                let thursday = first + 3;
                let year = Date::of(thursday).year;
                let week = (thursday - Date { year, month: 1, day: 1 }.days()) / 7 + 1;
                write!(out, "{year:04}-W{week:02}")
            }
            Period::Month => {
                let Date { year, month, .. } = Date::of(first);
                write!(out, "{year:04}-{month:02}")
            }
        }
    }
}

/// A text is not the label of a window of the years 0 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoWindow;

impl FromStr for Window {
    type Err = NoWindow;

    /// Reads a label, written exactly as windows display.
    fn from_str(label: &str) -> Result<Self, NoWindow> {
        if label.len() > "2026-11-20".len() {
            return Err(NoWindow);
        }
        let number = |text: &str| text.parse::<i64>().map_err(|_| NoWindow);
        let mut parts = label.split('-');
        let (Some(year), Some(second), third, None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(NoWindow);
        };
        let year = Some(number(year)?).filter(|year| *year <= 9_999).ok_or(NoWindow)?;
        let (period, day) = match (second.strip_prefix('W'), third) {
            // The first week of a year is that of its fourth of January.
            (Some(week), None) => (Period::Week, Date { year, month: 1, day: 4 }.days() + 7 * (number(week)? - 1)),
            (None, None) => (Period::Month, Date { year, month: number(second)?, day: 1 }.days()),
            (None, Some(day)) => (Period::Day, Date { year, month: number(second)?, day: number(day)? }.days()),
            (Some(_), Some(_)) => return Err(NoWindow),
        };
        let window = period.at(UnixSeconds(day * DAY));
        // Another way to write it, or a day that there is not, comes out in another form.
        if window.to_string() == label { Ok(window) } else { Err(NoWindow) }
    }
}

impl fmt::Display for NoWindow {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("this is no day (2026-11-20), week (2026-W47) or month (2026-11)")
    }
}

impl std::error::Error for NoWindow {}

/// Seconds in a day.
const DAY: i64 = 86_400;

/// 1970 began on a Thursday, three days after a Monday.
const MONDAY_BEFORE_1970: i64 = 3;

/// A day of the Gregorian calendar, also of the years before there was one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Date {
    year: i64,
    /// From 1.
    month: i64,
    /// From 1.
    day: i64,
}

// Both ways count from the first of March of the year 0: then a leap day is the last day of its year, 400 years always have
// as many days, and the first day of a month is a linear function of the month, rounded down (31, 30, 31, 30, 31, twice).
impl Date {
    /// The day that is so many days after the start of 1970.
    fn of(days: i64) -> Self {
        let days = days + MARCH_OF_YEAR_0;
        let (era, day_of_era) = (days.div_euclid(DAYS_IN_400_YEARS), days.rem_euclid(DAYS_IN_400_YEARS));
        // Leap days are taken out first, so that every year has 365 days.
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / (DAYS_IN_400_YEARS - 1)) / 365;
        let day_of_year = day_of_era - first_day_of_year(year_of_era);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let (month, next_year) =
            if month_from_march < 10 { (month_from_march + 3, 0) } else { (month_from_march - 9, 1) };
        Self {
            year: era * 400 + year_of_era + next_year,
            month,
            day: day_of_year - first_day_of_month(month_from_march) + 1,
        }
    }

    /// How many days after the start of 1970 it is.
    fn days(self) -> i64 {
        let (year, month_from_march) =
            if self.month > 2 { (self.year, self.month - 3) } else { (self.year - 1, self.month + 9) };
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_era = first_day_of_year(year_of_era) + first_day_of_month(month_from_march) + self.day - 1;
        era * DAYS_IN_400_YEARS + day_of_era - MARCH_OF_YEAR_0
    }
}

const DAYS_IN_400_YEARS: i64 = 146_097;

/// Days from the first of March of the year 0 to the start of 1970.
const MARCH_OF_YEAR_0: i64 = 719_468;

/// The first day of a year from March, counted from the first of 400 years.
fn first_day_of_year(year_of_era: i64) -> i64 {
    365 * year_of_era + year_of_era / 4 - year_of_era / 100
}

/// The first day of a month, counted from the first of March.
fn first_day_of_month(month_from_march: i64) -> i64 {
    (153 * month_from_march + 2) / 5
}

#[cfg(test)]
mod tests;
