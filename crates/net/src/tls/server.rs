//! Which certificate a client is shown, and which hosts may be asked for after that.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::sign::SingleCertAndKey;

use super::{Alpn, Certificate, TlsError, TlsVersion};

/// The name of a [`Domain`]. Compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DomainName {
    /// One host: a name in its ASCII form, without a final dot, or an address (IPv6 with or without brackets).
    Exact(Box<str>),
    /// Every name one label below this one: `example.com` for `*.example.com`.
    Below(Box<str>),
}

/// A name that there is a certificate for.
#[derive(Debug)]
pub struct Domain {
    name: DomainName,
    certificate: Arc<Certificate>,
    oldest: TlsVersion,
}

/// The keys that session tickets are sealed with.
///
/// One for the life of the process, so that sessions survive a reload. The keys are made here, change every six hours,
/// and are never stored: a restart ends all sessions, several gateways resume none of each other's.
#[derive(Clone)]
pub struct Tickets(Arc<dyn ProducesTickets>);

/// The TLS of listeners: all domains and what is spoken for each. Immutable, and cheap to clone.
///
/// - **The certificate** is that of the domain which the client names (SNI, RFC 6066): the exact name, else the
///   wildcard one label up. A client that names an unknown host is refused (alert `unrecognized_name`). A client that
///   names none gets the certificate of the only domain, or is refused (`missing_extension`) when there are several.
/// - **Sessions** are resumed by tickets (RFC 8446, 4.6.1; RFC 5077) and nothing is kept of them here. A ticket is good
///   for the very host it was issued for, and no longer than twelve hours.
/// - **Early data** (0-RTT) is not accepted: who records it can send it again, and then a request is admitted, counted
///   and forwarded twice (RFC 8446, 8).
#[derive(Clone)]
pub struct ServerTls {
    table: Arc<Table>,
}

/// What a handshake chose: the domain, and with it which hosts the connection may be asked for.
#[derive(Clone)]
pub struct Chosen {
    table: Arc<Table>,
    index: usize,
    named: bool,
    version: TlsVersion,
}

struct Table {
    entries: Vec<Entry>,
    exact: HashMap<Box<str>, usize>,
    below: HashMap<Box<str>, usize>,
}

struct Entry {
    domain: Domain,
    config: Arc<ServerConfig>,
}

/// Tickets sent after a full handshake of TLS 1.3. A client opens about one more connection for each it closes, and one
/// ticket is half the work of the usual two.
const TICKETS_SENT: usize = 1;

impl Domain {
    /// A domain that is served with `certificate`, in no version of TLS older than `oldest`.
    ///
    /// # Errors
    /// [`TlsError::WrongName`]: the certificate is not valid for all of the domain; every client would refuse it.
    pub fn new(name: DomainName, certificate: Arc<Certificate>, oldest: TlsVersion) -> Result<Self, TlsError> {
        let name = name.canonical();
        if certificate.covers_domain(&name) {
            Ok(Self { name, certificate, oldest })
        } else {
            Err(TlsError::WrongName { name, presented: certificate.presented() })
        }
    }

    /// Its name, in lower case.
    #[must_use]
    pub fn name(&self) -> &DomainName {
        &self.name
    }

    /// Its certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

impl Tickets {
    /// Makes the first keys.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn new() -> Result<Self, TlsError> {
        Ok(Self(Ticketer::new()?))
    }
}

impl ServerTls {
    /// The TLS of these domains. `tickets` are the same after every reload.
    ///
    /// # Errors
    /// There is no domain, or two have one name.
    pub fn new(domains: impl IntoIterator<Item = Domain>, tickets: &Tickets) -> Result<Self, TlsError> {
        let provider = super::provider();
        let mut table = Table { entries: Vec::new(), exact: HashMap::new(), below: HashMap::new() };
        for domain in domains {
            let taken = match &domain.name {
                DomainName::Exact(host) => table.exact.insert(host.clone(), table.entries.len()),
                DomainName::Below(parent) => table.below.insert(parent.clone(), table.entries.len()),
            };
            if taken.is_some() {
                return Err(TlsError::SameName(domain.name));
            }
            let config = Arc::new(config(&domain, tickets, provider.clone())?);
            table.entries.push(Entry { domain, config });
        }
        if table.entries.is_empty() { Err(TlsError::NoDomain) } else { Ok(Self { table: Arc::new(table) }) }
    }

