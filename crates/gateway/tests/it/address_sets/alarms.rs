//! What comes in place of a list never opens or closes a door, and is told.

use gatepost_gateway::{FetchOutcome, SetState};
use gatepost_testkit::{Origin, Script, TestGateway, eventually};

use super::{configuration, fetches, lists, loaded, refresh_to, status_for};
use crate::setup::SOON;

#[tokio::test]
async fn what_is_no_list_changes_nothing_and_is_told() {
    let publisher = Origin::start(Script::ok("127.0.0.0/30\n")).await;
    let gateway = TestGateway::start(&lists(&publisher.url())).await;
    loaded(&gateway, "partners").await;
    let head = "HTTP/1.1 200 OK\r\ncontent-length:";
    for (script, outcome, why) in [
        (Script::ok(""), FetchOutcome::Refused, "it holds no address"),
        (Script::ok("# moved\n"), FetchOutcome::Refused, "it holds no address"),
        (Script::ok("<!doctype html><p>Sorry"), FetchOutcome::Refused, "entry 1 is no address and no CIDR"),
        (Script::ok("127.0.0.0/30\n127.0.1\n"), FetchOutcome::Refused, "entry 2 is no address and no CIDR"),
        (Script::ok("127.0.0.0/30\n0.0.0.0/0\n"), FetchOutcome::Refused, "it covers 0.0.0.0/0"),
        (Script::ok("127.0.0.0/30\n0.0.0.0/1\n128.0.0.0/1\n"), FetchOutcome::Refused, "it covers 0.0.0.0/0"),
        (Script::ok("127.0.0.0/30\n::/0\n"), FetchOutcome::Refused, "it covers ::/0"),
        (Script::ok(&every_other_slash_8()), FetchOutcome::Refused, "no list may cover more than 536870912 IPv4"),
        (
            Script::send(format!("{head} 40\r\n\r\n127.0.0.0/30\n127.0.1.0/3")).then_close(),
            FetchOutcome::Failed,
            "broke off",
        ),
        (Script::send("HTTP/1.1 200 OK\r\n\r\n127.0.0.0/3").then_close(), FetchOutcome::Refused, "without its length"),
        (
            Script::send("HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\n127.0.0.0/3").then_close(),
            FetchOutcome::Failed,
            "transfer coding `identity`",
        ),
        (
            Script::send(format!("{head} 40\r\ntransfer-encoding: identity\r\n\r\n127.0.0.0/3")).then_close(),
            FetchOutcome::Failed,
            "transfer coding `identity`",
        ),
        (
            Script::send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nb\r\n127.0.0.0/3\r\n").then_close(),
            FetchOutcome::Failed,
            "broke off",
        ),
        (Script::send("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n"), FetchOutcome::Failed, "the answer was 500"),
        (Script::send("HTTP/1.1 304 Not Modified\r\n\r\n"), FetchOutcome::Failed, "the answer was 304"),
        (
            Script::send("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/other\r\ncontent-length: 0\r\n\r\n"),
            FetchOutcome::Failed,
            "it has moved to http://127.0.0.1:1/other",
        ),
        (
            Script::send(format!("{head} 3\r\ncontent-encoding: gzip\r\n\r\nabc")),
            FetchOutcome::Failed,
            "it is encoded as gzip",
        ),
        (
            Script::send(format!("{head} 99999999999\r\n\r\n127.0.0.1\n")),
            FetchOutcome::Failed,
            "it is longer than 67108864 bytes",
        ),
        (Script::send("what?\r\n\r\n").then_close(), FetchOutcome::Failed, "no answer"),
        (Script::hang_up(), FetchOutcome::Failed, "no answer"),
    ] {
        publisher.from_now_on(script);
        refresh_to(&gateway, "partners", outcome).await;
        let told = || gateway.address_set("partners").last_error.is_some_and(|said| said.contains(why));
        eventually(SOON, told).await;
        assert_eq!(gateway.address_set("partners").state, SetState::Failing, "{why}");
        for (source, status) in [("127.0.0.1", 200), ("127.0.0.3", 200), ("127.0.0.4", 403), ("127.0.1.1", 403)] {
            assert_eq!(status_for(&gateway, source).await, status, "{why}: {source}");
        }
    }
    assert_eq!(gateway.metric("gatepost_address_set_fetches_total{set=\"partners\",outcome=\"held\"}"), 0.0);
    assert_eq!(gateway.metric("gatepost_address_set_fetches_total{set=\"partners\",outcome=\"updated\"}"), 1.0);
    assert_eq!(gateway.metric("gatepost_address_set_update_held{set=\"partners\"}"), 0.0);

    publisher.from_now_on(Script::ok("127.0.0.0/30\n"));
    refresh_to(&gateway, "partners", FetchOutcome::Unchanged).await;
    assert_eq!(gateway.address_set("partners").state, SetState::Fresh);
    assert_eq!(gateway.address_set("partners").last_error, None);
}

