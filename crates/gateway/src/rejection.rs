//! Why a request was not served, and the one place that turns reasons into answers.

mod limit;

pub(crate) use self::limit::{Used, tell_level};

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use gatepost_config::model::{PolicyDocument, ProofKind, TokenRule};
use gatepost_config::path::PathError;
use gatepost_meter::Exceeded;
use gatepost_net::DialError;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use thiserror::Error;

use crate::caller::{Caller, CredentialFlaw, ProofKinds};
use crate::signature::Flaw;
use crate::spool::SpoolError;
use crate::token::TokenFlaw;
use crate::upstream::ConnectError;

/// A request that is not served: every reason there is.
#[derive(Debug)]
pub(crate) enum Rejection {
    /// Two readers could take it for two different requests.
    Malformed(Malformed),
    /// The address it came in on is no longer listened on.
    ListenerGone,
    /// The host is none that the connection's certificate stands for.
    Misdirected,
    /// No route of any API matches.
    NoRoute,
    /// The path is known, the method is not.
    MethodNotAllowed {
        /// The methods that are, as the `Allow` header lists them.
        allow: HeaderValue,
    },
    /// `from` does not list the client's address, or `except` takes it out.
    AddressNotListed,
    /// A policy denies it, or does not allow it.
    PolicyDenied(Denial),
    /// Its ARN is longer than the imitated API authorizes.
    ArnTooLong,
    /// No proof of who it is from, or not all that are asked for.
    CredentialsMissing {
        /// What it lacks; where any one will do, what it could have given.
        kinds: ProofKinds,
    },
    /// A proof of who it is from is not good.
    BadCredentials(Box<BadCredentials>),
    /// The caller's `from` does not list the client's address.
    CallerElsewhere {
        /// Its name.
        caller: Arc<str>,
        /// What stands for it.
        kind: ProofKind,
    },
    /// Its proofs stand for different callers.
    ProofsDisagree,
    /// The route does not let this caller in.
    CallerNotListed {
        /// Its name.
        caller: Arc<str>,
    },
    /// There is no token where one is asked for.
    TokenMissing,
    /// There is one, and it is not good for the route.
    BadToken {
        flaw: TokenFlaw,
        /// What would be.
        rule: Arc<TokenRule>,
    },
    /// Whether a token is good depends on keys of its issuer that nobody knows.
    KeysUnknown {
        /// Whose, as operators read it.
        whose: Arc<str>,
    },
    /// There is no signature where one is asked for.
    Unsigned,
    /// There is one, and it is not good.
    BadSignature(Flaw),
    /// A delivery that was let in before.
    Replayed,
    /// `from` does not list the client's address, though its signature is good: the list may be out of date.
    SignedNotListed,
    /// The body cannot be kept until it is verified.
    SpoolFull(SpoolError),
    /// The delivery cannot be remembered.
    DeliveriesFull,
    /// Whether `from`, `except` or `behind` lists the address depends on an address set that has no good copy yet.
    AddressesUnknown {
        /// Its name.
        set: Arc<str>,
    },
    /// The body is longer than `max_body`.
    BodyTooLarge,
    /// As many requests as `parallel` permits are under way.
    Busy,
    /// A throttle has no token left.
    Throttled(Exceeded),
    /// The caller's quota is used up.
    QuotaExceeded(Used),
    /// A budget is used up.
    BudgetSpent(Whose, Used),
    /// Nobody can say whether a quota or a budget is used up.
    QuotaUnavailable,
    /// The body stopped coming.
    BodyStalled,
    /// The body ended early or its chunks make no sense.
    BodyBroken,
    /// No target could be connected to.
    Dial(ConnectError),
    /// The target hung up or answered nonsense.
    BadUpstream(BadUpstream),
    /// The target did not answer in time.
    UpstreamTimeout,
}

/// What is wrong with what somebody presents of itself.
#[derive(Debug)]
pub(crate) struct BadCredentials {
    pub(crate) kind: ProofKind,
    pub(crate) flaw: CredentialFlaw,
    /// The name of the caller that it claims to be from.
    pub(crate) claimed: Option<Arc<str>>,
}

