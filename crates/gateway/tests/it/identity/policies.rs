//! Policies about callers: their own, and those of APIs that name them.

use gatepost_config::model::ProofKind;
use gatepost_testkit::Json;
use serde_json::json;

use super::world::{ACCOUNT, Api, BY_ACME, BY_BOB, KEY, Known, OTHER_ACCOUNT, acme, bob, get, post};

fn identity(statements: &[Json]) -> Option<Json> {
    Some(json!({ "Version": "2012-10-17", "Statement": statements }))
}

fn statement(effect: &str, condition: &Json) -> Json {
    let resource = "arn:aws:execute-api:*:*:*";
    json!({ "Effect": effect, "Action": "execute-api:Invoke", "Resource": resource, "Condition": condition })
}

fn resource(effect: &str, condition: &Json) -> Json {
    json!({
        "Effect": effect, "Principal": "*", "Action": "execute-api:Invoke", "Resource": "execute-api:/*",
        "Condition": condition,
    })
}

fn denial(user: &str, suffix: &str) -> String {
    format!(
        "{{\"Message\":\"User: {user} is not authorized to perform: execute-api:Invoke on resource: \
         arn:aws:execute-api:us-east-1:********3333:abc123/prod/GET/pets{suffix}\"}}"
    )
}

const BOB: &str = "arn:aws:iam::111122223333:user/bob";

/// A user whose policy lets it in from one network.
fn local_bob() -> Known {
    let condition = json!({ "IpAddress": { "aws:SourceIp": "198.51.100.0/24" } });
    Known { name: "bob", policy: identity(&[statement("Allow", &condition)]), ..acme() }
}

#[tokio::test]
async fn an_identity_policy_alone_decides_where_the_api_has_none() {
    let world = Api::of(vec![local_bob()]).imitation().proof(&[ProofKind::SigV4]).start().await;
    let request = get("/prod/pets").signed(BY_ACME);
    assert_eq!(world.ask(&request.clone().from("198.51.100.9")).await.status, 200);
    let response = world.ask(&request.from("203.0.113.9")).await;
    assert_eq!((response.status, response.text()), (403, denial(BOB, "")));
    assert_eq!(response.header("x-amzn-errortype"), Some("AccessDeniedException"));
    let line = world.logged(2).await;
    assert!(line["detail"].as_str().expect("a detail").ends_with("/bob.json: no statement allows it"), "{line}");
}

#[tokio::test]
async fn within_an_account_either_policy_may_allow_and_either_may_deny() {
    let everybody = resource("Allow", &json!({}));
    let policy = Some(json!({ "Version": "2012-10-17", "Statement": [everybody] }));
    let api = Api { policy, ..Api::of(vec![local_bob()]) }.imitation().proof(&[ProofKind::SigV4]);
    let world = api.start().await;
    let request = get("/prod/pets").signed(BY_ACME);
    assert_eq!(world.ask(&request.clone().from("203.0.113.9")).await.status, 200);
    let elsewhere = resource("Deny", &json!({ "NotIpAddress": { "aws:SourceIp": "198.51.100.0/24" } }));
    let policy = Some(json!({ "Version": "2012-10-17", "Statement": [everybody, elsewhere] }));
    let world = Api { policy, ..api }.start().await;
    assert_eq!(world.ask(&request.clone().from("198.51.100.9")).await.status, 200);
    let response = world.ask(&request.from("203.0.113.9")).await;
    assert_eq!((response.status, response.text()), (403, denial(BOB, " with an explicit deny")));
}

/// What a policy says.
const SAYS: [&str; 3] = ["allow", "neither", "deny"];

fn says(says: &str, of: impl Fn(&str, &Json) -> Json) -> Json {
    let never = json!({ "IpAddress": { "aws:SourceIp": "192.0.2.1" } });
    match says {
        "allow" => of("Allow", &json!({})),
        "deny" => of("Deny", &json!({})),
        _ => of("Allow", &never),
    }
}

#[tokio::test]
async fn both_tables_of_aws_hold_for_callers_of_the_same_and_of_another_account() {
    for identity_says in SAYS {
        for resource_says in SAYS.into_iter().chain(["none"]) {
            for (account, is_same) in [(ACCOUNT, true), (OTHER_ACCOUNT, false)] {
                let arn: &'static str = format!("arn:aws:iam::{account}:user/bob").leak();
                let policy = identity(&[says(identity_says, statement)]);
                let caller = Known { name: "bob", policy, arn: Some(arn), ..acme() };
                let policy = (resource_says != "none")
                    .then(|| json!({ "Version": "2012-10-17", "Statement": [says(resource_says, resource)] }));
                let api = Api { policy, ..Api::of(vec![caller]) }.imitation().proof(&[ProofKind::SigV4]);
                let world = api.start().await;
                let both = [identity_says, resource_says];
                let is_allowed = if is_same { both.contains(&"allow") } else { both == ["allow", "allow"] };
                let suffix = if both.contains(&"deny") { " with an explicit deny" } else { "" };
                let response = world.ask(&get("/prod/pets").signed(BY_ACME)).await;
                let context = format!("{both:?} {account}: {}", response.text());
                if is_allowed && suffix.is_empty() {
                    assert_eq!(response.status, 200, "{context}");
                    continue;
                }
                assert_eq!((response.status, response.text()), (403, denial(arn, suffix)), "{context}");
                let id = response.header("x-gatepost-decision").expect("an id").to_owned();
                world.gateway.decision(&id).await.explanation.expect("it is explained");
            }
        }
    }
}

