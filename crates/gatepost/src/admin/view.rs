//! What the admin API answers with. `docs/reference/admin-api.json` describes each of these.

use std::net::IpAddr;
use std::path::Path;

use gatepost_config::Diagnostic;
use gatepost_gateway::{
    AddressSetReport, Decision, DecisionPage, DecisionSummary, InForce, Level, MOST_DECISIONS, MeterReport, Observer,
    SetReport, SetState, TargetReport, TargetState,
};
use jiff::Timestamp;
use serde::Serialize;

use crate::admin::{LastReload, ReloadEnd};
use crate::why::report::{Report, SnapshotReport, timestamp};

/// What is in force, and how it came to that.
#[derive(Serialize)]
pub(super) struct SnapshotView {
    #[serde(flatten)]
    in_force: SnapshotReport,
    file: Option<String>,
    last_reload: Option<ReloadView>,
}

#[derive(Serialize)]
struct ReloadView {
    at: Timestamp,
    why: &'static str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    diagnostics: Option<Vec<DiagnosticView>>,
}

/// A mistake in a configuration, and where it is.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DiagnosticView {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

/// How many decisions there are, and how many there are not.
#[derive(Serialize)]
pub(super) struct OnRecord {
    kept: usize,
    capacity: usize,
    dropped: u64,
}

#[derive(Serialize)]
pub(super) struct DecisionsView {
    decisions: Vec<SummaryView>,
    /// What to ask for with `before` to go on; absent: there is nothing more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    #[serde(flatten)]
    on_record: OnRecord,
}

#[derive(Serialize)]
struct SummaryView {
    id: String,
    time: Timestamp,
    snapshot: u64,
    listener: String,
    client: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<&'static str>,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
}

/// A decision with its whole reasoning.
#[derive(Serialize)]
pub(super) struct DecisionView {
    id: String,
    time: Timestamp,
    request: RequestView,
    #[serde(flatten)]
    report: Report,
}

/// The facts that a request was judged by.
#[derive(Serialize)]
struct RequestView {
    listener: String,
    client: IpAddr,
    client_from: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<&'static str>,
    http: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<String>,
}

/// A part of a list.
#[derive(Serialize)]
pub(super) struct Part<T> {
    items: Vec<T>,
    offset: usize,
    total: usize,
}

#[derive(Serialize)]
pub(super) struct AddressSetView {
    name: String,
    kind: &'static str,
    /// Overlapping and neighbouring ones merged.
    networks: usize,
    #[serde(flatten)]
    fetched: Option<FetchedView>,
}

/// How an address set is kept fresh.
#[derive(Serialize)]
struct FetchedView {
    url: String,
    state: &'static str,
    stale: bool,
    /// Absent: it was never loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    age_seconds: Option<u64>,
    /// Why the last list is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<String>,
    /// Why the last fetch brought nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
}

