//! A configuration that is asked about requests, and serves none: compiled once, however many the questions are.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use gatepost_config::model::{self, AddressSet, AddressSource, Model};
use gatepost_ranges::Feeds;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use ipnet::IpNet;

use crate::admission::Meters;
use crate::clock::Clock;
use crate::compile::Lasting;
use crate::decision::Outcome;
use crate::host::host_name;
use crate::rejection::Reason;
use crate::request::{Assumed, Entrance, Facts};
use crate::snapshot::{ListenKey, Listener, Route, Snapshot};
use crate::stats::Stats;
use crate::trace::NoTrace;

/// A compiled configuration, asked what would become of requests. The functions that decide are those of the pipeline;
/// meters count as full.
#[derive(Debug)]
pub struct Judge<'m> {
    model: &'m Model,
    listeners: HashMap<&'m str, Arc<Listener>>,
    /// By where the text of its key lies, which a compiled route shares with the one it was compiled from.
    written: HashMap<*const u8, Written<'m>>,
    /// What is judged by in place of lists that are fetched.
    copies: Feeds,
}

/// A request as far as it is known once somebody has read it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'r> {
    /// The name of the listener that it came in on.
    pub listener: &'r str,
    /// The client, whoever told its address.
    pub client: IpAddr,
    /// The method.
    pub method: &'r Method,
    /// The host, with or without a port.
    pub host: &'r str,
    /// The path, without a query.
    pub path: &'r str,
    /// The name of the caller that it proved to be from; absent: of nobody.
    pub caller: Option<&'r str>,
}

/// What becomes of a request, and by which route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged<'j> {
    /// What becomes of it.
    pub judgement: Judgement,
    /// The route that matches, if it came to that.
    pub route: Option<RouteName<'j>>,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Judgement {
    /// It is let in.
    Admitted,
    /// Its listener only sends clients to `https`, with this status.
    ToHttps(StatusCode),
    /// It is refused.
    Refused {
        /// The status that the client sees.
        status: StatusCode,
        /// Why, as the access log has it.
        reason: Reason,
    },
    /// There is no listener of that name.
    NoListener,
}

/// Which route, as the access log has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteName<'j> {
    /// The id of its API.
    pub api: &'j str,
    /// Its key.
    pub key: &'j str,
}

/// A route as it was written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written<'m> {
    pub(crate) api: &'m model::Api,
    pub(crate) route: &'m model::Route,
}

impl<'m> Judge<'m> {
    /// Compiles `model` as for serving, without its sockets. Of sets that are fetched the last good copies count that
    /// its state directory has.
    #[must_use]
    pub fn new(model: &'m Model) -> Self {
        let now = Clock::start().now();
        let mut lasting = Lasting::for_one_client(model);
        let snapshot = Snapshot::compile(model, None, &mut lasting, &Stats::default(), now);
        let compiled = |listener: &'m model::Listener| {
            let key = ListenKey::of(listener).next()?;
            Some((&*listener.name, Arc::clone(snapshot.listeners.get(&key)?)))
        };
        let routes = model.apis.iter().flat_map(|api| api.routes.iter().map(move |route| Written { api, route }));
        Self {
            model,
            listeners: model.listeners.iter().filter_map(compiled).collect(),
            written: routes.map(|written| (written.route.key.as_ptr(), written)).collect(),
            copies: lasting.feeds,
        }
    }

    /// What becomes of a request whose body is of unknown length. Its host is taken to be one that the certificate
    /// stands for; the headers that it had besides are not known here.
    #[must_use]
    pub fn judge(&self, asked: &Asked<'_>) -> Judged<'_> {
        let Some(listener) = self.listeners.get(asked.listener) else { return Judgement::NoListener.into() };
        let Some(head) = Head::new(asked.method, asked.host, asked.path) else { return Judgement::MALFORMED.into() };
        let Some(facts) = head.facts(listener, asked.client) else { return Judgement::MALFORMED.into() };
        let facts = facts.assuming(asked.caller.map_or(Assumed::Nobody, Assumed::Caller));
        let (judgement, route) = judge(listener, &facts);
        let name = |route: &'_ Arc<Route>| self.written(route).map(Written::name);
        Judged { judgement, route: route.and_then(name) }
    }

    pub(crate) fn model(&self) -> &'m Model {
        self.model
    }

    pub(crate) fn listener(&self, name: &str) -> Option<&Listener> {
        self.listeners.get(name).map(|listener| &**listener)
    }

    /// The networks of a set by which is judged: of one that is fetched, those of its copy. None if it has no copy.
    pub(crate) fn networks(&self, set: &AddressSet) -> Option<Vec<IpNet>> {
        match &set.source {
            AddressSource::Fixed(networks) => Some(networks.clone()),
            AddressSource::Fetched(_) => {
                self.copies.get(set).filter(|copy| copy.is_loaded()).map(|copy| copy.networks())
            }
        }
    }

    /// The route that this one was compiled from.
    pub(crate) fn written(&self, route: &Route) -> Option<Written<'m>> {
        self.written.get(&route.key.as_ptr()).copied()
    }
}

