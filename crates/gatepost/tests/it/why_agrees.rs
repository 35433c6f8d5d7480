//! `why` and the running gateway say the same, and what `why` names is what decided.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use gatepost_config::load_text;
use gatepost_config::model::{AddressRule, Entry, Model, PolicyDocument, Rules};
use gatepost_gateway::{Check, Explanation, Inquiry, Reason, Step, Verdict, explain};
use gatepost_testkit::{Raw, Response, TestGateway};
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use tempfile::TempDir;

use crate::home::Home;

/// Where it begins; what fails says which configuration and request it was.
const SEED: u64 = 0x6761_7465_706f_7374;
const CONFIGURATIONS: u64 = 50;
const REQUESTS: usize = 200;
/// One request of so many is asked through the program as well.
const TO_PROGRAM: usize = 100;

#[tokio::test]
async fn why_says_of_ten_thousand_requests_what_becomes_of_them_and_by_which_rule() {
    let mut seen: HashMap<u16, usize> = HashMap::new();
    let mut asked: HashMap<bool, usize> = HashMap::new();
    for number in 0..CONFIGURATIONS {
        let mut dice = Dice(SEED ^ number);
        // Policies are files of their own, named in full, so that everybody finds them.
        let policies = TempDir::new().unwrap();
        let (text, model) = configuration(&mut dice, policies.path());
        let home = Home::new(&text);
        let gateway = TestGateway::start(&text).await;
        let mut clients = Clients { gateway: &gateway, open: HashMap::new() };
        for count in 0..REQUESTS {
            let request = Asked::any(&mut dice);
            let context = format!("configuration {number}, request {count}: {request:?}\n{text}");
            let explanation = request.explain(&model, &context);
            let response = clients.ask(&request).await;
            assert_same(&explanation, &response, &request, &context);
            assert_decisive(&explanation, &model, &request, &context);
            assert_on_record(&explanation, &response, &gateway, &context).await;
            if count % TO_PROGRAM == 0 {
                assert_program_agrees(&home, &request, &response, &context).await;
            }
            *seen.entry(response.status).or_default() += 1;
            let policies = explanation.steps.iter().filter(|step| step.check == Check::Policy);
            policies.for_each(|step| *asked.entry(step.passed).or_default() += 1);
        }
    }
    for status in [200, 308, 400, 403, 404, 405, 413] {
        assert!(seen.get(&status).is_some_and(|count| *count >= 100), "too few to mean much: {seen:?}");
    }
    assert!(asked[&true] >= 500 && asked[&false] >= 500, "too few policies were asked: {asked:?}");
}

/// The live verdict is the explained one, down to the body.
#[track_caller]
fn assert_same(explanation: &Explanation, response: &Response, request: &Asked, context: &str) {
    match &explanation.verdict {
        Verdict::Admitted if request.listener == REDIRECTING => assert_eq!(response.status, 308, "{context}"),
        Verdict::Admitted => {
            assert_eq!(response.status, 200, "{context}");
            if request.method != "HEAD" {
                let route = explanation.steps.iter().find(|step| step.check == Check::Route).unwrap();
                let line = route.rules[0].place.line().to_string();
                assert_eq!(response.text(), line, "another route answered\n{context}");
            }
        }
        Verdict::Refused { status, headers, body, .. } => {
            assert_eq!(response.status, status.as_u16(), "{context}\n{explanation:#?}");
            if request.method != "HEAD" {
                assert_eq!(response.body, *body, "{context}");
            }
            for name in ["allow", "content-type", "x-amzn-errortype"] {
                let explained = headers.get(name).map(|value| value.to_str().unwrap());
                assert_eq!(response.header(name), explained, "{context}");
            }
        }
    }
}

/// What was decided and kept is what is explained, step by step.
async fn assert_on_record(explanation: &Explanation, response: &Response, gateway: &TestGateway, context: &str) {
    let Some(id) = response.header("x-gatepost-decision") else { return };
    let decision = gateway.decision(id).await;
    let recorded = decision.explanation.unwrap_or_else(|error| panic!("{error}\n{context}"));
    assert_eq!(outcome(&recorded), outcome(explanation), "{context}");
    assert_eq!(steps(&recorded), steps(explanation), "{context}");
}

