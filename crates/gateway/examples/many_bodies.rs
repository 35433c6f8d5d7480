//! Measures what a gateway takes of memory while it verifies many large bodies at once:
//!
//! ```sh
//! cargo build --release -p gatepost
//! cargo run --release -p gatepost-gateway --example many_bodies -- target/release/gatepost 200 25
//! ```
//!
//! The gateway is a process of its own; clients and the backend are this one. Every body is sent as fast as it is taken,
//! all at once, and the backend says by its SHA-256 whether it is the one that was signed.

#![allow(clippy::print_stdout, reason = "it prints what it measured")]

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{self, SHA256, digest};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use gatepost_testkit::{Process, pattern};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const SECRET: &str = "a secret that only this program has";

type Failed = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let program = arguments.next().ok_or("say where the gatepost program is")?;
    let program = Path::new(&program).canonicalize()?;
    let count: usize = arguments.next().map_or(Ok(200), |count| count.parse())?;
    let mebibytes: usize = arguments.next().map_or(Ok(25), |mebibytes| mebibytes.parse())?;

    let backend = TcpListener::bind("127.0.0.1:0").await?;
    let home = home(backend.local_addr()?)?;
    tokio::spawn(serve(backend));
    let mut gateway = Process::start(&program, home.path(), &["run"]);
    let address = gateway.address().await;
    let idle = resident(gateway.id(), "VmHWM")?;

    let body = Arc::new(pattern(mebibytes << 20));
    let request = Arc::new(head(&body));
    let expected = hex(digest(&SHA256, &body).as_ref());
    let started = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..count {
        clients.spawn(ask(address, Arc::clone(&request), Arc::clone(&body)));
    }
    let (mut same, mut others, mut most) = (0, Vec::new(), 0);
    while !clients.is_empty() {
        tokio::select! {
            Some(answer) = clients.join_next() => match answer?? {
                answer if answer.ends_with(&expected) => same += 1,
                other => others.push(other.lines().next().unwrap_or_default().to_owned()),
            },
            () = sleep(Duration::from_millis(20)) => most = most.max(resident(gateway.id(), "VmRSS")?),
        }
    }
    let took = started.elapsed();
    println!("{count} bodies of {mebibytes} MiB at once: {same} arrived as they were signed, in {took:.1?}");
    println!("peak memory of the gateway: {} MiB (before: {} MiB)", resident(gateway.id(), "VmHWM")? >> 10, idle >> 10);
    if !others.is_empty() {
        println!("others: {others:?}");
    }
    gateway.signal("TERM");
    Ok(())
}

fn home(backend: SocketAddr) -> Result<TempDir, Failed> {
    let home = TempDir::new()?;
    fs::write(home.path().join("secret"), SECRET)?;
    let text = format!(
        "listen = \"127.0.0.1:0\"\n[server]\nadmin = \"off\"\n[log]\naccess = \"off\"\n[route.\"POST /\"]\n\
         signed = {{ github = \"file:secret\" }}\nmax_body = \"1GiB\"\n\
         forward = {{ to = \"http://{backend}\", timeout = \"off\" }}\n"
    );
    fs::write(home.path().join("gatepost.toml"), text)?;
    Ok(home)
}

fn head(body: &[u8]) -> String {
    let signature = hex(sign(&Key::new(HMAC_SHA256, SECRET.as_bytes()), body).as_ref());
    format!(
        "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-hub-signature-256: sha256={signature}\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    )
}

async fn ask(address: SocketAddr, head: Arc<String>, body: Arc<Vec<u8>>) -> Result<String, Failed> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(head.as_bytes()).await?;
    // One that is refused may find nobody who takes the rest.
    let _ = stream.write_all(&body).await;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// A backend that answers with the SHA-256 of what it gets.
async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let _ = answer(stream).await;
        });
    }
}

async fn answer(mut stream: TcpStream) -> Result<(), Failed> {
    let mut read = Vec::new();
    let end = loop {
        stream.read_buf(&mut read).await?;
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let mut left = length.ok_or("no length")?.parse::<usize>()?;
    let mut hash = digest::Context::new(&SHA256);
    let mut piece = read.split_off(end);
    loop {
        hash.update(&piece);
        left = left.saturating_sub(piece.len());
        if left == 0 {
            break;
        }
        piece.clear();
        if stream.read_buf(&mut piece).await? == 0 {
            return Err("half a body".into());
        }
    }
    let text = hex(hash.finish().as_ref());
    let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}", text.len());
    stream.write_all(answer.as_bytes()).await?;
    Ok(())
}

/// A line of what the kernel says of a process's memory, in KiB.
fn resident(process: u32, what: &str) -> Result<u64, Failed> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':')).ok_or("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
