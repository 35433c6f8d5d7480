//! Stopping: who was heard is answered.

use std::time::Duration;

use gatepost_testkit::{Origin, Raw, Script, eventually, pattern};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::setup::{SOON, Setup, client, post};

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn every_request_whose_head_was_read_is_answered_and_told_to_close() {
    let script = Script::default().then_wait().then_echo_it();
    let origin = Origin::start(script).await;
    let gateway = Setup::to(&origin).start().await;
    let address = gateway.address();
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = client(&gateway).await;
        client.send(post("/", &pattern(10_000))).await;
        clients.push(client);
    }
    eventually(SOON, || origin.count() == 20).await;
    let started = Instant::now();
    let stopping = tokio::spawn(gateway.stop(LONG));
    // It is stopping once nobody is let in any more.
    let mut accepts = true;
    while accepts && started.elapsed() < SOON {
        accepts = TcpStream::connect(address).await.is_ok();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!accepts, "new connections are still accepted");
    origin.release();
    for client in &mut clients {
        let response = client.response().await;
        assert_eq!((response.status, response.closes()), (200, true));
        assert!(response.body == pattern(10_000));
        client.expect_close(SOON).await;
    }
    stopping.await.expect("it stops");
    assert!(started.elapsed() < LONG, "it waited although everybody was served");
    eventually(SOON, || origin.open() == 0).await;
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut idle = client(&gateway).await;
    assert_eq!(idle.get("/").await.status, 200);
    let mut silent = client(&gateway).await;
    let started = Instant::now();
    gateway.stop(LONG).await;
    idle.expect_close(SOON).await;
    silent.expect_close(SOON).await;
    assert!(started.elapsed() < SOON, "it waited for nothing");
}

#[tokio::test]
async fn a_request_on_an_idle_connection_is_still_answered_while_others_are_under_way() {
    let origin = Origin::in_turn(vec![
        Script::ok("before"),
        Script::default().then_wait().then_send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow"),
        Script::ok("while"),
    ])
    .await;
    let gateway = Setup::to(&origin).start().await;
    let mut idle = client(&gateway).await;
    assert_eq!(idle.get("/").await.text(), "before");
    let mut slow = client(&gateway).await;
    slow.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually(SOON, || origin.count() == 2).await;
    gateway.leave().await;
    let stopping = tokio::spawn(gateway.stop(LONG));
    let response = idle.get("/").await;
    assert_eq!((response.status, &*response.text()), (200, "while"));
    origin.release();
    assert_eq!(slow.response().await.text(), "slow");
    stopping.await.expect("it stops");
}

#[tokio::test]
async fn before_the_stop_answers_ask_to_go_elsewhere_and_new_clients_are_served() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut open = client(&gateway).await;
    assert!(!open.get("/").await.closes());
    gateway.leave().await;
    let mut left = false;
    for _ in 0..100 {
        let mut new = client(&gateway).await;
        let response = new.get("/").await;
        assert_eq!(response.status, 200);
        left = response.closes();
        if left {
            new.expect_close(SOON).await;
            break;
        }
    }
    assert!(left, "answers do not ask to close");
    gateway.stop(LONG).await;
}

#[tokio::test]
async fn downloads_and_uploads_under_way_end_well() {
    let download = Script::send("HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n").then_wait().then_flood(2_000_000);
    let downloads = Origin::start(download).await;
    let uploads = Origin::start(Script::echo()).await;
    let text = format!(
        "listen = \"127.0.0.1:0\"\n[route.\"GET /\"]\nopen = true\nforward = {{ to = \"{}\" }}\n\
         [route.\"POST /\"]\nopen = true\nforward = {{ to = \"{}\" }}\n",
        downloads.url(),
        uploads.url()
    );
    let gateway = gatepost_testkit::TestGateway::start(&text).await;
    let mut download = client(&gateway).await;
    download.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(download.response_head().await.status, 200);
    let mut upload = client(&gateway).await;
    let request = post("/", &pattern(100_000));
    upload.send(&request[..50_000]).await;
    eventually(SOON, || uploads.count() == 1).await;
    let stopping = tokio::spawn(gateway.stop(LONG));
    upload.send(&request[50_000..]).await;
    let response = upload.response().await;
    assert_eq!(response.status, 200);
    assert!(response.body == pattern(100_000));
    downloads.release();
    let got = download.read_to_end().await;
    assert!(got == pattern(2_000_000), "{} bytes", got.len());
    stopping.await.expect("it stops");
}

#[tokio::test]
async fn what_is_not_over_at_the_deadline_is_cut() {
    let origin = Origin::start(Script::silence()).await;
    let gateway = Setup::to(&origin).start().await;
    let mut waiting = client(&gateway).await;
    waiting.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually(SOON, || origin.count() == 1).await;
    let started = Instant::now();
    gateway.stop(Duration::from_secs(1)).await;
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(5), "{took:?}");
    waiting.expect_close(SOON).await;
    eventually(SOON, || origin.open() == 0).await;
}

#[tokio::test]
async fn a_head_that_never_ends_does_not_outlast_the_deadline() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut amid = client(&gateway).await;
    amid.send("GET / HTTP/1.1\r\nhost:").await;
    let started = Instant::now();
    gateway.stop(Duration::from_secs(1)).await;
    assert!(started.elapsed() < Duration::from_secs(5));
    amid.read_to_end().await;
}

#[tokio::test]
async fn a_client_that_has_connected_is_served() {
    let origin = Origin::start(Script::ok("heard")).await;
    for _ in 0..10 {
        let gateway = Setup::to(&origin).start().await;
        let mut client = Raw::connect(gateway.address()).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        gateway.stop(LONG).await;
        let response = client.response().await;
        assert_eq!((response.status, &*response.text()), (200, "heard"));
    }
}

#[tokio::test]
async fn an_idle_connection_holds_nothing_up_in_whatever_pieces_its_last_head_came() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut clients = Vec::new();
    for pieces in [&["GET / HTTP/1.1\r\nhost: a\r\n", "\r\n"][..], &["GET / HTTP/1.1\nhost: a\n\n"]] {
        let mut client = client(&gateway).await;
        for piece in pieces {
            client.send_slowly(piece, piece.len(), Duration::from_millis(50)).await.expect("the gateway reads");
        }
        assert_eq!(client.response().await.status, 200, "{pieces:?}");
        clients.push(client);
    }
    let started = Instant::now();
    gateway.stop(LONG).await;
    assert!(started.elapsed() < Duration::from_secs(5), "it waited for {:?}", started.elapsed());
    for client in &mut clients {
        client.expect_close(SOON).await;
    }
}
