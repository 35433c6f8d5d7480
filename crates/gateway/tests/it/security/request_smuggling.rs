//! Two readers that disagree on where a request ends. Each request here carries a second one, `/smuggled`, where some
//! reader might see it: the backend must never get it, whatever becomes of the first.

use gatepost_testkit::{Origin, Script, TestGateway};

use crate::setup::{SOON, Setup, client, refusal};

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: gateway.test\r\n\r\n";

async fn victim() -> (Origin, TestGateway) {
    let origin = Origin::start(Script::echo()).await;
    let gateway = Setup::to(&origin).start().await;
    (origin, gateway)
}

/// Sends the bytes on a new connection, and asserts that they are answered 400 once, that the connection is closed, and
/// that the backend gets nothing.
async fn assert_refused(origin: &Origin, gateway: &TestGateway, bytes: &[u8]) {
    let shown = String::from_utf8_lossy(bytes).into_owned();
    let mut client = client(gateway).await;
    client.send(bytes).await;
    let response = client.try_response().await.unwrap_or_else(|error| panic!("{error}: {shown:?}"));
    assert_eq!(response.status, 400, "{shown:?}");
    let rest = client.read_to_end().await;
    assert!(rest.is_empty(), "more was answered to {shown:?}: {:?}", String::from_utf8_lossy(&rest));
    assert_eq!(origin.bytes_read(), 0, "{shown:?} reached the backend");
}

/// Sends the bytes of a request whose head is fine but whose body is not, and asserts that the connection is closed
/// after at most one answer, and that the backend never gets a whole request.
async fn assert_broken(gateway: &TestGateway, origin: &Origin, body: &[u8]) {
    let shown = String::from_utf8_lossy(body).into_owned();
    let before = origin.count();
    let mut client = client(gateway).await;
    let head = b"POST /broken HTTP/1.1\r\nhost: gateway.test\r\ntransfer-encoding: chunked\r\n\r\n";
    client.send([&head[..], body, SMUGGLED.as_bytes()].concat()).await;
    let response = client.try_response().await.unwrap_or_else(|error| panic!("{error}: {shown:?}"));
    assert_eq!(response.status, 400, "{shown:?}");
    assert!(response.closes(), "{shown:?}");
    let rest = client.read_to_end().await;
    assert!(rest.is_empty(), "more was answered to {shown:?}: {:?}", String::from_utf8_lossy(&rest));
    for request in &origin.requests()[before..] {
        assert_eq!(request.target(), "/broken", "{shown:?}");
        assert!(!request.complete, "{shown:?} became a whole request with {:?}", request.body);
    }
}

#[tokio::test]
async fn any_transfer_encoding_but_chunked_is_refused() {
    let (origin, gateway) = victim().await;
    for coding in [
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: identity",
        "transfer-encoding: identity, chunked",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: chunked,",
        "transfer-encoding: ,chunked",
        "transfer-encoding: Chunked",
        "transfer-encoding: CHUNKED",
        "transfer-encoding: xchunked",
        "transfer-encoding: chunkedx",
        "transfer-encoding: chunked;q=1",
        "transfer-encoding: \"chunked\"",
        "transfer-encoding: chunked\x0b",
        "transfer-encoding: \x0bchunked",
        "transfer-encoding: chunked\x0c",
        "transfer-encoding: \u{a0}chunked",
        "transfer-encoding:",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
        "transfer-encoding: gzip\r\ntransfer-encoding: chunked",
        "transfer-encoding : chunked",
        "transfer-encoding\t: chunked",
        " transfer-encoding: chunked",
        "x: y\r\n transfer-encoding: chunked",
        "transfer-encoding: chun\r\n ked",
        "transfer-encoding:\r\n chunked",
        "transfer-encoding: chunked\r\n ",
        "transfer\0-encoding: chunked",
        "transfer-encoding: chunked\0",
    ] {
        for length in ["", "content-length: 4\r\n"] {
            for lines in [format!("{length}{coding}\r\n"), format!("{coding}\r\n{length}")] {
                let request = format!("POST / HTTP/1.1\r\nhost: gateway.test\r\n{lines}\r\n0\r\n\r\n{SMUGGLED}");
                assert_refused(&origin, &gateway, request.as_bytes()).await;
            }
        }
    }
    refusal(&gateway, "malformed").await;
}

