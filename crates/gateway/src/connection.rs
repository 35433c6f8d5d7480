//! One client connection: what it is doing, what it is waiting for, and what happens when it waits too long.
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

mod state;

pub(crate) use state::{BodyFailure, Connection, Expired};

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use gatepost_config::model::Limits;
use gatepost_meter::Slot;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::connection::state::{DISCARD_BYTES, DISCARD_TIME, Overdue};
use crate::io::Io;
use crate::pipeline;
use crate::record::Ended;
use crate::worker::{Membership, Site, Worker};

/// Serves a connection to its end.
pub(crate) async fn serve(worker: Rc<Worker>, site: Rc<Site>, stream: TcpStream, peer: SocketAddr, slot: Slot) {
    let _slot = slot;
    let limits = site.limits.get();
    let connection = Rc::new(Connection::new(worker, site, peer, limits));
    let membership = connection.site.join();
    let io = TokioIo::new(Io::new(stream, Rc::clone(&connection)));
    let service = {
        let connection = Rc::clone(&connection);
        service_fn(move |request| pipeline::serve(Rc::clone(&connection), request))
    };
    let mut http = builder(&limits).serve_connection(io, service);
    let finish = {
        let mut timer = pin!(sleep_until(Instant::now() + limits.header_timeout));
        let mut drive = Drive { closing: false, membership };
        poll_fn(|cx| drive.poll(cx, &connection, &mut http, timer.as_mut())).await
    };
    connection.conclude(&finish);
    if connection.must_linger(&finish) {
        let stream = http.into_parts().io.into_inner().into_stream();
        linger(stream).await;
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
    /// The answer was cut.
    Cut,
}

/// What the kernel may hold of an answer that it has not sent, in bytes. It bounds its memory for a client that reads
/// slowly; and only so does a write that waits mean a client that takes nothing.
const UNSENT: u32 = 128 * 1024;

fn builder(limits: &Limits) -> http1::Builder {
    /// hyper's own number, for which it needs no allocation.
    const INLINE_HEADERS: usize = 100;
    let mut builder = http1::Builder::new();
    builder
        // Our own timer bounds the head; see the top of this file.
        .header_read_timeout(None)
        .max_header_size(limits.header_bytes)
        .max_buf_size(limits.header_bytes.max(64 * 1024));
    if limits.headers != INLINE_HEADERS {
        builder.max_headers(limits.headers);
    }
    builder
}

/// Reads what may still come, so that the kernel does not reset the connection under the answer.
async fn linger(mut stream: TcpStream) {
    let mut sink = vec![0; 16 * 1024];
    // hyper has done so, unless it could not answer at all. The client may be gone.
    let _ = stream.shutdown().await;
    let discard = async {
        let mut budget = DISCARD_BYTES;
        while budget > 0 {
            match stream.read(&mut sink).await {
                Ok(0) | Err(_) => return,
                Ok(count) => budget = budget.saturating_sub(count),
            }
        }
    };
    // Out of time is as good as done: the socket is closed either way.
    let _ = timeout(DISCARD_TIME, discard).await;
}

/// What drives a connection between its socket, its timer and the wish to close it.
struct Drive {
    closing: bool,
    membership: Membership,
}

impl Drive {
    fn poll<S, F>(
        &mut self,
        cx: &mut Context<'_>,
        connection: &Connection,
        http: &mut http1::Connection<TokioIo<Io>, S>,
        mut timer: Pin<&mut Sleep>,
    ) -> Poll<Finish>
    where
        S: hyper::service::Service<
                http::Request<Incoming>,
                Response = http::Response<crate::body::ResponseBody>,
                Error = std::convert::Infallible,
                Future = F,
            >,
        F: Future<Output = Result<http::Response<crate::body::ResponseBody>, std::convert::Infallible>>,
    {
        self.keep(cx.waker(), connection);
        loop {
            // First hyper: what has arrived is served before anything is found to be late or idle.
            if let Poll::Ready(result) = Pin::new(&mut *http).poll(cx) {
                return Poll::Ready(Finish::Hyper(result));
            }
            if connection.poll_leftover(cx).is_ready() {
                continue;
            }
            if !self.closing && connection.site.is_closing() && connection.may_be_closed() {
                self.closing = true;
                Pin::new(&mut *http).graceful_shutdown();
                continue;
            }
            let Some(due) = connection.due() else {
                return Poll::Pending;
            };
            if connection.armed.get().is_none_or(|armed| due < armed) {
                timer.as_mut().reset(due);
                connection.armed.set(Some(due));
            }
            ready!(timer.as_mut().poll(cx));
            connection.armed.set(None);
            match connection.overdue(Instant::now()) {
                Overdue::Nothing | Overdue::LookAgain => {}
                Overdue::Idle if self.closing => {
                    // hyper waits for something that does not come.
                    connection.cut_off(Ended::Client);
                    return Poll::Ready(Finish::Cut);
                }
                Overdue::Idle => {
                    self.closing = true;
                    Pin::new(&mut *http).graceful_shutdown();
                }
                Overdue::Header => return Poll::Ready(Finish::HeaderTimeout),
                Overdue::Cut(ended) => {
                    connection.cut_off(ended);
                    return Poll::Ready(Finish::Cut);
                }
            }
        }
    }
}

impl Drive {
    /// Keeps the task's waker, which stays the same as long as the task lives.
    fn keep(&mut self, waker: &Waker, connection: &Connection) {
        if connection.waker.borrow().is_none() {
            *connection.waker.borrow_mut() = Some(waker.clone());
            self.membership.keep(waker.clone());
        }
    }
}
