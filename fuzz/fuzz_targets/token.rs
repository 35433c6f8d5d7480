//! Tokens: each line of the input is a part, a header, its claims and a signature, which is sent as it is and in base64url.
//! Whatever they say, what is read of them keeps to its bounds. The whole input is a set of keys besides.

#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatepost_gateway::{keys_are_bounded, token_is_bounded};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    assert!(keys_are_bounded(bytes));
    let parts: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let encoded: Vec<String> = parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect();
    let token = encoded.join(".");
    assert!(token_is_bounded(&token), "{token}");
    if let Ok(text) = str::from_utf8(bytes) {
        assert!(token_is_bounded(text), "{text}");
    }
});