#[tokio::test]
async fn other_names_than_transfer_encoding_do_not_frame() {
    let (origin, gateway) = victim().await;
    for (number, name) in ["transfer_encoding", "x-transfer-encoding", "transfer-encodin", "te"].iter().enumerate() {
        let mut client = client(&gateway).await;
        let body = format!("5\r\nhello\r\n0\r\n\r\n{SMUGGLED}");
        let request = format!("POST / HTTP/1.1\nhost: a\n{name}: chunked\ncontent-length: {}\n\n", body.len())
            .replace('\n', "\r\n");
        client.send(request + &body).await;
        assert_eq!(client.response().await.text(), body, "{name}");
        assert_eq!(origin.count(), number + 1, "{name}");
    }
}

#[tokio::test]
async fn of_chunks_and_a_length_the_chunks_count_and_the_connection_closes() {
    let (origin, gateway) = victim().await;
    let mut expected = 0;
    for lines in [
        "content-length: 4\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 4",
        "content-length: 100\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 0",
        "content-length: 4\r\ntransfer-encoding: chunked\r\ncontent-length: 4",
    ] {
        let mut client = client(&gateway).await;
        client
            .send(format!(
                "POST /first HTTP/1.1\r\nhost: gateway.test\r\n{lines}\r\n\r\n3\r\nabc\r\n0\r\n\r\n{SMUGGLED}"
            ))
            .await;
        let response = client.response().await;
        // RFC 9112, 6.1: refused, or served as chunked; then the connection ends.
        if response.status == 400 {
            assert_eq!(origin.count(), expected, "{lines:?}");
        } else {
            assert_eq!((response.status, &*response.text()), (200, "abc"), "{lines:?}");
            expected += 1;
            let request = origin.last();
            assert_eq!(request.body, b"abc");
            assert_eq!(request.all("content-length"), <[&str; 0]>::default(), "both went on: {:?}", request.head);
        }
        let rest = client.read_to_end().await;
        assert!(rest.is_empty(), "{lines:?}: more was answered: {:?}", String::from_utf8_lossy(&rest));
        assert_eq!(origin.count(), expected, "{lines:?}");
    }
    assert!(origin.requests().iter().all(|request| request.target() == "/first"));
}

#[tokio::test]
async fn a_length_that_is_no_number_or_two_is_refused() {
    let (origin, gateway) = victim().await;
    for lines in [
        "content-length: +5",
        "content-length: -5",
        "content-length: -0",
        "content-length: 5,5",
        "content-length: 5, 5",
        "content-length: 5 5",
        "content-length: 0x5",
        "content-length: 5;",
        "content-length: 5.0",
        "content-length: 5e0",
        "content-length: \"5\"",
        "content-length: five",
        "content-length:",
        "content-length: 5\x0b",
        "content-length: \u{665}",
        "content-length: 18446744073709551616",
        "content-length: 18446744073709551621",
        "content-length: 99999999999999999999999999",
        "content-length: 5\r\ncontent-length: 6",
        "content-length: 6\r\ncontent-length: 5",
        "content-length: 0\r\ncontent-length: 5",
        "content-length: 5\r\ncontent-length: 5,5",
        "content-length : 5",
        "content-length\t: 5",
        "content-length: 5\r\n ",
        "content-length:\r\n 5",
        "x: y\r\n\tcontent-length: 5",
        "content-length: 5\0",
        "content-length: \r5",
    ] {
        let request = format!("POST / HTTP/1.1\r\nhost: gateway.test\r\n{lines}\r\n\r\nhello{SMUGGLED}");
        assert_refused(&origin, &gateway, request.as_bytes()).await;
    }
}

#[tokio::test]
async fn the_same_length_twice_is_one_length_or_refused() {
    let (origin, gateway) = victim().await;
    let mut client = client(&gateway).await;
    let lines = "content-length: 5\r\ncontent-length: 5\r\ncontent-length: 05";
    client.send(format!("POST /first HTTP/1.1\r\nhost: a\r\n{lines}\r\n\r\nhello")).await;
    let response = client.response().await;
    if response.status == 400 {
        assert_eq!(origin.bytes_read(), 0);
    } else {
        assert_eq!(response.text(), "hello");
        assert_eq!(origin.last().all("content-length"), ["5"]);
    }
}

#[tokio::test]
async fn http_1_0_has_no_chunks() {
    let (origin, gateway) = victim().await;
    for lines in [
        "transfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "connection: keep-alive\r\ntransfer-encoding: chunked",
    ] {
        let request = format!("POST / HTTP/1.0\r\nhost: gateway.test\r\n{lines}\r\n\r\n0\r\n\r\n{SMUGGLED}");
        assert_refused(&origin, &gateway, request.as_bytes()).await;
    }
}

