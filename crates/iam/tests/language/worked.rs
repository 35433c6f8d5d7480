//! Worked examples: a statement, a request, and whether they meet.

use gatepost_iam::{Principal, Value};

use crate::support::{Facts, arn, ask, document, fact, ip, matches, resource_policy, statement, text};

const LIST: &str = r#"{"NotIpAddress": {"aws:SourceIp": ["192.0.2.0/24", "198.51.100.0/24"]}}"#;
const FROM: &str = r#"{"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}"#;
const NOT_VPCE: &str = r#"{"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}"#;
const NOT_VPCE_IF: &str = r#"{"StringNotEqualsIfExists": {"aws:SourceVpce": "vpce-1"}}"#;
const TLS: &str = r#"{"Bool": {"aws:SecureTransport": "true"}}"#;
const NO_MFA: &str = r#"{"Bool": {"aws:MultiFactorAuthPresent": "false"}}"#;
const NO_MFA_IF: &str = r#"{"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}}"#;
const NOT_THEM: &str = r#"{"StringNotEquals": {"aws:username": ["bob", "eve"]}}"#;
const NO_REFERER: &str = r#"{"Null": {"aws:Referer": "true"}}"#;
const OF_PATHS: &str = r#"{"ForAllValues:StringEquals": {"aws:PrincipalOrgPaths": ["o-1/r-1/"]}}"#;
const OF_PATHS_THERE: &str = r#"{"ForAllValues:StringEquals": {"aws:PrincipalOrgPaths": ["o-1/r-1/"]},
                                 "Null": {"aws:PrincipalOrgPaths": "false"}}"#;
const ONE_ADDRESS: &str = r#"{"IpAddress": {"aws:SourceIp": "203.0.113.5"}}"#;
const HOST_BITS: &str = r#"{"IpAddress": {"aws:SourceIp": "123.4.5.6/24"}}"#;
const APP_ROLES: &str = r#"{"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/app-*"}}"#;
const NOT_SIX_PARTS: &str = r#"{"ArnLike": {"aws:PrincipalArn": "arn:aws:iam*"}}"#;

#[test]
fn conditions() {
    let from = |address| fact("aws:SourceIp", &[ip(address)]);
    let app_role = || fact("aws:PrincipalArn", &[text("arn:aws:iam::999999999999:role/app-x")]);
    for (effect, condition, request, meets) in [
        ("Deny", LIST, from("198.51.100.7"), false),
        ("Deny", LIST, from("203.0.113.9"), true),
        ("Deny", LIST, fact("aws:VpcSourceIp", &[ip("10.0.0.1")]), true),
        ("Allow", FROM, fact("aws:VpcSourceIp", &[ip("192.0.2.1")]), false),
        ("Deny", NOT_VPCE, Facts::default(), true),
        ("Deny", NOT_VPCE_IF, Facts::default(), true),
        ("Allow", TLS, fact("aws:SecureTransport", &[Value::Bool(false)]), false),
        ("Deny", NO_MFA, Facts::default(), false),
        ("Deny", NO_MFA_IF, Facts::default(), true),
        ("Allow", NOT_THEM, fact("aws:username", &[text("bob")]), false),
        ("Allow", NOT_THEM, Facts::default(), true),
        ("Allow", NO_REFERER, Facts::default(), true),
        ("Allow", OF_PATHS, Facts::default(), true),
        ("Allow", OF_PATHS_THERE, Facts::default(), false),
        ("Allow", ONE_ADDRESS, from("203.0.113.5"), true),
        ("Allow", HOST_BITS, from("123.4.5.99"), true),
        ("Allow", APP_ROLES, app_role(), true),
        ("Allow", NOT_SIX_PARTS, app_role(), false),
    ] {
        let elements = format!(r#""Effect": "{effect}", "Condition": {condition}"#);
        assert_eq!(matches(&elements, &request), meets, "{effect} {condition} {request:?}");
    }
}

#[test]
fn resources_and_actions() {
    const PETS: &str = r#""Resource": "arn:aws:execute-api:us-east-1:123456789012:api/prod/GET/pets/*""#;
    const ALL_GETS: &str = r#""Resource": "arn:aws:execute-api:us-east-1:123456789012:api/*/GET/*""#;
    for (elements, path, meets) in [
        (PETS, "prod/GET/pets", false),
        (PETS, "prod/GET/pets/1/toys", true),
        (ALL_GETS, "prod/GET/", true),
        (r#""Action": "execute-api:invoke""#, "prod/GET/", true),
    ] {
        let policy = resource_policy(&document(&[statement(elements)]));
        let decision = ask(&policy, "execute-api:Invoke", &arn(path), Principal::Anonymous, &Facts::default());
        assert_eq!(decision.is_allowed(), meets, "{elements} {path}");
    }
}

/// The forwarder of GitHub's hooks: only its path, and only from GitHub.
#[test]
fn a_forwarder_of_hooks() {
    let ranges = r#"["192.30.252.0/22", "185.199.108.0/22", "140.82.112.0/20"]"#;
    let resource = r#""Resource": "execute-api:/*/*/forward""#;
    let deny =
        format!(r#""Effect": "Deny", {resource}, "Condition": {{"NotIpAddress": {{"aws:SourceIp": {ranges}}}}}"#);
    let allow = format!(r#"{resource}, "Condition": {{"IpAddress": {{"aws:SourceIp": {ranges}}}}}"#);
    let policy = resource_policy(&document(&[statement(&deny), statement(&allow)]));
    for (from, path, decision) in [
        ("192.30.252.1", "prod/POST/forward", "Allowed { statement: 1 }"),
        ("185.199.108.1", "prod/POST/forward", "Allowed { statement: 1 }"),
        ("140.82.112.1", "prod/POST/forward", "Allowed { statement: 1 }"),
        ("203.0.113.1", "prod/POST/forward", "ExplicitlyDenied { statement: 0 }"),
        ("140.82.112.1", "prod/POST/other", "ImplicitlyDenied"),
    ] {
        let facts = fact("aws:SourceIp", &[ip(from)]);
        let decided = ask(&policy, "execute-api:Invoke", &arn(path), Principal::Anonymous, &facts);
        assert_eq!(format!("{decided:?}"), decision, "{path} from {from}");
    }
}
