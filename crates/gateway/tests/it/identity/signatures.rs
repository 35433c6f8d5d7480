//! AWS Signature Version 4.

use gatepost_config::model::ProofKind;
use gatepost_testkit::{Books, Response};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::world::{Api, BY_ACME, KEY, Known, Sent, Signing, acme, bob, get, post};

/// What API Gateway says of a signature that is not good.
#[track_caller]
fn assert_says(response: &Response, kind: &str, text: &str) {
    let told = response.text();
    assert_eq!((response.status, response.header("x-amzn-errortype")), (403, Some(kind)), "{told}");
    let body: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    let message = body["message"].as_str().expect("a message");
    assert!(message.starts_with(text), "{message}");
    assert_eq!(response.header("content-type"), Some("application/json"));
}

const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS \
                        Secret Access Key and signing method. Consult the service documentation for details.";

/// Each row of what may be wrong with a signature, with the type and the beginning of the text.
fn rows() -> Vec<(Sent, &'static str, &'static str)> {
    let flip = |text: &str| {
        let (before, last) = text.split_at(text.len() - 1);
        format!("{before}{}", if last == "0" { "1" } else { "0" })
    };
    let signed = |by: Signing| get("/prod/pets").signed(by);
    let added_later = Sent { query: "a=1".to_owned(), ..signed(BY_ACME) };
    let mut without_host = signed(BY_ACME);
    without_host = without_host.changed("authorization", |text| text.replace("host;x-amz-date", "x-amz-date"));
    vec![
        (get("/prod/pets"), "MissingAuthenticationTokenException", "Missing Authentication Token"),
        (signed(BY_ACME).changed("authorization", flip), "InvalidSignatureException", MISMATCH),
        (
            signed(Signing { region: "us-west-2", ..BY_ACME }),
            "InvalidSignatureException",
            "Credential should be scoped to a valid region, not 'us-west-2'.",
        ),
        (
            signed(Signing { service: "lambda", ..BY_ACME }),
            "InvalidSignatureException",
            "Credential should be scoped to correct service: 'execute-api'.",
        ),
        (signed(Signing { ahead: -16, ..BY_ACME }), "InvalidSignatureException", "Signature expired: "),
        (signed(Signing { ahead: 16, ..BY_ACME }), "InvalidSignatureException", "Signature not yet current: "),
        (
            without_host,
            "InvalidSignatureException",
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        ),
        (
            get("/prod/pets").with("authorization", "AWS4-HMAC-SHA256 foo"),
            "IncompleteSignatureException",
            "Invalid key=value pair (missing equal-sign) in Authorization header",
        ),
        (
            get("/prod/pets").with("authorization", "Bearer x"),
            "IncompleteSignatureException",
            "Invalid key=value pair (missing equal-sign) in Authorization header",
        ),
        (
            get("/prod/pets").with("authorization", "AWS4-HMAC-SHA256 Credential=a"),
            "IncompleteSignatureException",
            "Authorization header requires 'Signature' parameter.",
        ),
        (added_later, "InvalidSignatureException", MISMATCH),
        (
            signed(Signing { id: "AKIANOBODYEXAMPLE001", ..BY_ACME }),
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ),
        (
            signed(Signing { token: Some("surprise"), ..BY_ACME }),
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ),
        (
            Sent { path: "/prod/other".to_owned(), ..get("/prod/pets").presigned(BY_ACME) },
            "InvalidSignatureException",
            MISMATCH,
        ),
    ]
}

#[tokio::test]
async fn where_aws_is_imitated_each_flaw_is_told_in_its_words() {
    let world = Api::of(vec![acme(), bob()]).imitation().proof(&[ProofKind::SigV4]).start().await;
    for (request, kind, text) in rows() {
        assert_says(&world.ask(&request).await, kind, text);
    }
    assert_eq!(world.origin.bytes_read(), 0);
}