#[tokio::test]
async fn chunks_that_make_no_sense_end_the_connection() {
    let (origin, gateway) = victim().await;
    for body in [
        // Sizes.
        &b"zz\r\nabc\r\n0\r\n\r\n"[..],
        b"-1\r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"3h\r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"3 3\r\nabc\r\n0\r\n\r\n",
        b"3_0\r\nabc\r\n0\r\n\r\n",
        b"\r\nabc\r\n0\r\n\r\n",
        b";a=b\r\nabc\r\n0\r\n\r\n",
        b"\xef\xbc\x93\r\nabc\r\n0\r\n\r\n",
        // Sizes that overflow, to nothing or to something small.
        b"10000000000000000\r\nabc\r\n0\r\n\r\n",
        b"10000000000000003\r\nabc\r\n0\r\n\r\n",
        b"100000000000000000000000000000003\r\nabc\r\n0\r\n\r\n",
        // Line ends.
        b"3\nabc\r\n0\r\n\r\n",
        b"3\rabc\r\n0\r\n\r\n",
        b"3\r\rabc\r\n0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3\r\nabc\r0\r\n\r\n",
        b"3\r\nabc0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nab\r\n0\r\n\r\n",
        b"3\r\nabc\r\n0\n\n",
        b"3\r\nabc\r\n0\n\r\n",
        b"3\r\nabc\r\n0\r\r\n",
        // Extensions.
        b"3;a\nb\r\nabc\r\n0\r\n\r\n",
        b"3;a\rb\r\nabc\r\n0\r\n\r\n",
        b"3;\n\r\nabc\r\n0\r\n\r\n",
    ] {
        assert_broken(&gateway, &origin, body).await;
    }
}

#[tokio::test]
async fn a_nul_or_a_bare_line_feed_in_an_extension_or_a_trailer_smuggles_nothing() {
    let (origin, gateway) = victim().await;
    for body in [
        &b"3;a=\"\0\"\r\nabc\r\n0\r\n\r\n"[..],
        b"3 ;a\r\nabc\r\n0;b=c\r\n\r\n",
        b"3\r\nabc\r\n0\r\nx: y\nGET /smuggled HTTP/1.1\r\n\r\n",
        b"3\r\nabc\r\n0\r\nx\0: y\r\n\r\n",
        b"3\r\nabc\r\n0\r\n\nGET /smuggled HTTP/1.1\r\nhost: gateway.test\r\n\r\n",
        b"3\r\nabc\r\n0\r\n: y\r\n\r\n",
        b"3\r\nabc\r\n0\r\nGET /smuggled HTTP/1.1\r\nhost: gateway.test\r\n\r\n",
    ] {
        let shown = String::from_utf8_lossy(body);
        let before = origin.count();
        let mut client = client(&gateway).await;
        let head = b"POST /first HTTP/1.1\r\nhost: gateway.test\r\ntransfer-encoding: chunked\r\n\r\n";
        client.send([&head[..], body].concat()).await;
        let response = client.response().await;
        assert!([200, 400].contains(&response.status), "{shown:?}: {}", response.status);
        assert!(origin.requests()[before..].iter().all(|request| request.target() == "/first"), "{shown:?}");
        assert!(origin.requests()[before..].iter().all(|request| request.trailers.is_empty()), "{shown:?}");
        if response.status == 200 {
            assert_eq!(response.text(), "abc", "{shown:?}");
        } else {
            assert!(client.read_to_end().await.is_empty(), "{shown:?}");
        }
    }
}

#[tokio::test]
async fn extensions_and_trailers_are_bounded() {
    let (origin, gateway) = victim().await;
    let extension = format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(1024 * 1024));
    let trailer = format!("3\r\nabc\r\n0\r\nx: {}\r\n\r\n", "x".repeat(1024 * 1024));
    let trailers = format!("3\r\nabc\r\n0\r\n{}\r\n", "x: y\r\n".repeat(100_000));
    for body in [extension, trailer, trailers] {
        let mut client = client(&gateway).await;
        let head = "POST /first HTTP/1.1\r\nhost: gateway.test\r\ntransfer-encoding: chunked\r\n\r\n";
        let response = client.send_while_reading(head.to_owned() + &body).await;
        assert_eq!((response.status, response.closes()), (400, true), "{:?}", &body[..20]);
        client.read_to_end().await;
    }
    assert!(origin.requests().iter().all(|request| !request.complete));
}

