//! `gatepost demo`: a gateway and a backend in one process, to try things on.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use gatepost_config::load_text;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::time::{Interval, interval};

use crate::check::judge;
use crate::exit::Failure;
use crate::print;
use crate::run::supervise;

/// The demo's configuration: also a file to start from.
const CONFIGURATION: &str = include_str!("../../../examples/demo/gatepost.toml");

/// Serves the demo until told to stop.
pub(crate) fn demo() -> Result<(), Failure> {
    let loaded = judge(load_text("demo/gatepost.toml", CONFIGURATION, Path::new("."))?)?;
    let (told, serving) = mpsc::channel();
    thread::spawn(move || serve(DEMO_BACKEND, |outcome| told.send(outcome).unwrap_or_default()));
    if let Ok(Err(error)) = serving.recv() {
        return Err(cannot_listen(DEMO_BACKEND, &error));
    }
    supervise(loaded, None, |_| {
        // Without a terminal to read it on, the demo serves all the same.
        let _ = print(INTRODUCTION);
    })
}

/// Serves the demo's backend until killed.
pub(crate) fn backend(listen: SocketAddr) -> Result<(), Failure> {
    let mut failure = None;
    serve(listen, |outcome| match outcome {
        Ok(address) => tracing::info!("the demo backend listens on http://{address}"),
        Err(error) => failure = Some(cannot_listen(listen, &error)),
    });
    failure.map_or(Ok(()), Err)
}

/// Where the demo's configuration forwards to.
const DEMO_BACKEND: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9000);

const INTRODUCTION: &str = "\
Gatepost stands before a private backend, and admits 127.0.0.1 only. Try, in another terminal:

  curl -i http://127.0.0.1:8080/hello                           admitted, and forwarded
  curl -i --interface 127.0.0.2 http://127.0.0.1:8080/hello     403: that address is not listed
  curl -i http://127.0.0.1:8080/drip                            cut after 1 s, however the backend drips
  curl -i http://127.0.0.1:8080/once                            429 from the second time on, for 10 s
  curl -s http://127.0.0.1:9900/metrics                         what it has counted

One line for each request follows. Ctrl-C stops.

";

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> Failure {
    Failure::CannotRun(format!("the demo backend cannot listen on {address}: {error}"))
}

/// Serves on this thread; `told` learns whether it listens.
fn serve(listen: SocketAddr, told: impl FnOnce(std::io::Result<SocketAddr>)) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return told(Err(error)),
    };
    runtime.block_on(async {
        let listener = match TcpListener::bind(listen).await {
            Ok(listener) => listener,
            Err(error) => return told(Err(error)),
        };
        told(listener.local_addr());
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            tokio::spawn(async move {
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection to the demo backend ended");
                }
            });
        }
    });
}

/// `/drip` drips; everything else is told what it sent.
async fn answer(request: Request<Incoming>) -> Result<Response<DemoBody>, Infallible> {
    if request.uri().path().ends_with("/drip") {
        return Ok(Response::new(DemoBody::Drip(interval(Duration::from_millis(400)))));
    }
    let (parts, body) = request.into_parts();
    let length = measure(body).await;
    let headers: Map<String, Value> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect();
    let received = json!({
        "method": parts.method.as_str(),
        "path": parts.uri.to_string(),
        "headers": headers,
        "body_bytes": length,
    });
    let mut response = Response::new(DemoBody::Whole(format!("{received:#}\n").into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Reads a body to its end, or to where it breaks off.
async fn measure(mut body: Incoming) -> u64 {
    let mut length = 0;
    while let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        length += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
    length
}

/// What the demo backend answers with.
enum DemoBody {
    Whole(Bytes),
    /// One byte each time, without end.
    Drip(Interval),
}

impl Body for DemoBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Drip(interval) => {
                ready!(interval.poll_tick(cx));
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b".")))))
            }
        }
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Whole(bytes) => hyper::body::SizeHint::with_exact(bytes.len() as u64),
            Self::Drip(_) => hyper::body::SizeHint::default(),
        }
    }
}