#[tokio::test]
async fn natively_every_flaw_is_the_same_401() {
    let world = Api::of(vec![acme(), bob()]).proof(&[ProofKind::SigV4]).start().await;
    for (number, (request, kind, text)) in (1..).zip(rows()) {
        let response = world.ask(&request).await;
        assert_eq!((response.status, &*response.text()), (401, r#"{"message":"Unauthorized"}"#), "{text}");
        let line = world.logged(number).await;
        let is_missing =
            kind.starts_with("Missing") || request.fields.iter().any(|(_, value)| value.starts_with("Bearer"));
        let reason = if is_missing { "credentials_missing" } else { "credentials_bad" };
        assert_eq!(line["reason"], reason, "{line}");
        assert_eq!(line["caller"], serde_json::Value::Null, "{line}");
    }
    assert_eq!(world.origin.bytes_read(), 0);
}

#[tokio::test]
async fn a_signature_is_good_for_fifteen_minutes_to_the_second() {
    // 2026-01-15, 12:00.
    const SIGNED: i64 = 1_768_478_400;
    const MINUTES: i64 = 60;
    let books = Books::at(SIGNED);
    let world = Api::of(vec![acme()]).imitation().proof(&[ProofKind::SigV4]).start_with_books(&books).await;
    let request = get("/prod/pets").signed(Signing { at: Some(SIGNED), ..BY_ACME });
    for good in [0, 15 * MINUTES, -15 * MINUTES] {
        books.set(SIGNED + good);
        let response = world.ask(&request).await;
        assert_eq!(response.status, 200, "{good}: {}", response.text());
    }
    for (bad, text) in [
        (15 * MINUTES + 1, "Signature expired: 20260115T120000Z is now earlier than 20260115T120001Z"),
        (16 * MINUTES, "Signature expired: 20260115T120000Z is now earlier than 20260115T120100Z"),
        (-15 * MINUTES - 1, "Signature not yet current: "),
    ] {
        books.set(SIGNED + bad);
        assert_says(&world.ask(&request).await, "InvalidSignatureException", text);
    }
}

#[tokio::test]
async fn what_is_signed_enters_and_its_signature_is_not_passed_on() {
    let session =
        Known { name: "session", access: vec![("ASIASESSIONEXAMPLE01", "hush", Some("TOKEN"))], ..Known::default() };
    for is_imitation in [true, false] {
        let api = Api { is_imitation, ..Api::of(vec![acme(), session.clone()]) };
        let world = api.proof(&[ProofKind::SigV4]).start().await;
        let spaces = get("/prod/pets").with("x-note", "a b");
        for request in [
            get("/prod/pets").signed(BY_ACME),
            Sent { query: "b=2&a=x%20y&a=1&c=".to_owned(), ..get("/prod/pets") }.signed(BY_ACME),
            get("/prod/a%20b/c%2Fd").signed(BY_ACME),
            get("/prod/pets").signed(BY_ACME).with("x-foo", "1"),
            spaces.signed(BY_ACME).changed("x-note", |_| "a    b".to_owned()),
            get("/prod/pets").signed(Signing {
                id: "ASIASESSIONEXAMPLE01",
                secret: "hush",
                token: Some("TOKEN"),
                ..BY_ACME
            }),
            Sent { query: "limit=5".to_owned(), ..get("/prod/pets") }.presigned(BY_ACME),
        ] {
            let response = world.ask(&request).await;
            assert_eq!(response.status, 200, "{request:?}: {}", response.text());
            let received = world.origin.last();
            for gone in ["authorization", "x-amz-security-token"] {
                assert_eq!(received.header(gone), None, "{request:?}");
            }
        }
        let line = world.logged(1).await;
        assert_eq!((&line["caller"], &line["proof"]), (&"acme".into(), &"sigv4".into()), "{line}");
    }
}

#[tokio::test]
async fn a_session_is_nothing_without_its_token() {
    let session =
        Known { name: "session", access: vec![("ASIASESSIONEXAMPLE01", "hush", Some("TOKEN"))], ..Known::default() };
    let world = Api::of(vec![session]).imitation().proof(&[ProofKind::SigV4]).start().await;
    for token in [None, Some("OTHER")] {
        let request =
            get("/prod/pets").signed(Signing { id: "ASIASESSIONEXAMPLE01", secret: "hush", token, ..BY_ACME });
        let response = world.ask(&request).await;
        assert_says(&response, "UnrecognizedClientException", "The security token included in the request is invalid.");
    }
}

#[tokio::test]
async fn a_signature_for_one_path_opens_no_other() {
    let world = Api::of(vec![acme()]).proof(&[ProofKind::SigV4]).start().await;
    let request = get("/prod/a/b").signed(BY_ACME);
    assert_eq!(world.ask(&request).await.status, 200);
    assert_eq!(world.ask(&Sent { path: "/prod/a//b".to_owned(), ..request }).await.status, 401);
    assert_eq!(world.ask(&get("/prod/a/b/").signed(BY_ACME)).await.status, 200);
}

#[tokio::test]
async fn a_forged_signature_from_elsewhere_is_bad_and_no_sign_of_a_theft() {
    // An access key is no secret: whoever has seen a request knows it.
    let at_home = Known { from: Some("192.0.2.0/24"), ..acme() };
    let world = Api::of(vec![at_home]).start().await;
    let forged = get("/prod/a").signed(Signing { secret: "guessed", ..BY_ACME });
    for (number, (from, request, reason)) in (1..).zip([
        ("192.0.2.7", forged.clone(), "credentials_bad"),
        ("198.51.100.7", get("/prod/a").signed(BY_ACME), "caller_elsewhere"),
        ("198.51.100.7", forged, "credentials_bad"),
    ]) {
        assert_eq!(world.ask(&request.from(from)).await.status, 401);
        assert_eq!(world.logged(number).await["reason"], reason, "{from}");
    }
}

#[tokio::test]
async fn a_long_request_is_not_repeated() {
    let world = Api::of(vec![acme()]).imitation().proof(&[ProofKind::SigV4]).start().await;
    let request = get("/prod/a").with("x-long", "y".repeat(20_000)).signed(BY_ACME);
    let response = world.ask(&request.changed("x-long", |_| "z".repeat(20_000))).await;
    assert_says(&response, "InvalidSignatureException", MISMATCH);
    assert!(response.text().len() < 300, "{}", response.text());
}

#[tokio::test]
async fn what_a_signature_should_have_been_of_is_told_to_the_client_and_not_kept() {
    let world = Api::of(vec![acme()]).imitation().proof(&[ProofKind::SigV4]).start().await;
    let request = get("/prod/a").with("x-secret", "hunter2").signed(BY_ACME);
    let signature = request.field("authorization").rsplit('=').next().expect("a signature").to_owned();
    let response = world.ask(&request.changed("x-amz-date", |date| date.replace('Z', "z"))).await;
    assert_eq!(response.header("x-amzn-errortype"), Some("IncompleteSignatureException"), "{}", response.text());
    let request = get("/prod/a").with("x-secret", "hunter2").signed(Signing { secret: "other", ..BY_ACME });
    let response = world.ask(&request).await;
    assert!(response.text().contains("The Canonical String for this request should have been"));
    assert!(response.text().contains("hunter2") && !response.text().contains(&signature));
    let id = response.header("x-gatepost-decision").expect("an id").to_owned();
    let kept = format!("{:?}", world.gateway.decision(&id).await);
    assert!(!kept.contains("hunter2"), "{kept}");
    let line = world.logged(2).await.to_string();
    assert!(
        line.contains("sigv4 of acme: the signature is not that of the request") && !line.contains("hunter2"),
        "{line}"
    );
}

#[tokio::test]
async fn a_valid_signature_is_not_enough_where_a_key_is_asked_for_too() {
    let world = Api::of(vec![acme()]).imitation().proof(&[ProofKind::SigV4, ProofKind::Key]).start().await;
    let response = world.ask(&get("/prod/a").signed(BY_ACME)).await;
    assert_says(&response, "ForbiddenException", "Forbidden");
    let response = world.ask(&get("/prod/a").with("x-api-key", KEY)).await;
    assert_says(&response, "MissingAuthenticationTokenException", "Missing Authentication Token");
    assert_eq!(world.ask(&get("/prod/a").with("x-api-key", KEY).signed(BY_ACME)).await.status, 200);
    assert_eq!(world.logged(3).await["proof"], "sigv4+key");
}

#[tokio::test]
async fn on_an_unknown_route_an_unfinished_signature_is_what_aws_complains_of() {
    let world = Api::of(vec![acme()]).imitation().proof(&[ProofKind::SigV4]).start().await;
    let response = world.ask(&get("/prod").with("authorization", "AWS4-HMAC-SHA256 Credential=a")).await;
    assert_says(&response, "IncompleteSignatureException", "Authorization header requires 'Signature' parameter. ");
    let response = world.ask(&get("/prod").signed(BY_ACME)).await;
    assert_says(&response, "MissingAuthenticationTokenException", "Missing Authentication Token");
}

#[tokio::test]
async fn by_http_2_the_authority_is_what_was_signed_as_the_host() {
    let world = Api::of(vec![acme()]).proof(&[ProofKind::SigV4]).start().await;
    let stream = TcpStream::connect(world.gateway.address()).await.expect("somebody listens");
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, driver) = handshake.expect("somebody speaks HTTP/2");
    tokio::spawn(driver);
    for (authority, body, status) in [("a.test", "", 200), ("b.test", "", 401), ("a.test", "hello", 200)] {
        let signed = post("/prod/a", body.as_bytes()).signed(BY_ACME);
        let uri = format!("http://{authority}/prod/a");
        let mut request = http::Request::builder().method("POST").uri(uri);
        for (name, value) in signed.fields.iter().filter(|(name, _)| name != "host") {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(bytes::Bytes::from(body))).expect("a request");
        let response = sender.send_request(request).await.expect("an answer");
        assert_eq!(response.status(), status, "{authority} {body}");
    }
}

#[tokio::test]
async fn streams_of_signed_chunks_are_refused() {
    let world = Api::of(vec![acme()]).imitation().proof(&[ProofKind::SigV4]).start().await;
    let declared = Signing { is_declared: true, ..BY_ACME };
    let request = post("/prod/a", b"hello").signed(declared);
    for hash in ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "UNSIGNED-PAYLOAD"] {
        let response = world.ask(&request.clone().changed("x-amz-content-sha256", |_| hash.to_owned())).await;
        assert_says(&response, "InvalidSignatureException", MISMATCH);
    }
    assert_eq!(world.origin.bytes_read(), 0);
}

