//! What the clients offer in a handshake. They believe every certificate: checking them is work of the client alone.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, NamedGroup, SignatureScheme, SupportedCipherSuite};

use crate::Outcome;
use crate::certificate::HOST;
use crate::front::Http;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Version {
    Tls12,
    Tls13,
}

/// AES-128-GCM, in its version for every kind of handshake.
const CIPHERS: [SupportedCipherSuite; 3] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
];

/// The key exchange that a client wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exchange {
    X25519,
    /// X25519 together with ML-KEM-768, which is to withstand quantum computers.
    PostQuantum,
}

impl Exchange {
    pub(crate) fn group(self) -> NamedGroup {
        match self {
            Self::X25519 => NamedGroup::X25519,
            Self::PostQuantum => NamedGroup::X25519MLKEM768,
        }
    }
}

/// What a client offers: so little that every server chooses alike.
#[derive(Clone, Copy)]
pub(crate) struct Offer {
    pub(crate) version: Version,
    pub(crate) exchange: Exchange,
    pub(crate) http: Http,
    /// Whether sessions are kept to be resumed, by all connections of one configuration.
    pub(crate) resume: bool,
}

impl Offer {
    /// TLS 1.3, without resumption.
    pub(crate) fn of(http: Http) -> Self {
        Self { version: Version::Tls13, exchange: Exchange::X25519, http, resume: false }
    }

    pub(crate) fn config(self) -> Outcome<Arc<ClientConfig>> {
        let kx_groups = match self.exchange {
            // P-256 comes last and is never chosen, but in TLS 1.2 a certificate with such a key calls for it (RFC 8422, 5.1).
            Exchange::X25519 => vec![aws_lc_rs::kx_group::X25519, aws_lc_rs::kx_group::SECP256R1],
            Exchange::PostQuantum => vec![aws_lc_rs::kx_group::X25519MLKEM768],
        };
        let provider = CryptoProvider { kx_groups, cipher_suites: CIPHERS.to_vec(), ..aws_lc_rs::default_provider() };
        let version = match self.version {
            Version::Tls12 => &TLS12,
            Version::Tls13 => &TLS13,
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Credulous))
            .with_no_client_auth();
        config.alpn_protocols = match self.http {
            Http::One => vec![b"http/1.1".to_vec()],
            Http::Two => vec![b"h2".to_vec()],
        };
        config.resumption = if self.resume { Resumption::in_memory_sessions(16) } else { Resumption::disabled() };
        Ok(Arc::new(config))
    }
}

/// The host that clients name.
pub(crate) fn host() -> Outcome<ServerName<'static>> {
    Ok(ServerName::try_from(HOST)?)
}

#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256]
    }
}
