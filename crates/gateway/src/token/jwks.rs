//! The keys that an issuer publishes: a JSON Web Key Set (RFC 7517, RFC 7518, RFC 8037), and what of it is used.

use std::collections::HashMap;
use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::TokenFlaw;
use super::compact::there;

/// How a token is signed. What is not here is not accepted: neither `none` nor any HMAC is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Es256,
    Es384,
    Ed25519,
}

/// The keys of a set that are used, by what tokens name: a key and an algorithm that it is good for.
#[derive(Debug, PartialEq)]
pub(super) struct KeySet {
    /// By `kid`. Of one `kid` there may be a key for each algorithm (RFC 7517, 4.5).
    keys: HashMap<Box<str>, Vec<Key>>,
    /// How many keys were published that are not used.
    pub(super) unused: usize,
}

struct Key {
    algorithm: Algorithm,
    /// Absent: two different ones have the same name, and nobody can tell which one is meant.
    public: Option<ParsedPublicKey>,
}

/// A document holds no keys that can be used.
#[derive(Debug, Error)]
pub(super) enum KeySetError {
    #[error("it is no JSON Web Key Set")]
    NotASet,
    #[error("it has {0} keys, and {MOST_KEYS} are read at most")]
    TooMany(usize),
    #[error(
        "none of its {0} keys can be used: each needs a `kid`, and must be for signatures with RS256, RS384, RS512, ES256, ES384 or EdDSA"
    )]
    NoneUsable(usize),
}

/// Keys of a set, at most.
pub(super) const MOST_KEYS: usize = 100;

/// What counts of a set.
#[derive(Deserialize)]
struct Written {
    keys: Vec<Value>,
}

/// What counts of a key.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Box<str>,
    #[serde(default, deserialize_with = "there")]
    alg: Option<String>,
    #[serde(default, rename = "use", deserialize_with = "there")]
    use_: Option<String>,
    #[serde(default, deserialize_with = "there")]
    key_ops: Option<Vec<String>>,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
}

impl Algorithm {
    /// The one that `alg` names.
    pub(super) fn named(alg: &str) -> Option<Self> {
        match alg {
            "RS256" => Some(Self::Rs256),
            "RS384" => Some(Self::Rs384),
            "RS512" => Some(Self::Rs512),
            "ES256" => Some(Self::Es256),
            "ES384" => Some(Self::Es384),
            // Of the two curves that EdDSA names, this one is read (RFC 8037, 3.1; RFC 9864, 2.2).
            "EdDSA" | "Ed25519" => Some(Self::Ed25519),
            _ => None,
        }
    }
}

impl KeySet {
    /// Reads a set. Keys that cannot be used are left out (RFC 7517, 5).
    ///
    /// # Errors
    /// See [`KeySetError`].
    pub(super) fn read(document: &[u8]) -> Result<Self, KeySetError> {
        let value: Value = serde_json::from_slice(document).map_err(|_| KeySetError::NotASet)?;
        if !value.is_object() {
            return Err(KeySetError::NotASet);
        }
        let Written { keys: published } = Written::deserialize(value).map_err(|_| KeySetError::NotASet)?;
        if published.len() > MOST_KEYS {
            return Err(KeySetError::TooMany(published.len()));
        }
        let mut set = Self { keys: HashMap::new(), unused: 0 };
        for key in &published {
            if set.add(key).is_none() {
                set.unused += 1;
            }
        }
        if set.keys.is_empty() { Err(KeySetError::NoneUsable(published.len())) } else { Ok(set) }
    }

    /// Adds a key for each of its algorithms, if it can be used.
    fn add(&mut self, published: &Value) -> Option<()> {
        let jwk = Jwk::deserialize(published.as_object()?).ok()?;
        let keys = jwk.keys()?;
        let named = self.keys.entry(jwk.kid).or_default();
        for key in keys {
            match named.iter_mut().find(|known| known.algorithm == key.algorithm) {
                Some(known) if *known != key => known.public = None,
                Some(_) => {}
                None => named.push(key),
            }
        }
        Some(())
    }

