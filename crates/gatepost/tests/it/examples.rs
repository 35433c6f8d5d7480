//! The examples: each is accepted, and does what it says.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gatepost_sigv4::{BodyToSign, Credentials, PathForm, PayloadHash, Request, SecretKey, Signer};
use gatepost_testkit::{Json, Origin, PATIENCE, Process, Raw, Script};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::home::{GATEPOST, Home, get_until};
use crate::run::address_of_backend;

#[tokio::test]
async fn every_example_is_accepted_with_all_that_it_claims() {
    let home = Home::empty();
    for file in configurations() {
        let (code, stdout, stderr) = home.outcome(&["check", file.to_str().unwrap()]).await;
        assert_eq!(code, 0, "{}:\n{stderr}", file.display());
        assert!(!stdout.contains(" 0 examples"), "{stdout}");
    }
}

#[tokio::test]
async fn the_schema_that_is_printed_accepts_every_example() {
    let home = Home::empty();
    let (code, stdout, _) = home.outcome(&["schema"]).await;
    assert_eq!(code, 0);
    let schema: Json = serde_json::from_str(&stdout).unwrap();
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::validator_for(&schema).unwrap();
    for file in configurations() {
        let table: toml::Table = fs::read_to_string(&file).unwrap().parse().unwrap();
        let instance = serde_json::to_value(table).unwrap();
        let errors: Vec<String> = validator.iter_errors(&instance).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", file.display());
    }
    let unknown = serde_json::json!({ "listen": "127.0.0.1:0", "lisen": 1 });
    assert!(!validator.is_valid(&unknown));
}

#[tokio::test]
async fn github_hooks_lets_in_whom_the_list_names_and_no_forged_header_helps() {
    let mut backend = Process::start(GATEPOST, Path::new("/"), &["demo-backend", "--listen", "127.0.0.1:0"]);
    let home = github_hooks(&format!("http://{}", address_of_backend(&mut backend).await));
    let (mut running, address) = home.run().await;
    let mut client = Raw::connect(address).await;

    assert_eq!(client.ask(&hook("")).await.status, 403);
    for forged in [
        "x-forwarded-for: 192.30.252.1\n",
        "x-forwarded-for: 192.30.252.1, 140.82.112.1\n",
        "forwarded: for=192.30.252.1\n",
        "x-real-ip: 192.30.252.1\ntrue-client-ip: 192.30.252.1\ncf-connecting-ip: 192.30.252.1\n",
        "x-client-ip: 192.30.252.1\nx-gatepost-client: 192.30.252.1\n",
    ] {
        assert_eq!(client.ask(&hook(forged)).await.status, 403, "{forged}");
    }

    let listed = home.read("github-hooks.txt") + "127.0.0.1\n";
    home.write("github-hooks.txt", &listed);
    running.wait_for_line("INFO reloaded: a file changed", PATIENCE).await;
    let admitted = client.ask(&hook("x-forwarded-for: 192.30.252.1\nforwarded: for=192.30.252.1\n")).await;
    assert_eq!(admitted.status, 200, "{}", admitted.text());
    let received: Json = serde_json::from_str(&admitted.text()).unwrap();
    assert_eq!((&received["method"], &received["path"]), (&"POST".into(), &"/forward".into()));
    assert_eq!(received["body_bytes"], 2);
    assert_eq!(received["headers"]["x-forwarded-for"], "127.0.0.1");
    assert!(!admitted.text().contains("192.30.252.1"), "{}", admitted.text());
    assert_eq!(received["headers"]["x-hub-signature-256"], "sha256=00");

    // From an address beside it, nothing has changed.
    let mut stranger = Raw::connect_from([127, 0, 0, 2].into(), address).await;
    assert_eq!(stranger.ask(&hook("x-forwarded-for: 127.0.0.1\n")).await.status, 403);

    assert_eq!(client.get("/elsewhere").await.status, 404);
    let refused = client.ask("DELETE /forward HTTP/1.1\nhost: a\n\n").await;
    assert_eq!(refused.status, 405);
    let allowed: Vec<&str> = refused.header("allow").unwrap().split(", ").collect();
    for method in ["GET", "POST", "PUT"] {
        assert!(allowed.contains(&method), "{allowed:?}");
    }

    home.write("github-hooks.txt", &listed.replace("127.0.0.1\n", ""));
    get_until(&mut client, "/forward", |response| response.status == 403).await;
    running.signal("TERM");
    assert_eq!(running.wait_exit(PATIENCE).await, 0, "{}", running.said());
}

