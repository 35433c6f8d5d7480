//! What forgers try: another algorithm, another key, another form.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn unsigned(header: &Value) -> String {
    format!("{}.{}", encode(header.to_string()), encode(claims(json!({})).to_string()))
}

#[test]
fn an_algorithm_is_chosen_by_the_key_and_not_by_the_token() {
    let (p256, ed25519) = (TokenKey::p256("p256"), TokenKey::ed25519("ed25519"));
    let jwks = TokenKey::set(&[&RSA, &p256, &ed25519]);
    let tokens = tokens(&[], &jwks);
    let claims = claims(json!({})).to_string();

    for alg in ["none", "None", "NONE", "nOnE", "", "HS256", "PS256", "ES512", "ES256K", "Ed448", "rs256"] {
        let header = json!({"alg": alg, "kid": "rsa"});
        for token in [RSA.token_with(&header, &claims), format!("{}.", unsigned(&header))] {
            assert_eq!(judge(&tokens, &token), Err(TokenFlaw::Algorithm), "{alg}");
        }
    }
    for (alg, kid) in [
        ("ES256", "rsa"),
        ("EdDSA", "rsa"),
        ("RS256", "p256"),
        ("ES384", "p256"),
        ("EdDSA", "p256"),
        ("ES256", "ed25519"),
    ] {
        for key in [&*RSA, &p256, &ed25519] {
            let token = key.token_with(&json!({"alg": alg, "kid": kid}), &claims);
            assert_eq!(judge(&tokens, &token), Err(TokenFlaw::Algorithm), "{alg} {kid}");
        }
    }
    // One hash under the name of another.
    let signed = RSA.token_with(&json!({"alg": "RS512", "kid": "rsa"}), &claims);
    let (_, signature) = signed.rsplit_once('.').unwrap();
    let token = format!("{}.{signature}", unsigned(&json!({"alg": "RS256", "kid": "rsa"})));
    assert_eq!(judge(&tokens, &token), Err(TokenFlaw::BadSignature));
}

#[test]
fn a_public_key_is_no_secret_of_an_hmac() {
    let tokens = tokens(&[], &TokenKey::set(&[&RSA]));
    let message = unsigned(&json!({"alg": "HS256", "kid": "rsa"}));
    for secret in [RSA.jwk()["n"].as_str().unwrap().to_owned(), RSA.jwk().to_string(), TokenKey::set(&[&RSA])] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let token = format!("{message}.{}", encode(hmac::sign(&key, message.as_bytes())));
        assert_eq!(judge(&tokens, &token), Err(TokenFlaw::Algorithm));
    }
    // Nor is a published secret a key.
    let secret = json!({"kty": "oct", "kid": "secret", "alg": "HS256", "k": encode("secret")});
    assert!(KeySet::read(json!({"keys": [secret]}).to_string().as_bytes()).is_err());
}

#[test]
fn a_key_that_has_an_algorithm_is_good_for_no_other() {
    let mut jwk = RSA.jwk();
    jwk["alg"] = json!("RS256");
    let tokens = tokens(&[], &json!({"keys": [jwk]}).to_string());
    let becomes =
        |alg: &str| judge(&tokens, &RSA.token_with(&json!({"alg": alg, "kid": "rsa"}), &claims(json!({})).to_string()));
    assert_eq!(becomes("RS256"), accepted());
    assert_eq!(becomes("RS384"), Err(TokenFlaw::Algorithm));
    assert_eq!(becomes("RS512"), Err(TokenFlaw::Algorithm));
}

