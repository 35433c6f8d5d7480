use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use gatepost_config::model::TokenRule;
use gatepost_net::tls::Alpn;
use gatepost_testkit::{Origin, PATIENCE, Script, TokenIssuer, TokenKey, eventually};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{advance, pause, resume};

use super::*;
use crate::token::keyring::Refreshed;
use crate::token::{TokenFlaw, verify};

static KEY: LazyLock<TokenKey> = LazyLock::new(|| TokenKey::p256("key"));

/// What so many of these come to, all at once.
async fn all<F: Future<Output: Send + 'static> + Send + 'static>(count: usize, each: impl Fn() -> F) -> Vec<F::Output> {
    (0..count).map(|_| each()).collect::<JoinSet<_>>().join_all().await
}

fn fetcher() -> Fetcher {
    Fetcher::new(Resolver::with_servers(Vec::new()).unwrap(), ClientTls::new(None, Alpn::Http1).unwrap())
}

fn issuers() -> Issuers {
    Issuers { fetcher: fetcher(), asked: HashMap::new() }
}

fn keyring(issuer: &TokenIssuer) -> Arc<Keyring> {
    Keyring::new(issuer.url().into())
}

/// What becomes of a token of this issuer, signed by `key`.
fn becomes(keyring: &Arc<Keyring>, key: &TokenKey) -> Result<(), TokenFlaw> {
    let issuer = Arc::clone(keyring.issuer());
    let token = key.token(&json!({"iss": &*issuer, "aud": "api", "exp": 4e9}));
    let rule = TokenRule { issuer, audience: ["api".into()].into(), scopes: Box::default() };
    verify([keyring], &token)?.claims.satisfy(&rule, UNIX_EPOCH.max(SystemTime::now()))
}

/// Moves the clock, and lets no I/O end meanwhile.
async fn let_pass(time: Duration) {
    pause();
    advance(time).await;
    resume();
}

const A_MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_keys_of_an_issuer_come_from_where_its_configuration_says() {
    let issuer = TokenIssuer::start(&[&KEY]).await;
    let (mut issuers, keyring) = (issuers(), keyring(&issuer));
    assert_eq!(becomes(&keyring, &KEY), Err(TokenFlaw::KeysUnknown));
    issuers.follow([&keyring]);
    assert_eq!(keyring.refreshed().await, Refreshed::Asked);
    assert_eq!(becomes(&keyring, &KEY), Ok(()));
    assert_eq!(issuer.configuration.last().target(), "/.well-known/openid-configuration");
    assert_eq!((issuer.configuration.count(), issuer.keys.count()), (1, 1));

    // A reload that keeps the issuer keeps its keys, and asks nobody.
    issuers.follow([&keyring]);
    assert_eq!(keyring.refreshed().await, Refreshed::No);
    assert_eq!((issuer.configuration.count(), issuer.keys.count()), (1, 1));
}

#[tokio::test]
async fn a_new_key_is_asked_for_when_a_token_names_it_and_an_old_one_is_over() {
    let issuer = TokenIssuer::start(&[&KEY]).await;
    let (mut issuers, keyring) = (issuers(), keyring(&issuer));
    issuers.follow([&keyring]);
    assert_eq!(keyring.refreshed().await, Refreshed::Asked);

    let next = TokenKey::ed25519("next");
    issuer.publish(&[&next]);
    assert_eq!(becomes(&keyring, &next), Err(TokenFlaw::UnknownKid));
    assert_eq!(keyring.refreshed().await, Refreshed::No, "it was asked less than a minute ago");
    let_pass(A_MINUTE).await;
    assert_eq!(keyring.refreshed().await, Refreshed::Asked);
    assert_eq!(becomes(&keyring, &next), Ok(()));
    assert_eq!(becomes(&keyring, &KEY), Err(TokenFlaw::UnknownKid));
}

