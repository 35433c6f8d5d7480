use std::path::Path;

use gatepost_config::load_text;
use gatepost_config::model::Model;
use proptest::prelude::*;

use super::*;
use crate::judge::Asked;

fn model(text: &str) -> Model {
    load_text("gatepost.toml", text, Path::new(""))
        .unwrap_or_else(|report| panic!("{}\n{text}", report.render(false)))
        .model
}

/// What differs, one line a change: `POST /a: 403 address_not_listed -> admitted from 192.0.2.0/24`.
fn told(old: &str, new: &str) -> Vec<String> {
    let (old, new) = (model(old), model(new));
    let (old, new) = (Judge::new(&old), Judge::new(&new));
    let difference = diff(&old, &new);
    let verdicts = difference.verdicts.iter().map(|change| {
        let route = change.route.new.or(change.route.old).unwrap();
        let networks: Vec<String> = change.networks.list().iter().map(ToString::to_string).collect();
        let Sides { old, new } = change.judgement;
        format!("{route}: {old} -> {new} from {}", networks.join(" "))
    });
    let routes = difference.routes.iter().map(|change| {
        let name = |route: Option<RouteName<'_>>| route.map_or("nothing".to_owned(), |route| route.to_string());
        format!("{} => {}: {}", name(change.route.old), name(change.route.new), change.changes.join("; "))
    });
    let listeners = difference.listeners.iter().map(|change| {
        let name = |name: &Option<Arc<str>>| name.as_deref().unwrap_or("nothing").to_owned();
        format!("listener {} => {}: {}", name(&change.name.old), name(&change.name.new), change.changes.join("; "))
    });
    let told = |kind, name: &str, is_there: Sides<bool>, changes: &[String]| match is_there {
        Sides { old: true, new: true } => format!("{kind} {name}: {}", changes.join("; ")),
        Sides { old, new } => format!("{kind} {name}: {old} => {new}"),
    };
    let callers = difference.callers.iter().map(|it| told("caller", &it.name, it.is_there, &it.changes));
    let plans = difference.plans.iter().map(|it| told("plan", &it.name, it.is_there, &it.changes));
    verdicts.chain(routes).chain(listeners).chain(callers).chain(plans).collect()
}

/// A configuration with these routes.
fn with(routes: &[(&str, &str)]) -> String {
    let mut text = "listen = \"127.0.0.1:8080\"\n".to_owned();
    for (key, rules) in routes {
        text += &format!("[route.\"{key}\"]\n{rules}\n");
        if !rules.contains("forward") && !rules.contains("respond") {
            text += "respond = { status = 204 }\n";
        }
    }
    text
}

#[test]
fn what_is_the_same_differs_in_nothing() {
    let text = with(&[("GET /a", "from = [\"192.0.2.0/24\"]"), ("$default", "open = true")]);
    assert_eq!(told(&text, &text), [""; 0]);
    let otherwise = with(&[("GET /a", "from = [\"192.0.2.0/25\", \"192.0.2.128/25\"]"), ("$default", "open = true")]);
    assert_eq!(told(&text, &otherwise), [""; 0]);
}

#[test]
fn addresses_are_told_in_as_few_networks_as_can_be() {
    let from = |entry: &str| with(&[("POST /a", entry)]);
    for (old, new, expected) in [
        (
            "from = [\"192.0.2.0/24\"]",
            "from = [\"192.0.2.0/25\", \"192.0.2.192/26\", \"2001:db8::/32\"]",
            vec![
                "POST /a: 403 address_not_listed -> admitted from 2001:db8::/32",
                "POST /a: admitted -> 403 address_not_listed from 192.0.2.128/26",
            ],
        ),
        (
            "from = [\"10.0.0.0/8\"]",
            "from = [\"10.0.0.0/8\"]\nexcept = [\"10.0.0.1\", \"10.0.0.2\"]",
            vec!["POST /a: admitted -> 403 address_not_listed from 10.0.0.1/32 10.0.0.2/32"],
        ),
        (
            "from = [\"0.0.0.0/1\"]",
            "open = true",
            vec![
                "POST /a: 403 address_not_listed -> admitted from 128.0.0.0/1 ::/0",
                "POST /a => POST /a: who may enter: from -> open",
            ],
        ),
        (
            "from = [\"::/0\"]",
            "from = [\"0.0.0.0/0\"]",
            vec![
                "POST /a: admitted -> 403 address_not_listed from ::/0",
                "POST /a: 403 address_not_listed -> admitted from 0.0.0.0/0",
            ],
        ),
        ("from = [\"::ffff:192.0.2.1\"]", "from = [\"192.0.2.1\"]", vec![]),
    ] {
        assert_eq!(told(&from(old), &from(new)), expected, "{old} => {new}");
    }
}

