//! Bodies: the client's on its way to a backend, and the answer's on its way to the client.
//!
//! Neither is ever gathered: a piece is read when the other side has room for it. Only a body that must be seen whole
//! before it may go on is kept (`spool.rs`).

mod exchange;
mod kept;

pub(crate) use self::exchange::Exchange;
pub(crate) use self::kept::KeptBody;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use gatepost_meter::Slot;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::caller::{AHEAD, Spent};
use crate::connection::Connection;
use crate::forward::pool::Pooled;
use crate::forward::trailers;
use crate::record::Ended;
use crate::spool::Kept;
use crate::stream::{BodyFailure, Stream};

/// The body of a request where both reach it: whoever sends it on, and the stream it comes on, which takes it back when
/// the exchange is over.
#[derive(Debug)]
pub(crate) struct SharedBody {
    incoming: RefCell<Option<Incoming>>,
    /// Whether it has been read to its end.
    ended: Cell<bool>,
    /// Whether the client waits for `100 Continue`, which hyper sends when the body is first asked for.
    awaits_continue: Cell<bool>,
    /// Who reads it.
    reader: RefCell<Option<Waker>>,
}

/// The body of a request, as it comes.
///
/// Watched for its length and for the time between two pieces. Whoever drops it before its end leaves the rest to the
/// connection, which reads it so that the client finds the answer.
#[derive(Debug)]
pub(crate) struct RequestBody {
    /// Absent: there is none, or it was read and is `kept`.
    shared: Option<Rc<SharedBody>>,
    /// All of it, where it had to be seen before it may go on.
    kept: Option<Rc<KeptBody>>,
    stream: Stream,
    /// Bytes that may still come.
    room: u64,
    /// Whether its trailers are passed on.
    trailers: bool,
}

impl SharedBody {
    /// Takes the body from its reader, who is told; what still comes of it is discarded.
    pub(crate) fn release(&self, stream: &Stream) {
        stream.await_body(false);
        let Some(incoming) = self.incoming.borrow_mut().take() else { return };
        if let Some(reader) = self.reader.borrow_mut().take() {
            reader.wake();
        }
        if incoming.is_end_stream() {
            self.end(stream);
        } else {
            stream.abandon(incoming, self.awaits_continue.get());
        }
    }

    /// Whether more of it may come.
    pub(crate) fn is_open(&self) -> bool {
        !self.ended.get()
    }

    /// All of it has come. From now on it is up to the connection's task to look whether the client is still there, and
    /// it is a backend's task that reads.
    fn end(&self, stream: &Stream) {
        self.ended.set(true);
        if stream.connection.is_http1() {
            stream.progress.wake();
        }
    }

    /// Polls it for `cx`'s task, which is woken when it is released.
    fn poll_incoming(&self, cx: &mut Context<'_>, stream: &Stream) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut slot = self.incoming.borrow_mut();
        let Some(incoming) = slot.as_mut() else {
            return Poll::Ready(None);
        };
        let mut reader = self.reader.borrow_mut();
        if !reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            *reader = Some(cx.waker().clone());
        }
        self.awaits_continue.set(false);
        let polled = ready!(Pin::new(&mut *incoming).poll_frame(cx));
        if polled.is_none() {
            // A stream that was reset with NO_ERROR ends like a whole one as far as hyper says.
            if stream.connection.is_http1() || incoming.is_end_stream() {
                self.end(stream);
            }
        }
        if !matches!(polled, Some(Ok(_))) {
            *slot = None;
        }
        Poll::Ready(polled)
    }
}

impl RequestBody {
    pub(crate) fn new(incoming: Incoming, stream: Stream, expects_continue: impl FnOnce() -> bool) -> Self {
        let shared = (!incoming.is_end_stream()).then(|| {
            Rc::new(SharedBody {
                incoming: RefCell::new(Some(incoming)),
                ended: Cell::new(false),
                awaits_continue: Cell::new(expects_continue()),
                reader: RefCell::new(None),
            })
        });
        Self { shared, kept: None, stream, room: 0, trailers: false }
    }

