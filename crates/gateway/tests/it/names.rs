//! Backends with names: whose addresses change, cannot be found, or may not be dialled.

use std::net::SocketAddr;

use gatepost_testkit::{NameServer, Origin, PATIENCE, Raw, Script, TestGateway, eventually};

use crate::setup::{SOON, Setup, client, refusal};

const NAME: &str = "app.example";

/// A configuration that forwards to `app.example` on this port.
fn to_name(port: u16, networks: &str) -> String {
    Setup::to_urls(&[format!("http://{NAME}:{port}")])
        .text()
        .replace("[upstream.app]", &format!("[upstream.app]\n{networks}"))
}

const LOOPBACK: &str = r#"networks = ["127.0.0.0/8"]"#;

/// Origins at 127.0.0.1 and 127.0.0.2, on the same port.
async fn two_origins() -> (Origin, Origin, u16) {
    let first = Origin::start(Script::ok("first")).await;
    let port = first.address().port();
    let second = Origin::start_at(SocketAddr::from(([127, 0, 0, 2], port)), Script::ok("second")).await;
    (first, second, port)
}

async fn until_text(client: &mut Raw, text: &str) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while client.get("/").await.text() != text {
        assert!(tokio::time::Instant::now() < end, "not {text}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_backend_that_has_moved_gets_no_new_request_at_its_old_address() {
    let (first, second, port) = two_origins().await;
    let names = NameServer::start();
    names.set(NAME, 1, &["127.0.0.1"]);
    let gateway = TestGateway::start_asking(&names, &to_name(port, LOOPBACK)).await;
    let mut client = client(&gateway).await;
    assert_eq!(client.get("/").await.text(), "first");

    names.set(NAME, 1, &["127.0.0.2"]);
    // All along there are requests, so the pool never lacks a connection to the old address.
    until_text(&mut client, "second").await;
    let at_first = first.count();
    for _ in 0..50 {
        assert_eq!(client.get("/").await.text(), "second");
    }
    assert_eq!(first.count(), at_first);
    // What waited there is closed.
    eventually(SOON, || first.open() == 0).await;
    assert!(second.accepted() >= 1);
}

#[tokio::test]
async fn what_is_under_way_at_the_old_address_may_end() {
    let slow = Script::default().then_wait().then_send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow");
    let first = Origin::in_turn(vec![slow, Script::ok("first")]).await;
    let port = first.address().port();
    let _second = Origin::start_at(SocketAddr::from(([127, 0, 0, 2], port)), Script::ok("second")).await;
    let names = NameServer::start();
    names.set(NAME, 1, &["127.0.0.1"]);
    let gateway = TestGateway::start_asking(&names, &to_name(port, LOOPBACK)).await;
    let mut waiting = client(&gateway).await;
    waiting.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually(SOON, || first.count() == 1).await;

    names.set(NAME, 1, &["127.0.0.2"]);
    let mut other = client(&gateway).await;
    until_text(&mut other, "second").await;
    first.release();
    assert_eq!(waiting.response().await.text(), "slow");
    // Its connection is not kept for the next one.
    assert_eq!(waiting.get("/").await.text(), "second");
    eventually(SOON, || first.open() == 0).await;
}

#[tokio::test]
async fn networks_that_no_longer_cover_an_address_count_for_open_connections_too() {
    let (first, second, port) = two_origins().await;
    let names = NameServer::start();
    names.set(NAME, 3600, &["127.0.0.1", "127.0.0.2"]);
    let only = |last: u8| to_name(port, &format!(r#"networks = ["127.0.0.{last}"]"#));
    let mut gateway = TestGateway::start_asking(&names, &only(1)).await;
    let mut client = client(&gateway).await;
    for _ in 0..5 {
        assert_eq!(client.get("/").await.text(), "first");
    }
    gateway.apply(&only(2)).await.unwrap();
    for _ in 0..5 {
        assert_eq!(client.get("/").await.text(), "second");
    }
    assert_eq!((first.count(), second.count(), names.asked(NAME)), (5, 5, 1));
    eventually(SOON, || first.open() == 0).await;
}

#[tokio::test]
async fn a_name_with_several_addresses_is_served_by_all_of_them() {
    let (first, second, port) = two_origins().await;
    let names = NameServer::start();
    names.set(NAME, 3600, &["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
    let gateway = TestGateway::start_asking(&names, &to_name(port, LOOPBACK)).await;
    // Many at once, so that connections are made; nobody listens at the third address.
    let mut clients = Vec::new();
    for _ in 0..12 {
        let mut client = client(&gateway).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        clients.push(client);
    }
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
    }
    assert!(first.count() > 0 && second.count() > 0, "{} {}", first.count(), second.count());
}

#[tokio::test]
async fn a_name_without_an_address_is_a_502_and_says_why() {
    let names = NameServer::start();
    let gateway = TestGateway::start_asking(&names, &to_name(80, LOOPBACK)).await;
    assert_eq!(client(&gateway).await.get("/").await.status, 502);
    let line = refusal(&gateway, "unreachable").await;
    let told = line.to_string();
    assert!(told.contains("cannot resolve app.example: the name has no address"), "{told}");
}

#[tokio::test]
async fn a_name_at_a_forbidden_address_is_dialled_where_it_is_permitted_and_nowhere_else() {
    let (first, second, port) = two_origins().await;
    let names = NameServer::start();
    names.set(NAME, 3600, &["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"]);
    let gateway = TestGateway::start_asking(&names, &to_name(port, r#"networks = ["127.0.0.2"]"#)).await;
    for _ in 0..10 {
        let mut client = client(&gateway).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        assert_eq!(client.response().await.text(), "second");
    }
    assert_eq!((first.accepted(), second.count()), (0, 10));

    let gateway = TestGateway::start_asking(&names, &to_name(port, "")).await;
    assert_eq!(client(&gateway).await.get("/").await.status, 502);
    let line = refusal(&gateway, "fenced").await;
    assert_eq!((first.accepted(), second.count()), (0, 10), "{line}");
}
