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
    made: Instant,
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

/// The right to make a connection that others wait for. Dropped without one, it goes to the next of them: whoever had it
/// has gone away, which says nothing of the backend.
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

/// Requests at once on one connection, at most, whatever the backend permits. What it may send ahead is bounded for so
/// many; with more, one client could hold up another.
pub(crate) const MOST_STREAMS: usize = 100;

/// Requests at once before the backend has told how many it permits. One more might be refused; so it waits for the
/// word, which comes with the first bytes.
pub(crate) const BEFORE_TOLD: usize = 1;

/// Connections to one target from one worker that permits few requests on each, beyond which requests wait for room on
/// those.
const MOST_CONNECTIONS: usize = 8;

/// How long a connection may go unused. It costs its backend little, and HTTP/2 says before it closes.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

impl Multiplexed {
    /// A place on a connection to `target`, if there is room on one or there are enough of them; made after that moment,
    /// if one is given.
    pub(crate) fn take(&self, target: u64, made_after: Option<Instant>) -> Option<Stream> {
        let all = self.0.borrow();
        let connections = all.get(&target)?;
        let is_new = |connection: &Shared| made_after.is_none_or(|moment| connection.made > moment);
        let open = || connections.open.iter().filter(|connection| connection.is_usable() && is_new(connection));
        let with_room = open().find(|connection| connection.has_room());
        let enough = || {
            // More than the backend permits are held back by HTTP/2 itself.
            let narrow = || open().filter(|connection| connection.permitted() < MOST_STREAMS);
            narrow().min_by_key(|connection| connection.streams.get()).filter(|_| narrow().count() >= MOST_CONNECTIONS)
        };
        with_room.or_else(enough).map(Stream::on)
    }

    /// A place on a connection as [`Multiplexed::take`] finds it, or whose turn it is to make one. Waits for somebody who
    /// makes one already.
    pub(crate) async fn turn(&self, target: u64, made_after: Option<Instant>) -> Turn<'_> {
        loop {
            if let Some(stream) = self.take(target, made_after) {
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
        let made = Instant::now();
        let (streams, answered, last_used) = (Cell::new(0), Cell::new(false), Cell::new(made));
        let shared = Rc::new(Shared { sender, lease, streams, permitted, answered, made, last_used });
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
        self.0.borrow_mut().entry(target).or_default().dialing = Some(Rc::clone(&dialing));
        Lead { pools: self, target, dialing }
    }
}

impl Lead<'_> {
    /// No connection could be made.
    pub(crate) fn fail(self) {
        self.dialing.failed.set(true);
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
        self.streams.get() < self.permitted()
    }

    /// How many requests at once there may be.
    fn permitted(&self) -> usize {
        let permitted = (self.permitted.0)();
        let told = self.answered.get() || permitted != BEFORE_TOLD;
        if told { permitted.min(MOST_STREAMS) } else { MOST_STREAMS }
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

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::time::timeout;

    use super::*;

    /// What comes of waiting for nobody: nothing, as long as somebody else makes a connection.
    async fn is_waiting(turn: impl Future) -> bool {
        timeout(Duration::ZERO, turn).await.is_err()
    }

    #[tokio::test]
    async fn who_goes_away_while_making_a_connection_leaves_that_to_the_next_one_alone() {
        let pools = Multiplexed::default();
        let Turn::Lead(lead) = pools.turn(1, None).await else { panic!("nobody else makes one") };
        let (mut next, mut last) = (pin!(pools.turn(1, None)), pin!(pools.turn(1, None)));
        assert!(is_waiting(&mut next).await && is_waiting(&mut last).await);
        drop(lead);
        let Turn::Lead(lead) = next.await else { panic!("somebody else makes one") };
        assert!(is_waiting(&mut last).await);
        lead.fail();
        assert!(matches!(last.await, Turn::Alone));
        assert!(matches!(pools.turn(1, None).await, Turn::Lead(_)));
    }
}
