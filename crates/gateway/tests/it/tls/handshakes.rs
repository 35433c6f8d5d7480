//! Who does not come to terms, or takes too long.

use std::time::Duration;

use gatepost_testkit::{Origin, Raw, Script, TestGateway, TlsClient, eventually};
use tokio::time::Instant;

use super::{Certificates, HOST};
use crate::setup::{SOON, Setup, assert_one_second, refusal};

/// A gateway whose clients have a second for what comes before a request's headers, and for these.
async fn hasty(certificates: &Certificates, origin: &Origin) -> TestGateway {
    certificates.secure(Setup::to(origin).limits(r#"header_timeout = "1s""#)).start().await
}

#[tokio::test]
async fn a_client_that_says_nothing_is_closed_and_not_worth_a_line() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::ok("")).await;
    let gateway = hasty(&certificates, &origin).await;
    let mut silent = Raw::connect(gateway.address()).await;
    assert_one_second(silent.expect_close(SOON).await);
    let mut silent = certificates.connect(&gateway).await;
    assert_one_second(silent.expect_close(SOON).await);
    // A probe that only connects.
    drop(Raw::connect(gateway.address()).await);
    assert_eq!(certificates.connect(&gateway).await.get("/").await.status, 200);
    let lines = gateway.log_until(|lines| !lines.is_empty(), SOON).await;
    assert!(matches!(&lines[..], [only] if only["status"] == 200), "{lines:#?}");
}

#[tokio::test]
async fn half_a_hello_is_cut_at_the_header_timeout() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::ok("")).await;
    let hello = certificates.client().hello(HOST);
    for length in [1, 5, 6, hello.len() / 2, hello.len() - 1, hello.len()] {
        let gateway = hasty(&certificates, &origin).await;
        let mut client = Raw::connect(gateway.address()).await;
        let started = Instant::now();
        client.send(&hello[..length]).await;
        client.read_to_end().await;
        assert_one_second(started.elapsed());
        let line = refusal(&gateway, "header_timeout").await;
        assert_eq!((&line["client"], &line["client_from"]), (&"127.0.0.1".into(), &"socket".into()), "{line}");
        assert!(line.get("status").is_none() && line.get("method").is_none(), "{line}");
    }
}

#[tokio::test]
async fn a_hello_byte_by_byte_is_cut_at_the_header_timeout() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::ok("")).await;
    let gateway = hasty(&certificates, &origin).await;
    let mut client = Raw::connect(gateway.address()).await;
    let started = Instant::now();
    let sent = client.send_slowly(certificates.client().hello(HOST), 1, Duration::from_millis(50)).await;
    sent.expect_err("it is closed meanwhile");
    assert_one_second(started.elapsed());
    refusal(&gateway, "header_timeout").await;
}

#[tokio::test]
async fn a_hello_in_pieces_is_understood() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::ok("")).await;
    let gateway = certificates.secure(Setup::to(&origin)).start().await;
    let hello = certificates.client().hello(HOST);
    let mut client = Raw::connect(gateway.address()).await;
    client.send_slowly(&hello, 7, Duration::from_millis(1)).await.expect("the gateway reads");
    let answer = client.read(6).await.expect("an answer");
    assert_eq!((answer[0], answer[5]), (22, 2), "a ServerHello: {answer:?}");
}

#[tokio::test]
async fn half_a_head_is_cut_at_the_header_timeout() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::ok("")).await;
    let gateway = hasty(&certificates, &origin).await;
    let mut client = certificates.connect(&gateway).await;
    client.send("GET / HTTP/1.1\r\nhost:").await;
    let started = Instant::now();
    client.read_to_end().await;
    assert_one_second(started.elapsed());
    let line = refusal(&gateway, "header_timeout").await;
    assert_eq!(line["tls"], "1.3", "{line}");
}

