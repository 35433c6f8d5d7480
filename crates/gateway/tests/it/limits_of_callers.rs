//! What a caller has of limits that are its own: throttles, quotas, requests under way, budgets; and what it used.

mod budgets;

use std::time::Duration;

use gatepost_config::model::Period;
use gatepost_meter::Mood;
use gatepost_testkit::{Books, Origin, PATIENCE, Raw, Script, TestGateway, eventually};

use crate::limited::{Callers, Written, ask, get, statuses};
use crate::setup::{SOON, Setup, client, refusal};

/// 2026-11-20 (a Friday of week 47), 14:00:00 in UTC.
const FRIDAY: i64 = 1_795_183_200;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// Two routes that answer by themselves.
const TWO_ROUTES: &str = r#"
    listen = "127.0.0.1:0"
    [route."GET /one"]
    open = true
    respond = { status = 204 }
    [route."GET /other"]
    open = true
    respond = { status = 204 }
"#;

fn acme() -> Written {
    Written::named("acme")
}

async fn start(callers: impl Into<Callers>, text: &str) -> (TestGateway, Books) {
    let books = Books::at(FRIDAY);
    (callers.into().start(text, &books).await, books)
}

// === throttles ===

#[tokio::test]
async fn a_plan_lets_in_the_burst_and_then_it_is_429() {
    let (gateway, _) = start(acme().throttle(3600, 1), TWO_ROUTES).await;
    let mut client = client(&gateway).await;
    assert_eq!(ask(&mut client, "acme", "/one").await.status, 204);
    let refused = ask(&mut client, "acme", "/one").await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    assert_eq!(refused.header("ratelimit-policy"), Some("\"default\";q=1;w=1"));
    // The promise of `Retry-After` is what is tried here.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(ask(&mut client, "acme", "/one").await.status, 204);

    let (gateway, _) = start(acme().throttle(1, 5), TWO_ROUTES).await;
    let mut client = self::client(&gateway).await;
    assert_eq!(statuses(&mut client, "acme", "/one", 6).await, [204, 204, 204, 204, 204, 429]);
    // One bucket for all routes.
    assert_eq!(ask(&mut client, "acme", "/other").await.status, 429);
    assert_eq!(refusal(&gateway, "throttled").await["status"], 429);
}

#[tokio::test]
async fn a_route_of_a_plan_has_a_bucket_of_its_own_instead() {
    let (gateway, _) = start(acme().throttle(1, 3).at_route("GET /one", 1, 2), TWO_ROUTES).await;
    let mut client = client(&gateway).await;
    assert_eq!(statuses(&mut client, "acme", "/one", 3).await, [204, 204, 429]);
    // The plan's own bucket has lost nothing by it.
    assert_eq!(statuses(&mut client, "acme", "/other", 4).await, [204, 204, 204, 429]);
}

#[tokio::test]
async fn callers_of_the_same_limits_do_not_spend_those_of_each_other() {
    let callers = Callers::of([acme().throttle(1, 2), Written::named("umbrella").throttle(1, 2)]);
    let (gateway, _) = start(callers, TWO_ROUTES).await;
    let mut client = client(&gateway).await;
    assert_eq!(statuses(&mut client, "acme", "/one", 3).await, [204, 204, 429]);
    assert_eq!(statuses(&mut client, "umbrella", "/one", 3).await, [204, 204, 429]);
}

#[tokio::test]
async fn a_throttle_by_caller_is_one_bucket_for_each_caller_and_route() {
    let callers = Callers::of([acme(), Written::named("umbrella")]).throttle_by_caller(1, 2);
    let (gateway, _) = start(callers, TWO_ROUTES).await;
    let mut client = client(&gateway).await;
    for caller in ["acme", "umbrella"] {
        for route in ["/one", "/other"] {
            assert_eq!(statuses(&mut client, caller, route, 3).await, [204, 204, 429], "{caller} {route}");
        }
    }
}

