//! What is presented and what it says, and what becomes of it.

use super::*;

#[test]
fn every_kind_of_key_signs_tokens_that_are_good() {
    for key in [&*RSA, &TokenKey::p256("p256"), &TokenKey::p384("p384"), &TokenKey::ed25519("ed25519")] {
        let tokens = tokens(&[], &TokenKey::set(&[key]));
        assert_eq!(judge(&tokens, &key.token(&claims(json!({})))), accepted(), "{key:?}");
    }
    let tokens = tokens(&[], &TokenKey::set(&[&RSA]));
    for alg in ["RS256", "RS384", "RS512"] {
        let token = RSA.token_with(&json!({"alg": alg, "kid": "rsa"}), &claims(json!({})).to_string());
        assert_eq!(judge(&tokens, &token), accepted(), "{alg}");
    }
}

#[test]
fn a_token_comes_after_bearer_in_any_case_or_bare() {
    let tokens = tokens(&[], &TokenKey::set(&[&RSA]));
    let token = &RSA.token(&claims(json!({})));
    let check = |fields: &[&str]| tokens.check(&headers(fields), now()).map(drop);
    for scheme in ["Bearer ", "bearer ", "BEARER   ", ""] {
        assert_eq!(check(&[&format!("{scheme}{token}")]), Ok(()), "{scheme:?}");
    }
    assert_eq!(check(&["Basic YTpi", &format!("Bearer {token}")]), Ok(()));

    assert_eq!(check(&[]), Err(TokenFlaw::Missing));
    assert_eq!(check(&["Basic YTpi"]), Err(TokenFlaw::Missing));
    assert_eq!(check(&["AWS4-HMAC-SHA256 Credential=a.b.c, Signature=d"]), Err(TokenFlaw::Missing));
    assert_eq!(check(&[token, token]), Err(TokenFlaw::Missing));
    assert_eq!(check(&[&format!("Bearer{token}")]), Err(TokenFlaw::Malformed));
    assert_eq!(check(&[&format!("Bearer {token}"), &format!("bearer {token}")]), Err(TokenFlaw::Twice));
    assert_eq!(check(&["Bearer"]), Err(TokenFlaw::Malformed));
    assert_eq!(check(&[&format!("Bearer {token} {token}")]), Err(TokenFlaw::Malformed));
}

#[test]
fn claims_must_be_there_of_their_type_and_true_now() {
    let tokens = tokens(&[], &TokenKey::set(&[&RSA]));
    let becomes = |changes: Value| judge(&tokens, &RSA.token(&claims(changes)));
    for (changes, expected) in [
        (json!({"iss": format!("{ISSUER}/")}), TokenFlaw::WrongIssuer),
        (json!({"iss": null}), TokenFlaw::Malformed),
        (json!({"iss": [ISSUER]}), TokenFlaw::Malformed),
        (json!({"aud": "else"}), TokenFlaw::WrongAudience),
        (json!({"aud": []}), TokenFlaw::WrongAudience),
        (json!({"aud": null}), TokenFlaw::WrongAudience),
        (json!({"aud": "else", "client_id": "api"}), TokenFlaw::WrongAudience),
        (json!({"aud": "API"}), TokenFlaw::WrongAudience),
        (json!({"aud": 1}), TokenFlaw::Malformed),
        (json!({"aud": ["api", 1]}), TokenFlaw::Malformed),
        (json!({"exp": null}), TokenFlaw::Malformed),
        (json!({"exp": (NOW + 300).to_string()}), TokenFlaw::Malformed),
        (json!({"exp": {}}), TokenFlaw::Malformed),
        (json!({"exp": NOW}), TokenFlaw::Expired),
        (json!({"exp": NOW as f64 - 0.5}), TokenFlaw::Expired),
        (json!({"exp": -1}), TokenFlaw::Expired),
        (json!({"nbf": NOW + 1}), TokenFlaw::NotYet),
        (json!({"nbf": NOW as f64 + 0.5}), TokenFlaw::NotYet),
        (json!({"nbf": NOW.to_string()}), TokenFlaw::Malformed),
        (json!({"iat": NOW + 1}), TokenFlaw::NotYet),
        (json!({"iat": "yesterday"}), TokenFlaw::Malformed),
        (json!({"iat": true}), TokenFlaw::Malformed),
        (json!({"sub": 7}), TokenFlaw::Malformed),
        (json!({"scope": ["read"]}), TokenFlaw::Malformed),
    ] {
        assert_eq!(becomes(changes.clone()), Err(expected), "{changes}");
    }
    for changes in [
        json!({"aud": ["else", "other"]}),
        json!({"aud": null, "client_id": "api"}),
        json!({"exp": NOW as f64 + 0.5}),
        json!({"exp": 1e300}),
        json!({"nbf": NOW, "iat": NOW}),
        json!({"iat": null}),
    ] {
        assert_eq!(becomes(changes.clone()), accepted(), "{changes}");
    }
}

