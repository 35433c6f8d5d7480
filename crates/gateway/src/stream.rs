//! One request's way on its connection: HTTP/1 has one, used again and again, HTTP/2 has many at once.
//!
//! What an exchange waits for, and since when, is written down here by whoever makes it wait, and read by whoever drives
//! it: the connection's task with HTTP/1, a task of its own with HTTP/2. A deadline belongs to the exchange and not to
//! the poll of a body, because nobody polls a body that there is no room for.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use gatepost_config::model::Limits;
use hyper::body::{Body, Incoming};
use tokio::task::spawn_local;
use tokio::time::{Instant, Sleep, timeout};

use crate::body::{Answering, KeptBody, SharedBody};
use crate::connection::{Connection, DISCARD_BYTES, DISCARD_TIME};
use crate::record::Ended;

/// A request's way on its connection.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) connection: Rc<Connection>,
    pub(crate) progress: Rc<Progress>,
}

/// What an exchange waits for.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The body of the request, if it has one.
    body: RefCell<Option<Rc<SharedBody>>>,
    /// The same, once it was kept to be verified.
    kept: RefCell<Option<Rc<KeptBody>>>,
    /// When the exchange is over, whoever is slow.
    deadline: Cell<Option<Instant>>,
    /// Since when a piece of the request's body is awaited.
    body_awaited: Cell<Option<Instant>>,
    /// Since when nobody has asked for the next piece of the answer: the client takes nothing.
    untaken: Cell<Option<Instant>>,
    /// Whether the answer has been handed over, in whole or to be streamed.
    answered: Cell<bool>,
    /// Why the exchange is over before it was answered, for its future to find.
    expired: Cell<Option<Expired>>,
    /// Why the request's body failed, for whoever sent it on to find.
    body_failure: Cell<Option<BodyFailure>>,
    /// Bytes of the request's body that came.
    pub(crate) bytes_in: Cell<u64>,
    /// The backend's answer while it streams: here, so that it can be let go of without hyper.
    pub(crate) answering: RefCell<Option<Answering>>,
    /// How the answer was cut, if it was.
    pub(crate) cut: Cell<Option<Ended>>,
    /// When the timer of whoever drives it fires; absent: it has fired, or was never needed.
    armed: Cell<Option<Instant>>,
    /// Wakes whoever drives it: bodies are read by the tasks of backends too.
    waker: RefCell<Option<Waker>>,
}

/// Why a request is over before it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expired {
    /// Its route's `timeout`.
    Deadline,
    /// Its body stopped coming.
    BodyStalled,
}

/// Why a request's body failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFailure {
    /// Longer than `max_body`.
    TooLarge,
    /// Ended early, or its chunks make no sense.
    Broken,
    /// Was kept, and could not be read again.
    Lost,
}

/// What is to be done about an exchange once one of its limits may be over.
pub(crate) enum Verdict {
    /// Nothing yet.
    Nothing,
    /// Its future was told: it is polled again.
    Told,
    /// Only cutting helps.
    Cut(Ended),
}

impl Stream {
    /// The only one of an HTTP/1 connection.
    pub(crate) fn only(connection: &Rc<Connection>) -> Self {
        Self { connection: Rc::clone(connection), progress: Rc::clone(&connection.progress) }
    }

    /// A new one of an HTTP/2 connection, driven by a task that is about to be made.
    pub(crate) fn open(connection: &Rc<Connection>) -> Self {
        let stream = Self { connection: Rc::clone(connection), progress: Rc::default() };
        connection.keep_opened(stream.clone());
        stream
    }

    /// A head was read; a request is being served.
    pub(crate) fn begin(&self, body: Option<Rc<SharedBody>>) {
        self.connection.begin_exchange(body.is_some());
        self.progress.begin(body);
    }

    /// The answer has been handed to hyper in full, or dropped. Nobody wants what has not come of the request's body:
    /// a backend that has answered before it had all of it will not look at the rest.
    pub(crate) fn end(&self, now: Instant) {
        if let Some(body) = self.progress.body.borrow_mut().take() {
            body.release(self);
        }
        if let Some(kept) = self.progress.kept.take() {
            kept.release();
        }
        self.connection.end_exchange(now);
    }

    /// The exchange takes this away when it is over.
    pub(crate) fn keep(&self, body: Rc<KeptBody>) {
        self.progress.kept.replace(Some(body));
    }

    /// A piece of the request's body is awaited, or no longer.
    pub(crate) fn await_body(&self, awaited: bool) {
        let progress = &self.progress;
        if !awaited {
            progress.body_awaited.set(None);
        } else if progress.body_awaited.get().is_none() {
            let now = Instant::now();
            progress.body_awaited.set(Some(now));
            // The body may be read by a backend's task: the timer is armed by ours.
            let due = now + self.connection.limits.body_timeout;
            if progress.armed.get().is_none_or(|armed| armed > due) {
                progress.wake();
            }
        }
    }

    /// So much of the request's body came.
    pub(crate) fn took_in(&self, bytes: u64) {
        self.progress.bytes_in.update(|sum| sum + bytes);
        self.connection.made_progress();
    }

    /// A piece of the answer was handed over. With HTTP/2 the next one is asked for when the client has taken it; with
    /// HTTP/1 the socket tells.
    pub(crate) fn handed_over(&self) {
        if !self.connection.is_http1() {
            self.progress.untaken.set(Some(Instant::now()));
            self.connection.made_progress();
        }
    }

    /// The next piece of the answer is asked for.
    pub(crate) fn asked_for_more(&self) {
        self.progress.untaken.set(None);
    }

