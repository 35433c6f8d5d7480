//! What `why` says, and with which code it ends.

use crate::home::Home;

const CONFIGURATION: &str = r#"[listen.public]
addresses = ["127.0.0.1:8080", "127.0.0.2:8080"]

[listen.private]
addresses = ["127.0.0.1:8081"]

[addresses.office]
list = ["192.0.2.0/24", "192.0.2.64/26", "2001:db8::/48"]

[addresses.banned]
list = ["192.0.2.66"]

[api.hooks]
hosts    = ["hooks.example.com", "*.hooks.example.com"]
listen   = ["public"]
base     = "/v1"
throttle = { rate = "100/s", burst = 50 }

[api.hooks.route."POST /github"]
from     = ["office", "198.51.100.7", "198.51.100.0/24"]
except   = ["banned", "192.0.2.64/30", "198.51.100.200"]
throttle = [{ rate = "10/s" }, { rate = "10000/d", burst = 20 }]
parallel = 20
max_body = "1KiB"
forward  = { to = "app", timeout = "1s" }

[api.hooks.route."GET,PUT /github"]
open     = true
redirect = { to = "https://example.com/", status = 307 }

[api.hooks.route."DELETE /github"]
open    = true
respond = { json = { deleted = false } }

[upstream.app]
targets = ["http://10.0.3.7:8080", "http://[fd00::7]:8080"]

[api.inside]
listen = ["private"]

[api.inside.route."ANY /{rest+}"]
from    = ["127.0.0.0/8"]
forward = { to = "http://127.0.0.1:9000", timeout = "off" }
"#;

/// Everything that is asked here, as somebody would see it.
async fn session(home: &Home, questions: &[&[&str]]) -> String {
    let mut session = String::new();
    for question in questions {
        let shown: Vec<String> = question
            .iter()
            .map(|word| if word.contains(' ') { format!("'{word}'") } else { (*word).to_owned() })
            .collect();
        let (code, stdout, stderr) = home.outcome(&[&["why"], *question].concat()).await;
        session += &format!("$ gatepost why {}\n{stdout}{stderr}\n=> {code}\n\n", shown.join(" "));
    }
    session
}

#[tokio::test]
async fn an_explanation_is_one_line_a_step_with_the_place_of_each_rule() {
    const GITHUB: &str = "http://hooks.example.com:8080/v1/github";
    let home = Home::new(CONFIGURATION);
    let questions: &[&[&str]] = &[
        &["--from", "192.0.2.7", "POST", GITHUB],
        &["--from", "::ffff:198.51.100.7", "-H", "content-length: 1024", "POST", GITHUB],
        &["--from", "2001:db8::1", "-H", "transfer-encoding: chunked", "POST", GITHUB],
        &["--from", "203.0.113.9", "POST", GITHUB],
        &["--from", "192.0.2.66", "POST", GITHUB],
        &["--from", "192.0.2.7", "-H", "content-length: 1025", "POST", GITHUB],
        &["--from", "192.0.2.7", "PATCH", GITHUB],
        &["--from", "192.0.2.7", "HEAD", GITHUB],
        &["--from", "192.0.2.7", "DELETE", "http://a.hooks.example.com:8080/v1/%67ithub?x=y#z"],
        &["--from", "192.0.2.7", "GET", "http://hooks.example.com:8080/v1/gitlab"],
        &["--from", "192.0.2.7", "GET", "http://hooks.example.com:8080/v2/github"],
        &["--from", "192.0.2.7", "GET", "http://example.com:8080/v1/github"],
        &["--from", "127.0.0.1", "--listener", "private", "GET", "/"],
        &["--from", "127.0.0.1", "GET", "http://127.0.0.1:8081/anything"],
        &["--from", "127.0.0.1", "--listener", "private", "GET", "/a/%2e%2e/b"],
        &["--from", "127.0.0.1", "--listener", "private", "GET", "/a b"],
        &["--from", "127.0.0.1", "--listener", "private", "-H", "content-length: many", "GET", "/a"],
        &["--from", "127.0.0.1", "--listener", "private", "-H", "host: a", "-H", "host: b", "GET", "/a"],
    ];
    insta::assert_snapshot!(session(&home, questions).await);
}

