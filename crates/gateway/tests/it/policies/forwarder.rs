//! A forwarder of webhooks with the resource policy of an AWS REST API, answered as that API does: to the byte.

use gatepost_testkit::{Json, Origin, Raw, Response, Script, TestGateway};
use serde_json::json;

use super::Documents;
use crate::setup::client;

/// Addresses of GitHub's, denied and allowed as people write it.
fn policy() -> Json {
    let ranges = json!(["192.30.252.0/22", "185.199.108.0/22", "140.82.112.0/20"]);
    let statement = |effect: &str, operator: &str| {
        json!({
            "Effect": effect,
            "Principal": "*",
            "Action": "execute-api:Invoke",
            "Resource": "execute-api:/*/*/forward",
            "Condition": { operator: { "aws:SourceIp": ranges } }
        })
    };
    json!({
        "Version": "2012-10-17",
        "Statement": [statement("Deny", "NotIpAddress"), statement("Allow", "IpAddress")]
    })
}

async fn forwarder(documents: &Documents, origin: &Origin, more: &str) -> TestGateway {
    let policy = documents.write("forwarder.json", &policy());
    let text = format!(
        r#"
        [server]
        region = "us-east-1"
        account = "111122223333"
        [listen.default]
        addresses = ["127.0.0.1:0"]
        behind = ["127.0.0.1"]

        [api.forwarder]
        id = "abc123"
        stage = "prod"
        compat = "aws-rest"
        policy = {policy:?}

        [api.forwarder.route."GET,POST,PUT /forward"]
        forward = {{ to = "{url}", timeout = "1s" }}
        {more}

        [api.forwarder.route."POST /other"]
        forward = {{ to = "{url}" }}

        [api.forwarder.route."GET,POST,PUT /forward/{{rest+}}"]
        forward = {{ to = "{url}" }}
        "#,
        url = origin.url()
    );
    TestGateway::start(&text).await
}

const GITHUB: &str = "192.30.252.1";

const DENIED: &str = "{\"Message\":\"User: anonymous is not authorized to perform: execute-api:Invoke on resource: \
     arn:aws:execute-api:us-east-1:********3333:abc123/prod/";

async fn ask(client: &mut Raw, from: &str, method: &str, target: &str, more: &str) -> Response {
    let head = format!("{method} {target} HTTP/1.1\r\nhost: hooks.test\r\nx-forwarded-for: {from}\r\n{more}\r\n");
    client.send(head).await;
    if method == "HEAD" { client.response_without_body().await } else { client.response().await }
}

/// What every answer of such an API has, and of a refusal also its type.
#[track_caller]
fn assert_names(response: &Response, kind: Option<&str>) {
    let head = &response.head;
    let request_id = response.header("x-amzn-requestid").unwrap_or_else(|| panic!("{head}"));
    let parts: Vec<usize> = request_id.split('-').map(str::len).collect();
    assert_eq!((&parts[..], &request_id[14..15]), (&[8, 4, 4, 4, 12][..], "4"), "{head}");
    let gateway_id = response.header("x-amz-apigw-id").unwrap_or_else(|| panic!("{head}"));
    assert!(gateway_id.len() == 16 && gateway_id.ends_with('='), "{head}");
    assert_eq!(response.header("x-amzn-errortype"), kind, "{head}");
    assert_eq!(response.header("x-amzn-trace-id"), None, "{head}");
    if kind.is_some() {
        assert_eq!(response.header("content-type"), Some("application/json"), "{head}");
        assert!(response.header("x-gatepost-decision").is_some(), "{head}");
    }
}

#[track_caller]
fn assert_refused(response: &Response, status: u16, kind: &str, body: &str) {
    assert_eq!((response.status, &*response.text()), (status, body));
    assert_names(response, Some(kind));
}

