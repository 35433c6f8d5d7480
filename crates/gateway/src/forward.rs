//! Sending an admitted request to a backend and its answer back.

mod dial;
mod headers;
pub(crate) mod pool;
mod upgrade;

pub(crate) use headers::{forwarded, trailers};
pub(crate) use upgrade::{Backend, Handover};

use std::cell::RefCell;
use std::error::Error;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use gatepost_config::model::{HttpVersion, ProofKind};
use http::header::{CONNECTION, CONTENT_LENGTH, Entry, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::body::{Answering, Exchange, RequestBody};
use crate::forward::pool::Pooled;
use crate::forward::upgrade::Asked;
use crate::pipeline::BelowBase;
use crate::rejection::{BadUpstream, Rejection};
use crate::snapshot::{Forward, Route};
use crate::spool::SpoolError;
use crate::stream::{BodyFailure, Expired, Stream};
use crate::upstream::{Target, Visit, Wire};

/// What a backend made of a request.
pub(crate) enum Forwarded {
    /// The head of its answer, and where the body comes from.
    Answer(http::response::Parts, Answering),
    /// It agreed to an upgrade.
    Upgrade(http::response::Parts, Backend),
}

/// Forwards one request.
///
/// # Errors
/// The backend could not be reached, or failed before the head of its answer; after that the answer is cut instead.
pub(crate) async fn forward(
    forward: &Forward,
    route: &Route,
    below: &BelowBase,
    request: (Parts, RequestBody),
    exchange: &mut Exchange,
) -> Result<Forwarded, Rejection> {
    let stream = exchange.stream.clone();
    let Stream { progress, .. } = &stream;
    let started = Instant::now();
    progress.end_by(forward.timeout.map(|timeout| started + timeout));

    let trailers = Trailers::of(forward, &request.0);
    // Whoever agrees before the body has come would have to read it as what was agreed to. And where bodies are signed,
    // what follows an upgrade is not.
    let is_signed = route.entry.signed().is_some() || exchange.proofs().has(ProofKind::Signed);
    let may_ask = forward.upstream.http == HttpVersion::One && request.1.is_end_stream() && !is_signed;
    let asked = if may_ask { Asked::by(&request.0) } else { None };
    let mut request = outgoing(forward, route, below, request, exchange);
    if let Some(asked) = &asked {
        asked.put(request.headers_mut());
    }
    request.body_mut().limit(route.max_body);
    let attempts = Attempts {
        forward,
        stream: &stream,
        client: exchange.client,
        started,
        upgrade: asked.is_some(),
        replayable: is_replayable(&request),
        visit: RefCell::default(),
    };
    let outcome = progress.unless_expired(pin!(attempts.run(request, exchange))).await;
    exchange.note(|record| record.upstream_took = Some(started.elapsed()));
    let (response, sender) = outcome.map_err(|expired| attempts.expired(expired))??;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        // The socket is free once the request is on it, which is up to the client.
        let agreed = progress.unless_expired(Box::pin(upgrade(asked.as_ref(), response, sender)).as_mut()).await;
        let agreed = agreed.map_err(|expired| attempts.expired(expired))?;
        let (head, stream, read_ahead) =
            agreed.map_err(|nonsense| attempts.failed(Rejection::BadUpstream(nonsense)))?;
        // From here on it is between the two, for as long as they like.
        progress.end_by(None);
        return Ok(Forwarded::Upgrade(head, Backend { stream, read_ahead, _under_way: attempts.answered() }));
    }
    if let Some(nonsense) = nonsense(&response) {
        return Err(attempts.failed(Rejection::BadUpstream(nonsense)));
    }
    let under_way = attempts.answered();
    let (mut head, body) = response.into_parts();
    let trailers = trailers.pass(&head);
    headers::incoming(&mut head.headers, trailers);
    if head.status == StatusCode::NO_CONTENT {
        // It has no body, so none of a length (RFC 9110, 8.6): clients of HTTP/2 would miss it.
        head.headers.remove(CONTENT_LENGTH);
    }
    head.version = Version::HTTP_11;
    Ok(Forwarded::Answer(head, Answering { body, sender, trailers, _under_way: under_way }))
}

/// Whom trailers of an answer reach. Only those of HTTP/2 backends are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trailers {
    /// Nobody.
    Dropped,
    /// A client of HTTP/1.1 that has asked for them: those that the head of a chunked answer announces.
    Announced,
    /// A client of HTTP/2.
    All,
}

impl Trailers {
    fn of(forward: &Forward, client: &Parts) -> Self {
        if forward.upstream.http != HttpVersion::Two {
            Self::Dropped
        } else if client.version == Version::HTTP_2 {
            Self::All
        } else if headers::takes_trailers(&client.headers) {
            Self::Announced
        } else {
            Self::Dropped
        }
    }

