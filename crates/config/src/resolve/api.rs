//! `[api.…]` and top-level routes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::collections::List;
use crate::decode::Field;
use crate::file::{ApiTable, RouteTable};
use crate::model::{Api, Compat, HostPattern};
use crate::reading::Reading;
use crate::resolve::listener::Role;
use crate::resolve::names::Namespace;
use crate::resolve::{Scope, collision, entrance, route, throttle};
use crate::source::Span;
use crate::text::{Host, Name, RouteKey, quoted};

/// Resolves every API with its routes.
pub(super) fn apis(
    mut apis: Namespace<Name, ApiTable>,
    top_level: Namespace<RouteKey, RouteTable>,
    scope: &Scope,
    reading: &mut Reading,
) -> Option<Vec<Api>> {
    if apis.entries.is_empty() && top_level.entries.is_empty() {
        if only_redirects(scope) {
            return Some(Vec::new());
        }
        if apis.is_complete && top_level.is_complete {
            nothing_to_serve(reading);
        }
        return None;
    }
    let default = default_api(&mut apis, top_level, reading);
    let mut written: Vec<Written> = default.into_iter().collect();
    for (text, entry) in apis.entries {
        let mut table = entry.value.unwrap_or_else(|| {
            // It has been reported as broken; that it lacks routes is no other mistake.
            ApiTable { route: Field::Broken, ..ApiTable::default() }
        });
        let mut routes = Namespace::new("route");
        let may_lack = table.unknown.may_mean("route");
        routes.join(std::mem::take(&mut table.route), may_lack, reading);
        let name = entry.key.map_or_else(|| Arc::from(text), |name| name.0);
        written.push(Written { name, span: entry.span, table, routes });
    }
    written.sort_by(|one, other| one.name.cmp(&other.name));
    if only_redirects(scope) {
        never_reached(&written, reading);
    }
    let mut ties = Ties::default();
    let resolved: Vec<Option<Api>> = written.into_iter().map(|api| resolve(api, scope, &mut ties, reading)).collect();
    resolved.into_iter().collect()
}

/// An API as it was written.
struct Written {
    name: Arc<str>,
    span: Span,
    table: ApiTable,
    routes: Namespace<RouteKey, RouteTable>,
}

/// Reports the first API that says nothing of listeners, where all of them redirect.
fn never_reached(apis: &[Written], reading: &mut Reading) {
    let unbound = apis.iter().filter(|api| api.table.listen.is_absent());
    let first = unbound.map(|api| api.span).min_by_key(|span| (span.file.index(), span.range().start));
    let Some(first) = first else { return };
    let error = reading.error(first, "every listener only redirects, so no request ever comes here");
    reading.report(error.with_help("add a listener without `redirect`, or remove what it would serve"));
}

fn nothing_to_serve(reading: &mut Reading) {
    let error = reading.error(reading.start(), "there is nothing to serve: no route is written");
    reading
        .report(error.with_help(
            "a first one: `[route.\"GET /hello\"]` with `open = true` and `respond = { body = \"hello\" }`",
        ));
}

/// The API `default`: the keys of `[api.default]`, and top-level routes beside its own.
fn default_api(
    apis: &mut Namespace<Name, ApiTable>,
    top_level: Namespace<RouteKey, RouteTable>,
    reading: &mut Reading,
) -> Option<Written> {
    let mut routes = top_level;
    let entry = apis.entries.remove("default");
    let first_route = routes.entries.values().next().map(|route| route.span);
    let span = entry.as_ref().map(|entry| entry.span).or(first_route)?;
    let mut table = entry.and_then(|entry| entry.value).unwrap_or_default();
    let may_lack = table.unknown.may_mean("route");
    routes.join(std::mem::take(&mut table.route), may_lack, reading);
    Some(Written { name: "default".into(), span, table, routes })
}

fn resolve(api: Written, scope: &Scope, ties: &mut Ties, reading: &mut Reading) -> Option<Api> {
    let Written { name, span, table, routes } = api;
    if routes.entries.is_empty() && routes.is_complete && table.unknown.is_empty() {
        let error = reading.error(span, format!("the API {} has no routes", quoted(&name)));
        let help = format!("give it one, `[api.{name}.route.\"GET /\"]`, or remove it");
        reading.report(error.with_help(help));
    }
    let hosts = hosts(&table.hosts, reading);
    let listeners = listeners(&table.listen, scope, reading);
    let base = table.base.value().map_or_else(|| Arc::from(""), |base| base.0.clone());
    if let (Some(hosts), Some(listeners)) = (&hosts, &listeners)
        && !matches!(table.base, Field::Broken)
    {
        ties.check(&Choice { name: &name, span, hosts, listeners, base: &base }, reading);
    }
    collision::check(&routes, reading);
    let id = table.id.value().map_or_else(|| name.clone(), |id| id.0.clone());
    let throttles = throttle::of_api(&table.throttle, reading);
    let compat = match &table.compat {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(given) => Some(Some(given.value.0)),
    };
    let asked = routes.entries.values().filter_map(|route| route.value.as_ref());
    let standing = entrance::standing(asked, compat.flatten(), scope);
    let policy = scope.policies.resolve(&table.policy, &id, standing, reading);
    if let Some(listeners) = &listeners {
        check_private(&table, listeners, scope, reading);
    }
    let context = route::Context {
        scope,
        api: &name,
        base: &base,
        api_id: &id,
        compat: compat.flatten(),
        api_policy: &policy,
        api_throttles: &throttles,
    };
    let resolved: Vec<_> =
        routes.entries.into_iter().map(|(text, entry)| route::route(&text, entry, &context, reading)).collect();
    Some(Api {
        id,
        stage: table.stage.value().map_or_else(|| Arc::from("$default"), |stage| stage.0.clone()),
        name,
        hosts: hosts?,
        listeners: listeners?,
        base,
        compat: compat?,
        throttle_places: throttles.iter().map(|throttle| reading.place(throttle.span)).collect(),
        throttles: throttles.into_iter().map(|throttle| throttle.value).collect(),
        routes: resolved.into_iter().collect::<Option<_>>()?,
        place: reading.place(span),
    })
}

