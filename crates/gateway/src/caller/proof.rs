//! What the head of a request gives to prove who it is from.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use gatepost_config::model::{KeyHash, ProofKind};
use gatepost_sigv4::{BodyCheck, Presented, Request, Rules, SignatureError};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use jiff::Timestamp;

use crate::caller::{Access, Caller, Callers, CredentialFlaw, ProofKinds};
use crate::request::Facts;
use crate::token::{TokenFlaw, presented, verify};

/// The header of API keys.
pub(crate) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Which of `kinds` the head gives. Whether a body is signed is its claim's to say.
pub(crate) fn given(facts: &Facts<'_>, kinds: ProofKinds) -> ProofKinds {
    let is_given = |kind: &ProofKind| match kind {
        ProofKind::Key => facts.headers.contains_key(API_KEY),
        ProofKind::SigV4 => is_signed(facts),
        ProofKind::Jwt => !matches!(presented(facts.headers), Err(TokenFlaw::Missing)),
        ProofKind::Signed => false,
    };
    ProofKind::ALL.into_iter().filter(|kind| kinds.has(*kind)).filter(is_given).collect()
}

/// Whose API key it is, and its hash.
///
/// # Errors
/// Nobody's, or there are two.
pub(crate) fn key_owner<'c>(
    headers: &HeaderMap,
    known: &'c Callers,
) -> Result<(&'c Arc<Caller>, KeyHash), CredentialFlaw> {
    let mut keys = headers.get_all(API_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else { return Err(CredentialFlaw::KeyTwice) };
    if !KEY_LENGTHS.contains(&key.len()) {
        return Err(CredentialFlaw::UnknownKey);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, key.as_bytes()).as_ref());
    let owner = known.with_key(&hash).ok_or(CredentialFlaw::UnknownKey)?;
    Ok((owner, KeyHash(hash)))
}

/// Bytes of an API key. Of fewer none is hard to guess, whatever hashes somebody has written.
const KEY_LENGTHS: RangeInclusive<usize> = 20..=128;

/// Whom a token stands for, which is good at `now`.
///
/// # Errors
/// It is not good, nobody knows, or it stands for nobody.
pub(crate) fn token_owner<'c>(
    headers: &HeaderMap,
    known: &'c Callers,
    now: SystemTime,
) -> Result<&'c Arc<Caller>, CredentialFlaw> {
    let token = presented(headers).map_err(CredentialFlaw::Token)?;
    let verified = verify(&*known.keyrings, token).map_err(CredentialFlaw::Token)?;
    let (owner, rule) = known.with_token(&verified).ok_or(CredentialFlaw::UnknownSubject)?;
    verified.claims.satisfy(rule, now).map_err(CredentialFlaw::Token)?;
    Ok(owner)
}

/// A signature whose access key is known.
#[derive(Debug)]
pub(crate) struct Signature<'c> {
    /// Whose it claims to be.
    pub(crate) caller: &'c Arc<Caller>,
    access: &'c Access,
    presented: Presented,
}

impl<'c> Signature<'c> {
    /// Reads the signature of a request to an API in `region`, that came at `now`.
    ///
    /// # Errors
    /// There is none that could be good, or nobody has its access key.
    pub(crate) fn read(
        facts: &Facts<'_>,
        region: &str,
        known: &'c Callers,
        now: SystemTime,
    ) -> Result<Self, CredentialFlaw> {
        // No signature is good at a time that has no date.
        let now = Timestamp::try_from(now).unwrap_or(Timestamp::MAX);
        let presented = Presented::read(&request(facts), &Rules::execute_api(region), now)?;
        let found = known.with_access_key(presented.access_key_id());
        let (caller, access) = found.ok_or(SignatureError::UnknownCredentials)?;
        Ok(Self { caller, access, presented })
    }

    /// Verifies as much as the head proves; of a request without a body that is all.
    ///
    /// # Errors
    /// It is not what the access key signs.
    pub(crate) fn verify(self, length: Option<u64>) -> Result<Option<BodyCheck>, CredentialFlaw> {
        let check = self.access.verify(self.presented)?;
        if length == Some(0) {
            check.finish()?;
            return Ok(None);
        }
        Ok(Some(check))
    }
}

/// The request as it came on the wire, for whoever verifies it.
pub(crate) fn request<'r>(facts: &'r Facts<'_>) -> Request<'r> {
    let received = &facts.received;
    let headers = facts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let request = Request::new(facts.method.as_str(), received.path, received.query, headers);
    match received.authority {
        Some(authority) => request.with_authority(authority),
        None => request,
    }
}

/// Whether it presents a signature by Signature Version 4, a good one or not.
fn is_signed(facts: &Facts<'_>) -> bool {
    let may_be = facts.headers.contains_key(AUTHORIZATION) || facts.received.query.contains("X-Amz-Algorithm");
    may_be && request(facts).form().is_some()
}
