use std::borrow::Cow;

use thiserror::Error;

use crate::{Bound, LONGEST_EXPIRES, PathFault, QueryFault};

mod detail;

pub(crate) use detail::Expected;
pub use detail::{Echo, Mismatch, MissingFromHeader, MissingFromQuery, ScopeFault, TooEarly, TooLate};

/// Why a signature is refused, in the order in which reasons win: a request with several faults is refused for the one
/// that stands first.
///
/// `Display` is for the operator, and repeats nothing of the request. [`status`](Self::status),
/// [`error_type`](Self::error_type) and [`message`](Self::message) are what API Gateway answers for a REST API; an HTTP
/// API answers every one of them with 403 and `Forbidden`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// The head is larger than anything that is read. AWS has bounds of its own and no text for them.
    #[error("the request has more than {0}")]
    TooLarge(Bound),
    /// The path has no canonical form. The only one that AWS answers with 400, without a body.
    #[error("the path cannot be signed: {0}")]
    Path(#[source] PathFault),
    /// The query has no canonical form.
    #[error("the query cannot be signed: an escape in it is broken")]
    Query(#[source] QueryFault),
    /// No signature, or one in the query by an algorithm other than `AWS4-HMAC-SHA256`.
    #[error("the request presents no signature")]
    MissingToken,
    /// A signature in the query, and a header `Authorization`.
    #[error("the request has both X-Amz-Algorithm in its query and a header Authorization")]
    BothForms,
    /// `Authorization` comes more than once. AWS has no text for it.
    #[error("the header Authorization comes more than once")]
    RepeatedAuthorization,
    /// `Authorization` names another algorithm.
    #[error("the header Authorization is not one of AWS4-HMAC-SHA256")]
    Algorithm(Echo),
    /// A part of `Authorization` is not `key=value`, as in `Bearer xyz`. Holds the SHA-256 of its value in Base64.
    #[error("a part of the header Authorization is not key=value")]
    NotKeyValue(String),
    /// `Authorization` lacks parameters, or the request its date.
    #[error("the header Authorization lacks parameters, or the request a date")]
    IncompleteHeader(MissingFromHeader),
    /// The query lacks parameters.
    #[error("the query lacks parameters of a signature")]
    IncompleteQuery(MissingFromQuery),
    /// Neither `host` nor `:authority` is signed.
    #[error("the signature does not cover the header Host")]
    HostNotSigned,
    /// A header `x-amz-…` is not signed, and the rules demand it.
    #[error("the signature does not cover a header x-amz-…")]
    AmzHeaderNotSigned(Echo),
    /// The date has another form than `20260115T120000Z`.
    #[error("the date of the signature has another form than 20260115T120000Z")]
    Date(Echo),
    /// `X-Amz-Expires` is not a number from 1 to 604800. AWS has no text for it at this service.
    #[error("X-Amz-Expires is not a number of seconds from 1 to {LONGEST_EXPIRES}")]
    Expires,
    /// It is too old.
    #[error("the signature is too old: made at {}, refused since {}", .0.date, .0.limit())]
    TooLate(TooLate),
    /// It is from the future. One of the two clocks is wrong.
    #[error("the signature is from the future: made at {}, accepted from {}; compare the clocks", .0.date, .0.now)]
    TooEarly(TooEarly),
    /// The credential has not five parts.
    #[error("the credential has not five parts")]
    Credential(Echo),
    /// The scope is of another region, service or day, or does not end as it should.
    #[error("the signature is for another scope")]
    Scope(Box<ScopeFault>),
    /// The session has ended. Made by whoever knows sessions.
    #[error("the session has ended")]
    ExpiredToken,
    /// Nobody is known by this access key, the key is disabled, or the session token is not the one that belongs to it.
    /// Made by whoever looks keys up, and by verification for the token.
    #[error("the access key or its session token is not known")]
    UnknownCredentials,
    /// The signature is not that of the request.
    #[error("the signature is not that of the request")]
    Mismatch(Box<Mismatch>),
}

/// The names by which API Gateway lets one customise its own answers, as far as signatures are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayResponse {
    /// `MISSING_AUTHENTICATION_TOKEN`.
    MissingAuthenticationToken,
    /// `EXPIRED_TOKEN`.
    ExpiredToken,
    /// `INVALID_SIGNATURE`.
    InvalidSignature,
    /// `DEFAULT_4XX`, for what has no name of its own.
    Default4xx,
}