#[test]
fn a_route_that_takes_a_part_of_another_is_told_with_whom_it_keeps_out() {
    let old = with(&[("ANY /{rest+}", "open = true")]);
    let new = with(&[("ANY /{rest+}", "open = true"), ("GET /admin/{id}", "from = [\"128.0.0.0/1\", \"::/0\"]")]);
    assert_eq!(
        told(&old, &new),
        [
            "GET /admin/{id}: admitted -> 403 address_not_listed from 0.0.0.0/1",
            "ANY /{rest+} => GET /admin/{id}: GET /admin/{id} answers instead of ANY /{rest+}; who may enter: open -> from",
        ]
    );
}

#[test]
fn a_host_of_its_own_takes_requests_from_what_answered_for_any() {
    let old = with(&[("GET /a", "open = true"), ("GET /b", "open = true")]);
    let new = old.clone()
        + "[api.own]\nhosts = [\"own.test\"]\n[api.own.route.\"GET /a\"]\nopen = true\nrespond = { status = 204 }\n";
    assert_eq!(
        told(&old, &new),
        [
            "GET /b: admitted -> 404 no_route from 0.0.0.0/0 ::/0",
            "GET /a => GET /a of own: GET /a of own answers instead of GET /a",
        ]
    );
}

#[test]
fn routes_and_listeners_that_come_and_go_are_named() {
    let old = with(&[("GET /a", "open = true"), ("GET /pets/{id}", "open = true")]);
    let new = "[listen.inside]\naddresses = [\"127.0.0.1:8080\", \"127.0.0.1:8081\"]\n".to_owned()
        + &with(&[("GET /b", "from = [\"::1\"]"), ("GET /pets/{pet}", "open = true\nmax_body = \"1KiB\"")])[26..];
    assert_eq!(
        &told(&old, &new)[1..],
        [
            "GET /a: admitted -> 404 no_route from 0.0.0.0/0 ::/0",
            "GET /b: 404 no_route -> admitted from ::1/128",
            "nothing => GET /b: ",
            "GET /a => nothing: ",
            "GET /pets/{id} => GET /pets/{pet}: GET /pets/{pet} answers instead of GET /pets/{id}; max_body: 10485760 -> 1024",
            "listener default => inside: addresses: 127.0.0.1:8080 -> 127.0.0.1:8080, 127.0.0.1:8081",
        ]
    );
}

#[test]
fn what_a_route_does_otherwise_is_said_and_header_values_are_not() {
    let to = |to: &str, rest: &str| with(&[("GET /a", &format!("open = true\nforward = {{ to = \"{to}\" }}\n{rest}"))]);
    let one = to("http://10.0.0.1:80", "throttle = { rate = \"5/s\", burst = 5 }");
    for (other, expected) in [
        (
            to("http://10.0.0.2:80", "throttle = { rate = \"5/s\", burst = 5 }"),
            "forward: to http://10.0.0.1:80, over within 30s -> to http://10.0.0.2:80, over within 30s",
        ),
        (to("http://10.0.0.1:80", "parallel = 3"), "throttle: 5/s burst 5 -> none; parallel: none -> 3"),
        (
            to(
                "http://10.0.0.1:80\", headers = { set = { x-secret = \"hunter2\" } }, path = \"/b",
                "throttle = { rate = \"5/s\", burst = 5, by = \"client\" }",
            ),
            "its path changed; the headers that it sets changed; throttle: 5/s burst 5 -> 5/s burst 5 by client",
        ),
        (
            with(&[("GET /a", "open = true\nthrottle = { rate = \"5/s\", burst = 5 }")]),
            "what it does: forward to http://10.0.0.1:80, over within 30s -> respond with 204",
        ),
    ] {
        assert_eq!(told(&one, &other), [format!("GET /a => GET /a: {expected}")], "{other}");
    }
}

