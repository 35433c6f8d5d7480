//! Requests that do not wait for the answers before them.

use gatepost_testkit::{Origin, Script, TestGateway, eventually, pattern};

use crate::setup::{SOON, Setup, chunks, client, post};

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(Script::echo()).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    let mut requests = Vec::new();
    for number in 0..50 {
        requests.extend(post("/", format!("number {number}").as_bytes()));
    }
    client.send(requests).await;
    for number in 0..50 {
        let response = client.response().await;
        assert_eq!((response.status, response.text()), (200, format!("number {number}")));
    }
    assert_eq!(origin.count(), 50);
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_the_same_head() {
    let origin = Origin::start(Script::echo()).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    let two = [post("/one", b"1"), post("/two", b"22")].concat();
    client.send_slowly(two, 1, std::time::Duration::from_micros(100)).await.expect("the gateway reads");
    assert_eq!(client.response().await.text(), "1");
    assert_eq!(client.response().await.text(), "22");
}

#[tokio::test]
async fn a_pipelined_request_waits_for_the_answer_before_it() {
    let origin = Origin::in_turn(vec![
        Script::default().then_wait().then_send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirst"),
        Script::ok("second"),
    ])
    .await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    client.send("GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually(SOON, || origin.count() == 1).await;
    origin.release();
    assert_eq!(client.response().await.text(), "first");
    assert_eq!(client.response().await.text(), "second");
}

#[tokio::test]
async fn a_request_behind_a_refused_one_with_a_body_is_served_or_the_connection_closed() {
    let origin = Origin::start(Script::ok("served")).await;
    let gateway = TestGateway::start(&format!(
        r#"
        listen = "127.0.0.1:0"
        [route."POST /refused"]
        from = ["192.0.2.1"]
        respond = {{}}
        [route."$default"]
        open = true
        max_body = "100B"
        forward = {{ to = "{}" }}
        "#,
        origin.url()
    ))
    .await;
    // Within a refused body, a request must stay a part of the body.
    let inner = b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n".repeat(2000);
    let outer = "GET /next HTTP/1.1\r\nhost: a\r\n\r\n";
    let chunked = |target: &str| {
        let head = format!("POST {target} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
        [head.as_bytes(), &chunks(&inner)].concat()
    };
    for (request, status) in [
        (post("/refused", &inner), 403),
        (chunked("/refused"), 403),
        (post("/too-long", &inner), 413),
        (chunked("/too-long"), 413),
    ] {
        let before = origin.count();
        let mut client = client(&gateway).await;
        let response = client.send_while_reading([&request, outer.as_bytes()].concat()).await;
        assert_eq!(response.status, status);
        match client.try_response().await {
            Ok(next) => {
                assert_eq!((next.status, &*next.text()), (200, "served"));
                assert!(!response.closes());
            }
            Err(_) => assert!(response.closes(), "cut without a word, {status}"),
        }
        let targets: Vec<String> =
            origin.requests()[before..].iter().map(|request| request.target().to_owned()).collect();
        assert!(targets.iter().all(|target| target == "/next" || target == "/too-long"), "{targets:?}");
    }
    let mut client = client(&gateway).await;
    let response = client.send_while_reading([post("/refused", &pattern(5_000_000)), outer.into()].concat()).await;
    assert_eq!((response.status, response.closes()), (403, true));
    assert!(client.read_to_end().await.is_empty(), "nothing more is answered after `Connection: close`");
}

#[tokio::test]
async fn nothing_is_served_behind_a_request_that_closes() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    let next = "GET /next HTTP/1.1\r\nhost: a\r\n\r\n";
    for (first, status) in [
        ("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", 200),
        ("GET / HTTP/1.0\r\nhost: a\r\n\r\n", 200),
        ("GET /.. HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a b\r\n\r\n", 400),
    ] {
        let mut client = client(&gateway).await;
        client.send(format!("{first}{next}{next}")).await;
        assert_eq!(client.response().await.status, status, "{first:?}");
        assert!(client.read_to_end().await.is_empty(), "{first:?}");
    }
    assert!(origin.requests().iter().all(|request| request.target() == "/"));
}

#[tokio::test]
async fn a_client_that_only_sends_is_not_read_without_end() {
    let origin = Origin::start(Script::ok(&"x".repeat(4096))).await;
    let gateway = Setup::to(&origin).limits(r#"idle_timeout = "2s""#).start().await;
    let mut client = gatepost_testkit::Raw::connect_narrow(16 * 1024, gateway.address()).await;
    // Whole requests, so that a write that is cut off by the limit below is the only incomplete one.
    let requests = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(4000);
    let mut sent = 0;
    loop {
        match tokio::time::timeout(SOON, client.try_send(&requests)).await {
            Ok(Ok(())) => sent += requests.len(),
            // Either way it was stopped.
            Ok(Err(_)) | Err(_) => break,
        }
        assert!(sent < 256 * 1024 * 1024, "requests are read although no answer is");
    }
}

#[tokio::test]
async fn half_a_head_behind_a_request_has_the_time_of_a_head() {
    let origin = Origin::start(Script::ok("")).await;
    let limits = r#"header_timeout = "1s", idle_timeout = "20s""#;
    let gateway = Setup::to(&origin).limits(limits).start().await;
    let mut client = client(&gateway).await;
    let started = tokio::time::Instant::now();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\nGET /next HTTP/1.1\r\nho").await;
    assert_eq!(client.response().await.status, 200);
    client.expect_close(SOON).await;
    crate::setup::assert_one_second(started.elapsed());
}

#[tokio::test]
async fn garbage_behind_a_request_is_logged_with_its_status() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\ngarbage\r\n\r\n").await;
    assert_eq!(client.response().await.status, 200);
    assert_eq!(client.response().await.status, 400);
    client.expect_close(SOON).await;
    let line = crate::setup::refusal(&gateway, "malformed").await;
    assert_eq!(line["status"], 400, "{line}");
}
