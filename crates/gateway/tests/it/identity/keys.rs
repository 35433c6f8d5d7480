//! API keys.

use gatepost_config::model::ProofKind;

use super::world::{Api, KEY, Known, OTHER_KEY, acme, bob, get};

const FORBIDDEN: &str = r#"{"message":"Forbidden"}"#;

#[tokio::test]
async fn a_key_lets_its_caller_in_and_is_not_passed_on() {
    let world = Api::of(vec![acme(), bob()]).start().await;
    let response = world.ask(&get("/prod/a").with("X-Api-Key", KEY).with("x-other", "1")).await;
    assert_eq!(response.status, 200);
    let received = world.origin.last();
    assert_eq!((received.header("x-api-key"), received.header("x-other")), (None, Some("1")));
    let line = world.logged(1).await;
    assert_eq!((&line["caller"], &line["proof"]), (&"acme".into(), &"key".into()), "{line}");
    assert!(!line.to_string().contains(KEY), "{line}");
}

#[tokio::test]
async fn without_a_good_key_nobody_enters_and_only_the_owner_is_told_why() {
    let world = Api { listed: Some(vec!["acme"]), ..Api::of(vec![acme(), bob()]) }.start().await;
    let requests = [
        (get("/prod/a"), 401, "credentials_missing"),
        (get("/prod/a").with("x-api-key", "gp_nobody0123456789ab"), 401, "credentials_bad"),
        (get("/prod/a").with("x-api-key", ""), 401, "credentials_bad"),
        (get("/prod/a").with("x-api-key", "k".repeat(2000)), 401, "credentials_bad"),
        (get("/prod/a").with("x-api-key", KEY).with("x-api-key", KEY), 401, "credentials_bad"),
        (get("/prod/a").with("x-api-key", OTHER_KEY), 403, "caller_not_listed"),
    ];
    for (number, (request, status, reason)) in (1..).zip(requests) {
        let response = world.ask(&request).await;
        let text = if status == 401 { r#"{"message":"Unauthorized"}"# } else { FORBIDDEN };
        assert_eq!((response.status, &*response.text()), (status, text), "{reason}");
        assert_eq!(response.header("www-authenticate").is_some(), status == 401);
        let line = world.logged(number).await;
        assert_eq!(line["reason"], reason, "{line}");
        assert_eq!(line["caller"].as_str(), (reason == "caller_not_listed").then_some("bob"), "{line}");
    }
    assert_eq!(world.origin.bytes_read(), 0);
}

#[tokio::test]
async fn where_aws_is_imitated_every_key_that_is_not_good_is_forbidden() {
    let api = Api { listed: Some(vec!["acme"]), ..Api::of(vec![acme(), bob()]) };
    let world = api.imitation().proof(&[ProofKind::Key]).start().await;
    for key in [None, Some("gp_nobody0123456789ab"), Some(OTHER_KEY)] {
        let request = key.into_iter().fold(get("/prod/a"), |request, key| request.with("x-api-key", key));
        let response = world.ask(&request).await;
        assert_eq!((response.status, &*response.text()), (403, FORBIDDEN), "{key:?}");
        assert_eq!(response.header("x-amzn-errortype"), Some("ForbiddenException"));
        assert_eq!(response.header("www-authenticate"), None);
    }
    assert_eq!(world.ask(&get("/prod/a").with("x-api-key", KEY)).await.status, 200);
}

#[tokio::test]
async fn from_elsewhere_a_key_is_worth_nothing() {
    let at_home = Known { from: Some("192.0.2.0/24"), ..acme() };
    let native = Api::of(vec![at_home.clone(), bob()]).start().await;
    assert_eq!(native.ask(&get("/prod/a").with("x-api-key", KEY).from("192.0.2.7")).await.status, 200);
    let elsewhere = native.ask(&get("/prod/a").with("x-api-key", KEY).from("198.51.100.7")).await;
    let unknown = native.ask(&get("/prod/a").with("x-api-key", "nobody").from("198.51.100.7")).await;
    assert_eq!((elsewhere.status, elsewhere.text()), (401, unknown.text()));
    let line = native.logged(2).await;
    assert_eq!((&line["reason"], &line["caller"]), (&"caller_elsewhere".into(), &serde_json::Value::Null), "{line}");
    assert_eq!(native.ask(&get("/prod/a").with("x-api-key", OTHER_KEY).from("198.51.100.7")).await.status, 200);

    let imitation = Api::of(vec![at_home]).imitation().proof(&[ProofKind::Key]).start().await;
    let elsewhere = imitation.ask(&get("/prod/a").with("x-api-key", KEY).from("198.51.100.7")).await;
    assert_eq!((elsewhere.status, &*elsewhere.text()), (403, FORBIDDEN));
}

#[tokio::test]
async fn what_nobody_there_has_is_no_proof_and_goes_on() {
    let keyless = Known { keys: Vec::new(), ..acme() };
    let world = Api { listed: Some(vec!["acme"]), ..Api::of(vec![keyless, bob()]) }.start().await;
    let signed = get("/prod/a").with("x-api-key", OTHER_KEY).signed(super::world::BY_ACME);
    assert_eq!(world.ask(&signed).await.status, 200);
    assert_eq!(world.origin.last().header("x-api-key"), Some(OTHER_KEY));
    assert_eq!(world.ask(&get("/prod/a").with("x-api-key", OTHER_KEY)).await.status, 401);
}

#[tokio::test]
async fn a_key_that_could_be_guessed_is_nobodys() {
    let short = Known { name: "short", keys: vec!["nineteen-characters"], ..Known::default() };
    let world = Api::of(vec![short]).start().await;
    for key in ["nineteen-characters", ""] {
        assert_eq!(world.ask(&get("/prod/a").with("x-api-key", key)).await.status, 401, "{key}");
    }
    assert_eq!(world.logged(2).await["reason"], "credentials_bad");
}
