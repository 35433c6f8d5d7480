//! What is too much is refused, and never too little.

use std::time::Duration;

use gatepost_testkit::{Origin, Raw, Script, TestGateway, eventually};
use tokio::time::{Instant, sleep};

use crate::setup::{SOON, Setup, client, post, refusal};

/// Asserts that no stretch of time held more admissions than a bucket permits. Each happened somewhere between the
/// moment its request was sent and the moment its answer was read, so those that lie wholly in a stretch count.
fn assert_law(mut admitted: Vec<(Instant, Instant)>, burst: f64, per_second: f64) {
    admitted.sort_unstable();
    for (from, &(start, _)) in admitted.iter().enumerate() {
        let mut ends: Vec<Instant> = admitted[from..].iter().map(|&(_, end)| end).collect();
        ends.sort_unstable();
        for (before, end) in ends.iter().enumerate() {
            let count = before as f64 + 1.0;
            let stretch = end.duration_since(start).as_secs_f64();
            assert!(count <= burst + per_second * stretch + 1e-6, "{count} admitted within {stretch} s");
        }
    }
}

#[tokio::test]
async fn after_the_burst_it_is_429_and_says_when_to_come_back() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).route(r#"throttle = { rate = "1/m", burst = 3 }"#).start().await;
    let mut client = client(&gateway).await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.status, 200);
    }
    let response = client.get("/").await;
    assert_eq!((response.status, &*response.text()), (429, r#"{"message":"Too Many Requests"}"#));
    let retry: u64 = response.header("retry-after").expect("a time").parse().expect("whole seconds");
    assert!((50..=60).contains(&retry), "{retry}");
    assert_eq!(response.header("ratelimit-policy"), Some("\"default\";q=3;w=180"));
    assert_eq!(response.header("ratelimit"), Some(&*format!("\"default\";r=0;t={retry}")));
    assert!(!response.closes());
    assert_eq!(origin.count(), 3);
    let line = refusal(&gateway, "throttled").await;
    assert_eq!((&line["verdict"], &line["status"]), (&"refused".into(), &429.into()));
}

#[tokio::test]
async fn who_comes_back_when_told_is_served() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).route(r#"throttle = { rate = "1/s", burst = 1 }"#).start().await;
    let mut client = client(&gateway).await;
    assert_eq!(client.get("/").await.status, 200);
    let refused = client.get("/").await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    // The promise of `Retry-After` is what is tried here.
    sleep(Duration::from_secs(1)).await;
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn the_law_holds_over_many_connections_and_both_workers() {
    let origin = Origin::start(Script::ok("")).await;
    let text = Setup::to(&origin).route(r#"throttle = { rate = "50/s", burst = 20 }"#).text();
    let gateway = TestGateway::start(&(text + "\n[server]\nworkers = 2\n")).await;
    let address = gateway.address();
    let until = Instant::now() + Duration::from_secs(2);
    let clients = (0..16).map(|_| {
        tokio::spawn(async move {
            let mut client = Raw::connect(address).await;
            let mut admitted = Vec::new();
            while Instant::now() < until {
                let sent = Instant::now();
                match client.get("/").await.status {
                    200 => admitted.push((sent, Instant::now())),
                    429 => {}
                    status => panic!("{status}"),
                }
            }
            admitted
        })
    });
    let clients: Vec<_> = clients.collect();
    let mut admitted = Vec::new();
    for client in clients {
        admitted.extend(client.await.expect("no client fails"));
    }
    // And never much less: that would be a bucket that forgets what it may give.
    assert!(admitted.len() >= 80, "only {} of about 120 were admitted", admitted.len());
    assert_eq!(origin.count(), admitted.len());
    assert_law(admitted, 20.0, 50.0);
}

#[tokio::test]
async fn the_buckets_of_the_route_and_of_its_api_both_bind() {
    let gateway = TestGateway::start(
        r#"
        listen = "127.0.0.1:0"
        [api.default]
        throttle = { rate = "1/h", burst = 5 }
        [route."GET /small"]
        open = true
        throttle = { rate = "1/h", burst = 2 }
        respond = {}
        [route."GET /large"]
        open = true
        respond = {}
        [api.other]
        base = "/other"
        [api.other.route."GET /"]
        open = true
        respond = {}
        "#,
    )
    .await;
    let mut client = client(&gateway).await;
    let mut statuses = Vec::new();
    for target in ["/small", "/small", "/small", "/small", "/large", "/large", "/large", "/large", "/small", "/other"] {
        statuses.push(client.get(target).await.status);
    }
    // A refusal by the small bucket takes nothing from the API's.
    assert_eq!(statuses, [200, 200, 429, 429, 200, 200, 200, 429, 429, 200]);
}

#[tokio::test]
async fn a_request_that_is_refused_for_something_else_takes_no_token() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin)
        .entry(r#"from = ["127.0.0.1"]"#)
        .route("throttle = { rate = \"1/h\", burst = 3 }\nmax_body = \"1KiB\"\nparallel = 100")
        .start()
        .await;
    let mut stranger = Raw::connect_from([127, 0, 0, 2].into(), gateway.address()).await;
    for _ in 0..20 {
        assert_eq!(stranger.get("/").await.status, 403);
    }
    let mut client = client(&gateway).await;
    for _ in 0..5 {
        client.send(post("/", &[0; 2000])).await;
        assert_eq!(client.response().await.status, 413);
    }
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(client.get("/").await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 429]);
}