/// Which policy a request was denied by.
#[derive(Debug)]
pub(crate) enum Denial {
    /// This one.
    By {
        document: Arc<PolicyDocument>,
        /// The statement that denies it, counted from zero; absent: none allows it.
        statement: Option<usize>,
        /// Who was denied it, if that is known.
        user: Option<Arc<Caller>>,
    },
    /// None: a caller of another account needs the API's, and there is none.
    Lacking {
        /// Who was denied it.
        user: Arc<Caller>,
    },
    /// One that is only told of: whoever keeps this does not keep the document.
    Told {
        /// Which, and what it says.
        text: Box<str>,
        /// Whether a statement denies it.
        is_explicit: bool,
    },
}

impl Denial {
    /// Whether a statement denies it; else none allows it.
    pub(crate) fn is_explicit(&self) -> bool {
        match self {
            Self::By { statement, .. } => statement.is_some(),
            Self::Lacking { .. } => false,
            Self::Told { is_explicit, .. } => *is_explicit,
        }
    }

    /// Who was denied it, if that is known.
    pub(crate) fn user(&self) -> Option<&Caller> {
        match self {
            Self::By { user, .. } => user.as_deref(),
            Self::Lacking { user } => Some(user),
            Self::Told { .. } => None,
        }
    }

    /// The same without the document.
    pub(crate) fn told(&self) -> Self {
        Self::Told { text: self.to_string().into(), is_explicit: self.is_explicit() }
    }
}

impl fmt::Display for BadCredentials {
    /// `sigv4 of acme: the signature is not that of the request`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, flaw, claimed } = self;
        out.write_str(kind.name())?;
        if let Some(name) = claimed {
            write!(out, " of {name}")?;
        }
        write!(out, ": {flaw}")
    }
}

impl fmt::Display for Denial {
    /// `policies/hooks.json: statement "OnlyGithub" denies it`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (document, statement) = match self {
            Self::By { document, statement, .. } => (document, statement),
            Self::Lacking { .. } => return out.write_str("the API has no policy, and only one lets in other accounts"),
            Self::Told { text, .. } => return out.write_str(text),
        };
        write!(out, "{}: ", document.file.display())?;
        match statement.map(|index| (index, document.policy.statements().get(index))) {
            Some((_, Some(statement))) => write!(out, "statement {} denies it", statement.name()),
            Some((index, None)) => write!(out, "statement {index} denies it"),
            None => out.write_str("no statement allows it"),
        }
    }
}

/// Whose budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The caller's.
    Caller,
    /// The route's.
    Route,
}

/// What makes a request malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Malformed {
    /// No `Host`, more than one, or one that is no host.
    #[error("no `Host`, more than one, or one that is no host")]
    Host,
    /// The request target and `Host` name different hosts.
    #[error("the request target and `Host` name different hosts")]
    Authority,
    /// `Transfer-Encoding` is anything but exactly `chunked`.
    #[error("`Transfer-Encoding` is not exactly `chunked`")]
    TransferEncoding,
    /// The path has no one form.
    #[error(transparent)]
    Path(PathError),
    /// A method that a gateway cannot serve: CONNECT.
    #[error("CONNECT is for proxies")]
    Method,
}

/// What a target did wrong.
#[derive(Debug, Error)]
pub(crate) enum BadUpstream {
    /// It hung up, or what it sent is no HTTP.
    #[error("{}", with_causes(.0))]
    Http(hyper::Error),
    /// Its body is coded, or its length told, in a way that could be read as another.
    #[error("its transfer coding or its length is not plain")]
    Framing,
    /// It changed to a protocol that nobody had asked for.
    #[error("it changed to a protocol that nobody had asked for")]
    UnaskedUpgrade,
    /// A redirect's location came out as no header value.
    #[error("the location is no header value")]
    Location,
}

