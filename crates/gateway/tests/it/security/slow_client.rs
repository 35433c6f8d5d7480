//! Clients that hold a place and do nothing with it.

use std::time::Duration;

use gatepost_testkit::{Origin, Raw, Script, TestGateway, eventually};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::setup::{SOON, Setup, assert_one_second, client, post, refusal};

async fn impatient() -> (Origin, TestGateway) {
    let origin = Origin::start(Script::ok("")).await;
    let limits = r#"header_timeout = "1s", idle_timeout = "10s", body_timeout = "1s""#;
    let gateway = Setup::to(&origin).limits(limits).start().await;
    (origin, gateway)
}

#[tokio::test]
async fn a_silent_connection_is_closed_at_the_header_timeout() {
    let (_origin, gateway) = impatient().await;
    let mut client = client(&gateway).await;
    assert_one_second(client.expect_close(SOON).await);
    // Nothing was asked, so nothing is logged.
    assert_eq!(gateway.log().len(), 0);
}

#[tokio::test]
async fn a_head_that_does_not_end_is_closed_at_the_header_timeout_and_logged() {
    let (origin, gateway) = impatient().await;
    for head in ["G", "GET / HTTP/1.1", "GET / HTTP/1.1\r\nhost: a\r\n", "GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n\r"] {
        let mut client = client(&gateway).await;
        let started = Instant::now();
        client.send(head).await;
        client.read_to_end().await;
        assert_one_second(started.elapsed());
    }
    assert_eq!(refusal(&gateway, "header_timeout").await["verdict"], "refused");
    gateway.log_until(|lines| lines.len() == 4, SOON).await;
    assert_eq!(origin.bytes_read(), 0);
}

#[tokio::test]
async fn a_head_that_drips_is_closed_at_the_header_timeout() {
    let (origin, gateway) = impatient().await;
    let mut client = client(&gateway).await;
    let started = Instant::now();
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "y".repeat(200));
    let cut = client.send_slowly(head, 1, Duration::from_millis(50)).await;
    assert!(cut.is_err(), "more than ten seconds of a head were read");
    assert_one_second(started.elapsed());
    assert_eq!(origin.bytes_read(), 0);
}

#[tokio::test]
async fn the_next_head_on_a_connection_has_the_same_time() {
    let (_origin, gateway) = impatient().await;
    let mut client = client(&gateway).await;
    assert_eq!(client.get("/").await.status, 200);
    // Between requests it may be silent for longer …
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(client.get("/").await.status, 200);
    // … but not within a head.
    let started = Instant::now();
    client.send("GET / HT").await;
    client.read_to_end().await;
    assert_one_second(started.elapsed());
    refusal(&gateway, "header_timeout").await;
}

#[tokio::test]
async fn empty_lines_before_a_head_are_no_way_to_stay() {
    let (_origin, gateway) = impatient().await;
    let mut client = client(&gateway).await;
    let started = Instant::now();
    let cut = client.send_slowly("\r\n".repeat(100), 2, Duration::from_millis(50)).await;
    assert!(cut.is_err());
    assert_one_second(started.elapsed());
}

#[tokio::test]
async fn slow_clients_hold_up_nobody_else() {
    let (_origin, gateway) = impatient().await;
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut client = client(&gateway).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n").await;
        slow.push(client);
    }
    let mut client = client(&gateway).await;
    for _ in 0..20 {
        let started = Instant::now();
        assert_eq!(client.get("/").await.status, 200);
        assert!(started.elapsed() < Duration::from_secs(1));
    }
    drop(slow);
}

