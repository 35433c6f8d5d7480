//! `gatepost why --live` and `--decision`: what the running gateway says.

use gatepost_testkit::{Json, PATIENCE, Raw};

use crate::decisions::Running;
use crate::home::{Home, free_address, get};

const CONFIGURATION: &str = r#"
listen = "127.0.0.1:0"

[server]
admin = "ADMIN"

[route."GET /few"]
open     = true
throttle = [{ rate = "1/d", burst = 5 }, { rate = "1/h", burst = 2, by = "client" }]
respond  = {}

[route."GET /office"]
from    = ["127.0.0.2"]
respond = {}
"#;

fn configuration(admin: &str) -> String {
    CONFIGURATION.replace("ADMIN", admin)
}

#[tokio::test]
async fn live_is_what_the_next_request_meets_and_takes_nothing() {
    let home = Home::new(&configuration("127.0.0.1:0"));
    let running = Running::start(&home).await;
    let admin = format!("http://{}", running.admin);
    // One client's bucket, then another's, then the one that all share; each is asked about before each request.
    for (from, status) in [(1, 200), (1, 200), (1, 429), (2, 200), (2, 200), (2, 429), (3, 200), (4, 429)] {
        let from = format!("127.0.0.{from}");
        let asked = ["why", "--live", "--json", "--admin", &admin, "--from", &from, "GET", "/few"];
        let mut said = Vec::new();
        for _ in 0..3 {
            let (code, stdout, stderr) = home.outcome(&asked).await;
            assert_eq!(code, if status == 200 { 0 } else { 3 }, "{from}: {stdout}{stderr}");
            let told: Json = serde_json::from_str(&stdout).unwrap();
            assert_eq!(told["snapshot"]["version"], 1);
            said.push(told["steps"].clone());
        }
        assert!(said.iter().all(|steps| *steps == said[0]), "{said:#?}");
        let response = Raw::connect_from(from.parse().unwrap(), running.address).await.get("/few").await;
        assert_eq!(response.status, status, "{from}");
        if status != 200 {
            let decision = running.decision(&response).await;
            let without_host = |steps: &Json| {
                let steps = steps.as_array().unwrap().clone();
                steps.into_iter().filter(|step| step["step"] != "request").collect::<Vec<_>>()
            };
            assert_eq!(without_host(&decision["steps"]), without_host(&said[0]));
        }
    }
}

#[tokio::test]
async fn a_quota_that_was_not_asked_for_yet_is_not_taken_for_a_full_one() {
    let caller = "[plan.small]\nquota = { limit = 9, per = \"day\" }\n\n[caller.acme]\nplan = \"small\"\n";
    let key = format!("keys = [\"sha256:{}\"]\n\n", "a".repeat(64));
    let route = "[route.\"GET /few\"]";
    let configuration = configuration("127.0.0.1:0").replace(route, &format!("{caller}{key}{route}"));
    let home = Home::new(&configuration.replacen("open     = true", "callers  = [\"acme\"]", 1));
    let running = Running::start(&home).await;
    let admin = format!("http://{}", running.admin);
    let question = ["--caller", "acme", "--from", "127.0.0.1", "GET", "/few"];
    let (_, stdout, stderr) = home.outcome(&[&["why"], &question[..]].concat()).await;
    assert!(stdout.contains("9 a day: taken to be unused"), "{stdout}{stderr}");
    let live = ["why", "--live", "--admin", &admin];
    let (_, stdout, stderr) = home.outcome(&[&live, &question[..]].concat()).await;
    let said = "not asked for in this window since the gateway started; `gatepost usage` tells what was used before";
    assert!(stdout.contains(said), "{stdout}{stderr}");
}

