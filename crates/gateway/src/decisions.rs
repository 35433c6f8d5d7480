//! Decisions on record: what each of the last refused requests was refused by.
//!
//! ```text
//! worker   Trace ─► Record ─► the access log's queue             no allocation, no lock
//! log      Record ─► Decisions: the last of them, bounded in number and in bytes
//! anybody  Decisions ─► the notes, read against the model of the snapshot that decided
//! ```
//!
//! Nothing is worked out again: what is kept are the notes that were taken while the request was judged, the rejection
//! that it was answered with, and the facts that it was judged by. They are put into words when somebody asks.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::mem::size_of;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use gatepost_config::model::Model;
use http::{Method, Response, StatusCode};
use thiserror::Error;
use tokio::time::Instant;

use crate::caller::ProofKinds;
use crate::explain::{Explanation, explain_kept};
use crate::record::{ClientFrom, PolicyHeaders, Record, RequestId};
use crate::rejection::{Reason, Rejection};
use crate::trace::Notes;

/// Refused requests that are kept.
pub const MOST_DECISIONS: usize = 65_536;

/// Bytes that what strangers choose (hosts, paths, headers) may take in all; beyond it fewer are kept.
const MOST_BYTES: usize = 32 << 20;

/// Configurations that are kept to read decisions against.
const MOST_VERSIONS: usize = 16;

/// How long a configuration that is no longer in force is kept without a decision by it: requests that it admitted may
/// still fail.
const LATECOMERS: Duration = Duration::from_secs(300);

/// Longer methods are cut, in bytes.
const LONGEST_METHOD: usize = 32;

/// The last refused requests, and the configurations that they were judged by. Locked by the thread that writes the
/// access log and by whoever asks, never by a worker.
#[derive(Debug)]
pub(crate) struct Decisions(Mutex<Ring>);

#[derive(Debug)]
struct Ring {
    /// The oldest first; apart from `kept`, because they are searched.
    ids: VecDeque<RequestId>,
    kept: VecDeque<Kept>,
    /// What strangers chose of all that is kept.
    bytes: usize,
    /// The newest last.
    versions: VecDeque<Version>,
}

/// A configuration that decisions may be read against.
#[derive(Debug)]
struct Version {
    number: u64,
    model: Arc<Model>,
    /// How many decisions by it are kept.
    decisions: usize,
    /// Since when it is no longer in force.
    superseded: Option<Instant>,
}

/// One refused request. Holds nothing of the snapshot, which would live on with it.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) id: RequestId,
    pub(crate) at: SystemTime,
    pub(crate) snapshot: u64,
    pub(crate) listener: Arc<str>,
    pub(crate) client: IpAddr,
    pub(crate) client_from: ClientFrom,
    pub(crate) tls: Option<&'static str>,
    pub(crate) is_http2: bool,
    pub(crate) method: Option<Method>,
    pub(crate) host: Arc<str>,
    pub(crate) path: Box<str>,
    pub(crate) length: Option<u64>,
    pub(crate) headers: Option<Box<PolicyHeaders>>,
    pub(crate) api: Option<Arc<str>>,
    pub(crate) route: Option<Arc<str>>,
    /// Who it was from and how that was proven, if it was.
    pub(crate) caller: Option<(Arc<str>, ProofKinds)>,
    /// Whether it was let in, and failed afterwards.
    pub(crate) admitted: bool,
    pub(crate) notes: Notes,
    pub(crate) reason: Reason,
    pub(crate) rejection: Option<Rejection>,
    pub(crate) detail: Option<Box<str>>,
    pub(crate) status: Option<StatusCode>,
    /// What the client was told, where its API answers in words of its own.
    pub(crate) answer: Option<Box<Response<Bytes>>>,
    pub(crate) upstream: Option<Arc<str>>,
}

