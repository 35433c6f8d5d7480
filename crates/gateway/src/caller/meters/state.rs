//! What a caller has of its limits as long as no law changes.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use gatepost_config::model;
use gatepost_meter::{Bucket, Law, Nanos, Slots};

use super::{CallerRoute, law};
use crate::caller::account::{Account, law_of_budget, law_of_quota};
use crate::caller::{Books, Budget, Counter};

/// What a caller has that was let in somewhere.
#[derive(Debug)]
pub(crate) struct State {
    /// Its requests under way.
    pub(crate) slots: Arc<Slots>,
    pub(crate) quota: Option<Arc<Account>>,
    pub(crate) budget: Option<Budget>,
    /// Those that it had last, as long as an answer under way or a request that waits holds them.
    accounts: Accounts,
    /// All its buckets, and those that no law names any more and that still owe tokens.
    buckets: Vec<(CallerBucket, Arc<Bucket>)>,
    /// Where it was, in the order of where these are in memory.
    routes: Box<[Arc<AtRoute>]>,
}

/// What requests go on to use when their caller has no such limit any more. Should it have it again meanwhile, then that
/// is the same account: two would each have a lease, by a law of its own.
#[derive(Debug, Clone, Default)]
struct Accounts {
    quota: Weak<Account>,
    budget: Weak<Account>,
}

/// What a caller has at one route.
#[derive(Debug)]
pub(crate) struct AtRoute {
    route: Arc<CallerRoute>,
    pub(crate) counter: Arc<Counter>,
    /// What bounds it there: that of its plan, if it has one, and then those of the route and its API.
    pub(crate) buckets: Box<[Arc<Bucket>]>,
    /// Whose the first of them is, if it is that of the plan.
    pub(crate) plan: Option<PlanBucket>,
}

/// Which bucket of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlanBucket {
    /// The one for all routes.
    Shared,
    /// That of one route.
    OfRoute,
}

/// What a bucket of a caller is known by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum CallerBucket {
    /// That of its plan for all routes, whatever plan that is.
    Plan,
    /// That of its plan for one route.
    PlanRoute { api: Arc<str>, route: Arc<str> },
    /// That of a throttle by caller.
    Throttle {
        api: Arc<str>,
        /// Absent: the API's own.
        route: Option<Arc<str>>,
        index: usize,
    },
}

impl State {
    /// Of a caller that was nowhere yet.
    pub(super) fn new(written: &model::Caller, books: &Books) -> Self {
        let (quota, budget, accounts) = Accounts::default().under(written, books);
        Self {
            slots: Arc::default(),
            quota,
            budget,
            accounts,
            buckets: plan_law(written).map(|law| (CallerBucket::Plan, Bucket::new(law))).into_iter().collect(),
            routes: Box::default(),
        }
    }

    /// What it has at a route, if it was there.
    pub(crate) fn at(&self, route: &Arc<CallerRoute>) -> Option<&Arc<AtRoute>> {
        let address = Arc::as_ptr(route);
        let place = self.routes.binary_search_by_key(&address, |at_route| Arc::as_ptr(&at_route.route)).ok()?;
        self.routes.get(place)
    }

    /// Where it was.
    pub(crate) fn routes(&self) -> impl Iterator<Item = &AtRoute> {
        self.routes.iter().map(|at_route| &**at_route)
    }

    /// The bucket that is known by this.
    pub(crate) fn bucket(&self, name: &CallerBucket) -> Option<&Arc<Bucket>> {
        self.buckets.iter().find(|(known, _)| known == name).map(|(_, bucket)| bucket)
    }

