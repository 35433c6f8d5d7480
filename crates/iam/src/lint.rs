//! What is no mistake of the language, and hardly what anybody means.

use std::fmt;
use std::ops::Range;

use crate::arn::ArnPattern;
use crate::condition::{Condition, Quantifier, Test};
use crate::glob::Pattern;
use crate::key::Key;
use crate::policy::Policy;
use crate::principal::{PrincipalPattern, PrincipalRule};
use crate::resource::ResourcePattern;
use crate::statement::{Effect, Statement, StatementName};

/// The longest resource policy that AWS takes, in characters (API Gateway developer guide, limits).
const LONGEST_RESOURCE_POLICY: usize = 8_192;
/// The longest identity policy that AWS takes, in characters (IAM user guide, reference_iam-quotas).
const LONGEST_IDENTITY_POLICY: usize = 6_144;

/// Something in a policy that hardly anybody means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    /// What it is.
    pub kind: LintKind,
    /// The statement that it is in; absent if it is about the whole document.
    pub statement: Option<StatementName>,
    /// Which bytes of the document are meant.
    pub at: Range<usize>,
}

/// What can be told of a policy. Closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LintKind {
    /// An Allow by address, where identities can allow on their own.
    AddressRestrictsNobody,
    /// A statement that matches no request at all.
    NeverMatches {
        /// What it was meant to do.
        effect: Effect,
        /// Why it matches none.
        because: Never,
    },
    /// One of several resources that matches no request.
    DeadResource(DeadResource),
    /// One of several actions that no request is.
    DeadAction,
    /// A resource with the method `ANY`, which no request has.
    MethodAny,
    /// A resource with a method that is not in capitals, behind a `*` that is meant as the stage.
    MethodInSmallLetters,
    /// A condition that compares with a variable that no request has a value for.
    DeadVariable {
        /// The variable's key.
        key: Key,
    },
    /// A resource that ends with a method behind a `*`, and so stands for paths that end with it.
    EndsWithMethod,
    /// The pattern of an ARN that no ARN has the form of.
    DeadArnPattern {
        /// The key it is compared with.
        key: Key,
    },
    /// An Allow of everything but something.
    AllowsAllBut {
        /// `NotAction`, `NotResource` or `NotPrincipal`.
        element: &'static str,
    },
    /// An Allow with a negated operator, which also holds without the key.
    NegatedAllowsAbsence {
        /// The operator as it is written.
        operator: Box<str>,
        /// The key that may be absent.
        key: Key,
    },
    /// An Allow with `ForAllValues`, which also holds without any value.
    AllOfNothing {
        /// The key that may be absent.
        key: Key,
    },
    /// A Deny for all but some principals, which hits those too, because their accounts are not listed.
    NotPrincipalWithoutAccount,
    /// Longer than AWS would take.
    TooLong {
        /// How long it is, in characters.
        characters: usize,
        /// How long it may be.
        most: usize,
    },
}

/// Why a statement matches no request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Never {
    /// It speaks of nobody who calls an API.
    Nobody,
    /// It speaks of no action of an API.
    Action,
    /// Each of its resources is dead, the first one for this reason.
    Resource(DeadResource),
    /// A condition on a key that no request has.
    UnknownKey(Key),
    /// Conditions that want a key both absent and there.
    Contradiction(Key),
    /// A condition that wants a key absent that every request has.
    AlwaysPresent(Key),
    /// A condition on an ARN without a pattern that has the form of one.
    ArnPattern(Key),
    /// A condition that compares only with variables that no request has a value for, this one first.
    Variable(Key),
    /// An Allow of all but resources that are never known, for want of this variable.
    UnknownExceptions(Key),
}

/// Why a resource matches no request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadResource {
    /// It belongs to another service, or to another API than the policy.
    Elsewhere,
    /// It ends in the slash behind the API's id.
    EndsBehindApi,
    /// It ends before the path.
    EndsBeforePath,
    /// Its method is not in capitals.
    MethodInSmallLetters,
    /// Its path is not spelled as paths of requests are.
    PathForm,
    /// It has a variable without default that no request has a value for.
    Variable(Key),
}

