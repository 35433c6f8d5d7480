//! What a connection is doing, what it is waiting for, and what is over when it has waited too long.

use std::cell::{Cell, RefCell, RefMut};
use std::error::Error;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use gatepost_config::model::Limits;
use gatepost_net::tls::TlsVersion;
use gatepost_net::{Peer, fold};
use http::{HeaderValue, StatusCode};
use hyper::body::{Body, Incoming};
use tokio::time::Instant;

use crate::connection::arrival::Arrived;
use crate::connection::waste::Waste;
use crate::connection::wire::{Secured, Wire};
use crate::connection::{Finish, Tunnel};
use crate::forward::forwarded;
use crate::host::host_name;
use crate::record::{ClientFrom, Ended, Record};
use crate::rejection::{Malformed, Reason};
use crate::stream::{Progress, Stream, Verdict};
use crate::worker::{Site, Worker};

/// A client connection, shared by the task that drives it and the bodies that stream over it. All on one thread.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) worker: Rc<Worker>,
    pub(crate) site: Rc<Site>,
    /// What is read from and written to.
    wire: RefCell<Wire>,
    protocol: Protocol,
    /// Absent: it is in the clear.
    pub(crate) secured: Option<Secured>,
    /// Its other end.
    pub(crate) peer: Peer,
    /// The client's address as the connection alone tells it, IPv4-mapped IPv6 folded.
    pub(crate) client: IpAddr,
    /// That address as `X-Forwarded-For` has it.
    pub(crate) client_text: HeaderValue,
    /// The host of the last request: most clients name the same one in all of a connection's requests.
    seen: RefCell<Option<SeenHost>>,
    pub(crate) limits: Limits,
    phase: Cell<Phase>,
    /// Exchanges under way: at most one with HTTP/1.
    under_way: Cell<u32>,
    last_bytes: Cell<LastBytes>,
    /// Whether some of the next head was read while this request was served.
    more_head: Cell<bool>,
    /// Of HTTP/1: the one exchange at a time.
    pub(crate) progress: Rc<Progress>,
    /// Since when the client has taken no byte of what is written.
    write_blocked: Cell<Option<Instant>>,
    /// A body that nobody wants, read so that the client finds the answer.
    leftover: RefCell<Option<Leftover>>,
    /// When a connection on which nothing has come is closed, once it is to be.
    close_at: Cell<Option<Instant>>,
    /// Whether bytes that nobody will read may be on their way.
    unread: Cell<bool>,
    /// The status of an answer that hyper gave by itself.
    own_answer: Cell<Option<StatusCode>>,
    /// An upgrade that a backend has agreed to.
    tunnel: RefCell<Option<Tunnel>>,
    /// Of HTTP/2: a stream that was just opened, for its task.
    opened: RefCell<Option<Stream>>,
    /// Of HTTP/2: what clients may waste.
    waste: Cell<Waste>,
    /// Of HTTP/2: what may still be read in this turn, in bytes.
    turn: Cell<usize>,
}

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// A `Host` that a client has sent, and what was made of it.
#[derive(Debug)]
struct SeenHost {
    sent: Box<[u8]>,
    name: Arc<str>,
    served: bool,
    /// `Forwarded` for a node that was asked for last.
    forwarded: Option<(HeaderValue, HeaderValue)>,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Nothing has come yet.
    Fresh(Instant),
    /// A head is coming.
    Head(Instant),
    /// Requests are being served: one with HTTP/1.
    Exchange,
    /// Between two requests.
    Idle(Instant),
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
pub(crate) const DISCARD_BYTES: usize = 1024 * 1024;
/// … and for this long.
pub(crate) const DISCARD_TIME: Duration = Duration::from_secs(2);

/// What is read of an HTTP/2 connection in one turn, in bytes: a thousand frames, if they are small.
const TURN: usize = 16 * 1024;

/// How long an accepted connection may wait for its first byte once connections are closed.
const FRESH_GRACE: Duration = Duration::from_millis(250);

impl Connection {
    pub(super) fn new(worker: Rc<Worker>, site: Rc<Site>, arrived: Arrived) -> Self {
        let Arrived { wire, protocol, peer, secured } = arrived;
        let client = fold(peer.proxied.unwrap_or(peer.socket));
        let client_text = address_text(client);
        let limits = site.limits.get();
        Self {
            worker,
            site,
            wire: RefCell::new(wire),
            protocol,
            secured,
            peer,
            client,
            client_text,
            seen: RefCell::new(None),
            limits,
            phase: Cell::new(Phase::Fresh(Instant::now())),
            under_way: Cell::new(0),
            last_bytes: Cell::default(),
            more_head: Cell::new(false),
            progress: Rc::default(),
            write_blocked: Cell::new(None),
            leftover: RefCell::new(None),
            close_at: Cell::new(None),
            unread: Cell::new(false),
            own_answer: Cell::new(None),
            tunnel: RefCell::new(None),
            opened: RefCell::new(None),
            waste: Cell::default(),
            turn: Cell::default(),
        }
    }

