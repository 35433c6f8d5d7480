//! Which certificate is shown, which hosts may be asked for after that, and what a reload changes.

use gatepost_testkit::{Origin, Script, TlsClient, eventually};

use super::{Certificates, HOST};
use crate::setup::{SOON, Setup, refusal};

#[tokio::test]
async fn each_name_is_shown_its_certificate() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::ok("")).await;
    let exact = certificates.authority.issue(&["a.test"]);
    let wildcard = certificates.authority.issue_rsa(&["*.below.test"]);
    let own = certificates.authority.intermediate().issue(&["own.below.test"]);
    let tables = certificates.domain_with("a.test", &exact)
        + &certificates.domain_with("*.below.test", &wildcard)
        + &certificates.domain_with("own.below.test", &own);
    let gateway = Setup::to(&origin).listener("tls = true").tables(&tables).start().await;
    for (host, issued) in
        [("a.test", &exact), ("A.Test", &exact), ("any.below.test", &wildcard), ("own.below.test", &own)]
    {
        let secured = certificates.client().connect(gateway.address(), host).await;
        assert!(secured.shows(issued), "{host}");
        let ask = format!("GET / HTTP/1.1\nhost: {host}:443\n\n");
        assert_eq!(secured.raw().ask(&ask).await.status, 200, "{host}");
    }
    for host in ["below.test", "two.labels.below.test"] {
        certificates.client().try_connect(gateway.address(), host).await.expect_err(host);
    }
}

#[tokio::test]
async fn a_request_for_another_domain_is_421_and_the_connection_goes_on() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::ok("")).await;
    let tables = certificates.domain(HOST) + &certificates.domain("other.test");
    let gateway = Setup::to(&origin).listener("tls = true").tables(&tables).start().await;
    let mut client = certificates.connect(&gateway).await;
    assert_eq!(client.get("/").await.status, 200);
    for host in ["other.test", "OTHER.test:443", "unknown.test", "127.0.0.1"] {
        let response = client.ask(&format!("GET / HTTP/1.1\nhost: {host}\n\n")).await;
        assert_eq!((response.status, &*response.text()), (421, r#"{"message":"Misdirected Request"}"#), "{host}");
        let decision = gateway.decision(response.header("x-gatepost-decision").unwrap()).await;
        assert!(decision.explanation.unwrap().steps.iter().any(|step| !step.passed), "{host}");
        assert!(!response.closes() && response.header("x-gatepost-decision").is_some(), "{}", response.head);
        assert_eq!(client.get("/").await.status, 200, "after {host}");
    }
    let line = refusal(&gateway, "misdirected").await;
    let seen = (&line["verdict"], &line["status"], &line["host"]);
    assert_eq!(seen, (&"refused".into(), &421.into(), &"other.test".into()), "{line}");
    assert_eq!(origin.count(), 5);
}

#[tokio::test]
async fn over_http2_too_a_request_for_another_domain_is_421() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::ok("")).await;
    let tables = certificates.domain(HOST) + &certificates.domain("other.test");
    let gateway = Setup::to(&origin).listener("tls = true").tables(&tables).start().await;
    let mut client = certificates.connect_http2(&gateway, HOST).await;
    for _ in 0..2 {
        assert_eq!(client.get("https://other.test/").await.status(), 421);
        assert_eq!(client.get(&format!("https://{HOST}/")).await.status(), 200);
    }
    // Two at once, on one connection.
    let mut second = client.clone();
    let right = format!("https://{HOST}/");
    let (wrong, right) = tokio::join!(client.get("https://other.test/"), second.get(&right));
    assert_eq!((wrong.status().as_u16(), right.status().as_u16()), (421, 200));
    refusal(&gateway, "misdirected").await;
}

#[tokio::test]
async fn domains_of_one_certificate_share_connections() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::ok("")).await;
    let shared = certificates.authority.issue(&["a.test", "b.test", "c.test"]);
    let tables = certificates.domain_with("a.test", &shared) + &certificates.domain_with("b.test", &shared);
    let gateway = Setup::to(&origin).listener("tls = true").tables(&tables).start().await;
    let mut client = certificates.connect_http2(&gateway, "a.test").await;
    for host in ["a.test", "b.test", "c.test"] {
        assert_eq!(client.get(&format!("https://{host}/")).await.status(), 200, "{host}");
    }
    assert_eq!(client.get("https://d.test/").await.status(), 421);
}

