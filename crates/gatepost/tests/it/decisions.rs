//! Decisions on record: a refusal is opened by the id in its answer, and says what it was refused by.

use std::net::{IpAddr, SocketAddr};

use gatepost_testkit::{Json, Origin, Process, Raw, Response, Script};

use crate::home::{Home, get, get_until};

/// Where decisions are told, and where requests go.
pub(crate) struct Running {
    _process: Process,
    pub(crate) admin: SocketAddr,
    pub(crate) address: SocketAddr,
}

impl Running {
    pub(crate) async fn start(home: &Home) -> Self {
        let (mut process, address) = home.run().await;
        let admin = process.admin_address().await;
        Self { _process: process, admin, address }
    }

    /// What the admin API answers to a GET.
    pub(crate) async fn told(&self, path: &str) -> (u16, Json) {
        let response = ask_api(self.admin, "GET", path, "").await;
        (response.status, serde_json::from_slice(&response.body).unwrap())
    }

    /// The decision that an answer names.
    pub(crate) async fn decision(&self, response: &Response) -> Json {
        let id = response.header("x-gatepost-decision").unwrap_or_else(|| panic!("no id: {}", response.head));
        let (status, decision) = self.told(&format!("/v1/decisions/{id}")).await;
        assert_eq!(status, 200, "{decision}");
        assert_eq!(decision["id"], id);
        decision
    }
}

/// Asks the admin API.
pub(crate) async fn ask_api(admin: SocketAddr, method: &str, path: &str, body: &str) -> Response {
    let fields = format!("host: {admin}\ncontent-type: application/json\ncontent-length: {}", body.len());
    Raw::connect(admin).await.ask(&format!("{method} {path} HTTP/1.1\n{fields}\n\n{body}")).await
}

fn configuration(routes: &str) -> String {
    format!(
        r#"
[server]
admin = "127.0.0.1:0"

[log]
access = "off"

[listen.front]
addresses = ["127.0.0.1:0"]
behind    = ["127.0.0.9"]

[addresses.office]
list = ["192.0.2.0/24", "127.0.0.2"]

{routes}
"#
    )
}

const ROUTES: &str = r#"
[route."GET,POST /in"]
from     = ["office", "127.0.0.3"]
except   = ["192.0.2.66"]
max_body = "10B"
respond  = {}

[route."DELETE /in"]
open    = true
respond = {}
"#;

/// The texts of the steps, with their verdicts.
fn steps(decision: &Json) -> Vec<String> {
    let text = |step: &Json| {
        let [step, verdict, text] = ["step", "verdict", "text"].map(|key| step[key].as_str().unwrap().to_owned());
        format!("{verdict} {step}: {text}")
    };
    decision["steps"].as_array().unwrap().iter().map(text).collect()
}

