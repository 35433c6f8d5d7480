//! The command line: what it prints, and with which code it ends.

use crate::home::{Home, answering};

/// Two mistakes, in lines 5 and 8.
const BROKEN: &str = r#"listen = "127.0.0.1:0"

[route."GET /a"]
open = true
respnd = { status = 204 }

[route."GET /b"]
from = ["10.0.0.1/8"]
respond = { status = 204 }
"#;

const WITH_EXAMPLES: &str = r#"listen = "127.0.0.1:0"

[server]
admin = "off"

[route."GET /a"]
from    = ["192.0.2.0/24"]
respond = { status = 204 }
example = [
    { from = "192.0.2.7", method = "GET", path = "/a", expect = "admitted" },
    { from = "192.0.3.7", method = "GET", path = "/a", expect = 403 },
]
"#;

#[tokio::test]
async fn check_says_what_it_found_good() {
    let home = Home::new(WITH_EXAMPLES);
    let (code, stdout, stderr) = home.outcome(&["check"]).await;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stdout, "gatepost.toml is fine: 1 route, 2 examples passed");
    assert_eq!(stderr, "");
}

#[tokio::test]
async fn check_takes_nothing_that_a_running_gateway_needs() {
    let home = Home::new(&answering("a"));
    let (_running, _) = home.run().await;
    let (code, _, stderr) = home.outcome(&["check"]).await;
    assert_eq!(code, 0, "{stderr}");
}

#[tokio::test]
async fn check_reports_every_mistake_at_once() {
    let home = Home::new(BROKEN);
    for command in ["check", "run"] {
        let (code, stdout, stderr) = home.outcome(&[command]).await;
        assert_eq!((code, &*stdout), (1, ""), "{stderr}");
        assert!(stderr.contains("gatepost.toml:5:1"), "{stderr}");
        assert!(stderr.contains("gatepost.toml:8:9"), "{stderr}");
        assert!(stderr.contains("10.0.0.0/8"), "{stderr}");
        assert!(stderr.contains("respond"), "{stderr}");
        assert!(stderr.ends_with("mistakes in the configuration"), "{stderr}");
        assert!(!stderr.contains('\u{1b}'), "colour where nobody sees it: {stderr:?}");
    }
}

#[tokio::test]
async fn an_example_that_fails_is_reported_at_its_line_and_nothing_is_served() {
    let home = Home::new(&WITH_EXAMPLES.replace("192.0.3.7", "192.0.2.9"));
    for command in ["check", "run"] {
        let (code, stdout, stderr) = home.outcome(&[command]).await;
        assert_eq!((code, &*stdout), (1, ""), "{stderr}");
        assert!(stderr.contains("gatepost.toml:11:5"), "{stderr}");
        assert!(stderr.contains("should be refused with 403, but it is admitted"), "{stderr}");
        assert!(stderr.ends_with("1 mistake in the configuration"), "{stderr}");
    }
}

#[tokio::test]
async fn the_file_is_named_by_an_option_or_by_its_place_or_not_at_all() {
    let home = Home::new(&answering("a"));
    home.write("other/other.toml", BROKEN);
    for arguments in [
        &["check", "other/other.toml"][..],
        &["check", "--config", "other/other.toml"],
        &["--config", "other/other.toml", "check"],
        &["--config=other/other.toml", "run"],
        &["run", "other/other.toml"],
    ] {
        let (code, _, stderr) = home.outcome(arguments).await;
        assert_eq!(code, 1, "{arguments:?}: {stderr}");
        assert!(stderr.contains("other/other.toml:5:1"), "{arguments:?}: {stderr}");
    }
    let (code, stdout, _) = home.outcome(&["check"]).await;
    assert_eq!(code, 0);
    assert!(stdout.starts_with("gatepost.toml is fine"), "{stdout}");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() {
    let home = Home::empty();
    for (arguments, name) in [
        (&["run"][..], "gatepost.toml"),
        (&["check"], "gatepost.toml"),
        (&["run", "some/where.toml"], "some/where.toml"),
        (&["check", "--config", "some/where.toml"], "some/where.toml"),
    ] {
        let (code, stdout, stderr) = home.outcome(arguments).await;
        assert_eq!((code, &*stdout), (1, ""), "{arguments:?}");
        assert!(stderr.contains(&format!("cannot read {name}: No such file or directory")), "{stderr}");
    }
}

#[tokio::test]
async fn what_is_no_text_is_refused_in_words() {
    let home = Home::empty();
    std::fs::write(home.path("gatepost.toml"), b"listen = \"\xff\xfe\"").unwrap();
    let (code, _, stderr) = home.outcome(&["check"]).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("UTF-8"), "{stderr}");
    let (code, _, stderr) = home.outcome(&["check", "."]).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("cannot read .: Is a directory"), "{stderr}");
}

