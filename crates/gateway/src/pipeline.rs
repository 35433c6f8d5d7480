//! The way of one request, from its head to its answer. It reads top to bottom.
//!
//! ```text
//! begin      open the record (written when the answer has ended)
//! judge        sanitise   host, one form of the path, framing      else Rejection::Malformed
//!              route      listener, host, API, path and method     else Rejection::NoRoute, …
//!              admit      from, client, policy, length, meters = Permit    else Rejection::…
//! wait       for the ledger of a quota or a budget                    else Rejection::QuotaUnavailable, …
//! prove      of a body that must be signed: verification.rs           else Rejection::…
//! integrate  forward, respond or redirect; needs the Permit
//! finish     the answer, or the rejection's
//! ```
//!
//! Everything up to the [`Permit`] runs without waiting, so a refused request never yields its thread: but for what is
//! decided by the body's signature, or by a quota or a budget that has to ask its ledger; and then its head must have
//! passed everything else.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use gatepost_config::model::ProofKind;
use gatepost_meter::ClientTable;
use gatepost_net::{BelievedHeader, HopSource};
use gatepost_sigv4::unsigned_query;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, LOCATION};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use crate::admission::{Candidate, Entered, Meters, PATIENCE, Parked, Permit};
use crate::body::{Answering, Exchange, RequestBody, ResponseBody, SharedBody};
use crate::compat::Imitation;
use crate::connection::Tunnel;
use crate::decision::{Decision, Lacking, Outcome};
use crate::forward::{Backend, Forwarded, forward};
use crate::record::{ClientFrom, PolicyHeaders, Record, cut};
use crate::rejection::{BadUpstream, Rejection, tell_level};
use crate::request::{Entrance, Facts};
use crate::snapshot::{Action, Behind, Listener, Redirect, Respond, Route, Sender, below_base};
use crate::stream::Stream;
use crate::verification::{is_doubtful, look_again, receive, tell_length};

/// Serves one request.
pub(crate) async fn serve(stream: Stream, request: Request<Incoming>) -> Result<Response<ResponseBody>, Infallible> {
    let (mut parts, incoming) = request.into_parts();
    name_host(&mut parts);
    let body = RequestBody::new(incoming, stream.clone(), || parts.headers.contains_key(EXPECT));
    let body_fits = body.can_be_discarded();
    let mut exchange = begin(stream, &parts, body.share());

    let mut spare = HeaderMap::new();
    let mut lacking = None;
    let mut judged = judge(&parts, &body, &mut exchange, &[], &mut lacking);
    if let Some(Lacking { keyring, paid }) = lacking.take() {
        // In a box of its own while it lasts, as forwarding is.
        Box::pin(keyring.refreshed()).await;
        exchange.note(|record| record.notes.clear());
        let paid = paid.as_ref().map_or(&[][..], |route| &route.client_tables);
        judged = judge(&parts, &body, &mut exchange, paid, &mut lacking);
    }
    let outcome = match judged {
        Ok(Judged::Admitted(permit, below)) => integrate(permit, &below, parts, body, &mut exchange).await,
        Ok(Judged::Candidate(candidate, below)) => {
            // In a box of its own while it lasts, as forwarding is.
            Box::pin(prove(candidate, &below, parts, body, &mut exchange)).await
        }
        Ok(Judged::Parked(parked, below)) => {
            Box::pin(integrate_when_told(parked, &below, parts, body, &mut exchange)).await
        }
        Ok(Judged::Doubtful(route)) => Err(Box::pin(look_again(&route, &parts, body, &mut exchange)).await),
        Ok(Judged::Elsewhere(response)) => Ok(Answer::Whole(response)),
        Err(rejection) => {
            // The connection reads what still comes of the body.
            drop(body);
            spare = std::mem::take(&mut parts.headers);
            Err(rejection)
        }
    };
    Ok(finish(outcome, body_fits, spare, exchange))
}

