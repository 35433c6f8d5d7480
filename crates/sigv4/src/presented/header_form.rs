//! `Authorization: AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`

use data_encoding::BASE64;

use super::Form;
use super::claim::{Claim, DateText};
use crate::{ALGORITHM, Echo, MissingFromHeader, PayloadHash, Request, SessionToken, SignatureError};

pub(super) fn read(request: &Request<'_>, authorization: &[u8]) -> Result<Claim, SignatureError> {
    if request.values("authorization").nth(1).is_some() {
        return Err(SignatureError::RepeatedAuthorization);
    }
    let text = String::from_utf8_lossy(authorization);
    let not_key_value = || SignatureError::NotKeyValue(BASE64.encode(PayloadHash::of(authorization).as_bytes()));

    let (algorithm, parameters) = text.split_once(' ').unwrap_or((&text, ""));
    if algorithm != ALGORITHM {
        return Err(match text.contains('=') {
            true => SignatureError::Algorithm(Echo::new(algorithm.as_bytes())),
            false => not_key_value(),
        });
    }
    let parts = Parts::read(parameters).ok_or_else(not_key_value)?;
    let date = date(request);
    match (parts, date) {
        (
            Parts { credential: Some(credential), signed_headers: Some(signed_headers), signature: Some(signature) },
            Some(date),
        ) => Ok(Claim {
            form: Form::Header,
            credential: credential.to_owned(),
            signed_headers: signed_headers.to_owned(),
            signature: signature.to_owned(),
            date,
            expires: None,
            token: text_of(request, "x-amz-security-token").map(SessionToken::new),
        }),
        (parts, date) => Err(SignatureError::IncompleteHeader(MissingFromHeader {
            credential: parts.credential.is_none(),
            signature: parts.signature.is_none(),
            signed_headers: parts.signed_headers.is_none(),
            date: date.is_none(),
            authorization: Echo::new(authorization),
        })),
    }
}

/// The parameters that mean something. Others are passed over.
#[derive(Default)]
struct Parts<'a> {
    credential: Option<&'a str>,
    signed_headers: Option<&'a str>,
    signature: Option<&'a str>,
}

impl<'a> Parts<'a> {
    /// Reads `key=value` between commas, in any order; of a repeated key the last one counts. `None` if there is
    /// anything else.
    fn read(parameters: &'a str) -> Option<Self> {
        let mut parts = Self::default();
        if parameters.trim_ascii().is_empty() {
            return Some(parts);
        }
        for part in parameters.split(',') {
            let (key, value) = part.trim_ascii().split_once('=')?;
            match key {
                "Credential" => parts.credential = Some(value),
                "SignedHeaders" => parts.signed_headers = Some(value),
                "Signature" => parts.signature = Some(value),
                _ => {}
            }
        }
        Some(parts)
    }
}

/// `X-Amz-Date`, or `Date` where that one is absent.
fn date(request: &Request<'_>) -> Option<DateText> {
    let amz = text_of(request, "x-amz-date").map(DateText::Amz);
    amz.or_else(|| text_of(request, "date").map(DateText::Http))
}

fn text_of(request: &Request<'_>, name: &str) -> Option<String> {
    request.header(name).map(|value| String::from_utf8_lossy(&value).into_owned())
}