#[tokio::test]
async fn where_any_proof_will_do_the_detail_does_not_ask_for_all() {
    let key = format!("[caller.acme]\nkeys = [\"sha256:{}\"]\n", "a".repeat(64));
    let signs = "sigv4 = [{ access_key = \"AKIAIOSFODNN7EXAMPLE\", secret = \"file:acme.secret\" }]\n\n";
    let route = "[route.\"GET /few\"]";
    let configuration = configuration("off").replace(route, &format!("{key}{signs}{route}"));
    let home = Home::new(&configuration.replacen("open     = true", "callers  = \"any\"", 1));
    home.write("acme.secret", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    let (_, stdout, stderr) = home.outcome(&["why", "--json", "--from", "127.0.0.1", "GET", "/few"]).await;
    let told: Json = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    assert_eq!(told["detail"], "it has none of sigv4, key");
}

#[tokio::test]
async fn the_address_and_the_token_are_those_of_the_file() {
    let address = free_address().to_string();
    for (admin, said) in [(&*address, "admin on http"), ("unix:admin.sock", "admin on unix")] {
        let token = "ADMIN\"\nadmin_token = \"file:admin.token";
        let home = Home::new(&CONFIGURATION.replace("ADMIN", token).replace("ADMIN", admin));
        home.write("admin.token", "secret\n");
        let (mut process, listens) = home.run().await;
        process.wait_for_line(said, PATIENCE).await;
        let (code, stdout, stderr) = home.outcome(&["why", "--live", "--from", "127.0.0.1", "GET", "/office"]).await;
        assert_eq!(code, 3, "{stderr}");
        let lines: Vec<&str> = stdout.lines().collect();
        assert!(lines[5].starts_with("refuse  from      no entry lists 127.0.0.1"), "{stdout}");
        assert!(lines[7].starts_with("refused: address_not_listed, and the caller sees 403"), "{stdout}");
        assert!(lines[8].starts_with("by snapshot 1 of the running gateway, "), "{stdout}");

        let response = get(listens, "/office").await;
        let id = response.header("x-gatepost-decision").unwrap();
        let (code, stdout, stderr) = home.outcome(&["why", "--decision", id]).await;
        assert_eq!(code, 3, "{stderr}");
        assert!(stdout.contains("refuse  from      no entry lists 127.0.0.1"), "{stdout}");
        let (code, stdout, _) = home.outcome(&["why", "--decision", id, "--json"]).await;
        let told: Json = serde_json::from_str(&stdout).unwrap();
        assert_eq!((code, &told["id"], &told["request"]["path"]), (3, &id.into(), &"/office".into()));

        let place = if admin.starts_with("unix") { admin.to_owned() } else { format!("http://{admin}") };
        let asked = ["why", "--decision", id, "--admin", &place];
        assert_eq!(home.outcome(&asked).await.0, 4, "without the token");
        let (code, _, stderr) = home.outcome(&[&asked[..], &["--admin-token", "file:admin.token"]].concat()).await;
        assert_eq!(code, 3, "{stderr}");
    }
}

#[tokio::test]
async fn a_gateway_that_cannot_be_asked_and_a_question_without_sense_have_codes_of_their_own() {
    let nobody = free_address().to_string();
    let home = Home::new(&configuration(&nobody));
    let question = ["--from", "127.0.0.1", "GET", "/few"];
    let (code, _, stderr) = home.outcome(&[&["why", "--live"], &question[..]].concat()).await;
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains(&format!("cannot ask the gateway at http://{nobody}")), "{stderr}");
    assert!(stderr.contains("is it running?"), "{stderr}");
    let missing = ["why", "--live", "--admin", "unix:none.sock"];
    assert_eq!(home.outcome(&[&missing, &question[..]].concat()).await.0, 4);

    let home = Home::new(&configuration("127.0.0.1:0"));
    let running = Running::start(&home).await;
    let admin = format!("http://{}", running.admin);
    for (asked, said) in [
        (&["why", "--live", "--from", "127.0.0.1", "GET", "/few"][..], "say where it is with `--admin`"),
        (&["why", "--admin", &admin, "--from", "127.0.0.1", "GET", "/few"], "`--admin` is where"),
        (
            &["why", "--live", "--admin", &admin, "--listener", "x", "--from", "127.0.0.1", "GET", "/"],
            "no listener `x`",
        ),
        (&["why", "--decision", "0123456789abcdef", "--admin", &admin], "no decision on record has this id"),
        (&["why", "--decision", "../x", "--admin", &admin], "is no id"),
        (&["why", "--decision", "0123456789abcdef", "--live"], "cannot be used with"),
    ] {
        let (code, _, stderr) = home.outcome(asked).await;
        assert_eq!(code, 2, "{asked:?}: {stderr}");
        assert!(stderr.contains(said), "{asked:?}: {stderr}");
    }
}
