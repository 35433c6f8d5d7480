//! Allow lists: networks that nobody ever sends anything to, and the one the load comes from.

use std::net::Ipv4Addr;

use crate::Outcome;

/// The network that the load comes from.
pub(crate) const CLIENT: &str = "127.0.0.1/32";

/// Where the other networks are taken from: first address and number of /24 networks. All private
/// or reserved for tests. Loopback is among them so that the client's address has close neighbours
/// on the list; without them a tree would know after one step that nothing else is near.
const SPACES: [(Ipv4Addr, u32); 6] = [
    (Ipv4Addr::new(10, 0, 0, 0), 65_536),
    (Ipv4Addr::new(100, 64, 0, 0), 16_384),
    // 127.0.0.0/24, the client's own, is left out.
    (Ipv4Addr::new(127, 0, 1, 0), 65_535),
    (Ipv4Addr::new(172, 16, 0, 0), 4_096),
    (Ipv4Addr::new(192, 168, 0, 0), 256),
    (Ipv4Addr::new(198, 18, 0, 0), 512),
];

/// A list of `count` networks, the client's somewhere among them.
pub(crate) fn with_client(count: usize) -> Outcome<Vec<String>> {
    let mut networks = without_client(count.saturating_sub(1))?;
    networks.insert(networks.len() / 2, CLIENT.to_owned());
    Ok(networks)
}

/// A list of `count` distinct /24 networks in random order, the same in every run.
pub(crate) fn without_client(count: usize) -> Outcome<Vec<String>> {
    let mut all: Vec<Ipv4Addr> = SPACES
        .iter()
        .flat_map(|(first, networks)| (0..*networks).map(|n| Ipv4Addr::from_bits(first.to_bits() + (n << 8))))
        .collect();
    if count > all.len() {
        return Err(format!("there are only {} networks to choose from", all.len()).into());
    }
    let mut random = Random(1);
    for i in 0..count {
        let other = i + random.below(all.len() - i);
        all.swap(i, other);
    }
    all.truncate(count);
    Ok(all.iter().map(|network| format!("{network}/24")).collect())
}

/// SplitMix64: good enough to shuffle a list, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn lists_are_distinct_and_as_long_as_asked() {
        let list = with_client(100_000).unwrap();
        assert_eq!(list.len(), 100_000);
        assert_eq!(list.iter().collect::<BTreeSet<_>>().len(), 100_000);
        assert!(list.iter().any(|network| network == CLIENT));
    }

    #[test]
    fn the_client_is_outside_the_other_list() {
        let list = without_client(150_000).unwrap();
        assert!(!list.iter().any(|network| network.starts_with("127.0.0.")));
    }
}
