//! Proofs that only the body completes.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use gatepost_config::model::ProofKind;
use gatepost_testkit::pattern;

use super::world::{Api, BY_ACME, KEY, Known, Sent, Signing, acme, bob, get, post};

/// As GitHub signs a delivery.
fn delivery(secret: &str, body: &[u8]) -> Sent {
    let tag = sign(&Key::new(HMAC_SHA256, secret.as_bytes()), body);
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    post("/prod/hook", body).with("x-hub-signature-256", format!("sha256={hex}"))
}

fn webhook(name: &'static str, secret: &'static str) -> Known {
    Known { name, signed: Some(secret), ..Known::default() }
}

#[tokio::test]
async fn a_signed_body_arrives_and_a_changed_one_does_not_begin_to() {
    for is_imitation in [true, false] {
        let api = Api { is_imitation, ..Api::of(vec![acme()]) };
        let world = api.proof(&[ProofKind::SigV4]).start().await;
        for is_declared in [false, true] {
            for length in [1, 100_000, 2_000_000] {
                let signing = Signing { is_declared, ..BY_ACME };
                let request = post("/prod/a", &pattern(length)).signed(signing);
                assert_eq!(world.ask(&request).await.status, 200, "{length} {is_declared}");
                assert!(world.origin.last().body == pattern(length), "other bytes");
                let read = world.origin.bytes_read();
                for place in [0, length / 2, length - 1] {
                    let mut changed = request.clone();
                    changed.body[place] ^= 1;
                    let status = if is_imitation { 403 } else { 401 };
                    assert_eq!(world.ask(&changed).await.status, status, "{length} {is_declared}");
                }
                assert_eq!(world.origin.bytes_read(), read, "some of it went on");
            }
        }
    }
}

#[tokio::test]
async fn a_body_that_was_not_what_was_signed_is_told_as_aws_does_and_names_nobody() {
    let world = Api::of(vec![acme()]).imitation().proof(&[ProofKind::SigV4]).start().await;
    let mut request = post("/prod/a", b"hello").signed(BY_ACME);
    request.body = b"hallo".to_vec();
    let response = world.ask(&request).await;
    assert_eq!((response.status, response.header("x-amzn-errortype")), (403, Some("InvalidSignatureException")));
    let line = world.logged(1).await;
    assert_eq!((&line["reason"], &line["caller"]), (&"credentials_bad".into(), &serde_json::Value::Null), "{line}");
    assert_eq!(line["detail"], "sigv4 of acme: the signature is not that of the request");
    let id = response.header("x-gatepost-decision").expect("an id").to_owned();
    let explanation = world.gateway.decision(&id).await.explanation.expect("it is explained");
    let last = explanation.steps.last().expect("a step");
    assert_eq!((last.check.name(), last.passed), ("credentials", false), "{last:?}");
}

#[tokio::test]
async fn who_signed_a_body_is_known_by_its_secret() {
    let api = Api::of(vec![webhook("github-a", "secret of a, long"), webhook("github-b", "secret of b, long"), acme()]);
    let world = api.start().await;
    for (number, (secret, name)) in (1..).zip([("secret of a, long", "github-a"), ("secret of b, long", "github-b")]) {
        assert_eq!(world.ask(&delivery(secret, b"{}")).await.status, 200);
        let line = world.logged(number).await;
        assert_eq!((&line["caller"], &line["proof"]), (&name.into(), &"signed".into()), "{line}");
    }
    assert_eq!(world.ask(&delivery("secret of nobody", b"{}")).await.status, 401);
    assert_eq!(world.logged(3).await["reason"], "credentials_bad");
    assert_eq!(world.ask(&post("/prod/hook", b"{}").with("x-hub-signature-256", "sha256=0")).await.status, 401);
    assert_eq!(world.ask(&post("/prod/hook", b"{}")).await.status, 401);
    assert_eq!(world.logged(5).await["reason"], "credentials_missing");
    assert_eq!(world.ask(&get("/prod/hook").with("x-api-key", KEY)).await.status, 200, "another proof will do");
}

