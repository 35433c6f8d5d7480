//! Load balancers whose addresses are published: `behind` with a set that is fetched.

use gatepost_testkit::{Origin, Raw, Script, TestGateway};

use super::loaded;
use crate::setup::{SOON, refusal};

/// Believes what the list says about the client, who must be 192.0.2.7.
fn behind(publisher: &Origin, more: &str) -> String {
    format!(
        r#"
        [listen.default]
        addresses = ["127.0.0.1:0"]
        behind    = ["balancers", "127.0.0.9"]
        {more}

        [addresses.balancers]
        url = "{}"

        [route."GET /"]
        from    = ["192.0.2.7"]
        respond = {{ status = 200 }}
        "#,
        publisher.url()
    )
}

async fn status_from(gateway: &TestGateway, source: &str, forwarded: &str) -> u16 {
    let mut client = Raw::connect_from(source.parse().expect("an address"), gateway.address()).await;
    client.ask(&format!("GET / HTTP/1.1\nhost: a\nx-forwarded-for: {forwarded}\n\n")).await.status
}

#[tokio::test]
async fn nobody_is_taken_for_the_client_while_it_is_not_known_who_speaks_for_others() {
    let publisher = Origin::start(Script::hang_up()).await;
    let gateway = TestGateway::start(&behind(&publisher, "")).await;
    assert_eq!(status_from(&gateway, "127.0.0.1", "192.0.2.7").await, 503);
    assert_eq!(refusal(&gateway, "addresses_unknown").await["detail"], "the address set balancers was never loaded");
    // Who is listed in so many words is believed; who it speaks for may be one of the balancers, or the client.
    assert_eq!(status_from(&gateway, "127.0.0.9", "192.0.2.7").await, 503);

    publisher.from_now_on(Script::ok("127.0.0.0/29\n"));
    gateway.refresh_address_sets();
    loaded(&gateway, "balancers").await;
    assert_eq!(status_from(&gateway, "127.0.0.1", "192.0.2.7").await, 200);
    assert_eq!(status_from(&gateway, "127.0.0.9", "192.0.2.7").await, 200);
    assert_eq!(status_from(&gateway, "127.0.0.8", "192.0.2.7").await, 403);
    assert_eq!(status_from(&gateway, "127.0.0.1", "192.0.2.8").await, 403);
}

#[tokio::test]
async fn a_connection_that_may_begin_with_a_proxy_header_or_not_is_closed() {
    for mode in ["required", "optional"] {
        let publisher = Origin::start(Script::hang_up()).await;
        let more = format!("proxy_protocol = \"{mode}\"\nforwarded = \"off\"");
        let gateway = TestGateway::start(&behind(&publisher, &more)).await;
        let mut early = Raw::connect(gateway.address()).await;
        early.send("PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        early.expect_close(SOON).await;
        refusal(&gateway, "addresses_unknown").await;

        publisher.from_now_on(Script::ok("127.0.0.1\n"));
        gateway.refresh_address_sets();
        loaded(&gateway, "balancers").await;
        let mut client = Raw::connect(gateway.address()).await;
        client.send("PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n").await;
        assert_eq!(client.get("/").await.status, 200);
    }
}