/// Which decisions are wanted.
#[derive(Debug, Clone, Default)]
pub struct DecisionFilter {
    /// Only those for this reason.
    pub reason: Option<Reason>,
    /// Only those about this client.
    pub client: Option<IpAddr>,
    /// Only those that were put on record before the one with this id.
    pub before: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// Some of the decisions on record, the newest first.
#[derive(Debug, Clone)]
pub struct DecisionPage {
    /// The decisions.
    pub decisions: Vec<DecisionSummary>,
    /// How many are kept in all.
    pub kept: usize,
    /// Whether there may be more before the last one.
    pub more: bool,
}

/// What was refused, in short.
#[derive(Debug, Clone)]
pub struct DecisionSummary {
    /// Its id: 16 hex digits, as in `x-gatepost-decision`.
    pub id: String,
    /// When the head had been read.
    pub at: SystemTime,
    /// The number of the snapshot that it was judged by.
    pub snapshot: u64,
    /// The listener it came in on.
    pub listener: String,
    /// The client's address.
    pub client: IpAddr,
    /// The method, cut after 32 bytes. Absent: no head was understood, and neither were host and path.
    pub method: Option<String>,
    /// The host.
    pub host: String,
    /// The path in the one form, cut after 2,048 bytes.
    pub path: String,
    /// The API's id, if a route matched.
    pub api: Option<String>,
    /// The route's key, if one matched.
    pub route: Option<String>,
    /// Whom it was from, if that was proven.
    pub caller: Option<String>,
    /// How: `key`, or `sigv4+key`.
    pub proof: Option<&'static str>,
    /// Why.
    pub reason: Reason,
    /// What the client saw, if it was answered.
    pub status: Option<StatusCode>,
}

/// One decision with its whole reasoning.
#[derive(Debug, Clone)]
pub struct Decision {
    /// The same as in a list.
    pub summary: DecisionSummary,
    /// What told the client's address: `socket`, `proxy`, `x-forwarded-for:2` or `forwarded:2`.
    pub client_from: String,
    /// The version of TLS, absent in the clear.
    pub tls: Option<&'static str>,
    /// Whether it came by HTTP/2.
    pub is_http2: bool,
    /// The declared length of the body in bytes.
    pub length: Option<u64>,
    /// The `User-Agent`, cut after 256 bytes; only where policies were asked.
    pub user_agent: Option<String>,
    /// The `Referer`, likewise.
    pub referer: Option<String>,
    /// What the reason leaves open.
    pub detail: Option<String>,
    /// The backend that it failed at.
    pub upstream: Option<String>,
    /// The steps, as they were taken.
    pub explanation: Result<Explanation, Unexplained>,
}

/// Why a decision has no steps.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unexplained {
    /// Its configuration is not kept.
    #[error("the configuration that it was judged by is no longer kept; what is known are the facts and the reason")]
    Forgotten,
    /// There was no request to judge.
    #[error("no request could be read, so there was nothing to judge")]
    NeverJudged,
    /// What was decided is not what was written.
    #[error("{0}")]
    Contradiction(String),
}

impl Default for Decisions {
    fn default() -> Self {
        Self(Mutex::new(Ring { ids: VecDeque::new(), kept: VecDeque::new(), bytes: 0, versions: VecDeque::new() }))
    }
}

impl Decisions {
    /// From now on requests are judged by this configuration.
    pub(crate) fn follow(&self, number: u64, model: &Arc<Model>) {
        let mut ring = self.ring();
        if let Some(before) = ring.versions.back_mut() {
            before.superseded = Some(Instant::now());
        }
        ring.versions.push_back(Version { number, model: Arc::clone(model), decisions: 0, superseded: None });
        if ring.versions.len() > MOST_VERSIONS {
            ring.versions.pop_front();
        }
    }

    /// Lets go of configurations that nothing on record was judged by; worth doing now and then.
    pub(crate) fn tidy(&self) {
        let now = Instant::now();
        let is_over = |since: Instant| now.saturating_duration_since(since) > LATECOMERS;
        self.ring().versions.retain(|version| version.decisions > 0 || !version.superseded.is_some_and(is_over));
    }

    /// Keeps a record if it is one of a refusal.
    pub(crate) fn keep(&self, record: Box<Record>) {
        if let Some(reason) = record.reason {
            self.ring().push(Kept::of(*record, reason));
        }
    }

    /// Those on record that `filter` lets through, the newest first.
    pub(crate) fn page(&self, filter: &DecisionFilter) -> DecisionPage {
        let ring = self.ring();
        let end = match &filter.before {
            None => ring.kept.len(),
            // One that is gone has nothing before it.
            Some(id) => RequestId::parse(id).and_then(|id| ring.place_of(id)).unwrap_or(0),
        };
        let mut wanted = ring.kept.range(..end).rev().filter(|kept| {
            filter.reason.is_none_or(|reason| reason == kept.reason)
                && filter.client.is_none_or(|client| client == kept.client)
        });
        let decisions: Vec<_> = wanted.by_ref().take(filter.limit).map(Kept::summary).collect();
        DecisionPage { decisions, kept: ring.kept.len(), more: wanted.next().is_some() }
    }

