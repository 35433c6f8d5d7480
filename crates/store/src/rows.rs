use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use gatepost_meter::{Period, UnixSeconds, Window};

/// A day of the calendar in UTC; written `2026-11-20`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Day(Window);

/// A text is not a day, written `2026-11-20`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no day; write it like 2026-11-20")]
pub struct NoDay;

/// What a caller used since it was told last. What is told of the same caller, API, route and day adds up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageDelta {
    /// The name of the caller.
    pub caller: Arc<str>,
    /// The name of the API.
    pub api: Arc<str>,
    /// The key of the route, as `GET /orders`.
    pub route: Arc<str>,
    /// When.
    pub day: Day,
    /// Requests that were let in.
    pub admitted: u64,
    /// Requests that were refused after it was known whose they were.
    pub refused: u64,
    /// Bytes of answers.
    pub bytes_out: u64,
}

/// What a caller used of a route on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// When, in UTC: `2026-11-20`.
    pub day: String,
    /// The name of the caller.
    pub caller: String,
    /// The name of the API.
    pub api: String,
    /// The key of the route.
    pub route: String,
    /// Requests that were let in.
    pub admitted: u64,
    /// Requests that were refused after it was known whose they were.
    pub refused: u64,
    /// Bytes of answers.
    pub bytes_out: u64,
}

/// Which usage to read; by default all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageFilter {
    /// Only of this caller.
    pub caller: Option<String>,
    /// From this day on.
    pub from: Option<Day>,
    /// Up to this day, and on it.
    pub to: Option<Day>,
    /// Only what comes after this row.
    pub after: Option<UsagePlace>,
    /// At most so many rows.
    pub limit: Option<u32>,
}

/// Where a row of usage stands among all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsagePlace {
    /// When, in UTC: `2026-11-20`.
    pub day: String,
    /// The name of the caller.
    pub caller: String,
    /// The name of the API.
    pub api: String,
    /// The key of the route.
    pub route: String,
}

/// How many units an account was granted in a window, less what it gave back.
///
/// It used as many, but for those that the running gateway holds ready, and those that a crash lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRow {
    /// The label of the window: `2026-11-20`, `2026-W47`, `2026-11`.
    pub label: String,
    /// How many.
    pub granted: u64,
}

/// When a key was used last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUse {
    /// The SHA-256 of the key.
    pub key: [u8; 32],
    /// When.
    pub at: UnixSeconds,
}

impl Day {
    /// The day that a moment lies in.
    #[must_use]
    pub fn at(now: UnixSeconds) -> Self {
        Self(Period::Day.at(now))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl FromStr for Day {
    type Err = NoDay;

    fn from_str(text: &str) -> Result<Self, NoDay> {
        let window: Window = text.parse().map_err(|_| NoDay)?;
        if window.period() == Period::Day { Ok(Self(window)) } else { Err(NoDay) }
    }
}