/// What hyper says, which may be little more than a version of HTTP, and why it says so.
pub(crate) fn with_causes(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

/// What is said of an address set without a good copy.
pub(crate) fn never_loaded(set: &str) -> String {
    format!("the address set {set} was never loaded")
}

/// The stable name of a reason, for logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Reason {
    /// Not served: two readers could take it for two different requests, or it is no HTTP.
    Malformed,
    /// Not served: the request line or the headers are longer, or more, than the limits.
    HeadersTooLarge,
    /// Not served: the headers did not come in time.
    HeaderTimeout,
    /// Not served: no TLS came about.
    TlsHandshake,
    /// Not served: the PROXY header is missing or malformed, or comes from somebody who is not believed.
    ProxyHeader,
    /// Not served: an HTTP/2 client sent more to no purpose than honest clients do.
    Flood,
    /// Not served: the listener was removed.
    ListenerGone,
    /// Not served: the host is none that the connection's certificate stands for.
    Misdirected,
    /// Not served: no route.
    NoRoute,
    /// Not served: no route for this method.
    MethodNotAllowed,
    /// Not served: the client's address is not listed.
    AddressNotListed,
    /// Not served: a policy denies it, or does not allow it.
    PolicyDenied,
    /// Not served: its ARN is too long.
    ArnTooLong,
    /// Not served: it does not prove who it is from.
    CredentialsMissing,
    /// Not served: what it proves that with is not good.
    CredentialsBad,
    /// Not served: its caller's proofs are not good from this address.
    CallerElsewhere,
    /// Not served: its proofs stand for different callers.
    ProofsDisagree,
    /// Not served: the route is not for its caller.
    CallerNotListed,
    /// Not served: it has no token.
    TokenMissing,
    /// Not served: its token is not good.
    TokenBad,
    /// Not served: its token has none of the scopes.
    TokenScope,
    /// Not served: the keys of an issuer were never loaded, or are too old.
    IssuerKeysUnknown,
    /// Not served: the body is not signed.
    SignatureMissing,
    /// Not served: the body's signature is not good.
    SignatureBad,
    /// Not served: this delivery was let in before.
    Replayed,
    /// Not served: the client's address is not listed, though its signature is good.
    SignedButNotListed,
    /// Not served: there is no room for a body that is to be verified.
    SpoolFull,
    /// Not served: too many deliveries are remembered.
    DeliveriesFull,
    /// Not served: an address set that decides has no good copy yet.
    AddressesUnknown,
    /// Not served: the body is too long.
    BodyTooLarge,
    /// Not served: `parallel` is used up.
    Busy,
    /// Not served: throttled.
    Throttled,
    /// Not served: the caller's quota is used up.
    QuotaExceeded,
    /// Not served: a budget is used up.
    BudgetSpent,
    /// Not served: nobody can say whether a quota or a budget is used up.
    QuotaUnavailable,
    /// Admitted, then failed: the body stopped coming.
    BodyStalled,
    /// Admitted, then failed: the body makes no sense.
    BodyBroken,
    /// Admitted, then failed: no target could be connected to, or none could prove that it is who it should be.
    Unreachable,
    /// Admitted, then failed: the target lies outside `networks`.
    Fenced,
    /// Admitted, then failed: the target hung up or answered nonsense.
    BadUpstream,
    /// Admitted, then failed: the target did not answer in time.
    UpstreamTimeout,
}

impl Reason {
    /// All reasons, in the order of their discriminants.
    pub const ALL: [Self; 41] = [
        Self::Malformed,
        Self::HeadersTooLarge,
        Self::HeaderTimeout,
        Self::TlsHandshake,
        Self::ProxyHeader,
        Self::Flood,
        Self::ListenerGone,
        Self::Misdirected,
        Self::NoRoute,
        Self::MethodNotAllowed,
        Self::AddressNotListed,
        Self::PolicyDenied,
        Self::ArnTooLong,
        Self::CredentialsMissing,
        Self::CredentialsBad,
        Self::CallerElsewhere,
        Self::ProofsDisagree,
        Self::CallerNotListed,
        Self::TokenMissing,
        Self::TokenBad,
        Self::TokenScope,
        Self::IssuerKeysUnknown,
        Self::SignatureMissing,
        Self::SignatureBad,
        Self::Replayed,
        Self::SignedButNotListed,
        Self::SpoolFull,
        Self::DeliveriesFull,
        Self::AddressesUnknown,
        Self::BodyTooLarge,
        Self::Busy,
        Self::Throttled,
        Self::QuotaExceeded,
        Self::BudgetSpent,
        Self::QuotaUnavailable,
        Self::BodyStalled,
        Self::BodyBroken,
        Self::Unreachable,
        Self::Fenced,
        Self::BadUpstream,
        Self::UpstreamTimeout,
    ];