#[tokio::test]
async fn a_secret_that_cannot_be_had_is_reported_where_it_is_named() {
    let with =
        |token: &str| answering("a").replace("admin = \"off\"", &format!("admin = \"off\"\nadmin_token = {token}"));
    for (token, told) in [
        ("\"file:no-such.token\"", "no-such.token"),
        ("\"env:GATEPOST_TEST_UNSET\"", "GATEPOST_TEST_UNSET"),
        ("\"file:empty.token\"", "is empty"),
    ] {
        let home = Home::new(&with(token));
        home.write("empty.token", "\n");
        for command in ["check", "run"] {
            let (code, _, stderr) = home.outcome(&[command]).await;
            assert_eq!(code, 1, "{token}: {stderr}");
            assert!(stderr.contains("gatepost.toml:6:15"), "{stderr}");
            assert!(stderr.contains(told), "{stderr}");
        }
    }
}

#[tokio::test]
async fn wrong_usage_is_2_and_says_what_would_be_right() {
    let home = Home::new(&answering("a"));
    for arguments in [
        &[][..],
        &["serve"],
        &["run", "--port", "80"],
        &["run", "a.toml", "b.toml"],
        &["check", "gatepost.toml", "--config", "gatepost.toml"],
        &["completions"],
        &["completions", "cmd"],
        &["demo-backend", "--listen", "9000"],
    ] {
        let (code, stdout, stderr) = home.outcome(arguments).await;
        assert_eq!((code, &*stdout), (2, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains("Usage: gatepost") || stderr.contains("try '--help'"), "{arguments:?}: {stderr}");
    }
}

#[tokio::test]
async fn a_configuration_is_named_only_to_a_command_that_reads_one() {
    let home = Home::new(&answering("a"));
    for command in [&["schema"][..], &["demo"], &["completions", "bash"], &["demo-backend", "--listen", "127.0.0.1:0"]]
    {
        for arguments in [[command, &["--config", "gatepost.toml"]].concat(), [&["--config", "x"], command].concat()] {
            let (code, stdout, stderr) = home.outcome(&arguments).await;
            assert_eq!((code, &*stdout), (2, ""), "{arguments:?}: {stderr}");
            assert!(stderr.contains("--config"), "{arguments:?}: {stderr}");
        }
    }
}

const COMMANDS: [&str; 10] =
    ["run", "check", "why", "diff", "replay", "policy", "schema", "completions", "demo", "demo-backend"];

#[tokio::test]
async fn help_names_every_command_and_exit_code() {
    let home = Home::empty();
    let (code, help, stderr) = home.outcome(&["--help"]).await;
    assert_eq!((code, &*stderr), (0, ""));
    for word in COMMANDS.iter().chain(&["--config", "--version"]) {
        assert!(help.contains(word), "{word} is missing:\n{help}");
    }
    for meaning in ["0 done", "1 the configuration or input is wrong", "2 usage", "3 refused", "4 could not run"] {
        assert!(help.contains(meaning), "{meaning:?} is missing:\n{help}");
    }
    for command in COMMANDS {
        let (code, help, _) = home.outcome(&[command, "--help"]).await;
        assert_eq!(code, 0, "{command}");
        assert!(help.contains(&format!("Usage: gatepost {command}")), "{help}");
    }
    let (code, version, _) = home.outcome(&["--version"]).await;
    assert_eq!((code, version), (0, format!("gatepost {}", env!("CARGO_PKG_VERSION"))));
}

#[tokio::test]
async fn completions_know_every_command() {
    let home = Home::empty();
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, stderr) = home.outcome(&["completions", shell]).await;
        assert_eq!((code, &*stderr), (0, ""));
        for word in COMMANDS.iter().chain(&["gatepost", "listener", "simulate", "config"]) {
            assert!(script.contains(word), "{shell}: {word} is missing");
        }
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_failure() {
    let home = Home::empty();
    let mut shell = std::process::Command::new("bash");
    shell.args(["-c", "set -o pipefail; \"$0\" schema | head -c 1 > first"]).arg(crate::home::GATEPOST);
    let mut process = home.start(shell);
    let code = process.wait_exit(gatepost_testkit::PATIENCE).await;
    assert_eq!((code, home.read("first")), (0, "{".to_owned()), "{}", process.said());
}
