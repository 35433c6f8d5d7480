use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::ranges::Ranges;

/// Many networks, and whether an address lies in any of them. A look-up costs little more for a million than for ten.
///
/// Held as what they cover, overlapping and neighbouring networks merged: 8 bytes a network for IPv4, 32 for IPv6, and
/// a fifteenth of it to find one's way. IPv4-mapped IPv6 addresses are looked up as the IPv4 addresses they stand for.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PrefixSet {
    four: Ranges<u32>,
    six: Ranges<u128>,
    len: usize,
}

/// How much of each family something covers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Extent {
    /// IPv4 addresses: 0 to 2^32.
    pub four: u64,
    /// IPv6, in networks of length 64: 0 to 2^64. One address alone is 2^-64 of one.
    pub six: f64,
}

impl PrefixSet {
    /// Whether `address` lies in one of the networks.
    #[must_use]
    #[inline]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(four) => self.four.contains(four.to_bits()),
            IpAddr::V6(six) => self.six.contains(six.to_bits()),
        }
    }

    /// The network that `address` lies in, after overlapping and neighbouring ones were merged.
    #[must_use]
    pub fn network_of(&self, address: IpAddr) -> Option<IpNet> {
        match address.to_canonical() {
            IpAddr::V4(four) => {
                let (start, end) = self.four.around(four.to_bits())?;
                networks_between_four(start, end).find(|network| network.contains(&four)).map(IpNet::V4)
            }
            IpAddr::V6(six) => {
                let (start, end) = self.six.around(six.to_bits())?;
                networks_between_six(start, end).find(|network| network.contains(&six)).map(IpNet::V6)
            }
        }
    }

    /// The networks, after overlapping and neighbouring ones were merged: IPv4 first, each family in order.
    pub fn networks(&self) -> impl Iterator<Item = IpNet> {
        let four = self.four.iter().flat_map(|(start, end)| networks_between_four(start, end)).map(IpNet::V4);
        let six = self.six.iter().flat_map(|(start, end)| networks_between_six(start, end)).map(IpNet::V6);
        four.chain(six)
    }

    /// How many networks there are, after overlapping and neighbouring ones were merged.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds no address at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.four.is_empty() && self.six.is_empty()
    }

    /// How much of each family it covers.
    #[must_use]
    pub fn extent(&self) -> Extent {
        Extent::of(self.four.iter(), self.six.iter())
    }

    /// How much of each family both this and `other` cover.
    #[must_use]
    pub fn overlap(&self, other: &Self) -> Extent {
        Extent::of(self.four.overlaps(&other.four), self.six.overlaps(&other.six))
    }

    /// The memory that its networks take, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.four.bytes() + self.six.bytes()
    }
}

impl Extent {
    /// What ranges cover, both ends included, of which no two overlap.
    fn of(four: impl Iterator<Item = (u32, u32)>, six: impl Iterator<Item = (u128, u128)>) -> Self {
        Self {
            four: four.map(|(start, end)| u64::from(end - start) + 1).sum(),
            // Not `sum`, by which nothing at all is -0.
            six: six.fold(0.0, |sum, (start, end)| sum + ((end - start) as f64 + 1.0) / TWO_TO_64),
        }
    }
}

const TWO_TO_64: f64 = 18_446_744_073_709_551_616.0;

/// The fewest networks that cover just these addresses.
fn networks_between_four(start: u32, end: u32) -> impl Iterator<Item = Ipv4Net> {
    ipnet::Ipv4Subnets::new(Ipv4Addr::from_bits(start), Ipv4Addr::from_bits(end), 0)
}

fn networks_between_six(start: u128, end: u128) -> impl Iterator<Item = Ipv6Net> {
    ipnet::Ipv6Subnets::new(Ipv6Addr::from_bits(start), Ipv6Addr::from_bits(end), 0)
}

impl FromIterator<IpNet> for PrefixSet {
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Self {
        let (mut four, mut six) = (Vec::new(), Vec::new());
        for network in networks {
            match network {
                IpNet::V4(network) => four.push((network.network().to_bits(), network.broadcast().to_bits())),
                IpNet::V6(network) => six.push((network.network().to_bits(), network.broadcast().to_bits())),
            }
        }
        let mut set = Self { four: Ranges::covering(four), six: Ranges::covering(six), len: 0 };
        set.len = set.networks().count();
        set
    }
}

