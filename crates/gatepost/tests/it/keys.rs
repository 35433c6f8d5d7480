//! `gatepost key`: keys are made, written into the file, listed and revoked, and nothing else in the file changes.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use gatepost_testkit::{Json, PATIENCE, Process};

use crate::home::{GATEPOST, Home, answering};

/// With a comment in every place, blanks that nobody needs, and an order of its own.
pub(crate) const CONFIGURATION: &str = r#"# Our gateway.
listen = "127.0.0.1:0"   # anywhere

[server]
admin = "127.0.0.1:0"

[caller.acme]   # since 2024
keys   =   [
  # the first
  "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",   # Jane's
  # and that is all
]
from = ["127.0.0.0/8"] # here


[caller.bolt]
keys = ["sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"]

[route."GET /orders"]
callers = ["acme", "bolt"]
respond = { body = "orders" }

# The end.
"#;

const JANES: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// A key that was made, and its line.
pub(crate) struct Made {
    pub(crate) key: String,
    pub(crate) line: String,
}

impl Made {
    pub(crate) fn read(stdout: &str) -> Self {
        let (key, line) = stdout.split_once('\n').unwrap_or_else(|| panic!("no two lines: {stdout:?}"));
        assert!(key.starts_with("gp_") && key.len() == 41, "{key}");
        assert!(line.starts_with("\"sha256:") && !line.contains('\n'), "{line}");
        Self { key: key.to_owned(), line: line.to_owned() }
    }

    pub(crate) fn hash(&self) -> &str {
        self.line.split('"').nth(1).unwrap()
    }
}

/// Makes a key and writes it.
pub(crate) async fn write(home: &Home, arguments: &[&str]) -> (Made, String) {
    let (code, stdout, stderr) = home.outcome(&[&["key", "new", "acme", "--write"], arguments].concat()).await;
    assert_eq!(code, 0, "{stderr}");
    (Made::read(&stdout), stderr)
}

