//! The first moments of a connection, until it is known what is spoken on it. All of them together take no longer than
//! a request's headers may, so that nobody lingers here in silence.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use gatepost_net::fold;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

use crate::connection::wire::Wire;
use crate::connection::{Connection, Protocol};
use crate::record::Record;
use crate::rejection::Reason;
use crate::worker::{Membership, Site, Worker};

/// A connection on which something has come.
pub(super) struct Arrived {
    pub(super) wire: Wire,
    pub(super) protocol: Protocol,
    /// The client's address, as far as the connection tells.
    pub(super) client: IpAddr,
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
    let client = fold(peer.ip());
    let mut wire = Wire::plain(stream);
    let outcome = tokio::select! {
        biased;
        outcome = timeout_at(deadline, wire.detect()) => outcome.unwrap_or(Err(io::ErrorKind::TimedOut.into())),
        () = unwanted(site, membership) => Err(io::ErrorKind::ConnectionAborted.into()),
    };
    match outcome {
        Ok(protocol) => Some(Arrived { wire, protocol, client }),
        Err(error) => {
            if error.kind() == io::ErrorKind::TimedOut && wire.has_ahead() {
                let connection = Connection::new(Rc::clone(worker), Rc::clone(site), wire, Protocol::Http1, client);
                worker.finish(Box::new(Record::unread(&connection, Reason::HeaderTimeout)));
            }
            None
        }
    }
}

/// Ends when the site is closing, and whoever had connected has had the time to say something.
async fn unwanted(site: &Site, membership: &Membership) {
    site.closing(membership).await;
    sleep(FRESH_GRACE).await;
}
