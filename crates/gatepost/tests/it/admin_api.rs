//! The admin API: who may ask, what is answered, and that it is what its description says.

use std::net::SocketAddr;

use gatepost_testkit::{Json, Raw, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::decisions::{Running, ask_api};
use crate::home::{Home, get};

const CONFIGURATION: &str = r#"
listen = "127.0.0.1:0"

[server]
admin = "127.0.0.1:0"

[addresses.office]
list = ["192.0.2.0/24", "127.0.0.2"]

[api.default]
throttle = { rate = "1/h", burst = 50 }

[route."GET /in"]
from    = ["office"]
respond = {}

[route."GET /few"]
open     = true
throttle = [{ rate = "5/h", burst = 9 }, { rate = "1/h", burst = 3, by = "client" }]
parallel = 4
respond  = {}

[route."GET /away"]
open    = true
forward = { to = "app", timeout = "1s" }

[upstream.app]
targets = ["http://127.0.0.1:1", "http://127.0.0.1:2"]
"#;

/// The description, for what it says of one answer.
pub(crate) struct Description(Json);

impl Description {
    pub(crate) async fn of(running: &Running) -> Self {
        let (status, document) = running.told("/openapi.json").await;
        assert_eq!(status, 200);
        Self(document)
    }

    /// Checks an answer against what is said of it.
    #[track_caller]
    pub(crate) fn check(&self, method: &str, path: &str, response: &Response) -> Json {
        let body: Json = serde_json::from_slice(&response.body).unwrap();
        let said = &self.0["paths"][path][method]["responses"][response.status.to_string()];
        let said = match said["$ref"].as_str() {
            Some(name) => self.0.pointer(&name[1..]).unwrap(),
            None => said,
        };
        let kind = response.header("content-type").unwrap();
        let schema = &said["content"][kind]["schema"];
        assert!(schema.is_object(), "{method} {path}: {} {kind} is not described", response.status);
        let schema = serde_json::json!({ "allOf": [schema], "components": self.0["components"] });
        let validator = jsonschema::validator_for(&schema).unwrap();
        if let Err(error) = validator.validate(&body) {
            panic!("{method} {path}: {error}\n{body:#}");
        }
        body
    }
}

#[tokio::test]
async fn every_answer_is_as_the_description_says() {
    let home = Home::new(CONFIGURATION);
    let running = Running::start(&home).await;
    let description = Description::of(&running).await;
    let refused = get(running.address, "/in").await;
    let failed = get(running.address, "/away").await;
    assert_eq!((refused.status, failed.status), (403, 502));
    let ids = [&refused, &failed].map(|response| response.header("x-gatepost-decision").unwrap().to_owned());
    let asked = r#"{ "from": "127.0.0.1", "method": "GET", "url": "/in", "headers": ["host: a"] }"#;
    let nonsense = r#"{ "from": "127.0.0.1", "method": "GET", "url": "/in", "listener": "none" }"#;
    for (method, template, path, body, status) in [
        ("get", "/v1/snapshot", "/v1/snapshot", "", 200),
        ("get", "/v1/decisions", "/v1/decisions?limit=1", "", 200),
        ("get", "/v1/decisions", "/v1/decisions?limit=1001", "", 400),
        ("get", "/v1/decisions", "/v1/decisions?reason=bad_luck", "", 400),
        ("get", "/v1/decisions", "/v1/decisions?client=me", "", 400),
        ("get", "/v1/decisions", "/v1/decisions?page=1", "", 400),
        ("get", "/v1/decisions/{id}", &*format!("/v1/decisions/{}", ids[0]), "", 200),
        ("get", "/v1/decisions/{id}", &*format!("/v1/decisions/{}", ids[1]), "", 200),
        ("get", "/v1/decisions/{id}", "/v1/decisions/0000000000000000", "", 404),
        ("get", "/v1/decisions/{id}", "/v1/decisions/none", "", 404),
        ("get", "/v1/address-sets", "/v1/address-sets", "", 200),
        ("get", "/v1/throttles", "/v1/throttles?limit=1000", "", 200),
        ("get", "/v1/throttles", "/v1/throttles?offset=-1", "", 400),
        ("get", "/v1/upstreams", "/v1/upstreams?offset=1&limit=1", "", 200),
        ("get", "/v1/usage", "/v1/usage?caller=nobody&from=2026-11-20", "", 200),
        ("get", "/v1/usage", "/v1/usage?from=2026-11-31", "", 400),
        ("get", "/v1/keys", "/v1/keys?caller=nobody", "", 200),
        ("post", "/v1/why", "/v1/why", asked, 200),
        ("post", "/v1/why", "/v1/why", nonsense, 422),
        ("post", "/v1/why", "/v1/why", "{", 400),
        ("post", "/v1/why", "/v1/why", r#"{ "from": "127.0.0.1" }"#, 400),
        ("post", "/v1/why", "/v1/why", &*" ".repeat(65_537), 413),
        ("post", "/v1/reload", "/v1/reload", "", 200),
        ("get", "/v1/snapshot", "/v1/snapshot", "", 200),
    ] {
        let response = ask_api(running.admin, &method.to_uppercase(), path, body).await;
        assert_eq!(response.status, status, "{method} {path}: {}", response.text());
        description.check(method, template, &response);
        if method == "get" {
            let mut client = Raw::connect(running.admin).await;
            let head = client.ask(&format!("HEAD {path} HTTP/1.1\nhost: {}\n\n", running.admin)).await;
            assert_eq!((head.status, head.body.len()), (status, 0), "{path}");
        }
    }
}

#[tokio::test]
async fn lists_tell_what_is_there_and_looking_takes_nothing() {
    let home = Home::new(CONFIGURATION);
    let running = Running::start(&home).await;
    for _ in 0..2 {
        assert_eq!(get(running.address, "/few").await.status, 200);
    }
    for _ in 0..3 {
        let (_, meters) = running.told("/v1/throttles").await;
        let expected = serde_json::json!([
            { "api": "default", "kind": "throttle", "rate": "1/h", "burst": 50, "left": 48 },
            { "api": "default", "route": "GET /few", "kind": "throttle", "rate": "5/h", "burst": 9, "left": 7 },
            { "api": "default", "route": "GET /few", "kind": "throttle_by_client", "rate": "1/h", "burst": 3,
              "in_debt": 1, "slots": 65536, "shared_takes": 0 },
            { "api": "default", "route": "GET /few", "kind": "parallel", "cap": 4, "under_way": 0 },
        ]);
        assert_eq!(meters["items"], expected);
    }
    assert_eq!(get(running.address, "/few").await.status, 200);
    assert_eq!(get(running.address, "/few").await.status, 429);
    let (_, sets) = running.told("/v1/address-sets").await;
    assert_eq!(sets["items"], serde_json::json!([{ "name": "office", "kind": "fixed", "networks": 2 }]));
    let (_, targets) = running.told("/v1/upstreams?offset=1").await;
    assert_eq!((&targets["total"], &targets["items"][0]["target"]), (&2.into(), &"http://127.0.0.1:2".into()));
}

#[tokio::test]
async fn a_reload_is_in_force_when_it_is_answered_or_nothing_has_changed() {
    let home = Home::new(CONFIGURATION);
    let running = Running::start(&home).await;
    let reload = async || {
        let response = ask_api(running.admin, "POST", "/v1/reload", "{}").await;
        (response.status, serde_json::from_slice::<Json>(&response.body).unwrap())
    };
    home.write("gatepost.toml", &CONFIGURATION.replace("\"127.0.0.2\"", "\"127.0.0.1\""));
    let (status, snapshot) = reload().await;
    assert_eq!((status, &snapshot["last_reload"]["outcome"]), (200, &"applied".into()));
    assert!(snapshot["version"].as_u64().unwrap() >= 2, "{snapshot}");
    assert_eq!(get(running.address, "/in").await.status, 200);

    home.write("gatepost.toml", &CONFIGURATION.replace("burst = 50", "burts = 50"));
    let (status, problem) = reload().await;
    assert_eq!(status, 422);
    let mistake = &problem["diagnostics"][0];
    assert_eq!((&mistake["file"], &mistake["line"]), (&"gatepost.toml".into(), &11.into()), "{problem:#}");
    assert!(mistake["message"].as_str().unwrap().contains("burts"), "{problem:#}");
    assert!(problem["report"].as_str().unwrap().contains("gatepost.toml:11"), "{problem:#}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    home.write("gatepost.toml", &CONFIGURATION.replacen("127.0.0.1:0", &address, 1));
    let (status, problem) = reload().await;
    assert_eq!(status, 409);
    assert!(problem["detail"].as_str().unwrap().contains(&address), "{problem:#}");
    assert_eq!(get(running.address, "/in").await.status, 200);
    let (_, snapshot) = running.told("/v1/snapshot").await;
    assert_eq!(snapshot["last_reload"]["outcome"], "refused");
    assert!(snapshot["last_reload"]["detail"].as_str().unwrap().contains(&address), "{snapshot:#}");
    assert_eq!(snapshot["file"], "gatepost.toml");
}

#[tokio::test]
async fn only_whoever_knows_the_token_is_answered() {
    let server = "admin = \"127.0.0.1:0\"\nadmin_token = \"file:admin.token\"";
    let home = Home::new(&CONFIGURATION.replacen("admin = \"127.0.0.1:0\"", server, 1));
    home.write("admin.token", "correct horse");
    let running = Running::start(&home).await;
    for (method, path) in [
        ("GET", "/openapi.json"),
        ("GET", "/v1/snapshot"),
        ("POST", "/v1/reload"),
        ("GET", "/v1/decisions"),
        ("GET", "/v1/decisions/0000000000000000"),
        ("GET", "/v1/address-sets"),
        ("GET", "/v1/throttles"),
        ("GET", "/v1/upstreams"),
        ("POST", "/v1/why"),
        ("GET", "/v1/nowhere"),
    ] {
        for field in ["a: b", "authorization: Bearer wrong", "authorization: Bearer "] {
            let response = ask(running.admin, &format!("{method} {path}"), &["host: 127.0.0.1", field]).await;
            assert_eq!(response.status, 401, "{method} {path}");
            assert_eq!(response.header("www-authenticate"), Some("Bearer"));
            assert_eq!(response.header("content-type"), Some("application/problem+json"));
        }
    }
    let good = ["host: 127.0.0.1", "authorization: bearer correct horse"];
    assert_eq!(ask(running.admin, "GET /v1/snapshot", &good).await.status, 200);
}

#[tokio::test]
async fn pages_that_a_browser_shows_are_kept_away() {
    let home = Home::new(CONFIGURATION);
    let running = Running::start(&home).await;
    let json = "content-type: application/json";
    let here = format!("host: {}", running.admin);
    for (line, fields, status) in [
        ("GET /v1/snapshot", &[&*here][..], 200),
        ("GET /v1/snapshot", &["host: localhost:9900"], 200),
        ("GET /v1/snapshot", &["host: rebound.example"], 403),
        ("GET /openapi.json", &["host: rebound.example:9900"], 403),
        ("POST /v1/reload", &["host: rebound.example", json], 403),
        ("POST /v1/reload", &[&*here], 415),
        ("POST /v1/reload", &[&*here, "content-type: text/plain"], 415),
        ("POST /v1/reload", &[&*here, "content-type: application/x-www-form-urlencoded"], 415),
        ("GET /v1/reload", &[&*here], 405),
        ("DELETE /v1/decisions", &[&*here], 405),
        ("GET /v1/nowhere", &[&*here], 404),
        ("GET /v1", &[&*here], 404),
    ] {
        let response = ask(running.admin, line, fields).await;
        assert_eq!(response.status, status, "{line} {fields:?}");
        if status != 200 {
            assert_eq!(response.header("content-type"), Some("application/problem+json"));
            assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
        }
    }
    let (_, snapshot) = running.told("/v1/snapshot").await;
    assert_eq!((&snapshot["version"], &snapshot["last_reload"]), (&1.into(), &Json::Null));
}

#[tokio::test]
async fn a_socket_is_asked_by_any_name() {
    let home = Home::new(&CONFIGURATION.replacen("admin = \"127.0.0.1:0\"", "admin = \"unix:admin.sock\"", 1));
    let (mut process, _) = home.run().await;
    process.wait_for_line("admin on unix:", gatepost_testkit::PATIENCE).await;
    for (line, answer) in [("GET /v1/snapshot", "\"version\": 1"), ("POST /v1/reload", "\"version\": 2")] {
        let mut stream = UnixStream::connect(home.path("admin.sock")).await.unwrap();
        let fields = "host: whatever\r\ncontent-type: application/json\r\ncontent-length: 0\r\nconnection: close";
        stream.write_all(format!("{line} HTTP/1.1\r\n{fields}\r\n\r\n").as_bytes()).await.unwrap();
        let mut told = String::new();
        stream.read_to_string(&mut told).await.unwrap();
        assert!(told.starts_with("HTTP/1.1 200 OK") && told.contains(answer), "{told}");
    }
}

#[tokio::test]
async fn a_file_that_is_gone_changes_nothing() {
    let home = Home::new(CONFIGURATION);
    let running = Running::start(&home).await;
    std::fs::remove_file(home.path("gatepost.toml")).unwrap();
    let response = ask_api(running.admin, "POST", "/v1/reload", "").await;
    assert_eq!(response.status, 422);
    assert!(response.text().contains("cannot read gatepost.toml"), "{}", response.text());
    assert_eq!(get(running.address, "/few").await.status, 200);
}

/// Asks with these header fields alone.
async fn ask(admin: SocketAddr, line: &str, fields: &[&str]) -> Response {
    let fields = fields.join("\n");
    Raw::connect(admin).await.ask(&format!("{line} HTTP/1.1\n{fields}\ncontent-length: 0\n\n")).await
}
