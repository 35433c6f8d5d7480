//! Why a request was not served, and the one place that turns reasons into answers.

mod detail;
mod limit;
mod reason;

pub(crate) use self::detail::{BadCredentials, BadUpstream, Denial, Malformed, Whose, never_loaded, with_causes};
pub(crate) use self::limit::{Used, tell_level};
pub use self::reason::Reason;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use gatepost_config::model::{ProofKind, TokenRule};
use gatepost_meter::Exceeded;
use gatepost_net::DialError;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

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
            Self::CredentialsMissing { kinds } => Some(match kinds.name().contains('+') {
                // True whether any one of them will do or all are asked for.
                true => format!("it has none of {}", kinds.name().replace('+', ", ")),
                false => format!("it lacks {kinds}"),
            }),
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
