//! Statements: read, and matched against a request.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use crate::action::{ActionError, ActionPattern};
use crate::arn::ApiArn;
use crate::condition::{self, Condition};
use crate::document::{Entry, Node, nearest};
use crate::error::{Mistake, Reporter};
use crate::policy::Request;
use crate::principal::{PrincipalError, PrincipalPattern, PrincipalRule};
use crate::reading::{Written, entries, text, texts};
use crate::resource::{ResourceError, ResourcePattern};
use crate::value::Context;

/// What a statement is called: by its `Sid` if it has one, else by its place in the document.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StatementName {
    /// Its `Sid`.
    Sid(Box<str>),
    /// Its number, counted from zero.
    Index(usize),
}

impl fmt::Display for StatementName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sid(sid) => write!(out, "{sid:?}"),
            Self::Index(index) => write!(out, "{index}"),
        }
    }
}

/// What a statement does to a request that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It is let through, unless another statement denies it.
    Allow,
    /// It is refused, whatever else is said.
    Deny,
}

/// One statement of a policy.
#[derive(Debug, Clone)]
pub struct Statement {
    pub(crate) name: StatementName,
    pub(crate) at: Range<usize>,
    pub(crate) effect: Effect,
    /// Absent in an identity policy.
    pub(crate) principal: Option<PrincipalRule>,
    pub(crate) action: Listing<ActionPattern>,
    pub(crate) resource: Listing<ResourcePattern>,
    pub(crate) conditions: Box<[Condition]>,
}

/// `X` or `NotX` with its entries.
#[derive(Debug, Clone)]
pub(crate) struct Listing<T> {
    /// `NotX`: everything but the entries.
    pub(crate) negated: bool,
    pub(crate) entries: Box<[(T, Range<usize>)]>,
}

impl Statement {
    /// Its `Sid` or its number.
    #[must_use]
    pub fn name(&self) -> &StatementName {
        &self.name
    }

    /// Whether it allows or denies.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// Which bytes of the document it is.
    #[must_use]
    pub fn at(&self) -> Range<usize> {
        self.at.clone()
    }

    /// Whether it speaks of this request. The cheapest questions come first.
    pub(crate) fn matches(&self, request: &Request<'_, impl Context>) -> bool {
        self.admits_action(request)
            && self.admits_principal(request)
            && self.admits_resource(request)
            && self.conditions.iter().all(|condition| condition.holds(self.effect, request.context))
    }

    pub(crate) fn admits_action(&self, request: &Request<'_, impl Context>) -> bool {
        self.action.admits(|pattern| pattern.matches(request.action))
    }

    pub(crate) fn admits_principal(&self, request: &Request<'_, impl Context>) -> bool {
        self.principal.as_ref().is_none_or(|rule| match self.effect {
            Effect::Allow => rule.allows(&request.principal),
            Effect::Deny => rule.denies(&request.principal),
        })
    }

    /// What `NotResource` leaves out is not known where a variable has no value: then it allows nothing.
    pub(crate) fn admits_resource(&self, request: &Request<'_, impl Context>) -> bool {
        let is_known = |pattern: &ResourcePattern| pattern.is_resolved(request.context);
        if self.resource.negated
            && self.effect == Effect::Allow
            && !self.resource.entries.iter().all(|(pattern, _)| is_known(pattern))
        {
            return false;
        }
        self.resource.admits(|pattern| pattern.matches(&request.resource, request.context))
    }
}

impl<T> Listing<T> {
    fn admits(&self, matches: impl Fn(&T) -> bool) -> bool {
        self.entries.iter().any(|(entry, _)| matches(entry)) != self.negated
    }
}

/// What statements of a document have in common.
pub(crate) struct Reader<'d> {
    /// The API of a resource policy; absent for an identity policy.
    pub(crate) api: Option<&'d ApiArn>,
    /// Whether the version has variables.
    pub(crate) variables: bool,
}

const ELEMENTS: [&str; 9] =
    ["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"];

