//! Which hosts a connection may be asked for after its handshake; the others are misdirected (421).

use std::sync::Arc;

use gatepost_net::tls::{Chosen, Domain, ServerTls, Tickets, TlsVersion};
use gatepost_testkit::Authority;

use crate::setup::{
    BOTH, Client, ONLY_12, certificate, client, client_config, domain, domain_with, meet, named, server,
};

async fn connected(server: &ServerTls, client: &Client, host: &str) -> Chosen {
    meet(server, client, host).await.greet().await.0.chosen
}

#[tokio::test]
async fn a_connection_serves_the_hosts_of_its_domain_only() {
    let authority = Authority::new();
    let server = server(["a.test", "b.test", "*.a.test"].map(|name| domain(&authority, name)));
    let client = client(&authority, BOTH);
    let exact = connected(&server, &client, "a.test").await;
    let below = connected(&server, &client, "x.a.test").await;
    for (host, by_exact, by_below) in [
        ("a.test", true, false),
        ("A.Test", true, false),
        ("a.test.", true, false),
        ("x.a.test", false, true),
        ("y.a.test", false, true),
        ("x.y.a.test", false, false),
        ("b.test", false, false),
        ("c.test", false, false),
        ("127.0.0.1", false, false),
        ("", false, false),
        (".a.test", false, false),
    ] {
        assert_eq!((exact.serves(host), below.serves(host)), (by_exact, by_below), "{host}");
    }
}

#[tokio::test]
async fn a_host_with_a_certificate_of_its_own_is_not_served_under_a_wildcard() {
    let authority = Authority::new();
    let server = server(["*.a.test", "pay.a.test"].map(|name| domain(&authority, name)));
    let client = client(&authority, BOTH);
    assert!(!connected(&server, &client, "www.a.test").await.serves("pay.a.test"));
    assert!(!connected(&server, &client, "pay.a.test").await.serves("www.a.test"));
}

#[tokio::test]
async fn hosts_of_one_certificate_share_a_connection() {
    let authority = Authority::new();
    let shared = authority.issue(&["a.test", "b.test", "*.c.test", "192.0.2.1"]);
    // Read twice, as from two tables that name the same file.
    let domains = ["a.test", "b.test"].map(|name| domain_with(&shared, name));
    let server = server(domains);
    let chosen = connected(&server, &client(&authority, BOTH), "a.test").await;
    for (host, served) in [("b.test", true), ("x.c.test", true), ("192.0.2.1", true), ("192.0.2.2", false)] {
        assert_eq!(chosen.serves(host), served, "{host}");
    }
}

#[tokio::test]
async fn a_connection_too_old_for_a_host_does_not_serve_it() {
    let authority = Authority::new();
    let shared = certificate(&authority.issue(&["old.test", "new.test"]));
    let server = server([
        Domain::new(named("old.test"), shared.clone(), TlsVersion::Tls12).unwrap(),
        Domain::new(named("new.test"), shared, TlsVersion::Tls13).unwrap(),
    ]);
    assert!(!connected(&server, &client(&authority, ONLY_12), "old.test").await.serves("new.test"));
    assert!(connected(&server, &client(&authority, BOTH), "old.test").await.serves("new.test"));
}

#[tokio::test]
async fn a_client_that_names_no_host_may_ask_for_an_address() {
    let authority = Authority::new();
    let server = server([domain(&authority, "a.test")]);
    let mut nameless = client_config(&authority, BOTH);
    nameless.enable_sni = false;
    let chosen = connected(&server, &Arc::new(nameless), "a.test").await;
    for (host, served) in [("127.0.0.1", true), ("[::1]", true), ("a.test", true), ("b.test", false)] {
        assert_eq!(chosen.serves(host), served, "{host}");
    }
}

#[tokio::test]
async fn a_connection_keeps_its_domains_when_they_are_reloaded() {
    let authority = Authority::new();
    let tickets = Tickets::new().unwrap();
    let build = |name| ServerTls::new([domain(&authority, name)], &tickets).unwrap();
    let server = build("a.test");
    let chosen = connected(&server, &client(&authority, BOTH), "a.test").await;
    drop(server);
    let _renewed = build("a.test");
    assert!(chosen.serves("a.test"));
}
