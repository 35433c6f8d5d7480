//! The access log, and what must never be in it or in anything else that is said.

use std::fs;

use gatepost_testkit::{Json, Origin, PATIENCE, Process, Raw, Script, eventually};

use crate::home::{Home, answering, forwarding, get};

#[tokio::test]
async fn every_line_is_json_with_the_promised_keys() {
    let origin = Origin::start(Script::echo()).await;
    let text = forwarding(&origin.url(), "admin = \"off\"")
        + "[route.\"GET /closed\"]\nfrom = [\"192.0.2.1\"]\nrespond = { status = 204 }\n";
    let home = Home::new(&text);
    let (mut running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    assert_eq!(client.ask("PUT /a?b=c HTTP/1.1\nhost: Example.com\ncontent-length: 3\n\nabc").await.text(), "abc");
    let refused = client.get("/closed").await;
    assert_eq!(refused.status, 403);
    assert_eq!(client.get("/").await.status, 404);
    client.send("what is this\r\n\r\n").await;
    assert_eq!(client.response().await.status, 400);

    let lines = logged(&mut running, 4).await;
    let keys = ["time", "id", "listener", "client", "client_from", "verdict", "total_ms"];
    for line in &lines {
        for key in ["host", "path"] {
            assert_eq!(line.get(key).is_some(), line.get("method").is_some(), "{key} goes with a method: {line}");
        }
        for key in keys.iter().chain(&["status", "bytes_in", "bytes_out"]) {
            assert!(line.get(key).is_some(), "{key} is missing: {line}");
        }
        assert_eq!(line["listener"], "default", "{line}");
        assert_eq!(line["client"], "127.0.0.1", "{line}");
        assert_eq!(line["client_from"], "socket", "{line}");
        assert_eq!(line["id"].as_str().unwrap().len(), 16, "{line}");
        let time = line["time"].as_str().unwrap();
        assert!(time.len() == "2026-01-01T00:00:00.000Z".len() && time.ends_with('Z'), "{line}");
        assert!(line["total_ms"].as_f64().unwrap() >= 0.0, "{line}");
    }

    let [admitted, closed, lost, nonsense] = &lines[..] else { panic!("{lines:#?}") };
    for (key, value) in [
        ("method", "PUT"),
        ("host", "example.com"),
        ("path", "/a"),
        ("api", "default"),
        ("route", "ANY /{rest+}"),
        ("verdict", "admitted"),
        ("upstream", &*origin.address().to_string()),
    ] {
        assert_eq!(admitted[key], value, "{key}: {admitted}");
    }
    assert_eq!(
        (&admitted["status"], &admitted["bytes_in"], &admitted["bytes_out"]),
        (&200.into(), &3.into(), &3.into())
    );
    assert!(admitted["upstream_ms"].as_f64().unwrap() <= admitted["total_ms"].as_f64().unwrap(), "{admitted}");
    assert!(admitted.get("reason").is_none(), "{admitted}");

    assert_eq!(closed["verdict"], "refused");
    assert_eq!(closed["reason"], "address_not_listed");
    assert_eq!(closed["route"], "GET /closed");
    assert_eq!(closed["id"], refused.header("x-gatepost-decision").unwrap(), "{closed}");
    assert_eq!((&lost["reason"], &lost["status"]), (&"no_route".into(), &404.into()));
    assert!(lost.get("route").is_none(), "{lost}");
    assert_eq!((&nonsense["reason"], &nonsense["status"]), (&"malformed".into(), &400.into()));
}

#[tokio::test]
async fn a_line_stays_a_line_whatever_is_asked_for() {
    let home = Home::new(&answering("a"));
    let (mut running, address) = home.run().await;
    for target in ["/a%0a%0d%22%5C", "/\u{e9}\u{2028}", "/%7B%22status%22:500%7D", "/a\"b"] {
        let mut client = Raw::connect(address).await;
        client.send(format!("GET {target} HTTP/1.1\r\nhost: a\r\nuser-agent: \"\\\u{1}\r\n\r\n")).await;
        // Some of these are no HTTP at all.
        let _ = client.try_response().await;
    }
    logged(&mut running, 4).await;
}

#[tokio::test]
async fn everything_that_was_answered_is_logged_by_the_end() {
    const REQUESTS: usize = 500;
    let home = Home::new(&(answering("a") + "[log]\naccess = \"file:access.log\"\n"));
    let (mut running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    for _ in 0..REQUESTS {
        client.get("/a").await;
    }
    running.signal("TERM");
    assert_eq!(running.wait_exit(PATIENCE).await, 0);
    let lines = parsed(home.read("access.log").lines());
    assert_eq!(lines.len(), REQUESTS);
    let ids: std::collections::HashSet<&str> = lines.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), REQUESTS);
    assert_eq!(running.stdout(), [""; 0]);
}

