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
    /// Cloud metadata and credentials outside the link-local range: `fd00:ec2::/32` (Amazon), `fd20:ce::254` (Google),
    /// `fd00:42::42` (Scaleway), `100.100.100.200` (Alibaba), `168.63.129.16` (Azure), `192.0.0.192` (Oracle).
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
            [100, 100, 100, 200] | [168, 63, 129, 16] | [192, 0, 0, 192] => Self::Metadata,
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
            [0xfd00, 0x0ec2, ..]
            | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254]
            | [0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042] => Self::Metadata,
            // IPv4-compatible, IPv4-translated (RFC 2765), NAT64 (RFC 6052, RFC 8215), 6to4, Teredo.
            [0, 0, 0, 0, 0, 0, _, _]
            | [0, 0, 0, 0, 0xffff, 0, _, _]
            | [0x0064, 0xff9b, 0 | 1, ..]
            | [0x2002, ..]
            | [0x2001, 0, ..] => Self::Embedded,
            [0xfc00..=0xfdff, ..] => Self::Private,
            [0xfe80..=0xfebf, ..] => Self::LinkLocal,
            [0xff00..=0xffff, ..] => Self::Multicast,
            // Protocol assignments, ORCHID and DRIP (2001::/23), documentation (2001:db8::/32, 3fff::/20).
            [0x2001, 0x0001..=0x01ff, ..] | [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => Self::Reserved,
            [0x2000..=0x3fff, ..] => Self::Global,
            // Among these: discard (100::/64), segment routing (5f00::/16), site-local (fec0::/10).
            _ => Self::Reserved,
        }
    }

    /// The IPv4 address that an [`AddressClass::Embedded`] address carries, if it is where the standards put it: in
    /// NAT64's `64:ff9b::/96` (RFC 6052) and, for a prefix of 96 bits, `64:ff9b:1::/48` (RFC 8215), 6to4 (RFC 3056),
    /// Teredo's client (RFC 4380), IPv4-compatible and IPv4-translated addresses. An IPv4-mapped address carries none:
    /// it is the IPv4 address.
    #[must_use]
    pub fn carried_by(address: IpAddr) -> Option<Ipv4Addr> {
        let IpAddr::V6(v6) = fold(address) else { return None };
        let (high, low) = match v6.segments() {
            [0x2002, high, low, ..] => (high, low),
            [0x2001, 0, .., high, low] => (!high, !low),
            [.., high, low] => (high, low),
        };
        let v4 = Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
        (Self::of_v6(v6) == Self::Embedded).then_some(v4)
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
            ("192.88.99.1", Embedded),
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

    /// IANA's IPv4 and IPv6 Special-Purpose Address Registries, every block by its first and last address, with what
    /// lies beside it where that is global.
    #[test]
    fn every_block_of_the_registries_is_what_it_is_to_its_edges() {
        use AddressClass::*;
        for (first, last, class) in [
            ("0.0.0.0", "0.255.255.255", Unspecified),
            ("1.0.0.0", "9.255.255.255", Global),
            ("10.0.0.0", "10.255.255.255", Private),
            ("11.0.0.0", "100.63.255.255", Global),
            ("100.64.0.0", "100.127.255.255", SharedNat),
            ("126.255.255.255", "126.255.255.255", Global),
            ("127.0.0.0", "127.255.255.255", Loopback),
            ("169.253.255.255", "169.253.255.255", Global),
            ("169.254.0.0", "169.254.255.255", LinkLocal),
            ("172.16.0.0", "172.31.255.255", Private),
            ("192.0.0.0", "192.0.0.255", Reserved),
            ("192.0.1.0", "192.0.1.255", Global),
            ("192.0.2.0", "192.0.2.255", Reserved),
            // AS112 and AMT are globally reachable, as the registry has it.
            ("192.31.196.0", "192.31.196.255", Global),
            ("192.52.193.0", "192.52.193.255", Global),
            ("192.88.99.0", "192.88.99.255", Embedded),
            ("192.168.0.0", "192.168.255.255", Private),
            ("192.175.48.0", "192.175.48.255", Global),
            ("198.18.0.0", "198.19.255.255", Reserved),
            ("198.20.0.0", "198.51.99.255", Global),
            ("198.51.100.0", "198.51.100.255", Reserved),
            ("203.0.113.0", "203.0.113.255", Reserved),
            ("203.0.114.0", "223.255.255.255", Global),
            ("224.0.0.0", "239.255.255.255", Multicast),
            ("240.0.0.0", "255.255.255.254", Reserved),
            ("::ffff:10.0.0.0", "::ffff:10.255.255.255", Private),
            ("::2", "::ffff:ffff", Embedded),
            ("::ffff:0:0:0", "::ffff:0:ffff:ffff", Embedded),
            ("64:ff9b::", "64:ff9b::ffff:ffff", Embedded),
            ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", Embedded),
            ("64:ff9b:2::", "64:ff9b:2::", Reserved),
            ("100::", "100::ffff:ffff:ffff:ffff", Reserved),
            ("100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff", Reserved),
            ("1fff:ffff::", "1fff:ffff::", Reserved),
            ("2000::", "2000:ffff::", Global),
            ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", Embedded),
            ("2001:1::1", "2001:1::3", Reserved),
            ("2001:2::", "2001:2:0:ffff::", Reserved),
            ("2001:10::", "2001:1f:ffff::", Reserved),
            ("2001:20::", "2001:2f:ffff::", Reserved),
            ("2001:30::", "2001:3f:ffff::", Reserved),
            ("2001:1ff:ffff::", "2001:1ff:ffff::", Reserved),
            ("2001:200::", "2001:db7:ffff::", Global),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
            ("2001:db9::", "2001:ffff::", Global),
            ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Embedded),
            ("2003::", "3ffe:ffff::", Global),
            ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
            ("3fff:1000::", "3fff:ffff::", Global),
            ("4000::", "fbff:ffff::", Reserved),
            ("5f00::", "5f00:ffff::", Reserved),
            ("fc00::", "fcff:ffff::", Private),
            ("fd00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Private),
            ("fe00::", "fe7f:ffff::", Reserved),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", LinkLocal),
            ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
            ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Multicast),
        ] {
            for address in [first, last] {
                assert_eq!(AddressClass::of(address.parse().unwrap()), class, "{address}");
            }
        }
    }

    #[test]
    fn where_clouds_hand_out_credentials_is_known() {
        let known = [
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:42::42",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
        ];
        for address in known {
            assert_eq!(AddressClass::of(address.parse().unwrap()), AddressClass::Metadata, "{address}");
        }
        for address in ["169.254.169.254", "169.254.170.2", "169.254.42.42"] {
            assert_eq!(AddressClass::of(address.parse().unwrap()), AddressClass::LinkLocal, "{address}");
        }
    }

    #[test]
    fn what_an_address_carries_is_found() {
        for (address, carried) in [
            ("64:ff9b::169.254.169.254", Some("169.254.169.254")),
            ("64:ff9b:1::10.0.0.1", Some("10.0.0.1")),
            ("2002:7f00:1::1", Some("127.0.0.1")),
            ("2001:0:4136:e378:8000:63bf:5601:5601", Some("169.254.169.254")),
            ("::10.0.0.1", Some("10.0.0.1")),
            ("::ffff:0:10.0.0.1", Some("10.0.0.1")),
            ("::ffff:10.0.0.1", None),
            ("::1", None),
            ("2606:4700::1111", None),
            ("10.0.0.1", None),
        ] {
            let carried = carried.map(|carried| carried.parse().unwrap());
            assert_eq!(AddressClass::carried_by(address.parse().unwrap()), carried, "{address}");
        }
    }
}
