//! Backends that are spoken to in HTTP/2.

use std::time::Duration;

use gatepost_config::model::{HttpVersion, Upstream};
use gatepost_gateway::TargetState;
use gatepost_testkit::http2_raw::{PREFACE, data, flag, frame, headers, kind, settings};
use gatepost_testkit::{Answer, Http2Origin, Origin, Raw, Script, TestGateway, eventually, pattern};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::setup::{SOON, Setup, chunks, client, ending, post, post_chunked, refusal};

fn two(upstream: &mut Upstream) {
    upstream.http = HttpVersion::Two;
}

fn setup(origin: &Http2Origin) -> Setup {
    Setup::to_urls(&[origin.url()])
}

async fn start(setup: &Setup) -> TestGateway {
    setup.start_with(two).await
}

/// One thread, so that all requests find the same connections.
async fn start_on_one_thread(setup: &Setup) -> TestGateway {
    let text = setup.text() + "\n[server]\nworkers = 1\n";
    TestGateway::start_with(&text, |model| crate::setup::change_upstreams(model, two)).await
}

async fn ask(gateway: &TestGateway) -> Raw {
    let mut client = client(gateway).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client
}

#[tokio::test]
async fn a_request_and_its_answer_pass_whole() {
    let body = pattern(1_000_000);
    let origin = Http2Origin::start(Answer::ok(body.clone()).status(201).header("x-answer", "yes")).await;
    let gateway = start(&setup(&origin)).await;
    let mut client = client(&gateway).await;
    for request in [post("/path?query=1", &body), post_chunked("/path?query=1", &body)] {
        let response = client.send_while_reading(request).await;
        assert_eq!((response.status, response.header("x-answer")), (201, Some("yes")));
        assert!(response.body == body);
    }
    for received in origin.requests() {
        assert_eq!(received.head.method, "POST");
        assert_eq!(received.head.uri.to_string(), format!("{}/path?query=1", origin.url()));
        assert!(received.body.as_deref() == Some(&*body));
        assert_eq!(received.head.headers["x-forwarded-host"], "gateway.test");
        for name in ["host", "connection", "transfer-encoding", "keep-alive", "te"] {
            assert!(!received.head.headers.contains_key(name), "{name}");
        }
    }
    assert_eq!(origin.accepted(), 1);
}

#[tokio::test]
async fn the_log_says_what_is_wrong_with_a_backend_that_does_not_speak_http_2() {
    let origin = Origin::start(Script::send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")).await;
    let gateway = Setup::to(&origin).start_with(two).await;
    assert_eq!(client(&gateway).await.get("/").await.status, 502);
    let line = refusal(&gateway, "bad_upstream").await;
    let detail = line["detail"].as_str().expect("a text");
    assert!(detail.starts_with("http2 error: "), "{detail}");
}

#[tokio::test]
async fn the_backend_is_asked_for_its_own_host_or_the_clients_or_a_literal_one() {
    let origin = Http2Origin::start(Answer::ok("")).await;
    let own = origin.address().to_string();
    for (host, seen) in [("upstream", &*own), ("client", "client.test:8080"), ("api.example.com", "api.example.com")] {
        let gateway = start(&setup(&origin).forward(&format!("host = \"{host}\""))).await;
        let mut client = client(&gateway).await;
        client.send("GET / HTTP/1.1\r\nhost: client.test:8080\r\n\r\n").await;
        assert_eq!(client.response().await.status, 200);
        let last = origin.requests().pop().unwrap();
        assert_eq!(last.head.uri.authority().unwrap().as_str(), seen, "{host}");
    }
}

#[tokio::test]
async fn a_clients_host_stays_when_its_request_goes_to_another_target() {
    let origin = Http2Origin::start(Answer::ok("")).await;
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let nobody_url = format!("http://{}", nobody.local_addr().unwrap());
    let setup = Setup::to_urls(&[nobody_url, origin.url()]).forward("retries = 1, host = \"client\"");
    let gateway = start(&setup).await;
    let mut client = client(&gateway).await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nhost: client.test\r\n\r\n").await;
        assert_eq!(client.response().await.status, 200);
    }
    assert!(origin.requests().iter().all(|request| request.head.uri.host() == Some("client.test")));
}

