//! What a change of the configuration would change, and for whom.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::Ipv4Addr;

use gatepost_testkit::{Json, Origin, PATIENCE, Raw, Script, eventually};

use crate::home::{Home, answering, get_until};

const OLD: &str = r#"[listen.public]
addresses = ["127.0.0.1:8080"]

[addresses.office]
list = ["192.0.2.0/24", "2001:db8::/48"]

[api.hooks]
hosts = ["hooks.example.com"]
base  = "/v1"

[api.hooks.route."POST /github"]
from     = ["office", "198.51.100.0/24"]
throttle = { rate = "10/s", burst = 10 }
forward  = { to = "http://10.0.3.7:8080", timeout = "5s" }

[api.hooks.route."GET /status/{id}"]
open    = true
respond = { json = { ok = true } }

[api.hooks.route."GET /old"]
open    = true
respond = { status = 204 }
"#;

fn new() -> String {
    OLD.replace("\"198.51.100.0/24\"", "\"198.51.100.0/25\", \"203.0.113.0/24\"")
        .replace("10.0.3.7", "10.0.3.8")
        .replace("rate = \"10/s\"", "rate = \"20/s\"")
        .replace("GET /old", "GET /new")
        .replace("{id}\"]\nopen    = true", "{id}\"]\nfrom    = [\"office\"]")
}

