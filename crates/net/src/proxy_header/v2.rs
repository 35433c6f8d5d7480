//! Version 2: sixteen bytes, and a block whose length they tell: addresses, then TLVs.

use std::net::{IpAddr, SocketAddr};

use super::{Progress, ProxyHeader, ProxyHeaderError};
use crate::fold;

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family and transport, and the length of the block.
pub(super) const FIXED: usize = 16;
/// The longest block of addresses and TLVs that is read.
pub(super) const MOST_BLOCK: usize = 512;

/// Two paths of 108 bytes, which nobody here has a use for.
const UNIX_ADDRESSES: usize = 216;

/// What the fixed part says of the block.
#[derive(Clone, Copy)]
enum Kind {
    Local,
    Unspecified,
    Inet,
    Inet6,
    Unix,
}

/// Reads a header that has the signature. Each byte is judged as soon as it is there, in their order.
pub(super) fn read(bytes: &[u8]) -> Result<Progress, ProxyHeaderError> {
    let need = |total: usize| Ok(Progress::Need(total - bytes.len()));
    let Some(version_and_command) = bytes.get(12) else { return need(FIXED) };
    let is_local = is_local(*version_and_command)?;
    let Some(family_and_transport) = bytes.get(13) else { return need(FIXED) };
    let kind = if is_local { Kind::Local } else { Kind::of(*family_and_transport)? };
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else { return need(FIXED) };
    let length = u16::from_be_bytes([fixed[14], fixed[15]]);
    if usize::from(length) > MOST_BLOCK {
        return Err(ProxyHeaderError::BlockTooLong(length));
    }
    let total = FIXED + usize::from(length);
    let Some(block) = rest.get(..usize::from(length)) else { return need(total) };
    Ok(Progress::Complete { length: total, header: header(kind, block, length)? })
}

fn is_local(version_and_command: u8) -> Result<bool, ProxyHeaderError> {
    match (version_and_command >> 4, version_and_command & 0xf) {
        (2, 0) => Ok(true),
        (2, 1) => Ok(false),
        (2, command) => Err(ProxyHeaderError::Command(command)),
        (version, _) => Err(ProxyHeaderError::Version(version)),
    }
}

impl Kind {
    fn of(family_and_transport: u8) -> Result<Self, ProxyHeaderError> {
        match (family_and_transport >> 4, family_and_transport & 0xf) {
            (0..=3, transport @ 3..) => Err(ProxyHeaderError::Transport(transport)),
            (0, _) | (1..=3, 0) => Ok(Self::Unspecified),
            (1, _) => Ok(Self::Inet),
            (2, _) => Ok(Self::Inet6),
            (3, _) => Ok(Self::Unix),
            (family, _) => Err(ProxyHeaderError::Family(family)),
        }
    }
}

fn header(kind: Kind, block: &[u8], length: u16) -> Result<ProxyHeader, ProxyHeaderError> {
    let (header, tlvs) = match kind {
        Kind::Local => return Ok(ProxyHeader::Local),
        Kind::Unspecified => return Ok(ProxyHeader::Unknown),
        Kind::Inet => source::<4>(block),
        Kind::Inet6 => source::<16>(block),
        Kind::Unix => block.split_at_checked(UNIX_ADDRESSES).map(|(_, tlvs)| (ProxyHeader::Unknown, tlvs)),
    }
    .ok_or(ProxyHeaderError::BlockTooShort(length))?;
    pass_over(tlvs)?;
    Ok(header)
}

/// Two addresses of `BYTES` bytes and two ports, and what follows them.
fn source<const BYTES: usize>(block: &[u8]) -> Option<(ProxyHeader, &[u8])>
where
    IpAddr: From<[u8; BYTES]>,
{
    let (source, rest) = block.split_first_chunk::<BYTES>()?;
    let (destination, rest) = rest.split_first_chunk::<BYTES>()?;
    let (source_port, rest) = rest.split_first_chunk()?;
    let (destination_port, rest) = rest.split_first_chunk()?;
    let end = |address: [u8; BYTES], port| SocketAddr::new(fold(address.into()), u16::from_be_bytes(port));
    let (source, destination) = (end(*source, *source_port), end(*destination, *destination_port));
    Some((ProxyHeader::Source { source, destination }, rest))
}

/// Each TLV: a byte of type, two of length, and as many of value.
fn pass_over(mut tlvs: &[u8]) -> Result<(), ProxyHeaderError> {
    while let [_, rest @ ..] = tlvs {
        let (length, rest) = rest.split_first_chunk().ok_or(ProxyHeaderError::Tlv)?;
        tlvs = rest.get(usize::from(u16::from_be_bytes(*length))..).ok_or(ProxyHeaderError::Tlv)?;
    }
    Ok(())
}
