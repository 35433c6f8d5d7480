//! How near a request came to being allowed: for people who wonder why it was not.

use std::fmt;

use crate::condition::Condition;
use crate::key::Key;
use crate::policy::{Policy, Request};
use crate::statement::{Effect, Statement};
use crate::value::Context;

/// A statement that would have allowed a request, had it met all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearMiss {
    /// Its number, counted from zero.
    pub statement: usize,
    /// What the request does not meet: one to three things. Conditions are asked only where principal, action and
    /// resource are met, and then the first that does not hold is told.
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
    ///
    /// Told are `Principal`, `Action` and `Resource`; of a statement that misses none of them, its first condition that
    /// does not hold, which is as far as a decision looks. So it asks no condition more than a decision, and allocates
    /// for the nearest statement alone.
    #[must_use]
    pub fn near_miss(&self, request: &Request<'_, impl Context>) -> Option<NearMiss> {
        let allowing = self.statements().iter().enumerate().filter(|(_, statement)| statement.effect == Effect::Allow);
        let misses = allowing.filter_map(|(number, statement)| Some((number, statement.miss(request)?)));
        let (statement, miss) = misses.min_by_key(|(_, miss)| miss.distance())?;
        Some(NearMiss { statement, unmet: miss.unmet() })
    }
}

/// What a request does not meet of a statement.
enum Miss<'p> {
    /// What the statement is about: at least one of these.
    Subject { principal: bool, action: bool, resource: bool },
    /// Nothing but its conditions, this one first.
    Condition(&'p Condition),
}

impl Statement {
    fn miss(&self, request: &Request<'_, impl Context>) -> Option<Miss<'_>> {
        let principal = !self.admits_principal(request);
        let action = !self.admits_action(request);
        let resource = !self.admits_resource(request);
        if principal || action || resource {
            return Some(Miss::Subject { principal, action, resource });
        }
        self.conditions.iter().find(|condition| !condition.holds(self.effect, request.context)).map(Miss::Condition)
    }
}

impl Miss<'_> {
    /// Whether it is about another resource, and how many parts it misses but for conditions.
    fn distance(&self) -> (bool, u8) {
        match *self {
            Self::Condition(_) => (false, 0),
            Self::Subject { principal, action, resource } => {
                (resource, u8::from(principal) + u8::from(action) + u8::from(resource))
            }
        }
    }

    fn unmet(&self) -> Vec<Unmet> {
        match *self {
            Self::Condition(Condition { operator, key, .. }) => {
                vec![Unmet::Condition { operator: operator.clone(), key: key.clone() }]
            }
            Self::Subject { principal, action, resource } => {
                let parts = [(principal, Unmet::Principal), (action, Unmet::Action), (resource, Unmet::Resource)];
                parts.into_iter().filter(|(missed, _)| *missed).map(|(_, unmet)| unmet).collect()
            }
        }
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
    use std::cell::Cell;

    use super::*;
    use crate::{ApiArn, Principal, Resource, Value, Values};

    /// Knows the browser, and nothing else; counts how often it is asked.
    #[derive(Default)]
    struct Browser {
        asked: Cell<usize>,
    }

    impl Context for Browser {
        fn value(&self, key: &Key) -> Values<'_> {
            self.asked.set(self.asked.get() + 1);
            if *key == Key::UserAgent { Values::One(Value::Text("curl")) } else { Values::Absent }
        }
    }

    fn near_miss(statements: &str) -> Option<NearMiss> {
        asking(statements).0
    }

    /// Also how often a decision asked for a value, and how often the search for the nearest did.
    fn asking(statements: &str) -> (Option<NearMiss>, usize, usize) {
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
        let context = Browser::default();
        let request = Request { action: "execute-api:Invoke", resource, principal, context: &context };
        assert!(!policy.decide(&request).is_allowed());
        let decision = context.asked.take();
        (policy.near_miss(&request), decision, context.asked.take())
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
            (vec![&denial, &elsewhere, &for_bob], 2, vec![Unmet::Principal]),
            (vec![&for_bob, &for_wget, &for_wget], 1, vec![wget]),
        ] {
            let text = statements.into_iter().map(String::as_str).collect::<Vec<_>>().join(",");
            assert_eq!(near_miss(&text), Some(NearMiss { statement: number, unmet }), "{text}");
        }
        assert_eq!(near_miss(&denial), None);
    }

    #[test]
    fn no_condition_is_asked_that_a_decision_does_not_ask() {
        let bob = "{\"AWS\": \"arn:aws:iam::111122223333:user/bob\"}";
        let agents = "\"StringEquals\": {\"aws:UserAgent\": \"wget\", \"aws:Referer\": \"a\"}, \
                      \"StringLike\": {\"aws:UserAgent\": \"*a*b\"}";
        for (principal, path) in [(bob, "a"), ("\"*\"", "b"), ("\"*\"", "a")] {
            let text = vec![statement("Allow", principal, path, agents); 30].join(",");
            let (near, decision, search) = asking(&text);
            assert_eq!(near.unwrap().statement, 0);
            assert!(search <= decision, "{search} questions after {decision}");
        }
    }
}
