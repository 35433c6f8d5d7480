//! Actions and resources: what is asked for.

use gatepost_iam::{Principal, Request, Resource};

use crate::support::{Facts, arn, ask, document, resource_policy, statement};

#[test]
fn actions_are_compared_without_letter_case() {
    for (element, asked, meets) in [
        (r#""Action": "execute-api:Invoke""#, "execute-api:Invoke", true),
        (r#""Action": "EXECUTE-API:invoke""#, "execute-api:Invoke", true),
        (r#""Action": "execute-api:*""#, "execute-api:InvalidateCache", true),
        (r#""Action": "execute-api:Inv*""#, "execute-api:ManageConnections", false),
        (r#""Action": "execute-api:Invok?""#, "execute-api:Invoke", true),
        (r#""Action": "execute-api:Invok?""#, "execute-api:Invok", false),
        (r#""Action": "*""#, "execute-api:Invoke", true),
        (r#""Action": "s3:*""#, "execute-api:Invoke", false),
        (r#""Action": ["s3:*", "execute-api:Invoke"]"#, "execute-api:Invoke", true),
        (r#""NotAction": "execute-api:InvalidateCache""#, "execute-api:Invoke", true),
        (r#""NotAction": ["s3:*", "execute-api:*"]"#, "execute-api:Invoke", false),
    ] {
        let policy = resource_policy(&document(&[statement(element)]));
        let decision = ask(&policy, asked, &arn("prod/GET/"), Principal::Anonymous, &Facts::default());
        assert_eq!(decision.is_allowed(), meets, "{element} {asked}");
    }
}

#[test]
fn resources_are_compared_part_by_part() {
    let this = |tail: &str| format!("arn:aws:execute-api:us-east-1:123456789012:{tail}");
    for (pattern, path, meets) in [
        ("*".to_owned(), "prod/GET/", true),
        ("arn:aws:execute-api:*:*:*".to_owned(), "prod/GET/", true),
        ("arn:*:execute-api:*:*:api/*".to_owned(), "prod/GET/", true),
        ("arn:aws:execute-api:us-*-?:123456789012:*".to_owned(), "prod/GET/a/b", true),
        ("arn:aws:execute-api:*:api/*".to_owned() + ":x:y", "prod/GET/", false),
        ("arn:aws:execute-api:eu-west-1:123456789012:*".to_owned(), "prod/GET/", false),
        ("arn:aws:s3:us-east-1:123456789012:*".to_owned(), "prod/GET/", false),
        (this("api/*"), "prod/GET/pets/42", true),
        (this("api/prod/*"), "prod/GET/pets/42", true),
        (this("api/prod/*"), "test/GET/pets/42", false),
        (this("api/*/GET/*"), "prod/GET/pets/42", true),
        (this("api/*/GET/*"), "prod/POST/pets/42", false),
        (this("api/*/GET"), "prod/GET/", false),
        (this("api/*/GET"), "prod/GET/pets", false),
        (this("api/*/GET"), "prod/POST/pets/GET", true),
        (this("api/"), "prod/GET/", false),
        (this("api/prod/GET/pets"), "prod/GET/pets", true),
        (this("api/prod/GET/pets"), "prod/GET/pets/", false),
        (this("api/prod/GET/pets/"), "prod/GET/pets", false),
        (this("api/prod/GET/Pets"), "prod/GET/pets", false),
        (this("api/prod/GET/pets/?"), "prod/GET/pets/4", true),
        (this("api/prod/GET/pets/?"), "prod/GET/pets/42", false),
        (this("api/prod/GET/a:*"), "prod/GET/a:b:c", true),
        (this("api/prod/ANY/*"), "prod/GET/pets", false),
        (this("*/prod/GET/a%2Fb"), "prod/GET/a%2Fb", true),
        (this("*/prod/GET/a%2Fb"), "prod/GET/a/b", false),
    ] {
        for (element, meets) in [("Resource", meets), ("NotResource", !meets)] {
            let policy = resource_policy(&document(&[statement(&format!(r#""{element}": "{pattern}""#))]));
            let decision = ask(&policy, "execute-api:Invoke", &arn(path), Principal::Anonymous, &Facts::default());
            assert_eq!(decision.is_allowed(), meets, "{element} {pattern} {path}");
        }
    }
}

#[test]
fn short_forms_stand_for_the_api() {
    let another = |path: &str| format!("arn:aws:execute-api:us-east-1:123456789012:other/{path}");
    for (short, long, met, missed) in [
        ("execute-api:/*", "arn:aws:execute-api:us-east-1:123456789012:api/*", "x/GET/", None),
        (
            "execute-api:/stage/GET/pets",
            "arn:aws:execute-api:us-east-1:123456789012:api/stage/GET/pets",
            "stage/GET/pets",
            Some("stage/GET/pets/1"),
        ),
        (
            "execute-api:/*/*/forward",
            "arn:aws:execute-api:us-east-1:123456789012:api/*/*/forward",
            "prod/POST/forward",
            Some("prod/POST/forward/1"),
        ),
    ] {
        for written in [short, long] {
            let policy = resource_policy(&document(&[statement(&format!(r#""Resource": "{written}""#))]));
            let allows = |resource: &str| {
                ask(&policy, "execute-api:Invoke", resource, Principal::Anonymous, &Facts::default()).is_allowed()
            };
            assert!(allows(&arn(met)), "{written} {met}");
            assert!(missed.is_none_or(|missed| !allows(&arn(missed))), "{written} {missed:?}");
            assert!(!allows(&another(met)), "{written} of another API");
        }
    }
}

#[test]
fn the_tail_of_a_resource_may_come_in_pieces() {
    let policy = resource_policy(&document(&[statement(r#""Resource": "execute-api:/prod/GET/p?ts/*/toys""#)]));
    let allows = |tail: &[&str]| {
        let resource =
            Resource { partition: "aws", service: "execute-api", region: "us-east-1", account: "123456789012", tail };
        let (action, principal) = ("execute-api:Invoke", Principal::Anonymous);
        policy.decide(&Request { action, resource, principal, context: &Facts::default() }).is_allowed()
    };
    assert!(allows(&["api/prod/GET/pets/1/toys"]));
    assert!(allows(&["api", "/", "prod", "/", "GET", "/pets/1/", "", "toys"]));
    assert!(!allows(&["api", "/prod", "/GET", "/pets"]));
    assert!(!allows(&[]));
}
