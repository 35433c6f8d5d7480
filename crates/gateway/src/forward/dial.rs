//! New connections to backends, and HTTP on them.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use gatepost_config::model::HttpVersion;
use gatepost_net::Resolver;
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::spawn_local;
use tokio::time::Instant;

use crate::forward::Handover;
use crate::forward::pool::multiplex::{self, BEFORE_TOLD, MOST_STREAMS, Permitted, Turn};
use crate::forward::pool::{Driver, Line, Pooled, Pools, Sender};
use crate::rejection::{BadUpstream, Rejection};
use crate::upstream::{Target, Wire};

/// The longest response head that is accepted from a backend, in bytes.
const RESPONSE_HEAD: usize = 64 * 1024;

/// What a backend may send of one answer before its client has taken it, in bytes …
const STREAM_WINDOW: u32 = 128 * 1024;
/// … and of all answers on one connection: so much that clients who read nothing hold up nobody else on it.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MOST_STREAMS as u32;

/// What is held of one request's body that its backend does not take, in bytes.
const SEND_BUFFER: usize = 128 * 1024;

/// While requests wait for a silent backend, it is asked so often whether it is there, …
const PING_EVERY: Duration = Duration::from_secs(10);
/// … and given up with all of them after this long: a lost connection would fail every request sent on it.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to `target` for one request: a new one, or a place on one that others have made, after that moment if
/// one is given.
pub(super) async fn connection(
    pools: &Rc<Pools>,
    target: &Target,
    resolver: &Resolver,
    made_after: Option<Instant>,
) -> Result<Pooled, Rejection> {
    if target.http == HttpVersion::One {
        let (wire, lease) = target.connect(resolver).await.map_err(Rejection::Dial)?;
        let (sender, handover, driver) = http1(wire).await?;
        return Ok(pools.adopt(target.id, Line { sender, lease, handover, _driver: driver }));
    }
    let lead = match pools.multiplexed.turn(target.id, made_after).await {
        Turn::Take(stream) => return Ok(Pooled::Shared(stream)),
        Turn::Lead(lead) => Some(lead),
        Turn::Alone => None,
    };
    let made = multiplexed(pools, target, resolver).await;
    if let (Some(lead), Err(_)) = (lead, &made) {
        lead.fail();
    }
    made
}

async fn multiplexed(pools: &Pools, target: &Target, resolver: &Resolver) -> Result<Pooled, Rejection> {
    let (wire, lease) = target.connect(resolver).await.map_err(Rejection::Dial)?;
    let (sender, permitted) = http2(wire).await?;
    Ok(Pooled::Shared(pools.multiplexed.adopt(target.id, sender, permitted, lease)))
}

/// The sender, what is handed over after an upgrade, and what drives them.
async fn http1(wire: Wire) -> Result<(Sender, Rc<Handover>, Driver), Rejection> {
    let (sender, mut driver) = http1::Builder::new()
        .max_header_size(RESPONSE_HEAD)
        // Also what is held of an answer for a client that takes none of it.
        .max_buf_size(RESPONSE_HEAD)
        .handshake(TokioIo::new(wire))
        .await
        .map_err(|error| Rejection::BadUpstream(BadUpstream::Http(error)))?;
    let handover = Rc::<Handover>::default();
    let waiting = Rc::clone(&handover);
    let driving = spawn_local(async move {
        let ended = (&mut driver).await;
        waiting.end(|| {
            let http1::Parts { io, read_buf, .. } = driver.into_parts();
            ended.is_ok().then(|| (io.into_inner(), read_buf))
        });
        tell_end(ended);
    });
    Ok((sender, handover, Driver(driving)))
}

/// The sender, and how many requests at once its backend permits.
async fn http2(wire: Wire) -> Result<(multiplex::Sender, Permitted), Rejection> {
    let (sender, driver) = http2::Builder::new(OnThisThread)
        .timer(TokioTimer::new())
        .initial_max_send_streams(BEFORE_TOLD)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(RESPONSE_HEAD as u32)
        // It would count what comes late for requests that clients have given up, never forget, and at some number fail
        // all others on the connection.
        .max_local_error_reset_streams(None)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .handshake(TokioIo::new(wire))
        .await
        .map_err(|error| Rejection::BadUpstream(BadUpstream::Http(error)))?;
    // Both who drives the connection and who looks for room on one look at it, each for a moment.
    let driver = Rc::new(RefCell::new(Some(driver)));
    let looked_at = Rc::clone(&driver);
    let permitted = move || looked_at.borrow().as_ref().map_or(0, |driver| driver.current_max_send_streams());
    spawn_local(async move {
        let ended = poll_fn(|cx| match driver.borrow_mut().as_mut() {
            Some(driver) => Pin::new(driver).poll(cx),
            None => Poll::Ready(Ok(())),
        });
        tell_end(ended.await);
        // Its socket is closed with the last request on it.
        drop(driver.take());
    });
    let permitted = Permitted(Box::new(permitted));
    Ok((sender, permitted))
}

/// Whoever waits for the answer learns of the failure; this only ends with it.
fn tell_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "connection to a backend ended");
    }
}

/// Runs what HTTP/2 needs beside the connection on the worker's own thread.
#[derive(Debug, Clone)]
struct OnThisThread;

impl<F: Future<Output = ()> + 'static> Executor<F> for OnThisThread {
    fn execute(&self, future: F) {
        spawn_local(future);
    }
}