#[tokio::test]
async fn a_refused_client_that_reads_nothing_is_cut() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin)
        .entry(r#"from = ["192.0.2.1"]"#)
        .limits(r#"header_timeout = "1s", idle_timeout = "1s""#)
        .start()
        .await;
    let mut client = Raw::connect_narrow(4096, gateway.address()).await;
    let requests = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(1000);
    // Answers fill the buffers between us, then nothing is read any more, then it is cut.
    let cut = async { while client.try_send(&requests).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(30), cut).await.expect("it is cut");
    let open = r#"gatepost_connections{listener="default"}"#;
    eventually(SOON, || gateway.metric(open) < 0.5).await;
}

#[tokio::test]
async fn a_slow_upload_of_many_pieces_is_still_bounded_by_the_timeout() {
    let origin = Origin::start(Script::echo()).await;
    let gateway = Setup::to(&origin).limits(r#"body_timeout = "1s""#).forward(r#"timeout = "2s""#).start().await;
    let mut client = client(&gateway).await;
    let started = Instant::now();
    let mut slow = post("/", &[b'x'; 1000]);
    slow.truncate(slow.len() - 900);
    let head = slow.len() - 100;
    client.send(&slow[..head]).await;
    let cut = client.send_slowly(&slow[head..], 1, Duration::from_millis(100)).await;
    assert!(started.elapsed() < Duration::from_secs(9), "the whole upload was taken: {cut:?}");
    eventually(SOON, || origin.open() == 0).await;
    refusal(&gateway, "body_stalled").await;
}

#[tokio::test]
async fn a_client_that_owes_its_body_after_the_answer_is_closed_and_holds_up_nobody() {
    let early = Script::send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly").at_once().then_hang();
    let origin = Origin::start(early).await;
    let gateway = TestGateway::start(&format!(
        r#"
        [server]
        workers = 1
        [listen.default]
        addresses = ["127.0.0.1:0"]
        limits = {{ idle_timeout = "1s", body_timeout = "1s" }}
        [route."POST /early"]
        open = true
        forward = {{ to = "{}" }}
        [route."GET /mock"]
        open = true
        respond = {{}}
        "#,
        origin.url()
    ))
    .await;
    let mut slow = client(&gateway).await;
    let started = Instant::now();
    slow.send("POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabc").await;
    assert_eq!(slow.response().await.text(), "early");
    let mut other = client(&gateway).await;
    while started.elapsed() < Duration::from_millis(2500) {
        let asked = Instant::now();
        assert_eq!(other.get("/mock").await.status, 200);
        assert!(asked.elapsed() < Duration::from_secs(1), "its worker is busy with somebody who does nothing");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    slow.expect_close(SOON).await;
    assert!(started.elapsed() < Duration::from_secs(5), "closed after {:?}", started.elapsed());
    eventually(SOON, || origin.open() == 0).await;
}

#[tokio::test]
async fn after_its_answer_a_connection_is_idle_in_whatever_pieces_the_head_came() {
    let (_origin, gateway) = impatient().await;
    let address = gateway.address();
    let mut asking = JoinSet::new();
    for pieces in [
        &["GET / HTTP/1.1\r\nhost: a\r\n", "\r\n"][..],
        &["GET / HTTP/1.1\r\nhost: a\r\n\r", "\n"],
        &["GET / HTTP/1.1\r\nhost: a\r", "\n\r\n"],
        &["GET / HTTP/1.1\r\nhost: a\r\n", "\r", "\n"],
        &["\r\n", "GET / HTTP/1.1\r\nhost: a\r\n", "\r\n"],
        &["GET / HTTP/1.1\nhost: a\n\n"],
        &["GET / HTTP/1.1\nhost: a\n", "\n"],
        &["GET / HTTP/1.1\r\nhost: a\n\r\n"],
        &["GET / HTTP/1.1\r\nhost: a\r\n\n"],
        &["POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n", "\r\n", "abc"],
        &["POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", "0\r\n\r", "\n"],
    ] {
        asking.spawn(async move {
            let mut client = Raw::connect(address).await;
            for piece in pieces {
                // With a pause, so that each is read by itself.
                client.send_slowly(piece, piece.len(), Duration::from_millis(50)).await.expect("the gateway reads");
            }
            assert_eq!(client.response().await.status, 200, "{pieces:?}");
            tokio::time::sleep(Duration::from_millis(1500)).await;
            client.send("GET /again HTTP/1.1\r\nhost: a\r\n\r\n").await;
            let again = client.try_response().await.unwrap_or_else(|error| panic!("{error} after {pieces:?}"));
            assert_eq!(again.status, 200, "{pieces:?}");
        });
    }
    while let Some(asked) = asking.join_next().await {
        asked.expect("two answers");
    }
    let lines = gateway.log_until(|lines| lines.len() >= 22, SOON).await;
    assert!(lines.iter().all(|line| line["status"] == 200 && line["reason"].is_null()), "{lines:#?}");
}

#[tokio::test]
async fn a_client_that_goes_on_uploading_after_the_answer_is_soon_cut_off_and_holds_nothing() {
    let early = Script::send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly").at_once().then_hang();
    for framing in ["content-length: 1000000", "transfer-encoding: chunked"] {
        let origin = Origin::in_turn(vec![early.clone(), Script::ok("next")]).await;
        let limits = r#"header_timeout = "1s", idle_timeout = "30s", body_timeout = "30s""#;
        let gateway = Setup::to(&origin).limits(limits).route("parallel = 1").start().await;
        let mut slow = client(&gateway).await;
        slow.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n1\r\nx\r\n")).await;
        assert_eq!(slow.response().await.text(), "early", "{framing}");

        // Never long without a piece, for much longer than anybody who does not want it would wait.
        let answered = Instant::now();
        let uploading = tokio::spawn(async move {
            let cut = slow.send_slowly("1\r\nx\r\n".repeat(200), 6, Duration::from_millis(100)).await;
            (cut.is_err(), answered.elapsed())
        });
        let mut other = client(&gateway).await;
        assert_eq!(other.get("/").await.text(), "next", "{framing}: its place is taken by an upload that nobody reads");
        eventually(SOON, || origin.open() == 1).await;
        assert!(!uploading.is_finished(), "{framing}: the backend was let go only with the client");

        let (cut, took) = uploading.await.expect("no panic");
        assert!(cut, "{framing}: all of it was taken, in {took:?}");
        assert!(took >= Duration::from_millis(1500), "{framing}: cut after {took:?}, like a slow head");
        assert!(took <= Duration::from_secs(6), "{framing}: cut after {took:?}");
        let open = r#"gatepost_connections{listener="default"}"#;
        eventually(SOON, || gateway.metric(open) < 1.5).await;
        let lines = gateway.log_until(|lines| lines.len() >= 2, SOON).await;
        assert_eq!(lines.len(), 2, "{framing}: {lines:#?}");
        assert!(lines.iter().all(|line| line["status"] == 200 && line["reason"].is_null()), "{lines:#?}");
    }
}

#[tokio::test]
async fn a_client_whose_upload_ends_soon_after_the_answer_goes_on_with_its_connection() {
    let early = Script::send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly").at_once().then_hang();
    for (framing, rest) in [("content-length: 10", "7 more."), ("transfer-encoding: chunked", "3\r\nmor\r\n0\r\n\r\n")]
    {
        let origin = Origin::in_turn(vec![early.clone(), Script::ok("next")]).await;
        let limits = r#"header_timeout = "1s", idle_timeout = "30s""#;
        let gateway = Setup::to(&origin).limits(limits).start().await;
        let mut client = client(&gateway).await;
        let begun = if rest.len() == 7 { "abc" } else { "3\r\nabc\r\n" };
        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n{begun}")).await;
        assert_eq!(client.response().await.text(), "early", "{framing}");
        client.send_slowly(rest, 1, Duration::from_millis(20)).await.expect("the gateway reads");
        // Longer than a head may take.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(client.get("/").await.text(), "next", "{framing}");
        let lines = gateway.log_until(|lines| lines.len() >= 2, SOON).await;
        assert!(lines.iter().all(|line| line["status"] == 200 && line["reason"].is_null()), "{lines:#?}");
    }
}
