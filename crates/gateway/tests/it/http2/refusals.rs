//! What is refused, while its body still comes and while others are served on the same connection.

use std::time::Duration;

use gatepost_testkit::http2_raw::{Outcome, data, get, headers, kind, post, request};
use gatepost_testkit::{Origin, Script, TestGateway, eventually};

use crate::http2::http2;
use crate::setup::{SOON, Setup, refusal};
use gatepost_testkit::http2_raw::code::{NO_ERROR, REFUSED_STREAM};

#[tokio::test]
async fn a_refusal_ends_its_stream_and_no_other() {
    let origin = Origin::start(Script::default().then_wait().then_echo_it()).await;
    let text = format!(
        r#"
        [listen.default]
        addresses = ["127.0.0.1:0"]
        [route."POST /open"]
        open = true
        forward = {{ to = "{url}" }}
        [route."POST /short"]
        open = true
        max_body = "1KiB"
        forward = {{ to = "{url}" }}
        [route."POST /elsewhere"]
        from = ["192.0.2.1"]
        forward = {{ to = "{url}" }}
        "#,
        url = origin.url()
    );
    let gateway = TestGateway::start(&text).await;
    let mut client = http2(&gateway).await;
    client.send([post(1, "/open"), data(1, "begun, ", false)].concat()).await;
    eventually(SOON, || origin.count() == 1).await;

    let declared = headers(9, request("POST", "/short", &[("content-length", "2000")]), false);
    for (stream, head, status) in [
        (3, post(3, "/nowhere"), 404),
        (5, post(5, "/elsewhere"), 403),
        (7, headers(7, request("PUT", "/open", &[]), false), 405),
        (9, declared, 413),
    ] {
        client.send([head, data(stream, [0; 1000], false)].concat()).await;
        assert_eq!(client.outcome(stream).await, Outcome::Answered(status));
        // Some clients take a reset for a failure, so a short body is read to its end.
        client.send([data(stream, [0; 500], false), data(stream, [0; 500], true)].concat()).await;
    }
    // Longer than it may be, and without a word beforehand; and then nothing.
    client.send([post(11, "/short"), data(11, [0; 1000], false), data(11, [0; 1000], false)].concat()).await;
    assert_eq!(client.outcome(11).await, Outcome::Answered(413));
    let reset = client.until(|frame| frame.kind == kind::RST_STREAM).await;
    assert_eq!((reset.stream, reset.error()), (11, NO_ERROR), "RFC 9113, 8.1");
    client.send(data(11, "too late", true)).await;

    origin.release();
    client.send(data(1, "done", true)).await;
    assert_eq!(client.answer(1).await, (Outcome::Answered(200), b"begun, done".to_vec()));
    for reason in ["no_route", "address_not_listed", "method_not_allowed", "body_too_large"] {
        refusal(&gateway, reason).await;
    }
    assert!(origin.requests().iter().skip(1).all(|request| !request.complete));
}

#[tokio::test]
async fn a_long_body_that_nobody_wants_is_not_read_to_its_end() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).entry(r#"from = ["192.0.2.1"]"#).start().await;
    let mut client = http2(&gateway).await;
    client.send(post(1, "/")).await;
    assert_eq!(client.outcome(1).await, Outcome::Answered(403));
    let mut sent = 0;
    let mut code = None;
    while code.is_none() && sent < 3_000_000 {
        client.send(data(1, [0; 1000], false)).await;
        sent += 1000;
        while let Ok(Some(frame)) = client.next_within(Duration::ZERO).await {
            code = if frame.kind == kind::RST_STREAM { Some(frame.error()) } else { code };
        }
    }
    assert_eq!(code, Some(NO_ERROR), "after {sent} bytes");
    assert_eq!(client.get(3, "/").await, Outcome::Answered(403));
}

#[tokio::test]
async fn more_streams_than_the_limit_are_refused_until_one_ends() {
    let origin = Origin::start(Script::default().then_wait().then_send("HTTP/1.1 204 No Content\r\n\r\n")).await;
    let gateway = Setup::to(&origin).limits("streams = 3").start().await;
    let mut client = http2(&gateway).await;
    client.send([1, 3, 5, 7, 9].map(|stream| get(stream, "/")).concat()).await;
    for stream in [7, 9] {
        let reset = client.until(|frame| frame.kind == kind::RST_STREAM).await;
        assert_eq!((reset.stream, reset.error()), (stream, REFUSED_STREAM));
    }
    eventually(SOON, || origin.count() == 3).await;
    origin.release();
    for _ in 0..3 {
        client.until(|frame| frame.kind == kind::HEADERS).await;
    }
    assert_eq!(client.get(11, "/").await, Outcome::Answered(204));
    // Who was refused may try again without harm: nothing was done (RFC 9113, 8.7).
    assert_eq!(gateway.log_until(|lines| lines.len() == 4, SOON).await.len(), 4);
    assert_eq!(origin.count(), 4);
}

#[tokio::test]
async fn more_headers_than_the_limit_are_431_and_logged() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).limits("headers = 5").start().await;
    let mut client = http2(&gateway).await;
    let with = |count: usize| vec![("x-a", "1"); count];
    client.send(headers(1, request("GET", "/", &with(5)), true)).await;
    assert_eq!(client.outcome(1).await, Outcome::Answered(200));
    client.send(headers(3, request("GET", "/", &with(6)), true)).await;
    assert_eq!(client.outcome(3).await, Outcome::Answered(431));
    let refused = refusal(&gateway, "headers_too_large").await;
    assert_eq!(refused["status"], 431);
    assert_eq!(gateway.decision(refused["id"].as_str().unwrap()).await.summary.status.unwrap(), 431);
    assert_eq!(client.get(5, "/").await, Outcome::Answered(200));
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn many_uploads_that_are_refused_at_once_are_all_answered() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).entry(r#"from = ["192.0.2.1"]"#).start().await;
    let mut client = http2(&gateway).await;
    // As clients do that have much to send and have not heard yet: heads first, bodies after.
    for round in 0..4 {
        let streams = (0..100).map(|number| 1 + 2 * (round * 100 + number));
        client.send(streams.clone().flat_map(|stream| post(stream, "/")).collect::<Vec<_>>()).await;
        client.send(streams.flat_map(|stream| data(stream, [0; 4000], true)).collect::<Vec<_>>()).await;
        let mut answered = 0;
        while answered < 100 {
            let frame = client.next().await.expect("the connection goes on");
            assert_ne!(frame.kind, kind::GOAWAY, "round {round}, {answered} answered: {}", frame.error());
            if frame.kind == kind::HEADERS {
                assert_eq!(frame.status(), 403);
                answered += 1;
            }
        }
    }
    assert_eq!(client.get(2001, "/").await, Outcome::Answered(403));
}
