//! Addresses of clients and of listeners. IPv4-mapped IPv6 is folded to IPv4 wherever one is written.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::catalogue::BuiltIn;
use crate::text::{Name, Text, TextError, quoted};

/// A single address or a CIDR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network(pub(crate) IpNet);

impl Text for Network {
    const WHAT: &'static str = "an address or a CIDR such as \"192.0.2.0/24\"";
    const PATTERN: &'static str = "^([0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)(/[0-9]{1,3})?$";

    fn parse(text: &str) -> Result<Self, TextError> {
        let Some((address, prefix)) = text.split_once('/') else {
            return parse_address(text).map(|address| Self(address.into()));
        };
        let address = parse_written(address)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix_is_plain = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
        let length = prefix.parse::<u8>().ok().filter(|n| prefix_is_plain && *n <= longest);
        let Some(network) = length.and_then(|length| IpNet::new(address, length).ok()) else {
            let start = text.len() - prefix.len();
            let message = format!("{} is not the length of a prefix", quoted(prefix));
            let error = TextError::new(message).at(start..text.len());
            return Err(error.with_help(format!("here it is 0 to {longest}")));
        };
        if network.trunc() != network {
            let error = TextError::new(format!("{} has host bits set", quoted(text)));
            let meant = network.trunc();
            return Err(
                error.with_help(format!("for the whole network write `{meant}`, for this one address `{address}`"))
            );
        }
        Ok(Self(fold(network)))
    }
}

/// The one address of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

impl Text for ClientAddress {
    const WHAT: &'static str = "one address such as \"192.0.2.7\"";
    const PATTERN: &'static str = "^([0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)$";

    fn parse(text: &str) -> Result<Self, TextError> {
        if let Ok(Network(network)) = Network::parse(text)
            && text.contains('/')
        {
            let message = format!("{} is a network, and a request has one address", quoted(text));
            let help = format!("name one of its addresses, such as `{}`", network.addr());
            return Err(TextError::new(message).with_help(help));
        }
        parse_address(text).map(Self)
    }
}

/// An entry of `from`: an address, a CIDR, the name of an address set, or a built-in set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AddressReference {
    Network(IpNet),
    Set(Box<str>),
    BuiltIn(BuiltIn),
}

impl Text for AddressReference {
    const WHAT: &'static str =
        "an address, a CIDR, or the name of an address set such as \"office\" or \"@github/hooks\"";
    const PATTERN: &'static str = "^(@[A-Za-z0-9/_-]+|[a-z][a-z0-9_-]*|[0-9]{1,3}(\\.[0-9]{1,3}){3}(/[0-9]{1,2})?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(/[0-9]{1,3})?)$";

    fn parse(text: &str) -> Result<Self, TextError> {
        if text.starts_with('@') {
            return BuiltIn::named(text).map(Self::BuiltIn);
        }
        if text == "any" {
            let error = TextError::new("the name `any` is reserved; no address set has it");
            return Err(error.with_help("to let everyone in, write `open = true` in place of `from`"));
        }
        if Name::is_name(text) {
            return Ok(Self::Set(text.into()));
        }
        let looks_like_address = text.contains([':', '/']) || text.starts_with(|first: char| first.is_ascii_digit());
        if looks_like_address {
            return Network::parse(text).map(|Network(network)| Self::Network(network));
        }
        let error =
            TextError::new(format!("{} is neither an address, a CIDR nor the name of an address set", quoted(text)));
        Err(if text.contains('.') {
            error.with_help("whoever connects is known by an address, not by a host name")
        } else {
            error
        })
    }
}

/// An address and port to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListenAddress(pub(crate) SocketAddr);

impl Text for ListenAddress {
    const WHAT: &'static str = "an address with a port such as \"127.0.0.1:8080\"";
    const PATTERN: &'static str = "^([0-9]{1,3}(\\.[0-9]{1,3}){3}|\\[[0-9A-Fa-f:.]+(%[0-9]+)?\\]):[0-9]{1,5}$";

