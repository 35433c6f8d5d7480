//! What policies see of a request, key by key.

use std::net::IpAddr;

use gatepost_testkit::{Json, Raw, TestGateway, TlsClient};
use serde_json::json;

use super::{Documents, document};
use crate::setup::client;
use crate::tls::{Certificates, HOST};

/// A gateway with an API on every listener, that lets in whom a condition holds of.
async fn gateway(documents: &Documents, condition: &Json) -> TestGateway {
    TestGateway::start(&text(documents, condition, "")).await
}

fn text(documents: &Documents, condition: &Json, more: &str) -> String {
    let policy = documents.write("p.json", &document(&[json!({ "Effect": "Allow", "Condition": condition })]));
    format!(
        r#"
        [listen.default]
        addresses = ["127.0.0.1:0"]
        behind = ["127.0.0.1"]
        [listen.endpoint]
        addresses = ["127.0.0.1:0"]
        behind = ["127.0.0.1"]
        vpce = "vpce-1"
        vpc = "vpc-1"
        [listen.other]
        addresses = ["127.0.0.1:0"]
        vpce = "vpce-2"
        [listen.network]
        addresses = ["127.0.0.1:0"]
        vpc = "vpc-2"
        {more}
        [route."$default"]
        policy = {policy:?}
        respond = {{ status = 204 }}
        "#
    )
}

/// Whether a request with these header lines is let in on a listener.
async fn is_let_in(gateway: &TestGateway, listener: &str, lines: &str) -> bool {
    let mut client = Raw::connect(gateway.addresses_of(listener)[0]).await;
    let status = client.ask(&format!("GET / HTTP/1.1\nhost: a\n{lines}\n")).await.status;
    assert!([204, 403].contains(&status), "{status}");
    status == 204
}

#[tokio::test]
async fn the_address_of_the_client_is_under_one_key_or_the_other() {
    let documents = Documents::new();
    let from = "x-forwarded-for: 192.0.2.7\n";
    for (key, public, private) in [("aws:SourceIp", true, false), ("aws:VpcSourceIp", false, true)] {
        let gateway = gateway(&documents, &json!({ "IpAddress": { key: "192.0.2.0/24" } })).await;
        assert_eq!(is_let_in(&gateway, "default", from).await, public, "{key}");
        assert_eq!(is_let_in(&gateway, "endpoint", from).await, private, "{key}");
        assert!(!is_let_in(&gateway, "default", "x-forwarded-for: 198.51.100.1\n").await, "{key}");
        assert!(!is_let_in(&gateway, "endpoint", "x-forwarded-for: 198.51.100.1\n").await, "{key}");
    }
    // A header of somebody who is not believed is nobody's address.
    let gateway = gateway(&documents, &json!({ "IpAddress": { "aws:SourceIp": "127.0.0.2" } })).await;
    let mut stranger = Raw::connect_from(IpAddr::from([127, 0, 0, 2]), gateway.addresses_of("default")[0]).await;
    assert_eq!(stranger.ask(&format!("GET / HTTP/1.1\nhost: a\n{from}\n")).await.status, 204);
}

