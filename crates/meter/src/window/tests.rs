use jiff::Timestamp;
use jiff::civil;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;

fn at(time: &str) -> UnixSeconds {
    UnixSeconds(time.parse::<Timestamp>().expect("a time").as_second())
}

/// The label of the window that a moment lies in, when it starts and when it ends.
fn told(period: Period, time: &str) -> [String; 3] {
    let window = period.at(at(time));
    let text = |time: UnixSeconds| Timestamp::from_second(time.0).expect("in range").to_string();
    [window.to_string(), text(window.starts()), text(window.ends())]
}

#[test]
fn days_begin_at_midnight_and_know_leap_days() {
    for (time, label, starts, ends) in [
        ("2026-11-20T12:00:00Z", "2026-11-20", "2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z"),
        ("2026-11-20T00:00:00Z", "2026-11-20", "2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z"),
        ("2026-11-20T23:59:59Z", "2026-11-20", "2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z"),
        ("2028-02-28T23:59:59Z", "2028-02-28", "2028-02-28T00:00:00Z", "2028-02-29T00:00:00Z"),
        ("2028-02-29T23:59:59Z", "2028-02-29", "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"),
        ("2100-02-28T23:59:59Z", "2100-02-28", "2100-02-28T00:00:00Z", "2100-03-01T00:00:00Z"),
        ("2000-02-29T00:00:00Z", "2000-02-29", "2000-02-29T00:00:00Z", "2000-03-01T00:00:00Z"),
        ("2026-12-31T23:59:59Z", "2026-12-31", "2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01", "1970-01-01T00:00:00Z", "1970-01-02T00:00:00Z"),
        ("1969-12-31T23:59:59Z", "1969-12-31", "1969-12-31T00:00:00Z", "1970-01-01T00:00:00Z"),
        ("1600-02-29T12:00:00Z", "1600-02-29", "1600-02-29T00:00:00Z", "1600-03-01T00:00:00Z"),
    ] {
        assert_eq!(told(Period::Day, time), [label, starts, ends], "{time}");
    }
}

