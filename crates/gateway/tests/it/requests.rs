//! What a backend sees of a request.

use gatepost_testkit::{Origin, Script, pattern};

use crate::setup::{SOON, Setup, chunks, client, post, post_chunked};

#[tokio::test]
async fn a_body_arrives_and_returns_byte_by_byte_however_it_is_framed() {
    let origin = Origin::start(Script::echo()).await;
    let gateway = Setup::to(&origin).route(r#"max_body = "32MiB""#).start().await;
    let mut client = client(&gateway).await;
    for size in [0, 1, 200, 64 * 1024, 25 * 1024 * 1024] {
        let body = pattern(size);
        for (request, framing) in
            [(post("/", &body), "content-length"), (post_chunked("/", &body), "transfer-encoding")]
        {
            let response = client.send_while_reading(request).await;
            assert_eq!(response.status, 200, "{size} {framing}");
            assert!(response.body == body, "{size} {framing}: another body came back");
            let request = origin.last();
            assert!(request.complete && request.body == body, "{size} {framing}: another body arrived");
            let size = size.to_string();
            let told = if framing == "content-length" { &*size } else { "chunked" };
            assert_eq!(request.header(framing), Some(told), "{framing}");
        }
    }
    assert_eq!(origin.count(), 10);
}

#[tokio::test]
async fn a_chunked_answer_arrives_byte_by_byte() {
    let origin = Origin::start(Script::echo_chunked()).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    for size in [0, 1, 200, 64 * 1024, 3 * 1024 * 1024] {
        let body = pattern(size);
        let response = client.send_while_reading(post("/", &body)).await;
        assert_eq!((response.status, response.header("transfer-encoding")), (200, Some("chunked")));
        assert!(response.body == body, "{size}: another body came back");
    }
}

#[tokio::test]
async fn any_method_may_have_a_body_and_none_gets_one_it_had_not() {
    let origin = Origin::start(Script::echo()).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"] {
        let head = format!("{method} / HTTP/1.1\r\nhost: gateway.test\r\n");
        client.send([head.as_bytes(), b"transfer-encoding: chunked\r\n\r\n", &chunks(b"hello, world")].concat()).await;
        assert_eq!(client.response().await.text(), "hello, world", "{method}");
        assert_eq!(origin.last().method(), method);

        client.send([head.as_bytes(), b"content-length: 5\r\n\r\nhello"].concat()).await;
        assert_eq!(client.response().await.text(), "hello", "{method}");

        client.send([head.as_bytes(), b"\r\n"].concat()).await;
        assert_eq!(client.response().await.text(), "", "{method}");
        assert_eq!(origin.last().header("transfer-encoding"), None, "{method}");
        assert!(origin.last().header("content-length").is_none_or(|length| length == "0"), "{method}");
    }
}

#[tokio::test]
async fn what_belongs_to_the_clients_connection_is_not_passed_on() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    let request = "GET / HTTP/1.1\nhost: gateway.test\nconnection: keep-alive, X-Mine , upgrade, http2-settings\nconnection: x-too\n\
        keep-alive: timeout=5\nproxy-connection: keep-alive\nte: trailers\ntrailer: x-sum\nupgrade: h2c\nhttp2-settings: AAMAAABk\n\
        proxy-authorization: Basic eDp5\nproxy-authenticate: Basic\nx-mine: 1\nx-too: 1\n\
        accept: */*\nx-kept: 1\nx-kept: 2\ncookie: a=b\n\n";
    assert_eq!(client.ask(request).await.status, 200);
    let request = origin.last();
    let expected = [
        "accept",
        "cookie",
        "forwarded",
        "host",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-kept",
        "x-kept",
    ];
    assert_eq!(request.names(), expected);
    assert_eq!(request.all("x-kept"), ["1", "2"]);
}