    /// The domains, in the order they were given.
    pub fn domains(&self) -> impl Iterator<Item = &Domain> {
        self.table.entries.iter().map(|entry| &entry.domain)
    }

    /// The domain whose certificate is shown to a client that names `host`, or none.
    #[must_use]
    pub fn choose(&self, host: Option<&str>) -> Option<&Domain> {
        self.choice(host).map(|index| &self.table.entries[index].domain)
    }

    pub(super) fn choice(&self, host: Option<&str>) -> Option<usize> {
        match host {
            Some(host) => self.table.find(host),
            None if self.table.entries.len() == 1 => Some(0),
            None => None,
        }
    }

    pub(super) fn config(&self, index: usize) -> Arc<ServerConfig> {
        self.table.entries[index].config.clone()
    }

    pub(super) fn chosen(&self, index: usize, named: bool, version: TlsVersion) -> Chosen {
        Chosen { table: self.table.clone(), index, named, version }
    }
}

impl Chosen {
    /// The domain.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.entry().domain
    }

    /// Whether a request for `host` (without its port) may be served on this connection; if not, the answer is 421,
    /// and the client comes again on a connection of its own (RFC 9110, 7.4; RFC 9113, 9.1.1).
    ///
    /// - A host of the chosen domain may.
    /// - A host of another domain may if that domain has the same certificate and speaks this connection's version:
    ///   the handshake would have come out the same.
    /// - A host of no domain may if the certificate is valid for it.
    /// - An address also may if the client named no host: it has no way to name an address.
    ///
    /// It goes by the domains as they were at the handshake: after a reload a connection keeps its own until it ends.
    #[must_use]
    pub fn serves(&self, host: &str) -> bool {
        let Entry { domain, .. } = self.entry();
        match self.table.find(host) {
            Some(index) if index == self.index => true,
            Some(index) => {
                let other = &self.table.entries[index].domain;
                other.certificate.is_same_as(&domain.certificate) && other.oldest <= self.version
            }
            None => domain.certificate.covers(host) || (!self.named && literal(host).parse::<IpAddr>().is_ok()),
        }
    }

    fn entry(&self) -> &Entry {
        &self.table.entries[self.index]
    }
}

impl Table {
    /// The entry for `host`: its own, else that of the names one label below its parent.
    fn find(&self, host: &str) -> Option<usize> {
        let host = lower(host.strip_suffix('.').unwrap_or(host));
        let below = || match host.split_once('.') {
            Some((label, parent)) if !label.is_empty() => self.below.get(parent),
            Some(_) | None => None,
        };
        self.exact.get(literal(&host)).or_else(below).copied()
    }
}

impl DomainName {
    fn canonical(self) -> Self {
        match self {
            Self::Exact(host) => Self::Exact(literal(&lower(&host)).into()),
            Self::Below(parent) => Self::Below(lower(&parent).into()),
        }
    }
}

fn config(domain: &Domain, tickets: &Tickets, provider: Arc<CryptoProvider>) -> Result<ServerConfig, TlsError> {
    let certified = domain.certificate.certified.clone();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(domain.oldest.and_newer())?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = [Alpn::Http2, Alpn::Http1].map(|alpn| alpn.id().into()).into();
    config.ticketer = tickets.0.clone();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = TICKETS_SENT;
    config.max_early_data_size = 0;
    Ok(config)
}

/// A host in lower case; nearly all come so.
fn lower(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) { host.to_ascii_lowercase().into() } else { host.into() }
}

/// A host without the brackets that an IPv6 address has in URLs.
fn literal(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

impl fmt::Display for DomainName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => out.write_str(host),
            Self::Below(parent) => write!(out, "*.{parent}"),
        }
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Tickets")
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.domains()).finish()
    }
}

impl fmt::Debug for Chosen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Chosen").field("domain", self.domain()).field("named", &self.named).finish_non_exhaustive()
    }
}
