//! Policies: what they see of a request, and who they let in.

mod answers;
mod forwarder;
mod keys;

use std::fs;
use std::path::PathBuf;

use gatepost_testkit::{Json, Raw, Response, TestGateway};
use serde_json::json;
use tempfile::TempDir;

use crate::setup::{SOON, client, refusal};

/// Policy documents in a directory of their own.
struct Documents(TempDir);

impl Documents {
    fn new() -> Self {
        Self(TempDir::new().expect("a directory"))
    }

    /// Writes a document, and says where it is as configurations do.
    fn write(&self, name: &str, document: &Json) -> String {
        let path: PathBuf = self.0.path().join(name);
        fs::write(&path, document.to_string()).expect("a file");
        format!("file:{}", path.display())
    }
}

/// A document of these statements, for everyone who invokes something.
fn document(statements: &[Json]) -> Json {
    let statements = statements.iter().map(|statement| {
        let mut whole = json!({ "Principal": "*", "Action": "execute-api:Invoke", "Resource": "execute-api:/*" });
        let (whole_map, more) = (whole.as_object_mut().expect("an object"), statement.as_object());
        whole_map.extend(more.expect("an object").clone());
        whole
    });
    json!({ "Version": "2012-10-17", "Statement": statements.collect::<Vec<_>>() })
}

fn allow(resource: &str) -> Json {
    json!({ "Effect": "Allow", "Resource": resource })
}

fn deny(resource: &str) -> Json {
    json!({ "Effect": "Deny", "Resource": resource })
}

/// A gateway with one API, `[api.a]`, of these lines and one route for everything.
async fn gateway(api: &str, route: &str) -> TestGateway {
    TestGateway::start(&text(api, route)).await
}

fn text(api: &str, route: &str) -> String {
    format!(
        r#"
        [server]
        account = "111122223333"
        [listen.default]
        addresses = ["127.0.0.1:0"]
        behind = ["127.0.0.1"]

        [api.a]
        id = "abc123"
        {api}
        [api.a.route."$default"]
        respond = {{ status = 204 }}
        {route}
        "#
    )
}

async fn ask(client: &mut Raw, method: &str, target: &str) -> Response {
    client.send(format!("{method} {target} HTTP/1.1\r\nhost: a.test\r\n\r\n")).await;
    if method == "HEAD" { client.response_without_body().await } else { client.response().await }
}

