use std::fmt;

use super::Presented;
use crate::{PayloadHash, PayloadHasher, SignatureError, SigningKey};

/// What is left to verify of a request whose head has been: its body, fed as it streams. Nothing is verified before
/// [`finish`](Self::finish) says so.
#[must_use = "the body has not been verified"]
pub struct BodyCheck {
    rest: Rest,
    hasher: PayloadHasher,
}

enum Rest {
    /// Nothing: the client left the body out.
    Nothing,
    /// Whether the body has the hash that the head declared, and signed.
    Hash(Box<Presented>, PayloadHash),
    /// Everything: the signature covers the hash of the body, which the head does not tell.
    Signature(Box<Presented>, SigningKey),
}

impl BodyCheck {
    pub(super) fn unsigned() -> Self {
        Self { rest: Rest::Nothing, hasher: PayloadHasher::new() }
    }

    pub(super) fn declared(presented: Presented, declared: PayloadHash) -> Self {
        Self { rest: Rest::Hash(Box::new(presented), declared), hasher: PayloadHasher::new() }
    }

    pub(super) fn undeclared(presented: Presented, key: SigningKey) -> Self {
        Self { rest: Rest::Signature(Box::new(presented), key), hasher: PayloadHasher::new() }
    }

    /// Whether the signature is proven already, so that it is known who asks, and the body may be passed on as it comes
    /// by whoever can take that back at its end. Otherwise nothing is known before the end.
    #[must_use]
    pub fn signature_is_proven(&self) -> bool {
        match self.rest {
            Rest::Nothing | Rest::Hash(..) => true,
            Rest::Signature(..) => false,
        }
    }

    /// The next bytes of the body.
    pub fn update(&mut self, chunk: &[u8]) {
        match self.rest {
            Rest::Nothing => {}
            Rest::Hash(..) | Rest::Signature(..) => self.hasher.update(chunk),
        }
    }

    /// The body has ended: whether it, or all of the request, is what was signed.
    ///
    /// # Errors
    /// [`SignatureError::Mismatch`].
    pub fn finish(self) -> Result<(), SignatureError> {
        match self.rest {
            Rest::Nothing => Ok(()),
            Rest::Hash(presented, declared) => presented.verify_body(&declared, &self.hasher.finish()),
            Rest::Signature(presented, key) => presented.verify_signature(&key, &self.hasher.finish().to_string()),
        }
    }
}

impl fmt::Debug for BodyCheck {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "BodyCheck(signature proven: {})", self.signature_is_proven())
    }
}