#[tokio::test]
async fn a_refusal_is_opened_by_its_id_and_says_what_why_says() {
    let home = Home::new(&configuration(ROUTES));
    let running = Running::start(&home).await;
    let listener = ["--listener", "front"];
    for (from, method, target, fields) in [
        ("127.0.0.1", "GET", "/in", &[][..]),
        ("127.0.0.9", "GET", "/in?secret", &["x-forwarded-for: 192.0.2.66, 127.0.0.9"]),
        ("127.0.0.9", "POST", "/in", &["x-forwarded-for: 192.0.2.7", "content-length: 11"]),
        ("127.0.0.3", "PUT", "/in", &[]),
        ("127.0.0.3", "GET", "/out", &[]),
        ("127.0.0.3", "GET", "/a/../in", &[]),
    ] {
        let mut client = Raw::connect_from(from.parse::<IpAddr>().unwrap(), running.address).await;
        let lines: String = fields.iter().map(|field| format!("{field}\n")).collect();
        let body = if method == "POST" { "0123456789a" } else { "" };
        let response = client.ask(&format!("{method} {target} HTTP/1.1\nhost: a\n{lines}\n{body}")).await;
        let decision = running.decision(&response).await;

        let named: Vec<&str> = fields.iter().flat_map(|field| ["-H", field]).collect();
        let asked = [&["why", "--json", "--from", from, "-H", "host: a"], &listener[..], &named, &[method, target]];
        let (code, stdout, stderr) = home.outcome(&asked.concat()).await;
        assert_eq!(code, 3, "{stderr}");
        let why: Json = serde_json::from_str(&stdout).unwrap();
        for key in ["verdict", "reason", "detail", "status", "headers", "body", "decided_by", "steps"] {
            assert_eq!(decision[key], why[key], "{key} of {method} {target} from {from}");
        }
        assert_eq!(decision["status"], response.status);
        assert_eq!(decision["snapshot"]["version"], 1);
        let request = &decision["request"];
        assert_eq!((&request["listener"], &request["method"]), (&"front".into(), &method.into()));
        assert!(!decision.to_string().contains("secret"), "{decision}");
    }
    let (_, list) = running.told("/v1/decisions?reason=address_not_listed").await;
    let clients: Vec<&str> =
        list["decisions"].as_array().unwrap().iter().map(|one| one["client"].as_str().unwrap()).collect();
    assert_eq!(clients, ["192.0.2.66", "127.0.0.1"]);
    let (_, list) = running.told("/v1/decisions?client=%3A%3Affff:192.0.2.7").await;
    assert_eq!(list["decisions"][0]["reason"], "body_too_large");
    assert_eq!((&list["kept"], &list["dropped"]), (&6.into(), &0.into()));
}

