//! Tokens of issuers: who is let in by one, what others are told, and what a backend sees of them.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use gatepost_testkit::{Json, Origin, PATIENCE, Raw, Response, Script, TestGateway, TokenIssuer, TokenKey, eventually};
use tokio::time::{Instant, sleep};

use crate::setup::{Setup, client, refusal};

/// A gateway with one route, what asks for tokens, who issues them, and the backend behind it.
struct Scene {
    gateway: TestGateway,
    origin: Origin,
    issuer: TokenIssuer,
    key: TokenKey,
}

impl Scene {
    /// With these lines of the route, and tables. `$JWT` in them stands for the tokens of the issuer.
    async fn start(entry: &str, tables: &str) -> Self {
        let key = TokenKey::p256("key");
        let issuer = TokenIssuer::start(&[&key]).await;
        Self::start_at(issuer, key, entry, tables).await
    }

    async fn start_at(issuer: TokenIssuer, key: TokenKey, entry: &str, tables: &str) -> Self {
        let origin = Origin::start(Script::ok("")).await;
        let gateway = TestGateway::start(&configuration(&origin, &issuer, entry, tables)).await;
        Self { gateway, origin, issuer, key }
    }

    fn token(&self, changes: &Json) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
        let mut claims = serde_json::json!({"iss": self.issuer.url(), "aud": "api", "sub": "acme", "exp": now + 300});
        for (name, value) in changes.as_object().expect("claims") {
            claims[name] = value.clone();
        }
        self.key.token(&claims)
    }

    /// What becomes of a request with these fields.
    async fn get(&self, fields: &[(&str, &str)]) -> Response {
        get(&mut client(&self.gateway).await, fields).await
    }

    async fn bearing(&self, token: &str) -> Response {
        self.get(&[("authorization", &format!("Bearer {token}"))]).await
    }
}

