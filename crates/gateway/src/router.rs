//! Which route of an API serves a path and a method.
//!
//! Rules, in this order:
//!
//! 1. The path, segment by segment: a static segment beats a parameter, a parameter beats a greedy one.
//! 2. Then the method: itself, GET for HEAD, then `ANY` (which is every method but CONNECT and TRACE).
//! 3. If no method fits there, the next less specific path is tried.
//! 4. What nothing else matches goes to `$default`, if there is one.
//!
//! A parameter is one segment that is not empty, a greedy parameter one or more up to the end. `//` and a trailing `/`
//! make empty segments, which only static segments match. Paths are in the one form (`gatepost_config::path`).
//!
//! The routes form a tree with a hash table at each segment: a look-up costs by the path's length, not by the number
//! of routes, and visits a node at most once.

use gatepost_config::model::{Methods, RouteMatcher, Segment};
use http::{HeaderValue, Method};
use rustc_hash::FxHashMap;

/// The routes of one API; `R` is what stands for a route.
#[derive(Debug)]
pub(crate) struct Router<R> {
    root: Node<R>,
    default: Option<R>,
}

/// No route serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Miss {
    /// No route has this path.
    Path,
    /// Some have, with other methods: these, as the `Allow` header lists them.
    Method(HeaderValue),
}

/// A place in the tree of segments.
#[derive(Debug)]
struct Node<R> {
    /// Its keys come from the configuration, so nobody can make them collide.
    below: FxHashMap<Box<str>, Node<R>>,
    parameter: Option<Box<Node<R>>>,
    greedy: Leaf<R>,
    here: Leaf<R>,
}

/// The routes of one path.
#[derive(Debug)]
struct Leaf<R> {
    methods: Vec<(Method, R)>,
    any: Option<R>,
}

impl<R> Router<R> {
    /// A router of these routes. Of two routes for one path and method the later wins; a resolved model has none.
    pub(crate) fn new<'m>(routes: impl IntoIterator<Item = (&'m RouteMatcher, R)>) -> Self
    where
        R: Clone,
    {
        let mut router = Self { root: Node::default(), default: None };
        for (matcher, route) in routes {
            match matcher {
                RouteMatcher::Default => router.default = Some(route),
                RouteMatcher::Path { methods, segments } => router.root.leaf_at(segments).add(methods, route),
            }
        }
        router
    }

    /// The route that serves `method` on `path`.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Result<&R, Miss> {
        let segments = path.strip_prefix('/').unwrap_or(path);
        let found = self.root.find(Some(segments), &mut |leaf| leaf.serve(method));
        match found.or(self.default.as_ref()) {
            Some(route) => Ok(route),
            None => Err(self.miss(segments)),
        }
    }

    /// Every route on `path`, whatever its method, the most specific first. Not `$default`.
    pub(crate) fn on_path(&self, path: &str) -> Vec<&R> {
        let segments = path.strip_prefix('/').unwrap_or(path);
        let mut routes = Vec::new();
        self.root.find(Some(segments), &mut |leaf| {
            routes.extend(leaf.methods.iter().map(|(_, route)| route).chain(&leaf.any));
            None::<()>
        });
        routes
    }

    /// Walks the tree again, now for every method.
    fn miss(&self, segments: &str) -> Miss {
        let mut allowed: Vec<&str> = Vec::new();
        let nothing = self.root.find(Some(segments), &mut |leaf| {
            leaf.list(&mut allowed);
            None::<&R>
        });
        debug_assert!(nothing.is_none());
        allowed.sort_unstable();
        allowed.dedup();
        match HeaderValue::try_from(allowed.join(", ")) {
            Ok(allow) if !allowed.is_empty() => Miss::Method(allow),
            _ => Miss::Path,
        }
    }
}

impl<R> Node<R> {
    fn leaf_at(&mut self, segments: &[Segment]) -> &mut Leaf<R> {
        match segments {
            [] => &mut self.here,
            [Segment::Static(name), rest @ ..] => self.below.entry(name.clone()).or_default().leaf_at(rest),
            [Segment::Parameter(_), rest @ ..] => self.parameter.get_or_insert_default().leaf_at(rest),
            [Segment::Greedy(_), ..] => &mut self.greedy,
        }
    }

    /// Tries the leaves that match `path` (the segments below this node; none at the end of the path), the most specific
    /// first, until `accept` takes one.
    fn find<'r, T>(&'r self, path: Option<&str>, accept: &mut impl FnMut(&'r Leaf<R>) -> Option<T>) -> Option<T> {
        let Some(path) = path else {
            return accept(&self.here);
        };
        let (segment, rest) = match path.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (path, None),
        };
        if let Some(found) = self.below.get(segment).and_then(|node| node.find(rest, accept)) {
            return Some(found);
        }
        if !segment.is_empty()
            && let Some(found) = self.parameter.as_ref().and_then(|node| node.find(rest, accept))
        {
            return Some(found);
        }
        if path.is_empty() { None } else { accept(&self.greedy) }
    }
}

impl<R> Leaf<R> {
    fn add(&mut self, methods: &Methods, route: R)
    where
        R: Clone,
    {
        match methods {
            Methods::Any => self.any = Some(route),
            Methods::Only(methods) => {
                self.methods.extend(methods.iter().map(|method| (method.clone(), route.clone())));
            }
        }
    }

    fn serve(&self, method: &Method) -> Option<&R> {
        let exactly =
            |wanted: &Method| self.methods.iter().find(|(method, _)| method == wanted).map(|(_, route)| route);
        exactly(method).or_else(|| if *method == Method::HEAD { exactly(&Method::GET) } else { None }).or_else(|| {
            let beyond_any = matches!(*method, Method::CONNECT | Method::TRACE);
            if beyond_any { None } else { self.any.as_ref() }
        })
    }

    fn list<'r>(&'r self, allowed: &mut Vec<&'r str>) {
        allowed.extend(self.methods.iter().map(|(method, _)| method.as_str()));
        if self.methods.iter().any(|(method, _)| *method == Method::GET) {
            allowed.push("HEAD");
        }
        if self.any.is_some() {
            allowed.extend(["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]);
        }
    }
}

impl<R> Default for Node<R> {
    fn default() -> Self {
        Self { below: FxHashMap::default(), parameter: None, greedy: Leaf::default(), here: Leaf::default() }
    }
}

impl<R> Default for Leaf<R> {
    fn default() -> Self {
        Self { methods: Vec::new(), any: None }
    }
}

#[cfg(test)]
mod tests;