    fn pass(self, head: &http::response::Parts) -> bool {
        match self {
            Self::Dropped => false,
            Self::Announced => head.headers.contains_key(TRAILER) && !head.headers.contains_key(CONTENT_LENGTH),
            Self::All => true,
        }
    }
}

/// The head of an answer that changes to a protocol that was asked for, and the socket on which it is spoken.
async fn upgrade(
    asked: Option<&Asked>,
    response: Response<Incoming>,
    sender: Pooled,
) -> Result<(http::response::Parts, Wire, Bytes), BadUpstream> {
    let (mut head, _) = response.into_parts();
    let agreed = asked.and_then(|asked| asked.agreed(&head)).ok_or(BadUpstream::UnaskedUpgrade)?;
    let (stream, read_ahead) = sender.hand_over().await.ok_or(BadUpstream::UnaskedUpgrade)?;
    headers::incoming(&mut head.headers, false);
    head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    head.headers.insert(UPGRADE, agreed);
    head.version = Version::HTTP_11;
    Ok((head, stream, read_ahead))
}

/// What of an answer could be read in two ways.
fn nonsense(response: &Response<Incoming>) -> Option<BadUpstream> {
    (!headers::is_plainly_framed(response.headers())).then_some(BadUpstream::Framing)
}

/// The tries to get one request answered.
struct Attempts<'a> {
    forward: &'a Forward,
    stream: &'a Stream,
    client: IpAddr,
    started: Instant,
    /// Whether an upgrade is asked for.
    upgrade: bool,
    /// Whether a second try can do no harm although the first may have reached a backend.
    replayable: bool,
    /// The try under way: here, so that it is known what failed when time is over.
    visit: RefCell<Option<Visit<'a>>>,
}

/// A try that brought no answer.
struct Failed {
    why: Rejection,
    /// The request, if another try may send it.
    request: Option<Request<RequestBody>>,
    /// Whether it failed on a connection that had waited in the pool: then the connection was at fault, most likely.
    on_waiting: bool,
}

impl<'a> Attempts<'a> {
    async fn run(
        &self,
        mut request: Request<RequestBody>,
        exchange: &mut Exchange,
    ) -> Result<(Response<Incoming>, Pooled), Rejection> {
        let upstream = &self.forward.upstream;
        let mut retries = self.forward.retries;
        if retries > 0 {
            upstream.common.budget.save();
        }
        let mut tried = Vec::new();
        let mut target = self.visit(&mut tried);
        let mut fresh = false;
        loop {
            headers::address(&mut request, self.forward, target);
            exchange.note(|record| record.attempts += 1);
            let failed = match self.attempt(target, request, fresh, retries > 0, exchange).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            if failed.on_waiting {
                let Some(again) = failed.request else { return Err(failed.why) };
                (request, fresh) = (again, true);
                continue;
            }
            let why = self.failed(failed.why);
            request = match failed.request {
                Some(request)
                    if retries > 0 && upstream.common.may_retry(self.stream.connection.worker.shared.clock) =>
                {
                    request
                }
                Some(_) | None => return Err(why),
            };
            retries -= 1;
            target = self.visit(&mut tried);
            fresh = false;
        }
    }

