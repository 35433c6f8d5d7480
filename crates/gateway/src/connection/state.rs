//! What a connection is doing, what it is waiting for, and what is over when it has waited too long.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, SystemTime};

use gatepost_config::model::Limits;
use gatepost_net::fold;
use http::{HeaderValue, StatusCode};
use hyper::body::{Body, Incoming};
use tokio::time::Instant;

use crate::body::{Answering, SharedBody};
use crate::connection::Finish;
use crate::forward::forwarded;
use crate::host::host_name;
use crate::record::{Ended, Record};
use crate::rejection::{Malformed, Reason};
use crate::worker::{Site, Worker};

/// A client connection, shared by the task that drives it and the bodies that stream over it. All on one thread.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) worker: Rc<Worker>,
    pub(crate) site: Rc<Site>,
    /// The client's address, IPv4-mapped IPv6 folded.
    pub(crate) client: std::net::IpAddr,
    /// That address as `X-Forwarded-For` has it.
    pub(crate) client_text: HeaderValue,
    /// The host of the last request: most clients name the same one in all of a connection's requests.
    seen: RefCell<Option<SeenHost>>,
    limits: Limits,
    phase: Cell<Phase>,
    last_bytes: Cell<LastBytes>,
    /// Whether some of the next head was read while this request was served.
    more_head: Cell<bool>,
    /// The body of the request being served, if it has one.
    body: RefCell<Option<Rc<SharedBody>>>,
    /// When the timer is set to fire; absent: it has fired, or was never needed.
    pub(super) armed: Cell<Option<Instant>>,
    /// When the exchange is over, whoever is slow.
    deadline: Cell<Option<Instant>>,
    /// Since when a piece of the request's body is awaited.
    body_awaited: Cell<Option<Instant>>,
    /// Since when the client has taken no byte of what is written.
    write_blocked: Cell<Option<Instant>>,
    /// Why the request being served is over, for its future to find.
    expired: Cell<Option<Expired>>,
    /// Why the request's body failed, for whoever sent it on to find.
    body_failure: Cell<Option<BodyFailure>>,
    pub(crate) bytes_in: Cell<u64>,
    /// The backend's answer while it streams: here, so that it can be let go of without hyper.
    pub(crate) answering: RefCell<Option<Answering>>,
    /// How the answer was cut, if it was.
    pub(crate) cut: Cell<Option<Ended>>,
    /// Wakes the task that drives this: bodies are read by the tasks of backends too.
    pub(super) waker: RefCell<Option<Waker>>,
    /// A body that nobody wants, read so that the client finds the answer.
    leftover: RefCell<Option<Leftover>>,
    /// When a connection on which nothing has come is closed, once it is to be.
    close_at: Cell<Option<Instant>>,
    /// Whether bytes that nobody will read may be on their way.
    unread: Cell<bool>,
    /// The status of an answer that hyper gave by itself.
    own_answer: Cell<Option<StatusCode>>,
}

/// A `Host` that a client has sent, and what was made of it.
#[derive(Debug)]
struct SeenHost {
    sent: Box<[u8]>,
    name: Arc<str>,
    forwarded: HeaderValue,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Nothing has come yet.
    Fresh(Instant),
    /// A head is coming.
    Head(Instant),
    /// A request is being served.
    Exchange,
    /// Between two requests.
    Idle(Instant),
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
}

/// The rest of a body that nobody wants.
#[derive(Debug)]
struct Leftover {
    body: Incoming,
    budget: usize,
    until: Instant,
}

/// What the state says once a limit may be over.
pub(super) enum Overdue {
    /// Nothing yet.
    Nothing,
    /// An idle connection: close it.
    Idle,
    /// A head that does not come.
    Header,
    /// Something was told or let go of: hyper looks again.
    LookAgain,
    /// Only closing the socket helps.
    Cut(Ended),
}

/// After a refusal, this much of an unwanted body is read, so that ordinary clients read the answer …
pub(super) const DISCARD_BYTES: usize = 1024 * 1024;
/// … and for this long.
pub(super) const DISCARD_TIME: Duration = Duration::from_secs(2);

/// How long an accepted connection may wait for its first byte once connections are closed.
const FRESH_GRACE: Duration = Duration::from_millis(250);

