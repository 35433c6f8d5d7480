//! Sending an admitted request to a backend and its answer back.

mod headers;
pub(crate) mod pool;

pub(crate) use headers::forwarded;

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use crate::body::{Answering, Exchange, RequestBody};
use crate::connection::{Backend, Connection};
use crate::forward::pool::Pooled;
use crate::io::Gathering;
use crate::pipeline::BelowBase;
use crate::rejection::{BadUpstream, Rejection};
use crate::snapshot::{Forward, Route, Target};
use crate::stream::{BodyFailure, Expired, Stream};

/// The longest response head that is accepted from a backend, in bytes.
const RESPONSE_HEAD: usize = 64 * 1024;

/// A socket to a backend.
pub(crate) type BackendStream = Gathering;

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
    let Stream { connection, progress } = &stream;
    let started = Instant::now();
    progress.end_by(forward.timeout.map(|timeout| started + timeout));

    let mut request = outgoing(forward, route, below, request, connection);
    request.body_mut().limit(route.max_body);
    let attempts = Attempts { forward, stream: &stream, replayable: is_replayable(&request) };
    let outcome = progress.unless_expired(attempts.run(request, exchange)).await;
    exchange.note(|record| record.upstream_took = Some(started.elapsed()));
    let (response, sender) = match outcome {
        Ok(answer) => answer?,
        // A backend cannot answer what its client has not finished sending.
        Err(Expired::Deadline) if progress.is_owed_body() => return Err(Rejection::BodyStalled),
        Err(Expired::Deadline) => return Err(Rejection::UpstreamTimeout),
        Err(Expired::BodyStalled) => return Err(Rejection::BodyStalled),
    };
    // Upgrades are not asked for, so this backend does not speak HTTP as we do.
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Rejection::BadUpstream(BadUpstream::UnaskedUpgrade));
    }
    let (mut head, body) = response.into_parts();
    if !headers::is_plainly_framed(&head.headers) {
        return Err(Rejection::BadUpstream(BadUpstream::Framing));
    }
    headers::incoming(&mut head.headers);
    head.version = Version::HTTP_11;
    Ok(Forwarded::Answer(head, Answering { body, sender }))
}

/// The tries to get one request answered.
struct Attempts<'a> {
    forward: &'a Forward,
    stream: &'a Stream,
    /// Whether a second try can do no harm although the first may have reached a backend.
    replayable: bool,
}

/// A try that brought no answer.
struct Failed {
    why: Rejection,
    /// The request, if another try may send it.
    request: Option<Request<RequestBody>>,
    /// Whether it failed on a connection that had waited in the pool: then the connection was at fault, most likely.
    on_waiting: bool,
}

impl Attempts<'_> {
    async fn run(
        &self,
        mut request: Request<RequestBody>,
        exchange: &mut Exchange,
    ) -> Result<(Response<Incoming>, Pooled), Rejection> {
        let mut retries = self.forward.retries;
        let mut target = self.forward.targets.next();
        let mut fresh = false;
        loop {
            headers::set_host(request.headers_mut(), self.forward, target);
            exchange.note(|record| record.attempts += 1);
            let failed = match self.attempt(target, request, fresh, retries > 0, exchange).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            request = match failed.request {
                Some(request) if failed.on_waiting => {
                    fresh = true;
                    request
                }
                Some(request) if retries > 0 => {
                    retries -= 1;
                    target = self.forward.targets.next();
                    request
                }
                Some(_) | None => return Err(failed.why),
            };
        }
    }

    /// Sends the request to `target` once, on a waiting connection unless a `fresh` one is wanted.
    async fn attempt(
        &self,
        target: &Target,
        request: Request<RequestBody>,
        fresh: bool,
        again: bool,
        exchange: &mut Exchange,
    ) -> Result<(Response<Incoming>, Pooled), Failed> {
        exchange.note(|record| record.upstream = Some(Arc::clone(&target.label)));
        let waiting = if fresh { None } else { self.stream.connection.worker.pools.take(target.id) };
        let on_waiting = waiting.is_some();
        let mut pooled = match waiting {
            Some(pooled) => pooled,
            None => match self.connect(target).await {
                Ok(pooled) => pooled,
                Err(why) => return Err(Failed { why, request: Some(request), on_waiting: false }),
            },
        };
        let copy = (self.replayable && (on_waiting || again)).then(|| self.copy(&request));
        match pooled.sender().try_send_request(request).await {
            Ok(response) => Ok((response, pooled)),
            Err(mut error) => {
                let unsent = error.take_message();
                let error = error.into_error();
                // An answer that makes no sense is the backend's, not the connection's, and will be no better.
                let request = unsent.or(copy.filter(|_| !error.is_parse()));
                Err(Failed { why: self.blame(error), request, on_waiting })
            }
        }
    }

    async fn connect(&self, target: &Target) -> Result<Pooled, Rejection> {
        let stream = target.destination.connect().await.map_err(Rejection::Dial)?;
        // Small writes must not wait for acknowledgements; without it things are only slower.
        let _ = stream.set_nodelay(true);
        let (sender, driver) = http1::Builder::new()
            .max_header_size(RESPONSE_HEAD)
            // Also what is held of an answer for a client that takes none of it.
            .max_buf_size(RESPONSE_HEAD)
            .handshake(TokioIo::new(Gathering(stream)))
            .await
            .map_err(|error| Rejection::BadUpstream(BadUpstream::Http(error)))?;
        tokio::task::spawn_local(async move {
            // Whoever waits for the answer learns of the failure; this only ends with it.
            if let Err(error) = driver.await {
                tracing::debug!(%error, "connection to a backend ended");
            }
        });
        Ok(self.stream.connection.worker.pools.adopt(target.id, sender))
    }

    /// The same request with no body: only a replayable one, which has none, is copied.
    fn copy(&self, request: &Request<RequestBody>) -> Request<RequestBody> {
        let mut copy = Request::new(request.body().none_like_it());
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.headers_mut() = request.headers().clone();
        copy
    }

    /// Why a request that was sent brought no answer.
    fn blame(&self, error: hyper::Error) -> Rejection {
        match self.stream.progress.body_failure() {
            Some(BodyFailure::TooLarge) => Rejection::BodyTooLarge,
            Some(BodyFailure::Broken) => Rejection::BodyBroken,
            None => Rejection::BadUpstream(BadUpstream::Http(error)),
        }
    }
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
    (mut parts, body): (Parts, RequestBody),
    connection: &Connection,
) -> Request<RequestBody> {
    parts.uri = target_of(forward, route, below, &parts.uri);
    parts.version = Version::HTTP_11;
    headers::outgoing(&mut parts.headers, forward, connection);
    if body.length().is_none() {
        // hyper would send a GET without its body of unknown length.
        parts.headers.remove(CONTENT_LENGTH);
        parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
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
