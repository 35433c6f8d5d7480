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
    /// It lost more than [`Bounds::shrink`] of a family.
    #[error("it covers {to} where the copy in force covers {from}: it shrinks by more than `shrink` allows")]
    Shrinks {
        /// What is covered now.
        from: Covered,
        /// What would be.
        to: Covered,
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
/// part. A family that goes from nothing to something grows without bound; one that goes to nothing loses all of it.
///
/// # Errors
/// See [`Objection`].
pub fn judge(list: &PrefixSet, in_force: Option<&PrefixSet>, bounds: Bounds) -> Result<(), Objection> {
    if let Some(wide) = list.networks().find(is_too_wide) {
        return Err(Objection::TooWide(wide));
    }
    let Some(in_force) = in_force else { return Ok(()) };
    let (Extent { four: four_before, six: six_before }, Extent { four, six }) = (in_force.extent(), list.extent());
    let families = [
        (four_before as f64, four as f64, Covered::Four(four_before), Covered::Four(four)),
        (six_before, six, Covered::Six(six_before), Covered::Six(six)),
    ];
    for (before, after, from, to) in families {
        if after < before * (1.0 - bounds.shrink) {
            return Err(Objection::Shrinks { from, to });
        }
        if after > before * bounds.grow {
            return Err(Objection::Grows { from, to });
        }
    }
    Ok(())
}

fn is_too_wide(network: &IpNet) -> bool {
    network.prefix_len() < if network.addr().is_ipv4() { WIDEST_IPV4 } else { WIDEST_IPV6 }
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
            "it covers 96 IPv4 addresses where the copy in force covers 256 IPv4 addresses: it shrinks by more than \
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
        assert!(judged(&["2001:db8::/50"], &six).contains("shrinks"));
    }

    #[test]
    fn each_family_is_judged_by_itself() {
        let both = ["192.0.2.0/24", "2001:db8::/32"];
        assert!(judged(&["192.0.2.0/24"], &both).contains("shrinks"));
        assert!(judged(&["2001:db8::/32"], &both).contains("shrinks"));
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
}