#[tokio::test]
async fn debts_outlive_reloads_and_callers_that_come_back() {
    let wide = Callers::from(acme().throttle(1, 4));
    let (mut gateway, _) = start(wide.clone(), TWO_ROUTES).await;
    let mut client = client(&gateway).await;
    assert_eq!(statuses(&mut client, "acme", "/one", 4).await, [204; 4]);
    // A wider limit is no fresh one, nor is another plan.
    Callers::from(acme().throttle(1, 5)).apply(&mut gateway, TWO_ROUTES).await;
    assert_eq!(statuses(&mut client, "acme", "/one", 2).await, [204, 429]);
    // A plan without a throttle, and the throttle again.
    Callers::from(acme()).apply(&mut gateway, TWO_ROUTES).await;
    assert_eq!(statuses(&mut client, "acme", "/one", 2).await, [204, 204]);
    wide.apply(&mut gateway, TWO_ROUTES).await;
    assert_eq!(statuses(&mut client, "acme", "/one", 1).await, [429]);
    // Nobody, and the caller again.
    Callers::of([Written::named("umbrella")]).apply(&mut gateway, TWO_ROUTES).await;
    assert_eq!(statuses(&mut client, "acme", "/one", 1).await, [401]);
    wide.apply(&mut gateway, TWO_ROUTES).await;
    assert_eq!(statuses(&mut client, "acme", "/one", 1).await, [429]);
}

#[tokio::test]
async fn debts_at_a_route_outlive_its_absence() {
    let callers = Callers::from(acme()).throttle_by_caller(1, 2);
    let (mut gateway, _) = start(callers.clone(), TWO_ROUTES).await;
    let mut client = client(&gateway).await;
    assert_eq!(statuses(&mut client, "acme", "/one", 2).await, [204, 204]);
    let one_route = TWO_ROUTES.replace("GET /one", "GET /another");
    callers.apply(&mut gateway, &one_route).await;
    assert_eq!(statuses(&mut client, "acme", "/one", 1).await, [404]);
    assert_eq!(statuses(&mut client, "acme", "/another", 3).await, [204, 204, 429]);
    callers.apply(&mut gateway, TWO_ROUTES).await;
    assert_eq!(statuses(&mut client, "acme", "/one", 1).await, [429]);
}

#[tokio::test]
async fn what_comes_back_has_its_debts_and_the_law_that_holds_now() {
    let by_caller = |burst| Callers::from(acme()).throttle_by_caller(1, burst);
    let of_plan = |burst| Callers::from(acme().at_route("GET /one", 1, burst));
    let (one_route, nobody) = (TWO_ROUTES.replace("GET /one", "GET /another"), Written::named("umbrella"));
    let cases = [
        (by_caller(2), Callers::from(acme()), &*one_route, by_caller(5)),
        (of_plan(2), Callers::from(acme()), &*one_route, of_plan(5)),
        (by_caller(2), Callers::from(nobody.clone()), TWO_ROUTES, by_caller(5)),
        (of_plan(2), Callers::from(nobody), TWO_ROUTES, of_plan(5)),
    ];
    for (before, meanwhile, text, afterwards) in cases {
        let (mut gateway, _) = start(before, TWO_ROUTES).await;
        let mut client = client(&gateway).await;
        assert_eq!(statuses(&mut client, "acme", "/one", 3).await, [204, 204, 429]);
        meanwhile.apply(&mut gateway, text).await;
        afterwards.apply(&mut gateway, TWO_ROUTES).await;
        assert_eq!(statuses(&mut client, "acme", "/one", 4).await, [204, 204, 204, 429]);
    }
}

// === quotas ===

