//! What of a message's head is passed on, in both directions.

use gatepost_config::model::{HostHeader, HttpVersion, ProofKind};
use gatepost_net::BelievedHeader;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, HeaderName, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Request, Uri};

use crate::body::Exchange;
use crate::caller::ProofKinds;
use crate::caller::proof::API_KEY;
use crate::host::host_name;
use crate::snapshot::{Forward, X_FORWARDED_FOR};
use crate::stream::Stream;
use crate::upstream::Target;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Makes a client's headers those that a backend sees.
///
/// Gone is what belongs to the client's connection (RFC 9110, 7.6.1), `Expect`, which we answer ourselves, and whatever
/// speaks of the client's address or of us: `Forwarded`, `X-Forwarded-*`, `X-Real-IP`, `X-Gatepost-*`. A client could
/// have written those, so they are replaced by what is known. Only to what a sender says who is believed is added. What
/// has proven here who the client is would prove it elsewhere too, and stays here.
pub(super) fn outgoing(headers: &mut HeaderMap, forward: &Forward, exchange: &Exchange) {
    let host = headers.get(HOST).cloned();
    let told = Told::by_sender(headers, exchange.believed);
    let takes_trailers = forward.upstream.http == HttpVersion::Two && takes_trailers(headers);
    let proofs = exchange.proofs();
    remove_unwanted(headers, |name| speaks_of_the_client(name) || *name == EXPECT || proves(name, proofs));
    if !exchange.stream.connection.is_http1() {
        join_cookies(headers);
    }
    told.pass_on(headers, host.as_ref(), exchange);
    if let Some(host) = host {
        // `Connection: host` must not leave the backend without one.
        headers.insert(HOST, host);
    }
    if takes_trailers {
        // gRPC asks for it, and it is all that HTTP/2 has left of `TE` (RFC 9113, 8.2.2).
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    for name in &forward.remove {
        headers.remove(name);
    }
    for (name, value) in &forward.set {
        headers.insert(name.clone(), value.clone());
    }
}

/// HTTP/2 clients may send each cookie in a field of its own; HTTP/1.1 has one field (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() < 2 {
        return;
    }
    // What is made of header values is one.
    if let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// What a sender who is believed tells of its client, in the one header that is believed of it and what goes with that.
#[derive(Default)]
struct Told {
    forwarded_for: Option<HeaderValue>,
    host: Option<HeaderValue>,
    proto: Option<HeaderValue>,
    forwarded: Option<HeaderValue>,
}

impl Told {
    fn by_sender(headers: &HeaderMap, believed: BelievedHeader) -> Self {
        match believed {
            BelievedHeader::Off => Self::default(),
            BelievedHeader::XForwardedFor => Self {
                forwarded_for: joined(headers, X_FORWARDED_FOR),
                host: only(headers, X_FORWARDED_HOST),
                proto: only(headers, X_FORWARDED_PROTO).filter(|proto| proto == "http" || proto == "https"),
                forwarded: None,
            },
            BelievedHeader::Forwarded => Self { forwarded: joined(headers, FORWARDED), ..Self::default() },
        }
    }

    /// Tells a backend of the client: added to what was told, or as it is known.
    fn pass_on(self, headers: &mut HeaderMap, host: Option<&HeaderValue>, exchange: &Exchange) {
        let Stream { connection, .. } = &exchange.stream;
        let client = exchange.client_text();
        let nodes = match &self.forwarded_for {
            Some(told) => followed_by(told, &sender(exchange)),
            None => client.clone(),
        };
        headers.insert(X_FORWARDED_FOR, nodes);
        if let Some(forwarded) = self.forwarded(host, exchange) {
            headers.insert(FORWARDED, forwarded);
        }
        headers.insert(X_FORWARDED_PROTO, self.proto.unwrap_or(HeaderValue::from_static(connection.scheme())));
        if let Some(host) = self.host.or_else(|| host.cloned()) {
            headers.insert(X_FORWARDED_HOST, host);
        }
    }

