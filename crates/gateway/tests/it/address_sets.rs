//! Address sets that are fetched: before the first list, while lists change, and when what comes is no list.

mod alarms;
mod fetching;
mod senders;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gatepost_gateway::{FetchOutcome, SetState};
use gatepost_testkit::{Origin, Raw, Script, TestGateway, eventually};

use crate::setup::{SOON, refusal};

/// A configuration whose route `GET /` lets in what the text at `url` lists.
fn lists(url: &str) -> String {
    configuration(&format!("[addresses.partners]\nurl = \"{url}\""), "from = [\"partners\"]")
}

/// A configuration with these sets, and this entry of `GET /`.
fn configuration(sets: &str, entry: &str) -> String {
    format!(
        r#"
        [listen.default]
        addresses = ["127.0.0.1:0"]

        {sets}

        [route."GET /"]
        {entry}
        respond = {{ status = 200 }}

        [route."GET /open"]
        open    = true
        respond = {{ status = 200 }}
        "#
    )
}

/// The status of a request from this address.
async fn status_for(gateway: &TestGateway, source: &str) -> u16 {
    let source: IpAddr = source.parse().expect("an address");
    Raw::connect_from(source, gateway.address()).await.get("/").await.status
}

/// How many fetches for the set came to this.
fn fetches(gateway: &TestGateway, set: &str, outcome: FetchOutcome) -> u64 {
    gateway.address_set(set).fetches[outcome as usize]
}

/// Has the list asked for until one more fetch came to this.
async fn refresh_to(gateway: &TestGateway, set: &str, outcome: FetchOutcome) {
    let before = fetches(gateway, set, outcome);
    gateway.refresh_address_sets();
    eventually(SOON, || fetches(gateway, set, outcome) > before).await;
}

/// Waits until the set has its first copy.
async fn loaded(gateway: &TestGateway, set: &str) {
    eventually(SOON, || gateway.address_set(set).age.is_some()).await;
}

