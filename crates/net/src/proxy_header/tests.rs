use proptest::prelude::*;

use super::ProxyHeaderError as Error;
use super::*;

fn source(source: &str, destination: &str) -> ProxyHeader {
    ProxyHeader::Source { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

/// A header of version 2.
fn v2(version_and_command: u8, family_and_transport: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [v2::SIGNATURE, &[version_and_command, family_and_transport], &length, block].concat()
}

/// 192.0.2.1:1000 to 198.51.100.2:443.
const INET: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 2, 0x03, 0xe8, 0x01, 0xbb];

/// From `source` to 2001:db8::2, port 1000 to 443.
fn inet6(source: &str) -> Vec<u8> {
    let octets = |address: &str| address.parse::<std::net::Ipv6Addr>().unwrap().octets();
    [&octets(source)[..], &octets("2001:db8::2"), &[0x03, 0xe8, 0x01, 0xbb]].concat()
}

fn tlv(kind: u8, length: u16, value: &[u8]) -> Vec<u8> {
    [&[kind], &length.to_be_bytes()[..], value].concat()
}

/// Reads what ends exactly with the header.
#[track_caller]
fn assert_says(bytes: &[u8], header: ProxyHeader) {
    let length = bytes.len();
    let shown = bytes.escape_ascii();
    assert_eq!(ProxyHeader::read(bytes), Ok(Progress::Complete { length, header }), "{shown}");
    for cut in 0..length {
        let Ok(Progress::Need(need)) = ProxyHeader::read(&bytes[..cut]) else {
            panic!("{shown}: the first {cut} bytes are cut short, and nothing else")
        };
        assert!((1..=length - cut).contains(&need), "{shown}: of {cut} bytes, {need} more");
    }
    let longer = [bytes, b"GET / HTTP/1.1\r\n\r\n"].concat();
    assert_eq!(ProxyHeader::read(&longer), Ok(Progress::Complete { length, header }), "{shown}");
}

#[track_caller]
fn assert_refused(bytes: &[u8], error: Error) {
    assert_eq!(ProxyHeader::read(bytes), Err(error), "{}", bytes.escape_ascii());
}

#[test]
fn a_line_of_version_1_tells_the_source() {
    for (line, header) in [
        ("TCP4 192.0.2.1 198.51.100.2 1000 443", source("192.0.2.1:1000", "198.51.100.2:443")),
        ("TCP4 0.0.0.0 255.255.255.255 0 65535", source("0.0.0.0:0", "255.255.255.255:65535")),
        ("TCP4 255.255.255.255 255.255.255.255 65535 65535", source("255.255.255.255:65535", "255.255.255.255:65535")),
        ("TCP6 2001:db8::1 2001:db8::2 1000 443", source("[2001:db8::1]:1000", "[2001:db8::2]:443")),
        ("TCP6 2001:DB8::A ::1 1 1", source("[2001:db8::a]:1", "[::1]:1")),
        ("TCP6 :: 2001:0db8:0000:0000:0000:0000:0000:0002 1 1", source("[::]:1", "[2001:db8::2]:1")),
        ("TCP6 ::ffff:192.0.2.1 ::ffff:c633:6402 1 1", source("192.0.2.1:1", "198.51.100.2:1")),
    ] {
        assert_says(format!("PROXY {line}\r\n").as_bytes(), header);
    }
}

#[test]
fn behind_unknown_everything_up_to_the_end_of_the_line_is_ignored() {
    let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(91));
    assert_eq!(longest.len(), v1::MOST_BYTES);
    for line in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN \r\n", "PROXY UNKNOWN  a\0b \u{e4} 99999\r\n", longest.as_str()] {
        assert_says(line.as_bytes(), ProxyHeader::Unknown);
    }
}

