//! A backend whose answer is longer than it says: the rest must not become somebody's answer.

use gatepost_testkit::{Origin, Script, TestGateway};

use crate::setup::{Setup, client};

const EVIL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";

#[tokio::test]
async fn what_follows_an_answer_is_nobodys_answer() {
    for first in [
        format!("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood{EVIL}"),
        format!("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood{EVIL}{EVIL}{EVIL}"),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n{EVIL}"),
    ] {
        for _ in 0..10 {
            let origin = Origin::in_turn(vec![Script::send(&*first), Script::ok("next")]).await;
            let text = Setup::to(&origin).text() + "\n[server]\nworkers = 1\n";
            let gateway = TestGateway::start(&text).await;
            let mut one = client(&gateway).await;
            let mut other = client(&gateway).await;
            let response = one.get("/").await;
            assert!(response.status == 502 || response.text() == "good", "{first:?}: {response:?}");
            let response = other.get("/").await;
            assert!(response.status == 502 || response.text() == "next", "{first:?}: {response:?}");
        }
    }
}

#[tokio::test]
async fn a_body_that_no_answer_can_have_is_nobodys_answer() {
    for first in [
        format!("HTTP/1.1 204 No Content\r\ncontent-length: 4\r\n\r\n{EVIL}"),
        format!("HTTP/1.1 304 Not Modified\r\ncontent-length: {}\r\n\r\n{EVIL}", EVIL.len()),
        format!("HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n{EVIL}"),
        format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n{EVIL}"),
    ] {
        for _ in 0..10 {
            let origin = Origin::in_turn(vec![Script::send(&*first), Script::ok("next")]).await;
            let text = Setup::to(&origin).text() + "\n[server]\nworkers = 1\n";
            let gateway = TestGateway::start(&text).await;
            let mut one = client(&gateway).await;
            let mut other = client(&gateway).await;
            let response = one.get("/").await;
            assert!(response.body.is_empty() || response.status == 502, "{first:?}: {response:?}");
            let response = other.get("/").await;
            assert!(response.status == 502 || response.text() == "next", "{first:?}: {response:?}");
            let response = one.get("/").await;
            assert!(response.status == 502 || response.text() == "next", "{first:?}: {response:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_to_head_with_a_body_is_nobodys_answer() {
    for _ in 0..10 {
        let first = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{EVIL}", EVIL.len());
        let origin = Origin::in_turn(vec![Script::send(first), Script::ok("next")]).await;
        let text = Setup::to(&origin).text() + "\n[server]\nworkers = 1\n";
        let gateway = TestGateway::start(&text).await;
        let mut client = client(&gateway).await;
        assert_eq!(client.ask("HEAD / HTTP/1.1\nhost: a\n\n").await.status, 200);
        let response = client.get("/").await;
        assert!(response.status == 502 || response.text() == "next", "{response:?}");
    }
}

#[tokio::test]
async fn an_answer_nobody_asked_for_is_nobodys_answer() {
    // It comes before any request on a connection that waits in the pool.
    for _ in 0..10 {
        let first = Script::ok("first").then_pause(std::time::Duration::from_millis(20)).then_send(EVIL);
        let origin = Origin::in_turn(vec![first, Script::ok("next")]).await;
        let text = Setup::to(&origin).text() + "\n[server]\nworkers = 1\n";
        let gateway = TestGateway::start(&text).await;
        let mut client = client(&gateway).await;
        assert_eq!(client.get("/").await.text(), "first");
        gatepost_testkit::eventually(crate::setup::SOON, || origin.bytes_written() > 80).await;
        let response = client.get("/").await;
        assert!(response.status == 502 || response.text() == "next", "{response:?}");
    }
}

#[tokio::test]
async fn of_chunks_and_a_length_in_an_answer_the_chunks_count() {
    for length in ["2", "4", "9", "abc", "-1"] {
        for lines in [
            format!("content-length: {length}\r\ntransfer-encoding: chunked"),
            format!("transfer-encoding: chunked\r\ncontent-length: {length}"),
        ] {
            let answer = format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n4\r\ngood\r\n0\r\n\r\n");
            let origin = Origin::start(Script::send(answer)).await;
            let gateway = Setup::to(&origin).start().await;
            let mut client = client(&gateway).await;
            client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            let response = client.try_response().await.unwrap_or_else(|error| panic!("{lines:?}: {error}"));
            // RFC 9112, 6.3: both is an error of the backend, and if it is served, then as chunked.
            let served = response.status == 200 && response.text() == "good";
            assert!(served || response.status == 502, "{lines:?}: {} {:?}", response.head, response.text());
        }
    }
}