#[tokio::test]
async fn until_its_first_list_a_set_answers_503_and_then_by_the_list() {
    let publisher = Origin::start(Script::send("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n")).await;
    let gateway = TestGateway::start(&lists(&publisher.url())).await;
    let mut client = Raw::connect(gateway.address()).await;
    let refused = client.get("/").await;
    assert_eq!((refused.status, refused.text().as_str()), (503, r#"{"message":"Service Unavailable"}"#));
    assert_eq!(refusal(&gateway, "addresses_unknown").await["detail"], "the address set partners was never loaded");
    assert_eq!(client.get("/open").await.status, 200);
    assert_eq!(gateway.address_set("partners").state, SetState::NeverLoaded);
    assert_eq!(gateway.metric("gatepost_address_set_loaded{set=\"partners\"}"), 0.0);

    publisher.from_now_on(Script::ok("127.0.0.0/30\n127.0.1.1\n"));
    gateway.refresh_address_sets();
    loaded(&gateway, "partners").await;
    assert_eq!(client.get("/").await.status, 200);
    for (source, status) in [("127.0.0.3", 200), ("127.0.0.4", 403), ("127.0.1.1", 200), ("127.0.1.2", 403)] {
        assert_eq!(status_for(&gateway, source).await, status, "{source}");
    }
    let report = gateway.address_set("partners");
    assert_eq!((report.state, report.networks, report.extent.four), (SetState::Fresh, 2, 5));
    assert_eq!(gateway.metric("gatepost_address_set_loaded{set=\"partners\"}"), 1.0);
    assert_eq!(gateway.metric("gatepost_address_set_prefixes{set=\"partners\"}"), 2.0);
}

#[tokio::test]
async fn only_what_depends_on_a_set_without_a_list_answers_503() {
    let publisher = Origin::start(Script::hang_up()).await;
    let set =
        format!("[addresses.unknown]\nurl = \"{}\"\n[addresses.known]\nlist = [\"127.0.0.0/24\"]", publisher.url());
    for (entry, status) in [
        (r#"from = ["127.0.0.1", "unknown"]"#, 200),
        (r#"from = ["known", "unknown"]"#, 200),
        (r#"from = ["127.0.0.2", "unknown"]"#, 503),
        ("from = [\"known\"]\nexcept = [\"unknown\"]", 503),
        ("from = [\"known\"]\nexcept = [\"127.0.0.1\", \"unknown\"]", 403),
        ("from = [\"127.0.0.2\"]\nexcept = [\"unknown\"]", 403),
    ] {
        let gateway = TestGateway::start(&configuration(&set, entry)).await;
        assert_eq!(status_for(&gateway, "127.0.0.1").await, status, "{entry}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_lists_change_no_request_is_judged_by_half_of_one() {
    let (first, second) = ("127.0.0.1\n127.0.3.0/30\n127.0.1.0/30\n", "127.0.0.1\n127.0.3.0/30\n127.0.2.0/30\n");
    let publisher = Origin::start(Script::ok(first)).await;
    let gateway = TestGateway::start(&lists(&publisher.url())).await;
    loaded(&gateway, "partners").await;
    let address = gateway.address();

    let over = Arc::new(AtomicBool::new(false));
    let hammer = |source: &'static str, expected: &'static [u16]| {
        let over = Arc::clone(&over);
        tokio::spawn(async move {
            let mut client = Raw::connect_from(source.parse().expect("an address"), address).await;
            let mut count = 0_u32;
            while !over.load(Ordering::Relaxed) {
                let status = client.get("/").await.status;
                assert!(expected.contains(&status), "{source}: {status}");
                count += 1;
            }
            count
        })
    };
    let hammers = [
        hammer("127.0.0.1", &[200]),
        hammer("127.0.0.1", &[200]),
        hammer("127.0.0.2", &[403]),
        hammer("127.0.1.1", &[200, 403]),
        hammer("127.0.2.1", &[200, 403]),
    ];
    for turn in 0..40 {
        let (list, listed, not_listed) =
            if turn % 2 == 0 { (second, "127.0.2.2", "127.0.1.2") } else { (first, "127.0.1.2", "127.0.2.2") };
        publisher.from_now_on(Script::ok(list));
        refresh_to(&gateway, "partners", FetchOutcome::Updated).await;
        // The very next request is judged by the new list.
        assert_eq!(status_for(&gateway, listed).await, 200);
        assert_eq!(status_for(&gateway, not_listed).await, 403);
    }
    over.store(true, Ordering::Relaxed);
    for hammer in hammers {
        assert!(hammer.await.expect("no wrong verdict") > 0);
    }
}

#[tokio::test]
async fn a_set_lives_on_over_reloads_as_long_as_its_list_is_the_same() {
    let publisher = Origin::start(Script::ok("127.0.0.1\n")).await;
    let mut gateway = TestGateway::start(&lists(&publisher.url())).await;
    loaded(&gateway, "partners").await;
    let mut client = Raw::connect(gateway.address()).await;

    gateway
        .apply(&format!("{}\n[route.\"GET /new\"]\nopen = true\nrespond = {{}}", lists(&publisher.url())))
        .await
        .expect("applied");
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(publisher.count(), 1);

    // Another list, which cannot be had: nothing is known of it, whatever was known of the one before.
    let gone = Origin::start(Script::hang_up()).await;
    gateway.apply(&lists(&gone.url())).await.expect("applied");
    assert_eq!(client.get("/").await.status, 503);

    // A set that nothing uses any more is not asked for.
    gateway.apply(&configuration("", "open = true")).await.expect("applied");
    assert!(gateway.address_sets().is_empty());
    assert!(!gateway.metrics().contains("partners"));
}

#[tokio::test]
async fn the_last_good_copy_is_used_after_a_restart_even_if_nobody_publishes_any_more() {
    let state = tempfile::tempdir().expect("a directory");
    let in_state = |model: &mut gatepost_config::model::Model| model.server.state = state.path().to_owned();
    let publisher = Origin::start(Script::ok("127.0.0.1\n")).await;
    let text = lists(&publisher.url());
    let gateway = TestGateway::start_with(&text, in_state).await;
    loaded(&gateway, "partners").await;
    gateway.stop(Duration::ZERO).await;
    drop(publisher);

    let again = TestGateway::start_with(&text, in_state).await;
    assert_eq!(status_for(&again, "127.0.0.1").await, 200);
    assert_eq!(status_for(&again, "127.0.0.2").await, 403);
    refresh_to(&again, "partners", FetchOutcome::Failed).await;
    assert_eq!(status_for(&again, "127.0.0.1").await, 200);
    assert_eq!(again.address_set("partners").state, SetState::Failing);
    again.stop(Duration::ZERO).await;

    // A copy that was damaged is as good as none.
    let copy = state.path().join("addresses/partners.json");
    let text_of_it = std::fs::read_to_string(&copy).expect("a copy");
    std::fs::write(&copy, &text_of_it[..text_of_it.len() - 2]).expect("written");
    let damaged = TestGateway::start_with(&text, in_state).await;
    assert_eq!(status_for(&damaged, "127.0.0.1").await, 503);
}

#[tokio::test]
async fn all_sets_are_told_of() {
    let publisher = Origin::start(Script::ok(r#"{"a": ["127.0.0.1"], "b": ["2001:db8::/47"]}"#)).await;
    let sets = format!(
        r#"
        [addresses.office]
        list = ["192.0.2.0/25", "192.0.2.128/25"]
        [addresses.b]
        url  = "{}"
        pick = "/b"
        "#,
        publisher.url()
    );
    let gateway = TestGateway::start(&configuration(&sets, r#"from = ["office", "b", "198.51.100.1"]"#)).await;
    loaded(&gateway, "b").await;
    let sets = gateway.address_sets();
    let told: Vec<_> = sets.iter().map(|set| (&*set.name, set.networks, set.extent.four, set.extent.six)).collect();
    assert_eq!(told, [("b", 1, 0, 131_072.0), ("office", 1, 256, 0.0)]);
    assert_eq!(sets[0].fetched.as_ref().map(|set| set.url.clone()), Some(format!("{}/", publisher.url())));
    assert!(sets[1].fetched.is_none());
}
