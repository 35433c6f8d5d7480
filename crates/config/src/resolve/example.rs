//! `example`: requests, and what must become of them.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};

use crate::decode::{Field, Located};
use crate::file::{ExampleTable, RouteTable};
use crate::model::{Example, Methods, RouteMatcher, Segment};
use crate::reading::Reading;
use crate::resolve::route::Context;

/// The examples of a route. What they leave out is taken from its key, unless that is broken.
pub(super) fn examples(
    route: &RouteTable,
    matcher: Option<&RouteMatcher>,
    context: &Context<'_>,
    reading: &mut Reading,
) -> Option<Vec<Example>> {
    match &route.example {
        Field::Absent => Some(Vec::new()),
        Field::Broken => None,
        Field::Given(given) => {
            let asks = !route.callers.is_absent();
            let examples = given.value.items.iter();
            let callers: Vec<_> = examples.map(|written| caller(&written.value, asks, context, reading)).collect();
            let examples = given.value.items.iter().zip(callers);
            examples.map(|(written, caller)| example(written, caller?, matcher?, context.base, reading)).collect()
        }
    }
}

/// Who an example proves to be, on a route that `asks` for it, or does not.
fn caller(
    example: &ExampleTable,
    asks: bool,
    context: &Context<'_>,
    reading: &mut Reading,
) -> Option<Option<Arc<str>>> {
    let given = match &example.caller {
        Field::Absent => return Some(None),
        Field::Broken => return None,
        Field::Given(given) => given,
    };
    if !asks {
        let error =
            reading.error(given.key, "this route asks nobody who they are, so it makes no difference who calls");
        reading.report(error.with_help("give the route `callers`, or remove it here"));
        return None;
    }
    let caller = context.scope.callers.look_up(&given.value.0, given.span, reading)?;
    Some(Some(Arc::clone(&caller.name)))
}

fn example(
    written: &Located<ExampleTable>,
    caller: Option<Arc<str>>,
    matcher: &RouteMatcher,
    base: &str,
    reading: &Reading,
) -> Option<Example> {
    let table = &written.value;
    Some(Example {
        from: table.from.value()?.0,
        caller,
        method: table.method.value().map_or_else(|| method(matcher), |method| method.0.clone()),
        path: table.path.value().map_or_else(|| path(matcher, base), |path| path.0.clone()),
        headers: headers(table)?,
        expect: table.expect.value()?.0,
        place: reading.place(written.span),
    })
}

/// A method that the route has.
fn method(matcher: &RouteMatcher) -> Method {
    match matcher {
        RouteMatcher::Default | RouteMatcher::Path { methods: Methods::Any, .. } => Method::GET,
        RouteMatcher::Path { methods: Methods::Only(methods), .. } => methods.first().cloned().unwrap_or_default(),
    }
}

/// A path that the route matches: its own, each parameter standing for its name.
fn path(matcher: &RouteMatcher, base: &str) -> String {
    let mut path = base.to_owned();
    match matcher {
        RouteMatcher::Default => path.push('/'),
        RouteMatcher::Path { segments, .. } => {
            for segment in segments {
                path.push('/');
                path.push_str(match segment {
                    Segment::Static(text) | Segment::Parameter(text) | Segment::Greedy(text) => text,
                });
            }
        }
    }
    path
}

fn headers(table: &ExampleTable) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let Some(named) = table.headers.value() else {
        return table.headers.is_absent().then(Vec::new);
    };
    let headers =
        named.entries.values().map(|entry| Some((entry.key.as_ref()?.0.clone(), entry.value.as_ref()?.0.clone())));
    headers.collect()
}