#[tokio::test]
async fn a_new_certificate_is_shown_from_the_next_handshake_on() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::ok("")).await;
    let (old, new) = (certificates.authority.issue(&[HOST]), certificates.authority.issue(&[HOST]));
    let setup = Setup::to(&origin).listener("tls = true").tables(&certificates.domain_with(HOST, &old));
    let mut gateway = setup.start().await;
    let address = gateway.address();
    let mut open = certificates.connect(&gateway).await;
    let mut open_http2 = certificates.connect_http2(&gateway, HOST).await;
    assert_eq!(open.get("/").await.status, 200);
    let clients = [TlsClient::only_12(&certificates.authority), TlsClient::only_13(&certificates.authority)];
    for client in &clients {
        let secured = client.connect(address, HOST).await;
        assert!(secured.shows(&old) && !secured.is_resumed());
        // What sessions are resumed with comes with the answer at the latest.
        assert_eq!(secured.raw().get("/").await.status, 200);
    }

    certificates.domain_with(HOST, &new);
    gateway.apply(&setup.text()).await.expect("it can be served");
    assert!(certificates.client().connect(address, HOST).await.shows(&new));
    assert_eq!(open.get("/").await.status, 200, "who is connected stays");
    assert_eq!(open_http2.get(&format!("https://{HOST}/")).await.status(), 200, "who is connected stays");
    for client in &clients {
        let secured = client.connect(address, HOST).await;
        assert!(secured.is_resumed(), "sessions outlive the certificate");
        assert_eq!(secured.raw().get("/").await.status, 200);
    }
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_changes_nothing() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::ok("")).await;
    let good = certificates.authority.issue(&[HOST]);
    let setup = Setup::to(&origin).listener("tls = true").tables(&certificates.domain_with(HOST, &good));
    let mut gateway = setup.start().await;
    let mut open = certificates.connect(&gateway).await;
    let mut foreign_key = certificates.authority.issue(&[HOST]);
    foreign_key.chain_pem.clone_from(&good.chain_pem);
    for (bad, said) in
        [(foreign_key, "does not belong to the certificate"), (certificates.authority.issue(&["b.test"]), "not valid")]
    {
        certificates.domain_with(HOST, &bad);
        let refused = gateway.apply(&setup.text()).await.expect_err("it cannot be used").to_string();
        assert!(refused.contains(said), "{refused}");
        assert!(certificates.client().connect(gateway.address(), HOST).await.shows(&good));
        assert_eq!(open.get("/").await.status, 200);
    }
    assert!((gateway.metric("gatepost_reloads_refused_total") - 2.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn a_connection_keeps_the_domains_that_it_began_with() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::ok("")).await;
    let setup = certificates.secure(Setup::to(&origin));
    let mut gateway = setup.start().await;
    let mut open = certificates.connect(&gateway).await;
    assert_eq!(open.get("/").await.status, 200);
    gateway.apply(&setup.tables(&certificates.domain("other.test")).text()).await.expect("it can be served");
    assert_eq!(open.get("/").await.status, 200);
    assert_eq!(open.ask("GET / HTTP/1.1\nhost: other.test\n\n").await.status, 421);
    certificates.client().try_connect(gateway.address(), HOST).await.expect_err("it is gone");
    let mut other = certificates.client().connect(gateway.address(), "other.test").await.raw();
    assert_eq!(other.ask("GET / HTTP/1.1\nhost: other.test\n\n").await.status, 200);
}

#[tokio::test]
async fn a_listener_changes_between_tls_and_the_clear_for_the_next_connection() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::ok("")).await;
    let plain = Setup::to(&origin);
    let secure = certificates.secure(plain.clone());
    let mut gateway = plain.start().await;
    let mut in_the_clear = crate::setup::client(&gateway).await;
    assert_eq!(in_the_clear.get("/").await.status, 200);
    gateway.apply(&secure.text()).await.expect("it can be served");
    let mut inside = certificates.connect(&gateway).await;
    for client in [&mut in_the_clear, &mut inside] {
        assert_eq!(client.get("/").await.status, 200);
    }
    let protocols: Vec<_> =
        origin.requests().iter().map(|r| r.header("x-forwarded-proto").map(str::to_owned)).collect();
    assert_eq!(protocols, [Some("http".to_owned()), Some("http".to_owned()), Some("https".to_owned())]);
    gateway.apply(&plain.text()).await.expect("it can be served");
    assert_eq!(inside.get("/").await.status, 200);
    assert_eq!(crate::setup::client(&gateway).await.get("/").await.status, 200);
    eventually(SOON, || origin.count() == 5).await;
}