#[tokio::test]
async fn natively_every_document_must_allow() {
    for identity_says in SAYS {
        for resource_says in SAYS {
            let caller = Known { policy: identity(&[says(identity_says, statement)]), ..acme() };
            let policy = json!({ "Version": "2012-10-17", "Statement": [says(resource_says, resource)] });
            let world = Api { policy: Some(policy), ..Api::of(vec![caller]) }.start().await;
            for request in [
                get("/prod/pets").with("x-api-key", KEY),
                get("/prod/pets").signed(BY_ACME),
                post("/prod/pets", b"hello").signed(BY_ACME),
            ] {
                let is_allowed = [identity_says, resource_says] == ["allow", "allow"];
                let response = world.ask(&request).await;
                let expected = if is_allowed { 200 } else { 403 };
                assert_eq!(response.status, expected, "{identity_says} {resource_says}");
                if let Some(id) = response.header("x-gatepost-decision") {
                    world.gateway.decision(id).await.explanation.expect("it is explained");
                }
            }
        }
    }
}

#[tokio::test]
async fn where_aws_is_imitated_who_brings_a_key_only_is_anonymous() {
    let named = json!({
        "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::111122223333:user/acme" },
        "Action": "execute-api:Invoke", "Resource": "execute-api:/*",
    });
    let policy = Some(json!({ "Version": "2012-10-17", "Statement": [named] }));
    for (is_imitation, proof, status) in
        [(true, ProofKind::Key, 403), (true, ProofKind::SigV4, 200), (false, ProofKind::Key, 200)]
    {
        let api = Api { policy: policy.clone(), is_imitation, ..Api::of(vec![acme()]) };
        let world = api.proof(&[proof]).start().await;
        let response = world.ask(&get("/prod/pets").with("x-api-key", KEY).signed(BY_ACME)).await;
        assert_eq!(response.status, status, "{is_imitation} {proof:?}: {}", response.text());
        if status == 403 {
            assert_eq!(response.text(), denial("anonymous", ""));
        }
    }
}

#[tokio::test]
async fn a_denial_is_told_before_a_missing_key_and_after_a_missing_signature() {
    let policy = Some(json!({ "Version": "2012-10-17", "Statement": [resource("Deny", &json!({}))] }));
    for (proof, kind) in
        [(ProofKind::Key, "AccessDeniedException"), (ProofKind::SigV4, "MissingAuthenticationTokenException")]
    {
        let api = Api { policy: policy.clone(), ..Api::of(vec![acme()]) }.imitation().proof(&[proof]);
        let response = api.start().await.ask(&get("/prod/pets")).await;
        assert_eq!(response.header("x-amzn-errortype"), Some(kind), "{}", response.text());
    }
}

#[tokio::test]
async fn policies_know_who_a_caller_is() {
    let session = "arn:aws:sts::111122223333:assumed-role/worker/shift-1";
    let federated = "arn:aws:sts::111122223333:federated-user/fred";
    let user = "arn:aws:iam::444455556666:user/staff/jane";
    let root = "arn:aws:iam::444455556666:root";
    for (arn, key, value) in [
        (user, "aws:PrincipalArn", user),
        (user, "aws:PrincipalAccount", "444455556666"),
        (user, "aws:PrincipalType", "User"),
        (user, "aws:username", "jane"),
        (user, "aws:userid", "acme"),
        (session, "aws:PrincipalArn", "arn:aws:iam::111122223333:role/worker"),
        (session, "aws:PrincipalType", "AssumedRole"),
        (session, "aws:userid", "acme:shift-1"),
        (federated, "aws:PrincipalType", "FederatedUser"),
        (federated, "aws:userid", "111122223333:fred"),
        (root, "aws:PrincipalType", "Account"),
        (root, "aws:userid", "444455556666"),
    ] {
        for (operator, value, status) in
            [("StringEquals", value, 200), ("StringEquals", "another", 403), ("Null", "true", 403)]
        {
            let policy = identity(&[statement("Allow", &json!({ operator: { key: value } }))]);
            let world = Api::of(vec![Known { policy, arn: Some(arn), ..acme() }]).start().await;
            let response = world.ask(&get("/prod/pets").with("x-api-key", KEY)).await;
            assert_eq!(response.status, status, "{arn}: {operator} {key} {value}");
        }
    }
    for key in ["aws:username", "aws:TokenIssueTime", "aws:MultiFactorAuthPresent"] {
        let policy = identity(&[statement("Allow", &json!({ "Null": { key: "true" } }))]);
        let world = Api::of(vec![Known { policy, arn: Some(session), ..acme() }]).start().await;
        assert_eq!(world.ask(&get("/prod/pets").with("x-api-key", KEY)).await.status, 200, "{key}");
    }
}

#[tokio::test]
async fn without_any_policy_who_signs_from_another_account_is_denied() {
    let foreign = Known { arn: Some("arn:aws:iam::444455556666:user/acme"), ..acme() };
    let world = Api::of(vec![foreign, bob()]).imitation().proof(&[ProofKind::SigV4]).start().await;
    assert_eq!(world.ask(&get("/prod/a").signed(BY_BOB)).await.status, 200);
    let response = world.ask(&get("/prod/a").signed(BY_ACME)).await;
    assert_eq!((response.status, response.header("x-amzn-errortype")), (403, Some("AccessDeniedException")));
}