#[tokio::test]
async fn github_hooks_gives_the_backend_a_second_and_no_more_than_it_can_take() {
    let origin = Origin::in_turn(vec![Script::silence(), Script::echo()]).await;
    let home = github_hooks(&origin.url());
    home.write("github-hooks.txt", &(home.read("github-hooks.txt") + "127.0.0.1\n"));
    let (_running, address) = home.run().await;
    let mut client = Raw::connect(address).await;

    let asked = Instant::now();
    assert_eq!(client.ask(&hook("")).await.status, 504);
    let took = asked.elapsed();
    assert!(took >= Duration::from_millis(950), "{took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");

    let mut sender = Raw::connect(address).await;
    sender.send(format!("POST /forward HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", 25 * 1024 * 1024 + 1)).await;
    assert_eq!(sender.response().await.status, 413);
    assert_eq!(origin.count(), 1);

    let started = Instant::now();
    let mut admitted = 0;
    let refused = loop {
        let answer = client.ask(&hook("")).await;
        if answer.status != 200 {
            break answer;
        }
        admitted += 1;
    };
    // At most the burst and what has come in since; the one that was cut has come in again.
    let refilled = started.elapsed().as_secs_f64() * 50.0;
    assert!(f64::from(admitted) <= 100.0 + refilled + 1.0, "{admitted} in {:?}", started.elapsed());
    assert!(admitted >= 99, "{admitted}");
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("retry-after"), Some("1"));
}

/// A webhook as GitHub sends it, with these fields besides.
fn hook(fields: &str) -> String {
    format!("POST /forward HTTP/1.1\nhost: a\nx-hub-signature-256: sha256=00\n{fields}content-length: 2\n\n{{}}")
}

/// The example in a directory of its own, on a free port and before this backend.
fn github_hooks(backend: &str) -> Home {
    let example = examples().join("github-hooks");
    let mut text = fs::read_to_string(example.join("gatepost.toml")).unwrap();
    for (written, here) in [("127.0.0.1:8080", "127.0.0.1:0"), ("http://127.0.0.1:9000", backend)] {
        assert!(text.contains(written), "{written} is not in the example");
        text = text.replace(written, here);
    }
    let home = Home::new(&(text + "\n[server]\nadmin = \"off\"\n"));
    home.write("github-hooks.txt", &fs::read_to_string(example.join("github-hooks.txt")).unwrap());
    home
}

