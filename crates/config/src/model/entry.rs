//! Who may enter a route.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use gatepost_iam::Policy;
use http::HeaderName;
use ipnet::IpNet;

use crate::diagnostic::Place;
use crate::model::{CallerRule, Model, Target, TargetHost, TokenRule};
use crate::secret::Secret;
use crate::text::Text as _;

/// Who may enter a route.
#[derive(Debug, Clone)]
pub enum Entry {
    /// `open = true`: everyone.
    Open,
    /// Whoever passes all of these.
    Rules(Rules),
}

/// What a request must pass to enter a route: everything that is there, and something is.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// `from` and `except`: some addresses.
    pub from: Option<AddressRule>,
    /// `policy`: that of the API, then that of the route. Each must allow, and none may deny.
    pub policies: Vec<Arc<PolicyDocument>>,
    /// `signed`: bodies whose signature verifies.
    pub signed: Option<Arc<Signed>>,
    /// `callers`: known callers.
    pub callers: Option<CallerRule>,
    /// `jwt`: tokens of an issuer.
    pub token: Option<Arc<TokenRule>>,
}

/// Addresses that are let in, less those taken out.
#[derive(Debug, Clone)]
pub struct AddressRule {
    /// `from`, never empty.
    pub from: Vec<AddressEntry>,
    /// `except`.
    pub except: Vec<AddressEntry>,
}

/// One entry of `from` or `except`.
#[derive(Debug, Clone)]
pub struct AddressEntry {
    /// What it stands for.
    pub addresses: Addresses,
    /// Where it was written.
    pub place: Place,
}

/// What an entry of `from` stands for.
#[derive(Debug, Clone)]
pub enum Addresses {
    /// A literal address or CIDR. IPv4-mapped IPv6 is folded to IPv4.
    Network(IpNet),
    /// A named set; every use of one name shares one set.
    Set(Arc<AddressSet>),
}

/// `[addresses.…]`, or a built-in set such as `@github/hooks`.
#[derive(Debug)]
pub struct AddressSet {
    /// Its name; of a built-in set with the `@`.
    pub name: Arc<str>,
    /// Where what it holds comes from.
    pub source: AddressSource,
    /// Where it was written; of a built-in set where it is first used.
    pub place: Place,
}

/// Where the addresses of a set come from.
#[derive(Debug)]
pub enum AddressSource {
    /// From the configuration or a file beside it. Never empty; folded, as written, so it may overlap.
    Fixed(Vec<IpNet>),
    /// From a list that somebody publishes.
    Fetched(Feed),
}

/// A list of addresses that somebody publishes, and how it is kept fresh.
#[derive(Debug, Clone, PartialEq)]
pub struct Feed {
    /// Where it is.
    pub url: FeedUrl,
    /// What of it counts.
    pub pick: Pick,
    /// How often it is asked for. Default 1 h; 10 s to 30 d.
    pub every: Duration,
    /// A copy that is older than this is stale: still used, with an alarm. Default 7 d; longer than `every`.
    pub max_age: Duration,
    /// An update that loses more than this share of the addresses covered is held. Default 0.5; 0 to 1.
    pub shrink: f64,
    /// An update that covers more than so many times as many addresses is held. Default 2; at least 1.
    pub grow: f64,
}

/// The URL of a [`Feed`]: `http` or `https`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FeedUrl {
    /// Scheme, host and port.
    pub target: Target,
    /// The path with its query.
    pub path: Box<str>,
}

/// What of a published list counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pick {
    /// Text: an address or CIDR a line, `#` comments.
    Lines,
    /// JSON: what all of these select, never empty.
    Json(Vec<Selection>),
}

/// Some of the strings of a JSON document.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Selection {
    /// An array: a JSON pointer (RFC 6901).
    pub array: Box<str>,
    /// The members of its items that may hold an address: of each item that counts, one does. None: the items
    /// themselves are strings.
    pub members: Vec<Box<str>>,
    /// Members that an item must have with this value, or with an array that has it.
    pub only: Vec<(Box<str>, Box<str>)>,
}

