//! What is wrong with what somebody presents of itself.

use gatepost_sigv4::SignatureError;
use thiserror::Error;

use crate::signature::Flaw;
use crate::token::TokenFlaw;

/// Why credentials are not good. What it says is for the owner, and repeats nothing of the request.
#[derive(Debug, Error)]
pub(crate) enum CredentialFlaw {
    /// More than one API key.
    #[error("the header x-api-key came more than once")]
    KeyTwice,
    /// An API key that nobody has.
    #[error("no caller has this API key")]
    UnknownKey,
    /// A signature by AWS Signature Version 4.
    #[error("{0}")]
    SigV4(Box<SignatureError>),
    /// One such signature is good for `/a/b` and for `/a//b`, which are two paths here.
    #[error("its path has an empty segment, which a signature says nothing of; send it without")]
    EmptySegment,
    /// A token.
    #[error("the token: {0}")]
    Token(TokenFlaw),
    /// A token about somebody who is not known.
    #[error("no caller is the subject of this token")]
    UnknownSubject,
    /// A signature of the body.
    #[error("the signature of the body: {0}")]
    Signed(Flaw),
    /// One that is only told of.
    #[error("{0}")]
    Told(Box<str>),
}

impl CredentialFlaw {
    /// The same without what the client sent.
    pub(crate) fn told(&self) -> Self {
        Self::Told(self.to_string().into())
    }
}

impl From<SignatureError> for CredentialFlaw {
    fn from(error: SignatureError) -> Self {
        Self::SigV4(Box::new(error))
    }
}
