//! Bodies pass through; they are never gathered.

use std::time::Duration;

use gatepost_testkit::{Origin, Raw, Script, eventually, pattern};
use tokio::time::sleep;

use crate::setup::{SOON, Setup, client, post, post_chunked};

const MIB: u64 = 1024 * 1024;

/// What lies between a writer and a reader that does not read, at most: the buffers of four sockets, which the kernel
/// lets grow to some MiB each, and ours, which are small.
const BETWEEN: u64 = 80 * MIB;

/// Waits until `count` grows no more.
async fn settled(count: impl Fn() -> u64) -> u64 {
    let mut before = count();
    loop {
        sleep(Duration::from_millis(300)).await;
        let now = count();
        if now == before && now > 0 {
            return now;
        }
        before = now;
    }
}

#[tokio::test]
async fn a_backend_writes_no_faster_than_the_client_reads() {
    const TOTAL: u64 = 200 * MIB;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {TOTAL}\r\n\r\n");
    let origin = Origin::start(Script::send(head).then_flood(TOTAL as usize)).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = Raw::connect_narrow(64 * 1024, gateway.address()).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.response_head().await.status, 200);
    let ahead = settled(|| origin.bytes_written()).await;
    assert!(ahead < BETWEEN, "{} MiB are ahead of a client that reads nothing", ahead / MIB);

    // A period of the pattern and more, so that every piece can be compared where it lies.
    let expected = pattern(251 + 128 * 1024);
    let mut read = 0;
    while read < TOTAL {
        let piece = client.read(128 * 1024).await.expect("the answer goes on");
        let start = (read % 251) as usize;
        assert!(piece[..] == expected[start..start + piece.len()], "other bytes at {read}");
        read += piece.len() as u64;
        assert!(origin.bytes_written() - read.min(origin.bytes_written()) < BETWEEN);
        assert!(!piece.is_empty(), "cut at {read}");
    }
    assert_eq!(origin.accepted(), 1);
}

#[tokio::test]
async fn a_client_writes_no_faster_than_the_backend_reads() {
    let origin = Origin::start(Script::default().at_once().then_wait_unread().then_hang()).await;
    let gateway = Setup::to(&origin).route(r#"max_body = "1GiB""#).start().await;
    let mut client = client(&gateway).await;
    client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", 300 * MIB)).await;
    let piece = pattern(251 * 4096);
    let mut sent = 0;
    let blocked = loop {
        let write = tokio::time::timeout(Duration::from_millis(500), client.try_send(&piece)).await;
        match write {
            Ok(written) => written.expect("the gateway is there"),
            Err(_) => break sent,
        }
        sent += piece.len() as u64;
        assert!(sent < BETWEEN, "{} MiB were taken for a backend that reads nothing", sent / MIB);
    };
    assert!(blocked > 0);
    // The client gives up in the middle, and the backend learns of it.
    drop(client);
    origin.release();
    eventually(SOON, || origin.open() == 0).await;
    assert!(!origin.last().complete);
}

#[tokio::test]
async fn pieces_of_an_answer_reach_the_client_as_they_come() {
    let script = Script::send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        .then_wait()
        .then_send("6\r\nsecond\r\n0\r\n\r\n");
    let origin = Origin::start(script).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let head = client.response_head().await;
    assert_eq!(head.header("transfer-encoding"), Some("chunked"));
    let mut piece = client.read(100).await.expect("a piece");
    while piece.len() < 10 {
        piece.extend(client.read(100).await.expect("the rest of it"));
    }
    assert_eq!(piece, b"5\r\nfirst\r\n");
    origin.release();
    let mut rest = Vec::new();
    while !rest.ends_with(b"0\r\n\r\n") {
        rest.extend(client.read(100).await.expect("the rest"));
    }
    assert_eq!(rest, b"6\r\nsecond\r\n0\r\n\r\n");
}

#[tokio::test]
async fn pieces_of_a_request_reach_the_backend_as_they_come() {
    let origin = Origin::start(Script::echo()).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
    eventually(SOON, || origin.requests().last().is_some_and(|request| request.body == b"first")).await;
    client.send("6\r\nsecond\r\n").await;
    eventually(SOON, || origin.requests().last().is_some_and(|request| request.body == b"firstsecond")).await;
    client.send("0\r\n\r\n").await;
    assert_eq!(client.response().await.text(), "firstsecond");
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_backend_connection_along() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n";
    for script in [Script::silence(), Script::send(head).then_flood(1_000_000_000), Script::send(head).then_hang()] {
        let origin = Origin::start(script).await;
        let gateway = Setup::to(&origin).start().await;
        let mut client = client(&gateway).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        eventually(SOON, || origin.count() == 1).await;
        drop(client);
        eventually(SOON, || origin.open() == 0).await;
        let lines = gateway.log_until(|lines| !lines.is_empty(), SOON).await;
        assert_eq!(lines[0]["ended"], "client", "{:?}", lines[0]);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_in_mid_upload_leaves_no_whole_request_behind() {
    let origin = Origin::start(Script::echo()).await;
    let gateway = Setup::to(&origin).start().await;
    for (number, begun) in [
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabc",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = client(&gateway).await;
        client.send(begun).await;
        eventually(SOON, || origin.requests().get(number).is_some_and(|request| request.body == b"abc")).await;
        drop(client);
        eventually(SOON, || origin.open() == 0).await;
        assert!(!origin.last().complete, "{begun:?}");
        gateway.log_until(|lines| lines.len() == number + 1, SOON).await;
    }
}

#[tokio::test]
async fn a_client_that_goes_away_after_its_upload_takes_its_backend_connection_along() {
    for request in [post("/", &pattern(10)), post_chunked("/", &pattern(10)), post("/", &pattern(1_000_000))] {
        // It has read the body, and does not answer.
        let origin = Origin::start(Script::default().then_hang()).await;
        let gateway = Setup::to(&origin).forward(r#"timeout = "off""#).start().await;
        let mut client = client(&gateway).await;
        client.send(&request).await;
        eventually(SOON, || origin.requests().last().is_some_and(|request| request.complete)).await;
        drop(client);
        eventually(SOON, || origin.open() == 0).await;
        let lines = gateway.log_until(|lines| !lines.is_empty(), SOON).await;
        assert_eq!(lines[0]["ended"], "client", "{:?}", lines[0]);
    }
}
