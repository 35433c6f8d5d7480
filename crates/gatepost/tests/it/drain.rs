//! Stopping: what is under way is finished, within bounds.

use std::time::Duration;

use gatepost_testkit::{Origin, PATIENCE, Raw, Script, pattern};
use tokio::time::Instant;

use crate::home::{Home, answering, forwarding, get_until, refused_at_last};

/// An answer whose head comes at once and whose body takes its time.
fn slow_answer() -> Script {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n";
    Script::send(head).then_drip(&pattern(40)[..], Duration::from_millis(20))
}

#[tokio::test]
async fn an_answer_under_way_is_finished_while_nobody_new_is_let_in() {
    let origin = Origin::start(slow_answer()).await;
    let home = Home::new(&forwarding(&origin.url(), "admin = \"off\""));
    let (mut running, address) = home.run().await;
    let mut idle = Raw::connect(address).await;
    idle.get("/a").await;
    let mut client = Raw::connect(address).await;
    client.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let head = client.response_head().await;
    assert_eq!(head.status, 200);

    running.signal("TERM");
    refused_at_last(address).await;
    let mut body = Vec::new();
    while body.len() < 40 {
        let piece = client.read(40).await.unwrap();
        assert!(!piece.is_empty(), "cut after {} bytes", body.len());
        body.extend(piece);
    }
    assert_eq!(body, pattern(40));
    assert_eq!(running.wait_exit(PATIENCE).await, 0, "{}", running.said());
    client.expect_close(PATIENCE).await;
    idle.expect_close(PATIENCE).await;
}

