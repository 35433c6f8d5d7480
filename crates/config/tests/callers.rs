//! Callers and plans, where a golden file does not reach.

use std::fmt::Write as _;
use std::fs;

use gatepost_config::{Report, load, load_text};

/// A caller of this name with a key of this number.
fn caller(name: &str, key: usize) -> String {
    format!("[caller.{name}]\nkeys = [\"sha256:{key:064x}\"]\n\n")
}

const FOR_EVERYONE: &str = "[route.\"GET /\"]\ncallers = \"any\"\nrespond = {}\n\n";

fn messages(report: &Report) -> Vec<&str> {
    report.diagnostics().iter().map(gatepost_config::Diagnostic::message).collect()
}

#[test]
fn a_name_or_a_key_in_two_files_is_an_error_that_names_both() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gatepost.toml");
    fs::write(&path, format!("include = [\"callers/*.toml\"]\n{FOR_EVERYONE}")).unwrap();
    fs::create_dir(directory.path().join("callers")).unwrap();
    fs::write(directory.path().join("callers/a.toml"), caller("one", 1) + &caller("two", 2)).unwrap();
    fs::write(directory.path().join("callers/b.toml"), caller("one", 3) + &caller("three", 2)).unwrap();
    let report = load(&path).unwrap_err();
    assert_eq!(messages(&report), ["the caller `one` is defined twice", "this API key is there already"]);
    let shown = report.render(false);
    assert!(shown.contains("a.toml:1:9") && shown.contains("b.toml:1:9"), "{shown}");
    assert!(shown.contains("a.toml:5:9") && shown.contains("b.toml:5:9"), "{shown}");
}

#[test]
fn callers_of_a_route_sign_with_eight_secrets_at_most() {
    let directory = tempfile::tempdir().unwrap();
    let mut text = FOR_EVERYONE.to_owned();
    for number in 0..8 {
        fs::write(directory.path().join(format!("{number}.txt")), format!("secret {number}")).unwrap();
        writeln!(text, "[caller.c{number}]\nsigned = {{ github = \"file:{number}.txt\" }}").unwrap();
    }
    load_text("gatepost.toml", &text, directory.path()).unwrap();
    fs::write(directory.path().join("8.txt"), "secret 8").unwrap();
    text += "[caller.c8]\nsigned = { github = \"file:8.txt\" }\n";
    let report = load_text("gatepost.toml", &text, directory.path()).unwrap_err();
    assert_eq!(messages(&report), ["the callers that may enter sign with more than 8 secrets"]);
    // Who must give another proof besides, and has none, does not count.
    text = text.replace("callers = \"any\"", "callers = \"any\"\nproof = [\"key\"]");
    text += &caller("key", 1);
    let report = load_text("gatepost.toml", &text, directory.path()).unwrap_err();
    assert_eq!(messages(&report), vec!["no route lets this caller in"; 9]);
}

#[test]
fn a_secret_of_a_caller_is_watched_and_shown_nowhere() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("secret.txt"), "hunter2\n").unwrap();
    let key = "{ access_key = \"AKIAIOSFODNN7EXAMPLE\", secret = \"file:secret.txt\" }";
    let text = format!("{FOR_EVERYONE}[caller.acme]\nsigv4 = [{key}]\n");
    let loaded = load_text("gatepost.toml", &text, directory.path()).unwrap();
    assert_eq!(loaded.model.callers[0].access_keys[0].secret.reveal(), b"hunter2");
    assert!(loaded.files.paths().any(|path| path.ends_with("secret.txt")));
    assert!(!format!("{:?}", loaded.model).contains("hunter2"));
}

#[test]
fn policies_may_speak_of_callers_where_some_are_known() {
    let directory = tempfile::tempdir().unwrap();
    let policy = r#"{"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": "*", "Action": "execute-api:Invoke",
        "Resource": "execute-api:/*/GET/${aws:username}/*",
        "Condition": {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}
    }]}"#;
    fs::write(directory.path().join("policy.json"), policy).unwrap();
    let doubts = |compat: &str, who: &str| {
        let keys = "{ access_key = \"AKIAIOSFODNN7EXAMPLE\", secret = \"file:policy.json\" }";
        let text = format!(
            "[api.a]\npolicy = \"file:policy.json\"\n{compat}\n[api.a.route.\"GET /x\"]\n{who}\nrespond = {{}}\n\
             [api.b.route.\"GET /\"]\ncallers = \"any\"\nrespond = {{}}\n[api.b]\nbase = \"/b\"\n\
             [caller.acme]\nsigv4 = [{keys}]\n{}",
            caller("hooli", 1)
        );
        let loaded = load_text("gatepost.toml", &text, directory.path()).unwrap();
        loaded.model.doubtful_policies().join("\n")
    };
    assert!(doubts("", "").contains("aws:username"), "nobody is asked who they are");
    assert_eq!(doubts("", "callers = [\"acme\"]"), "");
    let compat = "compat = \"aws-rest\"";
    assert!(doubts(compat, "callers = \"any\"").contains("restricts nobody"), "an identity policy may allow alone");
    assert!(doubts(compat, "callers = [\"hooli\"]").contains("aws:username"), "a key is no identity there");
}
