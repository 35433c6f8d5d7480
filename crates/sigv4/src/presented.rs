use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::canonical::{CanonicalHead, Parameters, canonical_path, string_to_sign};
use crate::error::Expected;
use crate::payload::UNSIGNED_PAYLOAD;
use crate::{
    AmzDate, Echo, Mismatch, PathForm, Payload, PayloadHash, Request, Scope, SessionToken, SignatureError, SigningKey,
    hex,
};

mod body_check;
mod claim;
mod header_form;
pub(crate) mod query_form;

pub use body_check::BodyCheck;
use claim::Claim;
pub use query_form::unsigned_query;

/// How far the clocks of a client and of ours may differ.
pub const SKEW: SignedDuration = SignedDuration::from_mins(15);
/// How many seconds a signature in the query is good for if it does not say. AWS documents none for this service.
pub const DEFAULT_EXPIRES: u32 = 900;
/// How many seconds a signature in the query can be good for: a week, as with S3.
pub const LONGEST_EXPIRES: u32 = 604_800;

/// What a server expects of signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules<'a> {
    /// The region that the scope must name.
    pub region: &'a str,
    /// The service that the scope must name.
    pub service: &'a str,
    /// How paths are signed.
    pub path: PathForm,
    /// What becomes of `UNSIGNED-PAYLOAD`.
    pub unsigned_payload: UnsignedPayload,
    /// What becomes of headers `x-amz-…` that are not signed.
    pub unsigned_amz_headers: UnsignedAmzHeaders,
}

impl<'a> Rules<'a> {
    /// Those of API Gateway, for REST and for HTTP APIs.
    #[must_use]
    pub fn execute_api(region: &'a str) -> Self {
        Self {
            region,
            service: "execute-api",
            path: PathForm::EscapedTwice,
            unsigned_payload: UnsignedPayload::Refuse,
            unsigned_amz_headers: UnsignedAmzHeaders::Accept,
        }
    }
}

/// Whether a client may leave the body out of its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnsignedPayload {
    /// Its signature is that of no request.
    Refuse,
    /// The body is anything.
    Accept,
}

/// Whether headers `x-amz-…` may come unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnsignedAmzHeaders {
    /// They may: CloudFront, for one, adds `X-Amz-Cf-Id` on the way. The date, the token and the hash of the body count
    /// only as far as the signature or a comparison proves them, whether they are listed or not.
    Accept,
    /// [`SignatureError::AmzHeaderNotSigned`].
    Refuse,
}

/// Where a signature stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// In the header `Authorization`.
    Header,
    /// In the query.
    Query,
}

/// A signature as somebody presents it: well formed, of now, and of the right scope. Who it is from is only claimed,
/// until one of [`verify`](Self::verify) and [`verify_head`](Self::verify_head) says otherwise.
#[derive(Clone)]
pub struct Presented {
    form: Form,
    access_key_id: String,
    scope: Scope,
    date: AmzDate,
    valid_until: AmzDate,
    token: Option<SessionToken>,
    payload: Payload,
    head: CanonicalHead,
    /// `None` is one that cannot be right, as it is not 64 lower-case hexadecimal digits.
    signature: Option<[u8; 32]>,
}

/// What is known of the claimed access key.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The key derived from its secret for [`Presented::scope`]. With one for another scope nothing verifies.
    pub key: &'a SigningKey,
    /// The session token that belongs to it, if its credentials are temporary.
    pub token: Option<&'a SessionToken>,
}

impl Presented {
    /// Reads the head of a request, and judges everything that can be judged without a secret.
    ///
    /// # Errors
    /// The first that applies of [`SignatureError`], up to [`SignatureError::Scope`].
    pub fn read(request: &Request<'_>, rules: &Rules<'_>, now: Timestamp) -> Result<Self, SignatureError> {
        if let Some(bound) = request.exceeds() {
            return Err(SignatureError::TooLarge(bound));
        }
        let path = canonical_path(request.path, rules.path).map_err(SignatureError::Path)?;
        let mut parameters = Parameters::read(request.query).map_err(SignatureError::Query)?;
        let claim = Claim::find(request, &parameters)?;

        let signed = claim.signed_names(request, rules.unsigned_amz_headers)?;
        let (date, valid_until) = claim.judge_time(AmzDate::at(now))?;
        let (access_key_id, scope) = claim.judge_scope(date, rules)?;

        if claim.form == Form::Query {
            parameters.remove_first(query_form::SIGNATURE);
        }
        let declared = request.header("x-amz-content-sha256");
        Ok(Self {
            form: claim.form,
            access_key_id,
            scope,
            date,
            valid_until,
            token: claim.token,
            payload: Payload::declared(declared.as_deref(), rules.unsigned_payload == UnsignedPayload::Accept),
            head: CanonicalHead::new(request, &path, &parameters.canonical(), &signed),
            signature: hex::decode_32(claim.signature.as_bytes()),
        })
    }

