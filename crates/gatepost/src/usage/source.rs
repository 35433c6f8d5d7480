//! Where it is on record what callers used.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use form_urlencoded::Serializer;
use gatepost_config::model::KeyHash;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// Knows what callers used. Reads from a disk: not for a thread that others wait for.
pub(crate) trait UsageSource: fmt::Debug + Send + Sync {
    /// What was used, by day, caller, API and route, in this order; at most as much as is asked for.
    fn rows(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, NotRead>;

    /// When each of these keys was last used; of those that were.
    fn last_uses(&self, keys: &[KeyHash]) -> Result<HashMap<KeyHash, Timestamp>, NotRead>;

    /// How many units an account was granted in the window with this label: those that were used, and those that a
    /// running gateway holds ready.
    fn granted(&self, account: &str, window: &str) -> Result<u64, NotRead>;
}

/// Which usage is asked for.
#[derive(Debug, Clone)]
pub(crate) struct UsageQuery {
    pub(crate) caller: Option<String>,
    pub(crate) from: Option<Date>,
    /// The last day.
    pub(crate) to: Option<Date>,
    /// The last row that is known already.
    pub(crate) after: Option<Cursor>,
    /// How many rows at most.
    pub(crate) limit: usize,
}

/// What a caller used of a route on a day, in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UsageRow {
    pub(crate) day: Date,
    pub(crate) caller: String,
    pub(crate) api: String,
    pub(crate) route: String,
    /// Requests that were let in.
    pub(crate) admitted: u64,
    /// Requests that were refused once it was known whose they are.
    pub(crate) refused: u64,
    /// Bytes of the bodies of answers.
    pub(crate) bytes_out: u64,
}

/// A row by its key: `2026-11-20 acme default GET /orders`. Days and names have no blanks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) day: Date,
    pub(crate) caller: String,
    pub(crate) api: String,
    pub(crate) route: String,
}

/// What is on record cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("what callers used cannot be told: {0}")]
pub(crate) struct NotRead(pub(crate) String);

impl UsageQuery {
    /// As the query of a URL.
    pub(crate) fn encode(&self) -> String {
        let Self { caller, from, to, after, limit } = self;
        let mut query = Serializer::new(String::new());
        query.append_pair("limit", &limit.to_string());
        for (name, value) in [
            ("caller", caller.clone()),
            ("from", from.as_ref().map(Date::to_string)),
            ("to", to.as_ref().map(Date::to_string)),
            ("after", after.as_ref().map(Cursor::to_string)),
        ] {
            if let Some(value) = value {
                query.append_pair(name, &value);
            }
        }
        query.finish()
    }
}

impl UsageRow {
    /// What is asked for to go on behind it.
    pub(crate) fn cursor(&self) -> Cursor {
        let Self { day, caller, api, route, .. } = self;
        Cursor { day: *day, caller: caller.clone(), api: api.clone(), route: route.clone() }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { day, caller, api, route } = self;
        write!(out, "{day} {caller} {api} {route}")
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(4, ' ').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(date), Some(caller), Some(api), Some(route)) => Ok(Self { day: day(&date)?, caller, api, route }),
            (_, _, _, _) => Err(format!("{text:?} is not the `next` of an answer")),
        }
    }
}

/// A day: `2026-11-20`.
pub(crate) fn day(text: &str) -> Result<Date, String> {
    let date = Date::strptime("%Y-%m-%d", text).ok().filter(|date| date.to_string() == text);
    date.ok_or_else(|| "this is no day; write it like 2026-11-20".to_owned())
}

/// Whether there is a day between two, or on them.
pub(crate) fn in_order(from: Option<Date>, to: Option<Date>) -> Result<(), String> {
    match (from, to) {
        (Some(from), Some(to)) if from > to => Err(format!("{from} comes after {to}: there is no day between")),
        (_, _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_again_by_its_cursor() {
        for route in ["GET /orders", "GET,POST /a b", "$default", "ANY /{rest+}"] {
            let text = format!("2026-11-20 acme default {route}");
            let cursor: Cursor = text.parse().unwrap();
            assert_eq!((&*cursor.route, cursor.to_string()), (route, text));
        }
        for wrong in ["", "2026-11-20", "2026-11-20 acme default", "20 acme default GET /"] {
            assert!(wrong.parse::<Cursor>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_day_is_written_in_one_way() {
        assert_eq!(day("2024-02-29").unwrap().to_string(), "2024-02-29");
        for wrong in ["", "2026-2-3", "2026-02-30", "2026-11-20T00:00:00", "20261120", "today", " 2026-11-20"] {
            assert!(day(wrong).is_err(), "{wrong}");
        }
    }
}
