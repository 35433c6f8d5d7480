//! Variables, and what they say of each kind of principal.

use gatepost_iam::simulate::simulate;
use gatepost_iam::{Principal, Value};
use serde_json::json;

use crate::support::{Facts, arn, ask, document, fact, matches, resource_policy, statement, text};

#[test]
fn variables_stand_for_values_of_the_request() {
    // Operator, value, the request's user name, the request's referer, whether it holds.
    for (operator, value, name, referer, holds) in [
        ("StringEquals", "${aws:username}", Some("bob"), "bob", true),
        ("StringEquals", "${AWS:USERNAME}", Some("bob"), "bob", true),
        ("StringEquals", "${aws:username}", Some("bob"), "eve", false),
        ("StringLike", "https://${aws:username}.*", Some("bob"), "https://bob.example.com", true),
        ("StringLike", "${aws:username}", Some("*"), "eve", false),
        ("StringLike", "${aws:username}", Some("*"), "*", true),
        ("StringEquals", "${aws:username}", None, "", false),
        ("StringNotEquals", "${aws:username}", None, "bob", true),
        ("StringNotEquals", "${aws:username}", Some("bob"), "bob", false),
        ("StringEquals", "${aws:username, 'nobody'}", None, "nobody", true),
        ("StringEquals", "${aws:username, 'nobody'}", Some("bob"), "bob", true),
        ("StringEquals", "${*}${?}${$}", None, "*?$", true),
        ("StringLike", "${*}", None, "a", false),
        ("StringEqualsIgnoreCase", "${aws:username}", Some("bob"), "BOB", true),
        ("ArnLike", "arn:aws:iam::*:user/${aws:username}", Some("bob"), "arn:aws:iam::1:user/bob", true),
        ("ArnEquals", "arn:aws:iam::${aws:username}:user/x", Some("1"), "arn:aws:iam::1:user/x", true),
        ("ArnLike", "arn:aws:iam::*:user/${aws:username}", Some("a:b"), "arn:aws:iam::1:user/a:b", true),
        ("Bool", "${aws:username}", Some("TRUE"), "true", true),
        ("Bool", "${aws:username}", Some("bob"), "bob", false),
    ] {
        let mut facts = fact("aws:Referer", &[text(referer)]);
        facts.0.extend(fact("aws:username", &name.map(text).into_iter().collect::<Vec<_>>()).0);
        let condition = format!(r#""Condition": {{"{operator}": {{"aws:Referer": "{value}"}}}}"#);
        assert_eq!(matches(&condition, &facts), holds, "{operator} {value} by {name:?} from {referer}");
    }
}

#[test]
fn only_keys_with_one_value_can_be_variables() {
    let condition = r#""Condition": {"StringEquals": {"aws:Referer": "${aws:PrincipalOrgPaths}"}}"#;
    let mut facts = fact("aws:Referer", &[text("o-1")]);
    facts.0.extend(fact("aws:PrincipalOrgPaths", &[text("o-1"), text("o-2")]).0);
    assert!(!matches(condition, &facts));
}

#[test]
fn a_value_of_another_type_is_inserted_as_text() {
    let condition = r#""Condition": {"StringEquals": {"aws:Referer": "at ${aws:EpochTime}"}}"#;
    let mut facts = fact("aws:Referer", &[text("at 7")]);
    facts.0.extend(fact("aws:EpochTime", &[Value::Number(7)]).0);
    assert!(matches(condition, &facts));
}

#[test]
fn variables_stand_in_resources_behind_the_fifth_colon() {
    // Version, user name, path, whether it matches.
    for (version, name, path, holds) in [
        ("2012-10-17", Some("bob"), "prod/GET/home/bob/x", true),
        ("2012-10-17", Some("bob"), "prod/GET/home/eve/x", false),
        ("2012-10-17", Some("*"), "prod/GET/home/eve/x", false),
        ("2012-10-17", None, "prod/GET/home//x", false),
        ("2012-10-17", None, "prod/GET/home/${aws:username}/x", false),
        ("2008-10-17", Some("bob"), "prod/GET/home/bob/x", false),
        ("2008-10-17", Some("bob"), "prod/GET/home/${aws:username}/x", true),
    ] {
        let text = statement(r#""Resource": "execute-api:/prod/GET/home/${aws:username}/*""#);
        let policy = resource_policy(&document(&[text]).replace("2012-10-17", version));
        let facts = fact("aws:username", &name.map(text_of).into_iter().collect::<Vec<_>>());
        let decision = ask(&policy, "execute-api:Invoke", &arn(path), Principal::Anonymous, &facts);
        assert_eq!(decision.is_allowed(), holds, "{version}, {path} by {name:?}");
    }
}

fn text_of(name: &'static str) -> Value<'static> {
    text(name)
}

#[test]
fn without_a_version_a_variable_is_text() {
    let text = format!(r#"{{"Statement": {}}}"#, statement(r#""Resource": "execute-api:/prod/GET/${aws:username}""#));
    let policy = resource_policy(&text);
    let allows = |path| {
        let facts = fact("aws:username", &[text_of("bob")]);
        ask(&policy, "execute-api:Invoke", &arn(path), Principal::Anonymous, &facts).is_allowed()
    };
    assert!(!allows("prod/GET/bob"));
    assert!(allows("prod/GET/${aws:username}"));
    assert!(
        !ask(&policy, "execute-api:Invoke", &arn("prod/GET/"), Principal::Anonymous, &Facts::default()).is_allowed()
    );
}

#[test]
fn each_kind_of_principal_has_its_names() {
    const ACCOUNT: &str = "123456789012";
    // Principal, what the gateway knows of it besides, aws:username, aws:userid, aws:PrincipalType.
    for (principal, ctx, name, id, kind) in [
        (ACCOUNT, json!({}), None, Some(ACCOUNT), "Account"),
        (
            "arn:aws:iam::123456789012:user/path/bob",
            json!({"aws:userid": "AIDAEXAMPLE"}),
            Some("bob"),
            Some("AIDAEXAMPLE"),
            "User",
        ),
        ("arn:aws:sts::123456789012:federated-user/bob", json!({}), None, Some("123456789012:bob"), "FederatedUser"),
        (
            "arn:aws:sts::123456789012:assumed-role/app/session",
            json!({"aws:userid": "AROAEXAMPLE:session"}),
            None,
            Some("AROAEXAMPLE:session"),
            "AssumedRole",
        ),
        ("*", json!({}), None, None, "Anonymous"),
    ] {
        for (key, value) in [("aws:username", name), ("aws:userid", id), ("aws:PrincipalType", Some(kind))] {
            let condition = match value {
                Some(value) => json!({"StringEquals": {key: value}}),
                None => json!({"Null": {key: "true"}}),
            };
            let policy = json!({"Version": "2012-10-17", "Statement": {
                "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*", "Condition": condition,
            }});
            let line = json!({"policy": policy, "principal": principal, "ctx": ctx}).to_string();
            let outcome = simulate(&line).unwrap();
            assert_eq!(outcome.decision.name(), "Allowed", "{principal}: {key} is {value:?}");
        }
    }
}

#[test]
fn what_cannot_be_left_out_by_name_is_not_allowed_and_is_denied() {
    let request = |principal: &str, effect: &str, version: &str| {
        let statement = json!({
            "Effect": effect, "Principal": "*", "Action": "*",
            "NotResource": "arn:aws:execute-api:*:*:*/GET/${aws:username}",
        });
        let everything = json!({ "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*" });
        let statements = if effect == "Deny" { json!([statement, everything]) } else { json!([statement]) };
        let line = json!({ "policy": { "Version": version, "Statement": statements }, "principal": principal });
        simulate(&line.to_string()).unwrap().to_json()
    };
    // Principal, effect, version, decision.
    for (principal, effect, version, decision) in [
        ("*", "Allow", "2012-10-17", "ImplicitlyDenied"),
        ("*", "Deny", "2012-10-17", "ExplicitlyDenied"),
        ("*", "Allow", "2008-10-17", "Allowed"),
        ("arn:aws:iam::123456789012:user/bob", "Allow", "2012-10-17", "Allowed"),
        ("arn:aws:iam::123456789012:user/pets", "Allow", "2012-10-17", "ImplicitlyDenied"),
    ] {
        let outcome = request(principal, effect, version);
        assert!(outcome.contains(&format!("\"{decision}\"")), "{principal} {effect} {version}: {outcome}");
    }
}