#[test]
fn requests_are_found_for_what_others_cover_in_part() {
    let text = with(&[
        ("GET /{id}", "open = true"),
        ("POST /x", "open = true"),
        ("ANY /{rest+}", "open = true"),
        ("$default", "open = true"),
        ("GET /id", "open = true"),
    ]);
    let model = model(&text);
    let judge = Judge::new(&model);
    let difference = diff(&judge, &judge);
    assert_eq!(difference.untold, []);
}

#[test]
fn of_thousands_of_networks_the_one_that_is_missing_is_found() {
    let list = |skip: u32| -> String {
        let networks = (0..10_000_u32).filter(|count| *count != skip);
        networks.map(|count| format!("\"{}\",", Ipv4Addr::from(0x0100_0000 + count * 1024))).collect()
    };
    let text = |skip| with(&[("GET /a", &format!("from = [{}]", list(skip)))]);
    assert_eq!(told(&text(u32::MAX), &text(4)), ["GET /a: admitted -> 403 address_not_listed from 1.0.16.0/32"]);
}

/// Whether it counts as a change of who may enter.
fn is_beyond_networks(old: &str, new: &str) -> bool {
    let (old, new) = (model(old), model(new));
    diff(&Judge::new(&old), &Judge::new(&new)).changes_who_may_enter()
}

#[test]
fn what_is_fetched_is_told_by_name_and_counts() {
    const SETS: &str = "[addresses.hooks]\nurl = \"https://a.test/meta\"\npick = \"/hooks\"\n";
    let text = |rules: &str| with(&[("GET /a", rules)]) + SETS;
    let plain = text("from = [\"192.0.2.1\"]");
    let listed = text("from = [\"192.0.2.1\", \"hooks\"]");
    let excepted = text("from = [\"192.0.2.1\"]\nexcept = [\"hooks\"]");
    for (old, new, expected) in [
        (&plain, &listed, "from: newly what is fetched as hooks"),
        (&listed, &plain, "from: no longer what is fetched as hooks"),
        (&plain, &excepted, "except: newly what is fetched as hooks"),
        (&excepted, &plain, "except: no longer what is fetched as hooks"),
        (&listed, &listed.replace("/meta", "/other"), "from: where hooks is fetched, or what of it counts, changed"),
        (&listed, &listed.replace("/hooks", "/web"), "from: where hooks is fetched, or what of it counts, changed"),
    ] {
        let told = told(old, new);
        assert!(told.contains(&format!("GET /a => GET /a: {expected}")), "{expected}: {told:?}");
        assert!(is_beyond_networks(old, new), "{expected}");
    }
    let listening = |senders: &str| {
        format!("[listen.default]\naddresses = [\"127.0.0.1:8080\"]\nbehind = [{senders}]\n{SETS}")
            + &with(&[("GET /a", "open = true")])[26..]
    };
    let (old, new) = (listening("\"10.0.0.1\""), listening("\"10.0.0.1\", \"hooks\""));
    let expected = "listener default => default: behind: who is believed about the client's address; networks here are \
                    those of clients; behind: newly what is fetched as hooks";
    assert!(told(&old, &new).contains(&expected.to_owned()), "{:?}", told(&old, &new));
    assert!(is_beyond_networks(&old, &new));
    assert!(!is_beyond_networks(&listed, &listed));
    // Where there is nothing to tell in networks, a route that comes counts too.
    assert!(is_beyond_networks(
        &with(&[("GET /b", "open = true")]),
        &(listed + "[route.\"GET /b\"]\nopen = true\nrespond = {}")
    ));
}

#[test]
fn what_is_open_below_the_base_of_another_api_is_asked_about_there() {
    let open = |key: &str| with(&[(key, "open = true")]);
    let api = "[api.v1]\nbase = \"/v1\"\n[api.v1.route.\"GET /a\"]\nopen = true\nrespond = { status = 204 }\n";
    for key in ["ANY /{rest+}", "$default", "GET /{rest+}"] {
        let (old, new) = (open(key) + api, open(key));
        for (old, new, expected) in [(&old, &new, "404 no_route -> admitted"), (&new, &old, "admitted -> 404 no_route")]
        {
            let expected = format!("{key}: {expected} from 0.0.0.0/0 ::/0");
            assert!(told(old, new).contains(&expected), "{expected}: {:?}", told(old, new));
        }
    }
}