/// One line of each kind; the last one is cut off.
const LOG: &str = r#"{"time":"2026-11-20T14:10:57.007Z","id":"0f0e0d0c0b0a0908","listener":"public","client":"198.51.100.200","client_from":"socket","method":"POST","host":"hooks.example.com","path":"/v1/github","api":"hooks","route":"POST /github","verdict":"admitted","status":200,"upstream":"10.0.3.7:8080","upstream_ms":1.2,"total_ms":1.3,"bytes_in":0,"bytes_out":2}
{"time":"2026-11-20T14:10:58.007Z","id":"1f0e0d0c0b0a0908","listener":"public","client":"203.0.113.9","client_from":"socket","method":"POST","host":"hooks.example.com","path":"/v1/github","api":"hooks","route":"POST /github","verdict":"refused","reason":"address_not_listed","status":403,"total_ms":0.1,"bytes_in":0,"bytes_out":23}
{"time":"2026-11-20T14:10:59.007Z","id":"2f0e0d0c0b0a0908","listener":"public","client":"192.0.2.7","client_from":"socket","method":"POST","host":"hooks.example.com","path":"/v1/github","api":"hooks","route":"POST /github","verdict":"refused","reason":"throttled","status":429,"total_ms":0.1,"bytes_in":0,"bytes_out":23}
{"time":"2026-11-20T14:11:00.007Z","id":"3f0e0d0c0b0a0908","listener":"public","client":"192.0.2.7","client_from":"socket","method":"GET","host":"hooks.example.com","path":"/v1/status/7","api":"hooks","route":"GET /status/{id}","verdict":"admitted","status":200,"total_ms":0.1,"bytes_in":0,"bytes_out":23}
{"time":"2026-11-20T14:11:01.007Z","id":"4f0e0d0c0b0a0908","listener":"public","client":"203.0.113.77","client_from":"socket","method":"GET","host":"hooks.example.com","path":"/v1/status/\u001b[2J","api":"hooks","route":"GET /status/{id}","verdict":"admitted","status":200,"total_ms":0.1,"bytes_in":0,"bytes_out":23}
{"time":"2026-11-20T14:11:01.507Z","id":"5f0e0d0c0b0a0908","listener":"public","client":"203.0.113.77","client_from":"socket","method":"GET","host":"hooks.example.com","path":"/v1/status/8","api":"hooks","route":"GET /status/{id}","verdict":"admitted","status":200,"total_ms":0.1,"bytes_in":0,"bytes_out":23}
{"time":"2026-11-20T14:11:02.007Z","id":"6f0e0d0c0b0a0908","listener":"public","client":"203.0.113.77","client_from":"socket","verdict":"refused","reason":"malformed","status":400,"total_ms":0.0,"bytes_in":0,"bytes_out":0}
{"time":"2026-11-20T14:11:02.507Z","id":"7f0e0d0c0b0a0908","listener":"inside","client":"203.0.113.77","client_from":"socket","method":"GET","host":"hooks.example.com","path":"/v1/status/8","api":"hooks","route":"GET /status/{id}","verdict":"admitted","status":200,"total_ms":0.1,"bytes_in":0,"bytes_out":23}
INFO what is no record
{"time":"2026-11-20T14:11:03.007Z","id":"8f0e0d0c0b0a0908","listener":"pub"#;

fn home() -> Home {
    let home = Home::new(OLD);
    home.write("new.toml", &new());
    home.write("access.log", LOG);
    home
}

#[tokio::test]
async fn a_difference_is_told_by_who_may_newly_enter_and_who_no_longer() {
    let (code, stdout, stderr) = home().outcome(&["diff", "gatepost.toml", "new.toml", "--log", "access.log"]).await;
    assert_eq!((code, &*stderr), (0, ""));
    insta::assert_snapshot!(stdout);
}

#[tokio::test]
async fn a_difference_is_told_to_programs_in_a_form_that_stays() {
    let asked = ["diff", "--json", "gatepost.toml", "new.toml", "--log", "access.log"];
    let (code, stdout, stderr) = home().outcome(&asked).await;
    assert_eq!((code, &*stderr), (0, ""));
    insta::assert_snapshot!(stdout);
}

#[tokio::test]
async fn requests_of_a_log_are_judged_again() {
    let (code, stdout, stderr) = home().outcome(&["replay", "access.log", "new.toml"]).await;
    assert_eq!((code, &*stderr), (0, ""));
    insta::assert_snapshot!(stdout);
}

#[tokio::test]
async fn requests_judged_again_are_told_to_programs_in_a_form_that_stays() {
    let (code, stdout, stderr) = home().outcome(&["replay", "--json", "access.log", "--config", "new.toml"]).await;
    assert_eq!((code, &*stderr), (0, ""));
    insta::assert_snapshot!(stdout);
}

#[tokio::test]
async fn the_exit_code_tells_of_a_difference_only_where_it_is_asked_to() {
    let home = home();
    // The same addresses in other words, and more than it sent before.
    home.write(
        "same.toml",
        &OLD.replace("\"192.0.2.0/24\"", "\"192.0.2.128/25\", \"192.0.2.0/25\"").replace("10/s", "9/s"),
    );
    for (arguments, expected) in [
        (&["diff", "gatepost.toml", "new.toml"][..], 0),
        (&["diff", "gatepost.toml", "new.toml", "--exit-code"], 3),
        (&["diff", "gatepost.toml", "same.toml", "--exit-code"], 0),
        (&["diff", "gatepost.toml", "absent.toml"], 1),
        (&["diff", "gatepost.toml"], 2),
        (&["diff", "gatepost.toml", "new.toml", "--log", "absent.log"], 1),
        (&["replay", "access.log", "new.toml", "--exit-code"], 3),
        (&["replay", "access.log"], 0),
        (&["replay", "absent.log"], 1),
        // That is no log.
        (&["replay", "gatepost.toml"], 1),
        (&["replay", "access.log", "absent.toml"], 1),
        (&["replay", "access.log", "new.toml", "--top", "0"], 2),
    ] {
        let (code, _, stderr) = home.outcome(arguments).await;
        assert_eq!(code, expected, "{arguments:?}: {stderr}");
    }
}

#[tokio::test]
async fn what_is_the_same_is_said_to_be() {
    let (code, stdout, _) = home().outcome(&["diff", "gatepost.toml", "gatepost.toml", "--exit-code"]).await;
    assert_eq!(code, 0);
    assert_eq!(stdout, "no difference in who may enter, what routes do, or where is listened");
}

#[tokio::test]
async fn what_a_gateway_has_logged_keeps_its_verdict_under_its_own_configuration() {
    let home = Home::new(
        &(answering("a")
            + "[log]\naccess = \"file:access.log\"\n[route.\"GET /closed\"]\nfrom = [\"192.0.2.1\"]\nrespond = { status = 204 }\n"),
    );
    let (_running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    for target in ["/a", "/closed", "/", "/a/%7eb?c=d", "/%41"] {
        client.get(target).await;
    }
    eventually(PATIENCE, || home.read("access.log").lines().count() == 5).await;
    let (code, stdout, _) = home.outcome(&["replay", "--json", "access.log", "--exit-code"]).await;
    let told: Json = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &told["requests"], &told["kept"]), (0, &5.into(), &5.into()), "{stdout}");
}

