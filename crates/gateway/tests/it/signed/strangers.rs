//! A good signature from an address that is not listed: a sign that the list is out of date, and no way in.

use gatepost_testkit::{Origin, Response, Script};
use tokio::time::{Duration, Instant, sleep};

use super::*;

const BODY: &[u8] = b"{\"zen\":\"Keep it logically awesome.\"}";
const ENTRY: &str = "from = [\"192.0.2.0/24\", \"127.0.0.3\"]\nexcept = [\"127.0.0.3\"]\nsigned = { github = $secret }";

fn count(gateway: &TestGateway, reason: &str) -> f64 {
    gateway.metric(&format!("gatepost_requests_total{{api=\"default\",route=\"$default\",reason=\"{reason}\"}}"))
}

#[track_caller]
fn assert_forbidden(response: &Response) {
    assert_eq!((response.status, &*response.text()), (403, r#"{"message":"Forbidden"}"#));
    let names: Vec<&str> =
        response.headers.iter().map(|(name, _)| name.as_str()).filter(|name| *name != "date").collect();
    assert_eq!(names, ["content-type", "x-gatepost-decision", "content-length"]);
}

#[tokio::test]
async fn a_good_signature_from_elsewhere_is_403_and_counted_apart() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let gateway = start(&origin, ENTRY).await;
    assert_forbidden(&send(&gateway, plain(&by_github(SECRET, BODY), BODY)).await);
    let lines = gateway.log_until(|lines| lines.len() == 1, crate::setup::SOON).await;
    assert_eq!((&lines[0]["reason"], &lines[0]["status"]), (&"signed_but_not_listed".into(), &403.into()));
    assert_eq!(count(&gateway, "signed_but_not_listed"), 1.0);
    assert_eq!(origin.accepted(), 0);
}

#[tokio::test]
async fn one_request_a_second_is_looked_at() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let gateway = start(&origin, ENTRY).await;
    let request = plain(&by_github(SECRET, BODY), BODY);
    let started = Instant::now();
    for _ in 0..50 {
        assert_forbidden(&send(&gateway, request.clone()).await);
    }
    let looks = count(&gateway, "signed_but_not_listed");
    assert!(looks >= 1.0 && looks <= started.elapsed().as_secs_f64() + 1.0, "{looks}");
    assert_eq!(count(&gateway, "address_not_listed"), 50.0 - looks);
    // And then again: until it is, with a deadline.
    while count(&gateway, "signed_but_not_listed") == looks {
        assert!(started.elapsed() < Duration::from_secs(20));
        sleep(Duration::from_millis(50)).await;
        assert_forbidden(&send(&gateway, request.clone()).await);
    }
}

#[tokio::test]
async fn nobody_is_looked_at_who_gives_no_reason_to() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let long = vec![b'a'; 1024 * 1024 + 1];
    let cases = [
        plain(&by_github(NEXT, BODY), BODY),
        plain(&Vec::new(), BODY),
        plain(&vec![("x-hub-signature-256", "sha256=00".to_owned())], BODY),
        plain(&by_github(SECRET, &long), &long),
        chunked(&by_github(SECRET, BODY), BODY),
    ];
    for request in cases {
        let gateway = start(&origin, ENTRY).await;
        assert_eq!(send(&gateway, request).await.status, 403);
        assert_eq!((count(&gateway, "address_not_listed"), count(&gateway, "signed_but_not_listed")), (1.0, 0.0));
    }
    // Nor who was taken out on purpose.
    let gateway = start(&origin, ENTRY).await;
    let mut client = Raw::connect_from([127, 0, 0, 3].into(), gateway.address()).await;
    client.send(plain(&by_github(SECRET, BODY), BODY)).await;
    assert_eq!(client.response().await.status, 403);
    assert_eq!(count(&gateway, "address_not_listed"), 1.0);
    // Nor who waits to be asked for the body.
    let mut client = Raw::connect(gateway.address()).await;
    client.send(format!("{}expect: 100-continue\r\ncontent-length: 36\r\n\r\n", head(&by_github(SECRET, BODY)))).await;
    assert_eq!(client.response().await.status, 403);
    assert_eq!(count(&gateway, "address_not_listed"), 2.0);
    assert_eq!(origin.accepted(), 0);
}

#[tokio::test]
async fn a_stranger_who_does_not_send_the_body_is_not_waited_for_long() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let gateway = start(&origin, ENTRY).await;
    let mut client = Raw::connect(gateway.address()).await;
    client.send(format!("{}content-length: 36\r\n\r\n{{", head(&by_github(SECRET, BODY)))).await;
    assert_forbidden(&client.response().await);
    assert_eq!(count(&gateway, "address_not_listed"), 1.0);
}
