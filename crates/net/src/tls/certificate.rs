//! A certificate with its issuers and its key, as read from PEM, and what it says of itself.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SigningKey};
use webpki::{EndEntityCert, KeyUsage};

use super::{DomainName, Material, TlsError};

/// A certificate, those of its issuers, and its private key.
///
/// Whether anybody trusts it is not looked at: it may be self-signed or of a private authority. `Debug` tells its names
/// only.
pub struct Certificate {
    pub(super) certified: Arc<CertifiedKey>,
    names: Box<[Box<str>]>,
    from: SystemTime,
    until: SystemTime,
}

/// Why clients will not accept a certificate at a given time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concern {
    /// It is valid only after this long. Is the clock right?
    NotYetValid(Duration),
    /// It stopped being valid this long ago.
    Expired(Duration),
}

impl Certificate {
    /// Reads a chain, the certificate itself first, and its private key (PKCS#8, PKCS#1 or SEC1), both PEM. Sections of
    /// other kinds are passed over, so one file may hold both.
    ///
    /// # Errors
    /// One of the two is no PEM, holds none or too many, or they do not belong together. That the certificate is out of
    /// its time is no error but a [`Concern`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = certificates(chain, Material::Chain)?;
        let key = signing_key(key, &super::provider())?;
        let certified = CertifiedKey::new(chain, key);
        check_key(&certified)?;
        let leaf = certified.end_entity_cert()?;
        let leaf = EndEntityCert::try_from(leaf).map_err(|problem| bad_leaf(&problem))?;
        let names = leaf.valid_dns_names().map(|name| name.to_ascii_lowercase().into()).collect();
        let (from, until) = validity(&leaf)?;
        Ok(Self { names, from, until, certified: Arc::new(certified) })
    }

    /// The DNS names it is valid for, in lower case, wildcards as `*.example.com`; not the addresses.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// The first moment at which it is valid.
    #[must_use]
    pub fn valid_from(&self) -> SystemTime {
        self.from
    }

    /// The last moment at which it is valid.
    #[must_use]
    pub fn valid_until(&self) -> SystemTime {
        self.until
    }

    /// Why clients will not accept it at `now`, if it is out of its time.
    #[must_use]
    pub fn concern(&self, now: SystemTime) -> Option<Concern> {
        if let Ok(wait) = self.from.duration_since(now)
            && !wait.is_zero()
        {
            return Some(Concern::NotYetValid(wait));
        }
        now.duration_since(self.until).ok().filter(|since| !since.is_zero()).map(Concern::Expired)
    }

    /// Whether it is valid for `host`, a name or an address (IPv6 with or without brackets), by RFC 9525: a wildcard
    /// stands for one whole label, the common name does not count.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        let Some(name) = server_name(host) else { return false };
        let Ok(leaf) = self.certified.end_entity_cert() else { return false };
        EndEntityCert::try_from(leaf).is_ok_and(|leaf| leaf.verify_is_valid_for_subject_name(&name).is_ok())
    }

    /// Whether it is valid for all of a domain.
    pub(super) fn covers_domain(&self, name: &DomainName) -> bool {
        match name {
            DomainName::Exact(host) => self.covers(host),
            DomainName::Below(parent) => self.names().any(|name| name.strip_prefix("*.") == Some(parent)),
        }
    }

    /// Whether both present the same certificate, wherever it was read from.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.certified.cert.first() == other.certified.cert.first()
    }

    /// Which names it is valid for, in words, a few at most.
    pub(super) fn presented(&self) -> String {
        const TOLD: usize = 8;
        let told: Vec<&str> = self.names().take(TOLD).collect();
        match (told.is_empty(), self.names.len().saturating_sub(TOLD)) {
            (true, _) => {
                "it has no DNS name among its subject alternative names (its common name does not count)".into()
            }
            (false, 0) => format!("it is for {}", told.join(", ")),
            (false, more) => format!("it is for {} and {more} more", told.join(", ")),
        }
    }
}

/// All certificates of `pem`, at least one.
pub(super) fn certificates(pem: &[u8], material: Material) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| not_pem(material, &error))?;
    if found.is_empty() { Err(TlsError::NoCertificate(material)) } else { Ok(found) }
}