#[test]
fn weeks_begin_on_monday_and_belong_to_the_year_of_their_thursday() {
    for (time, label, starts, ends) in [
        ("2026-11-20T12:00:00Z", "2026-W47", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"),
        ("2026-11-22T23:59:59Z", "2026-W47", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"),
        ("2026-11-23T00:00:00Z", "2026-W48", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
        // 2026 has 53 weeks, and its last one lasts into 2027.
        ("2026-12-31T12:00:00Z", "2026-W53", "2026-12-28T00:00:00Z", "2027-01-04T00:00:00Z"),
        ("2027-01-03T23:59:59Z", "2026-W53", "2026-12-28T00:00:00Z", "2027-01-04T00:00:00Z"),
        ("2027-01-04T00:00:00Z", "2027-W01", "2027-01-04T00:00:00Z", "2027-01-11T00:00:00Z"),
        // The first one of 2025 began in 2024.
        ("2024-12-30T00:00:00Z", "2025-W01", "2024-12-30T00:00:00Z", "2025-01-06T00:00:00Z"),
        ("2024-12-29T23:59:59Z", "2024-W52", "2024-12-23T00:00:00Z", "2024-12-30T00:00:00Z"),
        ("2021-01-03T12:00:00Z", "2020-W53", "2020-12-28T00:00:00Z", "2021-01-04T00:00:00Z"),
        ("2028-02-29T12:00:00Z", "2028-W09", "2028-02-28T00:00:00Z", "2028-03-06T00:00:00Z"),
        ("1970-01-01T00:00:00Z", "1970-W01", "1969-12-29T00:00:00Z", "1970-01-05T00:00:00Z"),
        ("1969-12-28T23:59:59Z", "1969-W52", "1969-12-22T00:00:00Z", "1969-12-29T00:00:00Z"),
    ] {
        assert_eq!(told(Period::Week, time), [label, starts, ends], "{time}");
    }
}

#[test]
fn months_are_as_long_as_they_are() {
    for (time, label, starts, ends) in [
        ("2026-11-20T12:00:00Z", "2026-11", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
        ("2026-12-31T23:59:59Z", "2026-12", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("2027-01-01T00:00:00Z", "2027-01", "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z"),
        ("2028-02-29T23:59:59Z", "2028-02", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
        ("2027-02-28T23:59:59Z", "2027-02", "2027-02-01T00:00:00Z", "2027-03-01T00:00:00Z"),
        ("1970-01-31T23:59:59Z", "1970-01", "1970-01-01T00:00:00Z", "1970-02-01T00:00:00Z"),
        ("1969-12-31T23:59:59Z", "1969-12", "1969-12-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        ("1968-02-29T23:59:59Z", "1968-02", "1968-02-01T00:00:00Z", "1968-03-01T00:00:00Z"),
    ] {
        assert_eq!(told(Period::Month, time), [label, starts, ends], "{time}");
    }
}

#[test]
fn no_time_is_too_early_or_too_late() {
    for period in [Period::Day, Period::Week, Period::Month] {
        for time in [i64::MIN, i64::MAX] {
            let window = period.at(UnixSeconds(time));
            assert!(window.starts().0 <= time && time <= window.ends().0, "{window}");
            assert_eq!(window.period(), period);
        }
    }
}

#[test]
fn a_label_that_no_window_has_is_not_read() {
    let labels = "2026 2026- 2026-13 2026-00 2026-1 2026-02-29 2026-11-31 2026-11-20- 2026-W00 2026-W54 2027-W53 2026-W47-1 \
                  +2026-11 -001-11 26-11 2026-w47 2026-11-2O 9999999-11 2026-+1 2026-11-+1";
    for label in labels.split(' ').chain(["", " 2026-11"]) {
        assert_eq!(label.parse::<Window>(), Err(NoWindow), "{label}");
    }
}

fn any_period() -> impl Strategy<Value = Period> {
    prop_oneof![Just(Period::Day), Just(Period::Week), Just(Period::Month)]
}

proptest! {
    #[test]
    fn windows_are_those_of_the_calendar(time in -60_000_000_000_i64..250_000_000_000) {
        let day: civil::Date = Timestamp::from_second(time).unwrap().to_zoned(TimeZone::UTC).date();
        let label = |period: Period| period.at(UnixSeconds(time)).to_string();
        prop_assert_eq!(label(Period::Day), day.to_string());
        let week = day.iso_week_date();
        prop_assert_eq!(label(Period::Week), format!("{:04}-W{:02}", week.year(), week.week()));
        prop_assert_eq!(label(Period::Month), format!("{:04}-{:02}", day.year(), day.month()));
    }

    #[test]
    fn a_window_lasts_from_its_start_to_the_start_of_the_next(period in any_period(), time in any::<i64>()) {
        let time = time / 2;
        let window = period.at(UnixSeconds(time));
        let (starts, ends) = (window.starts(), window.ends());
        prop_assert!(starts.0 <= time && time < ends.0);
        prop_assert_eq!(period.at(starts), window);
        prop_assert_eq!(period.at(UnixSeconds(ends.0 - 1)), window);
        prop_assert_eq!(period.at(ends).starts(), ends);
        prop_assert_ne!(period.at(ends).to_string(), window.to_string());
    }

    #[test]
    fn a_label_is_read_as_its_window(period in any_period(), time in -62_000_000_000_i64..253_000_000_000) {
        let window = period.at(UnixSeconds(time));
        prop_assert_eq!(window.to_string().parse(), Ok(window));
    }

    #[test]
    fn no_text_is_too_strange_to_be_read(text in "[-0-9W+]{0,12}|.{0,12}") {
        if let Ok(window) = text.parse::<Window>() {
            prop_assert_eq!(window.to_string(), text);
        }
    }
}
