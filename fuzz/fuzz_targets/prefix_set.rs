//! Address sets: a set holds an address exactly if one of its networks does, in whatever form either was written.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use gatepost_net::fold;
use gatepost_prefix::PrefixSet;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut reader = Reader(bytes);
    let Some(asked) = reader.address() else { return };
    let mut networks = Vec::new();
    while let Some(network) = reader.network() {
        networks.push(network);
    }
    let set: PrefixSet = networks.iter().copied().collect();
    let folded = fold(asked);
    let listed = networks.iter().any(|network| network.contains(&folded));
    assert_eq!(set.contains(asked), listed, "{asked} in {networks:?}");
    assert_eq!(set.contains(asked), set.contains(folded), "{asked} is not {folded}");
    assert!(set.len() <= networks.len());
    assert_eq!(set.is_empty(), networks.is_empty());
});

/// Takes addresses and networks off the front of the input.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    /// A first byte that is odd makes it IPv6.
    fn address(&mut self) -> Option<IpAddr> {
        let is_v6 = self.take::<1>()?[0] % 2 == 1;
        if is_v6 {
            Some(Ipv6Addr::from(self.take::<16>()?).into())
        } else {
            Some(Ipv4Addr::from(self.take::<4>()?).into())
        }
    }

    /// An address and the length of a prefix.
    fn network(&mut self) -> Option<IpNet> {
        let address = self.address()?;
        let length = self.take::<1>()?[0];
        Some(match address {
            IpAddr::V4(address) => Ipv4Net::new(address, length % 33).ok()?.trunc().into(),
            IpAddr::V6(address) => Ipv6Net::new(address, length % 129).ok()?.trunc().into(),
        })
    }

    fn take<const COUNT: usize>(&mut self) -> Option<[u8; COUNT]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }
}
