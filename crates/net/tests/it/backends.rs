//! Handshakes with backends: whom the gateway believes.

use std::sync::Arc;

use gatepost_net::Host;
use gatepost_net::tls::{Alpn, ClientTls, ConnectError, ServerTls, Session, TlsError, TlsVersion};
use gatepost_testkit::{Authority, Issued, PATIENCE};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::setup::{domain_with, server, sockets};

fn believing(authority: &Authority) -> ClientTls {
    ClientTls::new(Some(authority.root_pem().as_bytes()), Alpn::Http1).expect("a root")
}

fn host(name: &str) -> Host {
    name.parse().map_or_else(|_| Host::Name(name.into()), Host::Address)
}

/// A backend that presents `issued` for `name`.
fn backend(name: &str, issued: &Issued) -> ServerTls {
    server([domain_with(issued, name)])
}

/// Connects `client` to `backend` as to `name`.
async fn connect(client: &ClientTls, backend: &ServerTls, name: &str) -> Result<Session, ConnectError> {
    let (here, there) = sockets().await;
    let name = host(name);
    let both = async { tokio::join!(backend.accept(here), client.connect(&name, there)) };
    let (_, connected) = timeout(PATIENCE, both).await.expect("a handshake in time");
    connected.map(|(_, session)| session)
}

#[tokio::test]
async fn a_backend_is_believed_by_its_name_or_its_address() {
    let authority = Authority::new();
    let client = believing(&authority);
    for name in ["app.test", "127.0.0.1", "2001:db8::1"] {
        let session = connect(&client, &backend(name, &authority.issue(&[name])), name).await.unwrap();
        assert_eq!((session.version, session.alpn), (TlsVersion::Tls13, Some(Alpn::Http1)));
        assert_eq!(session.cipher, "TLS_AES_128_GCM_SHA256");
    }
}

#[tokio::test]
async fn a_backend_whose_certificate_is_wrong_is_not_believed() {
    let authority = Authority::new();
    let client = believing(&authority);
    let name = "127.0.0.1";
    for (issued, why) in [
        (Authority::new().issue(&[name]), "UnknownIssuer"),
        (Issued::self_signed(&[name]), "UnknownIssuer"),
        (authority.issue_expired(&[name]), "expired"),
        (authority.issue_early(&[name]), "not valid yet"),
    ] {
        let error = connect(&client, &backend(name, &issued), name).await.unwrap_err();
        assert!(matches!(error, ConnectError::Untrusted { .. }), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
    }
    // Its certificate is good, but for another.
    let server = backend(name, &authority.issue(&[name, "app.test"]));
    let error = connect(&client, &server, "127.0.0.2").await.unwrap_err();
    assert!(matches!(error, ConnectError::Untrusted { .. }), "{error:?}");
    assert!(error.to_string().starts_with("the certificate of 127.0.0.2 is not accepted: "), "{error}");
}

#[tokio::test]
async fn without_an_authority_of_ones_own_the_public_ones_are_believed() {
    let authority = Authority::new();
    let client = ClientTls::new(None, Alpn::Http1).unwrap();
    let server = backend("app.test", &authority.issue(&["app.test"]));
    let error = connect(&client, &server, "app.test").await.unwrap_err();
    assert!(matches!(error, ConnectError::Untrusted { .. }), "{error:?}");
}

#[test]
fn a_ca_file_without_a_certificate_is_refused() {
    let issued = Authority::new().issue(&["a.test"]);
    for ca in ["", &*issued.key_pem] {
        let error = ClientTls::new(Some(ca.as_bytes()), Alpn::Http1).unwrap_err();
        assert!(error.to_string().starts_with("the CA file holds no certificate"), "{error}");
    }
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let error = ClientTls::new(Some(broken.as_bytes()), Alpn::Http1).unwrap_err();
    assert!(matches!(error, TlsError::BadCertificate { position: 1, .. }), "{error:?}");
}

#[tokio::test]
async fn a_name_that_no_certificate_has_is_not_dialled_with() {
    let client = believing(&Authority::new());
    let (_here, there) = sockets().await;
    let error = client.connect(&Host::Name("no name".into()), there).await.unwrap_err();
    assert!(matches!(error, ConnectError::Name(_)), "{error:?}");
}

#[tokio::test]
async fn sessions_with_a_backend_are_resumed() {
    let authority = Authority::new();
    let client = believing(&authority);
    let server = backend("app.test", &authority.issue(&["app.test"]));
    let mut resumed = Vec::new();
    for _ in 0..2 {
        let (here, there) = sockets().await;
        let name = host("app.test");
        let (accepted, connected) = tokio::join!(server.accept(here), client.connect(&name, there));
        let ((mut stream, session), mut accepted) = (connected.unwrap(), accepted.unwrap());
        accepted.stream.write_all(b"!").await.unwrap();
        stream.read_u8().await.unwrap();
        resumed.push(session.resumed);
    }
    assert_eq!(resumed, [false, true]);
}

#[tokio::test]
async fn http2_is_spoken_only_if_the_backend_chooses_it() {
    let authority = Authority::new();
    let issued = authority.issue(&["app.test"]);
    let client = ClientTls::new(Some(authority.root_pem().as_bytes()), Alpn::Http2).unwrap();
    let session = connect(&client, &backend("app.test", &issued), "app.test").await.unwrap();
    assert_eq!(session.alpn, Some(Alpn::Http2));

    for chosen in [&[][..], &["http/1.1"]] {
        let (here, there) = sockets().await;
        let name = host("app.test");
        let (_, connected) = tokio::join!(plain_backend(&issued, chosen, here), client.connect(&name, there));
        let error = connected.err().unwrap();
        assert!(matches!(error, ConnectError::NotHttp2(_)), "{error:?}");
    }
}

#[tokio::test]
async fn a_backend_that_knows_no_negotiation_speaks_http1() {
    let authority = Authority::new();
    let issued = authority.issue(&["app.test"]);
    let (here, there) = sockets().await;
    let (client, name) = (believing(&authority), host("app.test"));
    let (_, connected) = tokio::join!(plain_backend(&issued, &[], here), client.connect(&name, there));
    assert_eq!(connected.unwrap().1.alpn, None);
}

#[tokio::test]
async fn a_backend_that_does_not_speak_tls_is_told_from_one_that_leaves() {
    let (client, name) = (believing(&Authority::new()), host("app.test"));
    let (mut here, there) = sockets().await;
    let answer = async { here.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await };
    let (_, connected) = tokio::join!(answer, client.connect(&name, there));
    assert!(matches!(connected.unwrap_err(), ConnectError::Tls { .. }));

    let (mut here, there) = sockets().await;
    let (_, connected) = tokio::join!(async move { here.shutdown().await }, client.connect(&name, there));
    assert!(matches!(connected.unwrap_err(), ConnectError::Io { .. }));
}

/// A backend that negotiates among `protocols`, if there are any.
async fn plain_backend(issued: &Issued, protocols: &[&str], socket: TcpStream) {
    let chain = CertificateDer::pem_slice_iter(issued.chain_pem.as_bytes()).collect::<Result<_, _>>().expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).expect("PEM");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions that it speaks").with_no_client_auth();
    let mut config = config.with_single_cert(chain, key).expect("a certificate and its key");
    config.alpn_protocols = protocols.iter().map(|&id| id.into()).collect();
    // Whether the client goes on is its affair.
    let _ = TlsAcceptor::from(Arc::new(config)).accept(socket).await;
}
