//! A configuration changes under clients that are being served.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gatepost_testkit::{Origin, Raw, Script, TestGateway, eventually, pattern};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::setup::{SOON, Setup, client};

fn saying(body: &str) -> String {
    format!("listen = \"127.0.0.1:0\"\n[route.\"GET /\"]\nopen = true\nrespond = {{ body = {body:?} }}\n")
}

#[tokio::test]
async fn the_next_request_on_an_open_connection_is_served_by_the_new_configuration() {
    let mut gateway = TestGateway::start(&saying("0")).await;
    let address = gateway.address();
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(client(&gateway).await);
    }
    for number in 1..10 {
        gateway.apply(&saying(&number.to_string())).await.expect("it can be served");
        for client in &mut clients {
            assert_eq!(client.get("/").await.text(), number.to_string());
        }
    }
    assert_eq!(gateway.address(), address);
    assert!((gateway.metric("gatepost_reloads_applied_total") - 9.0).abs() < f64::EPSILON, "{}", gateway.metrics());
    assert!((gateway.metric("gatepost_snapshot") - 10.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn names_that_are_gone_are_counted_for_one_more_configuration_and_then_forgotten() {
    let named = |number: usize| {
        format!(
            "[listen.default]\naddresses = [\"127.0.0.1:0\"]\n[listen.l{number}]\naddresses = [\"127.0.0.1:0\"]\n\
             [api.a{number}.route.\"GET /r{number}\"]\nopen = true\nrespond = {{}}\n"
        )
    };
    let mut gateway = TestGateway::start(&named(0)).await;
    let counted = |gateway: &TestGateway, number: usize| {
        let metrics = gateway.metrics();
        [format!("route=\"GET /r{number}\""), format!("{{api=\"a{number}\""), format!("listener=\"l{number}\"")]
            .map(|label| metrics.contains(&label))
    };
    for number in 0..100 {
        gateway.apply(&named(number)).await.expect("it can be served");
        // Threads let go of a configuration when they meet the next one.
        for _ in 0..4 {
            assert_eq!(client(&gateway).await.get(&format!("/r{number}")).await.status, 200);
        }
        let of_it = format!("gatepost_requests_total{{api=\"a{number}\",route=\"GET /r{number}\",reason=\"\"}}");
        let deadline = Instant::now() + SOON;
        while gateway.metric(&of_it) < 3.5 {
            assert!(Instant::now() < deadline, "{}", gateway.metrics());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(counted(&gateway, number), [true; 3]);
        if number > 1 {
            assert_eq!(counted(&gateway, number - 1), [true; 3]);
        }
        if number > 5 && counted(&gateway, 0) == [false; 3] && counted(&gateway, 1) == [false; 3] {
            return;
        }
    }
    panic!("nothing is forgotten:\n{}", gateway.metrics());
}

#[tokio::test]
async fn who_may_no_longer_enter_is_refused_at_the_next_request() {
    let origin = Origin::start(Script::ok("")).await;
    let setup = Setup::to(&origin);
    let mut gateway = setup.start().await;
    let mut client = client(&gateway).await;
    assert_eq!(client.get("/").await.status, 200);
    gateway.apply(&setup.clone().entry(r#"from = ["192.0.2.1"]"#).text()).await.expect("it can be served");
    assert_eq!(client.get("/").await.status, 403);
    gateway.apply(&setup.text()).await.expect("it can be served");
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(origin.accepted(), 1, "the pool lives on");
}

#[tokio::test]
async fn a_bucket_keeps_its_debt_whatever_its_law_becomes() {
    let with = |rate: &str, burst: u32| {
        format!(
            "listen = \"127.0.0.1:0\"\n[route.\"GET /\"]\nopen = true\nrespond = {{}}\n\
             throttle = {{ rate = {rate:?}, burst = {burst} }}\n"
        )
    };
    let mut gateway = TestGateway::start(&with("1/h", 4)).await;
    let mut client = client(&gateway).await;
    for _ in 0..4 {
        assert_eq!(client.get("/").await.status, 200);
    }
    for _ in 0..3 {
        gateway.apply(&with("1/h", 4)).await.expect("it can be served");
        assert_eq!(client.get("/").await.status, 429, "the same law");
    }
    gateway.apply(&with("2/h", 4)).await.expect("it can be served");
    assert_eq!(client.get("/").await.status, 429, "a faster one");
    gateway.apply(&with("1/h", 6)).await.expect("it can be served");
    let mut admitted = 0;
    while client.get("/").await.status == 200 {
        admitted += 1;
    }
    assert_eq!(admitted, 2, "a larger burst has room for what it is larger by");
    gateway.apply(&with("1/h", 2)).await.expect("it can be served");
    assert_eq!(client.get("/").await.status, 429, "a smaller one");
    // A route that goes and comes back owes what it owed.
    gateway.apply(&saying("none")).await.expect("it can be served");
    assert_eq!(client.get("/").await.status, 200);
    gateway.apply(&with("1/h", 2)).await.expect("it can be served");
    assert_eq!(client.get("/").await.status, 429);
}

#[tokio::test]
async fn places_that_are_taken_stay_taken() {
    let script = Script::default().then_wait().then_send("HTTP/1.1 204 No\r\n\r\n");
    let origin = Origin::start(script).await;
    let setup = Setup::to(&origin).route("parallel = 1");
    let mut gateway = setup.start().await;
    let mut first = client(&gateway).await;
    first.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually(SOON, || origin.count() == 1).await;
    gateway.apply(&setup.text()).await.expect("it can be served");
    let mut second = client(&gateway).await;
    assert_eq!(second.get("/").await.status, 503);
    origin.release();
    assert_eq!(first.response().await.status, 204);
    assert_eq!(second.get("/").await.status, 204);
}

#[tokio::test]
async fn an_added_listener_serves_and_a_removed_one_ends_after_the_request_under_way() {
    let script = Script::default().then_wait().then_send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlast");
    let origin = Origin::start(script).await;
    let with = |listeners: &[&str]| {
        let tables: String =
            listeners.iter().map(|name| format!("[listen.{name}]\naddresses = [\"127.0.0.1:0\"]\n")).collect();
        format!("{tables}[route.\"$default\"]\nopen = true\nforward = {{ to = \"{}\" }}\n", origin.url())
    };
    let mut gateway = TestGateway::start(&with(&["old", "stays"])).await;
    let old = gateway.addresses_of("old")[0];
    let stays = gateway.addresses_of("stays")[0];
    let mut idle = Raw::connect(old).await;
    let mut silent = Raw::connect(old).await;
    let mut busy = Raw::connect(old).await;
    let mut other = Raw::connect(stays).await;
    for client in [&mut busy, &mut other] {
        client.send("GET /busy HTTP/1.1\r\nhost: a\r\n\r\n").await;
    }
    eventually(SOON, || origin.count() == 2).await;
    origin.release();
    assert_eq!(idle.get("/").await.status, 200);
    assert_eq!(busy.response().await.status, 200);
    assert_eq!(other.response().await.status, 200);
    origin.hold_back();
    for client in [&mut busy, &mut other] {
        client.send("GET /busy HTTP/1.1\r\nhost: a\r\n\r\n").await;
    }
    eventually(SOON, || origin.count() == 5).await;

    gateway.apply(&with(&["stays", "new"])).await.expect("it can be served");
    idle.expect_close(SOON).await;
    silent.expect_close(SOON).await;
    let mut refused = false;
    for _ in 0..100 {
        refused = tokio::net::TcpStream::connect(old).await.is_err();
        if refused {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(refused, "a removed listener still accepts");
    assert_eq!(gateway.addresses_of("stays")[0], stays);
    let mut new = Raw::connect(gateway.addresses_of("new")[0]).await;

    origin.release();
    assert_eq!(busy.response().await.text(), "last");
    busy.expect_close(SOON).await;
    let response = other.response().await;
    assert_eq!((response.status, response.closes()), (200, false));
    assert_eq!(other.get("/").await.status, 200);
    assert_eq!(new.get("/").await.status, 200);
}

#[tokio::test]
async fn an_open_download_survives_twenty_configurations() {
    let script = Script::send("HTTP/1.1 200 OK\r\ncontent-length: 4000000\r\n\r\n");
    let script = script.then_flood(2_510_000).then_wait().then_flood(1_490_000);
    let origin = Origin::start(script).await;
    let setup = Setup::to(&origin);
    let mut gateway = setup.start().await;
    let mut client = client(&gateway).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.response_head().await.status, 200);
    let mut got = Vec::new();
    for round in 0..20 {
        // Even one in which its route and its upstream are gone.
        let text = if round % 2 == 0 { saying("elsewhere") } else { setup.text() };
        gateway.apply(&text).await.expect("it can be served");
        got.extend(client.read(65_536).await.expect("the download goes on"));
    }
    origin.release();
    while got.len() < 4_000_000 {
        let piece = client.read(1 << 20).await.expect("the download goes on");
        assert!(!piece.is_empty(), "cut after {}", got.len());
        got.extend(piece);
    }
    let mut expected = pattern(2_510_000);
    expected.extend(pattern(1_490_000));
    assert!(got == expected);
    assert_eq!(origin.accepted(), 1);
}

#[tokio::test]
async fn no_request_fails_while_configurations_change() {
    let origin = Origin::start(Script::echo()).await;
    let setup = Setup::to(&origin);
    let mut gateway = setup.start().await;
    let address = gateway.address();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let stopped = stopped.clone();
            tokio::spawn(async move {
                let mut count = 0;
                while !*stopped.borrow() {
                    let mut client = Raw::connect(address).await;
                    for _ in 0..5 {
                        assert_eq!(client.get("/").await.status, 200);
                        count += 1;
                    }
                }
                count
            })
        })
        .collect();
    for round in 0..30 {
        let text = setup.clone().route(&format!("max_body = \"{}KiB\"", round + 1)).text();
        gateway.apply(&text).await.expect("it can be served");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.send_replace(true);
    let mut total = 0;
    for client in clients {
        total += client.await.expect("no request fails");
    }
    assert!(total > 0);
}

#[tokio::test]
async fn a_configuration_whose_address_is_taken_changes_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = (taken.local_addr().expect("an address"), taken);
    let mut gateway = TestGateway::start(&saying("before")).await;
    let mut client = client(&gateway).await;
    let text = format!(
        "[listen.default]\naddresses = [\"127.0.0.1:0\"]\n[listen.fresh]\naddresses = [\"127.0.0.1:0\"]\n\
         [listen.taken]\naddresses = [\"{}\"]\n[route.\"GET /\"]\nopen = true\nrespond = {{ body = \"after\" }}\n",
        taken.0
    );
    let refused = gateway.apply(&text).await.expect_err("it cannot be listened on");
    assert!(refused.to_string().contains(&taken.0.to_string()), "{refused}");
    assert_eq!(client.get("/").await.text(), "before");
    assert!((gateway.metric("gatepost_reloads_refused_total") - 1.0).abs() < f64::EPSILON);
    assert_eq!(gateway.addresses_of("default").len(), 1);
}

#[tokio::test]
async fn a_request_under_way_is_served_by_what_it_was_admitted_under() {
    let script = Script::default().then_wait().then_echo_it();
    let origin = Origin::start(script).await;
    let setup = Setup::to(&origin);
    let mut gateway = setup.start().await;
    let mut client = client(&gateway).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nabc").await;
    eventually(SOON, || origin.requests().last().is_some_and(|request| request.body == b"abc")).await;
    let stricter = setup.entry(r#"from = ["192.0.2.1"]"#).route(r#"max_body = "1B""#);
    gateway.apply(&stricter.text()).await.expect("it can be served");
    client.send("def").await;
    origin.release();
    assert_eq!(client.response().await.text(), "abcdef");
    assert_eq!(client.get("/").await.status, 403);
}

#[tokio::test]
async fn limits_change_for_the_next_connection() {
    let with = |limits: &str| {
        saying("x").replace("listen = \"127.0.0.1:0\"", "[listen.default]\naddresses = [\"127.0.0.1:0\"]").replacen(
            "[route",
            &format!("limits = {{ {limits} }}\n[route"),
            1,
        )
    };
    let mut gateway = TestGateway::start(&with("headers = 50")).await;
    let address = gateway.address();
    let many: String = (0..20).map(|number| format!("x-{number}: 1\n")).collect();
    let ask = format!("GET / HTTP/1.1\nhost: a\n{many}\n");
    let mut before = client(&gateway).await;
    assert_eq!(before.ask(&ask).await.status, 200);
    gateway.apply(&with("headers = 10")).await.expect("it can be served");
    assert_eq!(gateway.address(), address, "a changed property binds nothing anew");
    assert_eq!(client(&gateway).await.ask(&ask).await.status, 431);
    assert_eq!(before.ask("GET / HTTP/1.1\nhost: a\n\n").await.status, 200, "who is connected stays");
}

#[tokio::test]
async fn every_port_of_a_listener_serves_and_is_closed_with_it() {
    let with = |listeners: &[(&str, &str)]| {
        let tables: String =
            listeners.iter().map(|(name, list)| format!("[listen.{name}]\naddresses = [{list}]\n")).collect();
        format!("{tables}[route.\"GET /\"]\nopen = true\nrespond = {{ body = \"here\" }}\n")
    };
    let stays = ("stays", r#""127.0.0.1:0""#);
    let pair = ("pair", r#""127.0.0.1:0", "127.0.0.1:0""#);
    let mut gateway = TestGateway::start(&with(&[stays, pair])).await;
    let addresses = gateway.addresses_of("pair");
    assert!(matches!(addresses[..], [first, second] if first != second), "{addresses:?}");
    for &address in &addresses {
        assert_eq!(Raw::connect(address).await.get("/").await.text(), "here", "{address}");
    }
    gateway.apply(&with(&[pair, stays])).await.expect("it can be served");
    assert_eq!(gateway.addresses_of("pair"), addresses, "the same ports as before");

    gateway.apply(&with(&[stays])).await.expect("it can be served");
    for address in addresses {
        until_refused(address).await;
    }
    assert_eq!(Raw::connect(gateway.addresses_of("stays")[0]).await.get("/").await.text(), "here");
}

#[tokio::test]
async fn a_client_that_connects_while_its_listener_is_removed_is_answered() {
    const ROUNDS: usize = 40;
    const BUSY: usize = 24;
    let with = |listeners: &[&str]| {
        let tables: String =
            listeners.iter().map(|name| format!("[listen.{name}]\naddresses = [\"127.0.0.1:0\"]\n")).collect();
        format!("{tables}[route.\"GET /\"]\nopen = true\nrespond = {{ body = \"here\" }}\n")
    };
    let mut gateway = TestGateway::start(&with(&["stays"])).await;
    let mut outcomes = HashMap::new();
    for _ in 0..ROUNDS {
        gateway.apply(&with(&["stays", "goes"])).await.expect("it can be served");
        let address = gateway.addresses_of("goes")[0];
        // Closed by one worker before the other, so that the other finds that one less busy, and it hands over.
        let mut idle = Vec::new();
        for _ in 0..24 {
            let mut client = Raw::connect(address).await;
            assert_eq!(client.get("/").await.status, 200);
            idle.push(client);
        }
        let count = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for _ in 0..BUSY {
            let count = Arc::clone(&count);
            clients.spawn(async move {
                let mut seen = Vec::new();
                loop {
                    let begun = Instant::now();
                    // Until nobody listens any more.
                    let Ok(mut client) = Raw::try_connect(address).await else { break };
                    let outcome = ask_after_a_moment(&mut client).await.map_err(|error| error.kind());
                    // Whoever says nothing for a quarter of a second may be closed; a busy machine is no failure.
                    if begun.elapsed() < Duration::from_millis(200) {
                        seen.push(outcome);
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
                seen
            });
        }
        eventually(SOON, || count.load(Ordering::Relaxed) > 50).await;
        gateway.apply(&with(&["stays"])).await.expect("it can be served");
        while let Some(seen) = clients.join_next().await {
            for outcome in seen.expect("no panic") {
                *outcomes.entry(outcome).or_insert(0) += 1;
            }
        }
    }
    // The kernel resets who comes in the few microseconds between the last look at what it holds and the close.
    outcomes.remove(&Err(ErrorKind::ConnectionReset));
    assert!(outcomes.keys().all(|outcome| matches!(outcome, Ok(200 | 503))), "{outcomes:?}");
}

/// Asks on a new connection; the status, or 0 if it is closed before. Waits first: a connection that is dropped then
/// ends, where one with a request in it would be reset, as the kernel does to those that nobody has accepted.
async fn ask_after_a_moment(client: &mut Raw) -> io::Result<u16> {
    if let Ok(ended) = timeout(Duration::from_millis(1), client.read(1)).await {
        return ended.map(|_| 0);
    }
    client.try_send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await?;
    client.try_response().await.map(|response| response.status)
}

/// Waits until nobody listens there any more.
async fn until_refused(address: SocketAddr) {
    let end = Instant::now() + SOON;
    while Raw::try_connect(address).await.is_ok() {
        assert!(Instant::now() < end, "{address} still accepts");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
