//! Backends that are spoken to over TLS.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use gatepost_config::model::{Health, HttpVersion, Upstream};
use gatepost_gateway::{ApplyError, TargetState};
use gatepost_net::tls::Alpn;
use gatepost_testkit::{Answer, Authority, Http2Origin, Issued, Origin, Script, TestGateway, TlsFront, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::setup::{SOON, Setup, change_upstreams, client, post, refusal};

const NAME: &str = "127.0.0.1";

/// All targets over TLS, believing this authority.
fn private(authority: &Authority) -> impl Fn(&mut Upstream) {
    let ca = authority.root_pem().as_bytes().to_vec();
    move |upstream| {
        upstream.ca = Some(ca.clone().into());
        for target in &mut upstream.targets {
            target.tls = true;
        }
    }
}

fn setup(address: SocketAddr) -> Setup {
    Setup::to_urls(&[format!("http://{address}")])
}

async fn front(issued: &Issued, origin: &Origin) -> TlsFront {
    TlsFront::start(NAME, issued, origin.address()).await
}

fn checks() -> Health {
    Health {
        path: "/ping".into(),
        host: None,
        codes: vec![200..=299],
        every: Duration::from_millis(50),
        timeout: Duration::from_secs(5),
        healthy: NonZeroU32::MIN,
        unhealthy: NonZeroU32::MIN,
    }
}

#[tokio::test]
async fn a_request_and_its_answer_pass_over_tls_and_the_connection_serves_on() {
    let (authority, origin) = (Authority::new(), Origin::start(Script::echo()).await);
    let front = front(&authority.issue(&[NAME]), &origin).await;
    let gateway = setup(front.address()).start_with(private(&authority)).await;
    let mut client = client(&gateway).await;
    let body = gatepost_testkit::pattern(300_000);
    for _ in 0..3 {
        let response = client.send_while_reading(post("/private", &body)).await;
        assert!(response.status == 200 && response.body == body);
    }
    assert_eq!(origin.last().header("host"), Some(&*front.address().to_string()));
    let sessions = front.sessions();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    assert_eq!(sessions[0].alpn, Some(Alpn::Http1));
}

#[tokio::test]
async fn a_target_that_cannot_prove_who_it_is_gets_no_byte_of_a_request() {
    let (authority, origin) = (Authority::new(), Origin::start(Script::ok("")).await);
    for issued in [Authority::new().issue(&[NAME]), Issued::self_signed(&[NAME]), authority.issue_expired(&[NAME])] {
        let front = front(&issued, &origin).await;
        let gateway = setup(front.address()).start_with(private(&authority)).await;
        let mut client = client(&gateway).await;
        assert_eq!(client.get("/secret").await.status, 502);
        let line = refusal(&gateway, "unreachable").await;
        assert!(line["detail"].as_str().unwrap().contains("certificate"), "{line}");
    }
    let other = TlsFront::start("other.test", &authority.issue(&["other.test"]), origin.address()).await;
    let gateway = setup(other.address()).start_with(private(&authority)).await;
    let mut client = client(&gateway).await;
    assert_eq!(client.get("/secret").await.status, 502, "a certificate for another name");
    assert_eq!(origin.accepted(), 0);
}

/// A server that answers whatever comes in the clear, as web servers do.
async fn plain() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a listening socket");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 16]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await;
        }
    });
    address
}

