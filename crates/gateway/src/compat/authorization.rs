//! What API Gateway says of an `Authorization` header that is no AWS Signature Version 4, where nothing was to be
//! authorized: it reads the header before it finds that there is no such route.

use http::HeaderMap;
use http::header::AUTHORIZATION;

/// The sentence about the header. Absent: there is none, or it has the form of a signature.
///
/// The words are those that clients have long seen. Newer revisions of the service do not repeat the header but a hash
/// of it: `Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded with
/// Base64): '…'.`
pub(super) fn complaint(headers: &HeaderMap) -> Option<String> {
    let header = String::from_utf8_lossy(headers.get(AUTHORIZATION)?.as_bytes());
    let header = header.trim();
    if header.is_empty() {
        return None;
    }
    let (algorithm, parts) = header.split_once(' ').unwrap_or(("", header));
    if algorithm != ALGORITHM && parts.contains('=') {
        let algorithm = if algorithm.is_empty() { header } else { algorithm };
        return Some(format!("Unsupported AWS 'algorithm': '{algorithm}'."));
    }
    let part = parts.split(',').map(str::trim).find(|part| !part.contains('='))?;
    Some(format!("'{part}' not a valid key=value pair (missing equal-sign) in Authorization header: '{header}'."))
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

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
        assert_complaint("AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=00", None);
    }
}