#[tokio::test]
async fn a_request_that_is_still_being_sent_is_served() {
    let origin = Origin::start(Script::echo()).await;
    let home = Home::new(&forwarding(&origin.url(), "admin = \"off\""));
    let (mut running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    client.send("POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n01234").await;
    gatepost_testkit::eventually(PATIENCE, || origin.count() == 1).await;
    running.signal("TERM");
    refused_at_last(address).await;
    client.send("56789").await;
    assert_eq!(client.response().await.text(), "0123456789");
    assert_eq!(running.wait_exit(PATIENCE).await, 0, "{}", running.said());
}

#[tokio::test]
async fn probers_learn_that_it_is_over_while_requests_are_still_served() {
    let text = answering("a").replace("\"off\"", "\"127.0.0.1:0\"\ndrain = \"60s\"");
    let home = Home::new(&text);
    let (mut running, address) = home.run().await;
    let mut prober = Raw::connect(running.admin_address().await).await;
    assert_eq!(prober.get("/readyz").await.status, 200);
    let mut earlier = Raw::connect(address).await;
    assert!(!earlier.get("/a").await.closes());

    running.signal("TERM");
    get_until(&mut prober, "/readyz", |answer| answer.status == 503).await;
    // New connections as well as old ones; each is asked to go elsewhere next.
    for mut client in [earlier, Raw::connect(address).await] {
        let answer = client.get("/a").await;
        assert_eq!((answer.status, answer.closes()), (200, true), "{}", answer.head);
        client.expect_close(PATIENCE).await;
    }
    // Once enough probes have heard it, it ends long before `drain` would be over.
    prober.get("/readyz").await;
    prober.get("/readyz").await;
    assert_eq!(running.wait_exit(PATIENCE).await, 0, "{}", running.said());
}

#[tokio::test]
async fn a_prober_that_never_comes_back_holds_it_up_for_a_third_of_the_time_only() {
    let text = answering("a").replace("\"off\"", "\"127.0.0.1:0\"\ndrain = \"3s\"");
    let home = Home::new(&text);
    let (mut running, _) = home.run().await;
    let mut prober = Raw::connect(running.admin_address().await).await;
    assert_eq!(prober.get("/readyz").await.status, 200);
    let asked = Instant::now();
    running.signal("TERM");
    assert_eq!(running.wait_exit(PATIENCE).await, 0, "{}", running.said());
    let took = asked.elapsed();
    assert!(took >= Duration::from_millis(900), "{took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn where_nobody_probes_and_nothing_is_under_way_it_ends_at_once() {
    let home = Home::new(&answering("a").replace("\"off\"", "\"127.0.0.1:0\"\ndrain = \"1h\""));
    for signal in ["TERM", "INT"] {
        let (mut running, address) = home.run().await;
        // Connected, and never asked anything.
        let mut silent = Raw::connect(address).await;
        let mut idle = Raw::connect(address).await;
        idle.get("/a").await;
        running.signal(signal);
        assert_eq!(running.wait_exit(PATIENCE).await, 0, "{}", running.said());
        silent.expect_close(PATIENCE).await;
        idle.expect_close(PATIENCE).await;
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let origin = Origin::start(Script::silence()).await;
    let home = Home::new(&forwarding(&origin.url(), "admin = \"off\"\ndrain = \"1h\""));
    for (first, second) in [("TERM", "TERM"), ("TERM", "INT"), ("INT", "INT")] {
        let (mut running, address) = home.run().await;
        let before = origin.count();
        let mut client = Raw::connect(address).await;
        client.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n").await;
        gatepost_testkit::eventually(PATIENCE, || origin.count() == before + 1).await;
        running.signal(first);
        refused_at_last(address).await;
        assert_eq!(running.insist(second, PATIENCE).await, 0, "{}", running.said());
        client.expect_close(PATIENCE).await;
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_while_probers_are_being_told() {
    let home = Home::new(&answering("a").replace("\"off\"", "\"127.0.0.1:0\"\ndrain = \"1h\""));
    let (mut running, _) = home.run().await;
    let mut prober = Raw::connect(running.admin_address().await).await;
    assert_eq!(prober.get("/readyz").await.status, 200);
    running.signal("TERM");
    get_until(&mut prober, "/readyz", |answer| answer.status == 503).await;
    assert_eq!(running.insist("TERM", PATIENCE).await, 0, "{}", running.said());
}

#[tokio::test]
async fn a_signal_that_is_sent_twice_at_once_still_lets_requests_finish() {
    let origin = Origin::start(slow_answer()).await;
    let home = Home::new(&forwarding(&origin.url(), "admin = \"off\"\ndrain = \"1h\""));
    let (mut running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    client.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n").await;
    gatepost_testkit::eventually(PATIENCE, || origin.count() == 1).await;
    running.signal("TERM");
    running.signal("TERM");
    assert_eq!(client.response().await.body, pattern(40));
    assert_eq!(running.wait_exit(PATIENCE).await, 0, "{}", running.said());
}

#[tokio::test]
async fn an_interrupt_waits_for_no_prober_but_for_what_is_under_way() {
    let origin = Origin::start(slow_answer()).await;
    let home = Home::new(&forwarding(&origin.url(), "admin = \"127.0.0.1:0\"\ndrain = \"1h\""));
    let (mut running, address) = home.run().await;
    let mut prober = Raw::connect(running.admin_address().await).await;
    assert_eq!(prober.get("/readyz").await.status, 200);
    let mut client = Raw::connect(address).await;
    client.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n").await;
    gatepost_testkit::eventually(PATIENCE, || origin.count() == 1).await;
    running.signal("INT");
    assert_eq!(client.response().await.body, pattern(40));
    assert_eq!(running.wait_exit(PATIENCE).await, 0, "{}", running.said());
}

#[tokio::test]
async fn what_takes_longer_than_drain_is_cut() {
    let drain = Duration::from_millis(500);
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
    let origin = Origin::start(Script::send(head).then_drip(pattern(1_000_000), Duration::from_millis(20))).await;
    let home = Home::new(&forwarding(&origin.url(), "admin = \"off\"\ndrain = \"500ms\""));
    let (mut running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    client.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.response_head().await;
    let asked = Instant::now();
    running.signal("TERM");
    assert_eq!(running.wait_exit(PATIENCE).await, 0, "{}", running.said());
    let took = asked.elapsed();
    assert!(took >= drain, "cut after {took:?} already");
    assert!(took < drain * 6, "{took:?}");
    assert!(client.read_to_end().await.len() < 1_000_000);
}

#[tokio::test]
async fn a_new_drain_time_counts_without_a_restart() {
    let origin = Origin::start(Script::silence()).await;
    let home = Home::new(&forwarding(&origin.url(), "admin = \"off\"\ndrain = \"1h\""));
    let (mut running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    client.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n").await;
    home.write("gatepost.toml", &forwarding(&origin.url(), "admin = \"off\"\ndrain = \"250ms\""));
    running.wait_for_line("INFO reloaded", PATIENCE).await;
    running.signal("TERM");
    assert_eq!(running.wait_exit(PATIENCE).await, 0, "{}", running.said());
}

#[tokio::test]
async fn files_and_hangups_change_nothing_any_more_while_it_stops() {
    let origin = Origin::start(slow_answer()).await;
    let home = Home::new(&forwarding(&origin.url(), "admin = \"off\""));
    let (mut running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    client.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.response_head().await;
    running.signal("TERM");
    refused_at_last(address).await;
    home.write("gatepost.toml", &answering("b"));
    running.signal("HUP");
    assert_eq!(client.read_to_end().await, pattern(40));
    assert_eq!(running.wait_exit(PATIENCE).await, 0, "{}", running.said());
    assert!(!running.stderr().iter().any(|line| line.contains("INFO reloaded")), "{}", running.said());
}