    /// The decision with this id, if it is on record.
    pub(crate) fn open(&self, id: &str) -> Option<Decision> {
        let id = RequestId::parse(id)?;
        let ring = self.ring();
        let kept = ring.kept.get(ring.place_of(id)?)?;
        let version = ring.versions.iter().find(|version| version.number == kept.snapshot);
        let explanation = match version {
            _ if kept.method.is_none() => Err(Unexplained::NeverJudged),
            Some(version) => {
                explain_kept(&version.model, kept).map_err(|error| Unexplained::Contradiction(error.to_string()))
            }
            None => Err(Unexplained::Forgotten),
        };
        Some(kept.open(explanation))
    }

    /// How many are kept.
    pub(crate) fn count(&self) -> usize {
        self.ring().kept.len()
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn place_of(&self, id: RequestId) -> Option<usize> {
        // Whoever asks most often asks about what just happened.
        self.ids.iter().rposition(|known| *known == id)
    }

    fn push(&mut self, kept: Kept) {
        self.bytes += kept.bytes();
        while self.kept.len() >= MOST_DECISIONS || (self.bytes > MOST_BYTES && !self.kept.is_empty()) {
            self.pop();
        }
        if let Some(version) = self.version(kept.snapshot) {
            version.decisions += 1;
        }
        self.ids.push_back(kept.id);
        self.kept.push_back(kept);
    }

    fn pop(&mut self) {
        self.ids.pop_front();
        if let Some(oldest) = self.kept.pop_front() {
            self.bytes -= oldest.bytes();
            if let Some(version) = self.version(oldest.snapshot) {
                version.decisions = version.decisions.saturating_sub(1);
            }
        }
    }

    /// Most are judged by the newest.
    fn version(&mut self, number: u64) -> Option<&mut Version> {
        self.versions.iter_mut().rev().find(|version| version.number == number)
    }
}

impl Kept {
    fn of(record: Record, reason: Reason) -> Self {
        let caller = record.caller().map(|(caller, proofs)| (Arc::clone(&caller.written.name), proofs));
        let Record { id, at, snapshot, listener, client_from, tls, is_http2, .. } = record;
        Self {
            id,
            at,
            snapshot,
            listener,
            client: record.address,
            client_from,
            tls,
            is_http2,
            method: record.method.map(cut_method),
            host: record.host,
            path: record.path,
            length: record.length,
            headers: record.headers,
            api: record.route.as_ref().map(|route| Arc::clone(&route.api.id)),
            route: record.route.as_ref().map(|route| Arc::clone(&route.key)),
            caller,
            admitted: record.admitted,
            notes: record.notes,
            reason,
            rejection: record.rejection.map(without_document),
            detail: record.detail.map(String::into_boxed_str),
            status: record.status,
            answer: record.answer,
            upstream: record.upstream,
        }
    }

    /// What strangers chose, and what had no room.
    fn bytes(&self) -> usize {
        let Self { host, path, headers, detail, notes, answer, .. } = self;
        let answer = answer.as_ref().map_or(0, |answer| answer.body().len());
        let headers = headers.as_ref().map_or(0, |headers| {
            let length = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
            length(&headers.user_agent) + length(&headers.referer)
        });
        let spilled = if notes.spilled() { notes.capacity() * size_of::<crate::trace::Note>() } else { 0 };
        host.len() + path.len() + answer + headers + detail.as_ref().map_or(0, |detail| detail.len()) + spilled
    }

    fn detail(&self) -> Option<Cow<'_, str>> {
        let of_rejection = || self.rejection.as_ref().and_then(Rejection::detail).map(Cow::Owned);
        self.detail.as_deref().map(Cow::Borrowed).or_else(of_rejection)
    }

    fn summary(&self) -> DecisionSummary {
        let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
        DecisionSummary {
            id: self.id.to_string(),
            at: self.at,
            snapshot: self.snapshot,
            listener: self.listener.to_string(),
            client: self.client,
            method: self.method.as_ref().map(Method::to_string),
            host: self.host.to_string(),
            path: self.path.to_string(),
            api: text(&self.api),
            route: text(&self.route),
            caller: self.caller.as_ref().map(|(name, _)| name.to_string()),
            proof: self.caller.as_ref().map(|(_, proofs)| proofs.name()),
            reason: self.reason,
            status: self.status,
        }
    }