    /// `Forwarded`: what was told in it and then its sender, or the client, in agreement with what the others say.
    fn forwarded(&self, host: Option<&HeaderValue>, exchange: &Exchange) -> Option<HeaderValue> {
        let connection = &exchange.stream.connection;
        match self {
            Self { forwarded: Some(told), .. } => Some(followed_by(told, &connection.forwarded(&sender(exchange))?)),
            Self { host: None, proto: None, .. } => connection.forwarded(exchange.client_text()),
            Self { host: told, proto, .. } => {
                let told = told.as_ref().filter(|told| host_name(told.as_bytes()).is_ok());
                let proto = proto.as_ref().and_then(|proto| proto.to_str().ok()).unwrap_or(connection.scheme());
                Some(forwarded(exchange.client_text(), told.or(host)?.as_bytes(), proto))
            }
        }
    }
}

/// The address of whoever told.
fn sender(exchange: &Exchange) -> HeaderValue {
    let connection = &exchange.stream.connection;
    connection.text_of(connection.peer.proxied.unwrap_or(connection.peer.socket))
}

/// All fields of a name as one list.
fn joined(headers: &HeaderMap, name: HeaderName) -> Option<HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.clone();
    Some(values.fold(first, |list, value| followed_by(&list, value)))
}

/// The one field of a name.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none()).cloned()
}

fn followed_by(list: &HeaderValue, value: &HeaderValue) -> HeaderValue {
    let text = [list.as_bytes(), b", ", value.as_bytes()].concat();
    // Of two values and a comma a value can be made.
    HeaderValue::try_from(text).unwrap_or_else(|_| value.clone())
}

