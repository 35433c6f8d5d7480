//! Two ends of a connection on loopback that make a handshake.

use std::io;
use std::sync::Arc;

use gatepost_net::tls::{Accepted, Certificate, Domain, DomainName, HandshakeError, ServerTls, Tickets, TlsVersion};
use gatepost_testkit::{Authority, Issued, PATIENCE};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) type Client = Arc<ClientConfig>;

pub(crate) static BOTH: &[&SupportedProtocolVersion] = rustls::ALL_VERSIONS;
pub(crate) static ONLY_12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
pub(crate) static ONLY_13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// What both ends have of a handshake.
pub(crate) struct Met {
    pub(crate) server: Result<Accepted<TcpStream>, HandshakeError>,
    pub(crate) client: io::Result<TlsStream<TcpStream>>,
}

/// A name as it is written in a configuration.
pub(crate) fn named(name: &str) -> DomainName {
    match name.strip_prefix("*.") {
        Some(parent) => DomainName::Below(parent.into()),
        None => DomainName::Exact(name.into()),
    }
}

pub(crate) fn certificate(issued: &Issued) -> Arc<Certificate> {
    let certificate = Certificate::from_pem(issued.chain_pem.as_bytes(), issued.key_pem.as_bytes());
    Arc::new(certificate.expect("a certificate and its key"))
}

/// A domain with a certificate of its own.
pub(crate) fn domain(authority: &Authority, name: &str) -> Domain {
    domain_from(authority, name, TlsVersion::Tls12)
}

pub(crate) fn domain_from(authority: &Authority, name: &str, oldest: TlsVersion) -> Domain {
    Domain::new(named(name), certificate(&authority.issue(&[name])), oldest).expect("a certificate for that name")
}

/// A domain with the certificate `issued`.
pub(crate) fn domain_with(issued: &Issued, name: &str) -> Domain {
    Domain::new(named(name), certificate(issued), TlsVersion::Tls12).expect("a certificate for that name")
}

pub(crate) fn server(domains: impl IntoIterator<Item = Domain>) -> ServerTls {
    ServerTls::new(domains, &Tickets::new().expect("randomness")).expect("domains of different names")
}

/// A client that trusts `authority`.
pub(crate) fn client(authority: &Authority, versions: &[&'static SupportedProtocolVersion]) -> Client {
    Arc::new(client_config(authority, versions))
}

pub(crate) fn client_config(authority: &Authority, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    client_of(default_provider(), authority, versions)
}

/// A client that speaks what `provider` does.
pub(crate) fn client_of(
    provider: CryptoProvider,
    authority: &Authority,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let root = CertificateDer::from_pem_slice(authority.root_pem().as_bytes()).expect("PEM");
    let mut roots = RootCertStore::empty();
    roots.add(root).expect("a certificate");
    let builder = ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(versions);
    builder.expect("versions that it speaks").with_root_certificates(roots).with_no_client_auth()
}

/// The two ends of a connection.
pub(crate) async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let there = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("somebody listens");
    (listener.accept().await.expect("a connection").0, there)
}

/// Lets `client` connect to `server` as to `host`.
pub(crate) async fn meet(server: &ServerTls, client: &Client, host: &str) -> Met {
    let (here, there) = sockets().await;
    let name = ServerName::try_from(host.to_owned()).expect("a name");
    let connecting = TlsConnector::from(client.clone()).connect(name, there);
    let both = async { tokio::join!(server.accept(here), connecting) };
    let (server, client) = timeout(PATIENCE, both).await.expect("a handshake in time");
    Met { server, client }
}

impl Met {
    /// Both ends, after each has heard the other: what comes after the handshake has arrived by then.
    pub(crate) async fn greet(self) -> (Accepted<TcpStream>, TlsStream<TcpStream>) {
        let (mut server, mut client) = (self.server.expect("a handshake"), self.client.expect("a handshake"));
        let mut heard = [0; 5];
        client.write_all(b"hello").await.expect("it is sent");
        server.stream.read_exact(&mut heard).await.expect("it arrives");
        server.stream.write_all(b"howdy").await.expect("it is sent");
        client.read_exact(&mut heard).await.expect("it arrives");
        assert_eq!(&heard, b"howdy");
        (server, client)
    }

    /// The alert that the client was sent.
    pub(crate) fn alert(&self) -> rustls::AlertDescription {
        let error = self.client.as_ref().expect_err("no handshake");
        match error.get_ref().and_then(|error| error.downcast_ref()) {
            Some(rustls::Error::AlertReceived(alert)) => *alert,
            other => panic!("{error}: {other:?}"),
        }
    }
}
