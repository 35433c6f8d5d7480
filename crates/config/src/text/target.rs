//! Where requests are forwarded to: `http://host:port` or `https://host:port`.

use std::net::{IpAddr, Ipv6Addr};

use crate::model::{self, TargetHost};
use crate::text::host::{check_name, is_port, split_port};
use crate::text::{Name, Text, TextError, quoted};

/// One backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target(pub(crate) model::Target);

/// `to`: one backend, or the name of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    Target(model::Target),
    Upstream(Box<str>),
}

impl Text for Target {
    const WHAT: &'static str = "a backend such as \"http://10.0.3.7:8080\"";
    const PATTERN: &'static str = "^https?://[^/?#@\\s]+$";

    fn parse(text: &str) -> Result<Self, TextError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            let error = TextError::new(format!("{} is not a backend", quoted(text)));
            return Err(error.with_help(LOOKS));
        };
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => {
                let message = format!("cannot forward to {}", quoted(&format!("{scheme}://")));
                let help = "a backend is spoken to by `http://` or `https://`";
                return Err(TextError::new(message).with_help(help).at(0..scheme.len()));
            }
        };
        if let Some(end) = rest.find(['/', '?', '#']) {
            let start = text.len() - rest.len() + end;
            let error = TextError::new("a backend is named without a path").at(start..text.len());
            return Err(error.with_help("`path` says which path it is asked for"));
        }
        if rest.contains('@') {
            let error = TextError::new("a backend is named without credentials");
            return Err(error.with_help("`headers = { set = { … } }` sends a header to it"));
        }
        parse_authority(scheme, rest, text).map(Self)
    }
}

impl Text for Destination {
    const WHAT: &'static str = "a backend such as \"http://10.0.3.7:8080\", or the name of an upstream";
    const PATTERN: &'static str = "^(https?://[^/?#@\\s]+|[a-z][a-z0-9_-]*)$";

    fn parse(text: &str) -> Result<Self, TextError> {
        if Name::is_name(text) {
            return Ok(Self::Upstream(text.into()));
        }
        if !text.contains("://") {
            let error = TextError::new(format!("{} is neither a backend nor the name of an upstream", quoted(text)));
            let as_target = format!("http://{text}");
            return Err(if Target::parse(&as_target).is_ok() {
                error.with_help(format!("did you mean `{as_target}`?"))
            } else {
                error.with_help("a backend is written as `http://host:port` or `https://host:port`")
            });
        }
        Target::parse(text).map(|Target(target)| Self::Target(target))
    }
}

const LOOKS: &str = "write it as `http://host:port` or `https://host:port`";

