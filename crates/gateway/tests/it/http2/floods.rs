//! What clients send to no purpose: cut before it costs anything, and never what honest clients send in numbers.

use std::time::Duration;

use gatepost_testkit::http2_raw::{
    Http2, Outcome, block, data, flag, frame, get, headers, kind, ping, post, request, reset, settings, window_update,
};
use gatepost_testkit::{Origin, Script, TestGateway, eventually};
use tokio::time::timeout;

use crate::http2::http2;
use crate::setup::{SOON, Setup, refusal};
use gatepost_testkit::http2_raw::code::CANCEL;

const MIB: usize = 1024 * 1024;

/// Sends what `next` makes until the gateway has had enough; how many bytes that took.
async fn flood(gateway: &TestGateway, client: &mut Http2, next: impl FnMut(usize) -> Vec<u8>) -> usize {
    let flooded = timeout(Duration::from_secs(60), client.flood(40 * MIB, next)).await.expect("cut in time");
    let (sent, _) = flooded.unwrap_or_else(|sent| panic!("still open after {sent} bytes"));
    assert_eq!(http2(gateway).await.get(1, "/").await, Outcome::Answered(200), "others are served");
    sent
}

/// Sends `bytes`, and waits until they were read; whether the connection still goes on then.
async fn is_heard(client: &mut Http2, bytes: Vec<u8>) -> bool {
    if client.try_send([bytes, ping([0; 8])].concat()).await.is_err() {
        return false;
    }
    while let Some(frame) = client.next().await {
        if frame.kind == kind::PING {
            return true;
        }
    }
    false
}

fn odd(number: usize) -> u32 {
    1 + 2 * u32::try_from(number).expect("a stream")
}

#[tokio::test]
async fn frames_that_get_nothing_done_are_cut_and_logged() {
    type Next = fn(usize) -> Vec<u8>;
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    let floods: [(&str, Next); 7] = [
        ("PING", |_| ping([0; 8]).repeat(100)),
        ("SETTINGS", |_| settings(&[]).repeat(100)),
        ("SETTINGS with values", |_| settings(&[(4, 65_535), (1, 4096)]).repeat(100)),
        ("WINDOW_UPDATE", |_| window_update(1001, 1).repeat(100)),
        ("PRIORITY", |number| frame(kind::PRIORITY, 0, odd(number), [0, 0, 0, 0, 1]).repeat(100)),
        ("unknown frames", |_| frame(0xbe, 0, 0, [0; 100]).repeat(10)),
        ("empty pieces of a body", |_| data(1001, "", false).repeat(100)),
    ];
    for (name, next) in floods {
        let mut client = http2(&gateway).await;
        // A stream that stays open, for those that need one.
        client.send(post(1001, "/")).await;
        let sent = flood(&gateway, &mut client, next).await;
        assert!(sent < 20 * MIB, "{name}: cut only after {sent} bytes");
    }
    assert_eq!(refusal(&gateway, "flood").await["verdict"], "refused");
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    for size in [0, 1, 1000, 16_384] {
        let mut client = http2(&gateway).await;
        client.send(frame(kind::HEADERS, flag::END_STREAM, 1, request("GET", "/", &[]))).await;
        let piece = match size {
            0 | 1 => frame(kind::CONTINUATION, 0, 1, vec![0x82; size]),
            _ => frame(kind::CONTINUATION, 0, 1, &block(&[("x-a", &"x".repeat(size - 7))])[..size]),
        };
        let sent = flood(&gateway, &mut client, |_| piece.repeat(20_000 / piece.len())).await;
        assert!(sent < 8 * MIB, "pieces of {size}: cut only after {sent} bytes");
    }
}

#[tokio::test]
async fn headers_that_unfold_are_bounded() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = http2(&gateway).await;
    // A field of 4000 bytes to be remembered (RFC 7541, 6.2.1), and then one byte for each time it is meant.
    let field = block(&[("x-bomb", &"x".repeat(4000))]);
    let remembered = [&[0x40], &field[1..]].concat();
    let again = |count: usize| [&request("GET", "/", &[])[..], &vec![0xbe; count]].concat();
    client.send(headers(1, [&request("GET", "/", &[])[..], &remembered].concat(), true)).await;
    assert_eq!(client.outcome(1).await, Outcome::Answered(200));
    client.send(headers(3, again(10), true)).await;
    assert_eq!(client.outcome(3).await, Outcome::Answered(200));
    client.send(headers(5, again(20), true)).await;
    assert_eq!(client.outcome(5).await, Outcome::Answered(431));
    // 64 MB out of 16 KB.
    client.send(headers(7, again(16_000), true)).await;
    assert!(client.end(SOON).await.is_some());
    assert_eq!(origin.count(), 2);
    assert_eq!(http2(&gateway).await.get(1, "/").await, Outcome::Answered(200));
}

#[tokio::test]
async fn requests_that_are_taken_back_at_once_are_cut() {
    let origin = Origin::start(Script::silence()).await;
    let text = Setup::to(&origin).text() + "[route.\"GET /\"]\nopen = true\nrespond = { body = \"here\" }\n";
    let gateway = TestGateway::start(&text).await;
    // CVE-2023-44487: as fast as can be.
    let mut client = http2(&gateway).await;
    let sent = flood(&gateway, &mut client, |number| {
        let streams = (0..100).map(|place| odd(number * 100 + place));
        streams.flat_map(|stream| [get(stream, "/slow"), reset(stream, CANCEL)].concat()).collect()
    })
    .await;
    assert!(sent < 4 * MIB, "cut only after {sent} bytes");
    refusal(&gateway, "flood").await;
    // So that each has reached a backend.
    let mut client = http2(&gateway).await;
    let before = origin.count();
    for number in 0..1000 {
        let stream = odd(number);
        if !is_heard(&mut client, get(stream, "/slow")).await || !is_heard(&mut client, reset(stream, CANCEL)).await {
            break;
        }
    }
    assert!(origin.count() - before < 900, "{} requests were begun", origin.count() - before);
    assert_eq!(refusal(&gateway, "flood").await["verdict"], "refused");
    eventually(SOON, || origin.open() == 0).await;
}

