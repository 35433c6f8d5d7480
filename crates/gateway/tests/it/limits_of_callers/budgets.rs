//! Budgets: requests and bytes that cost money, and a hard stop when it is gone.

use std::io::ErrorKind;

use gatepost_meter::Mood;
use gatepost_testkit::{Origin, Script};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::limited::key_of;
use crate::setup::ending;

/// A route that answers with so many bytes.
fn answers(bytes: usize) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n{}", "x".repeat(bytes))
}

#[tokio::test]
async fn a_budget_by_requests_stops_them_until_the_next_day() {
    let (gateway, books) = start(acme().budget(10, 4, 0), TWO_ROUTES).await;
    let mut client = client(&gateway).await;
    assert_eq!(statuses(&mut client, "acme", "/one", 2).await, [204, 204]);
    let refused = ask(&mut client, "acme", "/one").await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("36000")));
    let line = refusal(&gateway, "budget_spent").await;
    assert_eq!(line["detail"], "the budget of its caller");
    books.set(FRIDAY + DAY);
    assert_eq!(statuses(&mut client, "acme", "/one", 3).await, [204, 204, 429]);
}

#[tokio::test]
async fn the_budget_of_a_route_is_for_everyone_and_for_strangers_too() {
    let callers = Callers::of([acme(), Written::named("umbrella")]).route_budget(3, 1, 0).open("GET /other");
    let (gateway, _) = start(callers, TWO_ROUTES).await;
    let mut client = client(&gateway).await;
    assert_eq!(statuses(&mut client, "acme", "/one", 2).await, [204, 204]);
    assert_eq!(statuses(&mut client, "umbrella", "/one", 2).await, [204, 429]);
    for status in [204, 204, 204, 429] {
        assert_eq!(client.get("/other").await.status, status);
    }
}

#[tokio::test]
async fn answers_cost_what_was_sent_of_them_and_no_more() {
    let origin = Origin::start(Script::send(answers(1000))).await;
    // A billionth a byte.
    let (gateway, books) = start(acme().budget(1_000_000, 0, 1_000_000_000), &Setup::to(&origin).text()).await;
    let mut client = client(&gateway).await;
    assert_eq!(statuses(&mut client, "acme", "/", 7).await, [200; 7]);
    // Refusals cost nothing.
    assert_eq!(client.get("/").await.status, 401);
    gateway.stop(SOON).await;
    let window = gatepost_meter::Period::Day.at(books.now());
    assert_eq!(books.ledger.granted("caller/acme/budget", window), 7000);
    assert_eq!(books.usage.of("acme", "$default", "2026-11-20"), [7, 0, 7000]);
}

#[tokio::test]
async fn a_download_is_cut_when_the_budget_is_gone_and_not_before() {
    const LIMIT: usize = 300_000;
    let origin = Origin::start(Script::send(answers(1_000_000))).await;
    let (gateway, _) = start(acme().budget(LIMIT as u64, 0, 1_000_000_000), &Setup::to(&origin).text()).await;
    let mut download = client(&gateway).await;
    download.send(get("acme", "/")).await;
    assert_eq!(download.response_head().await.status, 200);
    let sent = download.read_to_end().await.len();
    // What is read at a time is paid as a whole.
    assert!(sent <= LIMIT && sent > LIMIT - 3 * 64 * 1024, "{sent} of {LIMIT}");
    let line = ending(&gateway, "budget").await;
    assert_eq!((&line["status"], &line["bytes_out"]), (&200.into(), &sent.into()));
}

#[tokio::test]
async fn a_budget_that_bytes_have_spent_refuses_before_anything_is_asked_of_a_backend() {
    let of_route = Callers::from(acme()).route_budget(250, 0, 1_000_000_000);
    for callers in [Callers::from(acme().budget(250, 0, 1_000_000_000)), of_route] {
        let origin = Origin::start(Script::send(answers(100))).await;
        let (gateway, books) = start(callers, &Setup::to(&origin).text()).await;
        let mut client = self::client(&gateway).await;
        assert_eq!(statuses(&mut client, "acme", "/", 2).await, [200, 200]);
        client.send(get("acme", "/")).await;
        assert_eq!(client.response_head().await.status, 200);
        assert_eq!(client.read_to_end().await.len(), 50, "what is left is sent");
        let mut client = self::client(&gateway).await;
        for _ in 0..2 {
            let refused = ask(&mut client, "acme", "/").await;
            assert_eq!((refused.status, refused.header("retry-after")), (429, Some("36000")));
        }
        refusal(&gateway, "budget_spent").await;
        assert_eq!(origin.count(), 3);
        books.set(FRIDAY + DAY);
        assert_eq!(statuses(&mut client, "acme", "/", 2).await, [200, 200]);
    }
}

