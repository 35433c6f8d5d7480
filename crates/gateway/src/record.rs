//! What happened to one request, from its head to the last byte of its answer.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tokio::time::Instant;

use crate::rejection::Reason;
use crate::snapshot::Route;

/// One request's entry in the access log.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) id: RequestId,
    pub(crate) at: SystemTime,
    pub(crate) started: Instant,
    pub(crate) took: Duration,
    pub(crate) listener: Arc<str>,
    pub(crate) client: IpAddr,
    /// Absent: no head was understood.
    pub(crate) method: Option<Method>,
    pub(crate) host: Box<str>,
    pub(crate) path: Box<str>,
    pub(crate) route: Option<Arc<Route>>,
    /// Whether admission let it in.
    pub(crate) admitted: bool,
    pub(crate) reason: Option<Reason>,
    /// What the reason leaves open.
    pub(crate) detail: Option<String>,
    pub(crate) status: Option<StatusCode>,
    pub(crate) upstream: Option<Arc<str>>,
    pub(crate) attempts: u32,
    /// From the start of forwarding to the head of the backend's answer.
    pub(crate) upstream_took: Option<Duration>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) ended: Ended,
}

/// How the answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ended {
    /// With its last byte.
    Complete,
    /// Cut: its route's `timeout` was over.
    Deadline,
    /// Cut: the backend hung up.
    Upstream,
    /// Cut: the client went away, or took nothing for too long.
    Client,
}

impl Ended {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    fn is_complete(&self) -> bool {
        *self == Self::Complete
    }
}

/// The name of a request: 16 hex digits, unique within a run of the gateway and unlikely to meet again in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestId(u64);

impl fmt::Display for RequestId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

impl RequestId {
    /// The id of the request with this number. Different numbers have different ids, and an id does not tell how many
    /// requests there were before (the finalizer of SplitMix64, which is a bijection).
    pub(crate) fn of(number: u64) -> Self {
        let mixed = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Self(mixed ^ (mixed >> 31))
    }

    /// As a header's value.
    pub(crate) fn header(self) -> HeaderValue {
        HeaderValue::try_from(self.to_string()).unwrap_or(HeaderValue::from_static("-"))
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A record as a line of JSON: the order and names of the fields that users see.
///
/// What says nothing is left out: no reason, the default stage, one attempt, an answer that ended with its last byte.
#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(serialize_with = "to_the_millisecond")]
    time: Timestamp,
    id: RequestId,
    listener: &'a str,
    client: IpAddr,
    /// What told the client's address.
    client_from: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    host: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    api: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<&'a str>,
    #[serde(skip_serializing_if = "is_at_most_one")]
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_ms: Option<f64>,
    total_ms: f64,
    bytes_in: u64,
    bytes_out: u64,
    #[serde(skip_serializing_if = "Ended::is_complete")]
    ended: Ended,
}

/// The stage of an API that names none.
const DEFAULT_STAGE: &str = "$default";

/// Longer hosts and paths are cut in the log, in bytes: a record waits in a queue, and strangers choose these.
const LONGEST_NAME: usize = 2048;

impl Record {
    /// Notes what was asked for.
    pub(crate) fn name(&mut self, host: &str, path: &str) {
        self.host = host[..host.floor_char_boundary(LONGEST_NAME)].into();
        self.path = path[..path.floor_char_boundary(LONGEST_NAME)].into();
    }

    /// Appends the record to `lines`, with its line end.
    pub(crate) fn write(&self, lines: &mut Vec<u8>) -> serde_json::Result<()> {
        let route = self.route.as_deref();
        serde_json::to_writer(
            &mut *lines,
            &Line {
                // A clock set outside of years -9999 to 9999 is logged as the epoch.
                time: Timestamp::try_from(self.at).unwrap_or(Timestamp::UNIX_EPOCH),
                id: self.id,
                listener: &self.listener,
                client: self.client,
                client_from: "socket",
                method: self.method.as_ref().map(Method::as_str),
                host: &self.host,
                path: &self.path,
                api: route.map(|route| &*route.api.id),
                stage: route.map(|route| &*route.api.stage).filter(|stage| *stage != DEFAULT_STAGE),
                route: route.map(|route| &*route.key),
                verdict: if self.admitted { "admitted" } else { "refused" },
                reason: self.reason.map(Reason::name),
                detail: self.detail.as_deref(),
                status: self.status.map(|status| status.as_u16()),
                upstream: self.upstream.as_deref(),
                attempts: self.attempts,
                upstream_ms: self.upstream_took.map(milliseconds),
                total_ms: milliseconds(self.took),
                bytes_in: self.bytes_in,
                bytes_out: self.bytes_out,
                ended: self.ended,
            },
        )?;
        lines.push(b'\n');
        Ok(())
    }
}

fn to_the_millisecond<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.3}"))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_at_most_one(count: &u32) -> bool {
    *count <= 1
}

/// To the microsecond.
#[expect(clippy::cast_precision_loss, reason = "microseconds of a request fit a float's 53 bits for 285 years")]
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