#[tokio::test]
async fn a_flood_of_unknown_keys_asks_an_issuer_once_a_minute() {
    let issuer = TokenIssuer::start(&[&KEY]).await;
    let (mut issuers, keyring) = (issuers(), keyring(&issuer));
    issuers.follow([&keyring]);
    keyring.refreshed().await;
    for round in 1..=3 {
        let refreshed = || {
            let keyring = Arc::clone(&keyring);
            async move { keyring.refreshed().await }
        };
        all(1_000, refreshed).await;
        assert_eq!(all(1_000, refreshed).await, [Refreshed::No; 1_000]);
        assert_eq!(issuer.keys.count(), round);
        let_pass(A_MINUTE).await;
    }
}

#[tokio::test]
async fn no_more_wait_for_keys_than_there_is_room_for() {
    let issuer = TokenIssuer::start(&[&KEY]).await;
    issuer.keys.from_now_on(Script::default().then_wait());
    let (mut issuers, keyring) = (issuers(), keyring(&issuer));
    issuers.follow([&keyring]);
    eventually(PATIENCE, || issuer.keys.count() == 1).await;
    let waiting = || {
        let keyring = Arc::clone(&keyring);
        async move { keyring.refreshed().await }
    };
    let all = all(300, waiting).await;
    // The fetch was given up.
    assert!(all.iter().filter(|refreshed| **refreshed == Refreshed::No).count() >= 300 - 256);
    assert_eq!(becomes(&keyring, &KEY), Err(TokenFlaw::KeysUnknown));
}