#[tokio::test]
async fn requests_that_the_gateway_is_made_to_take_back_are_cut() {
    let origin = Origin::start(Script::silence()).await;
    let gateway = Setup::to(&origin).start().await;
    // CVE-2025-8671: mistakes after a request was begun, so that it is we who reset it.
    let mut client = http2(&gateway).await;
    let short = [("content-length", "1")];
    let mut cut = false;
    for number in 0..1000 {
        let stream = odd(number);
        let begun = is_heard(&mut client, headers(stream, request("POST", "/", &short), false)).await;
        cut = !begun || client.try_send(data(stream, "two", false)).await.is_err();
        if cut {
            break;
        }
    }
    assert!(cut, "a thousand requests were begun for nothing");
    eventually(SOON, || origin.open() == 0).await;
}

#[tokio::test]
async fn streams_beyond_the_limit_are_cut_in_the_end() {
    let origin = Origin::start(Script::silence()).await;
    let text = Setup::to(&origin).limits("streams = 10").text();
    let gateway = TestGateway::start(&(text + "[route.\"GET /\"]\nopen = true\nrespond = {}\n")).await;
    let mut client = http2(&gateway).await;
    let sent = flood(&gateway, &mut client, |number| {
        (0..100).flat_map(|place| get(odd(number * 100 + place), "/slow")).collect()
    })
    .await;
    assert!(sent < 8 * MIB, "cut only after {sent} bytes");
    assert_eq!(origin.count(), 10);
}

#[tokio::test]
async fn a_page_that_takes_back_all_it_asked_for_is_no_flood() {
    let origin = Origin::start(Script::silence()).await;
    let text = Setup::to(&origin).text() + "[route.\"GET /\"]\nopen = true\nrespond = { body = \"here\" }\n";
    let gateway = TestGateway::start(&text).await;
    let mut client = http2(&gateway).await;
    let first: Vec<_> = (0..100).map(odd).collect();
    client.send(first.iter().flat_map(|stream| get(*stream, "/slow")).collect::<Vec<_>>()).await;
    client.send(first.iter().flat_map(|stream| reset(*stream, CANCEL)).collect::<Vec<_>>()).await;
    assert_eq!(client.get(1001, "/").await, Outcome::Answered(200));
    // And once more, when all of them are under way.
    let second: Vec<_> = (600..690).map(odd).collect();
    client.send(second.iter().flat_map(|stream| get(*stream, "/slow")).collect::<Vec<_>>()).await;
    eventually(SOON, || origin.open() >= 90).await;
    client.send(second.iter().flat_map(|stream| reset(*stream, CANCEL)).collect::<Vec<_>>()).await;
    assert_eq!(client.get(2001, "/").await, Outcome::Answered(200));
    eventually(SOON, || origin.open() == 0).await;
}

#[tokio::test]
async fn requests_taken_back_among_as_many_that_are_answered_are_no_flood() {
    let origin = Origin::start(Script::silence()).await;
    let text = Setup::to(&origin).text() + "[route.\"GET /\"]\nopen = true\nrespond = { body = \"here\" }\n";
    let gateway = TestGateway::start(&text).await;
    let mut client = http2(&gateway).await;
    // As a proxy does whose own clients give up now and then.
    for number in 0..600 {
        let (answered, given_up) = (odd(2 * number), odd(2 * number + 1));
        assert_eq!(client.get(answered, "/").await, Outcome::Answered(200), "{number}");
        assert!(is_heard(&mut client, get(given_up, "/slow")).await, "{number}");
        assert!(is_heard(&mut client, reset(given_up, CANCEL)).await, "{number}");
    }
}

#[tokio::test]
async fn a_long_stream_with_many_pings_is_no_flood() {
    let origin = Origin::start(Script::default().then_wait().then_send("HTTP/1.1 204 No Content\r\n\r\n")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = http2(&gateway).await;
    client.send(get(1, "/")).await;
    for _ in 0..2_000 {
        client.is_heard().await;
    }
    origin.release();
    assert_eq!(client.outcome(1).await, Outcome::Answered(204));
}

#[tokio::test]
async fn a_download_in_small_windows_is_no_flood() {
    const TOTAL: usize = 4 * MIB;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {TOTAL}\r\n\r\n");
    let origin = Origin::start(Script::send(head).then_flood(TOTAL)).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = http2(&gateway).await;
    client.send(get(1, "/")).await;
    let mut got = 0;
    while got < TOTAL {
        let frame = client.next().await.expect("the connection goes on");
        if frame.kind == kind::DATA && !frame.payload.is_empty() {
            got += frame.payload.len();
            // As many as can be: a window for every hundred bytes.
            let windows = frame.payload.chunks(100).map(|piece| u32::try_from(piece.len()).expect("a hundred"));
            client
                .send(windows.flat_map(|by| [window_update(0, by), window_update(1, by)].concat()).collect::<Vec<_>>())
                .await;
        }
    }
    client.is_heard().await;
}
