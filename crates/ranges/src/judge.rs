//! Whether a list may take the place of the copy in force. A publisher that errs, or is not itself any more, must not
//! open what is closed, nor close what is open, without somebody having looked at it.

use std::fmt;

use gatepost_prefix::{Extent, PrefixSet};
use ipnet::IpNet;
use thiserror::Error;

/// The shortest prefix of IPv4 that a fetched set may cover.
pub const WIDEST_IPV4: u8 = 8;

/// The shortest prefix of IPv6 that a fetched set may cover.
pub const WIDEST_IPV6: u8 = 16;

/// The most addresses of IPv4 that a fetched set may cover, an eighth of all: four times what the largest cloud has.
pub const MOST_IPV4: u64 = 1 << 29;

/// The most of IPv6 that a fetched set may cover, in networks of length 64: as much as a /12, which is what a registry
/// gives out for a part of the world.
pub const MOST_IPV6: u64 = 1 << 52;

/// How much an update may change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// The share of the addresses covered that may be lost: 0 to 1.
    pub shrink: f64,
    /// How many times as many addresses may be covered: at least 1.
    pub grow: f64,
}

/// Why a list is not used.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum Objection {
    /// Together its entries cover more than any list of addresses should. No configuration permits it.
    #[error("it covers {0}, and no list may cover a prefix shorter than /{WIDEST_IPV4}, of IPv6 /{WIDEST_IPV6}")]
    TooWide(IpNet),
    /// Together its entries cover more of a family than any list should, though no piece is too wide. No configuration
    /// permits it.
    #[error(
        "it covers {0} in all, and no list may cover more than {MOST_IPV4} IPv4 addresses, of IPv6 {MOST_IPV6} networks \
         of length 64"
    )]
    TooMuch(Covered),
    /// It lost more than [`Bounds::shrink`] of a family.
    #[error("it keeps {kept} of what the copy in force covers, {from}: it loses more than `shrink` allows")]
    Shrinks {
        /// What is covered now.
        from: Covered,
        /// What of it would still be.
        kept: Covered,
    },
    /// It covers more than [`Bounds::grow`] times as much of a family.
    #[error("it covers {to} where the copy in force covers {from}: it grows by more than `grow` allows")]
    Grows {
        /// What is covered now.
        from: Covered,
        /// What would be.
        to: Covered,
    },
}

/// How much of one family is covered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Covered {
    /// Addresses of IPv4.
    Four(u64),
    /// Networks of IPv6 of length 64.
    Six(f64),
}

/// Judges `list` as an update of `in_force`, or as the first one.
///
/// IPv4 and IPv6 are judged each by itself: IPv4 by addresses, IPv6 by networks of length 64, in which one address is a
/// part. What is lost is what the copy in force covers and the list does not, however much it covers elsewhere. A family
/// that goes from nothing to something grows without bound; one that goes to nothing loses all of it.
///
/// # Errors
/// See [`Objection`].
pub fn judge(list: &PrefixSet, in_force: Option<&PrefixSet>, bounds: Bounds) -> Result<(), Objection> {
    if let Some(wide) = list.networks().find(is_too_wide) {
        return Err(Objection::TooWide(wide));
    }
    let after = list.extent();
    if after.four > MOST_IPV4 {
        return Err(Objection::TooMuch(Covered::Four(after.four)));
    }
    if after.six > MOST_IPV6 as f64 {
        return Err(Objection::TooMuch(Covered::Six(after.six)));
    }
    let Some(in_force) = in_force else { return Ok(()) };
    let (before, kept) = (in_force.extent(), in_force.overlap(list));
    for family in [Covered::four, Covered::six] {
        let (from, kept, to) = (family(before), family(kept), family(after));
        if kept.count() < from.count() * (1.0 - bounds.shrink) {
            return Err(Objection::Shrinks { from, kept });
        }
        if to.count() > from.count() * bounds.grow {
            return Err(Objection::Grows { from, to });
        }
    }
    Ok(())
}

fn is_too_wide(network: &IpNet) -> bool {
    network.prefix_len() < if network.addr().is_ipv4() { WIDEST_IPV4 } else { WIDEST_IPV6 }
}

impl Covered {
    pub(crate) fn four(extent: Extent) -> Self {
        Self::Four(extent.four)
    }

    pub(crate) fn six(extent: Extent) -> Self {
        Self::Six(extent.six)
    }

    fn count(self) -> f64 {
        match self {
            Self::Four(addresses) => addresses as f64,
            Self::Six(networks) => networks,
        }
    }
}