/// How a backend is spoken to.
#[derive(Clone, Copy)]
enum Scheme {
    Http,
    Https,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn is_tls(self) -> bool {
        matches!(self, Self::Https)
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

fn parse_authority(scheme: Scheme, authority: &str, text: &str) -> Result<model::Target, TextError> {
    let (tls, name) = (scheme.is_tls(), scheme.name());
    let wrong = || TextError::new(format!("{} is not a backend", quoted(text)));
    if authority.parse::<Ipv6Addr>().is_ok() {
        let help = format!("an IPv6 address stands in brackets: `{name}://[{authority}]`");
        return Err(wrong().with_help(help));
    }
    let (host, port) = split_port(authority);
    let port = match port {
        None => scheme.default_port(),
        Some(port) if is_port(port) => port.parse().map_err(|_| wrong())?,
        Some(port) if host.contains(':') && !host.starts_with('[') => {
            let help = format!("an IPv6 address stands in brackets: `{name}://[{host}:{port}]`");
            return Err(wrong().with_help(help));
        }
        Some(port) => {
            let start = text.len() - port.len();
            let message = format!("{} is not a port to connect to", quoted(port));
            return Err(TextError::new(message).at(start..text.len()).with_help("ports are 1 to 65535"));
        }
    };
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = literal.parse::<IpAddr>() {
        if address.is_ipv4() && host.starts_with('[') {
            let help = format!("an IPv4 address stands without brackets: `{name}://{literal}:{port}`");
            return Err(wrong().with_help(help));
        }
        let address = connectable(address.to_canonical(), text)?;
        return Ok(model::Target { tls, host: TargetHost::Address(address), port });
    }
    if host.is_empty() {
        return Err(wrong().with_help(LOOKS));
    }
    let name = host.to_ascii_lowercase();
    check_name(name.strip_suffix('.').unwrap_or(&name), text)?;
    if ends_in_a_number(&name) {
        let message = format!("{} is no name: what ends in a number is an address", quoted(host));
        let help = "write an IPv4 address as four decimal numbers, such as `10.0.3.7`";
        let start = text.len() - authority.len();
        return Err(TextError::new(message).with_help(help).at(start..start + host.len()));
    }
    Ok(model::Target { tls, host: TargetHost::Name(name.into()), port })
}

/// Whether some resolvers take `name` for an IPv4 address in an odd spelling (`127.1`, `0x7f000001`): its last label is
/// all digits, or `0x` and hexadecimal digits, as the URL standard has it.
fn ends_in_a_number(name: &str) -> bool {
    let last = name.strip_suffix('.').unwrap_or(name).rsplit('.').next().unwrap_or_default();
    match last.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => last.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// Refuses addresses that no backend can have.
fn connectable(address: IpAddr, text: &str) -> Result<IpAddr, TextError> {
    let broadcast = matches!(address, IpAddr::V4(four) if four.is_broadcast());
    if !address.is_unspecified() && !address.is_multicast() && !broadcast {
        return Ok(address);
    }
    let error = TextError::new(format!("nothing can be reached at {}", quoted(text)));
    Err(if address.is_unspecified() {
        error.with_help("for a backend on this machine write `127.0.0.1`")
    } else {
        error.with_help("a backend has an address of its own, not a multicast or broadcast address")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::{complaints, parse_all};

    #[test]
    fn targets() {
        let targets = parse_all::<Target>(&[
            "http://10.0.3.7:8080",
            "http://[2001:db8::7]:80",
            "http://App.internal",
            "http://[::ffff:10.0.0.1]:1",
            "http://app.svc.cluster.local.:80",
            "https://app.internal",
            "https://10.0.3.7:8443",
            "http://4fa0b3",
            "http://0xg.1.example",
        ]);
        let shown: Vec<_> = targets.iter().map(|Target(t)| format!("{:?} {} {}", t.host, t.port, t.tls)).collect();
        assert_eq!(
            shown,
            [
                "Address(10.0.3.7) 8080 false",
                "Address(2001:db8::7) 80 false",
                "Name(\"app.internal\") 80 false",
                "Address(10.0.0.1) 1 false",
                "Name(\"app.svc.cluster.local.\") 80 false",
                "Name(\"app.internal\") 443 true",
                "Address(10.0.3.7) 8443 true",
                "Name(\"4fa0b3\") 80 false",
                "Name(\"0xg.1.example\") 80 false",
            ]
        );
        assert_eq!(parse_all::<Destination>(&["app"])[0], Destination::Upstream("app".into()));
    }

    #[test]
    fn what_is_no_target() {
        insta::assert_snapshot!(complaints::<Destination>(&[
            "",
            "10.0.3.7:8080",
            "https://::1",
            "https://10.0.3.7/v1",
            "ftp://a",
            "http://a/b",
            "http://a/",
            "http://a?b",
            "http://u:p@a",
            "http://a:0",
            "http://a:b",
            "http://a:99999",
            "http://",
            "http://::1",
            "http://2001:db8::1:80",
            "http://127.1",
            "http://0x7f000001",
            "http://0X7F.1:80",
            "http://2130706433:8080",
            "http://0177.0.0.1",
            "http://127.0.0.1.:80",
            "http://0x",
            "http://a.1.",
            "http://localhost..",
            "http://0.0.0.0:80",
            "http://224.0.0.1",
            "http://[10.0.0.1]",
            "http://a b",
            "App",
        ]));
    }
}
