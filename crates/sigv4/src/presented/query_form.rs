//! `?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=…&X-Amz-Signature=…`: a presigned URL.

use super::Form;
use super::claim::{Claim, DateText};
use crate::canonical::Parameters;
use crate::{MissingFromQuery, SessionToken, SignatureError};

// The names of the parameters, in which case counts.
pub(crate) const ALGORITHM: &str = "X-Amz-Algorithm";
pub(crate) const CREDENTIAL: &str = "X-Amz-Credential";
pub(crate) const DATE: &str = "X-Amz-Date";
pub(crate) const EXPIRES: &str = "X-Amz-Expires";
pub(crate) const SECURITY_TOKEN: &str = "X-Amz-Security-Token";
pub(crate) const SIGNATURE: &str = "X-Amz-Signature";
pub(crate) const SIGNED_HEADERS: &str = "X-Amz-SignedHeaders";

/// The names of all parameters that a presigned URL has besides its own.
const ALL: [&str; 7] = [ALGORITHM, CREDENTIAL, DATE, EXPIRES, SECURITY_TOKEN, SIGNATURE, SIGNED_HEADERS];

/// A query without the parameters of a signature, however they are escaped and however often they are there; the others
/// are as they were.
#[must_use]
pub fn unsigned_query(query: &str) -> String {
    let is_of_signature = |pair: &&str| {
        let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
        // Only names of unreserved characters are sought: in the one form they are themselves.
        Parameters::read(name).is_ok_and(|read| ALL.iter().any(|name| read.get(name).is_some()))
    };
    query.split('&').filter(|pair| !is_of_signature(pair)).collect::<Vec<_>>().join("&")
}

pub(super) fn read(parameters: &Parameters, algorithm: &str) -> Result<Claim, SignatureError> {
    if algorithm != crate::ALGORITHM {
        return Err(SignatureError::MissingToken);
    }
    let parts = [CREDENTIAL, SIGNATURE, SIGNED_HEADERS, DATE].map(|name| parameters.get(name));
    match parts {
        [Some(credential), Some(signature), Some(signed_headers), Some(date)] => Ok(Claim {
            form: Form::Query,
            credential,
            signed_headers,
            signature,
            date: DateText::Amz(date),
            expires: parameters.get(EXPIRES),
            token: parameters.get(SECURITY_TOKEN).map(SessionToken::new),
        }),
        [credential, signature, signed_headers, date] => Err(SignatureError::IncompleteQuery(MissingFromQuery {
            credential: credential.is_none(),
            signature: signature.is_none(),
            signed_headers: signed_headers.is_none(),
            date: date.is_none(),
        })),
    }
}
