//! What was written, and what it means: every file in `golden/good` beside the model it becomes, and
//! every file in `golden/broken` beside the report it causes.

#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use gatepost_config::model::{
    Action, AddressEntry, Addresses, Api, Behind, Budget, Caller, Domain, Entry, Forward, Listener, Model, Plan,
    PlanRoute, Route, RouteMatcher, Rules, Signed, Upstream,
};

#[test]
fn good_files_mean_this() {
    for path in files("good") {
        let loaded = load(&path).unwrap_or_else(|report| panic!("{}\n{report}", path.display()));
        let mut meaning = describe(&loaded.model);
        let names: Vec<_> = loaded.files.paths().map(|file| file.display().to_string()).collect();
        writeln!(meaning, "files {}", names.join(" ")).unwrap();
        snapshot(&path, &meaning);
    }
}

#[test]
fn broken_files_are_explained() {
    for path in files("broken") {
        let Err(report) = load(&path) else { panic!("{} was accepted", path.display()) };
        assert!(!report.diagnostics().is_empty(), "{}", path.display());
        assert_eq!(report.to_string(), report.render(false));
        snapshot(&path, &report.to_string());
    }
}

/// The configuration files of a directory below `golden`, in the order of their names.
fn files(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(directory);
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|kind| kind == "toml")).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Loads a file under its name alone, so that reports read the same on every machine.
fn load(path: &Path) -> Result<gatepost_config::Loaded, gatepost_config::Report> {
    std::env::set_current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")).unwrap();
    let directory = path.parent().unwrap().file_name().unwrap();
    let short = Path::new("golden").join(directory).join(path.file_name().unwrap());
    gatepost_config::load(&short)
}

