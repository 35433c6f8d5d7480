//! One client connection: what is spoken on it, and what it is waiting for.
//!
//! ```text
//!   accepted ─► arrival: HTTP/1 or HTTP/2? ─► http1 ─► tunnel, if a backend agreed to an upgrade
//!                                           └► http2
//! ```
//!
//! hyper reads and writes; this watches. One timer a connection serves every limit: it is armed for the earliest moment
//! at which something might be over, and when it fires the state says what is. Limits that move with every request
//! (idle, headers) therefore cost no timer operation a request.
//!
//! ```text
//!            first byte            head read               answer ended
//!   Fresh ──────────────► Head ───────────────► Exchange ───────────────► Idle
//!                           ▲                                              │ first byte
//!                           └──────────────────────────────────────────────┘
//! ```

mod arrival;
mod http1;
mod http2;
mod linger;
mod state;
mod tunnel;
mod waste;
mod wire;

pub(crate) use state::{Connection, DISCARD_BYTES, DISCARD_TIME, Protocol};
pub(crate) use tunnel::Tunnel;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use gatepost_meter::Slot;
use tokio::net::TcpStream;

use crate::connection::arrival::arrive;
use crate::worker::{Site, Worker};

/// Serves a connection to its end.
pub(crate) async fn serve(worker: Rc<Worker>, site: Rc<Site>, stream: TcpStream, peer: SocketAddr, slot: Slot) {
    let _slot = slot;
    let membership = site.join();
    // In boxes of their own while they last: a connection keeps room for the largest future that it may drive.
    let Some(arrived) = Box::pin(arrive(&worker, &site, &membership, stream, peer)).await else { return };
    let protocol = arrived.protocol;
    let connection = Rc::new(Connection::new(worker, site, arrived));
    match protocol {
        Protocol::Http1 => http1::serve(connection, membership).await,
        Protocol::Http2 => Box::pin(http2::serve(connection, membership)).await,
    }
}

/// Sets what every connection wants of its socket.
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    gatepost_net::bound_unsent(stream, UNSENT)
}

/// How driving a connection ended.
#[derive(Debug)]
enum Finish {
    /// hyper is done: the connection was closed in good order, or not.
    Hyper(hyper::Result<()>),
    /// A head did not come in time.
    HeaderTimeout,
    /// The answer was cut, or the connection was idle for too long.
    Cut,
    /// The client went away while it was served.
    Gone,
    /// The client had all of its answers, and did not acknowledge in time that the connection is being closed.
    Unparted,
    /// The client sent too much to no purpose.
    Flood,
}

/// What the kernel may hold of an answer that it has not sent, in bytes. It bounds its memory for a client that reads
/// slowly; and only so does a write that waits mean a client that takes nothing.
const UNSENT: u32 = 128 * 1024;