#[tokio::test]
async fn many_requests_at_once_share_a_connection() {
    let origin = Http2Origin::start(Answer::ok("whole").waits()).await;
    let gateway = start_on_one_thread(&setup(&origin)).await;
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(ask(&gateway).await);
    }
    eventually(SOON, || origin.under_way() == 50).await;
    assert_eq!(origin.accepted(), 1);
    assert_eq!(gateway.target(origin.address()).requests, 50);
    origin.release();
    for client in &mut clients {
        assert_eq!(client.response().await.text(), "whole");
    }
    eventually(SOON, || gateway.target(origin.address()).requests == 0).await;
}

#[tokio::test]
async fn where_the_backend_permits_few_requests_at_once_there_are_more_connections() {
    let origin = Http2Origin::permitting(2, Answer::ok("").waits()).await;
    let gateway = start_on_one_thread(&setup(&origin)).await;
    // The first request learns what is permitted.
    let mut clients = vec![ask(&gateway).await];
    eventually(SOON, || origin.under_way() == 1).await;
    for number in 2..=6 {
        clients.push(ask(&gateway).await);
        eventually(SOON, || origin.under_way() == number).await;
    }
    assert_eq!(origin.accepted(), 3);
    origin.release();
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
    }
}

#[tokio::test]
async fn beyond_a_few_connections_requests_wait_for_room() {
    let origin = Http2Origin::permitting(1, Answer::ok("").waits()).await;
    let gateway = start_on_one_thread(&setup(&origin)).await;
    let mut clients = Vec::new();
    for _ in 0..12 {
        clients.push(ask(&gateway).await);
    }
    eventually(SOON, || gateway.target(origin.address()).requests == 12).await;
    origin.release();
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
    }
    assert!(origin.accepted() <= 8, "{} connections", origin.accepted());
}

#[tokio::test]
async fn clients_that_read_nothing_hold_up_nobody_on_the_same_connection() {
    let whole = pattern(4_000_000);
    let origin = Http2Origin::start(Answer::ok(whole.clone())).await;
    let gateway = start_on_one_thread(&setup(&origin)).await;
    let mut lazy = Vec::new();
    for _ in 0..20 {
        let mut client = Raw::connect_narrow(4096, gateway.address()).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.response_head().await.status, 200);
        lazy.push(client);
    }
    let mut client = client(&gateway).await;
    for _ in 0..3 {
        let answer = tokio::time::timeout(SOON, client.get("/")).await;
        assert!(answer.expect("others' answers are no reason to wait").body == whole);
    }
    assert_eq!((origin.accepted(), gateway.target(origin.address()).requests), (1, 20));
}

#[tokio::test]
async fn a_backend_that_closes_in_good_order_fails_no_request() {
    let origin = Http2Origin::start(Answer::ok("done").waits()).await;
    let gateway = start_on_one_thread(&setup(&origin)).await;
    let mut before = ask(&gateway).await;
    eventually(SOON, || origin.under_way() == 1).await;
    origin.close();
    // New ones go elsewhere once the backend's word has come.
    let mut after = Vec::new();
    while origin.accepted() < 2 {
        after.push(ask(&gateway).await);
        let sent = after.len() + 1;
        eventually(SOON, || origin.requests().len() == sent).await;
    }
    origin.release();
    assert_eq!(before.response().await.text(), "done");
    for client in &mut after {
        assert_eq!(client.response().await.text(), "done");
    }
    eventually(SOON, || origin.open() == 1).await;
}

#[tokio::test]
async fn a_request_whose_connection_breaks_is_sent_again_if_that_can_do_no_harm() {
    for (request, status, seen) in [
        ("GET /again HTTP/1.1\r\nhost: a\r\n\r\n", 200, 3),
        ("POST /again HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", 502, 2),
        ("PUT /again HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc", 502, 2),
    ] {
        let origin = Http2Origin::start(Answer::ok("").waits()).await;
        let gateway = start_on_one_thread(&setup(&origin)).await;
        let mut waiting = ask(&gateway).await;
        eventually(SOON, || origin.under_way() == 1).await;
        let mut client = client(&gateway).await;
        client.send(request).await;
        eventually(SOON, || origin.under_way() == 2).await;
        origin.cut();
        origin.release();
        assert_eq!(client.response().await.status, status, "{request:?}");
        // The first one was sent on a connection that was made for it.
        assert_eq!(waiting.response().await.status, 502, "{request:?}");
        assert_eq!(origin.requests().len(), seen, "{request:?}");
    }
}

