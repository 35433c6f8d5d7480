//! How near a request came to being allowed: for people who wonder why it was not.

use std::fmt;

use crate::key::Key;
use crate::policy::{Policy, Request};
use crate::statement::{Effect, Statement};
use crate::value::Context;

/// A statement that would have allowed a request, had it met all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearMiss {
    /// Its number, counted from zero.
    pub statement: usize,
    /// What the request does not meet, never nothing.
    pub unmet: Vec<Unmet>,
}

/// A part of a statement that a request does not meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unmet {
    /// `Principal` or `NotPrincipal`.
    Principal,
    /// `Action` or `NotAction`.
    Action,
    /// `Resource` or `NotResource`.
    Resource,
    /// A condition.
    Condition {
        /// The operator as it is written.
        operator: Box<str>,
        /// The key.
        key: Key,
    },
}

impl Policy {
    /// Of a request that no statement allows, the one that comes nearest: one about its resource rather than another,
    /// then the one of which it misses the fewest parts, then the first. Absent: no statement allows anything.
    #[must_use]
    pub fn near_miss(&self, request: &Request<'_, impl Context>) -> Option<NearMiss> {
        let allowing = self.statements().iter().enumerate().filter(|(_, statement)| statement.effect == Effect::Allow);
        let misses =
            allowing.map(|(number, statement)| NearMiss { statement: number, unmet: statement.unmet(request) });
        let misses = misses.filter(|miss| !miss.unmet.is_empty());
        misses.min_by_key(|miss| (miss.unmet.contains(&Unmet::Resource), miss.unmet.len()))
    }
}

impl Statement {
    fn unmet(&self, request: &Request<'_, impl Context>) -> Vec<Unmet> {
        let parts = [
            (self.admits_principal(request), Unmet::Principal),
            (self.admits_action(request), Unmet::Action),
            (self.admits_resource(request), Unmet::Resource),
        ];
        let parts = parts.into_iter().filter(|(met, _)| !met).map(|(_, unmet)| unmet);
        let conditions = self.conditions.iter().filter(|condition| !condition.holds(request.context));
        let conditions = conditions
            .map(|condition| Unmet::Condition { operator: condition.operator.clone(), key: condition.key.clone() });
        parts.chain(conditions).collect()
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal => out.write_str("its principal"),
            Self::Action => out.write_str("its action"),
            Self::Resource => out.write_str("its resource"),
            Self::Condition { operator, key } => write!(out, "{operator} on {key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ApiArn, Principal, Resource, Value, Values};

    /// Knows the browser, and nothing else.
    struct Browser;

    impl Context for Browser {
        fn value(&self, key: &Key) -> Values<'_> {
            if *key == Key::UserAgent { Values::One(Value::Text("curl")) } else { Values::Absent }
        }
    }

    fn near_miss(statements: &str) -> Option<NearMiss> {
        let text = format!("{{\"Statement\": [{statements}]}}");
        let policy = Policy::resource(&text, &ApiArn::new("aws", "us-east-1", "111122223333", "abc123")).unwrap();
        let resource = Resource {
            partition: "aws",
            service: "execute-api",
            region: "us-east-1",
            account: "111122223333",
            tail: &["abc123/prod/GET/a"],
        };
        let principal = Principal::Anonymous;
        policy.near_miss(&Request { action: "execute-api:Invoke", resource, principal, context: &Browser })
    }

    fn statement(effect: &str, principal: &str, path: &str, condition: &str) -> String {
        format!(
            "{{\"Effect\": \"{effect}\", \"Principal\": {principal}, \"Action\": \"execute-api:Invoke\", \
             \"Resource\": \"execute-api:/*/*/{path}\", \"Condition\": {{{condition}}}}}"
        )
    }

    #[test]
    fn the_statement_that_lacks_least_is_named_with_what_it_lacks() {
        let bob = "{\"AWS\": \"arn:aws:iam::111122223333:user/bob\"}";
        let agent = "\"StringEquals\": {\"aws:UserAgent\": \"wget\"}";
        let [elsewhere, denial] = [statement("Allow", "\"*\"", "b", ""), statement("Deny", "\"*\"", "a", "")];
        let [for_bob, for_wget] = [statement("Allow", bob, "a", agent), statement("Allow", "\"*\"", "a", agent)];
        let wget = Unmet::Condition { operator: "StringEquals".into(), key: Key::UserAgent };
        for (statements, number, unmet) in [
            (vec![&elsewhere], 0, vec![Unmet::Resource]),
            (vec![&denial, &elsewhere, &for_bob], 2, vec![Unmet::Principal, wget.clone()]),
            (vec![&for_bob, &for_wget, &for_wget], 1, vec![wget]),
        ] {
            let text = statements.into_iter().map(String::as_str).collect::<Vec<_>>().join(",");
            assert_eq!(near_miss(&text), Some(NearMiss { statement: number, unmet }), "{text}");
        }
        assert_eq!(near_miss(&denial), None);
    }
}
