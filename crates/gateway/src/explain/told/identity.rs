//! Who a request is from, told with the places where callers were written.

use std::sync::Arc;

use gatepost_config::model::{self, ProofKind};
use gatepost_iam::{NearMiss, Unmet};

use crate::caller::ProofKinds;
use crate::explain::told::{Teller, Written, names, policy_says, statement_name};
use crate::explain::{Check, ExplainError, Rule, Step};
use crate::token::TokenFlaw;
use crate::trace::Said;

impl Written<'_> {
    fn rule_of_tokens(&self) -> Result<&model::TokenRule, ExplainError> {
        let rule = self.route.entry.rules().and_then(|rules| rules.token.as_deref());
        rule.ok_or_else(|| ExplainError::contradiction("a route without `jwt` was asked for its issuer"))
    }

    /// Whether a token is good for the route.
    pub(super) fn token(&self, flaw: Option<TokenFlaw>) -> Result<Step, ExplainError> {
        let rule = self.rule_of_tokens()?;
        let asked = format!("a token of {} for {}", rule.issuer, rule.audience.join(" or "));
        let asked = match &*rule.scopes {
            [] => asked,
            scopes => format!("{asked}, with {}", scopes.join(" or ")),
        };
        let step = match flaw {
            None => Step::pass(Check::Jwt, asked),
            Some(flaw) => Step::refuse(Check::Jwt, format!("{asked}: {flaw}")),
        };
        Ok(step.by(vec![Rule::new("jwt", &self.route.places.entry)]))
    }

    pub(super) fn token_assumed(&self) -> Result<Step, ExplainError> {
        let mut step = self.token(None)?;
        step.text += ", taken to be given";
        Ok(step)
    }
}

impl<'m> Teller<'m> {
    /// A proof, and whom it stands for.
    pub(super) fn proof(&self, kind: ProofKind, caller: u32, how: &str) -> Result<Step, ExplainError> {
        let caller = self.caller(caller)?;
        let text = format!("{} of {}{how}", kind.name(), caller.name);
        Ok(Step::pass(Check::Credentials, text).by(vec![rule_of(caller)]))
    }

    pub(super) fn proof_missing(&self, written: Written<'m>, kinds: ProofKinds) -> Step {
        let rule = written.route.entry.rules().and_then(|rules| rules.callers.as_ref());
        let text = match rule.is_some_and(|rule| rule.proof.is_empty()) {
            true => format!("none of {}", kinds.name().replace('+', ", ")),
            false => format!("lacks {}", kinds.name()),
        };
        Step::refuse(Check::Credentials, text).by(rules_of_credentials(written))
    }

    pub(super) fn proofs_disagree(&self, kind: ProofKind, caller: u32) -> Result<Step, ExplainError> {
        let caller = self.caller(caller)?;
        let text = format!("{} of {}, and what else it gives stands for another", kind.name(), caller.name);
        Ok(Step::refuse(Check::Credentials, text).by(vec![rule_of(caller)]))
    }

    /// Whether the caller's `from` lists the client.
    pub(super) fn caller_from(&self, caller: u32, listed: Option<bool>) -> Result<Step, ExplainError> {
        let caller = self.caller(caller)?;
        let Some(from) = &caller.from else {
            return Err(ExplainError::contradiction("a caller without `from` was asked for its addresses"));
        };
        let Some(listed) = listed else { return Ok(self.unknown(Check::CallerFrom, from)) };
        let (client, name) = (self.client, &caller.name);
        let rules = self.listing(from, client, listed, "from")?;
        Ok(if listed {
            Step::pass(Check::CallerFrom, format!("of {name}, lists {client}: {}", names(&rules))).by(rules)
        } else {
            let text = format!("of {name}, no entry lists {client}: its proofs are good from nowhere else");
            Step::refuse(Check::CallerFrom, text).by(vec![rule_of(caller)])
        })
    }

    /// Whether the route lets in who it is from.
    pub(super) fn caller_listed(
        &self,
        written: Written<'m>,
        caller: u32,
        proofs: ProofKinds,
        listed: bool,
    ) -> Result<Step, ExplainError> {
        let (rule, caller) = (rule_of_callers(written)?, self.caller(caller)?);
        let rules = vec![Rule::new("callers", &rule.place), rule_of(caller)];
        Ok(match listed {
            true => Step::pass(Check::Callers, format!("{}, by {proofs}", caller.name)),
            false => Step::refuse(Check::Callers, format!("{}, by {proofs}, is not one that is let in", caller.name)),
        }
        .by(rules))
    }

    pub(super) fn caller_policy(&self, caller: u32, said: Said) -> Result<Step, ExplainError> {
        let caller = self.caller(caller)?;
        let document = caller.policy.as_deref();
        let never = || ExplainError::contradiction("a caller without a policy was asked for it");
        let Step { text, rules, .. } = policy_says(document.ok_or_else(never)?, said)?;
        let passed = !matches!(said, Said::Denies(_) | Said::Nothing);
        Ok(Step { check: Check::Policy, passed, text: format!("of {}: {text}", caller.name), rules })
    }

    /// Adds to the last policy that allowed nothing what came nearest to it.
    pub(super) fn add_near_miss(
        &self,
        written: Written<'m>,
        near: &NearMiss,
        last: Option<&mut Step>,
    ) -> Result<(), ExplainError> {
        let NearMiss { statement, unmet } = near;
        let last = last.ok_or_else(|| ExplainError::contradiction("something was missed that nobody asked for"))?;
        let of_route = written.route.entry.rules().map(|rules| &rules.policies[..]).unwrap_or_default();
        let of_callers = self.model.callers.iter().filter_map(|caller| caller.policy.as_ref());
        let is_it = |document: &&Arc<model::PolicyDocument>| last.rules.iter().any(|rule| rule.place == document.place);
        let asked = of_route.iter().chain(of_callers).find(is_it);
        let document = asked.ok_or_else(|| ExplainError::contradiction("a policy was never written"))?;
        let unmet: Vec<String> = unmet.iter().map(Unmet::to_string).collect();
        let name = statement_name(document, *statement)?;
        last.text += &format!("; nearest is {name}, but for {}", unmet.join(" and "));
        Ok(())
    }

    pub(super) fn caller(&self, number: u32) -> Result<&'m model::Caller, ExplainError> {
        let caller = self.model.callers.get(number as usize);
        caller.map(|caller| &**caller).ok_or_else(|| ExplainError::contradiction("a caller was never written"))
    }
}

/// What asks for credentials.
pub(super) fn rules_of_credentials(written: Written<'_>) -> Vec<Rule> {
    let rule = written.route.entry.rules().and_then(|rules| rules.callers.as_ref());
    let of_token = || Rule::new("jwt", &written.route.places.entry);
    vec![rule.map_or_else(of_token, |rule| Rule::new("callers", &rule.place))]
}

fn rule_of(caller: &model::Caller) -> Rule {
    Rule::new(format!("caller.{}", caller.name), &caller.place)
}

fn rule_of_callers(written: Written<'_>) -> Result<&model::CallerRule, ExplainError> {
    let rule = written.route.entry.rules().and_then(|rules| rules.callers.as_ref());
    rule.ok_or_else(|| ExplainError::contradiction("a route without `callers` was asked for them"))
}
