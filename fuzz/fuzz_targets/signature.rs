//! Signatures of webhooks: each line of the input is a header, `name: value`. Whatever they say, what is read of them
//! keeps to its bounds, with every scheme.

#![no_main]

use gatepost_config::model::{Scheme, TextFormat};
use gatepost_gateway::claim_is_bounded;
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let headers = headers(bytes);
    let (signature, id) = (HeaderName::from_static("x-signature"), HeaderName::from_static("x-id"));
    let hmac = |format, prefix: &str, id| {
        let (header, prefix) = (signature.clone(), prefix.into());
        Scheme::HmacSha256 { header, format, prefix, id }
    };
    for scheme in [
        Scheme::Github,
        Scheme::Stripe,
        Scheme::Slack,
        Scheme::StandardWebhooks,
        hmac(TextFormat::Hex, "sha256=", None),
        hmac(TextFormat::Base64, "", Some(id)),
    ] {
        assert!(claim_is_bounded(&scheme, &headers), "{scheme:?}: {headers:?}");
    }
});

/// The lines that are headers.
fn headers(bytes: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = HeaderName::from_bytes(parts.next().unwrap_or_default());
        let value = HeaderValue::from_bytes(parts.next().unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}
