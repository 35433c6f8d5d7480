//! How AWS REST APIs without an authorizer treat their policy, and what else they answer.

use gatepost_testkit::{Json, Raw, TestGateway};
use serde_json::json;

use super::{Documents, allow, ask, deny, document, gateway, text};
use crate::setup::{client, refusal};

const API: &str = "compat = \"aws-rest\"\nstage = \"prod\"\n";

#[tokio::test]
async fn without_a_policy_a_public_method_is_public_and_with_one_silence_is_a_denial() {
    let documents = Documents::new();
    let elsewhere = json!({ "Condition": { "IpAddress": { "aws:SourceIp": "192.0.2.0/24" } } });
    let only = |effect: &str| {
        let mut statement = elsewhere.clone();
        statement["Effect"] = effect.into();
        statement
    };
    let bob = json!({ "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::111122223333:user/bob" } });
    let cases: [(Option<Vec<Json>>, u16, &str); 8] = [
        (None, 204, ""),
        (Some(vec![allow("*")]), 204, ""),
        (Some(vec![only("Allow")]), 403, "implicit"),
        (Some(vec![only("Deny")]), 403, "implicit"),
        (Some(vec![allow("*"), only("Deny")]), 204, ""),
        (Some(vec![deny("*")]), 403, "explicit"),
        (Some(vec![allow("*"), deny("*")]), 403, "explicit"),
        // Nobody without a signature is bob.
        (Some(vec![bob]), 403, "implicit"),
    ];
    for (statements, status, kind) in cases {
        let entry = match &statements {
            None => (API.to_owned(), "open = true"),
            Some(statements) => {
                let policy = documents.write("p.json", &document(statements));
                (format!("{API}policy = {policy:?}"), "")
            }
        };
        let gateway = gateway(&entry.0, entry.1).await;
        let response = ask(&mut client(&gateway).await, "GET", "/a").await;
        assert_eq!(response.status, status, "{statements:?}");
        assert_eq!(response.text().ends_with(" with an explicit deny\"}"), kind == "explicit", "{statements:?}");
        let denied = response.header("x-amzn-errortype") == Some("AccessDeniedException");
        assert_eq!(denied, status == 403, "{statements:?}");
    }
}

#[tokio::test]
async fn a_private_api_answers_those_who_come_through_its_endpoint() {
    let documents = Documents::new();
    let only_endpoint = json!({
        "Effect": "Deny",
        "Condition": { "StringNotEquals": { "aws:SourceVpce": "vpce-1" } }
    });
    let policy = documents.write("p.json", &document(&[allow("execute-api:/*"), only_endpoint]));
    let text = format!(
        r#"
        [server]
        account = "111122223333"
        [listen.one]
        addresses = ["127.0.0.1:0"]
        vpce = "vpce-1"
        [listen.two]
        addresses = ["127.0.0.1:0"]
        vpce = "vpce-2"
        [api.private]
        id = "abc123"
        stage = "prod"
        compat = "aws-rest"
        policy = {policy:?}
        [api.private.route."GET /"]
        respond = {{ status = 200 }}
        "#
    );
    let gateway = TestGateway::start(&text).await;
    let mut inside = Raw::connect(gateway.addresses_of("one")[0]).await;
    let response = inside.get("/").await;
    assert_eq!((response.status, &*response.text()), (200, ""));
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert!(response.header("x-amzn-requestid").is_some() && response.header("x-amz-apigw-id").is_some());
    assert_eq!(response.header("x-amzn-trace-id"), None);
    let mut elsewhere = Raw::connect(gateway.addresses_of("two")[0]).await;
    let response = elsewhere.get("/").await;
    let body = "{\"Message\":\"User: anonymous is not authorized to perform: execute-api:Invoke on resource: \
         arn:aws:execute-api:us-east-1:********3333:abc123/prod/GET/ with an explicit deny\"}";
    assert_eq!((response.status, &*response.text()), (403, body));
}

#[tokio::test]
async fn an_arn_of_1600_bytes_is_authorized_and_no_longer_one() {
    let documents = Documents::new();
    let policy = documents.write("p.json", &document(&[allow("*")]));
    let gateway = gateway(&format!("{API}policy = {policy:?}"), "").await;
    let mut client = client(&gateway).await;
    let before = "arn:aws:execute-api:us-east-1:111122223333:abc123/prod/GET/".len();
    let path = |length: usize| format!("/{}", "a".repeat(length - before));
    assert_eq!(ask(&mut client, "GET", &path(1600)).await.status, 204);
    let response = ask(&mut client, "GET", &path(1601)).await;
    assert_eq!((response.status, response.header("content-type")), (414, Some("application/json")));
    assert_eq!(ask(&mut client, "GET", "/a").await.status, 204);
    refusal(&gateway, "arn_too_long").await;
}

#[tokio::test]
async fn what_chooses_no_api_is_answered_as_gatepost_does() {
    let documents = Documents::new();
    let policy = documents.write("p.json", &document(&[allow("*")]));
    let text = text(&format!("{API}hosts = [\"a.test\"]\nbase = \"/v1\"\npolicy = {policy:?}"), "")
        .replace("\"$default\"", "\"GET /a\"");
    let gateway = TestGateway::start(&text).await;
    let mut client = client(&gateway).await;
    for (host, path, status, is_imitated) in [
        ("a.test", "/v1/a", 204, true),
        ("a.test", "/v1/b", 403, true),
        ("a.test", "/v2/a", 404, false),
        ("b.test", "/v1/a", 404, false),
        ("a.test", "/v1/%zz", 400, false),
    ] {
        let response = client.ask(&format!("GET {path} HTTP/1.1\nhost: {host}\n\n")).await;
        assert_eq!(response.status, status, "{host}{path}");
        assert_eq!(response.header("x-amzn-requestid").is_some(), is_imitated, "{host}{path}");
        if response.closes() {
            break;
        }
    }
}