#[tokio::test]
async fn naming_a_header_in_connection_takes_nothing_away_that_the_gateway_says() {
    let origin = Origin::start(Script::echo()).await;
    for host in ["upstream", "client", "fixed.test"] {
        let gateway = Setup::to(&origin).forward(&format!("host = {host:?}")).start().await;
        for named in [
            "host",
            "Host, x-forwarded-for",
            "x-forwarded-for, x-forwarded-host, x-forwarded-proto, forwarded",
            "content-length",
            "transfer-encoding",
            "content-length, transfer-encoding, close",
            "connection",
        ] {
            let mut client = client(&gateway).await;
            let own = origin.address().to_string();
            let expected = match host {
                "upstream" => &*own,
                "client" => "gateway.test",
                literal => literal,
            };
            for framing in ["content-length: 3\r\n\r\nabc", "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"] {
                let head = format!("POST / HTTP/1.1\r\nhost: gateway.test\r\nconnection: {named}\r\n");
                if client.try_send(head + framing).await.is_err() {
                    continue;
                }
                let Ok(response) = client.try_response().await else {
                    assert!(named.contains("close"), "{named}");
                    continue;
                };
                assert_eq!((response.status, &*response.text()), (200, "abc"), "{named}, {host}");
                let request = origin.last();
                assert_eq!(request.header("host"), Some(expected), "connection: {named}, host = {host}");
                assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.1"), "{named}");
                assert_eq!(request.header("x-forwarded-host"), Some("gateway.test"), "{named}");
                assert_eq!(request.header("x-forwarded-proto"), Some("http"), "{named}");
                assert!(request.header("forwarded").is_some(), "{named}");
                assert_eq!(request.body, b"abc", "{named}");
            }
        }
    }
}

#[tokio::test]
async fn the_backend_sees_its_own_host_or_the_clients_or_a_literal_one() {
    let origin = Origin::start(Script::ok("")).await;
    let own = origin.address().to_string();
    for (keys, host) in
        [("host = \"upstream\"", &*own), ("host = \"client\"", "Client.test:81"), ("host = \"app.test\"", "app.test")]
    {
        let gateway = Setup::to(&origin).forward(keys).start().await;
        let mut client = client(&gateway).await;
        assert_eq!(client.ask("GET / HTTP/1.1\nhost: Client.test:81\n\n").await.status, 200);
        assert_eq!(origin.last().header("host"), Some(host), "{keys}");
        assert_eq!(origin.last().header("x-forwarded-host"), Some("Client.test:81"), "{keys}");
    }
}