#[test]
fn nothing_is_forgiven_in_version_1() {
    use ConnectionEnd::{Destination, Source};
    for (line, error) in [
        ("TCP4 1.1.1.1 2.2.2.2 1 2\n", Error::LineEnding),
        ("TCP4 1.1.1.1 2.2.2.2 1 2\rX", Error::LineEnding),
        ("TCP4 1.1.1.1 2.2.2.2 1 2\r\r\n", Error::LineEnding),
        ("UNKNOWN a\nb\r\n", Error::LineEnding),
        ("UNKNOWN a\rb\r\n", Error::LineEnding),
        ("\r\n", Error::Protocol),
        (" TCP4 1.1.1.1 2.2.2.2 1 2\r\n", Error::Protocol),
        ("TCP 1.1.1.1 2.2.2.2 1 2\r\n", Error::Protocol),
        ("tcp4 1.1.1.1 2.2.2.2 1 2\r\n", Error::Protocol),
        ("UDP4 1.1.1.1 2.2.2.2 1 2\r\n", Error::Protocol),
        ("TCP4\t1.1.1.1 2.2.2.2 1 2\r\n", Error::Protocol),
        ("UNKNOWNS\r\n", Error::Protocol),
        ("/ HTTP/1.1\r\n", Error::Protocol),
        ("TCP4\r\n", Error::Fields),
        ("TCP4 1.1.1.1 2.2.2.2 1\r\n", Error::Fields),
        ("TCP4 1.1.1.1 2.2.2.2 1 2 \r\n", Error::Fields),
        ("TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n", Error::Fields),
        ("TCP4  1.1.1.1 2.2.2.2 1 2\r\n", Error::Fields),
        ("TCP4 1.1.1.1 2.2.2.2  1 2\r\n", Error::Fields),
        ("TCP4    \r\n", Error::Address(Source)),
        ("TCP4 ::1 2.2.2.2 1 2\r\n", Error::Address(Source)),
        ("TCP4 ::ffff:1.1.1.1 2.2.2.2 1 2\r\n", Error::Address(Source)),
        ("TCP4 1.1.1.1 ::1 1 2\r\n", Error::Address(Destination)),
        ("TCP6 1.1.1.1 ::1 1 2\r\n", Error::Address(Source)),
        ("TCP6 ::1 1.1.1.1 1 2\r\n", Error::Address(Destination)),
        ("TCP6 [::1] ::1 1 2\r\n", Error::Address(Source)),
        ("TCP6 fe80::1%eth0 ::1 1 2\r\n", Error::Address(Source)),
        ("TCP6 1::2::3 ::1 1 2\r\n", Error::Address(Source)),
        ("TCP6 00001::1 ::1 1 2\r\n", Error::Address(Source)),
        ("TCP6 1:2:3:4:5:6:7 ::1 1 2\r\n", Error::Address(Source)),
        ("TCP6 1:2:3:4:5:6:7:8:9 ::1 1 2\r\n", Error::Address(Source)),
        ("TCP4 01.1.1.1 2.2.2.2 1 2\r\n", Error::Address(Source)),
        ("TCP4 1.1.1 2.2.2.2 1 2\r\n", Error::Address(Source)),
        ("TCP4 1.1.1.1. 2.2.2.2 1 2\r\n", Error::Address(Source)),
        ("TCP4 256.1.1.1 2.2.2.2 1 2\r\n", Error::Address(Source)),
        ("TCP4 0x1.1.1.1 2.2.2.2 1 2\r\n", Error::Address(Source)),
        ("TCP4 16843009 2.2.2.2 1 2\r\n", Error::Address(Source)),
        ("TCP4 client.test 2.2.2.2 1 2\r\n", Error::Address(Source)),
        ("TCP4 1.1.1.1 2.2.2.2 +1 2\r\n", Error::Port(Source)),
        ("TCP4 1.1.1.1 2.2.2.2 -1 2\r\n", Error::Port(Source)),
        ("TCP4 1.1.1.1 2.2.2.2 01 2\r\n", Error::Port(Source)),
        ("TCP4 1.1.1.1 2.2.2.2 1 00\r\n", Error::Port(Destination)),
        ("TCP4 1.1.1.1 2.2.2.2 1 65536\r\n", Error::Port(Destination)),
        ("TCP4 1.1.1.1 2.2.2.2 1 \r\n", Error::Port(Destination)),
        ("TCP4 1.1.1.1 2.2.2.2 1 2a\r\n", Error::Port(Destination)),
        ("TCP4 1.1.1.1 2.2.2.2 1 2\0\r\n", Error::Port(Destination)),
    ] {
        assert_refused(format!("PROXY {line}").as_bytes(), error);
    }
    assert_refused(b"PROXY TCP4 1.1.1.\xff 2.2.2.2 1 2\r\n", Error::Address(Source));
}

#[test]
fn a_line_without_an_end_is_refused_when_it_has_107_bytes_and_cannot_end_any_more() {
    let endless = format!("PROXY UNKNOWN {}", "f".repeat(92));
    assert_eq!(endless.len(), v1::MOST_BYTES - 1);
    assert_eq!(ProxyHeader::read(&endless.as_bytes()[..v1::MOST_BYTES - 2]), Ok(Progress::Need(2)));
    assert_refused(endless.as_bytes(), Error::LineTooLong);
    assert_refused(format!("{endless}\r\n").as_bytes(), Error::LineTooLong);
}

