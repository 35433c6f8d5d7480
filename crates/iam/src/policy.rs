//! Policies: documents compiled once, and asked for every request.

use gatepost_prefix::PrefixSet;
use ipnet::IpNet;

use crate::arn::{ApiArn, Resource};
use crate::document::{Node, nearest};
use crate::error::{Mistake, PolicyError, Reporter};
use crate::principal::Principal;
use crate::reading::{entries, report, text};
use crate::statement::{Effect, Reader, Statement, StatementName, refuse_shared_sids};
use crate::value::Context;

/// A policy document, read and compiled once.
#[derive(Debug, Clone)]
pub struct Policy {
    statements: Box<[Statement]>,
    /// Whose policy it is; absent for an identity policy.
    pub(crate) api: Option<ApiArn>,
    /// The document, as it was read.
    text: Box<str>,
    /// The length of the document in characters.
    pub(crate) characters: usize,
}

/// A request, as policies see it.
#[derive(Debug)]
pub struct Request<'a, C> {
    /// `execute-api:Invoke`
    pub action: &'a str,
    /// What is asked for.
    pub resource: Resource<'a>,
    /// Who asks.
    pub principal: Principal<'a>,
    /// What else is known.
    pub context: &'a C,
}

/// What one document says of a request (IAM user guide, reference_policies_evaluation-logic).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// A statement allows it, and none denies it.
    Allowed {
        /// The first that allows it, counted from zero.
        statement: usize,
    },
    /// No statement speaks of it.
    ImplicitlyDenied,
    /// A statement denies it.
    ExplicitlyDenied {
        /// The first that denies it, counted from zero.
        statement: usize,
    },
}

impl Policy {
    /// Reads a resource policy: every statement has `Principal` or `NotPrincipal`. `api` is what the short form
    /// `execute-api:/…` stands for.
    ///
    /// # Errors
    ///
    /// The document is no policy: everything that is wrong with it.
    pub fn resource(text: &str, api: &ApiArn) -> Result<Self, PolicyError> {
        read(text, Some(api))
    }

    /// Reads an identity policy: no statement has a principal. Also what a Lambda authorizer returns.
    ///
    /// # Errors
    ///
    /// The document is no policy: everything that is wrong with it.
    pub fn identity(text: &str) -> Result<Self, PolicyError> {
        read(text, None)
    }

    /// The statements, in the order of the document.
    #[must_use]
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// The document, as it was read.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Every network that a condition compares an address with: between their edges, the document says the same of all
    /// addresses, unless it compares them as text.
    pub fn networks(&self) -> impl Iterator<Item = IpNet> {
        let conditions = self.statements.iter().flat_map(|statement| &statement.conditions);
        conditions.filter_map(|condition| condition.test.networks()).flat_map(PrefixSet::networks)
    }

    /// What the document says of a request. Allocates nothing.
    #[must_use]
    pub fn decide(&self, request: &Request<'_, impl Context>) -> Decision {
        let mut decision = Decision::ImplicitlyDenied;
        for (number, statement) in self.statements.iter().enumerate() {
            // A statement that allows has nothing to add once another one has.
            let adds = statement.effect == Effect::Deny || decision == Decision::ImplicitlyDenied;
            if adds && statement.matches(request) {
                match statement.effect {
                    Effect::Deny => return Decision::ExplicitlyDenied { statement: number },
                    Effect::Allow => decision = Decision::Allowed { statement: number },
                }
            }
        }
        decision
    }
}

impl Decision {
    /// Whether it is an allow.
    #[must_use]
    pub fn is_allowed(self) -> bool {
        matches!(self, Self::Allowed { .. })
    }

    /// Whether a statement denies it.
    #[must_use]
    pub fn is_explicitly_denied(self) -> bool {
        matches!(self, Self::ExplicitlyDenied { .. })
    }

    /// The statement that made it.
    #[must_use]
    pub fn statement(self) -> Option<usize> {
        match self {
            Self::Allowed { statement } | Self::ExplicitlyDenied { statement } => Some(statement),
            Self::ImplicitlyDenied => None,
        }
    }
}

/// `api` is given for resource policies.
fn read(text: &str, api: Option<&ApiArn>) -> Result<Policy, PolicyError> {
    let mut reporter = Reporter::new(text);
    let policy = match Node::read(text) {
        Ok(root) => read_document(&root, api, &mut reporter),
        Err(unreadable) => {
            report(unreadable, "", &mut reporter);
            None
        }
    };
    let policy = policy.map(|statements| Policy {
        statements,
        api: api.cloned(),
        text: text.into(),
        characters: text.chars().count(),
    });
    reporter.finish(policy)
}

fn read_document(root: &Node<'_>, api: Option<&ApiArn>, reporter: &mut Reporter<'_>) -> Option<Box<[Statement]>> {
    let mut variables = false;
    let mut statement = None;
    let elements = entries(root, "", reporter)?;
    let known: &[&'static str] = match api {
        Some(_) => &["Version", "Id", "Statement"],
        None => &["Version", "Statement"],
    };
    for element in elements {
        if reporter.is_full() {
            return None;
        }
        match element.name.as_str() {
            "Version" => match text(&element.value, "Version", reporter).as_deref() {
                Some("2012-10-17") => variables = true,
                Some("2008-10-17") | None => {}
                Some(other) => {
                    reporter.report(element.value.at(), "Version", Mistake::Version(other.to_owned()));
                }
            },
            "Id" if api.is_some() => drop(text(&element.value, "Id", reporter)),
            "Statement" => statement = Some(element.value),
            name => {
                let mistake =
                    Mistake::UnknownElement { name: name.to_owned(), nearest: nearest(name, known.iter().copied()) };
                reporter.report(element.name_at, "", mistake);
            }
        }
    }
    let Some(statement) = statement else {
        reporter.report(root.at(), "", Mistake::Missing("Statement"));
        return None;
    };
    read_statements(&statement, &Reader { api, variables }, reporter)
}

fn read_statements(node: &Node<'_>, reader: &Reader<'_>, reporter: &mut Reporter<'_>) -> Option<Box<[Statement]>> {
    let nodes = match node.items() {
        Ok(Some(nodes)) => nodes,
        Ok(None) => vec![*node],
        Err(unreadable) => {
            report(unreadable, "Statement", reporter);
            return None;
        }
    };
    if nodes.is_empty() {
        reporter.report(node.at(), "Statement", Mistake::Empty);
        return None;
    }
    let mut statements = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        if reporter.is_full() {
            break;
        }
        reporter.enter(Some(StatementName::Index(index)));
        statements.push(reader.read(node, index, reporter));
    }
    reporter.enter(None);
    let statements: Option<Vec<Statement>> = statements.into_iter().collect();
    let statements = statements?;
    refuse_shared_sids(&statements, reporter);
    Some(statements.into())
}