impl SignatureError {
    /// The status of the answer: 403, but for a path without a canonical form.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.kind() {
            None => 400,
            Some(_) => 403,
        }
    }

    /// The header `x-amzn-ErrorType` of the answer, if it has one.
    #[must_use]
    pub fn error_type(&self) -> Option<&'static str> {
        Some(match self.kind()? {
            Kind::MalformedQuery => "MalformedQueryString",
            Kind::MissingToken => "MissingAuthenticationTokenException",
            Kind::Incomplete => "IncompleteSignatureException",
            Kind::Invalid => "InvalidSignatureException",
            Kind::ExpiredToken => "ExpiredTokenException",
            Kind::Unrecognized => "UnrecognizedClientException",
        })
    }

    /// The name by which the answer is customised.
    #[must_use]
    pub fn gateway_response(&self) -> GatewayResponse {
        match self.kind() {
            Some(Kind::MissingToken) => GatewayResponse::MissingAuthenticationToken,
            Some(Kind::ExpiredToken) => GatewayResponse::ExpiredToken,
            Some(Kind::Invalid) => GatewayResponse::InvalidSignature,
            Some(Kind::MalformedQuery | Kind::Incomplete | Kind::Unrecognized) | None => GatewayResponse::Default4xx,
        }
    }

    /// What stands in the answer's `{"message":…}`, if it has a body. It may repeat what the client sent, so it is for
    /// that client alone, and is escaped by whoever writes the JSON.
    #[must_use]
    pub fn message(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::Path(_) => return None,
            Self::TooLarge(bound) => format!("The request has more than {bound}.").into(),
            Self::Query(fault) => fault.to_string().into(),
            Self::MissingToken => "Missing Authentication Token".into(),
            Self::BothForms => {
                "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.".into()
            }
            Self::RepeatedAuthorization => "Found more than one 'Authorization' HTTP header.".into(),
            Self::Algorithm(algorithm) => format!("Unsupported AWS 'algorithm': '{}'.", algorithm.expose()).into(),
            Self::NotKeyValue(hash) => format!(
                "Invalid key=value pair (missing equal-sign) in Authorization header \
                 (hashed with SHA-256 and encoded with Base64): '{hash}'."
            )
            .into(),
            Self::IncompleteHeader(missing) => missing.message().into(),
            Self::IncompleteQuery(missing) => missing.message().into(),
            Self::HostNotSigned => {
                "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.".into()
            }
            Self::AmzHeaderNotSigned(name) => {
                format!("'{}' must be a 'SignedHeader' in the AWS Authorization.", name.expose()).into()
            }
            Self::Date(date) => format!(
                "Date must be in ISO-8601 'basic format'. Got '{}'. See http://en.wikipedia.org/wiki/ISO_8601",
                date.expose()
            )
            .into(),
            Self::Expires => format!("'X-Amz-Expires' must be a number of seconds from 1 to {LONGEST_EXPIRES}.").into(),
            Self::TooLate(late) => late.message().into(),
            Self::TooEarly(early) => early.message().into(),
            Self::Credential(credential) => format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{}'",
                credential.expose()
            )
            .into(),
            Self::Scope(fault) => fault.message().into(),
            Self::ExpiredToken => "The security token included in the request is expired".into(),
            Self::UnknownCredentials => "The security token included in the request is invalid.".into(),
            Self::Mismatch(mismatch) => mismatch.message().into(),
        })
    }

    /// `None` is the one that is no refusal of a signature, but of the request.
    fn kind(&self) -> Option<Kind> {
        Some(match self {
            Self::Path(_) => return None,
            Self::Query(_) => Kind::MalformedQuery,
            Self::MissingToken => Kind::MissingToken,
            Self::TooLarge(_)
            | Self::RepeatedAuthorization
            | Self::Algorithm(_)
            | Self::NotKeyValue(_)
            | Self::IncompleteHeader(_)
            | Self::IncompleteQuery(_)
            | Self::Date(_)
            | Self::Expires
            | Self::Credential(_) => Kind::Incomplete,
            Self::BothForms
            | Self::HostNotSigned
            | Self::AmzHeaderNotSigned(_)
            | Self::TooLate(_)
            | Self::TooEarly(_)
            | Self::Scope(_)
            | Self::Mismatch(_) => Kind::Invalid,
            Self::ExpiredToken => Kind::ExpiredToken,
            Self::UnknownCredentials => Kind::Unrecognized,
        })
    }
}

/// What AWS calls the error.
enum Kind {
    MalformedQuery,
    MissingToken,
    Incomplete,
    Invalid,
    ExpiredToken,
    Unrecognized,
}
