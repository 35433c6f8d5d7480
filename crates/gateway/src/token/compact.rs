//! A token as it is sent: three parts in base64url, with points between them (RFC 7515, 7.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::claims::Written;
use super::jwks::Algorithm;
use super::{Claims, LONGEST, TokenFlaw};

/// A token that can be read. Nothing that it says is to be believed.
#[derive(Debug)]
pub(super) struct Compact<'t> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Box<str>,
    /// What it says has issued it.
    pub(super) issuer: Box<str>,
    /// What it says otherwise.
    pub(super) claims: Claims,
    /// What is signed.
    pub(super) message: &'t str,
    pub(super) signature: Vec<u8>,
}

/// What counts of the header. Whatever else is there is neither followed nor believed: no `jku`, no `jwk`, no `x5c`.
///
/// Read like this no member may come twice, none may be `null`, and what is skipped costs no stack, however deep it is.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default, deserialize_with = "there")]
    kid: Option<String>,
    #[serde(default, deserialize_with = "there")]
    crit: Option<IgnoredAny>,
}

impl<'t> Compact<'t> {
    /// Reads a token of at most [`LONGEST`] bytes.
    ///
    /// # Errors
    /// It is none, or none that can be good.
    pub(super) fn read(token: &'t str) -> Result<Self, TokenFlaw> {
        let (message, signature) = token.rsplit_once('.').ok_or(TokenFlaw::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(TokenFlaw::Malformed)?;
        let Header { alg, kid, crit } = object(&decode(header)?)?;
        if crit.is_some() {
            return Err(TokenFlaw::Critical);
        }
        let algorithm = Algorithm::named(&alg).ok_or(TokenFlaw::Algorithm)?;
        let kid = kid.ok_or(TokenFlaw::NoKid)?.into();
        // A point that is left over is no base64, so there are just three parts.
        let (issuer, claims) = object::<Written>(&decode(claims)?)?.into_claims()?;
        Ok(Self { algorithm, kid, issuer, claims, message, signature: decode(signature)? })
    }
}

/// Base64url without padding, in the one form that these bytes have.
fn decode(part: &str) -> Result<Vec<u8>, TokenFlaw> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFlaw::Malformed)
}

/// Reads a JSON object.
fn object<T: for<'d> Deserialize<'d>>(bytes: &[u8]) -> Result<T, TokenFlaw> {
    let text = str::from_utf8(bytes).map_err(|_| TokenFlaw::Malformed)?;
    // An array would be taken for an object's members in their order.
    if !text.trim_start().starts_with('{') {
        return Err(TokenFlaw::Malformed);
    }
    serde_json::from_str(text).map_err(|_| TokenFlaw::Malformed)
}

/// A member that may be missing, but not be `null`, nor of another type.
pub(super) fn there<'d, D: Deserializer<'d>, T: Deserialize<'d>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Reads a token, for its fuzz target: whether what was read keeps to its bounds.
#[doc(hidden)]
#[must_use]
pub fn token_is_bounded(token: &str) -> bool {
    if token.len() > LONGEST {
        return true;
    }
    match Compact::read(token) {
        Err(_) => true,
        Ok(Compact { kid, issuer, claims, message, signature, .. }) => {
            let length = kid.len() + issuer.len() + claims.size() + signature.len();
            message.len() + signature.len() <= LONGEST && length <= 3 * LONGEST
        }
    }
}