#[tokio::test]
async fn tens_of_thousands_of_networks_are_compared_and_told_in_few_words() {
    let home = Home::new("");
    let configuration = |file: &str| {
        format!(
            "listen = \"127.0.0.1:8080\"\n[addresses.big]\nfile = \"{file}\"\n[route.\"GET /a\"]\nfrom = [\"big\"]\nrespond = {{ status = 204 }}\n"
        )
    };
    for (name, step) in [("old", 2_u32), ("new", 4)] {
        home.write(&format!("{name}.toml"), &configuration(&format!("{name}.txt")));
        let mut list = BufWriter::new(File::create(home.path(&format!("{name}.txt"))).unwrap());
        for number in (0..80_000).step_by(step as usize) {
            writeln!(list, "{}/24", Ipv4Addr::from(0x0a00_0000 + number * 256)).unwrap();
        }
    }
    let (code, stdout, stderr) = home.outcome(&["diff", "old.toml", "new.toml"]).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("from 5120000 IPv4 addresses\n      10.0.2.0/24\n"), "{stdout}");
    assert!(stdout.contains("… and 19992 more"), "{stdout}");
    assert!(stdout.lines().count() < 20, "{stdout}");
}

/// A line of a log, of a request for `GET /a`.
fn logged(verdict: &str) -> String {
    r#"{"time":"2026-11-20T14:10:57.007Z","id":"0f0e0d0c0b0a0908","listener":"default","client":"203.0.113.9","client_from":"socket","method":"GET","host":"a.test","path":"/a",VERDICT,"total_ms":0.1,"bytes_in":0,"bytes_out":0}
"#
    .replace("VERDICT", verdict)
}

const ADMITTED: &str = r#""api":"default","route":"GET /a","verdict":"admitted","status":204"#;

#[tokio::test]
async fn a_log_without_a_line_of_a_gateways_is_an_error() {
    let home = home();
    let cut = &logged(ADMITTED)[..80];
    for text in ["", "\n\n", cut] {
        home.write("access.log", text);
        for arguments in [&["replay", "access.log"][..], &["diff", "gatepost.toml", "new.toml", "--log", "access.log"]]
        {
            let (code, _, stderr) = home.outcome(arguments).await;
            assert_eq!(code, 1, "{arguments:?} of {text:?}: {stderr}");
            assert!(stderr.contains("no line of it is one of gatepost's access log"), "{stderr}");
        }
    }
}

/// How many requests are newly admitted, newly refused, refused in another way, and keep their verdict.
async fn turns(home: &Home) -> (i32, [u64; 4]) {
    let (code, stdout, stderr) = home.outcome(&["replay", "--json", "access.log", "--exit-code"]).await;
    let told: Json = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
    let fields = ["newly_admitted", "newly_refused", "refused_otherwise", "kept"];
    (code, fields.map(|field| told[field].as_u64().unwrap()))
}

#[tokio::test]
async fn whoever_signed_and_was_not_listed_is_newly_admitted_once_listed() {
    let not_listed =
        r#""api":"default","route":"GET /a","verdict":"refused","reason":"signed_but_not_listed","status":403"#;
    let configuration = |from: &str| {
        format!(
            "listen = \"127.0.0.1:8080\"\n[route.\"POST /a\"]\nfrom = [\"{from}\"]\nsigned = {{ github = \"file:secret\" }}\nrespond = {{ status = 204 }}\n"
        )
    };
    let home = Home::new("");
    home.write("secret", "It's a Secret to Everybody");
    home.write("access.log", &logged(not_listed).replace("GET", "POST"));
    home.write("gatepost.toml", &configuration("192.0.2.0/24"));
    assert_eq!(turns(&home).await, (0, [0, 0, 0, 1]));
    home.write("gatepost.toml", &configuration("203.0.113.0/24"));
    assert_eq!(turns(&home).await, (3, [1, 0, 0, 0]));
}

