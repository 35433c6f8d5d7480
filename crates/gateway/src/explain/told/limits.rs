//! What a caller had of its limits, told with its plan.

use gatepost_config::model;

use super::{Rule, Step, Teller, Written, rate_text};
use crate::explain::{Check, ExplainError, Gateway};
use crate::trace::{AccountOf, Found};

impl<'m> Teller<'m> {
    fn plan(&self, number: u32) -> Result<&'m model::Plan, ExplainError> {
        let plan = self.caller(number)?.plan.as_deref();
        plan.ok_or_else(|| ExplainError::contradiction("a caller without a plan was held to one"))
    }

    /// How many requests of a caller are under way.
    pub(super) fn caller_parallel(&self, caller: u32, under_way: usize) -> Result<Step, ExplainError> {
        let caller = self.caller(caller)?;
        let cap = caller.parallel.map_or(usize::MAX, std::num::NonZeroUsize::get);
        let step = Step::pass(Check::Parallel, format!("caller {}: {under_way} of {cap} under way", caller.name));
        Ok(Step { passed: under_way < cap, ..step.by(vec![Rule::new("parallel", &caller.place)]) })
    }

    /// How many tokens a plan's bucket has.
    pub(super) fn plan_bucket(
        &self,
        written: Written<'_>,
        caller: u32,
        of_route: bool,
        left: u32,
    ) -> Result<Step, ExplainError> {
        let plan = self.plan(caller)?;
        let missing = || ExplainError::contradiction("a bucket was never written");
        let (throttle, place, whose) = if of_route {
            let is_it =
                |listed: &&model::PlanRoute| *listed.api == *written.api.name && *listed.route == *written.route.key;
            let listed = plan.routes.iter().find(is_it).ok_or_else(missing)?;
            (listed.throttle, &listed.place, "this route, ")
        } else {
            (plan.throttle.ok_or_else(missing)?, &plan.place, "")
        };
        let (rate, burst) = (rate_text(throttle.rate), throttle.burst);
        let text = format!("plan {}, {whose}each caller {rate}: {left} of {burst} tokens left", plan.name);
        let step = Step::pass(Check::Throttle, text).by(vec![Rule::new("throttle", place)]);
        Ok(Step { passed: left > 0, ..step })
    }

    /// How much is left of a quota or a budget.
    pub(super) fn account(&self, written: Written<'_>, of: AccountOf, found: Found) -> Result<Step, ExplainError> {
        let missing = || ExplainError::contradiction("a quota or a budget was never written");
        match of {
            AccountOf::Quota(caller) => {
                let plan = self.plan(caller)?;
                let quota = plan.quota.as_ref().ok_or_else(missing)?;
                let law = format!("plan {}, {} a {}", plan.name, quota.limit, quota.per.name());
                let step = self.left(Check::Quota, &law, of, found, |left| left.to_string());
                Ok(step.by(vec![Rule::new("quota", &plan.place)]))
            }
            AccountOf::Budget(caller) => {
                let caller = self.caller(caller)?;
                let budget = caller.budget.as_deref().ok_or_else(missing)?;
                Ok(self.of_budget(&format!("caller {}", caller.name), budget, of, found))
            }
            AccountOf::RouteBudget => {
                let budget = written.route.budget.as_ref().ok_or_else(missing)?;
                Ok(self.of_budget("all its requests", budget, of, found))
            }
        }
    }

    fn of_budget(&self, whose: &str, budget: &model::Budget, of: AccountOf, found: Found) -> Step {
        let model::Budget { limit, per, currency, .. } = budget;
        let law = format!("{whose}, {limit} {currency} a {}", per.name());
        let step = self.left(Check::Budget, &law, of, found, |left| format!("{} {currency}", model::Money(left)));
        step.by(vec![Rule::new("budget", &budget.place)])
    }

    fn left(&self, check: Check, law: &str, of: AccountOf, found: Found, amount: impl Fn(u64) -> String) -> Step {
        match (found, self.gateway) {
            (Found::Left(left), _) => Step::pass(check, format!("{law}: {} left", amount(left))),
            (Found::Unused, Gateway::New) => Step::pass(check, format!("{law}: taken to be unused")),
            (Found::Unused, Gateway::Running) => {
                let before = match of {
                    AccountOf::Quota(_) | AccountOf::Budget(_) => "`gatepost usage` tells what was used before",
                    AccountOf::RouteBudget => "what was used before counts",
                };
                Step::pass(check, format!("{law}: not asked for in this window since the gateway started; {before}"))
            }
            (Found::Spent, _) => Step::refuse(check, format!("{law}: too little is left")),
            (Found::Unavailable, _) => Step::refuse(check, format!("{law}: nobody can say what is left")),
        }
    }
}