#[test]
fn what_is_open_below_a_route_of_its_own_api_is_asked_about_there() {
    let rules = "from = [\"192.0.2.0/24\"]";
    let old = with(&[("ANY /{rest+}", "open = true"), ("GET /admin/{rest+}", rules)]);
    let new = with(&[("ANY /{rest+}", "open = true"), ("ANY /admin/{rest+}", rules)]);
    let told = told(&old, &new);
    assert!(told.iter().any(|told| told.contains(" -> 403 address_not_listed")), "{told:?}");
}

#[test]
fn a_signature_that_is_no_longer_asked_for_counts() {
    let signed = with(&[("POST /a", "from = [\"192.0.2.1\"]\nsigned = { github = \"env:PATH\" }")]);
    let plain = with(&[("POST /a", "from = [\"192.0.2.1\"]")]);
    assert!(is_beyond_networks(&signed, &plain) && is_beyond_networks(&plain, &signed));
    assert!(!is_beyond_networks(&signed, &signed));
}

#[test]
fn a_token_that_is_asked_for_otherwise_counts() {
    let jwt = |issuer: &str, rest: &str| {
        with(&[("GET /a", &format!("jwt = {{ issuer = \"https://{issuer}\", audience = {rest} }}"))])
    };
    let old = jwt("a.test", "[\"x\", \"y\"], scopes = [\"admin\"]");
    for (new, expected) in [
        (with(&[("GET /a", "open = true")]), "who may enter: jwt -> open"),
        (jwt("b.test", "[\"x\", \"y\"], scopes = [\"admin\"]"), "issuer of jwt: https://a.test -> https://b.test"),
        (jwt("a.test", "[\"x\"], scopes = [\"admin\"]"), "audience of jwt: x, y -> x"),
        (jwt("a.test", "[\"x\", \"y\"]"), "scopes of jwt: admin -> none"),
    ] {
        assert_eq!(told(&old, &new), [format!("GET /a => GET /a: {expected}")]);
        assert!(is_beyond_networks(&old, &new) && is_beyond_networks(&new, &old), "{expected}");
    }
    let otherwise = jwt("a.test", "[\"y\", \"x\"], scopes = [\"admin\"]");
    assert_eq!(told(&old, &otherwise), [""; 0]);
    assert!(!is_beyond_networks(&old, &otherwise));
    let model = model(&old);
    let difference = diff(&Judge::new(&model), &Judge::new(&model));
    assert_eq!(difference.untold.iter().map(|untold| untold.cause).collect::<Vec<_>>(), [Cause::Token]);
}

#[test]
fn what_plans_promise_otherwise_is_said_and_changes_nobodys_entry() {
    let routes = with(&[("GET /a", "callers = \"any\""), ("GET /b", "callers = \"any\"")]);
    let plan = |rules: &str| {
        let key = format!("sha256:{}", "0".repeat(64));
        format!("{routes}[plan.p]\n{rules}\n[caller.acme]\nplan = \"p\"\nkeys = [\"{key}\"]\n")
    };
    let old = plan(
        "throttle = { rate = \"5/s\", burst = 5 }\nquota = { limit = 1000, per = \"day\" }\nroutes = { \"GET /a\" = { rate = \"1/s\", burst = 1 } }",
    );
    for (new, expected) in [
        (old.replace("1000", "10"), "quota: 1000 per day -> 10 per day"),
        (old.replace("5/s", "4/s"), "throttle: 5/s burst 5 by caller -> 4/s burst 5 by caller"),
        (old.replace("\"1/s\"", "\"2/s\""), "throttle of GET /a: 1/s burst 1 by caller -> 2/s burst 1 by caller"),
        (
            old.replace("\"GET /a\" = { rate", "\"GET /b\" = { rate"),
            "throttle of GET /a: 1/s burst 1 by caller -> none; throttle of GET /b: none -> 1/s burst 1 by caller",
        ),
    ] {
        assert_eq!(told(&old, &new), [format!("plan p: {expected}")]);
        assert!(!is_beyond_networks(&old, &new), "{expected}");
    }
    let key = format!("sha256:{}", "1".repeat(64));
    let caller = format!("[caller.b]\nplan = \"q\"\nkeys = [\"{key}\"]\n");
    let other = format!("{old}[plan.q]\nquota = {{ limit = 1, per = \"week\" }}\n{caller}");
    assert_eq!(told(&old, &other), ["caller b: false => true", "plan q: false => true"]);
    assert_eq!(told(&other, &old), ["caller b: true => false", "plan q: true => false"]);
}

