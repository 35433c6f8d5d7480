//! HTTP/2 connections to backends. Each serves many requests at once.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use gatepost_net::Lease;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http2};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::body::RequestBody;

/// What sends requests on one HTTP/2 connection to a backend.
pub(crate) type Sender = http2::SendRequest<RequestBody>;

/// The HTTP/2 connections of a worker, by target.
#[derive(Debug, Default)]
pub(crate) struct Multiplexed(RefCell<HashMap<u64, Connections>>);

/// The connections to one target.
#[derive(Debug, Default)]
struct Connections {
    open: Vec<Rc<Shared>>,
    /// Somebody is making another one.
    dialing: Option<Rc<Dialing>>,
}

#[derive(Debug)]
struct Shared {
    sender: Sender,
    lease: Lease,
    /// Requests under way.
    streams: Cell<usize>,
    permitted: Permitted,
    /// Whether an answer has come, and so what the backend permits.
    answered: Cell<bool>,
    last_used: Cell<Instant>,
}

/// How many requests at once the backend permits, [`BEFORE_TOLD`] until it has told.
pub(crate) struct Permitted(pub(crate) Box<dyn Fn() -> usize>);

/// A request's place on a connection, until its answer has ended.
#[derive(Debug)]
pub(crate) struct Stream(Rc<Shared>);

/// A connection being made.
#[derive(Debug, Default)]
struct Dialing {
    over: Notify,
    failed: Cell<bool>,
}

/// The right to make a connection that others wait for. Dropped without one, it has failed.
#[derive(Debug)]
pub(crate) struct Lead<'p> {
    pools: &'p Multiplexed,
    target: u64,
    dialing: Rc<Dialing>,
}

/// What to do for want of a connection with room.
#[derive(Debug)]
pub(crate) enum Turn<'p> {
    /// There is one now.
    Take(Stream),
    /// Make one, for others too.
    Lead(Lead<'p>),
    /// Make one: who tried just now has failed, and one after the other would take too long.
    Alone,
}

/// Requests at once on one connection, at most, whatever the backend permits: beyond that more connections serve better.
pub(crate) const MOST_STREAMS: usize = 100;

/// Requests at once before the backend has told how many it permits. One more might be refused; so it waits for the
/// word, which comes with the first bytes.
pub(crate) const BEFORE_TOLD: usize = 1;

/// Connections to one target from one worker, beyond which requests wait for room on those.
const MOST_CONNECTIONS: usize = 8;

/// How long a connection may go unused. It costs its backend little, and HTTP/2 says before it closes.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

impl Multiplexed {
    /// A place on a connection to `target`, if there is room on one or there are enough of them.
    pub(crate) fn take(&self, target: u64) -> Option<Stream> {
        let all = self.0.borrow();
        let connections = all.get(&target)?;
        let open = || connections.open.iter().filter(|connection| connection.is_usable());
        let with_room = open().find(|connection| connection.has_room());
        let enough = || {
            let least = open().min_by_key(|connection| connection.streams.get());
            least.filter(|_| open().count() >= MOST_CONNECTIONS)
        };
        with_room.or_else(enough).map(Stream::on)
    }

    /// A place on a connection, or whose turn it is to make one. Waits for somebody who makes one already.
    pub(crate) async fn turn(&self, target: u64) -> Turn<'_> {
        loop {
            if let Some(stream) = self.take(target) {
                return Turn::Take(stream);
            }
            let Some(dialing) = self.dialing(target) else {
                return Turn::Lead(self.lead(target));
            };
            dialing.over.notified().await;
            if dialing.failed.get() {
                return Turn::Alone;
            }
        }
    }

    /// A place on a new connection, on which others find places from now on.
    pub(crate) fn adopt(&self, target: u64, sender: Sender, permitted: Permitted, lease: Lease) -> Stream {
        let last_used = Cell::new(Instant::now());
        let shared =
            Rc::new(Shared { sender, lease, streams: Cell::new(0), permitted, answered: Cell::new(false), last_used });
        let stream = Stream::on(&shared);
        self.0.borrow_mut().entry(target).or_default().open.push(shared);
        stream
    }

    /// Lets go of what is closed, was not used for long, or leads where the target is no more.
    pub(crate) fn sweep(&self, now: Instant) {
        let oldest = now.checked_sub(IDLE_TIMEOUT);
        self.0.borrow_mut().retain(|_, connections| {
            connections.open.retain(|connection| {
                let used =
                    connection.streams.get() > 0 || oldest.is_none_or(|oldest| connection.last_used.get() > oldest);
                used && connection.is_usable()
            });
            !connections.open.is_empty() || connections.dialing.is_some()
        });
    }

    /// No request is sent on the connection of this stream any more.
    pub(crate) fn retire(&self, target: u64, stream: &Stream) {
        if let Some(connections) = self.0.borrow_mut().get_mut(&target) {
            connections.open.retain(|connection| !Rc::ptr_eq(connection, &stream.0));
        }
    }

    fn dialing(&self, target: u64) -> Option<Rc<Dialing>> {
        self.0.borrow().get(&target)?.dialing.clone()
    }

    fn lead(&self, target: u64) -> Lead<'_> {
        let dialing = Rc::<Dialing>::default();
        dialing.failed.set(true);
        self.0.borrow_mut().entry(target).or_default().dialing = Some(Rc::clone(&dialing));
        Lead { pools: self, target, dialing }
    }
}

impl Lead<'_> {
    /// A connection was made and adopted.
    pub(crate) fn succeed(self) {
        self.dialing.failed.set(false);
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        if let Some(connections) = self.pools.0.borrow_mut().get_mut(&self.target) {
            connections.dialing = None;
        }
        self.dialing.over.notify_waiters();
    }
}

impl Shared {
    /// Whether it is open, and leads to an address that is still the target's.
    fn is_usable(&self) -> bool {
        !self.sender.is_closed() && self.lease.is_current()
    }

    fn has_room(&self) -> bool {
        let permitted = (self.permitted.0)();
        let told = self.answered.get() || permitted != BEFORE_TOLD;
        self.streams.get() < if told { permitted.min(MOST_STREAMS) } else { MOST_STREAMS }
    }
}

impl Stream {
    fn on(connection: &Rc<Shared>) -> Self {
        connection.streams.update(|streams| streams + 1);
        Self(Rc::clone(connection))
    }

    pub(super) async fn send(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        let outcome = self.0.sender.clone().try_send_request(request).await;
        self.0.answered.set(true);
        outcome
    }
}

impl fmt::Debug for Permitted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.0)().fmt(out)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.streams.update(|streams| streams.saturating_sub(1));
        self.0.last_used.set(Instant::now());
    }
}