#[tokio::test]
async fn a_request_that_the_backend_resets_is_not_sent_again_and_harms_no_other() {
    let origin = Http2Origin::start(Answer::reset()).await;
    let gateway = start_on_one_thread(&setup(&origin)).await;
    let mut client = client(&gateway).await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.status, 502);
    }
    assert_eq!((origin.requests().len(), origin.accepted()), (3, 1));
    refusal(&gateway, "bad_upstream").await;
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_request_along_and_no_other() {
    let origin = Http2Origin::start(Answer::ok("").waits()).await;
    let gateway = start_on_one_thread(&setup(&origin)).await;
    let (gone, mut stays) = (ask(&gateway).await, ask(&gateway).await);
    eventually(SOON, || origin.under_way() == 2).await;
    drop(gone);
    eventually(SOON, || origin.under_way() == 1).await;
    origin.release();
    assert_eq!(stays.response().await.status, 200);
    assert_eq!(origin.accepted(), 1);
}

/// Answers every request with a head, and goes on with its body only once so many have been given up: each with a byte
/// that nobody wants any more. Then it answers the first request.
async fn answer_late(mut backend: TcpStream, given_up: usize) {
    const HEAD_200: [u8; 1] = [0x88];
    let mut preface = [0; PREFACE.len()];
    backend.read_exact(&mut preface).await.expect("a client of HTTP/2");
    backend
        .write_all(&[settings(&[]), frame(kind::SETTINGS, flag::ACK, 0, [])].concat())
        .await
        .expect("the gateway reads on");
    let mut resets = Vec::new();
    let mut head = [0; 9];
    while resets.len() < given_up && backend.read_exact(&mut head).await.is_ok() {
        let [a, b, c, kind, _, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        backend.read_exact(&mut payload).await.expect("a whole frame");
        match (kind, u32::from_be_bytes(stream)) {
            (kind::HEADERS, stream @ 2..) => {
                backend.write_all(&headers(stream, HEAD_200, false)).await.expect("the gateway reads on")
            }
            (kind::RST_STREAM, stream) => resets.push(stream),
            _ => {}
        }
    }
    // What h2 remembers of streams that it has reset it remembers for a second.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for stream in resets {
        backend.write_all(&data(stream, "x", false)).await.expect("the gateway reads on");
    }
    backend
        .write_all(&[headers(1, HEAD_200, false), data(1, "first", true)].concat())
        .await
        .expect("the gateway reads on");
    while let Ok(1..) = backend.read(&mut head).await {}
}

#[tokio::test]
async fn clients_that_give_up_in_numbers_harm_no_other_on_the_same_connection() {
    const GIVEN_UP: usize = 1100;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let setup = Setup::to_urls(&[format!("http://{}", listener.local_addr().unwrap())]);
    let gateway = start_on_one_thread(&setup).await;
    let mut first = ask(&gateway).await;
    let (backend, _) = listener.accept().await.unwrap();
    let backend = tokio::spawn(answer_late(backend, GIVEN_UP));
    for _ in 0..GIVEN_UP {
        ask(&gateway).await.read_until("\r\n\r\n").await;
    }
    assert_eq!(first.response().await.text(), "first");
    drop(gateway);
    backend.await.unwrap();
}

#[tokio::test]
async fn a_body_that_is_too_long_is_a_413_and_harms_no_other() {
    let origin = Http2Origin::start(Answer::ok("").waits()).await;
    let gateway = start_on_one_thread(&setup(&origin).route("max_body = \"1KiB\"")).await;
    let mut stays = ask(&gateway).await;
    eventually(SOON, || origin.under_way() == 1).await;
    let mut client = client(&gateway).await;
    client.send(post_chunked("/", &pattern(2000))).await;
    assert_eq!(client.response().await.status, 413);
    origin.release();
    assert_eq!(stays.response().await.status, 200);
    assert_eq!(origin.accepted(), 1);
}

#[tokio::test]
async fn a_backend_that_does_not_answer_in_time_is_a_504_and_the_connection_serves_on() {
    let origin = Http2Origin::start(Answer::ok("").waits()).await;
    let gateway = start_on_one_thread(&setup(&origin).forward("timeout = \"1s\"")).await;
    let mut client = client(&gateway).await;
    assert_eq!(client.get("/").await.status, 504);
    eventually(SOON, || origin.under_way() == 0).await;
    origin.release();
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(origin.accepted(), 1);
}

#[tokio::test]
async fn an_answer_of_a_declared_length_is_complete_with_its_last_byte() {
    // What says that this was all comes after the body, as trailers that nobody asked for.
    let origin = Http2Origin::start(Answer::ok("four").header("content-length", "4").trailer("x-late", "1")).await;
    let gateway = start(&setup(&origin)).await;
    let mut client = client(&gateway).await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.text(), "four");
    }
    let lines = gateway.log_until(|lines| lines.len() == 3, SOON).await;
    assert!(lines.iter().all(|line| line["ended"].is_null()), "{lines:#?}");
}

