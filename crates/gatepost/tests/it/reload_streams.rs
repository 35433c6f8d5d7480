//! Reloads while much is under way that lasts: upgraded connections, HTTP/2 streams, a download. Nothing is cut.

use std::net::SocketAddr;

use bytes::Bytes;
use gatepost_testkit::{Authority, Origin, PATIENCE, Raw, Script, TlsClient, eventually, pattern};
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::home::{Home, get_until};

const RELOADS: usize = 20;
/// At this one the file is broken, …
const BROKEN_AT: usize = 10;
/// … and with this one comes another certificate.
const RENEWED_AT: usize = 15;

/// More than all buffers on its way hold.
const DOWNLOAD: usize = 16 * 1024 * 1024;
/// A stream of HTTP/2 is read into a small window, so less is enough.
const STREAM: usize = 8 * 1024 * 1024;
const STREAMS: usize = 4;

const HOST: &str = "gateway.test";

const HANDSHAKE: &str = "GET /talk HTTP/1.1\r\nhost: gateway.test\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";

const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[tokio::test]
async fn reloads_cut_no_upgraded_connection_no_stream_and_no_download() {
    let authority = Authority::new();
    let partner = Partner::start().await;
    let (store, streams) = (flood(DOWNLOAD).await, flood(STREAM).await);
    let configuration = |number: usize| configuration(number, &[&partner.url(), &store.url(), &streams.url()]);
    let home = Home::new(&configuration(0));
    let renew = |home: &Home| {
        let issued = authority.issue(&[HOST]);
        home.replace("cert.pem", &issued.chain_pem);
        home.replace("key.pem", &issued.key_pem);
    };
    renew(&home);
    let mut running = home.gatepost(&["run"]);
    let (clear, secure) = (running.address_of("clear").await, running.address_of("secure").await);
    let tls = TlsClient::new(&authority);

    let mut talks = vec![
        Talk::begin(Raw::connect(clear).await).await,
        Talk::begin(Raw::connect(clear).await).await,
        Talk::begin(tls.connect(secure, HOST).await.raw()).await,
    ];
    let mut many = Multiplexed::connect(&tls.alpn(&["h2"]), secure).await;
    let mut downloads = vec![Download::begin(clear).await];
    for _ in 0..STREAMS {
        downloads.push(many.download().await);
    }
    let mut watcher = Raw::connect(clear).await;
    for number in 1..=RELOADS {
        let now = if number == BROKEN_AT {
            home.replace("gatepost.toml", "listen = 1");
            eventually(PATIENCE, || running.said().contains("not reloaded, nothing has changed")).await;
            number - 1
        } else if number.is_multiple_of(2) {
            home.replace("gatepost.toml", &configuration(number));
            number
        } else {
            if number == RENEWED_AT {
                renew(&home);
            }
            home.write("gatepost.toml", &configuration(number));
            running.signal("HUP");
            number
        };
        let now = now.to_string();
        get_until(&mut watcher, "/generation", |response| response.text() == now).await;
        assert_eq!(many.get("/generation").await, now);
        for talk in &mut talks {
            talk.say(&format!("<{number}>")).await;
        }
        for download in &mut downloads {
            download.take(download.whole.len() / RELOADS / 2).await;
        }
    }
    for download in downloads {
        download.finish().await;
    }
    assert_eq!((store.count(), streams.count()), (1, STREAMS));
    drop((talks, many, watcher));
    running.signal("TERM");
    assert_eq!(running.wait_exit(PATIENCE).await, 0, "{}", running.said());
}

fn configuration(number: usize, [partner, store, streams]: &[&str; 3]) -> String {
    format!(
        r#"
[server]
admin   = "off"
workers = 2

[log]
access = "off"

[listen.clear]
addresses = ["127.0.0.1:0"]

[listen.secure]
addresses = ["127.0.0.1:0"]
tls       = true

[domain."{HOST}"]
tls = {{ cert = "file:cert.pem", key = "file:key.pem" }}

[route."GET /generation"]
open    = true
respond = {{ body = "{number}" }}

[route."GET /talk"]
from     = ["127.0.0.1", "192.0.2.{number}"]
throttle = {{ rate = "10{number}/s" }}
forward  = {{ to = "{partner}", timeout = "{number}1s" }}

[route."GET /download"]
open    = true
forward = {{ to = "{store}", timeout = "off" }}

[route."GET /stream"]
open    = true
forward = {{ to = "{streams}", timeout = "off" }}
"#
    )
}

