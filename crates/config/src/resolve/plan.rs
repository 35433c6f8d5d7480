//! `[plan.…]`.

use std::collections::HashMap;
use std::sync::Arc;

use crate::collections::Named;
use crate::decode::{Field, Given, nearest};
use crate::file::{ApiTable, PlanTable, PlanThrottleTable, QuotaTable, RouteTable};
use crate::model::{Plan, PlanRoute, Quota, Throttle, ThrottleBy};
use crate::reading::Reading;
use crate::resolve::names::{Known, Namespace};
use crate::resolve::throttle;
use crate::source::Span;
use crate::text::{Name, RouteKey, quoted};

/// A plan, and where its parts were written.
#[derive(Clone)]
pub(super) struct Written {
    pub(super) plan: Arc<Plan>,
    pub(super) throttle: Option<Span>,
    pub(super) quota: Option<Span>,
}

/// Resolves every plan.
pub(super) fn plans(plans: Namespace<Name, PlanTable>, routes: &Routes, reading: &mut Reading) -> Known<Written> {
    plans.resolve(|name, span, table| plan(name, span, &table, routes, reading))
}

fn plan(name: Name, span: Span, table: &PlanTable, routes: &Routes, reading: &mut Reading) -> Option<Written> {
    let PlanTable { throttle, quota, routes: own, unknown } = table;
    if throttle.is_absent() && quota.is_absent() && own.is_absent() {
        if unknown.is_empty() {
            let error = reading.error(span, "this plan limits nothing");
            let help = "say how much: `throttle = { rate = \"50/s\" }` or `quota = { limit = 1000, per = \"day\" }`";
            reading.report(error.with_help(help));
        }
        return None;
    }
    let own = plan_routes(own, routes, reading);
    let place = reading.place(span);
    let plan = Plan { name: name.0, throttle: bucket(throttle)?, quota: limit(quota)?, routes: own?, place };
    Some(Written { plan: Arc::new(plan), throttle: value_of(throttle), quota: value_of(quota) })
}

fn value_of<T>(field: &Field<T>) -> Option<Span> {
    field.given().map(|given| given.span)
}

fn bucket(field: &Field<PlanThrottleTable>) -> Option<Option<Throttle>> {
    match field {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(given) => of_each(&given.value).map(Some),
    }
}

/// A bucket that each caller has.
fn of_each(table: &PlanThrottleTable) -> Option<Throttle> {
    throttle::throttle(table.rate.value()?, &table.burst, ThrottleBy::Caller)
}

fn limit(field: &Field<QuotaTable>) -> Option<Option<Quota>> {
    match field {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(Given { value: QuotaTable { limit, per, .. }, .. }) => {
            Some(Some(Quota { limit: limit.value()?.0, per: per.value()?.0 }))
        }
    }
}

fn plan_routes(
    field: &Field<Named<RouteKey, PlanThrottleTable>>,
    routes: &Routes,
    reading: &mut Reading,
) -> Option<Box<[PlanRoute]>> {
    let named = match field {
        Field::Absent => return Some(Box::default()),
        Field::Broken => return None,
        Field::Given(given) => given,
    };
    if named.value.entries.is_empty() {
        let error = reading.error(named.span, "this plan names no routes");
        reading.report(error.with_help("leave `routes` out, or name one: `{ \"POST /orders\" = { rate = \"5/s\" } }`"));
        return None;
    }
    let mut own = Vec::new();
    let mut is_whole = true;
    for (key, entry) in &named.value.entries {
        let meant = entry.key.as_ref().and_then(|_| routes.look_up(key, entry.span, reading));
        let throttle = entry.value.as_ref().and_then(of_each);
        let (Some(meant), Some(throttle)) = (meant, throttle) else {
            is_whole = false;
            continue;
        };
        let place = reading.place(entry.span);
        let of_api = |(api, route): &(Arc<str>, Arc<str>)| PlanRoute {
            api: Arc::clone(api),
            route: Arc::clone(route),
            throttle,
            place: place.clone(),
        };
        own.extend(meant.iter().map(of_api));
    }
    is_whole.then(|| own.into())
}

/// The routes of all APIs by their keys, before they are resolved.
pub(super) struct Routes {
    by_key: HashMap<Box<str>, Vec<Route>>,
    /// Whether `by_key` has every route.
    pub(super) is_complete: bool,
}

/// A route, as far as plans go.
struct Route {
    /// Its API and its key.
    name: (Arc<str>, Arc<str>),
    /// Whether it asks who somebody is.
    asks: bool,
}

impl Routes {
    pub(super) fn of(apis: &Namespace<Name, ApiTable>, top_level: &Namespace<RouteKey, RouteTable>) -> Self {
        let mut routes = Self { by_key: HashMap::new(), is_complete: apis.is_complete && top_level.is_complete };
        for (key, entry) in &top_level.entries {
            routes.add("default", key, entry.value.as_ref());
        }
        for (name, entry) in &apis.entries {
            let Some(table) = &entry.value else {
                routes.is_complete = false;
                continue;
            };
            routes.is_complete &= !matches!(table.route, Field::Broken) && !table.unknown.may_mean("route");
            for (key, entry) in table.route.value().into_iter().flat_map(|named| &named.entries) {
                routes.add(name, key, entry.value.as_ref());
            }
        }
        routes
    }

    fn add(&mut self, api: &str, key: &str, table: Option<&RouteTable>) {
        // What cannot be read may ask.
        let asks = table.is_none_or(|table| !table.callers.is_absent() || table.unknown.may_mean("callers"));
        let route = Route { name: (api.into(), key.into()), asks };
        self.by_key.entry(key.into()).or_default().push(route);
    }

    /// The routes with this key that ask who somebody is.
    fn look_up(&self, key: &str, span: Span, reading: &mut Reading) -> Option<Vec<(Arc<str>, Arc<str>)>> {
        let Some(routes) = self.by_key.get(key) else {
            if self.is_complete {
                let error = reading.error(span, format!("there is no route {}", quoted(key)));
                reading.report(match nearest(key, self.by_key.keys().map(AsRef::as_ref)) {
                    Some(near) => error.with_help(format!("did you mean `{near}`?")),
                    None => error.with_help("write the key of a route exactly as it stands there"),
                });
            }
            return None;
        };
        let asking: Vec<_> = routes.iter().filter(|route| route.asks).map(|route| route.name.clone()).collect();
        if asking.is_empty() {
            let message =
                format!("the route {} asks nobody who they are, so no caller has a bucket there", quoted(key));
            let error = reading.error(span, message);
            reading.report(error.with_help("give the route `callers`, or remove it here"));
            return None;
        }
        Some(asking)
    }
}
