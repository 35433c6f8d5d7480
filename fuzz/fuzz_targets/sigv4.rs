//! Signatures of strangers: read without a panic, refused unless somebody with the secret made them.

#![no_main]

use gatepost_sigv4::{
    AmzDate, BodyToSign, Credentials, Known, PathForm, PayloadHash, Presented, Request, Rules, SKEW, SecretKey,
    SignatureError, Signer, UnsignedAmzHeaders, UnsignedPayload,
};
use libfuzzer_sys::fuzz_target;

const BODY: &[u8] = b"body";

fuzz_target!(|text: &str| {
    let mut lines = text.lines();
    let (method, path, query) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let fields = lines.filter_map(|line| line.split_once(':')).filter(|(name, _)| is_token(name));
    let headers: Vec<(&str, &[u8])> = fields.map(|(name, value)| (name, value.as_bytes())).collect();

    for path_form in [PathForm::EscapedTwice, PathForm::AsSent] {
        let rules = Rules {
            path: path_form,
            unsigned_payload: UnsignedPayload::Accept,
            unsigned_amz_headers: UnsignedAmzHeaders::Refuse,
            ..Rules::execute_api("us-east-1")
        };
        stranger(&Request::new(method, path, query, headers.iter().copied()), &rules);
        friend(method, path, query, &headers, &rules);
    }
});

/// Whether it can be the name of a header (RFC 9110, section 5.6.2).
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// The time at which the seeds were signed.
fn now() -> AmzDate {
    AmzDate::parse("20260115T120000Z").unwrap()
}

fn secret() -> SecretKey {
    SecretKey::new("a secret that no input knows".to_owned())
}

/// Whatever is presented is refused, and the refusal has an answer.
fn stranger(request: &Request<'_>, rules: &Rules<'_>) {
    let verdict = Presented::read(request, rules, now().timestamp()).and_then(|presented| {
        assert!(request.form().is_none_or(|form| form == presented.form()), "two forms, and one was believed");
        verify(&presented, BODY)
    });
    let error = verdict.expect_err("nobody knows the secret");
    assert!(matches!(error.status(), 400 | 403));
    assert_eq!(error.message().is_some(), error.error_type().is_some());
    assert_eq!(error.message().is_none(), matches!(error, SignatureError::Path(_)));
}

/// What we sign verifies, in both forms, and not with another body.
fn friend(method: &str, path: &str, query: &str, headers: &[(&str, &[u8])], rules: &Rules<'_>) {
    let credentials = Credentials { access_key_id: "AKIDFRIEND".to_owned(), secret: secret(), token: None };
    let signer = Signer { credentials: &credentials, region: rules.region, service: rules.service, path: rules.path };
    let plain = Request::new(method, path, query, headers.iter().copied());
    let body = BodyToSign::Hashed(PayloadHash::of(BODY));

    if let Ok(added) = signer.sign(&plain, body, now().timestamp()) {
        let all = headers.iter().copied().chain(added.iter().map(|(name, value)| (name, value.as_bytes())));
        verifies(Presented::read(&Request::new(method, path, query, all), rules, now().timestamp()));
    }
    if let Ok(query) = signer.presign(&plain, body, SKEW, now().timestamp()) {
        let request = Request::new(method, path, &query, headers.iter().copied());
        verifies(Presented::read(&request, rules, now().timestamp()));
    }
}

fn verifies(presented: Result<Presented, SignatureError>) {
    match presented {
        Ok(presented) => {
            // A hash or `UNSIGNED-PAYLOAD` among the headers of the input is what counts for the body then.
            if presented.payload() == gatepost_sigv4::Payload::Undeclared {
                assert_eq!(verify(&presented, BODY), Ok(()));
                assert!(verify(&presented, b"another body").is_err());
            }
        }
        // An Authorization of the input beside the signature in the query, or a head that grew beyond its bounds.
        Err(SignatureError::BothForms | SignatureError::TooLarge(_)) => {}
        Err(error) => panic!("what we signed is refused: {error}"),
    }
}

fn verify(presented: &Presented, body: &[u8]) -> Result<(), SignatureError> {
    let key = secret().signing_key(presented.scope().clone());
    presented.verify(Known { key: &key, token: None }, &PayloadHash::of(body))
}
