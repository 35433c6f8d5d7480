//! HTTP/2: many requests at once, each a task of its own on the connection's thread.
//!
//! What a connection may hold at worst, beside its buffers of some 40 KiB: [`CONNECTION_WINDOW`] of request bodies that no
//! backend has taken yet, and for each stream a head of `header_bytes` and three pieces of an answer, of 64 KiB each: one
//! that `h2` has, one that waits for room, and one that was read behind it.
//!
//! Every stream has the deadline of its route, and is reset when it is over. A stream whose client makes no room for its
//! answer is reset after `idle_timeout`, the connection is cut when its socket takes nothing for so long, and closed when
//! it has had no stream for so long, whatever else is sent on it. Who floods it with frames that get nothing done, or
//! takes back requests in numbers (CVE-2023-44487), is cut off. `h2` bounds the size of a head (CONTINUATION included) and
//! holds only one PING and one SETTINGS to be acknowledged: it reads no further before they are.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use tokio::task::spawn_local;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::body::ResponseBody;
use crate::connection::linger::linger;
use crate::connection::state::Overdue;
use crate::connection::{Connection, Finish};
use crate::io::Io;
use crate::pipeline::{self, DECISION};
use crate::record::Record;
use crate::rejection::Reason;
use crate::stream::{Stream, Verdict};
use crate::worker::Membership;

/// What may come of one request's body before a backend takes any, in bytes.
const STREAM_WINDOW: u32 = 256 * 1024;

/// The same of all requests of a connection together.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// What is held of one answer that its client has made no room for, in bytes.
const SEND_BUFFER: usize = 64 * 1024;

/// How long a client may take to acknowledge that the connection is being closed, once it has its answers.
const FAREWELL: Duration = Duration::from_secs(2);

/// Serves a connection to its end.
pub(super) async fn serve(connection: Rc<Connection>, membership: Membership) {
    let io = TokioIo::new(Io::new(Rc::clone(&connection)));
    let service = {
        let connection = Rc::clone(&connection);
        service_fn(move |request: Request<Incoming>| {
            let stream = Stream::open(&connection);
            async move {
                if request.headers().len() > stream.connection.limits.headers {
                    return Ok(too_many_headers(&stream.connection));
                }
                pipeline::serve(stream, request).await
            }
        })
    };
    let limits = &connection.limits;
    let http = http2::Builder::new(Streams { connection: Rc::clone(&connection) })
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        // A page that is left takes back all that it asked for, perhaps before we have looked at any of it.
        .max_pending_accept_reset_streams(limits.streams as usize)
        // It would count what comes late of refused bodies, and never forget: connections of proxies live long. What a
        // client wastes so is counted here, and forgiven.
        .max_local_error_reset_streams(None)
        .serve_connection(io, service);
    let finish = {
        let mut http = pin!(http);
        let mut timer = pin!(sleep_until(Instant::now() + limits.header_timeout));
        let mut drive = Drive { closing: None, membership };
        poll_fn(|cx| drive.poll(cx, &connection, http.as_mut(), timer.as_mut())).await
    };
    connection.conclude(&finish);
    if connection.must_linger(&finish) {
        let most = connection.limits.idle_timeout;
        linger(connection, most).await;
    }
}

/// The answer to a request with more headers than the limit, which hyper does not count here. As `h2` answers one whose
/// headers are too long.
fn too_many_headers(connection: &Connection) -> Response<ResponseBody> {
    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    let record = Record { status: Some(status), ..Record::unread(connection, Reason::HeadersTooLarge) };
    let mut response = Response::new(ResponseBody::none());
    *response.status_mut() = status;
    response.headers_mut().insert(DECISION, record.id.header());
    connection.worker.finish(Box::new(record));
    response
}

/// Runs the streams of a connection.
#[derive(Clone)]
struct Streams {
    connection: Rc<Connection>,
}

impl<F: Future<Output = ()> + 'static> Executor<F> for Streams {
    fn execute(&self, future: F) {
        // hyper asks for a stream's future and hands it over at once.
        match self.connection.take_opened() {
            Some(stream) => drop(spawn_local(drive(stream, future))),
            None => drop(spawn_local(future)),
        }
    }
}

/// Drives one stream until it has ended or is over. Dropping the future resets it; the end of the connection ends it.
async fn drive(stream: Stream, future: impl Future<Output = ()>) {
    let Stream { connection, progress } = &stream;
    let mut future = pin!(future);
    let mut timer = pin!(sleep_until(Instant::now()));
    poll_fn(|cx| {
        progress.keep(cx.waker());
        loop {
            if future.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let Some(due) = progress.due(&connection.limits, true) else {
                return Poll::Pending;
            };
            ready!(progress.poll_due(due, timer.as_mut(), cx));
            match progress.overdue(Instant::now(), &connection.limits, true) {
                Verdict::Nothing | Verdict::Told => {}
                Verdict::Cut(ended) => {
                    progress.cut_off(ended);
                    return Poll::Ready(());
                }
            }
        }
    })
    .await;
}

/// What drives a connection between its socket, its timer and the wish to close it.
struct Drive {
    /// Since when the connection is being closed.
    closing: Option<Instant>,
    membership: Membership,
}

impl Drive {
    fn poll<S, F>(
        &mut self,
        cx: &mut Context<'_>,
        connection: &Connection,
        mut http: Pin<&mut http2::Connection<TokioIo<Io>, S, Streams>>,
        mut timer: Pin<&mut Sleep>,
    ) -> Poll<Finish>
    where
        S: Service<Request<Incoming>, Response = Response<ResponseBody>, Error = Infallible, Future = F>,
        F: Future<Output = Result<Response<ResponseBody>, Infallible>> + 'static,
    {
        let progress = &connection.progress;
        if progress.keep(cx.waker()) {
            self.membership.keep(cx.waker().clone());
        }
        connection.begin_turn();
        loop {
            if let Poll::Ready(result) = http.as_mut().poll(cx) {
                return Poll::Ready(Finish::Hyper(result));
            }
            if connection.is_flooding() {
                return Poll::Ready(Finish::Flood);
            }
            // Told early: what is under way goes on, and what would come next comes on another connection.
            if self.closing.is_none() && connection.site.is_leaving() {
                self.close(http.as_mut());
                continue;
            }
            let farewell = self.closing.and_then(|since| Some(connection.idle_since()?.max(since) + FAREWELL));
            let Some(due) = farewell.or(connection.due()) else {
                return Poll::Pending;
            };
            ready!(progress.poll_due(due, timer.as_mut(), cx));
            let now = Instant::now();
            if farewell.is_some_and(|end| end <= now) {
                return Poll::Ready(Finish::Unparted);
            }
            match connection.overdue(now) {
                Overdue::Nothing | Overdue::LookAgain => {}
                Overdue::Header | Overdue::Idle if self.closing.is_none() => self.close(http.as_mut()),
                Overdue::Header | Overdue::Idle | Overdue::Cut(_) => return Poll::Ready(Finish::Cut),
            }
        }
    }

    fn close<S, F>(&mut self, http: Pin<&mut http2::Connection<TokioIo<Io>, S, Streams>>)
    where
        S: Service<Request<Incoming>, Response = Response<ResponseBody>, Error = Infallible, Future = F>,
        F: Future<Output = Result<Response<ResponseBody>, Infallible>> + 'static,
    {
        self.closing = Some(Instant::now());
        http.graceful_shutdown();
    }
}