#[tokio::test]
async fn a_budget_that_comes_back_smaller_bounds_what_is_still_under_way() {
    let of_caller = |limit| Callers::from(acme().budget(limit, 0, 1_000_000_000));
    let of_route = |limit| Callers::from(acme()).route_budget(limit, 0, 1_000_000_000);
    let wide_and_narrow = [of_caller, of_route].map(|of| (of(800_000), of(300_000)));
    for (wide, narrow) in wide_and_narrow {
        let (first, rest) = (answers(1_000_000), "x".repeat(900_000));
        let first = &first[..first.len() - rest.len()];
        let origin = Origin::start(Script::send(first).then_wait().then_send(rest)).await;
        let text = Setup::to(&origin).text();
        let (mut gateway, _) = start(wide, &text).await;
        let mut download = client(&gateway).await;
        download.send(get("acme", "/")).await;
        assert_eq!(download.response_head().await.status, 200);
        let mut sent = 0;
        while sent < 100_000 {
            sent += download.read(100_000 - sent).await.expect("it is paid for").len();
        }
        Callers::from(acme()).apply(&mut gateway, &text).await;
        narrow.apply(&mut gateway, &text).await;
        origin.release();
        sent += download.read_to_end().await.len();
        assert!(sent <= 300_000, "{sent}");
    }
}

#[tokio::test]
async fn a_download_waits_for_the_ledger_and_is_cut_if_that_does_not_come_back() {
    let origin = Origin::start(Script::send(answers(8_000_000))).await;
    let text = Setup::to(&origin).text();
    let (gateway, books) = start(acme().budget(1_000_000_000, 0, 1_000_000_000), &text).await;
    let mut download = client(&gateway).await;
    download.send(get("acme", "/")).await;
    assert_eq!(download.response_head().await.status, 200);
    books.ledger.set_mood(Mood::Slow);
    let sent = download.read_to_end().await.len();
    if sent < 8_000_000 {
        ending(&gateway, "budget").await;
    }
    books.ledger.set_mood(Mood::Ready);
    let mut again = client(&gateway).await;
    assert_eq!(ask(&mut again, "acme", "/").await.status, 200);
}

#[tokio::test]
async fn an_http_2_download_is_cut_at_its_stream() {
    const LIMIT: usize = 300_000;
    let origin = Origin::start(Script::send(answers(1_000_000))).await;
    let (gateway, _) = start(acme().budget(LIMIT as u64, 0, 1_000_000_000), &Setup::to(&origin).text()).await;
    let stream = TcpStream::connect(gateway.address()).await.expect("somebody listens");
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, driver) = handshake.expect("somebody speaks HTTP/2");
    tokio::spawn(driver);
    let request = http::Request::get("http://gateway.test/").header("x-api-key", key_of("acme"));
    let request = request.body(Empty::<bytes::Bytes>::new()).expect("a request");
    let mut body = sender.send_request(request).await.expect("an answer").into_body();
    let mut came = 0;
    let cut = loop {
        match body.frame().await {
            Some(Ok(frame)) => came += frame.into_data().map_or(0, |data| data.len()),
            Some(Err(_)) => break true,
            None => break false,
        }
    };
    assert!(cut && came <= LIMIT, "{came} of {LIMIT}");
    assert!(ending(&gateway, "budget").await["bytes_out"].as_u64().expect("a number") > 200_000);
}

#[tokio::test]
async fn answers_of_the_gateway_itself_cost_as_much() {
    let text = format!(
        "listen = \"127.0.0.1:0\"\n[route.\"GET /one\"]\nopen = true\nrespond = {{ body = \"{}\" }}\n",
        "x".repeat(100)
    );
    let (gateway, _) = start(acme().budget(250, 0, 1_000_000_000), &text).await;
    let mut client = client(&gateway).await;
    for _ in 0..2 {
        assert_eq!(ask(&mut client, "acme", "/one").await.text().len(), 100);
    }
    client.send(get("acme", "/one")).await;
    assert!(client.try_response().await.is_err(), "it was not paid for");
    ending(&gateway, "budget").await;
}

#[tokio::test]
async fn what_a_websocket_says_costs_until_the_budget_is_gone() {
    let backend = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", backend.local_addr().expect("an address"));
    tokio::spawn(async move {
        let (mut stream, _) = backend.accept().await.expect("the gateway");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a head"));
        }
        let agreed = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
        stream.write_all(agreed.as_bytes()).await.expect("the gateway reads");
        while let Ok(byte) = stream.read_u8().await {
            if stream.write_all(&[byte; 100]).await.is_err() {
                return;
            }
        }
    });
    let (gateway, books) = start(acme().budget(250, 0, 1_000_000_000), &Setup::to_urls(&[url]).text()).await;
    let mut client = client(&gateway).await;
    let fields = "\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    client.send(get("acme", "/").replace("\r\n\r\n", fields)).await;
    client.read_until("\r\n\r\n").await;
    for _ in 0..2 {
        client.send("x").await;
        let mut came = 0;
        while came < 100 {
            came += client.read(100 - came).await.expect("it is paid for").len();
        }
    }
    client.send("x").await;
    // What is left is told, and no more.
    let mut came = 0;
    loop {
        match client.read(100).await {
            Ok(rest) if rest.is_empty() => break,
            Ok(rest) => came += rest.len(),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                break;
            }
        }
    }
    assert_eq!(came, 50);
    assert_eq!(ending(&gateway, "budget").await["bytes_out"], 250);
    gateway.stop(SOON).await;
    let window = gatepost_meter::Period::Day.at(books.now());
    assert_eq!(books.ledger.granted("caller/acme/budget", window), 250);
}