    /// A request's body that nobody wants any more.
    pub(crate) fn abandon(&self, body: Incoming, awaits_continue: bool) {
        if !self.connection.is_http1() {
            // A stream that was cut is reset at once, and dropping its body is part of that.
            if self.progress.cut.get().is_none() {
                spawn_local(discard(Rc::clone(&self.connection), body));
            }
        } else if awaits_continue {
            // Asking for it would send `100 Continue` for a body that nobody wants.
            self.connection.leave_unread();
        } else {
            self.await_body(false);
            self.connection.discard(body);
        }
    }
}

/// Reads on what comes of a body on a stream of its own, within bounds; dropping it then resets the stream, if it has not
/// ended. Not at once, because clients in wide use (curl 7.88) find no answer on a stream that is reset while they send.
async fn discard(connection: Rc<Connection>, mut body: Incoming) {
    let reading = async {
        let mut budget = DISCARD_BYTES;
        while budget > 0 {
            let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await else { return };
            connection.made_progress();
            budget = budget.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        }
    };
    // Out of time is as good as done.
    let _ = timeout(DISCARD_TIME, reading).await;
}

impl Progress {
    fn begin(&self, body: Option<Rc<SharedBody>>) {
        *self.body.borrow_mut() = body;
        self.deadline.set(None);
        self.body_awaited.set(None);
        self.untaken.set(None);
        self.answered.set(false);
        self.expired.set(None);
        self.body_failure.set(None);
        self.bytes_in.set(0);
    }

    /// Whether the request has a body of which more may come.
    pub(crate) fn has_open_body(&self) -> bool {
        self.body.borrow().as_ref().is_some_and(|body| body.is_open())
    }

    /// Whether the request has a body.
    pub(crate) fn has_body(&self) -> bool {
        self.body.borrow().is_some()
    }

    /// The exchange must be over by then, down to the last byte of its answer.
    pub(crate) fn end_by(&self, deadline: Option<Instant>) {
        self.deadline.set(deadline);
    }

    /// The answer has been handed over: from now on it can only be cut.
    pub(crate) fn answered(&self) {
        self.answered.set(true);
    }

    /// Whether there is an answer.
    pub(crate) fn is_answered(&self) -> bool {
        self.answered.get()
    }

    /// Whether a piece of the request's body is awaited.
    pub(crate) fn is_owed_body(&self) -> bool {
        self.body_awaited.get().is_some()
    }

    /// The request's body failed.
    pub(crate) fn fail_body(&self, failure: BodyFailure) {
        self.body_failure.set(Some(failure));
    }

    /// Why the request's body failed, if it did.
    pub(crate) fn body_failure(&self) -> Option<BodyFailure> {
        self.body_failure.get()
    }

    /// From now on this wakes whoever drives the exchange. The same as long as it lasts.
    pub(crate) fn keep(&self, waker: &Waker) -> bool {
        let mut kept = self.waker.borrow_mut();
        let is_first = kept.is_none();
        if is_first {
            *kept = Some(waker.clone());
        }
        is_first
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// The future's output, unless the exchange is over first. It stays where it is: moving it would cost more than all
    /// else here.
    pub(crate) async fn unless_expired<F: Future>(&self, mut future: Pin<&mut F>) -> Result<F::Output, Expired> {
        poll_fn(|cx| match self.expired.get() {
            // Whoever drives the exchange polls this again after it has set the flag.
            Some(expired) => Poll::Ready(Err(expired)),
            None => future.as_mut().poll(cx).map(Ok),
        })
        .await
    }

    /// Ready when something might be over. The timer of whoever drives the exchange is only ever moved to an earlier
    /// moment, so limits that move on with every request cost no timer operation.
    pub(crate) fn poll_due(&self, due: Instant, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
        if self.armed.get().is_none_or(|armed| due < armed) {
            timer.as_mut().reset(due);
            self.armed.set(Some(due));
        }
        ready!(timer.poll(cx));
        self.armed.set(None);
        Poll::Ready(())
    }

    /// The earliest moment at which a limit of the exchange might be over, and whether its deadline still `binds`.
    pub(crate) fn due(&self, limits: &Limits, binds: bool) -> Option<Instant> {
        // A backend may answer before it has the whole body; then the client still owes it.
        let body = self.body_awaited.get().map(|since| since + limits.body_timeout);
        let untaken = self.untaken.get().map(|since| since + limits.idle_timeout);
        [body, untaken, self.deadline.get().filter(|_| binds)].into_iter().flatten().min()
    }

    /// What is over now.
    pub(crate) fn overdue(&self, now: Instant, limits: &Limits, binds: bool) -> Verdict {
        if self.deadline.get().is_some_and(|deadline| binds && deadline <= now) {
            return self.expire(Expired::Deadline, Ended::Deadline);
        }
        if self.untaken.get().is_some_and(|since| since + limits.idle_timeout <= now) {
            return Verdict::Cut(Ended::Client);
        }
        if self.body_awaited.get().is_some_and(|since| since + limits.body_timeout <= now) {
            self.body_awaited.set(None);
            return self.expire(Expired::BodyStalled, Ended::Client);
        }
        Verdict::Nothing
    }

    /// Ends the exchange: by an answer if none was begun, else by cutting it.
    fn expire(&self, expired: Expired, ended: Ended) -> Verdict {
        self.deadline.set(None);
        if self.answered.get() {
            return Verdict::Cut(ended);
        }
        self.expired.set(Some(expired));
        Verdict::Told
    }

    /// Lets the backend go, whether or not hyper ever polls the answer again.
    pub(crate) fn cut_off(&self, ended: Ended) {
        self.cut.set(Some(ended));
        drop(self.answering.borrow_mut().take());
    }
}