#[tokio::test]
async fn the_addresses_and_the_policy_of_who_signed_a_body_count() {
    let nowhere = serde_json::json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Deny", "Action": "execute-api:Invoke", "Resource": "*",
        "Condition": { "StringEquals": { "aws:username": "denied" } }
    }, { "Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*" }] });
    let policy = Some(nowhere);
    let api = Api::of(vec![
        Known { from: Some("192.0.2.0/24"), ..webhook("away", "the first of them") },
        Known { policy: policy.clone(), ..webhook("denied", "the second of them") },
        Known { policy, ..webhook("welcome", "the third of them") },
    ]);
    let world = api.start().await;
    for (number, (secret, status, reason)) in (1..).zip([
        ("the first of them", 401, Some("caller_elsewhere")),
        ("the second of them", 403, Some("policy_denied")),
        ("the third of them", 200, None),
    ]) {
        assert_eq!(world.ask(&delivery(secret, b"{}")).await.status, status);
        assert_eq!(world.logged(number).await["reason"].as_str(), reason);
    }
    assert_eq!(world.ask(&delivery("the first of them", b"{}").from("192.0.2.1")).await.status, 200);
}

#[tokio::test]
async fn who_signs_bodies_may_have_to_bring_a_key_too() {
    let both = Known { signed: Some("secret of acme, long"), ..acme() };
    let api = Api::of(vec![both, webhook("other", "secret of other, long"), bob()]);
    let world = api.proof(&[ProofKind::Signed, ProofKind::Key]).start().await;
    let by_acme = delivery("secret of acme, long", b"{}");
    assert_eq!(world.ask(&by_acme.clone().with("x-api-key", KEY)).await.status, 200);
    assert_eq!(world.logged(1).await["proof"], "key+signed");
    for (number, (request, reason)) in (2..).zip([
        (by_acme.clone(), "credentials_missing"),
        (post("/prod/hook", b"{}").with("x-api-key", KEY), "credentials_missing"),
        (by_acme.with("x-api-key", super::world::OTHER_KEY), "proofs_disagree"),
        (delivery("secret of other, long", b"{}").with("x-api-key", KEY), "credentials_bad"),
    ]) {
        assert_eq!(world.ask(&request).await.status, 401, "{reason}");
        assert_eq!(world.logged(number).await["reason"], reason);
    }
}

#[tokio::test]
async fn where_the_route_says_how_bodies_are_signed_a_callers_own_signature_is_no_proof() {
    let directory = tempfile::TempDir::new().expect("a directory");
    std::fs::write(directory.path().join("secret"), "secret of the route").expect("a file");
    let route = format!("signed = {{ github = \"file:{}/secret\" }}", directory.path().display()).leak();
    let both = Known { signed: Some("secret of acme, long"), ..acme() };
    let world = Api { route, ..Api::of(vec![both]) }.start().await;
    let by_route = delivery("secret of the route", b"{}");
    assert_eq!(world.ask(&by_route.clone().with("x-api-key", KEY)).await.status, 200);
    assert_eq!(world.ask(&by_route).await.status, 401, "nobody is known");
    let by_acme = delivery("secret of acme, long", b"{}");
    assert_eq!(world.ask(&by_acme.clone().with("x-api-key", KEY)).await.status, 401);
    assert_eq!(world.ask(&by_acme).await.status, 401);
    assert_eq!(world.ask(&post("/prod/a", b"hello").signed(BY_ACME)).await.status, 401, "the delivery is not signed");
    assert_eq!(world.origin.count(), 1);
}