#[tokio::test]
async fn the_policy_of_an_api_is_for_all_its_routes_and_a_denial_tells_nothing() {
    let documents = Documents::new();
    let policy = documents.write("p.json", &document(&[allow("execute-api:/*"), deny("execute-api:/*/*/secret")]));
    let gateway = gateway(&format!("policy = {policy:?}"), "").await;
    let mut client = client(&gateway).await;
    assert_eq!(ask(&mut client, "GET", "/a").await.status, 204);
    let refused = ask(&mut client, "GET", "/secret").await;
    assert_eq!((refused.status, &*refused.text()), (403, r#"{"message":"Forbidden"}"#));
    assert_eq!(refused.header("x-amzn-requestid"), None);
    let line = refusal(&gateway, "policy_denied").await;
    assert_eq!(line["id"], refused.header("x-gatepost-decision").expect("an id"), "{line}");
    let detail = line["detail"].as_str().expect("a detail");
    assert!(detail.ends_with("p.json: statement 1 denies it"), "{line}");
    assert_eq!(client.get("/a").await.status, 204, "the connection stays");
}

#[tokio::test]
async fn every_document_must_allow_and_any_denial_wins() {
    let documents = Documents::new();
    let write = |name: &str, path: &str| {
        let statements = [allow(&format!("execute-api:/*/*/{path}/*")), deny("execute-api:/*/*/*/never")];
        documents.write(name, &document(&statements))
    };
    let (of_api, of_route) = (write("api.json", "a*"), write("route.json", "*b"));
    let gateway = gateway(&format!("policy = {of_api:?}"), &format!("policy = {of_route:?}")).await;
    let mut client = client(&gateway).await;
    for (path, status, detail) in [
        ("/ab/x", 204, ""),
        ("/a/x", 403, "route.json: no statement allows it"),
        ("/b/x", 403, "api.json: no statement allows it"),
        ("/c/x", 403, "api.json: no statement allows it"),
        ("/ab/never", 403, "api.json: statement 1 denies it"),
        ("/c/never", 403, "api.json: statement 1 denies it"),
    ] {
        let seen = gateway.log().len();
        assert_eq!(ask(&mut client, "GET", path).await.status, status, "{path}");
        let lines = gateway.log_until(|lines| lines.len() > seen, SOON).await;
        let told = lines[seen]["detail"].as_str().unwrap_or_default();
        assert!(told.ends_with(detail), "{path}: {told}");
    }
}

#[tokio::test]
async fn an_explicit_denial_is_told_before_what_nobody_allows() {
    let documents = Documents::new();
    let silent = documents.write("silent.json", &document(&[allow("execute-api:/nowhere")]));
    let denying = documents.write("denying.json", &document(&[deny("execute-api:/*")]));
    let gateway = gateway(&format!("policy = {silent:?}"), &format!("policy = {denying:?}")).await;
    assert_eq!(client(&gateway).await.get("/").await.status, 403);
    let line = refusal(&gateway, "policy_denied").await;
    assert!(line["detail"].as_str().expect("a detail").ends_with("denying.json: statement 0 denies it"), "{line}");
}

#[tokio::test]
async fn a_resource_is_the_api_the_stage_the_method_and_the_path_below_the_base() {
    let documents = Documents::new();
    let arn = |tail: &str| format!("arn:aws:execute-api:us-east-1:111122223333:abc123/{tail}");
    for (resource, base, stage, method, target, status) in [
        (arn("prod/GET/pets"), "", "prod", "GET", "/pets", 204),
        (arn("prod/GET/pets"), "", "dev", "GET", "/pets", 403),
        (arn("prod/GET/pets"), "", "prod", "POST", "/pets", 403),
        (arn("prod/GET/pets"), "", "prod", "GET", "/pets/", 403),
        (arn("prod/GET/pets"), "", "prod", "GET", "/pets?a=b", 204),
        (arn("prod/GET/pets"), "/v1", "prod", "GET", "/v1/pets", 204),
        (arn("prod/GET/v1/pets"), "/v1", "prod", "GET", "/v1/pets", 403),
        (arn("prod/GET/"), "/v1", "prod", "GET", "/v1", 204),
        (arn("$default/GET/pets"), "", "$default", "GET", "/pets", 204),
        (arn("*/GET/pets/*"), "", "prod", "GET", "/pets/1/toys", 204),
        (arn("*/GET/pets/*"), "", "prod", "GET", "/pets", 403),
        // HEAD is served by GET routes, and is another method to policies.
        (arn("prod/GET/pets"), "", "prod", "HEAD", "/pets", 403),
        (arn("prod/HEAD/pets"), "", "prod", "HEAD", "/pets", 204),
        // The one form of the path, in which an escaped slash is no separator.
        (arn("prod/GET/pets"), "", "prod", "GET", "/%70ets", 204),
        (arn("prod/GET/a%2Fb"), "", "prod", "GET", "/a%2fb", 204),
        (arn("prod/GET/a/b"), "", "prod", "GET", "/a%2fb", 403),
        (arn("prod/GET/a?b"), "", "prod", "GET", "/a:b", 204),
        ("arn:aws:execute-api:us-east-1:444455556666:abc123/*".to_owned(), "", "prod", "GET", "/", 403),
        ("arn:aws:execute-api:eu-west-1:111122223333:abc123/*".to_owned(), "", "prod", "GET", "/", 403),
        ("arn:aws:execute-api:us-east-1:111122223333:other/*".to_owned(), "", "prod", "GET", "/", 403),
        ("execute-api:/prod/GET/pets".to_owned(), "", "prod", "GET", "/pets", 204),
        ("*".to_owned(), "", "prod", "GET", "/pets", 204),
    ] {
        let policy = documents.write("p.json", &document(&[allow(&resource)]));
        let base = if base.is_empty() { String::new() } else { format!("base = {base:?}") };
        let gateway = gateway(&format!("policy = {policy:?}\nstage = {stage:?}\n{base}"), "").await;
        let response = ask(&mut client(&gateway).await, method, target).await;
        assert_eq!(response.status, status, "{resource}: {method} {target} of {stage}");
    }
}

#[tokio::test]
async fn a_denied_method_is_denied_in_any_letter_case() {
    let documents = Documents::new();
    let statements = [allow("execute-api:/*"), deny("execute-api:/*/DELETE/*")];
    let policy = documents.write("p.json", &document(&statements));
    let gateway = gateway(&format!("policy = {policy:?}"), "").await;
    let mut client = client(&gateway).await;
    for (method, status) in [("GET", 204), ("DELETE", 403), ("delete", 403), ("Delete", 403)] {
        assert_eq!(ask(&mut client, method, "/a").await.status, status, "{method}");
    }
}

#[tokio::test]
async fn who_is_denied_get_is_denied_the_head_that_it_serves() {
    let documents = Documents::new();
    let everything = allow("execute-api:/*");
    let denying = documents.write("p.json", &document(&[everything.clone(), deny("execute-api:/*/GET/secret")]));
    let allowing = documents.write("q.json", &document(&[everything]));
    for (keys, status) in [
        (format!("policy = {denying:?}"), 403),
        (format!("policy = {allowing:?}"), 204),
        // There it is another method, and unknown.
        (format!("policy = {allowing:?}\ncompat = \"aws-rest\""), 403),
    ] {
        let text = text(&keys, "").replace("$default", "GET /{rest+}");
        assert!(text.contains("GET /{rest+}"), "{text}");
        let gateway = TestGateway::start(&text).await;
        let response = ask(&mut client(&gateway).await, "HEAD", "/secret").await;
        assert_eq!(response.status, status, "{keys}");
    }
}

#[tokio::test]
async fn where_aws_is_imitated_a_denial_comes_before_the_throttle_of_a_client() {
    let documents = Documents::new();
    let policy = documents.write("p.json", &document(&[deny("execute-api:/*")]));
    let throttle = "throttle = { rate = \"1/h\", burst = 1, by = \"client\" }";
    let gateway = gateway(&format!("policy = {policy:?}\ncompat = \"aws-rest\""), throttle).await;
    let mut client = client(&gateway).await;
    for _ in 0..3 {
        assert_eq!(ask(&mut client, "GET", "/a").await.status, 403);
    }
}

#[tokio::test]
async fn a_changed_policy_counts_for_the_next_request_on_an_open_connection() {
    let documents = Documents::new();
    let policy = documents.write("p.json", &document(&[allow("execute-api:/*")]));
    let text = text(&format!("policy = {policy:?}"), "");
    let mut gateway = TestGateway::start(&text).await;
    let mut client = client(&gateway).await;
    assert_eq!(client.get("/").await.status, 204);
    documents.write("p.json", &document(&[allow("execute-api:/*"), deny("execute-api:/*")]));
    gateway.apply(&text).await.expect("it can be served");
    assert_eq!(client.get("/").await.status, 403);
    documents.write("p.json", &document(&[allow("execute-api:/*")]));
    gateway.apply(&text).await.expect("it can be served");
    assert_eq!(client.get("/").await.status, 204);
}

#[tokio::test]
async fn a_policy_is_asked_after_addresses_and_before_lengths_and_shared_buckets() {
    let documents = Documents::new();
    let policy = documents.write("p.json", &document(&[allow("execute-api:/*/*/in")]));
    let route = "from = [\"192.0.2.0/24\"]\nthrottle = { rate = \"1/d\", burst = 1 }\nmax_body = \"1B\"";
    let gateway = gateway(&format!("policy = {policy:?}"), route).await;
    let mut client = client(&gateway).await;
    let mut ask = async |from: &str, path: &str, length: usize| {
        let body = "x".repeat(length);
        let head =
            format!("POST {path} HTTP/1.1\nhost: a\nx-forwarded-for: {from}\ncontent-length: {length}\n\n{body}");
        client.ask(&head).await.status
    };
    assert_eq!(ask("198.51.100.1", "/out", 9).await, 403);
    refusal(&gateway, "address_not_listed").await;
    assert_eq!(ask("192.0.2.1", "/out", 9).await, 403);
    refusal(&gateway, "policy_denied").await;
    assert_eq!(ask("192.0.2.1", "/in", 9).await, 413);
    assert_eq!(ask("192.0.2.1", "/in", 1).await, 204, "nobody refused took the token");
    assert_eq!(ask("192.0.2.1", "/in", 1).await, 429);
}
