//! The certificates of `[domain."…"]`, made ready for handshakes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

use gatepost_config::Diagnostic;
use gatepost_config::model::{self, Action, HostPattern, Model};
use gatepost_net::tls::{Alpn, Certificate, ClientTls, Domain, DomainName, ServerTls, Tickets, TlsError, TlsVersion};

/// Every domain of `model` whose certificate or key cannot be used, and the first route to each upstream whose
/// authorities (`ca`) cannot.
#[must_use]
pub fn unusable_certificates(model: &Model) -> Vec<Diagnostic> {
    let domain = |domain: &model::Domain| {
        let error = ready(domain).err()?;
        Some(Diagnostic::error(&domain.place, format!("this domain cannot be served: {error}")))
    };
    // Many routes may share an upstream: it is read once, and reported at the first of them.
    let mut seen = HashSet::new();
    let route = |route: &model::Route| {
        let Action::Forward(forward) = &route.action else { return None };
        if !seen.insert(Arc::as_ptr(&forward.upstream)) {
            return None;
        }
        let error = ClientTls::new(Some(forward.upstream.ca.as_deref()?), Alpn::Http1).err()?;
        let message = format!("this route's upstream cannot be asked: its `ca` cannot be used: {error}");
        Some(Diagnostic::error(&route.place, message))
    };
    let routes = model.apis.iter().flat_map(|api| &api.routes);
    model.domains.iter().filter_map(domain).chain(routes.filter_map(route)).collect()
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
