//! The words of a REST API: API Gateway, version 1 (developer guide, supported-gateway-response-types).
//!
//! What AWS documents or captures of its answers show is here as it is there, to the byte: before the integration
//! `{"message":"…"}`, and of the integration `{"message": "…"}`, with a space. Marked "ours" is what AWS has no case for.

use std::borrow::Cow;

use bytes::Bytes;
use gatepost_config::model::ProofKind;
use gatepost_sigv4::{Mismatch, SignatureError};
use http::{HeaderValue, StatusCode};

use crate::admission::RequestArn;
use crate::caller::{CredentialFlaw, ProofKinds};
use crate::compat::{JSON, authorization};
use crate::rejection::{BadCredentials, BadUpstream, Denial, Rejection};
use crate::request::Facts;
use crate::snapshot::ApiNames;
use crate::upstream::ConnectError;

/// An answer to a request that is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) status: StatusCode,
    /// `x-amzn-ErrorType`; absent where AWS's front answers, and the gateway never knew.
    pub(super) kind: Option<&'static str>,
    pub(super) body: Bytes,
}

/// The answers of this type repeat what the client sent as its credentials.
pub(super) const INCOMPLETE_SIGNATURE: &str = "IncompleteSignatureException";

/// Some of the answers of this type repeat all that was signed, headers with secrets among it.
pub(super) const INVALID_SIGNATURE: &str = "InvalidSignatureException";

impl Words {
    /// Of what was decided about a request whose head is at hand. `max_body` is what its body may have, in bytes.
    pub(super) fn of_decision(rejection: &Rejection, api: &ApiNames, facts: &Facts<'_>, max_body: u64) -> Self {
        if let Rejection::PolicyDenied(denial) = rejection {
            return Self::denied(denial, &RequestArn::of(facts, api).masked());
        }
        if let Rejection::NoRoute | Rejection::MethodNotAllowed { .. } = rejection
            && let Some(complaint) = authorization::complaint(facts)
        {
            return Self::refused(INCOMPLETE_SIGNATURE, complaint);
        }
        Self::of(rejection, max_body)
    }