/// A throttle, or how many may be under way.
#[derive(Serialize)]
pub(super) struct MeterView {
    api: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    #[serde(flatten)]
    level: LevelView,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum LevelView {
    Throttle { rate: String, burst: u32, left: u32 },
    ThrottleByClient { rate: String, burst: u32, in_debt: usize, slots: usize, shared_takes: u64 },
    Parallel { cap: usize, under_way: usize },
}

#[derive(Serialize)]
pub(super) struct TargetView {
    upstream: String,
    target: String,
    state: &'static str,
    since: Timestamp,
    requests: usize,
}

impl SnapshotView {
    pub(super) fn of(in_force: &InForce, file: Option<&Path>, last: Option<&LastReload>) -> Self {
        Self {
            in_force: SnapshotReport::in_force(in_force.number(), in_force.since()),
            file: file.map(|file| file.display().to_string()),
            last_reload: last.map(ReloadView::of),
        }
    }
}

impl ReloadView {
    fn of(reload: &LastReload) -> Self {
        let LastReload { at, why, end } = reload;
        let view = |outcome| Self { at: timestamp(*at), why, outcome, detail: None, report: None, diagnostics: None };
        match end {
            ReloadEnd::Applied => view("applied"),
            ReloadEnd::Mistaken { report, diagnostics } => {
                Self { report: Some(report.clone()), diagnostics: Some(diagnostics.clone()), ..view("refused") }
            }
            ReloadEnd::Impossible(detail) => Self { detail: Some(detail.clone()), ..view("refused") },
        }
    }
}

impl DiagnosticView {
    pub(crate) fn of(diagnostic: &Diagnostic) -> Self {
        let place = diagnostic.place();
        Self {
            file: place.map(|place| place.file().to_owned()),
            line: place.map(gatepost_config::Place::line),
            column: place.map(gatepost_config::Place::column),
            message: diagnostic.message().to_owned(),
            help: diagnostic.help().map(str::to_owned),
        }
    }
}

impl OnRecord {
    pub(super) fn of(kept: usize, observer: &Observer) -> Self {
        Self { kept, capacity: MOST_DECISIONS, dropped: observer.stats().decisions_dropped() }
    }
}

impl DecisionsView {
    pub(super) fn of(page: DecisionPage, observer: &Observer) -> Self {
        let DecisionPage { decisions, kept, more } = page;
        let last = decisions.last().map(|last| last.id.clone());
        Self {
            decisions: decisions.into_iter().map(SummaryView::of).collect(),
            next: last.filter(|_| more),
            on_record: OnRecord::of(kept, observer),
        }
    }
}

impl SummaryView {
    fn of(summary: DecisionSummary) -> Self {
        let DecisionSummary { id, at, snapshot, listener, client, method, host, path, .. } = summary;
        let DecisionSummary { api, route, caller, proof, reason, status, .. } = summary;
        let read = method.is_some();
        Self {
            id,
            time: timestamp(at),
            snapshot,
            listener,
            client,
            method,
            host: Some(host).filter(|_| read),
            path: Some(path).filter(|_| read),
            api,
            route,
            caller,
            proof,
            reason: reason.name(),
            status: status.map(|status| status.as_u16()),
        }
    }
}

impl DecisionView {
    pub(super) fn of(decision: Decision, in_force: &InForce) -> Self {
        let is_in_force = decision.summary.snapshot == in_force.number();
        let snapshot = match is_in_force {
            true => SnapshotReport::in_force(in_force.number(), in_force.since()),
            false => SnapshotReport { version: decision.summary.snapshot, since: None, age_seconds: None },
        };
        let report = Report::of_decision(&decision).by(snapshot);
        let Decision { summary, client_from, tls, is_http2, length, user_agent, referer, upstream, .. } = decision;
        let summary = SummaryView::of(summary);
        let SummaryView { id, time, listener, client, method, host, path, api, route, caller, proof, .. } = summary;
        let http = if is_http2 { "2" } else { "1" };
        let request = RequestView {
            listener,
            client,
            client_from,
            tls,
            http,
            method,
            host,
            path,
            length,
            user_agent,
            referer,
            api,
            route,
            caller,
            proof,
            upstream,
        };
        Self { id, time, request, report }
    }
}

impl<T> Part<T> {
    /// At most `limit` of all, from `offset` on; only these are made.
    pub(super) fn of(all: impl ExactSizeIterator<Item = T>, offset: usize, limit: usize) -> Self {
        let total = all.len();
        Self { items: all.skip(offset).take(limit).collect(), offset, total }
    }
}

impl AddressSetView {
    pub(super) fn of(report: AddressSetReport) -> Self {
        let AddressSetReport { name, networks, fetched, .. } = report;
        let kind = if fetched.is_some() { "fetched" } else { "fixed" };
        Self { name: name.to_string(), kind, networks, fetched: fetched.map(FetchedView::of) }
    }
}

impl FetchedView {
    fn of(report: SetReport) -> Self {
        let SetReport { url, state, age, is_stale, held, last_error, .. } = report;
        let state = match state {
            SetState::NeverLoaded => "never_loaded",
            SetState::Stale => "stale",
            SetState::Held => "held",
            SetState::Failing => "failing",
            SetState::Fresh => "fresh",
        };
        Self { url, state, stale: is_stale, age_seconds: age.map(|age| age.as_secs()), held, last_error }
    }
}

impl MeterView {
    pub(super) fn of(report: MeterReport) -> Self {
        let MeterReport { api, route, level } = report;
        let level = match level {
            Level::Throttle { rate, burst, left } => LevelView::Throttle { rate, burst, left },
            Level::ThrottleByClient { rate, burst, in_debt, slots, shared_takes } => {
                LevelView::ThrottleByClient { rate, burst, in_debt, slots, shared_takes }
            }
            Level::Parallel { cap, under_way } => LevelView::Parallel { cap, under_way },
        };
        Self { api: api.to_string(), route: route.map(|route| route.to_string()), level }
    }
}

impl TargetView {
    pub(super) fn of(report: TargetReport) -> Self {
        let TargetReport { upstream, target, state, since, requests, .. } = report;
        let state = match state {
            TargetState::Unchecked => "unchecked",
            TargetState::Initial => "initial",
            TargetState::Healthy => "healthy",
            TargetState::Unhealthy => "unhealthy",
            TargetState::Ejected => "ejected",
        };
        Self { upstream: upstream.to_string(), target: target.to_string(), state, since: timestamp(since), requests }
    }
}