#[test]
fn version_2_tells_the_source_over_stream_and_datagram() {
    let v4 = source("192.0.2.1:1000", "198.51.100.2:443");
    let v6 = source("[2001:db8::1]:1000", "[2001:db8::2]:443");
    assert_says(&v2(0x21, 0x11, INET), v4);
    assert_says(&v2(0x21, 0x12, INET), v4);
    assert_says(&v2(0x21, 0x21, &inet6("2001:db8::1")), v6);
    assert_says(&v2(0x21, 0x22, &inet6("2001:db8::1")), v6);
    let mapped = source("192.0.2.1:1000", "[2001:db8::2]:443");
    assert_says(&v2(0x21, 0x21, &inet6("::ffff:192.0.2.1")), mapped);
}

#[test]
fn version_2_without_an_address_of_ours_keeps_the_peer() {
    let unix = [0; 216];
    for (family_and_transport, block) in [
        (0x00, &[][..]),
        (0x00, b"whatever"),
        (0x01, b""),
        (0x02, b"x"),
        (0x10, b"x"),
        (0x20, b""),
        (0x30, b""),
        (0x31, &unix),
        (0x32, &unix),
    ] {
        assert_says(&v2(0x21, family_and_transport, block), ProxyHeader::Unknown);
    }
}

#[test]
fn local_keeps_the_peer_whatever_else_is_said() {
    for (family_and_transport, block) in
        [(0x00, &[][..]), (0x11, b""), (0x11, INET), (0x21, b"short"), (0x31, b""), (0xff, b"anything at all")]
    {
        assert_says(&v2(0x20, family_and_transport, block), ProxyHeader::Local);
    }
}

#[test]
fn a_header_of_version_2_that_is_none_is_refused() {
    assert_refused(&v2(0x11, 0x11, INET), Error::Version(1));
    assert_refused(&v2(0x01, 0x11, INET), Error::Version(0));
    assert_refused(&v2(0xf1, 0x11, INET), Error::Version(15));
    assert_refused(&v2(0x22, 0x11, INET), Error::Command(2));
    assert_refused(&v2(0x2f, 0x11, INET), Error::Command(15));
    assert_refused(&v2(0x21, 0x41, INET), Error::Family(4));
    assert_refused(&v2(0x21, 0xff, INET), Error::Family(15));
    assert_refused(&v2(0x21, 0x13, INET), Error::Transport(3));
    assert_refused(&v2(0x21, 0x0f, INET), Error::Transport(15));
    assert_refused(&v2(0x21, 0x11, &INET[..11]), Error::BlockTooShort(11));
    assert_refused(&v2(0x21, 0x11, &[]), Error::BlockTooShort(0));
    assert_refused(&v2(0x21, 0x21, INET), Error::BlockTooShort(12));
    assert_refused(&v2(0x21, 0x22, &inet6("::1")[..35]), Error::BlockTooShort(35));
    assert_refused(&v2(0x21, 0x31, &[0; 215]), Error::BlockTooShort(215));
}

#[test]
fn each_byte_of_version_2_is_judged_when_it_comes() {
    for (header, verdict_at, error) in [
        (v2(0x31, 0xff, &[]), 13, Error::Version(3)),
        (v2(0x23, 0xff, &[]), 13, Error::Command(3)),
        (v2(0x21, 0xff, &[]), 14, Error::Family(15)),
        (v2(0x21, 0xff, &[0; 999]), 14, Error::Family(15)),
        (v2(0x21, 0x11, &[0; 513]), 16, Error::BlockTooLong(513)),
        (v2(0x20, 0x00, &[0; 65_535]), 16, Error::BlockTooLong(65_535)),
    ] {
        assert_eq!(ProxyHeader::read(&header[..verdict_at - 1]), Ok(Progress::Need(17 - verdict_at)));
        assert_refused(&header[..verdict_at], error);
        assert_refused(&header, error);
    }
}

#[test]
fn tlvs_are_passed_over_if_they_fit() {
    let v4 = source("192.0.2.1:1000", "198.51.100.2:443");
    let fitting = [tlv(0x04, 0, b""), tlv(0x02, 11, b"client.test"), tlv(0xea, 3, &[0xff; 3])].concat();
    assert_says(&v2(0x21, 0x11, &[INET, &fitting].concat()), v4);
    // The longest block of all.
    let longest = v2(0x21, 0x11, &[INET, &tlv(0x05, 497, &[0; 497])].concat());
    assert_eq!(longest.len(), ProxyHeader::MOST_BYTES);
    assert_says(&longest, v4);
    for cut in [tlv(0x04, 1, b""), tlv(0x04, 65_535, &[0; 100]), vec![0x04], vec![0x04, 0], [fitting, vec![1]].concat()]
    {
        assert_refused(&v2(0x21, 0x11, &[INET, &cut].concat()), Error::Tlv);
        assert_refused(&v2(0x21, 0x22, &[inet6("::1"), cut.clone()].concat()), Error::Tlv);
        assert_refused(&v2(0x21, 0x31, &[&[0; 216], &cut[..]].concat()), Error::Tlv);
    }
}