    /// What is read from and written to.
    pub(crate) fn wire(&self) -> RefMut<'_, Wire> {
        self.wire.borrow_mut()
    }

    pub(crate) fn is_http1(&self) -> bool {
        self.protocol == Protocol::Http1
    }

    // === what the pipeline asks ===

    /// [`host_name`], which is asked once for the same host.
    pub(crate) fn host_name(&self, host: &[u8]) -> Result<Arc<str>, Malformed> {
        let mut seen = self.seen.borrow_mut();
        if let Some(seen) = seen.as_ref().filter(|seen| *seen.sent == *host) {
            return Ok(Arc::clone(&seen.name));
        }
        let name = host_name(host)?;
        let served = self.secured.as_ref().is_none_or(|secured| secured.chosen.serves(&name));
        *seen = Some(SeenHost { sent: host.into(), name: Arc::clone(&name), served, forwarded: None });
        Ok(name)
    }

    /// Whether the host that was asked for last is served here: with TLS, only one that the certificate stands for.
    pub(crate) fn serves_host(&self) -> bool {
        self.seen.borrow().as_ref().is_some_and(|seen| seen.served)
    }

    /// An address as text: most often it is the connection's own.
    pub(crate) fn text_of(&self, address: IpAddr) -> HeaderValue {
        if address == self.client { self.client_text.clone() } else { address_text(address) }
    }

    /// `Forwarded` for this node, and the host that was asked for last.
    pub(crate) fn forwarded(&self, node: &HeaderValue) -> Option<HeaderValue> {
        let mut seen = self.seen.borrow_mut();
        let SeenHost { sent, forwarded: known, .. } = seen.as_mut()?;
        if let Some((_, text)) = known.as_ref().filter(|(known, _)| known == node) {
            return Some(text.clone());
        }
        let text = forwarded(node, sent, self.scheme());
        *known = Some((node.clone(), text.clone()));
        Some(text)
    }

    /// What told the connection's own client.
    pub(crate) fn client_from(&self) -> ClientFrom {
        if self.peer.proxied.is_some() { ClientFrom::ProxyHeader } else { ClientFrom::Socket }
    }

