//! `[domain."…"]`.

use std::collections::HashMap;

use crate::collections::Entry;
use crate::file::DomainTable;
use crate::model::{Domain, HostPattern, TlsVersion};
use crate::reading::Reading;
use crate::resolve::certificate::{chain, private_key};
use crate::resolve::listener::Listeners;
use crate::resolve::names::Namespace;
use crate::source::Span;
use crate::text::{DomainName, quoted};

/// Resolves every domain, and reads the certificates and keys.
pub(super) fn domains(domains: Namespace<DomainName, DomainTable>, reading: &mut Reading) -> Option<Vec<Domain>> {
    let mut written: Vec<_> = domains.entries.into_iter().collect();
    // Whoever was written first is in the right.
    written.sort_by_key(|(_, entry)| position(entry.span));
    let mut seen = HashMap::new();
    let resolved: Vec<_> = written
        .into_iter()
        .map(|(text, entry)| {
            let Entry { key: Some(DomainName(name)), span, value } = entry else { return None };
            check_other(&text, &name, span, &mut seen, reading);
            domain(name, &value?, span, reading)
        })
        .collect();
    let mut domains: Vec<Domain> = resolved.into_iter().collect::<Option<_>>()?;
    domains.sort_by(|one, other| one.name.cmp(&other.name));
    Some(domains)
}

/// Reports listeners with TLS where there is no domain, and domains where no listener has TLS.
pub(super) fn check_used(domains: &Namespace<DomainName, DomainTable>, listeners: &Listeners, reading: &mut Reading) {
    let first = domains.entries.values().map(|domain| domain.span).min_by_key(|span| position(*span));
    match (first, listeners.first_with_tls()) {
        (None, Some(tls)) if domains.is_complete => {
            let error = reading.error(tls, "there is no certificate to speak TLS with");
            let help =
                "name a domain, `[domain.\"api.example.com\"]` with `tls = { cert = \"file:…\", key = \"file:…\" }`";
            reading.report(error.with_help(help));
        }
        (Some(domain), None) if listeners.tls_is_known() => {
            let error = reading.error(domain, "no listener speaks TLS, so nobody is shown this certificate");
            reading.report(error.with_help("write `tls = true` in the `[listen.NAME]` that is meant"));
        }
        (None | Some(_), None | Some(_)) => {}
    }
}

/// Reports a domain that is another one, written otherwise.
fn check_other(
    text: &str,
    name: &HostPattern,
    span: Span,
    seen: &mut HashMap<HostPattern, Span>,
    reading: &mut Reading,
) {
    if let Some(first) = seen.insert(name.clone(), span) {
        let first = reading.place(first);
        let error = reading.error(span, format!("the domain {} is defined twice", quoted(&text.to_lowercase())));
        reading.report(error.with_related(&first, "first defined here"));
    }
}

fn domain(name: HostPattern, table: &DomainTable, span: Span, reading: &mut Reading) -> Option<Domain> {
    let tls = table.tls.value()?;
    let chain = tls.cert.given().and_then(|cert| chain(cert, reading));
    let key = tls.key.given().and_then(|key| private_key(key, reading));
    Some(Domain {
        name,
        chain: chain?,
        key: key?,
        min_tls: table.min_tls.value().map_or(TlsVersion::Tls12, |version| version.0),
        place: reading.place(span),
    })
}

/// Files in the order they were read, and from the top down.
fn position(span: Span) -> (usize, usize) {
    (span.file.index(), span.range().start)
}
