//! Connections to backends: which are used again, and which requests are sent again.

use std::time::Duration;

use gatepost_testkit::{Origin, Script, TestGateway, eventually};

use crate::setup::{SOON, Setup, client, post};

/// A URL where nobody listens.
async fn nobody() -> String {
    Origin::start(Script::ok("")).await.url()
}

#[tokio::test]
async fn one_connection_serves_many_requests_in_turn() {
    let origin = Origin::start(Script::echo()).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    for number in 0..100 {
        let body = format!("number {number}");
        client.send(post("/", body.as_bytes())).await;
        assert_eq!(client.response().await.text(), body);
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!((origin.count(), origin.accepted()), (200, 1));
}

#[tokio::test]
async fn requests_at_once_have_connections_of_their_own() {
    let origin = Origin::start(Script::default().then_wait().then_send("HTTP/1.1 204 No\r\n\r\n")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = client(&gateway).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        clients.push(client);
    }
    eventually(SOON, || origin.count() == 5).await;
    assert_eq!(origin.accepted(), 5);
    origin.release();
    for client in &mut clients {
        assert_eq!(client.response().await.status, 204);
    }
}

#[tokio::test]
async fn a_connection_that_the_backend_closed_while_it_was_idle_is_no_error() {
    let origin = Origin::start(Script::echo()).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    for round in 1..=5 {
        assert_eq!(client.get("/").await.status, 200);
        client.send(post("/", b"not to be lost")).await;
        assert_eq!(client.response().await.text(), "not to be lost");
        assert_eq!(origin.accepted(), round);
        origin.close_idle();
        eventually(SOON, || origin.open() == 0).await;
    }
    assert_eq!(origin.count(), 10);
}

#[tokio::test]
async fn a_request_that_meets_the_close_of_its_connection_is_sent_again_if_that_can_do_no_harm() {
    for (request, status, seen) in [
        ("GET /again HTTP/1.1\r\nhost: a\r\n\r\n", 200, 3),
        ("PUT /again HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", 200, 3),
        ("POST /again HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", 502, 2),
        ("POST /again HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc", 502, 2),
        ("PUT /again HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc", 502, 2),
        ("PUT /again HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 502, 2),
        ("PATCH /again HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", 502, 2),
    ] {
        let origin = Origin::in_turn(vec![Script::ok("first"), Script::hang_up(), Script::ok("again")]).await;
        let gateway = Setup::to(&origin).start().await;
        let mut client = client(&gateway).await;
        assert_eq!(client.get("/").await.text(), "first");
        client.send(request).await;
        assert_eq!(client.response().await.status, status, "{request:?}");
        assert_eq!(origin.count(), seen, "{request:?}");
    }
}

#[tokio::test]
async fn a_request_on_a_new_connection_is_not_sent_again_unless_the_route_says_so() {
    let origin = Origin::in_turn(vec![Script::hang_up(), Script::ok("")]).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    assert_eq!(client.get("/").await.status, 502);
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_half_answered_connection_is_not_used_again() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc";
    let origin = Origin::in_turn(vec![Script::send(half).then_hang(), Script::ok("whole")]).await;
    let gateway = Setup::to(&origin).start().await;
    let mut gone = client(&gateway).await;
    gone.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(gone.response_head().await.status, 200);
    drop(gone);
    eventually(SOON, || origin.open() == 0).await;
    let mut client = client(&gateway).await;
    assert_eq!(client.get("/").await.text(), "whole");
    assert_eq!(origin.accepted(), 2);
}

#[tokio::test]
async fn a_connection_whose_request_was_not_read_to_its_end_is_not_used_again() {
    let early = Script::send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly").at_once().then_hang();
    let origin = Origin::in_turn(vec![early, Script::ok("clean")]).await;
    let text = Setup::to(&origin).text() + "\n[server]\nworkers = 1\n";
    let gateway = TestGateway::start(&text).await;
    let mut hasty = client(&gateway).await;
    hasty.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabc").await;
    assert_eq!(hasty.response().await.text(), "early");
    drop(hasty);
    let mut client = client(&gateway).await;
    assert_eq!(client.get("/").await.text(), "clean");
    assert_eq!(origin.last().connection, 1, "the first one still waits for 97 bytes");
}

#[tokio::test]
async fn a_backend_that_says_close_is_believed() {
    let origin =
        Origin::start(Script::send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    for round in 1..=3 {
        let response = client.get("/").await;
        assert_eq!((response.status, response.closes()), (200, false), "its connection is not the client's");
        assert_eq!(origin.accepted(), round);
    }
}

#[tokio::test]
async fn targets_take_turns() {
    let origins =
        [Origin::start(Script::ok("")).await, Origin::start(Script::ok("")).await, Origin::start(Script::ok("")).await];
    let gateway = Setup::to_upstream(&[&origins[0], &origins[1], &origins[2]]).start().await;
    let mut client = client(&gateway).await;
    for _ in 0..12 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(origins.each_ref().map(Origin::count), [4, 4, 4]);
    assert_eq!(origins.each_ref().map(Origin::accepted), [1, 1, 1]);
}

#[tokio::test]
async fn a_target_where_nobody_listens_costs_a_try_and_not_the_request() {
    let origin = Origin::start(Script::echo()).await;
    let gateway = Setup::to_urls(&[nobody().await, origin.url()]).forward("retries = 1").start().await;
    let mut client = client(&gateway).await;
    for _ in 0..6 {
        // Nothing was sent, so even a POST with a body may go elsewhere.
        client.send(post("/", b"abc")).await;
        let response = client.response().await;
        assert_eq!((response.status, &*response.text()), (200, "abc"));
    }
    let lines = gateway.log_until(|lines| lines.len() == 6, SOON).await;
    assert!(lines.iter().any(|line| line["attempts"] == 2), "{lines:#?}");
    assert!(lines.iter().all(|line| line["upstream"] == origin.address().to_string()), "{lines:#?}");
}

#[tokio::test]
async fn without_retries_a_target_where_nobody_listens_is_a_502() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to_urls(&[nobody().await, origin.url()]).start().await;
    let mut client = client(&gateway).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(client.get("/").await.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 502, 502]);
}

#[tokio::test]
async fn retries_end() {
    let hanging = Origin::start(Script::hang_up()).await;
    let gateway = Setup::to(&hanging).forward("retries = 3").start().await;
    let mut client = client(&gateway).await;
    assert_eq!(client.get("/").await.status, 502);
    assert_eq!(hanging.count(), 4);
}

#[tokio::test]
async fn what_may_have_reached_a_target_goes_to_another_only_if_it_is_idempotent_and_empty() {
    for (request, retried) in [
        ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", true),
        ("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n", true),
        ("DELETE / HTTP/1.1\r\nhost: a\r\n\r\n", true),
        ("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", true),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", false),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc", false),
        ("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc", false),
        ("DELETE / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", false),
        ("PATCH / HTTP/1.1\r\nhost: a\r\n\r\n", false),
        ("LOCK / HTTP/1.1\r\nhost: a\r\n\r\n", false),
    ] {
        let hanging = Origin::start(Script::hang_up()).await;
        let answering = Origin::start(Script::send("HTTP/1.1 204 No Content\r\n\r\n")).await;
        let gateway = Setup::to_upstream(&[&hanging, &answering]).forward("retries = 1").start().await;
        let mut client = client(&gateway).await;
        // Whose turn is first is not promised: two requests meet both.
        let mut statuses = Vec::new();
        for _ in 0..2 {
            client.send(request).await;
            statuses.push(client.response_without_body().await.status);
            if statuses.last() == Some(&502) && request.starts_with("HEAD") {
                break;
            }
            if statuses.last() == Some(&502) {
                client = crate::setup::client(&gateway).await;
            }
        }
        statuses.sort_unstable();
        assert_eq!(statuses, if retried { [204, 204] } else { [204, 502] }, "{request:?}");
        assert!(hanging.count() == 1 || retried, "{request:?}");
        assert_eq!(answering.count(), if retried { 2 } else { 1 }, "{request:?}");
    }
}

