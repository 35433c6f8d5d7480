//! What a configuration means: every reference resolved, every value in range, nothing half-valid.
//!
//! A [`Model`] exists only when the file it came from has no error. The gateway compiles it into what it runs on.

mod caller;
mod entry;

pub use self::caller::{
    AccessKey, Budget, Caller, CallerArn, CallerRule, KeyHash, Money, NoCallerArn, Period, Plan, PlanRoute, ProofKind,
    Quota, TokenRule, TokenSubject, Who,
};
pub use self::entry::{
    AddressEntry, AddressRule, AddressSet, AddressSource, Addresses, Entry, Feed, FeedUrl, NotAFeedUrl, Pick,
    PolicyDocument, Replay, Rules, Scheme, Selection, Signed, TextFormat,
};

use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use ipnet::IpNet;

use crate::diagnostic::Place;
use crate::secret::Secret;

/// A whole configuration.
#[derive(Debug, Clone)]
pub struct Model {
    /// `[server]`.
    pub server: Server,
    /// `[log]`.
    pub log: Log,
    /// `listen` or `[listen.…]`, in the order of their names.
    pub listeners: Vec<Listener>,
    /// `[api.…]`, in the order of their names; empty only where every listener redirects.
    pub apis: Vec<Api>,
    /// `[domain."…"]`, in the order of their names: the certificates of listeners that speak TLS.
    pub domains: Vec<Domain>,
    /// `[plan.…]`, in the order of their names.
    pub plans: Arc<[Arc<Plan>]>,
    /// `[caller.…]`, in the order of their names.
    pub callers: Arc<[Arc<Caller>]>,
}

/// The process: `[server]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// The directory of what must survive a restart; one process at a time.
    pub state: PathBuf,
    /// How many data-plane threads; absent: one a core.
    pub workers: Option<NonZeroUsize>,
    /// Where health and metrics are served.
    pub admin: Admin,
    /// What the admin listener asks for; always present when it is neither loopback nor a unix socket.
    pub admin_token: Option<Secret>,
    /// How long open requests may finish once the process was told to stop.
    pub drain: Duration,
    /// The region that ARNs name. Default `us-east-1`.
    pub region: Arc<str>,
    /// The account that ARNs name: twelve digits. Default `000000000000`.
    pub account: Arc<str>,
}

/// Where the admin listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admin {
    /// Nowhere.
    Off,
    /// On a TCP address.
    Tcp(SocketAddr),
    /// On a unix socket.
    Unix(PathBuf),
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Where a line for each request goes.
    pub access: AccessLog,
}

/// Where a line for each request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// The end of a file.
    File(PathBuf),
}

/// A listener: addresses that share properties.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Its name: `default` for the short form `listen = "…"`.
    pub name: Arc<str>,
    /// The addresses as they were written (port 0 stays 0), no two alike in the whole model.
    pub addresses: Vec<SocketAddr>,
    /// What a client may take here.
    pub limits: Limits,
    /// Whether it speaks TLS, with the certificates of [`Model::domains`].
    pub tls: bool,
    /// Whom it believes about the client's address; absent: nobody, the client is the socket's peer.
    pub behind: Option<Behind>,
    /// It only sends clients to `https`, with this status: 301, 302, 303, 307 or 308.
    pub redirect: Option<StatusCode>,
    /// What policies are told that requests came in through; absent: from the internet.
    pub private: Option<Private>,
    /// Where it was written.
    pub place: Place,
}

/// What makes a listener private in the eyes of policies: `vpce` and `vpc`, at least one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Private {
    /// The interface endpoint: `aws:SourceVpce`.
    pub endpoint: Option<Arc<str>>,
    /// Its network: `aws:SourceVpc`.
    pub network: Option<Arc<str>>,
}

/// Senders that are believed about the client's address.
#[derive(Debug, Clone)]
pub struct Behind {
    /// The senders, never empty, and never all of the IPv4 or the IPv6 internet.
    pub senders: Vec<AddressEntry>,
    /// The one header that is believed from them.
    pub forwarded: ForwardedHeader,
    /// Whether they begin a connection with a PROXY header.
    pub proxy_protocol: ProxyProtocol,
}

