//! PROXY headers: one verdict however the bytes are split, and never a byte asked for beyond the header.

#![no_main]

use gatepost_net::{Progress, ProxyHeader, fold};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = ProxyHeader::read(bytes);
    let mut needed = 0;
    for seen in 0..=bytes.len() {
        let verdict = ProxyHeader::read(&bytes[..seen]);
        if let Ok(Progress::Need(more)) = verdict {
            assert!(more > 0);
            needed = needed.max(seen + more);
            assert!(needed <= ProxyHeader::MOST_BYTES);
            continue;
        }
        assert_eq!(verdict, whole, "after {seen} bytes");
        assert!(seen <= ProxyHeader::MOST_BYTES);
        if let Ok(Progress::Complete { length, header }) = verdict {
            assert_eq!(length, seen, "the verdict comes with the header's last byte");
            assert!(needed <= length, "{needed} bytes were asked for");
            written_anew(header);
        }
        return;
    }
    assert!(matches!(whole, Ok(Progress::Need(_))));
});

/// What was read, written down and read again, is the same.
fn written_anew(header: ProxyHeader) {
    let ProxyHeader::Source { source, destination } = header else { return };
    assert_eq!(source.ip(), fold(source.ip()));
    assert_eq!(destination.ip(), fold(destination.ip()));
    let (family, [from, to]) = match (source.is_ipv4(), destination.is_ipv4()) {
        (true, true) => ("TCP4", [source.ip().to_string(), destination.ip().to_string()]),
        // A folded address goes back into the other's family.
        _ => (
            "TCP6",
            [source.ip(), destination.ip()].map(|ip| match ip {
                std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().to_string(),
                std::net::IpAddr::V6(v6) => v6.to_string(),
            }),
        ),
    };
    let line = format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port());
    assert_eq!(ProxyHeader::read(line.as_bytes()), Ok(Progress::Complete { length: line.len(), header }), "{line:?}");
}