#[test]
fn a_token_says_which_key_signed_it_and_brings_none() {
    let mine = TokenKey::p256("mine");
    let tokens = tokens(&[], &TokenKey::set(&[&RSA]));
    let claims = claims(json!({})).to_string();
    let jwk = mine.jwk();
    for (header, flaw) in [
        (json!({"alg": "ES256"}), TokenFlaw::NoKid),
        (json!({"alg": "ES256", "jwk": jwk}), TokenFlaw::NoKid),
        (json!({"alg": "ES256", "kid": "mine", "jwk": jwk}), TokenFlaw::UnknownKid),
        (json!({"alg": "ES256", "kid": "mine", "jku": "http://127.0.0.1:1/keys"}), TokenFlaw::UnknownKid),
        (json!({"alg": "ES256", "kid": ""}), TokenFlaw::UnknownKid),
        (json!({"alg": "ES256", "kid": 1}), TokenFlaw::Malformed),
        (json!({"alg": "ES256", "kid": null}), TokenFlaw::Malformed),
        (json!({"alg": ["ES256"], "kid": "mine"}), TokenFlaw::Malformed),
        (json!({"kid": "mine"}), TokenFlaw::Malformed),
        (json!({"alg": "ES256", "kid": "mine", "crit": ["exp"]}), TokenFlaw::Critical),
        (json!({"alg": "ES256", "kid": "mine", "crit": []}), TokenFlaw::Critical),
    ] {
        assert_eq!(judge(&tokens, &mine.token_with(&header, &claims)), Err(flaw), "{header}");
    }
    // Whatever it says it is.
    let header = json!({"alg": "RS256", "kid": "rsa", "typ": "anything", "jwk": jwk, "x5c": []});
    assert_eq!(judge(&tokens, &RSA.token_with(&header, &claims)), accepted());
}

#[test]
fn a_token_has_one_form() {
    let tokens = tokens(&[], &TokenKey::set(&[&RSA]));
    let token = RSA.token(&claims(json!({})));
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("{token}") };
    for broken in [
        format!("{header}.{claims}"),
        format!("{header}.{claims}.{signature}."),
        format!("{header}.{claims}.{signature}.{signature}.{signature}"),
        format!(".{claims}.{signature}"),
        format!("{header}..{signature}"),
        format!("{header}=.{claims}.{signature}"),
        format!("{header}.{claims}.{signature}=="),
        format!("{header}.{claims}.{}", signature.replace(['-', '_'], "+")),
        format!("{header}.{claims} .{signature}"),
        "..".to_owned(),
        String::new(),
    ] {
        if broken != token {
            assert_eq!(judge(&tokens, &broken), Err(TokenFlaw::Malformed), "{broken}");
        }
    }
    for changed in [format!("{header}.{claims}."), format!("{header}.{claims}.{}", encode([0; 256]))] {
        assert_eq!(judge(&tokens, &changed), Err(TokenFlaw::BadSignature), "{changed}");
    }
    // The last character of 256 bytes has four bits that mean nothing: they must be zero.
    let last = URL_SAFE_NO_PAD.decode(signature).unwrap().len();
    assert_eq!(last % 3, 1);
    let twin = signature.strip_suffix(['A', 'Q', 'g', 'w']).unwrap();
    assert_eq!(judge(&tokens, &format!("{header}.{claims}.{twin}B")), Err(TokenFlaw::Malformed));
}

#[test]
fn tokens_that_are_huge_or_deep_are_refused_cheaply() {
    let tokens = tokens(&[], &TokenKey::set(&[&RSA]));
    let token = RSA.token(&claims(json!({"more": "x".repeat(8 * 1024)})));
    assert_eq!(judge(&tokens, &token), Err(TokenFlaw::TooLong));

    let header = json!({"alg": "RS256", "kid": "rsa"});
    let deep = |depth: usize, name: &str| {
        let good = claims(json!({})).to_string();
        let value = "[".repeat(depth) + &"]".repeat(depth);
        RSA.token_with(&header, &format!("{}, \"{name}\": {value}}}", good.trim_end_matches('}')))
    };
    assert_eq!(judge(&tokens, &deep(2_500, "more")), accepted(), "what is skipped costs no stack");
    assert_eq!(judge(&tokens, &deep(2_500, "scp")), Err(TokenFlaw::Malformed));
    let open = RSA.token_with(&header, &"{\"a\":".repeat(1_000));
    assert_eq!(judge(&tokens, &open), Err(TokenFlaw::Malformed));
}