#[tokio::test]
async fn heads_with_bare_returns_folds_and_nuls_are_refused() {
    let (origin, gateway) = victim().await;
    for request in [
        // A bare CR anywhere.
        "GET /\r HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET\r/ HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\rhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\rhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\rx: y\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx\r: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: a\r\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n\rGET /smuggled HTTP/1.1\r\n\r\n",
        // Names.
        "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx y: z\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n: z\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx(: z\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n\u{e9}: z\r\n\r\n",
        // Folds.
        "GET / HTTP/1.1\r\n host: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: a\r\n\tb\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: a\r\n \r\n\r\n",
        // Bytes that no value has.
        "GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: a\x01b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: a\x7fb\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n\0x: b\r\n\r\n",
        "GET /\0 HTTP/1.1\r\nhost: a\r\n\r\n",
        // Request lines.
        "GET  / HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /a b HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /\tHTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1x\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.2\r\nhost: a\r\n\r\n",
        "GET / HTTP/2.0\r\nhost: a\r\n\r\n",
        "GET / http/1.1\r\nhost: a\r\n\r\n",
        " GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET(/ HTTP/1.1\r\nhost: a\r\n\r\n",
        "G@T / HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / \r\nhost: a\r\n\r\n",
    ] {
        let request = format!("{request}{SMUGGLED}");
        assert_refused(&origin, &gateway, request.as_bytes()).await;
    }
}

#[tokio::test]
async fn a_bare_line_feed_in_a_head_is_refused_or_a_line_end_for_the_backend_too() {
    let (origin, gateway) = victim().await;
    for request in [
        "GET /first HTTP/1.1\nhost: a\r\n\r\n",
        "GET /first HTTP/1.1\r\nhost: a\nx: y\r\n\r\n",
        "GET /first HTTP/1.1\r\nhost: a\r\n\n",
        "GET /first HTTP/1.1\nhost: a\n\n",
        "\nGET /first HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST /first HTTP/1.1\r\nhost: a\r\nx: y\ncontent-length: 0\r\n\r\n",
    ] {
        let before = origin.count();
        let mut client = client(&gateway).await;
        client.send(request).await;
        let response = client.response().await;
        assert!([200, 400].contains(&response.status), "{request:?}: {}", response.status);
        if response.status == 200 {
            assert_eq!(origin.count(), before + 1, "{request:?}");
            let head = origin.last().head;
            assert!(!head.replace("\r\n", "").contains(['\r', '\n']), "{request:?} went on as {head:?}");
        } else {
            assert_eq!(origin.count(), before, "{request:?}");
        }
    }
}

#[tokio::test]
async fn a_body_behind_a_request_without_one_is_the_next_request_and_no_more() {
    let (origin, gateway) = victim().await;
    let mut client = client(&gateway).await;
    client.send(format!("GET /first HTTP/1.1\r\nhost: a\r\n\r\n{SMUGGLED}")).await;
    assert_eq!(client.response().await.status, 200);
    assert_eq!(client.response().await.status, 200);
    let targets: Vec<String> = origin.requests().iter().map(|request| request.target().to_owned()).collect();
    assert_eq!(targets, ["/first", "/smuggled"], "judged and logged like any other");
    gateway.log_until(|lines| lines.len() == 2, SOON).await;
}

#[tokio::test]
async fn an_upgrade_or_a_connect_opens_no_tunnel() {
    let (origin, gateway) = victim().await;
    let mut client = client(&gateway).await;
    let upgrade =
        "GET /first HTTP/1.1\nhost: a\nconnection: upgrade, http2-settings\nupgrade: h2c\nhttp2-settings: AAMAAABk\n\n";
    let response = client.ask(upgrade).await;
    assert_eq!((response.status, response.header("upgrade")), (200, None));
    assert_eq!(origin.last().header("upgrade"), None);
    assert_eq!(origin.last().header("http2-settings"), None, "it was named by `Connection`");
    for request in
        ["CONNECT gateway.test:443 HTTP/1.1\r\nhost: gateway.test:443\r\n\r\n", "CONNECT / HTTP/1.1\r\nhost: a\r\n\r\n"]
    {
        let mut client = crate::setup::client(&gateway).await;
        client.send(format!("{request}{SMUGGLED}")).await;
        let response = client.response().await;
        assert_eq!(response.status, 400, "{request:?}");
        assert!(client.read_to_end().await.is_empty(), "{request:?}");
    }
    assert_eq!(origin.count(), 1);
}
