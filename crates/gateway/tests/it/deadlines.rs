//! What is slow is cut, whoever it is.

use std::time::Duration;

use gatepost_testkit::{Origin, Raw, Script, TestGateway, eventually, pattern};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::setup::{SOON, Setup, assert_one_second, client, ending, post, refusal};

#[tokio::test]
async fn a_backend_that_does_not_answer_is_504_at_the_timeout() {
    let origin = Origin::start(Script::silence()).await;
    let gateway = Setup::to(&origin).forward(r#"timeout = "1s""#).start().await;
    let mut client = client(&gateway).await;
    let started = Instant::now();
    let response = client.get("/").await;
    assert_one_second(started.elapsed());
    assert_eq!((response.status, &*response.text()), (504, r#"{"message":"Gateway Timeout"}"#));
    assert!(response.header("x-gatepost-decision").is_some());
    eventually(SOON, || origin.open() == 0).await;
    let line = refusal(&gateway, "upstream_timeout").await;
    assert_eq!((&line["verdict"], &line["status"]), (&"admitted".into(), &504.into()));
    // The client has done nothing wrong.
    assert!(!response.closes());
    assert_eq!(client.get("/").await.status, 504);
}

#[tokio::test]
async fn a_backend_that_drips_its_head_is_504_at_the_timeout() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-slow: yes, very\r\n\r\n";
    let origin = Origin::start(Script::default().then_drip(head, Duration::from_millis(100))).await;
    let gateway = Setup::to(&origin).forward(r#"timeout = "1s""#).start().await;
    let mut client = client(&gateway).await;
    let started = Instant::now();
    assert_eq!(client.get("/").await.status, 504);
    assert_one_second(started.elapsed());
    eventually(SOON, || origin.open() == 0).await;
}

#[tokio::test]
async fn a_backend_that_drips_is_cut_at_its_timeout() {
    let script = Script::send("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n");
    let origin = Origin::start(script.then_drip(pattern(1000), Duration::from_millis(50))).await;
    let gateway = Setup::to(&origin).forward(r#"timeout = "1s""#).start().await;
    let mut client = client(&gateway).await;
    let started = Instant::now();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.response_head().await.status, 200);
    let got = client.read_to_end().await;
    assert_one_second(started.elapsed());
    assert!((1..1000).contains(&got.len()), "{} bytes", got.len());
    eventually(SOON, || origin.open() == 0).await;
    let line = ending(&gateway, "deadline").await;
    assert_eq!(line["status"], 200);
}

#[tokio::test]
async fn a_client_that_stops_reading_frees_the_backend_at_the_timeout() {
    let script = Script::send("HTTP/1.1 200 OK\r\ncontent-length: 500000000\r\n\r\n").then_flood(500_000_000);
    let origin = Origin::start(script).await;
    let gateway = Setup::to(&origin).forward(r#"timeout = "1s""#).start().await;
    let mut client = Raw::connect_narrow(64 * 1024, gateway.address()).await;
    let started = Instant::now();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually(SOON, || origin.count() == 1).await;
    eventually(SOON, || origin.open() == 0).await;
    assert_one_second(started.elapsed());
    ending(&gateway, "deadline").await;
    let got = client.read_to_end().await;
    assert!(got.len() < 500_000_000);
}

#[tokio::test]
async fn an_upload_counts_towards_the_timeout() {
    let origin = Origin::start(Script::echo()).await;
    let gateway = Setup::to(&origin).forward(r#"timeout = "1s""#).start().await;
    let mut client = client(&gateway).await;
    let started = Instant::now();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n").await;
    // Every piece comes in good time; in the middle of it the gateway may close.
    let _ = client.send_slowly([b'x'; 14], 1, Duration::from_millis(100)).await;
    let response = client.response().await;
    assert_eq!(response.status, 408, "it was the client that was slow");
    assert_one_second(started.elapsed());
    eventually(SOON, || origin.open() == 0).await;
}

#[tokio::test]
async fn an_upload_that_stalls_is_408_at_the_body_timeout() {
    let origin = Origin::start(Script::echo()).await;
    let gateway = Setup::to(&origin).limits(r#"body_timeout = "1s""#).forward(r#"timeout = "off""#).start().await;
    for request in [
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nabc",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\na",
    ] {
        let mut client = client(&gateway).await;
        let started = Instant::now();
        client.send(request).await;
        let response = client.response().await;
        assert_one_second(started.elapsed());
        assert_eq!((response.status, &*response.text()), (408, r#"{"message":"Request Timeout"}"#), "{request:?}");
        assert!(response.closes(), "{request:?}");
        client.expect_close(SOON).await;
        eventually(SOON, || origin.open() == 0).await;
    }
    assert_eq!(refusal(&gateway, "body_stalled").await["verdict"], "admitted");
}

#[tokio::test]
async fn an_upload_that_never_begins_is_408_at_the_body_timeout() {
    let origin = Origin::start(Script::echo()).await;
    let gateway = Setup::to(&origin).limits(r#"body_timeout = "1s""#).forward(r#"timeout = "off""#).start().await;
    for framing in ["content-length: 1000", "transfer-encoding: chunked"] {
        let mut client = client(&gateway).await;
        let started = Instant::now();
        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n")).await;
        let response = client.response().await;
        assert_one_second(started.elapsed());
        assert_eq!((response.status, response.closes()), (408, true), "{framing}");
        eventually(SOON, || origin.open() == 0).await;
    }
}

#[tokio::test]
async fn an_upload_that_is_slow_but_goes_on_is_served() {
    let origin = Origin::start(Script::echo()).await;
    let gateway = Setup::to(&origin).limits(r#"body_timeout = "1s""#).forward(r#"timeout = "off""#).start().await;
    let mut client = client(&gateway).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\n").await;
    client.send_slowly("8 pieces", 1, Duration::from_millis(200)).await.expect("the gateway goes on reading");
    assert_eq!(client.response().await.text(), "8 pieces");
}

#[tokio::test]
async fn a_slow_backend_is_not_the_fault_of_the_upload() {
    // The body has come; that the answer takes longer than `body_timeout` is no stall.
    let script = Script::default().then_pause(Duration::from_millis(1500)).then_send("HTTP/1.1 204 No\r\n\r\n");
    let origin = Origin::start(script).await;
    let gateway = Setup::to(&origin).limits(r#"body_timeout = "500ms", idle_timeout = "500ms""#).start().await;
    let mut client = client(&gateway).await;
    client.send(post("/", b"abc")).await;
    assert_eq!(client.response().await.status, 204);
}

#[tokio::test]
async fn without_a_timeout_a_client_that_reads_nothing_is_cut_at_the_idle_timeout() {
    let script = Script::send("HTTP/1.1 200 OK\r\ncontent-length: 500000000\r\n\r\n").then_flood(500_000_000);
    let origin = Origin::start(script).await;
    let gateway = Setup::to(&origin).limits(r#"idle_timeout = "1s""#).forward(r#"timeout = "off""#).start().await;
    let mut client = Raw::connect_narrow(64 * 1024, gateway.address()).await;
    let started = Instant::now();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually(SOON, || origin.count() == 1).await;
    eventually(SOON, || origin.open() == 0).await;
    assert_one_second(started.elapsed());
    ending(&gateway, "client").await;
}

#[tokio::test]
async fn without_a_timeout_a_client_that_reads_slowly_is_served() {
    let script = Script::send("HTTP/1.1 200 OK\r\ncontent-length: 24000000\r\n\r\n").then_flood(24_000_000);
    let origin = Origin::start(script).await;
    let gateway = Setup::to(&origin).limits(r#"idle_timeout = "1s""#).forward(r#"timeout = "off""#).start().await;
    let mut client = Raw::connect_narrow(64 * 1024, gateway.address()).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.response_head().await.status, 200);
    let mut read = 0;
    let mut next_pause = 0;
    while read < 24_000_000 {
        if read >= next_pause {
            tokio::time::sleep(Duration::from_millis(300)).await;
            next_pause += 3_000_000;
        }
        let piece = client.read(256 * 1024).await.expect("the answer goes on");
        assert!(!piece.is_empty(), "cut after {read} bytes");
        read += piece.len();
    }
}

#[tokio::test]
async fn a_download_may_take_longer_than_every_limit_but_its_timeout() {
    let limits = r#"header_timeout = "500ms", idle_timeout = "500ms", body_timeout = "500ms""#;
    let script = Script::send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
    let script = script.then_pause(Duration::from_millis(1500)).then_send("hello");
    let origin = Origin::start(script).await;
    let gateway = Setup::to(&origin).limits(limits).start().await;
    let mut client = client(&gateway).await;
    assert_eq!(client.get("/").await.text(), "hello");
}

#[tokio::test]
async fn an_idle_connection_is_closed_at_the_idle_timeout() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).limits(r#"idle_timeout = "1s""#).start().await;
    let mut client = client(&gateway).await;
    for _ in 0..2 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_one_second(client.expect_close(SOON).await);
}

#[tokio::test]
async fn a_connection_in_use_outlives_the_idle_timeout() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).limits(r#"idle_timeout = "1s""#).start().await;
    let mut client = client(&gateway).await;
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(2500) {
        assert_eq!(client.get("/").await.status, 200);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test]
async fn a_client_that_reads_slowly_but_steadily_outlives_the_idle_timeout() {
    const SIZE: usize = 8_000_000;
    const PIECE: usize = 64 * 1024;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n");
    let origin = Origin::start(Script::send(head).then_flood(SIZE)).await;
    let body = "x".repeat(SIZE);
    let gateway = TestGateway::start(&format!(
        r#"
        [listen.default]
        addresses = ["127.0.0.1:0"]
        limits = {{ idle_timeout = "1s" }}
        [route."GET /forwarded"]
        open = true
        forward = {{ to = "{}", timeout = "off" }}
        [route."GET /respond"]
        open = true
        respond = {{ body = "{body}" }}
        [route."GET /after"]
        open = true
        respond = {{ body = "after" }}
        "#,
        origin.url()
    ))
    .await;
    let address = gateway.address();
    let mut reading = JoinSet::new();
    for target in ["/forwarded", "/respond"] {
        for narrow in [true, false] {
            reading.spawn(async move {
                let mut client =
                    if narrow { Raw::connect_narrow(64 * 1024, address).await } else { Raw::connect(address).await };
                client.send(format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
                assert_eq!(client.response_head().await.status, 200, "{target}");
                let started = Instant::now();
                let mut read = 0;
                while read < SIZE {
                    // Steadily for three seconds; then all that is left.
                    let pause = Duration::from_millis(if started.elapsed() < Duration::from_secs(3) { 100 } else { 0 });
                    tokio::time::sleep(pause).await;
                    let wanted = (read + PIECE).min(SIZE);
                    while read < wanted {
                        let piece = client.read(wanted - read).await.expect("the answer goes on");
                        let took = started.elapsed();
                        assert!(!piece.is_empty(), "{target}, narrow {narrow}: cut after {read} bytes in {took:?}");
                        read += piece.len();
                    }
                }
                assert!(started.elapsed() >= Duration::from_secs(3), "read too fast to tell anything");
                assert_eq!(client.get("/after").await.text(), "after", "{target}, narrow {narrow}");
            });
        }
    }
    while let Some(read) = reading.join_next().await {
        read.expect("the whole answer");
    }
    let lines = gateway.log_until(|lines| lines.len() >= 8, SOON).await;
    assert!(lines.iter().all(|line| line["ended"].is_null()), "{lines:#?}");
}
