//! Webhook signatures: who is let in by the signature of a body, and what a backend sees of the others.

mod bodies;
mod replays;
mod schemes;
mod strangers;

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatepost_gateway::Budgets;
use gatepost_testkit::{Origin, Raw, Response, TestGateway};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::setup::{Setup, chunks};

/// Secrets that a configuration can name.
struct Secrets(TempDir);

/// GitHub's example, "Validating webhook deliveries".
const SECRET: &str = "It's a Secret to Everybody";
/// The one that comes after it.
const NEXT: &str = "It will be a Secret to Everybody";
/// As Standard Webhooks writes them.
const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

impl Secrets {
    fn new() -> Self {
        let directory = TempDir::new().expect("a directory for secrets");
        for (name, secret) in [("secret", SECRET), ("next", NEXT), ("standard", STANDARD_SECRET)] {
            std::fs::write(directory.path().join(name), secret).expect("a secret that is written");
        }
        Self(directory)
    }

    /// Lines of a route with every `$NAME` in them as a reference to that secret.
    fn named_in(&self, lines: &str) -> String {
        let name = |name: &str| format!("\"file:{}\"", self.0.path().join(name).display());
        ["secret", "next", "standard"]
            .iter()
            .fold(lines.to_owned(), |lines, known| lines.replace(&format!("${known}"), &name(known)))
    }
}

/// A gateway that lets in to `origin` who passes `entry`.
async fn start(origin: &Origin, entry: &str) -> TestGateway {
    TestGateway::start(&configuration(origin, entry)).await
}

async fn start_within(origin: &Origin, entry: &str, budgets: Budgets) -> TestGateway {
    TestGateway::start_within(&configuration(origin, entry), budgets).await
}

/// The secrets in it are read when it is started, and then gone.
fn configuration(origin: &Origin, entry: &str) -> String {
    let secrets = Box::leak(Box::new(Secrets::new()));
    Setup::to(origin).entry(&secrets.named_in(entry)).route("max_body = \"26MiB\"").text()
}

const GITHUB: &str = "signed = { github = $secret }";

fn hmac(secret: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    sign(&Key::new(HMAC_SHA256, secret), &parts.concat()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("text");
        text
    })
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time since 1970").as_secs()
}

type Fields = Vec<(&'static str, String)>;

/// The fields of a delivery, as GitHub writes them.
fn by_github(secret: &str, body: &[u8]) -> Fields {
    vec![("x-hub-signature-256", format!("sha256={}", hex(&hmac(secret.as_bytes(), &[body]))))]
}

fn by_stripe(secret: &str, time: u64, body: &[u8]) -> Fields {
    let signature = hex(&hmac(secret.as_bytes(), &[format!("{time}.").as_bytes(), body]));
    vec![("stripe-signature", format!("t={time},v1={signature},v0={}", "0".repeat(64)))]
}

fn by_slack(secret: &str, time: u64, body: &[u8]) -> Fields {
    let signature = hex(&hmac(secret.as_bytes(), &[format!("v0:{time}:").as_bytes(), body]));
    vec![("x-slack-signature", format!("v0={signature}")), ("x-slack-request-timestamp", time.to_string())]
}

fn by_standard(id: &str, time: u64, body: &[u8]) -> Fields {
    let key = STANDARD.decode(&STANDARD_SECRET["whsec_".len()..]).expect("base64");
    let signature = STANDARD.encode(hmac(&key, &[format!("{id}.{time}.").as_bytes(), body]));
    vec![
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", time.to_string()),
        ("webhook-signature", format!("v1,{signature}")),
    ]
}

fn head(fields: &Fields) -> String {
    let fields = fields.iter().fold(String::new(), |text, (name, value)| format!("{text}{name}: {value}\r\n"));
    format!("POST /hook HTTP/1.1\r\nhost: gateway.test\r\n{fields}")
}

/// A request with its body's length.
fn plain(fields: &Fields, body: &[u8]) -> Vec<u8> {
    [format!("{}content-length: {}\r\n\r\n", head(fields), body.len()).as_bytes(), body].concat()
}

fn chunked(fields: &Fields, body: &[u8]) -> Vec<u8> {
    [format!("{}transfer-encoding: chunked\r\n\r\n", head(fields)).as_bytes(), &chunks(body)].concat()
}

/// Sends it on a connection of its own.
async fn send(gateway: &TestGateway, request: Vec<u8>) -> Response {
    Raw::connect(gateway.address()).await.send_while_reading(request).await
}

/// Sends it by HTTP/2 on a connection of its own: the status, and the body of the answer.
async fn send_http2(gateway: &TestGateway, fields: &Fields, body: &[u8]) -> (u16, Vec<u8>) {
    let stream = TcpStream::connect(gateway.address()).await.expect("somebody listens");
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, driver) = handshake.expect("somebody speaks HTTP/2");
    tokio::spawn(driver);
    let mut request = http::Request::builder().method("POST").uri("http://gateway.test/hook");
    for (name, value) in fields {
        request = request.header(*name, value);
    }
    let request = request.body(Full::new(bytes::Bytes::copy_from_slice(body))).expect("a request");
    let response = sender.send_request(request).await.expect("an answer");
    let status = response.status().as_u16();
    let (mut body, mut bytes) = (response.into_body(), Vec::new());
    while let Some(frame) = body.frame().await {
        bytes.extend(frame.expect("a whole body").into_data().expect("no trailers"));
    }
    (status, bytes)
}

/// What bodies take of a place that they are kept in.
fn kept(gateway: &TestGateway, place: &str) -> f64 {
    gateway.metric(&format!("gatepost_spool_bytes{{place=\"{place}\"}}"))
}
