//! Requests over TLS are served as those in the clear are.

use std::time::Duration;

use bytes::Bytes;
use gatepost_testkit::{Origin, Raw, Script, TlsClient, eventually, pattern};
use http_body_util::Full;
use hyper::http::Request;
use tokio::net::TcpSocket;
use tokio::time::Instant;

use super::{Certificates, HOST};
use crate::setup::{SOON, Setup, assert_one_second, ending, post, post_chunked, refusal};

const BIG: usize = 25 * 1024 * 1024;

#[tokio::test]
async fn http1_and_http2_are_spoken_over_tls_1_2_and_1_3() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::ok("served")).await;
    let gateway = certificates.secure(Setup::to(&origin)).start().await;
    let authority = &certificates.authority;
    for (version, client) in [("1.2", TlsClient::only_12(authority)), ("1.3", TlsClient::only_13(authority))] {
        for (offered, chosen) in [
            (&[][..], None),
            (&["http/1.1"], Some("http/1.1")),
            (&["h2"], Some("h2")),
            (&["h2", "http/1.1"], Some("h2")),
            (&["http/1.1", "h2"], Some("h2")),
        ] {
            let seen = gateway.log().len();
            let secured = client.clone().alpn(offered).connect(gateway.address(), HOST).await;
            assert_eq!((secured.version(), secured.alpn().as_deref()), (version, chosen), "{offered:?}");
            let is_http2 = chosen == Some("h2");
            if is_http2 {
                let response = super::Http2::over(secured.stream()).await.get(&format!("https://{HOST}/a")).await;
                assert_eq!((response.status().as_u16(), &response.body()[..]), (200, &b"served"[..]));
            } else {
                let response = secured.raw().get("/a").await;
                assert_eq!((response.status, &*response.text()), (200, "served"));
            }
            let lines = gateway.log_until(|lines| lines.len() > seen, SOON).await;
            let line = &lines[seen];
            assert_eq!((&line["tls"], &line["verdict"]), (&version.into(), &"admitted".into()), "{line}");
            assert_eq!(line["http"] == "2", is_http2, "{line}");
        }
    }
}

#[tokio::test]
async fn who_offers_only_what_is_not_spoken_is_refused() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::ok("")).await;
    let gateway = certificates.secure(Setup::to(&origin)).start().await;
    let error = certificates.client().alpn(&["h3"]).try_connect(gateway.address(), HOST).await.expect_err("no h3");
    assert_eq!(TlsClient::alert_in(&error).as_deref(), Some("NoApplicationProtocol"));
    refusal(&gateway, "tls_handshake").await;
}

#[tokio::test]
async fn a_backend_is_told_that_the_client_speaks_https() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::ok("")).await;
    let gateway = certificates.secure(Setup::to(&origin)).start().await;
    let forged = "x-forwarded-proto: http\nforwarded: for=1.2.3.4;proto=http\nx-forwarded-for: 1.2.3.4\n";
    let ask = format!("GET /a?b HTTP/1.1\nhost: {HOST}\n{forged}\n");
    assert_eq!(certificates.connect(&gateway).await.ask(&ask).await.status, 200);
    let request = Request::get(format!("https://{HOST}/a?b")).header("x-forwarded-proto", "http");
    let request = request.body(Full::default()).unwrap();
    assert_eq!(certificates.connect_http2(&gateway, HOST).await.ask(request).await.status(), 200);
    for request in origin.requests() {
        assert_eq!(request.header("x-forwarded-proto"), Some("https"), "{}", request.head);
        assert_eq!(request.header("x-forwarded-host"), Some(HOST), "{}", request.head);
        assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.1"), "{}", request.head);
        assert_eq!(request.header("forwarded"), Some(&*format!("for=127.0.0.1;host={HOST};proto=https")));
        assert_eq!(request.request_line(), "GET /a?b HTTP/1.1");
    }
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn big_bodies_pass_unchanged_both_ways_over_http1() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::echo()).await;
    let setup = Setup::to(&origin).route(r#"max_body = "30MiB""#).forward(r#"timeout = "60s""#);
    let gateway = certificates.secure(setup).start().await;
    let body = pattern(BIG);
    let mut client = certificates.connect(&gateway).await;
    for request in [post("/", &body), post_chunked("/", &body)] {
        let response = client.send_while_reading(&request).await;
        assert_eq!(response.status, 200);
        assert!(response.body == body, "{} bytes came back", response.body.len());
    }
    assert!(origin.requests().iter().all(|request| request.body == body));
}