/// The steps in words. How many tokens a bucket has left depends on when it was asked.
fn steps(explanation: &Explanation) -> Vec<String> {
    let text = |step: &Step| {
        let rules = step.rules.iter().map(|rule| (&rule.name, rule.network, rule.place.line(), rule.place.column()));
        let text = if step.check == Check::Throttle { "" } else { &step.text };
        format!("{} {} {text} {:?}", step.check.name(), step.passed, rules.collect::<Vec<_>>())
    };
    explanation.steps.iter().map(text).collect()
}

/// Without the rules that the verdict rests on, it is another.
#[track_caller]
fn assert_decisive(explanation: &Explanation, model: &Model, request: &Asked, context: &str) {
    let rules = explanation.decided_by();
    let before = outcome(explanation);
    let ruleless = ["400 malformed", "404 no_route", "403 no_route"];
    assert_eq!(rules.is_empty(), ruleless.contains(&&*before), "{context}");
    if rules.is_empty() {
        return;
    }
    let changed = without(model, explanation);
    let after = outcome(&request.explain(&changed, context));
    assert_ne!(before, after, "{rules:?} made no difference\n{context}");
}

async fn assert_program_agrees(home: &Home, request: &Asked, response: &Response, context: &str) {
    let Some(arguments) = request.arguments() else { return };
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (code, stdout, stderr) = home.outcome(&arguments).await;
    assert_eq!(code, if response.status < 400 { 0 } else { 3 }, "{stderr}\n{context}");
    let told: gatepost_testkit::Json = serde_json::from_str(&stdout).unwrap();
    if response.status < 400 {
        assert_eq!(told["verdict"], "admitted", "{context}");
    } else {
        assert_eq!((&told["verdict"], &told["status"]), (&"refused".into(), &response.status.into()), "{context}");
    }
}

fn outcome(explanation: &Explanation) -> String {
    match &explanation.verdict {
        Verdict::Admitted => "admitted".to_owned(),
        // Of several policies that refuse, the first is told.
        Verdict::Refused { status, reason: reason @ Reason::PolicyDenied, detail, .. } => {
            format!("{} {} {}", status.as_u16(), reason.name(), detail.as_ref().unwrap())
        }
        Verdict::Refused { status, reason, .. } => format!("{} {}", status.as_u16(), reason.name()),
    }
}

/// The model without the rules that decided, each found by its place alone.
fn without(model: &Model, explanation: &Explanation) -> Model {
    let mut model = model.clone();
    let rules = explanation.decided_by();
    let named = |place: &gatepost_config::Place| rules.iter().any(|rule| rule.place == *place);
    for listener in &mut model.listeners {
        listener.redirect = listener.redirect.filter(|_| !named(&listener.place));
    }
    for api in &mut model.apis {
        api.routes.retain(|route| !named(&route.place));
        for route in &mut api.routes {
            if let Entry::Rules(rules) = &mut route.entry {
                let documents = rules.policies.len();
                let named_in = |document: &PolicyDocument| document.statements.iter().any(named);
                rules.policies.retain(|document| !named(&document.place) && !named_in(document));
                if rules.policies.len() < documents && matches!(explanation.verdict, Verdict::Admitted) {
                    // Nothing that allows is left, which is not the same as nothing that must.
                    rules.from = Some(AddressRule { from: Vec::new(), except: Vec::new() });
                }
                // No configuration asks for nothing and lets somebody in.
                if let Rules { from: None, policies, signed: None, callers: None, token: None } = rules
                    && policies.is_empty()
                {
                    route.entry = Entry::Open;
                }
            }
            if let Entry::Rules(Rules { from: Some(AddressRule { from, except }), .. }) = &mut route.entry {
                from.retain(|entry| !named(&entry.place));
                except.retain(|entry| !named(&entry.place));
            }
            if named(&route.places.entry) {
                route.entry = match &route.entry {
                    Entry::Open => {
                        let nobody = AddressRule { from: Vec::new(), except: Vec::new() };
                        Entry::Rules(Rules { from: Some(nobody), ..Rules::default() })
                    }
                    Entry::Rules(_) => Entry::Open,
                };
            }
            if route.places.max_body.as_ref().is_some_and(named) {
                route.max_body = u64::MAX;
            }
        }
    }
    model
}

