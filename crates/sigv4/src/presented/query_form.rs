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
