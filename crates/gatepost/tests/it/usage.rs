//! `gatepost usage` and `/v1/usage`: what callers used, and what they have left.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{SystemTime, UNIX_EPOCH};

use gatepost_meter::{Ask, Ledger, Period, UnixSeconds};
use gatepost_store::{KeyUse, Store, UsageDelta};
use gatepost_testkit::{Json, Raw, Response};

use crate::admin_api::Description;
use crate::decisions::Running;
use crate::home::Home;

const CONFIGURATION: &str = r#"
listen = "127.0.0.1:0"

[server]
admin = "127.0.0.1:0"

[plan.partner]
quota = { limit = 1000, per = "month" }

[caller.acme]
plan   = "partner"
keys   = ["sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]
budget = { limit = "10 USD", per = "month", per_request = "0.0001 USD" }

[caller.bolt]
keys = [
    "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc",
]

[route."GET /orders"]
callers = "any"
respond = {}
"#;

/// A store as a gateway leaves it behind.
fn record(home: &Home, rows: &[(&str, &str, &str, [u64; 3])]) {
    let delta = |(day, caller, route, [admitted, refused, bytes_out]): &(&str, &str, &str, [u64; 3])| UsageDelta {
        caller: Arc::from(*caller),
        api: Arc::from("default"),
        route: Arc::from(*route),
        day: day.parse().unwrap(),
        admitted: *admitted,
        refused: *refused,
        bytes_out: *bytes_out,
    };
    let store = store(home);
    for part in rows.chunks(10_000) {
        store.record(part.iter().map(delta).collect()).unwrap();
        store.flush().unwrap();
    }
}

fn store(home: &Home) -> Store {
    let state = home.path("gatepost-state");
    std::fs::create_dir_all(&state).unwrap();
    Store::open(&state).unwrap()
}

fn some_rows() -> Vec<(&'static str, &'static str, &'static str, [u64; 3])> {
    vec![
        ("2026-11-20", "acme", "GET /orders", [127, 3, 12_345]),
        ("2026-11-19", "acme", "GET /orders", [9, 0, 10]),
        ("2026-11-20", "bolt", "GET,POST /a", [1, 0, 0]),
        ("2026-11-20", "gone", "$default", [0, 2, 0]),
    ]
}

/// Has the store grant units in the window of now; the window's label.
fn grant(home: &Home, account: &str, units: u64) -> String {
    let store = store(home);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let window = Period::Month.at(UnixSeconds(now.as_secs().try_into().unwrap()));
    let (told, granted) = channel();
    let units = NonZeroU64::new(units).unwrap();
    let reply = move |answer| told.send(answer).unwrap();
    store.ask(Ask::new(Arc::from(account), window, units, NonZeroU64::MAX, reply));
    granted.recv().unwrap().unwrap();
    window.to_string()
}

async fn usage(home: &Home, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = home.outcome(&[&["usage"], arguments].concat()).await;
    assert_eq!(code, 0, "{arguments:?}: {stderr}");
    stdout
}

async fn usage_json(home: &Home, arguments: &[&str]) -> Json {
    serde_json::from_str(&usage(home, &[arguments, &["--json"]].concat()).await).unwrap()
}

#[tokio::test]
async fn what_was_used_is_told_by_day_caller_and_route() {
    let home = Home::new(CONFIGURATION);
    record(&home, &some_rows());
    let table = usage(&home, &[]).await;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(
        lines[..5],
        [
            "day         caller  api      route        admitted  refused  bytes out",
            "2026-11-19  acme    default  GET /orders         9        0         10",
            "2026-11-20  acme    default  GET /orders       127        3      12345",
            "2026-11-20  bolt    default  GET,POST /a         1        0          0",
            "2026-11-20  gone    default  $default            0        2          0",
        ]
    );
    let rows = async |arguments: &[&str]| usage(&home, &[arguments, &["--csv"]].concat()).await.lines().count() - 1;
    assert_eq!(rows(&["acme"]).await, 2);
    assert_eq!(rows(&["--from", "2026-11-20"]).await, 3);
    assert_eq!(rows(&["--to", "2026-11-19"]).await, 1);
    assert_eq!(rows(&["acme", "--from", "2026-11-20", "--to", "2026-11-20"]).await, 1);
    assert_eq!(rows(&["nobody"]).await, 0);
    for wrong in [&["--from", "yesterday"][..], &["--from", "2026-11-20", "--to", "2026-11-19"], &["--csv", "--json"]] {
        assert_eq!(home.outcome(&[&["usage"], wrong].concat()).await.0, 2, "{wrong:?}");
    }
}

#[tokio::test]
async fn csv_is_what_spreadsheets_read_and_no_cell_is_a_formula() {
    let home = Home::new(CONFIGURATION);
    let mut rows = some_rows();
    rows.push(("2026-11-20", "=1+1", "@x", [1, 0, 0]));
    record(&home, &rows);
    // Lines end with `\r\n`, of which the last `\n` is gone.
    assert_eq!(
        usage(&home, &["--csv", "--from", "2026-11-20"]).await,
        "day,caller,api,route,admitted,refused,bytes_out\r\n\
         2026-11-20,\"'=1+1\",default,\"'@x\",1,0,0\r\n\
         2026-11-20,acme,default,GET /orders,127,3,12345\r\n\
         2026-11-20,bolt,default,\"GET,POST /a\",1,0,0\r\n\
         2026-11-20,gone,default,$default,0,2,0\r"
    );
}

#[tokio::test]
async fn what_is_left_is_told_of_those_who_have_limits() {
    let home = Home::new(CONFIGURATION);
    record(&home, &some_rows());
    grant(&home, "caller/acme/requests", 127);
    let window = grant(&home, "caller/acme/budget", 12_700_000);
    let told = usage_json(&home, &["acme"]).await;
    let acme = &told["callers"][0];
    assert_eq!((&acme["caller"], told["callers"].as_array().unwrap().len()), (&"acme".into(), 1));
    let resets = acme["quota"]["resets_at"].as_str().unwrap();
    assert!(resets.ends_with("-01T00:00:00Z"), "{resets}");
    assert_eq!(
        acme["quota"],
        serde_json::json!({ "per": "month", "window": window, "limit": 1000, "used": 127, "remaining": 873,
                            "resets_at": resets })
    );
    assert_eq!(
        acme["budget"],
        serde_json::json!({ "per": "month", "window": window, "limit": "10", "used": "0.0127", "remaining": "9.9873",
                            "resets_at": resets, "currency": "USD" })
    );
    let text = usage(&home, &["acme"]).await;
    assert!(text.contains("873") && text.contains("9.9873 USD"), "{text}");
    // Who has used nothing is told of by name.
    let fresh = Home::new(CONFIGURATION);
    assert_eq!(usage_json(&fresh, &["acme"]).await["callers"][0]["quota"]["remaining"], 1000);
    assert_eq!(usage_json(&fresh, &[]).await["callers"], serde_json::json!([]));
}

#[tokio::test]
async fn a_name_that_nobody_has_is_told_from_one_who_used_nothing() {
    let home = Home::new(CONFIGURATION);
    record(&home, &some_rows());
    let running = Running::start(&home).await;
    let admin = format!("http://{}", running.admin);
    for source in [&["--offline"][..], &["--live", "--admin", &admin]] {
        for (name, is_nobody) in [("nobody", true), ("gone", false), ("acme", false)] {
            let (code, _, stderr) = home.outcome(&[&["usage", name], source].concat()).await;
            assert_eq!((code, stderr.contains("no caller `nobody`")), (0, is_nobody), "{name}: {stderr}");
        }
    }
}

#[tokio::test]
async fn without_a_store_or_a_gateway_nothing_was_used_and_that_is_said() {
    let home = Home::new(CONFIGURATION);
    let (code, stdout, stderr) = home.outcome(&["usage"]).await;
    assert_eq!((code, &*stdout), (0, ""), "{stderr}");
    assert!(stderr.contains("gatepost-state"), "{stderr}");
    let live = ["usage", "--live", "--admin", "http://127.0.0.1:1"];
    assert_eq!(home.outcome(&live).await.0, 4);
    home.write("gatepost-state/gatepost.db", "no database");
    let (code, _, stderr) = home.outcome(&["usage", "--offline"]).await;
    assert_eq!(code, 4, "{stderr}");
}

#[tokio::test]
async fn the_running_gateway_tells_what_the_store_has() {
    let home = Home::new(CONFIGURATION);
    let routes: Vec<String> = (0..2500).map(|number| format!("GET /{number:04}")).collect();
    let mut rows: Vec<_> = routes.iter().map(|route| ("2026-11-18", "bolt", &**route, [1, 2, 3])).collect();
    rows.extend(some_rows());
    record(&home, &rows);
    let running = Running::start(&home).await;
    let admin = format!("http://{}", running.admin);
    let live = usage_json(&home, &["--live", "--admin", &admin]).await;
    assert_eq!(live, usage_json(&home, &["--offline"]).await);
    let usage = live["usage"].as_array().unwrap();
    assert_eq!(usage.len(), 2504);
    let told: Vec<&str> = usage[..2500].iter().map(|row| row["route"].as_str().unwrap()).collect();
    assert_eq!(told, routes);
    assert_eq!(live["callers"].as_array().unwrap().len(), 2);
}

async fn ask(running: &Running, path: &str, fields: &str) -> Response {
    let admin = running.admin;
    Raw::connect(admin).await.ask(&format!("GET {path} HTTP/1.1\nhost: {admin}\n{fields}\n")).await
}

#[tokio::test]
async fn the_api_tells_usage_page_by_page_in_json_and_in_csv() {
    let home = Home::new(CONFIGURATION);
    record(&home, &some_rows());
    let running = Running::start(&home).await;
    let description = Description::of(&running).await;
    let (mut routes, mut path) = (Vec::new(), "/v1/usage?limit=3".to_owned());
    loop {
        let response = ask(&running, &path, "").await;
        assert_eq!(response.status, 200);
        let page = description.check("get", "/v1/usage", &response);
        routes.extend(page["usage"].as_array().unwrap().iter().map(|row| row["route"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/usage?limit=3&after={}", next.replace(' ', "+").replace(',', "%2C"));
    }
    assert_eq!(routes, ["GET /orders", "GET /orders", "GET,POST /a", "$default"]);
    for (path, fields) in [
        ("/v1/usage?format=csv", ""),
        ("/v1/usage", "accept: text/csv\n"),
        ("/v1/usage", "accept: text/html, text/csv;q=0.9, */*;q=0.1\n"),
    ] {
        let response = ask(&running, path, fields).await;
        assert_eq!(response.header("content-type"), Some("text/csv; charset=utf-8; header=present"), "{fields}");
        assert_eq!((response.text().lines().count(), response.header("link")), (5, None));
    }
    let first = ask(&running, "/v1/usage?format=csv&limit=3&to=2026-11-20", "").await;
    let link = first.header("link").unwrap();
    let next = link.strip_prefix('<').unwrap().split_once(">; rel=\"next\"").unwrap().0;
    let last = ask(&running, next, "").await;
    assert_eq!(
        last.text(),
        "day,caller,api,route,admitted,refused,bytes_out\r\n2026-11-20,gone,default,$default,0,2,0\r\n"
    );
    assert_eq!(last.header("link"), None);
    let json = ask(&running, "/v1/usage?format=json", "accept: text/csv\n").await;
    assert_eq!(json.header("content-type"), Some("application/json"));
    for wrong in
        ["limit=0", "limit=1001", "from=2026-11-20&to=2026-11-19", "from=today", "after=x", "format=xml", "offset=1"]
    {
        let response = ask(&running, &format!("/v1/usage?{wrong}"), "").await;
        assert_eq!(response.status, 400, "{wrong}");
        description.check("get", "/v1/usage", &response);
    }
}

#[tokio::test]
async fn the_api_tells_keys_and_when_they_were_last_used() {
    let home = Home::new(CONFIGURATION);
    {
        let store = store(&home);
        store.keys_used(vec![KeyUse { key: [0xbb; 32], at: UnixSeconds(1_795_000_000) }]);
        store.flush().unwrap();
    }
    let running = Running::start(&home).await;
    let description = Description::of(&running).await;
    let response = ask(&running, "/v1/keys", "").await;
    let keys = description.check("get", "/v1/keys", &response);
    let hash = |digit: &str| format!("sha256:{}", digit.repeat(64));
    assert_eq!(
        keys,
        serde_json::json!({ "offset": 0, "total": 3, "items": [
            { "caller": "acme", "key": hash("a") },
            { "caller": "bolt", "key": hash("b"), "last_used": "2026-11-18T11:06:40Z" },
            { "caller": "bolt", "key": hash("c") },
        ]})
    );
    let (_, part) = running.told("/v1/keys?caller=bolt&offset=1&limit=1").await;
    assert_eq!((&part["total"], &part["items"][0]["key"]), (&2.into(), &hash("c").into()));
    for wrong in ["key=x", "limit=0"] {
        let wrong = ask(&running, &format!("/v1/keys?{wrong}"), "").await;
        assert_eq!(wrong.status, 400);
        description.check("get", "/v1/keys", &wrong);
    }
    let admin = format!("http://{}", running.admin);
    let (code, stdout, stderr) = home.outcome(&["key", "list", "bolt", "--admin", &admin]).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("  bbbbbbbbbbbb  used 2026-11-18 11:06:40 UTC\n"), "{stdout}");
    assert!(stdout.ends_with("  cccccccccccc  never seen"), "{stdout}");
}