async fn get(client: &mut Raw, fields: &[(&str, &str)]) -> Response {
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    client.send(format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n").as_bytes()).await;
    client.response().await
}

fn configuration(origin: &Origin, issuer: &TokenIssuer, entry: &str, tables: &str) -> String {
    let jwt = format!("issuer = {:?}, audience = [\"api\"]", issuer.url());
    Setup::to(origin).entry(&entry.replace("$JWT", &jwt)).tables(&tables.replace("$JWT", &jwt)).text()
}

/// A caller's key, as a configuration has it.
fn hashed(key: &str) -> String {
    let hash = digest(&SHA256, key.as_bytes());
    hash.as_ref().iter().fold("sha256:".to_owned(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn json(text: &str) -> Json {
    serde_json::from_str(text).expect("JSON")
}

const KEY: &str = "a key of twenty characters";

const ASKS: &str = "jwt = { $JWT }";

#[tokio::test]
async fn who_has_a_token_is_let_in_and_the_backend_does_not_see_it() {
    let scene = Scene::start(ASKS, "").await;
    let token = scene.token(&json("{}"));
    assert_eq!(scene.bearing(&token).await.status, 200);
    assert_eq!(scene.get(&[("Authorization", &token)]).await.status, 200);
    for received in scene.origin.requests() {
        assert_eq!(received.header("authorization"), None);
    }
    let log = scene.gateway.stop_and_read_log(PATIENCE).await;
    assert!(log.iter().all(|line| !line.to_string().contains(&token)), "{log:?}");
}

#[tokio::test]
async fn who_has_none_or_a_bad_one_is_told_so_as_bearer_tokens_are() {
    let scene = Scene::start(r#"jwt = { $JWT, scopes = ["read", "write"] }"#, "").await;
    let good = r#""scope": "write""#;
    assert_eq!(scene.bearing(&scene.token(&json(&format!("{{{good}}}")))).await.status, 200);

    let answer = scene.get(&[]).await;
    assert_eq!((answer.status, &*answer.text()), (401, r#"{"message":"Unauthorized"}"#));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    refusal(&scene.gateway, "token_missing").await;

    let stranger = TokenKey::p256("key").token(&json(&format!(
        r#"{{"iss": "{}", "aud": "api", "exp": 4000000000, "scope": "read"}}"#,
        scene.issuer.url()
    )));
    let invalid = r#"Bearer scope="read write" error="invalid_token""#;
    for (token, status, challenge, reason) in [
        (stranger, 401, invalid.to_owned(), "token_bad"),
        (
            scene.token(&json(&format!(r#"{{{good}, "exp": 1}}"#))),
            401,
            format!(r#"{invalid} error_description="the token has expired""#),
            "token_bad",
        ),
        (
            scene.token(&json(&format!(r#"{{{good}, "aud": "else"}}"#))),
            401,
            format!(r#"{invalid} error_description="the token does not have a valid audience""#),
            "token_bad",
        ),
        (
            scene.token(&json("{}")),
            403,
            r#"Bearer scope="read write" error="insufficient_scope""#.to_owned(),
            "token_scope",
        ),
    ] {
        let answer = scene.bearing(&token).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (status, Some(&*challenge)));
        let line = refusal(&scene.gateway, reason).await;
        assert!(!line.to_string().contains(&token), "{line}");
    }
    assert_eq!(scene.origin.count(), 1);

    let refused = scene.bearing(&scene.token(&json("{}"))).await;
    let id = refused.header("x-gatepost-decision").expect("an id").to_owned();
    let explanation = scene.gateway.decision(&id).await.explanation.expect("it is explained");
    let last = explanation.steps.last().expect("a step");
    assert_eq!((last.check.name(), last.passed), ("jwt", false));
    let expected = "for api, with read or write: its `scope` or `scp` has none of those asked for";
    assert!(last.text.ends_with(expected), "{}", last.text);
}

#[tokio::test]
async fn without_the_keys_of_the_issuer_it_is_503_and_not_the_clients_fault() {
    let key = TokenKey::p256("key");
    let issuer = TokenIssuer::start(&[&key]).await;
    issuer.keys.from_now_on(Script::ok("no keys"));
    let scene = Scene::start_at(issuer, key, ASKS, "").await;
    let answer = scene.bearing(&scene.token(&json("{}"))).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(scene.get(&[]).await.status, 401, "without a token they do not matter");
    let line = refusal(&scene.gateway, "issuer_keys_unknown").await;
    assert!(line.to_string().contains(&scene.issuer.url()), "{line}");

    scene.issuer.publish(&[&scene.key]);
    let token = scene.token(&json("{}"));
    let mut client = client(&scene.gateway).await;
    let field = format!("Bearer {token}");
    let deadline = Instant::now() + PATIENCE;
    while get(&mut client, &[("authorization", &field)]).await.status != 200 {
        assert!(Instant::now() < deadline, "it is asked again");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_request_waits_for_keys_that_are_on_their_way_and_pays_once() {
    let key = TokenKey::p256("key");
    let issuer = TokenIssuer::start(&[&key]).await;
    let set = TokenKey::set(&[&key]);
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{set}", set.len());
    issuer.keys.from_now_on(Script::default().then_wait().then_send(answer));
    let entry = "jwt = { $JWT }\nthrottle = { rate = \"1/h\", burst = 1, by = \"client\" }";
    let scene = Scene::start_at(issuer, key, entry, "").await;
    eventually(PATIENCE, || scene.issuer.keys.count() == 1).await;
    let token = scene.token(&json("{}"));
    let mut client = client(&scene.gateway).await;
    client.send(format!("GET / HTTP/1.1\r\nhost: a\r\nauthorization: bearer {token}\r\n\r\n").as_bytes()).await;
    scene.issuer.keys.release();
    assert_eq!(client.response().await.status, 200);
    assert_eq!(get(&mut client, &[("authorization", &token)]).await.status, 429);
}

#[tokio::test]
async fn a_reload_keeps_the_keys_of_issuers_that_stay() {
    let mut scene = Scene::start(ASKS, "").await;
    let token = scene.token(&json("{}"));
    assert_eq!(scene.bearing(&token).await.status, 200);
    let text = configuration(&scene.origin, &scene.issuer, "jwt = { $JWT }\nparallel = 7", "");
    scene.gateway.apply(&text).await.expect("it is served");
    assert_eq!(scene.bearing(&token).await.status, 200);
    assert_eq!(scene.issuer.keys.count(), 1);

    // One that asks for no tokens any more passes on what it does not read.
    scene.gateway.apply(&Setup::to(&scene.origin).text()).await.expect("it is served");
    assert_eq!(scene.bearing(&token).await.status, 200);
    assert_eq!(scene.origin.last().header("authorization"), Some(&*format!("Bearer {token}")));
}

#[tokio::test]
async fn a_caller_is_known_by_the_subject_of_its_token() {
    let tables = format!(
        "[caller.acme]\nkeys = [\"{}\"]\njwt = {{ $JWT, subject = \"acme\" }}\n[caller.globex]\njwt = {{ $JWT, subject = \"7\" }}",
        hashed(KEY)
    );
    let scene = Scene::start("callers = \"any\"", &tables).await;
    for (subject, status) in [("acme", 200), ("7", 200), ("initech", 401), ("", 401)] {
        let token = scene.token(&json(&format!(r#"{{"sub": "{subject}"}}"#)));
        assert_eq!(scene.bearing(&token).await.status, status, "{subject}");
    }
    let line = refusal(&scene.gateway, "credentials_bad").await;
    assert!(line.to_string().contains("no caller is the subject of this token"), "{line}");
    assert_eq!(scene.origin.last().header("authorization"), None);

    // Whatever is given must be good, and of the same caller.
    let (acme, globex) = (scene.token(&json("{}")), scene.token(&json(r#"{"sub": "7"}"#)));
    assert_eq!(scene.get(&[("x-api-key", KEY), ("authorization", &acme)]).await.status, 200);
    assert_eq!(scene.get(&[("x-api-key", KEY), ("authorization", &globex)]).await.status, 401);
    refusal(&scene.gateway, "proofs_disagree").await;
    assert_eq!(scene.get(&[("x-api-key", KEY), ("authorization", "bearer a.b.c")]).await.status, 401);
    assert_eq!(scene.get(&[]).await.status, 401);
    refusal(&scene.gateway, "credentials_missing").await;

    let log = scene.gateway.stop_and_read_log(PATIENCE).await;
    let callers: Vec<&Json> = log.iter().filter(|line| line["status"] == 200).map(|line| &line["caller"]).collect();
    assert_eq!(callers, ["acme", "globex", "acme"]);
}

#[tokio::test]
async fn a_route_may_ask_for_a_token_and_for_a_key_besides() {
    let tables = format!("[caller.acme]\nkeys = [\"{}\"]", hashed(KEY));
    let scene = Scene::start("callers = \"any\"\nproof = [\"key\"]\njwt = { $JWT }", &tables).await;
    // The token is nobody's: it only has to be good.
    let token = format!("Bearer {}", scene.token(&json(r#"{"sub": "anybody"}"#)));
    assert_eq!(scene.get(&[("x-api-key", KEY), ("authorization", &token)]).await.status, 200);
    let received = scene.origin.last();
    assert_eq!((received.header("authorization"), received.header("x-api-key")), (None, None));
    assert_eq!(scene.get(&[("authorization", &token)]).await.status, 401);
    refusal(&scene.gateway, "credentials_missing").await;
    assert_eq!(scene.get(&[("x-api-key", KEY)]).await.status, 401);
    refusal(&scene.gateway, "token_missing").await;
}

#[tokio::test]
async fn a_throttle_that_came_while_keys_were_waited_for_counts() {
    let key = TokenKey::p256("key");
    let issuer = TokenIssuer::start(&[&key]).await;
    let set = TokenKey::set(&[&key]);
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{set}", set.len());
    issuer.keys.from_now_on(Script::default().then_wait().then_send(answer));
    let mut scene = Scene::start_at(issuer, key, ASKS, "").await;
    eventually(PATIENCE, || scene.issuer.keys.count() == 1).await;
    let token = scene.token(&json("{}"));
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = client(&scene.gateway).await;
        client.send(format!("GET / HTTP/1.1\r\nhost: a\r\nauthorization: bearer {token}\r\n\r\n").as_bytes()).await;
        clients.push(client);
    }
    let entry = "jwt = { $JWT }\nthrottle = { rate = \"1/h\", burst = 1, by = \"client\" }";
    let text = configuration(&scene.origin, &scene.issuer, entry, "");
    scene.gateway.apply(&text).await.expect("it is served");
    scene.issuer.keys.release();
    let mut answers = Vec::new();
    for mut client in clients {
        answers.push(client.response().await.status);
    }
    answers.sort_unstable();
    assert_eq!(answers, [200, 429]);
}

#[tokio::test]
async fn where_aws_is_imitated_who_waited_for_keys_pays_as_well() {
    let key = TokenKey::p256("key");
    let issuer = TokenIssuer::start(&[&key]).await;
    let set = TokenKey::set(&[&key]);
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{set}", set.len());
    issuer.keys.from_now_on(Script::default().then_wait().then_send(answer));
    let tables = "[api.rest]\nhosts = [\"rest\"]\ncompat = \"aws-rest\"\n[api.rest.route.\"GET /\"]\njwt = { $JWT }\n\
                  throttle = { rate = \"1/h\", burst = 1, by = \"client\" }\nrespond = {}";
    let mut scene = Scene::start_at(issuer, key, ASKS, tables).await;
    eventually(PATIENCE, || scene.issuer.keys.count() == 1).await;
    let token = scene.token(&json("{}"));
    let request = format!("GET / HTTP/1.1\r\nhost: rest\r\nauthorization: bearer {token}\r\n\r\n");
    let mut client = client(&scene.gateway).await;
    client.send(request.as_bytes()).await;
    // By the time that this is served the request waits.
    let text = configuration(&scene.origin, &scene.issuer, ASKS, tables);
    scene.gateway.apply(&text).await.expect("it is served");
    scene.issuer.keys.release();
    assert_eq!(client.response().await.status, 200);
    client.send(request.as_bytes()).await;
    assert_eq!(client.response().await.status, 429);
}

#[tokio::test]
async fn a_token_for_the_route_about_nobody_known_is_no_proof_and_no_contradiction() {
    let tables = format!(
        "[caller.acme]\nkeys = [\"{}\"]\n[caller.cat]\njwt = {{ $JWT, subject = \"cat\" }}\n\
         [route.\"GET /others\"]\ncallers = \"any\"\nrespond = {{}}",
        hashed(KEY)
    );
    for proof in ["proof = [\"key\"]", ""] {
        let scene = Scene::start(&format!("callers = \"any\"\n{proof}\njwt = {{ $JWT }}"), &tables).await;
        let token = format!("Bearer {}", scene.token(&json(r#"{"sub": "anybody"}"#)));
        assert_eq!(scene.get(&[("x-api-key", KEY), ("authorization", &token)]).await.status, 200, "{proof}");
        assert_eq!(scene.get(&[("authorization", &token)]).await.status, 401, "{proof}");
        refusal(&scene.gateway, "credentials_missing").await;
        assert_eq!(scene.origin.count(), 1, "{proof}");
    }
}