/// The name in a certificate that stands for `host`.
pub(super) fn server_name(host: &str) -> Option<ServerName<'_>> {
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match literal.parse::<IpAddr>() {
        Ok(address) => Some(ServerName::from(address)),
        Err(_) => ServerName::try_from(host).ok(),
    }
}

fn signing_key(pem: &[u8], provider: &CryptoProvider) -> Result<Arc<dyn SigningKey>, TlsError> {
    // Both ways to encrypt a key say so in the clear: RFC 7468's label, and the header of RFC 1421.
    const ENCRYPTED: &[u8] = b"ENCRYPTED";
    if pem.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED) {
        return Err(TlsError::EncryptedKey);
    }
    let found: Result<Vec<_>, _> = PrivateKeyDer::pem_slice_iter(pem).collect();
    let mut found = found.map_err(|error| not_pem(Material::Key, &error))?;
    let count = found.len();
    match (found.pop(), count) {
        (None, _) => Err(TlsError::NoKey),
        (Some(key), 1) => provider.key_provider.load_private_key(key).map_err(|_| TlsError::UnusableKey),
        (Some(_), several) => Err(TlsError::SeveralKeys(several)),
    }
}

/// Checks that the key is that of the first certificate.
fn check_key(certified: &CertifiedKey) -> Result<(), TlsError> {
    let Some(public) = certified.key.public_key() else { return Err(TlsError::UnusableKey) };
    let mut of_key = Vec::with_capacity(certified.cert.len());
    for (index, certificate) in certified.cert.iter().enumerate() {
        let parsed = EndEntityCert::try_from(certificate).map_err(|problem| bad_certificate(index + 1, &problem))?;
        of_key.push(parsed.subject_public_key_info() == public);
    }
    match of_key.iter().position(|is_of_key| *is_of_key) {
        Some(0) => Ok(()),
        Some(later) => Err(TlsError::KeyOfLaterCertificate(later + 1)),
        None => Err(TlsError::KeyMismatch),
    }
}

/// The first and the last moment of a certificate's time.
///
/// The library does not tell them, but names them when a certificate is out of its time: so it is asked about times
/// before and after all certificates.
fn validity(leaf: &EndEntityCert<'_>) -> Result<(SystemTime, SystemTime), TlsError> {
    let at = |time: u64| {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(time));
        leaf.verify_for_usage(&[], &[], &[], time, KeyUsage::server_auth(), None, None).err()
    };
    let moment = |time: UnixTime| UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs()));
    let from = match at(0) {
        Some(webpki::Error::CertNotValidYet { not_before, .. }) => moment(not_before),
        _ => Some(UNIX_EPOCH),
    };
    match (from, at(u64::MAX)) {
        (Some(from), Some(webpki::Error::CertExpired { not_after, .. })) => match moment(not_after) {
            Some(until) => Ok((from, until)),
            None => Err(bad_leaf(&webpki::Error::InvalidCertValidity)),
        },
        (_, problem) => Err(bad_leaf(&problem.unwrap_or(webpki::Error::InvalidCertValidity))),
    }
}

fn bad_leaf(problem: &webpki::Error) -> TlsError {
    bad_certificate(1, problem)
}

fn bad_certificate(position: usize, problem: &webpki::Error) -> TlsError {
    TlsError::BadCertificate { material: Material::Chain, position, problem: problem.to_string() }
}

/// Says what is wrong in words of our own: those of the library quote what was read, and that may be a key.
fn not_pem(material: Material, error: &pem::Error) -> TlsError {
    let problem = match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no END line",
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is malformed",
        pem::Error::Base64Decode(_) => "a section is not base64",
        pem::Error::SectionTooLarge => "a section is too large",
        pem::Error::Io(_) | pem::Error::NoItemsFound => "it holds nothing",
        _ => "it is malformed",
    };
    TlsError::NotPem { material, problem }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Certificate({:?})", self.names)
    }
}

impl fmt::Display for Concern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYetValid(wait) => write!(out, "the certificate is not valid yet, but only in {}", days(*wait)),
            Self::Expired(since) => write!(out, "the certificate expired {} ago", days(*since)),
        }
    }
}

fn days(time: Duration) -> String {
    const DAY: u64 = 24 * 60 * 60;
    match time.as_secs() / DAY {
        0 => "less than a day".into(),
        1 => "1 day".into(),
        days => format!("{days} days"),
    }
}