impl Reader<'_> {
    /// Reads one statement. Absent: something in it is wrong, which has been reported.
    pub(crate) fn read(&self, node: &Node<'_>, index: usize, reporter: &mut Reporter<'_>) -> Option<Statement> {
        let elements = Elements { node, elements: entries(node, "", reporter)? };
        let name = self.name(&elements, index, reporter);
        reporter.enter(Some(name.clone()));
        elements.refuse_unknown(reporter);
        let effect = effect(&elements, reporter);
        let principal = self.principal(&elements, reporter);
        let action = elements.pair("Action", "NotAction", reporter).and_then(|(negated, element)| {
            listing(negated, element, reporter, |written, reporter| action(written, &element.name, reporter))
        });
        let resource = elements.pair("Resource", "NotResource", reporter).and_then(|(negated, element)| {
            listing(negated, element, reporter, |written, reporter| self.resource(written, &element.name, reporter))
        });
        let conditions = elements
            .get("Condition")
            .map(|element| condition::compile(&element.value, self.variables, reporter))
            .unwrap_or_default();
        Some(Statement {
            name,
            at: node.at(),
            effect: effect?,
            principal: principal?,
            action: action?,
            resource: resource?,
            conditions: conditions.into(),
        })
    }

    fn name(&self, elements: &Elements<'_, '_>, index: usize, reporter: &mut Reporter<'_>) -> StatementName {
        reporter.enter(Some(StatementName::Index(index)));
        let Some(element) = elements.get("Sid") else { return StatementName::Index(index) };
        match text(&element.value, "Sid", reporter) {
            // The console of AWS writes empty ones.
            Some(sid) if sid.is_empty() => StatementName::Index(index),
            Some(sid) => {
                if self.api.is_none() && !sid.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                    reporter.report(element.value.at(), "Sid", Mistake::SidCharacters(sid.clone()));
                }
                StatementName::Sid(sid.into())
            }
            None => StatementName::Index(index),
        }
    }

    /// The inner absence is an identity policy's.
    fn principal(&self, elements: &Elements<'_, '_>, reporter: &mut Reporter<'_>) -> Option<Option<PrincipalRule>> {
        if self.api.is_none() {
            let written = ["Principal", "NotPrincipal"].into_iter().filter_map(|name| elements.get(name));
            for element in written {
                reporter.report(element.name_at.clone(), "", Mistake::PrincipalInIdentity);
            }
            return Some(None);
        }
        let (negated, element) = elements.pair("Principal", "NotPrincipal", reporter)?;
        let list = principals(&element.value, &element.name, reporter)?.into();
        Some(Some(if negated { PrincipalRule::NotListed(list) } else { PrincipalRule::Listed(list) }))
    }

    fn resource(&self, written: &Written, element: &str, reporter: &mut Reporter<'_>) -> Option<ResourcePattern> {
        match ResourcePattern::parse(&written.text, self.api, self.variables) {
            Ok(pattern) => return Some(pattern),
            Err(ResourceError::Mistake(mistake)) => reporter.report(written.at.clone(), element.to_owned(), mistake),
            Err(ResourceError::Pattern(error)) => {
                reporter.report_pattern(written.at.clone(), element.to_owned(), error);
            }
        }
        None
    }
}

/// The elements of a statement.
struct Elements<'n, 't> {
    node: &'n Node<'t>,
    elements: Vec<Entry<'t>>,
}

impl<'t> Elements<'_, 't> {
    fn get(&self, name: &str) -> Option<&Entry<'t>> {
        self.elements.iter().find(|element| element.name == name)
    }

    fn refuse_unknown(&self, reporter: &mut Reporter<'_>) {
        for Entry { name, name_at, .. } in &self.elements {
            if !ELEMENTS.contains(&name.as_str()) && !reporter.is_full() {
                let mistake = Mistake::UnknownElement { name: name.clone(), nearest: nearest(name, ELEMENTS) };
                reporter.report(name_at.clone(), "", mistake);
            }
        }
    }

    /// The one of a pair that is there, and whether it is the negated one.
    fn pair(&self, plain: &'static str, negated: &str, reporter: &mut Reporter<'_>) -> Option<(bool, &Entry<'t>)> {
        match (self.get(plain), self.get(negated)) {
            (Some(element), None) => return Some((false, element)),
            (None, Some(element)) => return Some((true, element)),
            (Some(_), Some(second)) => reporter.report(second.name_at.clone(), "", Mistake::Both(plain)),
            (None, None) => reporter.report(self.node.at(), "", Mistake::Missing(plain)),
        }
        None
    }
}

