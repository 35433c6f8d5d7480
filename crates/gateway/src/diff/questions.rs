//! For every route a request that reaches it: which requests stand for all.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use gatepost_config::model::{self, HostPattern, Methods, RouteMatcher, Segment};
use http::Method;

use crate::diff::{ANYBODY, ListenerPair, Request, Sides};
use crate::judge::{Head, Judge, Written, judge};
use crate::snapshot::{Api, Hosts, Listener};

/// A request to ask both sides about.
pub(super) struct Question {
    pub(super) request: Request,
    pub(super) head: Head,
}

/// Requests that together reach every route that can be reached on these listeners, on every host that an API of
/// either names.
pub(super) fn questions<'m>(
    judges: Sides<&Judge<'m>>,
    pair: ListenerPair<'m>,
    listeners: Sides<Option<&Listener>>,
) -> Vec<Question> {
    let Some(name) = pair.new.or(pair.old).map(|listener| &listener.name) else { return Vec::new() };
    let matchers = || judges.both().into_iter().flat_map(|judge| matchers(judge.model()));
    let mut asker = Asker {
        listener: Arc::clone(name),
        taken: matchers().flat_map(static_segments).collect(),
        unnamed: unnamed_methods(&matchers().flat_map(methods).collect()),
        asked: HashSet::new(),
        questions: Vec::new(),
    };
    let hosts = hosts(listeners);
    for side in [(judges.old, listeners.old), (judges.new, listeners.new)] {
        let (judge, Some(listener)) = side else { continue };
        for host in &hosts {
            let written = listener
                .hosts
                .of(&host.name)
                .0
                .iter()
                .filter_map(|api: &Arc<Api>| judge.model().apis.get(api.number as usize));
            for route in written.flat_map(|api| api.routes.iter().map(|route| Written { api, route })) {
                asker.ask(listener, host, route);
            }
        }
    }
    asker.questions
}

/// A host that stands for those that a pattern matches.
struct AskedHost {
    pattern: Box<str>,
    name: String,
}

struct Asker<'m> {
    listener: Arc<str>,
    /// What a parameter must not be, lest it is taken for something else.
    taken: HashSet<&'m str>,
    /// Methods that no key names: they stand for what `ANY` and `$default` are asked for beside those that others are.
    unnamed: Vec<Method>,
    asked: HashSet<Request>,
    questions: Vec<Question>,
}

impl Asker<'_> {
    /// Asks, once for each method of the key, what reaches the route, if anything does.
    fn ask(&mut self, listener: &Listener, host: &AskedHost, written: Written<'_>) {
        let named = methods(&written.route.matcher);
        // What is served by `$default` has nothing in common, so each of its paths is asked about.
        let kinds = match written.route.matcher {
            RouteMatcher::Default => self.paths(written).into_iter().map(|path| vec![path]).collect(),
            RouteMatcher::Path { .. } => vec![self.paths(written)],
        };
        for paths in kinds {
            let lists = if named.is_empty() { vec![self.unnamed.clone()] } else { one_by_one(named) };
            for methods in lists {
                let tries = paths.iter().flat_map(|path| methods.iter().map(move |method| (method, path)));
                let mut heads = tries.filter_map(|(method, path)| Head::new(method, &host.name, path));
                if let Some(head) = heads.find(|head| reaches(head, listener, written)) {
                    self.add(head, host);
                }
            }
        }
    }

    fn add(&mut self, head: Head, host: &AskedHost) {
        let request = Request {
            listener: Arc::clone(&self.listener),
            method: head.method().clone(),
            host: host.pattern.clone(),
            path: head.path().into(),
        };
        if self.asked.insert(request.clone()) {
            self.questions.push(Question { request, head });
        }
    }

    /// Paths that the key matches, the plainest first.
    fn paths(&self, Written { api, route }: Written<'_>) -> Vec<String> {
        /// Another route may have the shorter ones.
        const DEEPEST: usize = 4;
        let below = |rest: &str| format!("{}{rest}", api.base);
        match &route.matcher {
            RouteMatcher::Default => ["/-", "/-/-", "/", "/-/"].map(below).into(),
            RouteMatcher::Path { segments, .. } => {
                let depths = if matches!(segments.last(), Some(Segment::Greedy(_))) { DEEPEST } else { 1 };
                let path = |depth| -> String {
                    let pieces = segments.iter().flat_map(|segment| match segment {
                        Segment::Static(text) => vec![text.to_string()],
                        Segment::Parameter(name) => vec![self.free(name)],
                        Segment::Greedy(name) => vec![self.free(name); depth],
                    });
                    pieces.map(|piece| format!("/{piece}")).collect()
                };
                (1..=depths).map(|depth| below(&path(depth))).collect()
            }
        }
    }

    /// The name of a parameter, as a segment that is no route's own.
    fn free(&self, name: &str) -> String {
        let mut free = name.to_owned();
        while self.taken.contains(&*free) {
            free.push('-');
        }
        free
    }
}

