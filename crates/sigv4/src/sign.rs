use std::fmt;

use jiff::{SignedDuration, Timestamp};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::canonical::{CanonicalHead, Parameters, SignedNames, canonical_path, escape, string_to_sign};
use crate::payload::UNSIGNED_PAYLOAD;
use crate::presented::query_form;
use crate::{
    ALGORITHM, AmzDate, Bound, LONGEST_EXPIRES, PathFault, PathForm, PayloadHash, QueryFault, Request, Scope,
    SecretKey, SessionToken,
};

/// Headers that are never signed: `Authorization` is made by signing, the others are changed on the way. What AWS's own
/// clients agree on.
const NEVER_SIGNED: [&str; 4] = ["authorization", "transfer-encoding", "user-agent", "x-amzn-trace-id"];

/// Credentials to sign with.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The access key, which is no secret.
    pub access_key_id: String,
    /// Its secret.
    pub secret: SecretKey,
    /// The session token, if they are temporary.
    pub token: Option<SessionToken>,
}

/// What is signed of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyToSign {
    /// Its hash, which the request does not tell. The usual way.
    Hashed(PayloadHash),
    /// Its hash, told in `X-Amz-Content-Sha256` as well, so that the head can be verified on its own. S3 wants it. A
    /// presigned URL has no headers of its own, and cannot tell.
    Declared(PayloadHash),
    /// Nothing, told as `UNSIGNED-PAYLOAD`. Only where the service accepts it.
    Unsigned,
}

/// Signs requests to one service in one region.
#[derive(Debug, Clone, Copy)]
pub struct Signer<'a> {
    /// Who signs.
    pub credentials: &'a Credentials,
    /// The region, as `us-east-1`.
    pub region: &'a str,
    /// The service, as `lambda`.
    pub service: &'a str,
    /// How it signs paths.
    pub path: PathForm,
}

