//! `[route."…"]`.

use std::sync::Arc;

use crate::collections::Entry;
use crate::decode::{Field, Given, Located};
use crate::file::RouteTable;
use crate::model::{Compat, PolicyDocument, Route, RouteMatcher, RoutePlaces, Segment, Throttle};
use crate::reading::Reading;
use crate::resolve::{Scope, action, budget, entrance, entry, example, throttle};
use crate::source::Span;
use crate::text::{RouteKey, Size};

/// What a route needs to know of its surroundings.
pub(super) struct Context<'a> {
    pub(super) scope: &'a Scope,
    /// The name of its API.
    pub(super) api: &'a Arc<str>,
    /// The base path of its API.
    pub(super) base: &'a str,
    /// The id of its API.
    pub(super) api_id: &'a str,
    /// What its API imitates.
    pub(super) compat: Option<Compat>,
    /// The policy of its API.
    pub(super) api_policy: &'a Field<Arc<PolicyDocument>>,
    /// The buckets of its API.
    pub(super) api_throttles: &'a [Located<Throttle>],
}

/// Resolves the route whose key reads `text`.
pub(super) fn route(
    text: &str,
    written: Entry<RouteKey, RouteTable>,
    context: &Context<'_>,
    reading: &mut Reading,
) -> Option<Route> {
    let span = written.span;
    let Some(table) = written.value else {
        context.scope.entrances.borrow_mut().lack_one();
        return None;
    };
    // A key that is broken leaves the route's parameters unknown, and nothing else.
    let matcher = written.key.map(|key| key.0);
    let parameters = matcher.as_ref().map(parameters);
    let entry = entry::entry(&table, span, context, reading);
    let throttles = throttle::of_route(&table.throttle, !table.callers.is_absent(), context.api_throttles, reading);
    let key: Arc<str> = text.into();
    entrance::note(&table, &key, entry.as_ref(), &throttles, context);
    let budget = match &table.budget {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(written) => budget::budget(&written.value, written.key, reading).map(Some),
    };
    let action = action::action(&table, span, parameters.as_deref(), context.scope, reading);
    let examples = example::examples(&table, matcher.as_ref(), context, reading);
    Some(Route {
        key,
        matcher: matcher?,
        entry: entry?,
        throttles: throttles.into_iter().map(|throttle| throttle.value).collect(),
        parallel: table.parallel.value().map(|parallel| parallel.0),
        budget: budget?,
        max_body: table.max_body.value().map_or(DEFAULT_MAX_BODY, |Size(bytes)| *bytes),
        action: action?,
        examples: examples?,
        place: reading.place(span),
        places: places(&table, span, reading),
    })
}

/// Where the rules of the route whose key is at `key` were written. A key that is missing has been reported.
fn places(table: &RouteTable, key: Span, reading: &Reading) -> RoutePlaces {
    fn key_of<T>(field: &Field<T>) -> Option<Span> {
        field.given().map(|given| given.key)
    }
    let known = || key_of(&table.callers).or_else(|| key_of(&table.jwt));
    let policy_or_signed = || key_of(&table.policy).or_else(|| key_of(&table.signed));
    let entry = key_of(&table.from).or_else(known).or_else(policy_or_signed).or_else(|| key_of(&table.open));
    let action = key_of(&table.forward).or_else(|| key_of(&table.respond)).or_else(|| key_of(&table.redirect));
    let throttles = table.throttle.given().into_iter().flat_map(|Given { value, .. }| &value.0.items);
    RoutePlaces {
        entry: reading.place(entry.unwrap_or(key)),
        throttles: throttles.map(|throttle| reading.place(throttle.span)).collect(),
        parallel: key_of(&table.parallel).map(|span| reading.place(span)),
        max_body: key_of(&table.max_body).map(|span| reading.place(span)),
        action: reading.place(action.unwrap_or(key)),
    }
}

/// 10 MiB.
const DEFAULT_MAX_BODY: u64 = 10 << 20;

/// The names of a key's parameters, from the left.
fn parameters(matcher: &RouteMatcher) -> Vec<String> {
    match matcher {
        RouteMatcher::Default => Vec::new(),
        RouteMatcher::Path { segments, .. } => segments
            .iter()
            .filter_map(|segment| match segment {
                Segment::Static(_) => None,
                Segment::Parameter(name) | Segment::Greedy(name) => Some(name.to_string()),
            })
            .collect(),
    }
}
