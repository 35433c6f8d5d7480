//! What a line says, read and owned.

use super::{ACTION, BadLine, RESOURCE, SimulationError};
use crate::arn::ResourceArn;
use crate::document::{Entry, Kind, Node, Unreadable, nearest};
use crate::key::Key;
use crate::principal::Principal;
use crate::value::{Context, Value, Values};

/// A line in its members, policies still as text.
#[derive(Debug)]
pub(super) struct Line {
    /// JSON, as it was written: numbers and texts that no reader can hold come back all the same.
    pub(super) id: Box<str>,
    pub(super) policy: Option<String>,
    pub(super) identity: Option<String>,
    pub(super) action: String,
    resource: String,
    principal: Option<String>,
    said: Vec<(Key, Vec<Said>)>,
}

/// One value of `ctx`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Text(String),
    Bool(bool),
    Number(i64),
}

const MEMBERS: [&str; 7] = ["id", "policy", "action", "resource", "ctx", "principal", "identity"];

impl Line {
    pub(super) fn read(text: &str) -> Result<Self, SimulationError> {
        let mut line = Self {
            id: "null".into(),
            policy: None,
            identity: None,
            action: ACTION.to_owned(),
            resource: RESOURCE.to_owned(),
            principal: None,
            said: Vec::new(),
        };
        let root = Node::read(text).and_then(|node| node.entries());
        let members = root
            .map_err(not_an_object)
            .and_then(|members| members.ok_or_else(|| BadLine::NotAnObject("it is another kind of value".to_owned())));
        let read = members.and_then(|members| {
            let id = members.iter().find(|member| member.name == "id");
            if let Some(id) = id {
                line.id = id.value.raw().into();
            }
            members.into_iter().try_for_each(|member| line.take(member))
        });
        match read {
            Ok(()) => Ok(line),
            Err(reason) => Err(SimulationError { id: line.id, reason }),
        }
    }

    /// Takes over a member. Unknown ones may be there for the reader's own use, but not slips of the pen.
    fn take(&mut self, Entry { name, value, .. }: Entry<'_>) -> Result<(), BadLine> {
        if value.kind() == Kind::Null {
            return Ok(());
        }
        match name.as_str() {
            "id" => {}
            "policy" => self.policy = Some(document(&name, &value)?),
            "identity" => self.identity = Some(document(&name, &value)?),
            "action" => self.action = text(&name, &value)?,
            "resource" => self.resource = text(&name, &value)?,
            "principal" => self.principal = Some(text(&name, &value)?),
            "ctx" => self.said = said(&value)?,
            "context" => return Err(BadLine::Member { name, nearest: "ctx" }),
            _ => {
                if let Some(nearest) = nearest(&name, MEMBERS).filter(|nearest| nearest.len() > 2) {
                    return Err(BadLine::Member { name, nearest });
                }
            }
        }
        Ok(())
    }

    pub(super) fn resource_arn(&self) -> Result<ResourceArn<'_>, BadLine> {
        ResourceArn::parse(&self.resource).map_err(BadLine::Resource)
    }

    pub(super) fn principal(&self) -> Result<Principal<'_>, BadLine> {
        let principal = self.principal.as_deref().map(Principal::parse).transpose();
        Ok(principal.map_err(BadLine::Principal)?.unwrap_or(Principal::Anonymous))
    }

    /// What is known of the request: what the line says, and else what the principal says by itself.
    pub(super) fn known(&self, principal: &Principal<'_>) -> Known {
        let mut known = self.said.clone();
        for (key, text) in implied(principal) {
            if !known.iter().any(|(said, _)| *said == key) {
                known.push((key, vec![Said::Text(text)]));
            }
        }
        Known(known)
    }
}

/// The values of all keys, owned.
#[derive(Debug)]
pub(super) struct Known(Vec<(Key, Vec<Said>)>);

impl Known {
    pub(super) fn context<'k>(&'k self) -> Simulated<'k> {
        let value = |said: &'k Said| match said {
            Said::Text(text) => Value::Text(text),
            Said::Bool(truth) => Value::Bool(*truth),
            Said::Number(number) => Value::Number(*number),
        };
        Simulated(self.0.iter().map(|(key, said)| (key, said.iter().map(value).collect())).collect())
    }
}

/// The values of all keys, as policies ask for them.
#[derive(Debug)]
pub(super) struct Simulated<'k>(Vec<(&'k Key, Vec<Value<'k>>)>);