    fn parse(text: &str) -> Result<Self, TextError> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self(fold_socket(address)));
        }
        let error = TextError::new(format!("{} is not an address with a port", quoted(text)));
        let port = text.rsplit(':').next().unwrap_or_default();
        let has_port = text.contains(':') && port.parse::<u16>().is_ok();
        let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        Err(error.with_help(if let Ok(address) = text.parse::<IpAddr>() {
            format!("add the port: `{}`", SocketAddr::new(address, 8080))
        } else if text.contains(':') && is_number && !has_port {
            "ports are 1 to 65535, and 0 takes any free one".to_owned()
        } else if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            format!("name the address too: `127.0.0.1:{text}` for this machine only, `0.0.0.0:{text}` for all of IPv4")
        } else if has_port && (text.starts_with(':') || text.starts_with('*')) {
            format!("write `0.0.0.0:{port}` for all of IPv4, `[::]:{port}` for all of IPv6")
        } else if has_port && text.starts_with("localhost:") {
            format!("write the address: `127.0.0.1:{port}` or `[::1]:{port}`")
        } else {
            "write an IP address, not a name: `127.0.0.1:8080` or `[::1]:8080`".to_owned()
        }))
    }
}

/// One address, folded.
pub(crate) fn parse_address(text: &str) -> Result<IpAddr, TextError> {
    parse_written(text).map(|address| address.to_canonical())
}

/// One address as it was written.
fn parse_written(text: &str) -> Result<IpAddr, TextError> {
    text.parse().map_err(|_| {
        let error = TextError::new(format!("{} is not an IP address", quoted(text)));
        if text.parse::<SocketAddr>().is_ok() {
            error.with_help("leave the port out")
        } else if text.contains('%') {
            error.with_help("leave the zone (`%…`) out")
        } else {
            error
        }
    })
}

/// `::ffff:a.b.c.d/n` becomes `a.b.c.d/(n - 96)`.
fn fold(network: IpNet) -> IpNet {
    let IpNet::V6(six) = network else { return network };
    match (six.addr().to_ipv4_mapped(), six.prefix_len().checked_sub(96)) {
        (Some(four), Some(length)) => IpNet::new(four.into(), length).unwrap_or(network),
        _ => network,
    }
}

fn fold_socket(address: SocketAddr) -> SocketAddr {
    let SocketAddr::V6(six) = address else { return address };
    match Ipv6Addr::to_ipv4_mapped(six.ip()) {
        Some(four) => SocketAddr::new(four.into(), six.port()),
        None => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::{complaints, parse_all};

    #[test]
    fn networks_are_folded() {
        let networks = parse_all::<Network>(&[
            "192.0.2.7",
            "192.0.2.0/24",
            "0.0.0.0/0",
            "2001:db8::/48",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:10.0.0.0/104",
            "::/0",
        ]);
        let shown: Vec<_> = networks.iter().map(|Network(network)| network.to_string()).collect();
        assert_eq!(
            shown,
            [
                "192.0.2.7/32",
                "192.0.2.0/24",
                "0.0.0.0/0",
                "2001:db8::/48",
                "::1/128",
                "10.0.0.1/32",
                "10.0.0.0/8",
                "::/0",
            ]
        );
        assert_eq!(parse_all::<ClientAddress>(&["::ffff:10.0.0.1"])[0].0.to_string(), "10.0.0.1");
    }

    #[test]
    fn what_is_no_network() {
        insta::assert_snapshot!(complaints::<Network>(&[
            "",
            "10.0.0.1/8",
            "2001:db8::1/48",
            "::ffff:10.0.0.1/104",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0/8",
            "010.0.0.1",
            "10.0.0.1:80",
            "fe80::1%eth0",
            "example.com",
        ]));
        insta::assert_snapshot!(complaints::<ClientAddress>(&["10.0.0.0/8", "office"]));
    }

    #[test]
    fn references_are_networks_or_names() {
        let references = parse_all::<AddressReference>(&["office", "10.0.0.0/8", "cafe", "::1", "@cloudflare"]);
        assert_eq!(references[0], AddressReference::Set("office".into()));
        assert_eq!(references[2], AddressReference::Set("cafe".into()));
        insta::assert_snapshot!(complaints::<AddressReference>(&[
            "",
            "@github/hoks",
            "any",
            "*",
            "Office",
            "10.0.0.1/8",
            "example.com",
            "1.2.3",
        ]));
    }

    #[test]
    fn listen_addresses() {
        let addresses =
            parse_all::<ListenAddress>(&["127.0.0.1:8080", "[::]:443", "[::ffff:127.0.0.1]:0", "[fe80::1%2]:80"]);
        assert_eq!(addresses[2].0.to_string(), "127.0.0.1:0");
        insta::assert_snapshot!(complaints::<ListenAddress>(&[
            "",
            "8080",
            ":8080",
            "*:80",
            "127.0.0.1",
            "::1",
            "localhost:80",
            "::1:80",
            "example.com:443",
            "127.0.0.1:99999",
            "http://127.0.0.1:80",
        ]));
    }
}
