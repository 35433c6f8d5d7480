//! The address space, cut wherever a rule about addresses may change its mind, and put together again.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

/// Addresses that follow each other, of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    family: Family,
    first: u128,
    last: u128,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

/// Some addresses, in as few networks as can be, in order.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Networks {
    networks: Vec<IpNet>,
    v4: u64,
    v6: u128,
}

/// Stretches that together are every address there is: within each, no two addresses are told apart by any of
/// `networks`. IPv4-mapped IPv6 addresses are those of IPv4, and not among the others.
pub(super) fn pieces(networks: impl IntoIterator<Item = IpNet>) -> Vec<Stretch> {
    let (mut v4, mut v6) = (vec![0], vec![0, MAPPED.0, MAPPED.1 + 1]);
    for network in networks {
        let Stretch { family, first, last } = Stretch::of(&network);
        let cuts = if family == Family::V4 { &mut v4 } else { &mut v6 };
        cuts.push(first);
        cuts.extend(last.checked_add(1).filter(|next| *next <= family.last()));
    }
    let mut pieces = between(Family::V4, v4);
    pieces.extend(between(Family::V6, v6).into_iter().filter(|piece| !piece.is_mapped()));
    pieces
}

/// `::ffff:0:0/96`, first and last.
const MAPPED: (u128, u128) = (0xffff_0000_0000, 0xffff_ffff_ffff);

fn between(family: Family, mut cuts: Vec<u128>) -> Vec<Stretch> {
    cuts.sort_unstable();
    cuts.dedup();
    let ends = cuts.iter().skip(1).map(|next| next - 1).chain([family.last()]);
    cuts.iter().zip(ends).map(|(&first, last)| Stretch { family, first, last }).collect()
}

impl Stretch {
    fn of(network: &IpNet) -> Self {
        match network {
            IpNet::V4(network) => Self {
                family: Family::V4,
                first: u32::from(network.network()).into(),
                last: u32::from(network.broadcast()).into(),
            },
            IpNet::V6(network) => {
                Self { family: Family::V6, first: network.network().into(), last: network.broadcast().into() }
            }
        }
    }

    /// One of them, which stands for all.
    pub(super) fn address(self) -> IpAddr {
        self.family.address(self.first)
    }

    /// Takes the next one in if nothing lies between them.
    pub(super) fn join(&mut self, next: Self) -> bool {
        let joins = self.family == next.family && self.end() == next.first;
        if joins {
            self.last = next.last;
        }
        joins
    }

    fn ends_before(self, other: Self) -> bool {
        match (self.family, other.family) {
            (Family::V4, Family::V6) => true,
            (Family::V6, Family::V4) => false,
            (Family::V4, Family::V4) | (Family::V6, Family::V6) => self.last < other.first,
        }
    }

    /// What the next one begins with: what is mapped to IPv4 is no gap.
    fn end(self) -> u128 {
        match (self.family, self.last.wrapping_add(1)) {
            (Family::V6, end) if end == MAPPED.0 => MAPPED.1 + 1,
            (_, end) => end,
        }
    }

    fn is_mapped(self) -> bool {
        self.family == Family::V6 && (MAPPED.0..=MAPPED.1).contains(&self.first)
    }
}

impl Family {
    fn last(self) -> u128 {
        match self {
            Self::V4 => u32::MAX.into(),
            Self::V6 => u128::MAX,
        }
    }

    fn address(self, number: u128) -> IpAddr {
        match self {
            // The numbers of this family have 32 bits.
            Self::V4 => Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into(),
            Self::V6 => Ipv6Addr::from(number).into(),
        }
    }
}

impl Networks {
    /// The networks, none in another, IPv4 first.
    #[must_use]
    pub fn list(&self) -> &[IpNet] {
        &self.networks
    }

    /// How many IPv4 addresses they hold.
    #[must_use]
    pub fn v4_addresses(&self) -> u64 {
        self.v4
    }

    /// How many IPv6 networks of 64 bits they hold, or hold a part of: who has one address of such a network has all.
    #[must_use]
    pub fn v6_networks_of_64(&self) -> u128 {
        self.v6
    }

    /// Every other address: what is short to say of nearly all.
    #[must_use]
    pub fn others(&self) -> Self {
        let mut inside = self.networks.iter().map(Stretch::of).peekable();
        let mut others: Vec<Stretch> = Vec::new();
        for piece in pieces(self.networks.iter().copied()) {
            while inside.next_if(|stretch| stretch.ends_before(piece)).is_some() {}
            let is_inside =
                inside.peek().is_some_and(|stretch| stretch.family == piece.family && stretch.first <= piece.first);
            if !is_inside && !others.last_mut().is_some_and(|last| last.join(piece)) {
                others.push(piece);
            }
        }
        Self::from(&*others)
    }

    /// What they are compared by where the largest comes first: an IPv4 address counts as much as an IPv6 /64.
    #[must_use]
    pub fn weight(&self) -> u128 {
        self.v6 + u128::from(self.v4)
    }
}