impl Context for Simulated<'_> {
    fn value(&self, key: &Key) -> Values<'_> {
        let found = self.0.iter().find(|(known, _)| *known == key);
        found.map_or(Values::Absent, |(_, values)| Values::Many(values))
    }
}

/// What is known of a principal without being told (IAM user guide, reference_policies_variables).
fn implied(principal: &Principal<'_>) -> Vec<(Key, String)> {
    let mut implied = Vec::new();
    let mut imply = |key, text: Option<String>| implied.extend(text.map(|text| (key, text)));
    imply(Key::PrincipalType, principal.kind().map(str::to_owned));
    imply(Key::PrincipalAccount, principal.account().map(str::to_owned));
    imply(Key::UserName, principal.username().map(str::to_owned));
    imply(Key::PrincipalArn, principal_arn(principal));
    imply(Key::UserId, user_id(principal));
    implied
}

fn principal_arn(principal: &Principal<'_>) -> Option<String> {
    match principal {
        Principal::Anonymous | Principal::Service(_) => None,
        Principal::Root { account } => Some(format!("arn:aws:iam::{account}:root")),
        Principal::User { arn, .. } | Principal::FederatedUser { arn, .. } => Some((*arn).to_owned()),
        Principal::RoleSession { role: Some(role), .. } => Some((*role).to_owned()),
        Principal::RoleSession { role: None, arn, account } => {
            let partition = arn.split(':').nth(1)?;
            Some(format!("arn:{partition}:iam::{account}:role/{}", principal.role_name()?))
        }
    }
}

/// Users and roles have ids that no ARN tells.
fn user_id(principal: &Principal<'_>) -> Option<String> {
    match principal {
        Principal::Root { account } => Some((*account).to_owned()),
        Principal::FederatedUser { arn, account } => {
            let (_, name) = arn.split_once('/')?;
            Some(format!("{account}:{name}"))
        }
        Principal::Anonymous | Principal::Service(_) | Principal::User { .. } | Principal::RoleSession { .. } => None,
    }
}

/// A policy as an object, or as text that holds one.
fn document(member: &str, node: &Node<'_>) -> Result<String, BadLine> {
    if node.kind() == Kind::Object { Ok(node.raw().to_owned()) } else { text(member, node) }
}

fn text(member: &str, node: &Node<'_>) -> Result<String, BadLine> {
    let wrong = || BadLine::Type { member: member.to_owned(), expected: "text" };
    if node.kind() != Kind::String {
        return Err(wrong());
    }
    node.scalar().map_err(not_an_object)?.ok_or_else(wrong)
}

fn said(node: &Node<'_>) -> Result<Vec<(Key, Vec<Said>)>, BadLine> {
    let entries = node.entries().map_err(not_an_object)?;
    let wrong = || BadLine::Type { member: "ctx".to_owned(), expected: "an object of condition keys" };
    let mut said: Vec<(Key, Vec<Said>)> = Vec::new();
    for Entry { name, value, .. } in entries.ok_or_else(wrong)? {
        let items = value.items().map_err(not_an_object)?.unwrap_or_else(|| vec![value]);
        let values: Result<Vec<Option<Said>>, BadLine> = items.iter().map(|item| one_value(&name, item)).collect();
        let key = Key::named(&name);
        if said.iter().any(|(known, _)| *known == key) {
            return Err(BadLine::NotAnObject(format!("`{name}` is there twice")));
        }
        said.push((key, values?.into_iter().flatten().collect()));
    }
    Ok(said)
}

/// A value of `ctx`; `null` is none.
fn one_value(key: &str, node: &Node<'_>) -> Result<Option<Said>, BadLine> {
    Ok(Some(match node.kind() {
        Kind::Null => return Ok(None),
        Kind::Bool => Said::Bool(node.raw() == "true"),
        Kind::Number => node.raw().parse().map_or_else(|_| Said::Text(node.raw().to_owned()), Said::Number),
        Kind::String => Said::Text(text(key, node)?),
        Kind::Array | Kind::Object => {
            let expected = "text, a number, a truth value, or a list of these";
            return Err(BadLine::Type { member: format!("ctx.{key}"), expected });
        }
    }))
}

fn not_an_object(unreadable: Unreadable) -> BadLine {
    BadLine::NotAnObject(match unreadable {
        Unreadable::Syntax { message, .. } => message,
        Unreadable::Duplicate { name, .. } => format!("`{name}` is there twice"),
    })
}