/// What a refusal is known by.
pub(crate) const DECISION: HeaderName = HeaderName::from_static("x-gatepost-decision");

/// What of the path lies below the API's base path, in the one form.
#[derive(Debug)]
pub(crate) enum BelowBase {
    /// Just what was received.
    AsReceived,
    /// Spelled anew, or with the base cut off.
    Rewritten(String),
}

/// What becomes of a request that is not refused.
enum Judged {
    /// It is let in.
    Admitted(Permit, BelowBase),
    /// It is let in if its body is signed as it claims.
    Candidate(Candidate, BelowBase),
    /// It waits for the ledger of a quota or a budget.
    Parked(Box<Parked>, BelowBase),
    /// Its address is not listed; its signature may tell whether it should be.
    Doubtful(Arc<Route>),
    /// Its listener only sends clients elsewhere.
    Elsewhere(Response<Bytes>),
}

/// What an integration makes of a request.
enum Answer {
    Whole(Response<Bytes>),
    Streamed(http::response::Parts, Answering),
    Upgraded(http::response::Parts, Backend),
}

/// What HTTP/2 has in `:authority` is `Host` from here on, as it is to a backend (RFC 9113, 8.3.1).
fn name_host(parts: &mut Parts) {
    if parts.version == Version::HTTP_2
        && !parts.headers.contains_key(HOST)
        && let Some(authority) = parts.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        parts.headers.insert(HOST, host);
    }
}

fn begin(stream: Stream, parts: &Parts, body: Option<Rc<SharedBody>>) -> Exchange {
    let record = Box::new(Record::begin(&stream.connection, Some(parts.method.clone())));
    Exchange::begin(stream, record, body)
}

/// Reads the head and asks for a decision, of a client that has `paid` so far. A refusal may be another one when keys
/// have come that are `lacking`.
fn judge(
    parts: &Parts,
    body: &RequestBody,
    exchange: &mut Exchange,
    paid: &[Arc<ClientTable>],
    lacking: &mut Option<Lacking>,
) -> Result<Judged, Rejection> {
    let connection = Rc::clone(&exchange.stream.connection);
    let Parts { method, uri, headers, .. } = parts;
    let mut cache = connection.worker.snapshot.borrow_mut();
    let snapshot = cache.load();
    let (number, listener) = (snapshot.number, connection.site.listener(snapshot));
    drop(cache);
    let length = body.length();
    exchange.note(|record| record.judged_by(number, listener.as_ref().map(|listener| &listener.name), length));
    let listener = listener.ok_or(Rejection::ListenerGone)?;
    let client = find_client(&listener, headers, exchange)?;
    let entrance = Entrance { client, is_secure: connection.secured.is_some(), private: listener.private.as_ref() };
    let name = |host: &[u8]| connection.host_name(host);
    let facts = match Facts::read(entrance, method, uri, headers, length, name, &mut exchange.trace()) {
        Ok(facts) => facts.having_paid(paid),
        Err(malformed) => {
            let host = headers.get(HOST).map_or(&b""[..], HeaderValue::as_bytes);
            let host = String::from_utf8_lossy(host);
            exchange.note(|record| record.name(cut(&host).into(), uri.path()));
            return Err(Rejection::Malformed(malformed));
        }
    };
    exchange.note(|record| record.name(Arc::clone(&facts.host), &facts.path));

    let times = connection.worker.shared.times();
    let decision = listener.decide(&facts, connection.serves_host(), Meters::Live(&times), &mut exchange.trace());
    if let Some(asked) = decision.asked(&facts) {
        exchange.imitate(|id| Imitation::of(&asked, id, decision.refusal_at_hand()));
    }
    *lacking = decision.keys_to_wait_for(headers);
    let Decision { route, outcome, .. } = decision;
    exchange.note(|record| {
        record.route = route.cloned();
        record.admitted = matches!(outcome, Ok(Outcome::Admitted(_) | Outcome::ToHttps(_)));
        if outcome.is_err() && route.is_some_and(|route| route.reads_headers) {
            record.headers = Some(PolicyHeaders::of(headers));
        }
    });
    if let (Err(Rejection::AddressNotListed), Some(route)) = (&outcome, route)
        && is_doubtful(&facts, route, body, &times)
    {
        return Ok(Judged::Doubtful(Arc::clone(route)));
    }
    match outcome? {
        Outcome::Admitted(permit) => {
            let below = BelowBase::of(permit.route(), &facts.path, uri);
            Ok(Judged::Admitted(permit, below))
        }
        Outcome::Candidate(candidate) => {
            let below = BelowBase::of(candidate.route(), &facts.path, uri);
            Ok(Judged::Candidate(candidate, below))
        }
        Outcome::Parked(parked) => {
            let below = BelowBase::of(parked.route(), &facts.path, uri);
            Ok(Judged::Parked(parked, below))
        }
        Outcome::ToHttps(status) => to_https(status, &facts, uri).map(Judged::Elsewhere),
    }
}