/// Compares with the snapshot beside the file.
fn snapshot(path: &Path, text: &str) {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(path.parent().unwrap());
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// A model in lines: what a reader would want to know, without the places.
fn describe(model: &Model) -> String {
    let mut text = String::new();
    writeln!(text, "server {:?}", model.server).unwrap();
    writeln!(text, "log {:?}", model.log.access).unwrap();
    for listener in &model.listeners {
        describe_listener(&mut text, listener);
    }
    for Domain { name, chain, key, min_tls, place } in &model.domains {
        writeln!(text, "domain {name:?} at {}", place.describe()).unwrap();
        writeln!(text, "  {:?} {key:?} {min_tls:?}", String::from_utf8_lossy(chain)).unwrap();
    }
    for plan in model.plans.iter() {
        let Plan { name, throttle, quota, routes, place } = &**plan;
        writeln!(text, "plan {name} at {}\n  {throttle:?} {quota:?}", place.describe()).unwrap();
        for PlanRoute { api, route, throttle, place } in routes {
            writeln!(text, "  route {api} {route} {throttle:?} at {}", place.describe()).unwrap();
        }
    }
    for caller in model.callers.iter() {
        describe_caller(&mut text, caller);
    }
    for api in &model.apis {
        describe_api(&mut text, api);
    }
    text
}

fn describe_caller(text: &mut String, caller: &Caller) {
    let Caller { name, plan, from, keys, access_keys, token, signed, policy, arn, parallel, budget, place } = caller;
    let plan = plan.as_ref().map(|plan| &plan.name);
    writeln!(text, "caller {name} plan {plan:?} arn {} at {}", arn.as_str(), place.describe()).unwrap();
    if let Some(from) = from {
        writeln!(text, "  from {}", from.iter().map(describe_entry).collect::<Vec<_>>().join(", ")).unwrap();
    }
    for key in keys {
        writeln!(text, "  key {key}").unwrap();
    }
    for key in access_keys {
        writeln!(text, "  {key:?}").unwrap();
    }
    if let Some(token) = token {
        writeln!(text, "  {token:?}").unwrap();
    }
    if let Some(signed) = signed {
        let Signed { scheme, secrets, tolerance, replay, .. } = &**signed;
        writeln!(text, "  signed {scheme:?} {secrets:?} {tolerance:?} {replay:?}").unwrap();
    }
    if let Some(document) = policy {
        writeln!(text, "  policy {} {:?}", document.file.display(), document.doubts).unwrap();
    }
    writeln!(text, "  parallel {parallel:?}").unwrap();
    if let Some(budget) = budget {
        writeln!(text, "  {}", describe_budget(budget)).unwrap();
    }
}

fn describe_budget(budget: &Budget) -> String {
    let Budget { limit, per, per_request, per_gb, currency, place } = budget;
    let place = place.describe();
    format!("budget {limit} {currency} a {}: {per_request} each, {per_gb} a GB, at {place}", per.name())
}

fn describe_listener(text: &mut String, listener: &Listener) {
    let Listener { name, addresses, limits, tls, behind, redirect, private, place } = listener;
    writeln!(text, "listener {name} {addresses:?} at {}\n  {limits:?}", place.describe()).unwrap();
    if *tls {
        writeln!(text, "  tls").unwrap();
    }
    if let Some(Behind { senders, forwarded, proxy_protocol }) = behind {
        let senders: Vec<_> = senders.iter().map(describe_entry).collect();
        writeln!(text, "  behind {} {forwarded:?} proxy {proxy_protocol:?}", senders.join(", ")).unwrap();
    }
    if let Some(status) = redirect {
        writeln!(text, "  redirect {status}").unwrap();
    }
    if let Some(private) = private {
        writeln!(text, "  {private:?}").unwrap();
    }
}

fn describe_api(text: &mut String, api: &Api) {
    let Api { name, id, stage, hosts, listeners, base, compat, throttles, routes, place, .. } = api;
    writeln!(text, "api {name} id {id} stage {stage} base {base:?} at {}", place.describe()).unwrap();
    writeln!(text, "  hosts {hosts:?} listeners {listeners:?} throttles {throttles:?}").unwrap();
    if let Some(compat) = compat {
        writeln!(text, "  compat {compat:?}").unwrap();
    }
    for route in routes {
        describe_route(text, route);
    }
}

fn describe_route(text: &mut String, route: &Route) {
    writeln!(text, "  route {} at {}", route.key, route.place.describe()).unwrap();
    if let RouteMatcher::Path { methods, segments } = &route.matcher {
        writeln!(text, "    {methods:?} {segments:?}").unwrap();
    }
    match &route.entry {
        Entry::Open => writeln!(text, "    open").unwrap(),
        Entry::Rules(Rules { from, policies, signed, callers, token }) => {
            if let Some(rule) = callers {
                writeln!(text, "    callers {:?} proof {:?}", rule.who, rule.proof).unwrap();
            }
            if let Some(token) = token {
                writeln!(text, "    {token:?}").unwrap();
            }
            if let Some(rule) = from {
                let from: Vec<_> = rule.from.iter().map(describe_entry).collect();
                let except: Vec<_> = rule.except.iter().map(describe_entry).collect();
                writeln!(text, "    from {} except {}", from.join(", "), except.join(", ")).unwrap();
            }
            for document in policies {
                writeln!(text, "    policy {}", document.file.display()).unwrap();
            }
            if let Some(signed) = signed {
                let Signed { scheme, secrets, tolerance, replay, .. } = &**signed;
                writeln!(text, "    signed {scheme:?} {secrets:?} {tolerance:?} {replay:?}").unwrap();
            }
        }
    }
    let Route { throttles, parallel, max_body, .. } = route;
    writeln!(text, "    throttles {throttles:?} parallel {parallel:?} max_body {max_body}").unwrap();
    if let Some(budget) = &route.budget {
        writeln!(text, "    {}", describe_budget(budget)).unwrap();
    }
    describe_action(text, &route.action);
    for example in &route.examples {
        let gatepost_config::model::Example { from, caller, method, path, headers, expect, .. } = example;
        let caller = caller.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        writeln!(text, "    example {from}{caller} {method} {path} {headers:?} {expect:?}").unwrap();
    }
}

fn describe_entry(entry: &AddressEntry) -> String {
    match &entry.addresses {
        Addresses::Network(network) => network.to_string(),
        Addresses::Set(set) => format!("{} {:?}", set.name, set.source),
    }
}

fn describe_action(text: &mut String, action: &Action) {
    match action {
        Action::Forward(forward) => {
            let Forward { upstream, timeout, path, host, retries, .. } = forward;
            describe_upstream(text, upstream);
            writeln!(text, "      timeout {timeout:?} retries {retries} host {host:?}").unwrap();
            writeln!(text, "      path {path:?}").unwrap();
            let Forward { set_headers, remove_headers, .. } = forward;
            writeln!(text, "      set {set_headers:?} remove {remove_headers:?}").unwrap();
        }
        Action::Respond(respond) => {
            let body = String::from_utf8_lossy(&respond.body);
            writeln!(text, "    respond {} {body:?} {:?}", respond.status, respond.headers).unwrap();
        }
        Action::Redirect(redirect) => {
            writeln!(text, "    redirect {} {:?}", redirect.status, redirect.to).unwrap();
        }
    }
}

fn describe_upstream(text: &mut String, upstream: &Upstream) {
    let Upstream { name, targets, networks, balance, http, ca, health, eject } = upstream;
    let ca = ca.as_deref().map(String::from_utf8_lossy);
    writeln!(text, "    forward to {name:?} {targets:?} networks {networks:?}").unwrap();
    writeln!(text, "      {balance:?} http {http:?} ca {ca:?}").unwrap();
    writeln!(text, "      health {health:?}\n      eject {eject:?}").unwrap();
}
