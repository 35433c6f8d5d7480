//! `X-Forwarded-For`, which no standard describes: addresses, separated by commas.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Unreadable, trim};
use crate::address::{parse_address, parse_port};

/// The last entry of a list that is not empty, and what precedes its comma.
pub(super) fn last_entry(list: &[u8]) -> (Option<&[u8]>, &[u8]) {
    match list.iter().rposition(|byte| *byte == b',') {
        Some(comma) => (list.get(..comma), list.get(comma + 1..).unwrap_or_default()),
        None => (None, list),
    }
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`, and nothing else.
pub(super) fn read(entry: &[u8]) -> Result<IpAddr, Unreadable> {
    let entry = trim(entry);
    if entry.is_empty() {
        return Err(Unreadable::Empty);
    }
    if entry.eq_ignore_ascii_case(b"unknown") {
        return Err(Unreadable::Unknown);
    }
    parse_address(entry)
        .or_else(|| address_with_port(entry, |port| parse_port(port).is_some()))
        .ok_or(Unreadable::NotAnAddress)
}

/// An IPv4 address or an IPv6 address in brackets, and perhaps a port behind a colon.
pub(super) fn address_with_port(text: &[u8], is_port: fn(&[u8]) -> bool) -> Option<IpAddr> {
    let (address, port) = if let [b'[', rest @ ..] = text {
        let (address, port) = rest.split_at(rest.iter().position(|byte| *byte == b']')?);
        (IpAddr::V6(parse_address::<Ipv6Addr>(address)?), port.get(1..)?)
    } else {
        let (address, port) = text.split_at(text.iter().position(|byte| *byte == b':').unwrap_or(text.len()));
        (IpAddr::V4(parse_address::<Ipv4Addr>(address)?), port)
    };
    match port {
        [] => Some(address),
        [b':', port @ ..] if is_port(port) => Some(address),
        _ => None,
    }
}
