//! Keys at a running gateway: good once they are written, refused once they are revoked, and when they were last used.

use std::time::Duration;

use gatepost_testkit::{Json, PATIENCE, Raw};
use tokio::time::{Instant, sleep};

use crate::home::Home;
use crate::keys::{CONFIGURATION, with_input, write};

#[tokio::test]
async fn a_key_is_good_when_it_is_written_and_refused_when_it_is_revoked() {
    let home = Home::new(CONFIGURATION);
    let (mut running, address) = home.run().await;
    let admin = format!("http://{}", running.admin_address().await);
    let mut client = Raw::connect(address).await;
    let asked = |key: &str| format!("GET /orders HTTP/1.1\nhost: a\nx-api-key: {key}\n\n");
    for _ in 0..3 {
        let (made, stderr) = write(&home, &["--admin", &admin]).await;
        assert!(stderr.contains("from now on"), "{stderr}");
        let response = client.ask(&asked(&made.key)).await;
        assert_eq!((response.status, &*response.text()), (200, "orders"));
        let revoke = ["key", "revoke", "acme", "-", "--admin", &admin];
        let (code, stderr) = with_input(&home, &revoke, &made.key).await;
        assert_eq!(code, 0, "{stderr}");
        assert!(stderr.contains("refuses it from now on"), "{stderr}");
        assert_eq!(client.ask(&asked(&made.key)).await.status, 401);
    }
}

#[tokio::test]
async fn a_gateway_takes_the_change_by_itself() {
    let home = Home::new(CONFIGURATION);
    let (mut running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    let (made, _) = write(&home, &["--no-wait"]).await;
    running.wait_for_line("INFO reloaded: a file changed", PATIENCE).await;
    let asked = format!("GET /orders HTTP/1.1\nhost: a\nx-api-key: {}\n\n", made.key);
    assert_eq!(client.ask(&asked).await.status, 200);
}

#[tokio::test]
async fn the_last_use_of_a_key_is_told() {
    let home = Home::new(CONFIGURATION);
    let (mut running, address) = home.run().await;
    let admin = format!("http://{}", running.admin_address().await);
    let (made, _) = write(&home, &["--admin", &admin]).await;
    let asked = format!("GET /orders HTTP/1.1\nhost: a\nx-api-key: {}\n\n", made.key);
    assert_eq!(Raw::connect(address).await.ask(&asked).await.status, 200);
    let list = ["key", "list", "acme", "--json", "--admin", &admin];
    until_used(&home, &list, made.hash()).await;
    running.signal("TERM");
    assert_eq!(running.wait_exit(PATIENCE).await, 0);
    // The store tells it as well.
    until_used(&home, &["key", "list", "acme", "--json"], made.hash()).await;
}

/// Waits until one key, and it alone, was used.
async fn until_used(home: &Home, list: &[&str], hash: &str) {
    let end = Instant::now() + PATIENCE;
    loop {
        let (code, stdout, stderr) = home.outcome(list).await;
        assert_eq!(code, 0, "{stderr}");
        let told: Json = serde_json::from_str(&stdout).unwrap();
        let keys = told["keys"].as_array().unwrap();
        let used: Vec<&Json> = keys.iter().filter(|key| !key["last_used"].is_null()).map(|key| &key["key"]).collect();
        if used == [hash] {
            return;
        }
        assert!(used.is_empty() && Instant::now() < end, "{told}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Two requests at once, and a thousand a month.
const LIMITED: &str = r#"
listen = "127.0.0.1:0"

[server]
admin = "127.0.0.1:0"

[plan.small]
throttle = { rate = "2/h", burst = 2 }
quota    = { limit = 1000, per = "month" }

[caller.acme]
plan = "small"
keys = ["sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]

[route."GET /orders"]
callers = ["acme"]
respond = { body = "orders" }
"#;

#[tokio::test]
async fn what_a_caller_used_and_has_left_is_told_while_the_gateway_runs_and_afterwards() {
    let home = Home::new(LIMITED);
    let (mut running, address) = home.run().await;
    let admin = format!("http://{}", running.admin_address().await);
    let (made, _) = write(&home, &["--admin", &admin]).await;
    let asked = format!("GET /orders HTTP/1.1\nhost: a\nx-api-key: {}\n\n", made.key);
    let mut client = Raw::connect(address).await;
    for status in [200, 200, 429] {
        assert_eq!(client.ask(&asked).await.status, status);
    }
    let live = until_told(&home, &["usage", "acme", "--json", "--live", "--admin", &admin]).await;
    let quota = &live["callers"][0]["quota"];
    assert_eq!((&quota["used"], &quota["remaining"]), (&2.into(), &998.into()), "{live}");
    drop(client);
    running.signal("TERM");
    assert_eq!(running.wait_exit(PATIENCE).await, 0);
    assert_eq!(until_told(&home, &["usage", "acme", "--json"]).await, live);
}

#[tokio::test]
async fn usage_tells_what_was_used_even_if_that_is_more_than_a_lowered_limit() {
    let home = Home::new(LIMITED);
    let (mut running, address) = home.run().await;
    let admin = format!("http://{}", running.admin_address().await);
    let (made, _) = write(&home, &["--admin", &admin]).await;
    let asked = format!("GET /orders HTTP/1.1\nhost: a\nx-api-key: {}\n\n", made.key);
    let mut client = Raw::connect(address).await;
    for status in [200, 200, 429] {
        assert_eq!(client.ask(&asked).await.status, status);
    }
    home.replace("gatepost.toml", &home.read("gatepost.toml").replace("limit = 1000", "limit = 1"));
    let end = Instant::now() + PATIENCE;
    loop {
        let told = until_told(&home, &["usage", "acme", "--json", "--live", "--admin", &admin]).await;
        let quota = &told["callers"][0]["quota"];
        if (&quota["limit"], &quota["used"], &quota["remaining"]) == (&1.into(), &2.into(), &0.into()) {
            return;
        }
        assert!(Instant::now() < end, "{told}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until all three requests are told of.
async fn until_told(home: &Home, usage: &[&str]) -> Json {
    let end = Instant::now() + PATIENCE;
    loop {
        let (code, stdout, stderr) = home.outcome(usage).await;
        assert_eq!(code, 0, "{stderr}");
        let told: Json = serde_json::from_str(&stdout).unwrap();
        let sum = |name: &str| {
            let rows = told["usage"].as_array().unwrap();
            rows.iter().map(|row| row[name].as_u64().unwrap()).sum::<u64>()
        };
        // One line a day, so two around midnight.
        if ["admitted", "refused", "bytes_out"].map(sum) == [2, 1, 12] {
            return told;
        }
        assert!(Instant::now() < end, "{told}");
        sleep(Duration::from_millis(50)).await;
    }
}
