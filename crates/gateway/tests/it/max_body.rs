//! Bodies that are too long, and bodies that nobody wants.

use std::time::Duration;

use gatepost_testkit::{Origin, Script, TestGateway, eventually, pattern};
use tokio::time::timeout;

use crate::setup::{SOON, Setup, chunks, client, post, post_chunked, refusal};

#[tokio::test]
async fn a_body_that_is_declared_too_long_is_413_before_the_backend_hears_of_it() {
    let origin = Origin::start(Script::echo()).await;
    let gateway = Setup::to(&origin).route(r#"max_body = "1KiB""#).start().await;
    let mut client = client(&gateway).await;
    client.send(post("/", &pattern(1024))).await;
    assert_eq!(client.response().await.status, 200, "exactly as long as permitted");
    client.send(post("/", &pattern(1025))).await;
    let response = client.response().await;
    assert_eq!((response.status, &*response.text()), (413, r#"{"message":"Payload Too Large"}"#));
    assert_eq!(origin.count(), 1);
    assert_eq!(refusal(&gateway, "body_too_large").await["verdict"], "refused");
    assert!(!response.closes());
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn the_largest_length_there_is_is_only_too_long() {
    let origin = Origin::start(Script::echo()).await;
    let gateway = Setup::to(&origin).start().await;
    for length in ["10485761", "9223372036854775807", "18446744073709551613"] {
        let mut client = client(&gateway).await;
        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\nabc")).await;
        let response = client.response().await;
        assert_eq!((response.status, response.closes()), (413, true), "{length}");
        client.expect_close(SOON).await;
    }
    assert_eq!(origin.accepted(), 0);
}

#[tokio::test]
async fn chunks_that_become_too_long_are_413_and_the_backend_is_cut_off() {
    let origin = Origin::start(Script::echo()).await;
    let gateway = Setup::to(&origin).route(r#"max_body = "64KiB""#).start().await;
    let mut client = client(&gateway).await;
    client.send(post_chunked("/", &pattern(64 * 1024))).await;
    assert_eq!(client.response().await.status, 200, "exactly as long as permitted");

    let response = client.send_while_reading(post_chunked("/", &pattern(300 * 1024))).await;
    assert_eq!((response.status, &*response.text()), (413, r#"{"message":"Payload Too Large"}"#));
    eventually(SOON, || origin.open() == 0).await;
    if origin.count() == 2 {
        let request = origin.last();
        assert!(!request.complete && request.body.len() <= 64 * 1024);
    }
    let line = refusal(&gateway, "body_too_large").await;
    assert_eq!(line["status"], 413);
}

#[tokio::test]
async fn a_refused_client_that_still_sends_its_body_reads_the_answer_and_goes_on() {
    let origin = Origin::start(Script::ok("served")).await;
    let gateway = TestGateway::start(&format!(
        r#"
        listen = "127.0.0.1:0"
        [route."ANY /refused"]
        from = ["192.0.2.1"]
        forward = {{ to = "{url}" }}
        [route."ANY /mock"]
        open = true
        respond = {{ status = 201 }}
        [route."ANY /open"]
        open = true
        forward = {{ to = "{url}" }}
        "#,
        url = origin.url()
    ))
    .await;
    for (target, status) in [("/refused", 403), ("/nowhere", 404), ("/mock", 201)] {
        for request in [post(target, &pattern(512 * 1024)), post_chunked(target, &pattern(512 * 1024))] {
            let mut client = client(&gateway).await;
            let response = client.send_while_reading(&request).await;
            assert_eq!((response.status, response.closes()), (status, false), "{target}");
            assert_eq!(client.get("/open").await.text(), "served", "{target}");
            // Likewise a client that reads only when it has sent everything.
            client.send(&request).await;
            assert_eq!(client.response().await.status, status, "{target}");
            assert_eq!(client.get("/open").await.text(), "served", "{target}");
        }
    }
    assert!(origin.requests().iter().all(|request| request.target() == "/open"));
}

#[tokio::test]
async fn a_refused_client_reads_the_answer_however_long_its_body_is() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).entry(r#"from = ["192.0.2.1"]"#).start().await;
    for request in [post("/", &pattern(5 * 1024 * 1024)), post_chunked("/", &pattern(5 * 1024 * 1024))] {
        let mut client = client(&gateway).await;
        let response = client.send_while_reading(&request).await;
        assert_eq!(response.status, 403);
        client.read_to_end().await;

        let mut last_reads = crate::setup::client(&gateway).await;
        // It closes in the middle; what counts is that the answer is there.
        let _ = last_reads.try_send(&request).await;
        assert_eq!(last_reads.response().await.status, 403);
    }
    assert_eq!(origin.accepted(), 0);
}

#[tokio::test]
async fn a_body_that_nobody_wants_is_not_waited_for_for_long() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).entry(r#"from = ["192.0.2.1"]"#).start().await;
    for framing in ["content-length: 1000", "transfer-encoding: chunked"] {
        let mut client = client(&gateway).await;
        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n")).await;
        // The answer does not wait for the body …
        assert_eq!(timeout(Duration::from_secs(1), client.response()).await.expect("at once").status, 403);
        // … and the connection waits only so long.
        client.expect_close(Duration::from_secs(6)).await;
    }
}

#[tokio::test]
async fn an_endless_body_that_nobody_wants_is_cut_off() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).entry(r#"from = ["192.0.2.1"]"#).start().await;
    let mut client = client(&gateway).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    let mut piece = chunks(&pattern(64 * 1024));
    piece.truncate(piece.len() - 5);
    let mut sent = 0;
    while client.try_send(&piece).await.is_ok() {
        sent += piece.len();
        assert!(sent < 64 * 1024 * 1024, "64 MiB were taken of a body that nobody wants");
    }
}