#[tokio::test]
async fn big_bodies_pass_unchanged_both_ways_over_http2() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::echo()).await;
    let setup = Setup::to(&origin).route(r#"max_body = "30MiB""#).forward(r#"timeout = "60s""#);
    let gateway = certificates.secure(setup).start().await;
    let body = Bytes::from(pattern(BIG));
    let mut client = certificates.connect_http2(&gateway, HOST).await;
    let request = Request::post(format!("https://{HOST}/")).body(Full::new(body.clone())).unwrap();
    let response = client.ask(request).await;
    assert_eq!(response.status(), 200);
    assert!(*response.body() == body, "{} bytes came back", response.body().len());
    assert!(origin.last().body == body);
}

#[tokio::test]
async fn pipelined_requests_are_all_answered_in_their_order() {
    const REQUESTS: usize = 100;
    let certificates = Certificates::new();
    let origin = Origin::start(Script::echo()).await;
    let gateway = certificates.secure(Setup::to(&origin)).start().await;
    let mut client = certificates.connect(&gateway).await;
    // Of lengths that fit neither a piece that is read ahead nor a record of TLS.
    let bodies: Vec<Vec<u8>> = (0..REQUESTS).map(|number| format!("{number:04}").repeat(number * 5).into()).collect();
    let requests: Vec<u8> = bodies.iter().flat_map(|body| post("/", body)).collect();
    client.send(&requests).await;
    for (number, body) in bodies.iter().enumerate() {
        let response = client.response().await;
        assert_eq!(response.status, 200, "request {number}");
        assert!(response.body == *body, "request {number}: {}", response.text());
    }
    assert_eq!(client.get("/").await.status, 200, "the connection goes on");
}

