//! What a million networks cost: `cargo run --release -p gatepost-prefix --example million`.

#![expect(clippy::print_stdout, reason = "a measurement is to be read")]
#![expect(clippy::disallowed_types, reason = "it measures real time, and has no runtime")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use gatepost_prefix::PrefixSet;
use ipnet::IpNet;

/// Look-ups a measurement.
const LOOKUPS: u32 = 4_000_000;

fn main() {
    for family in [Family::Four, Family::Six] {
        let mut of_ten = None;
        for count in [10, 1_000, 1_000_000] {
            let mut random = Random(0x9E37_79B9_7F4A_7C15);
            let networks: Vec<IpNet> = (0..count).map(|_| family.network(&mut random)).collect();
            let begun = Instant::now();
            let set: PrefixSet = networks.iter().copied().collect();
            let loading = begun.elapsed();
            // Half of those who ask are listed, each time others.
            let asked: Vec<IpAddr> = (0..1 << 20)
                .map(|turn| match turn % 2 {
                    0 => networks[random.next() as usize % networks.len()].network(),
                    _ => family.network(&mut random).network(),
                })
                .collect();
            let begun = Instant::now();
            let mut listed = 0_u32;
            for turn in 0..LOOKUPS {
                let asked = asked[turn as usize & ((1 << 20) - 1)];
                listed += u32::from(set.contains(black_box(asked)));
            }
            let each = begun.elapsed().as_secs_f64() * 1e9 / f64::from(LOOKUPS);
            black_box(listed);
            let ten = *of_ten.get_or_insert(each);
            println!(
                "{family:?}: {count:>9} networks, {:>9} merged: loaded in {:>8.2} ms, {:>5.1} bytes each, \
                 {each:>6.1} ns a look-up, {:>4.1} times that of ten",
                set.len(),
                loading.as_secs_f64() * 1e3,
                set.bytes() as f64 / set.len() as f64,
                each / ten,
            );
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Family {
    Four,
    Six,
}

impl Family {
    /// A network of a length that is usual on the Internet.
    fn network(self, random: &mut Random) -> IpNet {
        let bits = random.next();
        let network = match self {
            Self::Four => {
                let address = Ipv4Addr::from_bits((bits >> 32) as u32);
                IpNet::new(address.into(), 20 + (bits % 13) as u8)
            }
            Self::Six => {
                // As given out: most of it lies in a few dozen networks of length 16.
                let top = 0x2a00_u128 + u128::from(bits % 32);
                let address = Ipv6Addr::from_bits(top << 112 | u128::from(random.next()) << 48);
                IpNet::new(address.into(), 32 + (bits % 33) as u8)
            }
        };
        network.map_or(IpNet::V4(ipnet::Ipv4Net::default()), |network| network.trunc())
    }
}

/// xorshift64: the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
