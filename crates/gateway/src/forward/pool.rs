//! Connections to backends that wait for their next request. One pool a worker: a connection never crosses threads.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use gatepost_net::Lease;
use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

use crate::body::RequestBody;

/// What sends a request on one connection to a backend.
pub(crate) type Sender = SendRequest<RequestBody>;

/// The idle connections of a worker, by target.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    idle: RefCell<HashMap<u64, Vec<Idle>>>,
}

/// A connection in use that belongs to a pool.
#[derive(Debug)]
pub(crate) struct Pooled {
    sender: Sender,
    lease: Lease,
    target: u64,
    pools: Rc<Pools>,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    lease: Lease,
    since: Instant,
}

/// How long a connection may wait for its next request. Shorter than what common servers keep an idle connection for
/// (5 s and up), so that we rarely send on a connection that its backend is just closing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Idle connections to one target, at most: more would only be more sockets to keep.
const MOST_IDLE: usize = 1024;

impl Pools {
    /// The connection to `target` that was used last, of those that can send at once and whose address is still the
    /// target's.
    ///
    /// One whose backend has answered may still be busy with the body of that request, for as long as its client
    /// likes: such a one is passed over, and swept away in the end.
    pub(crate) fn take(self: &Rc<Self>, target: u64) -> Option<Pooled> {
        let mut idle = self.idle.borrow_mut();
        let waiting = idle.get_mut(&target)?;
        let oldest = Instant::now().checked_sub(IDLE_TIMEOUT);
        let usable = |idle: &Idle| {
            idle.sender.is_ready() && oldest.is_none_or(|oldest| idle.since > oldest) && idle.lease.is_current()
        };
        let last = waiting.iter().rposition(usable)?;
        let Idle { sender, lease, .. } = waiting.remove(last);
        Some(Pooled { sender, lease, target, pools: Rc::clone(self) })
    }

    /// A new connection, to be given back here.
    pub(crate) fn adopt(self: &Rc<Self>, target: u64, sender: Sender, lease: Lease) -> Pooled {
        Pooled { sender, lease, target, pools: Rc::clone(self) }
    }

    /// Closes what has waited too long, or leads where its target is no more.
    pub(crate) fn sweep(&self, now: Instant) {
        let Some(oldest) = now.checked_sub(IDLE_TIMEOUT) else { return };
        self.idle.borrow_mut().retain(|_, waiting| {
            waiting.retain(|idle| idle.since > oldest && !idle.sender.is_closed() && idle.lease.is_current());
            !waiting.is_empty()
        });
    }
}

impl Pooled {
    /// What sends on it.
    pub(crate) fn sender(&mut self) -> &mut Sender {
        &mut self.sender
    }

    /// Its answer has been read in full.
    pub(crate) fn give_back(self) {
        let Self { sender, lease, target, pools } = self;
        let mut idle = pools.idle.borrow_mut();
        let waiting = idle.entry(target).or_default();
        if waiting.len() < MOST_IDLE && !sender.is_closed() {
            waiting.push(Idle { sender, lease, since: Instant::now() });
        }
    }
}
