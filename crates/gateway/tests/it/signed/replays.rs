//! `replay = "refuse"`: a delivery that was let in is not let in again.

use gatepost_testkit::{Origin, Script, eventually};

use super::*;
use crate::setup::{SOON, refusal};

const BODY: &[u8] = b"{\"amount\":100}";
const REFUSE: &str = "signed = { github = $secret, replay = \"refuse\" }";

fn delivery(id: &str, body: &[u8]) -> Vec<u8> {
    let mut fields = by_github(SECRET, body);
    fields.push(("x-github-delivery", id.to_owned()));
    plain(&fields, body)
}

#[tokio::test]
async fn a_delivery_that_comes_again_is_401() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let gateway = start(&origin, REFUSE).await;
    assert_eq!(send(&gateway, delivery("1", BODY)).await.status, 200);
    let again = send(&gateway, delivery("1", BODY)).await;
    assert_eq!((again.status, &*again.text()), (401, r#"{"message":"Unauthorized"}"#));
    refusal(&gateway, "replayed").await;
    // Another id beside the same body is no other delivery: anybody can write that.
    assert_eq!(send(&gateway, delivery("2", BODY)).await.status, 401);
    // And a sender gives no id twice.
    assert_eq!(send(&gateway, delivery("1", b"another")).await.status, 401);
    assert_eq!(send(&gateway, delivery("3", b"another")).await.status, 200);
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_delivery_that_may_come_again_does() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let gateway = start(&origin, GITHUB).await;
    for _ in 0..2 {
        assert_eq!(send(&gateway, delivery("1", BODY)).await.status, 200);
    }
}

#[tokio::test]
async fn every_scheme_knows_a_delivery_again() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let time = now();
    let hmac_fields = |body: &[u8], id: &str| {
        vec![("x-signature", hex(&hmac(SECRET.as_bytes(), &[body]))), ("x-delivery-id", id.to_owned())]
    };
    let cases = [
        (
            "signed = { stripe = $secret, replay = \"refuse\" }",
            by_stripe(SECRET, time, BODY),
            by_stripe(SECRET, time - 1, BODY),
        ),
        (
            "signed = { slack = $secret, replay = \"refuse\" }",
            by_slack(SECRET, time, BODY),
            by_slack(SECRET, time - 1, BODY),
        ),
        (
            "signed = { standard-webhooks = $standard, replay = \"refuse\" }",
            by_standard("msg_1", time, BODY),
            by_standard("msg_2", time, BODY),
        ),
        (
            "signed = { hmac-sha256 = { secret = $secret, header = \"x-signature\", id = \"x-delivery-id\" }, replay = \"refuse\" }",
            hmac_fields(BODY, "1"),
            Vec::new(),
        ),
    ];
    for (entry, first, other) in cases {
        let gateway = start(&origin, entry).await;
        assert_eq!(send(&gateway, plain(&first, BODY)).await.status, 200, "{entry}");
        assert_eq!(send(&gateway, plain(&first, BODY)).await.status, 401, "{entry}");
        refusal(&gateway, "replayed").await;
        if !other.is_empty() {
            assert_eq!(send(&gateway, plain(&other, BODY)).await.status, 200, "{entry}");
        }
    }
    // The sender of a webhook signs anew when it tries again, and keeps the id.
    let gateway = start(&origin, "signed = { standard-webhooks = $standard, replay = \"refuse\" }").await;
    assert_eq!(send(&gateway, plain(&by_standard("msg_1", time, BODY), BODY)).await.status, 200);
    assert_eq!(send(&gateway, plain(&by_standard("msg_1", time - 1, BODY), BODY)).await.status, 401);
}

#[tokio::test]
async fn of_two_at_once_one_enters() {
    let origin = Origin::start(Script::default().then_wait().then_send("HTTP/1.1 204 No Content\r\n\r\n")).await;
    let gateway = start(&origin, REFUSE).await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let address = gateway.address();
        clients.spawn(async move { Raw::connect(address).await.send_while_reading(delivery("1", BODY)).await.status });
    }
    let replayed = "gatepost_requests_total{api=\"default\",route=\"$default\",reason=\"replayed\"}";
    eventually(SOON, || gateway.metric(replayed) == 7.0).await;
    origin.release();
    let mut statuses = clients.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 401, 401, 401, 401, 401, 401, 401]);
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_sender_may_try_again_what_did_not_arrive() {
    let failing = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
    let busy = "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n";
    let scripts = vec![Script::send(failing), Script::hang_up(), Script::send(busy), Script::ok("thanks")];
    let origin = Origin::in_turn(scripts).await;
    let gateway = start(&origin, REFUSE).await;
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(send(&gateway, delivery("1", BODY)).await.status);
    }
    assert_eq!(statuses, [500, 502, 429, 200, 401]);

    let gone = origin.url();
    drop(origin);
    let replaced = Origin::start(Script::ok("thanks")).await;
    let text = configuration(&replaced, REFUSE);
    let mut gateway = TestGateway::start(&text.replace(&replaced.url(), &gone)).await;
    assert_eq!(send(&gateway, delivery("1", BODY)).await.status, 502);
    gateway.apply(&text).await.unwrap();
    assert_eq!(send(&gateway, delivery("1", BODY)).await.status, 200);
    assert_eq!(send(&gateway, delivery("1", BODY)).await.status, 401);
}

#[tokio::test]
async fn a_delivery_that_was_throttled_may_come_again() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let entry = format!("{REFUSE}\nparallel = 1");
    let mut gateway = start(&origin, &format!("{entry}\nthrottle = {{ rate = \"1/d\", burst = 1 }}")).await;
    assert_eq!(send(&gateway, delivery("1", BODY)).await.status, 200);
    assert_eq!(send(&gateway, delivery("2", b"another")).await.status, 429);
    gateway.apply(&configuration(&origin, &entry)).await.unwrap();
    assert_eq!(send(&gateway, delivery("2", b"another")).await.status, 200);
}

#[tokio::test]
async fn a_reload_forgets_no_delivery() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let mut gateway = start(&origin, REFUSE).await;
    assert_eq!(send(&gateway, delivery("1", BODY)).await.status, 200);
    let rotated = "signed = { github = [$next, $secret], replay = \"refuse\" }";
    gateway.apply(&configuration(&origin, rotated)).await.unwrap();
    assert_eq!(send(&gateway, delivery("1", BODY)).await.status, 401);
    // Not even one that takes the rule away and brings it back.
    gateway.apply(&configuration(&origin, "open = true")).await.unwrap();
    gateway.apply(&configuration(&origin, REFUSE)).await.unwrap();
    assert_eq!(send(&gateway, delivery("1", BODY)).await.status, 401);
}
