//! Limits of plans, and limits beside them, that never bind.

use std::collections::{BTreeMap, HashMap};

use crate::diagnostic::{Diagnostic, Place};
use crate::model::{Period, Plan, PlanRoute, Quota, Throttle, ThrottleBy};
use crate::reading::Reading;
use crate::resolve::names::Known;
use crate::resolve::plan::Written;
use crate::resolve::reach::doors::{Door, Doors, Group};
use crate::resolve::throttle::binds_more;
use crate::source::Span;
use crate::text::quoted;

pub(super) fn check(groups: &[Group], doors: &Doors<'_>, plans: &Known<Written>, reading: &mut Reading) {
    let limits: Vec<Limits<'_>> = groups.iter().map(|group| Limits::of(group, doors, plans)).collect();
    let by_name: HashMap<_, _> = doors.iter().map(|door| (door.entrance.name(), door)).collect();
    for limits in &limits {
        let Some(Written { plan, quota, .. }) = limits.plan else { continue };
        limits.check_routes(plan, &by_name, reading);
        limits.check_throttle(reading);
        if let Some((law, span)) = plan.quota.zip(*quota) {
            limits.check_quota(&law, span, reading);
        }
    }
    for door in doors.iter() {
        check_route_throttles(door, &limits, reading);
    }
}

/// What callers that share a plan are limited by.
struct Limits<'a> {
    group: &'a Group,
    doors: &'a Doors<'a>,
    plan: Option<&'a Written>,
    /// The buckets that the plan has for one route each, by the names of their APIs and their keys.
    own: HashMap<(&'a str, &'a str), &'a PlanRoute>,
    /// The bucket that it has for all others, and where that was written.
    shared: Option<(Throttle, Span)>,
}

impl<'a> Limits<'a> {
    fn of(group: &'a Group, doors: &'a Doors<'a>, plans: &'a Known<Written>) -> Self {
        let plan = group.plan.as_ref().and_then(|plan| plans.items.get(&*plan.name)?.as_ref());
        let routes = plan.map_or(&[][..], |written| &written.plan.routes);
        let own = routes.iter().map(|own| ((&*own.api, &*own.route), own)).collect();
        Self { group, doors, plan, own, shared: plan.and_then(|written| written.plan.throttle.zip(written.throttle)) }
    }

    /// The routes that one of them may call.
    fn reached(&self) -> impl Iterator<Item = &'a Door<'a>> {
        self.doors.iter().filter(|door| self.group.passes(door))
    }