    fn open(&self, explanation: Result<Explanation, Unexplained>) -> Decision {
        let header = |pick: fn(&PolicyHeaders) -> &Option<Box<str>>| {
            self.headers.as_deref().and_then(|headers| pick(headers).as_deref()).map(str::to_owned)
        };
        Decision {
            summary: self.summary(),
            client_from: match self.client_from {
                ClientFrom::Socket => "socket".to_owned(),
                ClientFrom::ProxyHeader => "proxy".to_owned(),
                ClientFrom::Header(name, hop) => format!("{name}:{hop}"),
            },
            tls: self.tls,
            is_http2: self.is_http2,
            length: self.length,
            user_agent: header(|headers| &headers.user_agent),
            referer: header(|headers| &headers.referer),
            detail: self.detail().map(Cow::into_owned),
            upstream: self.upstream.as_deref().map(str::to_owned),
            explanation,
        }
    }
}

/// A document is part of a configuration, and would keep it from being let go.
fn without_document(rejection: Rejection) -> Rejection {
    if let Rejection::PolicyDenied(denial) = &rejection {
        return Rejection::PolicyDenied(denial.told());
    }
    rejection
}

/// A part of a token is a token.
fn cut_method(method: Method) -> Method {
    match method.as_str().get(..LONGEST_METHOD) {
        Some(cut) if method.as_str().len() > LONGEST_METHOD => Method::from_bytes(cut.as_bytes()).unwrap_or(method),
        Some(_) | None => method,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(number: u64, path: &str) -> Kept {
        Kept {
            id: RequestId::of(number),
            at: SystemTime::UNIX_EPOCH,
            snapshot: 1,
            listener: "default".into(),
            client: [192, 0, 2, 1].into(),
            client_from: ClientFrom::Socket,
            tls: None,
            is_http2: false,
            method: Some(Method::GET),
            host: Arc::default(),
            path: path.into(),
            length: None,
            headers: None,
            api: None,
            route: None,
            caller: None,
            admitted: false,
            notes: Notes::new(),
            reason: Reason::NoRoute,
            rejection: Some(Rejection::NoRoute),
            detail: None,
            status: None,
            answer: None,
            upstream: None,
        }
    }

    #[test]
    fn what_strangers_choose_is_bounded_and_the_newest_are_kept() {
        const SENT: u64 = 40_000;
        let decisions = Decisions::default();
        let long = "x".repeat(2048);
        for number in 0..SENT {
            decisions.ring().push(kept(number, &long));
        }
        let count = MOST_BYTES / long.len();
        assert_eq!(decisions.count(), count);
        let newest = decisions.page(&DecisionFilter { limit: 1, ..DecisionFilter::default() });
        assert_eq!(newest.decisions[0].id, RequestId::of(SENT - 1).to_string());
        assert!(decisions.open(&RequestId::of(SENT - count as u64).to_string()).is_some());
        assert!(decisions.open(&RequestId::of(SENT - count as u64 - 1).to_string()).is_none());
        // Short ones take their place, and then the number counts.
        for number in SENT..SENT + 2 * MOST_DECISIONS as u64 {
            decisions.ring().push(kept(number, "/"));
        }
        let ring = decisions.ring();
        assert_eq!((ring.kept.len(), ring.ids.len(), ring.bytes), (MOST_DECISIONS, MOST_DECISIONS, MOST_DECISIONS));
    }

    #[test]
    fn an_id_is_16_hex_digits_and_nothing_else() {
        let decisions = Decisions::default();
        decisions.ring().push(kept(7, "/"));
        let id = RequestId::of(7).to_string();
        assert!(decisions.open(&id).is_some());
        for other in ["", "0", &id[1..], &format!("+{}", &id[1..]), &format!("0{id}")] {
            assert!(decisions.open(other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_long_method_is_cut() {
        let method = |length: usize| Method::from_bytes("M".repeat(length).as_bytes()).expect("a token");
        assert_eq!(cut_method(method(32)), method(32));
        assert_eq!(cut_method(method(60_000)), method(32));
        assert_eq!(cut_method(Method::DELETE), Method::DELETE);
    }
}
