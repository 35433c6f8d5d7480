//! A client of every kind: one connection that stays open, one request at a time.

mod http1;
mod http2;
pub(crate) mod tls;

use std::cell::OnceCell;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::Outcome;
use crate::certificate::HOST;
use crate::front::{Front, Http};
use crate::load::Post;

/// How long a connection, a write or a read may take.
const LIMIT: Duration = Duration::from_secs(10);
const LONGEST_BODY: usize = 1 << 20;

/// An answer.
#[derive(Debug, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// A connection to a port of this machine.
pub(crate) enum Connection {
    One(http1::Connection),
    Two(Box<http2::Connection>),
}

impl Connection {
    pub(crate) fn open(port: u16, front: &Front) -> Outcome<Self> {
        Ok(match front.http {
            Http::One => Self::One(http1::Connection::open(port, front)?),
            Http::Two => Self::Two(Box::new(http2::Connection::open(port, front)?)),
        })
    }

    /// Asks for `path` and reads the whole answer. The connection stays open.
    pub(crate) fn get(&mut self, path: &str) -> Outcome<Reply> {
        match self {
            Self::One(connection) => connection.get(path),
            Self::Two(connection) => connection.get(path),
        }
    }
}

impl Connection {
    /// Asks for `path` with a header and reads the whole answer. Only in HTTP/1.1: no measure needs more.
    pub(crate) fn get_with(&mut self, path: &str, header: (&str, &str)) -> Outcome<Reply> {
        match self {
            Self::One(connection) => connection.get_with(path, header),
            Self::Two(_) => Err("headers are sent in HTTP/1.1 only".into()),
        }
    }

    /// Sends a body to `path` and reads the whole answer. Only in HTTP/1.1: no measure needs more.
    pub(crate) fn post(&mut self, path: &str, post: &Post) -> Outcome<Reply> {
        match self {
            Self::One(connection) => connection.post(path, post),
            Self::Two(_) => Err("bodies are sent in HTTP/1.1 only".into()),
        }
    }
}

/// A port that is free now.
pub(crate) fn free_port() -> Outcome<u16> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// The one runtime of this thread, for what is not done blocking. It stands still between calls.
pub(crate) fn runtime() -> Outcome<Rc<Runtime>> {
    thread_local! {
        static RUNTIME: OnceCell<Rc<Runtime>> = const { OnceCell::new() };
    }
    RUNTIME.with(|cell| {
        if let Some(runtime) = cell.get() {
            return Ok(Rc::clone(runtime));
        }
        let runtime = Rc::new(Builder::new_current_thread().enable_all().build()?);
        Ok(Rc::clone(cell.get_or_init(|| runtime)))
    })
}

/// The host and port that a request is for. One that came through TLS is for the certificate's host, which the client
/// named; it would be refused as misdirected (421) otherwise.
fn authority(port: u16, front: &Front) -> String {
    match front.tls {
        Some(_) => format!("{HOST}:{port}"),
        None => format!("{}:{port}", Ipv4Addr::LOCALHOST),
    }
}
