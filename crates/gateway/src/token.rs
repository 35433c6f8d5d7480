//! Tokens of issuers: JSON Web Tokens (RFC 7519) that are signed (RFC 7515), verified with the keys that their issuer
//! publishes (RFC 7517), as RFC 8725 advises.
//!
//! ```text
//! presented() ─► Cache: seen before, with the keys that are good now? ─► Claims ─► Claims::satisfy(rule, now)
//!                  else Compact::read ─► Keyring of its `iss` ─► Keys: `kid` and `alg` ─► signature ─┘
//! ```
//!
//! What it does as API Gateway's JWT authorizers do, and what it does otherwise:
//!
//! - The token comes in `Authorization`, after `Bearer ` in any case, or bare. `kid` must name a key of the issuer.
//! - RS256, RS384, RS512, and besides these ES256, ES384 and Ed25519 (`EdDSA`, or `Ed25519` of RFC 9864). A key has its
//!   algorithms; the header of a token only chooses among those. There is no `none` and no HMAC to choose.
//! - `iss` to the byte; `aud`, or `client_id` where there is no `aud`; `exp` must be there and lie ahead; `nbf` and `iat`
//!   must not lie ahead. No leeway, as documented.
//! - Keys that were never loaded, or not for [`KEEP`], make it 503 rather than 401: it is not the client's fault.
//!
//! Signatures are verified by aws-lc-rs, directly. The `jsonwebtoken` crate would bring a second base64 and a second
//! stack of signature traits, reads the key anew for each token, does not look at `crit`, and takes the algorithm from
//! its caller, so that what matters would be written here anyway.
//!
//! [`KEEP`]: keyring::KEEP

mod cache;
mod claims;
mod compact;
mod flaw;
mod issuers;
mod jwks;
mod keyring;
#[cfg(test)]
mod tests;

pub(crate) use self::claims::Claims;
pub use self::compact::token_is_bounded;
pub(crate) use self::flaw::TokenFlaw;
pub(crate) use self::issuers::Issuers;
pub use self::jwks::keys_are_bounded;
pub(crate) use self::keyring::Keyring;

use std::sync::Arc;
use std::time::SystemTime;

use gatepost_config::model::TokenRule;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use self::cache::Digest;
use self::compact::Compact;

/// What a route asks of tokens, ready to judge them.
#[derive(Debug)]
pub(crate) struct Tokens {
    rule: Arc<TokenRule>,
    keyring: Arc<Keyring>,
}

/// A token that its issuer signed.
#[derive(Debug, Clone)]
pub(crate) struct Verified {
    /// Whose it is.
    pub(crate) issuer: Arc<str>,
    /// What it says. Whether that suffices, and whether it is still true, is asked apart.
    pub(crate) claims: Arc<Claims>,
}

impl Tokens {
    /// `keyring` is that of the rule's issuer.
    pub(crate) fn new(rule: Arc<TokenRule>, keyring: Arc<Keyring>) -> Self {
        Self { rule, keyring }
    }

    /// What the token of a request with these headers says, that came at `now`.
    ///
    /// # Errors
    /// There is none, or it is not good. After [`TokenFlaw::UnknownKid`] and [`TokenFlaw::KeysUnknown`] it may be worth
    /// asking again when the keyring was [refreshed](Keyring::refreshed).
    pub(crate) fn check(&self, headers: &HeaderMap, now: SystemTime) -> Result<Arc<Claims>, TokenFlaw> {
        let Verified { claims, .. } = verify([&self.keyring], presented(headers)?)?;
        claims.satisfy(&self.rule, now)?;
        Ok(claims)
    }

    /// What is asked.
    pub(crate) fn rule(&self) -> &Arc<TokenRule> {
        &self.rule
    }

    /// The keys of its issuer.
    pub(crate) fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }
}

/// The token that a request presents.
///
/// # Errors
/// [`TokenFlaw::Missing`], where it presents none, whatever else stands in `Authorization`; or [`TokenFlaw::Twice`].
pub(crate) fn presented(headers: &HeaderMap) -> Result<&str, TokenFlaw> {
    let all = headers.get_all(AUTHORIZATION);
    let mut bearers = all.iter().filter_map(|field| after_bearer(field.as_bytes()));
    let mut fields = all.iter();
    match (bearers.next(), bearers.next()) {
        (Some(token), None) => str::from_utf8(token).map_err(|_| TokenFlaw::Malformed),
        (Some(_), Some(_)) => Err(TokenFlaw::Twice),
        (None, _) => match (fields.next(), fields.next()) {
            (Some(field), None) => field.to_str().ok().filter(|text| is_bare(text)).ok_or(TokenFlaw::Missing),
            (None | Some(_), _) => Err(TokenFlaw::Missing),
        },
    }
}

/// What follows `Bearer` (RFC 6750, 2.1; RFC 9110, 11.1: the scheme is of any case), if that is what it begins with.
fn after_bearer(field: &[u8]) -> Option<&[u8]> {
    const BEARER: &[u8] = b"bearer";
    let (scheme, rest) = field.split_at_checked(BEARER.len())?;
    let is_scheme = scheme.eq_ignore_ascii_case(BEARER) && rest.first().is_none_or(|byte| *byte == b' ');
    is_scheme.then(|| rest.trim_ascii())
}

/// Whether a field without a scheme has the form of a token.
fn is_bare(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.bytes().all(is_plain) && text.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// Looks whether the issuer of one of these keyrings signed a token. What it says is to be judged afterwards:
/// [`Claims::satisfy`].
///
/// # Errors
/// It did not, or nobody knows.
pub(crate) fn verify<'k>(
    keyrings: impl IntoIterator<Item = &'k Arc<Keyring>, IntoIter: Clone>,
    token: &str,
) -> Result<Verified, TokenFlaw> {
    if token.len() > LONGEST {
        return Err(TokenFlaw::TooLong);
    }
    let digest = Digest::of(token);
    let keyrings = keyrings.into_iter();
    let verified = |keyring: &Arc<Keyring>, claims| Verified { issuer: Arc::clone(keyring.issuer()), claims };
    if let Some((keyring, claims)) = keyrings.clone().find_map(|keyring| Some((keyring, keyring.recall(&digest)?))) {
        return Ok(verified(keyring, claims));
    }
    let token = Compact::read(token)?;
    let keyring = issuer_of(keyrings, &token)?;
    keyring.verify(token, digest).map(|claims| verified(keyring, claims))
}

/// Which of these keyrings is to verify a token: of whoever it says has issued it.
///
/// # Errors
/// It cannot be read, or says that it is of none of these.
pub(crate) fn keyring_for<'k>(
    keyrings: impl IntoIterator<Item = &'k Arc<Keyring>>,
    token: &str,
) -> Result<&'k Arc<Keyring>, TokenFlaw> {
    if token.len() > LONGEST {
        return Err(TokenFlaw::TooLong);
    }
    issuer_of(keyrings, &Compact::read(token)?)
}

fn issuer_of<'k>(
    keyrings: impl IntoIterator<Item = &'k Arc<Keyring>>,
    token: &Compact<'_>,
) -> Result<&'k Arc<Keyring>, TokenFlaw> {
    keyrings.into_iter().find(|keyring| **keyring.issuer() == *token.issuer).ok_or(TokenFlaw::WrongIssuer)
}

/// The longest token that is looked at, in bytes.
const LONGEST: usize = 8 * 1024;