#[test]
fn what_a_route_or_a_caller_may_cost_and_hold_open_is_said() {
    let key = format!("sha256:{}", "0".repeat(64));
    let text = |route: &str, caller: &str| {
        with(&[("GET /a", &format!("callers = \"any\"\n{route}"))])
            + &format!("[caller.acme]\nkeys = [\"{key}\"]\n{caller}\n")
    };
    let budget = |limit: &str| format!("budget = {{ limit = \"{limit}\", per = \"day\", per_request = \"0.01 USD\" }}");
    let told_as = "none -> 1 USD per day, at 0.01 USD per request and 0 USD per GB";
    let old = text("", "");
    for (new, expected) in [
        (text(&budget("1 USD"), ""), format!("GET /a => GET /a: budget: {told_as}")),
        (text("", &budget("1 USD")), format!("caller acme: budget: {told_as}")),
        (text("parallel = 3", ""), "GET /a => GET /a: parallel: none -> 3".to_owned()),
        (text("", "parallel = 3"), "caller acme: parallel: none -> 3".to_owned()),
    ] {
        assert_eq!(told(&old, &new), [expected]);
        assert!(!is_beyond_networks(&old, &new));
    }
}

/// A model of one route with this policy.
fn with_policy(key: &str, statements: &str) -> (tempfile::TempDir, Model) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("policy.json"), format!("{{\"Statement\": [{statements}]}}")).unwrap();
    let text = with(&[(key, "policy = \"file:policy.json\"")]);
    let model = load_text("gatepost.toml", &text, directory.path())
        .unwrap_or_else(|report| panic!("{}", report.render(false)))
        .model;
    (directory, model)
}

fn allow(resource: &str) -> String {
    format!(
        r#"{{"Effect": "Allow", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "execute-api:/*/{resource}"}}"#
    )
}

#[test]
fn policies_are_asked_about_methods_and_paths_that_they_tell_apart() {
    for (key, old, new, request) in [
        ("ANY /a", "GET/a", "*", ("DELETE", "/a")),
        ("GET /a", "GET/a", "*", ("HEAD", "/a")),
        ("GET /pets/{id}", "GET/pets/7", "GET/pets/8", ("GET", "/pets/8")),
        ("ANY /{rest+}", "*", "GET/admin/*", ("POST", "/rest")),
        ("$default", "GET/-", "GET/admin/*/x", ("GET", "/admin/any/x")),
    ] {
        let ((_old, old), (_new, new)) = (with_policy(key, &allow(old)), with_policy(key, &allow(new)));
        let difference = diff(&Judge::new(&old), &Judge::new(&new));
        let is_told = difference
            .verdicts
            .iter()
            .any(|change| change.requests.iter().any(|asked| (asked.method.as_str(), &*asked.path) == request));
        assert!(is_told, "{key}: {difference:#?}");
    }
}