#[tokio::test]
async fn what_signed_a_url_goes_no_further() {
    let origin = gatepost_testkit::Origin::start(gatepost_testkit::Script::ok("hello")).await;
    let directory = tempfile::TempDir::new().expect("a directory");
    let text = Api::of(vec![acme()]).text(&origin, &directory);
    let text = text.replace("respond = {}", "redirect = { to = \"https://b.test/there\" }");
    let gateway = gatepost_testkit::TestGateway::start(&text).await;
    let world = super::world::World { gateway, origin };
    let kept = |path| super::world::Sent { query: "kind=cat&x=%2F".to_owned(), ..get(path) };
    assert_eq!(world.ask(&kept("/prod/a").presigned(BY_ACME)).await.status, 200);
    assert!(world.origin.last().head.starts_with("GET /a?kind=cat&x=%2F HTTP"), "{}", world.origin.last().head);
    let response = world.ask(&kept("/others").presigned(BY_ACME)).await;
    assert_eq!(response.header("location"), Some("https://b.test/there?kind=cat&x=%2F"));
    assert_eq!(world.ask(&get("/prod/a").presigned(BY_ACME)).await.status, 200);
    assert!(world.origin.last().head.starts_with("GET /a HTTP"), "{}", world.origin.last().head);
    let declared = Signing { is_declared: true, ..BY_ACME };
    assert_eq!(world.ask(&get("/prod/a").signed(declared)).await.status, 200);
    let received = world.origin.last();
    for name in ["authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token"] {
        assert_eq!(received.header(name), None, "{name}");
    }
}