#[tokio::test]
async fn the_last_keys_stay_in_use_when_the_issuer_fails_and_it_is_asked_again() {
    let issuer = TokenIssuer::start(&[&KEY]).await;
    let (mut issuers, keyring) = (issuers(), keyring(&issuer));
    issuers.follow([&keyring]);
    keyring.refreshed().await;
    issuer.keys.from_now_on(Script::ok(r#"{"keys": []}"#));
    let_pass(A_MINUTE).await;
    assert_eq!(keyring.refreshed().await, Refreshed::Asked);
    assert_eq!(becomes(&keyring, &KEY), Ok(()));

    let next = TokenKey::p384("next");
    issuer.publish(&[&KEY, &next]);
    eventually(PATIENCE, || becomes(&keyring, &next).is_ok()).await;
}

#[tokio::test]
async fn an_issuer_that_is_no_longer_configured_is_no_longer_asked() {
    let issuer = TokenIssuer::start(&[&KEY]).await;
    let (mut issuers, keyring) = (issuers(), keyring(&issuer));
    issuers.follow([&keyring]);
    keyring.refreshed().await;
    issuers.follow([]);
    let_pass(Duration::from_secs(3 * 3_600)).await;
    assert_eq!(keyring.refreshed().await, Refreshed::No);
    assert_eq!(issuer.keys.count(), 1);
}

#[tokio::test]
async fn keys_are_asked_for_again_when_they_may_have_changed() {
    let issuer = TokenIssuer::start(&[&KEY]).await;
    let set = TokenKey::set(&[&KEY]);
    for (field, minutes) in [
        ("", 60),
        ("cache-control: max-age=1800\r\n", 30),
        ("cache-control: max-age=1\r\n", 5),
        ("cache-control: no-store\r\n", 5),
        ("cache-control: max-age=864000\r\n", 120),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\n{field}content-length: {}\r\n\r\n", set.len());
        issuer.keys.from_now_on(Script::send(head + &set));
        let (_, every) = fetch(&fetcher(), &issuer.url()).await.unwrap();
        assert_eq!(every, Duration::from_secs(minutes * 60), "{field}");
    }
}

#[tokio::test]
async fn a_document_that_is_not_as_it_should_be_brings_no_keys() {
    let issuer = TokenIssuer::start(&[&KEY]).await;
    let elsewhere = Origin::start(Script::ok(&TokenKey::set(&[&KEY]))).await;
    let moved = |to: &str| Script::send(format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"));
    let long = format!(r#"{{"keys": [], "more": "{}"}}"#, "x".repeat(150_000));
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{";
    let endless = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"keys\": []}";
    let both: [(Script, &str); 7] = [
        (Script::ok(&long), "longer than 150000 bytes"),
        (Script::silence(), "did not come within 1.5s"),
        (moved(&elsewhere.url()), "redirects are not followed"),
        (Script::send("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"), "the answer was 404"),
        (Script::send(cut).then_close(), "broke off"),
        (Script::send(endless).then_close(), "broke off"),
        (Script::ok("[]"), "it is no"),
    ];
    let says = async || fetch(&fetcher(), &issuer.url()).await.unwrap_err().to_string();
    for (script, expected) in both {
        issuer.keys.from_now_on(script.clone());
        let said = says().await;
        assert!(said.contains(expected) && said.contains(&format!("{}/keys", issuer.keys.url())), "{said}");
        issuer.publish(&[&KEY]);

        issuer.configuration.from_now_on(script);
        let said = says().await;
        assert!(said.contains(expected) && said.contains("/.well-known/openid-configuration"), "{said}");
        issuer.configuration.from_now_on(Script::ok(&issuer.document().to_string()));
    }
    assert_eq!(elsewhere.accepted(), 0);
    assert!(fetch(&fetcher(), &issuer.url()).await.is_ok());
}

#[tokio::test]
async fn a_configuration_of_another_issuer_or_with_keys_in_odd_places_is_refused() {
    let issuer = TokenIssuer::start(&[&KEY]).await;
    let keys = issuer.keys.url();
    for (name, value) in [
        ("issuer", json!("https://idp.example")),
        ("issuer", json!(issuer.url() + "/")),
        ("issuer", json!(null)),
        ("jwks_uri", json!(null)),
        ("jwks_uri", json!("file:///etc/passwd")),
        ("jwks_uri", json!(keys.replace("127.0.0.1", "localhost"))),
        ("jwks_uri", json!(keys.replace("127.0.0.1", "10.0.0.1"))),
        ("jwks_uri", json!(keys.replace("http://127.0.0.1", "https://169.254.169.254"))),
        ("jwks_uri", json!(keys.replace("http://", "http://user@"))),
    ] {
        let mut document = issuer.document();
        document[name] = value;
        issuer.configuration.from_now_on(Script::ok(&document.to_string()));
        let error = fetch(&fetcher(), &issuer.url()).await.unwrap_err();
        assert!(!matches!(error, KeysError::Fetch { .. }), "{document}: {error}");
    }
    assert_eq!(issuer.keys.accepted(), 0);
}

#[test]
fn where_keys_may_be() {
    let is_permitted = |issuer: &str, place: &str| {
        let url = configuration_of(issuer).unwrap();
        jwks_uri(issuer, &url, json!({"issuer": issuer, "jwks_uri": place}).to_string().as_bytes()).is_ok()
    };
    assert!(is_permitted("https://idp.example", "https://idp.example/keys"));
    assert!(is_permitted("https://idp.example/", "https://keys.example:8443/v1/keys?format=jwk"));
    assert!(is_permitted("https://idp.example", "https://8.8.8.8/keys"));
    assert!(is_permitted("https://10.0.0.1", "https://10.0.0.1:8443/keys"), "where the owner has sent us");
    assert!(is_permitted("http://127.0.0.1:8080/realm", "http://127.0.0.1:8080/realm/keys"));
    assert!(is_permitted("http://[::1]", "https://127.0.0.1/keys"));

    for place in ["http://idp.example/keys", "https://10.0.0.1/keys", "https://127.0.0.1/keys", "https://[::1]/keys"] {
        assert!(!is_permitted("https://idp.example", place), "{place}");
    }
    for place in ["http://idp.example/keys", "http://8.8.8.8/keys", "http://10.0.0.1/keys", "https://192.168.0.1/"] {
        assert!(!is_permitted("http://127.0.0.1", place), "{place}");
    }
    for issuer in ["http://idp.example", "http://10.0.0.1", "ftp://idp.example", "idp.example", "https://u@idp.example"]
    {
        assert!(configuration_of(issuer).is_err(), "{issuer}");
    }
    let place = |issuer: &str| configuration_of(issuer).unwrap().to_string();
    assert_eq!(place("https://idp.example/realm/"), "https://idp.example/realm/.well-known/openid-configuration");
}
