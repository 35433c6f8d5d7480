//! What is slow is cut, stream by stream, and so are connections on which nothing happens.

use std::time::Duration;

use gatepost_testkit::http2_raw::{
    Http2, Outcome, PREFACE, data, flag, frame, get, kind, ping, post, request, setting, settings, window_update,
};
use gatepost_testkit::{Origin, Script, eventually, pattern};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::http2::{SOON_AFTER, http2};
use crate::setup::{SOON, Setup, assert_one_second, ending, refusal};
use gatepost_testkit::http2_raw::code::{CANCEL, NO_ERROR};

/// An answer that is never finished, and a request beside it that can be.
async fn slow_and_other(slow: Script) -> Origin {
    Origin::in_turn(vec![Script::ok("before"), slow, Script::ok("beside")]).await
}

/// Asks for something on another stream of a client whose stream 3 is being waited for.
async fn is_served_beside(client: &mut Http2) {
    assert_eq!(client.get(5, "/beside").await, Outcome::Answered(200));
}

#[tokio::test]
async fn a_backend_that_never_answers_is_504_on_its_stream() {
    let origin = slow_and_other(Script::silence()).await;
    let gateway = Setup::to(&origin).forward(r#"timeout = "1s""#).start().await;
    let mut client = http2(&gateway).await;
    assert_eq!(client.get(1, "/").await, Outcome::Answered(200));
    let started = Instant::now();
    client.send(get(3, "/slow")).await;
    eventually(SOON, || origin.count() == 2).await;
    is_served_beside(&mut client).await;
    assert_eq!(client.outcome(3).await, Outcome::Answered(504));
    assert_one_second(started.elapsed());
    assert_eq!(refusal(&gateway, "upstream_timeout").await["status"], 504);
}

#[tokio::test]
async fn a_backend_that_drips_is_cut_at_its_timeout_on_its_stream() {
    let drip = Script::send("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n");
    let origin = slow_and_other(drip.then_drip(pattern(1000), Duration::from_millis(50))).await;
    let gateway = Setup::to(&origin).forward(r#"timeout = "1s""#).start().await;
    let mut client = http2(&gateway).await;
    assert_eq!(client.get(1, "/").await, Outcome::Answered(200));
    let started = Instant::now();
    client.send(get(3, "/slow")).await;
    let (outcome, body) = client.answer(3).await;
    assert_one_second(started.elapsed());
    assert_eq!(outcome, Outcome::Cut(200, CANCEL));
    assert!((1..1000).contains(&body.len()), "{} bytes", body.len());
    is_served_beside(&mut client).await;
    let line = ending(&gateway, "deadline").await;
    assert_eq!((&line["path"], &line["status"]), (&"/slow".into(), &200.into()));
    eventually(SOON, || origin.open() <= 1).await;
}

#[tokio::test]
async fn a_body_that_stops_coming_is_408_on_its_stream() {
    let origin = slow_and_other(Script::echo()).await;
    let gateway = Setup::to(&origin).limits(r#"body_timeout = "1s""#).start().await;
    let mut client = http2(&gateway).await;
    assert_eq!(client.get(1, "/").await, Outcome::Answered(200));
    let started = Instant::now();
    client.send([post(3, "/slow"), data(3, "half", false)].concat()).await;
    eventually(SOON, || origin.count() == 2).await;
    is_served_beside(&mut client).await;
    assert_eq!(client.outcome(3).await, Outcome::Answered(408));
    assert_one_second(started.elapsed());
    assert_eq!(refusal(&gateway, "body_stalled").await["path"], "/slow");
    assert_eq!(client.get(7, "/after").await, Outcome::Answered(200));
}

#[tokio::test]
async fn a_client_that_makes_no_room_is_cut_at_the_timeout() {
    let big = Script::send("HTTP/1.1 200 OK\r\ncontent-length: 50000000\r\n\r\n").then_flood(50_000_000);
    let origin = Origin::start(big).await;
    for (forward, limits) in [(r#"timeout = "1s""#, ""), (r#"timeout = "off""#, r#"idle_timeout = "1s""#)] {
        let gateway = Setup::to(&origin).forward(forward).limits(limits).start().await;
        for window in [0, 1, 10_000] {
            let values = [(setting::INITIAL_WINDOW_SIZE, window)];
            let mut client = Http2::connect_with(gateway.address(), &values).await;
            let started = Instant::now();
            client.send(get(1, "/")).await;
            let (outcome, body) = client.answer(1).await;
            assert_eq!((outcome, body.len()), (Outcome::Cut(200, CANCEL), window as usize), "{forward} {window}");
            assert_one_second(started.elapsed());
            eventually(SOON, || origin.open() == 0).await;
        }
    }
}

#[tokio::test]
async fn a_client_that_makes_no_room_for_a_short_answer_is_cut_too() {
    let origin = Origin::start(Script::ok("short")).await;
    let gateway = Setup::to(&origin).forward(r#"timeout = "off""#).limits(r#"idle_timeout = "1s""#).start().await;
    let values = [(setting::INITIAL_WINDOW_SIZE, 0)];
    for path in ["/", "/../.."] {
        let mut client = Http2::connect_with(gateway.address(), &values).await;
        let started = Instant::now();
        client.send(get(1, path)).await;
        assert!(matches!(client.outcome(1).await, Outcome::Cut(200 | 400, CANCEL)), "{path}");
        assert_one_second(started.elapsed());
        assert_eq!(client.end(SOON_AFTER).await, Some(NO_ERROR), "and then it is idle");
    }
    // Room for one byte, and never for the second.
    let mut client = Http2::connect_with(gateway.address(), &[(setting::INITIAL_WINDOW_SIZE, 1)]).await;
    client.send(get(1, "/")).await;
    client.end(SOON_AFTER).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_socket_is_cut() {
    let big = Script::send("HTTP/1.1 200 OK\r\ncontent-length: 50000000\r\n\r\n").then_flood(50_000_000);
    let origin = Origin::start(big).await;
    let setup = Setup::to(&origin).forward(r#"timeout = "off""#).limits(r#"idle_timeout = "1s""#);
    let gateway = setup.start().await;
    let values = [(setting::INITIAL_WINDOW_SIZE, 1 << 30)];
    let mut client = Http2::connect_narrow(gateway.address(), 4096, &values).await;
    client.send([window_update(0, 1 << 30), get(1, "/")].concat()).await;
    eventually(SOON, || origin.open() == 1).await;
    eventually(SOON, || origin.open() == 0).await;
    assert_eq!(ending(&gateway, "client").await["status"], 200);
    client.end(SOON).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_however_much_it_pings() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).limits(r#"idle_timeout = "1s""#).start().await;
    let mut client = http2(&gateway).await;
    assert_eq!(client.get(1, "/").await, Outcome::Answered(200));
    let started = Instant::now();
    let mut said = None;
    while let Ok(()) = client.try_send([ping([1; 8]), window_update(0, 1)].concat()).await {
        assert!(started.elapsed() < SOON, "still open");
        tokio::time::sleep(Duration::from_millis(50)).await;
        while let Ok(Some(frame)) = client.next_within(Duration::ZERO).await {
            if frame.kind == kind::GOAWAY {
                said = Some((frame.error(), started.elapsed()));
            }
        }
    }
    let (code, after) = said.expect("a GOAWAY");
    assert_eq!(code, NO_ERROR);
    assert_one_second(after);
}

#[tokio::test]
async fn who_does_not_ask_for_anything_is_closed_at_the_header_timeout() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).limits(r#"header_timeout = "1s""#).start().await;
    let block = request("GET", "/", &[]);
    let begun = [PREFACE, &settings(&[])].concat();
    let mut clients = JoinSet::new();
    for (name, bytes) in [
        ("nothing", Vec::new()),
        ("half a preface", PREFACE[..10].to_vec()),
        ("a preface", PREFACE.to_vec()),
        ("settings", begun.clone()),
        ("half a head", [begun.clone(), frame(kind::HEADERS, flag::END_STREAM, 1, &block[..20])].concat()),
        ("half a frame", [begun, frame(kind::HEADERS, flag::END_HEADERS, 1, block)[..20].to_vec()].concat()),
    ] {
        let mut client = Http2::connect_silently(gateway.address()).await;
        clients.spawn(async move {
            let started = Instant::now();
            client.send(bytes).await;
            client.end(SOON_AFTER).await;
            assert!(started.elapsed() >= Duration::from_millis(900), "{name}: {:?}", started.elapsed());
        });
    }
    clients.join_all().await;
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn a_stream_that_is_served_slowly_keeps_its_connection() {
    let origin = Origin::start(Script::default().then_wait().then_send("HTTP/1.1 204 No Content\r\n\r\n")).await;
    let limits = r#"idle_timeout = "1s", header_timeout = "1s", body_timeout = "1s""#;
    let gateway = Setup::to(&origin).limits(limits).start().await;
    let mut client = http2(&gateway).await;
    client.send(get(1, "/")).await;
    eventually(SOON, || origin.count() == 1).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    origin.release();
    assert_eq!(client.outcome(1).await, Outcome::Answered(204));
}
