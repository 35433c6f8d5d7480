//! Stopping, and listeners that are removed, while connections are open.

use std::time::Duration;

use gatepost_testkit::{Origin, Raw, Script, TestGateway, eventually};
use tokio::time::Instant;

use super::{Certificates, HOST};
use crate::setup::{SOON, Setup};

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_stop_serves_what_is_under_way_and_closes_what_is_idle() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::default().then_wait().then_echo_it()).await;
    let gateway = certificates.secure(Setup::to(&origin)).start().await;
    let mut busy = certificates.connect(&gateway).await;
    busy.send("POST / HTTP/1.1\r\nhost: gateway.test\r\ncontent-length: 3\r\n\r\nabc").await;
    let mut busy_http2 = certificates.connect_http2(&gateway, HOST).await;
    let answer = tokio::spawn(async move { busy_http2.get(&format!("https://{HOST}/")).await });
    eventually(SOON, || origin.count() == 2).await;
    let mut fresh = certificates.connect(&gateway).await;
    let mut silent = Raw::connect(gateway.address()).await;
    let mut half = Raw::connect(gateway.address()).await;
    half.send(&certificates.client().hello(HOST)[..20]).await;
    let address = gateway.address();
    let started = Instant::now();
    let stopping = tokio::spawn(gateway.stop(LONG));
    while Raw::try_connect(address).await.is_ok() && started.elapsed() < SOON {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    origin.release();
    let response = busy.response().await;
    assert_eq!((response.status, &*response.text(), response.closes()), (200, "abc", true));
    assert_eq!(busy.read(1).await.expect("the end is told"), b"");
    assert_eq!(answer.await.unwrap().status(), 200);
    stopping.await.unwrap();
    for idle in [&mut fresh, &mut silent, &mut half] {
        idle.expect_close(SOON).await;
    }
    assert!(started.elapsed() < Duration::from_secs(15), "it waited for nothing: {:?}", started.elapsed());
}

#[tokio::test]
async fn a_client_that_has_connected_before_a_stop_is_served() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::ok("heard")).await;
    for _ in 0..5 {
        let gateway = certificates.secure(Setup::to(&origin)).start().await;
        let mut client = certificates.connect(&gateway).await;
        client.send("GET / HTTP/1.1\r\nhost: gateway.test\r\n\r\n").await;
        gateway.stop(LONG).await;
        assert_eq!(client.response().await.text(), "heard");
    }
}

#[tokio::test]
async fn a_removed_listener_serves_its_connections_to_the_end_of_their_request() {
    let certificates = Certificates::new();
    let origin = Origin::in_turn(vec![Script::ok("first"), Script::default().then_wait().then_echo_it()]).await;
    let with = |tables: &str| {
        format!(
            "[listen.stays]\naddresses = [\"127.0.0.1:0\"]\ntls = true\n{tables}\n{}\n[route.\"$default\"]\n\
             open = true\nforward = {{ to = {:?} }}\n",
            certificates.domain(HOST),
            origin.url()
        )
    };
    let mut gateway = TestGateway::start(&with("[listen.goes]\naddresses = [\"127.0.0.1:0\"]\ntls = true\n")).await;
    let address = gateway.addresses_of("goes")[0];
    let connect = async || certificates.client().connect(address, HOST).await.raw();
    let (mut idle, mut fresh, mut busy) = (connect().await, connect().await, connect().await);
    assert_eq!(idle.get("/").await.text(), "first");
    let mut half = Raw::connect(address).await;
    half.send(&certificates.client().hello(HOST)[..20]).await;
    busy.send("POST / HTTP/1.1\r\nhost: gateway.test\r\ncontent-length: 3\r\n\r\nabc").await;
    eventually(SOON, || origin.count() == 2).await;
    gateway.apply(&with("")).await.expect("it can be served");
    for client in [&mut idle, &mut fresh, &mut half] {
        client.expect_close(SOON).await;
    }
    origin.release();
    assert_eq!(busy.response().await.text(), "abc");
    busy.expect_close(SOON).await;
    let mut stays = certificates.client().connect(gateway.addresses_of("stays")[0], HOST).await.raw();
    assert_eq!(stays.get("/").await.status, 200);
}
