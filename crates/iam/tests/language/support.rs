//! Requests and policies in few words.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use gatepost_iam::{ApiArn, Context, Decision, Key, Policy, Principal, Request, ResourceArn, Value, Values};

/// What is known of a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts(pub(crate) Vec<(Key, Vec<Value<'static>>)>);

impl Context for Facts {
    fn value(&self, key: &Key) -> Values<'_> {
        match self.0.iter().find(|(known, _)| known == key) {
            Some((_, values)) if values.len() == 1 => Values::One(values[0]),
            Some((_, values)) => Values::Many(values),
            None => Values::Absent,
        }
    }
}

/// A value for a table: text as it is, the other types by their words.
pub(crate) fn text(text: &'static str) -> Value<'static> {
    Value::Text(text)
}

pub(crate) fn ip(text: &str) -> Value<'static> {
    Value::Address(text.parse::<IpAddr>().unwrap())
}

pub(crate) fn time(seconds: u64) -> Value<'static> {
    Value::Time(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// A request with this under one key; an empty list is an absent key.
pub(crate) fn fact(key: &str, values: &[Value<'static>]) -> Facts {
    Facts(if values.is_empty() { Vec::new() } else { vec![(Key::named(key), values.to_vec())] })
}

pub(crate) fn api() -> ApiArn {
    ApiArn::new("aws", "us-east-1", "123456789012", "api")
}

pub(crate) fn arn(tail: &str) -> String {
    format!("arn:aws:execute-api:us-east-1:123456789012:api/{tail}")
}

/// A resource policy of one statement that allows everyone everything, as far as `elements` do not say otherwise.
pub(crate) fn statement(elements: &str) -> String {
    let mut statement = serde_json::json!({
        "Effect": "Allow", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "*",
    });
    let more: serde_json::Value = serde_json::from_str(&format!("{{{elements}}}")).unwrap();
    let members = statement.as_object_mut().unwrap();
    for (name, value) in more.as_object().unwrap() {
        // `NotAction` takes the place of `Action`.
        members.remove(name.trim_start_matches("Not"));
        members.insert(name.clone(), value.clone());
    }
    statement.to_string()
}

pub(crate) fn document(statements: &[String]) -> String {
    format!(r#"{{"Version": "2012-10-17", "Statement": [{}]}}"#, statements.join(","))
}

pub(crate) fn resource_policy(text: &str) -> Policy {
    Policy::resource(text, &api()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// What a policy says of `GET /prod/pets`.
pub(crate) fn decide(policy: &Policy, principal: Principal<'_>, facts: &Facts) -> Decision {
    ask(policy, "execute-api:Invoke", &arn("prod/GET/pets"), principal, facts)
}

pub(crate) fn ask(policy: &Policy, action: &str, resource: &str, principal: Principal<'_>, facts: &Facts) -> Decision {
    let resource = ResourceArn::parse(resource).unwrap();
    policy.decide(&Request { action, resource: resource.resource(), principal, context: facts })
}

/// Whether the only statement of a policy with these elements matches.
pub(crate) fn matches(elements: &str, facts: &Facts) -> bool {
    let policy = resource_policy(&document(&[statement(elements)]));
    decide(&policy, Principal::Anonymous, facts) != Decision::ImplicitlyDenied
}
