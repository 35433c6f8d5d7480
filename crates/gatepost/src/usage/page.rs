//! What callers used, and what they have left: a page of it, as the admin API tells it.

use std::collections::BTreeSet;
use std::time::SystemTime;

use gatepost_config::model::{Budget, Caller, Model, Money, Period, Quota};
use gatepost_meter::{UnixSeconds, Window};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::usage::source::{NotRead, UsageQuery, UsageRow, UsageSource};

/// A page of usage.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UsagePage {
    /// By day, caller, API and route.
    pub(crate) usage: Vec<UsageRow>,
    /// What those of `usage`, and the one that was asked for, have now.
    pub(crate) callers: Vec<CallerLevels>,
    /// What to ask for with `after` to go on; absent: there is nothing more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// What a caller has in the windows that it is in now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CallerLevels {
    pub(crate) caller: String,
    /// In requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) quota: Option<Level<u64>>,
    /// In money, as decimal numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) budget: Option<MoneyLevel>,
}

/// So much of so much, until a moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Level<N> {
    /// `day`, `week` or `month`.
    pub(crate) per: String,
    /// Which one: `2026-11-20`, `2026-W47`, `2026-11`.
    pub(crate) window: String,
    pub(crate) limit: N,
    /// Of a gateway that does not run, and of one that crashed, at most a grant too much.
    pub(crate) used: N,
    pub(crate) remaining: N,
    pub(crate) resets_at: Timestamp,
}

/// A [`Level`] of money.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MoneyLevel {
    #[serde(flatten)]
    pub(crate) level: Level<String>,
    pub(crate) currency: String,
}

/// What a caller used up in the windows that it is in now, as the running gateway knows it: to the request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    /// Requests of its quota.
    pub(crate) quota: Option<u64>,
    /// Of its budget.
    pub(crate) budget: Option<Money>,
}

impl UsagePage {
    /// What `source` has, with the levels of the callers that are known now: by `live`, else by what they were granted.
    pub(crate) fn of(
        source: &dyn UsageSource,
        model: &Model,
        query: &UsageQuery,
        live: impl Fn(&Caller) -> Option<Spent>,
    ) -> Result<Self, NotRead> {
        // One more tells whether there is more.
        let mut usage = source.rows(&UsageQuery { limit: query.limit + 1, ..query.clone() })?;
        let is_all = usage.len() <= query.limit;
        usage.truncate(query.limit);
        let next = usage.last().filter(|_| !is_all).map(|last| last.cursor().to_string());
        let mut names: BTreeSet<&str> = usage.iter().map(|row| &*row.caller).collect();
        names.extend(query.caller.as_deref());
        let known = |name: &str| {
            let place = model.callers.binary_search_by(|caller| (*caller.name).cmp(name)).ok()?;
            model.callers.get(place)
        };
        let callers = names.into_iter().filter_map(known);
        let callers = callers.map(|caller| CallerLevels::of(caller, source, live(caller).unwrap_or_default()));
        let callers = callers.collect::<Result<_, NotRead>>()?;
        Ok(Self { usage, callers, next })
    }
}

impl CallerLevels {
    fn of(caller: &Caller, source: &dyn UsageSource, spent: Spent) -> Result<Self, NotRead> {
        let name = &caller.name;
        let now = now();
        let quota = match caller.plan.as_ref().and_then(|plan| plan.quota) {
            None => None,
            Some(Quota { limit, per }) => {
                let window = window(per, now);
                let granted = || source.granted(&format!("caller/{name}/requests"), &window.to_string());
                let used = spent.quota.map_or_else(granted, Ok)?;
                Some(Level::of(per, window, limit.get(), used, |units| units))
            }
        };
        let budget = match &caller.budget {
            None => None,
            Some(budget) => {
                let Budget { limit, per, currency, .. } = &**budget;
                let window = window(*per, now);
                let granted = || source.granted(&format!("caller/{name}/budget"), &window.to_string()).map(Money);
                let used = spent.budget.map_or_else(granted, Ok)?;
                let level = Level::of(*per, window, limit.0, used.0, |units| Money(units).to_string());
                Some(MoneyLevel { level, currency: currency.to_string() })
            }
        };
        Ok(Self { caller: name.to_string(), quota, budget })
    }
}

impl<N> Level<N> {
    fn of(per: Period, window: Window, limit: u64, used: u64, shown: impl Fn(u64) -> N) -> Self {
        Self {
            per: per.name().to_owned(),
            window: window.to_string(),
            limit: shown(limit),
            used: shown(used),
            remaining: shown(limit.saturating_sub(used)),
            resets_at: Timestamp::from_second(window.ends().0).unwrap_or_default(),
        }
    }
}

fn window(per: Period, now: UnixSeconds) -> Window {
    let period = match per {
        Period::Day => gatepost_meter::Period::Day,
        Period::Week => gatepost_meter::Period::Week,
        Period::Month => gatepost_meter::Period::Month,
    };
    period.at(now)
}

fn now() -> UnixSeconds {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixSeconds(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