#[tokio::test]
async fn more_than_parallel_at_once_is_503_until_an_answer_has_ended() {
    let script = Script::send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe").then_wait().then_send("llo");
    let origin = Origin::start(script).await;
    let gateway = Setup::to(&origin).route("parallel = 2").start().await;
    let mut first = client(&gateway).await;
    let mut second = client(&gateway).await;
    for client in [&mut first, &mut second] {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    }
    // Their heads have been answered; the bodies have not ended.
    assert_eq!(first.response_head().await.status, 200);
    assert_eq!(second.response_head().await.status, 200);
    let mut third = client(&gateway).await;
    let refused = third.get("/").await;
    assert_eq!((refused.status, &*refused.text()), (503, r#"{"message":"Service Unavailable"}"#));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(refusal(&gateway, "busy").await["verdict"], "refused");
    assert_eq!(origin.count(), 2);

    // One goes away, one is answered: both places are free again.
    drop(second);
    eventually(SOON, || origin.open() == 1).await;
    origin.release();
    let mut rest = Vec::new();
    while rest.len() < 5 {
        rest.extend(first.read(5).await.expect("the rest"));
    }
    gateway.log_until(|lines| lines.len() == 3, SOON).await;
    assert_eq!(third.get("/").await.text(), "hello");
    assert_eq!(first.get("/").await.text(), "hello");
}

#[tokio::test]
async fn a_place_is_free_again_after_every_kind_of_end() {
    let scripts = vec![
        Script::hang_up(),
        Script::silence(),
        Script::send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n").then_close(),
        Script::ok(""),
    ];
    let origin = Origin::in_turn(scripts).await;
    let gateway = Setup::to(&origin).route("parallel = 1").forward(r#"timeout = "1s""#).start().await;
    for status in [502, 504] {
        let mut client = client(&gateway).await;
        assert_eq!(client.ask("POST / HTTP/1.1\nhost: a\ncontent-length: 0\n\n").await.status, status);
    }
    let mut cut = client(&gateway).await;
    cut.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").await;
    assert!(cut.try_response().await.is_err());
    gateway.log_until(|lines| lines.len() == 3, SOON).await;
    let mut client = client(&gateway).await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn a_request_that_finds_no_place_takes_no_token() {
    let script = Script::default().then_wait().then_send("HTTP/1.1 204 No\r\n\r\n");
    let origin = Origin::start(script).await;
    let gateway = Setup::to(&origin).route("parallel = 1\nthrottle = { rate = \"1/h\", burst = 2 }").start().await;
    let mut first = client(&gateway).await;
    first.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually(SOON, || origin.count() == 1).await;
    let mut second = client(&gateway).await;
    for _ in 0..5 {
        assert_eq!(second.get("/").await.status, 503);
    }
    origin.release();
    assert_eq!(first.response().await.status, 204);
    assert_eq!(first.get("/").await.status, 204);
    assert_eq!(first.get("/").await.status, 429);
}

#[tokio::test]
async fn a_client_that_spends_its_own_limit_leaves_the_others_theirs() {
    let origin = Origin::start(Script::ok("")).await;
    let setup = Setup::to(&origin).entry(r#"from = ["127.0.0.0/30"]"#);
    let own = |burst: u32| {
        setup.clone().route(&format!(r#"throttle = {{ rate = "1/h", burst = {burst}, by = "client" }}"#)).text()
    };
    let mut gateway = TestGateway::start(&own(2)).await;
    let mut spent = Raw::connect_from([127, 0, 0, 1].into(), gateway.address()).await;
    for status in [200, 200, 429, 429] {
        assert_eq!(spent.get("/").await.status, status);
    }
    let mut again = Raw::connect_from([127, 0, 0, 1].into(), gateway.address()).await;
    let refused = again.get("/").await;
    assert_eq!((refused.status, &*refused.text()), (429, r#"{"message":"Too Many Requests"}"#));
    let retry: u64 = refused.header("retry-after").expect("a time").parse().expect("whole seconds");
    assert!((3500..=3600).contains(&retry), "{retry}");
    assert_eq!(refused.header("ratelimit-policy"), Some("\"default\";q=2;w=7200"));

    let mut other = Raw::connect_from([127, 0, 0, 2].into(), gateway.address()).await;
    assert_eq!(other.get("/").await.status, 200);
    let mut stranger = Raw::connect_from([127, 0, 0, 9].into(), gateway.address()).await;
    for _ in 0..5 {
        assert_eq!(stranger.get("/").await.status, 403);
    }
    // A wider limit is no fresh one.
    gateway.apply(&own(3)).await.expect("it can be served");
    for (client, statuses) in [(&mut spent, [200, 429, 429]), (&mut other, [200, 200, 429])] {
        for status in statuses {
            assert_eq!(client.get("/").await.status, status);
        }
    }
}