fn one_by_one(methods: &[Method]) -> Vec<Vec<Method>> {
    methods.iter().map(|method| vec![method.clone()]).collect()
}

/// The usual methods that are not among these, and one that is unusual. GET is HEAD too.
fn unnamed_methods(named: &HashSet<&Method>) -> Vec<Method> {
    let usual = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS];
    let unnamed = usual.into_iter().filter(|method| !named.contains(method));
    // A token, and so a method that `ANY` is too.
    unnamed.chain(Method::from_bytes(b"OTHER")).collect()
}

fn reaches(head: &Head, listener: &Listener, written: Written<'_>) -> bool {
    let Some(facts) = head.facts(listener, ANYBODY) else { return false };
    judge(listener, &facts).1.is_some_and(|found| Arc::ptr_eq(&found.key, &written.route.key))
}

fn matchers(model: &model::Model) -> impl Iterator<Item = &RouteMatcher> {
    model.apis.iter().flat_map(|api| &api.routes).map(|route| &route.matcher)
}

fn static_segments(matcher: &RouteMatcher) -> impl Iterator<Item = &str> {
    let segments = match matcher {
        RouteMatcher::Default => &[],
        RouteMatcher::Path { segments, .. } => &segments[..],
    };
    segments.iter().filter_map(|segment| match segment {
        Segment::Static(text) => Some(&**text),
        Segment::Parameter(_) | Segment::Greedy(_) => None,
    })
}

fn methods(matcher: &RouteMatcher) -> &[Method] {
    match matcher {
        RouteMatcher::Path { methods: Methods::Only(methods), .. } => methods,
        RouteMatcher::Path { methods: Methods::Any, .. } | RouteMatcher::Default => &[],
    }
}

/// A host for each pattern of either side, and one that neither names.
fn hosts(listeners: Sides<Option<&Listener>>) -> Vec<AskedHost> {
    let hosts: Vec<&Hosts> = listeners.both().into_iter().flatten().map(|listener| &listener.hosts).collect();
    let exact = hosts.iter().flat_map(|hosts| hosts.exact.keys()).map(|name| HostPattern::Exact(name.clone()));
    // Held with the dot that they begin with.
    let below = hosts.iter().flat_map(|hosts| &hosts.below);
    let below = below.map(|(suffix, _)| HostPattern::Below(suffix.trim_start_matches('.').into()));
    let patterns: BTreeSet<HostPattern> = exact.chain(below).collect();
    let named = patterns.iter().filter_map(|pattern| match pattern {
        HostPattern::Exact(name) => Some(AskedHost { pattern: name.clone(), name: name.to_string() }),
        HostPattern::Below(suffix) => {
            let name = free_host(&format!(".{suffix}"), |name| is_decided_by(&patterns, name, suffix))?;
            Some(AskedHost { pattern: format!("*.{suffix}").into(), name })
        }
    });
    let named: Vec<AskedHost> = named.collect();
    let any = free_host("", |name| !patterns.iter().any(|pattern| matches(pattern, name)));
    let any = any.map(|name| AskedHost { pattern: "*".into(), name });
    named.into_iter().chain(any).collect()
}

/// `example`, or the first like it that is free.
fn free_host(suffix: &str, is_free: impl Fn(&str) -> bool) -> Option<String> {
    /// More labels than a configuration has patterns for.
    const MOST: usize = 100_000;
    let names = (0..MOST).map(|count| match count {
        0 => format!("example{suffix}"),
        _ => format!("example-{count}{suffix}"),
    });
    names.into_iter().find(|name| is_free(name))
}

/// Whether no pattern says more about `name` than this suffix.
fn is_decided_by(patterns: &BTreeSet<HostPattern>, name: &str, suffix: &str) -> bool {
    !patterns.iter().any(|pattern| match pattern {
        HostPattern::Exact(_) => matches(pattern, name),
        HostPattern::Below(other) => other.len() > suffix.len() && matches(pattern, name),
    })
}

fn matches(pattern: &HostPattern, name: &str) -> bool {
    match pattern {
        HostPattern::Exact(exact) => **exact == *name,
        HostPattern::Below(suffix) => {
            name.strip_suffix(&**suffix).is_some_and(|label| label.len() > 1 && label.ends_with('.'))
        }
    }
}
