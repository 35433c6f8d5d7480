//! Routes of one API that would match the same requests, or name one thing in two ways.

use std::collections::HashMap;

use crate::decode::listed;
use crate::file::RouteTable;
use crate::model::{Methods, RouteMatcher, Segment};
use crate::reading::Reading;
use crate::resolve::names::Namespace;
use crate::source::Span;
use crate::text::{RouteKey, quoted};

/// Reports routes that are the same place, and parameters that have two names at one place.
///
/// Two keys are the same place when they have a method in common and their paths differ in nothing but
/// the names of parameters. Then neither is the more specific, and one would never match.
pub(super) fn check(routes: &Namespace<RouteKey, RouteTable>, reading: &mut Reading) {
    let mut places = HashMap::new();
    let mut parameters = HashMap::new();
    let keys = routes.entries.iter().filter_map(|(text, entry)| {
        let key = entry.key.as_ref()?;
        Some((text.as_ref(), entry.span, &key.0))
    });
    let mut keys: Vec<(&str, Span, &RouteMatcher)> = keys.collect();
    // Whoever was written first is in the right.
    keys.sort_by_key(|(_, span, _)| (span.file.index(), span.range().start));
    for (text, span, matcher) in keys {
        let RouteMatcher::Path { methods, segments } = matcher else { continue };
        let same = same_place(&mut places, text, span, methods, segments);
        match same {
            Some(other) => report_same_place(text, span, &other, reading),
            None => check_parameters(&mut parameters, span, segments, reading),
        }
    }
}

/// A key that took a place first.
struct Taken<'a> {
    text: &'a str,
    span: Span,
    /// The methods that both have.
    shared: Vec<String>,
}

fn same_place<'a>(
    places: &mut HashMap<(String, String), (&'a str, Span)>,
    text: &'a str,
    span: Span,
    methods: &Methods,
    segments: &[Segment],
) -> Option<Taken<'a>> {
    let shape: String = segments.iter().flat_map(|segment| ["/", shape(segment)]).collect();
    let methods = match methods {
        Methods::Any => vec!["ANY".to_owned()],
        Methods::Only(methods) => methods.iter().map(ToString::to_string).collect(),
    };
    let mut first: Option<Taken<'a>> = None;
    for method in methods {
        let (text, span) = *places.entry((shape.clone(), method.clone())).or_insert((text, span));
        match &mut first {
            Some(taken) if taken.text == text => taken.shared.push(method),
            Some(_) => {}
            None => first = Some(Taken { text, span, shared: vec![method] }),
        }
    }
    first.filter(|taken| taken.text != text)
}

/// A segment without the name of its parameter. The one form of a path has no bare braces.
fn shape(segment: &Segment) -> &str {
    match segment {
        Segment::Static(text) => text,
        Segment::Parameter(_) => "{}",
        Segment::Greedy(_) => "{+}",
    }
}

fn report_same_place(text: &str, span: Span, other: &Taken<'_>, reading: &mut Reading) {
    let first = reading.place(other.span);
    let path = |text: &str| text.split_once(' ').map(|(_, path)| path.to_owned());
    if path(text) == path(other.text) {
        let shared = listed(&other.shared);
        let are = if other.shared.len() == 1 { "is" } else { "are" };
        let message = format!("{shared} {are} there already, in {}", quoted(other.text));
        let error = reading.error(span, message).with_related(&first, "the other route is here");
        reading.report(error.with_help("name a method in one of them only"));
        return;
    }
    let message = format!("{} would match requests that {} matches", quoted(text), quoted(other.text));
    let error = reading.error(span, message).with_related(&first, "the other route is here");
    reading.report(error.with_help("the names of parameters make no difference, nor do escapes"));
}

/// One position must have one name, so that a route can be read beside its neighbours.
fn check_parameters(
    parameters: &mut HashMap<String, (Box<str>, Span)>,
    span: Span,
    segments: &[Segment],
    reading: &mut Reading,
) {
    let mut position = String::new();
    for segment in segments {
        position.push('/');
        position.push_str(shape(segment));
        let (Segment::Parameter(name) | Segment::Greedy(name)) = segment else { continue };
        let Some((other, first)) = parameters.get(&position) else {
            parameters.insert(position.clone(), (name.clone(), span));
            continue;
        };
        if other != name {
            let message = format!("the parameter `{name}` is called `{other}` in another route");
            let first = reading.place(*first);
            let error = reading.error(span, message).with_related(&first, "the other route is here");
            reading.report(error.with_help("give one position one name in all routes of an API"));
            return;
        }
    }
}
