//! What a configuration compiles to, and what a request is served by.
//!
//! A snapshot never changes: a reload makes a new one and swaps it in. What must live on (buckets, slots, counters,
//! targets) is held outside, in [`Lasting`], under stable names, and only pointed to from here.
//!
//! [`Lasting`]: crate::compile::Lasting

use std::cell::Cell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use gatepost_config::model::{
    Compat, HostHeader, Limits, Methods, Model, PolicyDocument, Private, ProofKind, ProxyProtocol, RouteMatcher,
    Template, Throttle,
};
use gatepost_meter::{Bucket, ClientTable, Slots};
use gatepost_net::tls::ServerTls;
use gatepost_net::{BelievedHeader, Client, HopSource, Peer, Step, find_client, fold};
use gatepost_prefix::PrefixSet;
use gatepost_ranges::{Feeds, LiveSet};
use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::caller::{Budget, Caller, CallerRoute, Callers, ProofKinds};
use crate::rejection::Rejection;
use crate::request::Facts;
use crate::router::{Miss, Router};
use crate::signature::Signed;
use crate::stats::{Durations, ListenerStats, RouteStats};
use crate::token::{Keyring, Tokens, keyring_for, presented};
use crate::trace::{Note, Trace};
use crate::upstream::Upstream;

/// What proxies tell the client's address in, other than `Forwarded`.
pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A whole compiled configuration.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Counted from 1 at start.
    pub(crate) number: u64,
    /// When it was compiled.
    pub(crate) since: SystemTime,
    pub(crate) listeners: HashMap<ListenKey, Arc<Listener>>,
    /// What it was compiled from, without its secrets: read by whoever explains what was decided by it.
    pub(crate) model: Arc<Model>,
    /// Its meters, for whoever looks at all of them.
    pub(crate) meters: Box<[NamedMeter]>,
    /// Who is known.
    pub(crate) callers: Arc<Callers>,
    /// Its address sets that are written down, by name.
    pub(crate) fixed_sets: HashMap<Arc<str>, Arc<PrefixSet>>,
    /// Those that are fetched.
    pub(crate) feeds: Feeds,
}

/// A meter of a snapshot, and whose it is.
#[derive(Debug)]
pub(crate) struct NamedMeter {
    pub(crate) api: Arc<str>,
    /// Absent: the API's own.
    pub(crate) route: Option<Arc<str>>,
    pub(crate) meter: Meter,
}

/// What is counted with.
#[derive(Debug)]
pub(crate) enum Meter {
    Bucket(Throttle, Arc<Bucket>),
    Clients(Throttle, Arc<ClientTable>),
    Parallel(Parallel),
}

/// An address as it was configured: what a listening socket is known by across reloads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ListenKey {
    /// The address, its port 0 if the kernel is to choose.
    pub(crate) address: SocketAddr,
    /// Of port 0, whose it is and which of theirs: each use of it is another address. Of a fixed port, the listener's
    /// name may change freely.
    pub(crate) owner: Option<(Arc<str>, usize)>,
}

/// A listener and the APIs that answer on it.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) name: Arc<str>,
    pub(crate) limits: Limits,
    pub(crate) stats: Arc<ListenerStats>,
    /// Whom it believes about the client's address.
    pub(crate) behind: Option<Behind>,
    /// Whether it speaks TLS, and only that.
    pub(crate) is_secure: bool,
    pub(crate) tls: Option<ServerTls>,
    /// It only sends clients to `https`, with this status.
    pub(crate) redirect: Option<StatusCode>,
    /// What policies are told that requests came in through.
    pub(crate) private: Option<Private>,
    pub(crate) hosts: Hosts,
}

/// Senders that are believed about the client's address.
#[derive(Debug)]
pub(crate) struct Behind {
    pub(crate) senders: Addresses,
    pub(crate) header: BelievedHeader,
    pub(crate) proxy_protocol: ProxyProtocol,
}