/// What stands beside a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Nothing that could allow in its place, and nobody known by name: every caller is anonymous.
    Alone,
    /// Nothing that could allow in its place either, but callers are known by name: Gatepost's own rule.
    BesideCallers,
    /// Identity policies or authorizers, which allow on their own where this policy is silent.
    BesideIdentities,
}

impl Policy {
    /// What hardly anybody means, in the order of the document.
    #[must_use]
    pub fn lints(&self, standing: Standing) -> Vec<Lint> {
        let mut lints = Vec::new();
        let most = if self.api.is_some() { LONGEST_RESOURCE_POLICY } else { LONGEST_IDENTITY_POLICY };
        if self.characters > most {
            let kind = LintKind::TooLong { characters: self.characters, most };
            lints.push(Lint { kind, statement: None, at: 0..0 });
        }
        let by_address = standing == Standing::BesideIdentities && self.api.is_some() && !self.denies_by_address();
        for statement in self.statements() {
            let mut found = Findings { policy: self, standing, statement, lints: &mut lints };
            found.dead_ends();
            if statement.effect == Effect::Allow {
                found.too_wide();
                if by_address {
                    found.by_address();
                }
            } else {
                found.hit_by_accident();
            }
        }
        lints
    }

    fn denies_by_address(&self) -> bool {
        let by_address = |condition: &Condition| condition.negated && matches!(condition.test, Test::Address(_));
        let denials = self.statements().iter().filter(|statement| statement.effect == Effect::Deny);
        denials.flat_map(|statement| &statement.conditions).any(by_address)
    }
}

/// Looks at one statement.
struct Findings<'p> {
    policy: &'p Policy,
    standing: Standing,
    statement: &'p Statement,
    lints: &'p mut Vec<Lint>,
}

