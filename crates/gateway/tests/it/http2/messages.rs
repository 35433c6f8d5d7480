//! What a request may look like, and what a backend sees of it.

use gatepost_testkit::http2_raw::{Http2, Outcome, block, data, flag, frame, get, headers, kind, post, request, reset};
use gatepost_testkit::{Origin, Script, TestGateway, eventually};

use crate::http2::http2;
use crate::setup::{SOON, Setup, ending, refusal};
use gatepost_testkit::http2_raw::code::{CANCEL, NO_ERROR, PROTOCOL_ERROR};

/// The four fields that every request has, and those of `more`; of one name the last counts.
fn with(more: &[(&str, &str)]) -> Vec<u8> {
    headers(1, request("GET", "/", more), true)
}

/// A head of just these fields.
fn only(fields: &[(&str, &str)]) -> Vec<u8> {
    headers(1, block(fields), true)
}

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const AUTHORITY: (&str, &str) = (":authority", "gateway.test");
const PATH: (&str, &str) = (":path", "/");

#[tokio::test]
async fn a_request_that_http2_has_no_room_for_is_reset_and_reaches_no_backend() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    let declared = |length: &str| headers(1, request("POST", "/", &[("content-length", length)]), false);
    let trailers = |fields: &[(&str, &str)], ends| headers(1, block(fields), ends);
    let cases = [
        ("connection", with(&[("connection", "close")])),
        ("keep-alive", with(&[("keep-alive", "timeout=5")])),
        ("proxy-connection", with(&[("proxy-connection", "keep-alive")])),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("upgrade", with(&[("upgrade", "h2c")])),
        ("te other than trailers", with(&[("te", "gzip")])),
        ("a status", with(&[(":status", "200")])),
        ("a protocol without CONNECT", with(&[(":protocol", "websocket")])),
        ("a pseudo-header behind a field", only(&[METHOD, SCHEME, ("x-a", "1"), AUTHORITY, PATH])),
        ("no method", only(&[SCHEME, AUTHORITY, PATH])),
        ("no scheme", only(&[METHOD, AUTHORITY, PATH])),
        ("no path", only(&[METHOD, SCHEME, AUTHORITY])),
        ("an empty path", only(&[METHOD, SCHEME, AUTHORITY, (":path", "")])),
        ("a path that is none", only(&[METHOD, SCHEME, AUTHORITY, (":path", "no slash")])),
        ("two methods", only(&[METHOD, METHOD, SCHEME, AUTHORITY, PATH])),
        ("two schemes", only(&[METHOD, SCHEME, SCHEME, AUTHORITY, PATH])),
        ("two authorities", only(&[METHOD, SCHEME, AUTHORITY, AUTHORITY, PATH])),
        ("two paths", only(&[METHOD, SCHEME, AUTHORITY, PATH, PATH])),
        ("an authority that is none", only(&[METHOD, SCHEME, (":authority", "a b"), PATH])),
        ("a length that is none", with(&[("content-length", "ten")])),
        ("a length with a sign", with(&[("content-length", "+0")])),
        ("a length without a body", with(&[("content-length", "1")])),
        ("two lengths", with(&[("content-length", "0"), ("content-length", "1")])),
        ("more than declared", [declared("3"), data(1, "four", true)].concat()),
        ("less than declared", [declared("5"), data(1, "four", true)].concat()),
        (
            "less than declared, then trailers",
            [declared("5"), data(1, "four", false), trailers(&[("x-t", "1")], true)].concat(),
        ),
        (
            "trailers that are not the end",
            [post(1, "/"), data(1, "a", false), trailers(&[("x-t", "1")], false)].concat(),
        ),
    ];
    let mut wrong = Vec::new();
    for (name, bytes) in cases {
        let mut client = http2(&gateway).await;
        client.send(bytes).await;
        let outcome = client.outcome(1).await;
        if outcome != Outcome::Reset(PROTOCOL_ERROR) {
            wrong.push(format!("{name}: {outcome:?}"));
        }
        if client.get(3, "/fine").await != Outcome::Answered(200) {
            wrong.push(format!("{name}: the connection does not serve on"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // What is no header at all ends the connection, as RFC 9113, 5.4.1 permits.
    for (name, bytes) in [
        ("a capital in a name", with(&[("X-Capital", "1")])),
        ("a name with a space", with(&[("x name", "1")])),
        ("a name with a colon", with(&[("x:name", "1")])),
        ("no name", with(&[("", "1")])),
        ("a value with a line end", with(&[("x-value", "a\r\nb: c")])),
        ("a value with a zero byte", with(&[("x-value", "a\0b")])),
        ("an unknown pseudo-header", with(&[(":unknown", "1")])),
        ("a method that is none", only(&[(":method", "GE T"), SCHEME, AUTHORITY, PATH])),
    ] {
        let mut client = http2(&gateway).await;
        client.send(bytes).await;
        assert_eq!(client.end(SOON).await, Some(PROTOCOL_ERROR), "{name}");
    }
    for request in origin.requests() {
        // A body may be on its way before it turns out to be another than was declared.
        assert!(!request.complete || request.target() == "/fine", "{request:?}");
    }
}

#[tokio::test]
async fn which_host_a_request_is_for_is_said_once_and_plainly() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).forward(r#"host = "client""#).start().await;
    for (name, fields, seen) in [
        ("the authority", &[AUTHORITY] as &[_], Some("gateway.test")),
        ("only a host", &[("host", "only.test")], Some("only.test")),
        ("both the same", &[AUTHORITY, ("host", "gateway.test")], Some("gateway.test")),
        ("in another case", &[AUTHORITY, ("host", "Gateway.TEST")], Some("Gateway.TEST")),
        ("with a port", &[(":authority", "gateway.test:8080")], Some("gateway.test:8080")),
        ("neither", &[], None),
        ("an empty host", &[("host", "")], None),
        ("both, not the same", &[AUTHORITY, ("host", "other.test")], None),
        ("another port", &[(":authority", "gateway.test:8080"), ("host", "gateway.test")], None),
        ("a host twice", &[AUTHORITY, ("host", "gateway.test"), ("host", "gateway.test")], None),
        ("a user", &[(":authority", "user@gateway.test")], None),
        ("a user and the host without", &[(":authority", "user@gateway.test"), ("host", "gateway.test")], None),
    ] {
        let mut client = http2(&gateway).await;
        let before = origin.count();
        // Pseudo-headers come first.
        let (pseudo, plain): (Vec<_>, Vec<_>) = fields.iter().copied().partition(|(name, _)| name.starts_with(':'));
        client.send(headers(1, block(&[&[METHOD, SCHEME, PATH], &pseudo[..], &plain[..]].concat()), true)).await;
        let outcome = client.outcome(1).await;
        match seen {
            Some(host) => {
                assert_eq!(outcome, Outcome::Answered(200), "{name}");
                assert_eq!(origin.last().header("host"), Some(host), "{name}");
            }
            None => {
                assert_eq!(outcome, Outcome::Answered(400), "{name}");
                assert_eq!(origin.count(), before, "{name}");
            }
        }
        assert_eq!(client.get(3, "/").await, Outcome::Answered(200), "the connection serves on after {name}");
    }
    assert_eq!(refusal(&gateway, "malformed").await["status"], 400);
}

#[tokio::test]
async fn ambiguous_paths_and_methods_for_proxies_are_400() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = http2(&gateway).await;
    let connect = headers(1, block(&[(":method", "CONNECT"), (":authority", "gateway.test:443")]), true);
    client.send(connect).await;
    assert_eq!(client.outcome(1).await, Outcome::Answered(400));
    for (stream, path) in [(3, "/a/../../b"), (5, "/a%2f..%2fb"), (7, "/a%00"), (9, "/%zz")] {
        assert_eq!(client.get(stream, path).await, Outcome::Answered(400), "{path}");
    }
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn a_backend_sees_the_request_as_http1_has_it() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).forward(r#"host = "client""#).start().await;
    let mut client = http2(&gateway).await;
    let fields = [
        ("cookie", "a=1"),
        ("x-list", "1"),
        ("cookie", "b=2; c=3"),
        ("x-list", "2"),
        ("te", "trailers"),
        ("cookie", "d=4"),
        ("x-forwarded-for", "192.0.2.1"),
    ];
    client.send(headers(1, request("GET", "/a%20b?q=%7e", &fields), true)).await;
    assert_eq!(client.outcome(1).await, Outcome::Answered(200));
    let request = origin.last();
    assert_eq!(request.request_line(), "GET /a%20b?q=%7e HTTP/1.1");
    // RFC 9113, 8.2.3.
    assert_eq!(request.all("cookie"), ["a=1; b=2; c=3; d=4"]);
    assert_eq!(request.all("x-list"), ["1", "2"]);
    assert_eq!(request.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(request.header("x-forwarded-proto"), Some("http"));
    assert_eq!(request.header("forwarded"), Some("for=127.0.0.1;host=gateway.test;proto=http"));
    assert_eq!((request.header("te"), request.header("transfer-encoding")), (None, None));
}

#[tokio::test]
async fn a_body_keeps_its_length_or_goes_in_chunks_and_loses_its_trailers() {
    let origin = Origin::start(Script::echo()).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = http2(&gateway).await;
    let declared = headers(1, request("POST", "/", &[("content-length", "4")]), false);
    client.send([declared, data(1, "four", true)].concat()).await;
    assert_eq!(client.answer(1).await, (Outcome::Answered(200), b"four".to_vec()));
    assert_eq!(origin.last().header("content-length"), Some("4"));

    let trailers = headers(3, block(&[("x-trailer", "1")]), true);
    client.send([post(3, "/"), data(3, "some", false), data(3, " more", false), trailers].concat()).await;
    assert_eq!(client.answer(3).await, (Outcome::Answered(200), b"some more".to_vec()));
    let request = origin.last();
    assert_eq!(request.header("transfer-encoding"), Some("chunked"));
    assert_eq!((&*request.trailers, request.header("content-length")), ("", None));

    client.send([post(5, "/"), data(5, "", true)].concat()).await;
    assert_eq!(client.answer(5).await, (Outcome::Answered(200), Vec::new()));
    assert!(origin.last().complete);
}

#[tokio::test]
async fn no_content_has_no_length_whatever_its_backend_says() {
    let origin = Origin::start(Script::send("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = http2(&gateway).await;
    client.send(get(1, "/")).await;
    let head = client.until(|frame| frame.kind == kind::HEADERS).await;
    assert_eq!((head.status(), head.flags & flag::END_STREAM), (204, flag::END_STREAM));
    // `content-length` has the number 28 in the table (RFC 7541, appendix A); here with a value of one byte.
    assert!(!head.payload.windows(3).any(|bytes| bytes == [0x0f, 0x0d, 0x81]), "{:02x?}", head.payload);
    let plain = crate::setup::client(&gateway).await.get("/").await;
    assert_eq!((plain.status, plain.header("content-length")), (204, None));
}

#[tokio::test]
async fn a_length_told_twice_or_oddly_is_told_once_and_plainly() {
    let origin = Origin::start(Script::echo()).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = http2(&gateway).await;
    let told = |times: &[&'static str]| times.iter().map(|length| ("content-length", *length)).collect::<Vec<_>>();
    for (number, (told, body)) in
        [(told(&["4", "4"]), "four"), (told(&["0004"]), "four"), (told(&["0", "00"]), "")].into_iter().enumerate()
    {
        let stream = 2 * u32::try_from(number).unwrap() + 1;
        let head = headers(stream, request("POST", "/", &told), body.is_empty());
        let body_frame = if body.is_empty() { Vec::new() } else { data(stream, body, true) };
        client.send([head, body_frame].concat()).await;
        assert_eq!(client.answer(stream).await, (Outcome::Answered(200), body.as_bytes().to_vec()));
        let head = origin.last().head.to_lowercase();
        let lengths: Vec<&str> = head.lines().filter(|line| line.starts_with("content-length")).collect();
        assert_eq!(lengths, [format!("content-length: {}", body.len())], "{told:?}");
    }
}

#[tokio::test]
async fn half_a_body_never_looks_like_a_whole_one() {
    let origin = Origin::start(Script::echo()).await;
    let gateway = Setup::to(&origin).start().await;
    for code in [CANCEL, NO_ERROR] {
        for more in [&[] as &[_], &[("content-length", "100")]] {
            let mut client = http2(&gateway).await;
            let before = origin.count();
            client.send([headers(1, request("POST", "/", more), false), data(1, "half", false)].concat()).await;
            eventually(SOON, || origin.requests()[before..].iter().any(|request| request.target() == "/")).await;
            eventually(SOON, || origin.bytes_read() > 0).await;
            client.send([reset(1, code), get(3, "/next")].concat()).await;
            assert_eq!(client.outcome(3).await, Outcome::Answered(200));
            eventually(SOON, || origin.open() <= 1).await;
            let halves: Vec<_> = origin.requests().into_iter().filter(|request| request.target() == "/").collect();
            assert!(halves.iter().all(|request| !request.complete), "reset with {code}: {halves:?}");
        }
    }
    let lines = gateway.log_until(|lines| lines.len() == 8, SOON).await;
    let cut = lines.iter().filter(|line| line["path"] == "/");
    assert!(cut.clone().count() == 4 && cut.clone().all(|line| line["ended"] == "client"), "{lines:#?}");
}

#[tokio::test]
async fn an_answer_comes_as_http2_has_it() {
    let answer = "HTTP/1.1 201 Created\r\nX-Name: 1\r\nconnection: x-drop\r\nx-drop: 1\r\nkeep-alive: a\r\n\
                  transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-trailer: 1\r\n\r\n";
    let origin = Origin::start(Script::send(answer)).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = http2(&gateway).await;
    client.send(get(1, "/")).await;
    assert_eq!(client.answer(1).await, (Outcome::Answered(201), b"abc".to_vec()));

    // An answer without a body has none here either.
    let origin = Origin::start(Script::send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = http2(&gateway).await;
    client.send(headers(1, request("HEAD", "/", &[]), true)).await;
    let head = client.until(|frame| frame.kind == kind::HEADERS).await;
    assert_eq!((head.status(), head.flags), (200, flag::END_HEADERS | flag::END_STREAM));
}

#[tokio::test]
async fn an_answer_that_a_backend_breaks_off_is_reset() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf of it";
    let origin = Origin::start(Script::send(answer).then_close()).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = http2(&gateway).await;
    client.send(get(1, "/")).await;
    let outcome = client.outcome(1).await;
    assert!(matches!(outcome, Outcome::Cut(200, code) if code != NO_ERROR), "{outcome:?}");
    assert_eq!(ending(&gateway, "upstream").await["status"], 200);
}

#[tokio::test]
async fn a_head_longer_than_the_limit_is_431_or_ends_the_connection() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).limits(r#"header_bytes = "8KiB""#).start().await;
    let long = |length: usize| headers(1, request("GET", "/", &[("x-long", &"x".repeat(length))]), true);
    let mut client = http2(&gateway).await;
    client.send(long(7_000)).await;
    assert_eq!(client.outcome(1).await, Outcome::Answered(200));
    let mut client = http2(&gateway).await;
    client.send(long(8_200)).await;
    assert_eq!(client.outcome(1).await, Outcome::Answered(431));
    assert_eq!(client.get(3, "/").await, Outcome::Answered(200), "the connection serves on");
    // Much more is not even read.
    let mut client = http2(&gateway).await;
    let block = request("GET", "/", &[("x-long", &"x".repeat(60_000))]);
    let mut pieces = block.chunks(16_384);
    client.send(frame(kind::HEADERS, flag::END_STREAM, 1, pieces.next().expect("a piece"))).await;
    for piece in pieces {
        let _ = client.try_send(frame(kind::CONTINUATION, 0, 1, piece)).await;
    }
    assert!(client.end(SOON).await.is_some());
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn every_request_has_its_line_in_the_log() {
    let origin = Origin::in_turn(vec![Script::ok("one"), Script::hang_up()]).await;
    let gateway = Setup::to(&origin).entry(r#"from = ["127.0.0.1"]"#).start().await;
    let mut client: Http2 = http2(&gateway).await;
    client.send(headers(1, request("GET", "/one", &[("x-a", "1")]), true)).await;
    assert_eq!(client.outcome(1).await, Outcome::Answered(200));
    client.send([post(3, "/two"), data(3, "body", true)].concat()).await;
    assert_eq!(client.outcome(3).await, Outcome::Answered(502));
    client.send(headers(5, block(&[METHOD, SCHEME, PATH]), true)).await;
    assert_eq!(client.outcome(5).await, Outcome::Answered(400));
    let lines = gateway.log_until(|lines| lines.len() == 3, SOON).await;
    let seen: Vec<_> = lines.iter().map(|line| (line["path"].as_str(), line["status"].as_u64())).collect();
    assert_eq!(seen, [(Some("/one"), Some(200)), (Some("/two"), Some(502)), (Some("/"), Some(400))]);
    assert_eq!((&lines[0]["host"], &lines[0]["bytes_out"]), (&"gateway.test".into(), &3.into()));
    assert_eq!(lines[1]["method"], "POST");
}

#[tokio::test]
async fn a_connection_that_makes_no_sense_has_a_line_in_the_log() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = http2(&gateway).await;
    client.send(data(0, "of no stream", false)).await;
    assert_eq!(client.end(SOON).await, Some(PROTOCOL_ERROR));
    let line = refusal(&gateway, "malformed").await;
    assert_eq!((&line["verdict"], &line["status"]), (&"refused".into(), &gatepost_testkit::Json::Null));
    // Who merely leaves, however abruptly, has none.
    drop(http2(&gateway).await);
    let mut client = http2(&gateway).await;
    client.send(frame(kind::GOAWAY, 0, 0, [0, 0, 0, 0, 0, 0, 0, 2])).await;
    client.end(SOON).await;
    assert_eq!(gateway.log().len(), 1);
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_whoever_gives_it() {
    let origin = Origin::start(Script::send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n")).await;
    let text = Setup::to(&origin).text()
        + "[route.\"GET /own\"]\nopen = true\nrespond = { body = \"here\" }\n\
           [route.\"HEAD /own\"]\nopen = true\nrespond = { body = \"here\" }\n\
           [route.\"GET /closed\"]\nfrom = [\"192.0.2.1\"]\nrespond = {}\n";
    let gateway = TestGateway::start(&text).await;
    let mut client = http2(&gateway).await;
    for (stream, path, status) in [(1, "/", 200), (3, "/own", 200), (5, "/closed", 403), (7, "/../..", 400)] {
        client.send(headers(stream, request("HEAD", path, &[]), true)).await;
        let (outcome, body) = client.answer(stream).await;
        assert_eq!((outcome, body.len()), (Outcome::Answered(status), 0), "{path}");
    }
}
