//! Bodies that come after their head, and may not be what it says.

use gatepost_sigv4::{
    BodyCheck, BodyToSign, Known, Payload, PayloadHash, Presented, Rules, SessionToken, SignatureError, UnsignedPayload,
};

use crate::setup::{RULES, Sent, credentials, noon_and, secret, signer};

const BODY: &[u8] = b"{\"a\":1}";

fn signed(body: BodyToSign) -> Presented {
    let credentials = credentials(None);
    let request = Sent::new("POST", "/prod/forward");
    let added = signer(&credentials).sign(&request.request(), body, noon_and(0)).unwrap();
    let request = added.iter().fold(request, |request, (name, value)| request.with(name, value));
    let rules = Rules { unsigned_payload: UnsignedPayload::Accept, ..RULES };
    request.read(&rules, noon_and(0)).unwrap()
}

fn verify_head(presented: Presented) -> Result<BodyCheck, SignatureError> {
    let key = secret().signing_key(presented.scope().clone());
    presented.verify_head(Known { key: &key, token: None })
}

fn finish(mut check: BodyCheck, chunks: &[&[u8]]) -> Result<(), SignatureError> {
    for chunk in chunks {
        check.update(chunk);
    }
    check.finish()
}

fn is_mismatch(outcome: &Result<(), SignatureError>) -> bool {
    matches!(outcome, Err(SignatureError::Mismatch(_)))
}

#[test]
fn a_declared_body_is_verified_after_its_head() {
    let presented = signed(BodyToSign::Declared(PayloadHash::of(BODY)));
    assert_eq!(presented.payload(), Payload::Declared(PayloadHash::of(BODY)));
    let check = || verify_head(presented.clone()).unwrap();
    assert!(check().signature_is_proven());
    assert_eq!(finish(check(), &[&BODY[..3], &BODY[3..]]), Ok(()));
    assert!(is_mismatch(&finish(check(), &[BODY, b" "])));
    assert!(is_mismatch(&finish(check(), &[])));
}

#[test]
fn an_undeclared_body_decides_with_its_last_byte() {
    let presented = signed(BodyToSign::Hashed(PayloadHash::of(BODY)));
    assert_eq!(presented.payload(), Payload::Undeclared);
    let check = || verify_head(presented.clone()).unwrap();
    assert!(!check().signature_is_proven());
    assert_eq!(finish(check(), &[&BODY[..3], &BODY[3..]]), Ok(()));
    assert!(is_mismatch(&finish(check(), &[&BODY[..3]])));
}

#[test]
fn an_unsigned_body_is_anything_where_that_is_accepted() {
    let presented = signed(BodyToSign::Unsigned);
    assert_eq!(presented.payload(), Payload::Unsigned);
    let check = verify_head(presented).unwrap();
    assert!(check.signature_is_proven());
    assert_eq!(finish(check, &[b"anything"]), Ok(()));
}

#[test]
fn a_declaration_that_is_not_accepted_verifies_with_no_body() {
    let credentials = credentials(None);
    let request = Sent::new("POST", "/");
    let added = signer(&credentials).sign(&request.request(), BodyToSign::Unsigned, noon_and(0)).unwrap();
    let request = added.iter().fold(request, |request, (name, value)| request.with(name, value));
    let presented = request.read(&RULES, noon_and(0)).unwrap();
    assert_eq!(presented.payload(), Payload::Refused);
    assert!(is_mismatch(&request.verify(&RULES, None, noon_and(0)).map(drop)));
    assert!(is_mismatch(&verify_head(presented).map(drop)));
}

#[test]
fn a_declared_hash_that_was_not_signed_is_refused_at_the_head() {
    let credentials = credentials(None);
    let request = Sent::new("POST", "/");
    let body = BodyToSign::Hashed(PayloadHash::of(BODY));
    let added = signer(&credentials).sign(&request.request(), body, noon_and(0)).unwrap();
    let request = added.iter().fold(request, |request, (name, value)| request.with(name, value));
    let other = request.with("X-Amz-Content-Sha256", &PayloadHash::of(b"other").to_string());
    assert!(is_mismatch(&verify_head(other.read(&RULES, noon_and(0)).unwrap()).map(drop)));
    // Twice is no hash.
    let twice = other.with("X-Amz-Content-Sha256", &PayloadHash::of(b"other").to_string());
    assert_eq!(twice.read(&RULES, noon_and(0)).unwrap().payload(), Payload::Refused);
}

#[test]
fn temporary_credentials_need_the_token_that_belongs_to_them() {
    let credentials = credentials(Some("token"));
    let request = Sent::new("GET", "/");
    let body = BodyToSign::Hashed(PayloadHash::EMPTY);
    let added = signer(&credentials).sign(&request.request(), body, noon_and(0)).unwrap();
    let request = added.iter().fold(request, |request, (name, value)| request.with(name, value));
    assert!(request.verify(&RULES, Some("token"), noon_and(0)).is_ok());
    for known in [None, Some("other"), Some("")] {
        assert_eq!(request.verify(&RULES, known, noon_and(0)), Err(SignatureError::UnknownCredentials), "{known:?}");
    }
    let without = request.without("X-Amz-Security-Token");
    assert_eq!(without.verify(&RULES, Some("token"), noon_and(0)), Err(SignatureError::UnknownCredentials));
    assert!(is_mismatch(&without.verify(&RULES, None, noon_and(0)).map(drop)), "it was signed with one");
}

#[test]
fn a_key_that_is_known_to_be_temporary_is_nothing_without_a_token() {
    let request = crate::vectors::plain().replacing("Authorization", "=AKID", "=ASIA");
    let presented = request.read(&RULES, noon_and(0)).unwrap();
    let key = secret().signing_key(presented.scope().clone());
    let verdict = presented.verify(Known { key: &key, token: None }, &PayloadHash::EMPTY);
    assert_eq!(verdict, Err(SignatureError::UnknownCredentials));
}

#[test]
fn a_key_for_another_day_verifies_nothing() {
    let presented = crate::vectors::plain().read(&RULES, noon_and(0)).unwrap();
    let tomorrow = gatepost_sigv4::AmzDate::at(noon_and(86_400));
    let key = secret().signing_key(gatepost_sigv4::Scope::new(tomorrow, "us-east-1", "execute-api"));
    assert!(is_mismatch(&presented.verify(Known { key: &key, token: None }, &PayloadHash::EMPTY)));
}

#[test]
fn nothing_secret_is_printed() {
    let token = SessionToken::new("hush-token".to_owned());
    let credentials = gatepost_sigv4::Credentials { token: Some(token), ..credentials(None) };
    let request = Sent::new("GET", "/").with("X-Secret", "hush-header");
    let added = signer(&credentials).sign(&request.request(), BodyToSign::Unsigned, noon_and(0)).unwrap();
    let request = added.iter().fold(request, |request, (name, value)| request.with(name, value));
    let presented = request.read(&RULES, noon_and(0)).unwrap();
    let refused = request.verify(&RULES, Some("hush-token"), noon_and(0)).unwrap_err();
    let printed = format!("{:?} {added:?} {presented:?} {refused:?} {refused} {credentials:?}", request.request());
    assert!(!printed.contains("hush") && !printed.contains(crate::setup::SECRET), "{printed}");
    let signature = request.value("authorization").rsplit_once('=').unwrap().1;
    assert!(!printed.contains(signature), "{printed}");
}