    /// Its name in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::HeadersTooLarge => "headers_too_large",
            Self::HeaderTimeout => "header_timeout",
            Self::TlsHandshake => "tls_handshake",
            Self::ProxyHeader => "proxy_header",
            Self::Flood => "flood",
            Self::ListenerGone => "listener_gone",
            Self::Misdirected => "misdirected",
            Self::NoRoute => "no_route",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::AddressNotListed => "address_not_listed",
            Self::PolicyDenied => "policy_denied",
            Self::ArnTooLong => "arn_too_long",
            Self::CredentialsMissing => "credentials_missing",
            Self::CredentialsBad => "credentials_bad",
            Self::CallerElsewhere => "caller_elsewhere",
            Self::ProofsDisagree => "proofs_disagree",
            Self::CallerNotListed => "caller_not_listed",
            Self::TokenMissing => "token_missing",
            Self::TokenBad => "token_bad",
            Self::TokenScope => "token_scope",
            Self::IssuerKeysUnknown => "issuer_keys_unknown",
            Self::SignatureMissing => "signature_missing",
            Self::SignatureBad => "signature_bad",
            Self::Replayed => "replayed",
            Self::SignedButNotListed => "signed_but_not_listed",
            Self::SpoolFull => "spool_full",
            Self::DeliveriesFull => "deliveries_full",
            Self::AddressesUnknown => "addresses_unknown",
            Self::BodyTooLarge => "body_too_large",
            Self::Busy => "busy",
            Self::Throttled => "throttled",
            Self::QuotaExceeded => "quota_exceeded",
            Self::BudgetSpent => "budget_spent",
            Self::QuotaUnavailable => "quota_unavailable",
            Self::BodyStalled => "body_stalled",
            Self::BodyBroken => "body_broken",
            Self::Unreachable => "unreachable",
            Self::Fenced => "fenced",
            Self::BadUpstream => "bad_upstream",
            Self::UpstreamTimeout => "upstream_timeout",
        }
    }
}

