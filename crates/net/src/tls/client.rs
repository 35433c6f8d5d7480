//! The client's side: to backends.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificate::{certificates, server_name};
use super::{Alpn, Material, Session, TlsError, TlsVersion, UNSENT};
use crate::Host;

/// A backend's stream, decrypted. It ends with `UnexpectedEof` when the backend leaves without saying so.
pub type ClientStream<S> = TlsStream<S>;

/// How backends are spoken to over TLS: which authorities are believed, and what is spoken inside. Immutable, and cheap
/// to clone.
///
/// A clone shares the sessions that may be resumed, of at most 256 servers.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    alpn: Alpn,
}

/// A handshake with a backend failed. Nothing of a request was sent.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name is none that a certificate could have.
    #[error("{0} cannot be the name of a TLS server")]
    Name(Host),
    /// Its certificate is not what it must be.
    #[error("the certificate of {host} is not accepted: {problem}{}", hint(problem))]
    Untrusted {
        /// The backend.
        host: Host,
        /// Why not.
        problem: CertificateError,
    },
    /// It does not speak HTTP/2 over TLS.
    #[error("{0} does not speak HTTP/2: it did not choose `h2` (ALPN)")]
    NotHttp2(Host),
    /// The two do not understand one another.
    #[error("the TLS handshake with {host} failed: {source}")]
    Tls {
        /// The backend.
        host: Host,
        /// Why.
        source: rustls::Error,
    },
    /// The connection broke.
    #[error("the connection to {host} broke during the TLS handshake: {source}")]
    Io {
        /// The backend.
        host: Host,
        /// Why.
        source: io::Error,
    },
}

impl ClientTls {
    /// Believes the authorities of `ca` (PEM) and nobody else; without it, those that Mozilla believes, as built in.
    ///
    /// # Errors
    /// `ca` is no PEM, holds no certificate, or one that cannot be an authority.
    pub fn new(ca: Option<&[u8]>, alpn: Alpn) -> Result<Self, TlsError> {
        let mut config = ClientConfig::builder_with_provider(super::provider())
            .with_protocol_versions(TlsVersion::Tls12.and_newer())?
            .with_root_certificates(roots(ca)?)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.id().into()];
        Ok(Self { config: Arc::new(config), alpn })
    }

    /// Makes the handshake with the backend `host` on `stream`: its certificate must be valid for that name or address.
    ///
    /// It waits for the backend as long as the backend likes: the caller sets a deadline.
    ///
    /// # Errors
    /// See [`ConnectError`]. A backend that does not speak ALPN is taken to speak HTTP/1.1.
    pub async fn connect<S>(&self, host: &Host, stream: S) -> Result<(ClientStream<S>, Session), ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = name_of(host).ok_or_else(|| ConnectError::Name(host.clone()))?;
        let connector = TlsConnector::from(self.config.clone());
        let limited = |connection: &mut rustls::ClientConnection| connection.set_buffer_limit(Some(UNSENT));
        let handshake = connector.connect_with(name, stream, limited).await;
        let stream = handshake.map_err(|error| self.failure(host, error))?;
        let Some(session) = Session::of(stream.get_ref().1) else {
            return Err(ConnectError::Tls { host: host.clone(), source: rustls::Error::HandshakeNotComplete });
        };
        match (self.alpn, session.alpn) {
            (Alpn::Http2, None | Some(Alpn::Http1)) => Err(ConnectError::NotHttp2(host.clone())),
            (Alpn::Http2, Some(Alpn::Http2)) | (Alpn::Http1, _) => Ok((stream, session)),
        }
    }

    fn failure(&self, host: &Host, error: io::Error) -> ConnectError {
        use rustls::AlertDescription::NoApplicationProtocol;
        let host = host.clone();
        match (error.downcast::<rustls::Error>(), self.alpn) {
            (Ok(rustls::Error::InvalidCertificate(problem)), _) => ConnectError::Untrusted { host, problem },
            (Ok(rustls::Error::AlertReceived(NoApplicationProtocol)), Alpn::Http2) => ConnectError::NotHttp2(host),
            (Ok(source), _) => ConnectError::Tls { host, source },
            (Err(source), _) => ConnectError::Io { host, source },
        }
    }
}

fn name_of(host: &Host) -> Option<ServerName<'static>> {
    match host {
        Host::Address(address) => Some(ServerName::from(*address)),
        Host::Name(name) => server_name(name).map(|name| name.to_owned()),
    }
}

fn roots(ca: Option<&[u8]>) -> Result<RootCertStore, TlsError> {
    let Some(ca) = ca else {
        return Ok(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect());
    };
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates(ca, Material::Authorities)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|problem| TlsError::BadCertificate {
            material: Material::Authorities,
            position: index + 1,
            problem: problem.to_string(),
        })?;
    }
    Ok(roots)
}

fn hint(problem: &CertificateError) -> &'static str {
    if *problem == CertificateError::UnknownIssuer {
        " (no authority that is believed has issued it)"
    } else if problem.to_string().contains("CaUsedAsEndEntity") {
        " (it is an authority's own: make one for the server, with CA:FALSE)"
    } else {
        ""
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ClientTls({})", self.alpn)
    }
}
