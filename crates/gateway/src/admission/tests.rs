use std::path::Path;

use gatepost_config::load_text;
use gatepost_config::model::Model;
use http::{HeaderMap, Method};

use super::*;
use crate::compile::Lasting;
use crate::request::{Assumed, Received};
use crate::snapshot::Snapshot;
use crate::stats::Stats;
use crate::trace::NoTrace;
use crate::wall::WallClock;

/// One route, whose first throttles are by client.
fn model(rules: &str, by_client: usize) -> Model {
    let text = format!("listen = \"127.0.0.1:0\"\n[route.\"ANY /\"]\n{rules}\nrespond = {{ status = 204 }}\n");
    let mut model = load_text("gatepost.toml", &text, Path::new("")).unwrap().model;
    for throttle in &mut model.apis[0].routes[0].throttles[..by_client] {
        throttle.by = ThrottleBy::Client;
    }
    model
}

/// A gateway without its sockets.
struct Gate {
    lasting: Lasting,
    clock: Clock,
    route: Arc<Route>,
}

impl Gate {
    fn new(model: &Model) -> Self {
        let (mut lasting, clock) =
            (Lasting::new(crate::caller::Books::new(gatepost_meter::MemoryLedger::new())), Clock::start());
        let route = route(model, &mut lasting, clock);
        Self { lasting, clock, route }
    }

    fn reload(&mut self, model: &Model) {
        self.route = route(model, &mut self.lasting, self.clock);
    }

    /// The reason to refuse a client that sends so much.
    fn ask(&self, client: &str, length: u64) -> Result<(), Rejection> {
        let method = Method::POST;
        let headers = HeaderMap::new();
        let facts = facts(client.parse().unwrap(), &method, "/", &headers, Some(length));
        let times = Times { clock: self.clock, wall: WallClock::System.moment() };
        admit(&facts, &self.route, Meters::Live(&times), &mut NoTrace).map(drop)
    }
}

fn route(model: &Model, lasting: &mut Lasting, clock: Clock) -> Arc<Route> {
    let snapshot = Snapshot::compile(model, None, lasting, &Stats::default(), clock.now());
    let listener = snapshot.listeners.values().next().unwrap();
    let method = Method::POST;
    let client = [192, 0, 2, 1].into();
    let headers = HeaderMap::new();
    let facts = facts(client, &method, "/", &headers, None);
    let (api, rest) = listener.api(&facts, &mut NoTrace).unwrap();
    Arc::clone(api.route(&method, rest, &mut NoTrace).unwrap())
}

/// A request from the internet, in the clear.
fn facts<'r>(
    client: IpAddr,
    method: &'r Method,
    path: &'r str,
    headers: &'r HeaderMap,
    length: Option<u64>,
) -> Facts<'r> {
    let (host, path) = ("a".into(), path.into());
    Facts {
        client,
        is_secure: false,
        private: None,
        method,
        host,
        path,
        headers,
        length,
        received: Received::default(),
        assumed: Assumed::Nobody,
        paid: &[],
    }
}

#[track_caller]
fn assert_throttled(outcome: Result<(), Rejection>) {
    let Err(rejection @ Rejection::Throttled(_)) = outcome else { panic!("{outcome:?}") };
    let answer = rejection.answer(HeaderMap::new());
    assert_eq!(answer.status(), 429);
    for name in ["retry-after", "ratelimit", "ratelimit-policy"] {
        assert!(answer.headers().contains_key(name), "{name}: {answer:?}");
    }
}

#[test]
fn each_client_has_a_bucket_of_its_own() {
    let gate = Gate::new(&model("open = true\nthrottle = { rate = \"1/d\", burst = 2 }", 1));
    for client in ["192.0.2.1", "192.0.2.2", "2001:db8::1"] {
        assert!(gate.ask(client, 0).is_ok() && gate.ask(client, 0).is_ok(), "{client}");
        assert_throttled(gate.ask(client, 0));
    }
    // It has the whole /64.
    assert_throttled(gate.ask("2001:db8::ffff", 0));
    assert!(gate.ask("2001:db8:0:1::1", 0).is_ok());
}

