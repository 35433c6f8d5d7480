use proptest::prelude::*;

use super::*;

/// A route key as the configuration writes it.
fn matcher(key: &str) -> RouteMatcher {
    if key == "$default" {
        return RouteMatcher::Default;
    }
    let (methods, path) = key.split_once(' ').expect("METHOD /path");
    let methods = match methods {
        "ANY" => Methods::Any,
        listed => Methods::Only(listed.split(',').map(|method| method.parse().unwrap()).collect()),
    };
    let segments = path[1..].split('/').map(|segment| {
        let name = segment.trim_matches(|c| matches!(c, '{' | '}' | '+'));
        match segment {
            _ if segment.ends_with("+}") => Segment::Greedy(name.into()),
            _ if segment.starts_with('{') => Segment::Parameter(name.into()),
            _ => Segment::Static(segment.into()),
        }
    });
    RouteMatcher::Path { methods, segments: segments.collect() }
}

fn router<'k>(keys: &[&'k str]) -> Router<&'k str> {
    let matchers: Vec<_> = keys.iter().map(|key| matcher(key)).collect();
    Router::new(matchers.iter().zip(keys.iter().copied()))
}

/// `METHOD /path` to the key that serves it, `404`, or `405` with what is allowed.
fn answer(router: &Router<&str>, request: &str) -> String {
    let (method, path) = request.split_once(' ').unwrap();
    match router.find(&method.parse().unwrap(), path) {
        Ok(route) => (*route).to_owned(),
        Err(Miss::Path) => "404".to_owned(),
        Err(Miss::Method(allow)) => format!("405 {}", allow.to_str().unwrap()),
    }
}

#[track_caller]
fn check(keys: &[&str], requests: &[(&str, &str)]) {
    let router = router(keys);
    for (request, expected) in requests {
        assert_eq!(answer(&router, request), *expected, "{request} with {keys:?}");
    }
}

#[test]
fn static_beats_parameter_beats_greedy_beats_default() {
    check(
        &["GET /pets/dog/1", "GET /pets/dog/{id}", "GET /pets/{rest+}", "ANY /{rest+}", "$default"],
        &[
            ("GET /pets/dog/1", "GET /pets/dog/1"),
            ("GET /pets/dog/2", "GET /pets/dog/{id}"),
            ("GET /pets/cat/1", "GET /pets/{rest+}"),
            ("POST /test/5", "ANY /{rest+}"),
            ("GET /", "$default"),
        ],
    );
}

#[test]
fn a_path_without_the_method_gives_way_to_a_less_specific_one_that_has_it() {
    check(
        &["POST /test", "ANY /test/any", "OPTIONS /{rest+}"],
        &[
            ("OPTIONS /test", "OPTIONS /{rest+}"),
            ("POST /test", "POST /test"),
            ("OPTIONS /test/any", "ANY /test/any"),
            ("GET /test/any", "ANY /test/any"),
            ("GET /test", "405 OPTIONS, POST"),
        ],
    );
    check(
        &["GET /part1", "GET /part1/fixed", "GET /{rest+}"],
        &[("GET /part1/fixed", "GET /part1/fixed"), ("GET /part1/other", "GET /{rest+}")],
    );
}

#[test]
fn a_dead_end_below_a_static_segment_is_left_for_the_parameter_beside_it() {
    check(
        &["GET /a/{x}/c", "GET /{y}/b/d"],
        &[("GET /a/b/c", "GET /a/{x}/c"), ("GET /a/b/d", "GET /{y}/b/d"), ("GET /a/b/e", "404")],
    );
}

#[test]
fn get_serves_head_but_a_head_route_comes_first() {
    check(&["GET /a", "ANY /a"], &[("HEAD /a", "GET /a"), ("PUT /a", "ANY /a")]);
    check(&["GET /a", "HEAD /a"], &[("HEAD /a", "HEAD /a")]);
    check(&["ANY /a"], &[("HEAD /a", "ANY /a"), ("PROPFIND /a", "ANY /a")]);
}