/// APIs by host. Of each host, the longest base path first.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    pub(crate) exact: HashMap<Box<str>, Vec<Arc<Api>>>,
    /// `*.` hosts without the star, so `.example.com`; the longest first.
    pub(crate) below: Vec<(Box<str>, Vec<Arc<Api>>)>,
    pub(crate) any: Vec<Arc<Api>>,
}

/// How a host was found among those of the APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostMatch {
    /// By its name.
    Exact,
    /// By the `*.` host that is so many bytes at its end, without the star.
    Below(u8),
    /// As any host.
    Any,
}

/// An API: a base path and its routes.
#[derive(Debug)]
pub(crate) struct Api {
    /// Its place among those of the model.
    pub(crate) number: u32,
    pub(crate) base: Arc<str>,
    pub(crate) names: Arc<ApiNames>,
    pub(crate) router: Router<Arc<Route>>,
}

/// What the routes of an API have in common.
#[derive(Debug)]
pub(crate) struct ApiNames {
    pub(crate) id: Arc<str>,
    pub(crate) stage: Arc<str>,
    pub(crate) base: Arc<str>,
    /// The region and the account that ARNs name.
    pub(crate) region: Arc<str>,
    pub(crate) account: Arc<str>,
    /// As which kind of AWS API it checks and answers.
    pub(crate) compat: Option<Compat>,
    pub(crate) durations: Arc<Durations>,
}

/// The places of a route and its API among those of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RouteNumber {
    pub(crate) api: u32,
    pub(crate) route: u32,
}

/// A route, ready to judge and serve requests.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) number: RouteNumber,
    pub(crate) api: Arc<ApiNames>,
    pub(crate) key: Arc<str>,
    pub(crate) matcher: RouteMatcher,
    pub(crate) entry: Entry,
    /// A bucket for each client: the route's throttles by client, then its API's.
    pub(crate) client_tables: Box<[Arc<ClientTable>]>,
    /// A bucket for everyone: the route's other throttles, then its API's.
    pub(crate) buckets: Box<[Arc<Bucket>]>,
    pub(crate) parallel: Option<Parallel>,
    /// What all its requests may cost.
    pub(crate) budget: Option<Budget>,
    /// How callers meet it, where it asks who they are.
    pub(crate) callers: Option<Arc<CallerRoute>>,
    pub(crate) max_body: u64,
    /// Whether policies may look at headers.
    pub(crate) reads_headers: bool,
    pub(crate) action: Action,
    pub(crate) stats: Arc<RouteStats>,
    /// What the access log says of it.
    pub(crate) log_fields: Box<str>,
}

/// How many requests of a route may be under way.
#[derive(Debug, Clone)]
pub(crate) struct Parallel {
    pub(crate) slots: Arc<Slots>,
    pub(crate) cap: usize,
}

/// Who may enter.
#[derive(Debug)]
pub(crate) enum Entry {
    Open,
    Rules(Rules),
}

/// What a request must pass: everything that is there.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) from: Option<AddressRule>,
    /// The documents that must all allow.
    pub(crate) policies: Box<[Arc<PolicyDocument>]>,
    pub(crate) signed: Option<Box<Signed>>,
    /// Which callers may enter.
    pub(crate) callers: Option<CallerRule>,
    /// Which tokens are asked for, whoever they are from.
    pub(crate) token: Option<Tokens>,
}

/// Which callers may enter, and how they must prove who they are.
#[derive(Debug)]
pub(crate) struct CallerRule {
    pub(crate) who: Who,
    /// What each must give; empty: any one proof.
    pub(crate) proof: Box<[ProofKind]>,
    /// The proofs that count here: what nobody who is let in could give is none, and goes on to the backend.
    pub(crate) kinds: ProofKinds,
    /// Those who may have signed a body, by number.
    pub(crate) signers: Arc<[u32]>,
    /// All that are known.
    pub(crate) known: Arc<Callers>,
}