/// The `gatepost.toml` of every example.
fn configurations() -> Vec<PathBuf> {
    let directories = fs::read_dir(examples()).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> = directories.map(|path| path.join("gatepost.toml")).filter(|path| path.exists()).collect();
    assert!(files.len() >= 2, "{files:?}");
    files
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

#[tokio::test]
async fn signed_webhooks_lets_in_what_is_signed_and_that_once() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let home = signed_webhooks(&origin.url());
    let (_running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    // GitHub's own example: "Validating webhook deliveries".
    let signature = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let hook = |signature: &str, body: &str| {
        format!("POST /github HTTP/1.1\nhost: a\nx-hub-signature-256: sha256={signature}\ncontent-length: 13\n\n{body}")
    };
    assert_eq!(client.ask("POST /github HTTP/1.1\nhost: a\ncontent-length: 2\n\n{}").await.status, 401);
    assert_eq!(client.ask(&hook(&signature.replace('7', "8"), "Hello, World!")).await.status, 401);
    assert_eq!(client.ask(&hook(signature, "Hello, World?")).await.status, 401);
    assert_eq!(origin.accepted(), 0);
    assert_eq!(client.ask(&hook(signature, "Hello, World!")).await.text(), "thanks");
    assert_eq!(client.ask(&hook(signature, "Hello, World!")).await.status, 401);
    assert_eq!(origin.count(), 1);
}

/// The example in a directory of its own, on a free port and before this backend.
fn signed_webhooks(backend: &str) -> Home {
    let example = examples().join("signed-webhooks");
    let text = fs::read_to_string(example.join("gatepost.toml")).unwrap();
    let text = text.replace("127.0.0.1:8080", "127.0.0.1:0").replace("http://127.0.0.1:9000", backend);
    let home = Home::new(&(text + "\n[server]\nadmin = \"off\"\n"));
    for secret in ["github.secret", "payments.secret", "shop.secret"] {
        home.write(secret, &fs::read_to_string(example.join(secret)).unwrap());
    }
    home
}

#[tokio::test]
async fn single_client_lets_in_one_client_from_its_addresses_with_its_key_and_no_more_than_was_agreed() {
    let origin = Origin::start(Script::ok("orders")).await;
    let home = single_client(&origin.url());
    let key = home.read("acme.key");
    let (_running, address) = home.run().await;
    let asked = |key: &str| format!("GET /orders/7 HTTP/1.1\nhost: a\nx-api-key: {key}\n\n");
    let mut client = Raw::connect(address).await;
    assert_eq!(client.get("/orders/7").await.status, 401);
    assert_eq!(client.ask(&asked("gp_00000000000000000000000000000000000000")).await.status, 401);
    let mut thief = Raw::connect_from([127, 0, 0, 2].into(), address).await;
    assert_eq!(thief.ask(&asked(key.trim())).await.status, 401);
    // A key alone is no signature.
    let posted = format!("POST /orders HTTP/1.1\nhost: a\nx-api-key: {}\ncontent-length: 2\n\n{{}}", key.trim());
    assert_eq!(client.ask(&posted).await.status, 401);
    assert_eq!(origin.accepted(), 0);
    let mut admitted = 0;
    let refused = loop {
        let answer = client.ask(&asked(key.trim())).await;
        if answer.status != 200 {
            break answer;
        }
        admitted += 1;
        let left = answer.header("ratelimit").unwrap();
        assert!(left.starts_with(&format!("\"quota\";r={};", 1000 - admitted)), "{left}");
    };
    assert_eq!(refused.status, 429);
    assert!(admitted >= 10, "{admitted}");
}

#[tokio::test]
async fn single_client_may_sign_instead_from_its_addresses_and_under_the_same_plan() {
    let origin = Origin::start(Script::ok("orders")).await;
    let home = single_client(&origin.url());
    let (key, secret) = (home.read("acme.key"), home.read("acme.secret"));
    let with_key = format!("x-api-key: {}\r\n", key.trim());
    let (_running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    let signed =
        |method: &str, path: &str, body: &str| request(method, path, &signature(&secret, method, path, body), body);

    // From elsewhere, of another secret, for another path, for another body, or none.
    let mut thief = Raw::connect_from([127, 0, 0, 2].into(), address).await;
    assert_eq!(thief.send_while_reading(signed("POST", "/orders", "{}")).await.status, 401);
    let order = signature(&secret, "POST", "/orders", "{}");
    for refused in [
        request("POST", "/orders", &signature("guessed", "POST", "/orders", "{}"), "{}"),
        request("POST", "/orders", &signature(&secret, "POST", "/others", "{}"), "{}"),
        request("POST", "/orders", &order, "[]"),
        request("POST", "/orders", "", "{}"),
        // What is asked for is both.
        request("DELETE", "/orders/7", &with_key, ""),
        signed("DELETE", "/orders/7", ""),
    ] {
        let mut client = Raw::connect(address).await;
        assert_eq!(client.send_while_reading(&refused).await.status, 401, "{refused}");
    }
    assert_eq!(origin.count(), 0);

    // One quota, however it proves itself; refusals have taken nothing of it.
    let both = with_key.clone() + &signature(&secret, "DELETE", "/orders/7", "");
    let in_turn = || {
        [
            signed("POST", "/orders", "{\"pears\":3}"),
            request("GET", "/orders/7", &with_key, ""),
            request("DELETE", "/orders/7", &both, ""),
        ]
    };
    let started = Instant::now();
    let mut admitted = 0;
    'asking: loop {
        for request in in_turn() {
            let answer = client.send_while_reading(&request).await;
            if answer.status == 429 {
                break 'asking;
            }
            admitted += 1;
            assert_eq!(answer.status, 200, "{request}");
            let left = answer.header("ratelimit").unwrap();
            assert!(left.starts_with(&format!("\"quota\";r={};", 1000 - admitted)), "{left}");
        }
    }
    // And one bucket: 10 at once, and those that come back at 5 a second.
    let most = 10.0 + started.elapsed().as_secs_f64() * 5.0;
    assert!(admitted >= 10 && f64::from(admitted) <= most, "{admitted} of {most}");
    for received in origin.requests() {
        assert_eq!((received.header("x-api-key"), received.header("authorization")), (None, None));
    }
}

/// The fields with which the client of the example signs.
fn signature(secret: &str, method: &str, path: &str, body: &str) -> String {
    let credentials = Credentials {
        access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
        secret: SecretKey::new(secret.trim().to_owned()),
        token: None,
    };
    let signer =
        Signer { credentials: &credentials, region: "us-east-1", service: "execute-api", path: PathForm::EscapedTwice };
    let request = Request::new(method, path, "", [("host", &b"a"[..])]);
    let body = BodyToSign::Hashed(PayloadHash::of(body.as_bytes()));
    let added = signer.sign(&request, body, Timestamp::now()).unwrap();
    added.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

fn request(method: &str, path: &str, fields: &str, body: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: a\r\n{fields}content-length: {}\r\n\r\n{body}", body.len())
}

/// The example in a directory of its own, on a free port and before this backend.
fn single_client(backend: &str) -> Home {
    let example = examples().join("single-client");
    let text = fs::read_to_string(example.join("gatepost.toml")).unwrap();
    let text = text.replace("127.0.0.1:8080", "127.0.0.1:0").replace("http://127.0.0.1:9000", backend);
    let home = Home::new(&(text + "\n[server]\nadmin = \"off\"\n"));
    for file in ["acme.key", "acme.secret"] {
        home.write(file, &fs::read_to_string(example.join(file)).unwrap());
    }
    home
}
