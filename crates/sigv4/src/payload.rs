use std::fmt;

use aws_lc_rs::digest::{Context, Digest, SHA256, digest};

use crate::hex;

/// What stands for the hash of a body that the signature does not cover.
pub(crate) const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// The SHA-256 of a body, written in 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PayloadHash([u8; 32]);

impl PayloadHash {
    /// Of a body without a byte.
    pub const EMPTY: Self = Self([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae,
        0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ]);

    /// Of a body that is at hand. One that streams is hashed by a [`PayloadHasher`].
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        Self::from_digest(&digest(&SHA256, body))
    }

    /// Reads 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        hex::decode_32(text).map(Self)
    }

    /// The raw hash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn from_digest(digest: &Digest) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }
}

impl fmt::Display for PayloadHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for PayloadHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PayloadHash({self})")
    }
}

/// Hashes a body as it streams.
#[derive(Clone)]
pub struct PayloadHasher(Context);

impl PayloadHasher {
    /// Before the first byte.
    #[must_use]
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// The next bytes.
    pub fn update(&mut self, chunk: &[u8]) {
        self.0.update(chunk);
    }

    /// Of everything that came.
    #[must_use]
    pub fn finish(self) -> PayloadHash {
        PayloadHash::from_digest(&self.0.finish())
    }
}

impl Default for PayloadHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for PayloadHasher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("PayloadHasher")
    }
}

/// What a request says of its body, and so what it takes to verify it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// Nothing: the signature covers the hash of the body, and is judged only when the whole body has come.
    Undeclared,
    /// `X-Amz-Content-Sha256` holds its hash: the signature is judged by the head, and the body by the hash.
    Declared(PayloadHash),
    /// `X-Amz-Content-Sha256: UNSIGNED-PAYLOAD`, where the rules accept it: the body is anything.
    Unsigned,
    /// `X-Amz-Content-Sha256` holds something else, or what the rules do not accept: no body verifies.
    Refused,
}

impl Payload {
    /// Reads the value of `X-Amz-Content-Sha256`, if there is one.
    pub(crate) fn declared(value: Option<&[u8]>, accept_unsigned: bool) -> Self {
        let Some(value) = value else { return Self::Undeclared };
        match PayloadHash::parse(value) {
            Some(hash) => Self::Declared(hash),
            None if accept_unsigned && value == UNSIGNED_PAYLOAD.as_bytes() => Self::Unsigned,
            None => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_the_same_in_one_go_and_chunk_by_chunk() {
        let mut hasher = PayloadHasher::new();
        for chunk in [&b"{\"a\""[..], b"", b":1}"] {
            hasher.update(chunk);
        }
        let hash = hasher.finish();
        assert_eq!(hash, PayloadHash::of(b"{\"a\":1}"));
        assert_eq!(hash.to_string(), "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862");
        assert_eq!(PayloadHash::parse(hash.to_string().as_bytes()), Some(hash));
        assert_eq!(PayloadHasher::new().finish(), PayloadHash::EMPTY);
    }

    #[test]
    fn an_unsigned_body_is_accepted_only_where_the_rules_say_so() {
        assert_eq!(Payload::declared(Some(b"UNSIGNED-PAYLOAD"), true), Payload::Unsigned);
        for refused in [&b"UNSIGNED-PAYLOAD"[..], b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", b""] {
            assert_eq!(Payload::declared(Some(refused), false), Payload::Refused);
        }
        assert_eq!(Payload::declared(None, true), Payload::Undeclared);
    }
}
