//! Webhook signatures, as far as it takes a whole process.

use std::fs;

use gatepost_testkit::{Origin, PATIENCE, Raw, Script, eventually};

use crate::home::{Home, get_until};

const SIGNATURE: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

fn configuration(backend: &str, rule: &str) -> String {
    format!(
        "listen = \"127.0.0.1:0\"\n[server]\nadmin = \"off\"\n[route.\"POST /hook\"]\n{rule}\n\
         max_body = \"25MiB\"\nforward = {{ to = \"{backend}\" }}\n"
    )
}

fn home(backend: &str, rule: &str) -> Home {
    let home = Home::new(&configuration(backend, rule));
    home.write("secret", "It's a Secret to Everybody\n");
    home.write("next", "the next secret of all of them\n");
    home
}

#[tokio::test]
async fn a_gateway_that_is_killed_leaves_no_body_behind() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let home = home(&origin.url(), "signed = { github = \"file:secret\" }");
    let (mut running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    let head = format!("POST /hook HTTP/1.1\r\nhost: a\r\nx-hub-signature-256: sha256={SIGNATURE}\r\n");
    client.send(format!("{head}content-length: 20000000\r\n\r\n")).await;
    client.send(vec![b'a'; 10_000_000]).await;

    // It is on the disk, under no name.
    let files = format!("/proc/{}/fd", running.id());
    let is_spooled = |entry: fs::DirEntry| fs::metadata(entry.path()).is_ok_and(|file| file.len() > 1_000_000);
    let spooled = || fs::read_dir(&files).unwrap().flatten().any(is_spooled);
    eventually(PATIENCE, spooled).await;
    let directory = home.path("gatepost-state/spool");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    running.signal("KILL");
    running.wait_exit(PATIENCE).await;
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    assert_eq!(origin.accepted(), 0);
}

#[tokio::test]
async fn a_secret_that_changes_in_its_file_is_the_one_that_counts() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let home = home(&origin.url(), "signed = { github = \"file:secret\" }");
    let (mut running, address) = home.run().await;
    let hook = format!(
        "POST /hook HTTP/1.1\nhost: a\nx-hub-signature-256: sha256={SIGNATURE}\ncontent-length: 13\n\nHello, World!"
    );
    let mut client = Raw::connect(address).await;
    assert_eq!(client.ask(&hook).await.status, 200);
    home.write("secret", "another one, that nobody has signed with");
    running.wait_for_line("INFO reloaded: a file changed", PATIENCE).await;
    assert_eq!(client.ask(&hook).await.status, 401);
    get_until(&mut client, "/hook", |response| response.status == 405).await;
}

#[tokio::test]
async fn a_secret_that_is_short_is_warned_of_and_not_shown() {
    let home = home("http://127.0.0.1:9", "signed = { github = \"file:secret\" }");
    home.write("secret", "hunter2");
    let (code, stdout, stderr) = home.outcome(&["check"]).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("the secret of `POST /hook`, file:secret (7 bytes), is short"), "{stderr}");
    assert!(!(stdout + &stderr).contains("hunter2"));
}

#[tokio::test]
async fn why_says_which_signature_is_asked_for_and_takes_one_that_could_be_good_for_good() {
    let rule = "from = [\"192.0.2.0/24\"]\nsigned = { github = [\"file:secret\", \"file:next\"], replay = \"refuse\" }";
    let home = home("http://127.0.0.1:9", rule);
    let signed = format!("x-hub-signature-256: sha256={SIGNATURE}");
    let mut session = String::new();
    for (from, header) in [
        ("192.0.2.7", signed.as_str()),
        ("192.0.2.7", "x-hub-signature-256: sha1=00"),
        ("192.0.2.7", "content-length: 2"),
        ("203.0.113.9", signed.as_str()),
    ] {
        let (code, stdout, stderr) = home.outcome(&["why", "--from", from, "-H", header, "POST", "/hook"]).await;
        session += &format!("from {from} with {header}\n{stdout}{stderr}=> {code}\n\n");
    }
    insta::assert_snapshot!(session);

    home.write("gatepost.toml", &configuration("http://127.0.0.1:9", "signed = { stripe = \"file:secret\" }"));
    let header = format!("stripe-signature: t=1492774577,v1={SIGNATURE}");
    let (code, stdout, _) =
        home.outcome(&["why", "--from", "192.0.2.7", "-H", &header, "POST", "/hook", "--json"]).await;
    let told: gatepost_testkit::Json = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &told["reason"], &told["status"]), (3, &"signature_bad".into(), &401.into()));
    assert_eq!(told["detail"], "it was signed longer ago than `tolerance`");
    assert_eq!(told["headers"]["www-authenticate"], "Signature realm=\"gatepost\"");
}