    /// A body that was read before.
    pub(crate) fn kept(kept: Kept, stream: Stream) -> Self {
        let kept = KeptBody::new(kept);
        stream.keep(Rc::clone(&kept));
        Self { shared: None, kept: Some(kept), stream, room: 0, trailers: false }
    }

    /// No body, for a second try of a request that has none.
    pub(crate) fn none_like_it(&self) -> Self {
        Self { shared: None, kept: None, stream: self.stream.clone(), room: 0, trailers: false }
    }

    /// For the stream, to take it back.
    pub(crate) fn share(&self) -> Option<Rc<SharedBody>> {
        self.shared.clone()
    }

    /// Its length, if the client told it.
    pub(crate) fn length(&self) -> Option<u64> {
        self.size_hint().exact()
    }

    /// The next piece of its data; none at its end, or after it failed, which the stream's progress knows of.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        loop {
            let frame = poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await?;
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => return Some(data),
                Ok(Err(_)) => {}
                Err(_) => {
                    // Taken back by the connection, it failed without saying why.
                    let progress = &self.stream.progress;
                    progress.fail_body(progress.body_failure().unwrap_or(BodyFailure::Broken));
                    return None;
                }
            }
        }
    }

    /// Lets `most` bytes through, and no more.
    pub(crate) fn limit(&mut self, most: u64) {
        self.room = most;
    }

    /// Lets its trailers through. Without this they are dropped: HTTP/1.1 backends do not expect any, and they could
    /// carry anything.
    pub(crate) fn pass_trailers(&mut self) {
        self.trailers = true;
    }

    /// Whether what the client still sends can be read to its end before the next request is.
    pub(crate) fn can_be_discarded(&self) -> bool {
        let asked = |shared: &Rc<SharedBody>| !shared.awaits_continue.get();
        self.shared.as_ref().is_none_or(asked) && Connection::can_discard(self.length())
    }

    fn with_incoming<T>(&self, look: impl FnOnce(&Incoming) -> T) -> Option<T> {
        self.shared.as_ref()?.incoming.borrow().as_ref().map(look)
    }

    fn fail(&self, failure: BodyFailure, error: io::Error) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.stream.progress.fail_body(failure);
        Poll::Ready(Some(Err(error)))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(shared) = &self.shared else {
            let Some(kept) = &self.kept else { return Poll::Ready(None) };
            return match ready!(kept.poll_piece(cx)) {
                Ok(piece) => Poll::Ready(piece.map(|piece| Ok(Frame::data(piece)))),
                Err(error) => self.fail(BodyFailure::Lost, error),
            };
        };
        let polled = shared.poll_incoming(cx, &self.stream);
        self.stream.await_body(polled.is_pending());
        match ready!(polled) {
            Some(Ok(frame)) => {
                let data = match frame.into_data() {
                    Ok(data) => data,
                    Err(frame) => return Poll::Ready(self.trailers.then(|| passed(frame)).flatten().map(Ok)),
                };
                let length = data.len() as u64;
                if length > self.room {
                    return self.fail(BodyFailure::TooLarge, io::Error::other("the body is longer than permitted"));
                }
                self.room -= length;
                self.stream.took_in(length);
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Some(Err(error)) => self.fail(BodyFailure::Broken, io::Error::other(error)),
            None if shared.ended.get() => Poll::Ready(None),
            // Half a body must not look like a whole one.
            None => Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.shared {
            None => self.kept.as_ref().is_none_or(|kept| kept.left() == Some(0)),
            Some(shared) => self.with_incoming(Incoming::is_end_stream).unwrap_or(shared.ended.get()),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.shared {
            None => SizeHint::with_exact(self.kept.as_ref().and_then(|kept| kept.left()).unwrap_or(0)),
            Some(_) => self.with_incoming(Incoming::size_hint).unwrap_or_default(),
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.release(&self.stream);
        }
    }
}

/// The trailers in a frame, without those that must not be.
fn passed(frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
    let mut fields = frame.into_trailers().ok()?;
    trailers(&mut fields);
    Some(Frame::trailers(fields))
}

/// A backend's answer while it streams. Dropping it before its end closes the connection to the backend, or resets the
/// stream if it is HTTP/2's.
#[derive(Debug)]
pub(crate) struct Answering {
    pub(crate) body: Incoming,
    pub(crate) sender: Pooled,
    /// Whether its trailers are passed on.
    pub(crate) trailers: bool,
    /// A place among the requests under way at its target.
    pub(crate) _under_way: Option<Slot>,
}

impl Answering {
    /// Whether nothing comes any more that the client will have.
    fn is_over(&self) -> bool {
        // An HTTP/2 backend may say that this was all only after the last byte that it had announced.
        self.body.is_end_stream() || (!self.trailers && self.body.size_hint().exact() == Some(0))
    }

    /// The answer has ended: the connection to the backend can serve another request.
    fn complete(self) {
        self.sender.give_back();
    }
}

/// The body of an answer. When it is dropped the exchange is over, and is logged.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    content: Content,
    /// What has come of it and was not handed over.
    held: Bytes,
    /// Whether nothing comes after that.
    held_is_last: bool,
    /// Whether hyper was let go to write what was paid for: what it still has when a body fails, it throws away.
    was_awaited: bool,
    /// Absent: it goes on elsewhere.
    exchange: Option<Exchange>,
}

