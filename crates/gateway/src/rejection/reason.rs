//! The names of reasons.

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
