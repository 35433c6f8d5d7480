mod confusion;
mod judged;
mod vectors;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatepost_config::model::TokenRule;
use gatepost_testkit::TokenKey;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::jwks::KeySet;
use super::{Claims, Keyring, TokenFlaw, Tokens};

/// Making one takes longer than most tests.
static RSA: LazyLock<TokenKey> = LazyLock::new(|| TokenKey::rsa("rsa"));

const ISSUER: &str = "https://idp.example";

/// When tokens of these tests are used, in seconds since 1970.
const NOW: u64 = 1_800_000_000;

pub(super) fn claims_until(expires: f64) -> Claims {
    let claims = json!({"iss": ISSUER, "exp": expires}).to_string();
    serde_json::from_str::<super::claims::Written>(&claims).unwrap().into_claims().unwrap().1
}

/// Claims that are good, changed by what `changes` says: a `null` takes a member away.
fn claims(changes: Value) -> Value {
    let mut claims = json!({"iss": ISSUER, "aud": "api", "sub": "acme", "exp": NOW + 300, "iat": NOW - 10});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        }
    }
    claims
}

/// What judges tokens of an issuer with these keys.
fn tokens(scopes: &[&str], jwks: &str) -> Tokens {
    let keyring = Keyring::new(ISSUER.into());
    keyring.end(Some(KeySet::read(jwks.as_bytes()).unwrap()));
    let texts = |texts: &[&str]| texts.iter().copied().map(Box::from).collect();
    let rule = TokenRule { issuer: ISSUER.into(), audience: texts(&["api", "other"]), scopes: texts(scopes) };
    Tokens::new(Arc::new(rule), keyring)
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn headers(fields: &[&str]) -> HeaderMap {
    fields.iter().map(|field| (AUTHORIZATION, HeaderValue::from_str(field).unwrap())).collect()
}

/// What becomes of a token: its subject.
fn judge(tokens: &Tokens, token: &str) -> Result<String, TokenFlaw> {
    let claims = tokens.check(&headers(&[&format!("Bearer {token}")]), now())?;
    Ok(claims.subject().unwrap_or_default().to_owned())
}

fn accepted() -> Result<String, TokenFlaw> {
    Ok("acme".to_owned())
}
