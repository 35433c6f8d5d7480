use http::HeaderValue;
use thiserror::Error;

/// What is wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum TokenFlaw {
    /// There is none.
    #[error("there is no token")]
    Missing,
    /// There are several.
    #[error("more than one token came")]
    Twice,
    /// It is longer than anybody reads.
    #[error("it is longer than 8 KiB")]
    TooLong,
    /// It is no signed token, or its header or its claims are not what they must be (RFC 7519, 7.2).
    #[error("it is no signed JSON Web Token that can be read")]
    Malformed,
    /// It uses extensions that whoever does not know them must not accept (RFC 7515, 4.1.11).
    #[error("its header has `crit`, and no extension is understood")]
    Critical,
    /// It says that it is signed in a way that its key does not sign in, or that nobody accepts.
    #[error("its `alg` is none that its key is good for")]
    Algorithm,
    /// It does not say which key it was signed with.
    #[error("its header has no `kid`")]
    NoKid,
    /// It says that it was signed with a key that its issuer does not publish.
    #[error("its `kid` names no key that its issuer publishes")]
    UnknownKid,
    /// Its issuer did not sign it.
    #[error("its signature is not that of its key")]
    BadSignature,
    /// It is of another issuer.
    #[error("its `iss` is another issuer's")]
    WrongIssuer,
    /// It is for somebody else.
    #[error("its `aud` or `client_id` is for somebody else")]
    WrongAudience,
    /// It is over.
    #[error("its `exp` is over")]
    Expired,
    /// It is not good yet.
    #[error("its `nbf` or `iat` lies ahead")]
    NotYet,
    /// It has no scope that is asked for.
    #[error("its `scope` or `scp` has none of those asked for")]
    Scope,
    /// Nobody knows what the keys of its issuer are.
    #[error("the keys of its issuer are not known")]
    KeysUnknown,
}

impl TokenFlaw {
    /// What AWS is known to say of it in `WWW-Authenticate`: only two of its descriptions are certain.
    fn description(self) -> Option<&'static str> {
        match self {
            Self::WrongAudience => Some("the token does not have a valid audience"),
            Self::Expired => Some("the token has expired"),
            Self::Missing
            | Self::Twice
            | Self::TooLong
            | Self::Malformed
            | Self::Critical
            | Self::Algorithm
            | Self::NoKid
            | Self::UnknownKid
            | Self::BadSignature
            | Self::WrongIssuer
            | Self::NotYet
            | Self::Scope
            | Self::KeysUnknown => None,
        }
    }

    /// What a client is told in `WWW-Authenticate` (RFC 6750, 3), where tokens must have one of these scopes, if any.
    pub(crate) fn challenge(self, scopes: &[Box<str>]) -> HeaderValue {
        let is_plain = |scope: &&str| !scope.contains(['"', '\\']);
        let scopes: Vec<&str> = scopes.iter().map(|scope| &**scope).filter(is_plain).collect();
        let mut text = "Bearer ".to_owned();
        if !scopes.is_empty() {
            text += &format!("scope=\"{}\" ", scopes.join(" "));
        }
        text += if self == Self::Scope { "error=\"insufficient_scope\"" } else { "error=\"invalid_token\"" };
        if let Some(description) = self.description() {
            text += &format!(" error_description=\"{description}\"");
        }
        // Only a scope that no header could carry makes it another one.
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Bearer"))
    }

    /// Whether it may be none once the keys were asked for again.
    pub(crate) fn may_pass(self) -> bool {
        matches!(self, Self::UnknownKid | Self::KeysUnknown)
    }
}