#[tokio::test]
async fn an_answer_that_is_cut_is_seen_to_be_cut() {
    let origin = Http2Origin::start(Answer::ok("four").header("content-length", "5")).await;
    let gateway = start(&setup(&origin)).await;
    let mut client = client(&gateway).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(client.try_response().await.is_err());
    let line = ending(&gateway, "upstream").await;
    assert_eq!(line["status"], 200);
}

#[tokio::test]
async fn trailers_pass_both_ways_as_grpc_wants_them() {
    let answer = Answer::ok("message")
        .header("content-type", "application/grpc")
        .header("trailer", "grpc-status, grpc-message")
        .trailer("grpc-status", "0")
        .trailer("grpc-message", "fine")
        .trailer("x-gatepost-decision", "forged");
    let origin = Http2Origin::start(answer).await;
    let gateway = start(&setup(&origin)).await;
    let mut client = client(&gateway).await;
    let head = "POST /service/Method HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\nte: trailers\r\n\
        connection: te\r\ntransfer-encoding: chunked\r\n\r\n";
    let body = String::from_utf8(chunks(b"question")).unwrap();
    let body = body.strip_suffix("0\r\n\r\n").unwrap();
    let end = "0\r\nx-checksum: 123\r\nx-forwarded-for: 203.0.113.1\r\nauthorization: forged\r\n\r\n";
    client.send(format!("{head}{body}{end}")).await;
    let head = client.response_head().await;
    assert_eq!((head.status, head.header("trailer")), (200, Some("grpc-status, grpc-message")));
    let mut rest = Vec::new();
    while !rest.ends_with(b"\r\n\r\n") {
        rest.extend(client.read(1).await.unwrap());
    }
    let rest = String::from_utf8(rest).unwrap();
    assert!(rest.contains("message") && rest.contains("grpc-status: 0\r\n"), "{rest}");
    assert!(rest.contains("grpc-message: fine\r\n") && !rest.contains("x-gatepost"), "{rest}");

    let received = &origin.requests()[0];
    assert_eq!(received.head.headers["te"], "trailers");
    assert_eq!(received.body.as_deref(), Some(&b"question"[..]));
    assert_eq!(received.trailers["x-checksum"], "123");
    assert_eq!(received.trailers.len(), 1, "{:?}", received.trailers);
    gateway.log_until(|lines| lines.len() == 1 && lines[0]["ended"].is_null(), SOON).await;
}

#[tokio::test]
async fn trailers_reach_no_client_of_http_1_that_has_not_asked_for_them() {
    let origin = Http2Origin::start(Answer::ok("body").header("trailer", "x-late").trailer("x-late", "1")).await;
    let gateway = start(&setup(&origin)).await;
    let mut client = client(&gateway).await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let head = client.response_head().await;
        assert_eq!(head.header("trailer"), None);
        let mut rest = Vec::new();
        while !rest.ends_with(b"0\r\n\r\n") {
            rest.extend(client.read(1).await.unwrap());
        }
        assert_eq!(rest, b"4\r\nbody\r\n0\r\n\r\n");
    }
}

#[tokio::test]
async fn a_backend_that_does_not_speak_http2_is_a_502() {
    let origin = Origin::start(Script::ok("old").at_once()).await;
    let other = Http2Origin::start(Answer::ok("")).await;
    let setup = Setup::to_urls(&[origin.url(), other.url()]);
    let gateway = start(&setup).await;
    let mut client = client(&gateway).await;
    for _ in 0..20 {
        let status = client.get("/").await.status;
        assert!([200, 502].contains(&status), "{status}");
    }
    assert_eq!(gateway.target(origin.address()).state, TargetState::Ejected);
    refusal(&gateway, "bad_upstream").await;
}

#[tokio::test]
async fn requests_at_once_to_a_backend_that_cannot_be_reached_all_fail_soon() {
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let setup = Setup::to_urls(&[format!("http://{}", nobody.local_addr().unwrap())]);
    let gateway = start_on_one_thread(&setup).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(ask(&gateway).await);
    }
    for client in &mut clients {
        let answer = tokio::time::timeout(Duration::from_secs(10), client.response()).await;
        assert_eq!(answer.expect("nobody waits for the others").status, 502);
    }
}
