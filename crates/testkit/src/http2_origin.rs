use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A backend on loopback that speaks HTTP/2 with prior knowledge, gives every request the same answer, and remembers
/// what it got. Gone when dropped.
#[derive(Debug)]
pub struct Http2Origin {
    address: SocketAddr,
    state: Arc<State>,
    orders: Orders,
    accepting: JoinHandle<()>,
}

/// What an [`Http2Origin`] answers.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    trailers: Vec<(&'static str, String)>,
    waits: bool,
    resets: bool,
}

/// A request as it arrived at an [`Http2Origin`].
#[derive(Debug, Clone)]
pub struct Http2Request {
    /// Which of the accepted connections it came on, counted from 0.
    pub connection: usize,
    /// Its method, target with scheme and authority, and headers.
    pub head: http::request::Parts,
    /// Its body; absent as long as it has not come whole.
    pub body: Option<Vec<u8>>,
    /// Its trailers.
    pub trailers: HeaderMap,
}

#[derive(Debug)]
struct State {
    answer: Answer,
    accepted: AtomicUsize,
    open: AtomicUsize,
    under_way: AtomicUsize,
    received: Mutex<Vec<Http2Request>>,
}

/// What an origin is told: to let go on what waits, to close in good order, and to cut.
#[derive(Debug, Clone)]
struct Orders {
    release: watch::Sender<bool>,
    close: watch::Sender<u64>,
    cut: watch::Sender<u64>,
}

impl Http2Origin {
    /// Starts an origin that permits a hundred requests at once on a connection.
    pub async fn start(answer: Answer) -> Self {
        Self::permitting(100, answer).await
    }

    /// Starts an origin that permits so many requests at once on a connection.
    ///
    /// # Panics
    /// No port is free.
    pub async fn permitting(streams: u32, answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a listening socket");
        let state = Arc::new(State {
            answer,
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            received: Mutex::default(),
        });
        let orders =
            Orders { release: watch::Sender::new(false), close: watch::Sender::new(0), cut: watch::Sender::new(0) };
        let accepting = tokio::spawn(accept(listener, streams, Arc::clone(&state), orders.clone()));
        Self { address, state, orders, accepting }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it is, as `to` has it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::Acquire)
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.state.open.load(Ordering::Acquire)
    }

    /// Requests that are not answered yet, nor given up by who sent them.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.state.under_way.load(Ordering::Acquire)
    }

    /// The requests whose heads were read so far, in that order.
    #[must_use]
    pub fn requests(&self) -> Vec<Http2Request> {
        self.state.received().clone()
    }

    /// Lets go on whoever waits, now and from now on.
    pub fn release(&self) {
        self.orders.release.send_replace(true);
    }

    /// Tells every connection that it will be closed, answers what is under way on it, and closes it.
    pub fn close(&self) {
        self.orders.close.send_modify(|times| *times += 1);
    }

    /// Closes every connection, whatever is under way.
    pub fn cut(&self) {
        self.orders.cut.send_modify(|times| *times += 1);
    }
}

impl Drop for Http2Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Answer {
    /// 200 with this body.
    #[must_use]
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: vec![], body: body.into(), trailers: vec![], waits: false, resets: false }
    }

    /// Resets the stream instead.
    #[must_use]
    pub fn reset() -> Self {
        Self { resets: true, ..Self::ok("") }
    }

    /// With this status.
    #[must_use]
    pub fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// With this header too.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With this trailer too.
    #[must_use]
    pub fn trailer(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.trailers.push((name, value.into()));
        self
    }

    /// Once [`Http2Origin::release`] was called.
    #[must_use]
    pub fn waits(self) -> Self {
        Self { waits: true, ..self }
    }

    fn response(&self) -> Response<Frames> {
        let mut frames = VecDeque::new();
        if !self.body.is_empty() {
            frames.push_back(Frame::data(Bytes::from(self.body.clone())));
        }
        if !self.trailers.is_empty() {
            frames.push_back(Frame::trailers(fields(&self.trailers)));
        }
        let mut response = Response::new(Frames(frames));
        *response.status_mut() = self.status.try_into().expect("a status");
        *response.headers_mut() = fields(&self.headers);
        response
    }
}

impl State {
    fn received(&self) -> MutexGuard<'_, Vec<Http2Request>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(
        self: Arc<Self>,
        connection: usize,
        request: Request<Incoming>,
        orders: Orders,
    ) -> io::Result<Response<Frames>> {
        let _under_way = Counted::new(&self, |state| &state.under_way);
        let (head, body) = request.into_parts();
        let current = {
            let mut received = self.received();
            received.push(Http2Request { connection, head, body: None, trailers: HeaderMap::new() });
            received.len() - 1
        };
        self.read(current, body).await?;
        if self.answer.waits {
            // An error means that nobody can release any more.
            let _ = orders.release.subscribe().wait_for(|released| *released).await;
        }
        if self.answer.resets { Err(io::ErrorKind::Other.into()) } else { Ok(self.answer.response()) }
    }

    async fn read(&self, current: usize, mut body: Incoming) -> io::Result<()> {
        let mut all = Vec::new();
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            match frame.map_err(io::Error::other)?.into_data() {
                Ok(data) => all.extend_from_slice(&data),
                Err(frame) => self.received()[current].trailers = frame.into_trailers().unwrap_or_default(),
            }
        }
        self.received()[current].body = Some(all);
        Ok(())
    }
}

async fn accept(listener: TcpListener, streams: u32, state: Arc<State>, orders: Orders) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let number = state.accepted.fetch_add(1, Ordering::AcqRel);
        let open = Counted::new(&state, |state| &state.open);
        let (mut close, mut cut) = (orders.close.subscribe(), orders.cut.subscribe());
        let (state, orders) = (Arc::clone(&state), orders.clone());
        connections.spawn(async move {
            let service = service_fn(move |request| Arc::clone(&state).serve(number, request, orders.clone()));
            let mut builder = http2::Builder::new(TokioExecutor::new());
            let connection = builder.max_concurrent_streams(streams).serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            loop {
                tokio::select! {
                    // Peers that go away are part of most tests.
                    _ = connection.as_mut() => break,
                    _ = close.changed() => connection.as_mut().graceful_shutdown(),
                    _ = cut.changed() => break,
                }
            }
            drop(open);
        });
    }
}

/// One more of something, until it is dropped.
struct Counted {
    state: Arc<State>,
    counter: fn(&State) -> &AtomicUsize,
}

impl Counted {
    fn new(state: &Arc<State>, counter: fn(&State) -> &AtomicUsize) -> Self {
        counter(state).fetch_add(1, Ordering::AcqRel);
        Self { state: Arc::clone(state), counter }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.counter)(&self.state).fetch_sub(1, Ordering::AcqRel);
    }
}

/// A body of these frames.
struct Frames(VecDeque<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

fn fields(pairs: &[(&'static str, String)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, String)| {
        (HeaderName::from_static(name), HeaderValue::try_from(value).expect("a header value"))
    };
    pairs.iter().map(field).collect()
}
