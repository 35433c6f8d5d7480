//! TLS, to clients and to backends: the certificates of domains, handshakes, and whom a backend's certificate convinces.
//!
//! Everything of `rustls` stays in here. What is spoken follows Mozilla's "intermediate" profile: TLS 1.3 and 1.2, of the
//! latter only ECDHE with authenticated encryption; X25519MLKEM768, X25519, P-256 and P-384; the client's order decides.
//! Nothing here reads a file, spawns a task or has a timer: who calls bounds a handshake by a deadline of its own.

mod accept;
mod certificate;
mod client;
mod server;

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{CipherSuite, CommonState, HandshakeKind, ProtocolVersion, SupportedCipherSuite};
use rustls::{SupportedProtocolVersion, version};
use thiserror::Error;

pub use accept::{Accepted, Foreign, HandshakeError, ServerStream};
pub use certificate::{Certificate, Concern};
pub use client::{ClientStream, ClientTls, ConnectError};
pub use server::{Chosen, Domain, DomainName, ServerTls, Tickets};

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// 1.2 (RFC 5246).
    Tls12,
    /// 1.3 (RFC 8446).
    Tls13,
}

/// What is spoken inside, as negotiated by ALPN (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alpn {
    /// `http/1.1`.
    Http1,
    /// `h2`.
    Http2,
}

/// What a handshake came to, for logs and for what is spoken next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The version.
    pub version: TlsVersion,
    /// The cipher suite by its name in the registry of IANA, such as `TLS_AES_128_GCM_SHA256`.
    pub cipher: &'static str,
    /// What is spoken inside; absent: the other side does not speak ALPN, so HTTP/1.1.
    pub alpn: Option<Alpn>,
    /// Whether an earlier session was resumed, at a fraction of the work of a whole handshake.
    pub resumed: bool,
}

/// Certificates, keys or roots that cannot be used. No byte of a key is ever told.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// It is not well-formed PEM (RFC 7468).
    #[error("{material} cannot be read as PEM: {problem}")]
    NotPem {
        /// What was read.
        material: Material,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There is no certificate in it.
    #[error("{0} holds no certificate: it must hold at least one section `-----BEGIN CERTIFICATE-----`")]
    NoCertificate(Material),
    /// A certificate in it cannot be read.
    #[error("certificate {position} of {material} cannot be used: {problem}")]
    BadCertificate {
        /// What was read.
        material: Material,
        /// Which one, counted from 1.
        position: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no key in it.
    #[error("the key file holds no private key: it must hold one section `-----BEGIN PRIVATE KEY-----`")]
    NoKey,
    /// The key is protected by a passphrase.
    #[error("the private key is encrypted: remove its passphrase, say with `openssl pkey -in KEY -out NEWKEY`")]
    EncryptedKey,
    /// There are several keys in it.
    #[error("the key file holds {0} private keys: it must hold one, that of the first certificate")]
    SeveralKeys(usize),
    /// The key is of no kind that is spoken.
    #[error(
        "the private key cannot be used: it must be RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or Ed25519"
    )]
    UnusableKey,
    /// The key is none of the certificates'.
    #[error("the private key does not belong to the certificate: the two were not made together")]
    KeyMismatch,
    /// The key is that of another certificate of the chain.
    #[error("the private key belongs to certificate {0} of the chain: that one must come first, its issuers after it")]
    KeyOfLaterCertificate(usize),
    /// The certificate is for other names.
    #[error("the certificate is not valid for {name}: {presented}")]
    WrongName {
        /// The domain's name.
        name: DomainName,
        /// Which names it is valid for, in words.
        presented: String,
    },
    /// Two domains have one name.
    #[error("two domains are named {0}")]
    SameName(DomainName),
    /// There is no domain, so no certificate to present.
    #[error("there is no domain, and so no certificate: every handshake would be refused")]
    NoDomain,
    /// The library refuses for a reason of its own.
    #[error("TLS cannot be set up: {0}")]
    Library(#[from] rustls::Error),
}

/// What PEM was read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Material {
    /// A certificate and those of its issuers.
    Chain,
    /// A private key.
    Key,
    /// Certificates of authorities.
    Authorities,
}

/// What may be written and not yet sent, in bytes, before writing waits.
///
/// With it, a connection is bounded: this much going out, one record of 16 KiB coming in, as much again of it
/// decrypted. An idle connection holds none of these, only about 8 KiB of keys and state.
const UNSENT: usize = 64 * 1024;

/// The suites of Mozilla's intermediate profile, in its order.
static SUITES: [SupportedCipherSuite; 9] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// The groups for key exchange, the most wanted first.
static GROUPS: [&dyn SupportedKxGroup; 4] =
    [kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];

/// The cryptography of both sides. Passed on, never installed as the default of the process.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { cipher_suites: SUITES.to_vec(), kx_groups: GROUPS.to_vec(), ..default_provider() })
}

impl TlsVersion {
    /// The versions that are spoken when this is the oldest.
    fn and_newer(self) -> &'static [&'static SupportedProtocolVersion] {
        static ALL: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
        match self {
            Self::Tls12 => &ALL,
            Self::Tls13 => &ALL[..1],
        }
    }
}

impl Alpn {
    /// Its name in the registry of IANA.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
        }
    }

    fn of(id: &[u8]) -> Option<Self> {
        [Self::Http1, Self::Http2].into_iter().find(|alpn| alpn.id().as_bytes() == id)
    }
}

impl Session {
    /// Reads it off a connection whose handshake is done; none before that.
    fn of(connection: &CommonState) -> Option<Self> {
        let is_newest = connection.protocol_version()? == ProtocolVersion::TLSv1_3;
        Some(Self {
            version: if is_newest { TlsVersion::Tls13 } else { TlsVersion::Tls12 },
            cipher: registered_name(connection.negotiated_cipher_suite()?.suite()),
            alpn: connection.alpn_protocol().and_then(Alpn::of),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        })
    }
}

/// What IANA calls a suite; the library has other names for those of TLS 1.3.
fn registered_name(suite: CipherSuite) -> &'static str {
    const OF_TLS13: [(CipherSuite, &str); 3] = [
        (CipherSuite::TLS13_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256"),
        (CipherSuite::TLS13_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384"),
        (CipherSuite::TLS13_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256"),
    ];
    let renamed = OF_TLS13.into_iter().find(|(known, _)| *known == suite);
    renamed.map(|(_, name)| name).or(suite.as_str()).unwrap_or("unknown")
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        })
    }
}

impl fmt::Display for Alpn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.id())
    }
}

impl fmt::Display for Material {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Chain => "the certificate file",
            Self::Key => "the key file",
            Self::Authorities => "the CA file",
        })
    }
}