#[tokio::test]
async fn a_target_that_does_not_speak_tls_is_a_502_or_costs_a_try() {
    let (authority, origin) = (Authority::new(), Origin::start(Script::echo()).await);
    let front = front(&authority.issue(&[NAME]), &origin).await;
    let plain = plain().await;
    let alone = setup(plain).start_with(private(&authority)).await;
    assert_eq!(client(&alone).await.get("/").await.status, 502);
    let line = refusal(&alone, "unreachable").await;
    assert!(line["detail"].as_str().unwrap().contains("handshake"), "{line}");

    let urls = [format!("http://{plain}"), format!("http://{}", front.address())];
    let gateway = Setup::to_urls(&urls).forward("retries = 1").start_with(private(&authority)).await;
    let mut client = client(&gateway).await;
    for _ in 0..4 {
        client.send(post("/", b"nothing was sent")).await;
        let response = client.response().await;
        assert_eq!((response.status, &*response.text()), (200, "nothing was sent"));
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_bounded_by_the_timeout_of_the_route() {
    let silent = Origin::start(Script::silence()).await;
    let setup = setup(silent.address()).forward("timeout = \"1s\"");
    let gateway = setup.start_with(private(&Authority::new())).await;
    let mut client = client(&gateway).await;
    assert_eq!(client.get("/").await.status, 504);
    eventually(SOON, || silent.open() == 0).await;
}

#[tokio::test]
async fn http2_is_negotiated() {
    let (authority, origin) = (Authority::new(), Http2Origin::start(Answer::ok("two")).await);
    let front = TlsFront::start(NAME, &authority.issue(&[NAME]), origin.address()).await;
    let change = |upstream: &mut Upstream| {
        private(&authority)(upstream);
        upstream.http = HttpVersion::Two;
    };
    let gateway = setup(front.address()).start_with(change).await;
    let mut client = client(&gateway).await;
    for _ in 0..3 {
        assert_eq!(client.get("/path").await.text(), "two");
    }
    assert_eq!(origin.requests()[0].head.uri.to_string(), format!("{}/path", front.url()));
    assert_eq!(front.sessions().len(), 1);
    assert_eq!(front.sessions()[0].alpn, Some(Alpn::Http2));
}

#[tokio::test]
async fn probes_are_made_over_tls_too_and_believe_nobody_whom_requests_do_not() {
    let (authority, origin) = (Authority::new(), Origin::start(Script::ok("")).await);
    let good = front(&authority.issue(&[NAME]), &origin).await;
    let bad = front(&Issued::self_signed(&[NAME]), &origin).await;
    let urls = [&good, &bad].map(|front| format!("http://{}", front.address()));
    let change = |upstream: &mut Upstream| {
        private(&authority)(upstream);
        upstream.health = Some(checks());
    };
    let gateway = Setup::to_urls(&urls).start_with(change).await;
    eventually(SOON, || gateway.target(good.address()).state == TargetState::Healthy).await;
    eventually(SOON, || gateway.target(bad.address()).state == TargetState::Unhealthy).await;
    eventually(SOON, || origin.count() > 2).await;
    assert!(bad.sessions().is_empty());
}

#[tokio::test]
async fn sessions_are_resumed_after_a_reload_too() {
    let (authority, origin) = (Authority::new(), Origin::start(Script::ok("")).await);
    let front = front(&authority.issue(&[NAME]), &origin).await;
    let text = setup(front.address()).text();
    let mut gateway = TestGateway::start_with(&text, |model| change_upstreams(model, private(&authority))).await;
    let mut client = client(&gateway).await;
    assert_eq!(client.get("/").await.status, 200);
    origin.close_idle();
    eventually(SOON, || origin.open() == 0).await;
    gateway.apply_with(&text, |model| change_upstreams(model, private(&authority))).await.unwrap();
    assert_eq!(client.get("/").await.status, 200);
    let resumed: Vec<bool> = front.sessions().iter().map(|session| session.resumed).collect();
    assert_eq!(resumed, [false, true]);
}

#[tokio::test]
async fn a_configuration_whose_authorities_cannot_be_read_changes_nothing() {
    let origin = Origin::start(Script::ok("still here")).await;
    let text = Setup::to(&origin).text();
    let mut gateway = TestGateway::start(&text).await;
    let broken = |upstream: &mut Upstream| {
        upstream.ca = Some(b"no certificate".to_vec().into());
        upstream.targets[0].tls = true;
    };
    let refused = gateway.apply_with(&text, |model| change_upstreams(model, broken)).await;
    let error = refused.unwrap_err();
    assert!(matches!(error, ApplyError::Authorities { .. }), "{error}");
    assert!(error.to_string().starts_with("the `ca` of upstream app cannot be used"), "{error}");
    let mut client = client(&gateway).await;
    assert_eq!(client.get("/").await.text(), "still here");
    assert!((gateway.metric("gatepost_reloads_refused_total") - 1.0).abs() < 0.1);
}
