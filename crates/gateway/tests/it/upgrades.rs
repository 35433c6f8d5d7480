//! Upgrades: WebSocket and others, opaque once a backend has agreed.

use std::net::SocketAddr;
use std::time::Duration;

use gatepost_testkit::{Origin, Raw, Script, TestGateway, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::setup::{SOON, Setup, client};

const HANDSHAKE: &str = "GET /chat?room=1 HTTP/1.1\r\nhost: gateway.test\r\nconnection: keep-alive, Upgrade\r\n\
    upgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";

const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A backend that answers every handshake so, then says everything twice.
struct Agreeing {
    address: SocketAddr,
    /// The heads of the handshakes that came.
    heads: tokio::sync::mpsc::Receiver<String>,
}

impl Agreeing {
    async fn start(answer: impl Into<String>) -> Self {
        let answer = answer.into();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a listening socket");
        let (told, heads) = tokio::sync::mpsc::channel(64);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(echo_twice(stream, answer.clone(), told.clone()));
            }
        });
        Self { address, heads }
    }

    fn setup(&self) -> Setup {
        Setup::to_urls(&[format!("http://{}", self.address)])
    }
}

async fn echo_twice(mut stream: TcpStream, answer: String, told: tokio::sync::mpsc::Sender<String>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let _ = told.try_send(String::from_utf8_lossy(&head).to_lowercase());
    if stream.write_all(answer.as_bytes()).await.is_err() {
        return;
    }
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        let twice = buffer[..count].repeat(2);
        if stream.write_all(&twice).await.is_err() {
            return;
        }
    }
}

async fn shake_hands(gateway: &TestGateway) -> Raw {
    let mut client = client(gateway).await;
    client.send(HANDSHAKE).await;
    let head = client.read_until("\r\n\r\n").await.to_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("\r\nupgrade: websocket\r\n") && head.contains("\r\nconnection: upgrade\r\n"), "{head}");
    assert!(head.contains("\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{head}");
    client
}

#[tokio::test]
async fn a_websocket_passes_in_both_directions_and_outlives_reloads() {
    let mut backend = Agreeing::start(AGREED).await;
    let mut gateway = backend.setup().start().await;
    let mut client = shake_hands(&gateway).await;
    let head = backend.heads.recv().await.unwrap();
    assert!(head.starts_with("get /chat?room=1 http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nupgrade: websocket\r\n") && head.contains("\r\nconnection: upgrade\r\n"), "{head}");
    assert!(head.contains("\r\nsec-websocket-key: "), "{head}");
    for round in 0..20 {
        gateway.apply(&backend.setup().route(&format!("max_body = \"{}KiB\"", round + 1)).text()).await.unwrap();
        client.send(format!("<{round}>")).await;
        let twice = format!("<{round}><{round}>");
        assert_eq!(client.read_until(&twice).await, twice);
    }
    assert_eq!(gateway.log(), Vec::<gatepost_testkit::Json>::new());
    drop(client);
    let lines = gateway.log_until(|lines| !lines.is_empty(), SOON).await;
    assert_eq!(lines[0]["status"], 101);
    let sent: usize = (0..20).map(|round: u32| format!("<{round}>").len()).sum();
    assert_eq!((&lines[0]["bytes_in"], &lines[0]["bytes_out"]), (&sent.into(), &(2 * sent).into()));
}

#[tokio::test]
async fn what_is_said_together_with_the_handshake_is_not_lost() {
    let backend = Agreeing::start(format!("{AGREED}first")).await;
    let gateway = backend.setup().start().await;
    let mut client = client(&gateway).await;
    client.send(format!("{HANDSHAKE}early")).await;
    client.read_until("\r\n\r\n").await;
    assert_eq!(client.read_until("firstearlyearly").await, "firstearlyearly");
}

