//! Configurations that change and gateways that stop, while a connection is in use.

use std::time::Duration;

use gatepost_testkit::http2_raw::{Http2, Outcome, data, flag, frame, get, kind, post};
use gatepost_testkit::{Origin, Script, TestGateway, eventually};
use tokio::time::Instant;

use crate::http2::http2;
use crate::setup::{SOON, Setup, ending};
use gatepost_testkit::http2_raw::code::NO_ERROR;

const LONG: Duration = Duration::from_secs(30);

fn saying(status: u16) -> String {
    format!(
        "[listen.default]\naddresses = [\"127.0.0.1:0\"]\n[route.\"GET /\"]\nopen = true\nrespond = {{ status = {status} }}\n"
    )
}

/// Answers as a client does that is told that the connection will be closed: PINGs are acknowledged.
async fn acknowledge_ping(client: &mut Http2) {
    let ping = client.until(|frame| frame.kind == kind::PING && frame.flags & flag::ACK == 0).await;
    client.send(frame(kind::PING, flag::ACK, 0, ping.payload)).await;
}

#[tokio::test]
async fn the_next_request_sees_the_new_configuration() {
    let mut gateway = TestGateway::start(&saying(201)).await;
    let mut client = http2(&gateway).await;
    assert_eq!(client.get(1, "/").await, Outcome::Answered(201));
    gateway.apply(&saying(202)).await.expect("it can be served");
    assert_eq!(client.get(3, "/").await, Outcome::Answered(202));
    let closed = saying(202).replace("GET /", "GET /other");
    gateway.apply(&closed).await.expect("it can be served");
    assert_eq!(client.get(5, "/").await, Outcome::Answered(404));
}

#[tokio::test]
async fn a_removed_listener_says_goodbye_and_finishes_what_is_under_way() {
    let origin = Origin::start(Script::default().then_wait().then_echo_it()).await;
    let with = |listeners: &[&str]| {
        let tables: String =
            listeners.iter().map(|name| format!("[listen.{name}]\naddresses = [\"127.0.0.1:0\"]\n")).collect();
        format!("{tables}[route.\"$default\"]\nopen = true\nforward = {{ to = \"{}\" }}\n", origin.url())
    };
    let mut gateway = TestGateway::start(&with(&["old", "stays"])).await;
    let mut busy = Http2::connect(gateway.addresses_of("old")[0]).await;
    let mut unused = Http2::connect(gateway.addresses_of("old")[0]).await;
    let mut other = Http2::connect(gateway.addresses_of("stays")[0]).await;
    for client in [&mut busy, &mut other] {
        client.send([post(1, "/"), data(1, "first, ", false)].concat()).await;
    }
    eventually(SOON, || origin.count() == 2).await;
    gateway.apply(&with(&["stays"])).await.expect("it can be served");
    for client in [&mut busy, &mut unused] {
        let goodbye = client.until(|frame| frame.kind == kind::GOAWAY).await;
        assert_eq!(goodbye.error(), NO_ERROR);
        acknowledge_ping(client).await;
    }
    assert_eq!(unused.end(SOON).await, Some(NO_ERROR));
    origin.release();
    for client in [&mut busy, &mut other] {
        client.send(data(1, "last", true)).await;
        assert_eq!(client.answer(1).await, (Outcome::Answered(200), b"first, last".to_vec()));
    }
    assert_eq!(busy.end(SOON).await.unwrap_or(NO_ERROR), NO_ERROR);
    assert_eq!(other.get(3, "/").await, Outcome::Answered(200));
}

#[tokio::test]
async fn who_is_served_when_the_gateway_stops_is_served_to_the_end() {
    let origin = Origin::start(Script::default().then_wait().then_send("HTTP/1.1 204 No Content\r\n\r\n")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut busy = http2(&gateway).await;
    let mut idle = http2(&gateway).await;
    busy.send(get(1, "/")).await;
    eventually(SOON, || origin.count() == 1).await;
    let started = Instant::now();
    let stopping = tokio::spawn(gateway.stop(LONG));
    // Sent before the client could know, and so served.
    busy.until(|frame| frame.kind == kind::GOAWAY).await;
    busy.send(get(3, "/")).await;
    acknowledge_ping(&mut busy).await;
    // One that never acknowledges anything holds up nothing.
    assert_eq!(idle.end(SOON).await, Some(NO_ERROR));
    eventually(SOON, || origin.count() == 2).await;
    origin.release();
    let mut answered = 0;
    while let Some(frame) = busy.next().await {
        answered += usize::from(frame.kind == kind::HEADERS && frame.status() == 204);
    }
    assert_eq!(answered, 2);
    stopping.await.expect("it stops");
    assert!(started.elapsed() < LONG, "it waited although everybody was served");
}

#[tokio::test]
async fn what_is_not_over_within_the_drain_is_cut() {
    let origin = Origin::start(Script::silence()).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = http2(&gateway).await;
    client.send([get(1, "/"), get(3, "/"), post(5, "/"), data(5, "half", false)].concat()).await;
    eventually(SOON, || origin.count() == 3).await;
    gateway.stop(Duration::from_millis(500)).await;
    client.end(SOON).await;
    eventually(SOON, || origin.open() == 0).await;
}

#[tokio::test]
async fn a_client_that_goes_away_frees_every_backend() {
    let origin = Origin::start(Script::silence()).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = http2(&gateway).await;
    client.send((0..50).flat_map(|number| get(1 + 2 * number, "/")).collect::<Vec<_>>()).await;
    eventually(SOON, || origin.count() == 50).await;
    drop(client);
    eventually(SOON, || origin.open() == 0).await;
    gateway.log_until(|lines| lines.len() == 50, SOON).await;
    assert_eq!(ending(&gateway, "client").await["path"], "/");
}