impl Findings<'_> {
    fn tell(&mut self, kind: LintKind, at: Range<usize>) {
        self.lints.push(Lint { kind, statement: Some(self.statement.name.clone()), at });
    }

    /// What matches no request.
    fn dead_ends(&mut self) {
        let Statement { effect, at, action, resource, .. } = self.statement;
        if let Some((because, place)) = self.never() {
            return self.tell(LintKind::NeverMatches { effect: *effect, because }, place.unwrap_or(at.clone()));
        }
        for (entry, at) in action.entries.iter().filter(|_| !action.negated) {
            if !entry.matches_an_api() {
                self.tell(LintKind::DeadAction, at.clone());
            }
        }
        for (entry, at) in resource.entries.iter().filter(|_| !resource.negated) {
            if let Some(dead) = self.dead(entry) {
                self.tell(LintKind::DeadResource(dead), at.clone());
            } else if entry.method_is_any() {
                self.tell(LintKind::MethodAny, at.clone());
            } else if entry.method_is_a_word() {
                self.tell(LintKind::MethodInSmallLetters, at.clone());
            } else if entry.ends_with_a_method() {
                self.tell(LintKind::EndsWithMethod, at.clone());
            }
        }
        for Condition { key, test, at, .. } in &self.statement.conditions {
            if let Test::Arn { incomplete: true, .. } = test {
                self.tell(LintKind::DeadArnPattern { key: key.clone() }, at.clone());
            }
            let variable = self.dead_variables(test).into_iter().flatten().next().cloned();
            if let Some(key) = variable {
                self.tell(LintKind::DeadVariable { key }, at.clone());
            }
        }
    }

    /// Why the statement matches nothing, and where that is written.
    fn never(&self) -> Option<(Never, Option<Range<usize>>)> {
        let Statement { effect, principal, action, resource, conditions, .. } = self.statement;
        if principal.as_ref().is_some_and(PrincipalRule::is_nobody) {
            return Some((Never::Nobody, None));
        }
        if !action.negated && !action.entries.iter().any(|(entry, _)| entry.matches_an_api()) {
            return Some((Never::Action, action.entries.first().map(|(_, at)| at.clone())));
        }
        let dead: Option<Vec<_>> =
            resource.entries.iter().map(|(entry, at)| Some((self.dead(entry)?, at.clone()))).collect();
        if let Some((dead, at)) = dead.filter(|_| !resource.negated).and_then(|dead| dead.into_iter().next()) {
            return Some((Never::Resource(dead), Some(at)));
        }
        if resource.negated && *effect == Effect::Allow {
            let dead = |(entry, at): &(ResourcePattern, Range<usize>)| {
                let key = entry.needed_keys().find(|key| self.is_dead(key))?;
                Some((Never::UnknownExceptions(key.clone()), Some(at.clone())))
            };
            if let Some(never) = resource.entries.iter().find_map(dead) {
                return Some(never);
            }
        }
        let never =
            |condition: &Condition| self.never_holds(condition).map(|because| (because, Some(condition.at.clone())));
        conditions.iter().find_map(never)
    }

    fn never_holds(&self, condition: &Condition) -> Option<Never> {
        let key = || condition.key.clone();
        if condition.wants_absence() && condition.key.is_always_present() {
            return Some(Never::AlwaysPresent(key()));
        }
        if condition.holds_without_key() {
            return None;
        }
        if matches!(condition.key, Key::Other(_)) {
            return Some(Never::UnknownKey(key()));
        }
        let contradicts = |other: &Condition| other.key == condition.key && other.wants_absence();
        if self.statement.conditions.iter().any(contradicts) {
            return Some(Never::Contradiction(key()));
        }
        let dead: Option<Vec<&Key>> = self.dead_variables(&condition.test).into_iter().collect();
        if let Some(variable) = dead.as_ref().and_then(|keys| keys.first()).filter(|_| !condition.negated) {
            return Some(Never::Variable((*variable).clone()));
        }
        match &condition.test {
            Test::Arn { patterns, .. } if patterns.is_empty() && !condition.negated => Some(Never::ArnPattern(key())),
            Test::Arn { .. }
            | Test::Text { .. }
            | Test::Number { .. }
            | Test::Date { .. }
            | Test::Bool(_)
            | Test::Binary(_)
            | Test::Address(_)
            | Test::Null { .. } => None,
        }
    }

    fn dead(&self, resource: &ResourcePattern) -> Option<DeadResource> {
        if !resource.may_be_of(self.policy.api.as_ref()) {
            Some(DeadResource::Elsewhere)
        } else if resource.ends_behind_the_api() {
            Some(DeadResource::EndsBehindApi)
        } else if resource.ends_before_the_path() {
            Some(DeadResource::EndsBeforePath)
        } else if resource.method_in_small_letters() {
            Some(DeadResource::MethodInSmallLetters)
        } else if resource.path_has_another_form() {
            Some(DeadResource::PathForm)
        } else {
            resource.needed_keys().find(|key| self.is_dead(key)).cloned().map(DeadResource::Variable)
        }
    }

    /// Of each pattern, the first variable that never has a value, so that the pattern matches nothing.
    fn dead_variables<'t>(&self, test: &'t Test) -> Vec<Option<&'t Key>> {
        let dead = |pattern: &'t Pattern| pattern.needed_keys().find(|key| self.is_dead(key));
        match test {
            Test::Text { patterns, .. } | Test::Bool(patterns) => patterns.iter().map(dead).collect(),
            Test::Arn { patterns, .. } => {
                let parts = |arn: &'t ArnPattern| arn.parts.iter().chain([&arn.rest]);
                patterns.iter().map(|arn| parts(arn).find_map(dead)).collect()
            }
            Test::Number { .. } | Test::Date { .. } | Test::Binary(_) | Test::Address(_) | Test::Null { .. } => {
                Vec::new()
            }
        }
    }

    /// Whether a variable of this key never has a value.
    fn is_dead(&self, key: &Key) -> bool {
        match self.standing {
            Standing::Alone => !key.may_be_of_anonymous(),
            Standing::BesideCallers | Standing::BesideIdentities => false,
        }
    }

    /// What an Allow admits that hardly anybody means.
    fn too_wide(&mut self) {
        let Statement { at, action, resource, principal, conditions, .. } = self.statement;
        let negated = [
            ("NotAction", action.negated),
            ("NotResource", resource.negated),
            ("NotPrincipal", matches!(principal, Some(PrincipalRule::NotListed(_)))),
        ];
        for (element, _) in negated.into_iter().filter(|(_, negated)| *negated) {
            self.tell(LintKind::AllowsAllBut { element }, at.clone());
        }
        for condition in conditions {
            let Condition { key, operator, at, .. } = condition;
            let checked = conditions.iter().any(|other| other.key == *key && other.wants_presence());
            if checked || key.is_always_present() || !condition.holds_without_key() {
                continue;
            }
            if condition.quantifier == Quantifier::All {
                self.tell(LintKind::AllOfNothing { key: key.clone() }, at.clone());
            } else if condition.negated {
                let kind = LintKind::NegatedAllowsAbsence { operator: operator.clone(), key: key.clone() };
                self.tell(kind, at.clone());
            }
        }
    }

    fn by_address(&mut self) {
        for Condition { negated, test, at, .. } in &self.statement.conditions {
            if !negated && matches!(test, Test::Address(_)) {
                self.tell(LintKind::AddressRestrictsNobody, at.clone());
            }
        }
    }

    /// Whom a Deny hits that hardly anybody means.
    fn hit_by_accident(&mut self) {
        let Some(PrincipalRule::NotListed(list)) = &self.statement.principal else { return };
        let is_listed = |account: &str| {
            list.iter().any(|entry| matches!(entry, PrincipalPattern::Account(listed) if &**listed == account))
        };
        if list.iter().filter_map(PrincipalPattern::account).any(|account| !is_listed(account)) {
            self.tell(LintKind::NotPrincipalWithoutAccount, self.statement.at());
        }
    }
}