#[tokio::test]
async fn a_backend_that_does_not_agree_answers_as_ever() {
    let origin = Origin::start(Script::ok("no websockets here")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    for _ in 0..2 {
        client.send(HANDSHAKE).await;
        assert_eq!(client.response().await.text(), "no websockets here");
    }
}

#[tokio::test]
async fn an_upgrade_that_nobody_asked_for_or_another_one_is_a_bad_answer() {
    let backend = Agreeing::start(AGREED).await;
    let gateway = backend.setup().start().await;
    assert_eq!(client(&gateway).await.get("/").await.status, 502);
    let other = Agreeing::start(AGREED.replace("websocket\r\n", "other\r\n")).await;
    let gateway = other.setup().start().await;
    let mut client = client(&gateway).await;
    client.send(HANDSHAKE).await;
    assert_eq!(client.response().await.status, 502);
}

#[tokio::test]
async fn who_may_not_enter_upgrades_nothing() {
    let mut backend = Agreeing::start(AGREED).await;
    let gateway = backend.setup().entry(r#"from = ["192.0.2.1"]"#).start().await;
    let mut client = client(&gateway).await;
    client.send(HANDSHAKE).await;
    assert_eq!(client.response().await.status, 403);
    assert!(backend.heads.try_recv().is_err());
}

#[tokio::test]
async fn http_2_in_the_clear_is_no_upgrade_that_is_passed_on() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    let request = "GET / HTTP/1.1\nhost: gateway.test\nconnection: upgrade, http2-settings\nupgrade: h2c\n\
        http2-settings: AAMAAABkAAQAoAAAAAIAAAAA\n\n";
    assert_eq!(client.ask(request).await.status, 200);
    let seen = origin.last();
    assert_eq!((seen.header("upgrade"), seen.header("connection"), seen.header("http2-settings")), (None, None, None));
}

#[tokio::test]
async fn a_silent_upgraded_connection_is_closed_after_the_idle_time() {
    let backend = Agreeing::start(AGREED).await;
    let gateway = backend.setup().limits(r#"idle_timeout = "400ms""#).start().await;
    let mut client = shake_hands(&gateway).await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        client.send("x").await;
        assert_eq!(client.read_until("xx").await, "xx");
    }
    client.read_to_end().await;
    let lines = gateway.log_until(|lines| !lines.is_empty(), SOON).await;
    assert_eq!(lines[0]["ended"], "idle");
}

#[tokio::test]
async fn the_timeout_of_a_route_ends_with_the_upgrade() {
    let backend = Agreeing::start(AGREED).await;
    let gateway = backend.setup().forward(r#"timeout = "300ms""#).start().await;
    let mut client = shake_hands(&gateway).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    client.send("late").await;
    assert_eq!(client.read_until("latelate").await, "latelate");
}

#[tokio::test]
async fn an_upgraded_connection_counts_as_under_way_until_it_ends() {
    let backend = Agreeing::start(AGREED).await;
    let gateway = backend.setup().route("parallel = 1").start().await;
    let first = shake_hands(&gateway).await;
    let mut second = client(&gateway).await;
    second.send(HANDSHAKE).await;
    assert_eq!(second.response().await.status, 503);
    drop(first);
    eventually(SOON, || !gateway.log().iter().all(|line| line["status"] == 503)).await;
    shake_hands(&gateway).await;
}

#[tokio::test]
async fn an_agreement_says_nothing_of_a_body() {
    let lengths = "content-length: 5\r\ntransfer-encoding: chunked\r\n";
    for more in ["content-length: 5\r\n", "transfer-encoding: chunked\r\n", lengths] {
        let backend = Agreeing::start(AGREED.replace("\r\n\r\n", &format!("\r\n{more}\r\n"))).await;
        let gateway = backend.setup().start().await;
        let mut client = client(&gateway).await;
        client.send(HANDSHAKE).await;
        let head = client.read_until("\r\n\r\n").await.to_lowercase();
        assert!(!head.contains("content-length") && !head.contains("transfer-encoding"), "{head}");
    }
}

#[tokio::test]
async fn stopping_waits_for_upgraded_connections_as_long_as_draining_takes() {
    let backend = Agreeing::start(AGREED).await;
    let gateway = backend.setup().start().await;
    let mut client = shake_hands(&gateway).await;
    let stopping = tokio::spawn(gateway.stop(Duration::from_secs(30)));
    client.send("still here").await;
    assert_eq!(client.read_until("still herestill here").await, "still herestill here");
    drop(client);
    tokio::time::timeout(SOON, stopping).await.expect("nothing is left to wait for").unwrap();
}

#[tokio::test]
async fn an_upgraded_connection_that_a_stop_cuts_is_logged_with_what_was_said_on_it() {
    let backend = Agreeing::start(AGREED).await;
    let gateway = backend.setup().start().await;
    let mut client = shake_hands(&gateway).await;
    client.send("four").await;
    assert_eq!(client.read_until("fourfour").await, "fourfour");
    let lines = gateway.stop_and_read_log(Duration::from_millis(100)).await;
    let said = ["bytes_in", "bytes_out", "ended"].map(|name| lines[0][name].to_string());
    assert_eq!(said, ["4", "8", "\"stop\""]);
}

#[tokio::test]
async fn a_request_with_a_body_asks_for_no_upgrade_and_keeps_its_limits() {
    let origin = Origin::start(Script::default().at_once().then_send(AGREED).then_hang()).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    client.send(HANDSHAKE.replace("GET", "POST").replace("\r\n\r\n", "\r\ncontent-length: 10\r\n\r\nhalf")).await;
    assert_eq!(client.response().await.status, 502);
    assert_eq!(origin.last().header("upgrade"), None);
    eventually(SOON, || origin.open() == 0).await;
}