#[test]
fn an_address_that_may_not_enter_is_not_counted_and_a_body_that_is_too_long_is() {
    let rules = "from = [\"192.0.2.0/24\"]\nmax_body = \"10B\"\nthrottle = { rate = \"1/d\", burst = 1 }";
    let gate = Gate::new(&model(rules, 1));
    for _ in 0..3 {
        assert!(matches!(gate.ask("203.0.113.9", 0), Err(Rejection::AddressNotListed)));
    }
    assert!(matches!(gate.ask("192.0.2.1", 11), Err(Rejection::BodyTooLarge)));
    assert_throttled(gate.ask("192.0.2.1", 11));
}

#[test]
fn a_client_over_its_own_limit_takes_nothing_that_others_share() {
    let rules = "open = true\nparallel = 1\nthrottle = [{ rate = \"2/d\", burst = 1 }, { rate = \"1/d\", burst = 5 }]";
    let gate = Gate::new(&model(rules, 1));
    assert!(gate.ask("192.0.2.1", 0).is_ok());
    for _ in 0..5 {
        assert_throttled(gate.ask("192.0.2.1", 0));
    }
    assert_eq!(gate.route.buckets[0].left(gate.clock.now()), 4);
    assert!(gate.ask("192.0.2.2", 0).is_ok());
}

#[test]
fn of_several_limits_by_client_none_is_charged_when_one_is_used_up() {
    let rules = "open = true\nthrottle = [{ rate = \"1/d\", burst = 3 }, { rate = \"1000/d\", burst = 1 }]";
    let mut gate = Gate::new(&model(rules, 2));
    let client = "192.0.2.1";
    assert!(gate.ask(client, 0).is_ok());
    for _ in 0..5 {
        assert_throttled(gate.ask(client, 0));
    }
    let left = |gate: &Gate| gate.route.client_tables[0].peek(client.parse().unwrap(), gate.clock.now()).tokens;
    assert_eq!(left(&gate), 2);
    gate.reload(&model(rules, 2));
    assert_eq!(left(&gate), 2);
}

#[test]
fn a_reload_gives_no_client_a_fresh_burst() {
    let of = |burst: u32| model(&format!("open = true\nthrottle = {{ rate = \"1/d\", burst = {burst} }}"), 1);
    let mut gate = Gate::new(&of(2));
    assert!(gate.ask("192.0.2.1", 0).is_ok() && gate.ask("192.0.2.1", 0).is_ok());
    gate.reload(&of(2));
    assert_throttled(gate.ask("192.0.2.1", 0));
    gate.reload(&of(3));
    assert!(gate.ask("192.0.2.1", 0).is_ok());
    assert_throttled(gate.ask("192.0.2.1", 0));
    // Not even one that takes the throttle away and brings it back.
    gate.reload(&model("open = true", 0));
    gate.reload(&of(3));
    assert_throttled(gate.ask("192.0.2.1", 0));
    assert!(gate.ask("192.0.2.2", 0).is_ok());
}

#[test]
fn many_limits_by_client_share_the_memory_of_a_few() {
    let text: String = (0..1000)
        .map(|number| {
            format!(
                "[route.\"GET /{number}\"]\nopen = true\nrespond = {{ body = \"\" }}\nthrottle = {{ rate = \"1/s\" }}\n"
            )
        })
        .collect();
    let mut model = load_text("gatepost.toml", &text, Path::new("")).unwrap().model;
    let tables = |model: &Model| {
        let lasting = &mut Lasting::new(crate::caller::Books::new(gatepost_meter::MemoryLedger::new()));
        let snapshot = Snapshot::compile(model, None, lasting, &Stats::default(), Clock::start().now());
        let listener = snapshot.listeners.values().next().unwrap();
        let method = Method::GET;
        let client = [192, 0, 2, 1].into();
        let headers = HeaderMap::new();
        let facts = facts(client, &method, "/7", &headers, None);
        let (api, rest) = listener.api(&facts, &mut NoTrace).unwrap();
        let route = api.route(&method, rest, &mut NoTrace).unwrap();
        route.client_tables.iter().map(|table| table.slots()).collect::<Vec<_>>()
    };
    assert_eq!(tables(&model), [0_usize; 0]);
    let of_seven = model.apis[0].routes.iter_mut().find(|route| &*route.key == "GET /7").unwrap();
    of_seven.throttles[0].by = ThrottleBy::Client;
    assert_eq!(tables(&model), [ClientTable::DEFAULT_SLOTS]);
    for route in &mut model.apis[0].routes {
        route.throttles[0].by = ThrottleBy::Client;
    }
    let shared = tables(&model);
    assert!(shared[0] >= 1000 && shared[0] <= 1100, "{shared:?}");
}
