//! Bodies of any size: nothing of them goes on before all of it is verified, and what waits is bounded.

use std::time::Duration;

use gatepost_testkit::{Origin, Raw, Script, eventually, pattern};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::setup::{SOON, refusal};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// As GitHub sends at most.
const LARGE: usize = 25 * MIB;

#[tokio::test]
async fn twenty_five_mebibytes_arrive_as_they_were_signed() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let gateway = start(&origin, GITHUB).await;
    let body = pattern(LARGE);
    let fields = by_github(SECRET, &body);
    for request in [plain(&fields, &body), chunked(&fields, &body)] {
        assert_eq!(send(&gateway, request).await.status, 200);
        let received = origin.last();
        assert!(received.complete && received.body == body, "other bytes");
        assert_eq!(received.header("content-length"), Some("26214400"));
    }
    assert_eq!(send_http2(&gateway, &fields, &body).await.0, 200);
    assert!(origin.last().body == body, "other bytes");
    assert_eq!((kept(&gateway, "memory"), kept(&gateway, "disk")), (0.0, 0.0));
}

#[tokio::test]
async fn one_bit_of_twenty_five_mebibytes_is_enough_to_keep_all_of_it_from_the_backend() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let gateway = start(&origin, GITHUB).await;
    let mut body = pattern(LARGE);
    let fields = by_github(SECRET, &body);
    for place in [0, LARGE / 2, LARGE - 1] {
        body[place] ^= 1;
        let mut client = Raw::connect(gateway.address()).await;
        let response = client.send_while_reading(plain(&fields, &body)).await;
        assert_eq!((response.status, response.closes()), (401, false), "byte {place}");
        // All of it was read, so the connection serves on.
        assert_eq!(client.send_while_reading(plain(&fields, b"short")).await.status, 401);
        body[place] ^= 1;
    }
    body[LARGE - 1] ^= 0x80;
    assert_eq!(send(&gateway, chunked(&fields, &body)).await.status, 401);
    assert_eq!(send_http2(&gateway, &fields, &body).await.0, 401);
    assert_eq!((origin.accepted(), origin.bytes_read()), (0, 0));
    assert_eq!((kept(&gateway, "memory"), kept(&gateway, "disk")), (0.0, 0.0));
}

#[tokio::test]
async fn a_backend_that_takes_its_time_gets_all_of_it_piece_by_piece() {
    let origin = Origin::start(Script::default().at_once().then_wait_unread().then_echo_it()).await;
    let gateway = start(&origin, GITHUB).await;
    let body = pattern(8 * MIB);
    let request = plain(&by_github(SECRET, &body), &body);
    let mut client = Raw::connect(gateway.address()).await;
    let asking = async {
        client.send(request).await;
        client.response().await
    };
    let releasing = async {
        eventually(SOON, || origin.count() == 1).await;
        assert_eq!(kept(&gateway, "disk"), (8 * MIB) as f64);
        assert!(kept(&gateway, "memory") <= (256 * KIB) as f64);
        origin.release();
    };
    let (response, ()) = tokio::join!(asking, releasing);
    assert!(response.status == 200 && response.body == body);
    eventually(SOON, || kept(&gateway, "disk") + kept(&gateway, "memory") == 0.0).await;
}

#[tokio::test]
async fn a_body_that_becomes_too_long_or_does_not_come_is_refused_before_the_backend_hears_of_it() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let text = configuration(&origin, GITHUB).replace("26MiB", "1KiB");
    let text = text.replace("addresses = [", "limits = { body_timeout = \"1s\" }\naddresses = [");
    let gateway = TestGateway::start(&text).await;
    let body = pattern(KIB + 1);
    let fields = by_github(SECRET, &body);
    assert_eq!(send(&gateway, plain(&fields, &body)).await.status, 413);
    assert_eq!(send(&gateway, chunked(&fields, &body)).await.status, 413);

    let mut client = Raw::connect(gateway.address()).await;
    client.send(format!("{}content-length: 1000\r\n\r\nabc", head(&fields))).await;
    assert_eq!(client.response().await.status, 408);
    refusal(&gateway, "body_stalled").await;

    let mut client = Raw::connect(gateway.address()).await;
    client.send(format!("{}transfer-encoding: chunked\r\n\r\nzz\r\n", head(&fields))).await;
    assert_eq!(client.response().await.status, 400);
    assert_eq!(origin.accepted(), 0);
    assert_eq!(kept(&gateway, "memory"), 0.0);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let gateway = start(&origin, GITHUB).await;
    let body = pattern(8 * MIB);
    let mut client = Raw::connect(gateway.address()).await;
    let request = plain(&by_github(SECRET, &body), &body);
    client.send(&request[..4 * MIB]).await;
    eventually(SOON, || kept(&gateway, "disk") > 0.0).await;
    drop(client);
    eventually(SOON, || kept(&gateway, "disk") + kept(&gateway, "memory") == 0.0).await;
    assert_eq!(origin.accepted(), 0);
}

/// A backend that accepts connections, sends what it is told to, and reads nothing.
async fn deaf_backend(answer: &'static [u8]) -> (String, mpsc::Receiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (accepted, sockets) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            // Answers are to requests.
            socket.peek(&mut [0]).await.expect("a request");
            socket.write_all(answer).await.expect("room for an answer");
            if accepted.send(socket).await.is_err() {
                return;
            }
        }
    });
    (url, sockets)
}

/// Whether the gateway has let go of it.
async fn is_let_go(mut socket: TcpStream) -> bool {
    let mut bytes = vec![0; MIB];
    let read_all = async { while socket.read(&mut bytes).await.is_ok_and(|length| length > 0) {} };
    timeout(SOON, read_all).await.is_ok()
}

