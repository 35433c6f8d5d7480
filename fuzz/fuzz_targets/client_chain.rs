//! Headers that tell of the client: each line of the input is a field. Whatever they say, the client is the peer or
//! stands in the header, whoever spoke for it is believed, and what is added on the right is read the same.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use gatepost_net::{BelievedHeader, Client, HopSource, MOST_HOPS, Peer, Step, Stop, find_client};
use libfuzzer_sys::fuzz_target;

const PEER: Peer = Peer { socket: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), proxied: None };
const ADDED: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77));

fuzz_target!(|bytes: &[u8]| {
    let fields: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    for (header, added) in
        [(BelievedHeader::XForwardedFor, "192.0.2.77"), (BelievedHeader::Forwarded, "x=\",\\\"\";for=\"192.0.2.77\"")]
    {
        told_by_believed(header, &fields);
        let alone = Client { address: ADDED, decided_by: HopSource::Header { hop: 1 } };
        let mut fields = fields.clone();
        let last = [fields.pop().unwrap_or_default(), b", ", added.as_bytes()].concat();
        fields.push(&last);
        assert_eq!(find_client(PEER, is_believed, header, fields.iter().copied(), |_| ()), alone);
    }
    let off = find_client(PEER, is_believed, BelievedHeader::Off, fields.iter().copied(), |_| ());
    assert_eq!(off, Client { address: PEER.socket, decided_by: HopSource::Socket });
});

fn told_by_believed(header: BelievedHeader, fields: &[&[u8]]) {
    let mut steps = Vec::new();
    let client = find_client(PEER, is_believed, header, fields.iter().copied(), |step| steps.push(step));
    assert_eq!(client, find_client(PEER, is_believed, header, fields.iter().copied(), |_| ()));
    assert!(client.address == PEER.socket || stands_in(fields, client.address), "{client:?}");
    assert!(steps.len() <= usize::from(MOST_HOPS) + 2);
    let Some((Step::Stopped(stop), senders)) = steps.split_last() else { panic!("{steps:?}") };
    for (number, step) in senders.iter().enumerate() {
        let Step::Sender { address, source, believed } = step else { panic!("{steps:?}") };
        let last = number + 1 == senders.len();
        assert_eq!(*believed, is_believed(*address));
        assert_eq!(*believed, !last || *stop != Stop::NotBelieved);
        assert_eq!(last, (*address, *source) == (client.address, client.decided_by));
    }
}

fn is_believed(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 10)
}

/// Whether the address stands anywhere between delimiters, read as leniently as can be.
fn stands_in(fields: &[&[u8]], address: IpAddr) -> bool {
    let text = String::from_utf8_lossy(&fields.join(&b',')).replace('\\', "");
    text.split([',', ';', '=', '"']).map(str::trim).any(|entry| {
        let without_port = entry.rsplit_once(':').map_or(entry, |(address, _)| address);
        [entry, without_port].into_iter().any(|text| {
            let bare = text.trim_start_matches('[').trim_end_matches(']');
            bare.parse() == Ok(address) || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical() == address)
        }) || entry.parse::<SocketAddr>().is_ok_and(|socket| socket.ip().to_canonical() == address)
    })
}