#[derive(Debug)]
enum Content {
    /// All of it, until it is taken.
    Whole(Bytes),
    /// What the connection's [`Answering`] brings, of this size at first.
    Streamed(SizeHint),
}

/// What is handed over at a time with HTTP/2, in bytes: `h2` takes a piece whole once its client has made room for one
/// byte, and then it cannot be taken back. As much as a frame holds.
const PIECE: usize = 16 * 1024;

/// What is handed over at a time at most of what costs something, in bytes.
const PAID_PIECE: usize = AHEAD as usize;

impl ResponseBody {
    fn of(content: Content, exchange: Option<Exchange>) -> Self {
        Self { content, held: Bytes::new(), held_is_last: false, was_awaited: false, exchange }
    }

    pub(crate) fn whole(bytes: Bytes, mut exchange: Exchange) -> Self {
        // What is handed over in one piece is not cut; whether the client takes it is between it and hyper.
        exchange.ended = Ended::Complete;
        Self::of(Content::Whole(bytes), Some(exchange))
    }

    /// Nothing, and not the end of the exchange.
    pub(crate) fn none() -> Self {
        Self::of(Content::Whole(Bytes::new()), None)
    }

    pub(crate) fn streamed(answering: Answering, mut exchange: Exchange) -> Self {
        let hint = answering.body.size_hint();
        if answering.is_over() {
            exchange.ended = Ended::Complete;
            answering.complete();
            return Self::of(Content::Whole(Bytes::new()), Some(exchange));
        }
        exchange.stream.progress.answering.replace(Some(answering));
        Self::of(Content::Streamed(hint), Some(exchange))
    }

