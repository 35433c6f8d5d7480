//! The certificates of `[domain."…"]`, made ready for handshakes.

use std::sync::Arc;
use std::time::SystemTime;

use gatepost_config::Diagnostic;
use gatepost_config::model::{self, HostPattern, Model};
use gatepost_net::tls::{Certificate, Domain, DomainName, ServerTls, Tickets, TlsError, TlsVersion};

/// Every domain of `model` whose certificate or key cannot be used.
#[must_use]
pub fn unusable_domains(model: &Model) -> Vec<Diagnostic> {
    let unusable = |domain: &model::Domain| {
        let error = ready(domain).err()?;
        Some(Diagnostic::error(&domain.place, format!("this domain cannot be served: {error}")))
    };
    model.domains.iter().filter_map(unusable).collect()
}

/// What is to be told of certificates that can be used: the domain, and that it has expired, say.
#[must_use]
pub fn doubtful_domains(model: &Model) -> Vec<String> {
    let now = SystemTime::now();
    let ready = model.domains.iter().filter_map(|domain| ready(domain).ok());
    ready
        .filter_map(|domain| {
            let concern = domain.certificate().concern(now)?;
            Some(format!("the certificate of {}: {concern}", domain.name()))
        })
        .collect()
}

/// The TLS of listeners; nothing when no domain is configured.
pub(crate) fn server_tls(model: &Model, tickets: &Tickets) -> Result<Option<ServerTls>, TlsError> {
    if model.domains.is_empty() {
        return Ok(None);
    }
    let domains = model.domains.iter().map(ready).collect::<Result<Vec<_>, _>>()?;
    ServerTls::new(domains, tickets).map(Some)
}

fn ready(domain: &model::Domain) -> Result<Domain, TlsError> {
    let certificate = Certificate::from_pem(&domain.chain, domain.key.reveal())?;
    let name = match &domain.name {
        HostPattern::Exact(name) => DomainName::Exact(name.clone()),
        HostPattern::Below(name) => DomainName::Below(name.clone()),
    };
    let oldest = match domain.min_tls {
        model::TlsVersion::Tls12 => TlsVersion::Tls12,
        model::TlsVersion::Tls13 => TlsVersion::Tls13,
    };
    Domain::new(name, Arc::new(certificate), oldest)
}
