//! What a proxy says of a connection before its first byte: the PROXY protocol, versions 1 and 2, as HAProxy's
//! [proxy-protocol.txt](https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt) has it.
//!
//! Written here and not taken from a crate: those at hand read `+80`, `080` or `PROXYxTCP4` as if they were meant, take
//! the families of a LOCAL header for binding, pass over TLVs that do not fit, and do not tell "not yet" from "never"
//! before fifteen bytes are there. Refusing all that before them would be reading twice.

use std::fmt;
use std::net::SocketAddr;

use thiserror::Error;

mod v1;
mod v2;

/// What a PROXY header says of the connection that it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The proxy speaks for itself, as in a health check: the socket's peer is the client. Version 2 only.
    Local,
    /// The proxy speaks for somebody without an address of ours: version 1 `UNKNOWN`, version 2 `AF_UNIX` or `UNSPEC`.
    /// The socket's peer stays the client.
    Unknown,
    /// The connection as it was at the proxy.
    Source {
        /// The client, IPv4-mapped IPv6 folded to IPv4.
        source: SocketAddr,
        /// Where the client connected to, folded likewise.
        destination: SocketAddr,
    },
}

/// How far the first bytes of a connection have been understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It may be a header, and if so, at least this many bytes are missing, never 0. Whoever reads no more than that at
    /// a time never reads past the header. At the end of the stream: the header was cut short.
    Need(usize),
    /// It is no PROXY header, whatever follows.
    NotProxy,
    /// The header is whole. What lies behind its bytes belongs to the client.
    Complete {
        /// How many bytes the header has.
        length: usize,
        /// What it says.
        header: ProxyHeader,
    },
}

/// Something began like a PROXY header and cannot become one. The protocol wants such a connection closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProxyHeaderError {
    /// Version 1: no CRLF within 107 bytes.
    #[error("PROXY v1: the line has no end within {} bytes", v1::MOST_BYTES)]
    LineTooLong,
    /// Version 1: CR or LF without the other.
    #[error("PROXY v1: the line holds a CR or LF that is not CRLF")]
    LineEnding,
    /// Version 1: neither `TCP4` nor `TCP6` nor `UNKNOWN`.
    #[error("PROXY v1: the protocol is not TCP4, TCP6 or UNKNOWN")]
    Protocol,
    /// Version 1: not exactly four fields behind the protocol, one space before each.
    #[error("PROXY v1: not two addresses and two ports, each behind exactly one space")]
    Fields,
    /// Version 1: an address that is not of the protocol's family, or not in its canonical form.
    #[error("PROXY v1: the {0} address is none of the protocol's family, or not in its plain form")]
    Address(ConnectionEnd),
    /// Version 1: a port that is not 0–65535 in plain digits.
    #[error("PROXY v1: the {0} port is not a number from 0 to 65535 without leading zeros")]
    Port(ConnectionEnd),
    /// Version 2: the signature of version 2, and another version behind it.
    #[error("PROXY v2: the signature is followed by version {0}")]
    Version(u8),
    /// Version 2: neither LOCAL nor PROXY.
    #[error("PROXY v2: the command is {0}, which is neither LOCAL (0) nor PROXY (1)")]
    Command(u8),
    /// Version 2: an address family beyond `AF_UNIX`.
    #[error("PROXY v2: the address family {0} is unassigned")]
    Family(u8),
    /// Version 2: a transport beyond `DGRAM`.
    #[error("PROXY v2: the transport protocol {0} is unassigned")]
    Transport(u8),
    /// Version 2: more than 512 bytes of addresses and TLVs.
    #[error("PROXY v2: {0} bytes of addresses and TLVs, more than {most}; have fewer TLVs sent", most = v2::MOST_BLOCK)]
    BlockTooLong(u16),
    /// Version 2: fewer bytes than the family's addresses have.
    #[error("PROXY v2: {0} bytes are too few for the addresses of the family")]
    BlockTooShort(u16),
    /// Version 2: a TLV reaches beyond the header.
    #[error("PROXY v2: a TLV reaches beyond the end of the header")]
    Tlv,
}

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionEnd {
    /// The client's.
    Source,
    /// The one that the client connected to.
    Destination,
}

impl ProxyHeader {
    /// No header is longer: 16 bytes and a block of 512 in version 2, which still is below the 536 that the
    /// specification wants to fit any first segment; 107 in version 1.
    pub const MOST_BYTES: usize = v2::FIXED + v2::MOST_BLOCK;

    /// Reads the header from `bytes`, the first of a connection. Call it again with more of them while it says
    /// [`Progress::Need`]; any other verdict is final, and the same however the bytes were split. It asks for no byte
    /// beyond [`Self::MOST_BYTES`].
    ///
    /// Where the specification leaves a choice:
    /// - Nothing is forgiven in version 1, except what follows `UNKNOWN`, which has to be ignored.
    /// - Version 2 `DGRAM` is taken at its word: who ends QUIC in front of us tells the true client that way.
    /// - Version 2 with one half of family and transport `UNSPEC` is [`ProxyHeader::Unknown`].
    /// - TLVs are passed over unread, a checksum too. They have to fit the header, except behind `UNSPEC` and in
    ///   `LOCAL`, where nobody knows where they begin.
    ///
    /// # Errors
    /// The bytes begin with a signature, and what follows is no header.
    pub fn read(bytes: &[u8]) -> Result<Progress, ProxyHeaderError> {
        if bytes.starts_with(v1::SIGNATURE) {
            v1::read(bytes)
        } else if bytes.starts_with(v2::SIGNATURE) {
            v2::read(bytes)
        } else if v1::SIGNATURE.starts_with(bytes) {
            Ok(Progress::Need(v1::FEWEST_BYTES - bytes.len()))
        } else if v2::SIGNATURE.starts_with(bytes) {
            Ok(Progress::Need(v2::FIXED - bytes.len()))
        } else {
            Ok(Progress::NotProxy)
        }
    }
}

impl fmt::Display for ConnectionEnd {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Source => "source",
            Self::Destination => "destination",
        })
    }
}

#[cfg(test)]
mod tests;
