//! What is wrong with frames, and with the order they come in: a table of cases, each on a connection of its own.
//!
//! What cannot be read at all ends the connection with PROTOCOL_ERROR, also where RFC 9113 has a code of its own for it
//! (FRAME_SIZE_ERROR, COMPRESSION_ERROR), or leaves it at the stream: that is how `h2` reads.

use gatepost_testkit::http2_raw::{
    Frame, Http2, Outcome, PREFACE, data, flag, frame, get, headers, kind, ping, post, request, reset, setting,
    settings, window_update,
};
use gatepost_testkit::{Origin, Script};

use crate::http2::code::{CANCEL, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, NO_ERROR, PROTOCOL_ERROR};
use crate::setup::{SOON, Setup};

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Nothing bad: the connection serves on.
    Fine,
    /// Stream 1 is reset with this code, and the connection serves on.
    Stream(u32),
    /// The connection ends, and this code says why.
    Connection(u32),
}
use Then::{Connection, Fine, Stream};

/// A name, what is sent, what becomes of it.
type Case = (&'static str, Vec<u8>, Then);

/// Tries every case, and says which went otherwise.
async fn try_all(cases: Vec<Case>) {
    let origin = Origin::start(Script::ok("done")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut wrong = Vec::new();
    for (name, bytes, expected) in cases {
        let mut client = Http2::connect(gateway.address()).await;
        client.send(bytes).await;
        let seen = match expected {
            Fine => as_before(&mut client).await,
            Stream(_) => match reset_of_one(&mut client).await {
                Stream(code) if as_before(&mut client).await == Fine => Stream(code),
                Stream(code) => panic!("{name}: the connection does not serve on after {code}"),
                other @ (Fine | Connection(_)) => other,
            },
            Connection(_) => Connection(client.end(SOON).await.unwrap_or(u32::MAX)),
        };
        if seen != expected {
            wrong.push(format!("{name}: {seen:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Nothing of all this ended the gateway, or another connection.
    assert_eq!(Http2::connect(gateway.address()).await.get(1, "/").await, Outcome::Answered(200));
}

/// Whether the connection still serves.
async fn as_before(client: &mut Http2) -> Then {
    match client.get(1001, "/").await {
        Outcome::Answered(200) => Fine,
        Outcome::GoAway(code) => Connection(code),
        other @ (Outcome::Answered(_) | Outcome::Cut(..) | Outcome::Reset(_) | Outcome::Closed) => panic!("{other:?}"),
    }
}

async fn reset_of_one(client: &mut Http2) -> Then {
    while let Some(frame) = client.next().await {
        match frame.kind {
            kind::RST_STREAM if frame.stream == 1 => return Stream(frame.error()),
            kind::GOAWAY => return Connection(frame.error()),
            _ => {}
        }
    }
    Connection(u32::MAX)
}

fn after(first: &[u8], then: impl AsRef<[u8]>) -> Vec<u8> {
    [first, then.as_ref()].concat()
}

/// A request whose block is cut in two, with `between` in the middle.
fn interrupted(between: &[u8]) -> Vec<u8> {
    let block = request("GET", "/", &[]);
    let (first, second) = block.split_at(10);
    let begin = frame(kind::HEADERS, flag::END_STREAM, 1, first);
    [&begin, between, &frame(kind::CONTINUATION, flag::END_HEADERS, 1, second)].concat()
}

#[tokio::test]
async fn frames_of_a_wrong_size_end_the_connection_or_their_stream() {
    try_all(vec![
        ("a PING of 7 bytes", frame(kind::PING, 0, 0, [0; 7]), Connection(PROTOCOL_ERROR)),
        ("a PING of 9 bytes", frame(kind::PING, 0, 0, [0; 9]), Connection(PROTOCOL_ERROR)),
        ("settings of 5 bytes", frame(kind::SETTINGS, 0, 0, [0; 5]), Connection(PROTOCOL_ERROR)),
        ("an acknowledgement with settings", frame(kind::SETTINGS, flag::ACK, 0, [0; 6]), Connection(PROTOCOL_ERROR)),
        ("a window update of 3 bytes", frame(kind::WINDOW_UPDATE, 0, 0, [1; 3]), Connection(PROTOCOL_ERROR)),
        ("a reset of 3 bytes", after(&post(1, "/"), frame(kind::RST_STREAM, 0, 1, [0; 3])), Connection(PROTOCOL_ERROR)),
        ("a reset of 5 bytes", after(&post(1, "/"), frame(kind::RST_STREAM, 0, 1, [0; 5])), Connection(PROTOCOL_ERROR)),
        ("a GOAWAY of 7 bytes", frame(kind::GOAWAY, 0, 0, [0; 7]), Connection(PROTOCOL_ERROR)),
        (
            "a body larger than a frame may be",
            after(&post(1, "/"), data(1, [0; 16_385], true)),
            Connection(FRAME_SIZE_ERROR),
        ),
        ("a head larger than a frame may be", headers(1, [0; 16_385], true), Connection(FRAME_SIZE_ERROR)),
        ("settings larger than a frame may be", frame(kind::SETTINGS, 0, 0, [0; 16_386]), Connection(FRAME_SIZE_ERROR)),
        ("a body as large as a frame may be", after(&post(1, "/"), data(1, [0; 16_384], true)), Fine),
    ])
    .await;
}

#[tokio::test]
async fn what_the_standard_may_add_one_day_is_passed_over() {
    try_all(vec![
        ("a frame of an unknown type", frame(0xbe, 0xff, 0, b"anything"), Fine),
        ("one on a stream", after(&post(1, "/"), [frame(0x16, 0, 1, [0; 100]), data(1, "", true)].concat()), Fine),
        ("unknown flags", frame(kind::PING, 0xfe, 0, [0; 8]), Fine),
        ("the reserved bit of a stream", frame(kind::PING, 0, 1 << 31, [0; 8]), Fine),
        ("an unknown setting", settings(&[(0xff, 0xffff_ffff)]), Fine),
        ("an unknown error code", after(&post(1, "/"), reset(1, 0xff)), Fine),
        ("an old PRIORITY", frame(kind::PRIORITY, 0, 1, [0, 0, 0, 0, 100]), Fine),
        ("an unknown frame amid a block", interrupted(&frame(0xbe, 0, 1, [])), Connection(PROTOCOL_ERROR)),
    ])
    .await;
}

#[tokio::test]
async fn a_block_of_headers_comes_in_one_piece() {
    let long = "x".repeat(20_000);
    let block = request("GET", "/", &[("x-long", &long)]);
    let pieces = |sizes: usize| -> Vec<u8> {
        let mut pieces = block.chunks(sizes);
        let first = frame(kind::HEADERS, flag::END_STREAM, 1, pieces.next().expect("a first piece"));
        let rest = pieces.flat_map(|piece| frame(kind::CONTINUATION, 0, 1, piece));
        first.into_iter().chain(rest).chain(frame(kind::CONTINUATION, flag::END_HEADERS, 1, [])).collect()
    };
    try_all(vec![
        ("many pieces", pieces(5_000), Fine),
        ("a DATA frame in between", interrupted(&data(1, "x", false)), Connection(PROTOCOL_ERROR)),
        ("a PING in between", interrupted(&ping([0; 8])), Connection(PROTOCOL_ERROR)),
        ("settings in between", interrupted(&settings(&[])), Connection(PROTOCOL_ERROR)),
        ("another request in between", interrupted(&get(3, "/")), Connection(PROTOCOL_ERROR)),
        ("the rest of another one", interrupted(&frame(kind::CONTINUATION, 0, 3, [])), Connection(PROTOCOL_ERROR)),
        (
            "the rest of nothing",
            frame(kind::CONTINUATION, flag::END_HEADERS, 1, request("GET", "/", &[])),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "the rest of what has ended",
            after(&get(1, "/"), frame(kind::CONTINUATION, flag::END_HEADERS, 1, [])),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "a continuation of the connection",
            frame(kind::CONTINUATION, flag::END_HEADERS, 0, []),
            Connection(PROTOCOL_ERROR),
        ),
        ("an index that means nothing", headers(1, [0xff, 0xff, 0x7f], true), Connection(PROTOCOL_ERROR)),
        ("the index zero", headers(1, [0x80], true), Connection(PROTOCOL_ERROR)),
        ("a table larger than permitted", headers(1, [0x3f, 0xff, 0xff, 0x7f], true), Connection(PROTOCOL_ERROR)),
        ("a literal that ends early", headers(1, [0x00, 0x05, b'a'], true), Connection(PROTOCOL_ERROR)),
        (
            "a number without an end",
            headers(1, [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], true),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "a code that is none",
            headers(1, [0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0x00], true),
            Connection(PROTOCOL_ERROR),
        ),
    ])
    .await;
}

#[tokio::test]
async fn padding_is_taken_off_and_must_fit() {
    let padded = |kind, stream: u32, flags: u8, padding: u8, content: &[u8], pad: usize| {
        frame(kind, flags | flag::PADDED, stream, [&[padding], content, &vec![0; pad]].concat())
    };
    let block = request("GET", "/", &[]);
    let whole = flag::END_HEADERS | flag::END_STREAM;
    try_all(vec![
        ("a padded head", padded(kind::HEADERS, 1, whole, 9, &block, 9), Fine),
        ("a padded body", after(&post(1, "/"), padded(kind::DATA, 1, flag::END_STREAM, 255, b"body", 255)), Fine),
        (
            "more padding than body",
            after(&post(1, "/"), padded(kind::DATA, 1, flag::END_STREAM, 10, b"body", 0)),
            Connection(PROTOCOL_ERROR),
        ),
        ("more padding than head", padded(kind::HEADERS, 1, whole, 255, &block[..20], 0), Connection(PROTOCOL_ERROR)),
        (
            "a padded body of no bytes",
            after(&post(1, "/"), frame(kind::DATA, flag::PADDED, 1, [])),
            Connection(PROTOCOL_ERROR),
        ),
    ])
    .await;
}

#[tokio::test]
async fn streams_open_in_order_and_stay_closed() {
    let served = after(&get(1, "/"), get(3, "/"));
    try_all(vec![
        ("a body on an idle stream", data(1, "x", true), Connection(PROTOCOL_ERROR)),
        ("a reset of an idle stream", reset(1, CANCEL), Connection(PROTOCOL_ERROR)),
        ("a window for an idle stream", window_update(1, 100), Connection(PROTOCOL_ERROR)),
        ("a stream of an even number", get(2, "/"), Connection(PROTOCOL_ERROR)),
        ("a request on the connection", get(0, "/"), Connection(PROTOCOL_ERROR)),
        ("a body on the connection", data(0, "x", false), Connection(PROTOCOL_ERROR)),
        ("a reset of the connection", reset(0, CANCEL), Connection(PROTOCOL_ERROR)),
        ("a priority of the connection", frame(kind::PRIORITY, 0, 0, [0; 5]), Connection(PROTOCOL_ERROR)),
        ("settings of a stream", frame(kind::SETTINGS, 0, 1, []), Connection(PROTOCOL_ERROR)),
        ("a PING of a stream", frame(kind::PING, 0, 1, [0; 8]), Connection(PROTOCOL_ERROR)),
        ("a GOAWAY of a stream", frame(kind::GOAWAY, 0, 1, [0; 8]), Connection(PROTOCOL_ERROR)),
        ("a push", frame(kind::PUSH_PROMISE, flag::END_HEADERS, 1, [0, 0, 0, 2, 0x82]), Connection(PROTOCOL_ERROR)),
        ("a number less than the last", after(&get(5, "/"), get(3, "/")), Connection(PROTOCOL_ERROR)),
        ("a body after the end", after(&get(1, "/"), data(1, "x", true)), Connection(PROTOCOL_ERROR)),
        ("a head after a reset", [post(1, "/"), reset(1, CANCEL), get(1, "/")].concat(), Connection(PROTOCOL_ERROR)),
        ("a priority after the end", after(&served, frame(kind::PRIORITY, 0, 1, [0; 5])), Fine),
        ("a window after the end", after(&served, window_update(1, 100)), Fine),
        ("a reset after the end", after(&served, reset(1, CANCEL)), Fine),
        ("a stream that depends on itself", headers_with_priority(1, 1), Stream(PROTOCOL_ERROR)),
        ("a stream that depends on another", headers_with_priority(1, 3), Fine),
    ])
    .await;
}

fn headers_with_priority(stream: u32, depends_on: u32) -> Vec<u8> {
    let block = [&depends_on.to_be_bytes()[..], &[15], &request("GET", "/", &[])].concat();
    frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM | flag::PRIORITY, stream, block)
}

#[tokio::test]
async fn windows_open_by_at_least_one_and_do_not_overflow() {
    const MOST: u32 = (1 << 31) - 1;
    try_all(vec![
        ("nothing for the connection", window_update(0, 0), Connection(PROTOCOL_ERROR)),
        ("nothing for a stream", after(&post(1, "/"), window_update(1, 0)), Connection(PROTOCOL_ERROR)),
        ("too much for the connection", window_update(0, MOST), Connection(FLOW_CONTROL_ERROR)),
        ("too much for a stream", after(&post(1, "/"), window_update(1, MOST)), Stream(FLOW_CONTROL_ERROR)),
        ("all that fits", after(&window_update(0, MOST - 65_535), get(1, "/")), Fine),
        ("too large a first window", settings(&[(setting::INITIAL_WINDOW_SIZE, 1 << 31)]), Connection(PROTOCOL_ERROR)),
        (
            "a first window that overflows one",
            [post(1, "/"), window_update(1, MOST - 65_535), settings(&[(setting::INITIAL_WINDOW_SIZE, 65_536)])]
                .concat(),
            Connection(FLOW_CONTROL_ERROR),
        ),
        (
            "no first window, then one",
            [
                settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]),
                get(1, "/"),
                settings(&[(setting::INITIAL_WINDOW_SIZE, 65_535)]),
            ]
            .concat(),
            Fine,
        ),
    ])
    .await;
}

#[tokio::test]
async fn settings_lie_in_their_ranges() {
    try_all(vec![
        ("push neither on nor off", settings(&[(setting::ENABLE_PUSH, 2)]), Connection(PROTOCOL_ERROR)),
        ("push off", settings(&[(setting::ENABLE_PUSH, 0)]), Fine),
        ("frames too small", settings(&[(setting::MAX_FRAME_SIZE, 16_383)]), Connection(PROTOCOL_ERROR)),
        ("frames too large", settings(&[(setting::MAX_FRAME_SIZE, 1 << 24)]), Connection(PROTOCOL_ERROR)),
        ("the largest frames", settings(&[(setting::MAX_FRAME_SIZE, (1 << 24) - 1)]), Fine),
        ("no streams", settings(&[(setting::MAX_CONCURRENT_STREAMS, 0)]), Fine),
        ("one setting twice", settings(&[(setting::MAX_FRAME_SIZE, 20_000), (setting::MAX_FRAME_SIZE, 30_000)]), Fine),
        ("an acknowledgement of nothing", frame(kind::SETTINGS, flag::ACK, 0, []), Connection(PROTOCOL_ERROR)),
    ])
    .await;
}

#[tokio::test]
async fn settings_and_pings_are_acknowledged() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = Http2::connect_silently(gateway.address()).await;
    client.send([PREFACE, &settings(&[])].concat()).await;
    let first = client.next().await.expect("settings of the server");
    assert_eq!((first.kind, first.flags, first.stream), (kind::SETTINGS, 0, 0), "the server's preface");
    client.until(|frame| (frame.kind, frame.flags) == (kind::SETTINGS, flag::ACK)).await;

    client.send(ping(*b"whatever")).await;
    let echo = client.until(|frame| frame.kind == kind::PING).await;
    assert_eq!(echo, Frame { kind: kind::PING, flags: flag::ACK, stream: 0, payload: b"whatever".to_vec() });
    // One that acknowledges is not acknowledged.
    client.send([frame(kind::PING, flag::ACK, 0, *b"nobodys!"), ping(*b"mine too")].concat()).await;
    assert_eq!(client.until(|frame| frame.kind == kind::PING).await.payload, b"mine too");
}

#[tokio::test]
async fn a_preface_is_whole_and_followed_by_frames() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = Http2::connect_silently(gateway.address()).await;
    client.send([PREFACE, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"].concat()).await;
    assert_eq!(client.end(SOON).await, Some(FRAME_SIZE_ERROR));
    // What does not begin as HTTP/2 does is HTTP/1, and no good one.
    for preface in
        ["PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", "PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n", "PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n"]
    {
        let mut client = gatepost_testkit::Raw::connect(gateway.address()).await;
        client.send(preface).await;
        assert_eq!(client.response().await.status, 400, "{preface:?}");
        client.expect_close(SOON).await;
    }
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_is_answered_first() {
    let origin = Origin::start(Script::default().then_wait().then_send("HTTP/1.1 204 No Content\r\n\r\n")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = Http2::connect(gateway.address()).await;
    client.send([get(1, "/"), frame(kind::GOAWAY, 0, 0, [0; 8])].concat()).await;
    gatepost_testkit::eventually(SOON, || origin.count() == 1).await;
    origin.release();
    assert_eq!(client.outcome(1).await, Outcome::Answered(204));
    assert_eq!(client.end(SOON).await.unwrap_or(NO_ERROR), NO_ERROR, "and then the connection ends");
}
