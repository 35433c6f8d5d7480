//! Who the client of a request is: the connection's peer, unless it is a sender that the listener believes.

use gatepost_config::model::ForwardedHeader;
use gatepost_net::{BelievedHeader, Client, Peer, Step, find_client};
use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::snapshot::Addresses;
use crate::trace::{Note, Trace};

/// Whom a listener believes about the client: nobody, by default.
#[derive(Debug)]
pub(crate) struct Senders {
    believed: Addresses,
    header: BelievedHeader,
}

/// `X-Forwarded-For`.
pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

impl Senders {
    pub(crate) fn nobody() -> Self {
        Self { believed: Addresses(Vec::new()), header: BelievedHeader::Off }
    }

    pub(crate) fn new(believed: Addresses, header: ForwardedHeader) -> Self {
        let header = match header {
            ForwardedHeader::Off => BelievedHeader::Off,
            ForwardedHeader::XForwardedFor => BelievedHeader::XForwardedFor,
            ForwardedHeader::Forwarded => BelievedHeader::Forwarded,
        };
        Self { believed, header }
    }

    /// The client of a request with these headers on a connection with this peer.
    pub(crate) fn client(&self, peer: Peer, headers: &HeaderMap, trace: &mut impl Trace) -> Client {
        let name = match self.header {
            BelievedHeader::Off => None,
            BelievedHeader::XForwardedFor => Some(X_FORWARDED_FOR),
            BelievedHeader::Forwarded => Some(FORWARDED),
        };
        let fields = name.into_iter().flat_map(|name| headers.get_all(name)).map(HeaderValue::as_bytes);
        let believed = |address| self.believed.contain(address);
        find_client(peer, believed, self.header, fields, |step| {
            trace.note(|| match step {
                Step::Sender { address, source, believed } => Note::Sender { address, source, believed },
                Step::Stopped(stop) => Note::LastSender(stop),
            });
        })
    }
}