    /// Chooses the next target; those of former tries are in `tried`.
    fn visit(&self, tried: &mut Vec<usize>) -> &'a Target {
        let last = self.visit.take().map(|visit| visit.index);
        tried.extend(last);
        let visit = self.forward.upstream.visit(self.client, tried, self.stream.connection.worker.shared.clock);
        let target = visit.target;
        self.visit.replace(Some(visit));
        target
    }

    /// Holds a failure against the target, if it is one of the target's.
    fn failed(&self, why: Rejection) -> Rejection {
        let is_targets = matches!(why, Rejection::Dial(_) | Rejection::BadUpstream(_) | Rejection::UpstreamTimeout);
        if let Some(visit) = self.visit.borrow_mut().as_mut().filter(|_| is_targets) {
            visit.failed(self.stream.connection.worker.shared.clock, &why);
        }
        why
    }

    /// Why there is no answer in time.
    fn expired(&self, expired: Expired) -> Rejection {
        match expired {
            // A backend cannot answer what its client has not finished sending.
            Expired::Deadline if self.stream.progress.is_owed_body() => Rejection::BodyStalled,
            Expired::Deadline => self.failed(Rejection::UpstreamTimeout),
            Expired::BodyStalled => Rejection::BodyStalled,
        }
    }

    /// The target has answered; the request stays under way at it as long as what is returned is kept.
    fn answered(&self) -> Option<gatepost_meter::Slot> {
        let mut visit = self.visit.take()?;
        visit.answered();
        visit.stay()
    }

    /// Sends the request to `target` once, on a waiting connection unless a `fresh` one is wanted: when one backend's
    /// connection has broken, others that are as old may have.
    async fn attempt(
        &self,
        target: &Target,
        request: Request<RequestBody>,
        fresh: bool,
        again: bool,
        exchange: &mut Exchange,
    ) -> Result<(Response<Incoming>, Pooled), Failed> {
        exchange.note(|record| record.upstream = Some(Arc::clone(&target.label)));
        let pools = &self.stream.connection.worker.pools;
        let waiting = if fresh { None } else { pools.take(target) };
        let on_waiting = waiting.is_some();
        let mut pooled = match waiting {
            Some(pooled) => pooled,
            // In a box of its own: room for a handshake would be made with every request.
            None => match Box::pin(self.connection(target, fresh.then_some(self.started))).await {
                Ok(pooled) => pooled,
                Err(why) => return Err(Failed { why, request: Some(request), on_waiting: false }),
            },
        };
        let copy = (self.replayable && (on_waiting || again)).then(|| self.copy(&request));
        match pooled.send(request, self.upgrade).await {
            Ok(response) => Ok((response, pooled)),
            Err(mut error) => {
                let unsent = error.take_message();
                let error = error.into_error();
                let broken = breaks_connection(&error);
                if broken {
                    pools.retire(target, pooled);
                }
                // An answer that makes no sense is the backend's, not the connection's, and will be no better.
                let on_waiting = on_waiting && broken && !error.is_parse();
                let request = unsent.or(copy.filter(|_| !error.is_parse()));
                Err(Failed { why: self.blame(error), request, on_waiting })
            }
        }
    }

    async fn connection(&self, target: &Target, made_after: Option<Instant>) -> Result<Pooled, Rejection> {
        let worker = &self.stream.connection.worker;
        dial::connection(&worker.pools, target, &worker.shared.resolver, made_after).await
    }

    /// The same request with no body: only a replayable one, which has none, is copied.
    fn copy(&self, request: &Request<RequestBody>) -> Request<RequestBody> {
        let mut copy = Request::new(request.body().none_like_it());
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.version_mut() = request.version();
        *copy.headers_mut() = request.headers().clone();
        copy
    }

    /// Why a request that was sent brought no answer.
    fn blame(&self, error: hyper::Error) -> Rejection {
        match self.stream.progress.body_failure() {
            Some(BodyFailure::TooLarge) => Rejection::BodyTooLarge,
            Some(BodyFailure::Broken) => Rejection::BodyBroken,
            Some(BodyFailure::Lost) => Rejection::SpoolFull(SpoolError::Lost),
            None => Rejection::BadUpstream(BadUpstream::Http(error)),
        }
    }
}

/// Whether a failure is the end of its connection, not only of one of the requests on it.
fn breaks_connection(error: &hyper::Error) -> bool {
    let http2 = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    http2.is_none_or(|error| !error.is_reset())
}

/// RFC 9110, 9.2.2: an idempotent method, and no body to send again.
fn is_replayable(request: &Request<RequestBody>) -> bool {
    let idempotent = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
    );
    idempotent && request.body().is_end_stream()
}

fn outgoing(
    forward: &Forward,
    route: &Route,
    below: &BelowBase,
    (mut parts, mut body): (Parts, RequestBody),
    exchange: &Exchange,
) -> Request<RequestBody> {
    parts.uri = target_of(forward, route, below, &parts.uri);
    headers::outgoing(&mut parts.headers, forward, exchange);
    parts.version = match forward.upstream.http {
        HttpVersion::One => Version::HTTP_11,
        HttpVersion::Two => {
            body.pass_trailers();
            Version::HTTP_2
        }
    };
    match body.length() {
        // hyper would send a GET without its body of unknown length.
        None if parts.version == Version::HTTP_11 => {
            parts.headers.remove(CONTENT_LENGTH);
            parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        None => {}
        // However it was written, and however often (RFC 9110, 8.6).
        Some(length) => {
            if let Entry::Occupied(mut told) = parts.headers.entry(CONTENT_LENGTH) {
                told.insert(length.into());
            }
        }
    }
    Request::from_parts(parts, body)
}

/// The request target that the backend sees, in origin form.
fn target_of(forward: &Forward, route: &Route, below: &BelowBase, uri: &Uri) -> Uri {
    let path_and_query = match (&forward.path, below) {
        (None, BelowBase::AsReceived) => uri.path_and_query().cloned(),
        (None, BelowBase::Rewritten(path)) => with_query(path, uri.query()),
        (Some(template), below) => with_query(&route.fill(template, below.path(uri)), uri.query()),
    };
    // The one form and a template of it are valid paths, so this is never the fallback.
    Uri::from(path_and_query.unwrap_or(PathAndQuery::from_static("/")))
}

fn with_query(path: &str, query: Option<&str>) -> Option<PathAndQuery> {
    match query {
        None => path.try_into().ok(),
        Some(query) => format!("{path}?{query}").try_into().ok(),
    }
}