impl Condition {
    /// Whether it holds only if the key is absent.
    fn wants_absence(&self) -> bool {
        matches!(self.test, Test::Null { absent: true, present: false })
    }

    /// Whether it holds only if the key is there.
    fn wants_presence(&self) -> bool {
        matches!(self.test, Test::Null { absent: false, .. })
    }
}

impl Lint {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match &self.kind {
            LintKind::AddressRestrictsNobody => {
                "to shut out everyone else, add a Deny with `NotIpAddress` on the same addresses".to_owned()
            }
            LintKind::NeverMatches { because, .. } => because.help(),
            LintKind::DeadResource(dead) => dead.help().to_owned(),
            LintKind::DeadAction => Never::Action.help(),
            LintKind::MethodAny => "write `*` for every method".to_owned(),
            LintKind::MethodInSmallLetters => DeadResource::MethodInSmallLetters.help().to_owned(),
            LintKind::DeadVariable { .. } => VARIABLE_HELP.to_owned(),
            LintKind::EndsWithMethod => DeadResource::EndsBeforePath.help().to_owned(),
            LintKind::DeadArnPattern { .. } => ARN_HELP.to_owned(),
            LintKind::AllowsAllBut { element } => {
                format!("list what is allowed in `{}` instead", element.trim_start_matches("Not"))
            }
            LintKind::NegatedAllowsAbsence { key, .. } | LintKind::AllOfNothing { key } => {
                format!("if it must be there, add `\"Null\": {{\"{key}\": \"false\"}}`")
            }
            LintKind::NotPrincipalWithoutAccount => {
                "list the account's ARN too, and for a session its role's; or deny \"*\" with ArnNotLike on \
                 aws:PrincipalArn"
                    .to_owned()
            }
            LintKind::TooLong { .. } => "shorten it if AWS is to take it; here it works".to_owned(),
        }
    }
}

const VARIABLE_HELP: &str = "write the value itself, or give the variable a default: `${aws:username, 'nobody'}`";
const ARN_HELP: &str = "write all six parts: `arn:aws:iam::*:role/app-*`";