#[tokio::test]
async fn every_key_is_there_when_it_should_be() {
    let documents = Documents::new();
    let null = |key: &str, absent: &str| json!({ "Null": { key: absent } });
    let everywhere = ["default", "endpoint", "other", "network"];
    let private = ["endpoint", "other", "network"];
    let agent = "user-agent: curl/8\n";
    let referer = "referer: https://a.test/\n";
    let cases: [(Json, &str, &[&str]); 29] = [
        (null("aws:SourceIp", "false"), "", &["default"]),
        (null("aws:VpcSourceIp", "false"), "", &private),
        (json!({ "StringEquals": { "aws:SourceVpce": "vpce-1" } }), "", &["endpoint"]),
        (json!({ "StringNotEquals": { "aws:SourceVpce": "vpce-1" } }), "", &["default", "other", "network"]),
        (null("aws:SourceVpce", "true"), "", &["default", "network"]),
        (json!({ "StringEquals": { "aws:SourceVpc": ["vpc-1", "vpc-2"] } }), "", &["endpoint", "network"]),
        (json!({ "StringEquals": { "AWS:sourcevpc": "vpc-2" } }), "", &["network"]),
        (null("aws:SourceVpc", "true"), "", &["default", "other"]),
        (json!({ "Bool": { "aws:SecureTransport": "false" } }), "", &everywhere),
        (json!({ "Bool": { "aws:SecureTransport": true } }), "", &[]),
        (json!({ "StringLike": { "aws:UserAgent": "curl/*" } }), agent, &everywhere),
        (json!({ "StringLike": { "aws:UserAgent": "curl/*" } }), "", &[]),
        (json!({ "StringNotLike": { "aws:UserAgent": "curl/*" } }), "", &everywhere),
        (json!({ "StringLike": { "aws:UserAgent": "*wget*" } }), "user-agent: curl\nuser-agent: wget\n", &everywhere),
        (json!({ "StringEquals": { "aws:UserAgent": "curl" } }), "user-agent: curl\nuser-agent: wget\n", &[]),
        (json!({ "StringEquals": { "aws:Referer": "https://a.test/" } }), referer, &everywhere),
        (null("aws:Referer", "true"), "", &everywhere),
        (null("aws:Referer", "true"), referer, &[]),
        (json!({ "DateGreaterThan": { "aws:CurrentTime": "2020-01-01T00:00:00Z" } }), "", &everywhere),
        (json!({ "DateLessThan": { "aws:CurrentTime": "2020-01-01T00:00:00Z" } }), "", &[]),
        (json!({ "NumericGreaterThan": { "aws:EpochTime": "1577836800" } }), "", &everywhere),
        (json!({ "DateLessThan": { "aws:EpochTime": "1577836800" } }), "", &[]),
        (json!({ "StringLike": { "aws:EpochTime": "*.*" } }), "", &[]),
        (json!({ "StringEquals": { "aws:PrincipalType": "Anonymous" } }), "", &everywhere),
        (null("aws:PrincipalArn", "true"), "", &everywhere),
        (null("aws:username", "true"), "", &everywhere),
        (null("aws:userid", "true"), "", &everywhere),
        (null("aws:SourceArn", "true"), "", &everywhere),
        (null("aws:MultiFactorAuthPresent", "true"), "", &everywhere),
    ];
    for (condition, lines, let_in) in cases {
        let gateway = gateway(&documents, &condition).await;
        for listener in everywhere {
            let expected = let_in.contains(&listener);
            assert_eq!(is_let_in(&gateway, listener, lines).await, expected, "{condition} {lines:?} on {listener}");
        }
    }
}

#[tokio::test]
async fn secure_transport_is_the_connections_own() {
    let documents = Documents::new();
    let certificates = Certificates::new();
    let tables = certificates.domain(HOST);
    let text = text(&documents, &json!({ "Bool": { "aws:SecureTransport": "true" } }), &tables).replacen(
        "[listen.endpoint]",
        "[listen.secure]\naddresses = [\"127.0.0.1:0\"]\ntls = true\n[listen.endpoint]",
        1,
    );
    let gateway = TestGateway::start(&text).await;
    let secure = gateway.addresses_of("secure")[0];
    let mut secured = TlsClient::new(&certificates.authority).connect(secure, HOST).await.raw();
    assert_eq!(secured.ask(&format!("GET / HTTP/1.1\nhost: {HOST}\n\n")).await.status, 204);
    // What a proxy says of its own clients is something else.
    let mut plain = client(&gateway).await;
    let claim = format!("GET / HTTP/1.1\nhost: {HOST}\nx-forwarded-proto: https\n\n");
    assert_eq!(plain.ask(&claim).await.status, 403);
}

#[tokio::test]
async fn a_policy_is_in_force_from_one_time_to_another() {
    let documents = Documents::new();
    for (from, to, expected) in [(-1, 1, true), (1, 2, false), (-2, -1, false)] {
        let condition = json!({
            "DateGreaterThan": { "aws:CurrentTime": hour(from) },
            "DateLessThan": { "aws:CurrentTime": hour(to) },
        });
        let gateway = gateway(&documents, &condition).await;
        assert_eq!(is_let_in(&gateway, "default", "").await, expected, "{condition}");
    }
}

/// So many hours from now, in seconds since 1970.
fn hour(hours: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    (i64::try_from(now).expect("long before the end") + 3600 * hours).to_string()
}
