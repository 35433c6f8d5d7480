//! Large bodies and many streams, with a client of the usual kind.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use gatepost_testkit::{Origin, Script, TestGateway, eventually, pattern};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::setup::{SOON, Setup};

const MIB: usize = 1024 * 1024;

/// A body of so many bytes of [`pattern`], made as it is sent.
struct Patterned {
    left: usize,
    sent: Arc<AtomicU64>,
    piece: Bytes,
}

impl Patterned {
    fn of(length: usize) -> Self {
        // A whole number of periods, so that pieces join without a seam.
        Self { left: length, sent: Arc::default(), piece: pattern(251 * 60).into() }
    }
}

impl Body for Patterned {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.left.min(self.piece.len());
        self.left -= length;
        self.sent.fetch_add(length as u64, Ordering::AcqRel);
        Poll::Ready((length > 0).then(|| Ok(Frame::data(self.piece.slice(..length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }
}

async fn connect(gateway: &TestGateway) -> SendRequest<Patterned> {
    let stream = TcpStream::connect(gateway.address()).await.expect("somebody listens");
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, driver) = handshake.expect("somebody speaks HTTP/2");
    tokio::spawn(driver);
    sender
}

fn request(method: &str, path: &str, body: Patterned) -> Request<Patterned> {
    let uri = format!("http://gateway.test{path}");
    Request::builder().method(method).uri(uri).body(body).expect("a request")
}

async fn send(sender: &SendRequest<Patterned>, request: Request<Patterned>) -> Response<Incoming> {
    let mut sender = sender.clone();
    sender.ready().await.expect("the connection serves");
    sender.send_request(request).await.expect("an answer")
}

async fn body_of(response: Response<Incoming>) -> Vec<u8> {
    let (mut body, mut bytes) = (response.into_body(), Vec::new());
    while let Some(frame) = body.frame().await {
        bytes.extend(frame.expect("a whole body").into_data().expect("no trailers"));
    }
    bytes
}

#[tokio::test]
async fn twenty_five_mebibytes_go_up_and_come_down_unchanged() {
    let origin = Origin::start(Script::echo_chunked()).await;
    let gateway = Setup::to(&origin).route(r#"max_body = "64MiB""#).start().await;
    let client = connect(&gateway).await;
    let mut transfers = JoinSet::new();
    for _ in 0..2 {
        let client = client.clone();
        transfers.spawn(async move {
            let response = send(&client, request("POST", "/", Patterned::of(25 * MIB))).await;
            assert_eq!(response.status(), 200);
            assert!(body_of(response).await == pattern(25 * MIB), "other bytes");
        });
    }
    transfers.join_all().await;
    let lines = gateway.log_until(|lines| lines.len() == 2, SOON).await;
    for line in lines {
        assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&(25 * MIB).into(), &(25 * MIB).into()));
        assert_eq!(line["ended"], gatepost_testkit::Json::Null, "complete");
    }
}

#[tokio::test]
async fn a_hundred_streams_at_once_keep_their_bytes_apart() {
    let origin = Origin::start(Script::default().then_wait().then_echo_it()).await;
    let gateway = Setup::to(&origin).start().await;
    let client = connect(&gateway).await;
    let mut streams = JoinSet::new();
    for number in 0..100 {
        let client = client.clone();
        streams.spawn(async move {
            let length = 10_007 * number;
            let response = send(&client, request("PUT", &format!("/{number}"), Patterned::of(length))).await;
            assert_eq!(response.status(), 200);
            assert!(body_of(response).await == pattern(length), "other bytes on stream {number}");
        });
    }
    // Those of some length wait for the backend; all of them are under way at the same time.
    eventually(SOON, || origin.open() >= 90).await;
    origin.release();
    streams.join_all().await;
    gateway.log_until(|lines| lines.len() == 100, SOON).await;
}

/// Waits until `count` grows no more.
async fn settled(count: &AtomicU64) -> u64 {
    let mut before = u64::MAX;
    loop {
        let now = count.load(Ordering::Acquire);
        if now == before && now > 0 {
            return now;
        }
        before = now;
        sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test]
async fn an_upload_to_a_backend_that_does_not_read_stops_and_holds_up_no_other_request() {
    /// Two windows, and what the kernel lets the sockets to the backend grow to.
    const BETWEEN: u64 = 20 * MIB as u64;
    let stalled = Script::default().at_once().then_wait_unread().then_read_body();
    let script = stalled.then_send("HTTP/1.1 204 No Content\r\n\r\n");
    let origin = Origin::in_turn(vec![script, Script::echo()]).await;
    let gateway = Setup::to(&origin).route(r#"max_body = "1GiB""#).start().await;
    let client = connect(&gateway).await;
    let body = Patterned::of(60 * MIB);
    let sent = Arc::clone(&body.sent);
    let uploading = tokio::spawn({
        let client = client.clone();
        async move { send(&client, request("POST", "/stalled", body)).await.status() }
    });
    let ahead = settled(&sent).await;
    assert!(ahead < BETWEEN, "{ahead} bytes are ahead of a backend that reads nothing");
    for _ in 0..3 {
        let beside = send(&client, request("POST", "/beside", Patterned::of(300_000))).await;
        assert!(body_of(beside).await == pattern(300_000));
    }
    origin.release();
    assert_eq!(uploading.await.expect("it ends"), 204);
}

#[tokio::test]
async fn an_answer_that_nobody_reads_stops_and_holds_up_no_other() {
    const TOTAL: usize = 200 * MIB;
    /// The client's window, ours, and what the kernel lets the sockets of the backend grow to.
    const BETWEEN: u64 = 40 * MIB as u64;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {TOTAL}\r\n\r\n");
    let origin = Origin::in_turn(vec![Script::send(head).then_flood(TOTAL), Script::ok("beside")]).await;
    let gateway = Setup::to(&origin).start().await;
    let client = connect(&gateway).await;
    let unread = send(&client, request("GET", "/unread", Patterned::of(0))).await;
    assert_eq!(unread.status(), 200);
    let mut written = 0;
    while written == 0 || written != origin.bytes_written() {
        written = origin.bytes_written();
        sleep(Duration::from_millis(300)).await;
    }
    assert!(written < BETWEEN, "{written} bytes are ahead of a client that reads nothing");
    let beside = send(&client, request("GET", "/beside", Patterned::of(0))).await;
    assert_eq!(body_of(beside).await, b"beside");
    drop(unread);
    eventually(SOON, || origin.open() <= 1).await;
    assert_eq!(crate::setup::ending(&gateway, "client").await["path"], "/unread");
}