#[test]
fn a_claim_that_is_null_or_comes_twice_is_no_claim() {
    let tokens = tokens(&[], &TokenKey::set(&[&RSA]));
    let header = json!({"alg": "RS256", "kid": "rsa"});
    let good = format!(r#""iss": "{ISSUER}", "aud": "api", "exp": {}"#, NOW + 300);
    let becomes = |claims: &str| judge(&tokens, &RSA.token_with(&header, claims)).map(drop);
    assert_eq!(becomes(&format!("{{{good}}}")), Ok(()));
    for more in ["\"nbf\": null", "\"exp\": 1", "\"aud\": \"api\"", "\"iss\": \"https://idp.example\"", "\"sub\": null"]
    {
        assert_eq!(becomes(&format!("{{{good}, {more}}}")), Err(TokenFlaw::Malformed), "{more}");
    }
    // Nor is an array with the same things in their order.
    for claims in [&format!(r#"["{ISSUER}", "acme", "api", null, {}]"#, NOW + 300), "", "null", "7", "{}", "{} {}"] {
        assert_eq!(becomes(claims), Err(TokenFlaw::Malformed), "{claims}");
    }
}

#[test]
fn one_of_the_scopes_asked_for_suffices() {
    let tokens = tokens(&["read", "write"], &TokenKey::set(&[&RSA]));
    let becomes = |changes: Value| judge(&tokens, &RSA.token(&claims(changes)));
    for changes in [
        json!({"scope": "openid read"}),
        json!({"scp": ["openid", "write"]}),
        json!({"scp": "openid write"}),
        json!({"scope": "openid", "scp": ["read"]}),
    ] {
        assert_eq!(becomes(changes.clone()), accepted(), "{changes}");
    }
    for changes in
        [json!({}), json!({"scope": "openid readonly"}), json!({"scope": ""}), json!({"scp": ["read write"]})]
    {
        assert_eq!(becomes(changes.clone()), Err(TokenFlaw::Scope), "{changes}");
    }
}

#[test]
fn a_token_that_was_good_is_judged_anew_by_its_time_its_audience_and_its_scopes() {
    let tokens = tokens(&[], &TokenKey::set(&[&RSA]));
    let headers = headers(&[&RSA.token(&claims(json!({})))]);
    assert!(tokens.check(&headers, now()).is_ok());
    let at = |seconds: u64| tokens.check(&headers, UNIX_EPOCH + Duration::from_secs(seconds)).map(drop);
    assert_eq!(at(NOW + 299), Ok(()));
    assert_eq!(at(NOW + 300), Err(TokenFlaw::Expired));
    assert_eq!(at(NOW - 11), Err(TokenFlaw::NotYet));

    let asks = |audience: &str, scopes: &[&str]| {
        let scopes = scopes.iter().copied().map(Box::from).collect();
        let rule = TokenRule { issuer: ISSUER.into(), audience: [audience.into()].into(), scopes };
        Tokens::new(Arc::new(rule), Arc::clone(tokens.keyring())).check(&headers, now()).map(drop)
    };
    assert_eq!(asks("else", &[]), Err(TokenFlaw::WrongAudience));
    assert_eq!(asks("api", &["read"]), Err(TokenFlaw::Scope));
    assert_eq!(asks("api", &[]), Ok(()));
}

#[test]
fn whoever_withdraws_a_key_withdraws_the_tokens_it_signed() {
    let other = TokenKey::p256("other");
    let tokens = tokens(&[], &TokenKey::set(&[&RSA, &other]));
    let token = RSA.token(&claims(json!({})));
    assert_eq!(judge(&tokens, &token), accepted());
    assert_eq!(judge(&tokens, &token), accepted());
    tokens.keyring().end(Some(KeySet::read(TokenKey::set(&[&other]).as_bytes()).unwrap()));
    assert_eq!(judge(&tokens, &token), Err(TokenFlaw::UnknownKid));
    assert_eq!(judge(&tokens, &other.token(&claims(json!({})))), accepted());
}

#[tokio::test(start_paused = true)]
async fn keys_that_could_not_be_asked_for_in_a_day_are_no_longer_used() {
    let keyring = Keyring::new(ISSUER.into());
    let rule = TokenRule { issuer: ISSUER.into(), audience: ["api".into()].into(), scopes: Box::default() };
    let tokens = Tokens::new(Arc::new(rule), Arc::clone(&keyring));
    let token = RSA.token(&claims(json!({})));
    assert_eq!(judge(&tokens, &token), Err(TokenFlaw::KeysUnknown));
    keyring.end(Some(KeySet::read(TokenKey::set(&[&RSA]).as_bytes()).unwrap()));
    assert_eq!(judge(&tokens, &token), accepted());
    tokio::time::advance(Duration::from_secs(24 * 3_600 - 1)).await;
    keyring.end(None);
    assert_eq!(judge(&tokens, &token), accepted());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(judge(&tokens, &token), Err(TokenFlaw::KeysUnknown));
}
