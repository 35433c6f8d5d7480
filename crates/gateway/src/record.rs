//! What happened to one request, from its head to the last byte of its answer.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{REFERER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use tokio::time::Instant;

use crate::caller::{Caller, ProofKinds};
use crate::connection::Connection;
use crate::rejection::{Reason, Rejection};
use crate::snapshot::Route;
use crate::trace::{Note, Notes};

/// One request's entry in the access log; and of a refused one, what it was decided by.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) id: RequestId,
    pub(crate) at: SystemTime,
    pub(crate) started: Instant,
    pub(crate) took: Duration,
    pub(crate) listener: Arc<str>,
    /// The number of the snapshot that it was decided by.
    pub(crate) snapshot: u64,
    /// The client's address.
    pub(crate) address: IpAddr,
    /// The client's address as text.
    pub(crate) client: HeaderValue,
    /// What told it.
    pub(crate) client_from: ClientFrom,
    /// The version of TLS; absent: in the clear.
    pub(crate) tls: Option<&'static str>,
    pub(crate) is_http2: bool,
    /// Absent: no head was understood.
    pub(crate) method: Option<Method>,
    pub(crate) host: Arc<str>,
    pub(crate) path: Box<str>,
    /// The declared length of the body, in bytes.
    pub(crate) length: Option<u64>,
    /// What was decided, in its order. Whatever is decided later in the exchange is added.
    pub(crate) notes: Notes,
    pub(crate) route: Option<Arc<Route>>,
    /// Whether admission let it in.
    pub(crate) admitted: bool,
    pub(crate) reason: Option<Reason>,
    /// What a pipeline's reason came from.
    pub(crate) rejection: Option<Rejection>,
    /// What the reason leaves open, where there was no pipeline; else the rejection tells.
    pub(crate) detail: Option<String>,
    pub(crate) status: Option<StatusCode>,
    /// What the client of a refused request was told, where its API answers in words of its own.
    pub(crate) answer: Option<Box<Response<Bytes>>>,
    /// What policies looked at.
    pub(crate) headers: Option<Box<PolicyHeaders>>,
    pub(crate) upstream: Option<Arc<str>>,
    pub(crate) attempts: u32,
    /// From the start of forwarding to the head of the backend's answer.
    pub(crate) upstream_took: Option<Duration>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) ended: Ended,
}

/// The headers that policies have conditions on, cut. Kept of nothing else: they may hold secrets.
#[derive(Debug, Clone, Default)]
pub(crate) struct PolicyHeaders {
    pub(crate) user_agent: Option<Box<str>>,
    pub(crate) referer: Option<Box<str>>,
}

/// What told the client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientFrom {
    /// The socket.
    Socket,
    /// A PROXY header.
    ProxyHeader,
    /// The entry of this number from the right, in the header of this name.
    Header(&'static str, u16),
}

/// How the answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With its last byte.
    Complete,
    /// Cut: its route's `timeout` was over.
    Deadline,
    /// Cut: the backend hung up.
    Upstream,
    /// Cut: the client went away, or took nothing for too long.
    Client,
    /// Cut: an upgraded connection on which nothing came for too long.
    Idle,
    /// Cut: the gateway was stopped, and `drain` was over.
    Stop,
}

impl Ended {
    /// Its name in the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Deadline => "deadline",
            Self::Upstream => "upstream",
            Self::Client => "client",
            Self::Idle => "idle",
            Self::Stop => "stop",
        }
    }
}

/// The name of a request: 16 hex digits, unique within a run of the gateway and unlikely to meet again in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestId(u64);

