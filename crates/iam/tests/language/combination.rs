//! What several documents come to together.

use gatepost_iam::{Authorization, Caller, Decision, Document, Verdict, all_must_allow, combine};

const ALLOW: Decision = Decision::Allowed { statement: 3 };
const NEITHER: Decision = Decision::ImplicitlyDenied;
const DENY: Decision = Decision::ExplicitlyDenied { statement: 5 };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Allow,
    ImplicitDeny,
    ExplicitDeny,
}
use Outcome::{Allow, ExplicitDeny, ImplicitDeny};

fn outcome<D>(verdict: Verdict<D>) -> Outcome {
    match verdict {
        Verdict::Allowed { .. } => Allow,
        Verdict::ImplicitlyDenied { .. } => ImplicitDeny,
        Verdict::ExplicitlyDenied { .. } => ExplicitDeny,
    }
}

/// Identity or authorizer policy, resource policy, result.
const TABLE_A: [(Decision, Decision, Outcome); 9] = [
    (ALLOW, ALLOW, Allow),
    (ALLOW, NEITHER, Allow),
    (ALLOW, DENY, ExplicitDeny),
    (NEITHER, ALLOW, Allow),
    (NEITHER, NEITHER, ImplicitDeny),
    (NEITHER, DENY, ExplicitDeny),
    (DENY, ALLOW, ExplicitDeny),
    (DENY, NEITHER, ExplicitDeny),
    (DENY, DENY, ExplicitDeny),
];

const TABLE_B: [(Decision, Decision, Outcome); 9] = [
    (ALLOW, ALLOW, Allow),
    (ALLOW, NEITHER, ImplicitDeny),
    (ALLOW, DENY, ExplicitDeny),
    (NEITHER, ALLOW, ImplicitDeny),
    (NEITHER, NEITHER, ImplicitDeny),
    (NEITHER, DENY, ExplicitDeny),
    (DENY, ALLOW, ExplicitDeny),
    (DENY, NEITHER, ExplicitDeny),
    (DENY, DENY, ExplicitDeny),
];

fn iam(identity: Decision, caller: Caller) -> Authorization {
    Authorization::Iam { identity, caller }
}

#[test]
fn within_an_account_either_document_may_allow() {
    for (identity, resource, result) in TABLE_A {
        let by_iam = combine(iam(identity, Caller::SameAccount), Some(resource));
        assert_eq!(outcome(by_iam), result, "{identity:?} {resource:?}");
        let by_authorizer = combine(Authorization::Lambda { authorizer: identity }, Some(resource));
        assert_eq!(outcome(by_authorizer), result, "{identity:?} {resource:?}");
    }
}

#[test]
fn across_accounts_both_documents_must_allow() {
    for (identity, resource, result) in TABLE_B {
        let verdict = combine(iam(identity, Caller::OtherAccount), Some(resource));
        assert_eq!(outcome(verdict), result, "{identity:?} {resource:?}");
    }
}

#[test]
fn by_the_authorization_of_the_method() {
    let open = Authorization::None { private: false };
    let private = Authorization::None { private: true };
    let lambda = |authorizer| Authorization::Lambda { authorizer };
    for (authorization, resource, result) in [
        // NONE: public without a policy, private never; with a policy it must allow.
        (open, None, Allow),
        (private, None, ImplicitDeny),
        (open, Some(ALLOW), Allow),
        (open, Some(NEITHER), ImplicitDeny),
        (open, Some(DENY), ExplicitDeny),
        (private, Some(ALLOW), Allow),
        (private, Some(NEITHER), ImplicitDeny),
        (private, Some(DENY), ExplicitDeny),
        // AWS_IAM without a policy: the identity alone, and of no other account.
        (iam(ALLOW, Caller::SameAccount), None, Allow),
        (iam(NEITHER, Caller::SameAccount), None, ImplicitDeny),
        (iam(DENY, Caller::SameAccount), None, ExplicitDeny),
        (iam(ALLOW, Caller::OtherAccount), None, ImplicitDeny),
        (iam(NEITHER, Caller::OtherAccount), None, ImplicitDeny),
        (iam(DENY, Caller::OtherAccount), None, ExplicitDeny),
        // CUSTOM without a policy: the authorizer alone.
        (lambda(ALLOW), None, Allow),
        (lambda(NEITHER), None, ImplicitDeny),
        (lambda(DENY), None, ExplicitDeny),
        // COGNITO_USER_POOLS: the token alone, or the policy alone.
        (Authorization::Cognito, None, Allow),
        (Authorization::Cognito, Some(ALLOW), Allow),
        (Authorization::Cognito, Some(NEITHER), ImplicitDeny),
        (Authorization::Cognito, Some(DENY), ExplicitDeny),
    ] {
        assert_eq!(outcome(combine(authorization, resource)), result, "{authorization:?} {resource:?}");
    }
}

#[test]
fn a_verdict_names_the_document_that_made_it() {
    let same = |identity, resource| combine(iam(identity, Caller::SameAccount), Some(resource));
    let other = |identity, resource| combine(iam(identity, Caller::OtherAccount), Some(resource));
    assert_eq!(same(NEITHER, ALLOW), Verdict::Allowed { by: Some((Document::Resource, 3)) });
    assert_eq!(same(ALLOW, ALLOW), Verdict::Allowed { by: Some((Document::Identity, 3)) });
    assert_eq!(same(NEITHER, NEITHER), Verdict::ImplicitlyDenied { by: Document::Identity });
    assert_eq!(same(DENY, ALLOW), Verdict::ExplicitlyDenied { by: Document::Identity, statement: 5 });
    assert_eq!(other(ALLOW, NEITHER), Verdict::ImplicitlyDenied { by: Document::Resource });
    assert_eq!(other(NEITHER, ALLOW), Verdict::ImplicitlyDenied { by: Document::Identity });
    let public = combine(Authorization::None { private: false }, None);
    assert_eq!(public, Verdict::Allowed { by: None });
}

#[test]
fn by_gateposts_own_rule_every_document_must_allow() {
    for (api, route, caller, result) in [
        (ALLOW, ALLOW, ALLOW, Allow),
        (ALLOW, NEITHER, ALLOW, ImplicitDeny),
        (NEITHER, ALLOW, ALLOW, ImplicitDeny),
        (ALLOW, ALLOW, DENY, ExplicitDeny),
        (DENY, NEITHER, ALLOW, ExplicitDeny),
        (NEITHER, NEITHER, DENY, ExplicitDeny),
    ] {
        let verdict = all_must_allow([("api", api), ("route", route), ("caller", caller)]).unwrap();
        assert_eq!(outcome(verdict), result, "{api:?} {route:?} {caller:?}");
    }
    assert_eq!(all_must_allow::<&str>([]), None);
    let silent = all_must_allow([("api", ALLOW), ("route", NEITHER), ("caller", NEITHER)]);
    assert_eq!(silent, Some(Verdict::ImplicitlyDenied { by: "route" }));
}