    /// The next piece of what is held.
    fn hand_over(&mut self) -> Bytes {
        let Some(exchange) = &mut self.exchange else { return std::mem::take(&mut self.held) };
        self.held_is_last |= exchange.ended == Ended::Complete;
        let most = match self.held.len() {
            _ if exchange.stream.connection.is_http1() && exchange.spending.is_some() => PAID_PIECE,
            _ if exchange.stream.connection.is_http1() => usize::MAX,
            // The last byte of a longer answer on its own: the exchange lasts, and so do its limits, until the client
            // has made room for all that comes before.
            length if length <= PIECE && self.held_is_last && exchange.bytes_out > 0 => length.saturating_sub(1).max(1),
            _ => PIECE,
        };
        let paid = exchange.spending.as_ref().map_or(u64::MAX, |spending| spending.paid());
        let most = most.min(usize::try_from(paid).unwrap_or(usize::MAX));
        let piece = self.held.split_to(most.min(self.held.len()));
        exchange.bytes_out += piece.len() as u64;
        if let Some(spending) = &mut exchange.spending {
            spending.sent(piece.len() as u64);
        }
        exchange.stream.handed_over();
        if self.held_is_last {
            exchange.ended = if self.held.is_empty() { Ended::Complete } else { Ended::Client };
        }
        piece
    }

    /// Makes sure that the next piece is paid for.
    fn poll_pay(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Spent>> {
        let spending = self.exchange.as_mut().and_then(|exchange| exchange.spending.as_mut());
        spending.map_or(Poll::Ready(Ok(())), |spending| spending.poll_pay(self.held.len().min(PAID_PIECE) as u64, cx))
    }

    /// Ends here for the lack of a budget, or of anybody who knows about it.
    fn cut_unpaid(&mut self) -> io::Error {
        self.held.clear();
        if let Some(exchange) = &mut self.exchange {
            exchange.ended = Ended::Budget;
            exchange.spending = None;
            drop(exchange.stream.progress.answering.borrow_mut().take());
        }
        io::Error::other("its budget is spent")
    }

    fn poll_answering(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(Exchange { stream, ended, .. }) = &mut self.exchange else {
            return Poll::Ready(None);
        };
        stream.asked_for_more();
        let mut slot = stream.progress.answering.borrow_mut();
        let Some(answering) = slot.as_mut() else {
            // Ended before (hyper may ask again), or let go of when the exchange was cut.
            let complete = *ended == Ended::Complete;
            return Poll::Ready((!complete).then(|| Err(io::ErrorKind::TimedOut.into())));
        };
        loop {
            match ready!(Pin::new(&mut answering.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let data = match frame.into_data() {
                        Ok(data) => data,
                        Err(frame) if answering.trailers => {
                            // Nothing comes after them, and hyper does not ask.
                            *ended = Ended::Complete;
                            slot.take().into_iter().for_each(Answering::complete);
                            return Poll::Ready(passed(frame).map(Ok));
                        }
                        Err(_) => continue,
                    };
                    // hyper does not ask again once a declared length is met.
                    if answering.is_over() {
                        *ended = Ended::Complete;
                        slot.take().into_iter().for_each(Answering::complete);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => {
                    *ended = Ended::Upstream;
                    *slot = None;
                    return Poll::Ready(Some(Err(io::Error::other(error))));
                }
                None => {
                    *ended = Ended::Complete;
                    slot.take().into_iter().for_each(Answering::complete);
                    return Poll::Ready(None);
                }
            }
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.held.is_empty() {
            let next = match &mut self.content {
                Content::Whole(bytes) if bytes.is_empty() => None,
                Content::Whole(bytes) => Some(Ok(Frame::data(std::mem::take(bytes)))),
                Content::Streamed(_) => ready!(self.poll_answering(cx)),
            };
            let Some(Ok(frame)) = next else { return Poll::Ready(next) };
            match frame.into_data() {
                Ok(data) => self.held = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        if let Err(Spent) = ready!(self.poll_pay(cx)) {
            if !std::mem::replace(&mut self.was_awaited, true) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(Some(Err(self.cut_unpaid())));
        }
        Poll::Ready(Some(Ok(Frame::data(self.hand_over()))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_empty() && self.held.is_empty(),
            Content::Streamed(_) => {
                self.held.is_empty() && self.exchange.as_ref().is_none_or(|exchange| exchange.ended == Ended::Complete)
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Streamed(hint) => *hint,
        }
    }
}