    /// Where the signature stands.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    /// Whose it claims to be.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// What it is good for, and what the [`SigningKey`] is to be derived for.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// When it claims to have been made.
    #[must_use]
    pub fn date(&self) -> AmzDate {
        self.date
    }

    /// The last second in which it is accepted.
    #[must_use]
    pub fn valid_until(&self) -> AmzDate {
        self.valid_until
    }

    /// The session token that came with it.
    #[must_use]
    pub fn token(&self) -> Option<&SessionToken> {
        self.token.as_ref()
    }

    /// What the request says of its body.
    #[must_use]
    pub fn payload(&self) -> Payload {
        self.payload
    }

    /// Verifies the request whose body has the hash `body`.
    ///
    /// # Errors
    /// [`SignatureError::UnknownCredentials`] for another session token than the known one, then
    /// [`SignatureError::Mismatch`].
    pub fn verify(&self, known: Known<'_>, body: &PayloadHash) -> Result<(), SignatureError> {
        self.verify_token(known.token)?;
        match self.payload {
            Payload::Undeclared => self.verify_signature(known.key, &body.to_string()),
            Payload::Declared(declared) => {
                self.verify_signature(known.key, &declared.to_string())?;
                self.verify_body(&declared, body)
            }
            Payload::Unsigned => self.verify_signature(known.key, UNSIGNED_PAYLOAD),
            Payload::Refused => Err(self.mismatch(&body.to_string())),
        }
    }

    /// Verifies as much as the head proves, before the body has come. The [`BodyCheck`] does the rest.
    ///
    /// # Errors
    /// Those of [`verify`](Self::verify), as far as they show already.
    pub fn verify_head(self, known: Known<'_>) -> Result<BodyCheck, SignatureError> {
        self.verify_token(known.token)?;
        match self.payload {
            Payload::Undeclared => Ok(BodyCheck::undeclared(self, known.key.clone())),
            Payload::Declared(declared) => {
                self.verify_signature(known.key, &declared.to_string())?;
                Ok(BodyCheck::declared(self, declared))
            }
            Payload::Unsigned => {
                self.verify_signature(known.key, UNSIGNED_PAYLOAD)?;
                Ok(BodyCheck::unsigned())
            }
            Payload::Refused => Err(SignatureError::Mismatch(Box::new(Mismatch { expected: None }))),
        }
    }

    /// Temporary credentials, which begin with `ASIA`, are nothing without their token.
    fn verify_token(&self, known: Option<&SessionToken>) -> Result<(), SignatureError> {
        let needs_token = self.access_key_id.starts_with("ASIA");
        match (&self.token, known) {
            (Some(presented), Some(known)) if presented == known => Ok(()),
            (None, None) if !needs_token => Ok(()),
            (_, _) => Err(SignatureError::UnknownCredentials),
        }
    }

    fn verify_signature(&self, key: &SigningKey, payload: &str) -> Result<(), SignatureError> {
        let to_sign = string_to_sign(self.date, &self.scope, &self.head.with_payload(payload));
        match &self.signature {
            Some(signature) if key.is_signature(&to_sign, signature) => Ok(()),
            Some(_) | None => Err(self.mismatch(payload)),
        }
    }

    fn verify_body(&self, declared: &PayloadHash, body: &PayloadHash) -> Result<(), SignatureError> {
        if declared == body { Ok(()) } else { Err(self.mismatch(&body.to_string())) }
    }

    fn mismatch(&self, payload: &str) -> SignatureError {
        let canonical_request = self.head.with_payload(payload);
        let to_sign = string_to_sign(self.date, &self.scope, &canonical_request);
        let expected = Expected {
            canonical_request: Echo::new(&canonical_request),
            string_to_sign: Echo::new(to_sign.as_bytes()),
        };
        SignatureError::Mismatch(Box::new(Mismatch { expected: Some(expected) }))
    }
}

impl fmt::Debug for Presented {
    /// Without the signature, which is good for as long as it is, and the headers, which may be secret.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Presented")
            .field("form", &self.form)
            .field("access_key_id", &self.access_key_id)
            .field("scope", &self.scope.to_string())
            .field("date", &self.date)
            .field("token", &self.token)
            .field("payload", &self.payload)
            .finish_non_exhaustive()
    }
}
