//! Several proofs: all that are given must be good, and stand for one caller.

use gatepost_config::model::ProofKind;

use super::world::{Api, BY_ACME, BY_BOB, KEY, OTHER_KEY, Sent, Signing, acme, bob, get};

fn requests() -> Vec<(&'static str, &'static str, Sent)> {
    let keys = [("none", None), ("acme", Some(KEY)), ("bob", Some(OTHER_KEY)), ("bad", Some("gp_nobody"))];
    let signings = [
        ("none", None),
        ("acme", Some(BY_ACME)),
        ("bob", Some(BY_BOB)),
        ("bad", Some(Signing { secret: "wrong", ..BY_ACME })),
    ];
    let mut requests = Vec::new();
    for (key_of, key) in keys {
        for (signed_by, signing) in signings {
            let request = key.into_iter().fold(get("/prod/a"), |request, key| request.with("x-api-key", key));
            let request = signing.into_iter().fold(request, Sent::signed);
            requests.push((key_of, signed_by, request));
        }
    }
    requests
}

/// What is to become of it, where everyone is let in.
fn expected(key_of: &str, signed_by: &str, are_both_asked: bool) -> Result<String, &'static str> {
    match (key_of, signed_by) {
        ("none", "none") => Err("credentials_missing"),
        ("none", _) | (_, "none") if are_both_asked => Err("credentials_missing"),
        ("bad", _) | (_, "bad") => Err("credentials_bad"),
        ("none", one) | (one, "none") => Ok(one.to_owned()),
        (one, other) if one == other => Ok(one.to_owned()),
        _ => Err("proofs_disagree"),
    }
}

#[tokio::test]
async fn every_combination_of_a_key_and_a_signature_enters_only_as_one() {
    for proof in [&[][..], &[ProofKind::Key, ProofKind::SigV4]] {
        let world = Api::of(vec![acme(), bob()]).proof(proof).start().await;
        for (number, (key_of, signed_by, request)) in (1..).zip(requests()) {
            let status = world.ask(&request).await.status;
            let line = world.logged(number).await;
            let context = format!("key of {key_of}, signed by {signed_by}, asked for {proof:?}: {line}");
            match expected(key_of, signed_by, !proof.is_empty()) {
                Ok(name) => assert_eq!((status, &line["caller"]), (200, &name.into()), "{context}"),
                Err(reason) => {
                    assert_eq!((status, &line["reason"]), (401, &reason.into()), "{context}");
                    assert_eq!(line["caller"], serde_json::Value::Null, "{context}");
                }
            }
        }
    }
}

#[tokio::test]
async fn where_aws_is_imitated_what_is_not_asked_for_is_not_looked_at() {
    let world = Api::of(vec![acme(), bob()]).imitation().proof(&[ProofKind::SigV4]).start().await;
    assert_eq!(world.ask(&get("/prod/a").with("x-api-key", "gp_nobody").signed(BY_ACME)).await.status, 200);
    assert_eq!(world.origin.last().header("x-api-key"), Some("gp_nobody"));
    let world = Api::of(vec![acme(), bob()]).imitation().proof(&[ProofKind::Key]).start().await;
    let request = get("/prod/a").with("x-api-key", KEY).signed(Signing { secret: "wrong", ..BY_ACME });
    assert_eq!(world.ask(&request).await.status, 200);
}

#[tokio::test]
async fn where_aws_is_imitated_and_any_proof_will_do_none_is_a_missing_token() {
    let world = Api::of(vec![acme()]).imitation().start().await;
    let response = world.ask(&get("/prod/a")).await;
    assert_eq!((response.status, &*response.text()), (403, r#"{"message":"Missing Authentication Token"}"#));
    assert_eq!(world.ask(&get("/prod/a").with("x-api-key", KEY)).await.status, 200);
    assert_eq!(world.ask(&get("/prod/a").signed(BY_ACME)).await.status, 200);
}