impl fmt::Display for Covered {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Four(1) => out.write_str("1 IPv4 address"),
            Self::Four(addresses) => write!(out, "{addresses} IPv4 addresses"),
            Self::Six(networks) if *networks < 1.0 && *networks > 0.0 => out.write_str("less than an IPv6 /64"),
            Self::Six(networks) => write!(out, "{networks:.0} of IPv6's /64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { shrink: 0.5, grow: 2.0 };

    fn set(networks: &[&str]) -> PrefixSet {
        networks.iter().map(|network| network.parse::<IpNet>().unwrap()).collect()
    }

    fn judged(list: &[&str], in_force: &[&str]) -> String {
        match judge(&set(list), Some(&set(in_force)), BOUNDS) {
            Ok(()) => "fine".to_owned(),
            Err(objection) => objection.to_string(),
        }
    }

    #[test]
    fn an_update_may_lose_half_and_become_twice_as_much_and_no_more() {
        let four = ["192.0.2.0/24"];
        assert_eq!(judged(&["192.0.2.0/25"], &four), "fine");
        assert_eq!(judged(&["192.0.2.0/23"], &four), "fine");
        assert_eq!(judged(&["192.0.2.0/25", "192.0.2.128/25"], &four), "fine");
        assert_eq!(
            judged(&["192.0.2.0/26", "192.0.2.64/27"], &four),
            "it keeps 96 IPv4 addresses of what the copy in force covers, 256 IPv4 addresses: it loses more than \
             `shrink` allows"
        );
        assert_eq!(
            judged(&["192.0.2.0/23", "198.51.100.7/32"], &four),
            "it covers 513 IPv4 addresses where the copy in force covers 256 IPv4 addresses: it grows by more than \
             `grow` allows"
        );
        let six = ["2001:db8::/48"];
        assert_eq!(judged(&["2001:db8::/47"], &six), "fine");
        assert!(judged(&["2001:db8::/46"], &six).contains("grows"));
        assert!(judged(&["2001:db8::/50"], &six).contains("loses"));
    }

    #[test]
    fn what_is_lost_is_counted_by_address_and_not_by_size() {
        let four = ["192.0.2.0/24"];
        assert_eq!(
            judged(&["127.0.0.0/24"], &four),
            "it keeps 0 IPv4 addresses of what the copy in force covers, 256 IPv4 addresses: it loses more than \
             `shrink` allows"
        );
        assert_eq!(judged(&["192.0.2.128/25", "198.51.100.0/25"], &four), "fine");
        assert!(judged(&["192.0.2.192/26", "198.51.100.0/24"], &four).contains("loses"));
        assert!(judged(&["2001:db9::/48"], &["2001:db8::/48"]).starts_with("it keeps 0 of IPv6's /64"));
        let nothing_may_go = Bounds { shrink: 0.0, grow: 2.0 };
        assert_eq!(judge(&set(&["192.0.2.0/24", "192.0.3.0/25"]), Some(&set(&four)), nothing_may_go), Ok(()));
        let all_may_go = Bounds { shrink: 1.0, grow: 1.0 };
        assert_eq!(judge(&set(&["198.51.100.0/24"]), Some(&set(&four)), all_may_go), Ok(()));
    }

    #[test]
    fn each_family_is_judged_by_itself() {
        let both = ["192.0.2.0/24", "2001:db8::/32"];
        assert!(judged(&["192.0.2.0/24"], &both).contains("loses"));
        assert!(judged(&["2001:db8::/32"], &both).contains("loses"));
        assert!(judged(&both, &["192.0.2.0/24"]).contains("grows"));
        let all_may_go = Bounds { shrink: 1.0, grow: 2.0 };
        assert_eq!(judge(&set(&["192.0.2.0/24"]), Some(&set(&both)), all_may_go), Ok(()));
    }

    #[test]
    fn no_list_covers_a_prefix_shorter_than_8_or_16_in_one_piece_or_in_many() {
        let first = |networks: &[&str]| judge(&set(networks), None, BOUNDS);
        assert_eq!(first(&["10.0.0.0/8", "2a00::/16"]), Ok(()));
        let slash_9s: Vec<String> = (0..512_u32).map(|n| format!("{}.{}.0.0/9", n / 2, n % 2 * 128)).collect();
        let slash_9s: Vec<&str> = slash_9s.iter().map(String::as_str).collect();
        for wide in
            [&["0.0.0.0/0"][..], &["10.0.0.0/7"], &["10.0.0.0/8", "11.0.0.0/8"], &["::/0"], &["2a00::/15"], &slash_9s]
        {
            assert!(matches!(first(wide), Err(Objection::TooWide(_))), "{wide:?}");
        }
    }

    #[test]
    fn no_list_covers_an_eighth_of_ipv4_or_as_much_of_ipv6_in_however_many_pieces() {
        let first = |networks: &[String]| {
            let list = networks.iter().map(|network| network.parse::<IpNet>().unwrap()).collect();
            judge(&list, None, BOUNDS).map_err(|objection| objection.to_string())
        };
        // Every /8 without its last address: no piece of it is too wide, and together it is the internet.
        let almost_all: Vec<String> =
            (0..256).flat_map(|n| (9..=32).map(move |length| almost(n << 24, length).to_string())).collect();
        let said = first(&almost_all).unwrap_err();
        assert_eq!(
            said,
            "it covers 4294967040 IPv4 addresses in all, and no list may cover more than 536870912 IPv4 addresses, of \
             IPv6 4503599627370496 networks of length 64"
        );
        let eighth: Vec<String> = (0..32).map(|n| format!("{}.0.0.0/8", 2 * n)).collect();
        assert_eq!(first(&eighth), Ok(()));
        assert!(first(&[&eighth[..], &["65.0.0.1/32".to_owned()]].concat()).unwrap_err().contains("536870913 IPv4"));
        let sixteen: Vec<String> = (0..16).map(|n| format!("{:x}::/16", 0x2000 + 2 * n)).collect();
        assert_eq!(first(&sixteen), Ok(()));
        assert!(
            first(&[&sixteen[..], &["3000::/64".to_owned()]].concat()).unwrap_err().contains("4503599627370497 of")
        );
    }

    /// The part of length `length` of the /8 at `start` that leaves out the last address with the parts before it.
    fn almost(start: u32, length: u8) -> ipnet::Ipv4Net {
        let skipped: u32 = (9..length).map(|before| 1_u32 << (32 - before)).sum();
        ipnet::Ipv4Net::new((start + skipped).into(), length).unwrap()
    }
}
