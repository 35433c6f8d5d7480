use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore};
use rustls::{SupportedProtocolVersion, version};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::authority::{Authority, Issued};
use crate::eventually::PATIENCE;
use crate::raw::Raw;

/// A client that speaks TLS, trusts one authority, and remembers its sessions. Its clones share them.
#[derive(Debug, Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
}

/// A connection on which the handshake is done.
#[derive(Debug)]
pub struct Secured {
    stream: TlsStream<TcpStream>,
}

impl TlsClient {
    /// One that trusts `authority`, speaks TLS 1.2 and 1.3, and no ALPN.
    #[must_use]
    pub fn new(authority: &Authority) -> Self {
        Self::of_versions(authority, rustls::ALL_VERSIONS)
    }

    /// One that speaks only TLS 1.2.
    #[must_use]
    pub fn only_12(authority: &Authority) -> Self {
        Self::of_versions(authority, &[&version::TLS12])
    }

    /// One that speaks only TLS 1.3.
    #[must_use]
    pub fn only_13(authority: &Authority) -> Self {
        Self::of_versions(authority, &[&version::TLS13])
    }

    fn of_versions(authority: &Authority, versions: &[&'static SupportedProtocolVersion]) -> Self {
        let root = CertificateDer::from_pem_slice(authority.root_pem().as_bytes()).expect("PEM");
        let mut roots = RootCertStore::empty();
        roots.add(root).expect("a certificate");
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(versions).expect("versions that it speaks");
        Self { config: Arc::new(builder.with_root_certificates(roots).with_no_client_auth()) }
    }

    /// The same, offering these protocols (ALPN), the most wanted first: `h2`, `http/1.1`.
    #[must_use]
    pub fn alpn(mut self, protocols: &[&str]) -> Self {
        Arc::make_mut(&mut self.config).alpn_protocols = protocols.iter().map(|&name| name.into()).collect();
        self
    }

    /// The same, naming no host (SNI).
    #[must_use]
    pub fn nameless(mut self) -> Self {
        Arc::make_mut(&mut self.config).enable_sni = false;
        self
    }

    /// The first bytes that it would send to `host`: a whole `ClientHello`.
    ///
    /// # Panics
    /// `host` cannot be a host.
    #[must_use]
    pub fn hello(&self, host: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut connection = ClientConnection::new(Arc::clone(&self.config), name(host)).expect("a client");
        connection.write_tls(&mut bytes).expect("it is only written to memory");
        bytes
    }

    /// Connects, and makes the handshake with `host`.
    ///
    /// # Errors
    /// Nobody listens there, or there is no handshake; see [`alert_in`](Self::alert_in).
    ///
    /// # Panics
    /// `host` cannot be a host.
    pub async fn try_connect(&self, to: SocketAddr, host: &str) -> io::Result<Secured> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        self.secure(stream, host).await
    }

    /// Makes the handshake with `host` on `stream`.
    ///
    /// # Errors
    /// There is none.
    ///
    /// # Panics
    /// `host` cannot be a host.
    pub async fn secure(&self, stream: TcpStream, host: &str) -> io::Result<Secured> {
        let connecting = TlsConnector::from(Arc::clone(&self.config)).connect(name(host), stream);
        Ok(Secured { stream: timeout(PATIENCE, connecting).await?? })
    }

    /// Connects, and makes the handshake with `host`.
    ///
    /// # Panics
    /// There is none.
    pub async fn connect(&self, to: SocketAddr, host: &str) -> Secured {
        self.try_connect(to, host).await.expect("a handshake")
    }

    /// The alert that ended a handshake, if one did: `UnrecognisedName`, say.
    #[must_use]
    pub fn alert_in(error: &io::Error) -> Option<String> {
        let rustls::Error::AlertReceived(alert) = error.get_ref()?.downcast_ref()? else { return None };
        Some(format!("{alert:?}"))
    }
}

impl Secured {
    /// What is spoken inside.
    #[must_use]
    pub fn raw(self) -> Raw {
        let local_address = self.stream.get_ref().0.local_addr().expect("a connected socket");
        Raw::over(self.stream, local_address)
    }

    /// The stream itself.
    #[must_use]
    pub fn stream(self) -> TlsStream<TcpStream> {
        self.stream
    }

    /// Whether an earlier session was resumed.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The version: `1.2` or `1.3`.
    #[must_use]
    pub fn version(&self) -> &'static str {
        match self.stream.get_ref().1.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            Some(ProtocolVersion::TLSv1_2) => "1.2",
            other => panic!("{other:?}"),
        }
    }

    /// The protocol that was chosen (ALPN).
    #[must_use]
    pub fn alpn(&self) -> Option<String> {
        self.stream.get_ref().1.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned())
    }

    /// Whether it is this certificate that was shown.
    ///
    /// # Panics
    /// `issued` holds no certificate.
    #[must_use]
    pub fn shows(&self, issued: &Issued) -> bool {
        let own = CertificateDer::from_pem_slice(issued.chain_pem.as_bytes()).expect("PEM");
        self.stream.get_ref().1.peer_certificates().and_then(<[_]>::first) == Some(&own)
    }
}

fn name(host: &str) -> ServerName<'static> {
    ServerName::try_from(host.to_owned()).expect("a host")
}