/// A backend that answers with so many bytes.
async fn flood(bytes: usize) -> Origin {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n");
    Origin::start(Script::send(head).then_flood(bytes)).await
}

/// A backend that agrees to every upgrade, and repeats what it is told.
struct Partner(SocketAddr);

impl Partner {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(repeat(stream));
            }
        });
        Self(address)
    }

    fn url(&self) -> String {
        format!("http://{}", self.0)
    }
}

async fn repeat(mut stream: TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let _ = stream.write_all(AGREED.as_bytes()).await;
    let (mut from, mut to) = stream.split();
    let _ = tokio::io::copy(&mut from, &mut to).await;
}

/// An upgraded connection.
struct Talk(Raw);

impl Talk {
    async fn begin(mut client: Raw) -> Self {
        client.send(HANDSHAKE).await;
        let head = client.read_until("\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        Self(client)
    }

    async fn say(&mut self, words: &str) {
        self.0.send(words).await;
        assert_eq!(self.0.read_until(words).await, words);
    }
}

/// One connection of HTTP/2 inside TLS.
struct Multiplexed(SendRequest<Empty<Bytes>>);

impl Multiplexed {
    async fn connect(tls: &TlsClient, address: SocketAddr) -> Self {
        let stream = tls.connect(address, HOST).await.stream();
        // What is not read of some streams must leave room for the others.
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(64 * 1024)
            .initial_connection_window_size(1024 * 1024)
            .handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    async fn ask(&mut self, path: &str) -> Incoming {
        let request = Request::get(format!("https://{HOST}{path}")).body(Empty::new()).unwrap();
        let response = self.0.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body()
    }

    async fn get(&mut self, path: &str) -> String {
        let mut body = Source::Stream(self.ask(path).await);
        let mut text = String::new();
        loop {
            let piece = body.piece().await;
            if piece.is_empty() {
                return text;
            }
            text.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }

    async fn download(&mut self) -> Download {
        Download::of(Source::Stream(self.ask("/stream").await), STREAM)
    }
}

/// A download that is read bit by bit.
struct Download {
    source: Source,
    whole: Vec<u8>,
    taken: usize,
}

enum Source {
    Connection(Box<Raw>),
    Stream(Incoming),
}

impl Download {
    /// One over HTTP/1.1.
    async fn begin(address: SocketAddr) -> Self {
        let mut client = Raw::connect_narrow(64 * 1024, address).await;
        client.send("GET /download HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.response_head().await.status, 200);
        Self::of(Source::Connection(Box::new(client)), DOWNLOAD)
    }

    fn of(source: Source, length: usize) -> Self {
        Self { source, whole: pattern(length), taken: 0 }
    }

    /// Reads this much more, and sees that it is what was sent.
    async fn take(&mut self, count: usize) {
        let end = (self.taken + count).min(self.whole.len());
        while self.taken < end {
            let piece = self.source.piece().await;
            assert!(!piece.is_empty(), "cut after {} bytes", self.taken);
            assert!(piece == self.whole[self.taken..][..piece.len()], "other bytes after {}", self.taken);
            self.taken += piece.len();
        }
    }

    async fn finish(mut self) {
        assert!(self.taken < self.whole.len(), "over before the reloads were");
        self.take(self.whole.len()).await;
        assert_eq!(self.taken, self.whole.len());
    }
}

impl Source {
    /// The next bytes; none at the end.
    async fn piece(&mut self) -> Bytes {
        let next = async {
            match self {
                Self::Connection(client) => client.read(64 * 1024).await.unwrap().into(),
                Self::Stream(body) => {
                    let frame = body.frame().await.map(|frame| frame.unwrap().into_data().unwrap_or_default());
                    frame.unwrap_or_default()
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("more of the body")
    }
}