/// Which callers.
#[derive(Debug)]
pub(crate) enum Who {
    /// Whoever is known.
    Any,
    /// These, by number, in order.
    Named(Box<[u32]>),
}

/// Addresses that are let in, less those taken out.
#[derive(Debug)]
pub(crate) struct AddressRule {
    pub(crate) from: Addresses,
    pub(crate) except: Addresses,
}

/// Some address sets together.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    pub(crate) fixed: Arc<[Arc<PrefixSet>]>,
    /// Those that are fetched.
    pub(crate) live: Arc<[Arc<LiveSet>]>,
}

/// Whether some address sets list an address.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Listing<'a> {
    /// One of them does.
    Listed,
    /// None of them does.
    NotListed,
    /// None that is known does, and this one was never loaded.
    Unknown(&'a Arc<LiveSet>),
}

/// Who sent a request, as far as that can be told.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) client: Client,
    /// The set without which nobody knows whether the client speaks for somebody else.
    pub(crate) lacking: Option<Arc<str>>,
}

/// What happens to an admitted request.
#[derive(Debug)]
pub(crate) enum Action {
    Forward(Forward),
    Respond(Respond),
    Redirect(Redirect),
}

/// Sending on to a backend.
#[derive(Debug)]
pub(crate) struct Forward {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) path: Option<Template>,
    pub(crate) host: HostHeader,
    pub(crate) set: Vec<(HeaderName, HeaderValue)>,
    pub(crate) remove: Vec<HeaderName>,
    pub(crate) retries: u32,
}

/// Answering without a backend.
#[derive(Debug)]
pub(crate) struct Respond {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Sending the client elsewhere.
#[derive(Debug)]
pub(crate) struct Redirect {
    pub(crate) to: Template,
    pub(crate) status: StatusCode,
}

impl Listener {
    /// Who sent a request with these headers that came from `peer`.
    pub(crate) fn sender(&self, peer: Peer, headers: &HeaderMap, trace: &mut impl Trace) -> Sender {
        match &self.behind {
            Some(behind) => behind.sender(peer, headers, trace),
            None => {
                let (address, source) = (fold(peer.socket), HopSource::Socket);
                trace.note(|| Note::Sender { address, source, believed: false });
                Sender { client: Client { address, decided_by: source }, lacking: None }
            }
        }
    }

    /// The API for a request: host, then base path; and what of the path lies below that.
    pub(crate) fn api<'p>(&self, facts: &'p Facts<'_>, trace: &mut impl Trace) -> Option<(&Api, &'p str)> {
        let (apis, matched) = self.hosts.of(&facts.host);
        let chosen = apis.iter().find_map(|api| below_base(&api.base, &facts.path).map(|rest| (api, rest)));
        let Some((api, rest)) = chosen else {
            trace.note(|| Note::NoApi { host: matched });
            return None;
        };
        trace.note(|| Note::Api { number: api.number, host: matched });
        Some((api, rest))
    }
}

impl Api {
    /// The route for a request by its method and its path below the base path. No fallback to another API.
    ///
    /// # Errors
    /// [`Rejection::NoRoute`] or [`Rejection::MethodNotAllowed`].
    pub(crate) fn route(&self, method: &Method, rest: &str, trace: &mut impl Trace) -> Result<&Arc<Route>, Rejection> {
        match self.router.find(method, rest) {
            // To API Gateway HEAD is a method like others.
            Ok(route) if *method == Method::HEAD && self.names.compat.is_some() && !route.names(method) => {
                trace.note(|| Note::NoMethod);
                Err(Rejection::MethodNotAllowed { allow: HeaderValue::from_static("GET") })
            }
            Ok(route) => {
                trace.note(|| Note::Route(route.number));
                Ok(route)
            }
            Err(Miss::Path) => {
                trace.note(|| Note::NoPath);
                Err(Rejection::NoRoute)
            }
            Err(Miss::Method(allow)) => {
                trace.note(|| Note::NoMethod);
                Err(Rejection::MethodNotAllowed { allow })
            }
        }
    }
}

