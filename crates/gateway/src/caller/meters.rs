//! What a caller has of limits that are its own. It lives on from one snapshot to the next.

mod state;

pub(crate) use self::state::{AtRoute, CallerBucket, PlanBucket, State, laws_at};

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use gatepost_config::model;
use gatepost_meter::{Law, Nanos};

use crate::caller::{Books, Counter};
use crate::clock::Clock;

/// What one caller has of its limits: little more than how it was written until it is first let in somewhere.
///
/// Workers read [`State`] through one atomic pointer. It is replaced, under the lock, when the caller comes to a route for
/// the first time, and when a reload changes a law; what counts in it lives on.
#[derive(Debug)]
pub(crate) struct CallerMeters {
    books: Arc<Books>,
    /// How it was written last. Whoever replaces the state holds this.
    written: Mutex<Arc<model::Caller>>,
    state: ArcSwapOption<State>,
}

/// A route as its callers meet it, under its names, across snapshots.
#[derive(Debug)]
pub(crate) struct CallerRoute {
    /// The name of its API.
    pub(crate) api: Arc<str>,
    /// Its key.
    pub(crate) key: Arc<str>,
    /// Its throttles by caller, then those of its API; absent: the model has no such route.
    laws: Mutex<Option<Laws>>,
}

/// Buckets and their laws.
type Laws = Arc<[(CallerBucket, Law)]>;

impl CallerMeters {
    pub(crate) fn new(written: &Arc<model::Caller>, books: &Arc<Books>) -> Self {
        Self { books: Arc::clone(books), written: Mutex::new(Arc::clone(written)), state: ArcSwapOption::empty() }
    }

    pub(crate) fn books(&self) -> &Arc<Books> {
        &self.books
    }

    /// What it has at a route: made if it was never there.
    pub(crate) fn at<T>(
        &self,
        route: &Arc<CallerRoute>,
        clock: Clock,
        use_it: impl FnOnce(&State, &AtRoute) -> T,
    ) -> T {
        let state = self.state.load();
        if let Some(state) = &*state
            && let Some(at_route) = state.at(route)
        {
            return use_it(state, at_route);
        }
        let (state, at_route) = self.come_to(route, clock.now());
        use_it(&state, &at_route)
    }

    /// What it has, if it was ever let in anywhere, and how it was written.
    pub(crate) fn look<T>(&self, look: impl FnOnce(Option<&State>, &model::Caller) -> T) -> T {
        let written = Arc::clone(&lock(&self.written));
        look(self.state.load().as_deref(), &written)
    }

    /// Whether it was ever let in anywhere.
    pub(crate) fn is_in_use(&self) -> bool {
        self.state.load().is_some()
    }

    /// Where its requests to a route are counted.
    pub(crate) fn counter(&self, route: &Arc<CallerRoute>, clock: Clock) -> Arc<Counter> {
        self.at(route, clock, |_, at_route| Arc::clone(&at_route.counter))
    }

    fn come_to(&self, route: &Arc<CallerRoute>, now: Nanos) -> (Arc<State>, Arc<AtRoute>) {
        let written = lock(&self.written);
        let before = self.state.load_full();
        if let Some(state) = &before
            && let Some(at_route) = state.at(route)
        {
            return (Arc::clone(state), Arc::clone(at_route));
        }
        let before = before.unwrap_or_else(|| Arc::new(State::new(&written, &self.books)));
        let (state, at_route) = before.with(route, &written, now);
        let state = Arc::new(state);
        self.state.store(Some(Arc::clone(&state)));
        (state, at_route)
    }

    /// From now on it is written like this. Whether its limits are others: then what it has must be put under them, once
    /// those of the routes are known ([`Self::settle`]).
    pub(crate) fn follow(&self, written: &Arc<model::Caller>) -> bool {
        let before = std::mem::replace(&mut *lock(&self.written), Arc::clone(written));
        !has_same_limits(&before, written)
    }

    /// Puts what it has under the laws that hold now, with its debts. What no law names is let go of once it owes nothing.
    pub(crate) fn settle(&self, now: Nanos) {
        // One that nobody has used yet finds the laws when somebody does.
        if self.state.load().is_none() {
            return;
        }
        let written = lock(&self.written);
        if let Some(before) = self.state.load_full() {
            self.state.store(Some(Arc::new(before.settled(&written, &self.books, now))));
        }
    }

    /// It is not written any more, and no request can come to it: its grants are given back. Whether nothing is left to
    /// remember.
    pub(crate) fn leave(&self, now: Nanos) -> bool {
        let _written = lock(&self.written);
        let Some(before) = self.state.load_full() else { return true };
        let left = before.left(now);
        let is_clean = left.owes_nothing();
        self.state.store(Some(Arc::new(left)));
        is_clean
    }

    /// Gives back what was granted and not used.
    pub(crate) fn close(&self) {
        if let Some(state) = &*self.state.load() {
            state.close();
        }
    }
}

impl CallerRoute {
    pub(crate) fn new(api: &Arc<str>, key: &Arc<str>) -> Self {
        Self { api: Arc::clone(api), key: Arc::clone(key), laws: Mutex::new(None) }
    }

    /// From now on these are its throttles by caller: its own, then those of its API, each with its place among all of
    /// theirs. Whether they were others before.
    pub(crate) fn follow(&self, throttles: &[model::Throttle], of_api: &[model::Throttle]) -> bool {
        let by_caller = |throttles: &[model::Throttle]| -> Vec<(usize, Law)> {
            let numbered = throttles.iter().enumerate();
            let wanted = numbered.filter(|(_, throttle)| throttle.by == model::ThrottleBy::Caller);
            wanted.map(|(index, throttle)| (index, law(throttle))).collect()
        };
        let own = by_caller(throttles).into_iter().map(|(index, law)| {
            let (api, route) = (Arc::clone(&self.api), Arc::clone(&self.key));
            (CallerBucket::Throttle { api, route: Some(route), index }, law)
        });
        let shared = by_caller(of_api)
            .into_iter()
            .map(|(index, law)| (CallerBucket::Throttle { api: Arc::clone(&self.api), route: None, index }, law));
        let laws = Some(own.chain(shared).collect());
        let before = std::mem::replace(&mut *lock(&self.laws), laws.clone());
        before != laws
    }

    /// The model has it no longer. Whether it had it before.
    pub(crate) fn leave(&self) -> bool {
        lock(&self.laws).take().is_some()
    }

    fn laws(&self) -> Option<Laws> {
        lock(&self.laws).clone()
    }
}

/// Wherever they were written.
fn has_same_limits(one: &model::Caller, other: &model::Caller) -> bool {
    let same_plan = match (one.plan.as_deref(), other.plan.as_deref()) {
        (None, None) => true,
        (Some(one), Some(other)) => {
            let of_route =
                |listed: &model::PlanRoute| (Arc::clone(&listed.api), Arc::clone(&listed.route), listed.throttle);
            one.throttle == other.throttle
                && one.quota == other.quota
                && one.routes.iter().map(of_route).eq(other.routes.iter().map(of_route))
        }
        (Some(_), None) | (None, Some(_)) => false,
    };
    let money = |caller: &model::Caller| {
        let model::Budget { limit, per, per_request, per_gb, .. } = caller.budget.as_deref()?;
        Some((*limit, *per, *per_request, *per_gb))
    };
    same_plan && money(one) == money(other)
}

pub(crate) fn law(throttle: &model::Throttle) -> Law {
    Law::new(throttle.rate.count, throttle.rate.per, throttle.burst)
}

/// Nothing panics while it holds the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