/// Reports an imitation of a private API that no policy guards: AWS deploys none (API Gateway developer guide,
/// apigateway-private-apis).
fn check_private(table: &ApiTable, listeners: &[Arc<str>], scope: &Scope, reading: &mut Reading) {
    let Some(compat) = table.compat.given().filter(|compat| compat.value.0 == Compat::AwsRest) else { return };
    let is_private = !listeners.is_empty() && listeners.iter().all(|name| scope.private.contains(&**name));
    if is_private && table.policy.is_absent() && table.unknown.is_empty() {
        let error = reading.error(compat.key, "this is a private API without a policy, and AWS would let nobody in");
        let help =
            "add `policy = \"file:POLICY.json\"` to the API, or let it answer on a listener without `vpce` and `vpc`";
        reading.report(error.with_help(help));
    }
}

fn hosts(field: &Field<List<Host>>, reading: &mut Reading) -> Option<Vec<HostPattern>> {
    let list = match field {
        Field::Absent => return Some(Vec::new()),
        Field::Broken => return None,
        Field::Given(given) => &given.value,
    };
    let mut seen: HashMap<&HostPattern, Span> = HashMap::new();
    for host in &list.items {
        if let Some(first) = seen.insert(&host.value.0, host.span) {
            let first = reading.place(first);
            let error = reading.error(host.span, "this host is named twice");
            reading.report(error.with_related(&first, "first named here"));
        }
    }
    (!list.broken).then(|| list.values().map(|Host(host)| host.clone()).collect())
}

/// The listeners that an API answers on: those it names, or all that do not redirect.
fn listeners(field: &Field<List<Name>>, scope: &Scope, reading: &mut Reading) -> Option<Vec<Arc<str>>> {
    let list = match field {
        Field::Absent => {
            let serving = scope.listeners.items.iter().filter(|(_, role)| **role != Some(Role::Redirects));
            let names: Vec<_> = serving.map(|(name, _)| Arc::from(name.as_ref())).collect();
            return Some(names).filter(|names| scope.listeners.is_complete && !names.is_empty());
        }
        Field::Broken => return None,
        Field::Given(given) => &given.value,
    };
    let mut seen: HashMap<&str, Span> = HashMap::new();
    for name in &list.items {
        if scope.listeners.look_up(&name.value.0, name.span, reading) == Some(Role::Redirects) {
            let message = format!("the listener {} only redirects, so no API answers there", quoted(&name.value.0));
            let help = "name a listener without `redirect`, or remove the `redirect`";
            reading.report(reading.error(name.span, message).with_help(help));
        }
        if let Some(first) = seen.insert(&name.value.0, name.span) {
            let first = reading.place(first);
            let error = reading.error(name.span, "this listener is named twice");
            reading.report(error.with_related(&first, "first named here"));
        }
    }
    (!list.broken).then(|| list.values().map(|name| name.0.clone()).collect())
}

/// Whether there is no listener that APIs could answer on.
fn only_redirects(scope: &Scope) -> bool {
    scope.listeners.is_complete && scope.listeners.items.values().all(|role| *role == Some(Role::Redirects))
}

/// What a request chooses an API by.
struct Choice<'a> {
    name: &'a str,
    span: Span,
    hosts: &'a [HostPattern],
    listeners: &'a [Arc<str>],
    base: &'a str,
}

/// The APIs so far by what they are chosen by: no two may share a listener, a host and a base path.
#[derive(Default)]
struct Ties(HashMap<Place, (String, Span)>);

/// One of the places where requests of an API come in.
#[derive(PartialEq, Eq, Hash)]
struct Place {
    listener: Arc<str>,
    /// Absent: any.
    host: Option<HostPattern>,
    base: String,
}

impl Ties {
    fn check(&mut self, api: &Choice<'_>, reading: &mut Reading) {
        let any = [None];
        let named: Vec<_> = api.hosts.iter().cloned().map(Some).collect();
        let hosts = if named.is_empty() { &any[..] } else { &named };
        let mut tied_with: Option<(String, Span)> = None;
        for listener in api.listeners {
            for host in hosts {
                let base = api.base.to_owned();
                let place = Place { listener: listener.clone(), host: host.clone(), base };
                let own = || (api.name.to_owned(), api.span);
                let (name, span) = self.0.entry(place).or_insert_with(own);
                if name != api.name {
                    tied_with.get_or_insert((name.clone(), *span));
                }
            }
        }
        let Some((other, span)) = tied_with else { return };
        let message = format!(
            "the APIs {} and {} would answer the same requests: listener, host and base path agree",
            quoted(&other),
            quoted(api.name)
        );
        let help = "give one of them other `hosts`, another `base` or another `listen`";
        let first = reading.place(span);
        let error = reading.error(api.span, message).with_related(&first, "the other API is here");
        reading.report(error.with_help(help));
    }
}
