//! Stopping, and listeners that are removed, while connections are open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gatepost_testkit::{Origin, Raw, Script, TestGateway, TlsClient, eventually};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Certificates, HOST};
use crate::setup::{SOON, Setup, refusal};

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_stop_serves_what_is_under_way_and_closes_what_is_idle() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::default().then_wait().then_echo_it()).await;
    let gateway = certificates.secure(Setup::to(&origin).limits(r#"header_timeout = "2s""#)).start().await;
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
    // But for the one that has begun to speak.
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
    let mut gateway = TestGateway::start(&with(
        "[listen.goes]\naddresses = [\"127.0.0.1:0\"]\ntls = true\nlimits = { header_timeout = \"2s\" }\n",
    ))
    .await;
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

#[tokio::test]
async fn a_handshake_from_far_away_is_finished_before_a_stop_and_its_request_is_served() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::ok("heard")).await;
    let gateway = certificates.secure(Setup::to(&origin)).start().await;
    let far = FarAway::start(gateway.address()).await;
    // Of TLS 1.3, the request comes in one piece with the end of the handshake.
    let client = TlsClient::only_13(&certificates.authority);
    let address = far.address;
    let asking = tokio::spawn(async move { client.connect(address, HOST).await.raw().get("/").await });
    far.heard.notified().await;
    gateway.stop(LONG).await;
    assert_eq!(asking.await.expect("an answer").text(), "heard");
}

#[tokio::test]
async fn a_handshake_from_far_away_is_finished_and_the_client_told_that_its_listener_is_gone() {
    let certificates = Certificates::new();
    let with = |names: &[&str]| {
        let listener = |name| format!("[listen.{name}]\naddresses = [\"127.0.0.1:0\"]\ntls = true\n");
        let listeners: String = names.iter().map(listener).collect();
        let domain = certificates.domain(HOST);
        format!("{listeners}{domain}[route.\"$default\"]\nopen = true\nrespond = {{}}\n")
    };
    let mut gateway = TestGateway::start(&with(&["stays", "goes"])).await;
    let far = FarAway::start(gateway.addresses_of("goes")[0]).await;
    let client = TlsClient::only_13(&certificates.authority);
    let address = far.address;
    let asking = tokio::spawn(async move { client.connect(address, HOST).await.raw().get("/").await });
    far.heard.notified().await;
    gateway.apply(&with(&["stays"])).await.expect("it can be served");
    let response = asking.await.expect("an answer");
    assert_eq!((response.status, response.closes()), (503, true));
    let gone = refusal(&gateway, "listener_gone").await;
    assert_eq!(gone["tls"], "1.3");
    let explained = gateway.decision(gone["id"].as_str().unwrap()).await.explanation.unwrap();
    assert!(!explained.steps[0].passed, "{explained:#?}");
}

/// A way to the gateway that takes as long as one to the other side of the world.
struct FarAway {
    address: SocketAddr,
    /// Told when something of the client has reached the gateway.
    heard: Arc<Notify>,
}

impl FarAway {
    const DELAY: Duration = Duration::from_millis(400);

    async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let heard = Arc::<Notify>::default();
        let told = Arc::clone(&heard);
        tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.expect("a client");
            let mut gateway = TcpStream::connect(to).await.expect("the gateway");
            let (from_client, to_client) = client.split();
            let (from_gateway, to_gateway) = gateway.split();
            tokio::join!(carry(from_client, to_gateway, Some(&told)), carry(from_gateway, to_client, None));
        });
        Self { address, heard }
    }
}

async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, told: Option<&Notify>) {
    let mut piece = vec![0; 64 * 1024];
    // However it ends, the other end is told so.
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        tokio::time::sleep(FarAway::DELAY).await;
        if to.write_all(&piece[..count]).await.is_err() {
            break;
        }
        if let Some(told) = told {
            told.notify_one();
        }
    }
    let _ = to.shutdown().await;
}