    /// The bucket that the plan has for this route alone.
    fn own(&self, door: &Door<'_>) -> Option<&'a PlanRoute> {
        self.own.get(&door.entrance.name()).copied()
    }

    /// Reports routes that none of them may call, and buckets for routes that never bind.
    fn check_routes(&self, plan: &Plan, doors: &HashMap<(&str, &str), &Door<'_>>, reading: &mut Reading) {
        let mut by_key: BTreeMap<&str, Vec<(&PlanRoute, &Door<'_>)>> = BTreeMap::new();
        for own in &plan.routes {
            if let Some(door) = doors.get(&(&*own.api, &*own.route)) {
                by_key.entry(&own.route).or_default().push((own, door));
            }
        }
        for (key, meant) in by_key {
            let Some((first, _)) = meant.first() else { continue };
            if !meant.iter().any(|(_, door)| self.group.passes(door)) {
                let message = format!("no caller of this plan may call {}", quoted(key));
                let error = Diagnostic::error(&first.place, message);
                reading.report(error.with_help("name one of them in the `callers` of the route, or remove it here"));
                continue;
            }
            let tighter = meant.iter().map(|(own, door)| {
                let beside = door.entrance.throttles.iter().chain(&door.entrance.api_throttles);
                beside.into_iter().find(|other| binds_more(&other.value, &own.throttle))
            });
            if let Some(tighter) = tighter.collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().next()) {
                let other = reading.place(tighter.span);
                reading.report(useless(&first.place, &other, &tighter.value));
            }
        }
    }

    /// Reports a bucket of the plan that never binds.
    fn check_throttle(&self, reading: &mut Reading) {
        let Some((throttle, span)) = &self.shared else { return };
        if !self.own.is_empty() && self.reached().all(|door| self.own(door).is_some()) {
            let error = reading.error(*span, "this throttle can never refuse anybody");
            let help = "every route that callers of this plan may call has a bucket of its own in `routes`; remove it, \
                        or one of these";
            return reading.report(error.with_help(help));
        }
        let mut apis = self.doors.iter().map(|door| &door.entrance);
        let Some(first) = apis.next().filter(|first| apis.all(|other| other.api == first.api)) else { return };
        // All requests of known callers go through this API, and so through its buckets.
        if let Some(tighter) = first.api_throttles.iter().find(|other| binds_more(&other.value, throttle)) {
            let other = reading.place(tighter.span);
            reading.report(useless(&reading.place(*span), &other, &tighter.value));
        }
    }

    /// Reports a quota that is more than the buckets let through.
    fn check_quota(&self, quota: &Quota, span: Span, reading: &mut Reading) {
        let Quota { limit, per } = *quota;
        let limit = u128::from(limit.get());
        let mut most: u128 = 0;
        let mut shared = None;
        for door in self.reached() {
            match (self.own(door), &self.shared) {
                (Some(own), _) => most += most_within(per, &own.throttle),
                (None, Some((throttle, _))) => shared = Some(throttle),
                (None, None) => return,
            }
            if most > limit {
                return;
            }
        }
        most += shared.map_or(0, |throttle| most_within(per, throttle));
        if most <= limit {
            let error = reading.error(span, "this quota can never refuse anybody");
            let help = format!(
                "the throttles of this plan let a caller through at most {most} times a {}; remove the quota, or give less",
                per.name()
            );
            reading.report(error.with_help(help));
        }
    }
}

/// How often a bucket has a token within one window.
fn most_within(per: Period, throttle: &Throttle) -> u128 {
    const DAY: u128 = 24 * 60 * 60;
    let seconds = match per {
        Period::Day => DAY,
        Period::Week => 7 * DAY,
        Period::Month => 31 * DAY,
    };
    let rate = throttle.rate;
    u128::from(throttle.burst.get()) + u128::from(rate.count.get()) * seconds / u128::from(rate.per.as_secs().max(1))
}

/// Reports buckets of a route by caller that never bind, because everyone who may enter has a tighter one by plan.
fn check_route_throttles(door: &Door<'_>, limits: &[Limits<'_>], reading: &mut Reading) {
    for throttle in door.entrance.throttles.iter().filter(|throttle| throttle.value.by == ThrottleBy::Caller) {
        let tighter = limits.iter().filter(|limits| limits.group.passes(door)).map(|limits| {
            let (place, of_plan) = match limits.own(door) {
                // Of two that are alike, that of the plan has been reported.
                Some(own) if own.throttle == throttle.value => return None,
                Some(own) => (own.place.clone(), own.throttle),
                None => limits.shared.map(|(throttle, span)| (reading.place(span), throttle))?,
            };
            binds_more(&of_plan, &throttle.value).then_some((place, of_plan))
        });
        let tighter = tighter.collect::<Option<Vec<_>>>().unwrap_or_default();
        if let Some((place, of_plan)) = tighter.into_iter().min_by_key(|(place, _)| place.span().start) {
            reading.report(useless(&reading.place(throttle.span), &place, &of_plan));
        }
    }
}

fn useless(throttle: &Place, other: &Place, tighter: &Throttle) -> Diagnostic {
    Diagnostic::error(throttle, "this throttle can never refuse anybody")
        .with_related(other, format!("this one, with its burst of {}, is always empty first", tighter.burst))
}