#[tokio::test]
async fn a_backend_that_takes_nothing_holds_neither_bodies_nor_connections_when_the_exchange_is_over() {
    let body = pattern(20 * MIB);
    let request = plain(&by_github(SECRET, &body), &body);
    for (answer, status) in [
        (&b""[..], Some(504)),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", Some(200)),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", Some(200)),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", Some(200)),
        // The client goes away.
        (b"", None),
    ] {
        let (url, mut sockets) = deaf_backend(answer).await;
        let secrets = Box::leak(Box::new(Secrets::new()));
        let timeout = if status.is_some() { "1s" } else { "off" };
        let setup = Setup::to_urls(&[url]).entry(&secrets.named_in(GITHUB)).route("max_body = \"26MiB\"");
        let gateway = TestGateway::start(&setup.forward(&format!("timeout = \"{timeout}\"")).text()).await;
        let mut client = Raw::connect(gateway.address()).await;
        client.send(&request).await;
        let socket = sockets.recv().await.expect("a connection");
        match status {
            Some(status) => assert_eq!(client.response_head().await.status, status),
            None => drop(client),
        }
        eventually(SOON * 2, || kept(&gateway, "disk") + kept(&gateway, "memory") == 0.0).await;
        assert!(is_let_go(socket).await, "{status:?} {answer:?}");
    }
}

#[tokio::test]
async fn nothing_that_is_not_signed_follows_a_signed_request_by_way_of_an_upgrade() {
    let switching = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let origin = Origin::start(Script::send(switching)).await;
    let gateway = start(&origin, GITHUB).await;
    let mut fields = by_github(SECRET, b"");
    fields.extend([("connection", "upgrade".to_owned()), ("upgrade", "websocket".to_owned())]);
    assert_eq!(send(&gateway, plain(&fields, b"")).await.status, 502);
    assert_eq!(origin.last().header("upgrade"), None);
}

#[tokio::test]
async fn an_empty_body_in_chunks_goes_on_with_its_length() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let gateway = start(&origin, GITHUB).await;
    assert_eq!(send(&gateway, chunked(&by_github(SECRET, b""), b"")).await.status, 200);
    assert_eq!(origin.last().header("content-length"), Some("0"));
}

#[tokio::test]
async fn when_memory_is_used_up_others_are_503_until_there_is_some_again() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let budgets = Budgets { memory: 4 * KIB as u64, disk: 1 << 30 };
    let gateway = start_within(&origin, GITHUB, budgets).await;
    let body = pattern(128 * KIB);
    let fields = by_github(SECRET, &body);
    // One with all of the memory, that does not come to its end.
    let mut first = Raw::connect(gateway.address()).await;
    first.send(&plain(&fields, &body)[..100 * KIB]).await;
    eventually(SOON, || kept(&gateway, "memory") == (4 * KIB) as f64).await;

    let response = send(&gateway, plain(&by_github(SECRET, b"short"), b"short")).await;
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")));
    assert_eq!(response.text(), r#"{"message":"Service Unavailable"}"#);
    let line = refusal(&gateway, "spool_full").await;
    assert_eq!(line["detail"], "bodies that wait for their verdict take all the memory that they may");
    assert_eq!(origin.accepted(), 0);

    drop(first);
    eventually(SOON, || kept(&gateway, "memory") == 0.0).await;
    assert_eq!(send(&gateway, plain(&fields, &body)).await.status, 200);
    assert!(origin.last().body == body);
}

#[tokio::test]
async fn when_the_disk_is_used_up_long_bodies_are_503_and_short_ones_are_served() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let budgets = Budgets { memory: MIB as u64, disk: MIB as u64 };
    let gateway = start_within(&origin, GITHUB, budgets).await;
    let long = pattern(2 * MIB);
    assert_eq!(send(&gateway, plain(&by_github(SECRET, &long), &long)).await.status, 503);
    refusal(&gateway, "spool_full").await;
    let fits = pattern(MIB);
    assert_eq!(send(&gateway, plain(&by_github(SECRET, &fits), &fits)).await.status, 200);
    assert_eq!(send(&gateway, plain(&by_github(SECRET, b"short"), b"short")).await.status, 200);
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn the_timeout_of_the_route_begins_when_the_body_is_there() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let text = configuration(&origin, GITHUB).replace("to = \"app\"", "to = \"app\", timeout = \"500ms\"");
    let gateway = TestGateway::start(&text).await;
    let body = pattern(10);
    let mut client = Raw::connect(gateway.address()).await;
    client.send_slowly(plain(&by_github(SECRET, &body), &body), 100, Duration::from_millis(400)).await.unwrap();
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test]
async fn many_large_bodies_at_once_keep_to_the_memory_that_they_may_take() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let budgets = Budgets { memory: 2 * MIB as u64, disk: 1 << 30 };
    let gateway = start_within(&origin, GITHUB, budgets).await;
    let body = pattern(2 * MIB);
    let request = plain(&by_github(SECRET, &body), &body);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (address, request) = (gateway.address(), request.clone());
        clients.spawn(async move { Raw::connect(address).await.send_while_reading(request).await.status });
    }
    let mut most: f64 = 0.0;
    while let Some(status) = clients.join_next().await {
        most = most.max(kept(&gateway, "memory"));
        assert_eq!(status.unwrap(), 200);
    }
    assert!(most <= (2 * MIB) as f64);
    assert!(origin.requests().iter().all(|request| request.body == body));
}
