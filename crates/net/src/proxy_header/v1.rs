//! Version 1: a line of text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{ConnectionEnd, Progress, ProxyHeader, ProxyHeaderError};
use crate::address::{fold, parse_address, parse_port};

pub(super) const SIGNATURE: &[u8] = b"PROXY ";
/// `PROXY UNKNOWN` and CRLF.
pub(super) const FEWEST_BYTES: usize = 15;
/// `UNKNOWN` with the longest addresses and ports, and CRLF.
pub(super) const MOST_BYTES: usize = 107;

/// Reads a line that has the signature.
pub(super) fn read(bytes: &[u8]) -> Result<Progress, ProxyHeaderError> {
    // The last byte that may be the CR; a longer look would let the verdict depend on how many bytes are there.
    let candidates = bytes.get(..MOST_BYTES - 1).unwrap_or(bytes);
    let Some(end) = candidates.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        if bytes.len() >= MOST_BYTES - 1 {
            return Err(ProxyHeaderError::LineTooLong);
        }
        return Ok(Progress::Need(FEWEST_BYTES.saturating_sub(bytes.len()).max(b"\r\n".len())));
    };
    let (line, ending) = bytes.split_at(end);
    match ending {
        [b'\r'] => Ok(Progress::Need(1)),
        [b'\r', b'\n', ..] => Ok(Progress::Complete { length: end + 2, header: header(line)? }),
        _ => Err(ProxyHeaderError::LineEnding),
    }
}

/// What a line says, without its CRLF.
fn header(line: &[u8]) -> Result<ProxyHeader, ProxyHeaderError> {
    let mut fields = line.split(|byte| *byte == b' ').skip(1);
    match fields.next() {
        Some(b"UNKNOWN") => Ok(ProxyHeader::Unknown),
        Some(b"TCP4") => source::<Ipv4Addr>(fields),
        Some(b"TCP6") => source::<Ipv6Addr>(fields),
        _ => Err(ProxyHeaderError::Protocol),
    }
}

/// Two addresses of the family `A`, two ports, and nothing more.
fn source<'a, A>(mut fields: impl Iterator<Item = &'a [u8]>) -> Result<ProxyHeader, ProxyHeaderError>
where
    A: FromStr + Into<IpAddr>,
{
    let mut next = || fields.next().ok_or(ProxyHeaderError::Fields);
    let (source, destination) = (next()?, next()?);
    let (source_port, destination_port) = (next()?, next()?);
    if fields.next().is_some() {
        return Err(ProxyHeaderError::Fields);
    }
    Ok(ProxyHeader::Source {
        source: end::<A>(ConnectionEnd::Source, source, source_port)?,
        destination: end::<A>(ConnectionEnd::Destination, destination, destination_port)?,
    })
}

fn end<A>(end: ConnectionEnd, address: &[u8], port: &[u8]) -> Result<SocketAddr, ProxyHeaderError>
where
    A: FromStr + Into<IpAddr>,
{
    let address = parse_address::<A>(address).ok_or(ProxyHeaderError::Address(end))?;
    let port = parse_port(port).ok_or(ProxyHeaderError::Port(end))?;
    Ok(SocketAddr::new(fold(address.into()), port))
}
