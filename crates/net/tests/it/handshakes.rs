//! Handshakes: the certificate by name, versions, what is negotiated, and how a refusal sounds.

use std::sync::Arc;

use gatepost_net::tls::{Alpn, HandshakeError, ServerTls, TlsVersion};
use gatepost_testkit::Authority;
use rustls::AlertDescription;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::setup::{BOTH, ONLY_12, ONLY_13, client, client_config, client_of, domain, domain_from, meet, server};

/// The domain that both ends have agreed on; the client has verified the certificate for `host`.
async fn chosen(server: &ServerTls, authority: &Authority, host: &str) -> String {
    let (accepted, _) = meet(server, &client(authority, BOTH), host).await.greet().await;
    accepted.chosen.domain().name().to_string()
}

#[tokio::test]
async fn the_certificate_is_that_of_the_exact_name_or_of_the_wildcard_above() {
    let authority = Authority::new();
    let server = server(["a.test", "*.a.test", "b.a.test"].map(|name| domain(&authority, name)));
    assert_eq!(chosen(&server, &authority, "a.test").await, "a.test");
    assert_eq!(chosen(&server, &authority, "b.a.test").await, "b.a.test");
    assert_eq!(chosen(&server, &authority, "c.a.test").await, "*.a.test");
    assert_eq!(chosen(&server, &authority, "B.A.Test").await, "b.a.test");
}

#[tokio::test]
async fn an_unknown_name_is_refused_with_the_alert_that_says_so() {
    let authority = Authority::new();
    let server = server(["a.test", "*.b.test"].map(|name| domain(&authority, name)));
    for unknown in ["c.test", "x.y.b.test", "b.test"] {
        let met = meet(&server, &client(&authority, BOTH), unknown).await;
        assert!(matches!(&met.server, Err(HandshakeError::UnknownName(name)) if **name == *unknown));
        assert_eq!(met.alert(), AlertDescription::UnrecognisedName);
    }
}

#[tokio::test]
async fn without_a_name_there_must_be_one_domain_only() {
    let authority = Authority::new();
    let mut nameless = client_config(&authority, BOTH);
    nameless.enable_sni = false;
    let nameless = Arc::new(nameless);

    let (accepted, _) = meet(&server([domain(&authority, "a.test")]), &nameless, "a.test").await.greet().await;
    assert_eq!(accepted.chosen.domain().name().to_string(), "a.test");

    let met = meet(&server(["a.test", "b.test"].map(|name| domain(&authority, name))), &nameless, "a.test").await;
    assert!(matches!(met.server, Err(HandshakeError::NoName)));
    assert_eq!(met.alert(), AlertDescription::MissingExtension);
}

#[tokio::test]
async fn the_newest_version_is_spoken_and_told() {
    let authority = Authority::new();
    let server = server([domain(&authority, "a.test")]);
    let (new, stream) = meet(&server, &client(&authority, BOTH), "a.test").await.greet().await;
    assert_eq!(new.session.version, TlsVersion::Tls13);
    assert_eq!(new.session.version.to_string(), "TLSv1.3");
    assert_eq!(new.session.cipher, "TLS_AES_256_GCM_SHA384");
    assert!(!new.session.resumed);
    let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), rustls::NamedGroup::X25519MLKEM768);

    let (old, _) = meet(&server, &client(&authority, ONLY_12), "a.test").await.greet().await;
    assert_eq!(old.session.version, TlsVersion::Tls12);
    assert_eq!(old.session.cipher, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384");
}

#[tokio::test]
async fn every_suite_and_every_group_that_is_promised_is_spoken() {
    let authority = Authority::new();
    let server = server([domain(&authority, "a.test")]);
    let mut provider = default_provider();
    for suite in [
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ] {
        for group in [kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1] {
            if suite.tls13().is_none() && group.name() == rustls::NamedGroup::X25519MLKEM768 {
                continue;
            }
            (provider.cipher_suites, provider.kx_groups) = (vec![suite], vec![group]);
            let versions = if suite.tls13().is_some() { ONLY_13 } else { ONLY_12 };
            let client = Arc::new(client_of(provider.clone(), &authority, versions));
            meet(&server, &client, "a.test").await.greet().await;
        }
    }
}

#[tokio::test]
async fn a_domain_may_refuse_what_another_still_speaks() {
    let authority = Authority::new();
    let domains = [
        domain_from(&authority, "new.test", TlsVersion::Tls13),
        domain_from(&authority, "old.test", TlsVersion::Tls12),
    ];
    let server = server(domains);
    let old = client(&authority, ONLY_12);
    meet(&server, &old, "old.test").await.greet().await;
    let met = meet(&server, &old, "new.test").await;
    assert!(matches!(met.server, Err(HandshakeError::Tls(rustls::Error::PeerIncompatible(_)))));
    assert_eq!(met.alert(), AlertDescription::ProtocolVersion);
    meet(&server, &client(&authority, ONLY_13), "new.test").await.greet().await;
}

#[tokio::test]
async fn http2_is_preferred_and_http1_is_spoken_without_negotiation() {
    let authority = Authority::new();
    let server = server([domain(&authority, "a.test")]);
    for (offered, spoken) in [
        (&["http/1.1", "h2"][..], Some(Alpn::Http2)),
        (&["h2"], Some(Alpn::Http2)),
        (&["http/1.1"], Some(Alpn::Http1)),
        (&[], None),
    ] {
        let mut config = client_config(&authority, BOTH);
        config.alpn_protocols = offered.iter().map(|&id| id.into()).collect();
        let (accepted, client) = meet(&server, &Arc::new(config), "a.test").await.greet().await;
        assert_eq!(accepted.session.alpn, spoken);
        assert_eq!(client.get_ref().1.alpn_protocol(), spoken.map(|alpn| alpn.id().as_bytes()));
    }
    let mut config = client_config(&authority, BOTH);
    config.alpn_protocols = vec![b"gopher".to_vec()];
    let met = meet(&server, &Arc::new(config), "a.test").await;
    assert_eq!(met.alert(), AlertDescription::NoApplicationProtocol);
}

#[tokio::test]
async fn what_is_larger_than_every_buffer_arrives_whole() {
    let authority = Authority::new();
    let met = meet(&server([domain(&authority, "a.test")]), &client(&authority, BOTH), "a.test").await;
    let (mut accepted, mut client) = met.greet().await;
    let sent: Vec<u8> = (0..1_000_000_u32).map(|index| (index % 251) as u8).collect();
    let copy = sent.clone();
    let writing = async move {
        accepted.stream.write_all(&copy).await.unwrap();
        accepted.stream.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    let (_, read) = tokio::join!(writing, client.read_to_end(&mut received));
    read.unwrap();
    assert_eq!(received, sent);
}