    /// All buckets, those of laws that are gone among them.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (&CallerBucket, &Arc<Bucket>)> {
        self.buckets.iter().map(|(name, bucket)| (name, bucket))
    }

    /// The same with one more route.
    pub(super) fn with(&self, route: &Arc<CallerRoute>, written: &model::Caller, now: Nanos) -> (Self, Arc<AtRoute>) {
        let mut buckets = self.buckets.clone();
        let mut own = Vec::new();
        let (plan, laws) = laws_at(route, written);
        for (name, law) in laws {
            own.push(match buckets.iter_mut().find(|(known, _)| *known == name) {
                // It may be kept for its debt alone, from a time when another law held.
                Some((_, bucket)) => {
                    *bucket = bucket.under(law, now);
                    Arc::clone(bucket)
                }
                None => {
                    let bucket = Bucket::new(law);
                    buckets.push((name, Arc::clone(&bucket)));
                    bucket
                }
            });
        }
        let counter = Counter::new(Arc::clone(&written.name), Arc::clone(route));
        let at_route = Arc::new(AtRoute { route: Arc::clone(route), counter, buckets: own.into(), plan });
        let mut routes = self.routes.to_vec();
        let place = routes.partition_point(|known| Arc::as_ptr(&known.route) < Arc::as_ptr(route));
        routes.insert(place, Arc::clone(&at_route));
        let state = Self {
            slots: Arc::clone(&self.slots),
            quota: self.quota.clone(),
            budget: self.budget.clone(),
            accounts: self.accounts.clone(),
            buckets,
            routes: routes.into(),
        };
        (state, at_route)
    }

    /// The same under the laws that hold now.
    pub(super) fn settled(&self, written: &model::Caller, books: &Books, now: Nanos) -> Self {
        let known: HashMap<&CallerBucket, &Arc<Bucket>> = self.buckets().collect();
        let mut kept: HashMap<CallerBucket, Arc<Bucket>> = HashMap::new();
        let mut settle = |name: CallerBucket, law: Law| {
            let under = || known.get(&name).map_or_else(|| Bucket::new(law), |bucket| bucket.under(law, now));
            if let Some(settled) = kept.get(&name) {
                return Arc::clone(settled);
            }
            let settled = under();
            kept.insert(name, Arc::clone(&settled));
            settled
        };
        if let Some(law) = plan_law(written) {
            settle(CallerBucket::Plan, law);
        }
        let still_there = self.routes.iter().filter(|at_route| at_route.route.laws().is_some());
        let routes = still_there.map(|at_route| {
            let (plan, laws) = laws_at(&at_route.route, written);
            let buckets = laws.into_iter().map(|(name, law)| settle(name, law)).collect();
            let (route, counter) = (Arc::clone(&at_route.route), Arc::clone(&at_route.counter));
            Arc::new(AtRoute { route, counter, buckets, plan })
        });
        let routes = routes.collect();
        let owing = self.buckets.iter().filter(|(name, bucket)| !kept.contains_key(name) && !bucket.is_full(now));
        let owing: Vec<_> = owing.cloned().collect();
        let (quota, budget, accounts) = self.accounts.under(written, books);
        Self {
            slots: Arc::clone(&self.slots),
            quota,
            budget,
            accounts,
            buckets: kept.into_iter().chain(owing).collect(),
            routes,
        }
    }

    /// What is left of a caller that nobody can be any more: its debts, and what is under way.
    pub(super) fn left(&self, now: Nanos) -> Self {
        Self {
            slots: Arc::clone(&self.slots),
            quota: None,
            budget: None,
            accounts: self.accounts.clone(),
            buckets: self.buckets.iter().filter(|(_, bucket)| !bucket.is_full(now)).cloned().collect(),
            routes: Box::default(),
        }
    }

    pub(super) fn owes_nothing(&self) -> bool {
        self.buckets.is_empty() && self.slots.taken() == 0 && !self.accounts.are_held()
    }

    pub(super) fn close(&self) {
        let Accounts { quota, budget } = &self.accounts;
        [quota, budget].into_iter().filter_map(Weak::upgrade).for_each(|account| account.close());
    }
}

impl Accounts {
    /// Those that a caller has when it is written like this.
    fn under(&self, written: &model::Caller, books: &Books) -> (Option<Arc<Account>>, Option<Budget>, Self) {
        let mut accounts = self.clone();
        let quota = written.plan.as_ref().and_then(|plan| plan.quota.as_ref()).map(|quota| {
            let name = || format!("caller/{}/requests", written.name);
            Account::held_or_opened(&mut accounts.quota, name, law_of_quota(quota), books)
        });
        let budget = written.budget.as_deref().map(|budget| {
            let name = || format!("caller/{}/budget", written.name);
            let account = Account::held_or_opened(&mut accounts.budget, name, law_of_budget(budget), books);
            Budget::new(account, budget)
        });
        (quota, budget, accounts)
    }

    fn are_held(&self) -> bool {
        self.quota.strong_count() + self.budget.strong_count() > 0
    }
}

/// The buckets that bound a caller at a route, and whether the first of them is that of its plan.
pub(crate) fn laws_at(route: &CallerRoute, written: &model::Caller) -> (Option<PlanBucket>, Vec<(CallerBucket, Law)>) {
    let plan = written.plan.as_deref();
    let is_it = |listed: &&model::PlanRoute| *listed.api == *route.api && *listed.route == *route.key;
    let of_route = plan.and_then(|plan| plan.routes.iter().find(is_it)).map(|listed| {
        let (api, route) = (Arc::clone(&route.api), Arc::clone(&route.key));
        (PlanBucket::OfRoute, (CallerBucket::PlanRoute { api, route }, law(&listed.throttle)))
    });
    let shared = || plan_law(written).map(|law| (PlanBucket::Shared, (CallerBucket::Plan, law)));
    let (plan, first) = of_route.or_else(shared).unzip();
    let others = route.laws();
    (plan, first.into_iter().chain(others.iter().flat_map(|laws| laws.iter().cloned())).collect())
}

fn plan_law(written: &model::Caller) -> Option<Law> {
    written.plan.as_ref()?.throttle.as_ref().map(law)
}
