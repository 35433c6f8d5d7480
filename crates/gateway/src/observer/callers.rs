//! What callers have of their limits, as it is now.

use std::sync::Arc;

use gatepost_config::model::{self, Model};
use gatepost_meter::{Lacking, Nanos, Period, UnixSeconds, Window};

use super::{InForce, Level};
use crate::caller::{Account, Caller, CallerBucket, State, UsageDelta, law_of_budget, law_of_quota};
use crate::explain::rate_text;

/// What a caller has of limits that are its own.
#[derive(Debug, Clone)]
pub struct CallerReport {
    /// Its name.
    pub caller: Arc<str>,
    /// The name of its plan.
    pub plan: Option<Arc<str>>,
    /// Its requests.
    pub quota: Option<AccountReport>,
    /// Its money, in billionths of the currency.
    pub budget: Option<AccountReport>,
    /// Its buckets: only those it has used since the gateway started; the others are full.
    pub throttles: Vec<CallerThrottle>,
    /// Its requests under way, if there is a limit to them.
    pub parallel: Option<Level>,
    /// What it used and the usage sink was not told yet.
    pub untold: Vec<UsageDelta>,
}

/// How much is left of a quota or a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountReport {
    /// How many units there are in a window.
    pub limit: u64,
    /// How many are left in this one; absent: this process has not asked its ledger yet.
    pub left: Option<u64>,
    /// The window. Displayed, it is `2026-11-20`, `2026-W47` or `2026-11`.
    pub window: Window,
}

/// A bucket of a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerThrottle {
    /// Whether it is that of the caller's plan.
    pub of_plan: bool,
    /// The name of the API that it is for; absent: all of them.
    pub api: Option<Arc<str>>,
    /// The key of the route that it is for; absent: all of them.
    pub route: Option<Arc<str>>,
    /// How full it is.
    pub level: Level,
}

impl InForce {
    /// What the caller of this name has of its limits. None if nobody is called that.
    #[must_use]
    pub fn caller(&self, name: &str) -> Option<CallerReport> {
        self.snapshot.callers.named(name).map(|caller| self.report(caller))
    }

    /// What callers have of their limits that were let in since the gateway started, in the order of their names. Goes
    /// through all callers: not for a thread that others wait for.
    pub fn callers_in_use(&self) -> impl Iterator<Item = CallerReport> {
        let callers = self.snapshot.callers.all().iter();
        callers.filter(|caller| caller.meters.is_in_use()).map(|caller| self.report(caller))
    }

    fn report(&self, caller: &Caller) -> CallerReport {
        let (now, wall) = (self.clock.now(), self.wall.now());
        caller.meters.look(|state, written| {
            let plan = written.plan.as_deref();
            let quota = plan.and_then(|plan| plan.quota.as_ref()).map(|quota| {
                let law = law_of_quota(quota);
                let account = state.and_then(|state| state.quota.as_deref());
                account_report(account, law.limit.get(), law.period, wall)
            });
            let budget = written.budget.as_deref().map(|budget| {
                let law = law_of_budget(budget);
                let account = state.and_then(|state| state.budget.as_ref()).map(|budget| &*budget.account);
                account_report(account, law.limit.get(), law.period, wall)
            });
            let under_way = state.map_or(0, |state| state.slots.taken());
            CallerReport {
                caller: Arc::clone(&written.name),
                plan: plan.map(|plan| Arc::clone(&plan.name)),
                quota,
                budget,
                throttles: state.map(|state| throttles(state, written, self.model(), now)).unwrap_or_default(),
                parallel: written.parallel.map(|cap| Level::Parallel { cap: cap.get(), under_way }),
                untold: state
                    .into_iter()
                    .flat_map(State::routes)
                    .flat_map(|at_route| at_route.counter.untold())
                    .collect(),
            }
        })
    }
}

fn account_report(account: Option<&Account>, limit: u64, period: Period, now: UnixSeconds) -> AccountReport {
    let left = account.and_then(|account| match account.peek(0, now) {
        Ok(level) => Some(level.left),
        Err(Lacking::Spent { .. }) => Some(0),
        Err(Lacking::Waiting | Lacking::Unavailable) => None,
    });
    AccountReport { limit, left, window: period.at(now) }
}

fn throttles(state: &State, written: &model::Caller, model: &Model, now: Nanos) -> Vec<CallerThrottle> {
    let found = state.buckets().filter_map(|(name, bucket)| {
        let throttle = throttle(name, written, model)?;
        let (rate, burst) = (rate_text(throttle.rate), throttle.burst.get());
        let level = Level::Throttle { rate, burst, left: bucket.left(now) };
        let (of_plan, api, route) = match name {
            CallerBucket::Plan => (true, None, None),
            CallerBucket::PlanRoute { api, route } => (true, Some(Arc::clone(api)), Some(Arc::clone(route))),
            CallerBucket::Throttle { api, route, .. } => (false, Some(Arc::clone(api)), route.clone()),
        };
        Some(CallerThrottle { of_plan, api, route, level })
    });
    let mut found: Vec<_> = found.collect();
    found.sort_by(|one, other| (&one.api, &one.route).cmp(&(&other.api, &other.route)));
    found
}

/// What a bucket was made from; nothing if that is not written any more.
fn throttle<'m>(name: &CallerBucket, written: &'m model::Caller, model: &'m Model) -> Option<&'m model::Throttle> {
    match name {
        CallerBucket::Plan => written.plan.as_ref()?.throttle.as_ref(),
        CallerBucket::PlanRoute { api, route } => {
            let mut routes = written.plan.as_ref()?.routes.iter();
            routes.find(|listed| listed.api == *api && listed.route == *route).map(|listed| &listed.throttle)
        }
        CallerBucket::Throttle { api, route, index } => {
            let api = model.apis.iter().find(|written| written.name == *api)?;
            match route {
                Some(route) => api.routes.iter().find(|written| written.key == *route)?.throttles.get(*index),
                None => api.throttles.get(*index),
            }
        }
    }
}
