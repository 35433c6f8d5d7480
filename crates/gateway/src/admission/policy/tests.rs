use gatepost_config::load_text;
use gatepost_iam::Context as _;

use super::*;
use crate::clock::Clock;
use crate::compile::Lasting;
use crate::snapshot::Snapshot;
use crate::stats::Stats;
use crate::trace::NoTrace;

/// The masked ARN of a request to an API with this id, stage and base path.
fn masked(method: &str, path: &str) -> String {
    let text = r#"
        listen = "127.0.0.1:0"
        server = { region = "us-east-2", account = "111122221977" }
        api.a = { id = "abc123", stage = "prod", base = "/v1", route = { "$default" = { open = true, respond = {} } } }
        "#;
    let model = load_text("gatepost.toml", text, std::path::Path::new("")).unwrap().model;
    let (mut lasting, stats) =
        (Lasting::new(crate::caller::Books::new(gatepost_meter::MemoryLedger::new())), Stats::default());
    let snapshot = Snapshot::compile(&model, None, &mut lasting, &stats, Clock::start().now());
    let listener = snapshot.listeners.values().next().unwrap();
    let (method, headers) = (method.parse().unwrap(), HeaderMap::new());
    let facts = facts(&method, path, &headers);
    let (api, _) = listener.api(&facts, &mut NoTrace).unwrap();
    let arn = RequestArn::of(&facts, &api.names);
    let masked = arn.masked();
    assert_eq!(arn.length(), masked.len(), "{masked}");
    masked
}

fn facts<'r>(method: &'r Method, path: &'r str, headers: &'r HeaderMap) -> Facts<'r> {
    let client = [192, 0, 2, 1].into();
    let (host, path) = ("a".into(), path.into());
    Facts {
        client,
        is_secure: false,
        private: None,
        method,
        host,
        path,
        headers,
        length: None,
        received: Received::default(),
        assumed: Assumed::Nobody,
        paid: &[],
    }
}

#[test]
fn an_arn_has_the_stage_the_method_and_the_path_below_the_base_and_the_end_of_the_account() {
    const API: &str = "arn:aws:execute-api:us-east-2:********1977:abc123/prod";
    for (method, path, tail) in [
        ("GET", "/v1/pets/42", "GET/pets/42"),
        ("HEAD", "/v1/pets/", "HEAD/pets/"),
        ("GET", "/v1", "GET/"),
        ("GET", "/v1/", "GET/"),
        ("POST", "/v1//a%2Fb:c", "POST//a%2Fb:c"),
        ("delete", "/v1/a", "DELETE/a"),
        ("Purge", "/v1/a", "PURGE/a"),
    ] {
        assert_eq!(masked(method, path), format!("{API}/{tail}"), "{method} {path}");
    }
}

/// The text under a key for a request with these fields.
fn text(key: &Key, fields: &[(HeaderName, &[u8])]) -> Option<String> {
    let fields = fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_bytes(value).unwrap()));
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(name, value);
    }
    let facts = facts(&Method::GET, "/", &headers);
    match Circumstances::of(&facts, None, Meters::Full).value(key) {
        Values::Absent => None,
        Values::One(Value::Text(text)) => Some(text.to_owned()),
        other @ (Values::One(_) | Values::Many(_)) => panic!("{other:?}"),
    }
}

#[test]
fn a_header_that_was_sent_is_there_whatever_was_sent() {
    for (key, name) in [(Key::UserAgent, USER_AGENT), (Key::Referer, REFERER)] {
        let field = |value: &'static [u8]| (name.clone(), value);
        assert_eq!(text(&key, &[]), None);
        assert_eq!(text(&key, &[field(b"a b")]).as_deref(), Some("a b"));
        assert_eq!(text(&key, &[field(b"")]).as_deref(), Some(""));
        assert_eq!(text(&key, &[field(b"a"), field(b"b, c")]).as_deref(), Some("a, b, c"));
        assert_eq!(text(&key, &[field(b"caf\xC3\xA9")]).as_deref(), Some("caf\u{e9}"));
        assert_eq!(text(&key, &[field(b"caf\xE9")]).as_deref(), Some("caf\u{fffd}"));
    }
}