#[tokio::test]
async fn a_target_that_answers_with_an_error_is_not_tried_again() {
    let failing = Origin::start(Script::send("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n")).await;
    let gateway = Setup::to(&failing).forward("retries = 3").start().await;
    let mut client = client(&gateway).await;
    assert_eq!(client.get("/").await.status, 503);
    assert_eq!(failing.count(), 1);
}

#[tokio::test]
async fn an_answer_before_the_end_of_its_request_holds_up_no_other_request() {
    let early = Script::send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly").at_once().then_hang();
    let origin = Origin::in_turn(vec![early, Script::ok("clean")]).await;
    let text = Setup::to(&origin).text() + "\n[server]\nworkers = 1\n";
    let gateway = TestGateway::start(&text).await;
    let mut slow = client(&gateway).await;
    slow.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabc").await;
    assert_eq!(slow.response().await.text(), "early");
    // It still owes 97 bytes; that is between it and its own connection to the backend.
    let mut client = client(&gateway).await;
    let answer = tokio::time::timeout(Duration::from_secs(5), client.get("/")).await;
    assert_eq!(answer.expect("another client's upload is no reason to wait").text(), "clean");
}

#[tokio::test]
async fn a_connection_that_nobody_needs_is_closed() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(origin.open(), 1);
    eventually(SOON, || origin.open() == 0).await;
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_not_asked_for_again() {
    let many: String = (0..200).map(|number| format!("x-{number}: 1\r\n")).collect();
    for nonsense in [
        "garbage\r\n\r\n".to_owned(),
        "SSH-2.0-OpenSSH_9.9\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd".to_owned(),
        format!("HTTP/1.1 200 OK\r\n{many}content-length: 0\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\nx-long: {}\r\n\r\n", "x".repeat(70_000)),
    ] {
        let shown = &nonsense[..nonsense.len().min(60)];
        let origin =
            Origin::in_turn(vec![Script::ok("first"), Script::send(&*nonsense).then_hang(), Script::ok("again")]).await;
        let gateway = Setup::to(&origin).start().await;
        let mut client = client(&gateway).await;
        assert_eq!(client.get("/").await.text(), "first");
        // On the connection that waits; whoever answers at all has had the request.
        assert_eq!(client.get("/nonsense").await.status, 502, "{shown:?}");
        assert_eq!((origin.count(), origin.last().connection), (2, 0), "{shown:?}");
        let lines = gateway.log_until(|lines| lines.len() == 2, SOON).await;
        assert_eq!(lines[1]["reason"], "bad_upstream", "{shown:?}: {}", lines[1]);
        assert!(lines[1]["attempts"].is_null(), "{shown:?}: {}", lines[1]);
        assert_eq!(client.get("/").await.text(), "again", "{shown:?}");
    }
}