impl From<&[Stretch]> for Networks {
    /// Of stretches in order, none joining the next.
    fn from(stretches: &[Stretch]) -> Self {
        let (mut networks, mut v4, mut v6) = (Vec::new(), 0, 0);
        let mut last_64 = None;
        for stretch in stretches {
            match (stretch.family.address(stretch.first), stretch.family.address(stretch.last)) {
                (IpAddr::V4(first), IpAddr::V4(last)) => {
                    networks.extend(Ipv4Subnets::new(first, last, 0).map(IpNet::V4));
                    v4 += u64::from(u32::from(last) - u32::from(first)) + 1;
                }
                (IpAddr::V6(first), IpAddr::V6(last)) => {
                    networks.extend(Ipv6Subnets::new(first, last, 0).map(IpNet::V6));
                    let (from, to) = (u128::from(first) >> 64, u128::from(last) >> 64);
                    v6 += to - from + u128::from(last_64 != Some(from));
                    last_64 = Some(to);
                }
                // A stretch is of one family.
                (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
            }
        }
        Self { networks, v4, v6 }
    }
}

impl fmt::Debug for Networks {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Networks({} networks)", self.networks.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn networks(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// The pieces that lie in one of the networks, joined.
    fn inside(networks: &[IpNet]) -> Networks {
        let mut joined: Vec<Stretch> = Vec::new();
        for piece in pieces(networks.iter().copied()) {
            let inside = networks.iter().any(|network| network.contains(&piece.address()));
            if inside && !joined.last_mut().is_some_and(|last| last.join(piece)) {
                joined.push(piece);
            }
        }
        Networks::from(&*joined)
    }

    #[test]
    fn cut_and_joined_again_networks_are_as_few_as_can_be() {
        for (written, few, v4, v6) in [
            (&[][..], &[][..], 0, 0),
            (&["0.0.0.0/0"], &["0.0.0.0/0"], 1 << 32, 0),
            (&["::/0"], &["::/0"], 0, 1 << 64),
            (&["0.0.0.0/0", "::/0"], &["0.0.0.0/0", "::/0"], 1 << 32, 1 << 64),
            (&["10.0.0.0/9", "10.128.0.0/9", "10.1.0.0/16"], &["10.0.0.0/8"], 1 << 24, 0),
            (&["192.0.2.255/32", "192.0.3.0/32"], &["192.0.2.255/32", "192.0.3.0/32"], 2, 0),
            (&["255.255.255.255/32"], &["255.255.255.255/32"], 1, 0),
            (&["2001:db8::1/128", "2001:db8::3/128"], &["2001:db8::1/128", "2001:db8::3/128"], 0, 1),
            (&["2001:db8::/63"], &["2001:db8::/63"], 0, 2),
            (&["::fffe:0:0/96", "::1:0:0:0/96"], &["::fffe:0:0/95", "::1:0:0:0/96"], 0, 1),
        ] {
            let found = inside(&networks(written));
            assert_eq!(found.list(), networks(few), "{written:?}");
            assert_eq!((found.v4_addresses(), found.v6_networks_of_64()), (v4, v6), "{written:?}");
        }
    }

    #[test]
    fn the_others_of_nearly_all_are_few() {
        let nearly_all = inside(&networks(&["192.0.2.0/24", "2001:db8::/32"])).others();
        assert!(nearly_all.list().len() > 40);
        assert_eq!(nearly_all.others().list(), networks(&["192.0.2.0/24", "2001:db8::/32"]));
        assert_eq!(nearly_all.v4_addresses(), (1 << 32) - 256);
        assert_eq!(nearly_all.v6_networks_of_64(), (1 << 64) - (1 << 32));
    }

    fn network() -> impl Strategy<Value = IpNet> {
        (any::<bool>(), 0_u8..=32, any::<u32>()).prop_map(|(v6, length, bits)| {
            let address: IpAddr =
                if v6 { (u128::from(bits) << 96).to_be_bytes().into() } else { bits.to_be_bytes().into() };
            IpNet::new(address, length).unwrap().trunc()
        })
    }

    proptest! {
        #[test]
        fn every_address_is_in_one_piece_and_the_pieces_tell_networks_apart(
            networks in prop::collection::vec(network(), 0..20),
            v4 in any::<u32>(),
            v6 in any::<u128>(),
        ) {
            let pieces = pieces(networks.iter().copied());
            let edges = networks.iter().flat_map(|network| [network.network(), network.broadcast()]);
            for address in edges.chain([Ipv4Addr::from(v4).into(), Ipv6Addr::from(v6).into()]) {
                let alone = Stretch::of(&IpNet::from(address));
                let holds = |piece: &&Stretch| piece.family == alone.family && (piece.first..=piece.last).contains(&alone.first);
                let found: Vec<_> = pieces.iter().filter(holds).collect();
                prop_assert_eq!(found.len(), usize::from(!alone.is_mapped()));
                for piece in found {
                    for network in &networks {
                        prop_assert_eq!(network.contains(&address), network.contains(&piece.address()));
                    }
                }
            }
            let inside = inside(&networks);
            prop_assert_eq!(IpNet::aggregate(&networks), inside.list());
            prop_assert_eq!(inside.others().others(), inside);
        }
    }
}