impl fmt::Debug for PrefixSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PrefixSet({} networks)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(networks: &[&str]) -> PrefixSet {
        let read = |text: &&str| text.parse().unwrap_or_else(|_| IpNet::from(text.parse::<IpAddr>().unwrap()));
        networks.iter().map(read).collect()
    }

    #[test]
    fn the_edges_of_a_network_are_inside_and_their_neighbours_are_not() {
        let set = set(&["192.0.2.0/28", "2001:db8::/48"]);
        for (address, inside) in [
            ("192.0.2.0", true),
            ("192.0.2.15", true),
            ("192.0.2.16", false),
            ("192.0.1.255", false),
            ("::ffff:192.0.2.7", true),
            ("2001:db8::", true),
            ("2001:db8:0:ffff:ffff:ffff:ffff:ffff", true),
            ("2001:db8:1::", false),
        ] {
            assert_eq!(set.contains(address.parse().unwrap()), inside, "{address}");
        }
    }

    #[test]
    fn overlapping_and_neighbouring_networks_are_merged() {
        assert_eq!(set(&["10.0.0.0/9", "10.128.0.0/9", "10.1.0.0/16"]).len(), 1);
    }

    #[test]
    fn everything_and_nothing() {
        assert!(set(&["0.0.0.0/0"]).contains("8.8.8.8".parse().unwrap()));
        assert!(!set(&["0.0.0.0/0"]).contains("2001:db8::1".parse().unwrap()));
        assert!(PrefixSet::default().is_empty());
        assert!(!PrefixSet::default().contains("8.8.8.8".parse().unwrap()));
    }

    #[test]
    fn the_network_around_an_address_is_one_of_the_merged_ones() {
        let set = set(&["192.0.2.0/25", "192.0.2.128/25", "192.0.3.0/25", "2001:db8::/48"]);
        let around = |address: &str| set.network_of(address.parse().unwrap()).map(|network| network.to_string());
        assert_eq!(around("192.0.2.200").as_deref(), Some("192.0.2.0/24"));
        assert_eq!(around("::ffff:192.0.3.1").as_deref(), Some("192.0.3.0/25"));
        assert_eq!(around("2001:db8::1").as_deref(), Some("2001:db8::/48"));
        assert_eq!(around("192.0.3.128"), None);
    }

    #[test]
    fn what_is_covered_is_counted_once_and_each_family_by_itself() {
        let extent = set(&["192.0.2.0/24", "192.0.2.7", "2001:db8::/63", "2001:db9::/65"]).extent();
        assert_eq!((extent.four, extent.six), (256, 2.5));
        assert_eq!(format!("{:.0}", set(&["192.0.2.0/24"]).extent().six), "0");
        let all = set(&["0.0.0.0/0", "::/0"]).extent();
        assert_eq!((all.four, all.six), (1 << 32, TWO_TO_64));
    }

    #[test]
    fn an_overlap_is_what_both_cover_and_each_family_by_itself() {
        let one = set(&["192.0.2.0/24", "198.51.100.0/25", "2001:db8::/63"]);
        let other = set(&["192.0.2.128/25", "192.0.3.0/24", "198.51.100.0/24", "203.0.113.7", "2001:db8:0:1::/64"]);
        let overlap = one.overlap(&other);
        assert_eq!((overlap.four, overlap.six), (256, 1.0));
        assert_eq!(other.overlap(&one), overlap);
        assert_eq!(one.overlap(&PrefixSet::default()), Extent::default());
        let all = set(&["0.0.0.0/0", "::/0"]);
        assert_eq!((all.overlap(&all), all.overlap(&one)), (all.extent(), one.extent()));
    }

    fn in_order(mut networks: Vec<IpNet>) -> Vec<IpNet> {
        networks.sort();
        networks
    }

    fn network() -> impl Strategy<Value = IpNet> {
        // Few distinct bits, so that networks and addresses really meet.
        (any::<bool>(), 0_u8..=24, 0_u8..16).prop_map(|(v6, length, bits)| {
            let address = if v6 {
                IpAddr::from((u128::from(bits) << 120).to_be_bytes())
            } else {
                IpAddr::from((u32::from(bits) << 24).to_be_bytes())
            };
            IpNet::new(address, length).unwrap().trunc()
        })
    }

    proptest! {
        #[test]
        fn it_agrees_with_looking_at_one_network_after_the_other(
            networks in prop::collection::vec(network(), 0..30),
            addresses in prop::collection::vec(network(), 1..30),
        ) {
            let set: PrefixSet = networks.iter().copied().collect();
            for address in addresses.iter().map(IpNet::addr) {
                let inside = networks.iter().any(|network| network.contains(&address));
                prop_assert_eq!(set.contains(address), inside);
                prop_assert_eq!(set.network_of(address).is_some(), inside);
            }
            prop_assert_eq!(set.networks().collect::<Vec<_>>(), in_order(IpNet::aggregate(&networks)));
        }

        #[test]
        fn an_overlap_agrees_with_what_is_covered_together(
            one in prop::collection::vec(network(), 0..30),
            other in prop::collection::vec(network(), 0..30),
        ) {
            let both: PrefixSet = one.iter().chain(&other).copied().collect();
            let one: PrefixSet = one.into_iter().collect();
            let other: PrefixSet = other.into_iter().collect();
            let overlap = one.overlap(&other);
            prop_assert_eq!(overlap.four + both.extent().four, one.extent().four + other.extent().four);
            // All lengths are short, so that nothing is rounded.
            prop_assert_eq!(overlap.six + both.extent().six, one.extent().six + other.extent().six);
        }

        #[test]
        fn sets_of_every_size_agree_too(
            starts in prop::collection::btree_set(0_u32..20_000, 0..2_000),
            asked in prop::collection::vec(0_u32..20_100, 100),
        ) {
            // Ranges of three addresses, and the next may begin at once.
            let networks = starts.iter().flat_map(|start| [(start * 4, 31), (start * 4 + 2, 32)]);
            let networks = networks.flat_map(|(first, length)| {
                let four = Ipv4Addr::from_bits(first);
                let six = Ipv6Addr::from_bits(u128::from(first) << 64 | 0x2001 << 112);
                [IpNet::new(four.into(), length).unwrap(), IpNet::new(six.into(), length + 32).unwrap()]
            });
            let set: PrefixSet = networks.collect();
            for asked in asked {
                let inside = starts.contains(&(asked / 4)) && asked % 4 < 3;
                prop_assert_eq!(set.contains(Ipv4Addr::from_bits(asked).into()), inside);
                let six = Ipv6Addr::from_bits(u128::from(asked) << 64 | 0x2001 << 112 | 0xffff);
                prop_assert_eq!(set.contains(six.into()), inside);
            }
        }
    }
}
