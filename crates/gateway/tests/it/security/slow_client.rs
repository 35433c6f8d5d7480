//! Clients that hold a place and do nothing with it.

use std::time::Duration;

use gatepost_testkit::{Origin, Raw, Script, TestGateway, eventually};
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