#[tokio::test]
async fn what_a_client_says_of_its_address_or_of_us_is_replaced() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    let request = "GET / HTTP/1.1\nhost: gateway.test:8080\nX-Forwarded-For: 192.0.2.1\nx-forwarded-for: 192.0.2.2, 1.1.1.1\n\
        x-forwarded-host: evil.test\nx-forwarded-proto: https\nX-FORWARDED-PORT: 443\nx-forwarded-prefix: /x\n\
        x-forwarded-: 1\nforwarded: for=192.0.2.1\nforwarded: for=192.0.2.2\nx-real-ip: 192.0.2.1\n\
        x-gatepost-caller: root\nX-Gatepost-Decision: 1\n\n";
    assert_eq!(client.ask(request).await.status, 200);
    let request = origin.last();
    assert_eq!(request.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(request.all("x-forwarded-host"), ["gateway.test:8080"]);
    assert_eq!(request.all("x-forwarded-proto"), ["http"]);
    assert_eq!(request.all("forwarded"), [r#"for=127.0.0.1;host="gateway.test:8080";proto=http"#]);
    assert_eq!(request.names(), ["forwarded", "host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"]);
}

#[tokio::test]
async fn headers_are_set_and_removed_as_the_route_says() {
    let origin = Origin::start(Script::ok("")).await;
    let keys = r#"headers = { set = { X-Source = "gatepost", accept = "text/plain" }, remove = ["Cookie", "x-gone"] }"#;
    let gateway = Setup::to(&origin).forward(keys).start().await;
    let mut client = client(&gateway).await;
    let request =
        "GET / HTTP/1.1\nhost: a\nx-source: me\nX-Source: me too\naccept: */*\ncookie: a\ncookie: b\nx-gone: 1\n\n";
    assert_eq!(client.ask(request).await.status, 200);
    let request = origin.last();
    assert_eq!(request.header("x-source"), Some("gatepost"));
    assert_eq!(request.header("accept"), Some("text/plain"));
    assert_eq!(request.all("cookie"), <[&str; 0]>::default());
    assert_eq!(request.all("x-gone"), <[&str; 0]>::default());
}

#[tokio::test]
async fn an_admitted_client_that_expects_100_is_told_to_go_on() {
    let origin = Origin::start(Script::echo()).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await;
        assert_eq!(client.response().await.status, 100);
        client.send("hello").await;
        let response = client.response().await;
        assert_eq!((response.status, &*response.text()), (200, "hello"));
        assert_eq!(origin.last().header("expect"), None);
    }
}

#[tokio::test]
async fn a_refused_client_that_expects_100_is_refused_without_it() {
    let origin = Origin::start(Script::echo()).await;
    let gateway = Setup::to(&origin).entry(r#"from = ["192.0.2.1"]"#).start().await;
    let mut refused = client(&gateway).await;
    refused.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await;
    let response = refused.response().await;
    assert_eq!(response.status, 403);
    // Whether the body comes after all is anyone's guess, so nothing may follow.
    assert!(response.closes());
    refused.expect_close(SOON).await;

    let gateway = Setup::to(&origin).route(r#"max_body = "4B""#).start().await;
    let mut too_long = client(&gateway).await;
    too_long.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await;
    assert_eq!(too_long.response().await.status, 413);
    assert_eq!(origin.bytes_read(), 0);
}

#[tokio::test]
async fn trailers_of_a_request_are_dropped() {
    let origin = Origin::start(Script::echo()).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    let request = "POST / HTTP/1.1\nhost: a\ntransfer-encoding: chunked\ntrailer: x-sum\n\n3\nabc\n0\nx-sum: 1\n\
        content-length: 7\nx-forwarded-for: 192.0.2.1\n\n";
    assert_eq!(client.ask(request).await.text(), "abc");
    assert_eq!(origin.last().trailers, "");
    assert_eq!(client.get("/next").await.status, 200);
}

#[tokio::test]
async fn a_client_of_http_1_0_is_served_and_its_connection_closed_unless_it_asks_otherwise() {
    let origin = Origin::start(Script::echo_chunked()).await;
    let gateway = Setup::to(&origin).start().await;
    let mut old = client(&gateway).await;
    let response = old.ask("POST / HTTP/1.0\nhost: a\ncontent-length: 3\n\nabc").await;
    assert_eq!((response.status, &*response.text()), (200, "abc"));
    assert_eq!(response.header("transfer-encoding"), None, "HTTP/1.0 knows no chunks");
    assert!(response.until_close);
    assert!(origin.last().request_line().ends_with(" HTTP/1.1"));

    let origin = Origin::start(Script::ok("kept")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut kept = client(&gateway).await;
    for _ in 0..2 {
        let response = kept.ask("GET / HTTP/1.0\nhost: a\nconnection: keep-alive\n\n").await;
        assert_eq!((response.status, &*response.text()), (200, "kept"));
    }
}

#[tokio::test]
async fn a_client_that_asks_to_close_is_answered_and_the_backends_connection_kept() {
    let origin = Origin::start(Script::ok("x")).await;
    let gateway = Setup::to(&origin).text() + "\n[server]\nworkers = 1\n";
    let gateway = gatepost_testkit::TestGateway::start(&gateway).await;
    for _ in 0..3 {
        let mut client = client(&gateway).await;
        let response = client.ask("GET / HTTP/1.1\nhost: a\nconnection: close\n\n").await;
        assert_eq!((response.status, &*response.text()), (200, "x"));
        assert!(response.closes());
        client.expect_close(SOON).await;
    }
    assert_eq!(origin.accepted(), 1);
}

#[tokio::test]
async fn values_beyond_ascii_pass_as_they_came() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\nx-odd: caf\u{e9} \t\u{4e2d}\r\nx-empty:\r\n\r\n").await;
    assert_eq!(client.response().await.status, 200);
    assert_eq!(origin.last().header("x-odd"), Some("caf\u{e9} \t\u{4e2d}"));
    assert_eq!(origin.last().header("x-empty"), Some(""));
}

#[tokio::test]
async fn what_the_gateway_says_of_the_client_is_removed_if_the_route_says_so() {
    let origin = Origin::start(Script::ok("")).await;
    let keys = r#"headers = { remove = ["X-Forwarded-For", "forwarded", "x-forwarded-host", "x-forwarded-proto"] }"#;
    let gateway = Setup::to(&origin).forward(keys).start().await;
    let mut client = client(&gateway).await;
    let request = "GET / HTTP/1.1\nhost: a\nx-forwarded-for: 192.0.2.1\nforwarded: for=192.0.2.1\naccept: */*\n\n";
    assert_eq!(client.ask(request).await.status, 200);
    assert_eq!(origin.last().names(), ["accept", "host"], "{:?}", origin.last().head);
}

#[tokio::test]
async fn what_the_gateway_says_of_the_client_is_replaced_if_the_route_says_so() {
    let origin = Origin::start(Script::ok("")).await;
    let keys = r#"headers = { set = { X-Forwarded-For = "192.0.2.9", forwarded = "for=_hidden" } }"#;
    let gateway = Setup::to(&origin).forward(keys).start().await;
    let mut client = client(&gateway).await;
    assert_eq!(client.ask("GET / HTTP/1.1\nhost: a\nx-forwarded-for: 192.0.2.1\n\n").await.status, 200);
    let request = origin.last();
    assert_eq!(request.all("x-forwarded-for"), ["192.0.2.9"]);
    assert_eq!(request.all("forwarded"), ["for=_hidden"]);
}
