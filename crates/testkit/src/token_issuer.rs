use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::{Origin, Script};

/// An issuer of tokens on loopback: it says where its keys are, and what they are. Gone when dropped.
#[derive(Debug)]
pub struct TokenIssuer {
    /// Where `/.well-known/openid-configuration` is.
    pub configuration: Origin,
    /// Where the keys are.
    pub keys: Origin,
}

/// A key of an issuer, both halves.
#[derive(Debug)]
pub struct TokenKey {
    kid: String,
    pair: Pair,
}

#[derive(Debug)]
enum Pair {
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl TokenIssuer {
    /// Starts one that publishes these keys.
    pub async fn start(keys: &[&TokenKey]) -> Self {
        let keys = Origin::start(Script::ok(&TokenKey::set(keys))).await;
        let configuration = Origin::start(Script::silence()).await;
        let issuer = Self { configuration, keys };
        issuer.configuration.from_now_on(Script::ok(&issuer.document().to_string()));
        issuer
    }

    /// What it publishes of itself.
    #[must_use]
    pub fn document(&self) -> Value {
        json!({"issuer": self.url(), "jwks_uri": format!("{}/keys", self.keys.url())})
    }

    /// Its name: the claim `iss`.
    #[must_use]
    pub fn url(&self) -> String {
        self.configuration.url()
    }

    /// From now on it publishes these keys.
    pub fn publish(&self, keys: &[&TokenKey]) {
        self.keys.from_now_on(Script::ok(&TokenKey::set(keys)));
    }
}

impl TokenKey {
    /// An RSA key of 2048 bits.
    ///
    /// # Panics
    /// The system has no randomness; so for all that follows.
    #[must_use]
    pub fn rsa(kid: &str) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key");
        Self { kid: kid.to_owned(), pair: Pair::Rsa(Box::new(pair)) }
    }

    /// A key of the curve P-256.
    #[must_use]
    pub fn p256(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        Self { kid: kid.to_owned(), pair: Pair::P256(pair) }
    }

    /// A key of the curve P-384.
    #[must_use]
    pub fn p384(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key");
        Self { kid: kid.to_owned(), pair: Pair::P384(pair) }
    }

    /// A key of the curve Ed25519.
    #[must_use]
    pub fn ed25519(kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: Pair::Ed25519(Ed25519KeyPair::generate().expect("a key")) }
    }

    /// The same key by another name.
    #[must_use]
    pub fn named(self, kid: &str) -> Self {
        Self { kid: kid.to_owned(), ..self }
    }

    /// What is published of it.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let kid = &self.kid;
        let curve = |curve: &str, point: &[u8]| {
            let (x, y) = point[1..].split_at(point.len() / 2);
            json!({"kty": "EC", "kid": kid, "crv": curve, "x": encode(x), "y": encode(y)})
        };
        match &self.pair {
            Pair::Rsa(pair) => {
                let (n, e) = components(pair.public_key().as_ref());
                json!({"kty": "RSA", "kid": kid, "use": "sig", "n": encode(n), "e": encode(e)})
            }
            Pair::P256(pair) => curve("P-256", pair.public_key().as_ref()),
            Pair::P384(pair) => curve("P-384", pair.public_key().as_ref()),
            Pair::Ed25519(pair) => {
                json!({"kty": "OKP", "kid": kid, "crv": "Ed25519", "x": encode(pair.public_key().as_ref())})
            }
        }
    }

    /// What an issuer with these keys publishes.
    #[must_use]
    pub fn set(keys: &[&Self]) -> String {
        json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()}).to_string()
    }

    /// What its tokens are usually signed with.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        match &self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
            Pair::P384(_) => "ES384",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    /// A token that says this.
    #[must_use]
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": self.algorithm(), "kid": self.kid, "typ": "JWT"}), &claims.to_string())
    }

    /// A token with this header and these claims, whatever they are. An RSA key signs as `alg` says, else as usual.
    #[must_use]
    pub fn token_with(&self, header: &Value, claims: &str) -> String {
        let message = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.as_bytes()));
        let signature = self.sign(message.as_bytes(), header["alg"].as_str().unwrap_or_default());
        format!("{message}.{}", encode(&signature))
    }

    fn sign(&self, message: &[u8], algorithm: &str) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let encoding = match algorithm {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).expect("a signature");
                signature
            }
            Pair::P256(pair) | Pair::P384(pair) => pair.sign(&random, message).expect("a signature").as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Modulus and exponent of a public key, as RFC 8017, A.1.1, writes it in DER.
fn components(der: &[u8]) -> (&[u8], &[u8]) {
    let (inside, _) = value(der);
    let (modulus, rest) = value(inside);
    let (exponent, _) = value(rest);
    (modulus.strip_prefix(&[0]).unwrap_or(modulus), exponent)
}

/// What the value at the beginning holds, and what follows it.
fn value(der: &[u8]) -> (&[u8], &[u8]) {
    let short = usize::from(der[1]);
    let (length, start) = if short < 0x80 {
        (short, 2)
    } else {
        let end = 2 + (short & 0x7f);
        (der[2..end].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), end)
    };
    der[start..].split_at(length)
}
