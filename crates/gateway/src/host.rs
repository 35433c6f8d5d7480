//! Which host a request is for.

use std::sync::Arc;

use http::uri::{Authority, Scheme};

use crate::rejection::Malformed;

/// The host of a request without its port, in lower case.
///
/// # Errors
/// It is no host: empty, with user information, or with characters that a host cannot have.
pub(crate) fn host_name(host: &[u8]) -> Result<Arc<str>, Malformed> {
    let text = std::str::from_utf8(host).map_err(|_| Malformed::Host)?;
    let name = name_of(text).ok_or(Malformed::Host)?;
    // A final dot says that the name is whole, as every host here is.
    let name = name.strip_suffix('.').filter(|name| !name.is_empty()).unwrap_or(name);
    Ok(name.to_ascii_lowercase().into())
}

/// Cuts the port off, if what remains is a host (RFC 3986, 3.2.2) and the port a port.
fn name_of(text: &str) -> Option<&str> {
    let (name, port) = match text.strip_prefix('[') {
        Some(literal) => {
            let end = literal.find(']')?;
            literal[..end].parse::<std::net::Ipv6Addr>().ok()?;
            let (name, port) = text.split_at(end + 2);
            (name, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    let named = name.starts_with('[') || (!name.is_empty() && name.len() <= 255 && name.bytes().all(is_host_byte));
    let ported = port.is_none_or(|port| port.len() <= 5 && port.parse::<u16>().is_ok() && !port.starts_with('+'));
    (named && ported).then_some(name)
}

/// What host names are made of in practice: RFC 3986's `reg-name` without escapes and the delimiters that no name has.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

/// Whether a request target names the host that `Host` does (RFC 9112, 3.2.2; RFC 9113, 8.3.1); the port of the scheme
/// may go without saying.
pub(crate) fn agrees(authority: &Authority, scheme: Option<&Scheme>, host: &[u8]) -> bool {
    let usual: &[u8] = if scheme == Some(&Scheme::HTTPS) { b":443" } else { b":80" };
    let without_port = |host: &'_ [u8]| host.strip_suffix(usual).unwrap_or(host).to_ascii_lowercase();
    without_port(authority.as_str().as_bytes()) == without_port(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_lose_their_port_and_their_capitals() {
        for (host, name) in [
            ("example.com", "example.com"),
            ("Example.COM:8080", "example.com"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("[2001:db8::1]", "[2001:db8::1]"),
            ("[2001:DB8::1]:443", "[2001:db8::1]"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("a_b", "a_b"),
            ("example.com.", "example.com"),
            ("example.com.:80", "example.com"),
        ] {
            assert_eq!(host_name(host.as_bytes()).as_deref(), Ok(name), "{host}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for host in [
            "",
            ":80",
            "a b",
            "a,b",
            "user@host",
            "a/b",
            "a:b",
            "a:99999",
            "a:+80",
            "a:80:80",
            "[::1",
            "[::1]80",
            "[x]",
            "::1",
            "a\u{e9}",
            "a%2eb",
            "a;b",
            "a?b",
            "a#b",
            "a:",
        ] {
            let refused = host_name(host.as_bytes());
            assert_eq!(refused, Err(Malformed::Host), "{host}");
        }
    }
}
