//! `example`: requests, and what must become of them.

use http::{HeaderName, HeaderValue, Method};

use crate::collections::List;
use crate::decode::{Field, Located};
use crate::file::ExampleTable;
use crate::model::{Example, Methods, RouteMatcher, Segment};
use crate::reading::Reading;

/// The examples of a route. What they leave out is taken from its key, unless that is broken.
pub(super) fn examples(
    field: &Field<List<ExampleTable>>,
    matcher: Option<&RouteMatcher>,
    base: &str,
    reading: &Reading,
) -> Option<Vec<Example>> {
    match field {
        Field::Absent => Some(Vec::new()),
        Field::Broken => None,
        Field::Given(given) => {
            let examples = given.value.items.iter();
            examples.map(|written| example(written, matcher?, base, reading)).collect()
        }
    }
}

fn example(written: &Located<ExampleTable>, matcher: &RouteMatcher, base: &str, reading: &Reading) -> Option<Example> {
    let table = &written.value;
    Some(Example {
        from: table.from.value()?.0,
        caller: None,
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
