//! The simulator: a line of JSON in, a line of JSON out.

use gatepost_iam::simulate::{BadLine, simulate};
use serde_json::{Value, json};

fn answer(line: &Value) -> String {
    match simulate(&line.to_string()) {
        Ok(outcome) => outcome.to_json(),
        Err(error) => error.to_json(),
    }
}

fn everyone(effect: &str) -> Value {
    json!({"Statement": {"Effect": effect, "Principal": "*", "Action": "execute-api:Invoke", "Resource": "execute-api:/*"}})
}

fn identity(effect: &str) -> Value {
    json!({"Statement": {"Sid": "Mine", "Effect": effect, "Action": "execute-api:Invoke", "Resource": "*"}})
}

#[test]
fn a_policy_alone_is_asked_by_an_anonymous_caller() {
    assert_eq!(answer(&json!({"policy": everyone("Allow")})), r#"{"id":null,"decision":"Allowed","statement":0}"#);
    assert_eq!(
        answer(&json!({"id": "a-1", "policy": everyone("Deny").to_string()})),
        r#"{"id":"a-1","decision":"ExplicitlyDenied","statement":0}"#
    );
    assert_eq!(
        answer(&json!({"id": 7, "policy": everyone("Allow"), "action": "execute-api:ManageConnections"})),
        r#"{"id":7,"decision":"ImplicitlyDenied","statement":null}"#
    );
}

#[test]
fn a_statement_is_told_by_its_sid() {
    let mut policy = everyone("Allow");
    policy["Statement"]["Sid"] = json!("All of \"it\"");
    assert_eq!(answer(&json!({"policy": policy})), r#"{"id":null,"decision":"Allowed","statement":"All of \"it\""}"#);
}

#[test]
fn short_forms_stand_for_the_api_of_the_resource() {
    let mut policy = everyone("Allow");
    policy["Statement"]["Resource"] = json!("execute-api:/test/GET/*");
    for (resource, decision) in [
        ("arn:aws:execute-api:eu-west-1:111122223333:other/test/GET/", "Allowed"),
        ("arn:aws:execute-api:eu-west-1:111122223333:other/prod/GET/", "ImplicitlyDenied"),
    ] {
        let outcome = simulate(&json!({"policy": policy, "resource": resource}).to_string()).unwrap();
        assert_eq!(outcome.decision.name(), decision, "{resource}");
    }
}

#[test]
fn an_identity_policy_is_combined_as_the_accounts_say() {
    const SAME: &str = "arn:aws:iam::123456789012:user/bob";
    const OTHER: &str = "arn:aws:iam::999999999999:user/bob";
    let silent = json!({"Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"}});
    for (principal, mine, policy, decision, statement) in [
        (Some(SAME), identity("Allow"), silent.clone(), "Allowed", json!("Mine")),
        (Some(OTHER), identity("Allow"), silent.clone(), "ImplicitlyDenied", json!(null)),
        (Some(OTHER), identity("Allow"), everyone("Allow"), "Allowed", json!(0)),
        (Some(OTHER), identity("Deny"), everyone("Allow"), "ExplicitlyDenied", json!("Mine")),
        (Some(SAME), identity("Allow"), everyone("Deny"), "ExplicitlyDenied", json!(0)),
        // Without a principal it is what an authorizer returned.
        (None, identity("Allow"), silent, "Allowed", json!("Mine")),
    ] {
        let line = json!({"policy": policy, "identity": mine, "principal": principal});
        let wanted = format!(r#"{{"id":null,"decision":"{decision}","statement":{statement}}}"#);
        assert_eq!(answer(&line), wanted, "{line}");
    }
}

#[test]
fn a_policy_alone_decides_also_for_other_accounts() {
    let mut policy = everyone("Allow");
    policy["Statement"]["Principal"] = json!({"AWS": "999999999999"});
    let line = json!({"policy": policy, "principal": "arn:aws:iam::999999999999:user/bob"});
    assert_eq!(simulate(&line.to_string()).unwrap().decision.name(), "Allowed");
}

#[test]
fn what_the_line_does_not_say_is_absent() {
    let with = |condition: Value, ctx: Value| {
        let mut policy = everyone("Allow");
        policy["Version"] = json!("2012-10-17");
        policy["Statement"]["Condition"] = condition;
        let line = json!({"policy": policy, "ctx": ctx, "principal": "arn:aws:iam::123456789012:user/a/bob"});
        simulate(&line.to_string()).unwrap().decision.name()
    };
    let null = |key: &str, value: &str| json!({"Null": {key: value}});
    for key in ["aws:SourceIp", "aws:CurrentTime", "aws:EpochTime", "aws:SecureTransport", "aws:userid"] {
        assert_eq!(with(null(key, "true"), json!({})), "Allowed", "{key}");
    }
    let implied = json!({"StringEquals": {
        "aws:username": "bob", "aws:PrincipalType": "User", "aws:PrincipalAccount": "123456789012",
        "aws:PrincipalArn": "arn:aws:iam::123456789012:user/a/bob",
    }});
    assert_eq!(with(implied, json!({})), "Allowed");
    let eve = json!({"StringEquals": {"aws:username": "eve"}});
    assert_eq!(with(eve, json!({"AWS:UserName": "eve"})), "Allowed", "what is said counts");
    assert_eq!(with(null("aws:username", "true"), json!({"aws:username": null})), "Allowed");
}

#[test]
fn values_have_types() {
    for (condition, ctx) in [
        (json!({"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}), json!({"aws:sourceip": "192.0.2.1"})),
        (json!({"Bool": {"aws:SecureTransport": "true"}}), json!({"aws:SecureTransport": true})),
        (json!({"Bool": {"aws:SecureTransport": true}}), json!({"aws:SecureTransport": "true"})),
        (json!({"NumericLessThan": {"aws:EpochTime": 10}}), json!({"aws:EpochTime": 9.5})),
        (json!({"DateLessThan": {"aws:EpochTime": "2026-01-01"}}), json!({"aws:EpochTime": 9})),
        (
            json!({"DateLessThan": {"aws:CurrentTime": "2026-01-01"}}),
            json!({"aws:CurrentTime": "2025-12-31T23:59:59Z"}),
        ),
        (
            json!({"ForAllValues:StringEquals": {"aws:PrincipalOrgPaths": ["a", "b"]}}),
            json!({"aws:PrincipalOrgPaths": ["b", "a"]}),
        ),
        (
            json!({"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": "a*"}}),
            json!({"aws:PrincipalOrgPaths": ["b", "ab"]}),
        ),
        (json!({"StringEquals": {"aws:PrincipalTag/Team": "x"}}), json!({"aws:principaltag/team": "x"})),
    ] {
        let mut policy = everyone("Allow");
        policy["Statement"]["Condition"] = condition;
        let line = json!({"policy": policy, "ctx": ctx});
        assert_eq!(answer(&line), r#"{"id":null,"decision":"Allowed","statement":0}"#, "{line}");
    }
}

#[test]
fn what_is_no_request() {
    let ok = everyone("Allow");
    for line in [
        "".to_owned(),
        "[]".to_owned(),
        r#"{"id": 1, "id": 2}"#.to_owned(),
        r#"{"id": 1}"#.to_owned(),
        r#"{"id": "x", "policy": 7}"#.to_owned(),
        r#"{"policy": "{"}"#.to_owned(),
        json!({"policy": {"Statement": []}}).to_string(),
        json!({"policy": ok, "identity": ok}).to_string(),
        json!({"policy": ok, "resource": "execute-api:/x"}).to_string(),
        json!({"policy": ok, "principal": "bob"}).to_string(),
        json!({"policy": ok, "action": 1}).to_string(),
        json!({"policy": ok, "ctx": []}).to_string(),
        json!({"policy": ok, "ctx": {"aws:SourceIp": {}}}).to_string(),
        json!({"policy": ok, "ctx": {"aws:SourceIp": "a", "AWS:SourceIp": "b"}}).to_string(),
        json!({"policy": ok, "context": {}}).to_string(),
        json!({"policy": ok, "Principal": "*"}).to_string(),
    ] {
        let error = simulate(&line).expect_err(&line);
        let json: Value = serde_json::from_str(&error.to_json()).unwrap();
        assert!(json["error"].is_string() && json.get("id").is_some(), "{json}");
    }
    let error = simulate(r#"{"id": "x", "policy": 7}"#).unwrap_err();
    assert_eq!(error.to_json(), r#"{"id":"x","error":"`policy` is not text"}"#);
    assert!(matches!(simulate("{}").unwrap_err().reason, BadLine::NoPolicy));
}

#[test]
fn an_id_comes_back_as_it_was_written() {
    let policy = everyone("Allow");
    let deep = "[".repeat(1_000) + &"]".repeat(1_000);
    for id in ["123456789012345678901234567890", "1.10", "1e400", r#""\ud800""#, r#"{"a": [1, null]}"#, &deep] {
        let outcome = simulate(&format!(r#"{{"id": {id}, "policy": {policy}}}"#)).unwrap();
        assert_eq!(outcome.to_json(), format!(r#"{{"id":{id},"decision":"Allowed","statement":0}}"#));
    }
}

#[test]
fn a_line_may_carry_what_its_reader_expects() {
    let line = json!({"policy": everyone("Allow"), "expected": "Allowed", "comment": "a test"});
    assert!(simulate(&line.to_string()).is_ok());
}
