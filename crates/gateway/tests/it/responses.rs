//! What a client sees of a backend's answer.

use gatepost_testkit::{Origin, Script};

use crate::setup::{SOON, Setup, client, ending, post, refusal};

#[tokio::test]
async fn what_belongs_to_the_backends_connection_is_not_passed_on() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: X-Inner, keep-alive\r\nkeep-alive: timeout=5\r\n\
        proxy-connection: keep-alive\r\nproxy-authenticate: Basic\r\ntrailer: x-sum\r\nupgrade: h2c\r\nx-inner: 1\r\n\
        x-gatepost-decision: forged\r\nserver: app\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nx-odd: caf\u{e9}\r\n\r\nok";
    let origin = Origin::start(Script::send(answer)).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    let response = client.get("/").await;
    assert_eq!((response.status, &*response.text()), (200, "ok"));
    let mut names: Vec<&str> = response.headers.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    names.retain(|name| *name != "date");
    assert_eq!(names, ["content-length", "server", "set-cookie", "set-cookie", "x-odd"]);
    assert_eq!(response.header("x-odd"), Some("caf\u{e9}"));
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn interim_answers_of_the_backend_are_not_the_answer() {
    let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n\
        HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let origin = Origin::start(Script::send(answer)).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    for _ in 0..3 {
        let response = client.get("/").await;
        assert_eq!((response.status, &*response.text()), (200, "ok"));
        assert_eq!(response.header("link"), None);
    }
    client.send(post("/", b"abc")).await;
    assert_eq!(client.response().await.status, 200);
    assert_eq!(origin.accepted(), 1);
}

#[tokio::test]
async fn answers_without_a_body_have_none_and_the_connection_goes_on() {
    for answer in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 500\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 500 Oh\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let origin = Origin::start(Script::send(answer)).await;
        let gateway = Setup::to(&origin).start().await;
        let mut client = client(&gateway).await;
        for _ in 0..3 {
            let response = client.get("/").await;
            assert_eq!(response.status.to_string(), answer[9..12], "{answer:?}");
            assert_eq!(response.text(), "", "{answer:?}");
        }
        assert_eq!((origin.count(), origin.accepted()), (3, 1), "{answer:?}");
    }
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_whatever_it_announces() {
    for announced in ["content-length: 500", "transfer-encoding: chunked", "server: app"] {
        let origin = Origin::start(Script::send(format!("HTTP/1.1 200 OK\r\n{announced}\r\n\r\n"))).await;
        let gateway = Setup::to(&origin).start().await;
        let mut client = client(&gateway).await;
        for _ in 0..3 {
            assert_eq!(client.ask("HEAD / HTTP/1.1\nhost: a\n\n").await.status, 200, "{announced}");
        }
        assert_eq!((origin.count(), origin.accepted()), (3, 1), "{announced}");
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_arrives_whole() {
    let script = Script::send("HTTP/1.1 200 OK\r\nserver: app\r\n\r\n").then_flood(300_000).then_close();
    let origin = Origin::start(script).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    for _ in 0..2 {
        let response = client.get("/").await;
        assert_eq!(response.status, 200);
        assert!(response.body == gatepost_testkit::pattern(300_000));
    }
    assert_eq!(origin.accepted(), 2);
}

#[tokio::test]
async fn trailers_of_an_answer_are_dropped() {
    let answer =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\nx-sum: 1\r\nset-cookie: a\r\n\r\n";
    let origin = Origin::start(Script::send(answer)).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    for _ in 0..2 {
        let response = client.ask("GET / HTTP/1.1\nhost: a\nte: trailers\n\n").await;
        assert_eq!((response.status, &*response.text(), &*response.trailers), (200, "ok", ""));
    }
    assert_eq!(origin.accepted(), 1, "an answer with trailers ends like any other");
}

#[tokio::test]
async fn an_answer_that_is_shorter_than_announced_is_seen_to_be_cut() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nnonsense\r\n",
    ] {
        let origin = Origin::start(Script::send(answer).then_close()).await;
        let gateway = Setup::to(&origin).start().await;
        let mut client = client(&gateway).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(client.try_response().await.is_err(), "{answer:?} passes for whole");
        let line = ending(&gateway, "upstream").await;
        assert_eq!((&line["status"], &line["verdict"]), (&200.into(), &"admitted".into()), "{answer:?}");
    }
}

