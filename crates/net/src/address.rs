use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// IPv4-mapped IPv6 (`::ffff:192.0.2.1`) as the IPv4 address it stands for; every other address as it is.
#[must_use]
pub fn fold(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// An address as text, by the strict grammar of the standard library: four octets without leading zeros, or RFC 4291
/// groups; no brackets, no zone.
pub(crate) fn parse_address<A: FromStr>(text: &[u8]) -> Option<A> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A port as text: 0–65535 in digits, without leading zeros.
pub(crate) fn parse_port(text: &[u8]) -> Option<u16> {
    match text {
        [b'0'] => Some(0),
        // `str::parse` would take a plus sign.
        [b'1'..=b'9', ..] => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

/// What kind of place an address is, as far as dialling it is concerned.
///
/// From the special-purpose registries of IANA (RFC 6890 and its updates), for addresses already [`fold`]ed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressClass {
    /// Anywhere on the internet.
    Global,
    /// This machine: `127.0.0.0/8`, `::1`.
    Loopback,
    /// Nowhere, or this machine: `0.0.0.0/8`, `::`.
    Unspecified,
    /// A private network: RFC 1918, `fc00::/7`.
    Private,
    /// The link: `169.254.0.0/16`, `fe80::/10`. Cloud metadata lives here.
    LinkLocal,
    /// Cloud metadata outside the link-local range: `fd00:ec2::254`, `100.100.100.200`, `168.63.129.16`.
    Metadata,
    /// A carrier's NAT: `100.64.0.0/10`.
    SharedNat,
    /// IPv6 that carries an IPv4 address, which another network would unwrap: NAT64, 6to4, Teredo, IPv4-compatible.
    Embedded,
    /// Many at once: multicast and broadcast.
    Multicast,
    /// Set aside: documentation, benchmarking, protocol assignments, future use, anything outside `2000::/3`.
    Reserved,
}

impl AddressClass {
    /// The class of `address`.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match fold(address) {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => Self::of_v6(v6),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            [0, ..] => Self::Unspecified,
            [127, ..] => Self::Loopback,
            [169, 254, ..] => Self::LinkLocal,
            [100, 100, 100, 200] | [168, 63, 129, 16] => Self::Metadata,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Self::Private,
            [100, 64..=127, ..] => Self::SharedNat,
            [224..=239, ..] | [255, 255, 255, 255] => Self::Multicast,
            // 192.88.99.0/24 is the old anycast of 6to4 relays (RFC 7526).
            [192, 88, 99, _] => Self::Embedded,
            [192, 0, 0 | 2, _] | [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] | [240..=255, ..] => {
                Self::Reserved
            }
            _ => Self::Global,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0] => Self::Unspecified,
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254] => Self::Metadata,
            // IPv4-compatible, IPv4-translated (RFC 2765), NAT64 (RFC 6052, RFC 8215), 6to4, Teredo.
            [0, 0, 0, 0, 0, 0, _, _]
            | [0, 0, 0, 0, 0xffff, 0, _, _]
            | [0x0064, 0xff9b, 0 | 1, ..]
            | [0x2002, ..]
            | [0x2001, 0, ..] => Self::Embedded,
            [0xfc00..=0xfdff, ..] => Self::Private,
            [0xfe80..=0xfebf, ..] => Self::LinkLocal,
            [0xff00..=0xffff, ..] => Self::Multicast,
            // Protocol assignments and ORCHID (2001::/23), documentation (2001:db8::/32, 3fff::/20).
            [0x2001, 0x0001..=0x01ff, ..] | [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => Self::Reserved,
            [0x2000..=0x3fff, ..] => Self::Global,
            _ => Self::Reserved,
        }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Global => "a global address",
            Self::Loopback => "a loopback address",
            Self::Unspecified => "an unspecified address",
            Self::Private => "a private address",
            Self::LinkLocal => "a link-local address",
            Self::Metadata => "a cloud metadata address",
            Self::SharedNat => "a carrier NAT address",
            Self::Embedded => "an IPv6 address that carries an IPv4 address",
            Self::Multicast => "a multicast address",
            Self::Reserved => "a reserved address",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_place_is_told_apart() {
        use AddressClass::*;
        for (address, class) in [
            ("1.1.1.1", Global),
            ("2606:4700::1111", Global),
            ("127.0.0.1", Loopback),
            ("127.255.255.254", Loopback),
            ("::1", Loopback),
            ("::ffff:127.0.0.1", Loopback),
            ("0.0.0.0", Unspecified),
            ("0.1.2.3", Unspecified),
            ("::", Unspecified),
            ("10.1.2.3", Private),
            ("172.15.255.255", Global),
            ("172.16.0.0", Private),
            ("172.31.255.255", Private),
            ("172.32.0.0", Global),
            ("192.168.0.1", Private),
            ("fd12::1", Private),
            ("169.254.169.254", LinkLocal),
            ("::ffff:a9fe:a9fe", LinkLocal),
            ("fe80::1", LinkLocal),
            ("fd00:ec2::254", Metadata),
            ("100.100.100.200", Metadata),
            ("100.64.0.1", SharedNat),
            ("100.128.0.1", Global),
            ("64:ff9b::a9fe:a9fe", Embedded),
            ("64:ff9b:1::7f00:1", Embedded),
            ("2002:7f00:1::", Embedded),
            ("2001:0:1::", Embedded),
            ("::127.0.0.1", Embedded),
            ("::ffff:0:127.0.0.1", Embedded),
            ("224.0.0.1", Multicast),
            ("255.255.255.255", Multicast),
            ("ff02::1", Multicast),
            ("192.0.2.1", Reserved),
            ("198.18.0.1", Reserved),
            ("203.0.113.9", Reserved),
            ("240.0.0.1", Reserved),
            ("2001:db8::1", Reserved),
            ("5f00::1", Reserved),
        ] {
            assert_eq!(AddressClass::of(address.parse().unwrap()), class, "{address}");
        }
    }
}