impl fmt::Display for RequestId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Hex digits are ASCII.
        out.write_str(str::from_utf8(&self.digits()).unwrap_or_default())
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

    /// All that it is.
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// Reads its 16 hex digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digits.then(|| u64::from_str_radix(text, 16).ok().map(Self))?
    }

    /// As a header's value.
    pub(crate) fn header(self) -> HeaderValue {
        HeaderValue::from_bytes(&self.digits()).unwrap_or(HeaderValue::from_static("-"))
    }

    /// Its 16 hex digits. Formatted by hand: every request has one.
    pub(crate) fn digits(self) -> [u8; 16] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        std::array::from_fn(|place| HEX[(self.0 >> (60 - 4 * place)) as usize & 15])
    }
}

/// Longer hosts and paths are cut in the log, in bytes: a record waits in a queue, and strangers choose these.
const LONGEST_NAME: usize = 2048;

/// Longer headers are cut, in bytes.
const LONGEST_HEADER: usize = 256;

impl PolicyHeaders {
    /// Those among `headers`.
    pub(crate) fn of(headers: &HeaderMap) -> Box<Self> {
        let text = |name| {
            let text = String::from_utf8_lossy(headers.get(name)?.as_bytes()).into_owned();
            Some(text[..text.floor_char_boundary(LONGEST_HEADER)].into())
        };
        Box::new(Self { user_agent: text(USER_AGENT), referer: text(REFERER) })
    }
}

/// As much of a name as the log keeps.
pub(crate) fn cut(name: &str) -> &str {
    &name[..name.floor_char_boundary(LONGEST_NAME)]
}

impl Record {
    /// Of a request that has just come on `connection`.
    pub(crate) fn begin(connection: &Connection, method: Option<Method>) -> Self {
        Self {
            id: connection.worker.next_id(),
            at: SystemTime::now(),
            started: Instant::now(),
            took: Duration::ZERO,
            listener: connection.site.name.borrow().clone(),
            snapshot: 0,
            address: connection.client,
            client: connection.client_text.clone(),
            client_from: connection.client_from(),
            tls: connection.tls_version(),
            is_http2: !connection.is_http1(),
            method,
            host: Arc::default(),
            path: Box::default(),
            length: None,
            notes: Notes::new(),
            route: None,
            admitted: false,
            reason: None,
            rejection: None,
            detail: None,
            status: None,
            answer: None,
            headers: None,
            upstream: None,
            attempts: 0,
            upstream_took: None,
            bytes_in: 0,
            bytes_out: 0,
            ended: Ended::Client,
        }
    }

    /// Of something on `connection` that was no request, or none that could be read.
    pub(crate) fn unread(connection: &Connection, reason: Reason) -> Self {
        let snapshot = connection.worker.snapshot_number();
        Self { reason: Some(reason), snapshot, ended: Ended::Complete, ..Self::begin(connection, None) }
    }

    /// Notes what it is judged by: the listener may have another name than when the connection came.
    pub(crate) fn judged_by(&mut self, snapshot: u64, listener: Option<&Arc<str>>, length: Option<u64>) {
        self.snapshot = snapshot;
        self.length = length;
        if let Some(listener) = listener.filter(|listener| self.listener != **listener) {
            self.listener = Arc::clone(listener);
        }
    }

    /// Notes what was asked for.
    pub(crate) fn name(&mut self, host: Arc<str>, path: &str) {
        self.host = host;
        self.path = cut(path).into();
    }

    /// Who it is from and how that was proven, if it was.
    pub(crate) fn caller(&self) -> Option<(&Caller, ProofKinds)> {
        let known = &self.route.as_ref()?.entry.callers()?.known;
        let told = self.notes.iter().rev().find_map(|note| {
            if let Note::Caller { caller, proofs, .. } = note { Some((*caller, *proofs)) } else { None }
        });
        let (number, proofs) = told?;
        known.numbered(number).map(|caller| (&**caller, proofs))
    }

    /// What the reason leaves open.
    pub(crate) fn detail(&self) -> Option<Cow<'_, str>> {
        let of_rejection = || self.rejection.as_ref().and_then(Rejection::detail).map(Cow::Owned);
        self.detail.as_deref().map(Cow::Borrowed).or_else(of_rejection)
    }
}
