//! What a configuration compiles to, and what a request is served by.
//!
//! A snapshot never changes: a reload makes a new one and swaps it in. What must live on (buckets, slots, counters,
//! targets) is held outside, in [`Lasting`], under stable names, and only pointed to from here.
//!
//! [`Lasting`]: crate::compile::Lasting

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gatepost_config::model::{HostHeader, Limits, ProxyProtocol, RouteMatcher, Template};
use gatepost_meter::{Bucket, ClientTable, Slots};
use gatepost_net::tls::ServerTls;
use gatepost_net::{BelievedHeader, Client, HopSource, Peer, Step, find_client, fold};
use gatepost_prefix::PrefixSet;
use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::rejection::Rejection;
use crate::request::Facts;
use crate::router::{Miss, Router};
use crate::stats::{Durations, ListenerStats, RouteStats};
use crate::trace::{Note, Trace};
use crate::upstream::Upstream;

/// What proxies tell the client's address in, other than `Forwarded`.
pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A whole compiled configuration.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Counted from 1 at start.
    pub(crate) number: u64,
    pub(crate) listeners: HashMap<ListenKey, Arc<Listener>>,
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
pub(crate) enum HostMatch<S> {
    /// By its name.
    Exact,
    /// By the `*.` host of this suffix, without the star.
    Below(S),
    /// As any host.
    Any,
}

/// An API: a base path and its routes.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) name: Arc<str>,
    pub(crate) base: Arc<str>,
    pub(crate) router: Router<Arc<Route>>,
}

/// What the routes of an API have in common.
#[derive(Debug)]
pub(crate) struct ApiNames {
    pub(crate) id: Arc<str>,
    pub(crate) base: Arc<str>,
    pub(crate) durations: Arc<Durations>,
}

/// A route, ready to judge and serve requests.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) api: Arc<ApiNames>,
    pub(crate) key: Arc<str>,
    pub(crate) matcher: RouteMatcher,
    pub(crate) entry: Entry,
    /// A bucket for each client: the route's throttles by client, then its API's.
    pub(crate) client_tables: Box<[Arc<ClientTable>]>,
    /// A bucket for everyone: the route's other throttles, then its API's.
    pub(crate) buckets: Box<[Arc<Bucket>]>,
    pub(crate) parallel: Option<Parallel>,
    pub(crate) max_body: u64,
    pub(crate) action: Action,
    pub(crate) stats: Arc<RouteStats>,
    /// What the access log says of it.
    pub(crate) log_fields: Box<str>,
}

/// How many requests of a route may be under way.
#[derive(Debug)]
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
}

/// Addresses that are let in, less those taken out.
#[derive(Debug)]
pub(crate) struct AddressRule {
    pub(crate) from: Addresses,
    pub(crate) except: Addresses,
}

/// Some address sets together.
#[derive(Debug, Clone)]
pub(crate) struct Addresses(pub(crate) Arc<[Arc<PrefixSet>]>);

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
    pub(crate) fn client(&self, peer: Peer, headers: &HeaderMap, trace: &mut impl Trace) -> Client {
        match &self.behind {
            Some(behind) => behind.client(peer, headers, trace),
            None => {
                let (address, source) = (fold(peer.socket), HopSource::Socket);
                trace.note(|| Note::Sender { address, source, believed: false });
                Client { address, decided_by: source }
            }
        }
    }

    /// The route for a request: host, then base path, then path and method. No fallback between APIs.
    ///
    /// # Errors
    /// [`Rejection::NoRoute`] or [`Rejection::MethodNotAllowed`].
    pub(crate) fn route(&self, facts: &Facts<'_>, trace: &mut impl Trace) -> Result<&Arc<Route>, Rejection> {
        let (apis, matched) = self.hosts.of(&facts.host);
        let chosen = apis.iter().find_map(|api| below_base(&api.base, &facts.path).map(|rest| (api, rest)));
        let Some((api, rest)) = chosen else {
            trace.note(|| Note::NoApi {
                host: matched.to_owned(),
                bases: apis.iter().map(|api| Arc::clone(&api.base)).collect(),
            });
            return Err(Rejection::NoRoute);
        };
        trace.note(|| Note::Api { name: Arc::clone(&api.name), host: matched.to_owned() });
        match api.router.find(facts.method, rest) {
            Ok(route) => {
                trace.note(|| Note::Route(Arc::clone(route)));
                Ok(route)
            }
            Err(Miss::Path) => {
                trace.note(|| Note::NoPath);
                Err(Rejection::NoRoute)
            }
            Err(Miss::Method(allow)) => {
                trace.note(|| Note::NoMethod(api.router.on_path(rest).into_iter().cloned().collect()));
                Err(Rejection::MethodNotAllowed { allow })
            }
        }
    }
}

impl Behind {
    fn client(&self, peer: Peer, headers: &HeaderMap, trace: &mut impl Trace) -> Client {
        let believed = |address| self.senders.contain(address);
        let fields = self.header_name().map(|name| headers.get_all(name));
        let values = fields.iter().flat_map(|fields| fields.iter()).map(HeaderValue::as_bytes);
        find_client(peer, believed, self.header, values, |step| {
            trace.note(|| match step {
                Step::Sender { address, source, believed } => Note::Sender { address, source, believed },
                Step::Stopped(stop) => Note::LastSender(stop),
            });
        })
    }

    /// The header in which a request from `peer` is believed.
    pub(crate) fn header_believed(&self, peer: Peer) -> BelievedHeader {
        let sender = if self.senders.contain(peer.socket) { peer.proxied.or(Some(peer.socket)) } else { None };
        match sender {
            Some(sender) if self.senders.contain(sender) => self.header,
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
    pub(crate) fn of(&self, host: &str) -> (&[Arc<Api>], HostMatch<&str>) {
        if let Some(apis) = self.exact.get(host) {
            return (apis, HostMatch::Exact);
        }
        let below = self.below.iter().find(|(suffix, _)| host.len() > suffix.len() && host.ends_with(&**suffix));
        below.map_or((&self.any, HostMatch::Any), |(suffix, apis)| (apis, HostMatch::Below(suffix)))
    }
}

impl HostMatch<&str> {
    fn to_owned(self) -> HostMatch<Box<str>> {
        match self {
            Self::Exact => HostMatch::Exact,
            Self::Below(suffix) => HostMatch::Below(suffix.into()),
            Self::Any => HostMatch::Any,
        }
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
        self.0.is_empty()
    }

    pub(crate) fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|set| set.contains(address))
    }
}

impl Route {
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
