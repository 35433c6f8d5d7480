//! How much is left of a limit, in headers.

use gatepost_meter::{Exceeded, Law, Level, UnixSeconds, Window};
use http::header::{HeaderName, InvalidHeaderValue, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};

/// Units that are used up for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Used {
    /// How many there are in a window.
    limit: u64,
    /// When the next window begins, in seconds, at least one.
    rest: u64,
    /// How long this one is, in seconds.
    length: u64,
}

impl Used {
    /// Of so many units in `window`, at `now`.
    pub(crate) fn new(limit: u64, window: Window, now: UnixSeconds) -> Self {
        let seconds = |from: UnixSeconds, to: UnixSeconds| u64::try_from(to.0.saturating_sub(from.0)).unwrap_or(0);
        Self { limit, rest: seconds(now, window.ends()).max(1), length: seconds(window.starts(), window.ends()) }
    }

    /// Adds when the next window begins.
    pub(super) fn tell_when(&self, headers: &mut HeaderMap) {
        headers.insert(RETRY_AFTER, HeaderValue::from(self.rest));
    }

    /// Adds that nothing is left.
    pub(super) fn tell_none_left(&self, headers: &mut HeaderMap) {
        tell_quota(headers, self.limit, 0, self.rest, self.length);
    }
}

/// What quotas and throttles are told in (draft-ietf-httpapi-ratelimit-headers-10).
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Adds what is left of a quota at `now`.
pub(crate) fn tell_level(headers: &mut HeaderMap, level: &Level, now: UnixSeconds) {
    let Used { limit, rest, length } = Used::new(level.limit, level.window, now);
    tell_quota(headers, limit, level.left, rest, length);
}

/// `"quota";q=1000;w=86400` and `"quota";r=873;t=3600`. Every admitted request of a caller with a quota has them, so they are
/// put together by hand.
fn tell_quota(headers: &mut HeaderMap, limit: u64, left: u64, rest: u64, length: u64) {
    let policy = quota_item(b";q=", limit, b";w=", length);
    let limit = quota_item(b";r=", left, b";t=", rest);
    if let (Ok(policy), Ok(limit)) = (policy, limit) {
        headers.insert(POLICY, policy);
        headers.insert(LIMIT, limit);
    }
}

fn quota_item(first: &[u8], one: u64, second: &[u8], other: u64) -> Result<HeaderValue, InvalidHeaderValue> {
    /// Longer than both numbers can become, with what stands around them.
    const ROOM: usize = 64;
    let (mut one_text, mut other_text) = (itoa::Buffer::new(), itoa::Buffer::new());
    let pieces =
        [&b"\"quota\""[..], first, one_text.format(one).as_bytes(), second, other_text.format(other).as_bytes()];
    let mut text = [0; ROOM];
    let mut length = 0;
    for piece in pieces {
        text[length..length + piece.len()].copy_from_slice(piece);
        length += piece.len();
    }
    HeaderValue::from_bytes(&text[..length])
}

/// `Retry-After`, and how full the bucket is.
pub(super) fn tell_bucket(headers: &mut HeaderMap, exceeded: &Exceeded) {
    let Exceeded { retry_after, law } = exceeded;
    let seconds = whole_seconds(retry_after.as_nanos());
    headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    if let Ok(policy) = HeaderValue::try_from(policy_of(*law)) {
        headers.insert(POLICY, policy);
    }
    if let Ok(limit) = HeaderValue::try_from(format!("\"default\";r=0;t={seconds}")) {
        headers.insert(LIMIT, limit);
    }
}

/// A bucket as a quota policy: the burst, in the time that an empty bucket takes to fill.
fn policy_of(law: Law) -> String {
    format!("\"default\";q={};w={}", law.burst(), whole_seconds(law.fills_in().as_nanos()))
}

/// Rounded up, at least one: a client that waits so long finds a token.
fn whole_seconds(nanoseconds: u128) -> u64 {
    u64::try_from(nanoseconds.div_ceil(1_000_000_000)).unwrap_or(u64::MAX).max(1)
}