#[tokio::test]
async fn an_update_that_changes_too_much_is_held_until_it_is_within_bounds() {
    let publisher = Origin::start(Script::ok("127.0.0.0/30\n")).await;
    let gateway = TestGateway::start(&lists(&publisher.url())).await;
    loaded(&gateway, "partners").await;
    for (list, why) in [
        ("127.0.0.0/30\n127.0.1.0/26\n", "`grow`"),
        ("127.0.0.1\n", "`shrink`"),
        ("127.0.1.0/30\n", "`shrink`"),
        ("2001:db8::/32\n", "`shrink`"),
    ] {
        publisher.from_now_on(Script::ok(list));
        refresh_to(&gateway, "partners", FetchOutcome::Held).await;
        let report = gateway.address_set("partners");
        assert_eq!(report.state, SetState::Held, "{list}");
        assert!(report.held.as_ref().is_some_and(|held| held.contains(why)), "{report:?}");
        assert_eq!(gateway.metric("gatepost_address_set_update_held{set=\"partners\"}"), 1.0);
        assert_eq!(status_for(&gateway, "127.0.0.3").await, 200);
        assert_eq!(status_for(&gateway, "127.0.1.1").await, 403);
    }
    publisher.from_now_on(Script::ok("127.0.0.0/31\n127.0.1.1\n"));
    refresh_to(&gateway, "partners", FetchOutcome::Updated).await;
    assert_eq!(gateway.address_set("partners").state, SetState::Fresh);
    assert_eq!(gateway.metric("gatepost_address_set_update_held{set=\"partners\"}"), 0.0);
    assert_eq!(status_for(&gateway, "127.0.1.1").await, 200);
}

#[tokio::test]
async fn who_widens_the_bounds_or_deletes_the_copy_lets_the_update_in() {
    let publisher = Origin::start(Script::ok("127.0.0.0/30\n")).await;
    let mut gateway = TestGateway::start(&lists(&publisher.url())).await;
    loaded(&gateway, "partners").await;
    publisher.from_now_on(Script::ok("127.0.0.0/24\n"));
    refresh_to(&gateway, "partners", FetchOutcome::Held).await;

    let wider = format!("[addresses.partners]\nurl = \"{}\"\ngrow = 64", publisher.url());
    let updated = fetches(&gateway, "partners", FetchOutcome::Updated);
    gateway.apply(&configuration(&wider, "from = [\"partners\"]")).await.expect("applied");
    // Nobody has to wait for the next fetch.
    eventually(SOON, || fetches(&gateway, "partners", FetchOutcome::Updated) > updated).await;
    assert_eq!(status_for(&gateway, "127.0.0.200").await, 200);

    publisher.from_now_on(Script::ok("127.0.0.1\n"));
    refresh_to(&gateway, "partners", FetchOutcome::Held).await;
    std::fs::remove_file(gateway.state().join("addresses/partners.json")).expect("a copy");
    refresh_to(&gateway, "partners", FetchOutcome::Updated).await;
    assert_eq!(status_for(&gateway, "127.0.0.1").await, 200);
    assert_eq!(status_for(&gateway, "127.0.0.200").await, 403);
}

#[tokio::test]
async fn a_first_list_that_is_too_wide_is_none() {
    let publisher = Origin::start(Script::ok("0.0.0.0/0\n")).await;
    let gateway = TestGateway::start(&lists(&publisher.url())).await;
    eventually(SOON, || fetches(&gateway, "partners", FetchOutcome::Refused) > 0).await;
    assert_eq!(status_for(&gateway, "127.0.0.1").await, 503);
}

/// Half of the internet, and no piece of it too wide.
fn every_other_slash_8() -> String {
    (0..128).map(|n| format!("{}.0.0.0/8\n", 2 * n)).collect()
}