#[tokio::test]
async fn whoever_is_only_sent_to_https_does_not_enter_by_replay_as_by_diff() {
    let route = "[route.\"GET /a\"]\nopen = true\nrespond = { status = 204 }\n";
    let plain =
        "[listen.inside]\naddresses = [\"127.0.0.1:8081\"]\n[listen.default]\naddresses = [\"127.0.0.1:8080\"]\n";
    let home = Home::new(&format!("{plain}redirect = \"https\"\n{route}"));
    home.write("plain.toml", &format!("{plain}{route}"));
    home.write("access.log", &logged(ADMITTED));
    assert_eq!(turns(&home).await, (3, [0, 1, 0, 0]));
    let asked = ["diff", "plain.toml", "gatepost.toml", "--log", "access.log", "--exit-code"];
    let (code, stdout, _) = home.outcome(&asked).await;
    assert_eq!(code, 3);
    assert!(stdout.contains("0 newly admitted, 1 newly refused"), "{stdout}");

    // What was sent there already, and the way back.
    home.write("access.log", &logged(r#""verdict":"admitted","status":308"#));
    assert_eq!(turns(&home).await, (0, [0, 0, 0, 1]));
    home.write("gatepost.toml", &home.read("plain.toml"));
    assert_eq!(turns(&home).await, (3, [1, 0, 0, 0]));
}

#[tokio::test]
async fn what_is_fetched_is_compared_by_its_last_good_copy_and_counts_without_one() {
    let publisher = Origin::start(Script::ok(r#"{"hooks": ["192.30.252.0/22"], "web": ["192.0.2.0/24"]}"#)).await;
    let url = publisher.url();
    let configuration = |from: &str| {
        format!(
            "listen = \"127.0.0.1:0\"\n[server]\nadmin = \"127.0.0.1:0\"\n[addresses.hooks]\nurl = \"{url}/meta\"\npick = \"/hooks\"\n[route.\"GET /a\"]\nfrom = [{from}]\nrespond = {{ status = 204 }}\n"
        )
    };
    let home = Home::new(&configuration("\"192.0.2.1\""));
    home.write("new.toml", &configuration("\"192.0.2.1\", \"hooks\""));
    home.write(
        "shorter.toml",
        &configuration("\"192.0.2.1\", \"hooks\"").replace("from = [", "except = [\"192.30.252.0/23\"]\nfrom = ["),
    );
    let asked = ["diff", "gatepost.toml", "new.toml", "--exit-code", "--json"];
    let (code, stdout, _) = home.outcome(&asked).await;
    let told: Json = serde_json::from_str(&stdout).unwrap();
    assert_eq!(code, 3, "{stdout}");
    assert_eq!((&told["untold"][0]["cause"], &told["newly_admitted"]["total"]), (&"fetched_set".into(), &0.into()));
    assert_eq!(told["routes"]["first"][0]["changes"][0], "from: newly what is fetched as hooks");
    assert_eq!(told["routes"]["first"][0]["beyond_networks"], true);

    home.write("fetching.toml", &home.read("new.toml"));
    let mut running = home.gatepost(&["run", "fetching.toml"]);
    let mut client = Raw::connect(running.admin_address().await).await;
    get_until(&mut client, "/readyz", |response| response.status == 200).await;
    running.insist("TERM", PATIENCE).await;

    for (old, new, list, expected) in [
        ("gatepost.toml", "new.toml", "newly_admitted", "192.30.252.0/22"),
        ("new.toml", "gatepost.toml", "newly_refused", "192.30.252.0/22"),
        ("new.toml", "shorter.toml", "newly_refused", "192.30.252.0/23"),
    ] {
        let (code, stdout, _) = home.outcome(&["diff", old, new, "--exit-code", "--json"]).await;
        let told: Json = serde_json::from_str(&stdout).unwrap();
        assert_eq!((code, &told[list]["total"], &told["untold"]), (3, &1.into(), &Json::Array(Vec::new())), "{stdout}");
        assert_eq!(told[list]["first"][0]["networks"]["first"], Json::from(vec![expected]), "{stdout}");
    }
}

#[tokio::test]
async fn a_policy_that_says_something_else_ends_with_3_where_that_is_asked_for() {
    let home = Home::new("listen = \"127.0.0.1:8080\"\n[route.\"GET /a\"]\npolicy = \"file:old.json\"\nrespond = {}\n");
    home.write("new.toml", &home.read("gatepost.toml").replace("old.json", "new.json"));
    for (name, agent) in [("old", "a"), ("new", "b")] {
        let condition = format!(r#""Condition": {{"StringEquals": {{"aws:UserAgent": "{agent}"}}}}"#);
        home.write(
            &format!("{name}.json"),
            &format!(r#"{{"Statement": [{{"Effect": "Allow", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "*", {condition}}}]}}"#),
        );
    }
    let (code, stdout, _) = home.outcome(&["diff", "gatepost.toml", "new.toml", "--exit-code"]).await;
    assert_eq!(code, 3, "{stdout}");
    assert!(stdout.contains("policy new.json changed"), "{stdout}");
    assert!(stdout.contains("not about all methods and paths"), "{stdout}");
    home.write("new.json", &home.read("old.json").replace(", ", ",\n"));
    let (code, stdout, _) = home.outcome(&["diff", "gatepost.toml", "new.toml", "--exit-code"]).await;
    assert_eq!(code, 0, "{stdout}");
}
