//! Address sets that are fetched: what the program does without a list, what it keeps, and what `why` and `check` say.

use std::fs;

use gatepost_testkit::{Json, Origin, PATIENCE, Process, Raw, Script};

use crate::home::{Home, get, get_until};

/// Lets in what the document at `url` lists under `hooks`.
fn configuration(url: &str) -> String {
    format!(
        r#"listen = "127.0.0.1:0"

[server]
admin = "127.0.0.1:0"

[addresses.hooks]
url  = "{url}/meta"
pick = "/hooks"

[route."POST /github"]
from    = ["hooks"]
respond = {{ status = 204 }}
example = [{{ from = "192.30.252.9", expect = "admitted" }}, {{ from = "192.0.2.1", expect = 403 }}]

[route."GET /mine"]
from    = ["127.0.0.1", "hooks"]
respond = {{ status = 200 }}
example = [{{ from = "127.0.0.1", expect = "admitted" }}]
"#
    )
}

const DOCUMENT: &str = r#"{"hooks": ["192.30.252.0/22", "2a0a:a440::/29"], "web": ["0.0.0.0/0"]}"#;

const GITHUB: &[&str] = &["why", "--from", "192.30.252.9", "POST", "/github"];

/// Waits for `/readyz` to answer with this status.
async fn until_ready(running: &mut Process, status: u16) -> String {
    let admin = running.admin_address().await;
    let mut client = Raw::connect(admin).await;
    get_until(&mut client, "/readyz", |response| response.status == status).await.text()
}

#[tokio::test]
async fn a_gateway_is_not_ready_until_every_list_was_loaded_and_a_restart_needs_nobody() {
    let publisher = Origin::start(Script::send("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n")).await;
    let home = Home::new(&configuration(&publisher.url()));
    let (mut running, address) = home.run().await;
    assert_eq!(until_ready(&mut running, 503).await, "never loaded: the address set hooks\n");
    let mut client = Raw::connect(address).await;
    assert_eq!(client.ask("POST /github HTTP/1.1\nhost: a\ncontent-length: 0\n\n").await.status, 503);
    assert_eq!(client.get("/mine").await.status, 200);
    let said = running.wait_for_line("address set hooks cannot be had", PATIENCE).await;
    assert!(said.contains("the answer was 500; whoever depends on it is answered 503"), "{said}");

    // Nobody has to do anything: it asks again.
    publisher.from_now_on(Script::ok(DOCUMENT));
    until_ready(&mut running, 200).await;
    running.wait_for_line("address set hooks is updated: networks 2, before 0", PATIENCE).await;
    assert_eq!(client.ask("POST /github HTTP/1.1\nhost: a\ncontent-length: 0\n\n").await.status, 403);
    let metrics = get(running.admin_address().await, "/metrics").await.text();
    assert!(metrics.contains("gatepost_address_set_prefixes{set=\"hooks\"} 2"), "{metrics}");
    assert_eq!(running.insist("TERM", PATIENCE).await, 0);

    drop(publisher);
    let (mut again, address) = home.run().await;
    assert_eq!(until_ready(&mut again, 200).await, "ready\n");
    let mut client = Raw::connect(address).await;
    assert_eq!(client.ask("POST /github HTTP/1.1\nhost: a\ncontent-length: 0\n\n").await.status, 403);
}

#[tokio::test]
async fn why_and_check_tell_what_the_copy_says_and_never_ask_for_the_list() {
    let publisher = Origin::start(Script::ok(DOCUMENT)).await;
    let home = Home::new(&configuration(&publisher.url()));

    let (code, said, _) = home.outcome(GITHUB).await;
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("no known entry lists 192.30.252.9, and hooks was never loaded  gatepost.toml:11"), "{said}");
    assert!(said.contains("refused: addresses_unknown, and the caller sees 503"), "{said}");
    let (code, said, warned) = home.outcome(&["check"]).await;
    assert_eq!((code, &*said), (0, "gatepost.toml is fine: 2 routes, 1 example passed"), "{warned}");
    let lacking =
        "gatepost.toml:13:12: this example of `POST /github` is not judged: the address set hooks was never loaded";
    assert!(warned.contains(lacking), "{warned}");
    assert_eq!(publisher.accepted(), 0);

    let (mut running, _) = home.run().await;
    until_ready(&mut running, 200).await;
    running.insist("TERM", PATIENCE).await;
    let asked = publisher.accepted();
    let (code, said, _) = home.outcome(GITHUB).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("lists 192.30.252.9: hooks (192.30.252.0/22, "), "{said}");
    assert!(said.contains("s old)"), "{said}");
    let (_, said, _) = home.outcome(&[GITHUB, &["--json"]].concat()).await;
    let said: Json = serde_json::from_str(&said).unwrap();
    let rule = &said["decided_by"][0];
    assert_eq!((&rule["name"], &rule["network"]), (&"hooks".into(), &"192.30.252.0/22".into()), "{said}");
    assert!(rule["age_seconds"].is_u64(), "{said}");
    let (code, said, warned) = home.outcome(&["check"]).await;
    assert_eq!((code, &*said), (0, "gatepost.toml is fine: 2 routes, 3 examples passed"), "{warned}");
    assert_eq!(publisher.accepted(), asked);

    // The copy is of this list only.
    home.write("gatepost.toml", &configuration(&publisher.url()).replace("/meta", "/other"));
    let (code, said, warned) = home.outcome(GITHUB).await;
    assert_eq!(code, 3, "{said}");
    assert!(warned.contains("is not used: it is of another list"), "{warned}");
    assert_eq!(fs::read_dir(home.path("gatepost-state/addresses")).unwrap().count(), 1);
}

#[tokio::test]
async fn a_list_that_is_held_is_told_once_with_what_to_do() {
    let publisher = Origin::in_turn(vec![
        Script::ok(r#"{"hooks": ["192.30.252.0/24"]}"#),
        Script::ok(r#"{"hooks": ["192.30.252.0/22"]}"#),
    ])
    .await;
    let home = Home::new(&configuration(&publisher.url()).replace("pick =", "every = \"10s\"\npick ="));
    let (mut running, _) = home.run().await;
    let said = running.wait_for_line("is held", PATIENCE).await;
    assert!(
        said.contains(
            "is held, because it covers 1024 IPv4 addresses where the copy in force covers 256 IPv4 addresses: it grows \
             by more than `grow` allows. The copy in force stays."
        ),
        "{said}"
    );
    assert!(said.contains("delete gatepost-state/addresses/hooks.json"), "{said}");
    home.write("gatepost.toml", &home.read("gatepost.toml").replace("every = \"10s\"", "every = \"10s\"\ngrow = 4"));
    let said = running.wait_for_line("address set hooks is updated: networks 1, before 1; it covers", PATIENCE).await;
    assert!(said.contains("it covers 1024 IPv4 addresses and 0 of IPv6's /64, before 256 IPv4 addresses"), "{said}");
    let held = running.stderr().into_iter().filter(|line| line.contains("is held")).count();
    assert_eq!(held, 1, "{}", running.said());
}
