//! The first moments of a connection, until it is known who speaks and what is spoken. All of them together take no
//! longer than a request's headers may, so that nobody lingers here in silence.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gatepost_config::model::ProxyProtocol;
use gatepost_net::tls::{Alpn, HandshakeError};
use gatepost_net::{Peer, ProxyHeader, ProxyHeaderError, fold};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

use crate::connection::wire::{Secured, Wire};
use crate::connection::{Connection, Protocol};
use crate::record::Record;
use crate::rejection::{Reason, never_loaded};
use crate::snapshot::{Listener, Listing};
use crate::worker::{Membership, Site, Worker};

/// A connection on which something has come.
pub(super) struct Arrived {
    pub(super) wire: Wire,
    pub(super) protocol: Protocol,
    pub(super) peer: Peer,
    /// Absent: it is in the clear.
    pub(super) secured: Option<Secured>,
}

/// Why a connection did not come to its first request.
#[derive(Debug, Error)]
pub(super) enum NotArrived {
    /// Nothing came, or not enough of it, in time.
    #[error("it took too long to begin")]
    Late,
    /// It is no longer listened here.
    #[error("the listener is gone")]
    Unwanted,
    /// It broke, or ended before it began.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// TLS was not come to terms on.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// Something is wrong with ourselves: nothing is said in the clear where TLS is meant.
    #[error("there is no certificate to speak TLS with")]
    NoCertificates,
    /// A PROXY header must come first, from a sender that is believed.
    #[error("{0}")]
    NoProxyHeader(&'static str),
    /// Whether the sender is believed depends on an address set that has no good copy yet.
    #[error("{}", never_loaded(.0))]
    SenderUnknown(Arc<str>),
    /// A PROXY header that makes no sense.
    #[error(transparent)]
    BadProxyHeader(#[from] ProxyHeaderError),
}

/// How long an accepted connection may wait for its first byte once connections are closed: it may be one that the
/// kernel has not told of yet.
const FRESH_GRACE: Duration = Duration::from_millis(250);

/// Waits for what a connection begins with. Nothing: it ended before that, and was logged if it had begun.
pub(super) async fn arrive(
    worker: &Rc<Worker>,
    site: &Rc<Site>,
    membership: &Membership,
    stream: TcpStream,
    peer: SocketAddr,
) -> Option<Arrived> {
    let deadline = Instant::now() + site.limits.get().header_timeout;
    let mut peer = Peer { socket: fold(peer.ip()), proxied: None };
    let mut wire = Wire::plain(stream);
    let outcome = match site.known() {
        Some(listener) => {
            let beginning = begin(&listener, &mut wire, &mut peer, Departure { site, membership });
            timeout_at(deadline, beginning).await.unwrap_or(Err(NotArrived::Late))
        }
        None => Err(NotArrived::Unwanted),
    };
    match outcome {
        Ok((protocol, secured)) => Some(Arrived { wire, protocol, peer, secured }),
        Err(why) => {
            if let Some(reason) = why.reason(&wire) {
                let detail = why.detail();
                let unserved = Arrived { wire, protocol: Protocol::Http1, peer, secured: None };
                let connection = Connection::new(Rc::clone(worker), Rc::clone(site), unserved);
                worker.finish(Box::new(Record { detail, ..Record::unread(&connection, reason) }));
            }
            None
        }
    }
}

async fn begin(
    listener: &Listener,
    wire: &mut Wire,
    peer: &mut Peer,
    departure: Departure<'_>,
) -> Result<(Protocol, Option<Secured>), NotArrived> {
    departure.unless_spoken(wire).await?;
    if let Some(behind) = &listener.behind
        && behind.proxy_protocol != ProxyProtocol::Off
    {
        let is_required = behind.proxy_protocol == ProxyProtocol::Required;
        match behind.senders.list(peer.socket) {
            Listing::Listed => {
                peer.proxied = proxied(wire, is_required).await?;
                departure.unless_spoken(wire).await?;
            }
            Listing::NotListed if is_required => {
                return Err(NotArrived::NoProxyHeader("the sender is none of those in `behind`"));
            }
            Listing::NotListed => {}
            // Nobody knows whether it may begin with a header, so nothing that it begins with can be understood.
            Listing::Unknown(set) => return Err(NotArrived::SenderUnknown(Arc::clone(set.name()))),
        }
    }
    if !listener.is_secure {
        return Ok((wire.detect().await?, None));
    }
    let secured = wire.secure(listener.tls.as_ref().ok_or(NotArrived::NoCertificates)?).await?;
    let protocol = match secured.session.alpn {
        Some(Alpn::Http2) => Protocol::Http2,
        Some(Alpn::Http1) | None => Protocol::Http1,
    };
    Ok((protocol, Some(secured)))
}

/// The client in the PROXY header that the connection begins with, if one does and it names one.
async fn proxied(wire: &mut Wire, is_required: bool) -> Result<Option<std::net::IpAddr>, NotArrived> {
    match wire.proxy_header().await? {
        Some(ProxyHeader::Source { source, .. }) => Ok(Some(source.ip())),
        Some(ProxyHeader::Local | ProxyHeader::Unknown) => Ok(None),
        None if is_required => Err(NotArrived::NoProxyHeader("the connection begins without a PROXY header")),
        None => Ok(None),
    }
}

/// The end of a listener, or of the gateway: silent connections do not hold it up.
#[derive(Clone, Copy)]
struct Departure<'a> {
    site: &'a Site,
    membership: &'a Membership,
}

impl Departure<'_> {
    /// Waits for the client to say something more. Who has begun to speak is heard to the end, like a request's head.
    async fn unless_spoken(self, wire: &mut Wire) -> Result<(), NotArrived> {
        tokio::select! {
            biased;
            spoken = wire.spoken() => Ok(spoken?),
            () = self.comes() => Err(NotArrived::Unwanted),
        }
    }

    /// Ends when the site is closing, and whoever had connected has had the time to say something.
    async fn comes(self) {
        self.site.closing(self.membership).await;
        sleep(FRESH_GRACE).await;
    }
}

impl NotArrived {
    /// What it counts as; a connection on which nothing came is none of anybody's business.
    fn reason(&self, wire: &Wire) -> Option<Reason> {
        match self {
            Self::Late => wire.has_begun().then_some(Reason::HeaderTimeout),
            Self::Unwanted | Self::Io(_) | Self::Handshake(HandshakeError::Left | HandshakeError::Io(_)) => None,
            Self::Handshake(_) | Self::NoCertificates => Some(Reason::TlsHandshake),
            Self::NoProxyHeader(_) | Self::BadProxyHeader(_) => Some(Reason::ProxyHeader),
            Self::SenderUnknown(_) => Some(Reason::AddressesUnknown),
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::Late | Self::Unwanted | Self::Io(_) => None,
            Self::Handshake(_)
            | Self::NoCertificates
            | Self::NoProxyHeader(_)
            | Self::SenderUnknown(_)
            | Self::BadProxyHeader(_) => Some(self.to_string()),
        }
    }
}