#[tokio::test]
async fn pages_go_from_the_newest_to_the_oldest() {
    let home = Home::new(&configuration(ROUTES));
    let running = Running::start(&home).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(get(running.address, "/out").await.header("x-gatepost-decision").unwrap().to_owned());
    }
    let mut found = Vec::new();
    let mut path = "/v1/decisions?limit=2".to_owned();
    loop {
        let (status, page) = running.told(&path).await;
        assert_eq!(status, 200);
        found.extend(page["decisions"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/decisions?limit=2&before={next}");
    }
    found.reverse();
    assert_eq!(found, ids);
}

#[tokio::test]
async fn after_a_reload_an_old_decision_is_told_by_the_old_configuration() {
    let home = Home::new(&configuration(ROUTES));
    let running = Running::start(&home).await;
    let old = get(running.address, "/in").await;
    let before = running.decision(&old).await;
    assert_eq!(before["steps"][5]["rules"][0]["line"], 17, "{before}");

    // Other rules in other places, and then no such route at all.
    home.write("gatepost.toml", &configuration(&format!("\n\n{}", ROUTES.replace("[\"office\"", "[\"192.0.2.0/24\""))));
    assert_eq!(ask_api(running.admin, "POST", "/v1/reload", "").await.status, 200);
    let new = running.decision(&get(running.address, "/in").await).await;
    assert_eq!(new["steps"][5]["rules"][0]["line"], 19);
    home.write("gatepost.toml", &configuration("[route.\"GET /other\"]\nopen = true\nrespond = {}"));
    assert_eq!(ask_api(running.admin, "POST", "/v1/reload", "").await.status, 200);

    let after = running.decision(&old).await;
    assert_eq!(after["steps"], before["steps"]);
    assert_eq!(after["snapshot"], serde_json::json!({ "version": 1 }));
}

#[tokio::test]
async fn of_configurations_long_gone_only_the_facts_are_told() {
    let home = Home::new(&configuration(ROUTES));
    let running = Running::start(&home).await;
    let old = get(running.address, "/in").await;
    for _ in 0..16 {
        assert_eq!(ask_api(running.admin, "POST", "/v1/reload", "").await.status, 200);
    }
    let decision = running.decision(&old).await;
    assert!(decision["unexplained"].as_str().unwrap().contains("no longer kept"), "{decision}");
    assert_eq!(decision["steps"], serde_json::json!([]));
    assert_eq!((&decision["reason"], &decision["status"]), (&"address_not_listed".into(), &403.into()));
    assert_eq!(decision["request"]["path"], "/in");
}

#[tokio::test]
async fn what_failed_after_it_was_let_in_is_on_record_too() {
    let origin = Origin::in_turn(vec![Script::hang_up(), Script::silence()]).await;
    let routes = format!(
        "[route.\"ANY /{{rest+}}\"]\nopen = true\nmax_body = \"5B\"\nforward = {{ to = \"{}\", timeout = \"300ms\" }}",
        origin.url()
    );
    let home = Home::new(&configuration(&routes));
    let running = Running::start(&home).await;
    for (status, reason) in [(502, "bad_upstream"), (504, "upstream_timeout")] {
        let response = get(running.address, "/a").await;
        assert_eq!(response.status, status);
        let decision = running.decision(&response).await;
        assert_eq!((&decision["reason"], &decision["status"]), (&reason.into(), &status.into()));
        let steps = steps(&decision);
        assert!(steps.last().unwrap().starts_with("refuse forward: to http://"), "{steps:#?}");
        assert!(steps[..steps.len() - 1].iter().all(|step| step.starts_with("pass")), "{steps:#?}");
        assert_eq!(decision["decided_by"][0]["name"], "forward");
        assert!(decision["request"]["upstream"].is_string());
    }
}

#[tokio::test]
async fn a_throttled_one_tells_the_levels_that_it_met() {
    let routes = "[route.\"GET /a\"]\nopen = true\nrespond = {}\nparallel = 7\n\
                  throttle = [{ rate = \"1/h\", burst = 5 }, { rate = \"1/d\", burst = 2, by = \"client\" }]";
    let home = Home::new(&configuration(routes));
    let running = Running::start(&home).await;
    let ask = async |from: [u8; 4]| Raw::connect_from(from.into(), running.address).await.get("/a").await;
    for _ in 0..2 {
        assert_eq!(ask([127, 0, 0, 1]).await.status, 200);
    }
    let by_client = running.decision(&ask([127, 0, 0, 1]).await).await;
    assert_eq!(steps(&by_client).last().unwrap(), "refuse throttle: each client 1/d: 0 of 2 tokens left");
    assert!(by_client["headers"]["retry-after"].is_string(), "{by_client}");
    for last in [2, 2, 3] {
        assert_eq!(ask([127, 0, 0, last]).await.status, 200);
    }
    let by_all = running.decision(&ask([127, 0, 0, 3]).await).await;
    let ends = [
        "pass open: everyone may enter",
        "pass throttle: each client 1/d: 1 of 2 tokens left",
        "pass max_body: no body, at most 10485760 bytes, the default",
        "pass parallel: 0 of 7 under way",
        "refuse throttle: 1/h: 0 of 5 tokens left",
    ];
    assert_eq!(steps(&by_all)[5..], ends);
}

#[tokio::test]
async fn what_was_no_request_is_on_record_without_steps() {
    let home = Home::new(&configuration(ROUTES));
    let running = Running::start(&home).await;
    let mut client = Raw::connect(running.address).await;
    client.send("no HTTP at all\r\n\r\n").await;
    assert_eq!(client.response().await.status, 400);
    let mut api = Raw::connect(running.admin).await;
    let list = get_until_host(&mut api, running.admin, "/v1/decisions", |list| list["kept"] == 1).await;
    let one = &list["decisions"][0];
    assert_eq!((&one["reason"], &one["method"]), (&"malformed".into(), &Json::Null));
    let (_, decision) = running.told(&format!("/v1/decisions/{}", one["id"].as_str().unwrap())).await;
    assert!(decision["unexplained"].as_str().unwrap().contains("no request"), "{decision}");
}

/// Asks an open connection until the answer is as wanted.
async fn get_until_host(api: &mut Raw, host: SocketAddr, path: &str, wanted: impl Fn(&Json) -> bool) -> Json {
    let mut last = Json::Null;
    for _ in 0..500 {
        let response = api.ask(&format!("GET {path} HTTP/1.1\nhost: {host}\n\n")).await;
        last = serde_json::from_slice(&response.body).unwrap();
        if wanted(&last) {
            return last;
        }
    }
    panic!("still {last}");
}

const RULES: &str = r#"
[route."GET /listed"]
from    = ["office"]
except  = ["192.0.2.66"]
respond = {}

[route."GET /denied"]
policy  = "file:policy.json"
respond = {}

[route."GET /silent"]
policy  = "file:policy.json"
respond = {}

[route."POST /hook"]
from     = ["office"]
signed   = { github = "file:secret", replay = "refuse" }
max_body = "20B"
respond  = {}
"#;

const POLICY: &str = r#"{
  "Version": "2012-10-17",
  "Statement": [
    { "Sid": "Never", "Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "execute-api:/*/GET/denied" },
    { "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "execute-api:/*/GET/denied" }
  ]
}
"#;

/// What GitHub's documentation signs as an example, with the secret there.
const SIGNED: &str = "x-hub-signature-256: sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17\n\
                      content-length: 13\n\nHello, World!";

fn with_rules() -> Home {
    let home = Home::new(&configuration(RULES));
    home.write("policy.json", POLICY);
    home.write("secret", "It's a Secret to Everybody");
    home
}

/// Asks through the sender that is believed about the client.
async fn ask_for(running: &Running, client: &str, head: &str, rest: &str) -> Response {
    let mut connection = Raw::connect_from([127, 0, 0, 9].into(), running.address).await;
    let rest = if rest.is_empty() { "\n" } else { rest };
    connection.ask(&format!("{head} HTTP/1.1\nhost: a\nx-forwarded-for: {client}\n{rest}")).await
}

#[tokio::test]
async fn every_403_looks_the_same() {
    let home = with_rules();
    let running = Running::start(&home).await;
    let mut seen = Vec::new();
    let mut reasons = Vec::new();
    for (client, head, rest) in [
        ("203.0.113.9", "GET /listed", ""),
        ("192.0.2.66", "GET /listed", ""),
        ("2001:db8::1", "GET /listed", ""),
        ("192.0.2.1", "GET /denied", ""),
        ("192.0.2.1", "GET /silent", ""),
        ("203.0.113.9", "POST /hook", ""),
        ("203.0.113.9", "POST /hook", SIGNED),
    ] {
        let response = ask_for(&running, client, head, rest).await;
        assert_eq!(response.status, 403, "{head} {}", response.head);
        let own = ["x-gatepost-decision", "date"];
        let fields: Vec<_> = response.headers.iter().filter(|(name, _)| !own.contains(&&**name)).cloned().collect();
        let ids: Vec<_> = response.headers.iter().filter(|(name, _)| name == "x-gatepost-decision").collect();
        assert!(ids.len() == 1 && ids[0].1.len() == 16, "{ids:?}");
        seen.push((fields, response.text()));
        reasons.push(running.decision(&response).await["reason"].as_str().unwrap().to_owned());
    }
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:#?}");
    assert_eq!(seen[0].1, r#"{"message":"Forbidden"}"#);
    let not_listed = "address_not_listed";
    let policy = "policy_denied";
    assert_eq!(reasons, [not_listed, not_listed, not_listed, policy, policy, not_listed, "signed_but_not_listed"]);
}

#[tokio::test]
async fn policies_and_signatures_explain_themselves_on_record() {
    let home = with_rules();
    let running = Running::start(&home).await;
    let wrong = SIGNED.replace("sha256=7", "sha256=8");
    let chunked = "x-hub-signature-256: sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17\n\
                   transfer-encoding: chunked\n\n16\nHello, World!Hello, Wo\n0\n\n";
    assert_eq!(ask_for(&running, "192.0.2.1", "POST /hook", SIGNED).await.status, 200);
    // Head, the rest of it, status, reason, the step that refuses, a piece of what it says.
    for (head, rest, status, reason, step, text) in [
        ("GET /denied", "", 403, "policy_denied", "policy", "policy.json: statement \"Never\" denies it"),
        (
            "GET /silent",
            "",
            403,
            "policy_denied",
            "policy",
            "policy.json: no statement allows it; nearest is statement",
        ),
        ("POST /hook", "", 401, "signature_missing", "signed", "github (x-hub-signature-256), with file:secret: "),
        ("POST /hook", &wrong, 401, "signature_bad", "signed", "the body: "),
        ("POST /hook", SIGNED, 401, "replayed", "signed", "the body: "),
        ("POST /hook", chunked, 413, "body_too_large", "signed", "the body: "),
    ] {
        let response = ask_for(&running, "192.0.2.1", head, rest).await;
        assert_eq!(response.status, status, "{head} {rest}");
        let decision = running.decision(&response).await;
        assert_eq!((&decision["verdict"], &decision["reason"]), (&"refused".into(), &reason.into()), "{decision}");
        let steps = decision["steps"].as_array().unwrap();
        let refusing: Vec<_> = steps.iter().filter(|step| step["verdict"] == "refuse").collect();
        assert_eq!(refusing.len(), 1, "{decision:#}");
        assert_eq!(refusing[0]["step"], step, "{decision:#}");
        assert!(refusing[0]["text"].as_str().unwrap().starts_with(text), "{decision:#}");
        assert!(!decision.to_string().contains("Secret to Everybody"), "{decision}");
    }
}

#[tokio::test]
async fn the_last_65536_are_kept_and_the_ones_before_are_gone() {
    const KEPT: usize = 65_536;
    const SENT: usize = 70_000;
    const AT_ONCE: usize = 100;
    let home = Home::new(&configuration(ROUTES).replace("[log]", "workers = 1\n[log]"));
    let running = Running::start(&home).await;
    let mut client = Raw::connect(running.address).await;
    let requests = "GET /in HTTP/1.1\r\nhost: a\r\n\r\n".repeat(AT_ONCE);
    let mut ids = Vec::new();
    while ids.len() < SENT {
        client.send(&requests).await;
        for _ in 0..AT_ONCE {
            ids.push(client.response().await.header("x-gatepost-decision").unwrap().to_owned());
        }
    }
    // In the order in which they were answered.
    let (status, _) = running.told(&format!("/v1/decisions/{}", ids[SENT - 1])).await;
    assert_eq!(status, 200);
    let (status, gone) = running.told(&format!("/v1/decisions/{}", ids[0])).await;
    assert_eq!(status, 404);
    let on_record = serde_json::json!({ "kept": KEPT, "capacity": KEPT, "dropped": 0 });
    assert_eq!(gone["on_record"], on_record, "{gone}");
    assert_eq!(running.told(&format!("/v1/decisions/{}", ids[SENT - KEPT])).await.0, 200);
    assert_eq!(running.told(&format!("/v1/decisions/{}", ids[SENT - KEPT - 1])).await.0, 404);
    let (status, page) = running.told("/v1/decisions?limit=1000&reason=no_route").await;
    assert_eq!((status, page["decisions"].as_array().unwrap().len()), (200, 0));
    let (_, page) = running.told("/v1/decisions?limit=1000").await;
    assert_eq!(page["decisions"].as_array().unwrap().len(), 1000);
    let mut metrics = Raw::connect(running.admin).await;
    get_until(&mut metrics, "/metrics", |answer| answer.text().contains("gatepost_decisions_dropped_total 0")).await;
}
