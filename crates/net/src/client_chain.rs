//! Who the client is, when proxies stand in front of us and tell.

use std::fmt;
use std::net::IpAddr;

use crate::fold;

mod forwarded;
mod x_forwarded_for;

/// How many entries of a header are walked at most. A longer chain of believed senders is a loop or a mistake.
pub const MOST_HOPS: u16 = 64;

/// What the connection itself tells of its other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The socket's peer.
    pub socket: IpAddr,
    /// The source in the PROXY header that the connection began with, if any.
    pub proxied: Option<IpAddr>,
}

/// The one header in which believed senders tell whom they speak for. Any other is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BelievedHeader {
    /// None.
    Off,
    /// `X-Forwarded-For`: addresses, separated by commas. An IPv6 address may stand in brackets, and a port may follow
    /// brackets or an IPv4 address.
    XForwardedFor,
    /// `Forwarded` (RFC 7239): its `for` parameters.
    Forwarded,
}

/// The client, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Its address, IPv4-mapped IPv6 folded to IPv4.
    pub address: IpAddr,
    /// What told it.
    pub decided_by: HopSource,
}

/// What told an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HopSource {
    /// The socket.
    Socket,
    /// The PROXY header.
    ProxyHeader,
    /// An entry of the believed header.
    Header {
        /// Its number from the right, across all fields of that name; the last one is 1.
        hop: u16,
    },
}

/// One step on the way to the client, for whoever explains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An address, and whether it is believed about the next.
    Sender {
        /// The address, folded.
        address: IpAddr,
        /// What told it.
        source: HopSource,
        /// Whether it is one of the senders that are believed.
        believed: bool,
    },
    /// The end of the way: the sender seen last is the client.
    Stopped(Stop),
}

/// Why the way ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The last sender is not believed about anybody else.
    NotBelieved,
    /// No header is believed.
    HeaderOff,
    /// The header is absent, or has no entry left.
    NoEntryLeft,
    /// The next entry tells no address.
    Unreadable {
        /// Its number from the right.
        hop: u16,
        /// What is wrong with it.
        why: Unreadable,
    },
    /// [`MOST_HOPS`] entries were walked.
    TooManyHops,
}

/// Why an entry tells no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// There is nothing in it.
    Empty,
    /// It is no address in a form that is read.
    NotAnAddress,
    /// It says `unknown` (RFC 7239, section 6.2).
    Unknown,
    /// It is an identifier that hides the address, `_…` (RFC 7239, section 6.3).
    Obfuscated,
    /// It is no element of `Forwarded` (RFC 7239, section 4).
    Syntax,
    /// It has no parameter `for`.
    NoFor,
    /// It has more than one parameter `for`.
    ManyFor,
}

/// Finds the client: begins at the socket's peer and, while the address at hand is `believed`, goes on to the one it
/// speaks for, which is the PROXY header's source first and then each entry of the header from the right. The first
/// address that is not believed is the client, for only it was told by somebody who is.
///
/// When the next entry tells no address, the sender at hand is the client, as it is when nothing is left or
/// [`MOST_HOPS`] entries were walked. What stands left of an entry never changes how that entry is read, so a client
/// that sends a header of its own cannot hide what was added to it.
///
/// `fields` are the values of the believed header's fields in their order; they make up one list. `trace` is told
/// every step; `|_| ()` costs nothing.
pub fn find_client<'a>(
    peer: Peer,
    believed: impl Fn(IpAddr) -> bool,
    header: BelievedHeader,
    fields: impl DoubleEndedIterator<Item = &'a [u8]>,
    mut trace: impl FnMut(Step),
) -> Client {
    let mut told = Told { proxied: peer.proxied, header, fields, rest: None, hop: 0 };
    let mut client = Client { address: fold(peer.socket), decided_by: HopSource::Socket };
    let stop = loop {
        let Client { address, decided_by: source } = client;
        let believed = believed(address);
        trace(Step::Sender { address, source, believed });
        if !believed {
            break Stop::NotBelieved;
        }
        match told.next() {
            Ok(next) => client = next,
            Err(stop) => break stop,
        }
    };
    trace(Step::Stopped(stop));
    client
}

/// Parts a list into what precedes its last comma, if there is one, and its last entry.
type LastEntry = fn(&[u8]) -> (Option<&[u8]>, &[u8]);

/// What believed senders told, the last word first.
struct Told<'a, F> {
    proxied: Option<IpAddr>,
    header: BelievedHeader,
    fields: F,
    /// What is left of the field at hand.
    rest: Option<&'a [u8]>,
    /// The entry at hand.
    hop: u16,
}

impl<'a, F: DoubleEndedIterator<Item = &'a [u8]>> Told<'a, F> {
    fn next(&mut self) -> Result<Client, Stop> {
        if let Some(proxied) = self.proxied.take() {
            return Ok(Client { address: fold(proxied), decided_by: HopSource::ProxyHeader });
        }
        let address = match self.header {
            BelievedHeader::Off => return Err(Stop::HeaderOff),
            BelievedHeader::XForwardedFor => x_forwarded_for::read(self.entry(x_forwarded_for::last_entry)?),
            BelievedHeader::Forwarded => forwarded::read(self.entry(forwarded::last_entry)?),
        };
        let hop = self.hop;
        match address {
            Ok(address) => Ok(Client { address: fold(address), decided_by: HopSource::Header { hop } }),
            Err(why) => Err(Stop::Unreadable { hop, why }),
        }
    }

    /// The next entry from the right, which `last_entry` takes off what precedes it.
    fn entry(&mut self, last_entry: LastEntry) -> Result<&'a [u8], Stop> {
        let list = self.rest.take().or_else(|| self.fields.next_back()).ok_or(Stop::NoEntryLeft)?;
        if self.hop == MOST_HOPS {
            return Err(Stop::TooManyHops);
        }
        self.hop += 1;
        let (rest, entry) = last_entry(list);
        self.rest = rest;
        Ok(entry)
    }
}

/// Without the whitespace that HTTP allows around the entries of a list.
fn trim(text: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let Some(start) = text.iter().position(is_text) else { return &[] };
    let end = text.iter().rposition(is_text).map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}

impl fmt::Display for Stop {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBelieved => out.write_str("it is not a sender that is believed"),
            Self::HeaderOff => out.write_str("no header is believed"),
            Self::NoEntryLeft => out.write_str("the header has no further entry"),
            Self::Unreadable { hop, why } => write!(out, "entry {hop} from the right {why}"),
            Self::TooManyHops => write!(out, "{MOST_HOPS} entries were walked"),
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Empty => "is empty",
            Self::NotAnAddress => "is not an address",
            Self::Unknown => "says \"unknown\"",
            Self::Obfuscated => "hides the address",
            Self::Syntax => "is not written as RFC 7239 has it",
            Self::NoFor => "has no parameter \"for\"",
            Self::ManyFor => "has more than one parameter \"for\"",
        })
    }
}

#[cfg(test)]
mod tests;