/// Who sends the request: on most listeners whoever the connection is with.
///
/// # Errors
/// Nobody knows yet whether the sender speaks for somebody else.
fn find_client(listener: &Listener, headers: &HeaderMap, exchange: &mut Exchange) -> Result<IpAddr, Rejection> {
    let connection = Rc::clone(&exchange.stream.connection);
    let Sender { client, lacking } = listener.sender(connection.peer, headers, &mut exchange.trace());
    exchange.client = client.address;
    let behind = listener.behind.as_ref();
    exchange.believed = behind.map_or(BelievedHeader::Off, |behind| behind.header_believed(connection.peer));
    // A PROXY header may have been believed before a reload, and be no longer.
    if behind.is_some() || connection.peer.proxied.is_some() {
        exchange.note(|record| {
            record.address = client.address;
            record.client = connection.text_of(client.address);
            record.client_from = match client.decided_by {
                HopSource::Socket => ClientFrom::Socket,
                HopSource::ProxyHeader => ClientFrom::ProxyHeader,
                HopSource::Header { hop } => ClientFrom::Header(behind.map_or("off", Behind::header_label), hop),
            };
        });
    }
    lacking.map_or(Ok(client.address), |set| Err(Rejection::AddressesUnknown { set }))
}

/// The same host, path and query over TLS, at its usual port.
fn to_https(status: StatusCode, facts: &Facts<'_>, uri: &Uri) -> Result<Response<Bytes>, Rejection> {
    let (before, query) = uri.query().map_or(("", ""), |query| ("?", query));
    let location = format!("https://{}{}{before}{query}", facts.host, facts.path);
    elsewhere(status, location)
}

/// Lets a request in once its body is verified, with the body that was kept meanwhile.
async fn prove(
    mut candidate: Candidate,
    below: &BelowBase,
    mut parts: Parts,
    body: RequestBody,
    exchange: &mut Exchange,
) -> Result<Answer, Rejection> {
    let shared = Arc::clone(&exchange.stream.connection.worker.shared);
    let received = receive(&mut candidate, body, exchange).await;
    let (proven, kept) = received.inspect_err(|_| candidate.refused(&shared.times()))?;
    let permit = match candidate.take(proven, &shared.times(), &mut exchange.trace())? {
        Entered::Permit(permit) => permit,
        Entered::Parked(parked) => until_told(parked, exchange).await?,
    };
    exchange.note(|record| record.admitted = true);
    tell_length(&mut parts.headers, kept.left());
    let body = RequestBody::kept(kept, exchange.stream.clone());
    let answer = integrate(permit, below, parts, body, exchange).await;
    if did_not_arrive(&answer) {
        exchange.forget_delivery();
    }
    answer
}

/// Lets a request in once its quota or budget is known.
async fn integrate_when_told(
    parked: Box<Parked>,
    below: &BelowBase,
    parts: Parts,
    body: RequestBody,
    exchange: &mut Exchange,
) -> Result<Answer, Rejection> {
    let permit = until_told(parked, exchange).await?;
    exchange.note(|record| record.admitted = true);
    integrate(permit, below, parts, body, exchange).await
}