#[tokio::test]
async fn n_of_n_requests_succeed_and_the_next_waits_for_the_next_utc_day() {
    let (gateway, books) = start(acme().quota(3, Period::Day), TWO_ROUTES).await;
    let mut client = client(&gateway).await;
    for left in ["2", "1", "0"] {
        let admitted = ask(&mut client, "acme", "/one").await;
        assert_eq!(admitted.status, 204);
        assert_eq!(admitted.header("ratelimit-policy"), Some("\"quota\";q=3;w=86400"));
        assert_eq!(admitted.header("ratelimit"), Some(&*format!("\"quota\";r={left};t=36000")));
    }
    let refused = ask(&mut client, "acme", "/other").await;
    assert_eq!((refused.status, &*refused.text()), (429, r#"{"message":"Too Many Requests"}"#));
    assert_eq!(refused.header("retry-after"), Some("36000"));
    assert_eq!(refused.header("ratelimit-policy"), Some("\"quota\";q=3;w=86400"));
    assert_eq!(refused.header("ratelimit"), Some("\"quota\";r=0;t=36000"));
    assert_eq!(refusal(&gateway, "quota_exceeded").await["verdict"], "refused");

    books.set(FRIDAY + 10 * HOUR - 1);
    assert_eq!(ask(&mut client, "acme", "/one").await.header("retry-after"), Some("1"));
    books.set(FRIDAY + 10 * HOUR);
    assert_eq!(statuses(&mut client, "acme", "/one", 4).await, [204, 204, 204, 429]);
}

#[tokio::test]
async fn windows_turn_over_at_midnight_on_mondays_and_on_the_first_of_the_month() {
    // 2028-02-28 was a Monday, and 2028 is a leap year.
    const MONDAY: i64 = 1_835_308_800;
    let windows = [
        (Period::Day, FRIDAY, FRIDAY + 10 * HOUR),
        (Period::Week, FRIDAY, FRIDAY + 10 * HOUR + 2 * DAY),
        (Period::Month, FRIDAY, FRIDAY + 10 * HOUR + 10 * DAY),
        // The day before the leap day, and the leap day.
        (Period::Day, MONDAY, MONDAY + DAY),
        (Period::Day, MONDAY + DAY, MONDAY + 2 * DAY),
        (Period::Month, MONDAY, MONDAY + 2 * DAY),
        (Period::Week, MONDAY, MONDAY + 7 * DAY),
    ];
    for (period, from, to) in windows {
        let (gateway, books) = start(acme().quota(2, period), TWO_ROUTES).await;
        let mut client = client(&gateway).await;
        books.set(from);
        assert_eq!(statuses(&mut client, "acme", "/one", 3).await, [204, 204, 429], "{period:?} from {from}");
        books.set(to - 1);
        assert_eq!(statuses(&mut client, "acme", "/one", 1).await, [429], "{period:?} before {to}");
        books.set(to);
        assert_eq!(statuses(&mut client, "acme", "/one", 3).await, [204, 204, 429], "{period:?} at {to}");
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_refills_nothing() {
    let (gateway, books) = start(acme().quota(2, Period::Day), TWO_ROUTES).await;
    let mut client = client(&gateway).await;
    assert_eq!(statuses(&mut client, "acme", "/one", 3).await, [204, 204, 429]);
    books.set(FRIDAY + DAY);
    assert_eq!(statuses(&mut client, "acme", "/one", 1).await, [204]);
    books.set(FRIDAY);
    assert_eq!(statuses(&mut client, "acme", "/one", 1).await, [429]);
    books.set(FRIDAY + DAY);
    assert_eq!(statuses(&mut client, "acme", "/one", 2).await, [204, 429]);
}

#[tokio::test]
async fn many_connections_together_never_exceed_a_quota() {
    const LIMIT: usize = 1000;
    let text = format!("{TWO_ROUTES}\n[server]\nworkers = 2\n");
    let (gateway, books) = start(acme().quota(LIMIT as u64, Period::Day), &text).await;
    let address = gateway.address();
    let clients = (0..64).map(|_| {
        tokio::spawn(async move {
            let mut client = Raw::connect(address).await;
            let mut admitted = 0;
            for _ in 0..40 {
                match ask(&mut client, "acme", "/one").await.status {
                    204 => admitted += 1,
                    429 => {}
                    status => panic!("{status}"),
                }
            }
            admitted
        })
    });
    let mut admitted = 0;
    for client in clients.collect::<Vec<_>>() {
        admitted += client.await.expect("no client fails");
    }
    assert_eq!(admitted, LIMIT);
    gateway.stop(SOON).await;
    assert_eq!(books.usage.of("acme", "GET /one", "2026-11-20")[..2], [LIMIT as u64, 64 * 40 - LIMIT as u64]);
}

#[tokio::test]
async fn what_was_granted_and_not_used_is_given_back_at_a_stop() {
    let callers = Callers::from(acme().quota(10_000, Period::Day));
    let books = Books::at(FRIDAY);
    let window = gatepost_meter::Period::Day.at(books.now());
    for so_far in [100, 200] {
        let gateway = callers.start(TWO_ROUTES, &books).await;
        let mut client = client(&gateway).await;
        assert_eq!(statuses(&mut client, "acme", "/one", 100).await, [204; 100]);
        gateway.stop(SOON).await;
        assert_eq!(books.ledger.granted("caller/acme/requests", window), so_far);
    }
}

#[tokio::test]
async fn a_caller_who_is_gone_gives_back_what_it_did_not_use() {
    let (mut gateway, books) = start(acme().quota(10_000, Period::Day), TWO_ROUTES).await;
    let mut client = client(&gateway).await;
    assert_eq!(statuses(&mut client, "acme", "/one", 100).await, [204; 100]);
    let window = gatepost_meter::Period::Day.at(books.now());
    let nobody = Callers::of([Written::named("umbrella")]);
    eventually_applied(&mut gateway, &nobody, || books.ledger.granted("caller/acme/requests", window) == 100).await;
    // What it used is not forgotten.
    Callers::from(acme().quota(10_000, Period::Day)).apply(&mut gateway, TWO_ROUTES).await;
    let again = ask(&mut client, "acme", "/one").await;
    assert_eq!(again.header("ratelimit"), Some("\"quota\";r=9899;t=36000"));
}

/// Reloads until it is so: what is let go of is looked at then.
async fn eventually_applied(gateway: &mut TestGateway, callers: &Callers, so: impl Fn() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !so() {
        assert!(tokio::time::Instant::now() < end, "it never came to that");
        callers.apply(gateway, TWO_ROUTES).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_quota_that_a_reload_changes_counts_what_was_used() {
    let (mut gateway, _) = start(acme().quota(5, Period::Day), TWO_ROUTES).await;
    let mut client = client(&gateway).await;
    assert_eq!(statuses(&mut client, "acme", "/one", 4).await, [204; 4]);
    Callers::from(acme().quota(3, Period::Day)).apply(&mut gateway, TWO_ROUTES).await;
    assert_eq!(statuses(&mut client, "acme", "/one", 1).await, [429]);
    Callers::from(acme().quota(6, Period::Day)).apply(&mut gateway, TWO_ROUTES).await;
    assert_eq!(statuses(&mut client, "acme", "/one", 3).await, [204, 204, 429]);
}

#[tokio::test]
async fn what_a_throttle_refuses_takes_nothing_of_a_quota() {
    let (mut gateway, _) = start(acme().quota(5, Period::Day).throttle(1, 2), TWO_ROUTES).await;
    let mut client = client(&gateway).await;
    assert_eq!(statuses(&mut client, "acme", "/one", 20).await[..3], [204, 204, 429]);
    Callers::from(acme().quota(5, Period::Day)).apply(&mut gateway, TWO_ROUTES).await;
    assert_eq!(statuses(&mut client, "acme", "/one", 4).await, [204, 204, 204, 429]);
    // Where both refuse it is the throttle that is told of.
    Callers::from(acme().quota(5, Period::Day).throttle(1, 1)).apply(&mut gateway, TWO_ROUTES).await;
    let refused = ask(&mut client, "acme", "/one").await;
    assert_eq!((refused.status, refused.header("ratelimit-policy")), (429, Some("\"default\";q=1;w=3600")));
}

#[tokio::test]
async fn a_request_that_is_refused_for_something_else_costs_its_caller_nothing() {
    let text = TWO_ROUTES.replace("[route.\"GET /other\"]", "[route.\"POST /other\"]\nmax_body = \"1KiB\"");
    let (gateway, _) = start(acme().quota(2, Period::Day).throttle(1, 2), &text).await;
    let mut client = client(&gateway).await;
    for _ in 0..5 {
        assert_eq!(client.get("/one").await.status, 401);
        let head = get("acme", "/other").replace("GET", "POST").replace("\r\n\r\n", "\r\ncontent-length: 2000\r\n\r\n");
        client.send([head.as_bytes(), &[0; 2000]].concat()).await;
        assert_eq!(client.response().await.status, 413);
    }
    assert_eq!(statuses(&mut client, "acme", "/one", 3).await, [204, 204, 429]);
}

#[tokio::test]
async fn aws_says_limit_exceeded_and_nothing_of_what_is_left() {
    let text = r#"
        listen = "127.0.0.1:0"
        [api.default]
        compat = "aws-rest"
        [route."GET /one"]
        open = true
        respond = { status = 204 }
    "#;
    let (gateway, _) = start(acme().quota(1, Period::Day).throttle(1, 2), text).await;
    let mut client = client(&gateway).await;
    let admitted = ask(&mut client, "acme", "/one").await;
    assert_eq!((admitted.status, admitted.header("ratelimit")), (204, None));
    let refused = ask(&mut client, "acme", "/one").await;
    assert_eq!((refused.status, &*refused.text()), (429, r#"{"message":"Limit Exceeded"}"#));
    assert_eq!(refused.header("x-amzn-errortype"), Some("LimitExceededException"));
}

#[tokio::test]
async fn with_aws_the_smaller_of_the_plan_and_the_stage_answers_first() {
    for (plan, stage) in [(3, 2), (2, 3)] {
        let text = format!(
            "listen = \"127.0.0.1:0\"\n[api.default]\ncompat = \"aws-rest\"\n\
             throttle = {{ rate = \"{stage}/h\", burst = {stage} }}\n\
             [route.\"GET /one\"]\nopen = true\nrespond = {{ status = 204 }}\n"
        );
        // Of two callers, so that what all have together binds too.
        let callers = Callers::of([acme().throttle(1, plan), Written::named("umbrella").throttle(1, plan)]);
        let (gateway, _) = start(callers, &text).await;
        let mut client = client(&gateway).await;
        assert_eq!(statuses(&mut client, "acme", "/one", 2).await, [204, 204]);
        let refused = ask(&mut client, "acme", "/one").await;
        assert_eq!((refused.status, &*refused.text()), (429, r#"{"message":"Too Many Requests"}"#));
        assert_eq!(refused.header("x-amzn-errortype"), Some("TooManyRequestsException"));
    }
}

// === ledgers that do not answer ===

#[tokio::test]
async fn a_request_waits_for_the_ledger_and_goes_on_when_it_answers() {
    let (gateway, books) = start(acme().quota(1000, Period::Day), TWO_ROUTES).await;
    books.ledger.set_mood(Mood::Slow);
    let mut client = client(&gateway).await;
    client.send(get("acme", "/one")).await;
    eventually(SOON, || gateway.metric("gatepost_requests_parked_total") == 1.0).await;
    books.ledger.set_mood(Mood::Ready);
    let answer = client.response().await;
    // On a busy machine the ledger may have been too late.
    assert!([204, 503].contains(&answer.status), "{}", answer.status);
    assert_eq!(ask(&mut client, "acme", "/one").await.status, 204);
}

#[tokio::test]
async fn a_ledger_that_does_not_answer_is_503_and_never_429() {
    let (gateway, books) = start(acme().quota(1000, Period::Day), TWO_ROUTES).await;
    let mut client = client(&gateway).await;
    for mood in [Mood::Slow, Mood::Failing] {
        books.ledger.set_mood(mood);
        let refused = ask(&mut client, "acme", "/one").await;
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{mood:?}");
        assert_eq!(&*refused.text(), r#"{"message":"Service Unavailable"}"#);
    }
    assert_eq!(refusal(&gateway, "quota_unavailable").await["status"], 503);
    books.ledger.set_mood(Mood::Ready);
    assert_eq!(ask(&mut client, "acme", "/one").await.status, 204);
}

#[tokio::test]
async fn a_request_that_waits_takes_the_clients_token_once() {
    let text = TWO_ROUTES.replace(
        "[route.\"GET /one\"]",
        "[route.\"GET /one\"]\nthrottle = { rate = \"1/h\", burst = 3, by = \"client\" }",
    );
    let (gateway, books) = start(acme().quota(1000, Period::Day), &text).await;
    books.ledger.set_mood(Mood::Slow);
    let mut client = client(&gateway).await;
    assert_eq!(ask(&mut client, "acme", "/one").await.status, 503);
    books.ledger.set_mood(Mood::Ready);
    assert_eq!(statuses(&mut client, "acme", "/one", 3).await, [204, 204, 429]);
}

#[tokio::test]
async fn many_requests_wait_for_one_answer_and_hold_up_nobody_else() {
    let callers = Callers::of([acme().quota(1000, Period::Day), Written::named("umbrella")]);
    let (gateway, books) = start(callers, TWO_ROUTES).await;
    books.ledger.set_mood(Mood::Slow);
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let mut client = client(&gateway).await;
        client.send(get("acme", "/one")).await;
        waiting.push(client);
    }
    let mut other = client(&gateway).await;
    assert_eq!(statuses(&mut other, "umbrella", "/one", 20).await, [204; 20]);
    for client in &mut waiting {
        assert_eq!(client.response().await.status, 503);
    }
    books.ledger.set_mood(Mood::Ready);
    for client in &mut waiting {
        assert_eq!(ask(client, "acme", "/one").await.status, 204);
    }
}

#[tokio::test]
async fn a_signed_delivery_that_finds_no_ledger_may_come_again() {
    let directory = tempfile::TempDir::new().expect("a directory for a secret");
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "It's a Secret to Everybody").expect("a secret");
    let text = format!(
        "listen = \"127.0.0.1:0\"\n[route.\"POST /hook\"]\nopen = true\n\
         signed = {{ github = \"file:{}\", replay = \"refuse\" }}\nrespond = {{ status = 204 }}\n",
        secret.display()
    );
    let (gateway, books) = start(acme().quota(5, Period::Day), &text).await;
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"It's a Secret to Everybody");
    let tag = aws_lc_rs::hmac::sign(&key, b"hello");
    let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let head = get("acme", "/hook").replace("GET", "POST");
    let fields = format!("\r\nx-hub-signature-256: sha256={digits}\r\ncontent-length: 5\r\n\r\nhello");
    let request = head.replace("\r\n\r\n", &fields);
    let mut client = client(&gateway).await;
    books.ledger.set_mood(Mood::Slow);
    for status in [503, 503] {
        client.send(&request).await;
        assert_eq!(client.response().await.status, status);
    }
    books.ledger.set_mood(Mood::Ready);
    for status in [204, 401] {
        client.send(&request).await;
        assert_eq!(client.response().await.status, status);
    }
    gateway.stop(SOON).await;
    assert_eq!(books.usage.of("acme", "POST /hook", "2026-11-20"), [1, 3, 0]);
}

// === requests under way ===

#[tokio::test]
async fn more_than_parallel_of_one_caller_is_503_and_others_are_served() {
    let origin = Origin::start(Script::default().then_wait().then_send("HTTP/1.1 204 No\r\n\r\n")).await;
    let callers = Callers::of([acme().parallel(2).quota(3, Period::Day), Written::named("umbrella").parallel(2)]);
    let (gateway, _) = start(callers, &Setup::to(&origin).text()).await;
    let mut under_way = Vec::new();
    for _ in 0..2 {
        let mut client = client(&gateway).await;
        client.send(get("acme", "/")).await;
        under_way.push(client);
    }
    eventually(SOON, || origin.count() == 2).await;
    let mut more = client(&gateway).await;
    for _ in 0..5 {
        let refused = ask(&mut more, "acme", "/").await;
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    }
    assert_eq!(refusal(&gateway, "busy").await["verdict"], "refused");
    let mut other = client(&gateway).await;
    other.send(get("umbrella", "/")).await;
    eventually(SOON, || origin.count() == 3).await;
    origin.release();
    for client in under_way.iter_mut().chain([&mut other]) {
        assert_eq!(client.response().await.status, 204);
    }
    // What found no place took nothing of the quota.
    assert_eq!(statuses(&mut more, "acme", "/", 2).await, [204, 429]);
}

// === what was used ===

#[tokio::test]
async fn usage_is_counted_by_caller_route_and_day() {
    let callers = Callers::of([acme().quota(3, Period::Day), Written::named("umbrella")]);
    let (gateway, books) = start(callers, TWO_ROUTES).await;
    let mut client = client(&gateway).await;
    statuses(&mut client, "acme", "/one", 2).await;
    statuses(&mut client, "acme", "/other", 2).await;
    statuses(&mut client, "umbrella", "/one", 5).await;
    books.set(FRIDAY + DAY);
    statuses(&mut client, "acme", "/one", 1).await;
    let report = gateway.observer().in_force().caller("acme").expect("it is known");
    let quota = report.quota.expect("it has one");
    assert_eq!((quota.limit, quota.left, &*quota.window.to_string()), (3, Some(2), "2026-11-21"));
    gateway.stop(SOON).await;
    let used = |caller, route, day| books.usage.of(caller, route, day);
    assert_eq!(used("acme", "GET /one", "2026-11-20"), [2, 0, 0]);
    assert_eq!(used("acme", "GET /other", "2026-11-20"), [1, 1, 0]);
    assert_eq!(used("acme", "GET /one", "2026-11-21"), [1, 0, 0]);
    assert_eq!(used("umbrella", "GET /one", "2026-11-20"), [5, 0, 0]);
    let keys = books.usage.keys();
    assert_eq!(keys.iter().map(|used| used.at.0).max(), Some(FRIDAY + DAY));
}

#[tokio::test]
async fn usage_is_told_every_second_without_a_stop() {
    let (gateway, books) = start(acme(), TWO_ROUTES).await;
    let mut client = client(&gateway).await;
    statuses(&mut client, "acme", "/one", 3).await;
    eventually(SOON, || books.usage.of("acme", "GET /one", "2026-11-20") == [3, 0, 0]).await;
}

// === why ===

#[tokio::test]
async fn a_refusal_tells_its_owner_which_limit_of_which_plan_it_was() {
    let (gateway, _) = start(acme().quota(1, Period::Day).throttle(1, 5), TWO_ROUTES).await;
    let mut client = client(&gateway).await;
    ask(&mut client, "acme", "/one").await;
    let refused = ask(&mut client, "acme", "/one").await;
    let decision = gateway.decision(refused.header("x-gatepost-decision").expect("an id")).await;
    let explanation = decision.explanation.expect("it can be explained");
    let last = explanation.steps.last().expect("steps");
    assert_eq!((last.check.name(), last.passed), ("quota", false));
    assert_eq!(last.text, "plan of-acme, 1 a day: too little is left");
}
