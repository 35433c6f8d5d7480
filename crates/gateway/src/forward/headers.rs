//! What of a message's head is passed on, in both directions.

use gatepost_config::model::HostHeader;
use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue};

use crate::connection::Connection;
use crate::snapshot::{Forward, Target};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Makes a client's headers those that a backend sees.
///
/// Gone is what belongs to the client's connection (RFC 9110, 7.6.1), `Expect`, which we answer ourselves, and whatever
/// speaks of the client's address or of us: `Forwarded`, `X-Forwarded-*`, `X-Real-IP`, `X-Gatepost-*`. A client could
/// have written those, so they are replaced by what is known, never added to.
pub(super) fn outgoing(headers: &mut HeaderMap, forward: &Forward, connection: &Connection) {
    let client_host = headers.get(HOST).cloned();
    remove_unwanted(headers, |name| speaks_of_the_client(name) || *name == EXPECT);
    join_cookies(headers);
    headers.insert(X_FORWARDED_FOR, connection.client_text.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
    if let Some(forwarded) = connection.forwarded() {
        headers.insert(FORWARDED, forwarded);
    }
    if let Some(host) = client_host {
        headers.insert(X_FORWARDED_HOST, host.clone());
        // `Connection: host` must not leave the backend without one.
        headers.insert(HOST, host);
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

/// The `Host` for a target.
pub(super) fn set_host(headers: &mut HeaderMap, forward: &Forward, target: &Target) {
    match &forward.host {
        HostHeader::Client => {}
        HostHeader::Upstream => {
            headers.insert(HOST, target.host.clone());
        }
        HostHeader::Literal(host) => {
            headers.insert(HOST, host.clone());
        }
    }
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

/// Makes a backend's headers those that the client sees.
pub(super) fn incoming(headers: &mut HeaderMap) {
    if headers.contains_key(TRANSFER_ENCODING) {
        // The chunks were what counted (RFC 9112, 6.3), and are passed on as chunks.
        headers.remove(CONTENT_LENGTH);
    }
    remove_unwanted(headers, speaks_for_us);
}

/// RFC 7239: what is known of the client's side, in one element. `host` has been found to be a host.
pub(crate) fn forwarded(client: &HeaderValue, host: &[u8]) -> HeaderValue {
    let mut text = Vec::with_capacity(client.len() + host.len() + 28);
    text.extend_from_slice(b"for=");
    push_node(&mut text, client.as_bytes());
    text.extend_from_slice(b";host=");
    // A colon is no token character, so a port makes it a quoted string; a host has nothing to escape.
    if host.contains(&b':') {
        text.extend([b"\"", host, b"\""].concat());
    } else {
        text.extend_from_slice(host);
    }
    text.extend_from_slice(b";proto=http");
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