impl Rejection {
    /// The name of this reason.
    #[must_use]
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Malformed(_) => Reason::Malformed,
            Self::ListenerGone => Reason::ListenerGone,
            Self::Misdirected => Reason::Misdirected,
            Self::NoRoute => Reason::NoRoute,
            Self::MethodNotAllowed { .. } => Reason::MethodNotAllowed,
            Self::AddressNotListed => Reason::AddressNotListed,
            Self::PolicyDenied(_) => Reason::PolicyDenied,
            Self::ArnTooLong => Reason::ArnTooLong,
            Self::CredentialsMissing { .. } => Reason::CredentialsMissing,
            Self::BadCredentials(_) => Reason::CredentialsBad,
            Self::CallerElsewhere { .. } => Reason::CallerElsewhere,
            Self::ProofsDisagree => Reason::ProofsDisagree,
            Self::CallerNotListed { .. } => Reason::CallerNotListed,
            Self::TokenMissing => Reason::TokenMissing,
            Self::BadToken { flaw: TokenFlaw::Scope, .. } => Reason::TokenScope,
            Self::BadToken { .. } => Reason::TokenBad,
            Self::KeysUnknown { .. } => Reason::IssuerKeysUnknown,
            Self::Unsigned => Reason::SignatureMissing,
            Self::BadSignature(_) => Reason::SignatureBad,
            Self::Replayed => Reason::Replayed,
            Self::SignedNotListed => Reason::SignedButNotListed,
            Self::SpoolFull(_) => Reason::SpoolFull,
            Self::DeliveriesFull => Reason::DeliveriesFull,
            Self::AddressesUnknown { .. } => Reason::AddressesUnknown,
            Self::BodyTooLarge => Reason::BodyTooLarge,
            Self::Busy => Reason::Busy,
            Self::Throttled(_) => Reason::Throttled,
            Self::QuotaExceeded(_) => Reason::QuotaExceeded,
            Self::BudgetSpent(..) => Reason::BudgetSpent,
            Self::QuotaUnavailable => Reason::QuotaUnavailable,
            Self::BodyStalled => Reason::BodyStalled,
            Self::BodyBroken => Reason::BodyBroken,
            Self::Dial(ConnectError::Dial(DialError::Fenced { .. })) => Reason::Fenced,
            Self::Dial(_) => Reason::Unreachable,
            Self::BadUpstream(_) => Reason::BadUpstream,
            Self::UpstreamTimeout => Reason::UpstreamTimeout,
        }
    }

    /// The status that the client sees.
    #[must_use]
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) | Self::BodyBroken => StatusCode::BAD_REQUEST,
            Self::AddressNotListed
            | Self::SignedNotListed
            | Self::PolicyDenied(_)
            | Self::BadToken { flaw: TokenFlaw::Scope, .. }
            | Self::CallerNotListed { .. } => StatusCode::FORBIDDEN,
            Self::CredentialsMissing { .. }
            | Self::BadCredentials(_)
            | Self::CallerElsewhere { .. }
            | Self::ProofsDisagree
            | Self::TokenMissing
            | Self::BadToken { .. }
            | Self::Unsigned
            | Self::BadSignature(_)
            | Self::Replayed => StatusCode::UNAUTHORIZED,
            Self::ArnTooLong => StatusCode::URI_TOO_LONG,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyStalled => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Throttled(_) | Self::QuotaExceeded(_) | Self::BudgetSpent(..) => StatusCode::TOO_MANY_REQUESTS,
            Self::Dial(_) | Self::BadUpstream(_) => StatusCode::BAD_GATEWAY,
            Self::ListenerGone
            | Self::AddressesUnknown { .. }
            | Self::KeysUnknown { .. }
            | Self::Busy
            | Self::QuotaUnavailable
            | Self::SpoolFull(_)
            | Self::DeliveriesFull => StatusCode::SERVICE_UNAVAILABLE,
            Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Of a token that a route asks for.
    pub(crate) fn bad_token(flaw: TokenFlaw, rule: &Arc<TokenRule>) -> Self {
        if flaw == TokenFlaw::Missing {
            Self::TokenMissing
        } else if flaw == TokenFlaw::KeysUnknown {
            Self::KeysUnknown { whose: Arc::clone(&rule.issuer) }
        } else {
            Self::BadToken { flaw, rule: Arc::clone(rule) }
        }
    }

    /// Whether it may be none once the keys of an issuer were asked for again.
    pub(crate) fn awaits_keys(&self) -> bool {
        let of_caller = matches!(self, Self::BadCredentials(bad)
            if matches!(bad.flaw, CredentialFlaw::Token(flaw) if flaw.may_pass()));
        let of_route = matches!(self, Self::BadToken { flaw, .. } if flaw.may_pass());
        of_caller || of_route || matches!(self, Self::KeysUnknown { .. })
    }

    /// With what `caller` is claimed to have given.
    pub(crate) fn bad_credentials(kind: ProofKind, flaw: CredentialFlaw, caller: Option<&Arc<Caller>>) -> Self {
        let claimed = caller.map(|caller| Arc::clone(&caller.written.name));
        Self::BadCredentials(Box::new(BadCredentials { kind, flaw, claimed }))
    }

    /// The same without what the client sent of its credentials.
    pub(crate) fn for_the_record(mut self) -> Self {
        if let Self::BadCredentials(bad) = &mut self {
            bad.flaw = bad.flaw.told();
        }
        self
    }

    /// Whether the connection must not carry another request: what follows on it cannot be trusted, or is not wanted.
    #[must_use]
    pub(crate) fn closes(&self) -> bool {
        matches!(self, Self::Malformed(_) | Self::BodyBroken | Self::BodyStalled | Self::ListenerGone)
    }

    /// What only the owner is told, in the log.
    pub(crate) fn detail(&self) -> Option<String> {
        match self {
            Self::Malformed(malformed) => Some(malformed.to_string()),
            Self::Dial(error) => Some(error.to_string()),
            Self::BadUpstream(what) => Some(what.to_string()),
            Self::PolicyDenied(denial) => Some(denial.to_string()),
            Self::BadSignature(flaw) => Some(flaw.to_string()),
            Self::CredentialsMissing { kinds } => Some(format!("it lacks {kinds}")),
            Self::BadCredentials(bad) => Some(bad.to_string()),
            Self::CallerElsewhere { caller, .. } => Some(format!("the proofs of {caller} are not good from there")),
            Self::CallerNotListed { caller } => Some(format!("{caller} is not listed in `callers`")),
            Self::SpoolFull(error) => Some(error.to_string()),
            Self::BadToken { flaw, .. } => Some(flaw.to_string()),
            Self::KeysUnknown { whose } => Some(format!("the keys of {whose} are not known")),
            Self::AddressesUnknown { set } => Some(never_loaded(set)),
            Self::BudgetSpent(Whose::Caller, _) => Some("the budget of its caller".to_owned()),
            Self::BudgetSpent(Whose::Route, _) => Some("the budget of its route".to_owned()),
            Self::ListenerGone
            | Self::Misdirected
            | Self::NoRoute
            | Self::MethodNotAllowed { .. }
            | Self::AddressNotListed
            | Self::ArnTooLong
            | Self::ProofsDisagree
            | Self::TokenMissing
            | Self::Unsigned
            | Self::Replayed
            | Self::SignedNotListed
            | Self::DeliveriesFull
            | Self::BodyTooLarge
            | Self::Busy
            | Self::Throttled(_)
            | Self::QuotaExceeded(_)
            | Self::QuotaUnavailable
            | Self::BodyStalled
            | Self::BodyBroken
            | Self::UpstreamTimeout => None,
        }
    }

    /// The answer: one body a status, and no reason in it. `headers` are overwritten; they spare an allocation.
    pub(crate) fn answer(&self, mut headers: HeaderMap) -> Response<Bytes> {
        let status = self.status();
        headers.clear();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Self::MethodNotAllowed { allow } = self {
            headers.insert(ALLOW, allow.clone());
        }
        self.tell_when(&mut headers);
        let mut response = Response::new(body(status));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    /// Adds when to come again, and what binds.
    pub(crate) fn tell_when(&self, headers: &mut HeaderMap) {
        match self {
            Self::Throttled(exceeded) => limit::tell_bucket(headers, exceeded),
            Self::QuotaExceeded(used) => {
                used.tell_when(headers);
                used.tell_none_left(headers);
            }
            Self::BudgetSpent(_, used) => used.tell_when(headers),
            Self::Unsigned | Self::BadSignature(_) | Self::Replayed => {
                headers.insert(WWW_AUTHENTICATE, CHALLENGE);
            }
            Self::CredentialsMissing { .. }
            | Self::BadCredentials(_)
            | Self::CallerElsewhere { .. }
            | Self::ProofsDisagree => {
                headers.insert(WWW_AUTHENTICATE, CREDENTIALS);
            }
            Self::TokenMissing => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::BadToken { flaw, rule } => {
                headers.insert(WWW_AUTHENTICATE, flaw.challenge(&rule.scopes));
            }
            Self::Busy
            | Self::QuotaUnavailable
            | Self::SpoolFull(_)
            | Self::DeliveriesFull
            | Self::KeysUnknown { .. } => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Malformed(_)
            | Self::ListenerGone
            | Self::Misdirected
            | Self::NoRoute
            | Self::MethodNotAllowed { .. }
            | Self::AddressNotListed
            | Self::PolicyDenied(_)
            | Self::ArnTooLong
            | Self::CallerNotListed { .. }
            | Self::SignedNotListed
            | Self::AddressesUnknown { .. }
            | Self::BodyTooLarge
            | Self::BodyStalled
            | Self::BodyBroken
            | Self::Dial(_)
            | Self::BadUpstream(_)
            | Self::UpstreamTimeout => {}
        }
    }
}

