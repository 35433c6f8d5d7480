//! A hundred reloads under load: nobody notices.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use gatepost_testkit::{Origin, Process, Raw, Response, Script, pattern};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::home::{Home, answering, free_address, get, get_body, get_until, refused_at_last};

const RELOADS: usize = 100;
/// At this one a listener is added, …
const ADDED_AT: usize = 30;
/// … at this one the file is broken, …
const BROKEN_AT: usize = 50;
/// … and at this one a listener is removed.
const REMOVED_AT: usize = 70;

/// What the slow client downloads, a piece after each reload: more than all buffers on its way hold.
const DOWNLOAD: usize = 48 * 1024 * 1024;

#[tokio::test]
async fn a_hundred_reloads_under_load_fail_no_request() {
    let origin = Origin::start(Script::echo()).await;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {DOWNLOAD}\r\n\r\n");
    let store = Origin::start(Script::send(head).then_flood(DOWNLOAD)).await;
    let (added, removed) = (free_address(), free_address());
    let configuration = |number: usize| {
        let more = [(added, number >= ADDED_AT), (removed, number < REMOVED_AT)];
        let more = more.into_iter().filter(|(_, there)| *there).map(|(address, _)| address);
        configuration(number, &origin.url(), &store.url(), &more.collect::<Vec<_>>())
    };
    let home = Home::new(&configuration(0));
    let (running, main) = home.run().await;

    let mut download = Download::begin(main).await;
    let crowd = Crowd::gather(main);
    let mut watcher = Raw::connect(main).await;
    for number in 1..=RELOADS {
        if number == BROKEN_AT {
            home.replace("gatepost.toml", "listen = 1");
            refused(&running).await;
            assert_eq!(watcher.get("/generation").await.text(), (number - 1).to_string());
            continue;
        }
        if number.is_multiple_of(2) {
            home.replace("gatepost.toml", &configuration(number));
        } else {
            home.write("gatepost.toml", &configuration(number));
            running.signal("HUP");
        }
        get_until(&mut watcher, "/generation", |response| response.text() == number.to_string()).await;
        download.take(DOWNLOAD / RELOADS / 2).await;
        if number == ADDED_AT {
            assert_eq!(get(added, "/generation").await.text(), number.to_string());
        }
        if number == REMOVED_AT {
            refused_at_last(removed).await;
        }
    }
    let served = crowd.disperse().await;
    download.finish().await;
    assert!(served > 1000, "only {served} requests: that is no load");
    assert_eq!(store.count(), 1);
}

fn configuration(number: usize, origin: &str, store: &str, more: &[SocketAddr]) -> String {
    let mut text = format!(
        r#"
[server]
admin   = "off"
workers = 2

[log]
access = "off"

[listen.main]
addresses = ["127.0.0.1:0"]

[route."GET /generation"]
open    = true
respond = {{ body = "{number}" }}

[route."GET /download"]
open    = true
forward = {{ to = "{store}", timeout = "off" }}

[route."POST /echo"]
from     = ["loopback", "192.0.2.{number}"]
throttle = {{ rate = "1000000/s" }}
forward  = {{ to = "{origin}", timeout = "10s" }}

[addresses.loopback]
list = ["127.0.0.0/8"]
"#
    );
    for (place, address) in more.iter().enumerate() {
        let _ = writeln!(text, "[listen.more{place}]\naddresses = [\"{address}\"]");
    }
    text
}

/// Waits until a reload has been refused.
async fn refused(running: &Process) {
    gatepost_testkit::eventually(gatepost_testkit::PATIENCE, || {
        running.stderr().iter().any(|line| line.contains("not reloaded, nothing has changed"))
    })
    .await;
}

/// Clients that never rest.
struct Crowd {
    over: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    clients: JoinSet<()>,
}

impl Crowd {
    /// Three clients that keep their connection, and two that come anew for each request.
    fn gather(address: SocketAddr) -> Self {
        let mut crowd = Self { over: Arc::default(), served: Arc::default(), clients: JoinSet::new() };
        for number in 0..5_usize {
            let (over, served) = (Arc::clone(&crowd.over), Arc::clone(&crowd.served));
            let keeps = number < 3;
            crowd.clients.spawn(async move {
                let mut client = Raw::connect(address).await;
                let mut asked = 0_u64;
                while !over.load(Ordering::Relaxed) {
                    if !keeps {
                        // Ports are finite: a connection that is over holds one for a minute.
                        sleep(Duration::from_millis(4)).await;
                        client = Raw::connect(address).await;
                    }
                    ask(&mut client, asked).await;
                    asked += 1;
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        crowd
    }

    /// Lets them finish; how many requests were served. A client that met a failure has panicked.
    async fn disperse(mut self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
        self.served.load(Ordering::Relaxed)
    }
}

/// One request, answered here or by the backend, and its answer as it must be.
async fn ask(client: &mut Raw, number: u64) {
    let Response { status, body, .. } = if number.is_multiple_of(2) {
        client.get("/generation").await
    } else {
        client.ask(&format!("POST /echo HTTP/1.1\nhost: a\ncontent-length: 20\n\n{number:020}")).await
    };
    let text = String::from_utf8_lossy(&body);
    assert_eq!(status, 200, "{text}");
    if number.is_multiple_of(2) {
        assert!(text.parse::<usize>().is_ok(), "{text}");
    } else {
        assert_eq!(text, format!("{number:020}"));
    }
}

/// A download that is read bit by bit.
struct Download {
    client: Raw,
    whole: Vec<u8>,
    taken: usize,
}

impl Download {
    async fn begin(address: SocketAddr) -> Self {
        let mut client = Raw::connect_narrow(64 * 1024, address).await;
        client.send("GET /download HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.response_head().await.status, 200);
        Self { client, whole: pattern(DOWNLOAD), taken: 0 }
    }

    /// Reads this much more, and sees that it is what was sent.
    async fn take(&mut self, count: usize) {
        let end = (self.taken + count).min(DOWNLOAD);
        while self.taken < end {
            let piece = self.client.read(64 * 1024).await.unwrap();
            assert!(!piece.is_empty(), "cut after {} bytes", self.taken);
            assert!(piece == self.whole[self.taken..][..piece.len()], "other bytes after {}", self.taken);
            self.taken += piece.len();
        }
    }

    async fn finish(mut self) {
        assert!(self.taken < DOWNLOAD, "over before the reloads were");
        self.take(DOWNLOAD).await;
        assert_eq!(self.taken, DOWNLOAD);
    }
}

/// A connection that nobody uses is no load, but must not be closed either.
#[tokio::test]
async fn a_connection_without_a_request_outlives_reloads() {
    let home = Home::new(&answering("v0"));
    let (_running, address) = home.run().await;
    let silent = TcpStream::connect(address).await.unwrap();
    let mut idle = Raw::connect(address).await;
    idle.get("/a").await;
    let mut watcher = Raw::connect(address).await;
    for number in 1..=5 {
        home.replace("gatepost.toml", &answering(&format!("v{number}")));
        get_body(&mut watcher, &format!("v{number}")).await;
    }
    assert_eq!(idle.get("/a").await.text(), "v5");
    let mut byte = [0];
    let nothing = silent.try_read(&mut byte).map_err(|error| error.kind());
    assert_eq!(nothing, Err(std::io::ErrorKind::WouldBlock));
}
