//! Policies, as those who write them meet them.

use gatepost_testkit::{PATIENCE, Raw};

use crate::home::{Home, get_until};

const CONFIGURATION: &str = r#"listen = "127.0.0.1:0"

[server]
admin = "off"

[api.default]
id     = "abc123"
policy = "file:policies/api.json"

[route."GET /a"]
respond = { status = 204 }
example = [
    { from = "192.0.2.7", headers = { referer = "https://a.test/" }, expect = "admitted" },
    { from = "192.0.2.7", expect = 403 },
]

[route."GET /b"]
policy  = "file:policies/route.json"
respond = { status = 204 }
"#;

/// Lets in whoever has a `Referer`, but for one address.
const OF_API: &str = r#"{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Sid": "WithReferer",
      "Effect": "Allow",
      "Principal": "*",
      "Action": "execute-api:Invoke",
      "Resource": "execute-api:/*",
      "Condition": { "Null": { "aws:Referer": "false" } }
    },
    {
      "Effect": "Deny",
      "Principal": "*",
      "Action": "execute-api:Invoke",
      "Resource": "execute-api:/*",
      "Condition": { "IpAddress": { "aws:SourceIp": "192.0.2.66" } }
    }
  ]
}
"#;

const OF_ROUTE: &str = r#"{
  "Statement": { "Effect": "Allow", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "execute-api:/*/POST/*" }
}
"#;

fn home() -> Home {
    let home = Home::new(CONFIGURATION);
    home.write("policies/api.json", OF_API);
    home.write("policies/route.json", OF_ROUTE);
    home
}

#[tokio::test]
async fn examples_are_judged_by_policies() {
    let home = home();
    let (code, stdout, stderr) = home.outcome(&["check"]).await;
    assert_eq!((code, &*stderr), (0, ""), "{stdout}");
    home.write("policies/api.json", &OF_API.replace("\"false\"", "\"true\""));
    let (code, _, stderr) = home.outcome(&["check"]).await;
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("should be admitted, but it is refused with 403 (policy_denied)"), "{stderr}");
}

#[tokio::test]
async fn why_names_the_statement_and_its_place() {
    let home = home();
    let referer = ["-H", "referer: https://a.test/"];
    let mut session = String::new();
    for (from, headers, path) in [
        ("192.0.2.7", &referer[..], "/a"),
        ("192.0.2.66", &referer, "/a"),
        ("192.0.2.7", &[], "/a"),
        ("192.0.2.7", &referer, "/b"),
    ] {
        let question = [&["why", "--from", from][..], headers, &["GET", path]].concat();
        let (code, stdout, stderr) = home.outcome(&question).await;
        session += &format!("$ gatepost {}\n{stdout}{stderr}\n=> {code}\n\n", question.join(" "));
    }
    insta::assert_snapshot!(session);
}

#[tokio::test]
async fn a_policy_that_says_something_else_than_it_seems_to_is_told_of_and_used() {
    let home = home();
    home.write("policies/route.json", &OF_ROUTE.replace("/*/POST/*", "/*/ANY/*"));
    let (code, stdout, stderr) = home.outcome(&["check"]).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("is fine"), "{stdout}");
    assert!(stderr.contains("WARN policies/route.json:2:"), "{stderr}");
    assert!(stderr.contains("statement 0 has a resource with the method `ANY`"), "{stderr}");
}

#[tokio::test]
async fn a_changed_policy_counts_from_the_next_request_of_an_open_connection_on_and_a_broken_one_changes_nothing() {
    let home = home();
    let everyone = OF_ROUTE.replace("/POST/", "/*/");
    home.write("policies/api.json", &everyone);
    // The examples were about the other one.
    let text = CONFIGURATION.replace("expect = 403", "expect = \"admitted\"");
    home.write("gatepost.toml", &text);
    let (mut running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    assert_eq!(client.get("/b").await.status, 403);
    home.write("policies/route.json", &everyone);
    get_until(&mut client, "/b", |response| response.status == 204).await;

    home.write("policies/route.json", &everyone.replace("Allow", "allow"));
    running.wait_for_line("policies/route.json:2:", PATIENCE).await;
    assert_eq!(client.get("/b").await.status, 204);
    home.write("gatepost.toml", &text.replace("policy = \"file:policies/api.json\"\n", ""));
    running.wait_for_line("nobody who may call it", PATIENCE).await;
    assert_eq!(client.get("/b").await.status, 204);

    home.write("gatepost.toml", &text);
    home.replace("policies/route.json", &everyone.replace("Allow", "Deny"));
    get_until(&mut client, "/b", |response| response.status == 403).await;
}
