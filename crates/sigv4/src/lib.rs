//! AWS Signature Version 4: requests verified as a server, and signed as a client.
//!
//! No I/O, no clock: the time is passed in. It knows no credentials but those it is shown, decides nothing about what a
//! caller may do, and has no part of SigV4A (`AWS4-ECDSA-P256-SHA256`) or of S3's chunks with signatures of their own.
//!
//! ```text
//! Request ─► Presented::read(request, rules, now)    what the head claims, and everything that is judged without a secret
//!              access_key_id() ─► the caller looks it up: SecretKey ─► SigningKey, which may be kept for the day
//!            Presented::verify(known, payload hash)  when the body is at hand
//!            Presented::verify_head(known)           = BodyCheck, fed as the body streams
//! Request ─► Signer::sign, Signer::presign           what to add to a request of our own
//! ```
//!
//! - [`Request`]: the parts of a request that a signature covers, borrowed as they came on the wire.
//! - [`Presented`]: a signature that somebody presents, in the header `Authorization` or in the query.
//! - [`SignatureError`]: every reason to refuse one, in the words and in the order of API Gateway.
//! - [`SecretKey`], [`SessionToken`], [`SigningKey`]: never printed, and wiped when they are dropped.
//! - [`PayloadHash`], [`PayloadHasher`]: the SHA-256 of a body, in one go or chunk by chunk.
//! - [`Signer`]: the other side.
//!
//! ```
//! use gatepost_sigv4::{BodyToSign, Credentials, Known, PathForm, PayloadHash, Presented, Request, Rules, SecretKey, Signer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = "2026-01-15T12:00:00Z".parse()?;
//! let secret = SecretKey::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned());
//! let credentials = Credentials { access_key_id: "AKIDEXAMPLE".to_owned(), secret: secret.clone(), token: None };
//! let body = PayloadHash::of(b"hello");
//!
//! // The client.
//! let mut headers = vec![("host", &b"api.example.com"[..])];
//! let signer =
//!     Signer { credentials: &credentials, region: "us-east-1", service: "execute-api", path: PathForm::EscapedTwice };
//! let request = Request::new("POST", "/pets", "kind=cat", headers.clone());
//! let added = signer.sign(&request, BodyToSign::Hashed(body), now)?;
//!
//! // The server.
//! headers.extend(added.iter().map(|(name, value)| (name, value.as_bytes())));
//! let request = Request::new("POST", "/pets", "kind=cat", headers);
//! let presented = Presented::read(&request, &Rules::execute_api("us-east-1"), now)?;
//! assert_eq!(presented.access_key_id(), "AKIDEXAMPLE");
//! let key = secret.signing_key(presented.scope().clone());
//! presented.verify(Known { key: &key, token: None }, &body)?;
//! # Ok(())
//! # }
//! ```
//!
//! Everything that is read has a bound: [`MOST_BYTES`], [`MOST_HEADERS`], [`MOST_PARAMETERS`], [`MOST_SIGNED_HEADERS`].
//!
//! Sources: the AWS documentation *Signature Version 4 for API requests*; the test suite of `awslabs/aws-c-auth`; and the
//! crate `aws-sigv4`, which the tests compare with. Where AWS says nothing, the documentation of the item says so.

#![forbid(unsafe_code)]

mod canonical;
mod date;
mod error;
mod hex;
mod payload;
mod presented;
mod request;
mod scope;
mod secret;
mod sign;

pub use canonical::{PathFault, PathForm, QueryFault};
pub use date::AmzDate;
pub use error::{
    Echo, GatewayResponse, Mismatch, MissingFromHeader, MissingFromQuery, ScopeFault, SignatureError, TooEarly, TooLate,
};
pub use payload::{Payload, PayloadHash, PayloadHasher};
pub use presented::{
    BodyCheck, DEFAULT_EXPIRES, Form, Known, LONGEST_EXPIRES, Presented, Rules, SKEW, UnsignedAmzHeaders,
    UnsignedPayload, unsigned_query,
};
pub use request::{Bound, MOST_BYTES, MOST_HEADERS, MOST_PARAMETERS, MOST_SIGNED_HEADERS, Request};
pub use scope::Scope;
pub use secret::{SecretKey, SessionToken, SigningKey};
pub use sign::{BodyToSign, Credentials, HeadersToAdd, SignError, Signer};

/// The one algorithm: HMAC with SHA-256.
pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The last part of every scope.
pub(crate) const TERMINATOR: &str = "aws4_request";
