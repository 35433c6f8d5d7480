//! Principals: whom a statement speaks of.

use gatepost_iam::{Decision, Principal};

use crate::support::{Facts, decide, document, resource_policy, statement};

const ROOT: &str = "arn:aws:iam::123456789012:root";
const USER: &str = "arn:aws:iam::123456789012:user/path/name";
const OTHER_USER: &str = "arn:aws:iam::123456789012:user/path/other";
const STRANGER: &str = "arn:aws:iam::999999999999:user/path/name";
const ROLE: &str = "arn:aws:iam::123456789012:role/name";
const SESSION: &str = "arn:aws:sts::123456789012:assumed-role/name/session";
const OTHER_SESSION: &str = "arn:aws:sts::123456789012:assumed-role/name/other";
const OTHER_ROLE: &str = "arn:aws:sts::123456789012:assumed-role/other/session";
const FEDERATED: &str = "arn:aws:sts::123456789012:federated-user/name";
const SERVICE: &str = "apigateway.amazonaws.com";

const EVERYONE: [&str; 11] =
    ["*", ROOT, USER, OTHER_USER, STRANGER, ROLE, SESSION, OTHER_SESSION, OTHER_ROLE, FEDERATED, SERVICE];
const ACCOUNT: [&str; 8] = [ROOT, USER, OTHER_USER, ROLE, SESSION, OTHER_SESSION, OTHER_ROLE, FEDERATED];

fn met_by(elements: &str) -> Vec<&'static str> {
    let policy = resource_policy(&document(&[statement(elements)]));
    let meets = |principal: &&str| {
        let principal = Principal::parse(principal).unwrap();
        decide(&policy, principal, &Facts::default()) != Decision::ImplicitlyDenied
    };
    EVERYONE.into_iter().filter(meets).collect()
}

#[test]
fn whom_a_principal_matches() {
    for (written, met) in [
        (r#""*""#, &EVERYONE[..]),
        (r#"{"AWS": "*"}"#, &EVERYONE),
        (r#"{"AWS": "123456789012"}"#, &ACCOUNT),
        (r#"{"AWS": "arn:aws:iam::123456789012:root"}"#, &ACCOUNT),
        (r#"{"AWS": "arn:aws:iam::123456789012:user/path/name"}"#, &[USER]),
        (r#"{"AWS": "arn:aws:iam::123456789012:user/path/Name"}"#, &[]),
        (r#"{"AWS": "arn:aws:iam::123456789012:role/name"}"#, &[ROLE, SESSION, OTHER_SESSION]),
        (r#"{"AWS": "arn:aws:iam::123456789012:role/some/path/name"}"#, &[SESSION, OTHER_SESSION]),
        (r#"{"AWS": "arn:aws:sts::123456789012:assumed-role/name/session"}"#, &[SESSION]),
        (r#"{"AWS": "arn:aws:sts::123456789012:federated-user/name"}"#, &[FEDERATED]),
        (r#"{"Service": "apigateway.amazonaws.com"}"#, &[SERVICE]),
        (r#"{"Federated": "cognito-identity.amazonaws.com"}"#, &[]),
        (r#"{"CanonicalUser": "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"}"#, &[]),
        (r#"{"AWS": ["arn:aws:iam::123456789012:user/path/name", "999999999999"]}"#, &[USER, STRANGER]),
        (r#"{"AWS": "999999999999", "Service": ["apigateway.amazonaws.com"]}"#, &[STRANGER, SERVICE]),
    ] {
        for effect in ["Allow", "Deny"] {
            let elements = format!(r#""Effect": "{effect}", "Principal": {written}"#);
            assert_eq!(met_by(&elements), met, "{elements}");
        }
    }
}

#[test]
fn a_session_whose_role_is_known_is_matched_by_the_whole_role() {
    let policy = |role: &str| resource_policy(&document(&[statement(&format!(r#""Principal": {{"AWS": "{role}"}}"#))]));
    let role = Some("arn:aws:iam::123456789012:role/path/name");
    let session = Principal::RoleSession { arn: SESSION, role, account: "123456789012" };
    let allows = |role| decide(&policy(role), session, &Facts::default()).is_allowed();
    assert!(allows("arn:aws:iam::123456789012:role/path/name"));
    assert!(!allows("arn:aws:iam::123456789012:role/name"));
}

#[test]
fn whom_a_deny_for_all_but_some_spares() {
    let all_but = |spared: &[&str]| -> Vec<&str> {
        EVERYONE.into_iter().filter(|principal| !spared.contains(principal)).collect()
    };
    for (written, spared) in [
        (r#"{"AWS": "arn:aws:iam::123456789012:user/path/name"}"#, &[][..]),
        (r#"{"AWS": ["arn:aws:iam::123456789012:user/path/name", "123456789012"]}"#, &[ROOT, USER]),
        (r#"{"AWS": "arn:aws:iam::123456789012:root"}"#, &[ROOT]),
        (r#"{"AWS": ["arn:aws:iam::123456789012:role/name", "123456789012"]}"#, &[ROOT, ROLE]),
        (
            r#"{"AWS": ["arn:aws:sts::123456789012:assumed-role/name/session",
                        "arn:aws:iam::123456789012:role/name", "123456789012"]}"#,
            &[ROOT, ROLE, SESSION],
        ),
        (r#"{"Service": "apigateway.amazonaws.com"}"#, &[SERVICE]),
        (r#""*""#, &EVERYONE),
    ] {
        let elements = format!(r#""Effect": "Deny", "NotPrincipal": {written}"#);
        assert_eq!(met_by(&elements), all_but(spared), "{elements}");
    }
}

#[test]
fn whom_an_allow_for_all_but_some_leaves_out() {
    let elements = r#""NotPrincipal": {"AWS": "arn:aws:iam::123456789012:user/path/name"}"#;
    let all_but: Vec<&str> = EVERYONE.into_iter().filter(|principal| *principal != USER).collect();
    assert_eq!(met_by(elements), all_but);
    assert_eq!(met_by(r#""NotPrincipal": {"AWS": "123456789012"}"#), ["*", STRANGER, SERVICE]);
}

#[test]
fn a_policy_that_allows_a_principal_alone_shuts_out_anonymous_callers() {
    for written in ["123456789012", USER, ROLE, SESSION] {
        let met = met_by(&format!(r#""Principal": {{"AWS": "{written}"}}"#));
        assert!(!met.contains(&"*"), "{written}");
    }
}

#[test]
fn what_is_no_principal() {
    for text in [
        "",
        "bob",
        "12345678901",
        "arn:aws:iam::123456789012:group/x",
        "arn:aws:iam::1:user/x",
        "arn:aws:iam::123456789012:user/*",
    ] {
        assert!(Principal::parse(text).is_err(), "{text}");
    }
}