/// `signed`: whose signature of the body a request must carry.
#[derive(Debug, Clone)]
pub struct Signed {
    /// How it is signed.
    pub scheme: Scheme,
    /// The secrets that are good, never empty: several while one is rotated.
    pub secrets: Vec<Secret>,
    /// How far a signed time may lie from now, and how long a delivery is remembered. Default 5 min; 1 s to 1 d.
    pub tolerance: Duration,
    /// What becomes of a delivery that was let in before.
    pub replay: Replay,
    /// Where it was written.
    pub place: Place,
}

/// How a body is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheme {
    /// GitHub: `X-Hub-Signature-256`.
    Github,
    /// Stripe: `Stripe-Signature`.
    Stripe,
    /// Slack: `X-Slack-Signature`, `X-Slack-Request-Timestamp`.
    Slack,
    /// Standard Webhooks: `webhook-id`, `webhook-timestamp`, `webhook-signature`.
    StandardWebhooks,
    /// HMAC-SHA-256 of the body in a header.
    HmacSha256 {
        /// The header.
        header: HeaderName,
        /// How the signature is written in it.
        format: TextFormat,
        /// What stands before it.
        prefix: Box<str>,
        /// The header with the delivery's id; absent: the signature is its own id.
        id: Option<HeaderName>,
    },
}

/// How bytes are written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFormat {
    /// Hexadecimal, of any case.
    Hex,
    /// Base64 (RFC 4648, 4), padded.
    Base64,
}

/// What becomes of a delivery that was let in before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// It is let in again.
    Allow,
    /// It is refused as long as it is remembered.
    Refuse,
}

/// A policy document.
#[derive(Debug)]
pub struct PolicyDocument {
    /// The document, compiled for its API.
    pub policy: Policy,
    /// Where each of its statements was written.
    pub statements: Vec<Place>,
    /// What is probably not as it was meant, and where.
    pub doubts: Vec<(Place, String)>,
    /// The file that holds it, as it was opened.
    pub file: PathBuf,
    /// Where the file was named.
    pub place: Place,
}

/// A text is not the URL of a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAFeedUrl(String);

impl FromStr for FeedUrl {
    type Err = NotAFeedUrl;

    /// As configuration has it: `http` or `https`, no credentials, no fragment.
    fn from_str(text: &str) -> Result<Self, NotAFeedUrl> {
        crate::text::FeedUrl::parse(text)
            .map(|crate::text::FeedUrl(url)| url)
            .map_err(|error| NotAFeedUrl(error.message))
    }
}

impl fmt::Display for FeedUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Target { tls, host, port } = &self.target;
        out.write_str(if *tls { "https://" } else { "http://" })?;
        match host {
            TargetHost::Address(IpAddr::V6(address)) => write!(out, "[{address}]")?,
            TargetHost::Address(IpAddr::V4(address)) => write!(out, "{address}")?,
            TargetHost::Name(name) => out.write_str(name)?,
        }
        if *port != if *tls { 443 } else { 80 } {
            write!(out, ":{port}")?;
        }
        out.write_str(&self.path)
    }
}

impl AddressSource {
    /// The networks that are known without asking anybody.
    #[must_use]
    pub fn fixed(&self) -> &[IpNet] {
        match self {
            Self::Fixed(networks) => networks,
            Self::Fetched(_) => &[],
        }
    }
}

impl Entry {
    /// Its rules; none where everyone may enter.
    #[must_use]
    pub fn rules(&self) -> Option<&Rules> {
        match self {
            Self::Open => None,
            Self::Rules(rules) => Some(rules),
        }
    }
}

impl Model {
    /// What is told of policies that can be used: where, and what is probably not as it was meant. Each once, however
    /// many routes and callers a document is for.
    #[must_use]
    pub fn doubtful_policies(&self) -> Vec<String> {
        let rules = self.apis.iter().flat_map(|api| &api.routes).filter_map(|route| route.entry.rules());
        let of_callers = self.callers.iter().filter_map(|caller| caller.policy.as_ref());
        let mut seen: HashSet<*const PolicyDocument> = HashSet::new();
        let documents = rules.flat_map(|rules| &rules.policies).chain(of_callers);
        let documents = documents.filter(|document| seen.insert(Arc::as_ptr(document)));
        let mut told: Vec<String> = Vec::new();
        for (place, doubt) in documents.flat_map(|document| &document.doubts) {
            let doubt = format!("{}: {doubt}", place.describe());
            if !told.contains(&doubt) {
                told.push(doubt);
            }
        }
        told
    }
}