/// The header that tells the client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// None.
    Off,
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The PROXY protocol, versions 1 and 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// Not spoken: a PROXY header is a bad request.
    Off,
    /// A sender may begin with a header.
    Optional,
    /// A sender that does not begin with a header is cut off.
    Required,
}

/// `[domain."…"]`: a name that the gateway has a certificate for.
#[derive(Debug, Clone)]
pub struct Domain {
    /// The name, or every name one label below it (`*.example.com`).
    pub name: HostPattern,
    /// The certificate, then those of its issuers: the PEM blocks as read, without what stood around them.
    pub chain: Arc<[u8]>,
    /// The certificate's private key: PEM.
    pub key: Secret,
    /// The oldest version of TLS that is spoken for it.
    pub min_tls: TlsVersion,
    /// Where it was written.
    pub place: Place,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// 1.2.
    Tls12,
    /// 1.3.
    Tls13,
}

/// What clients of one listener may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open connections, at most. Default 20,000.
    pub connections: usize,
    /// Bytes of a request's line and headers together, at most. Default 64 KiB; 8 KiB to 1 MiB.
    pub header_bytes: usize,
    /// Header fields of a request, at most. Default 100; 1 to 1,000.
    pub headers: usize,
    /// From the first byte of a request (or from the connection) to the end of its headers. Default 10 s.
    pub header_timeout: Duration,
    /// Between two requests of a connection, and without progress while an answer is written. Default 60 s.
    pub idle_timeout: Duration,
    /// Between two pieces of a request's body. Default 30 s.
    pub body_timeout: Duration,
    /// Requests at once on one HTTP/2 connection, at most. Default 100; 1 to 1,000.
    pub streams: u32,
}

/// An API: routes that share hosts, a base path and a throttle.
#[derive(Debug, Clone)]
pub struct Api {
    /// Its name: `default` for top-level routes.
    pub name: Arc<str>,
    /// What logs call it; the name unless `id` says otherwise.
    pub id: Arc<str>,
    /// `$default` unless `stage` says otherwise.
    pub stage: Arc<str>,
    /// The hosts it answers for; empty: any host.
    pub hosts: Vec<HostPattern>,
    /// The names of the listeners that it answers on, never empty, and none that only redirects.
    pub listeners: Vec<Arc<str>>,
    /// The base path, in the one form, without a trailing slash: empty or `/v1`.
    pub base: Arc<str>,
    /// As which kind of AWS API it checks and answers; absent: as Gatepost does.
    pub compat: Option<Compat>,
    /// What all its routes share.
    pub throttles: Vec<Throttle>,
    /// Where each of `throttles` was written.
    pub throttle_places: Vec<Place>,
    /// Its routes, in the order of their keys.
    pub routes: Vec<Route>,
    /// Where it was written.
    pub place: Place,
}

/// A kind of AWS API that is imitated exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compat {
    /// A REST API: API Gateway, version 1.
    AwsRest,
}

/// A host, or every host below one. Lower case, without a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// `api.example.com`.
    Exact(Box<str>),
    /// `*.example.com`, held as `example.com`: any host below it, at any depth.
    Below(Box<str>),
}

/// A route: a key, who may enter, and what happens then.
#[derive(Debug, Clone)]
pub struct Route {
    /// The key as it was written.
    pub key: Arc<str>,
    /// What the key says.
    pub matcher: RouteMatcher,
    /// Who may enter.
    pub entry: Entry,
    /// Throttles of the route itself, in the order written.
    pub throttles: Vec<Throttle>,
    /// How many requests may be under way at once.
    pub parallel: Option<NonZeroUsize>,
    /// What all its requests together may cost.
    pub budget: Option<Budget>,
    /// The longest request body, in bytes.
    pub max_body: u64,
    /// What happens to an admitted request.
    pub action: Action,
    /// What must hold of this route.
    pub examples: Vec<Example>,
    /// Where its key was written.
    pub place: Place,
    /// Where its rules were written.
    pub places: RoutePlaces,
}