/// Runs `gatepost` here with this on its standard input: its exit code and what it said.
pub(crate) async fn with_input(home: &Home, arguments: &[&str], input: &str) -> (i32, String) {
    let mut command = Command::new(GATEPOST);
    command.current_dir(home.directory()).args(arguments).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn a_key_is_shown_once_and_needs_no_configuration() {
    let home = Home::empty();
    let (code, stdout, stderr) = home.outcome(&["key", "new", "acme"]).await;
    assert_eq!(code, 0, "{stderr}");
    let made = Made::read(&stdout);
    assert!(!stderr.contains(&made.key));
    let (_, stdout, _) = home.outcome(&["key", "new", "acme", "--comment", "Jane's laptop"]).await;
    let other = Made::read(&stdout);
    assert_ne!(made.key, other.key);
    assert!(other.line.ends_with("\", # Jane's laptop"), "{}", other.line);
    for wrong in [&["key", "new", "Acme"][..], &["key", "new", "any"], &["key", "new", "a", "--comment", "two\nlines"]]
    {
        assert_eq!(home.outcome(wrong).await.0, 2, "{wrong:?}");
    }
    assert_eq!(fs::read_dir(home.directory()).unwrap().count(), 0);
}

#[tokio::test]
async fn writing_a_key_changes_one_line_and_no_other_byte() {
    let home = Home::new(CONFIGURATION);
    let (made, stderr) = write(&home, &["--no-wait"]).await;
    assert!(stderr.contains("gatepost.toml") && !stderr.contains(&made.key), "{stderr}");
    let janes = format!("  \"{JANES}\",   # Jane's\n");
    let after = CONFIGURATION.replace(&janes, &format!("{janes}  {},\n", made.line));
    assert_eq!(home.read("gatepost.toml"), after);
    let (other, _) = write(&home, &["--no-wait", "--comment", "Bob's phone"]).await;
    let first = format!("  {},\n", made.line);
    assert_eq!(home.read("gatepost.toml"), after.replace(&first, &format!("{first}  {}\n", other.line)));
    assert_eq!(home.outcome(&["check"]).await.0, 0);
    for name in fs::read_dir(home.directory()).unwrap() {
        let text = fs::read_to_string(name.unwrap().path()).unwrap();
        assert!(!text.contains(&made.key) && !text.contains(&other.key), "a key is stored");
    }
}

#[tokio::test]
async fn a_file_keeps_its_line_endings_its_mode_and_the_links_to_it() {
    let home = Home::empty();
    let windows = CONFIGURATION.replace('\n', "\r\n");
    home.write("real/gatepost.toml", &windows);
    home.link("gatepost.toml", "real/gatepost.toml");
    fs::set_permissions(home.path("real/gatepost.toml"), fs::Permissions::from_mode(0o640)).unwrap();
    let (made, _) = write(&home, &["--no-wait"]).await;
    let janes = format!("  \"{JANES}\",   # Jane's\r\n");
    let after = windows.replace(&janes, &format!("{janes}  {},\r\n", made.line));
    assert_eq!(home.read("real/gatepost.toml"), after);
    assert!(fs::symlink_metadata(home.path("gatepost.toml")).unwrap().is_symlink());
    let mode = fs::metadata(home.path("real/gatepost.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
    assert_eq!(fs::read_dir(home.path("real")).unwrap().count(), 1);
}

#[tokio::test]
async fn the_file_that_has_the_caller_is_written_and_no_other() {
    let home = Home::empty();
    let (head, callers) = CONFIGURATION.split_once("[caller.acme]").unwrap();
    let (callers, routes) = callers.split_once("[route.").unwrap();
    let main = format!("include = [\"callers/*\"]\n{head}[route.{routes}");
    let callers = format!("[caller.acme]{callers}");
    home.write("gatepost.toml", &main);
    home.write("callers/ours.toml", &callers);
    let (made, stderr) = write(&home, &["--no-wait"]).await;
    assert!(stderr.contains("callers/ours.toml"), "{stderr}");
    assert_eq!(home.read("gatepost.toml"), main);
    let janes = format!("  \"{JANES}\",   # Jane's\n");
    assert_eq!(home.read("callers/ours.toml"), callers.replace(&janes, &format!("{janes}  {},\n", made.line)));
}

#[tokio::test]
async fn nothing_is_written_into_what_would_not_load() {
    let home = Home::new(CONFIGURATION);
    for (broken, code, said) in [
        (
            CONFIGURATION.replace("[caller.acme]", "[caller.acme-old]").replace("\"acme\",", "\"acme-old\","),
            2,
            "caller `acme`",
        ),
        (CONFIGURATION.replace("respond", "respnd"), 1, "respnd"),
        (CONFIGURATION.replace("# The end.", "[["), 1, "gatepost.toml"),
    ] {
        home.write("gatepost.toml", &broken);
        let (ended, stdout, stderr) = home.outcome(&["key", "new", "acme", "--write"]).await;
        assert_eq!((ended, &*stdout), (code, ""), "{stderr}");
        assert!(stderr.contains(said), "{said}: {stderr}");
        assert_eq!(home.read("gatepost.toml"), broken);
    }
}

#[tokio::test]
async fn what_others_change_meanwhile_is_not_lost() {
    let home = Home::new(CONFIGURATION);
    let others = CONFIGURATION.replace("# The end.", "# The end, they said.");
    let file = File::open(home.path("gatepost.toml")).unwrap();
    file.lock().unwrap();
    let mut writer = home.gatepost(&["key", "new", "acme", "--write", "--no-wait"]);
    home.replace("gatepost.toml", &others);
    drop(file);
    assert_eq!(writer.wait_exit(PATIENCE).await, 0, "{}", writer.said());
    let made = Made::read(&writer.stdout().join("\n"));
    let janes = format!("  \"{JANES}\",   # Jane's\n");
    assert_eq!(home.read("gatepost.toml"), others.replace(&janes, &format!("{janes}  {},\n", made.line)));
}

#[tokio::test]
async fn many_keys_at_once_are_all_there_in_the_end() {
    let home = Home::new(CONFIGURATION);
    let arguments = ["key", "new", "acme", "--write", "--no-wait"];
    let mut writers: Vec<Process> = (0..8).map(|_| home.gatepost(&arguments)).collect();
    let mut lines = Vec::new();
    for writer in &mut writers {
        assert_eq!(writer.wait_exit(PATIENCE).await, 0, "{}", writer.said());
        lines.push(Made::read(&writer.stdout().join("\n")).line);
    }
    let text = home.read("gatepost.toml");
    assert!(lines.iter().all(|line| text.contains(line)), "{text}");
}

#[tokio::test]
async fn keys_are_listed_with_their_comments() {
    let home = Home::new(CONFIGURATION);
    let (code, stdout, stderr) = home.outcome(&["key", "list"]).await;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(
        stdout,
        "acme (gatepost.toml:7:9)\n  aaaaaaaaaaaa  never seen                    Jane's\n\
         bolt (gatepost.toml:16:9)\n  bbbbbbbbbbbb  never seen"
    );
    assert!(stderr.contains("gatepost-state"), "{stderr}");
    let (_, stdout, _) = home.outcome(&["key", "list", "acme", "--json"]).await;
    let expected = serde_json::json!({
        "keys": [{ "caller": "acme", "key": JANES, "comment": "Jane's", "last_used": null }],
    });
    assert_eq!(serde_json::from_str::<Json>(&stdout).unwrap(), expected);
    let (code, _, stderr) = home.outcome(&["key", "list", "nobody"]).await;
    assert_eq!(code, 2, "{stderr}");
}

#[tokio::test]
async fn a_key_is_revoked_by_its_hash_or_by_itself_and_the_file_is_as_before() {
    let home = Home::new(CONFIGURATION);
    let (made, _) = write(&home, &["--no-wait", "--comment", "lost"]).await;
    let digits = &made.hash()["sha256:".len()..][..8];
    let (code, _, stderr) = home.outcome(&["key", "revoke", "acme", digits, "--no-wait"]).await;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(home.read("gatepost.toml"), CONFIGURATION);
    let (made, _) = write(&home, &["--no-wait"]).await;
    let (code, stderr) =
        with_input(&home, &["key", "revoke", "acme", "-", "--no-wait"], &format!("{}\n", made.key)).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(!stderr.contains(&made.key));
    assert_eq!(home.read("gatepost.toml"), CONFIGURATION);
}

#[tokio::test]
async fn a_key_that_is_not_there_or_not_named_well_is_not_revoked() {
    let home = Home::new(CONFIGURATION);
    let (made, _) = write(&home, &["--no-wait"]).await;
    let before = home.read("gatepost.toml");
    for key in ["aaaaaaa", "cccccccc", &made.key, "bbbbbbbbbbbb"] {
        let (code, _, stderr) = home.outcome(&["key", "revoke", "acme", key, "--no-wait"]).await;
        assert_eq!(code, 2, "{key}: {stderr}");
        assert!(!stderr.contains(&made.key), "{stderr}");
    }
    for (key, code) in [("gp_mistyped", 1), (&made.key[..40], 1), ("another-key-of-twenty", 2), ("", 1)] {
        let (ended, stderr) = with_input(&home, &["key", "revoke", "acme", "-", "--no-wait"], key).await;
        assert_eq!(ended, code, "{key}: {stderr}");
    }
    assert_eq!(home.read("gatepost.toml"), before);
}

#[tokio::test]
async fn the_last_proof_of_a_caller_is_not_taken_by_accident() {
    let home = Home::new(CONFIGURATION);
    let (code, _, stderr) = home.outcome(&["key", "revoke", "acme", "aaaaaaaa", "--no-wait"]).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("gatepost key new acme --write") && stderr.contains("--last"), "{stderr}");
    assert_eq!(home.read("gatepost.toml"), CONFIGURATION);
    let (code, _, stderr) = home.outcome(&["key", "revoke", "acme", "aaaaaaaa", "--last", "--no-wait"]).await;
    assert_eq!(code, 0, "{stderr}");
    let text = home.read("gatepost.toml");
    assert!(!text.contains(JANES) && text.contains("# nobody has this key"), "{text}");
    assert_eq!(text.lines().count(), CONFIGURATION.lines().count());
    assert_eq!(home.outcome(&["check"]).await.0, 0);
    // With another proof it is no matter: `keys` goes with it.
    home.write("acme.secret", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    let signs = "sigv4 = [{ access_key = \"AKIAIOSFODNN7EXAMPLE\", secret = \"file:acme.secret\" }]\n";
    home.write("gatepost.toml", &CONFIGURATION.replace("from = [", &format!("{signs}from = [")));
    let (code, _, stderr) = home.outcome(&["key", "revoke", "acme", "aaaaaaaa", "--no-wait"]).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(!home.read("gatepost.toml").contains("keys   ="));
}

#[tokio::test]
async fn the_last_key_that_a_route_asks_for_is_revoked_if_that_is_meant() {
    const ACMES: &str = "7479f87dfcc5";
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/single-client");
    let shipped = |name| fs::read_to_string(example.join(name)).unwrap();
    let home = Home::new(&shipped("gatepost.toml"));
    home.write("acme.secret", &shipped("acme.secret"));
    let (code, _, stderr) = home.outcome(&["key", "revoke", "acme", ACMES, "--no-wait"]).await;
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("gatepost key new acme --write") && stderr.contains("--last"), "{stderr}");
    assert_eq!(home.read("gatepost.toml"), shipped("gatepost.toml"));
    let (code, _, stderr) = home.outcome(&["key", "revoke", "acme", ACMES, "--last", "--no-wait"]).await;
    assert_eq!(code, 0, "{stderr}");
    let text = home.read("gatepost.toml");
    assert!(!text.contains(ACMES) && text.contains("# nobody has this key"), "{text}");
    assert_eq!(home.outcome(&["check"]).await.0, 0);
}

#[tokio::test]
async fn waiting_for_a_gateway_that_is_not_there_or_serves_something_else_fails() {
    let home = Home::new(CONFIGURATION);
    let (code, stdout, stderr) = home.outcome(&["key", "new", "acme", "--write", "--wait"]).await;
    assert_eq!(code, 2, "{stderr}");
    // The key is in the file, so it is shown.
    assert!(home.read("gatepost.toml").contains(&Made::read(&stdout).line));
    let other = Home::new(&answering("other").replace("\"off\"", "\"127.0.0.1:0\""));
    let mut running = other.gatepost(&["run"]);
    let admin = format!("http://{}", running.admin_address().await);
    let (code, _, stderr) = home.outcome(&["key", "new", "acme", "--write", "--admin", &admin]).await;
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains("another configuration"), "{stderr}");
}