#[tokio::test]
async fn a_backend_that_drips_is_cut_at_its_timeout() {
    let certificates = Certificates::new();
    let script = Script::send("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n");
    let origin = Origin::start(script.then_drip(pattern(1000), Duration::from_millis(50))).await;
    let gateway = certificates.secure(Setup::to(&origin).forward(r#"timeout = "1s""#)).start().await;
    let mut client = certificates.connect(&gateway).await;
    let started = Instant::now();
    client.send("GET / HTTP/1.1\r\nhost: gateway.test\r\n\r\n").await;
    assert_eq!(client.response_head().await.status, 200);
    let got = client.read_to_end().await;
    assert_one_second(started.elapsed());
    assert!((1..1000).contains(&got.len()), "{} bytes", got.len());
    eventually(SOON, || origin.open() == 0).await;
    assert_eq!(ending(&gateway, "deadline").await["status"], 200);
}

#[tokio::test]
async fn an_answer_that_was_cut_cannot_be_taken_for_whole() {
    let half = Script::send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    for (script, ended) in [(half.clone().then_hang(), "deadline"), (half.then_close(), "upstream")] {
        let certificates = Certificates::new();
        let origin = Origin::start(script).await;
        let gateway = certificates.secure(Setup::to(&origin).forward(r#"timeout = "1s""#)).start().await;
        let mut client = certificates.connect(&gateway).await;
        // Of HTTP/1.0: its body ends with the connection, so only TLS can tell.
        client.send("GET / HTTP/1.0\r\nhost: gateway.test\r\n\r\n").await;
        assert_eq!(client.response_head().await.header("transfer-encoding"), None);
        assert_eq!(client.read(4).await.expect("what came in time"), b"half");
        let error = client.read(1).await.expect_err("not the end");
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{ended}");
        ending(&gateway, ended).await;
    }
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut_and_frees_the_backend() {
    let script = Script::send("HTTP/1.1 200 OK\r\ncontent-length: 500000000\r\n\r\n").then_flood(500_000_000);
    for (forward, limits, ended) in
        [(r#"timeout = "1s""#, "", "deadline"), (r#"timeout = "off""#, r#"idle_timeout = "1s""#, "client")]
    {
        let certificates = Certificates::new();
        let origin = Origin::start(script.clone()).await;
        let gateway = certificates.secure(Setup::to(&origin).forward(forward).limits(limits)).start().await;
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        let stream = socket.connect(gateway.address()).await.unwrap();
        let mut client = certificates.client().secure(stream, HOST).await.expect("a handshake").raw();
        client.send("GET / HTTP/1.1\r\nhost: gateway.test\r\n\r\n").await;
        eventually(SOON, || origin.count() == 1).await;
        let started = Instant::now();
        eventually(SOON, || origin.open() == 0).await;
        assert!(started.elapsed() > Duration::from_millis(500), "{ended}: cut after {:?}", started.elapsed());
        ending(&gateway, ended).await;
    }
}

#[tokio::test]
async fn a_client_that_vanishes_frees_the_backend() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::silence()).await;
    let setup = Setup::to(&origin).forward(r#"timeout = "off""#);
    let plain = setup.start().await;
    let secure = certificates.secure(setup).start().await;
    let requests: [&[u8]; 3] =
        [b"GET / HTTP/1.1\r\nhost: gateway.test\r\n\r\n", &post("/", b"whole"), &post("/", b"part")[..60]];
    let mut expected = 0;
    for request in requests {
        for gateway in [&plain, &secure] {
            let mut client = match gateway.address() == plain.address() {
                true => Raw::connect(gateway.address()).await,
                false => certificates.connect(gateway).await,
            };
            client.send(request).await;
            expected += 1;
            eventually(SOON, || origin.count() == expected && origin.open() == 1).await;
            drop(client);
            eventually(SOON, || origin.open() == 0).await;
        }
    }
    for gateway in [&plain, &secure] {
        let lines = gateway.log_until(|lines| lines.len() == 3, SOON).await;
        assert!(lines[..2].iter().all(|line| line["ended"] == "client"), "{lines:#?}");
        assert_eq!(lines[2]["reason"], "body_broken", "{lines:#?}");
    }
}

#[tokio::test]
async fn a_client_that_takes_leave_of_tls_but_not_of_tcp_frees_the_backend() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::silence()).await;
    let gateway = certificates.secure(Setup::to(&origin).forward(r#"timeout = "off""#)).start().await;
    let mut client = certificates.connect(&gateway).await;
    client.send("GET / HTTP/1.1\r\nhost: gateway.test\r\n\r\n").await;
    eventually(SOON, || origin.count() == 1).await;
    client.finish_sending().await;
    eventually(SOON, || origin.open() == 0).await;
    ending(&gateway, "client").await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_good_order() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::ok("")).await;
    let gateway = certificates.secure(Setup::to(&origin).limits(r#"idle_timeout = "1s""#)).start().await;
    let mut client = certificates.connect(&gateway).await;
    assert_eq!(client.get("/").await.status, 200);
    let started = Instant::now();
    // A connection that is only torn down would be an error: somebody may have cut it short.
    assert_eq!(client.read(1).await.expect("the end is told"), b"");
    assert_one_second(started.elapsed());
}

#[tokio::test]
async fn a_refused_upload_leaves_the_answer_to_be_read() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::echo()).await;
    let gateway = certificates.secure(Setup::to(&origin).route(r#"max_body = "1KiB""#)).start().await;
    let mut client = certificates.connect(&gateway).await;
    let response = client.send_while_reading(post("/", &pattern(3_000_000))).await;
    assert_eq!((response.status, &*response.text()), (413, r#"{"message":"Payload Too Large"}"#));
    assert!(response.closes());
}