/// Where the rules of a route were written: of each its key, or the value where it is one of a list.
#[derive(Debug, Clone)]
pub struct RoutePlaces {
    /// `from`, `callers`, `jwt`, `signed`, `policy` or `open`: the first of them that is there, else the key.
    pub entry: Place,
    /// Each of [`Route::throttles`].
    pub throttles: Vec<Place>,
    /// `parallel`.
    pub parallel: Option<Place>,
    /// `max_body`; absent: it is the default.
    pub max_body: Option<Place>,
    /// `forward`, `respond` or `redirect`.
    pub action: Place,
}

/// What a route key matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteMatcher {
    /// `$default`: what nothing else of the API does.
    Default,
    /// `METHOD[,METHOD…] /path`.
    Path {
        /// The methods.
        methods: Methods,
        /// The path's segments: `/a/{b}` has two, `/` one that is `Static("")`, `/a/` two, the last empty.
        segments: Vec<Segment>,
    },
}

/// The methods of a route key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Methods {
    /// `ANY`: every method but CONNECT and TRACE.
    Any,
    /// These, without duplicates.
    Only(Vec<Method>),
}

/// One segment of a route's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Itself, in the one form.
    Static(Box<str>),
    /// `{name}`: any one segment that is not empty.
    Parameter(Box<str>),
    /// `{name+}`: one or more segments up to the end; only ever last.
    Greedy(Box<str>),
}

/// A token bucket's law: over any time `t`, at most `burst + rate × t` requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    /// How fast tokens come back.
    pub rate: Rate,
    /// How many tokens the bucket holds. Defaults to one second's rate, at least one.
    pub burst: NonZeroU32,
    /// Who shares a bucket.
    pub by: ThrottleBy,
}

/// Who shares the bucket of a [`Throttle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ThrottleBy {
    /// Everyone: there is one bucket.
    Everyone,
    /// Each client has its own: an IPv4 address, or an IPv6 /64.
    Client,
    /// Each caller has its own. Only where callers are asked for.
    Caller,
}

/// So many in so long: `"50/s"`, `"600/m"`, `"1/h"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU64,
    /// In how long: a second, a minute, an hour or a day.
    pub per: Duration,
}

/// What happens to an admitted request.
#[derive(Debug, Clone)]
pub enum Action {
    /// It goes to a backend.
    Forward(Forward),
    /// The gateway answers itself.
    Respond(Respond),
    /// The gateway sends the client elsewhere.
    Redirect(Redirect),
}

/// `forward`.
#[derive(Debug, Clone)]
pub struct Forward {
    /// Where to; every use of one `[upstream.…]` shares one.
    pub upstream: Arc<Upstream>,
    /// From the start of forwarding to the last byte of the answer; absent: `"off"`.
    pub timeout: Option<Duration>,
    /// The path that the backend sees; absent: the request's without the base path.
    pub path: Option<Template>,
    /// The host that the backend sees.
    pub host: HostHeader,
    /// Headers set, after those of the client were taken over.
    pub set_headers: Vec<(HeaderName, HeaderValue)>,
    /// Headers of the client that are not passed on.
    pub remove_headers: Vec<HeaderName>,
    /// How many more targets may be tried.
    pub retries: u32,
}

/// What `Host` the backend sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostHeader {
    /// The target's own (with its port unless it is the scheme's).
    Upstream,
    /// The client's.
    Client,
    /// This.
    Literal(HeaderValue),
}

/// Text with parameters of the route in it: `/v2/{id}/{rest}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(pub Vec<TemplatePart>);

/// A piece of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplatePart {
    /// Text as it is.
    Text(Box<str>),
    /// The raw value of the route's parameter with this index (parameters counted from the left of the key).
    Parameter(usize),
}

