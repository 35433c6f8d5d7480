//! What holds for every policy.

use gatepost_iam::simulate::simulate;
use gatepost_iam::{Decision, Key, Policy, Principal, Standing};
use proptest::prelude::*;

use crate::support::{Facts, api, ask, document, ip, resource_policy, statement, text};

fn effect() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![r#""Effect": "Allow""#, r#""Effect": "Deny""#])
}

fn rest() -> impl Strategy<Value = String> {
    let principals = [
        r#""Principal": "*""#,
        r#""Principal": {"AWS": "123456789012"}"#,
        r#""Principal": {"AWS": "arn:aws:iam::123456789012:user/bob"}"#,
        r#""NotPrincipal": {"AWS": "arn:aws:iam::123456789012:user/bob"}"#,
    ];
    let resources = [
        r#""Resource": "*""#,
        r#""Resource": "execute-api:/prod/*""#,
        r#""Resource": "execute-api:/*/GET/${aws:username}*""#,
        r#""NotResource": "execute-api:/*/POST/*""#,
    ];
    let actions = [r#""Action": "*""#, r#""Action": "execute-api:Inv*""#, r#""NotAction": "execute-api:Invoke""#];
    let pick = |rows: &[&'static str]| prop::sample::select(rows.to_vec());
    (pick(&principals), pick(&resources), pick(&actions)).prop_map(|(p, r, a)| format!("{p}, {r}, {a}"))
}

/// An operator with a key and values.
fn condition() -> impl Strategy<Value = String> {
    let operators =
        ["StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "IpAddress", "NotIpAddress", "Null"];
    let prefixes = ["", "ForAllValues:", "ForAnyValue:"];
    let keys = ["aws:SourceIp", "aws:username", "aws:Referer"];
    let values = |operator: &str| match operator {
        "Null" => vec![r#""true""#, r#""false""#],
        "IpAddress" | "NotIpAddress" => vec![r#""192.0.2.0/24""#, r#"["192.0.2.1", "::/0"]"#],
        _ => vec![r#""bob""#, r#"["bob", "192.0.2.*"]"#, r#""${aws:username}""#],
    };
    (
        prop::sample::select(operators.to_vec()),
        prop::sample::select(prefixes.to_vec()),
        any::<bool>(),
        prop::sample::select(keys.to_vec()),
    )
        .prop_flat_map(move |(operator, prefix, if_exists, key)| {
            let plain = operator == "Null";
            let (prefix, suffix) = if plain { ("", "") } else { (prefix, if if_exists { "IfExists" } else { "" }) };
            let name = format!("{prefix}{operator}{suffix}");
            prop::sample::select(values(operator)).prop_map(move |values| format!(r#""{name}": {{"{key}": {values}}}"#))
        })
}

/// Statements' conditions: of different operators, since an object names each once.
fn conditions() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(condition(), 0..3).prop_map(|mut conditions| {
        let name = |condition: &String| condition.split(": {").next().unwrap_or_default().to_owned();
        conditions.sort_by_key(name);
        conditions.dedup_by_key(|condition| name(condition));
        conditions
    })
}

fn whole(effect: &str, rest: &str, conditions: &[String]) -> String {
    statement(&format!(r#"{effect}, {rest}, "Condition": {{{}}}"#, conditions.join(",")))
}

fn statements() -> impl Strategy<Value = Vec<String>> {
    let one = (effect(), rest(), conditions()).prop_map(|(effect, rest, conditions)| whole(effect, &rest, &conditions));
    prop::collection::vec(one, 1..5)
}

/// Who asks for what, and from where.
type Asked = (&'static str, &'static str, Facts);

fn asked() -> impl Strategy<Value = Asked> {
    let principals =
        vec!["*", "arn:aws:iam::123456789012:user/bob", "arn:aws:iam::123456789012:user/eve", "999999999999"];
    let paths = vec!["prod/GET/bob", "test/GET/", "prod/POST/x/y"];
    let mut facts = Just(Facts::default()).boxed();
    for (key, values) in [
        (Key::SourceIp, [ip("192.0.2.1"), ip("198.51.100.7")]),
        (Key::UserName, [text("bob"), text("*")]),
        (Key::Referer, [text("bob"), text("eve")]),
    ] {
        let more = prop::collection::vec(prop::sample::select(values.to_vec()), 0..3);
        facts = (facts, more)
            .prop_map(move |(mut facts, values)| {
                facts.0.push((key.clone(), values));
                facts
            })
            .boxed();
    }
    (prop::sample::select(principals), prop::sample::select(paths), facts)
}

fn decide(statements: &[String], (principal, path, facts): &Asked) -> Decision {
    let resource = format!("arn:aws:execute-api:us-east-1:123456789012:api/{path}");
    let principal = Principal::parse(principal).unwrap();
    ask(&resource_policy(&document(statements)), "execute-api:Invoke", &resource, principal, facts)
}

fn kind(decision: Decision) -> &'static str {
    match decision {
        Decision::Allowed { .. } => "Allowed",
        Decision::ImplicitlyDenied => "ImplicitlyDenied",
        Decision::ExplicitlyDenied { .. } => "ExplicitlyDenied",
    }
}

proptest! {
    #[test]
    fn the_order_of_statements_does_not_matter(
        (ordered, shuffled) in statements().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        asked in asked(),
    ) {
        prop_assert_eq!(kind(decide(&ordered, &asked)), kind(decide(&shuffled, &asked)));
    }

    #[test]
    fn another_deny_never_turns_a_denial_into_an_allow(
        before in statements(), rest in rest(), conditions in conditions(), asked in asked(),
    ) {
        let mut after = before.clone();
        after.push(whole(r#""Effect": "Deny""#, &rest, &conditions));
        prop_assert!(decide(&before, &asked).is_allowed() || !decide(&after, &asked).is_allowed());
    }

    #[test]
    fn another_condition_never_widens_an_allow(
        others in statements(), rest in rest(), conditions in conditions(), asked in asked(),
    ) {
        let Some((_, fewer)) = conditions.split_last() else { return Ok(()) };
        let with = |conditions: &[String]| {
            let mut statements = others.clone();
            statements.push(whole(r#""Effect": "Allow""#, &rest, conditions));
            decide(&statements, &asked)
        };
        prop_assert!(with(fewer).is_allowed() || !with(&conditions).is_allowed());
    }

    #[test]
    fn the_statement_that_decides_has_the_effect(statements in statements(), asked in asked()) {
        let decision = decide(&statements, &asked);
        if let Some(number) = decision.statement() {
            let alone = decide(&statements[number..=number], &asked);
            prop_assert_eq!(kind(alone), kind(decision));
        }
    }

    #[test]
    fn any_text_is_a_policy_or_an_error_with_places(text in any_text()) {
        for read in [Policy::identity(&text), Policy::resource(&text, &api())] {
            match read {
                Ok(policy) => {
                    for lint in policy.lints(Standing::BesideIdentities) {
                        prop_assert!(text.get(lint.at.clone()).is_some());
                    }
                }
                Err(error) => {
                    prop_assert!(error.problems().count() > 0);
                    for problem in error.problems() {
                        prop_assert!(text.get(problem.at()).is_some(), "{:?}", problem);
                    }
                }
            }
        }
        let _ = simulate(&text);
        let _ = simulate(&serde_json::json!({"policy": text}).to_string());
    }
}

/// Text that is near to a policy: one with a few characters replaced, or anything.
fn any_text() -> impl Strategy<Value = String> {
    let near =
        (statements(), any::<prop::sample::Index>(), "[\"{}\\[\\]:,*?$a\u{e9}]{0,3}").prop_map(|(all, at, text)| {
            let mut letters: Vec<char> = document(&all).chars().collect();
            let at = at.index(letters.len());
            letters.splice(at..(at + 2).min(letters.len()), text.chars());
            letters.into_iter().collect()
        });
    prop_oneof![near, any::<String>()]
}