#[tokio::test]
async fn a_name_without_a_certificate_is_refused() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::ok("")).await;
    let gateway = certificates.secure(Setup::to(&origin)).start().await;
    for client in [TlsClient::only_12(&certificates.authority), TlsClient::only_13(&certificates.authority)] {
        let error = client.try_connect(gateway.address(), "other.test").await.expect_err("no certificate");
        assert_eq!(TlsClient::alert_in(&error).as_deref(), Some("UnrecognisedName"));
    }
    let line = refusal(&gateway, "tls_handshake").await;
    assert_eq!((&line["verdict"], &line["client"]), (&"refused".into(), &"127.0.0.1".into()), "{line}");
    assert_eq!(line["detail"], "there is no certificate for other.test", "{line}");
    assert_eq!(origin.accepted(), 0);
}

#[tokio::test]
async fn a_client_that_names_no_host_is_served_if_there_is_only_one() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::ok("")).await;
    let setup = certificates.secure(Setup::to(&origin));
    let mut gateway = setup.start().await;
    let nameless = certificates.client().nameless();
    assert_eq!(nameless.connect(gateway.address(), HOST).await.raw().get("/").await.status, 200);
    let two = certificates.domain(HOST) + &certificates.domain("second.test");
    gateway.apply(&setup.tables(&two).text()).await.expect("it can be served");
    let error = nameless.try_connect(gateway.address(), HOST).await.expect_err("two to choose from");
    assert_eq!(TlsClient::alert_in(&error).as_deref(), Some("MissingExtension"));
    assert!(refusal(&gateway, "tls_handshake").await["detail"].as_str().unwrap().contains("names no host"));
}

#[tokio::test]
async fn plain_http_is_told_that_https_is_spoken() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::ok("")).await;
    let gateway = certificates.secure(Setup::to(&origin)).start().await;
    let response = Raw::connect(gateway.address()).await.get("/").await;
    assert_eq!((response.status, response.closes()), (400, true));
    assert!(response.text().contains("HTTPS"), "{}", response.text());
    assert_eq!(refusal(&gateway, "tls_handshake").await["detail"], "plain HTTP came where TLS is spoken");
    assert_eq!(origin.accepted(), 0);
}

#[tokio::test]
async fn a_listener_in_the_clear_does_not_answer_a_hello() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    certificates.client().try_connect(gateway.address(), HOST).await.expect_err("no handshake");
    assert_eq!(refusal(&gateway, "malformed").await["status"], 400);
}

#[tokio::test]
async fn the_oldest_version_is_the_domains_own() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::ok("")).await;
    let strict = certificates.domain(HOST) + "min_tls = \"1.3\"\n" + &certificates.domain("lax.test");
    let gateway = Setup::to(&origin).listener("tls = true").tables(&strict).start().await;
    let old = TlsClient::only_12(&certificates.authority);
    let error = old.try_connect(gateway.address(), HOST).await.expect_err("too old");
    assert_eq!(TlsClient::alert_in(&error).as_deref(), Some("ProtocolVersion"));
    refusal(&gateway, "tls_handshake").await;
    let mut lax = old.connect(gateway.address(), "lax.test").await.raw();
    assert_eq!(lax.ask("GET / HTTP/1.1\nhost: lax.test\n\n").await.status, 200);
    assert_eq!(certificates.client().connect(gateway.address(), HOST).await.version(), "1.3");
}

#[tokio::test]
async fn handshakes_under_way_count_among_the_connections() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::ok("")).await;
    let gateway = certificates.secure(Setup::to(&origin).limits("connections = 2")).start().await;
    let hello = certificates.client().hello(HOST);
    let (silent, mut half) = (Raw::connect(gateway.address()).await, Raw::connect(gateway.address()).await);
    half.send(&hello[..hello.len() / 2]).await;
    let turned_away = "gatepost_connections_turned_away_total{listener=\"default\"}";
    eventually(SOON, || gateway.metrics().contains("gatepost_connections{listener=\"default\"} 2")).await;
    certificates.client().try_connect(gateway.address(), HOST).await.expect_err("there is no room");
    assert!(gateway.metrics().contains(&format!("{turned_away} 1")), "{}", gateway.metrics());
    drop(silent);
    eventually(SOON, || gateway.metrics().contains("gatepost_connections{listener=\"default\"} 1")).await;
    assert_eq!(certificates.connect(&gateway).await.get("/").await.status, 200);
}