/// Why a request cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignError {
    /// It is larger than what is ever verified.
    #[error("signing a request to AWS: it has more than {0}")]
    TooLarge(Bound),
    /// Its path.
    #[error("signing a request to AWS: the path: {0}")]
    Path(#[source] PathFault),
    /// Its query.
    #[error("signing a request to AWS: the query: {0}")]
    Query(#[source] QueryFault),
    /// It has neither a header `Host` nor an authority.
    #[error("signing a request to AWS: it has no Host; add the header, or the authority of HTTP/2")]
    NoHost,
    /// It has something already that is added by signing.
    #[error("signing a request to AWS: it has {0} already; sign each request once, from its plain form")]
    AlreadySigned(&'static str),
    /// A presigned URL is good for 1 to [`LONGEST_EXPIRES`] whole seconds.
    #[error("presigning a URL: it can be good for 1 to {LONGEST_EXPIRES} seconds, not {0:#}")]
    Expires(SignedDuration),
}

/// What signing adds to the headers of a request, names in lower case. Prints names only.
#[derive(Clone)]
pub struct HeadersToAdd(Vec<(&'static str, Zeroizing<String>)>);

impl HeadersToAdd {
    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

impl fmt::Debug for HeadersToAdd {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Signer<'_> {
    /// Signs `request` with all its headers but those that change on the way, such as `User-Agent`.
    ///
    /// # Errors
    /// If the request cannot be signed as it is.
    pub fn sign(&self, request: &Request<'_>, body: BodyToSign, now: Timestamp) -> Result<HeadersToAdd, SignError> {
        let date = AmzDate::at(now);
        let mut added = vec![("x-amz-date", Zeroizing::new(date.to_string()))];
        if let Some(token) = &self.credentials.token {
            added.push(("x-amz-security-token", Zeroizing::new(token.expose().to_owned())));
        }
        match body {
            BodyToSign::Hashed(_) => {}
            BodyToSign::Declared(_) | BodyToSign::Unsigned => {
                added.push(("x-amz-content-sha256", Zeroizing::new(body.in_canonical_request())));
            }
        }
        let made_here = ["authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"];
        if let Some(name) = made_here.into_iter().find(|name| request.values(name).next().is_some()) {
            return Err(SignError::AlreadySigned(name));
        }

        let complete = request.with_headers(added.iter().map(|(name, value)| (*name, value.as_bytes())));
        let parameters = Parameters::read(request.query).map_err(SignError::Query)?;
        let signed = signed_names(&complete)?;
        let signature = self.signature(&complete, parameters, &signed, body, date)?;
        let authorization = format!(
            "{ALGORITHM} Credential={}, SignedHeaders={}, Signature={signature}",
            self.credential(date),
            signed.joined()
        );
        added.push(("authorization", Zeroizing::new(authorization)));
        Ok(HeadersToAdd(added))
    }

    /// The query of a URL that is good for `expires` without any header but those of `request`: its own query, and the
    /// signature. Whoever has it, has the request.
    ///
    /// # Errors
    /// If the request cannot be signed as it is, or not for so long.
    pub fn presign(
        &self,
        request: &Request<'_>,
        body: BodyToSign,
        expires: SignedDuration,
        now: Timestamp,
    ) -> Result<Zeroizing<String>, SignError> {
        let seconds = expires.as_secs();
        if !(1..=i64::from(LONGEST_EXPIRES)).contains(&seconds) || expires.subsec_nanos() != 0 {
            return Err(SignError::Expires(expires));
        }
        let date = AmzDate::at(now);
        let signed = signed_names(request)?;
        let mut added = vec![
            (query_form::ALGORITHM, ALGORITHM.to_owned()),
            (query_form::CREDENTIAL, self.credential(date)),
            (query_form::DATE, date.to_string()),
            (query_form::EXPIRES, seconds.to_string()),
            (query_form::SIGNED_HEADERS, signed.joined()),
        ];
        if let Some(token) = &self.credentials.token {
            added.push((query_form::SECURITY_TOKEN, token.expose().to_owned()));
        }

        let mut parameters = Parameters::read(request.query).map_err(SignError::Query)?;
        let mut made_here = added.iter().map(|(name, _)| *name).chain([query_form::SIGNATURE]);
        if let Some(name) = made_here.find(|name| parameters.get(name).is_some()) {
            return Err(SignError::AlreadySigned(name));
        }
        for (name, value) in &added {
            parameters.push(name, value);
        }
        let signature = self.signature(request, parameters, &signed, body, date)?;
        added.push((query_form::SIGNATURE, signature));
        Ok(Zeroizing::new(query_with(request.query, &added)))
    }

    /// `AKID/20260115/us-east-1/lambda/aws4_request`
    fn credential(&self, date: AmzDate) -> String {
        format!("{}/{}", self.credentials.access_key_id, Scope::new(date, self.region, self.service))
    }

    /// The signature of a request that has everything in it but this.
    fn signature(
        &self,
        request: &Request<'_>,
        parameters: Parameters,
        signed: &SignedNames,
        body: BodyToSign,
        date: AmzDate,
    ) -> Result<String, SignError> {
        if let Some(bound) = request.exceeds() {
            return Err(SignError::TooLarge(bound));
        }
        let path = canonical_path(request.path, self.path).map_err(SignError::Path)?;
        let head = CanonicalHead::new(request, &path, &parameters.canonical(), signed);
        let canonical_request = head.with_payload(&body.in_canonical_request());
        let scope = Scope::new(date, self.region, self.service);
        let to_sign = string_to_sign(date, &scope, &canonical_request);
        Ok(self.credentials.secret.signing_key(scope).sign(&to_sign))
    }
}

impl BodyToSign {
    /// The last line of the canonical request.
    fn in_canonical_request(self) -> String {
        match self {
            Self::Hashed(hash) | Self::Declared(hash) => hash.to_string(),
            Self::Unsigned => UNSIGNED_PAYLOAD.to_owned(),
        }
    }
}

/// All headers of the request that are signed. `host` is, wherever it stands.
fn signed_names(request: &Request<'_>) -> Result<SignedNames, SignError> {
    if request.values("host").next().is_none() && request.authority().is_none() {
        return Err(SignError::NoHost);
    }
    let is_signed = |name: &&str| !NEVER_SIGNED.iter().any(|never| name.eq_ignore_ascii_case(never));
    SignedNames::new(request.names().filter(is_signed).chain(["host"])).map_err(SignError::TooLarge)
}

/// `query` as it is, and behind it what is added.
fn query_with(query: &str, added: &[(&str, String)]) -> String {
    let mut complete = query.to_owned();
    for (name, value) in added {
        if !complete.is_empty() {
            complete.push('&');
        }
        complete.push_str(name);
        complete.push('=');
        complete.push_str(&escape(value));
    }
    complete
}