impl Behind {
    fn sender(&self, peer: Peer, headers: &HeaderMap, trace: &mut impl Trace) -> Sender {
        let lacking = Cell::new(None);
        let believed = |address| match self.senders.list(address) {
            Listing::Listed => true,
            Listing::NotListed => false,
            Listing::Unknown(set) => {
                lacking.set(Some(set));
                false
            }
        };
        let fields = self.header_name().map(|name| headers.get_all(name));
        let values = fields.iter().flat_map(|fields| fields.iter()).map(HeaderValue::as_bytes);
        let client = find_client(peer, believed, self.header, values, |step| {
            trace.note(|| match step {
                Step::Sender { address, source, believed } => Note::Sender { address, source, believed },
                Step::Stopped(stop) => Note::LastSender(stop),
            });
        });
        let lacking = lacking.get().map(|set| Arc::clone(set.name()));
        if let Some(set) = &lacking {
            trace.note(|| Note::SenderUnknown { set: Arc::clone(set) });
        }
        Sender { client, lacking }
    }

    /// The header in which a request from `peer` is believed.
    pub(crate) fn header_believed(&self, peer: Peer) -> BelievedHeader {
        let believes = |address| matches!(self.senders.list(address), Listing::Listed);
        let sender = if believes(peer.socket) { peer.proxied.or(Some(peer.socket)) } else { None };
        match sender {
            Some(sender) if believes(sender) => self.header,
            Some(_) | None => BelievedHeader::Off,
        }
    }

    /// What the log calls the header that is believed.
    pub(crate) fn header_label(&self) -> &'static str {
        match self.header {
            BelievedHeader::Off => "off",
            BelievedHeader::XForwardedFor => "x-forwarded-for",
            BelievedHeader::Forwarded => "forwarded",
        }
    }

    fn header_name(&self) -> Option<HeaderName> {
        match self.header {
            BelievedHeader::Off => None,
            BelievedHeader::XForwardedFor => Some(X_FORWARDED_FOR),
            BelievedHeader::Forwarded => Some(FORWARDED),
        }
    }
}

impl Hosts {
    pub(crate) fn of(&self, host: &str) -> (&[Arc<Api>], HostMatch) {
        if let Some(apis) = self.exact.get(host) {
            return (apis, HostMatch::Exact);
        }
        let below = self.below.iter().find(|(suffix, _)| host.len() > suffix.len() && host.ends_with(&**suffix));
        // No host is longer than 255 bytes, and a suffix is shorter.
        let end = |suffix: &str| HostMatch::Below(u8::try_from(suffix.len()).unwrap_or(u8::MAX));
        below.map_or((&self.any, HostMatch::Any), |(suffix, apis)| (apis, end(suffix)))
    }
}

/// What of `path` lies below `base`, by whole segments; the base itself is `/`.
pub(crate) fn below_base<'p>(base: &str, path: &'p str) -> Option<&'p str> {
    match path.strip_prefix(base)? {
        "" => Some("/"),
        rest => rest.starts_with('/').then_some(rest),
    }
}

impl Addresses {
    pub(crate) fn is_empty(&self) -> bool {
        self.fixed.is_empty() && self.live.is_empty()
    }

    /// Whether one of them lists `address`. What is fetched is asked last; fixed sets alone cost nothing more for it.
    pub(crate) fn list(&self, address: IpAddr) -> Listing<'_> {
        if self.fixed.iter().any(|set| set.contains(address)) {
            return Listing::Listed;
        }
        let mut lacking = None;
        for set in &*self.live {
            match set.find(address) {
                Some(true) => return Listing::Listed,
                Some(false) => {}
                None => lacking = lacking.or(Some(set)),
            }
        }
        lacking.map_or(Listing::NotListed, Listing::Unknown)
    }
}