#[test]
fn any_is_neither_connect_nor_trace() {
    check(
        &["ANY /a", "TRACE /b"],
        &[("TRACE /a", "405 DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"), ("TRACE /b", "TRACE /b")],
    );
}

#[test]
fn a_known_path_with_another_method_tells_which_are_allowed() {
    check(&["GET,POST /a", "DELETE /{x}"], &[("PUT /a", "405 DELETE, GET, HEAD, POST"), ("PUT /a/b", "404")]);
}

#[test]
fn doubled_and_trailing_slashes_are_significant() {
    check(
        &["GET /a", "GET /a/", "GET /b", "GET /c/{x}", "GET /d/{x+}", "GET /"],
        &[
            ("GET /a", "GET /a"),
            ("GET /a/", "GET /a/"),
            ("GET /b/", "404"),
            ("GET //b", "404"),
            ("GET /c/", "404"),
            ("GET /c/1/", "404"),
            ("GET /d/", "404"),
            ("GET /d", "404"),
            ("GET /d/1//2/", "GET /d/{x+}"),
            ("GET /", "GET /"),
            ("GET //", "404"),
        ],
    );
}

#[test]
fn an_escaped_slash_does_not_separate() {
    check(&["GET /a/{x}", "GET /a/b/c"], &[("GET /a/b%2Fc", "GET /a/{x}")]);
}

/// The rules as they are written down, one route after the other.
fn by_the_rules<'k>(keys: &[&'k str], method: &str, path: &str) -> Option<&'k str> {
    fn ranks(pattern: &str, path: &str) -> Option<Vec<u8>> {
        let (mut pattern, mut path) = (pattern[1..].split('/'), path[1..].split('/').peekable());
        let mut ranks = Vec::new();
        for segment in pattern.by_ref() {
            if segment.ends_with("+}") {
                let rest: Vec<_> = path.by_ref().collect();
                ranks.push(2);
                return (rest.len() > 1 || rest.first().is_some_and(|first| !first.is_empty())).then_some(ranks);
            }
            match path.next() {
                Some(actual) if actual == segment => ranks.push(0),
                Some(actual) if segment.starts_with('{') && !actual.is_empty() => ranks.push(1),
                _ => return None,
            }
        }
        path.peek().is_none().then_some(ranks)
    }
    let method_rank = |methods: &str| match methods {
        "ANY" => Some(2),
        _ if methods.split(',').any(|m| m == method) => Some(0),
        _ if method == "HEAD" && methods.split(',').any(|m| m == "GET") => Some(1),
        _ => None,
    };
    keys.iter()
        .filter_map(|key| {
            let (methods, pattern) = key.split_once(' ')?;
            Some(((ranks(pattern, path)?, method_rank(methods)?), *key))
        })
        .min_by(|(left, _), (right, _)| left.cmp(right))
        .map(|(_, key)| key)
}

proptest! {
    #[test]
    fn the_tree_agrees_with_the_rules_applied_one_route_after_the_other(
        patterns in prop::collection::hash_set(
            ("(GET|POST|HEAD|ANY)", prop::collection::vec("(a|b|\\{x\\})", 0..4), "(/|/\\{r\\+\\}|)"), 1..12),
        requests in prop::collection::vec(("(GET|POST|HEAD|PUT)", "(/(a|b|c|)){1,5}"), 1..20),
    ) {
        let keys: Vec<String> = patterns.into_iter().map(|(method, segments, end)| {
            let path: String = segments.iter().map(|segment| format!("/{segment}")).collect();
            let path = if path.is_empty() && end.is_empty() { "/".to_owned() } else { format!("{path}{end}") };
            format!("{method} {path}")
        }).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let router = router(&keys);
        for (method, path) in requests {
            let found = router.find(&method.parse().unwrap(), &path).ok().copied();
            prop_assert_eq!(found, by_the_rules(&keys, &method, &path), "{} {} in {:?}", method, path, keys);
        }
    }
}