impl Connection {
    pub(super) fn new(worker: Rc<Worker>, site: Rc<Site>, peer: SocketAddr, limits: Limits) -> Self {
        let client = fold(peer.ip());
        let client_text = HeaderValue::try_from(client.to_string()).unwrap_or(HeaderValue::from_static("unknown"));
        Self {
            worker,
            site,
            client,
            client_text,
            seen: RefCell::new(None),
            limits,
            phase: Cell::new(Phase::Fresh(Instant::now())),
            last_bytes: Cell::default(),
            more_head: Cell::new(false),
            body: RefCell::new(None),
            armed: Cell::new(None),
            deadline: Cell::new(None),
            body_awaited: Cell::new(None),
            write_blocked: Cell::new(None),
            expired: Cell::new(None),
            body_failure: Cell::new(None),
            bytes_in: Cell::new(0),
            answering: RefCell::new(None),
            cut: Cell::new(None),
            waker: RefCell::new(None),
            leftover: RefCell::new(None),
            close_at: Cell::new(None),
            unread: Cell::new(false),
            own_answer: Cell::new(None),
        }
    }

    // === what the pipeline asks ===

    /// [`host_name`], which is asked once for the same host.
    pub(crate) fn host_name(&self, host: &[u8]) -> Result<Arc<str>, Malformed> {
        let mut seen = self.seen.borrow_mut();
        if let Some(seen) = seen.as_ref().filter(|seen| *seen.sent == *host) {
            return Ok(Arc::clone(&seen.name));
        }
        let name = host_name(host)?;
        let forwarded = forwarded(&self.client_text, host);
        *seen = Some(SeenHost { sent: host.into(), name: Arc::clone(&name), forwarded });
        Ok(name)
    }

    /// `Forwarded` for the request whose host was asked for last.
    pub(crate) fn forwarded(&self) -> Option<HeaderValue> {
        self.seen.borrow().as_ref().map(|seen| seen.forwarded.clone())
    }

    // === what the pipeline tells ===

    /// A head was read; a request is being served.
    pub(crate) fn begin_exchange(&self, body: Option<Rc<SharedBody>>) {
        self.phase.set(Phase::Exchange);
        // What was read behind a request without a body belongs to the next head.
        self.more_head.set(body.is_none() && !self.last_bytes.get().ends_a_head());
        *self.body.borrow_mut() = body;
        self.deadline.set(None);
        self.body_awaited.set(None);
        self.expired.set(None);
        self.body_failure.set(None);
        self.bytes_in.set(0);
    }

    /// The exchange must be over by then, down to the last byte of its answer.
    pub(crate) fn end_by(&self, deadline: Option<Instant>) {
        self.deadline.set(deadline);
    }

    /// The answer has been handed to hyper in full, or dropped. Nobody wants what has not come of the request's body:
    /// a backend that has answered before it had all of it will not look at the rest.
    pub(crate) fn end_exchange(&self, now: Instant) {
        if let Some(body) = self.body.borrow_mut().take() {
            body.release(self);
        }
        self.phase.set(if self.more_head.get() { Phase::Head(now) } else { Phase::Idle(now) });
    }

