//! What one client may take of a listener.

use gatepost_testkit::{Origin, Raw, Script, eventually};

use crate::setup::{SOON, Setup, client, refusal};

/// So many connections were turned away.
fn turned_away(gateway: &gatepost_testkit::TestGateway) -> f64 {
    gateway.metric(r#"gatepost_connections_turned_away_total{listener="default"}"#)
}

#[tokio::test]
async fn connections_beyond_the_cap_are_turned_away_until_one_ends() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).limits("connections = 3").start().await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut client = client(&gateway).await;
        assert_eq!(client.get("/").await.status, 200);
        open.push(client);
    }
    for _ in 0..3 {
        client(&gateway).await.expect_close(SOON).await;
    }
    assert!((turned_away(&gateway) - 3.0).abs() < f64::EPSILON);
    for client in &mut open {
        assert_eq!(client.get("/").await.status, 200, "who was there is still served");
    }
    drop(open.pop());
    let open_now = r#"gatepost_connections{listener="default"}"#;
    eventually(SOON, || gateway.metric(open_now) < 2.5).await;
    assert_eq!(client(&gateway).await.get("/").await.status, 200);
}

#[tokio::test]
async fn a_head_longer_than_the_limit_is_431_and_logged() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).limits(r#"header_bytes = "8KiB""#).start().await;
    let mut within = client(&gateway).await;
    let head = format!("GET / HTTP/1.1\nhost: a\nx-long: {}\n\n", "x".repeat(7000));
    assert_eq!(within.ask(&head).await.status, 200);

    for value in [8200, 20_000, 200_000] {
        let mut beyond = client(&gateway).await;
        let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx-long: {}\r\n\r\n", "x".repeat(value));
        let response = beyond.send_while_reading(head).await;
        assert_eq!(response.status, 431, "{value}");
        beyond.read_to_end().await;
    }
    // Many small ones are as good as a long one.
    let mut many = client(&gateway).await;
    let head: String = (0..90).map(|number| format!("x-{number}: {}\r\n", "x".repeat(100))).collect();
    many.send(format!("GET / HTTP/1.1\r\nhost: a\r\n{head}\r\n")).await;
    assert_eq!(many.response().await.status, 431);

    let line = refusal(&gateway, "headers_too_large").await;
    assert_eq!((&line["status"], &line["verdict"]), (&431.into(), &"refused".into()));
    gateway.log_until(|lines| lines.len() == 5, SOON).await;
    let counted = r#"gatepost_requests_total{api="",route="",reason="headers_too_large"}"#;
    assert!((gateway.metric(counted) - 4.0).abs() < f64::EPSILON, "{}", gateway.metrics());
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn more_headers_than_the_limit_are_431_and_logged() {
    let origin = Origin::start(Script::ok("")).await;
    for (limits, most) in [("", 100), ("headers = 5", 5), ("headers = 300", 300)] {
        let gateway = Setup::to(&origin).limits(limits).start().await;
        let mut client = client(&gateway).await;
        let ask = |count: usize| {
            // One of them is the host.
            let more: String = (1..count).map(|number| format!("x-{number}: 1\n")).collect();
            format!("GET / HTTP/1.1\nhost: a\n{more}\n")
        };
        assert_eq!(client.ask(&ask(most)).await.status, 200, "{most}");
        assert_eq!(client.ask(&ask(most + 1)).await.status, 431, "{most}");
        client.expect_close(SOON).await;
        assert_eq!(refusal(&gateway, "headers_too_large").await["status"], 431);
    }
}

#[tokio::test]
async fn a_long_target_is_served_within_the_limit_and_refused_beyond() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    let target = format!("/{}?{}", "a".repeat(30_000), "b".repeat(30_000));
    assert_eq!(client.get(&target).await.status, 200);
    assert_eq!(origin.last().target(), target);

    let gateway = Setup::to(&origin).limits(r#"header_bytes = "256KiB""#).start().await;
    let mut beyond = crate::setup::client(&gateway).await;
    let response = beyond.get(&format!("/{}", "a".repeat(70_000))).await;
    assert!([414, 431].contains(&response.status), "{}", response.status);
    beyond.read_to_end().await;
    refusal(&gateway, "headers_too_large").await;
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn what_is_no_http_is_400_logged_and_counted() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    for garbage in [
        &b"garbage\r\n\r\n"[..],
        b"GET /\r\n\r\n",
        b"GET / HTTP/3.0\r\nhost: a\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"G\xc3\x8bT / HTTP/1.1\r\nhost: a\r\n\r\n",
    ] {
        let mut client = client(&gateway).await;
        client.send(garbage).await;
        let response = client.response().await;
        assert_eq!(response.status, 400, "{:?}", String::from_utf8_lossy(garbage));
        client.expect_close(SOON).await;
    }
    let lines = gateway.log_until(|lines| lines.len() == 5, SOON).await;
    for line in &lines {
        assert_eq!((&line["reason"], &line["status"]), (&"malformed".into(), &400.into()), "{line}");
        assert_eq!((&line["client"], &line["verdict"]), (&"127.0.0.1".into(), &"refused".into()));
    }
    let counted = r#"gatepost_requests_total{api="",route="",reason="malformed"}"#;
    assert!((gateway.metric(counted) - 5.0).abs() < f64::EPSILON, "{}", gateway.metrics());
    assert_eq!(origin.bytes_read(), 0);
}

#[tokio::test]
async fn a_client_that_only_connects_leaves_no_line_in_the_log() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    for bytes in ["", "GET / HT"] {
        let mut gone = Raw::connect(gateway.address()).await;
        gone.send(bytes).await;
        drop(gone);
    }
    let mut client = client(&gateway).await;
    assert_eq!(client.get("/").await.status, 200);
    let open = r#"gatepost_connections{listener="default"}"#;
    eventually(SOON, || gateway.metric(open) < 1.5).await;
    let lines = gateway.log_until(|lines| !lines.is_empty(), SOON).await;
    assert!(lines.iter().all(|line| line["status"] == 200), "{lines:#?}");
}
