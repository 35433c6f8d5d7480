//! Who may ask the admin listener.
//!
//! Whoever may connect, and knows the token if there is one. A browser may connect too, on behalf of any page that it
//! shows: so over TCP the API answers only to names that no page can have (DNS rebinding), and nothing is asked of it by
//! what a page can send without asking first (cross-site request forgery).

use std::net::IpAddr;

use gatepost_config::Secret;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use subtle::ConstantTimeEq;

use crate::admin::problem::Problem;

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Via {
    Tcp,
    /// Whoever may open the socket is the owner of the process, and no browser.
    Unix,
}

/// Whether the request shows the token that is asked for.
pub(super) fn shows(token: Option<&Secret>, headers: &HeaderMap) -> bool {
    let Some(token) = token else { return true };
    let given = headers.get(AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
    // The scheme is written in any case (RFC 9110, 11.1).
    let Some((scheme, given)) = given.split_at_checked(b"Bearer ".len()) else { return false };
    scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(given.ct_eq(token.reveal()))
}

/// Keeps pages that a browser shows away from the API.
///
/// # Errors
/// What is wrong with the request.
pub(super) fn no_page(via: Via, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    if via == Via::Tcp && !names_no_page(headers) {
        let detail = "`Host` must be an address or `localhost`: a page under any other name has no business here";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    if *method == Method::POST && !is_json(headers) {
        let detail = "send `content-type: application/json`: pages cannot, without asking first";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    Ok(())
}

/// Whether the host is one that no page can be served under by somebody else: an address, or `localhost`.
fn names_no_page(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else { return false };
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

/// `application/json`, perhaps with parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_no_page_can_have_are_answered_to_over_tcp() {
        let with = |host: &str| HeaderMap::from_iter([(HOST, HeaderValue::from_str(host).unwrap())]);
        for host in ["127.0.0.1", "127.0.0.1:9900", "[::1]:9900", "[::1]", "localhost", "LocalHost:1", "192.0.2.1:80"] {
            assert!(no_page(Via::Tcp, &Method::GET, &with(host)).is_ok(), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "a", "127.0.0.1.nip.io", "", "user@evil", "[::1", "a b"]
        {
            assert!(no_page(Via::Tcp, &Method::GET, &with(host)).is_err(), "{host}");
            assert!(no_page(Via::Unix, &Method::GET, &with(host)).is_ok(), "{host}");
        }
        assert!(no_page(Via::Tcp, &Method::GET, &HeaderMap::new()).is_err());
    }

    #[test]
    fn what_a_form_can_send_is_no_question() {
        let with = |kind: &str| HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_str(kind).unwrap())]);
        for kind in ["application/json", "Application/JSON; charset=utf-8"] {
            assert!(no_page(Via::Unix, &Method::POST, &with(kind)).is_ok(), "{kind}");
        }
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "application/jsonp"]
        {
            assert!(no_page(Via::Unix, &Method::POST, &with(kind)).is_err(), "{kind}");
        }
    }
}