    /// A piece of the request's body is awaited, or no longer.
    pub(crate) fn await_body(&self, awaited: bool) {
        if !awaited {
            self.body_awaited.set(None);
        } else if self.body_awaited.get().is_none() {
            let now = Instant::now();
            self.body_awaited.set(Some(now));
            // The body may be read by a backend's task: the timer is armed by ours.
            if self.armed.get().is_none_or(|armed| armed > now + self.limits.body_timeout) {
                self.wake();
            }
        }
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

    /// Reads `body` to its end within bounds, so that the client finds the answer, then lets go of it.
    pub(crate) fn discard(&self, body: Incoming) {
        let until = Instant::now() + DISCARD_TIME;
        self.await_body(false);
        *self.leftover.borrow_mut() = Some(Leftover { body, budget: DISCARD_BYTES, until });
        self.wake();
    }

    /// Lets go of a body that the client waits to be asked for: asking for it only to throw it away would be rude.
    pub(crate) fn leave_unread(&self) {
        self.unread.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Whether a body of this length is discarded whole, so that the connection can serve on.
    pub(crate) fn can_discard(length: Option<u64>) -> bool {
        length.is_none_or(|length| length <= DISCARD_BYTES as u64)
    }

    /// The future's output, unless the request is over first.
    pub(crate) async fn unless_expired<F: Future>(&self, future: F) -> Result<F::Output, Expired> {
        let mut future = pin!(future);
        poll_fn(|cx| match self.expired.get() {
            // Whoever drives the connection polls this again after it has set the flag.
            Some(expired) => Poll::Ready(Err(expired)),
            None => future.as_mut().poll(cx).map(Ok),
        })
        .await
    }

    // === what the socket tells ===

    pub(crate) fn saw_bytes(&self, bytes: &[u8]) {
        self.last_bytes.set(self.last_bytes.get().followed_by(bytes));
        if self.is_serving() && self.body.borrow().is_none() {
            self.more_head.set(true);
        }
        if let Phase::Fresh(_) | Phase::Idle(_) = self.phase.get()
            && self.leftover.borrow().is_none()
        {
            self.phase.set(Phase::Head(Instant::now()));
        }
    }

    pub(crate) fn saw_write(&self, blocked: bool) {
        if !blocked {
            if self.write_blocked.take().is_some()
                && let Phase::Idle(_) = self.phase.get()
            {
                self.phase.set(Phase::Idle(Instant::now()));
            }
        } else if self.write_blocked.get().is_none() {
            self.write_blocked.set(Some(Instant::now()));
        }
    }

    pub(crate) fn saw_own_answer(&self, status: Option<StatusCode>) {
        if status.is_some() {
            self.own_answer.set(status);
        }
    }

    pub(crate) fn is_serving(&self) -> bool {
        matches!(self.phase.get(), Phase::Exchange)
    }

    fn is_reading_head(&self) -> bool {
        matches!(self.phase.get(), Phase::Head(_))
    }

    // === what is late ===

    /// Whether closing now takes no request away: one whose head has begun to come will be served, or time out, and a
    /// connection that was just accepted may have one that the kernel has not told of yet.
    pub(super) fn may_be_closed(&self) -> bool {
        match self.phase.get() {
            Phase::Head(_) => false,
            Phase::Fresh(_) if self.close_at.get().is_none() => {
                self.close_at.set(Some(Instant::now() + FRESH_GRACE));
                false
            }
            Phase::Fresh(_) => self.close_at.get().is_some_and(|at| at <= Instant::now()),
            Phase::Exchange | Phase::Idle(_) => true,
        }
    }

    /// The earliest moment at which something might be over.
    pub(super) fn due(&self) -> Option<Instant> {
        let limits = &self.limits;
        let in_phase = match self.phase.get() {
            Phase::Fresh(since) | Phase::Head(since) => Some(since + limits.header_timeout),
            // While the last answer is still being taken, nobody is idle.
            Phase::Idle(since) if self.write_blocked.get().is_none() => Some(since + limits.idle_timeout),
            Phase::Idle(_) | Phase::Exchange => None,
        };
        // A backend may answer before it has the whole body; then the client still owes it.
        let body = self.body_awaited.get().map(|since| since + limits.body_timeout);
        let blocked = self.write_blocked.get().map(|since| since + limits.idle_timeout);
        let leftover = self.leftover.borrow().as_ref().map(|leftover| leftover.until);
        let closing = self.close_at.get().filter(|_| matches!(self.phase.get(), Phase::Fresh(_)));
        [in_phase, body, blocked, leftover, closing, self.deadline_in_force()].into_iter().flatten().min()
    }

    /// The deadline binds while the request is served, and after that while its answer is still being written.
    fn deadline_in_force(&self) -> Option<Instant> {
        let binds = matches!(self.phase.get(), Phase::Exchange) || self.write_blocked.get().is_some();
        self.deadline.get().filter(|_| binds)
    }

    pub(super) fn overdue(&self, now: Instant) -> Overdue {
        let limits = &self.limits;
        let over = |since: Option<Instant>, limit: Duration| since.is_some_and(|since| since + limit <= now);
        if self.deadline_in_force().is_some_and(|deadline| deadline <= now) {
            return self.expire(Expired::Deadline, Ended::Deadline);
        }
        if over(self.write_blocked.get(), limits.idle_timeout) {
            return Overdue::Cut(Ended::Client);
        }
        if self.leftover.borrow().as_ref().is_some_and(|leftover| leftover.until <= now) {
            *self.leftover.borrow_mut() = None;
            return Overdue::LookAgain;
        }
        if over(self.body_awaited.get(), limits.body_timeout) {
            self.body_awaited.set(None);
            return self.expire(Expired::BodyStalled, Ended::Client);
        }
        match self.phase.get() {
            Phase::Fresh(since) | Phase::Head(since) if over(Some(since), limits.header_timeout) => Overdue::Header,
            Phase::Idle(since) if self.write_blocked.get().is_none() && over(Some(since), limits.idle_timeout) => {
                Overdue::Idle
            }
            Phase::Fresh(_) | Phase::Head(_) | Phase::Idle(_) | Phase::Exchange => Overdue::Nothing,
        }
    }

    /// Ends the exchange: by an answer if none was begun, else by cutting it.
    fn expire(&self, expired: Expired, ended: Ended) -> Overdue {
        self.deadline.set(None);
        let unanswered = matches!(self.phase.get(), Phase::Exchange) && self.answering.borrow().is_none();
        if unanswered && self.write_blocked.get().is_none() {
            self.expired.set(Some(expired));
            return Overdue::LookAgain;
        }
        Overdue::Cut(ended)
    }

    /// Lets the backend go, whether or not hyper ever polls the answer again.
    pub(super) fn cut_off(&self, ended: Ended) {
        self.cut.set(Some(ended));
        drop(self.answering.borrow_mut().take());
    }

    /// Reads on what nobody wants. Ready when there is nothing (more) to discard and hyper should look again.
    pub(super) fn poll_leftover(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut slot = self.leftover.borrow_mut();
        let Some(leftover) = slot.as_mut() else {
            return Poll::Pending;
        };
        while leftover.budget > 0 {
            match ready!(Pin::new(&mut leftover.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let length = frame.data_ref().map_or(0, bytes::Bytes::len);
                    leftover.budget = leftover.budget.saturating_sub(length);
                }
                Some(Err(_)) | None => break,
            }
        }
        *slot = None;
        Poll::Ready(())
    }

    // === the end ===

    /// Logs and counts what hyper answered, or we gave up on, without a request.
    pub(super) fn conclude(&self, finish: &Finish) {
        let (reason, detail) = match finish {
            Finish::HeaderTimeout if self.is_reading_head() => (Reason::HeaderTimeout, None),
            Finish::Hyper(Err(error)) if error.is_parse_too_large() => {
                (Reason::HeadersTooLarge, Some(error.to_string()))
            }
            Finish::Hyper(Err(error)) if error.is_parse() => (Reason::Malformed, Some(error.to_string())),
            Finish::Hyper(_) | Finish::HeaderTimeout | Finish::Cut => return,
        };
        let now = Instant::now();
        let record = Record {
            id: self.worker.next_id(),
            at: SystemTime::now(),
            started: now,
            took: Duration::ZERO,
            listener: self.site.name.borrow().clone(),
            client: self.client_text.clone(),
            method: None,
            host: Arc::default(),
            path: Box::default(),
            route: None,
            admitted: false,
            reason: Some(reason),
            detail,
            // The last one that was no answer of ours; an error's is the last of all.
            status: self.own_answer.get().filter(StatusCode::is_client_error),
            upstream: None,
            attempts: 0,
            upstream_took: None,
            bytes_in: 0,
            bytes_out: 0,
            ended: Ended::Complete,
        };
        self.worker.finish(Box::new(record));
    }

    pub(super) fn must_linger(&self, finish: &Finish) -> bool {
        match finish {
            Finish::Hyper(Err(error)) => error.is_parse(),
            Finish::Hyper(Ok(())) => self.unread.get(),
            Finish::HeaderTimeout | Finish::Cut => false,
        }
    }
}

/// The last bytes read, across reads: enough to tell the end of a head, with line ends as hyper takes them.
#[derive(Debug, Clone, Copy, Default)]
struct LastBytes([u8; 3]);

impl LastBytes {
    fn followed_by(self, bytes: &[u8]) -> Self {
        let Self([_, second, third]) = self;
        match *bytes {
            [] => self,
            [last] => Self([second, third, last]),
            [former, last] => Self([third, former, last]),
            [.., first, second, third] => Self([first, second, third]),
        }
    }

    fn ends_a_head(self) -> bool {
        self.0.ends_with(b"\n\r\n") || self.0.ends_with(b"\n\n")
    }
}