/// Connections that are kept alive, by where they come from and lead to.
struct Clients<'g> {
    gateway: &'g TestGateway,
    open: HashMap<(IpAddr, &'static str), Raw>,
}

impl Clients<'_> {
    async fn ask(&mut self, request: &Asked) -> Response {
        let key = (request.from, request.listener);
        let mut client = match self.open.remove(&key) {
            Some(client) => client,
            None => Raw::connect_from(request.from, self.gateway.addresses_of(request.listener)[0]).await,
        };
        let response = client.ask(&request.lines()).await;
        if !response.closes() {
            self.open.insert(key, client);
        }
        response
    }
}

/// A request, likely or not.
#[derive(Debug)]
struct Asked {
    from: IpAddr,
    listener: &'static str,
    method: &'static str,
    target: &'static str,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Asked {
    fn any(dice: &mut Dice) -> Self {
        let mut headers = Vec::new();
        let host = match dice.below(40) {
            0 => None,
            1 => Some("a,b"),
            _ => Some(dice.one_of(&["a.test", "b.a.test", "c.b.a.test:81", "B.TEST", "b.test.", "other.test"])),
        };
        headers.extend(host.map(|host| ("host", host.to_owned())));
        let body = if dice.one_in(2) { "x".repeat(dice.below(40)) } else { String::new() };
        if dice.one_in(40) {
            headers.extend([("content-length", "5".to_owned()), ("content-length", "6".to_owned())]);
        } else if dice.one_in(40) {
            headers.push(("content-length", dice.one_of(&["", "x", "-1", "+5", "5, 5", "0x5"]).to_owned()));
        } else if dice.one_in(40) {
            headers.push(("transfer-encoding", dice.one_of(&["gzip", "chunked, chunked", "identity"]).to_owned()));
        } else if !body.is_empty() && dice.one_in(4) {
            headers.push(("transfer-encoding", "chunked".to_owned()));
        } else if !body.is_empty() || dice.one_in(2) {
            headers.push(("content-length", body.len().to_string()));
        }
        for _ in 0..dice.below(3) {
            let (name, before) = dice.one_of(&[("x-forwarded-for", ""), ("forwarded", "for=")]);
            let told: Vec<String> = (0..=dice.below(3)).map(|_| format!("{before}{}", dice.sender())).collect();
            headers.push((name, told.join(", ")));
        }
        let listener = if dice.one_in(20) { REDIRECTING } else { dice.one_of(&LISTENERS) };
        Self {
            from: dice.client(),
            listener,
            method: dice.one_of(&["GET", "GET", "GET", "POST", "POST", "HEAD", "DELETE", "OPTIONS", "PURGE", "TRACE"]),
            target: if dice.one_in(5) { dice.one_of(&ODD_TARGETS) } else { dice.one_of(&TARGETS) },
            headers,
            body,
        }
    }

    /// As it is sent.
    fn lines(&self) -> String {
        let Self { method, target, headers, body, .. } = self;
        let mut lines = format!("{method} {target} HTTP/1.1\n");
        for (name, value) in headers {
            writeln!(lines, "{name}: {value}").unwrap();
        }
        let chunked = headers.contains(&("transfer-encoding", "chunked".to_owned()));
        if chunked { format!("{lines}\n{:x}\n{body}\n0\n\n", body.len()) } else { format!("{lines}\n{body}") }
    }

    #[track_caller]
    fn explain(&self, model: &Model, context: &str) -> Explanation {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let inquiry = Inquiry {
            from: self.from,
            listener: self.listener,
            method: self.method.parse().unwrap(),
            target: self.target,
            headers,
            caller: None,
        };
        explain(model, &inquiry).unwrap_or_else(|error| panic!("{error}\n{context}"))
    }

    /// As the program is asked; it always sends a `Host`.
    fn arguments(&self) -> Option<Vec<String>> {
        self.headers.iter().find(|(name, _)| *name == HOST)?;
        let mut arguments: Vec<String> = ["why", "--json", "--listener", self.listener].map(str::to_owned).into();
        arguments.extend(["--from".to_owned(), self.from.to_string()]);
        for (name, value) in &self.headers {
            arguments.extend(["-H".to_owned(), format!("{name}: {value}")]);
        }
        arguments.extend([self.method.to_owned(), self.target.to_owned()]);
        Some(arguments)
    }
}