#[tokio::test]
async fn a_backend_that_speaks_no_http_is_a_502() {
    let long = format!("HTTP/1.1 200 OK\r\nx-long: {}\r\n\r\n", "x".repeat(70_000));
    for answer in [
        "",
        "garbage\r\n\r\n",
        "SSH-2.0-OpenSSH_9.9\r\n",
        "HTTP/1.1 200",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 No\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        "HTTP/1.1 200 OK\r\ncontent-length: +3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n\x01\x02",
        &long,
    ] {
        let origin = Origin::start(Script::send(answer).then_close()).await;
        let gateway = Setup::to(&origin).start().await;
        let mut client = client(&gateway).await;
        let response = client.ask("POST / HTTP/1.1\nhost: a\ncontent-length: 0\n\n").await;
        let shown = &answer[..answer.len().min(60)];
        assert_eq!((response.status, &*response.text()), (502, r#"{"message":"Bad Gateway"}"#), "{shown:?}");
        assert!(response.header("x-gatepost-decision").is_some());
        let line = refusal(&gateway, "bad_upstream").await;
        assert_eq!(line["verdict"], "admitted", "{shown:?}");
        // The client has done nothing wrong.
        assert!(!response.closes(), "{shown:?}");
        assert_eq!(client.ask("POST / HTTP/1.1\nhost: a\ncontent-length: 0\n\n").await.status, 502);
    }
}

#[tokio::test]
async fn nobody_there_is_a_502_that_says_so_in_the_log() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    drop(origin);
    let mut client = client(&gateway).await;
    let response = client.get("/").await;
    assert_eq!((response.status, &*response.text()), (502, r#"{"message":"Bad Gateway"}"#));
    let line = refusal(&gateway, "unreachable").await;
    assert!(line["detail"].as_str().is_some_and(|detail| detail.contains("127.0.0.1")), "{line}");
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_body_reaches_the_client() {
    let refused = "HTTP/1.1 422 No\r\ncontent-length: 2\r\n\r\nno";
    let origin = Origin::start(Script::send(refused).at_once().then_close()).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    // The rest of the body is still to come when the answer does.
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabc").await;
    let response = client.response().await;
    assert_eq!((response.status, &*response.text()), (422, "no"));
    // Whether the connection goes on or not, what follows the body is never taken for a part of it.
    if client.try_send([&[b'x'; 97][..], b"GET /next HTTP/1.1\r\nhost: a\r\n\r\n"].concat()).await.is_ok()
        && let Ok(next) = client.try_response().await
    {
        assert_eq!(next.status, 422);
        assert_eq!(origin.last().target(), "/next");
    }
}

#[tokio::test]
async fn a_backend_that_closes_in_mid_upload_is_a_502() {
    let origin = Origin::start(Script::hang_up()).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    let response = client.send_while_reading(post("/", &gatepost_testkit::pattern(3 * 1024 * 1024))).await;
    assert_eq!(response.status, 502);
    refusal(&gateway, "bad_upstream").await;
    gatepost_testkit::eventually(SOON, || origin.open() == 0).await;
}

#[tokio::test]
async fn a_backend_of_http_1_0_is_understood() {
    for (answer, connections) in
        [("HTTP/1.0 200 OK\r\n\r\nold", 2), ("HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nold", 2)]
    {
        let origin = Origin::start(Script::send(answer).then_close()).await;
        let gateway = Setup::to(&origin).start().await;
        let mut client = client(&gateway).await;
        for _ in 0..2 {
            let response = client.get("/").await;
            assert_eq!((response.status, &*response.text()), (200, "old"), "{answer:?}");
            assert!(response.head.starts_with("HTTP/1.1 "), "{answer:?}");
        }
        assert_eq!(origin.accepted(), connections, "{answer:?}");
    }
}