impl Listing<'_> {
    /// Whether it is listed, if anybody knows.
    pub(crate) fn known(self) -> Option<bool> {
        match self {
            Self::Listed => Some(true),
            Self::NotListed => Some(false),
            Self::Unknown(_) => None,
        }
    }
}

impl CallerRule {
    /// Whether it lets this caller in.
    pub(crate) fn lets_in(&self, caller: &Caller) -> bool {
        match &self.who {
            Who::Any => true,
            Who::Named(numbers) => numbers.binary_search(&caller.number).is_ok(),
        }
    }

    /// What each must give.
    pub(crate) fn asked(&self) -> ProofKinds {
        self.proof.iter().copied().collect()
    }

    /// What a caller gives who gives what it can of what is asked for; one proof where any will do.
    pub(crate) fn proofs_of(&self, caller: &Caller) -> ProofKinds {
        if !self.proof.is_empty() {
            return self.asked().within(caller.kinds());
        }
        let strongest = [ProofKind::SigV4, ProofKind::Jwt, ProofKind::Key, ProofKind::Signed];
        let has = |kind: &ProofKind| self.kinds.has(*kind) && caller.written.has(*kind);
        strongest.into_iter().find(has).into_iter().collect()
    }
}

impl Entry {
    /// What a request must pass; absent: nothing.
    pub(crate) fn rules(&self) -> Option<&Rules> {
        match self {
            Self::Open => None,
            Self::Rules(rules) => Some(rules),
        }
    }

    /// Which callers may enter, if it asks who a request is from.
    pub(crate) fn callers(&self) -> Option<&CallerRule> {
        self.rules()?.callers.as_ref()
    }

    /// The documents that must all allow.
    pub(crate) fn policies(&self) -> &[Arc<PolicyDocument>] {
        self.rules().map_or(&[], |rules| &rules.policies)
    }

    /// The keys that the token of a request with these headers is to be verified with, if it is one that is judged here.
    pub(crate) fn keyring_for(&self, headers: &HeaderMap) -> Option<&Arc<Keyring>> {
        let of_route = self.rules()?.token.as_ref().map(Tokens::keyring);
        let of_callers = self.callers().map(|rule| &*rule.known.keyrings).unwrap_or_default();
        keyring_for(of_route.into_iter().chain(of_callers), presented(headers).ok()?).ok()
    }

    /// Whose signature of the body a request must carry.
    pub(crate) fn signed(&self) -> Option<&Signed> {
        self.rules()?.signed.as_deref()
    }
}

impl Route {
    /// Whether its key is for this method, by name or for all.
    pub(crate) fn names(&self, method: &Method) -> bool {
        match &self.matcher {
            RouteMatcher::Default | RouteMatcher::Path { methods: Methods::Any, .. } => true,
            RouteMatcher::Path { methods: Methods::Only(methods), .. } => methods.contains(method),
        }
    }

    /// The raw value of the route's parameter with this index, in a path below the base that the route matches.
    pub(crate) fn parameter<'p>(&self, index: usize, path: &'p str) -> Option<&'p str> {
        use gatepost_config::model::Segment;
        let RouteMatcher::Path { segments, .. } = &self.matcher else {
            return None;
        };
        let (position, segment) = segments
            .iter()
            .enumerate()
            .filter(|(_, segment)| matches!(segment, Segment::Parameter(_) | Segment::Greedy(_)))
            .nth(index)?;
        let pieces = path.strip_prefix('/')?;
        match segment {
            Segment::Greedy(_) => pieces.splitn(position + 1, '/').last(),
            Segment::Static(_) | Segment::Parameter(_) => pieces.split('/').nth(position),
        }
    }

    /// Fills a template in from a path below the base that the route matches.
    pub(crate) fn fill(&self, template: &Template, path: &str) -> String {
        use gatepost_config::model::TemplatePart;
        template
            .0
            .iter()
            .map(|part| match part {
                TemplatePart::Text(text) => text,
                TemplatePart::Parameter(index) => self.parameter(*index, path).unwrap_or_default(),
            })
            .collect()
    }
}