/// Backends that do the same work: `[upstream.…]`, or the one of a `to = "http://…"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Its name; absent when it was written in place.
    pub name: Option<Arc<str>>,
    /// Where requests go in turn, never empty.
    pub targets: Vec<Target>,
    /// Where addresses may lie; absent: a literal address anywhere but on the link, a name at global addresses only.
    pub networks: Option<Vec<IpNet>>,
    /// How one of the targets is chosen.
    pub balance: Balance,
    /// The version of HTTP that its targets are spoken to in.
    pub http: HttpVersion,
    /// Authorities that its targets' certificates are checked against: PEM blocks as read, without what stood around
    /// them; absent: the public ones.
    pub ca: Option<Arc<[u8]>>,
    /// How its targets are probed; absent: not at all.
    pub health: Option<Health>,
    /// When a target that fails requests is left alone for a while; absent: never.
    pub eject: Option<Eject>,
}

impl Upstream {
    /// What is so unless something else is said. Without targets, so not yet an upstream.
    pub(crate) const DEFAULT: Self = Self {
        name: None,
        targets: Vec::new(),
        networks: None,
        balance: Balance::RoundRobin,
        http: HttpVersion::One,
        ca: None,
        health: None,
        eject: Some(Eject { after: NonZeroU32::new(5).expect("five"), pause: Duration::from_secs(10) }),
    };
}

/// How a target is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// Each in turn.
    RoundRobin,
    /// The one with the fewest requests under way.
    LeastRequests,
    /// A client always gets the same one, as long as it is there.
    ClientHash,
}

/// A version of HTTP, to a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    /// HTTP/1.1.
    One,
    /// HTTP/2: with prior knowledge in cleartext, negotiated over TLS.
    Two,
}

/// Active health checks: `health`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The path with its query that is asked for with GET.
    pub path: Box<str>,
    /// The `Host` of a probe; absent: the target's own.
    pub host: Option<HeaderValue>,
    /// The statuses that mean healthy, as ranges, never empty. Default 200 to 299.
    pub codes: Vec<RangeInclusive<u16>>,
    /// Between the starts of two probes of one target. Default 10 s.
    pub every: Duration,
    /// How long a probe may take, shorter than `every`. Default 5 s, or half of `every` where that is less.
    pub timeout: Duration,
    /// So many good probes in a row make an unhealthy target healthy. Default 3. A new target needs one.
    pub healthy: NonZeroU32,
    /// So many bad probes in a row make a healthy target unhealthy. Default 2.
    pub unhealthy: NonZeroU32,
}

/// Passive ejection: `eject`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eject {
    /// So many failed requests in a row (no connection, no answer, an answer that makes no sense). Default 5.
    pub after: NonZeroU32,
    /// How long the target is left alone the first time; longer each time in a row, up to ten times. Default 10 s.
    pub pause: Duration,
}

/// One backend, `http://host:port` or `https://host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Whether it is spoken to over TLS.
    pub tls: bool,
    /// Its address or name.
    pub host: TargetHost,
    /// Its port.
    pub port: u16,
}

/// The host of a [`Target`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TargetHost {
    /// A literal address.
    Address(IpAddr),
    /// A name, lower case.
    Name(Box<str>),
}

/// `respond`.
#[derive(Debug, Clone)]
pub struct Respond {
    /// The status, 200 to 599.
    pub status: StatusCode,
    /// The body.
    pub body: Box<[u8]>,
    /// The headers; a `content-type` is always there when there is a body.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// `redirect`.
#[derive(Debug, Clone)]
pub struct Redirect {
    /// The new location; the query is carried over unless the location has one.
    pub to: Template,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

/// `example`: a request and what must become of it.
#[derive(Debug, Clone)]
pub struct Example {
    /// The client's address.
    pub from: IpAddr,
    /// The caller that it proves to be, in every way that the route asks for; absent: nobody.
    pub caller: Option<Arc<str>>,
    /// The method: the key's first unless said otherwise, GET for `ANY`.
    pub method: Method,
    /// The path with its query: the base and the key's unless said otherwise, a parameter standing for its own name.
    pub path: String,
    /// Headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What must become of it.
    pub expect: Expect,
    /// Where it was written.
    pub place: Place,
}

/// What must become of an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// It enters.
    Admitted,
    /// It is refused with this status.
    Refused(StatusCode),
}
