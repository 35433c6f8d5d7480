//! Callers for tests about callers.

use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, digest};
use gatepost_config::model::Period;
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

    /// `text`, whose open routes let these callers in instead, and nobody else.
    pub(crate) fn text(&self, text: &str) -> String {
        let mut entry = "callers = \"any\"\n".to_owned();
        if let Some((per_hour, burst)) = self.throttle_by_caller {
            writeln!(entry, "throttle = {{ rate = \"{per_hour}/h\", burst = {burst}, by = \"caller\" }}")
                .expect("text");
        }
        let budget = self.route_budget.map(budget).unwrap_or_default();
        let route = |route: &str| {
            let is_open = self.open.iter().any(|key| route.starts_with(&format!("{key}\"")));
            let entry = if is_open { "open = true\n" } else { &entry };
            route.replacen("open = true\n", &format!("{entry}{budget}"), 1)
        };
        let (before, routes) = text.split_once("[route.\"").expect("a route");
        let routes: String = routes.split("[route.\"").map(|text| format!("[route.\"{}", route(text))).collect();
        let callers: String = self.callers.iter().map(Written::text).collect();
        format!("{before}{routes}\n{callers}")
    }

    /// Starts a gateway that lets them in.
    pub(crate) async fn start(&self, text: &str, books: &Books) -> TestGateway {
        TestGateway::start_with_books(&self.text(text), books).await
    }

    /// Puts another configuration in force that lets them in.
    pub(crate) async fn apply(&self, gateway: &mut TestGateway, text: &str) {
        gateway.apply(&self.text(text)).await.expect("it can be served");
    }
}

impl Written {
    fn text(&self) -> String {
        let Self { name, throttle, routes, quota, parallel, budget: money } = self;
        let bucket = |(per_hour, burst): (u64, u32)| format!("{{ rate = \"{per_hour}/h\", burst = {burst} }}");
        let mut plan = throttle.map(|law| format!("throttle = {}\n", bucket(law))).unwrap_or_default();
        if let Some((limit, per)) = quota {
            plan += &format!("quota = {{ limit = {limit}, per = \"{}\" }}\n", per.name());
        }
        for (key, per_hour, burst) in routes {
            plan += &format!("routes.\"{key}\" = {}\n", bucket((*per_hour, *burst)));
        }
        let (plan, named) = match &*plan {
            "" => (String::new(), String::new()),
            limits => (format!("[plan.of-{name}]\n{limits}"), format!("plan = \"of-{name}\"\n")),
        };
        let digits: String =
            digest(&SHA256, key_of(name).as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let parallel = parallel.map(|cap| format!("parallel = {cap}\n")).unwrap_or_default();
        let money = money.map(budget).unwrap_or_default();
        format!("{plan}[caller.{name}]\n{named}keys = [\"sha256:{digits}\"]\n{parallel}{money}")
    }
}

/// In billionths a day.
fn budget((limit, per_request, per_gb): (u64, u64, u64)) -> String {
    let money = |billionths: u64| format!("\"{}.{:09} USD\"", billionths / 1_000_000_000, billionths % 1_000_000_000);
    let mut prices = String::new();
    for (key, price) in [("per_request", per_request), ("per_gb", per_gb)] {
        if price > 0 {
            prices += &format!(", {key} = {}", money(price));
        }
    }
    format!("budget = {{ limit = {}, per = \"day\"{prices} }}\n", money(limit))
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