/// Whether the sender of these headers reads trailers (RFC 9110, 10.1.4).
pub(super) fn takes_trailers(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(TE).iter().filter_map(|value| value.to_str().ok());
    codings.flat_map(|value| value.split(',')).any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// Names the host that a target is asked for: in `Host`, or in what HTTP/2 has instead of it.
pub(super) fn address<B>(request: &mut Request<B>, forward: &Forward, target: &Target) {
    let host = match &forward.host {
        HostHeader::Client => None,
        HostHeader::Upstream => Some(&target.host),
        HostHeader::Literal(host) => Some(host),
    };
    match target.http {
        HttpVersion::One => {
            if let Some(host) = host {
                request.headers_mut().insert(HOST, host.clone());
            }
        }
        HttpVersion::Two => {
            let clients = request.headers_mut().remove(HOST);
            let authority = match host.or(clients.as_ref()) {
                Some(host) => Authority::try_from(host.as_bytes()).ok(),
                // Moved there when the request was sent to another target.
                None => request.uri().authority().cloned(),
            };
            *request.uri_mut() = absolute(request.uri(), authority, target);
        }
    }
}

/// The parts that HTTP/2's pseudo-header fields are made of (RFC 9113, 8.3.1).
fn absolute(uri: &Uri, authority: Option<Authority>, target: &Target) -> Uri {
    let authority = authority.or_else(|| Authority::try_from(target.host.as_bytes()).ok());
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(target.scheme());
    parts.authority = authority;
    parts.path_and_query = Some(uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
    // A target's own host is an authority, so this is never the error.
    Uri::from_parts(parts).unwrap_or_default()
}

/// Whether an answer's body is of one length or in chunks, and in no other coding: what hyper has read is what the client
/// is told.
pub(super) fn is_plainly_framed(headers: &HeaderMap) -> bool {
    let only = |name: HeaderName, plain: fn(&[u8]) -> bool| {
        let mut values = headers.get_all(name).iter();
        let first = values.next().is_none_or(|value| plain(value.as_bytes()));
        first && values.next().is_none()
    };
    only(TRANSFER_ENCODING, |coding| coding.eq_ignore_ascii_case(b"chunked"))
        && only(CONTENT_LENGTH, |length| length.iter().all(u8::is_ascii_digit))
}

/// Makes a backend's headers those that the client sees. What announces `trailers` stays if those do.
pub(super) fn incoming(headers: &mut HeaderMap, trailers: bool) {
    let announced = headers.get(TRAILER).filter(|_| trailers).cloned();
    if headers.contains_key(TRANSFER_ENCODING) {
        // The chunks were what counted (RFC 9112, 6.3), and are passed on as chunks.
        headers.remove(CONTENT_LENGTH);
    }
    remove_unwanted(headers, speaks_for_us);
    if let Some(announced) = announced {
        headers.insert(TRAILER, announced);
    }
}

/// Removes from trailers what would mean something in a head (RFC 9110, 6.5.1): some servers merge the two.
pub(crate) fn trailers(trailers: &mut HeaderMap) {
    remove_unwanted(trailers, |name| {
        speaks_of_the_client(name) || [HOST, CONTENT_LENGTH, EXPECT, AUTHORIZATION, COOKIE, SET_COOKIE].contains(name)
    });
}

/// RFC 7239: what is known of the client's side, in one element. `host` has been found to be a host.
pub(crate) fn forwarded(client: &HeaderValue, host: &[u8], proto: &str) -> HeaderValue {
    let mut text = Vec::with_capacity(client.len() + host.len() + 29);
    text.extend_from_slice(b"for=");
    push_node(&mut text, client.as_bytes());
    text.extend_from_slice(b";host=");
    // A colon is no token character, so a port makes it a quoted string; a host has nothing to escape.
    if host.contains(&b':') {
        text.extend([b"\"", host, b"\""].concat());
    } else {
        text.extend_from_slice(host);
    }
    text.extend_from_slice(b";proto=");
    text.extend_from_slice(proto.as_bytes());
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("for=unknown"))
}

fn push_node(text: &mut Vec<u8>, address: &[u8]) {
    if address.contains(&b':') {
        text.extend([b"\"[", address, b"]\""].concat());
    } else {
        text.extend_from_slice(address);
    }
}

/// Removes what belongs to one connection, what `Connection` names, and what `unwanted` says.
///
/// One pass finds what there is to remove: most messages have little or nothing, and looking each name up costs more.
fn remove_unwanted(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    let mut names: Vec<HeaderName> =
        headers.keys().filter(|name| is_hop_by_hop(name) || unwanted(name)).cloned().collect();
    if names.contains(&CONNECTION) {
        names.extend(named_by_connection(headers));
    }
    for name in names {
        headers.remove(name);
    }
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok()).collect()
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    [CONNECTION, TRANSFER_ENCODING, TE, TRAILER, UPGRADE, KEEP_ALIVE, PROXY_CONNECTION].contains(name)
        || [PROXY_AUTHENTICATE, PROXY_AUTHORIZATION].contains(name)
}

/// What a signature by Signature Version 4 has besides `Authorization`.
const SIGV4: [&str; 3] = ["x-amz-date", "x-amz-security-token", "x-amz-content-sha256"];

/// Whether a header is part of one of these proofs.
fn proves(name: &HeaderName, proofs: ProofKinds) -> bool {
    if proofs.is_empty() {
        return false;
    }
    let has = |kind| proofs.has(kind);
    (*name == AUTHORIZATION && (has(ProofKind::SigV4) || has(ProofKind::Jwt)))
        || (has(ProofKind::SigV4) && means(name, |name| SIGV4.contains(&name)))
        || (has(ProofKind::Key) && means(name, |name| name == API_KEY.as_str()))
}

fn speaks_of_the_client(name: &HeaderName) -> bool {
    *name == FORWARDED
        || means(name, |name| name.starts_with("x-forwarded-") || name == "x-real-ip")
        || speaks_for_us(name)
}

fn speaks_for_us(name: &HeaderName) -> bool {
    means(name, |name| name.starts_with("x-gatepost-"))
}

/// Whether a name is one of those, to backends too that take an underscore for a hyphen (as CGI does).
fn means(name: &HeaderName, those: impl Fn(&str) -> bool) -> bool {
    let name = name.as_str();
    name.starts_with('x') && if name.contains('_') { those(&name.replace('_', "-")) } else { those(name) }
}