    /// Of what has nothing to do with the head.
    pub(super) fn of(rejection: &Rejection, max_body: u64) -> Self {
        match rejection {
            // As for a private API that is called from elsewhere, and what a web ACL blocks.
            Rejection::AddressNotListed | Rejection::SignedNotListed => {
                Self::refused("ForbiddenException", "Forbidden")
            }
            // An unknown method is an unknown route: there is no 405.
            Rejection::NoRoute | Rejection::MethodNotAllowed { .. } => {
                Self::refused("MissingAuthenticationTokenException", "Missing Authentication Token")
            }
            Rejection::PolicyDenied(_) => Self::refused("AccessDeniedException", "Forbidden"),
            Rejection::CredentialsMissing { kinds } => Self::missing(*kinds),
            Rejection::BadCredentials(bad) => Self::bad_credentials(bad),
            Rejection::CallerElsewhere { kind: ProofKind::SigV4, .. } => {
                Self::signature(&SignatureError::UnknownCredentials)
            }
            Rejection::CallerElsewhere { .. } | Rejection::ProofsDisagree | Rejection::CallerNotListed { .. } => {
                Self::refused("ForbiddenException", "Forbidden")
            }
            Rejection::Throttled(_) => {
                Self::before(StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException", "Too Many Requests")
            }
            // A budget is ours: AWS has none.
            Rejection::QuotaExceeded(_) | Rejection::BudgetSpent(..) => {
                Self::before(StatusCode::TOO_MANY_REQUESTS, "LimitExceededException", "Limit Exceeded")
            }
            // The number is what the route takes; on AWS it is always 10485760.
            Rejection::BodyTooLarge => Self {
                status: StatusCode::PAYLOAD_TOO_LARGE,
                kind: None,
                body: format!("HTTP content length exceeded {max_body} bytes.").into(),
            },
            // The words are unverified.
            Rejection::ArnTooLong => {
                Self::before(StatusCode::URI_TOO_LONG, "RequestUriTooLongException", "Request-URI Too Long")
            }
            Rejection::UpstreamTimeout => Self::within(StatusCode::GATEWAY_TIMEOUT, "Endpoint request timed out"),
            Rejection::Dial(ConnectError::Dial(_)) => Self::unreachable(),
            // The status is unverified: 500 was seen, too.
            Rejection::Dial(ConnectError::Tls(_) | ConnectError::NoAuthorities) => Self::bad_answer(),
            Rejection::BadUpstream(BadUpstream::Http(error)) if !error.is_parse() => Self::unreachable(),
            Rejection::BadUpstream(_) => Self::bad_answer(),
            // As a user pool's authorizer answers; that it is so of a missing scope is unverified.
            Rejection::TokenMissing | Rejection::BadToken { .. } => {
                Self::before(rejection.status(), "UnauthorizedException", "Unauthorized")
            }
            // Ours, all of these.
            Rejection::Unsigned | Rejection::BadSignature(_) | Rejection::Replayed => {
                Self::before(rejection.status(), "UnauthorizedException", "Unauthorized")
            }
            Rejection::Busy
            | Rejection::QuotaUnavailable
            | Rejection::ListenerGone
            | Rejection::AddressesUnknown { .. }
            | Rejection::KeysUnknown { .. }
            | Rejection::SpoolFull(_)
            | Rejection::DeliveriesFull => {
                Self::before(rejection.status(), "ServiceUnavailableException", "Service Unavailable")
            }
            Rejection::BodyStalled => Self::before(rejection.status(), "RequestTimeoutException", "Request Timeout"),
            Rejection::Malformed(_) | Rejection::BodyBroken | Rejection::Misdirected => {
                Self::before(rejection.status(), "BadRequestException", "Bad Request")
            }
        }
    }

    /// Whether AWS's front answers before the gateway knows of the request, so that it has no names.
    pub(super) fn is_by_the_front(&self) -> bool {
        self.kind.is_none()
    }

    pub(super) fn content_type(&self) -> HeaderValue {
        if self.is_by_the_front() { HeaderValue::from_static("text; charset=utf-8") } else { JSON }
    }

    /// The key is `Message`, unlike everywhere else. The words are those that clients have long seen. Since about 2023 AWS's
    /// documentation ends with ` in a resource-based policy`, or ` because no resource-based policy allows the
    /// execute-api:Invoke action`; captures of that are rare.
    fn denied(denial: &Denial, masked_arn: &str) -> Self {
        let suffix = if denial.is_explicit() { " with an explicit deny" } else { "" };
        let user = denial.user().map_or("anonymous", |caller| caller.written.arn.as_str());
        let sentence =
            format!("User: {user} is not authorized to perform: execute-api:Invoke on resource: {masked_arn}{suffix}");
        Self {
            status: StatusCode::FORBIDDEN,
            kind: Some("AccessDeniedException"),
            body: format!("{{\"Message\":{}}}", json(&sentence)).into(),
        }
    }

    /// By what could have been given.
    fn missing(kinds: ProofKinds) -> Self {
        if kinds.has(ProofKind::SigV4) {
            Self::signature(&SignatureError::MissingToken)
        } else if kinds.has(ProofKind::Jwt) {
            Self::before(StatusCode::UNAUTHORIZED, "UnauthorizedException", "Unauthorized")
        } else {
            Self::refused("ForbiddenException", "Forbidden")
        }
    }

    fn bad_credentials(bad: &BadCredentials) -> Self {
        match (&bad.flaw, bad.kind) {
            (CredentialFlaw::SigV4(error), _) => Self::signature(error),
            (_, ProofKind::Jwt) => Self::before(StatusCode::UNAUTHORIZED, "UnauthorizedException", "Unauthorized"),
            (_, ProofKind::Key | ProofKind::SigV4 | ProofKind::Signed) => {
                Self::refused("ForbiddenException", "Forbidden")
            }
        }
    }

    /// What AWS says of a signature. What it would repeat of a long request is left out.
    fn signature(error: &SignatureError) -> Self {
        const LONGEST: usize = 8 * 1024;
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::FORBIDDEN);
        let (Some(kind), Some(message)) = (error.error_type(), error.message()) else {
            return Self { status, kind: None, body: Bytes::new() };
        };
        let is_long = matches!(error, SignatureError::Mismatch(_)) && message.len() > LONGEST;
        Self::before(status, kind, if is_long { Mismatch::SHORT.into() } else { message })
    }

    fn refused(kind: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::before(StatusCode::FORBIDDEN, kind, message)
    }

    /// Before the integration.
    fn before(status: StatusCode, kind: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, kind: Some(kind), body: format!("{{\"message\":{}}}", json(&message.into())).into() }
    }

    /// Of the integration.
    fn within(status: StatusCode, message: &str) -> Self {
        let body = format!("{{\"message\": {}}}", json(message)).into();
        Self { status, kind: Some("InternalServerErrorException"), body }
    }

    fn unreachable() -> Self {
        Self::within(StatusCode::GATEWAY_TIMEOUT, "Network error communicating with endpoint")
    }

    fn bad_answer() -> Self {
        Self::within(StatusCode::BAD_GATEWAY, "Internal server error")
    }
}

/// A JSON string (RFC 8259, 7).
fn json(text: &str) -> String {
    let mut string = String::with_capacity(text.len() + 2);
    string.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => string.extend(['\\', character]),
            '\n' => string.push_str("\\n"),
            '\r' => string.push_str("\\r"),
            '\t' => string.push_str("\\t"),
            ..' ' => string += &format!("\\u{:04x}", u32::from(character)),
            _ => string.push(character),
        }
    }
    string.push('"');
    string
}

#[cfg(test)]
mod tests;