/// Waits for the ledger, but not for long.
async fn until_told(mut parked: Box<Parked>, exchange: &mut Exchange) -> Result<Permit, Rejection> {
    let shared = Arc::clone(&exchange.stream.connection.worker.shared);
    shared.stats.parked.fetch_add(1, Ordering::Relaxed);
    let patience = Instant::now() + PATIENCE;
    loop {
        let told = poll_fn(|cx| parked.poll_ready(shared.wall.now(), cx));
        if !matches!(timeout_at(patience, told).await, Ok(Ok(()))) {
            return Err(parked.give_up(&shared.times(), &mut exchange.trace()));
        }
        match parked.again(&shared.times(), &mut exchange.trace())? {
            Entered::Permit(permit) => return Ok(permit),
            Entered::Parked(again) => parked = again,
        }
    }
}

/// Whether senders try again after this answer (RFC 9110, 15.5.9, and RFC 6585, 4, for those below 500).
fn did_not_arrive(answer: &Result<Answer, Rejection>) -> bool {
    let status = match answer {
        Ok(Answer::Whole(response)) => response.status(),
        Ok(Answer::Streamed(head, _) | Answer::Upgraded(head, _)) => head.status,
        Err(_) => return true,
    };
    status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

async fn integrate(
    permit: Permit,
    below: &BelowBase,
    mut parts: Parts,
    body: RequestBody,
    exchange: &mut Exchange,
) -> Result<Answer, Rejection> {
    let route = Arc::clone(permit.route());
    if permit.proofs().has(ProofKind::SigV4)
        && let Some(unsigned) = without_signature(&parts.uri)
    {
        parts.uri = unsigned;
    }
    exchange.hold(permit);
    match &route.action {
        Action::Forward(to) => {
            // In a box of its own while it lasts: a connection keeps room for the largest future that it may drive.
            let forwarding = Box::pin(forward(to, &route, below, (parts, body), exchange));
            forwarding.await.map(|forwarded| match forwarded {
                Forwarded::Answer(head, answering) => Answer::Streamed(head, answering),
                Forwarded::Upgrade(head, backend) => Answer::Upgraded(head, backend),
            })
        }
        Action::Respond(respond) => Ok(Answer::Whole(respond.answer())),
        Action::Redirect(redirect) => redirect.answer(&route, below, &parts.uri).map(Answer::Whole),
    }
}

/// A presigned URL without what is its signature, which would open this gateway to whoever sees it; absent: it is none.
fn without_signature(uri: &Uri) -> Option<Uri> {
    let query = uri.query().filter(|query| query.contains("X-Amz-"))?;
    let unsigned = unsigned_query(query);
    let path = uri.path();
    let target = if unsigned.is_empty() { path.to_owned() } else { format!("{path}?{unsigned}") };
    let mut parts = uri.clone().into_parts();
    // A part of what was a target is one.
    parts.path_and_query = Some(target.try_into().unwrap_or(PathAndQuery::from_static("/")));
    Uri::from_parts(parts).ok()
}

/// The one place where an answer leaves.
fn finish(
    outcome: Result<Answer, Rejection>,
    body_fits: bool,
    spare: HeaderMap,
    mut exchange: Exchange,
) -> Response<ResponseBody> {
    let Stream { connection, progress } = exchange.stream.clone();
    let mut closes = connection.site.is_leaving();
    let imitation = exchange.imitation.take();
    progress.answered();
    let response = match outcome {
        Ok(Answer::Streamed(mut head, answering)) => {
            mark(imitation.as_deref(), &exchange, &mut head.headers);
            exchange.note(|record| record.status = Some(head.status));
            Response::from_parts(head, ResponseBody::streamed(answering, exchange))
        }
        Ok(Answer::Upgraded(head, backend)) => {
            exchange.note(|record| record.status = Some(head.status));
            connection.upgrade(Tunnel { exchange, backend });
            return Response::from_parts(head, ResponseBody::none());
        }
        Ok(Answer::Whole(mut response)) => {
            mark(imitation.as_deref(), &exchange, response.headers_mut());
            closes |= !body_fits && progress.has_open_body();
            exchange.note(|record| record.status = Some(response.status()));
            whole(response, exchange)
        }
        Err(rejection) => {
            exchange.spend_nothing();
            closes |= (!body_fits && progress.has_open_body()) || rejection.closes();
            let (mut response, told) = match imitation {
                Some(mut imitation) => {
                    let response = imitation.refuse(&rejection, spare);
                    let told = Box::new(imitation.for_the_record(&response));
                    (response, Some(told))
                }
                None => (rejection.answer(spare), None),
            };
            exchange.note(|record| {
                record.answer = told;
                record.reason = Some(rejection.reason());
                record.status = Some(response.status());
                record.rejection = Some(rejection.for_the_record());
                response.headers_mut().insert(DECISION, record.id.header());
            });
            whole(response, exchange)
        }
    };
    // HTTP/2 has its own way to say so, and no need to: the other streams of the connection are well.
    if closes && connection.is_http1() { closing(response) } else { response }
}

/// Adds what the gateway has to say: the names of the request, as AWS has them, or what is left of its caller's quota.
fn mark(imitation: Option<&Imitation>, exchange: &Exchange, headers: &mut HeaderMap) {
    match (imitation, exchange.level()) {
        (Some(imitation), _) => imitation.mark(headers),
        (None, Some((level, now))) => tell_level(headers, &level, now),
        (None, None) => {}
    }
}

/// An answer in one piece. With HTTP/1 hyper knows what is for HEAD, with HTTP/2 it would send the body (RFC 9110, 9.3.2).
fn whole(response: Response<Bytes>, exchange: Exchange) -> Response<ResponseBody> {
    let (mut head, mut bytes) = response.into_parts();
    if !exchange.stream.connection.is_http1() && exchange.is_head_alone() && !bytes.is_empty() {
        head.headers.insert(CONTENT_LENGTH, bytes.len().into());
        bytes = Bytes::new();
    }
    Response::from_parts(head, ResponseBody::whole(bytes, exchange))
}

fn closing(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

impl BelowBase {
    fn of(route: &Route, path: &str, uri: &Uri) -> Self {
        let below = below_base(&route.api.base, path).unwrap_or(path);
        if below == uri.path() { Self::AsReceived } else { Self::Rewritten(below.to_owned()) }
    }

    /// The path, given the request target it was received in.
    pub(crate) fn path<'p>(&'p self, received: &'p Uri) -> &'p str {
        match self {
            Self::AsReceived => received.path(),
            Self::Rewritten(path) => path,
        }
    }
}

impl Respond {
    fn answer(&self) -> Response<Bytes> {
        let mut response = Response::new(self.body.clone());
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response
    }
}

impl Redirect {
    /// The query goes along, unless the new location has one of its own.
    fn answer(&self, route: &Route, below: &BelowBase, uri: &Uri) -> Result<Response<Bytes>, Rejection> {
        let mut to = route.fill(&self.to, below.path(uri));
        if to.starts_with("//") {
            // A parameter that begins with a slash must not name another host.
            to.replace_range(1..2, "%2F");
        }
        let fragment = to.find('#').unwrap_or(to.len());
        if let Some(query) = uri.query()
            && !to[..fragment].contains('?')
        {
            to.insert_str(fragment, &format!("?{query}"));
        }
        elsewhere(self.status, to)
    }
}

fn elsewhere(status: StatusCode, location: String) -> Result<Response<Bytes>, Rejection> {
    // What a request target may hold a header value may hold too, so this is never the error.
    let location = HeaderValue::try_from(location).map_err(|_| Rejection::BadUpstream(BadUpstream::Location))?;
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}
