//! How lists are asked for.

use gatepost_gateway::{FetchOutcome, SetState};
use gatepost_testkit::{Authority, Origin, Raw, Script, TestGateway, TlsFront, eventually};

use super::{configuration, fetches, lists, loaded, refresh_to, status_for};
use crate::setup::SOON;

#[tokio::test]
async fn a_list_that_has_not_changed_is_not_sent_again() {
    let list = "HTTP/1.1 200 OK\r\netag: \"v1\"\r\ncontent-length: 10\r\n\r\n127.0.0.1\n";
    let publisher = Origin::in_turn(vec![Script::send(list), Script::send("HTTP/1.1 304 Not Modified\r\n\r\n")]).await;
    let gateway = TestGateway::start(&lists(&format!("{}/list?of=all", publisher.url()))).await;
    loaded(&gateway, "partners").await;
    let first = publisher.last();
    assert_eq!(first.request_line(), "GET /list?of=all HTTP/1.1");
    assert_eq!(first.header("user-agent"), Some(concat!("gatepost/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(first.header("accept-encoding"), Some("identity"));
    assert_eq!(first.header("host"), Some(&*publisher.address().to_string()));
    assert_eq!(first.header("if-none-match"), None);

    refresh_to(&gateway, "partners", FetchOutcome::Unchanged).await;
    assert_eq!(publisher.last().header("if-none-match"), Some("\"v1\""));
    assert_eq!(gateway.address_set("partners").state, SetState::Fresh);
    assert_eq!(status_for(&gateway, "127.0.0.1").await, 200);
}

#[tokio::test]
async fn a_list_may_come_in_chunks() {
    let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\n127.0.0.\r\n2\r\n1\n\r\n0\r\n\r\n";
    let publisher = Origin::start(Script::send(chunks)).await;
    let gateway = TestGateway::start(&lists(&publisher.url())).await;
    loaded(&gateway, "partners").await;
    assert_eq!(status_for(&gateway, "127.0.0.1").await, 200);
    assert_eq!(status_for(&gateway, "127.0.0.12").await, 403);
}

#[tokio::test]
async fn sets_from_one_document_share_one_fetch() {
    let publisher = Origin::start(Script::ok(r#"{"hooks": ["127.0.0.1"], "web": ["127.0.1.0/24"], "none": []}"#)).await;
    let set = |name: &str| format!("[addresses.{name}]\nurl = \"{}/meta\"\npick = \"/{name}\"\n", publisher.url());
    let sets = set("hooks") + &set("web");
    let mut gateway = TestGateway::start(&configuration(&sets, r#"from = ["hooks", "web"]"#)).await;
    loaded(&gateway, "hooks").await;
    loaded(&gateway, "web").await;
    assert_eq!(publisher.count(), 1);
    refresh_to(&gateway, "web", FetchOutcome::Unchanged).await;
    eventually(SOON, || fetches(&gateway, "hooks", FetchOutcome::Unchanged) == 1).await;
    assert_eq!(publisher.count(), 2);

    // One that cannot be had does not harm the others.
    let more = sets + &set("none");
    gateway.apply(&configuration(&more, r#"from = ["hooks", "web", "none"]"#)).await.expect("applied");
    eventually(SOON, || fetches(&gateway, "none", FetchOutcome::Refused) > 0).await;
    assert_eq!(status_for(&gateway, "127.0.0.1").await, 200);
    assert_eq!(status_for(&gateway, "127.0.1.7").await, 200);
    assert_eq!(status_for(&gateway, "127.0.2.1").await, 503);
}

#[tokio::test]
async fn who_publishes_over_tls_must_prove_who_it_is() {
    let authority = Authority::new();
    let publisher = Origin::start(Script::ok("127.0.0.1\n")).await;
    let front = TlsFront::start("127.0.0.1", &authority.issue(&["127.0.0.1"]), publisher.address()).await;
    let gateway = TestGateway::start_believing(&authority, &lists(&front.url())).await;
    loaded(&gateway, "partners").await;
    assert_eq!(status_for(&gateway, "127.0.0.1").await, 200);

    for doubted in [TestGateway::start(&lists(&front.url())).await, {
        let other = Authority::new();
        TestGateway::start_believing(&other, &lists(&front.url())).await
    }] {
        eventually(SOON, || fetches(&doubted, "partners", FetchOutcome::Failed) > 0).await;
        let said = doubted.address_set("partners").last_error.expect("it is told");
        assert!(said.contains("no authority that is believed has issued it"), "{said}");
        assert_eq!(status_for(&doubted, "127.0.0.1").await, 503);
    }
    assert_eq!(publisher.count(), 1);
}

#[tokio::test]
async fn a_name_that_stands_for_this_machine_is_not_asked() {
    let publisher = Origin::start(Script::ok("127.0.0.1\n")).await;
    let url = format!("http://localhost:{}/list", publisher.address().port());
    let gateway = TestGateway::start(&lists(&url)).await;
    eventually(SOON, || fetches(&gateway, "partners", FetchOutcome::Failed) > 0).await;
    let said = gateway.address_set("partners").last_error.expect("it is told");
    assert!(said.contains("a name is asked at public addresses only"), "{said}");
    assert_eq!(publisher.accepted(), 0);
}

#[tokio::test]
async fn a_list_that_drips_delays_nobody() {
    let drip = Script::send("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").then_hang();
    let publisher = Origin::start(drip).await;
    let gateway = TestGateway::start(&lists(&publisher.url())).await;
    eventually(SOON, || publisher.count() == 1).await;
    let mut client = Raw::connect(gateway.address()).await;
    assert_eq!(client.get("/").await.status, 503);
    assert_eq!(client.get("/open").await.status, 200);
    // Whoever asks for the list now does not ask beside the fetch that is under way.
    gateway.refresh_address_sets();
    assert_eq!(client.get("/open").await.status, 200);
    assert_eq!(publisher.accepted(), 1);
}