#[tokio::test]
async fn a_log_that_was_moved_away_is_begun_anew_on_a_hangup() {
    let home = Home::new(&(answering("a") + "[log]\naccess = \"file:access.log\"\n"));
    let (mut running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    client.get("/one").await;
    eventually(PATIENCE, || home.read("access.log").lines().count() == 1).await;

    fs::rename(home.path("access.log"), home.path("access.log.1")).unwrap();
    client.get("/two").await;
    eventually(PATIENCE, || home.read("access.log.1").lines().count() == 2).await;

    running.signal("HUP");
    running.wait_for_line("INFO reloaded", PATIENCE).await;
    client.get("/three").await;
    eventually(PATIENCE, || home.read("access.log").lines().count() == 1).await;
    assert!(home.read("access.log").contains("/three"));
    assert_eq!(home.read("access.log.1").lines().count(), 2);
    parsed(home.read("access.log.1").lines());
}

#[tokio::test]
async fn a_reload_moves_the_log_from_standard_output_to_a_file_and_off() {
    let home = Home::new(&answering("a"));
    let (mut running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    client.get("/one").await;
    logged(&mut running, 1).await;

    home.replace("gatepost.toml", &(answering("a") + "[log]\naccess = \"file:access.log\"\n"));
    running.wait_for_lines("INFO reloaded", 1, PATIENCE).await;
    client.get("/two").await;
    eventually(PATIENCE, || home.read("access.log").contains("/two")).await;

    home.replace("gatepost.toml", &(answering("a") + "[log]\naccess = \"off\"\n"));
    running.wait_for_lines("INFO reloaded", 2, PATIENCE).await;
    client.get("/three").await;
    running.signal("TERM");
    assert_eq!(running.wait_exit(PATIENCE).await, 0);
    assert_eq!(home.read("access.log").lines().count(), 1);
    assert_eq!(running.stdout().len(), 1, "{}", running.said());
}

#[tokio::test]
async fn a_log_that_cannot_be_opened_rejects_the_reload() {
    let home = Home::new(&answering("old"));
    let (mut running, address) = home.run().await;
    home.write("gatepost.toml", &(answering("new") + "[log]\naccess = \"file:no/such/access.log\"\n"));
    let line = running.wait_for_line("not reloaded", PATIENCE).await;
    assert!(line.contains("no/such/access.log"), "{line}");
    assert_eq!(get(address, "/a").await.text(), "old");
    logged(&mut running, 1).await;
}

#[tokio::test]
async fn a_standard_output_that_nobody_reads_any_more_stops_nothing() {
    let home = Home::new(&answering("a"));
    let mut shell = std::process::Command::new("bash");
    shell.args(["-c", "exec 3> >(true); wait $!; exec \"$0\" run >&3", crate::home::GATEPOST]);
    let mut running = home.start(shell);
    let address = running.address().await;
    assert_eq!(get(address, "/a").await.text(), "a");
    running.wait_for_line("the access log cannot be written", PATIENCE).await;
    for _ in 0..3 {
        assert_eq!(get(address, "/a").await.text(), "a");
    }
    running.signal("TERM");
    assert_eq!(running.wait_exit(PATIENCE).await, 0, "{}", running.said());
}

#[tokio::test]
async fn secrets_are_in_nothing_that_is_said() {
    const IN_A_FILE: &str = "hunter2-from-a-file";
    const IN_THE_ENVIRONMENT: &str = "hunter2-from-the-environment";
    let with = |token: &str| answering("a").replace("\"off\"", &format!("\"127.0.0.1:0\"\nadmin_token = \"{token}\""));
    for token in ["file:admin.token", "env:GATEPOST_TEST_TOKEN"] {
        let home = Home::new(&with(token));
        home.write("admin.token", IN_A_FILE);
        for arguments in [&["check"][..], &["run"]] {
            let mut command = home.command(arguments);
            command.current_dir(home.directory()).env("GATEPOST_LOG", "trace");
            command.env("GATEPOST_TEST_TOKEN", IN_THE_ENVIRONMENT);
            let mut process = Process::spawn(command);
            if arguments == ["run"] {
                let admin = process.admin_address().await;
                let address = process.address().await;
                get(address, "/a").await;
                let request = format!("GET /metrics HTTP/1.1\nhost: a\nauthorization: Bearer {IN_A_FILE}\n\n");
                Raw::connect(admin).await.ask(&request).await;
                let metrics = get(admin, "/metrics").await.text();
                assert!(!metrics.contains("hunter2"), "{metrics}");
                home.write("gatepost.toml", &(with(token) + "nonsense"));
                process.wait_for_line("not reloaded", PATIENCE).await;
                home.write("gatepost.toml", &with("file:admin.token"));
                process.wait_for_line("INFO reloaded", PATIENCE).await;
                process.signal("TERM");
            }
            assert_eq!(process.wait_exit(PATIENCE).await, 0, "{}", process.said());
            assert!(!process.said().contains("hunter2"), "{}", process.said());
        }
    }
}

#[tokio::test]
async fn a_secret_written_where_its_source_belongs_is_not_repeated() {
    let text = answering("a").replace("\"off\"", "\"127.0.0.1:0\"\nadmin_token = \"hunter2\"");
    let home = Home::new(&text);
    for command in ["check", "run"] {
        let (code, stdout, stderr) = home.outcome(&[command]).await;
        assert_eq!(code, 1);
        assert!(stderr.contains("gatepost.toml:6:15"), "{stderr}");
        assert!(!stderr.contains("hunter2") && !stdout.contains("hunter2"), "{stderr}");
    }
}

/// Waits for so many lines on standard output, and reads them.
async fn logged(running: &mut Process, count: usize) -> Vec<Json> {
    running.wait_for_lines("\"verdict\"", count, PATIENCE).await;
    let lines = running.stdout();
    assert_eq!(lines.len(), count, "{}", running.said());
    parsed(lines.iter().map(String::as_str))
}

fn parsed<'l>(lines: impl Iterator<Item = &'l str>) -> Vec<Json> {
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}
