//! A simulator: one JSON object in, a request and the policies it meets, and what they say of it out.
//!
//! | member | what it is | without it |
//! | --- | --- | --- |
//! | `policy` | a resource policy: an object, or text that holds one | an error |
//! | `identity` | an identity policy, of the caller or from an authorizer | the resource policy alone decides |
//! | `action` | what is asked for | `execute-api:Invoke` |
//! | `resource` | the ARN of what is asked for | [`RESOURCE`] |
//! | `principal` | who asks: `*`, an account id, an ARN, a service | an anonymous caller |
//! | `ctx` | condition keys and their values: text, numbers, truth values, or lists of them | none |
//! | `id` | anything; it comes back with the answer | `null` |
//!
//! An `identity` is combined with the policy as REST APIs do within an account, or across accounts if `principal` is of
//! another account than the resource. Short forms of resources stand for the API of `resource`.
//!
//! A key that is not in `ctx` is absent, so that a line means the same today and tomorrow: no address and no time is
//! assumed. Only what `principal` says by itself is there without being listed: `aws:PrincipalArn`,
//! `aws:PrincipalAccount`, `aws:PrincipalType`, `aws:username`, and `aws:userid` where it is made of these. A key whose
//! value is `null` is absent all the same.

mod line;

use serde_json::json;
use thiserror::Error;

use crate::arn::NotAnArn;
use crate::combine::{Authorization, Caller, Document, Verdict, combine};
use crate::error::PolicyError;
use crate::policy::{Policy, Request};
use crate::principal::NotAPrincipal;
use crate::statement::StatementName;
use line::Line;

/// What is asked for where a line does not say.
pub const RESOURCE: &str = "arn:aws:execute-api:us-east-1:123456789012:abc123/prod/GET/pets";
/// How it is asked for where a line does not say.
pub const ACTION: &str = "execute-api:Invoke";

/// What a simulated request came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulationOutcome {
    /// The line's `id`: JSON, just as it was written.
    pub id: Box<str>,
    /// What was decided.
    pub decision: SimulatedDecision,
    /// The statement that decided; absent if none did.
    pub statement: Option<StatementName>,
    /// The document that decided, or would have had to.
    pub by: Document,
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SimulatedDecision {
    /// A statement allows it.
    Allowed,
    /// No statement allows it.
    ImplicitlyDenied,
    /// A statement denies it.
    ExplicitlyDenied,
}

/// Why a line cannot be simulated.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct SimulationError {
    /// The line's `id`: JSON, just as it was written; `null` if it has none or is no JSON.
    pub id: Box<str>,
    /// Why.
    pub reason: BadLine,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadLine {
    /// It is no JSON object, or names something twice.
    #[error("the line is no JSON object: {0}")]
    NotAnObject(String),
    /// A member that may be a slip of the pen.
    #[error("there is no member `{name}`; did you mean `{nearest}`?")]
    Member {
        /// As it is written.
        name: String,
        /// What may have been meant.
        nearest: &'static str,
    },
    /// A member of another type.
    #[error("`{member}` is not {expected}")]
    Type {
        /// The member.
        member: String,
        /// What it should be.
        expected: &'static str,
    },
    /// No policy.
    #[error("`policy` is missing; it is a resource policy, as an object or as text")]
    NoPolicy,
    /// `policy` is none.
    #[error("`policy`: {0}")]
    Policy(PolicyError),
    /// `identity` is no policy.
    #[error("`identity`: {0}")]
    Identity(PolicyError),
    /// `resource` is no ARN.
    #[error("`resource`: {0}")]
    Resource(NotAnArn),
    /// `principal` is none.
    #[error("`principal`: {0}")]
    Principal(NotAPrincipal),
}

/// Simulates one request.
///
/// # Errors
///
/// The line is no such request, or a policy in it is none.
pub fn simulate(line: &str) -> Result<SimulationOutcome, SimulationError> {
    let line = Line::read(line)?;
    let outcome = decide(&line);
    outcome.map_err(|reason| SimulationError { id: line.id.clone(), reason })
}

fn decide(line: &Line) -> Result<SimulationOutcome, BadLine> {
    let arn = line.resource_arn()?;
    let principal = line.principal()?;
    let policy = line.policy.as_deref().ok_or(BadLine::NoPolicy)?;
    let policy = Policy::resource(policy, &arn.api()).map_err(BadLine::Policy)?;
    let identity = line.identity.as_deref().map(Policy::identity).transpose().map_err(BadLine::Identity)?;

    let known = line.known(&principal);
    let context = known.context();
    let request = Request { action: &line.action, resource: arn.resource(), principal, context: &context };
    let said = policy.decide(&request);
    let verdict = match &identity {
        Some(identity) => {
            let same = principal.account().is_none_or(|account| account == request.resource.account);
            let caller = if same { Caller::SameAccount } else { Caller::OtherAccount };
            combine(Authorization::Iam { identity: identity.decide(&request), caller }, Some(said))
        }
        None => combine(Authorization::None { private: false }, Some(said)),
    };
    let (decision, by, statement) = match verdict {
        Verdict::Allowed { by: Some((by, statement)) } => (SimulatedDecision::Allowed, by, Some(statement)),
        Verdict::Allowed { by: None } => (SimulatedDecision::Allowed, Document::Resource, None),
        Verdict::ImplicitlyDenied { by } => (SimulatedDecision::ImplicitlyDenied, by, None),
        Verdict::ExplicitlyDenied { by, statement } => (SimulatedDecision::ExplicitlyDenied, by, Some(statement)),
    };
    let document = match by {
        Document::Resource => Some(&policy),
        Document::Identity => identity.as_ref(),
    };
    let statements = document.map(Policy::statements).unwrap_or_default();
    let statement = statement.and_then(|number| statements.get(number)).map(|statement| statement.name().clone());
    Ok(SimulationOutcome { id: line.id.clone(), decision, statement, by })
}

impl SimulatedDecision {
    /// Its name: `Allowed`, `ImplicitlyDenied` or `ExplicitlyDenied`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Allowed => "Allowed",
            Self::ImplicitlyDenied => "ImplicitlyDenied",
            Self::ExplicitlyDenied => "ExplicitlyDenied",
        }
    }
}

impl SimulationOutcome {
    /// `{"id", "decision", "statement"}` on one line: the statement is its `Sid` as text, or its number counted from
    /// zero, or `null` if none decided.
    #[must_use]
    pub fn to_json(&self) -> String {
        let statement = match &self.statement {
            Some(StatementName::Sid(sid)) => json!(sid),
            Some(StatementName::Index(index)) => json!(index),
            None => json!(null),
        };
        format!(r#"{{"id":{},"decision":"{}","statement":{statement}}}"#, self.id, self.decision.name())
    }
}

impl SimulationError {
    /// `{"id", "error"}` on one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        format!(r#"{{"id":{},"error":{}}}"#, self.id, json!(self.to_string()))
    }
}
