use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use prefix_trie::joint::JointPrefixSet;

/// Many networks, and whether an address lies in any of them. A look-up costs the same for ten as for a million.
///
/// IPv4-mapped IPv6 addresses are looked up as the IPv4 addresses they stand for.
#[derive(Clone, Default)]
pub struct PrefixSet {
    networks: JointPrefixSet<IpNet>,
}

impl PrefixSet {
    /// Whether `address` lies in one of the networks.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.networks.is_covered(&IpNet::from(address.to_canonical()))
    }

    /// The networks, after overlapping and neighbouring ones were merged.
    pub fn networks(&self) -> impl Iterator<Item = IpNet> {
        self.networks.iter()
    }

    /// How many networks there are, after overlapping and neighbouring ones were merged.
    #[must_use]
    pub fn len(&self) -> usize {
        self.networks.len()
    }

    /// Whether it holds no address at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }
}

impl FromIterator<IpNet> for PrefixSet {
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Self {
        let networks: Vec<IpNet> = networks.into_iter().collect();
        Self { networks: IpNet::aggregate(&networks).into_iter().collect() }
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
        networks.iter().map(|network| network.parse::<IpNet>().unwrap()).collect()
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
            }
        }
    }
}
