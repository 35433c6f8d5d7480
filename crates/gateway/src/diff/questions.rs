//! For every route a request that reaches it: which requests stand for all.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use gatepost_config::model::{self, HostPattern, Methods, RouteMatcher, Segment};
use http::Method;

use crate::diff::{ANYBODY, ListenerPair, Request, Sides};
use crate::judge::{Head, Judge, RouteName, Written, judge};
use crate::snapshot::{Api, Hosts, Listener, below_base};

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
        policed: policed(judges),
        prefixes: BTreeSet::new(),
        asked: HashSet::new(),
        questions: Vec::new(),
    };
    let sides = [(judges.old, listeners.old), (judges.new, listeners.new)];
    let sides = || sides.into_iter().filter_map(|(judge, listener)| Some((judge, listener?)));
    for host in hosts(listeners) {
        let answering: Vec<&model::Api> = sides().flat_map(|(judge, listener)| apis(judge, listener, &host)).collect();
        asker.prefixes = asker.prefixes(&answering);
        for (judge, listener) in sides() {
            for api in apis(judge, listener, &host) {
                for route in &api.routes {
                    asker.ask(listener, &host, Written { api, route });
                }
            }
        }
    }
    asker.questions
}

/// The APIs that answer there.
fn apis<'m>(judge: &Judge<'m>, listener: &Listener, host: &AskedHost) -> impl Iterator<Item = &'m model::Api> {
    let model = judge.model();
    listener.hosts.of(&host.name).0.iter().filter_map(|api: &Arc<Api>| model.apis.get(api.number as usize))
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
    policed: Policed<'m>,
    /// Where on this host APIs and routes of either side begin: what matches many paths is asked about there too.
    prefixes: BTreeSet<String>,
    asked: HashSet<Request>,
    questions: Vec<Question>,
}

impl Asker<'_> {
    /// Asks, once for each method of the key, what reaches the route, if anything does; and about all that is tried
    /// where a policy may tell it apart.
    fn ask(&mut self, listener: &Listener, host: &AskedHost, written: Written<'_>) {
        let named = methods(&written.route.matcher);
        let policed = self.policed.get(&written.name());
        // What is served by `$default` has nothing in common, so each of its paths is asked about.
        let mut kinds = match written.route.matcher {
            RouteMatcher::Default => one_by_one(self.paths(written)),
            RouteMatcher::Path { .. } if policed.is_some() => one_by_one(self.paths(written)),
            RouteMatcher::Path { .. } => vec![self.paths(written)],
        };
        kinds.extend(one_by_one(self.deeper(written)));
        kinds.extend(policed.into_iter().flatten().map(|path| vec![format!("{}{path}", written.api.base)]));
        let lists = match (policed, named) {
            (None, []) => vec![self.unnamed.clone()],
            (None, named) => one_by_one(named.to_vec()),
            (Some(_), []) => one_by_one(unnamed_methods(&HashSet::new()).into_iter().chain([Method::HEAD])),
            (Some(_), named) => {
                // Whoever may GET may HEAD.
                let head = named.contains(&Method::GET).then_some(Method::HEAD);
                one_by_one(named.iter().cloned().chain(head))
            }
        };
        for paths in kinds {
            for methods in &lists {
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

    /// Paths of which the key matches many, at and below what begins there.
    fn deeper(&self, written: Written<'_>) -> Vec<String> {
        let base = &written.api.base;
        let begin = match &written.route.matcher {
            RouteMatcher::Default => base.to_string(),
            RouteMatcher::Path { segments, .. } if matches!(segments.last(), Some(Segment::Greedy(_))) => {
                let leading = segments.iter().map_while(|segment| match segment {
                    Segment::Static(text) => Some(format!("/{text}")),
                    Segment::Parameter(_) | Segment::Greedy(_) => None,
                });
                format!("{base}{}", leading.collect::<String>())
            }
            RouteMatcher::Path { .. } => return Vec::new(),
        };
        let below = self.prefixes.iter().filter(|prefix| below_base(&begin, prefix).is_some());
        below.flat_map(|prefix| [prefix.clone(), format!("{prefix}/{}", self.free("-"))]).collect()
    }

    /// Where these APIs begin, and what routes of them match before they match anything.
    fn prefixes(&self, apis: &[&model::Api]) -> BTreeSet<String> {
        /// Of routes: a bound for configurations that are long.
        const MOST: usize = 1000;
        let bases = apis.iter().filter(|api| !api.base.is_empty()).map(|api| api.base.to_string());
        let routes = apis.iter().flat_map(|api| api.routes.iter().map(move |route| (api, &route.matcher)));
        let routes = routes.filter_map(|(api, matcher)| match matcher {
            RouteMatcher::Default => None,
            RouteMatcher::Path { segments, .. } => {
                let pieces = segments.iter().filter_map(|segment| match segment {
                    Segment::Static(text) => Some(format!("/{text}")),
                    Segment::Parameter(name) => Some(format!("/{}", self.free(name))),
                    Segment::Greedy(_) => None,
                });
                Some(format!("{}{}", api.base, pieces.collect::<String>())).filter(|prefix| !prefix.is_empty())
            }
        });
        bases.chain(routes.take(MOST)).collect()
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

fn one_by_one<T>(items: impl IntoIterator<Item = T>) -> Vec<Vec<T>> {
    items.into_iter().map(|item| vec![item]).collect()
}

/// The routes that have a policy on either side, and the paths below their base that their policies speak of.
type Policed<'m> = HashMap<RouteName<'m>, BTreeSet<String>>;

fn policed<'m>(judges: Sides<&Judge<'m>>) -> Policed<'m> {
    /// Of one route: a bound for documents that are long.
    const MOST: usize = 64;
    let mut policed = Policed::new();
    let apis = judges.both().into_iter().flat_map(|judge| &judge.model().apis);
    for written in apis.flat_map(|api| api.routes.iter().map(move |route| Written { api, route })) {
        let policies = written.route.entry.rules().map_or(&[][..], |rules| &rules.policies);
        if !policies.is_empty() {
            let paths = policies.iter().flat_map(|document| spoken_of(document.policy.text()));
            let known = policed.entry(written.name()).or_default();
            for path in paths.take(MOST) {
                known.insert(path);
            }
        }
    }
    policed
}

/// `/pets/7` of `execute-api:/*/GET/pets/7`: paths that resources of the document match, and others that may be asked
/// about as well.
fn spoken_of(document: &str) -> impl Iterator<Item = String> {
    /// An API, a stage and a method come first.
    const BEFORE: usize = 3;
    let path = |text: &str| -> String {
        let pieces = text.split('/').skip(BEFORE).map(|piece| piece.replace('*', "any").replace('?', "x"));
        pieces.map(|piece| format!("/{piece}")).collect()
    };
    document.split('"').map(path).filter(|path| !path.is_empty())
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
