//! Quotas across the ends of a process, whatever they were.

use gatepost_testkit::{PATIENCE, Raw};

use crate::home::Home;

const KEY: &str = "a-key-that-only-acme-knows";

/// The SHA-256 of that.
const DIGITS: &str = "a1ea1cea20e8c973b146a8b95fb39b9e8485d06918081c16401bbca11edf77be";

fn three_a_month() -> String {
    format!(
        r#"
        listen = "127.0.0.1:0"
        [server]
        admin = "off"
        [plan.small]
        quota = {{ limit = 3, per = "month" }}
        [caller.acme]
        plan = "small"
        keys = ["sha256:{DIGITS}"]
        [route."GET /"]
        callers = "any"
        respond = {{ status = 204 }}
        "#
    )
}

/// Asks until the disk is fast enough to tell.
async fn ask(client: &mut Raw) -> u16 {
    loop {
        let status = client.ask(&format!("GET / HTTP/1.1\nhost: a\nx-api-key: {KEY}\n\n")).await.status;
        if status != 503 {
            return status;
        }
    }
}

#[tokio::test]
async fn a_restart_forgets_nothing_that_was_used() {
    let home = Home::new(&three_a_month());
    for statuses in [&[204, 204][..], &[204, 429, 429], &[429]] {
        let (mut running, address) = home.run().await;
        let mut client = Raw::connect(address).await;
        for status in statuses {
            assert_eq!(ask(&mut client).await, *status);
        }
        drop(client);
        running.signal("TERM");
        assert_eq!(running.wait_exit(PATIENCE).await, 0, "{}", running.said());
    }
}

#[tokio::test]
async fn a_process_that_is_killed_has_let_in_no_more_than_was_granted() {
    let home = Home::new(&three_a_month());
    let mut admitted = 0;
    for _ in 0..5 {
        let (mut running, address) = home.run().await;
        let mut client = Raw::connect(address).await;
        match ask(&mut client).await {
            204 => admitted += 1,
            status => assert_eq!(status, 429),
        }
        running.signal("KILL");
        running.wait_exit(PATIENCE).await;
    }
    // Each kill may cost what was granted and not used.
    assert!((1..=3).contains(&admitted), "{admitted}");
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_is_said_in_a_sentence() {
    let home = Home::new(&three_a_month());
    home.write("gatepost-state/gatepost.db", "this is no database, and nobody should write over it");
    let mut running = home.gatepost(&["run"]);
    assert_eq!(running.wait_exit(PATIENCE).await, 4, "{}", running.said());
    assert!(running.said().contains("cannot count quotas and usage: "), "{}", running.said());
    assert!(home.read("gatepost-state/gatepost.db").starts_with("this is no database"));
}