const LISTENERS: [&str; 2] = ["one", "two"];
const REDIRECTING: &str = "three";

/// What routes may have.
const TARGETS: [&str; 12] =
    ["/", "/a", "/a/b", "/b/b", "/a/", "//a", "/%61", "/a?/b", "/v1/a", "/v1/a/b", "/v1/b/a", "/a/c/d"];

/// What is rare, or never right.
const ODD_TARGETS: [&str; 18] = [
    "/A",
    "/a//b",
    "/a%2Fb",
    "/a%2fb?c=d",
    "/v1",
    "/v1/",
    "/v1a",
    "/c/d/e",
    "/a;b/c",
    "/a/..",
    "/%2e%2e/a",
    "/a\\b",
    "/a%zz",
    "*",
    "/\"a\"",
    "/{a}|^",
    "/a\u{e9}",
    "/a?\u{e9}",
];

/// A configuration and its model. Much that one could write is a mistake: what does not load is left out.
fn configuration(dice: &mut Dice, policies: &Path) -> (String, Model) {
    let mut text = "[server]\nadmin = \"off\"\n".to_owned();
    for name in [LISTENERS[0], REDIRECTING, LISTENERS[1]] {
        writeln!(text, "[listen.{name}]\naddresses = [\"127.0.0.1:0\"]").unwrap();
        if name == REDIRECTING {
            text.push_str("redirect = \"https\"\n");
        }
    }
    if dice.one_in(2) {
        text.push_str("vpce = \"vpce-1\"\n");
    }
    let behind: Vec<String> = (0..=dice.below(3)).map(|_| dice.entry()).collect();
    if let Some(header) = dice.one_of(&[Some("x-forwarded-for"), Some("forwarded"), None]) {
        writeln!(text, "behind = {behind:?}\nforwarded = {header:?}").unwrap();
    }
    for name in SETS {
        let networks: Vec<String> = (0..=dice.below(3)).map(|_| dice.network()).collect();
        writeln!(text, "[addresses.{name}]\nlist = {networks:?}").unwrap();
    }
    let policies = Policies { directory: policies, written: Cell::new(0) };
    let mut model = None;
    for number in 0..=dice.below(4) {
        let mut api = any_api(number, &policies, dice);
        for _ in 0..10 {
            let mut longer = format!("{text}{api}");
            any_route(number, &policies, dice, &mut longer);
            if let Ok(loaded) = load_text("gatepost.toml", &longer, Path::new("")) {
                text = longer;
                api = String::new();
                model = Some(loaded.model);
            }
        }
    }
    (text, model.expect("one of so many routes loads"))
}

fn any_api(number: usize, policies: &Policies<'_>, dice: &mut Dice) -> String {
    let mut text = format!("[api.api{number}]\n");
    if dice.one_in(2) {
        let hosts = dice.one_of(&[&["a.test"][..], &["*.a.test"], &["b.test", "*.b.a.test"], &["b.test"]]);
        writeln!(text, "hosts = {hosts:?}").unwrap();
    }
    if dice.one_in(4) {
        writeln!(text, "listen = [{:?}]", dice.one_of(&LISTENERS)).unwrap();
    }
    if dice.one_in(3) {
        writeln!(text, "base = {:?}", dice.one_of(&["/v1", "/a", "/v1/b"])).unwrap();
    }
    if dice.one_in(3) {
        text += "throttle = { rate = \"5000000/s\" }\n";
    }
    if dice.one_in(4) {
        text += "compat = \"aws-rest\"\n";
    }
    if dice.one_in(4) {
        writeln!(text, "policy = {:?}", policies.any(dice)).unwrap();
    }
    text
}

/// Policies, each in a file of its own.
struct Policies<'d> {
    directory: &'d Path,
    written: Cell<usize>,
}

impl Policies<'_> {
    /// Writes one, and says where it is.
    fn any(&self, dice: &mut Dice) -> String {
        let statements: Vec<_> = (0..=dice.below(3)).map(|_| any_statement(dice)).collect();
        self.written.set(self.written.get() + 1);
        let path = self.directory.join(format!("{}.json", self.written.get()));
        let document = json!({ "Version": "2012-10-17", "Statement": statements });
        std::fs::write(&path, format!("{document:#}")).unwrap();
        format!("file:{}", path.display())
    }
}