impl From<SpoolError> for Rejection {
    fn from(error: SpoolError) -> Self {
        Self::SpoolFull(error)
    }
}

impl fmt::Display for Rejection {
    /// As operators read it: the detail, else the reason.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.detail() {
            Some(detail) => out.write_str(&detail),
            None => out.write_str(self.reason().name()),
        }
    }
}

/// What an answer with 401 must have (RFC 9110, 11.6.1). No scheme is registered for signatures of bodies; this one says no
/// more than that one is wanted.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Signature realm=\"gatepost\"");

/// The same for whoever is to prove who it is. Which proofs are good where, is the owner's to tell.
const CREDENTIALS: HeaderValue = HeaderValue::from_static("Credentials realm=\"gatepost\"");

/// One body a status.
fn body(status: StatusCode) -> Bytes {
    Bytes::from_static(match status.as_u16() {
        400 => br#"{"message":"Bad Request"}"#,
        401 => br#"{"message":"Unauthorized"}"#,
        403 => br#"{"message":"Forbidden"}"#,
        404 => br#"{"message":"Not Found"}"#,
        405 => br#"{"message":"Method Not Allowed"}"#,
        408 => br#"{"message":"Request Timeout"}"#,
        413 => br#"{"message":"Payload Too Large"}"#,
        414 => br#"{"message":"URI Too Long"}"#,
        421 => br#"{"message":"Misdirected Request"}"#,
        429 => br#"{"message":"Too Many Requests"}"#,
        502 => br#"{"message":"Bad Gateway"}"#,
        503 => br#"{"message":"Service Unavailable"}"#,
        504 => br#"{"message":"Gateway Timeout"}"#,
        _ => br#"{"message":"Error"}"#,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_reasons_is_in_the_order_of_its_indices() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{}", reason.name());
        }
    }
}