    /// The version of TLS, as the log calls it.
    pub(crate) fn tls_version(&self) -> Option<&'static str> {
        self.secured.as_ref().map(|secured| match secured.session.version {
            TlsVersion::Tls12 => "1.2",
            TlsVersion::Tls13 => "1.3",
        })
    }

    /// How the client speaks to us.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.secured.is_some() { "https" } else { "http" }
    }

    // === what the pipeline tells ===

    /// A head was read, and a body is to come or not.
    pub(crate) fn begin_exchange(&self, has_body: bool) {
        self.phase.set(Phase::Exchange);
        self.under_way.update(|count| count + 1);
        // What was read behind a request without a body belongs to the next head. With HTTP/2 only `h2` knows.
        self.more_head.set(self.is_http1() && !has_body && !self.last_bytes.get().ends_a_head());
        self.made_progress();
    }

    /// The answer has been handed to hyper in full, or dropped.
    pub(crate) fn end_exchange(&self, now: Instant) {
        self.under_way.update(|count| count.saturating_sub(1));
        if self.under_way.get() == 0 {
            self.phase.set(if self.more_head.get() { Phase::Head(now) } else { Phase::Idle(now) });
        }
    }

    /// Reads `body` to its end within bounds, so that the client finds the answer, then lets go of it.
    pub(crate) fn discard(&self, body: Incoming) {
        let until = Instant::now() + DISCARD_TIME;
        *self.leftover.borrow_mut() = Some(Leftover { body, budget: DISCARD_BYTES, until });
        self.progress.wake();
    }

    /// Lets go of a body that the client waits to be asked for: asking for it only to throw it away would be rude.
    pub(crate) fn leave_unread(&self) {
        self.unread.set(true);
        self.progress.wake();
    }

    /// Whether a body of this length is discarded whole, so that the connection can serve on.
    pub(crate) fn can_discard(length: Option<u64>) -> bool {
        length.is_none_or(|length| length <= DISCARD_BYTES as u64)
    }

    /// A backend has agreed to an upgrade: what follows on this connection is for it.
    pub(crate) fn upgrade(&self, tunnel: Tunnel) {
        *self.tunnel.borrow_mut() = Some(tunnel);
    }

    pub(super) fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel.borrow_mut().take()
    }

    /// Keeps the stream that was just opened for its task.
    pub(crate) fn keep_opened(&self, stream: Stream) {
        *self.opened.borrow_mut() = Some(stream);
    }

    pub(super) fn take_opened(&self) -> Option<Stream> {
        self.opened.borrow_mut().take()
    }

    // === what the socket tells ===

    pub(crate) fn saw_bytes(&self, bytes: &[u8]) {
        if !self.is_http1() {
            self.turn.update(|left| left.saturating_sub(bytes.len()));
            return self.waste.set(self.waste.get().with_read(bytes.len()));
        }
        self.last_bytes.set(self.last_bytes.get().followed_by(bytes));
        if self.is_serving() && !self.progress.has_body() {
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

    /// Since when nothing is being served, and every answer has been taken as far as the socket tells.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        match self.phase.get() {
            Phase::Fresh(since) | Phase::Idle(since) => Some(since).filter(|_| self.write_blocked.get().is_none()),
            Phase::Head(_) | Phase::Exchange => None,
        }
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
            Phase::Fresh(_) => {
                let is_time = self.close_at.get().is_some_and(|at| at <= Instant::now());
                if is_time {
                    // Not asked again; the timer is for what comes next.
                    self.close_at.set(None);
                }
                is_time
            }
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
        let blocked = self.write_blocked.get().map(|since| since + limits.idle_timeout);
        let leftover = self.leftover.borrow().as_ref().map(|leftover| leftover.until);
        let closing = self.close_at.get().filter(|_| matches!(self.phase.get(), Phase::Fresh(_)));
        let exchange = self.progress.due(limits, self.deadline_binds());
        [in_phase, blocked, leftover, closing, exchange].into_iter().flatten().min()
    }

    /// The deadline binds while the request is served, and after that while its answer is still being written.
    fn deadline_binds(&self) -> bool {
        self.is_serving() || self.write_blocked.get().is_some()
    }

    pub(super) fn overdue(&self, now: Instant) -> Overdue {
        let limits = &self.limits;
        let over = |since: Option<Instant>, limit: Duration| since.is_some_and(|since| since + limit <= now);
        match self.progress.overdue(now, limits, self.deadline_binds()) {
            Verdict::Nothing => {}
            Verdict::Told => return Overdue::LookAgain,
            Verdict::Cut(ended) => return Overdue::Cut(ended),
        }
        if over(self.write_blocked.get(), limits.idle_timeout) {
            return Overdue::Cut(Ended::Client);
        }
        if self.leftover.borrow().as_ref().is_some_and(|leftover| leftover.until <= now) {
            *self.leftover.borrow_mut() = None;
            return Overdue::LookAgain;
        }
        match self.phase.get() {
            Phase::Fresh(since) | Phase::Head(since) if over(Some(since), limits.header_timeout) => Overdue::Header,
            Phase::Idle(since) if self.write_blocked.get().is_none() && over(Some(since), limits.idle_timeout) => {
                Overdue::Idle
            }
            Phase::Fresh(_) | Phase::Head(_) | Phase::Idle(_) | Phase::Exchange => Overdue::Nothing,
        }
    }

    // === what is wasted ===

    /// Whoever drives the connection has its turn.
    pub(super) fn begin_turn(&self) {
        self.turn.set(TURN);
    }

    /// Whether other connections of the thread have their turn before more is read.
    pub(crate) fn turn_is_over(&self) -> bool {
        !self.is_http1() && self.turn.get() == 0
    }

    /// The client got something done: what it sent was not only noise.
    pub(crate) fn made_progress(&self) {
        if !self.is_http1() {
            self.waste.set(self.waste.get().worthwhile());
        }
    }

    /// A client took a request back before it was answered.
    pub(crate) fn took_back(&self) {
        self.waste.set(self.waste.get().with_reset());
    }

    /// A request was answered: who asks for much may take back more than others.
    pub(crate) fn answered(&self) {
        self.waste.set(self.waste.get().with_answer());
    }

    /// Whether the client wastes more than honest clients do.
    pub(super) fn is_flooding(&self) -> bool {
        self.waste.get().is_too_much()
    }

    /// Whether the client is still there, as far as the socket tells before its next request: to be asked while a
    /// request is served whose body has come in full, when nobody else reads.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_serving() || self.progress.has_open_body() {
            return Poll::Pending;
        }
        self.wire.borrow_mut().poll_gone(cx)
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
            Finish::Hyper(Err(error)) => match http2_mistake(error) {
                Some(mistake) if mistake.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM) => (Reason::Flood, None),
                Some(mistake) => (Reason::Malformed, Some(mistake.to_string())),
                None => return,
            },
            Finish::Flood => (Reason::Flood, None),
            Finish::Hyper(Ok(())) | Finish::HeaderTimeout | Finish::Cut | Finish::Gone | Finish::Unparted => return,
        };
        // The last one that was no answer of ours; an error's is the last of all.
        let status = self.own_answer.get().filter(StatusCode::is_client_error);
        self.worker.finish(Box::new(Record { detail, status, ..Record::unread(self, reason) }));
    }

    /// Whether what still comes is read for a while, for the sake of what the kernel holds of our answers.
    pub(super) fn must_linger(&self, finish: &Finish) -> bool {
        match finish {
            Finish::Hyper(Err(error)) => error.is_parse(),
            // With HTTP/2 clients speak while they read: of the room that they make.
            Finish::Hyper(Ok(())) => self.unread.get() || !self.is_http1(),
            Finish::Unparted => true,
            Finish::HeaderTimeout | Finish::Cut | Finish::Gone | Finish::Flood => false,
        }
    }
}

fn address_text(address: IpAddr) -> HeaderValue {
    HeaderValue::try_from(address.to_string()).unwrap_or(HeaderValue::from_static("unknown"))
}

/// What a client did wrong on an HTTP/2 connection, if that is why it ended.
fn http2_mistake(error: &hyper::Error) -> Option<&h2::Error> {
    error.source()?.downcast_ref::<h2::Error>().filter(|error| error.is_library())
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