    /// How many keys are used.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether a signature of `message` is good.
    ///
    /// # Errors
    /// There is no such key, it is not for this algorithm, or it did not sign this.
    pub(super) fn verify(
        &self,
        kid: &str,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), TokenFlaw> {
        let named = self.keys.get(kid).ok_or(TokenFlaw::UnknownKid)?;
        let key = named.iter().find(|key| key.algorithm == algorithm).ok_or(TokenFlaw::Algorithm)?;
        let public = key.public.as_ref().ok_or(TokenFlaw::UnknownKid)?;
        public.verify_sig(message, signature).map_err(|_| TokenFlaw::BadSignature)
    }
}

impl Jwk {
    /// The key for each of its algorithms; none if it is not one that tokens are verified with.
    fn keys(&self) -> Option<Vec<Key>> {
        let is_for_signatures = self.use_.as_deref().is_none_or(|used| used == "sig");
        let may_verify = self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !is_for_signatures || !may_verify {
            return None;
        }
        let stated = match &self.alg {
            Some(alg) => Some(Algorithm::named(alg)?),
            None => None,
        };
        let is_meant = |algorithm: &Algorithm| stated.is_none_or(|stated| stated == *algorithm);
        let algorithms: &[Algorithm] = match (&*self.kty, &*self.crv) {
            ("RSA", _) => &[Algorithm::Rs256, Algorithm::Rs384, Algorithm::Rs512],
            ("EC", "P-256") => &[Algorithm::Es256],
            ("EC", "P-384") => &[Algorithm::Es384],
            ("OKP", "Ed25519") => &[Algorithm::Ed25519],
            (_, _) => &[],
        };
        let made: Option<Vec<Key>> = algorithms
            .iter()
            .copied()
            .filter(is_meant)
            .map(|algorithm| Some(Key { algorithm, public: Some(self.public(algorithm)?) }))
            .collect();
        made.filter(|keys| !keys.is_empty())
    }

    fn public(&self, algorithm: Algorithm) -> Option<ParsedPublicKey> {
        match algorithm {
            Algorithm::Rs256 => self.rsa(&RSA_PKCS1_2048_8192_SHA256),
            Algorithm::Rs384 => self.rsa(&RSA_PKCS1_2048_8192_SHA384),
            Algorithm::Rs512 => self.rsa(&RSA_PKCS1_2048_8192_SHA512),
            Algorithm::Es256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.point(32)?).ok(),
            Algorithm::Es384 => ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, self.point(48)?).ok(),
            Algorithm::Ed25519 => {
                let x = decode(&self.x).filter(|x| x.len() == 32)?;
                ParsedPublicKey::new(&ED25519, x).ok()
            }
        }
    }

    /// 2048 to 4096 bits, and an exponent that is odd, at least 3 and below 2³². Longer ones are as slow to verify as
    /// whoever sends forged tokens could wish.
    fn rsa(&self, parameters: &'static RsaParameters) -> Option<ParsedPublicKey> {
        let (n, e) = (decode(&self.n)?, decode(&self.e)?);
        // Some issuers write a leading zero, which is not the shortest form (RFC 7518, 6.3.1.1).
        let (n, e) = (without_zeros(&n), without_zeros(&e));
        let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
        let is_sound = (2048..=4096).contains(&bits) && n.last().is_some_and(|last| last % 2 == 1);
        let is_exponent = (1..=4).contains(&e.len()) && e.last().is_some_and(|last| last % 2 == 1) && e != [1];
        if !is_sound || !is_exponent {
            return None;
        }
        RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters).ok()
    }

    /// A point of a curve whose coordinates have so many bytes, uncompressed (SEC 1, 2.3.3).
    fn point(&self, length: usize) -> Option<Vec<u8>> {
        let (x, y) = (decode(&self.x)?, decode(&self.y)?);
        (x.len() == length && y.len() == length).then(|| [&[4], &*x, &*y].concat())
    }
}

/// Reads keys, for their fuzz target: whether what was read keeps to its bounds.
#[doc(hidden)]
#[must_use]
pub fn keys_are_bounded(document: &[u8]) -> bool {
    KeySet::read(document).map_or(true, |set| {
        let algorithms = set.keys.values().all(|named| (1..=6).contains(&named.len()));
        algorithms && (1..=MOST_KEYS).contains(&set.len()) && set.len() + set.unused <= MOST_KEYS
    })
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..]
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let bytes = |key: &Self| key.public.as_ref().map(|public| public.as_ref().to_vec());
        self.algorithm == other.algorithm && bytes(self) == bytes(other)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", self.algorithm)
    }
}