/// The judgement about a request, and the route that it was judged by. Signatures are taken to be good.
pub(crate) fn judge<'l>(listener: &'l Listener, facts: &Facts<'_>) -> (Judgement, Option<&'l Arc<Route>>) {
    let decision = listener.decide(facts, true, Meters::Full, &mut NoTrace);
    let judgement = match &decision.outcome {
        Ok(Outcome::Admitted(_) | Outcome::Candidate(_)) => Judgement::Admitted,
        Ok(Outcome::ToHttps(status)) => Judgement::ToHttps(*status),
        Err(rejection) => {
            let answer = decision.refusal(facts);
            let status = answer.map_or_else(|| rejection.status(), |answer| answer.status());
            Judgement::Refused { status, reason: rejection.reason() }
        }
    };
    (judgement, decision.route)
}

/// The head of a request with nothing in it but what routes go by.
#[derive(Debug)]
pub(crate) struct Head {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Head {
    /// None if HTTP cannot carry it.
    pub(crate) fn new(method: &Method, host: &str, path: &str) -> Option<Self> {
        let host = HeaderValue::from_str(host).ok()?;
        Some(Self { method: method.clone(), uri: path.parse().ok()?, headers: HeaderMap::from_iter([(HOST, host)]) })
    }

    /// As it comes in on `listener`, from anybody whom a route lets in. None if it can be read in more than one way.
    pub(crate) fn facts<'h>(&'h self, listener: &'h Listener, client: IpAddr) -> Option<Facts<'h>> {
        let Self { method, uri, headers } = self;
        let (is_secure, private) = (listener.is_secure, listener.private.as_ref());
        let entrance = Entrance { client: client.to_canonical(), is_secure, private };
        let facts = Facts::read(entrance, method, uri, headers, None, host_name, &mut NoTrace).ok()?;
        Some(facts.assuming(Assumed::Somebody))
    }

    pub(crate) fn method(&self) -> &Method {
        &self.method
    }

    pub(crate) fn path(&self) -> &str {
        self.uri.path()
    }
}

impl Judgement {
    const MALFORMED: Self = Self::Refused { status: StatusCode::BAD_REQUEST, reason: Reason::Malformed };

    /// Whether the request gets past the gateway's rules.
    #[must_use]
    pub fn is_admitted(self) -> bool {
        match self {
            Self::Admitted => true,
            Self::ToHttps(_) | Self::Refused { .. } | Self::NoListener => false,
        }
    }
}

impl<'m> Written<'m> {
    pub(crate) fn name(self) -> RouteName<'m> {
        RouteName { api: &self.api.id, key: &self.route.key }
    }
}

impl From<Judgement> for Judged<'_> {
    fn from(judgement: Judgement) -> Self {
        Self { judgement, route: None }
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admitted => out.write_str("admitted"),
            Self::ToHttps(status) => write!(out, "{} to https", status.as_u16()),
            Self::Refused { status, reason } => write!(out, "{} {}", status.as_u16(), reason.name()),
            Self::NoListener => out.write_str("no such listener"),
        }
    }
}

impl fmt::Display for RouteName<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { api, key } = self;
        if *api == "default" { out.write_str(key) } else { write!(out, "{key} of {api}") }
    }
}
