//! HTTP/1.1: one request after the other.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use gatepost_config::model::Limits;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::body::ResponseBody;
use crate::connection::linger::linger;
use crate::connection::state::{DISCARD_TIME, Overdue};
use crate::connection::{Connection, Finish};
use crate::io::Io;
use crate::pipeline;
use crate::record::Ended;
use crate::stream::Stream;
use crate::worker::Membership;

/// Serves a connection to its end.
pub(super) async fn serve(connection: Rc<Connection>, membership: Membership) {
    let io = TokioIo::new(Io::new(Rc::clone(&connection)));
    let service = {
        let stream = Stream::only(&connection);
        service_fn(move |request| pipeline::serve(stream.clone(), request))
    };
    let mut http = builder(&connection.limits).serve_connection(io, service);
    let finish = {
        let mut timer = pin!(sleep_until(Instant::now() + connection.limits.header_timeout));
        let mut drive = Drive { closing: false, membership };
        poll_fn(|cx| drive.poll(cx, &connection, &mut http, timer.as_mut())).await
    };
    connection.conclude(&finish);
    let tunnel = connection.take_tunnel();
    if let (Some(tunnel), Finish::Hyper(Ok(()))) = (tunnel, &finish) {
        connection.wire().unread(&http.into_parts().read_buf);
        Box::pin(tunnel.run()).await;
    } else if connection.must_linger(&finish) {
        drop(http);
        Box::pin(linger(connection, DISCARD_TIME)).await;
    }
}

fn builder(limits: &Limits) -> http1::Builder {
    /// hyper's own number, for which it needs no allocation.
    const INLINE_HEADERS: usize = 100;
    let mut builder = http1::Builder::new();
    builder
        // Our own timer bounds the head; see `connection.rs`.
        .header_read_timeout(None)
        // It is we who look whether a client is still there: hyper would want a second buffer for that.
        .half_close(true)
        .max_header_size(limits.header_bytes)
        .max_buf_size(limits.header_bytes.max(64 * 1024));
    if limits.headers != INLINE_HEADERS {
        builder.max_headers(limits.headers);
    }
    builder
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
        S: Service<Request<Incoming>, Response = Response<ResponseBody>, Error = Infallible, Future = F>,
        F: Future<Output = Result<Response<ResponseBody>, Infallible>>,
    {
        let progress = &connection.progress;
        if progress.keep(cx.waker()) {
            self.membership.keep(cx.waker().clone());
        }
        loop {
            // First hyper: what has arrived is served before anything is found to be late or idle.
            if let Poll::Ready(result) = Pin::new(&mut *http).poll(cx) {
                return Poll::Ready(Finish::Hyper(result));
            }
            if connection.poll_leftover(cx).is_ready() {
                continue;
            }
            if connection.poll_gone(cx).is_ready() {
                return Poll::Ready(Finish::Gone);
            }
            if !self.closing && connection.site.is_closing() && connection.may_be_closed() {
                self.closing = true;
                Pin::new(&mut *http).graceful_shutdown();
                continue;
            }
            let Some(due) = connection.due() else {
                return Poll::Pending;
            };
            ready!(progress.poll_due(due, timer.as_mut(), cx));
            match connection.overdue(Instant::now()) {
                Overdue::Nothing | Overdue::LookAgain => {}
                Overdue::Idle if self.closing => {
                    // hyper waits for something that does not come.
                    progress.cut_off(Ended::Client);
                    return Poll::Ready(Finish::Cut);
                }
                Overdue::Idle => {
                    self.closing = true;
                    Pin::new(&mut *http).graceful_shutdown();
                }
                Overdue::Header => return Poll::Ready(Finish::HeaderTimeout),
                Overdue::Cut(ended) => {
                    progress.cut_off(ended);
                    return Poll::Ready(Finish::Cut);
                }
            }
        }
    }
}
