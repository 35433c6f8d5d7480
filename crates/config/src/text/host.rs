//! Hosts that an API answers for, and the host that a backend is told.

use std::net::{IpAddr, Ipv6Addr};

use http::HeaderValue;

use crate::model::{HostHeader, HostPattern};
use crate::text::{Text, TextError, quoted};

/// A host that an API answers for: `api.example.com` or `*.example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host(pub(crate) HostPattern);

impl Text for Host {
    const WHAT: &'static str = "a host such as \"api.example.com\" or \"*.example.com\"";
    const PATTERN: &'static str = "^((\\*\\.)?[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*|\\[[0-9A-Fa-f:.]+\\])$";

    fn parse(text: &str) -> Result<Self, TextError> {
        if text == "*" {
            return Err(TextError::new("`*` is not a host").with_help("leave `hosts` out to answer for any host"));
        }
        let lower = text.to_ascii_lowercase();
        if let Some(parent) = lower.strip_prefix("*.") {
            check_name(parent, text)?;
            return Ok(Self(HostPattern::Below(parent.into())));
        }
        if is_bracketed_address(&lower) {
            return Ok(Self(HostPattern::Exact(lower.into())));
        }
        check_name(&lower, text)?;
        Ok(Self(HostPattern::Exact(lower.into())))
    }
}

/// A name that there is a certificate for: `api.example.com` or `*.example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DomainName(pub(crate) HostPattern);

impl Text for DomainName {
    const WHAT: &'static str = "a domain such as \"api.example.com\" or \"*.example.com\"";
    const PATTERN: &'static str = "^(\\*\\.)?[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*$";

    fn parse(text: &str) -> Result<Self, TextError> {
        if text == "*" {
            let error = TextError::new("`*` is not a domain");
            return Err(error.with_help("name it, such as `*.example.com`: a certificate is made out to names"));
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if bare.parse::<IpAddr>().is_ok() {
            // RFC 6066, 3: "Literal IPv4 and IPv6 addresses are not permitted".
            let error = TextError::new(format!("{} is not a domain but an address", quoted(text)));
            return Err(
                error.with_help("a certificate is chosen by the name that clients ask for, never by an address")
            );
        }
        Host::parse(text).map(|Host(name)| Self(name))
    }
}

/// What `Host` a backend sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BackendHost(pub(crate) HostHeader);

impl Text for BackendHost {
    const WHAT: &'static str = "\"upstream\", \"client\", or a host such as \"app.internal:8080\"";
    const PATTERN: &'static str = "^([A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?$";

    fn parse(text: &str) -> Result<Self, TextError> {
        match text {
            "upstream" => return Ok(Self(HostHeader::Upstream)),
            "client" => return Ok(Self(HostHeader::Client)),
            _ => {}
        }
        let wrong = || TextError::new(format!("{} is not a host", quoted(text)));
        let (host, port) = split_port(text);
        if port.is_some_and(|port| !is_port(port)) {
            return Err(wrong());
        }
        if !is_bracketed_address(host) {
            check_name(&host.to_ascii_lowercase(), text)?;
        }
        HeaderValue::try_from(text).map(|value| Self(HostHeader::Literal(value))).map_err(|_| wrong())
    }
}

/// Splits `host:port`; the colons of a bracketed address are the host's.
pub(crate) fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    }
}

/// Whether this is a port to connect to.
pub(crate) fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_bracketed_address(text: &str) -> bool {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok())
}

/// Checks that `name`, in lower case, is a host name; `written` is what errors quote.
pub(crate) fn check_name(name: &str, written: &str) -> Result<(), TextError> {
    let wrong = || TextError::new(format!("{} is not a host", quoted(written)));
    if name.contains("://") || name.contains('/') {
        return Err(wrong().with_help("write the host alone, without a scheme and without a path"));
    }
    if let (host, Some(port)) = split_port(name)
        && !host.contains(':')
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(wrong().with_help(format!("write it without the port: {}", quoted(host))));
    }
    if name.contains(':') {
        return Err(wrong().with_help("an IPv6 address stands in brackets: `[2001:db8::1]`"));
    }
    if let Some(rest) = name.strip_suffix('.') {
        return Err(wrong().with_help(format!("write it without the final dot: {}", quoted(rest))));
    }
    if !name.is_ascii() {
        return Err(wrong().with_help("write its ASCII form, the one that begins with `xn--`"));
    }
    if name.contains('*') {
        return Err(wrong().with_help("`*.` stands only at the beginning, before a whole name"));
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if name.len() > 253 || !name.split('.').all(is_label) {
        return Err(wrong().with_help("a host is labels of letters, digits and `-` with dots between"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::{complaints, parse_all};

    #[test]
    fn hosts_are_lower_case() {
        let hosts = parse_all::<Host>(&["API.example.com", "*.Example.com", "192.0.2.1", "[::1]"]);
        assert_eq!(hosts[0], Host(HostPattern::Exact("api.example.com".into())));
        assert_eq!(hosts[1], Host(HostPattern::Below("example.com".into())));
        let domains = parse_all::<DomainName>(&["API.example.com", "*.Example.com"]);
        assert_eq!(domains[1], DomainName(HostPattern::Below("example.com".into())));
        let told = parse_all::<BackendHost>(&["upstream", "client", "App.internal:8080", "[::1]:80"]);
        assert_eq!(told[0], BackendHost(HostHeader::Upstream));
        assert_eq!(told[2], BackendHost(HostHeader::Literal(HeaderValue::from_static("App.internal:8080"))));
    }

    #[test]
    fn what_is_no_host() {
        insta::assert_snapshot!(complaints::<Host>(&[
            "",
            "*",
            "*example.com",
            "a.*.com",
            "example.com:443",
            "https://example.com",
            "example.com/v1",
            "example.com.",
            "a..b",
            "m\u{fc}nchen.de",
            "a b",
            "2001:db8::1",
        ]));
        insta::assert_snapshot!(complaints::<DomainName>(&["", "*", "192.0.2.1", "[::1]", "2001:db8::1", "a.com:443"]));
        insta::assert_snapshot!(complaints::<BackendHost>(&["", "a:b", "a:0", "http://a", "a\nb"]));
    }
}
