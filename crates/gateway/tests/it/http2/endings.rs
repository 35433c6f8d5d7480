//! Configurations that change and gateways that stop, while a connection is in use.

use std::time::Duration;

use gatepost_testkit::http2_raw::{Http2, Outcome, data, flag, frame, get, kind, post, setting, window_update};
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
    client.send(acknowledged(ping.payload)).await;
}

fn acknowledged(ping: impl AsRef<[u8]>) -> Vec<u8> {
    frame(kind::PING, flag::ACK, 0, ping)
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

#[tokio::test]
async fn a_client_that_reads_slowly_has_all_of_an_answer_that_outlasts_the_farewell() {
    const TOTAL: usize = 100_000;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {TOTAL}\r\n\r\n");
    let origin = Origin::start(Script::send(head).then_flood(TOTAL)).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = http2(&gateway).await;
    client.send(get(1, "/")).await;
    let mut got = 0;
    while got < 65_535 {
        got += client.until(|frame| frame.kind == kind::DATA).await.payload.len();
    }
    let stopping = tokio::spawn(gateway.stop(LONG));
    acknowledge_ping(&mut client).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    while got < TOTAL {
        // Once all of it is on its way the gateway need not listen any more.
        let _ = client.try_send([window_update(0, 10_000), window_update(1, 10_000)].concat()).await;
        let frame = client.next().await.expect("the answer goes on");
        got += if frame.kind == kind::DATA { frame.payload.len() } else { 0 };
        tokio::time::sleep(Duration::from_millis(800)).await;
    }
    drop(client);
    stopping.await.expect("it stops");
}

#[tokio::test]
async fn a_client_has_time_to_make_room_for_an_answer_that_comes_long_after_the_goodbye() {
    let late = Script::default().then_wait().then_send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate");
    let origin = Origin::start(late).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = Http2::connect_with(gateway.address(), &[(setting::INITIAL_WINDOW_SIZE, 1)]).await;
    client.send(get(1, "/")).await;
    eventually(SOON, || origin.count() == 1).await;
    let stopping = tokio::spawn(gateway.stop(LONG));
    acknowledge_ping(&mut client).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    origin.release();
    assert_eq!(client.until(|frame| frame.kind == kind::DATA).await.payload, b"l");
    tokio::time::sleep(Duration::from_millis(500)).await;
    client.send(window_update(1, 10)).await;
    assert_eq!(client.until(|frame| frame.kind == kind::DATA).await.payload, b"ate");
    drop(client);
    stopping.await.expect("it stops");
}

#[tokio::test]
async fn a_client_whose_socket_is_slow_has_all_of_its_answer_although_the_gateway_stops() {
    const TOTAL: usize = 200_000;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {TOTAL}\r\n\r\n");
    let origin = Origin::start(Script::send(head).then_flood(TOTAL)).await;
    let gateway = Setup::to(&origin).start().await;
    let values = [(setting::INITIAL_WINDOW_SIZE, 1 << 20)];
    let mut client = Http2::connect_narrow(gateway.address(), 4096, &values).await;
    client.send([window_update(0, 1 << 20), get(1, "/")].concat()).await;
    eventually(SOON, || origin.count() == 1).await;
    let stopping = tokio::spawn(gateway.stop(LONG));
    let (mut got, mut since_told) = (0, 0);
    while got < TOTAL {
        let frame = client.next().await.expect("the answer goes on");
        match frame.kind {
            kind::PING if frame.flags & flag::ACK == 0 => client.send(acknowledged(frame.payload)).await,
            kind::DATA => {
                got += frame.payload.len();
                since_told += frame.payload.len();
                if since_told >= 20_000 {
                    tokio::time::sleep(Duration::from_millis(400)).await;
                    let _ = client.try_send(window_update(0, 20_000)).await;
                    since_told = 0;
                }
            }
            _ => {}
        }
    }
    drop(client);
    stopping.await.expect("it stops");
}
