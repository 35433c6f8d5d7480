//! What API Gateway says of an `Authorization` header that is no AWS Signature Version 4, where nothing was to be
//! authorized: it reads the header before it finds that there is no such route.

use gatepost_sigv4::{Presented, Rules, SignatureError};
use http::header::AUTHORIZATION;
use jiff::Timestamp;

use crate::caller::proof::request;
use crate::request::Facts;

/// The sentence about the header. Absent: there is none, or it has the form of a signature.
///
/// The words are those that clients have long seen. Newer revisions of the service do not repeat the header but a hash
/// of it: `Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded with
/// Base64): '…'.`
pub(super) fn complaint(facts: &Facts<'_>) -> Option<String> {
    let header = String::from_utf8_lossy(facts.headers.get(AUTHORIZATION)?.as_bytes());
    let header = header.trim();
    if header.is_empty() {
        return None;
    }
    let (algorithm, parts) = header.split_once(' ').unwrap_or(("", header));
    if algorithm != ALGORITHM && parts.contains('=') {
        let algorithm = if algorithm.is_empty() { header } else { algorithm };
        return Some(format!("Unsupported AWS 'algorithm': '{algorithm}'."));
    }
    let Some(part) = parts.split(',').map(str::trim).find(|part| !part.contains('=')) else {
        return incomplete(facts);
    };
    Some(format!("'{part}' not a valid key=value pair (missing equal-sign) in Authorization header: '{header}'."))
}

/// The sentences about what a signature lacks. What else is wrong with it is not looked at where there is no route.
fn incomplete(facts: &Facts<'_>) -> Option<String> {
    match Presented::read(&request(facts), &Rules::execute_api(""), Timestamp::now()) {
        Err(error @ SignatureError::IncompleteHeader(_)) => error.message().map(String::from),
        Ok(_) | Err(_) => None,
    }
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method};

    use super::*;
    use crate::request::{Assumed, Received};

    fn complaint(headers: &HeaderMap) -> Option<String> {
        let received = Received { path: "/", ..Received::default() };
        super::complaint(&Facts {
            client: [192, 0, 2, 1].into(),
            is_secure: false,
            private: None,
            method: &Method::GET,
            host: "a".into(),
            path: "/".into(),
            headers,
            length: Some(0),
            received,
            assumed: Assumed::Nobody,
            paid: &[],
        })
    }

    #[track_caller]
    fn assert_complaint(header: &'static str, expected: Option<&str>) {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(header))]);
        assert_eq!(complaint(&headers).as_deref(), expected, "{header}");
    }

    #[test]
    fn what_is_no_signature_is_complained_of() {
        assert_complaint(
            "Bearer x",
            Some("'x' not a valid key=value pair (missing equal-sign) in Authorization header: 'Bearer x'."),
        );
        assert_complaint(
            "allow",
            Some("'allow' not a valid key=value pair (missing equal-sign) in Authorization header: 'allow'."),
        );
        assert_complaint("Basic dXNlcjpwYXNz==", Some("Unsupported AWS 'algorithm': 'Basic'."));
        assert_complaint(
            "AWS4-HMAC-SHA256 Credential=a, b",
            Some(
                "'b' not a valid key=value pair (missing equal-sign) in Authorization header: \
                 'AWS4-HMAC-SHA256 Credential=a, b'.",
            ),
        );
    }

    #[test]
    fn a_signature_or_none_is_not() {
        assert_eq!(complaint(&HeaderMap::new()), None);
        assert_complaint("", None);
        let dated = [
            (AUTHORIZATION, "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=00"),
            (http::header::DATE, "Thu, 15 Jan 2026 12:00:00 GMT"),
        ];
        let headers = dated.map(|(name, value)| (name, HeaderValue::from_static(value)));
        assert_eq!(complaint(&HeaderMap::from_iter(headers)), None);
    }

    #[test]
    fn what_a_signature_lacks_is_complained_of() {
        const DATE: &str = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.";
        assert_complaint(
            "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=00",
            Some(&format!("{DATE} Authorization=AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=00")),
        );
        assert_complaint(
            "AWS4-HMAC-SHA256 SignedHeaders=host",
            Some(&format!(
                "Authorization header requires 'Credential' parameter. \
                 Authorization header requires 'Signature' parameter. {DATE} \
                 Authorization=AWS4-HMAC-SHA256 SignedHeaders=host"
            )),
        );
    }
}
