//! What callers have of limits from one snapshot to the next, and what routes may cost.

use std::sync::{Arc, Weak};

use gatepost_config::model;
use gatepost_meter::Nanos;

use super::{Compiler, Lasting};
use crate::caller::{Account, Budget, CallerRoute, law_of_budget};

impl Lasting {
    /// Lets go of callers whom the model no longer names once they owe nothing, and gives back what they were granted
    /// once no request can be theirs any more.
    pub(crate) fn tidy_callers(&mut self, now: Nanos) {
        let Self { callers, gone_callers, .. } = self;
        gone_callers.retain(|name| {
            let Some(meters) = callers.get(name) else { return false };
            // Whoever holds a snapshot that knows the caller holds this too.
            let is_over = Arc::strong_count(meters) == 1 && meters.leave(now);
            if is_over {
                callers.remove(name);
            }
            !is_over
        });
    }

    /// Gives back whatever was granted and not used. From now on there are no units.
    pub(crate) fn close_accounts(&self) {
        self.callers.values().for_each(|meters| meters.close());
        self.budgets.values().filter_map(Weak::upgrade).for_each(|account| account.close());
    }
}

impl Compiler<'_> {
    /// What all requests of a route may cost.
    pub(super) fn budget(&mut self, budget: &model::Budget, api: &Arc<str>, route: &Arc<str>) -> Budget {
        let law = law_of_budget(budget);
        let name = (Arc::clone(api), Arc::clone(route));
        let Lasting { budgets, books, .. } = &mut *self.lasting;
        let name_of_account = || format!("route/{api}/{route}/budget");
        let account = Account::held_or_opened(budgets.entry(name).or_default(), name_of_account, law, books);
        Budget::new(account, budget)
    }

    /// What callers have there is known by it, across reloads.
    pub(super) fn caller_route(
        &mut self,
        route: &model::Route,
        api: &Arc<str>,
        of_api: &[model::Throttle],
    ) -> Option<Arc<CallerRoute>> {
        route.entry.rules()?.callers.as_ref()?;
        let name = (Arc::clone(api), Arc::clone(&route.key));
        self.used_caller_routes.insert(name.clone());
        let known = self.lasting.caller_routes.entry(name);
        let known = known.or_insert_with(|| Arc::new(CallerRoute::new(api, &route.key)));
        self.has_changed_routes |= known.follow(&route.throttles, of_api);
        Some(Arc::clone(known))
    }

    /// Puts what callers have under the laws of this model.
    pub(super) fn settle_callers(&mut self) {
        let Self { lasting, used_caller_routes, changed_callers, callers, now, .. } = self;
        for (name, route) in &lasting.caller_routes {
            if !used_caller_routes.contains(name) {
                self.has_changed_routes |= route.leave();
            }
        }
        if self.has_changed_routes {
            return callers.all().iter().for_each(|caller| caller.meters.settle(*now));
        }
        let changed = changed_callers.iter().filter_map(|number| callers.all().get(*number as usize));
        changed.for_each(|caller| caller.meters.settle(*now));
    }
}