fn effect(elements: &Elements<'_, '_>, reporter: &mut Reporter<'_>) -> Option<Effect> {
    let Some(element) = elements.get("Effect") else {
        reporter.report(elements.node.at(), "", Mistake::Missing("Effect"));
        return None;
    };
    match text(&element.value, "Effect", reporter)?.as_str() {
        "Allow" => Some(Effect::Allow),
        "Deny" => Some(Effect::Deny),
        other => {
            reporter.report(element.value.at(), "Effect", Mistake::Effect(other.to_owned()));
            None
        }
    }
}

fn listing<T>(
    negated: bool,
    element: &Entry<'_>,
    reporter: &mut Reporter<'_>,
    parse: impl Fn(&Written, &mut Reporter<'_>) -> Option<T>,
) -> Option<Listing<T>> {
    let mut entries = Vec::new();
    let mut complete = true;
    for written in texts(&element.value, &element.name, false, reporter) {
        match parse(&written, reporter) {
            Some(entry) => entries.push((entry, written.at)),
            None => complete = false,
        }
    }
    (complete && !entries.is_empty()).then(|| Listing { negated, entries: entries.into() })
}

fn action(written: &Written, element: &str, reporter: &mut Reporter<'_>) -> Option<ActionPattern> {
    let mistake = match ActionPattern::parse(&written.text) {
        Ok(pattern) => return Some(pattern),
        Err(ActionError::Malformed) => Mistake::Action(written.text.clone()),
        Err(ActionError::ServiceWildcard) => Mistake::ServiceWildcard(written.text.clone()),
    };
    reporter.report(written.at.clone(), element.to_owned(), mistake);
    None
}

/// Reads a principal: `"*"`, or a map of kinds. Absent: something is wrong, which has been reported.
fn principals(node: &Node<'_>, element: &str, reporter: &mut Reporter<'_>) -> Option<Vec<PrincipalPattern>> {
    if let Ok(Some(text)) = node.scalar() {
        if text == "*" {
            return Some(vec![PrincipalPattern::Everyone]);
        }
        reporter.report(node.at(), element.to_owned(), Mistake::Principal(text));
        return None;
    }
    let kinds = entries(node, element.to_owned(), reporter)?;
    if kinds.is_empty() {
        reporter.report(node.at(), element.to_owned(), Mistake::Empty);
    }
    let mut list = Vec::new();
    let mut complete = !kinds.is_empty();
    for kind in kinds {
        if reporter.is_full() {
            return None;
        }
        let parse = match kind.name.as_str() {
            "AWS" => PrincipalPattern::parse_aws,
            "Service" => PrincipalPattern::parse_service,
            "Federated" | "CanonicalUser" => |_: &str| Ok(PrincipalPattern::Nobody),
            _ => {
                let nearest = nearest(&kind.name, ["AWS", "Service", "Federated", "CanonicalUser"]);
                let mistake = Mistake::UnknownElement { name: kind.name, nearest };
                reporter.report(kind.name_at, element.to_owned(), mistake);
                complete = false;
                continue;
            }
        };
        let element = format!("{element}.{}", kind.name);
        let written = texts(&kind.value, &element, false, reporter);
        complete &= !written.is_empty();
        for Written { text, at } in written {
            let mistake = match parse(&text) {
                Ok(pattern) => {
                    list.push(pattern);
                    continue;
                }
                Err(PrincipalError::Malformed) => Mistake::Principal(text),
                Err(PrincipalError::Wildcard) => Mistake::PrincipalWildcard(text),
            };
            complete = false;
            reporter.report(at, element.clone(), mistake);
        }
    }
    complete.then_some(list)
}

/// Reports statements that share a `Sid`.
pub(crate) fn refuse_shared_sids(statements: &[Statement], reporter: &mut Reporter<'_>) {
    let mut first = HashMap::new();
    for statement in statements {
        if let StatementName::Sid(sid) = &statement.name
            && first.insert(sid, ()).is_some()
        {
            reporter.enter(None);
            reporter.report(statement.at(), "", Mistake::SidTwice(sid.to_string()));
        }
    }
}
