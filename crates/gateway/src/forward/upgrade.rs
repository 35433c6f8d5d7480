//! Upgrades (RFC 9110, 7.8): what a client asks for, what a backend agrees to, and the socket that is left then.
//!
//! After its 101 a backend may speak whatever it likes, and nothing of that is looked at. So only what cannot carry
//! another request to it is asked for: HTTP/2 in the clear (`h2c`) would be a way in past every rule.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderName, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use tokio::sync::Notify;

use crate::upstream::Wire;

const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// The protocols that a client would change to.
#[derive(Debug)]
pub(super) struct Asked(HeaderValue);

impl Asked {
    /// What the head of a request asks for, if it may be passed on.
    pub(super) fn by(request: &Parts) -> Option<Self> {
        let mut values = request.headers.get_all(UPGRADE).iter();
        let (value, None) = (values.next()?, values.next()) else { return None };
        if request.version != Version::HTTP_11 || !names_upgrade(&request.headers) {
            return None;
        }
        let mut protocols = value.to_str().ok()?.split(',').map(str::trim);
        protocols.all(is_opaque).then(|| Self(value.clone()))
    }

    /// Asks a backend.
    pub(super) fn put(&self, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, self.0.clone());
        headers.remove(HTTP2_SETTINGS);
    }

    /// What a backend agreed to, if it is one of those.
    pub(super) fn agreed(&self, head: &http::response::Parts) -> Option<HeaderValue> {
        let mut values = head.headers.get_all(UPGRADE).iter();
        let (value, None) = (values.next()?, values.next()) else { return None };
        let asked = self.0.to_str().ok()?;
        let is_asked = |protocol: &str| asked.split(',').any(|asked| asked.trim().eq_ignore_ascii_case(protocol));
        (head.status == StatusCode::SWITCHING_PROTOCOLS && value.to_str().is_ok_and(is_asked)).then(|| value.clone())
    }
}

fn names_upgrade(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|name| name.trim().eq_ignore_ascii_case("upgrade"))
}

/// Whether a protocol is none that carries requests to other routes of the backend: name and version are tokens, for
/// what is none some servers read as several.
fn is_opaque(protocol: &str) -> bool {
    let (name, version) = protocol.split_once('/').unwrap_or((protocol, "1"));
    // Names of fields are tokens too.
    let is_token = |text: &str| HeaderName::from_bytes(text.as_bytes()).is_ok();
    let is_carrier = ["h2c", "h2", "http", "tls"].iter().any(|carrier| name.eq_ignore_ascii_case(carrier));
    is_token(name) && is_token(version) && !is_carrier
}

/// A connection to a backend that has agreed to an upgrade.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) stream: Wire,
    /// What it has said behind its 101.
    pub(crate) read_ahead: Bytes,
    /// The request is under way at its target as long as this is kept.
    pub(crate) _under_way: Option<gatepost_meter::Slot>,
}

/// How a connection's driver hands its socket over, when there is an upgrade.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    wanted: Cell<bool>,
    left: RefCell<Option<(Wire, Bytes)>>,
    ended: Cell<bool>,
    told: Notify,
}

impl Handover {
    /// An upgrade is asked for.
    pub(super) fn want(&self, wanted: bool) {
        self.wanted.set(wanted);
    }

    /// Ends the driver's part: what is left of the connection, if it is wanted.
    pub(super) fn end(&self, left: impl FnOnce() -> Option<(Wire, Bytes)>) {
        if self.wanted.get() {
            *self.left.borrow_mut() = left();
        }
        self.ended.set(true);
        self.told.notify_one();
    }

    /// What is left of the connection, once its driver has ended.
    pub(super) async fn take(self: Rc<Self>) -> Option<(Wire, Bytes)> {
        while !self.ended.get() {
            self.told.notified().await;
        }
        self.left.borrow_mut().take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_carries_no_other_request_is_asked_for() {
        for (upgrade, connection, asked) in [
            ("websocket", "Upgrade", true),
            ("WebSocket", "keep-alive, upgrade", true),
            ("foo/2, websocket", "upgrade", true),
            ("websocket", "keep-alive", false),
            ("h2c", "upgrade, http2-settings", false),
            ("websocket, H2C", "upgrade", false),
            ("HTTP/2.0", "upgrade", false),
            ("TLS/1.0", "upgrade", false),
            ("", "upgrade", false),
            ("foo,", "upgrade", false),
            ("websocket;h2c", "upgrade", false),
            ("websocket h2c", "upgrade", false),
            ("websocket/\"h2c\"", "upgrade", false),
            ("websocket/1/h2c", "upgrade", false),
        ] {
            let request = http::Request::get("/").header(UPGRADE, upgrade).header(CONNECTION, connection);
            let (parts, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(Asked::by(&parts).is_some(), asked, "{upgrade} {connection}");
        }
    }
}
