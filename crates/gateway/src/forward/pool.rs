//! Connections to backends. One pool a worker: a connection never crosses threads.
//!
//! Over HTTP/1.1 a connection serves one request at a time, and waits here between two. Over HTTP/2 it serves many at
//! once, see [`multiplex`].

pub(crate) mod multiplex;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use gatepost_config::model::HttpVersion;
use gatepost_net::Lease;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::body::RequestBody;
use crate::forward::Handover;
use crate::forward::pool::multiplex::{Multiplexed, Stream};
use crate::upstream::{Target, Wire};

/// What sends a request on one HTTP/1.1 connection to a backend.
pub(crate) type Sender = http1::SendRequest<RequestBody>;

/// The connections of a worker, by target.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    idle: RefCell<HashMap<u64, Vec<Idle>>>,
    pub(crate) multiplexed: Multiplexed,
}

/// A connection in use that belongs to a pool.
#[derive(Debug)]
pub(crate) enum Pooled {
    /// Nobody else uses it meanwhile: HTTP/1.1.
    Alone(Alone),
    /// Others use it at the same time: HTTP/2.
    Shared(Stream),
}

/// A connection that serves one request at a time.
#[derive(Debug)]
pub(crate) struct Alone {
    line: Line,
    target: u64,
    pools: Rc<Pools>,
}

/// An HTTP/1.1 connection.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) sender: Sender,
    pub(crate) lease: Lease,
    /// What is left of it after an upgrade.
    pub(crate) handover: Rc<Handover>,
    /// What makes it move.
    pub(crate) _driver: Driver,
}

/// The task that drives a connection, and with it the socket and what waits to be sent: a backend that takes nothing
/// would keep it for ever. Dropping this ends it, unless it was at its end.
#[derive(Debug)]
pub(crate) struct Driver(pub(crate) JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Debug)]
struct Idle {
    line: Line,
    since: Instant,
}

/// How long a connection may wait for its next request. Shorter than what common servers keep an idle connection for
/// (5 s and up), so that we rarely send on a connection that its backend is just closing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Idle connections to one target, at most: more would only be more sockets to keep.
const MOST_IDLE: usize = 1024;

impl Pools {
    /// A connection to `target` that can send at once and whose address is still the target's. Over HTTP/1.1, the one
    /// that was used last.
    ///
    /// One whose backend has answered may still be busy with the body of that request, for as long as its client
    /// likes: such a one is passed over, and swept away in the end.
    pub(crate) fn take(self: &Rc<Self>, target: &Target) -> Option<Pooled> {
        match target.http {
            HttpVersion::One => self.take_idle(target.id),
            HttpVersion::Two => self.multiplexed.take(target.id, None).map(Pooled::Shared),
        }
    }

    fn take_idle(self: &Rc<Self>, target: u64) -> Option<Pooled> {
        let mut idle = self.idle.borrow_mut();
        let waiting = idle.get_mut(&target)?;
        let oldest = Instant::now().checked_sub(IDLE_TIMEOUT);
        let usable = |idle: &Idle| {
            let in_time = oldest.is_none_or(|oldest| idle.since > oldest);
            idle.line.sender.is_ready() && in_time && idle.line.lease.is_current()
        };
        let last = waiting.iter().rposition(usable)?;
        let Idle { line, .. } = waiting.remove(last);
        Some(self.adopt(target, line))
    }

    /// A new HTTP/1.1 connection, to be given back here.
    pub(crate) fn adopt(self: &Rc<Self>, target: u64, line: Line) -> Pooled {
        Pooled::Alone(Alone { line, target, pools: Rc::clone(self) })
    }

    /// The connection is of no more use.
    pub(crate) fn retire(&self, target: &Target, pooled: Pooled) {
        match pooled {
            // Nobody else has it.
            Pooled::Alone(_) => {}
            Pooled::Shared(stream) => self.multiplexed.retire(target.id, &stream),
        }
    }

    /// Closes what has waited too long, or leads where its target is no more.
    pub(crate) fn sweep(&self, now: Instant) {
        self.multiplexed.sweep(now);
        let Some(oldest) = now.checked_sub(IDLE_TIMEOUT) else { return };
        self.idle.borrow_mut().retain(|_, waiting| {
            waiting
                .retain(|Idle { line, since }| *since > oldest && !line.sender.is_closed() && line.lease.is_current());
            !waiting.is_empty()
        });
    }
}

impl Pooled {
    /// Sends a request on it, which may be one for an upgrade.
    ///
    /// # Errors
    /// See hyper's; the request is given back if none of it was sent.
    pub(crate) async fn send(
        &mut self,
        request: Request<RequestBody>,
        upgrade: bool,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        match self {
            Self::Alone(Alone { line, .. }) => {
                line.handover.want(upgrade);
                line.sender.try_send_request(request).await
            }
            Self::Shared(stream) => stream.send(request).await,
        }
    }

    /// The socket, after an upgrade.
    pub(crate) async fn hand_over(self) -> Option<(Wire, Bytes)> {
        match self {
            Self::Alone(Alone { line, .. }) => line.handover.take().await,
            Self::Shared(_) => None,
        }
    }

    /// The answer has been read in full.
    pub(crate) fn give_back(self) {
        match self {
            Self::Alone(alone) => alone.give_back(),
            // Its place is free once it is dropped.
            Self::Shared(_) => {}
        }
    }
}

impl Alone {
    fn give_back(self) {
        let Self { line, target, pools } = self;
        let mut idle = pools.idle.borrow_mut();
        let waiting = idle.entry(target).or_default();
        if waiting.len() < MOST_IDLE && !line.sender.is_closed() {
            waiting.push(Idle { line, since: Instant::now() });
        }
    }
}
