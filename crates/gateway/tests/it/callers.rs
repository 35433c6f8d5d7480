//! Callers for tests about callers: put into a model by hand.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use gatepost_config::model::{
    self, Budget, Caller, CallerArn, CallerRule, Entry, KeyHash, Model, Money, Period, Plan, PlanRoute, Quota, Rate,
    Rules, Throttle, ThrottleBy, Who,
};
use gatepost_testkit::{Books, Raw, Response, TestGateway};

/// Callers who know their keys, and what each has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Callers {
    callers: Vec<Written>,
    throttle_by_caller: Option<(u64, u32)>,
    route_budget: Option<(u64, u64, u64)>,
    /// Keys of routes that ask for nobody.
    open: Vec<&'static str>,
}

/// What one of them has.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    name: &'static str,
    throttle: Option<(u64, u32)>,
    routes: Vec<(&'static str, u64, u32)>,
    quota: Option<(u64, Period)>,
    parallel: Option<usize>,
    budget: Option<(u64, u64, u64)>,
}

impl Written {
    /// A caller without limits.
    pub(crate) fn named(name: &'static str) -> Self {
        Self { name, throttle: None, routes: Vec::new(), quota: None, parallel: None, budget: None }
    }

    /// So many requests an hour, and at once.
    pub(crate) fn throttle(mut self, per_hour: u64, burst: u32) -> Self {
        self.throttle = Some((per_hour, burst));
        self
    }

    /// The same for one route of its plan.
    pub(crate) fn at_route(mut self, key: &'static str, per_hour: u64, burst: u32) -> Self {
        self.routes.push((key, per_hour, burst));
        self
    }

    pub(crate) fn quota(mut self, limit: u64, per: Period) -> Self {
        self.quota = Some((limit, per));
        self
    }

    pub(crate) fn parallel(mut self, cap: usize) -> Self {
        self.parallel = Some(cap);
        self
    }

    /// In billionths a day: in all, for a request, for 10⁹ bytes.
    pub(crate) fn budget(mut self, limit: u64, per_request: u64, per_gb: u64) -> Self {
        self.budget = Some((limit, per_request, per_gb));
        self
    }
}

impl From<Written> for Callers {
    fn from(written: Written) -> Self {
        Self::of([written])
    }
}

impl Callers {
    pub(crate) fn of(callers: impl IntoIterator<Item = Written>) -> Self {
        Self { callers: callers.into_iter().collect(), ..Self::default() }
    }

    /// Each has so many requests an hour, and at once, at each route.
    pub(crate) fn throttle_by_caller(mut self, per_hour: u64, burst: u32) -> Self {
        self.throttle_by_caller = Some((per_hour, burst));
        self
    }

    /// As [`Written::budget`], of each route.
    pub(crate) fn route_budget(mut self, limit: u64, per_request: u64, per_gb: u64) -> Self {
        self.route_budget = Some((limit, per_request, per_gb));
        self
    }

    /// This route asks for nobody.
    pub(crate) fn open(mut self, key: &'static str) -> Self {
        self.open.push(key);
        self
    }

    /// Lets these callers in, and nobody else.
    pub(crate) fn enter(&self, model: &mut Model) {
        let api = Arc::clone(&model.apis[0].name);
        let place = model.apis[0].place.clone();
        let mut callers: Vec<_> = self.callers.iter().map(|written| written.caller(&api, &place)).collect();
        callers.sort_by(|one, other| one.name.cmp(&other.name));
        model.plans = callers.iter().filter_map(|caller| caller.plan.clone()).collect();
        model.callers = callers.into_iter().map(Arc::new).collect();
        for route in model.apis.iter_mut().flat_map(|api| &mut api.routes) {
            if !self.open.contains(&&*route.key) {
                let who = CallerRule { who: Who::Any, proof: Box::default(), place: route.place.clone() };
                match &mut route.entry {
                    Entry::Open => {
                        let (from, signed, token) = (None, None, None);
                        let policies = Vec::new();
                        route.entry = Entry::Rules(Rules { from, policies, signed, callers: Some(who), token });
                    }
                    Entry::Rules(rules) => rules.callers = Some(who),
                }
            }
            if let Some((per_hour, burst)) = self.throttle_by_caller {
                route.throttles.push(Throttle { by: ThrottleBy::Caller, ..throttle(per_hour, burst) });
                route.places.throttles.push(route.place.clone());
            }
            route.budget = self.route_budget.map(|written| budget(written, &route.place));
        }
    }

    /// Starts a gateway that lets them in.
    pub(crate) async fn start(&self, text: &str, books: &Books) -> TestGateway {
        TestGateway::start_with_books(text, |model| self.enter(model), books).await
    }

    /// Puts another configuration in force that lets them in.
    pub(crate) async fn apply(&self, gateway: &mut TestGateway, text: &str) {
        gateway.apply_with(text, |model| self.enter(model)).await.expect("it can be served");
    }
}

impl Written {
    fn caller(&self, api: &Arc<str>, place: &gatepost_config::Place) -> Caller {
        let name: Arc<str> = self.name.into();
        let routes = self.routes.iter().map(|(route, per_hour, burst)| PlanRoute {
            api: Arc::clone(api),
            route: (*route).into(),
            throttle: throttle(*per_hour, *burst),
            place: place.clone(),
        });
        let plan = Plan {
            name: format!("plan of {name}").into(),
            throttle: self.throttle.map(|(per_hour, burst)| throttle(per_hour, burst)),
            quota: self.quota.map(|(limit, per)| Quota { limit: NonZeroU64::new(limit).expect("a limit"), per }),
            routes: routes.collect(),
            place: place.clone(),
        };
        Caller {
            plan: Some(Arc::new(plan)),
            from: None,
            keys: [KeyHash(digest(&SHA256, key_of(&name).as_bytes()).as_ref().try_into().expect("32 bytes"))].into(),
            access_keys: Box::default(),
            token: None,
            signed: None,
            policy: None,
            arn: CallerArn::new(&format!("arn:aws:iam::000000000000:user/{name}")).expect("an ARN"),
            parallel: self.parallel.and_then(NonZeroUsize::new),
            budget: self.budget.map(|written| Box::new(budget(written, place))),
            place: place.clone(),
            name,
        }
    }
}

fn throttle(per_hour: u64, burst: u32) -> Throttle {
    let rate = Rate { count: NonZeroU64::new(per_hour).expect("a rate"), per: Duration::from_secs(3600) };
    Throttle { rate, burst: NonZeroU32::new(burst).expect("a burst"), by: ThrottleBy::Everyone }
}

fn budget((limit, per_request, per_gb): (u64, u64, u64), place: &gatepost_config::Place) -> Budget {
    Budget {
        limit: Money(limit),
        per: model::Period::Day,
        per_request: Money(per_request),
        per_gb: Money(per_gb),
        currency: "USD".into(),
        place: place.clone(),
    }
}

/// The API key of a caller.
pub(crate) fn key_of(name: &str) -> String {
    format!("the-key-of-{name}-and-of-nobody-else")
}

/// The head of a GET request of a caller.
pub(crate) fn get(name: &str, target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: gateway.test\r\nx-api-key: {}\r\n\r\n", key_of(name))
}

/// Asks as a caller.
pub(crate) async fn ask(client: &mut Raw, name: &str, target: &str) -> Response {
    client.send(get(name, target)).await;
    client.response().await
}

/// Asks as a caller so often; the statuses.
pub(crate) async fn statuses(client: &mut Raw, name: &str, target: &str, times: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..times {
        statuses.push(ask(client, name, target).await.status);
    }
    statuses
}