#[test]
fn other_protocols_are_told_apart_at_the_first_byte_that_differs() {
    for (bytes, verdict_at) in [
        (&b"GET / HTTP/1.1\r\n"[..], 1),
        (b"\x16\x03\x01", 1),
        (b"PUT / HTTP/1.1\r\n", 2),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 3),
        (b"PROPFIND / HTTP/1.1\r\n", 4),
        (b"PROXYTCP4 1.1.1.1", 6),
        (b"PROXY\tTCP4 1.1.1.1", 6),
        (b"proxy TCP4 1.1.1.1", 1),
        (b"\r\nGET / HTTP/1.1\r\n", 3),
        (b"\r\n\r\n\r\nGET / HTTP/1.1\r\n", 5),
        (b"\r\n\r\n\0\r\nQUIT\r", 12),
    ] {
        let shown = bytes.escape_ascii();
        assert!(matches!(ProxyHeader::read(&bytes[..verdict_at - 1]), Ok(Progress::Need(_))), "{shown}");
        assert_eq!(ProxyHeader::read(&bytes[..verdict_at]), Ok(Progress::NotProxy), "{shown}");
        assert_eq!(ProxyHeader::read(bytes), Ok(Progress::NotProxy), "{shown}");
    }
}

/// Bytes that get far: a header that is right or nearly so, and more behind it.
fn nearly_a_header() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::collection::vec(
        prop::sample::select(vec![
            "TCP4", "TCP6", "UNKNOWN", " ", "1.2.3.4", "::1", "80", "065", "+1", "\r", "\n", "\r\n", "x", "ffff:",
        ]),
        0..30,
    );
    let v1 = line.prop_map(|words| format!("PROXY {}", words.concat()).into_bytes());
    let v1_whole = (any::<u128>(), any::<u16>(), any::<bool>()).prop_map(|(address, port, is_v6)| {
        let (name, address) = if is_v6 {
            ("TCP6", std::net::IpAddr::from(address.to_be_bytes()))
        } else {
            ("TCP4", std::net::IpAddr::from(((address >> 96) as u32).to_be_bytes()))
        };
        format!("PROXY {name} {address} {address} {port} {port}\r\n").into_bytes()
    });
    let v2 = (
        prop::sample::select(vec![0x20, 0x21, 0x22, 0x11]),
        prop::sample::select(vec![0x00, 0x01, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32, 0x13, 0x41]),
        prop_oneof![0_usize..60, 200_usize..600],
        0_u8..8,
    )
        .prop_map(|(command, family, length, fill)| v2(command, family, &vec![fill; length]));
    (prop_oneof![v1, v1_whole, v2], prop::collection::vec(any::<u8>(), 0..20))
        .prop_map(|(header, rest)| [header, rest].concat())
}

fn assert_split_does_not_matter(bytes: &[u8]) -> Result<(), TestCaseError> {
    let whole = ProxyHeader::read(bytes);
    let mut needed = 0;
    for seen in 0..=bytes.len() {
        let verdict = ProxyHeader::read(&bytes[..seen]);
        let Ok(Progress::Need(more)) = verdict else {
            prop_assert_eq!(verdict, whole, "after {} bytes", seen);
            prop_assert!(seen <= ProxyHeader::MOST_BYTES);
            if let Ok(Progress::Complete { length, .. }) = verdict {
                prop_assert_eq!(length, seen);
                prop_assert!(needed <= length, "it asked for bytes behind the header");
            }
            return Ok(());
        };
        prop_assert!(more > 0);
        needed = needed.max(seen + more);
        prop_assert!(needed <= ProxyHeader::MOST_BYTES);
    }
    prop_assert!(matches!(whole, Ok(Progress::Need(_))));
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_get_one_verdict_however_they_are_split(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        assert_split_does_not_matter(&bytes)?;
    }

    #[test]
    fn what_is_nearly_a_header_gets_one_verdict_however_it_is_split(bytes in nearly_a_header()) {
        assert_split_does_not_matter(&bytes)?;
    }
}