#[tokio::test]
async fn where_aws_is_imitated_a_denial_waits_for_the_signature_that_the_body_completes() {
    let deny = serde_json::json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Deny", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "execute-api:/*"
    }] });
    let api = Api { policy: Some(deny), ..Api::of(vec![acme()]) };
    let world = api.imitation().proof(&[ProofKind::SigV4]).start().await;
    let request = post("/prod/a", b"hello").signed(BY_ACME);
    let denied = world.ask(&request).await;
    let text = denied.text();
    assert_eq!(denied.header("x-amzn-errortype"), Some("AccessDeniedException"), "{text}");
    assert!(text.starts_with("{\"Message\":\"User: arn:aws:iam::111122223333:user/acme is not authorized"), "{text}");
    assert!(text.ends_with(" with an explicit deny\"}"), "{text}");
    let mut changed = request;
    changed.body = b"hallo".to_vec();
    let response = world.ask(&changed).await;
    assert_eq!(response.header("x-amzn-errortype"), Some("InvalidSignatureException"), "{}", response.text());
}

#[tokio::test]
async fn nothing_follows_a_body_that_its_caller_signed() {
    let api = Api::of(vec![webhook("shop", "secret of the shop")]).proof(&[ProofKind::Signed]);
    let world = api.start().await;
    let request = delivery("secret of the shop", b"").with("connection", "upgrade").with("upgrade", "websocket");
    assert_eq!(world.ask(&request).await.status, 200);
    assert_eq!(world.origin.last().header("upgrade"), None);
}

#[tokio::test]
async fn a_forged_signature_learns_nothing_of_whom_it_claims_to_be_from() {
    let deny = serde_json::json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Deny", "Action": "execute-api:Invoke", "Resource": "*"
    }] });
    let forged = Signing { secret: "wrong", ..BY_ACME };
    let world = Api::of(vec![Known { policy: Some(deny), ..acme() }]).start().await;
    assert_eq!(world.ask(&post("/prod/a", b"hello").signed(BY_ACME)).await.status, 403);
    assert_eq!(world.ask(&post("/prod/a", b"hello").signed(forged)).await.status, 401);
    assert_eq!(world.logged(2).await["reason"], "credentials_bad");

    let api = Api::of(vec![acme()]);
    let origin = gatepost_testkit::Origin::start(gatepost_testkit::Script::ok("hello")).await;
    let directory = tempfile::TempDir::new().expect("a directory");
    let text = api.text(&origin, &directory).replace("[caller.acme]\n", "[caller.acme]\nplan = \"p\"\n");
    let text = format!("{text}\n[plan.p]\nthrottle = {{ rate = \"1/h\", burst = 1 }}\n");
    let gateway = gatepost_testkit::TestGateway::start(&text).await;
    let world = super::world::World { gateway, origin };
    assert_eq!(world.ask(&get("/prod/a").signed(BY_ACME)).await.status, 200);
    let response = world.ask(&post("/prod/a", b"hello").signed(forged)).await;
    assert_eq!((response.status, response.header("ratelimit")), (401, None));
    assert_eq!(world.ask(&post("/prod/a", b"hello").signed(BY_ACME)).await.status, 429);
}

#[tokio::test]
async fn only_good_proofs_are_from_elsewhere_or_disagree() {
    let away = Known { from: Some("192.0.2.0/24"), signed: Some("secret of acme, long"), ..acme() };
    let api = Api { listed: Some(vec!["acme", "bob"]), ..Api::of(vec![away, bob()]) };
    let world = api.start().await;
    let forged = Signing { secret: "wrong", ..BY_ACME };
    let key_of_bob = |request: Sent| request.with("x-api-key", super::world::OTHER_KEY);
    for (number, (request, reason)) in (1..).zip([
        (get("/prod/a").signed(BY_ACME), "caller_elsewhere"),
        (get("/prod/a").signed(forged), "credentials_bad"),
        (post("/prod/a", b"hello").signed(BY_ACME), "caller_elsewhere"),
        (post("/prod/a", b"hello").signed(forged), "credentials_bad"),
        (key_of_bob(get("/prod/a").signed(BY_ACME)), "proofs_disagree"),
        (key_of_bob(get("/prod/a").signed(forged)), "credentials_bad"),
        (key_of_bob(post("/prod/a", b"hello").signed(BY_ACME)), "proofs_disagree"),
        (key_of_bob(post("/prod/a", b"hello").signed(forged)), "credentials_bad"),
        (delivery("secret of acme, long", b"{}"), "caller_elsewhere"),
        (delivery("secret of nobody", b"{}"), "credentials_bad"),
        (key_of_bob(delivery("secret of acme, long", b"{}")), "proofs_disagree"),
        (key_of_bob(delivery("secret of nobody", b"{}")), "credentials_bad"),
    ]) {
        assert_eq!(world.ask(&request).await.status, 401, "{request:?}");
        assert_eq!(world.logged(number).await["reason"], reason, "{request:?}");
    }
    assert_eq!(world.origin.count(), 0);
}