#[tokio::test]
async fn only_the_addresses_of_the_policy_come_through() {
    let (documents, origin) = (Documents::new(), Origin::start(Script::ok("forwarded")).await);
    let gateway = forwarder(&documents, &origin, "").await;
    let mut client = client(&gateway).await;
    for from in [GITHUB, "185.199.108.1", "140.82.112.1"] {
        let response = ask(&mut client, from, "POST", "/forward", "").await;
        assert_eq!((response.status, &*response.text()), (200, "forwarded"), "{from}");
        assert_names(&response, None);
    }
    for (from, method) in [("203.0.113.1", "POST"), ("203.0.113.1", "GET"), ("2001:db8::1", "PUT")] {
        let response = ask(&mut client, from, method, "/forward", "").await;
        let body = format!("{DENIED}{method}/forward with an explicit deny\"}}");
        assert_refused(&response, 403, "AccessDeniedException", &body);
    }
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn another_path_is_denied_because_nobody_allows_it() {
    let (documents, origin) = (Documents::new(), Origin::start(Script::ok("")).await);
    let gateway = forwarder(&documents, &origin, "").await;
    let mut client = client(&gateway).await;
    for (from, path, told) in [
        (GITHUB, "/other", "POST/other"),
        ("203.0.113.1", "/other", "POST/other"),
        (GITHUB, "/forward/%22%2f%5B", "POST/forward/%22%2F%5B"),
        (GITHUB, "/forward/\"a\"", "POST/forward/%22a%22"),
    ] {
        let response = ask(&mut client, from, "POST", path, "").await;
        assert_refused(&response, 403, "AccessDeniedException", &format!("{DENIED}{told}\"}}"));
    }
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn an_unknown_path_or_method_lacks_an_authentication_token() {
    let (documents, origin) = (Documents::new(), Origin::start(Script::ok("")).await);
    let gateway = forwarder(&documents, &origin, "").await;
    let mut client = client(&gateway).await;
    let missing = "{\"message\":\"Missing Authentication Token\"}";
    assert_eq!(missing.len(), 42);
    let signed = "authorization: AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=00\r\nx-amz-date: 20260115T120000Z\r\n";
    // Whoever asks: the route comes before the policy.
    for from in [GITHUB, "203.0.113.1"] {
        for (method, target, more) in [
            ("GET", "/nowhere", ""),
            ("DELETE", "/forward", ""),
            ("GET", "/forward/", ""),
            ("GET", "/", "authorization:\r\n"),
            ("GET", "/nowhere", signed),
        ] {
            let response = ask(&mut client, from, method, target, more).await;
            assert_refused(&response, 403, "MissingAuthenticationTokenException", missing);
            assert_eq!(response.header("allow"), None);
        }
        let response = ask(&mut client, from, "GET", "/nowhere", "authorization: Bearer \"x\"\r\n").await;
        let body = "{\"message\":\"'\\\"x\\\"' not a valid key=value pair (missing equal-sign) in Authorization header: \
             'Bearer \\\"x\\\"'.\"}";
        assert_refused(&response, 403, "IncompleteSignatureException", body);
    }
    let head = ask(&mut client, GITHUB, "HEAD", "/nowhere", "").await;
    assert_eq!((head.status, head.header("content-length")), (403, Some("42")));
    assert_names(&head, Some("MissingAuthenticationTokenException"));
}

#[tokio::test]
async fn a_client_may_name_its_request() {
    let (documents, origin) = (Documents::new(), Origin::start(Script::ok("")).await);
    let gateway = forwarder(&documents, &origin, "").await;
    let mut client = client(&gateway).await;
    let uuid = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef";
    for from in [GITHUB, "203.0.113.1"] {
        let more = format!("x-amzn-RequestId: {uuid}\r\n");
        let response = ask(&mut client, from, "POST", "/forward", &more).await;
        assert_eq!(response.header("x-amzn-requestid"), Some(uuid));
        let response = ask(&mut client, from, "POST", "/forward", "x-amzn-RequestId: mine\r\n").await;
        assert_ne!(response.header("x-amzn-requestid"), Some("mine"));
        assert_names(&response, (from != GITHUB).then_some("AccessDeniedException"));
    }
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_in_plain_text_before_anything_else() {
    let (documents, origin) = (Documents::new(), Origin::start(Script::echo()).await);
    let gateway = forwarder(&documents, &origin, "").await;
    let too_long = "content-length: 10485761\r\nexpect: 100-continue\r\n";
    for (from, target) in [(GITHUB, "/forward"), ("203.0.113.1", "/forward"), (GITHUB, "/nowhere")] {
        let mut client = client(&gateway).await;
        let response = ask(&mut client, from, "POST", target, too_long).await;
        assert_eq!((response.status, &*response.text()), (413, "HTTP content length exceeded 10485760 bytes."));
        assert_eq!(response.header("content-type"), Some("text; charset=utf-8"));
        assert_eq!(response.header("content-length"), Some("44"));
        for name in ["x-amzn-requestid", "x-amz-apigw-id", "x-amzn-errortype"] {
            assert_eq!(response.header(name), None, "{}", response.head);
        }
    }
    // Where a route says otherwise, the number is the route's.
    let gateway = forwarder(&documents, &origin, "max_body = \"10B\"").await;
    let mut client = client(&gateway).await;
    let chunked = "transfer-encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n";
    for more in ["content-length: 11\r\n\r\nhello worl", chunked] {
        let response = ask(&mut client, GITHUB, "POST", "/forward", more.trim_end_matches("\r\n")).await;
        assert_eq!((response.status, &*response.text()), (413, "HTTP content length exceeded 10 bytes."), "{more}");
    }
}

#[tokio::test]
async fn a_backend_that_fails_is_told_as_the_integration_stage_does() {
    let documents = Documents::new();
    let network = "{\"message\": \"Network error communicating with endpoint\"}";
    let timed_out = "{\"message\": \"Endpoint request timed out\"}";
    let internal = "{\"message\": \"Internal server error\"}";
    assert_eq!([network.len(), timed_out.len(), internal.len()], [56, 41, 36]);
    for (script, status, body) in [
        (Script::silence(), 504, timed_out),
        (Script::hang_up(), 504, network),
        (Script::send("nonsense\r\n\r\n"), 502, internal),
    ] {
        let origin = Origin::start(script).await;
        let gateway = forwarder(&documents, &origin, "").await;
        let response = ask(&mut client(&gateway).await, GITHUB, "POST", "/forward", "").await;
        assert_refused(&response, status, "InternalServerErrorException", body);
    }
    let gone = Origin::start(Script::ok("")).await;
    let gateway = forwarder(&documents, &gone, "").await;
    drop(gone);
    let response = ask(&mut client(&gateway).await, GITHUB, "POST", "/forward", "").await;
    assert_refused(&response, 504, "InternalServerErrorException", network);
}

#[tokio::test]
async fn what_is_throttled_or_not_listed_is_told_in_one_sentence() {
    let (documents, origin) = (Documents::new(), Origin::start(Script::ok("")).await);
    let more = "throttle = { rate = \"1/d\", burst = 1 }\nfrom = [\"0.0.0.0/0\"]\nexcept = [\"185.199.108.1\"]";
    let gateway = forwarder(&documents, &origin, more).await;
    let mut client = client(&gateway).await;
    let response = ask(&mut client, "185.199.108.1", "POST", "/forward", "").await;
    assert_refused(&response, 403, "ForbiddenException", "{\"message\":\"Forbidden\"}");
    assert_eq!(ask(&mut client, GITHUB, "POST", "/forward", "").await.status, 200);
    let response = ask(&mut client, GITHUB, "POST", "/forward", "").await;
    assert_refused(&response, 429, "TooManyRequestsException", "{\"message\":\"Too Many Requests\"}");
    assert_eq!(response.header("retry-after"), Some("86400"));
}