#[test]
fn of_the_keys_that_are_published_those_for_other_things_are_not_used() {
    let good = RSA.jwk();
    let changed = |name: &str, value: Value| {
        let mut jwk = good.clone();
        jwk[name] = value;
        jwk
    };
    let without = |name: &str| {
        let mut jwk = good.clone();
        jwk.as_object_mut().unwrap().remove(name);
        jwk
    };
    let short = encode(vec![0xff; 255]);
    let p256 = TokenKey::p256("p256").jwk();
    let mut off_curve = p256.clone();
    off_curve["y"] = p256["x"].clone();
    for jwk in [
        changed("use", json!("enc")),
        changed("use", json!(null)),
        changed("key_ops", json!(["sign"])),
        changed("key_ops", json!([])),
        changed("alg", json!("RSA-OAEP")),
        changed("alg", json!("ES256")),
        changed("alg", json!("none")),
        changed("kty", json!("oct")),
        changed("kty", json!("rsa")),
        changed("kid", json!(1)),
        without("kid"),
        without("n"),
        without("e"),
        changed("n", json!(short)),
        changed("n", json!(encode(vec![0xff; 1_025]))),
        changed("n", json!("not base64!")),
        changed("e", json!(encode([1]))),
        changed("e", json!(encode([4]))),
        changed("e", json!(encode([1, 0, 0, 0, 1]))),
        changed("e", json!("")),
        off_curve,
        json!(null),
        json!([]),
        json!("a key"),
    ] {
        let alone = KeySet::read(json!({"keys": [jwk]}).to_string().as_bytes());
        assert!(alone.is_err(), "{jwk}");
        let set = KeySet::read(json!({"keys": [jwk, p256]}).to_string().as_bytes()).unwrap();
        assert_eq!((set.len(), set.unused), (1, 1), "{jwk}");
    }
    for jwk in [without("use"), changed("key_ops", json!(["sign", "verify"])), changed("x5t", json!("more"))] {
        assert!(KeySet::read(json!({"keys": [jwk]}).to_string().as_bytes()).is_ok(), "{jwk}");
    }
}

#[test]
fn a_key_of_2048_bits_is_long_enough_and_one_of_2047_is_not() {
    let mut n = URL_SAFE_NO_PAD.decode(RSA.jwk()["n"].as_str().unwrap()).unwrap();
    n[0] = 0x7f;
    let mut jwk = RSA.jwk();
    jwk["n"] = json!(encode(&n));
    assert!(KeySet::read(json!({"keys": [jwk]}).to_string().as_bytes()).is_err());
    // As some issuers write it.
    let mut jwk = RSA.jwk();
    let n = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    jwk["n"] = json!(encode([&[0], &*n].concat()));
    let tokens = tokens(&[], &json!({"keys": [jwk]}).to_string());
    assert_eq!(judge(&tokens, &RSA.token(&claims(json!({})))), accepted());
}

#[test]
fn of_two_keys_with_one_name_and_one_algorithm_neither_is_believed() {
    let (one, other) = (TokenKey::p256("same"), TokenKey::p256("same"));
    let both = tokens(&[], &TokenKey::set(&[&one, &other, &RSA]));
    for key in [&one, &other] {
        assert_eq!(judge(&both, &key.token(&claims(json!({})))), Err(TokenFlaw::UnknownKid));
    }
    assert_eq!(judge(&both, &RSA.token(&claims(json!({})))), accepted());

    let twice = tokens(&[], &TokenKey::set(&[&one, &one]));
    assert_eq!(judge(&twice, &one.token(&claims(json!({})))), accepted(), "the same key");
    let edwards = TokenKey::ed25519("same");
    let mixed = tokens(&[], &TokenKey::set(&[&one, &edwards]));
    for key in [&one, &edwards] {
        assert_eq!(judge(&mixed, &key.token(&claims(json!({})))), accepted(), "RFC 7517, 4.5");
    }
}

#[test]
fn a_set_of_keys_is_bounded_and_must_be_one() {
    let key = RSA.jwk();
    assert!(KeySet::read(json!({"keys": vec![&key; 101]}).to_string().as_bytes()).is_err());
    assert!(KeySet::read(json!({"keys": vec![&key; 100]}).to_string().as_bytes()).is_ok());
    for text in ["", "null", "[]", "{}", r#"{"keys": {}}"#, r#"{"keys": []}"#, &"[".repeat(100_000)] {
        assert!(KeySet::read(text.as_bytes()).is_err(), "{text:.20}");
    }
    assert!(KeySet::read(json!([[key]]).to_string().as_bytes()).is_err());
}