#[tokio::test]
async fn json_says_the_same_in_a_form_that_stays() {
    let home = Home::new(CONFIGURATION);
    let url = "http://hooks.example.com:8080/v1/github";
    let questions: &[&[&str]] = &[
        &["--json", "--from", "192.0.2.7", "POST", url],
        &["--json", "--from", "192.0.2.66", "POST", url],
        &["--json", "--from", "192.0.2.7", "PATCH", url],
        &["--json", "--from", "192.0.2.7", "--listener", "public", "GET", "/.."],
    ];
    insta::assert_snapshot!(session(&home, questions).await);
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_answered_with_what_would() {
    let home = Home::new(CONFIGURATION);
    let questions: &[&[&str]] = &[
        &["--from", "192.0.2.7", "GET", "/v1/github"],
        &["--from", "192.0.2.7", "GET", "http://127.0.0.1:8082/"],
        &["--from", "192.0.2.7", "GET", "https://127.0.0.1:8080/"],
        &["--from", "192.0.2.7", "GET", "http://127.0.0.9:8080/"],
        &["--from", "192.0.2.7", "--listener", "pubic", "GET", "/"],
        &["--from", "192.0.2.0/24", "GET", "/"],
        &["--from", "192.0.2.7", "GET", "hooks.example.com"],
        &["--from", "192.0.2.7", "GET", "ftp://hooks.example.com/"],
        &["--from", "192.0.2.7", "-H", "host", "GET", "/"],
        &["--from", "192.0.2.7", "G T", "/"],
        &["GET", "/"],
    ];
    insta::assert_snapshot!(session(&home, questions).await);
}

#[tokio::test]
async fn why_reads_the_file_that_it_is_told_and_judges_no_examples() {
    let home = Home::empty();
    let failing =
        CONFIGURATION.replace("[upstream.app]", "example = [{ from = \"192.0.2.7\", expect = 403 }]\n\n[upstream.app]");
    home.write("other.toml", &failing);
    let asked = ["--from", "127.0.0.1", "GET", "http://localhost:8081/a"];
    let (code, stdout, stderr) = home.outcome(&[&["why", "--config", "other.toml"], &asked[..]].concat()).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("other.toml:4"), "{stdout}");
    let (code, stdout, stderr) = home.outcome(&[&["why"], &asked[..]].concat()).await;
    assert_eq!((code, &*stdout), (1, ""));
    assert!(stderr.contains("cannot read gatepost.toml"), "{stderr}");
}

const CALLERS: &str = r#"listen = "127.0.0.1:8080"

[caller.acme]
keys   = ["sha256:102763b1f5ca1790adf606cda7b77261b58599f69cff17f6d818371a64907ae3"]
sigv4  = [{ access_key = "AKIAACMEEXAMPLE00001", secret = "file:secret" }]
from   = ["192.0.2.0/24"]

[caller.bob]
keys   = ["sha256:0000000000000000000000000000000000000000000000000000000000000000"]

[route."GET /pets"]
callers = ["acme"]
respond = {}

[route."GET /any"]
callers = "any"
respond = {}

[route."GET /both"]
callers = ["acme"]
proof   = ["sigv4", "key"]
respond = {}
"#;

#[tokio::test]
async fn a_caller_is_taken_to_prove_itself_and_a_key_is_judged_as_it_is() {
    let home = Home::new(CALLERS);
    home.write("secret", "hush");
    home.write("key", "gp_acme0123456789abcdef\n");
    home.write("other", "gp_nobody");
    let questions: &[&[&str]] = &[
        &["--from", "192.0.2.7", "--key", "file:key", "GET", "/pets"],
        &["--from", "192.0.2.7", "--caller", "acme", "GET", "/both"],
        &["--from", "192.0.2.7", "--caller", "bob", "GET", "/pets"],
        &["--from", "192.0.2.7", "--key", "file:other", "GET", "/pets"],
        &["--from", "198.51.100.7", "--key", "file:key", "GET", "/pets"],
        &["--from", "192.0.2.7", "--key", "file:key", "GET", "/both"],
        &["--from", "192.0.2.7", "GET", "/pets"],
        &["--from", "192.0.2.7", "--caller", "carol", "GET", "/pets"],
        &["--from", "192.0.2.7", "--key", "file:none", "GET", "/pets"],
        &["--from", "192.0.2.7", "--key", "gp_acme0123456789abcdef", "GET", "/pets"],
    ];
    insta::assert_snapshot!(session(&home, questions).await);
}