#[test]
fn a_policy_that_says_something_else_is_told_even_if_no_verdict_changes() {
    let on = |agent: &str| {
        allow("*").replace("}", &format!(r#", "Condition": {{"StringEquals": {{"aws:UserAgent": "{agent}"}}}}}}"#))
    };
    for (new, is_other) in [(on("b b"), true), (on("a  b"), true), (on("a b").replace(", ", " ,\n\t"), false)] {
        let ((_old, old), (_new, new)) = (with_policy("GET /a", &on("a b")), with_policy("GET /a", &new));
        let difference = diff(&Judge::new(&old), &Judge::new(&new));
        assert_eq!(difference.changes_who_may_enter(), is_other, "{difference:#?}");
        let said = difference.routes.iter().flat_map(|route| &route.changes);
        assert_eq!(said.filter(|said| said.ends_with("policy.json changed")).count(), usize::from(is_other));
        assert!(difference.untold[0].cause.text().contains("methods and paths"));
    }
}

/// A route's rules, with addresses of which many meet.
fn entry() -> impl Strategy<Value = String> {
    let network = (0_u8..4, 6_u8..=28, any::<bool>()).prop_map(|(bits, length, v6)| {
        let network = if v6 { format!("{bits}00::/{length}") } else { format!("{bits}.0.0.0/{length}") };
        network.parse::<IpNet>().unwrap().trunc()
    });
    let from = prop::collection::btree_set(network, 1..4);
    prop_oneof![
        1 => Just("open = true".to_owned()),
        4 => (from, prop::option::of(1_u8..4)).prop_map(|(from, except)| {
            let part = |deeper| from.first().map(|first| IpNet::new(first.addr(), first.prefix_len() + deeper).unwrap());
            let except = except.and_then(part).map(|part| format!("except = [\"{part}\"]")).unwrap_or_default();
            let from: Vec<String> = from.iter().map(|network| format!("\"{network}\"")).collect();
            format!("from = [{}]\n{except}", from.join(","))
        }),
    ]
}

fn configuration() -> impl Strategy<Value = String> {
    let keys = prop::sample::subsequence(vec!["GET /a", "GET,POST /b", "ANY /a", "ANY /{rest+}", "$default"], 1..=4);
    let api = (keys, prop::collection::vec(entry(), 5), 0_usize..3, any::<bool>());
    prop::collection::vec(api, 1..3).prop_map(|apis| {
        let mut text = "listen = \"127.0.0.1:8080\"\n".to_owned();
        for (number, (keys, entries, hosts, is_above)) in apis.into_iter().enumerate() {
            let hosts = ["", "hosts = [\"a.test\"]\n", "hosts = [\"*.a.test\", \"b.test\"]\n"][hosts];
            // Others may have their base below the first one's.
            let base = if number == 0 && is_above { String::new() } else { format!("base = \"/{number}\"\n") };
            text += &format!("[api.api{number}]\n{base}{hosts}");
            for (key, entry) in keys.into_iter().zip(entries) {
                text += &format!("[api.api{number}.route.\"{key}\"]\n{entry}\nrespond = {{ status = 204 }}\n");
            }
        }
        text
    })
}

proptest! {
    #[test]
    fn an_address_is_told_exactly_where_one_side_admits_and_the_other_does_not(
        old in configuration(),
        new in configuration(),
        addresses in prop::collection::vec((0_u8..5, any::<[u8; 15]>(), any::<bool>()), 30),
    ) {
        let is_named = |pattern: &str| [&old, &new].iter().any(|text| text.contains(&format!("\"{pattern}\"")));
        let hosts = [("a.test", "a.test"), ("b.test", "b.test"), ("x.a.test", "*.a.test"), ("other", "*")]
            .map(|(host, pattern)| (host, if is_named(pattern) { pattern } else { "*" }));
        let (old, new) = (model(&old), model(&new));
        let judges = Sides { old: Judge::new(&old), new: Judge::new(&new) };
        let difference = diff(&judges.old, &judges.new);
        let addresses: Vec<IpAddr> = addresses.into_iter().map(|(first, rest, v6)| match v6 {
            true => IpAddr::from(std::array::from_fn::<u8, 16, _>(|at| if at == 0 { first } else { rest[at - 1] & 1 })),
            false => IpAddr::from([first, rest[0] & 1, 0, rest[1] & 1]),
        }).collect();
        for (host, pattern) in hosts {
            for (method, path) in [("GET", "/0/a"), ("DELETE", "/0/a"), ("POST", "/1/b"), ("PUT", "/1/c"), ("GET", "/0/"), ("GET", "/1/d")] {
                let method: Method = method.parse().unwrap();
                for client in &addresses {
                    let asked = Asked { listener: "default", client: *client, method: &method, host, path, caller: None };
                    let judged = judges.old.judge(&asked);
                    let judged = Sides { old: judged, new: judges.new.judge(&asked) };
                    let admitted = judged.map(|judged| judged.judgement.is_admitted());
                    let is_told = difference.verdicts.iter().any(|change| {
                        change.judgement.map(Judgement::is_admitted) == admitted
                            && change.route == judged.map(|judged| judged.route)
                            && change.requests.iter().any(|request| *request.host == *pattern)
                            && change.networks.list().iter().any(|network| network.contains(client))
                    });
                    if !admitted.are_equal() {
                        prop_assert!(is_told, "{host} {method} {path} from {client}: {judged:?}\n{difference:#?}");
                    } else if judged.old.judgement == judged.new.judgement {
                        prop_assert!(!is_told, "{host} {method} {path} from {client}: {judged:?}\n{difference:#?}");
                    }
                }
            }
        }
    }
}