impl fmt::Display for Lint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.statement {
            write!(out, "statement {name} ")?;
        }
        match &self.kind {
            LintKind::AddressRestrictsNobody => out
                .write_str("allows by address, which restricts nobody whom an identity policy or an authorizer allows"),
            LintKind::NeverMatches { effect: Effect::Deny, because } => write!(out, "denies nothing: {because}"),
            LintKind::NeverMatches { effect: Effect::Allow, because } => write!(out, "allows nothing: {because}"),
            LintKind::DeadResource(dead) => write!(out, "has a resource that matches no request: {dead}"),
            LintKind::DeadAction => write!(out, "has an action that no request is: {}", Never::Action),
            LintKind::DeadArnPattern { key } => {
                write!(out, "compares `{key}` with a pattern of fewer than six parts, which matches no ARN")
            }
            LintKind::MethodAny => out.write_str("has a resource with the method `ANY`, which no request has"),
            LintKind::MethodInSmallLetters => out.write_str(
                "has a resource with a method in small letters, so it stands for paths with that word: `*` takes slashes too",
            ),
            LintKind::DeadVariable { key } => {
                write!(out, "compares with `${{{key}}}`, which no request has a value for: nothing equals that")
            }
            LintKind::EndsWithMethod => out.write_str(
                "has a resource that ends with a method, so it stands for paths that end so: `*` takes slashes too",
            ),
            LintKind::AllowsAllBut { element } => write!(out, "allows all that `{element}` does not list"),
            LintKind::NegatedAllowsAbsence { operator, key } => {
                write!(out, "allows requests without `{key}` as well: `{operator}` holds when the key is absent")
            }
            LintKind::AllOfNothing { key } => {
                write!(out, "allows requests without `{key}` as well: `ForAllValues` holds when there is no value")
            }
            LintKind::NotPrincipalWithoutAccount => {
                out.write_str("denies also those whom `NotPrincipal` lists, because their account is not listed")
            }
            LintKind::TooLong { characters, most } => {
                write!(out, "the policy has {characters} characters, and AWS takes at most {most}")
            }
        }
    }
}

impl Never {
    fn help(&self) -> String {
        match self {
            Self::Nobody => "name an account, a user or a role under `AWS`, or write \"*\"".to_owned(),
            Self::Action => "write `execute-api:Invoke`".to_owned(),
            Self::Resource(dead) => dead.help().to_owned(),
            Self::UnknownKey(_) => "see the guide for the keys that requests have".to_owned(),
            Self::Contradiction(_) | Self::AlwaysPresent(_) => "remove one of the conditions".to_owned(),
            Self::ArnPattern(_) => ARN_HELP.to_owned(),
            Self::Variable(_) | Self::UnknownExceptions(_) => VARIABLE_HELP.to_owned(),
        }
    }
}

impl fmt::Display for Never {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => out.write_str("it speaks of nobody who could call"),
            Self::Action => out.write_str("an API has `Invoke`, `InvalidateCache` and `ManageConnections` alone"),
            Self::Resource(dead) => write!(out, "{dead}"),
            Self::UnknownKey(key) => write!(out, "no request has `{key}`"),
            Self::Contradiction(key) => write!(out, "`{key}` cannot be absent and compared"),
            Self::AlwaysPresent(key) => write!(out, "every request has `{key}`"),
            Self::ArnPattern(key) => write!(out, "`{key}` is compared with what is no pattern of ARNs"),
            Self::Variable(key) => write!(out, "it compares with `${{{key}}}`, which no request has a value for"),
            Self::UnknownExceptions(key) => {
                write!(out, "`NotResource` has `${{{key}}}`, which no request has a value for")
            }
        }
    }
}

impl DeadResource {
    fn help(&self) -> &'static str {
        match self {
            Self::Elsewhere => "write `execute-api:/*` for all of this API",
            Self::EndsBehindApi => "for the whole API end it with `/*`",
            Self::EndsBeforePath => "let it go on: `…/STAGE/METHOD/*`",
            Self::MethodInSmallLetters => "write the method in capitals: `…/STAGE/GET/*`",
            Self::PathForm => {
                "write letters, digits and `-._~` as they are, and every other escape in capitals: `caf%C3%A9`, `~user`"
            }
            Self::Variable(_) => VARIABLE_HELP,
        }
    }
}

impl fmt::Display for DeadResource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::MethodInSmallLetters => "its method is not in capitals, as those of requests are",
            Self::PathForm => "its path is not in the one form that paths of requests are brought to",
            Self::Variable(key) => return write!(out, "it has `${{{key}}}`, which no request has a value for"),
            Self::Elsewhere => "it is of another service or another API",
            Self::EndsBehindApi => "it ends with the slash behind the API's id, where every request goes on",
            Self::EndsBeforePath => "it ends before the path, where every request goes on",
        })
    }
}
