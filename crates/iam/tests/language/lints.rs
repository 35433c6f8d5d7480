//! What is allowed, and hardly meant.

use std::fmt::Write;

use gatepost_iam::{Policy, Standing};

use crate::support::{document, resource_policy, statement};

fn told(policy: &Policy, text: &str, standing: Standing) -> String {
    let mut told = String::new();
    for lint in policy.lints(standing) {
        let meant: String = text[lint.at.clone()].chars().take(70).collect();
        let _ = writeln!(told, "{meant}\n    {lint}\n    {}", lint.help());
    }
    told
}

fn of(elements: &str) -> String {
    let text = document(&[statement(elements)]);
    told(&resource_policy(&text), &text, Standing::Alone)
}

#[test]
fn what_hardly_anybody_means() {
    let said: Vec<String> = [
        r#""Effect": "Deny", "Principal": {"Federated": "x"}"#,
        r#""Effect": "Deny", "NotPrincipal": "*""#,
        r#""Effect": "Deny", "Action": "s3:GetObject""#,
        r#""Action": ["execute-api:Invok", "execute-api:Invoke"]"#,
        r#""Effect": "Deny", "Resource": "arn:aws:execute-api:us-east-1:123456789012:other/*""#,
        r#""Resource": ["arn:aws:execute-api:eu-west-1:*:*", "execute-api:/*"]"#,
        r#""Resource": ["execute-api:/prod/ANY/*", "execute-api:/*/GET", "execute-api:/prod", "*"]"#,
        r#""Effect": "Deny", "Resource": "arn:aws:execute-api:us-east-1:123456789012:api/""#,
        r#""Effect": "Deny", "Condition": {"StringEquals": {"aws:Refferer": "x"}}"#,
        r#""Effect": "Deny", "Condition": {"StringEquals": {"aws:Referer": "x"}, "Null": {"aws:Referer": "true"}}"#,
        r#""Effect": "Deny", "Condition": {"Null": {"aws:CurrentTime": true}}"#,
        r#""Effect": "Deny", "Condition": {"ArnLike": {"aws:PrincipalArn": "*"}}"#,
        r#""Condition": {"ArnLike": {"aws:PrincipalArn": ["arn:aws:iam*", "arn:aws:iam::*:role/*"]}}"#,
        r#""NotAction": "execute-api:InvalidateCache", "NotResource": "execute-api:/*/DELETE/*""#,
        r#""Condition": {"StringNotEquals": {"aws:username": ["bob", "eve"]}}"#,
        r#""Condition": {"ForAllValues:StringEquals": {"aws:PrincipalOrgPaths": "o-1/"}}"#,
        r#""Effect": "Deny", "NotPrincipal": {"AWS": "arn:aws:iam::123456789012:user/bob"}"#,
    ]
    .into_iter()
    .map(of)
    .collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn what_no_request_looks_like() {
    let said: Vec<String> = [
        r#""Effect": "Deny", "Resource": "execute-api:/prod/GET/caf%c3%a9""#,
        r#""Effect": "Deny", "Resource": ["execute-api:/*/é", "execute-api:/prod/*/%7euser", "execute-api:/*é", "execute-api:/a b", "*"]"#,
        r#""Effect": "Deny", "Resource": "execute-api:/*/*/a b""#,
        r#""Effect": "Deny", "Resource": "execute-api:/prod/get/lower""#,
        r#""Resource": ["execute-api:/*/get/lower", "execute-api:/prod/post*", "*"]"#,
        r#""Effect": "Deny", "Resource": "execute-api:/prod/GET/${aws:username}""#,
        r#""NotResource": ["execute-api:/prod/GET/x", "execute-api:/prod/GET/${aws:username}"]"#,
        r#""Effect": "Deny", "Condition": {"StringEquals": {"aws:UserAgent": "${aws:userid}"}}"#,
        r#""Effect": "Deny", "Condition": {"StringEquals": {"aws:UserAgent": ["curl", "${aws:PrincipalTag/agent}"]}}"#,
        r#""Effect": "Deny", "Condition": {"StringNotLike": {"aws:UserAgent": "${aws:userid}*"}}"#,
        r#""Effect": "Deny", "Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:iam::*:user/${aws:username}"}}"#,
    ]
    .into_iter()
    .map(of)
    .collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn variables_of_callers_are_meant_where_callers_have_names() {
    for elements in [
        r#""Resource": "execute-api:/prod/GET/${aws:username}""#,
        r#""Effect": "Deny", "Condition": {"StringNotLike": {"aws:UserAgent": "${aws:userid}*"}}"#,
    ] {
        let text = document(&[statement(elements)]);
        assert_eq!(told(&resource_policy(&text), &text, Standing::BesideIdentities), "", "{elements}");
    }
}

#[test]
fn what_is_meant() {
    for elements in [
        r#""Resource": "execute-api:/*/*/forward""#,
        r#""Resource": "execute-api:/*""#,
        r#""Resource": "arn:aws:execute-api:*:*:*""#,
        r#""Resource": "arn:aws:execute-api:us-east-1:123456789012:a?i/prod/GET/pets""#,
        r#""Resource": "execute-api:/prod/GET/${aws:username, 'nobody'}/${aws:SourceIp}""#,
        r#""Resource": "execute-api:/prod/GET/caf%C3%A9/~user/a%20b/%*/x?%C?""#,
        r#""Resource": ["execute-api:/*/*/lower", "execute-api:/*lower/case/*", "execute-api:/prod/*get/x", "execute-api:/*/files/*", "execute-api:/*/healthz"]"#,
        r#""Resource": "arn:aws:execute-api:*:*:*/""#,
        r#""Action": "*""#,
        r#""Effect": "Deny", "Condition": {"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}"#,
        r#""Condition": {"StringNotEquals": {"aws:username": "bob"}, "Null": {"aws:username": "false"}}"#,
        r#""Condition": {"ForAllValues:StringEquals": {"aws:PrincipalOrgPaths": "o/"}, "Null": {"aws:PrincipalOrgPaths": false}}"#,
        r#""Effect": "Deny", "NotPrincipal": {"AWS": ["arn:aws:iam::123456789012:user/bob", "123456789012"]}"#,
        r#""Effect": "Deny", "Condition": {"StringEqualsIfExists": {"aws:Referer": "x"}, "Null": {"aws:Referer": "true"}}"#,
    ] {
        assert_eq!(of(elements), "", "{elements}");
    }
}

#[test]
fn an_allow_by_address_restricts_nobody_whom_an_identity_allows() {
    let from = |effect: &str, operator: &str| {
        statement(&format!(
            r#""Effect": "{effect}", "Condition": {{"{operator}": {{"aws:SourceIp": "192.0.2.0/24"}}}}"#
        ))
    };
    let allow = document(&[from("Allow", "IpAddress")]);
    let policy = resource_policy(&allow);
    assert_eq!(told(&policy, &allow, Standing::Alone), "");
    assert_eq!(told(&policy, &allow, Standing::BesideCallers), "", "by Gatepost's own rule every document must allow");
    insta::assert_snapshot!(told(&policy, &allow, Standing::BesideIdentities));
    let both = document(&[from("Allow", "IpAddress"), from("Deny", "NotIpAddress")]);
    assert_eq!(told(&resource_policy(&both), &both, Standing::BesideIdentities), "");
}

#[test]
fn policies_longer_than_aws_takes() {
    let long = format!("{}{}", document(&[statement("")]), " ".repeat(8_192));
    insta::assert_snapshot!(told(&resource_policy(&long), &long, Standing::Alone));
    let text = r#"{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}"#;
    let long = format!("{text}{}", " ".repeat(6_144));
    assert_eq!(Policy::identity(text).unwrap().lints(Standing::Alone), []);
    assert_eq!(Policy::identity(&long).unwrap().lints(Standing::Alone).len(), 1);
}