fn any_statement(dice: &mut Dice) -> gatepost_testkit::Json {
    let effect = dice.one_of(&["Allow", "Allow", "Deny"]);
    let paths = ["*", "execute-api:/*", "execute-api:/*/GET/*", "execute-api:/*/*/a*", "execute-api:/$default/*/b"];
    let networks: Vec<String> = (0..=dice.below(3)).map(|_| dice.network()).collect();
    let condition = match dice.below(6) {
        0 | 1 => json!({ "IpAddress": { "aws:SourceIp": networks } }),
        2 => json!({ "NotIpAddress": { "aws:SourceIp": networks } }),
        3 => json!({ "StringNotEquals": { "aws:SourceVpce": "vpce-1" } }),
        _ => json!({}),
    };
    json!({
        "Effect": effect,
        "Principal": "*",
        "Action": "execute-api:Invoke",
        "Resource": dice.one_of(&paths),
        "Condition": condition,
    })
}

const SETS: [&str; 3] = ["red", "green", "blue"];

fn any_route(api: usize, policies: &Policies<'_>, dice: &mut Dice, text: &mut String) {
    let path = dice.one_of(&["/", "/a", "/a/b", "/{x}", "/a/{x}", "/{x}/b", "/{x+}", "/a/{x+}", "/a/", "//a"]);
    let methods = dice.one_of(&["GET", "POST", "GET,POST", "ANY", "DELETE", "PURGE"]);
    let key = if dice.one_in(12) { "$default".to_owned() } else { format!("{methods} {path}") };
    // Each answers with the line that its key is in.
    let line = text.lines().count() + 1;
    writeln!(text, "[api.api{api}.route.{key:?}]\nrespond = {{ body = \"{line}\" }}").unwrap();
    if dice.one_in(5) {
        text.push_str("open = true\n");
    } else if dice.one_in(4) {
        writeln!(text, "policy = {:?}", policies.any(dice)).unwrap();
    } else {
        if dice.one_in(6) {
            writeln!(text, "policy = {:?}", policies.any(dice)).unwrap();
        }
        // Without a network that holds all others, many an `except` would be a mistake.
        let mut from: Vec<String> = (0..=dice.below(3)).map(|_| dice.entry()).collect();
        if dice.one_in(3) {
            from.push("127.0.0.0/8".to_owned());
        }
        writeln!(text, "from = {from:?}").unwrap();
        if dice.one_in(2) {
            let except: Vec<String> = (0..=dice.below(2)).map(|_| dice.entry()).collect();
            writeln!(text, "except = {except:?}").unwrap();
        }
    }
    if dice.one_in(2) {
        writeln!(text, "max_body = \"{}B\"", dice.below(30)).unwrap();
    }
    if dice.one_in(4) {
        text.push_str("parallel = 100\n");
    }
    if dice.one_in(8) {
        text.push_str("throttle = { rate = \"900000/s\", by = \"client\" }\n");
    } else if dice.one_in(4) {
        text.push_str("throttle = [{ rate = \"1000000/s\" }, { rate = \"2000000/s\", burst = 900000 }]\n");
    }
}

/// Chance that can be repeated (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.below(sides) == 0
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Few, so that clients and networks really meet.
    fn client(&mut self) -> IpAddr {
        let mut octet = |from: u8| from + u8::try_from(self.below(4)).unwrap();
        IpAddr::from([127, octet(0), octet(0), octet(1)])
    }

    /// What a sender may be told to be.
    fn sender(&mut self) -> String {
        let client = self.client();
        match self.below(10) {
            0 => format!("{client}:80"),
            1 => format!("\"[::ffff:{client}]\""),
            2 => "unknown".to_owned(),
            3 => String::new(),
            _ => client.to_string(),
        }
    }

    fn network(&mut self) -> String {
        let length = self.one_of(&[14_u32, 15, 16, 22, 23, 24, 30, 31, 32]);
        let IpAddr::V4(address) = self.client() else { unreachable!("clients are IPv4") };
        let address = std::net::Ipv4Addr::from(u32::from(address) & (u32::MAX << (32 - length)));
        format!("{address}/{length}")
    }

    fn entry(&mut self) -> String {
        if self.one_in(2) { self.one_of(&SETS).to_owned() } else { self.network() }
    }
}
